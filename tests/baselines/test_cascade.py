"""Cascades through the real runner: pairs, prompts, seeds, memory, failures; MMAudio against a stand-in package."""

from __future__ import annotations

import errno
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import javisbench
from javisbench.baselines.base import Failed, Generated, Generator, Plan, Request
from javisbench.baselines.cascade import Cascade, stage_seed
from javisbench.baselines.mmaudio import MMAudio
from javisbench.clip import Clip, ClipSpec
from javisbench.durable import read_json, read_jsonl
from javisbench.errors import GenerationError, MissingWeightsError, RunError, SystemFaultError, UsageError
from javisbench.media import read_clip, write_clip
from javisbench.run.generate import GenerateSettings
from javisbench.suite import Suite, Task
from javisbench.weights import WeightStore

LOG: list[tuple[str, str]] = []


class Stand(Generator):
    """A stage that notes what is done with it; `how` makes it misbehave."""

    card_id = "procedural"
    makes: str = ""

    def __init__(self, variant: str | None = None, params: Mapping[str, str] | None = None) -> None:
        super().__init__(variant, params)
        self.how = self.params.get("how", "")

    def plan(self, spec: ClipSpec) -> Plan:
        if self.how == "refuse":
            raise GenerationError("too long")
        frames = round(spec.duration_s * spec.fps) if "v" in self.makes else 0
        samples = round(spec.duration_s * 8000) if "a" in self.makes else 0
        return Plan(spec.width, spec.height, frames, spec.fps, samples, 8000)

    def load(self, device: str, dtype: str, weights: WeightStore) -> None:
        LOG.append((self.makes, "load"))

    def close(self) -> None:
        LOG.append((self.makes, "close"))

    def generate(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        if self.how == "hungry" and len(batch) > 1:
            raise MemoryError
        if self.how == "full disk":
            raise OSError(errno.ENOSPC, "No space left on device")
        for request in batch:
            LOG.append((self.makes, request.prompts["text"]))
            if self.how == "fail" and request.index == 0:
                yield Failed(request, "generate", "too_hard", "no", retryable=False)
                continue
            if self.how == "crash" and request.index == 0:
                raise ValueError("broken")
            random = np.random.default_rng(request.seed)
            plan, given = request.plan, request.conditions.clip
            level = 0 if given is None else int(given.frames.mean() if len(given.frames) else 100)
            shape = (plan.frames, plan.height, plan.width, 3)
            frames = np.full(shape, random.integers(50, 200) if given is None else level, np.uint8)
            size = (1, plan.audio_samples)
            audio = (random.uniform(-0.1, 0.1, size) + level / 1000).astype(np.float32)
            yield Generated(
                request,
                Clip(frames, plan.fps, audio if plan.audio_samples else None, 8000),
                {"conditions": None if given is None else [len(given.frames), given.audio is not None]},
            )


class T2V(Stand):
    family = "t2v"
    makes = "v"


class T2A(Stand):
    family = "t2a"
    makes = "a"


class V2A(Stand):
    family = "v2a"
    makes = "a for v"

    def plan(self, spec: ClipSpec) -> Plan:
        return Plan(0, 0, 0, spec.fps, round(spec.duration_s * 8000), 8000)


class A2V(Stand):
    family = "a2v"
    makes = "v for a"

    def plan(self, spec: ClipSpec) -> Plan:
        return Plan(spec.width, spec.height, round(spec.duration_s * spec.fps), spec.fps, 0, 0)


@pytest.fixture(autouse=True)
def _stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    LOG.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    module = ModuleType("stand_ins")
    for kind in (T2V, T2A, V2A, A2V):
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "stand_ins", module)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def spec(**roles: str) -> str:
    named = {
        role: f"python:stand_ins:{kind}" if kind.isupper() or kind[1] == "2" else kind for role, kind in roles.items()
    }
    return "cascade:" + ",".join(f"{role}={kind}" for role, kind in named.items())


def run(model: str, suite: Suite, out: Path, **params: str) -> Path:
    given = {key.replace("__", "."): value for key, value in params.items()}
    return javisbench.generate(model, suite=suite, params=given, out=out)


def stages(folder: Path, name: str = "sample_0000") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_json(folder / f"clips/{name}.json")["info"]["stages"]
    return found


def test_sound_for_a_made_picture(tiny_suite: Suite, tmp_path: Path) -> None:
    folder = run(spec(t2v="T2V", v2a="V2A"), tiny_suite, tmp_path / "run")
    clip = read_clip(folder / "clips/sample_0000.mp4")
    assert clip.frames.shape == (4, 48, 64, 3)
    assert clip.audio is not None
    assert clip.audio.shape == (1, 4000)
    # The sound tells the brightness of the picture that it was made for.
    assert float(clip.audio.mean()) * 1000 == pytest.approx(float(clip.frames.mean()), abs=6)
    first, second = stages(folder)
    assert (first["role"], first["prompt_column"], first["prompt"]) == ("t2v", "video_text", "a cat in grass")
    assert (second["role"], second["prompt_column"], second["prompt"]) == ("v2a", "audio_text", "a meow")
    assert second["conditions"] == [4, False]
    assert [s["prompt_column"] for s in stages(folder, "sample_0001")] == ["text", "text"]
    sidecar = read_json(folder / "clips/sample_0000.json")
    assert [s["seed"] for s in (first, second)] == [stage_seed(sidecar["seed"], role) for role in ("t2v", "v2a")]
    assert first["seed"] != second["seed"]


def test_picture_for_a_made_sound(tiny_suite: Suite, tmp_path: Path) -> None:
    folder = run(spec(a2v="A2V", t2a="T2A"), tiny_suite, tmp_path / "run")
    clip = read_clip(folder / "clips/sample_0001.mp4")
    assert clip.frames.shape == (4, 48, 64, 3)
    assert clip.frames.mean() == pytest.approx(100, abs=2)
    assert [(s["role"], s["conditions"]) for s in stages(folder)] == [("t2a", None), ("a2v", [0, True])]


def test_independent_streams_see_nothing_of_each_other(tiny_suite: Suite, tmp_path: Path) -> None:
    folder = run(spec(t2v="T2V", t2a="T2A"), tiny_suite, tmp_path / "run")
    assert [s["conditions"] for s in stages(folder)] == [None, None]
    assert [s["prompt"] for s in stages(folder)] == ["a cat in grass", "a meow"]


def test_the_first_stage_is_freed_before_the_second_is_loaded(tiny_suite: Suite, tmp_path: Path) -> None:
    run(spec(t2v="T2V", v2a="V2A"), tiny_suite, tmp_path / "run")
    # Loaded once to see whether they can be; then once a batch.
    made = LOG[4:]
    assert made[:7] == [
        ("v", "load"), ("v", "a cat in grass"), ("v", "a dog"), ("v", "close"),
        ("a for v", "load"), ("a for v", "a meow"), ("a for v", "a dog"),
    ]  # fmt: skip
    LOG.clear()
    run(spec(t2v="T2V", v2a="V2A"), tiny_suite, tmp_path / "kept", keep_loaded="true")
    assert ("v", "close") not in LOG[4 : LOG.index(("a for v", "a dog"))]


def test_order_batches_and_shards_change_nothing(tiny_suite: Suite, tmp_path: Path) -> None:
    model = spec(t2v="T2V", v2a="V2A")
    whole = run(model, tiny_suite, tmp_path / "whole")
    javisbench.generate(model, suite=tiny_suite, settings=GenerateSettings(batch=1), out=tmp_path / "single")
    javisbench.generate(model, suite=tiny_suite, settings=GenerateSettings(shard=(1, 2)), out=tmp_path / "shard")
    for suffix in ("mp4", "wav"):
        clip = (whole / f"clips/sample_0001.{suffix}").read_bytes()
        assert (tmp_path / f"single/clips/sample_0001.{suffix}").read_bytes() == clip
        assert (tmp_path / f"shard/clips/sample_0001.{suffix}").read_bytes() == clip


@pytest.mark.parametrize(
    ("role", "how", "kind", "told"),
    [
        ("t2v", "fail", "too_hard", "t2v: no"),
        ("v2a", "fail", "too_hard", "v2a: no"),
        ("t2v", "crash", "exception", "t2v: ValueError: broken"),
        ("v2a", "crash", "exception", "v2a: ValueError: broken"),
    ],
)
def test_failures_name_their_stage_and_cost_their_clip(
    role: str, how: str, kind: str, told: str, tiny_suite: Suite, tmp_path: Path
) -> None:
    folder = run(spec(t2v="T2V", v2a="V2A"), tiny_suite, tmp_path / "run", **{f"{role}__how": how})
    rows = read_jsonl(folder / "failures.jsonl")
    assert [(row["sample_id"], row["kind"], row["message"]) for row in rows] == [("sample_0000", kind, told)]
    assert (folder / "clips/sample_0001.mp4").is_file()


def test_a_stage_out_of_memory_halves_its_own_batch_alone(tiny_suite: Suite, tmp_path: Path) -> None:
    class Together(V2A):
        max_batch = 2

    sys.modules["stand_ins"].V2A = Together  # type: ignore[attr-defined]
    folder = run(spec(t2v="T2V", v2a="V2A"), tiny_suite, tmp_path / "run", v2a__how="hungry")
    assert read_jsonl(folder / "failures.jsonl") == []
    assert len(list(folder.glob("clips/*.mp4"))) == len(tiny_suite)
    assert sum(kind == "v" and what not in ("load", "close") for kind, what in LOG) == len(tiny_suite)


def test_a_full_disk_in_a_stage_stops_the_run_and_lists_no_clip(tiny_suite: Suite, tmp_path: Path) -> None:
    with pytest.raises(SystemFaultError, match="No space left"):
        run(spec(t2v="T2V", v2a="V2A"), tiny_suite, tmp_path / "run", v2a__how="full disk")
    assert read_jsonl(tmp_path / "run/failures.jsonl") == []


def test_plans_that_a_stage_refuses_name_it(tiny_suite: Suite, tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match=r"t2v \(python:stand_ins:T2V\): too long"):
        run(spec(t2v="T2V", v2a="V2A"), tiny_suite, tmp_path / "run", t2v__how="refuse")


def test_models_of_another_kind_are_refused(tiny_suite: Suite) -> None:
    for pair in ({"t2v": "T2A", "v2a": "V2A"}, {"t2v": "T2V", "v2a": "T2A"}, {"t2a": "T2A", "a2v": "procedural"}):
        with pytest.raises(GenerationError, match="cannot be a"):
            Cascade(spec(**pair).removeprefix("cascade:")).plan(tiny_suite.setting)


def test_joint_models_give_one_half(tiny_suite: Suite, tmp_path: Path) -> None:
    """The picture of one procedural scene with the sound of another: no stand-ins, real media."""
    folder = run("cascade:t2v=procedural,t2a=procedural", tiny_suite, tmp_path / "run", t2a__offset_s="0.1")
    clip = read_clip(folder / "clips/sample_0000.mp4")
    assert clip.frames.shape[1:] == (48, 64, 3)
    assert clip.audio is not None
    parameters = read_json(folder / "clips/sample_0000.json")["model"]["parameters"]
    assert str(parameters["t2a"]["offset_s"]) == "0.1"


def test_what_a_stage_depends_on_the_cascade_does() -> None:
    plain, scenes = Cascade("t2v=procedural,t2a=procedural"), Cascade("t2v=procedural:sync,t2a=procedural")
    assert (plain.uses_categories, plain.uses_columns) == (True, ())
    assert (scenes.uses_categories, scenes.uses_columns) == (True, ("family",))
    assert not Cascade(spec(t2v="T2V", v2a="V2A").removeprefix("cascade:")).uses_categories


def test_tiny_pipelines_of_diffusers(tiny_pipeline: Callable[..., Path], tiny_suite: Suite, tmp_path: Path) -> None:
    video, audio = tiny_pipeline("WanPipeline"), tiny_pipeline("AudioLDM2Pipeline")
    steps = {"t2v__steps": "2", "t2a__steps": "2", "t2v__width": "64", "t2v__height": "48", "t2v__frames": "9"}
    folder = run(f"cascade:t2v=diffusers:{video},t2a=diffusers:{audio}", tiny_suite, tmp_path / "run", **steps)
    assert read_jsonl(folder / "failures.jsonl") == []
    clip = read_clip(folder / "clips/sample_0000.mp4")
    # 9 frames at the model's 16 fps are 0.5625 s; the sound is as long.
    assert (clip.frames.shape, clip.fps) == ((9, 48, 64, 3), 16)
    assert clip.audio is not None
    assert clip.audio.shape == (1, 4500)
    assert [s["prompt"] for s in stages(folder)] == ["a cat in grass", "a meow"]


PROGRAM = """
import json, os, shutil, sys, wave
kind = sys.argv[1]
for line in sys.stdin:
    request = json.loads(line)
    given = request.get("condition", {})
    if kind == "v2a":
        assert os.path.getsize(given["video"]) > 0 and "audio" not in given
        with wave.open(request["output"] + ".wav", "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(b"\\x00\\x10" * round(request["duration_s"] * 8000))
    else:
        assert os.path.getsize(given["audio"]) > 0 and "video" not in given
        shutil.copy(sys.argv[2], request["output"] + ".mp4")
    print(json.dumps({"id": request["id"], "status": "ok", "info": {"read": request["prompt"]}}), flush=True)
"""


def test_programs_as_stages(tiny_suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    program = [sys.executable, str(tmp_path / "program.py")]
    model = f"{spec(t2v='T2V')},v2a=command:{shlex.join([*program, 'v2a'])}"
    folder = run(model, tiny_suite, tmp_path / "run", v2a__timeout_s="60")
    assert read_jsonl(folder / "failures.jsonl") == []
    clip = read_clip(folder / "clips/sample_0000.mp4")
    assert clip.frames.shape == (4, 48, 64, 3)
    assert clip.audio is not None
    np.testing.assert_array_equal(clip.audio, np.full((1, 4000), 0x1000 / 32768, np.float32))
    assert stages(folder)[1]["program"] == {"read": "a meow"}
    assert not (folder / "staging").exists()

    model = f"{spec(t2a='T2A')},a2v=command:{shlex.join([*program, 'a2v', str(folder / 'clips/sample_0000.mp4')])}"
    back = run(model, tiny_suite, tmp_path / "back")
    assert read_jsonl(back / "failures.jsonl") == []
    assert read_clip(back / "clips/sample_0000.mp4").frames.shape == (4, 48, 64, 3)


def given(tiny_suite: Suite, folder: Path, task: Task) -> Suite:
    """The prompts with a video each, and its sound."""
    for sample in tiny_suite:
        level = np.full((4, 48, 64, 3), 60 + 40 * sample.index, np.uint8)
        sound = np.full((1, 4000), 0.25, np.float32)
        write_clip(Clip(level, Fraction(8), sound, 8000), folder / f"{sample.id}.mp4")
    samples = tuple(replace(s, video=folder / f"{s.id}.mp4", audio=folder / f"{s.id}.wav") for s in tiny_suite.samples)
    return replace(tiny_suite, samples=samples, task=task)


def test_programs_take_what_a_suite_gives(tiny_suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    program = [sys.executable, str(tmp_path / "program.py")]
    videos = given(tiny_suite, tmp_path / "given", "v2a")
    folder = run(f"command:{shlex.join([*program, 'v2a'])}", videos, tmp_path / "run")
    assert read_jsonl(folder / "failures.jsonl") == []
    assert sorted(path.suffix for path in (folder / "clips").iterdir()) == [".json", ".json", ".wav", ".wav"]
    sidecar = read_json(folder / "clips/sample_0000.json")
    assert sidecar["task"] == "v2a" and sidecar["info"]["program"] == {"read": "a cat"}
    picture = str(videos.samples[0].video)
    back = run(f"command:{shlex.join([*program, 'a2v', picture])}", replace(videos, task="a2v"), tmp_path / "back")
    assert read_jsonl(back / "failures.jsonl") == []
    assert read_clip(back / "clips/sample_0001.mp4").audio is None


def test_files_hold_stages_and_their_parameters(tiny_suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(
        't2v = "procedural"\nt2a = "procedural"\n[params]\nkeep_loaded = true\n[params.t2a]\noffset_s = 0.1\n'
    )
    cascade = Cascade(str(tmp_path / "two.toml"), {"t2a.damage": "hiss"})
    assert cascade.keep_loaded
    assert cascade.stages[1].generator.params == {"offset_s": "0.1", "damage": "hiss"}
    (tmp_path / "bad.toml").write_text("t2v = ")
    with pytest.raises(UsageError, match=r"bad\.toml cannot be read"):
        Cascade(str(tmp_path / "bad.toml"))


@pytest.mark.parametrize(
    ("variant", "params", "told"),
    [
        (None, {}, "t2v=MODEL,v2a=MODEL"),
        ("t2v=procedural", {}, "t2v=MODEL,v2a=MODEL"),
        ("v2a=mmaudio,a2v=procedural", {}, "t2v=MODEL,v2a=MODEL"),
        ("t2v=wan2.1,v2a=mmaudio", {}, r"Did you mean 'wan2.1-1.3b'"),
        ("t2v=cascade:x,v2a=mmaudio", {}, "no such model for a stage"),
        ("t2v=procedural,t2a=procedural", {"steps": "3"}, r"t2v\.NAME"),
        ("t2v=procedural,t2a=procedural", {"v2a.steps": "3"}, r"t2v\.NAME"),
        ("t2v=procedural,t2a=procedural", {"keep_loaded": "yes"}, "true or false"),
        ("t2v=wan2.1-1.3b,v2a=mmaudio:huge", {}, "no variant 'huge'"),
        ("t2v=wan2.1-1.3b,v2a=mmaudio", {"v2a.steps": "0"}, "between 1 and 1000"),
    ],
)
def test_bad_specifications_are_named(variant: str | None, params: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Cascade(variant, params)


def test_the_shipped_pairs_have_plans_without_any_file() -> None:
    plan = Cascade("t2v=wan2.1-1.3b,v2a=mmaudio").plan(ClipSpec())
    assert (plan.width, plan.height, plan.frames, plan.sample_rate) == (832, 480, 81, 44100)
    assert plan.audio_samples == round(81 / 16 * 44100)
    independent = Cascade("t2v=wan2.1-1.3b,t2a=audioldm2").plan(ClipSpec())
    assert (independent.audio_samples, independent.sample_rate) == (81000, 16000)
    program = Cascade("t2a=audioldm2,a2v=command:./a --b,c").plan(ClipSpec())
    assert (program.frames, program.audio_samples) == (96, 64000)


def test_weights_that_lack_are_told_before_anything_is_made(tiny_suite: Suite, tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"t2a \(audioldm2\): .*cvssp/audioldm2"):
        run("cascade:t2v=procedural,t2a=audioldm2", tiny_suite, tmp_path / "run")


# MMAudio: a stand-in with the functions of its package that are used, of the same names and arguments.


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    class Network(torch.nn.Module):
        latent_seq_len = 0

        def load_weights(self, weights: dict[str, torch.Tensor]) -> None:
            self.level = float(weights["level"])

        def update_seq_lengths(self, latent: int, clip: int, sync: int) -> None:
            self.latent_seq_len = latent

    class Lengths:
        sampling_rate = 16000
        duration = 8.0
        latent_seq_len = property(lambda self: round(self.duration * 16000))
        clip_seq_len = property(lambda self: round(self.duration * 8))
        sync_seq_len = property(lambda self: round(self.duration * 25))

    class Features(torch.nn.Module):
        def __init__(self, **files: Any) -> None:
            super().__init__()
            assert Path(files["tod_vae_ckpt"]).name == "v1-16.pth"
            assert Path(files["bigvgan_vocoder_ckpt"]).is_file()

    def load_video(path: Path, seconds: float) -> SimpleNamespace:
        clip = read_clip(path)
        assert clip.audio is None
        mean = float(clip.frames.mean()) / 255
        count = int(seconds * 25)
        return SimpleNamespace(
            duration_sec=seconds,
            clip_frames=torch.full((count, 3, 4, 4), mean),
            sync_frames=torch.zeros(count, 3, 4, 4),
        )

    def generate(clip: torch.Tensor, sync: torch.Tensor, text: list[str], **given: Any) -> torch.Tensor:
        assert given["negative_text"] == [""]
        assert given["cfg_strength"] == 4.5
        assert given["fm"].num_steps == 3
        net, noise = given["net"], torch.rand(1, 1, given["net"].latent_seq_len, generator=given["rng"]) / 100
        return noise + net.level * float(clip.mean()) + len(text[0]) / 1000

    config = SimpleNamespace(
        model_name="small_16k", model_path=Path("weights/mmaudio_small_16k.pth"),
        vae_path=Path("ext_weights/v1-16.pth"), bigvgan_16k_path=Path("ext_weights/best_netG.pt"),
        synchformer_ckpt=Path("ext_weights/synchformer_state_dict.pth"),
        mode="16k", seq_cfg=Lengths(),
    )  # fmt: skip
    parts: dict[str, dict[str, Any]] = {
        "": {},
        ".eval_utils": {"all_model_cfg": {"small_16k": config}, "load_video": load_video, "generate": generate},
        ".model": {},
        ".model.networks": {"get_my_mmaudio": lambda name: Network()},
        ".model.utils": {},
        ".model.utils.features_utils": {"FeaturesUtils": Features},
        ".model.flow_matching": {"FlowMatching": lambda **given: SimpleNamespace(**given)},
    }
    for name, content in parts.items():
        module = ModuleType(f"mmaudio{name}")
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, f"mmaudio{name}", module)
    weights = tmp_path / "weights-of-mmaudio"
    weights.mkdir()
    torch.save({"level": torch.tensor(0.5)}, weights / "mmaudio_small_16k.pth")
    for name in ("v1-16.pth", "best_netG.pt", "synchformer_state_dict.pth"):
        (weights / name).write_bytes(b"x")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(weights / "v1-16.pth"))
    return weights


def test_mmaudio_makes_sound_for_the_picture(package: Path, tiny_suite: Suite, tmp_path: Path) -> None:
    folder = javisbench.generate(
        f"{spec(t2v='T2V')},v2a=mmaudio:small_16k",
        suite=tiny_suite,
        params={"v2a.steps": "3"},
        out=tmp_path / "run",
        weights_dirs=[package],
    )
    assert read_jsonl(folder / "failures.jsonl") == []
    clip = read_clip(folder / "clips/sample_0000.mp4")
    assert clip.audio is not None
    assert clip.audio.shape == (1, 8000)
    expected = 0.5 * clip.frames.mean() / 255 + len("a meow") / 1000 + 0.005
    # Half a grey level of compression, and the mean of 8,000 uniform draws.
    assert float(clip.audio.mean()) == pytest.approx(expected, abs=4e-3)
    assert stages(folder)[1]["variant"] == "small_16k"


def test_mmaudio_makes_sound_for_the_videos_of_a_suite(package: Path, tiny_suite: Suite, tmp_path: Path) -> None:
    """The videos have a sound of their own, which it is not given."""
    folder = javisbench.generate(
        "mmaudio:small_16k",
        suite=given(tiny_suite, tmp_path / "given", "v2a"),
        params={"steps": "3"},
        out=tmp_path / "run",
        weights_dirs=[package],
    )
    assert read_jsonl(folder / "failures.jsonl") == []
    for index, words in enumerate(("a meow", "a dog")):
        samples, rate = soundfile.read(folder / f"clips/sample_000{index}.wav")
        assert (samples.shape, rate) == ((8000,), 16000)
        expected = 0.5 * (60 + 40 * index) / 255 + len(words) / 1000 + 0.005
        assert float(samples.mean()) == pytest.approx(expected, abs=4e-3)


def test_files_that_mmaudio_lacks_are_listed(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "best_netG.pt").unlink()
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    with pytest.raises(MissingWeightsError, match=r"best_netG\.pt, apple/DFN5B.*CC BY-NC 4\.0") as caught:
        MMAudio("small_16k").files(WeightStore((package,)))
    assert "bigvgan_v2_44khz" not in caught.value.message


def test_mmaudio_without_its_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mmaudio", None)
    with pytest.raises(
        GenerationError, match=r"pip install git\+https://github\.com/hkchengrex/MMAudio.*CC BY-NC 4\.0"
    ):
        MMAudio().files(WeightStore())


def test_a_stage_that_never_works_stops_the_run(tiny_suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "many.csv").write_text("text\n" + "a cat\n" * 6)
    from javisbench.suite import load_suite

    class Broken(V2A):
        def generate(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
            raise RuntimeError("no kernel image")

    sys.modules["stand_ins"].Broken = Broken  # type: ignore[attr-defined]
    with pytest.raises(RunError, match="in a row failed"):
        run(
            "cascade:t2v=python:stand_ins:T2V,v2a=python:stand_ins:Broken",
            load_suite(str(tmp_path / "many.csv")),
            tmp_path / "r",
        )
