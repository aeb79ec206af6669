"""Clips encoded while others are made: the tables and features of one after the other, whatever dies on the way."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import javisbench
from javisbench.baselines.registry import create_generator
from javisbench.errors import RunError, UsageError
from javisbench.metrics.encoders import ENCODERS
from javisbench.protocol import V1
from javisbench.reference.wanted import EncoderChoice
from javisbench.run import following
from javisbench.run.content_index import ContentIndex
from javisbench.run.device import keep_back
from javisbench.run.device_messages import Block, Failed, Outcome, Setup
from javisbench.run.encode import encode_clips
from javisbench.run.encode_session import EncodeSession
from javisbench.run.features import FeatureStore
from javisbench.run.following import Overlap, overlap_of
from javisbench.run.generate import GenerateSettings
from javisbench.run.plan import ScorePlan, make_plan
from javisbench.run.progress import Silent
from javisbench.suite import load_suite
from javisbench.weights import WeightStore

RESULTS = ("scores.parquet", "details.parquet", "samples.parquet", "failures.jsonl", "summary.json")
METRICS = ["health_black", "health_silence"]
PROMPTS = ("a", "b", "refuse this", "c", "d", "e", "f", "g last")
AHEAD = "encoded while others were made"

MODEL = '''
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from javisbench.baselines.base import Failed, Generated, Generator, Plan
from javisbench.clip import Clip

HERE = Path(__file__).parent


class Slow(Generator):
    """Moving noise with clicks. Before the last clip it waits for what is told beside this file."""

    card_id = "slow"

    def plan(self, spec):
        return Plan(64, 48, 8, Fraction(8), 8000, 8000)

    def generate(self, batch):
        for request in batch:
            if "refuse" in request.prompts["text"]:
                yield Failed(request, "generate", "refused", "not this", retryable=False)
                continue
            if "last" in request.prompts["text"]:
                while (HERE / "wait").exists() and not self.may_go():
                    time.sleep(0.02)
            # Two prompts of one clip.
            random = np.random.default_rng(7 if request.prompts["text"] in "bd" else request.seed)
            still = random.integers(0, 256, (48, 64, 3)).astype(np.uint8)
            audio = 0.01 * random.standard_normal(8000).astype(np.float32)
            audio[::2000] = 0.9
            frames = np.stack([np.roll(still, step, 1) for step in np.cumsum(random.integers(0, 5, 8))])
            yield Generated(request, Clip(frames, Fraction(8), audio[None], 8000, "sidecar"))

    def may_go(self):
        """Once some clips are encoded, once there is a file of that name, or never."""
        told = (HERE / "wait").read_text()
        ahead = any(self.staging.parent.glob("features/shard-*-*"))
        return ahead if told == "ahead" else (HERE / told).exists()
'''


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The model; `told` says what it waits for."""
    name = f"slow_{abs(hash(str(tmp_path))):x}"
    (tmp_path / f"{name}.py").write_text(MODEL)
    (tmp_path / "suite.csv").write_text("text\n" + "".join(f"{prompt}\n" for prompt in PROMPTS))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(following, "_SINGLE_CLIPS", 2)
    yield f"python:{name}:Slow"
    sys.modules.pop(name, None)


class Said(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def run(slow: str, tmp_path: Path, said: Said) -> Callable[..., Path]:
    def go(out: str, wait: str | None = None, **more: Any) -> Path:
        (tmp_path / "wait").unlink(missing_ok=True)
        if wait is not None:
            (tmp_path / "wait").write_text(wait)
        given = {"device": "cpu", "workers": 1, "metrics": METRICS, "progress": said, **more}
        return javisbench.evaluate(slow, suite=str(tmp_path / "suite.csv"), out=tmp_path / out, **given).folder

    return go


def features(run: Path) -> dict[str, dict[str, Any]]:
    store = FeatureStore(run / "features")
    return {key: store.get(key) for key in store}


def same(one: Path, other: Path) -> None:
    for name in RESULTS:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    ours, theirs = features(one), features(other)
    assert ours.keys() == theirs.keys()
    for key, arrays in ours.items():
        assert arrays.keys() == theirs[key].keys()
        assert all(np.array_equal(array, theirs[key][name]) for name, array in arrays.items())


class Here:
    """In place of a process: encodes in the thread that waits for it."""

    def __init__(self, device: str, setup: Callable[[], Setup]) -> None:
        how = setup()
        assert how.beside_bytes == following.needed_bytes(ScorePlan([], {}), "cpu")
        choices = ((name, variant, ENCODERS.get(name), weights) for name, (variant, weights) in how.encoders.items())
        encoders = {choice.name: choice for choice in (EncoderChoice(*facts) for facts in choices)}
        store = FeatureStore(how.folder, how.writer)
        self.session = EncodeSession(encoders, store, device, how.workers, how.batch_clips)
        self.blocks: list[Block] = []

    def send(self, block: Block) -> None:
        self.blocks.append(block)

    def hear(self) -> Outcome:
        block = self.blocks[-1]
        assert len(block.clips) == 2
        index = ContentIndex({source: content for source, (content, _) in block.clips.items()})
        encode_clips({source: specs for source, (_, specs) in block.clips.items()}, index, self.session, Silent())
        return Outcome(index.errors, {}, {})

    def kill(self) -> None: ...
    def end(self) -> None: ...


def check_beside(run: Callable[..., Path], said: Said) -> None:
    after = run("after", overlap=False)
    assert "Clips are encoded after all are made: --no-overlap" in said.lines
    beside = run("beside", wait="ahead", overlap=True)
    same(beside, after)
    assert "Clips are encoded while others are made: --overlap" in said.lines
    [ahead] = [line for line in said.lines if AHEAD in line]
    assert re.fullmatch(rf"Clips: at least [0246] of 8 were {AHEAD}", ahead), ahead


def test_tables_and_features_are_those_of_one_after_the_other(
    run: Callable[..., Path], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "DeviceWorker", Here)
    check_beside(run, said)


@pytest.mark.slow  # 6 s: a process more
@pytest.mark.parametrize("device", ["cpu", "cpu,cpu"])
def test_so_they_are_from_processes_of_their_own(device: str, run: Callable[..., Path], said: Said) -> None:
    check_beside(lambda out, **more: run(out, device=device, metrics=["av_align", *METRICS], **more), said)


class Refuses:
    """In place of a process: says at once that it cannot work."""

    heard: Path

    def __init__(self, device: str, *_: Any) -> None:
        self.device = device

    def send(self, _: Any) -> None: ...
    def kill(self) -> None: ...
    def end(self) -> None: ...

    def hear(self) -> Any:
        self.heard.touch()
        return Failed(OSError(28, "No space left on device"))


def test_a_process_that_cannot_work_costs_nothing(
    run: Callable[..., Path],
    said: Said,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Refuses, "heard", tmp_path / "heard", raising=False)
    monkeypatch.setattr(following, "DeviceWorker", Refuses)
    run("run", wait="heard", overlap=True, metrics=["health_silence"])
    assert f"No more clips were {AHEAD}: " in caplog.text and "No space left" in caplog.text
    assert f"Clips: at least 0 of 8 were {AHEAD}" in said.lines


def test_a_model_that_fails_ends_the_follower_too(run: Callable[..., Path], tmp_path: Path) -> None:
    """The other way round: too many failures end the run, and nothing waits for the clips at hand."""
    with pytest.raises(RunError, match="more than --max-failures 0 allows"):
        run("run", overlap=True, settings=GenerateSettings(max_failures=0))
    assert [thread for thread in threading.enumerate() if thread.name == "javisbench-follower"] == []


@pytest.fixture(scope="module")
def plan() -> ScorePlan:
    return make_plan(
        load_suite("demo"), [V1], metrics=["health_silence"], variants={}, weights=WeightStore(), has_reference=False
    )


def test_when_clips_are_encoded_while_others_are_made(plan: ScorePlan, tmp_path: Path) -> None:
    here = create_generator("procedural")
    hosted = create_generator("veo-3.1")
    gpu = overlap_of(None, here, "local", ("cuda:0", "cuda:1"), plan)
    assert gpu.on and gpu.told.startswith("Clips are encoded while others are made: if ") and "cuda:0 and" in gpu.told
    assert not overlap_of(None, here, "local", ("cpu",), plan).on
    assert overlap_of(True, here, "local", ("cpu",), plan).on
    assert overlap_of(None, hosted, "local", ("cpu",), plan).on
    assert overlap_of(False, hosted, "local", ("cuda",), plan) == Overlap(False, "--no-overlap")
    assert not overlap_of(None, hosted, "ray", (), plan).on
    with pytest.raises(UsageError, match="--overlap is for this machine"):
        overlap_of(True, here, "ray", (), plan)
    empty = ScorePlan([], {})
    assert not overlap_of(True, here, "local", ("cpu",), empty).on


def test_weights_count_twice_and_must_be_free(plan: ScorePlan, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(bytes(10))
    weights = SimpleNamespace(path=tmp_path)
    encoders: Any = {"some": SimpleNamespace(weights=weights), "other": SimpleNamespace(weights=None)}
    bare = following.needed_bytes(ScorePlan([], {}), "cpu")
    assert following.needed_bytes(ScorePlan([], encoders), "cpu") == bare + 20
    assert following.needed_bytes(ScorePlan([], {}), "cuda") > bare
    keep_back("cpu", 1)
    with pytest.raises(RunError, match=r"GB of cpu are free beside the model, and the networks may take"):
        keep_back("cpu", 2**60)


@pytest.mark.parametrize(("device", "index"), [("cuda", 0), ("cuda:1", 1)])
def test_a_gpu_gives_no_more_than_the_model_leaves(device: str, index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    capped: list[tuple[float, Any]] = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (30, 80))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *given: capped.append(given))
    keep_back(device, 20)
    assert capped == [(0.25, index)]
    with pytest.raises(RunError, match=rf"of {device} are free beside the model"):
        keep_back(device, 40)


def children(module: str) -> list[int]:
    """Processes of this one that run `module`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and module.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


@pytest.mark.slow  # 6 s: two runs
def test_a_killed_follower_costs_time_alone(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    after = run("after", overlap=False)
    encode = following._Follower._encode

    def killed(follower: Any, block: Any, worker: Any) -> bool:
        """The second block's process is killed as soon as it has it."""
        if follower._encoded:
            [pid] = children("device_process")
            threading.Timer(0.05, os.kill, (pid, signal.SIGKILL)).start()
        return encode(follower, block, worker)

    monkeypatch.setattr(following._Follower, "_encode", killed)
    same(run("beside", wait="ahead", overlap=True), after)
    assert children("device_process") == []


@pytest.mark.slow  # 10 s: three runs
def test_killed_with_all_its_processes_the_same_command_goes_on(
    run: Callable[..., Path], slow: str, tmp_path: Path
) -> None:
    after = run("after", overlap=False)
    script = (
        "import sys; from javisbench.run import following; following._SINGLE_CLIPS = 2\n"
        "from javisbench.cli import main; main(sys.argv[1:])"
    )
    command = [
        sys.executable, "-c", script, "eval", "--model", slow, "--suite", str(tmp_path / "suite.csv"), "--metrics",
        ",".join(METRICS), "--device", "cpu", "--workers", "1", "--overlap", "--out", str(tmp_path / "beside"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    (tmp_path / "wait").write_text("for ever")
    job = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        while job.poll() is None and not list((tmp_path / "beside/features").glob("shard-*-*")):
            time.sleep(0.02)
        assert job.poll() is None, "the job ended before it was killed"
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
    kept = features(tmp_path / "beside")
    assert kept
    (tmp_path / "wait").unlink()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    same(tmp_path / "beside", after)
