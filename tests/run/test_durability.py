"""Runs that are killed, crowded, starved of disk and memory: nothing is lost, and going on gives the same numbers."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import javisbench
from javisbench.api import Result
from javisbench.durable import locked, read_json, read_jsonl, write_json
from javisbench.errors import RunError, SystemFaultError
from javisbench.media import process
from javisbench.metrics.encoders.flow import FlowEncoder
from javisbench.results.run_folder import load_result
from javisbench.run.features import FeatureStore
from javisbench.suite import Suite

METRICS = ["av_align", "health_*"]
PROMPTS = ("rain", "a dog", "refuse this", "wind", "a bell", "a drum")

# One whole job in a process of its own, at the tiny setting of conftest.py.
JOB = """
import sys
from dataclasses import replace
from fractions import Fraction
import javisbench
from javisbench.clip import ClipSpec
from javisbench.suite import load_suite
setting = ClipSpec(width=64, height=48, duration_s=1.0, fps=Fraction(8), sample_rate=8000)
suite = replace(load_suite(sys.argv[1]), setting=setting)
print("begun", flush=True)
metrics = ["av_align", "health_*"]
javisbench.evaluate("python:tiny_noise:Noise", suite=suite, out=sys.argv[2], metrics=metrics, workers=1, device="cpu")
"""


@pytest.fixture
def suite(tiny_suite: Callable[..., Suite]) -> Suite:
    return tiny_suite(*PROMPTS)


def evaluate(noise: str, suite: Suite, out: Path) -> javisbench.api.Result:
    return javisbench.evaluate(noise, suite=suite, out=out, metrics=METRICS, workers=1)


def files(run: Path) -> dict[str, bytes]:
    """What a run is for, by name."""
    names = ("scores.parquet", "details.parquet", "summary.json", "failures.jsonl")
    clips = [*(run / "clips").glob("*.mp4"), *(run / "clips").glob("*.wav")]
    return {str(path.relative_to(run)): path.read_bytes() for path in [*(run / name for name in names), *clips]}


def stamps(run: Path) -> dict[str, int]:
    """When the sidecar of each finished clip was written."""
    return {path.name: path.stat().st_mtime_ns for path in (run / "clips").glob("[!.]*.json")}


def leftovers(run: Path) -> list[Path]:
    return [path for path in run.rglob("*") if ".tmp" in path.name or path.name == "staging"]


def start(command: list[str], **more: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        **more,
    )  # fmt: skip


def kill(job: subprocess.Popen[str]) -> None:
    """As the machine's end would: the process and its children, without a word."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    assert job.stdout is not None
    job.stdout.close()


def wait_for(condition: Callable[[], bool], job: subprocess.Popen[str]) -> None:
    while not condition() and job.poll() is None:
        time.sleep(0.002)


def clips_and_no_features(run: Path) -> bool:
    return len(list((run / "clips").glob("[!.]*.json"))) == 5


# Moments in a job's life, told by what lies in its folder.
MOMENTS: dict[str, Callable[[Path], bool]] = {
    "at the first file": lambda run: (run / "run.json").exists(),
    "while a clip is written": lambda run: any((run / "clips").glob(".*.tmp.mp4")),
    "between generating and scoring": clips_and_no_features,
    "once features are stored": lambda run: any((run / "features").glob("shard-*")),
}


def test_a_run_killed_again_and_again_ends_like_one_that_was_not(noise: str, suite: Suite, tmp_path: Path) -> None:
    whole = evaluate(noise, suite, tmp_path / "whole").folder
    run = tmp_path / "killed"
    finished: dict[str, int] = {}
    for moment in MOMENTS.values():
        job = start([sys.executable, "-c", JOB, suite.source, str(run)])
        wait_for(lambda reached=moment: reached(run), job)  # type: ignore[misc]
        kill(job)
        assert not (run / "summary.json").exists(), "killed too late to show anything"
        assert finished.items() <= stamps(run).items(), "what is finished is not made again"
        finished = stamps(run)
    assert len(finished) == 5
    assert evaluate(noise, suite, run).folder == run
    assert stamps(run) == finished
    assert files(run) == files(whole)
    assert leftovers(run) == []


def test_a_clip_without_its_sidecar_is_made_again_and_never_scored(noise: str, suite: Suite, tmp_path: Path) -> None:
    run = evaluate(noise, suite, tmp_path / "run").folder
    expected = files(run)
    (run / "clips/sample_0000.json").unlink()
    (run / "clips/sample_0000.mp4").write_bytes((run / "clips/sample_0001.mp4").read_bytes())
    evaluate(noise, suite, run)
    assert files(run) == expected


# How many of the 20 kills fall into each stage; within it, the moment is random. Drawn over the whole run, none would
# fall into the last stage, which lasts milliseconds.
KILLS = {"starting": 2, "generating": 8, "decoding and encoding": 6, "scoring": 4}


WRITTEN = ("scores.parquet", "details.parquet", "samples.parquet", "summary.json")


def stage_of(log_text: str) -> str:
    """The stage that a job was last seen in, from its part of the log."""
    begun = re.findall(
        r"INFO javisbench\.run\.log: (generating|decoding and encoding|scoring)[^:]*: \d+ clips", log_text
    )
    return begun[-1] if begun else "starting"


class Watched:
    """A job in a process of its own, and its part of the run's log."""

    def __init__(self, command: list[str], run: Path) -> None:
        self.log, self.run = run / "log.txt", run
        self.skipped = self.log.stat().st_size if self.log.exists() else 0
        self.before = self.stamps
        self.job = start([*command, str(run)])

    @property
    def stage(self) -> str:
        text = self.log.read_text()[self.skipped :] if self.log.exists() else ""
        return stage_of(text)

    @property
    def stamps(self) -> dict[str, int]:
        """When each of the files was written that scoring writes one after the other."""
        found = [self.run / name for name in WRITTEN]
        return {path.name: path.stat().st_mtime_ns for path in found if path.exists()}

    def wrote(self, name: str) -> bool:
        """Whether this job has written the file."""
        return self.stamps.get(name) != self.before.get(name)

    @property
    def clips(self) -> int:
        return len(list((self.run / "clips").glob("[!.]*.json")))

    def wait(self, condition: Callable[[], bool]) -> None:
        wait_for(condition, self.job)

    def durations(self) -> dict[str, float]:
        """Run to the end; seconds in each stage."""
        spent: dict[str, float] = {}
        before = time.monotonic()
        while self.job.poll() is None:
            time.sleep(0.002)
            now = time.monotonic()
            spent[self.stage] = spent.get(self.stage, 0.0) + now - before
            before = now
        return spent


def kill_in(stage: str, share: float, whole: dict[str, float], count: int, command: list[str], run: Path) -> str:
    """Start the job, kill it when `share` of a stage is over, and tell the stage that it was killed in."""
    watched = Watched(command, run)
    if stage == "generating":
        # Clips stay, so each job begins later in this stage: the share is of all clips.
        watched.wait(lambda: watched.clips >= int(share * count))
        pause = share * count % 1 * whole[stage] / count
    elif stage == "scoring":
        name = WRITTEN[int(share * len(WRITTEN))]
        watched.wait(lambda: watched.wrote(name) or (name == WRITTEN[-1] and watched.stage == stage))
        pause = 0.0
    else:
        watched.wait(lambda: watched.stage == stage)
        pause = share * whole[stage]
    until = time.monotonic() + pause
    watched.wait(lambda: time.monotonic() >= until)
    ended = watched.job.poll() is not None
    kill(watched.job)
    return "after the end" if ended else "printing" if watched.wrote("summary.json") else watched.stage


@pytest.mark.slow
def test_the_demo_suite_killed_at_20_random_moments(tmp_path: Path) -> None:
    """`eval` on the demo suite, killed 20 times over starting, generating, encoding, scoring and writing."""
    count = 12
    arguments = ["--model", "procedural", "--suite", "demo", "--limit", str(count), "--metrics", "av_align,health_*"]
    command = [sys.executable, "-m", "javisbench", "eval", *arguments, "--workers", "1", "-q", "--out"]
    whole = Watched(command, tmp_path / "whole").durations()
    random_shares, run, reached = random.Random(20), tmp_path / "killed", []
    for stage, kills in KILLS.items():
        for share in sorted(random_shares.random() for _ in range(kills)):
            reached.append((kill_in(stage, share, whole, count, command, run), (run / "summary.json").exists()))
    hit = Counter(stage for stage, _ in reached)
    print("seconds of the whole run:", {stage: round(seconds, 1) for stage, seconds in whole.items()})
    print("kills by stage:", dict(hit), "; after summary.json:", sum(written for _, written in reached))
    last = start([*command, str(run)])
    assert last.communicate()[0] and last.returncode == 0
    assert len(reached) == 20
    assert hit["generating"] >= 5 and hit["decoding and encoding"] >= 4 and hit["scoring"] >= 2
    assert files(run) == files(tmp_path / "whole")
    assert leftovers(run) == []


def test_the_second_process_is_refused_with_the_firsts_name(noise: str, suite: Suite, tmp_path: Path) -> None:
    run = tmp_path / "run"
    job = start([sys.executable, "-c", JOB, suite.source, str(run)])
    try:
        wait_for(lambda: (run / "clips").exists(), job)
        with pytest.raises(RunError, match=f"process {job.pid} on") as caught:
            evaluate(noise, suite, run)
        assert caught.value.kind == "locked"
    finally:
        kill(job)
    evaluate(noise, suite, run)


def failing(monkeypatch: pytest.MonkeyPatch, code: int, part_of_name: str) -> list[str]:
    """From now on, nothing whose name has this part can be put in its place. Returns the names that were tried."""
    tried: list[str] = []
    original = Path.replace

    def replace(self: Path, target: str | Path) -> Path:
        if part_of_name in Path(target).name:
            tried.append(Path(target).name)
            raise OSError(code, os.strerror(code))
        return original(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    return tried


@pytest.mark.parametrize(
    "name", ["sample_0001.mp4", "sample_0001.wav", "sample_0001.json", "shard-", "scores.parquet", "summary.json"]
)
@pytest.mark.parametrize(("code", "kind"), [(errno.ENOSPC, "no_space"), (errno.EACCES, "not_writable")])
def test_a_disk_in_trouble_stops_the_run_and_loses_nothing(
    noise: str, suite: Suite, tmp_path: Path, name: str, code: int, kind: str
) -> None:
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        tried = failing(patch, code, name)
        with pytest.raises(RunError, match="Nothing written so far is lost") as caught:
            evaluate(noise, suite, run)
    assert (caught.value.kind, caught.value.exit_code) == (kind, 3)
    assert tried
    assert leftovers(run) == []
    made = {path.name: path.stat().st_mtime_ns for path in (run / "clips").glob("[!.]*.json")}
    assert "sample_0000.json" in made
    # A full disk is the disk's fault: no clip is listed for it.
    assert {row["kind"] for row in read_jsonl(run / "failures.jsonl")} <= {"refused"}
    result = evaluate(noise, suite, run)
    assert result.summary["run"]["clips"] == 5
    assert {name: (run / "clips" / name).stat().st_mtime_ns for name in made} == made


def test_a_full_disk_is_seen_when_the_library_does_not_say_so(
    noise: str, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    import soundfile

    def write(*_: Any, **__: Any) -> None:
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr(soundfile, "write", write)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 0))  # type: ignore[attr-defined]
    with pytest.raises(RunError) as caught:
        evaluate(noise, suite, tmp_path / "run")
    assert caught.value.kind == "no_space"


def test_a_clip_that_cannot_be_encoded_is_its_own_fault(
    noise: str, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile

    original, calls = soundfile.write, iter(range(100))

    def write(*given: Any, **more: Any) -> None:
        if next(calls) == 1:
            raise soundfile.LibsndfileError(2)
        original(*given, **more)

    monkeypatch.setattr(soundfile, "write", write)
    result = evaluate(noise, suite, tmp_path / "run")
    assert [(f["sample_id"], f["kind"]) for f in result.summary["failures"]] == [
        ("sample_0001", "cannot_write"),
        ("sample_0002", "refused"),
    ]


@pytest.fixture
def every_message() -> Iterator[logging.Logger]:
    """The package's logger, let through everything as the command line does."""
    package = logging.getLogger("javisbench")
    before = package.level
    package.setLevel(logging.DEBUG)
    yield package
    package.setLevel(before)


def test_a_log_that_cannot_be_written_stops_nothing(
    noise: str, suite: Suite, tmp_path: Path, every_message: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    (run / "log.txt").mkdir(parents=True)
    evaluate(noise, suite, run)
    assert "Traceback" not in capsys.readouterr().err


def test_the_log_tells_what_happened(noise: str, suite: Suite, tmp_path: Path, every_message: logging.Logger) -> None:
    handlers = list(every_message.handlers)
    run = evaluate(noise, suite, tmp_path / "run").folder
    text = (run / "log.txt").read_text()
    for told in ("generating: 6 clips", "sample_0002 failed: refused: no refuse this", "decoding and encoding: 5 of 5"):
        assert told in text
    assert every_message.handlers == handlers


def test_what_keeps_a_run_off_boards_is_told_once_and_in_its_log(
    noise: str, tiny_suite: Callable[..., Suite], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = logging.getLogger("javisbench.run.plan")
    monkeypatch.setattr("javisbench.run.plan.warn_of_other_weights", lambda plan: package.warning("other weights"))
    options = {"suite": tiny_suite("rain"), "metrics": ["health_silence"], "workers": 1}
    made = javisbench.evaluate(noise, out=tmp_path / "made", **options).folder
    scored = javisbench.score(made / "clips", out=tmp_path / "scored", **options)
    assert isinstance(scored, Result)
    for run in (made, scored.folder):
        assert (run / "log.txt").read_text().count("other weights") == 1


def test_a_decoding_process_that_dies_costs_its_clip(
    noise: str, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, send = process.Worker.stream, process.send

    def stream(self: process.Worker, source: Any, open_clip: Any) -> Any:
        if source.sample_id != "sample_0003":
            return original(self, source, open_clip)
        self._connected()
        assert self.process is not None
        pid = self.process.pid

        def send_and_kill(*arguments: Any) -> None:
            send(*arguments)
            os.kill(pid, signal.SIGKILL)

        # In the middle of a clip: the process is given its clip, and cannot answer before it dies.
        os.kill(pid, signal.SIGSTOP)
        with monkeypatch.context() as patch:
            patch.setattr(process, "send", send_and_kill)
            return original(self, source, open_clip)

    monkeypatch.setattr(process.Worker, "stream", stream)
    result = javisbench.evaluate(noise, suite=suite, out=tmp_path / "run", metrics=METRICS, workers=1, patience_s=0)
    listed = [(f["sample_id"], f["stage"], f["kind"]) for f in result.summary["failures"]]
    assert listed == [("sample_0002", "generate", "refused"), ("sample_0003", "decode", "worker_died")]
    assert result.summary["metrics"]["av_align"]["overall"]["n"] == 4


def test_an_encoder_out_of_memory_goes_on_with_half_a_batch(
    noise: str, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = evaluate(noise, suite, tmp_path / "whole").scores
    original, sizes = FlowEncoder.features, []

    def features(self: FlowEncoder, intakes: Any) -> Any:
        sizes.append(len(intakes))
        if len(intakes) > 1:
            raise MemoryError("too many")
        return original(self, intakes)

    monkeypatch.setattr(FlowEncoder, "features", features)
    # As a network, which is shown several clips at a time.
    monkeypatch.setattr(FlowEncoder, "card", replace(FlowEncoder.card, host=False))
    result = javisbench.evaluate(noise, suite=suite, out=tmp_path / "run", metrics=METRICS, workers=1, batch_clips=4)
    assert sizes == [4, 2, 1, 1, 2, 1, 1, 1]
    assert result.scores.equals(expected)


@pytest.mark.parametrize("stage", ["intake", "features"])
def test_an_encoder_always_out_of_memory_costs_its_metric_alone(
    noise: str, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def no_room(self: FlowEncoder, *_: Any) -> Any:
        raise MemoryError("no room at all")

    monkeypatch.setattr(FlowEncoder, stage, no_room)
    result = evaluate(noise, suite, tmp_path / "run")
    assert result.summary["metrics"]["av_align"]["overall"]["status"] == "failed"
    assert result.summary["metrics"]["health_silence"]["overall"]["n"] == 5


def test_clocks_that_jump_change_nothing(
    noise: str, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate(noise, suite, tmp_path / "whole").folder
    jumps = random.Random(0)
    monkeypatch.setattr(time, "time", lambda: jumps.uniform(0, 4e9))
    run = evaluate(noise, suite, tmp_path / "run").folder
    for path in (run / "clips").iterdir():
        moment = jumps.uniform(0, 4e9)
        os.utime(path, (moment, moment))
    made = {path.name: path.stat().st_mtime for path in (run / "clips").iterdir()}
    evaluate(noise, suite, run)
    assert {path.name: path.stat().st_mtime for path in (run / "clips").iterdir()} == made
    assert files(run) == files(whole)


def test_torn_last_lines_are_passed_over(noise: str, suite: Suite, tmp_path: Path) -> None:
    run = evaluate(noise, suite, tmp_path / "run").folder
    expected = files(run)
    with (run / "failures.jsonl").open("ab") as file:
        file.write(b'{"sample_id": "sample_00')
    with (run / "log.txt").open("ab") as file:
        file.write(b"2026-11-2")
    evaluate(noise, suite, run)
    assert files(run) == expected


def test_damaged_feature_shards_are_made_again(noise: str, suite: Suite, tmp_path: Path) -> None:
    run = evaluate(noise, suite, tmp_path / "run").folder
    expected = files(run)
    shards = sorted((run / "features").glob("shard-*"))
    shards[-1].write_bytes(shards[-1].read_bytes()[:100])
    evaluate(noise, suite, run)
    assert files(run) == expected
    assert len(FeatureStore(run / "features")) > 0


def test_what_a_disk_spoils_is_named_and_put_right_by_the_same_command(
    noise: str, suite: Suite, tmp_path: Path, every_message: logging.Logger
) -> None:
    run = evaluate(noise, suite, tmp_path / "run").folder
    expected = files(run)
    (run / "run.json").write_text((run / "run.json").read_text().replace('"seed": 0', '"seed": 1'))
    (run / "summary.json").write_text((run / "summary.json").read_text().replace('"n": 5', '"n": 4'))
    for path in (run / "scores.parquet", *(run / "features").glob("shard-*")):
        data = bytearray(path.read_bytes())
        data[-9] ^= 4
        path.write_bytes(data)
    with pytest.raises(RunError, match=r"run\.json is not as it was written"):
        load_result(run)
    evaluate(noise, suite, run)
    assert files(run) == expected
    assert load_result(run).manifest["generation"]["seed"] == 0
    assert (run / "run.json.damaged").exists()
    assert "has rotted" in (run / "log.txt").read_text()


def test_a_folder_that_vanishes_under_a_job_is_told_and_no_result(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(SystemFaultError, match="not the folder any more"), locked(run):
        run.rename(tmp_path / "away")
        write_json(run / "summary.json", {"where": "on the disk that the file system was mounted on"})


def test_a_damaged_sidecar_costs_one_clip(noise: str, suite: Suite, tmp_path: Path) -> None:
    run = evaluate(noise, suite, tmp_path / "run").folder
    expected = files(run)
    (run / "clips/sample_0001.json").write_text('{"key": "ab')
    evaluate(noise, suite, run)
    assert files(run) == expected
    assert read_json(run / "clips/sample_0001.json")["sample_id"] == "sample_0001"


def test_the_lock_survives_a_crash_of_its_holder(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": "long ago"}))
    with locked(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()


@pytest.mark.slow
def test_scoring_a_thousand_unchanged_clips_again_is_quick(noise: str, suite: Suite, tmp_path: Path) -> None:
    """With stored features, files of 1 MiB and two threads: under 10 s."""
    made = javisbench.generate(noise, suite=suite.limited(1), out=tmp_path / "one") / "clips"
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(1000):
        # A box that players skip makes every file another one, of a size as large as real clips.
        filling = str(number).encode().ljust(2**20)
        box = (8 + len(filling)).to_bytes(4, "big") + b"free" + filling
        (clips / f"sample_{number:04d}.mp4").write_bytes((made / "sample_0000.mp4").read_bytes() + box)
        (clips / f"sample_{number:04d}.wav").write_bytes((made / "sample_0000.wav").read_bytes())
    (tmp_path / "many.csv").write_text("text\n" + "".join(f"prompt {number}\n" for number in range(1000)))

    def score() -> javisbench.api.Result:
        return javisbench.score(
            clips, suite=str(tmp_path / "many.csv"), out=tmp_path / "run", metrics=METRICS, workers=2
        )

    first = score()
    began = time.monotonic()
    again = score()
    seconds = time.monotonic() - began
    print(f"scored 1,000 clips again in {seconds:.1f} s")
    assert again.scores.equals(first.scores)
    assert seconds < 120  # minutes, if anything were decoded or encoded again
