"""Checks of clips folded into a line, and what lacks in as few lines as tell what to do."""

from __future__ import annotations

import pandas as pd
import pytest

from javisbench.publish.export import render
from javisbench.results.cell import Cell
from javisbench.results.checks import checks_of
from javisbench.results.missing import missing_lines
from javisbench.results.ranking import Ranker
from javisbench.results.run_folder import load_result
from javisbench.results.table import board_table, run_table


@pytest.fixture
def write_run(synthetic_runs, tmp_path):
    """Under the real cards, unlike the fixture of this name that all tests share."""
    return synthetic_runs.RunWriter(tmp_path)


SCORED = ("tv_ib", "av_align", "javis_score", "health_silence", "health_loudness", "health_duration")


def with_faults(write_run, model="Alpha"):
    """60 clips: three are silent, one of them inaudible too, one has no loudness, two are too long."""
    path = write_run(model, metrics=SCORED)
    scores = pd.read_parquet(path / "scores.parquet")
    scores["health_silence"], scores["health_loudness"], scores["health_duration"] = 0.0, -20.0, 1.0
    scores.loc[[3, 4, 5], "health_silence"] = 0.9
    scores.loc[[5], "health_loudness"] = -70.0
    scores.loc[[6], "health_loudness"] = float("nan")
    scores.loc[[7, 8], "health_duration"] = 1.5
    scores.to_parquet(path / "scores.parquet")
    return load_result(path)


def test_clips_with_a_fault_are_counted_once(write_run):
    checks = checks_of(with_faults(write_run))
    assert checks is not None
    assert checks.line == "55 of 60 clips clean; 3 mostly silent, 1 inaudible, 2 of another length"
    assert [found.metric for found in checks.found] == ["health_silence", "health_loudness", "health_duration"]


def test_clips_that_could_not_be_read_are_neither_clean_nor_faulty(write_run):
    path = write_run(metrics=SCORED)
    scores = pd.read_parquet(path / "scores.parquet")
    scores[["health_silence", "health_loudness", "health_duration"]] = [0.0, -20.0, 1.0]
    scores.loc[[0, 1], ["health_silence", "health_loudness", "health_duration"]] = float("nan")
    scores.to_parquet(path / "scores.parquet")
    assert checks_of(load_result(path)).line == "58 of 58 clips clean"


def test_a_result_without_checks_or_scores_says_nothing(write_run):
    assert checks_of(load_result(write_run())) is None
    path = write_run("Beta", metrics=SCORED)
    (path / "scores.parquet").unlink()
    assert checks_of(load_result(path)) is None


@pytest.mark.parametrize("format", ["markdown", "latex"])
def test_readers_get_a_line_and_files_of_data_the_columns(write_run, format):
    table = run_table(with_faults(write_run))
    text = render(table, format)
    assert "Silence" not in text and "55 of 60 clips clean" in text
    assert "health_silence" in render(table, "csv") and "health_silence" in render(table, "json")
    assert "55 of 60" in render(table, "json")


def test_a_table_of_checks_alone_keeps_its_columns(write_run):
    path = write_run(metrics=("health_silence", "health_black"))
    assert "Silence" in render(run_table(load_result(path)), "markdown")


def test_headline_metrics_come_first_and_no_check_is_best(write_run):
    results = [load_result(write_run(name, metrics=SCORED, shift=shift)) for name, shift in (("One", 0), ("Two", 0.2))]
    table = board_table(results, ranks=Ranker())
    assert [col.id for col in table.columns][:2] == ["tv_ib", "javis_score"]
    for row in table.rows:
        for col in table.columns:
            cell = row.cells[col.id]
            assert (cell.place is None and cell.rank is None) == (col.is_check or col.higher_is_better is None)
    assert len(table.checks) == 2 and "One" in table.checks[0]


def cell(note: str, status: str = "missing_weights") -> Cell:
    return Cell(status=status, note=note)  # type: ignore[arg-type]


def test_weights_are_one_line_with_one_command():
    i3d = cell("The weights of I3D are not on this machine. Fetch them: javisbench weights fetch i3d (from ...).")
    other = cell("Fetch them: javisbench weights fetch clip_vit_b_32 (from ...)")
    cells = [("fvd", i3d), ("kvd", i3d), ("fvd", i3d), ("clip_score", other), ("tv_ib", Cell(value=0.3, n=3))]
    (line,) = missing_lines(cells)
    assert line.startswith("No weights here for fvd, kvd, clip_score.")
    assert line.endswith("javisbench weights fetch i3d clip_vit_b_32")


def test_packages_are_one_line_with_one_command_and_other_reasons_are_told():
    one, two = cell("Needs: pip install 'javisbench[clip]'"), cell("VGGish: pip install 'javisbench[vggish]'")
    program, same = cell("Set COMMAND to a command."), cell("CLAP needs: pip install 'javisbench[clip]'")
    assert missing_lines([("a", one)]) == ["a: Needs: pip install 'javisbench[clip]'"]
    assert missing_lines([("a", one), ("b", program), ("c", two), ("d", same)]) == [
        "Packages lack for a, c, d: pip install 'javisbench[clip,vggish]'",
        "b: Set COMMAND to a command.",
    ]


def test_other_reasons_are_told_each():
    reference = cell("needs real clips", "missing_reference")
    assert missing_lines([("fvd", reference), ("fad", reference)]) == ["fvd, fad: needs real clips"]
