"""What progress tells: of the whole job, truthfully, and plainly where nobody watches."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from javisbench.cli.progress import Bars, Lines, facts
from javisbench.run.progress import ENCODING, GENERATING, READING, SCORING, Job, Step


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def work(job: Job, clock: Clock, title: str, total: int, done: int, pace_s: float) -> None:
    job.begin(title, total)
    for _ in range(done):
        clock.now += pace_s
        job.advance(1, None)


STEPS = [Step(GENERATING, 10), Step(READING, 10), Step(ENCODING, 10), Step(f"{SCORING}v1", 10)]


def test_what_was_never_timed_is_named_and_not_guessed(clock: Clock) -> None:
    job = Job(clock)
    job.expect(STEPS)
    work(job, clock, GENERATING, 10, 4, 60.0)
    assert job.untimed == [ENCODING]
    assert job.share is None
    assert facts(job, "clips") == ["60.0 s a clip", "about 6 min left and decoding and encoding (not timed yet)"]


def test_the_time_left_counts_every_stage_at_its_own_pace(clock: Clock) -> None:
    job = Job(clock)
    job.expect([Step(ENCODING, 4), Step(GENERATING, 10), Step(ENCODING, 10)])
    work(job, clock, ENCODING, 4, 4, 2.0)
    work(job, clock, GENERATING, 10, 5, 60.0)
    assert job.left_s == pytest.approx(5 * 60 + 10 * 2)
    assert job.share == pytest.approx(308 / 628)
    clock.now += 30
    assert job.left_s == pytest.approx(4.5 * 60 + 10 * 2), "half of the clip at hand"
    clock.now += 600
    assert job.left_s == pytest.approx(4 * 60 + 10 * 2), "one that hangs takes nothing from those after it"


def test_stages_with_nothing_to_do_leave_the_forecast(clock: Clock) -> None:
    job = Job(clock)
    job.expect(STEPS)
    work(job, clock, READING, 10, 10, 0.01)
    job.end()
    assert job.untimed == [ENCODING]
    work(job, clock, f"{SCORING}v1", 10, 10, 0.1)
    assert (job.untimed, job.left_s, job.share) == ([], 0.0, 1.0)


def test_a_clip_that_fails_in_every_stage_is_one_failure(clock: Clock) -> None:
    job = Job(clock)
    for title in (ENCODING, f"{SCORING}v1", f"{SCORING}v2"):
        job.begin(title, 2)
        job.advance(1, "a.mp4")
        job.advance(1, None)
    assert "1 failed so far" in facts(job, "clips")


def test_nothing_is_said_of_the_time_before_the_first_clip(clock: Clock) -> None:
    job = Job(clock)
    job.expect(STEPS)
    job.begin(GENERATING, 10)
    clock.now += 500
    assert facts(job, "clips") == []


def test_a_clock_that_is_set_back_or_forward_changes_no_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = iter([1e9, 0.0, 2e9, 5.0] * 100)
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    lines, job = Lines(), Job()
    job.begin(GENERATING, 10)
    job.advance(1, None)
    assert job.left_s is not None
    assert 0 <= job.left_s < 3600
    assert lines._clock is job.clock is time.monotonic


def test_lines_come_now_and_then_and_less_often_later(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(clock)
    with lines.stage("generating", 2000) as stage:
        for _ in range(2000):
            clock.now += 1
            stage.advance()
    out, err = capsys.readouterr()
    assert out == ""
    printed = err.splitlines()
    # A line every 10 s for the first 600 s, then every 60 s, and one at the end.
    assert len(printed) == 60 + 23 + 1
    assert printed[0] == "generating: 10/2000, 1.0 s a clip, about 33 min left (0% done)"
    assert printed[-1] == "generating: 2000/2000, 1.0 s a clip"
    assert "\x1b" not in err


def test_a_terminal_gets_one_line_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("TERM", "xterm")
    bars = Bars()
    bars.expect(STEPS)
    with bars.stage(GENERATING, 10) as stage:
        stage.advance(failed="sample_0000")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    last = re.split(r"[\r\n]+", shown.strip())[-1]
    assert last.startswith("generating")
    assert "1/10" in last
    assert len(last) <= 90


def test_a_whole_job_says_how_far_it_is(
    noise: str, tiny_suite: Callable[..., object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import javisbench

    suite = tiny_suite("rain", "refuse this", "wind")
    more = {"metrics": ["av_align"], "workers": 1, "protocol": ["javisbench-v1", "javisbench-v2"]}
    javisbench.evaluate(noise, suite=suite, out=tmp_path / "run", progress=Lines(), **more)
    told = capsys.readouterr().err.splitlines()
    # What will be computed is told before anything is made.
    plan = next(n for n, line in enumerate(told) if line.startswith("Protocol javisbench-v1: 1 metrics"))
    made = next(n for n, line in enumerate(told) if line.startswith("generating: 3/3"))
    assert plan < made
    assert sum(line.startswith("Protocol") for line in told) == 2
    assert "1 failed so far" in told[made]
    assert told[-1].startswith("scoring under javisbench-v2: 3/3")
    assert "1 failed so far" in told[-1]
