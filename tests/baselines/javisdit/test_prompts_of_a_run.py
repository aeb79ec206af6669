"""Prompts of a run are encoded once: whatever the batches, and after a kill not again."""

from __future__ import annotations

import pytest

from javisbench.baselines.cascade import Cascade
from javisbench.baselines.javisdit import JavisDiT, pipeline, stdit_pipeline, text_encoder
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
