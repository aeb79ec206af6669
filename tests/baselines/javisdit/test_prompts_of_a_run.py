"""Prompts of a run are encoded once: whatever the batches, and after a kill not again."""

from __future__ import annotations

import numpy as np
import pytest

from javisbench.baselines.base import Request
from javisbench.baselines.cascade import Cascade
from javisbench.baselines.javisdit import JavisDiT, pipeline, stdit_pipeline, text_encoder
from javisbench.clip import ClipSpec
from javisbench.run.generate import GenerateSettings, generate_clips
from javisbench.run.progress import Silent
from javisbench.suite import load_suite
from javisbench.weights import WeightStore

PROMPTS = ["A dog barks twice.", "Rain on a tin roof", "A gong", "Rain on a tin roof"]


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "tiny.csv").write_text("\n".join(["text", *PROMPTS]))
    return load_suite(str(tmp_path / "tiny.csv"))


@pytest.fixture
def read(monkeypatch):
    """Which networks were read, in their order: ``text encoder`` and ``prior's tower``."""
    seen = []
    from_library, load_checkpoint = text_encoder.from_library, stdit_pipeline.load_checkpoint
    monkeypatch.setattr(
        text_encoder, "from_library", lambda *given: (seen.append("text encoder"), from_library(*given))[1]
    )
    monkeypatch.setattr(
        stdit_pipeline, "load_checkpoint", lambda path: (seen.append("prior's tower"), load_checkpoint(path))[1]
    )
    return seen


@pytest.fixture
def generate(tiny, suite):
    def go(run, generator, batch=1):
        settings = GenerateSettings(batch=batch, device="cpu", dtype="float32")
        generate_clips(run, suite, generator, WeightStore([tiny]), settings, {"model": "tiny"}, Silent())
        return {path.name: path.read_bytes() for path in sorted((run / "clips").glob("*")) if path.suffix != ".json"}

    return go


@pytest.mark.parametrize("version", ["v1.0", "v0.1"])
def test_a_killed_run_goes_on_without_its_text_encoders(tiny, tmp_path, monkeypatch, generate, read, version):
    params = {"config": str(tiny / f"{version}.toml"), "steps": "1"}
    encoders = ["text encoder"] if version == "v1.0" else ["text encoder", "prior's tower"]
    whole = generate(tmp_path / "whole", JavisDiT(version, params), batch=4)
    assert len(whole) == 2 * len(PROMPTS)
    assert read == encoders
    assert not (tmp_path / "whole/prompts").exists()

    class Killed(BaseException):
        pass

    make, made = pipeline.Pipeline.make, []

    def until_the_third(*given):
        if len(made) == 2:
            raise Killed
        made.append(given)
        return make(*given)

    monkeypatch.setattr(pipeline.Pipeline, "make", until_the_third)
    with pytest.raises(Killed):
        generate(tmp_path / "run", JavisDiT(version, params))
    assert list((tmp_path / "run/prompts").glob("*.safetensors"))
    assert read == 2 * encoders
    monkeypatch.setattr(pipeline.Pipeline, "make", make)
    # Clips of other batches, made after a kill from stored prompts, are the same bytes.
    assert generate(tmp_path / "run", JavisDiT(version, params)) == whole
    assert read == 2 * encoders
    assert not (tmp_path / "run/prompts").exists()


def test_stages_of_a_cascade_encode_once_for_all_their_batches(tiny, tmp_path, generate, read):
    stages = {"t2v": "v1.0", "t2a": "v1.0"}
    params = {f"{role}.config": str(tiny / f"{version}.toml") for role, version in stages.items()}
    cascade = Cascade(",".join(f"{role}=javisdit:{version}" for role, version in stages.items()), params)
    clips = generate(tmp_path / "run", cascade)
    assert len(clips) == 2 * len(PROMPTS)
    # Both read the same text with the same encoder: the second finds what the first has stored.
    assert read == ["text encoder"]


@pytest.mark.slow
def test_ten_thousand_prompts_of_a_suite_load_each_encoder_once(tiny, tmp_path, read, monkeypatch):
    """JavisBench's 10,140 prompts, with kills on the way: every one is encoded once, and clips are as without kills."""
    params = {"config": str(tiny / "v0.1.toml"), "steps": "1"}
    texts = [f"A dog barks {number} times" for number in range(10_140)]

    def loaded(folder):
        model = JavisDiT("v0.1", params)
        model.prompt_folder = folder
        model.load("cpu", "float32", WeightStore([tiny]))
        plan = model.plan(ClipSpec())
        return model, [Request(None, i, 0, i, plan, {"text": text}) for i, text in enumerate(texts)]

    whole, requests = loaded(tmp_path / "whole")
    whole.prepare(requests)
    assert read == ["text encoder", "prior's tower"]
    picked = [requests[0], requests[5000], requests[-1]]
    expected = [(answer.clip.frames, answer.clip.audio) for answer in whole.generate(picked)]
    assert len(read) == 2
    whole.close()
    read.clear()

    class Killed(BaseException):
        pass

    encode, encoded = text_encoder._encode, []
    for allowed in (100, 3000, 6000):
        encoded.clear()

        def until(*given, allowed=allowed):
            if len(encoded) == allowed:
                raise Killed
            encoded.append(given[0])
            return encode(*given)

        monkeypatch.setattr(text_encoder, "_encode", until)
        model, requests = loaded(tmp_path / "run")
        with pytest.raises(Killed):
            model.prepare(requests)
        model.close()
    monkeypatch.setattr(text_encoder, "_encode", lambda *given: (encoded.append(given[0]), encode(*given))[1])
    encoded.clear()
    model, requests = loaded(tmp_path / "run")
    model.prepare(requests)
    # A kill costs what was encoded after the last whole file of 64.
    assert len(encoded) == 10_140 - sum(done // 64 * 64 for done in (100, 3000, 6000))
    made = [answer.clip for answer in model.generate([requests[0], requests[5000], requests[-1]])]
    for clip, (frames, audio) in zip(made, expected, strict=True):
        assert np.array_equal(clip.frames, frames)
        assert np.array_equal(clip.audio, audio)
    model.close()
