"""Clips made by several devices of one machine: the clips of one, whatever dies on the way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import javisbench
from javisbench.durable import read_json, read_jsonl
from javisbench.errors import RunError, SystemFaultError
from javisbench.run import device_making
from javisbench.run.generate import GenerateSettings
from javisbench.suite import Suite

MODEL = '''
import os, signal, time
from fractions import Fraction
from pathlib import Path

import numpy as np

from javisbench.baselines.base import Failed, Generated, Generator, Plan
from javisbench.clip import Clip
from javisbench.errors import RunError

HERE = Path(__file__).parent


class Odd(Generator):
    """Noise; does what the prompts say."""

    card_id = "odd"
    max_batch = 2

    def plan(self, spec):
        return Plan(16, 16, 2, Fraction(8), 800, 8000)

    def load(self, device, dtype, weights):
        if (HERE / "broken").exists():
            raise ValueError("no such network")

    def prepare(self, requests):
        with (HERE / "prepared").open("a") as file:
            file.write(f"{len(requests)} {self.prompt_folder.name} {(HERE / 'made').exists()}\\n")

    def generate(self, batch):
        (HERE / "made").touch()
        for request in batch:
            text = request.prompts["text"]
            if "refused" in text:
                yield Failed(request, "generate", "refused_prompt", "Not this.", retryable=False)
                continue
            if "spent" in text:
                raise RunError("The budget is spent.")
            if "deadly" in text or ("once" in text and not (HERE / "died").exists()):
                (HERE / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            random = np.random.default_rng(request.seed)
            frames = random.integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
            sound = random.uniform(-0.1, 0.1, (1, 800)).astype(np.float32)
            yield Generated(request, Clip(frames, Fraction(8), sound, 8000), {"pid": os.getpid()})
'''


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model whose module says where it was worked with."""
    name = f"odd_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8]}"
    (tmp_path / f"{name}.py").write_text(MODEL)
    monkeypatch.syspath_prepend(str(tmp_path))
    return f"python:{name}:Odd"


def files(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "clips").iterdir()) if path.suffix != ".json"}


def sidecars(run: Path) -> dict[str, dict[str, Any]]:
    """Without what depends on the moment."""
    found = {path.name: read_json(path) for path in sorted((run / "clips").glob("*.json"))}
    return {
        name: {key: value for key, value in facts.items() if key not in ("made_s", "encode_s", "created", "info")}
        for name, facts in found.items()
    }


def made(model: str, suite: Suite, out: Path, device: str = "cpu,cpu", **settings: Any) -> Path:
    return javisbench.generate(model, suite=suite, settings=GenerateSettings(device=device, **settings), out=out)


def test_clips_are_those_of_one_device_and_a_process_that_dies_costs_time_alone(
    odd: str, tiny_suite: Callable[..., Suite], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    suite = tiny_suite("a", "b", "refused", "c", "d once", "e", "f")
    several = made(odd, suite, tmp_path / "several")
    assert "was killed by signal 9; its clips are made again" in caplog.text
    one = made(odd, suite, tmp_path / "one", device="cpu")
    assert len(files(one)) == 12 and files(several) == files(one)
    assert sidecars(several) == sidecars(one)
    assert read_jsonl(several / "failures.jsonl") == read_jsonl(one / "failures.jsonl") != []
    pids = {read_json(path)["info"]["pid"] for path in (several / "clips").glob("*.json")}
    assert os.getpid() not in pids
    assert not (several / "staging").exists()
    lines = (tmp_path / "prepared").read_text().splitlines()
    assert lines[0] == "7 prompts False" and len(lines) >= 3, "the first alone; then the replacement, and one's"


def test_processes_are_of_use_with_few_clips_and_one_is_not_asked_for(
    odd: str, tiny_suite: Callable[..., Suite], tmp_path: Path
) -> None:
    """Two clips, two devices and batches of two: one clip each; nothing is left to do for a third device."""
    run = made(odd, tiny_suite("a", "b"), tmp_path / "run", device="cpu,cpu,cpu")
    assert len(files(run)) == 4
    assert len((tmp_path / "prepared").read_text().splitlines()) <= 2


def test_a_clip_that_kills_each_process_ends_the_run_with_a_sentence(
    odd: str, tiny_suite: Callable[..., Suite], tmp_path: Path
) -> None:
    with pytest.raises(SystemFaultError, match=r"The process of cpu was killed by signal 9 on the same . clips twice"):
        made(odd, tiny_suite("a", "deadly", "b", "c"), tmp_path / "run")
    (tmp_path / "run/run.json").read_bytes()


def test_what_ends_the_work_of_one_ends_the_run(odd: str, tiny_suite: Callable[..., Suite], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="The budget is spent"):
        made(odd, tiny_suite("a", "b", "spent", "c", "d"), tmp_path / "run")
    again = made(odd, tiny_suite("a", "b", "kept", "c", "d"), tmp_path / "run", device="cpu", overwrite=True)
    assert len(files(again)) == 10


def test_a_model_that_does_not_load_says_so(odd: str, tiny_suite: Callable[..., Suite], tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(RunError, match="ended with exit status 1 on the same 2 clips twice"):
        made(odd, tiny_suite("a", "b"), tmp_path / "run")


def test_each_process_sees_its_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """So do the programs that it starts."""
    how = device_making.Making("m", {}, (), None, "cpu", "auto", "native", None, None)  # type: ignore[arg-type]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-6")
    worker = device_making._worker(how, "cuda:1")
    assert worker._environment == {"CUDA_VISIBLE_DEVICES": "GPU-6"}
    making = worker._setup().making  # type: ignore[attr-defined]
    assert (making.device, making.told_device) == ("cuda", "cuda:1")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert device_making._worker(how, "cuda:1")._environment == {"CUDA_VISIBLE_DEVICES": "1"}
    assert device_making._worker(how, "cpu")._environment == {}


def test_a_cascade_is_made_by_processes_too(tiny_suite: Callable[..., Suite], tmp_path: Path) -> None:
    """Its stages' plans are known to the process that makes the clips."""
    suite = tiny_suite("a", "b")
    several = made("cascade:t2v=procedural,t2a=procedural", suite, tmp_path / "several")
    assert files(several) == files(made("cascade:t2v=procedural,t2a=procedural", suite, tmp_path / "one", device="cpu"))
