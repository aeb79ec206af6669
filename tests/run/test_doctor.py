"""The doctor: what would fail, what a job would cost, and what failures could have changed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import javisbench
from javisbench.api import ScoringOptions
from javisbench.durable import locked
from javisbench.metrics.registry import METRICS as ALL
from javisbench.run.doctor import DoctorOptions, Report, bounds_of_run, examine, machine
from javisbench.suite import Suite

METRICS = ["av_align", "health_silence", "health_loudness"]
SCORING = ScoringOptions(metrics=METRICS, workers=1)


def told(report: Report, level: str) -> str:
    return "\n".join(f"{finding.area}: {finding.message}" for finding in report.findings if finding.level == level)


@pytest.fixture
def suite(tiny_suite: Callable[..., Suite]) -> Suite:
    return tiny_suite("rain", "a dog", "refuse this", "wind", "a bell", "a drum")


def test_a_folder_of_clips_is_looked_through(suite: Suite, clips_fake: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in (0, 3, 4):
        for suffix in (".mp4", ".wav"):
            shutil.copy(clips_fake / f"sample_{number:04d}{suffix}", clips)
    whole = (clips / "sample_0003.mp4").read_bytes()
    (clips / "sample_0003.mp4").write_bytes(whole[: len(whole) // 2])
    (clips / "sample_0004.wav").write_bytes(b"no sound")
    (clips / "sample_0001.mp4").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    (clips / "holiday.mp4").write_bytes(whole)
    report = examine(str(clips), DoctorOptions(suite=suite, scoring=SCORING, sample=0))
    problems, warnings = told(report, "problem"), told(report, "warning")
    assert "1 clips will fail with short_read: sample_0003.mp4" in problems
    assert "1 clips will fail with bad_sidecar: sample_0004.mp4" in problems
    assert "1 clips will fail with unsupported_format: sample_0001.mp4" in problems
    assert "sample_0000" not in problems
    assert "2 of 6 samples have no clip: sample_0002, sample_0005" in warnings
    assert "holiday.mp4" in warnings
    # What was foretold is what happens.
    result = javisbench.score(clips, suite=suite, out=tmp_path / "run", metrics=METRICS, workers=1)
    failed = {(f["sample_id"], f["kind"]) for f in result.summary["failures"] if f["stage"] == "decode"}
    assert failed == {
        ("sample_0001", "unsupported_format"),
        ("sample_0003", "short_read"),
        ("sample_0004", "bad_sidecar"),
    }


def test_headers_that_only_look_right_are_found(suite: Suite, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "sample_0000.mp4").write_bytes(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\0\x08free")
    report = examine(str(clips), DoctorOptions(suite=suite, scoring=SCORING, sample=0))
    assert "1 clips will fail with bad_container" in told(report, "problem")


@pytest.mark.slow
def test_a_forecast_is_measured_on_the_models_own_clips(noise: str, suite: Suite, tmp_path: Path) -> None:
    chosen = DoctorOptions(suite=suite, model=noise, scoring=SCORING, sample=3, repeats=100, out=tmp_path / "out")
    report = examine(suite.source, chosen)
    generating, scoring = report.forecasts
    assert (generating.stage, generating.clips, generating.measured) == ("generate", 600, 3)
    assert (scoring.stage, scoring.clips, scoring.measured) == ("score", 600, 2)
    for forecast in report.forecasts:
        assert forecast.clip_s > 0
        assert forecast.total_s == pytest.approx(forecast.start_s + 600 * forecast.clip_s)
        assert forecast.disk_bytes > 600 * 100
        assert forecast.memory_bytes > 50 * 2**20
        assert "python:tiny_noise:Noise" in forecast.how
    assert "1 of 3 clips failed (refused): no refuse this" in told(report, "problem")
    assert not (tmp_path / "out").exists()


def test_a_forecast_of_disk_comes_true(noise: str, suite: Suite, tmp_path: Path) -> None:
    folder = javisbench.generate(noise, suite=suite, out=tmp_path / "run")
    report = examine(str(folder), DoctorOptions(suite=suite, scoring=SCORING, sample=2))
    (forecast,) = report.forecasts
    assert (forecast.stage, forecast.clips, forecast.measured) == ("score", 5, 2)
    javisbench.score(folder, suite=suite, metrics=METRICS, workers=1)
    written = sum(path.stat().st_size for path in (folder / "features").iterdir())
    # Features of these clips are alike in size; a shard's header is shared by more of them in the long run.
    assert 0.9 * written < forecast.disk_bytes < 1.5 * written


def test_what_would_not_fit_is_a_problem(
    noise: str, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = javisbench.generate(noise, suite=suite, out=tmp_path / "run")
    monkeypatch.setattr("javisbench.run.doctor.examination.disk_free", lambda _: 10)
    monkeypatch.setattr("javisbench.run.doctor.examination.memory_available", lambda: 10)
    report = examine(str(folder), DoctorOptions(suite=suite, scoring=SCORING, sample=1))
    assert "less free" in told(report, "problem")
    assert "lower --workers" in told(report, "problem")


def test_missing_weights_and_devices_are_told_with_the_remedy(suite: Suite) -> None:
    scoring = ScoringOptions(metrics=["javis_score", "av_align"], device="cuda:99")
    report = examine(None, DoctorOptions(suite=suite, scoring=scoring))
    assert "javisbench weights fetch imagebind_huge" in told(report, "warning")
    assert "cuda:99" in told(report, "problem")
    assert "1 metrics can be computed" in told(report, "ok")
    assert report.forecasts == []


def test_a_model_that_cannot_run_is_a_problem_not_an_end(suite: Suite, tmp_path: Path) -> None:
    chosen = DoctorOptions(suite=suite, model="command:./no_such_program", scoring=SCORING, out=tmp_path)
    report = examine(suite.source, chosen)
    assert "does not exist" in told(report, "problem")


def test_folders_that_cannot_be_written_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Asked of the system, since root may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    report = Report()
    machine.check_machine(report, tmp_path / "run", "cpu")
    assert f"{tmp_path} cannot be written" in told(report, "problem")


def test_little_disk_and_old_torch_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "versions", lambda: {"torch": "2.9.1+cu128"})
    monkeypatch.setattr(machine, "disk_free", lambda _: 2**20)
    report = Report()
    machine.check_machine(report, tmp_path, "cpu")
    assert "torch 2.10 or newer" in told(report, "problem")
    assert "0.0 GiB free" in told(report, "warning")


def test_bounds_are_those_of_the_worst_and_best_case(noise: str, suite: Suite, tmp_path: Path) -> None:
    result = javisbench.evaluate(noise, suite=suite, out=tmp_path / "run", metrics=METRICS, workers=1)
    bounds = {bound.metric: bound for bound in bounds_of_run(result.folder)}
    for metric in METRICS:
        bound, column = bounds[metric], result.scores[metric].to_numpy()
        assert (bound.n, bound.missing) == (5, 1)
        low, high = ALL.get(metric).card.value_range
        lowest = np.nanmin(column) if low is None else low
        highest = np.nanmax(column) if high is None else high
        assert bound.low == pytest.approx(np.where(np.isnan(column), lowest, column).mean())
        assert bound.high == pytest.approx(np.where(np.isnan(column), highest, column).mean())
        assert bound.value is not None and bound.low is not None and bound.high is not None
        assert bound.low <= bound.value <= bound.high
        assert bound.low < bound.high
    assert ALL.get("health_silence").card.value_range == (0.0, 1.0)
    assert bounds["health_silence"].basis == "range"
    assert bounds["health_loudness"].basis == "observed"


def test_a_finished_run_shows_failures_and_bounds(
    noise: str, suite: Suite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from javisbench.cli import run

    folder = javisbench.evaluate(
        noise, suite=suite, out=tmp_path / "run", metrics=["health_silence", "fvd"], workers=1
    ).folder
    assert run(["doctor", str(folder), "-q"]) == 0
    text = capsys.readouterr().out
    assert "1 x refused (generate)" in text
    assert "health_silence:" in text
    assert "missing 1" in text
    assert "the metric's range" in text
    assert "fvd: no value" in text
    assert run(["doctor", str(folder), "--json", "-q"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {bound["metric"] for bound in document["bounds"]} == {"health_silence", "fvd"}


def test_a_run_in_use_is_told(noise: str, suite: Suite, tmp_path: Path) -> None:
    folder = javisbench.generate(noise, suite=suite, out=tmp_path / "run")
    with locked(folder):
        report = examine(str(folder), DoctorOptions(suite=suite, scoring=SCORING, sample=0))
    assert f"in use by process {os.getpid()}" in told(report, "warning")
    assert "not scored yet" in told(report, "warning")


def test_the_command_line_exits_with_1_under_strict(
    suite: Suite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from javisbench.cli import run

    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/sample_0000.mp4").write_text("text")
    arguments = [
        "doctor",
        str(tmp_path / "clips"),
        "--suite",
        suite.source,
        "--metrics",
        "av_align",
        "--sample",
        "0",
        "-q",
    ]
    assert run(arguments) == 0
    assert "1 problem found" in capsys.readouterr().out
    assert run([*arguments, "--strict"]) == 1
