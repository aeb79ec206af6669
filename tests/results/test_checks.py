"""Checks of one result's clips, folded into one line."""

from __future__ import annotations

import pandas as pd
import pytest

from javisbench.results.checks import checks_of
from javisbench.results.run_folder import load_result


@pytest.fixture
def run(write_run):
    """60 clips: 3 silent, 1 of them inaudible too, 1 inaudible alone, 1 without any value."""
    path = write_run(metrics=("tv_ib", "health_silence", "health_loudness"))
    scores = pd.read_parquet(path / "scores.parquet")
    scores["health_silence"] = [0.9, 0.8, 0.7] + [0.1] * 56 + [float("nan")]
    scores["health_loudness"] = [-80.0, -20.0, -20.0, -75.0] + [-20.0] * 55 + [float("nan")]
    scores.to_parquet(path / "scores.parquet")
    return path


def test_a_clip_with_two_faults_is_one_that_is_not_clean(run):
    found = checks_of(load_result(run))
    assert (found.clips, found.clean) == (59, 55)
    assert found.line == "55 of 59 clips clean; 3 mostly silent, 2 inaudible"
    assert [(fault.metric, fault.clips) for fault in found.found] == [("health_silence", 3), ("health_loudness", 2)]


def test_nothing_found_is_said_in_few_words(run):
    scores = pd.read_parquet(run / "scores.parquet")
    scores[["health_silence", "health_loudness"]] = 0.0
    scores.to_parquet(run / "scores.parquet")
    assert checks_of(load_result(run)).line == "60 of 60 clips clean"


def test_there_is_no_line_without_checks_or_without_scores(write_run, run):
    assert checks_of(load_result(write_run("Other", metrics=("tv_ib",)))) is None
    assert checks_of(load_result(run / "summary.json")) is None
