"""A board's verdicts on two of its models: those behind its ranks."""

from __future__ import annotations

import numpy as np
import pytest

from javisbench.results.compare import compare
from javisbench.results.pairs import PairBook
from javisbench.results.ranking import Ranker
from javisbench.results.run_folder import load_result
from javisbench.results.table import board_table

METRICS = ("tv_ib", "ta_ib", "av_align", "javis_score", "health_silence")


def booked(results):
    book = PairBook()
    ranker = Ranker(book)
    tables = [board_table(results, aspect, ranker) for aspect in (None, "visual_style")]
    return book, tables


def test_of_two_models_a_board_says_what_compare_says(write_run):
    a, b = (load_result(write_run(name, metrics=METRICS, shift=s)) for name, s in (("A", 0.004), ("B", 0.0)))
    book, _ = booked([a, b])
    rows = {(row.metric, row.slice): row for row in book.rows(a, b)}
    expected = {(row.metric, row.slice): row for row in compare(a, b).scores}
    assert {name for _, name in rows} == {
        "overall",
        *(f"visual_style/{c}" for c in ("camera_shooting", "2d_animate", "3d_animate")),
    }
    assert {metric for metric, _ in rows} == {"tv_ib", "ta_ib", "av_align", "javis_score"}
    for name, row in rows.items():
        assert row == expected[name]
    assert rows["tv_ib", "overall"].p_headline is not None and rows["av_align", "overall"].p_headline is None


def test_of_five_models_p_is_adjusted_over_all_their_pairs(write_run):
    shifts = {"A": 0.0, "B": 0.012, "C": 0.03, "D": 0.03, "E": 0.05}
    results = [load_result(write_run(name, metrics=METRICS, shift=s)) for name, s in shifts.items()]
    book, tables = booked(results)
    alone, among = compare(results[0], results[1]).rows, book.rows(results[0], results[1])
    (one,) = (row for row in alone if (row.metric, row.slice) == ("tv_ib", "overall"))
    (five,) = (row for row in among if (row.metric, row.slice) == ("tv_ib", "overall"))
    assert five.difference == one.difference and five.p_adjusted > one.p_adjusted
    assert len(book.family(results[0], "tv_ib", "overall").keys) == 5
    # Ranks are those of the same verdicts: better than as many as the lower end of the rank leaves behind.
    ranks = {row.label: row.cells["tv_ib"].rank for row in tables[0].rows}
    worse = dict.fromkeys(shifts, 0)
    for i, a in enumerate(results):
        for b in results[i + 1 :]:
            (row,) = (row for row in book.rows(a, b) if (row.metric, row.slice) == ("tv_ib", "overall"))
            if row.better is not None:
                worse[b.model if row.better == "a" else a.model] += 1
    assert {name: rank[0] for name, rank in ranks.items()} == {name: 1 + count for name, count in worse.items()}


def test_results_that_are_not_ranked_together_have_no_row(write_run):
    results = [load_result(write_run(name, metrics=METRICS, n=n)) for name, n in (("A", 60), ("B", 60), ("C", 40))]
    book, _ = booked(results)
    assert book.rows(results[0], results[1]) and not book.rows(results[0], results[2])
    assert book.family(results[2], "tv_ib", "overall") is None
    assert np.isfinite([row.smallest for row in book.rows(results[0], results[1])]).all()
    assert book.family(results[0], "tv_ib", "overall").n == pytest.approx(60)
