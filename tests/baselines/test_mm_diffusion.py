"""MM-Diffusion: our adapter and class against a stand-in checkout with its module and function names."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import javisbench
from javisbench.baselines.base import Failed, Request
from javisbench.baselines.mm_diffusion import ADAPTER, MMDiffusion
from javisbench.clip import Clip, ClipSpec
from javisbench.durable import read_json, read_jsonl
from javisbench.errors import GenerationError, MissingWeightsError, UsageError
from javisbench.media import read_clip, write_clip
from javisbench.run.generate import GenerateSettings
from javisbench.suite import Suite, load_suite
from javisbench.weights import WeightStore

MODULES = {
    "__init__.py": "",
    "nets.py": """
import torch
class Net(torch.nn.Module):
    def __init__(self, key):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
    def load_state_dict_(self, state, is_strict):
        self.load_state_dict(state, strict=is_strict)
""",
    "multimodal_script_util.py": """
import types
from mm_diffusion.nets import Net
def model_and_diffusion_defaults():
    return {"video_size": "", "audio_size": "", "dropout": 0.0, "use_fp16": False}
def create_model_and_diffusion(video_size, audio_size, num_channels, dropout, use_fp16, **rest):
    assert video_size == [16, 3, 64, 64] and audio_size == [1, 25600] and num_channels == 128
    return Net("base"), types.SimpleNamespace(alphas_cumprod=[0.9, 0.5])
""",
    "script_util.py": """
from mm_diffusion.nets import Net
class Diffusion:
    def ddim_sample_loop(self, model, shape, clip_denoised, model_kwargs, noise):
        assert noise.shape == shape and (noise == noise[:1]).all()
        large = model_kwargs["low_res"].repeat_interleave(4, 2).repeat_interleave(4, 3)
        return (large + model.weight + noise / 1000).clamp(-1, 1)
def image_sr_model_and_diffusion_defaults():
    return {"sr_dropout": 0.0, "use_fp16": False}
def image_sr_create_model_and_diffusion(large_size, sr_timestep_respacing, sr_dropout, **rest):
    assert (large_size, sr_timestep_respacing) == (256, "ddim25")
    return Net("large"), Diffusion()
""",
    "multimodal_dpm_solver_plus.py": """
import os, random
import torch
class DPM_Solver:
    def __init__(self, model, alphas_cumprod):
        self.model = model
    def level(self, noise, times):
        # The original's mistake: with one row it asks the dictionary for its shape.
        if times.shape[0] == 1:
            times = times.expand(noise.shape[0])
        return self.model.weight + 0 * times[0]
    def sample(self, noise, steps, order, skip_type, method):
        print("sampling, on the standard output")
        assert (steps, order, skip_type, method) == (20, 3, "logSNR", "singlestep")
        rows = noise["video"].shape[0]
        assert noise["audio"].shape[0] == rows
        shift = random.random() / 10
        level = self.level(noise, torch.zeros(rows))
        if os.environ.get("STAND_IN_RAISES") == "plain":
            raise Exception("a plain one")
        if os.environ.get("STAND_IN_RAISES") == "nan":
            level = level * float("nan")
        return {"video": noise["video"] * 0.05 + level + shift, "audio": noise["audio"] * 0.05 + level}
""",
    "common.py": """
import av
def save_video(frames, path, fps):
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=fps)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        file.mux(stream.encode())
""",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "MM-Diffusion"
    (folder / "mm_diffusion").mkdir(parents=True)
    (folder / "models").mkdir()
    for name, text in MODULES.items():
        (folder / "mm_diffusion" / name).write_text(text)
    for number, name in enumerate(("Landscape", "Landscape_SR", "AIST++", "AIST++_SR")):
        torch.save({"weight": torch.tensor(number / 10)}, folder / f"models/{name}.pt")
    return folder


def generate(checkout: Path, out: Path, settings: GenerateSettings | None = None, **params: str) -> Path:
    suite = load_suite("landscape").limited(2)
    given = {"repo": str(checkout), "timeout_s": "120", **params}
    folder = javisbench.generate("mm-diffusion", suite=suite, params=given, out=out, settings=settings)
    assert read_jsonl(folder / "failures.jsonl") == []
    return folder


@pytest.fixture
def adapter(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """The adapter's program in this process: requests in, answers out."""
    # The program finds its neighbours by the folder that it stands in.
    monkeypatch.syspath_prepend(ADAPTER.parent)
    spec = importlib.util.spec_from_file_location("mm_diffusion_recipe", ADAPTER)
    assert spec is not None and spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    monkeypatch.chdir(checkout)

    def ask(*requests: dict[str, Any]) -> list[dict[str, Any]]:
        models = checkout / "models"
        words = ["--repo", str(checkout), "--base", f"{models}/Landscape.pt", "--large", f"{models}/Landscape_SR.pt"]
        answers = io.StringIO()
        monkeypatch.setattr(sys, "argv", ["adapter", *words])
        monkeypatch.setattr(sys, "path", ["", *sys.path])
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(json.dumps(request) + "\n" for request in requests)))
        monkeypatch.setattr(sys, "stdout", answers)
        with torch.random.fork_rng():
            program.serve(program.load)
        return [json.loads(line) for line in answers.getvalue().splitlines()]

    yield ask
    for name in [name for name in sys.modules if name.partition(".")[0] == "mm_diffusion"]:
        del sys.modules[name]


@pytest.mark.parametrize("count", [1, 3])
def test_any_number_of_clips_is_made_though_the_sampler_fails_with_one_row(
    adapter: Callable[..., list[dict[str, Any]]], tmp_path: Path, count: int
) -> None:
    requests = [{"id": f"s{n}", "seed": 7 + n, "output": str(tmp_path / f"s{n}")} for n in range(count)]
    assert adapter(*requests) == [{"id": f"s{n}", "status": "ok", "info": {}} for n in range(count)]
    clips = [read_clip(tmp_path / f"s{n}.mp4") for n in range(count)]
    assert [clip.frames.shape for clip in clips] == [(16, 256, 256, 3)] * count
    assert all((tmp_path / f"s{n}.wav").stat().st_size == 44 + 2 * 25600 for n in range(count))
    if count > 1:
        # A clip depends on its seed alone, not on the clips before it.
        last = {**requests[-1], "output": str(tmp_path / "again")}
        assert adapter(last)[0]["status"] == "ok"
        assert (tmp_path / "again.wav").read_bytes() == (tmp_path / f"s{count - 1}.wav").read_bytes()
        assert (tmp_path / "again.wav").read_bytes() != (tmp_path / "s0.wav").read_bytes()


@pytest.mark.parametrize(
    ("how", "kind", "told"),
    [("plain", "exception", "Exception: a plain one"), ("nan", "non_finite", "not finite")],
)
def test_what_the_original_raises_never_passes_for_a_clip(
    adapter: Callable[..., list[dict[str, Any]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    kind: str,
    told: str,
) -> None:
    monkeypatch.setenv("STAND_IN_RAISES", how)
    answers = adapter(*({"id": name, "seed": 1, "output": str(tmp_path / name)} for name in ("a", "b")))
    assert [(answer["id"], answer["status"], answer["kind"]) for answer in answers] == [
        ("a", "failed", kind),
        ("b", "failed", kind),
    ]
    assert told in answers[0]["message"]
    assert not list(tmp_path.glob("[ab].*"))


@pytest.mark.slow
def test_clips_of_both_checkpoints_depend_on_their_seeds_alone(checkout: Path, tmp_path: Path) -> None:
    levels = {}
    for checkpoint in ("landscape", "aist++"):
        folder = generate(checkout, tmp_path / checkpoint, checkpoint=checkpoint)
        clip = read_clip(folder / "clips/sample_0001.mp4")
        assert (clip.frames.shape, clip.fps) == ((16, 256, 256, 3), 10)
        assert clip.audio is not None
        assert (clip.audio.shape, clip.sample_rate) == ((1, 25600), 16000)
        levels[checkpoint] = float(clip.audio.mean())
    # The stand-in's base models have weights 0 and 0.2, which is the mean of their sound.
    assert levels == pytest.approx({"landscape": 0.0, "aist++": 0.2}, abs=2e-3)
    parameters = read_json(folder / "clips/sample_0000.json")["model"]["parameters"]
    assert parameters == {"checkpoint": "aist++"}
    hashed = read_json(folder / "run.json")["model"]["weights"]
    assert (set(hashed["base"]), set(hashed["large"])) == ({"AIST++.pt"}, {"AIST++_SR.pt"})
    assert set(hashed["code"]) == set(MODULES)
    assert set(hashed["recipe"]) == {"mm_diffusion.py", "serving.py"}
    shard = generate(checkout, tmp_path / "shard", GenerateSettings(shard=(1, 2)), checkpoint="aist++")
    for suffix in ("mp4", "wav"):
        clips = [run / f"clips/sample_0001.{suffix}" for run in (folder, shard)]
        assert clips[0].read_bytes() == clips[1].read_bytes()
    one, other = (read_clip(folder / f"clips/sample_000{number}.mp4") for number in (0, 1))
    assert not np.array_equal(one.frames, other.frames)


def test_suites_with_prompts_are_refused_with_the_reason(tmp_path: Path, tiny_suite: Suite) -> None:
    with pytest.raises(GenerationError, match=r"unconditional.*cannot follow the prompts.*landscape"):
        javisbench.generate("mm-diffusion", suite=tiny_suite, out=tmp_path / "run")


def test_the_plan_is_its_one_setting() -> None:
    suite = load_suite("aist++")
    assert MMDiffusion().plan(suite.setting).notes == ()
    plan = MMDiffusion().plan(ClipSpec())
    assert (plan.frames, plan.audio_samples) == (16, 25600)
    assert len(plan.notes) == 4
    assert replace(plan, notes=()) == MMDiffusion().plan(suite.setting)


def test_a_clip_that_is_not_its_one_is_a_failure(checkout: Path, tmp_path: Path) -> None:
    """A stand-in of the program that answers with silence, and with half of a clip."""
    program = tmp_path / "program.py"
    program.write_text(
        "import json, shutil, sys\n"
        "for number, line in enumerate(sys.stdin):\n"
        "    request = json.loads(line)\n"
        f"    made = {str(tmp_path)!r} + '/' + ('silent', 'short')[number]\n"
        "    for suffix in ('.mp4', '.wav'):\n"
        "        shutil.copy(made + suffix, request['output'] + suffix)\n"
        "    print(json.dumps({'id': request['id'], 'status': 'ok'}), flush=True)\n"
    )
    sound = np.full((1, 25600), 0.1, np.float32)
    frames = np.zeros((16, 256, 256, 3), np.uint8)
    write_clip(Clip(frames, Fraction(10), 0 * sound, 16000), tmp_path / "silent.mp4", tmp_path / "silent.wav")
    write_clip(Clip(frames[:8], Fraction(10), sound, 16000), tmp_path / "short.mp4", tmp_path / "short.wav")
    model = MMDiffusion(params={"repo": str(checkout), "timeout_s": "60"})
    model.load("cpu", "auto", WeightStore())
    model._argv = [sys.executable, str(program)]
    suite = load_suite("landscape").limited(2)
    plan = model.plan(suite.setting)
    answers = [a for s in suite for a in model.generate([Request(s, s.index, 0, 7, plan, s.prompts)])]
    model.close()
    assert [(type(answer), answer.kind) for answer in answers if isinstance(answer, Failed)] == [
        (Failed, "silent"),
        (Failed, "shape"),
    ]


def test_the_recipe_decides_clips_too(checkout: Path) -> None:
    found = MMDiffusion(params={"repo": str(checkout)}).files(WeightStore())
    assert [path.name for path in found["recipe"]] == ["mm_diffusion.py", "serving.py"]
    assert all(path.is_file() for paths in found.values() for path in paths)


def test_what_is_not_there_is_told(checkout: Path, tmp_path: Path) -> None:
    store = WeightStore()
    with pytest.raises(UsageError, match="repo=FOLDER"):
        MMDiffusion().load("cpu", "auto", store)
    with pytest.raises(UsageError, match=r"is no checkout.*repo=FOLDER"):
        MMDiffusion(params={"repo": str(tmp_path)}).load("cpu", "auto", store)
    (checkout / "models/AIST++_SR.pt").unlink()
    with pytest.raises(MissingWeightsError, match=r"aist\+\+_sr\.pt"):
        MMDiffusion(params={"repo": str(checkout), "checkpoint": "aist++"}).load("cpu", "auto", store)
    with pytest.raises(UsageError, match="no file nowhere"):
        MMDiffusion(params={"repo": str(checkout), "base": "nowhere"}).load("cpu", "auto", store)
    with pytest.raises(GenerationError, match="does not exist"):
        MMDiffusion(params={"repo": str(checkout), "python": "./nopython"}).load("cpu", "auto", store)


@pytest.mark.parametrize(
    ("variant", "params", "told"),
    [
        ("aist++", {}, "no variants"),
        (None, {"checkpoint": "dance"}, "landscape or aist"),
        (None, {"checkpont": "landscape"}, "Did you mean 'checkpoint'"),
    ],
)
def test_bad_parameters_are_named(variant: str | None, params: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        MMDiffusion(variant, params)
