"""Tables: what may be compared, what is shown in place of a value, and what a table says about itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from javisbench.errors import RunError
from javisbench.publish.export import render
from javisbench.results.ranking import Ranker
from javisbench.results.run_folder import load_result
from javisbench.results.set_features import SetRows, write_set_features
from javisbench.results.table import board_table, metric_order, run_table
from javisbench.taxonomy import TAXONOMY


def test_a_run_table_has_overall_and_every_category(write_run):
    table = run_table(load_result(write_run()))
    assert [group.id for group in table.groups] == ["overall", *(aspect.id for aspect in TAXONOMY)]
    assert sum(len(group.rows) for group in table.groups[1:]) == 19
    assert [column.id for column in table.columns] == ["fvd", "tv_ib", "javis_score", "av_align", "desync"]
    assert table.protocol == "Protocol javisbench-v1."
    assert not any(cell.place for row in table.rows for cell in row.cells.values())


def test_values_equal_those_of_the_summary(write_run):
    path = write_run()
    summary = json.loads((path / "summary.json").read_text())
    for group in run_table(load_result(path)).groups[1:]:
        for row in group.rows:
            for metric, cell in row.cells.items():
                assert cell.value == summary["metrics"][metric][group.id][row.id]["value"]
                assert cell.n == summary["metrics"][metric][group.id][row.id]["n"]


def test_best_and_second_follow_the_direction(write_run):
    results = [load_result(write_run(name, shift=s)) for name, s in (("Low", 0.0), ("Mid", 0.1), ("High", 0.2))]
    (group,) = board_table(results).groups
    places = {row.label: {m: cell.place for m, cell in row.cells.items()} for row in group.rows}
    # `shift` makes every metric better, so desync and FVD lower.
    assert set(places["High"].values()) == {"best"}
    assert set(places["Mid"].values()) == {"second"}
    assert set(places["Low"].values()) == {None}


def test_checks_of_clips_are_not_marked_best_or_second(write_run):
    metrics = ("tv_ib", "health_silence")
    results = [load_result(write_run(name, shift=s, metrics=metrics)) for name, s in (("Low", 0.0), ("High", 0.2))]
    (group,) = board_table(results, ranks=Ranker()).groups
    assert [row.cells["tv_ib"].place for row in group.rows] == ["second", "best"]
    for row in group.rows:
        cell = row.cells["health_silence"]
        assert cell.value is not None and (cell.place, cell.rank) == (None, None)


@pytest.mark.parametrize(
    "other",
    [
        {"protocol": "javisbench-v2"},
        {"protocol": "javisbench-v1+top_k=0.5"},
        {"protocol": "javisbench-v1+stand-in", "stand_in": True},
        {"stand_in": True},
        {"n": 40},
        {"suite": "javisbench-mini"},
    ],
)
def test_results_that_differ_in_more_than_the_model_never_share_a_ranking(write_run, other):
    results = [load_result(write_run("One")), load_result(write_run("Other", shift=0.2, **other))]
    table = board_table(results, None, Ranker())
    assert len(table.groups) == 2
    assert all(cell.place is None and cell.rank is None for row in table.rows for cell in row.cells.values())


def test_revisions_of_a_protocol_are_labelled_and_never_share_a_ranking(write_run):
    runs = [write_run(name, protocol="javisbench-v2", revision=r, seed=r) for name, r in (("A", 1), ("A", 2), ("B", 2))]
    table = board_table([load_result(run) for run in runs], None, Ranker())
    assert [group.title.split(",")[0] for group in table.groups] == ["javisbench-v2 (revision 1)", "javisbench-v2"]
    assert [len(group.rows) for group in table.groups] == [1, 2]
    assert [row.protocol for row in table.rows] == ["javisbench-v2 (revision 1)", "javisbench-v2", "javisbench-v2"]
    assert len({row.id for row in table.rows}) == 3
    assert "javisbench-v2 (revision 1), javisbench-v2, not ranked together" in table.protocol
    old = table.rows[0].cells["javis_score"]
    assert (old.place, old.rank) == (None, None) and table.rows[1].cells["javis_score"].rank is not None


@pytest.mark.parametrize("settings", [{"revision": "2"}, {"revision": 0}, {"revision": True}])
def test_a_revision_that_is_none_is_damage(write_run, settings):
    path = write_run() / "summary.json"
    document = json.loads(path.read_text())
    document["run"]["protocol_settings"] = settings
    path.write_text(json.dumps(document))
    with pytest.raises(RunError, match="revision"):
        load_result(path.parent)


def test_stand_ins_are_not_ranked_even_among_themselves(write_run):
    options = {"protocol": "javisbench-v1+stand-in", "stand_in": True}
    results = [load_result(write_run(name, shift=s, **options)) for name, s in (("One", 0.0), ("Two", 0.2))]
    table = board_table(results, None, Ranker())
    assert all(cell.place is None and cell.rank is None for row in table.rows for cell in row.cells.values())
    assert "stand-in weights" in table.protocol


def test_two_samples_are_shown_not_ranked(write_run):
    results = [load_result(write_run(name, n=2, shift=s)) for name, s in (("One", 0.0), ("Two", 0.5))]
    table = board_table(results, None, Ranker())
    (group,) = table.groups
    assert all(row.cells["javis_score"].value is not None for row in group.rows)
    assert all(cell.place is None and cell.rank is None for row in group.rows for cell in row.cells.values())
    assert "¶ Fewer than 10 samples: too few to rank, and intervals are too narrow." in table.notes


def test_a_metric_with_another_n_is_marked_and_left_out_of_the_ranking(write_run):
    short = {"tv_ib": {"overall": {"value": 9.0, "n": 59, "ci_low": 8.0, "ci_high": 10.0, "status": "ok"}}}
    results = [load_result(write_run(name)) for name in ("One", "Two")] + [load_result(write_run("Short", cells=short))]
    table = board_table(results, None, Ranker())
    cell = table.rows[2].cells["tv_ib"]
    assert (cell.place, cell.rank, cell.comparable) == (None, None, False)
    assert {row.cells["tv_ib"].place for row in table.rows[:2]} == {"best", "second"}
    assert any(note.startswith("§") for note in table.notes)


def test_equal_values_are_nobody_s_best(write_run):
    same = {"tv_ib": {"overall": {"value": 0.5, "n": 60, "ci_low": 0.4, "ci_high": 0.6, "status": "ok"}}}
    table = board_table([load_result(write_run(name, cells=same)) for name in ("One", "Two")])
    assert {row.cells["tv_ib"].place for row in table.rows} == {None}


def test_biased_values_are_not_marked(write_run):
    biased = {"fvd": {"overall": {"value": 1.0, "n": 60, "ci_low": None, "ci_high": None, "status": "biased"}}}
    results = [load_result(write_run(name, cells=biased)) for name in ("One", "Two")]
    table = board_table(results)
    assert {row.cells["fvd"].place for row in table.rows} == {None}
    assert any(note.startswith("†") for note in table.notes)


def test_an_aspect_board_has_a_group_a_category(write_run):
    results = [load_result(write_run(name, shift=s)) for name, s in (("One", 0.0), ("Two", 0.2))]
    table = board_table(results, "sound_type", Ranker())
    aspect = next(a for a in TAXONOMY if a.id == "sound_type")
    assert [group.title for group in table.groups] == [category.title for category in aspect.categories]
    assert table.groups[0].rows[1].cells["javis_score"].rank == (1, 1)


def test_missing_weights_are_said_in_every_category(write_run):
    reason = {"value": None, "n": 0, "ci_low": None, "ci_high": None, "status": "missing_weights", "note": "Fetch X."}
    table = run_table(load_result(write_run(cells={"tv_ib": {"overall": reason}})))
    assert {row.cells["tv_ib"].status for row in table.rows} == {"missing_weights"}
    assert "TV-IB: Fetch X." in table.notes


def test_metrics_without_any_value_become_a_footnote_for_readers_and_stay_in_data(write_run):
    absent = {"value": None, "n": 0, "ci_low": None, "ci_high": None, "status": "missing_weights", "note": "Fetch X."}
    cells = {"tv_ib": {"overall": absent}, "ta_ib": {"overall": absent}, "kvd": {"overall": {**absent, "note": None}}}
    table = run_table(load_result(write_run(cells=cells)))
    shown = table.for_reading()
    assert {"tv_ib", "ta_ib", "kvd"} <= {col.id for col in table.columns}
    assert [col for col in table.columns if col.id not in ("tv_ib", "ta_ib", "kvd")] == list(shown.columns)
    assert "Without any value: KVD (no weights)." in shown.notes
    assert "TV-IB, TA-IB: Fetch X." in shown.notes
    assert not any(note.startswith("no weights:") for note in shown.notes)
    for format, heading in (("markdown", "| TV-IB"), ("latex", "& TV-IB"), ("csv", "tv_ib_n"), ("json", '"tv_ib"')):
        assert (heading in render(table, format)) == (format in ("csv", "json"))


def test_a_table_without_any_value_keeps_its_metrics(write_run):
    absent = {"value": None, "n": 0, "ci_low": None, "ci_high": None, "status": "missing_weights"}
    result = load_result(write_run(cells={"tv_ib": {"overall": absent}}))
    table = run_table(result)
    nothing = replace(table, columns=tuple(col for col in table.columns if col.id == "tv_ib"))
    assert nothing.for_reading() == nothing


def test_a_metric_that_is_not_installed_keeps_its_id(write_run):
    cells = {"their_metric": {"overall": {"value": 1.0, "n": 60, "ci_low": None, "ci_high": None, "status": "ok"}}}
    column = run_table(load_result(write_run(cells=cells))).columns[-1]
    assert (column.id, column.title, column.higher_is_better) == ("their_metric", "their_metric", None)


def test_order_of_metrics_is_the_registry_s():
    assert metric_order(["zzz", "desync", "fvd", "aaa"]) == ["fvd", "desync", "aaa", "zzz"]


def test_ranks_of_clearly_different_models(write_run):
    results = [load_result(write_run(f"M{i}", shift=0.1 * i)) for i in range(4)]
    table = board_table(results, None, Ranker())
    assert [row.cells["javis_score"].rank for row in table.rows] == [(4, 4), (3, 3), (2, 2), (1, 1)]
    assert [row.cells["fvd"].rank for row in table.rows] == [None] * 4  # no features were stored


def test_ranks_need_per_sample_scores(write_run):
    paths = [write_run(f"M{i}", shift=0.1 * i) for i in range(2)]
    (Path(paths[0]) / "scores.parquet").unlink()
    table = board_table([load_result(path) for path in paths], None, Ranker())
    assert all(row.cells["javis_score"].rank is None for row in table.rows)


def test_category_ranks_need_to_know_the_categories(write_run):
    paths = [write_run(f"M{i}", shift=0.1 * i) for i in range(2)]
    for path in paths:
        (path / "samples.parquet").unlink()
    table = board_table([load_result(path) for path in paths], "visual_style", Ranker())
    assert all(row.cells["javis_score"].rank is None for row in table.rows)
    assert {row.cells["javis_score"].place for row in table.groups[0].rows} == {"best", "second"}


def with_features(path, shift, *, n=200, metrics=("fvd", "kvd"), real_shift=0.0, seed=0):
    """Store features of a set metric: 3 wide, the generated ones moved away from the real ones by `shift`."""
    real = np.random.default_rng(3).normal(1, 1, (n, 3))
    noise = np.random.default_rng([4, seed]).normal(0, 0.3, (n, 3))
    ids = tuple(f"sample_{i:04d}" for i in range(n))
    fake = (real + noise + shift).astype(np.float32)
    rows = SetRows("i3d", metrics, ids, fake, (real + real_shift).astype(np.float32))
    write_set_features(path, {"i3d": rows})
    return load_result(path)


def test_set_metrics_are_ranked_by_paired_influences(write_run):
    metrics = ("fvd", "kvd", "tv_ib")
    shifts = {"Near": 0.1, "Near too": 0.1, "Far": 1.0}
    runs = [write_run(name, n=200, metrics=metrics) for name in shifts]
    results = [with_features(run, s, seed=i) for i, (run, s) in enumerate(zip(runs, shifts.values(), strict=True))]
    for table in (board_table(results, None, Ranker()), board_table(results, "visual_style", Ranker())):
        for group in table.groups:
            ranks = {row.label: row.cells["fvd"].rank for row in group.rows}
            assert ranks["Far"] == (3, 3)
            assert ranks["Near"] == (1, 2)


def test_set_metrics_of_few_samples_or_other_real_clips_are_not_ranked(write_run):
    metrics = ("fvd", "kvd")
    few = [with_features(write_run(f"F{s}", n=5, metrics=metrics), s, n=5) for s in (0.0, 1.0)]
    assert all(row.cells["fvd"].rank is None for row in board_table(few, None, Ranker()).rows)
    other = [with_features(write_run(f"O{s}", metrics=metrics), s, n=60, real_shift=s) for s in (0.0, 1.0)]
    assert all(row.cells["fvd"].rank is None for row in board_table(other, None, Ranker()).rows)


def test_set_metrics_against_another_kind_of_reference_are_not_marked(write_run):
    paths = [write_run(name, shift=s) for name, s in (("A", 0.0), ("B", 0.1), ("C", 0.2))]
    for path, kind in zip(paths, ("cache", "cache", "clips"), strict=True):
        document = json.loads((path / "summary.json").read_text())
        document["run"]["reference"] = {"kind": kind}
        (path / "summary.json").write_text(json.dumps(document))
    table = board_table([load_result(path) for path in paths])
    assert [row.cells["fvd"].place for row in table.rows] == ["second", "best", None]
    assert [row.cells["javis_score"].place for row in table.rows] == [None, "second", "best"]


def with_weights(path: Path, **hashes: str | None) -> Path:
    """Record in a run's summary which weights its encoders had."""
    document = json.loads((path / "summary.json").read_text())
    document["run"]["encoders"] = {name: {"variant": "any", "weights_sha256": sha} for name, sha in hashes.items()}
    (path / "summary.json").write_text(json.dumps(document))
    return path


def test_values_made_with_other_weights_are_not_ranked_together(write_run, monkeypatch):
    monkeypatch.setattr("javisbench.results.rankability._encoders_of", {"javis_score": {"imagebind"}}.get)
    shas = {"One": "aa", "Two": "aa", "Other": "bb"}
    runs = [write_run(name, metrics=("javis_score",), shift=i / 9) for i, name in enumerate(shas)]
    # The networks of other metrics, and encoders without weights, are of no concern.
    others = ({"i3d": "cc", "flow": None}, {"i3d": "dd"}, {})
    for run, sha, other in zip(runs, shas.values(), others, strict=True):
        with_weights(run, imagebind=sha, **other)
    table = board_table([load_result(run) for run in runs], None, Ranker())
    cells = {row.label: row.cells["javis_score"] for row in table.rows}
    assert (cells["Two"].place, cells["One"].place) == ("best", "second")
    assert (cells["Other"].place, cells["Other"].rank, cells["Other"].comparable) == (None, None, False)
    assert any("weights" in note for note in table.notes)


def test_a_metric_that_is_not_installed_may_have_used_any_weights(write_run):
    runs = [with_weights(write_run(name, shift=0.1), imagebind=sha) for name, sha in (("One", "aa"), ("Two", "bb"))]
    table = board_table([load_result(run) for run in runs], None, Ranker())
    assert all(row.cells["tv_ib"].rank is None for row in table.rows)


def test_metrics_know_their_encoders(monkeypatch):
    from javisbench.metrics.registry import METRICS
    from javisbench.results.rankability import _encoders_of

    monkeypatch.setattr(METRICS, "_own", {"av_align": "javisbench.metrics.av_align:AVAlign",
                                          "fvd": "javisbench.metrics.fvd:FVDMetric"})  # fmt: skip
    assert _encoders_of("av_align") == {"onsets", "flow"}
    assert _encoders_of("fvd") == {"i3d"}
    assert _encoders_of("none_such") is None
