"""One verdict: comparisons, ranks and boards of the same models say the same."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from javisbench.errors import RunError
from javisbench.results.compare import compare
from javisbench.results.power import prompts_needed, smallest_difference
from javisbench.results.ranking import Ranker
from javisbench.results.run_folder import load_result
from javisbench.results.set_features import SetRows, rows_by_metric, write_set_features
from javisbench.results.table import board_table
from javisbench.results.verdicts import Judge, judge
from javisbench.stats import holm

N = 40
METRICS = ("fvd", "kvd", "tv_ib", "desync")


def model(write_run, name, shift, seed, *, n=N, **facts):
    """A run whose scores and features are better by `shift`."""
    path = write_run(name, n=n, shift=shift / 20, metrics=METRICS, aspects=("visual_style",), seed=seed, details=False)
    real = np.random.default_rng(3).normal(1, 1, (n, 3))
    fake = real + np.random.default_rng([4, seed]).normal(0.3, 0.4, (n, 3)) - shift / 4
    fake *= 1.6 - shift / 2  # a spread that is wrong, which KVD sees too
    ids = tuple(f"sample_{i:04d}" for i in range(n))
    rows = SetRows("i3d", ("fvd", "kvd"), ids, fake.astype(np.float32), real.astype(np.float32))
    write_set_features(path, {"i3d": rows})
    if facts:
        document = json.loads((path / "summary.json").read_text())
        document["run"] |= facts
        (path / "summary.json").write_text(json.dumps(document))
    return load_result(path)


def test_comparisons_ranks_and_boards_of_55_pairs_say_the_same(write_run):
    rng = np.random.default_rng(0)
    models = [model(write_run, f"M{i}", shift, i) for i, shift in enumerate(rng.normal(0, 0.5, 11))]
    judges = [Judge(frozenset()), Judge(frozenset({"visual_style"}))]
    ranker, told = Ranker(), set()
    for number, pair in enumerate(combinations(models, 2)):
        rows = {(row.metric, row.slice): row for row in compare(*pair, judge=judges[number % 10 == 0]).rows}
        groups = [("overall", board_table(pair, None, ranker).groups[0])]
        if number % 10 == 0:
            for group in board_table(pair, "visual_style", ranker).groups:
                groups.append((f"visual_style/{group.id.rpartition('-')[0]}", group))
        for name, group in groups:
            for metric in METRICS:
                row = rows[metric, name]
                expected = {"a": [(1, 1), (2, 2)], "b": [(2, 2), (1, 1)], None: [(1, 2), (1, 2)]}[row.better]
                if row.difference.p_value is None:
                    expected = [None, None]
                assert [r.cells[metric].rank for r in group.rows] == expected, (metric, name)
                told.add((metric, row.better))
                assert row.p_adjusted == row.difference.p_value
    assert told >= {(metric, better) for metric in METRICS for better in ("a", "b", None)}


def test_the_family_is_the_pairs_of_the_models_that_are_shown(write_run):
    models = [model(write_run, f"M{i}", shift, i) for i, shift in enumerate((0.0, 0.1, 0.3, 1.0))]
    pairs, shared = list(combinations(range(4), 2)), Judge(frozenset())
    p = [compare(models[i], models[j], judge=shared).rows for i, j in pairs]
    for metric in METRICS:
        found = judge(models, metric)
        alone = [next(r.difference.p_value for r in rows if (r.metric, r.slice) == (metric, "overall")) for rows in p]
        together = [found.pair(i, j) for i, j in pairs]
        assert [verdict.p_adjusted for verdict in together] == pytest.approx(holm(alone), rel=1e-6)
        for i in range(4):
            better = sum(
                v.better == ("b" if a == i else "a") for (a, b), v in zip(pairs, together, strict=True) if i in (a, b)
            )
            worse = sum(
                v.better == ("a" if a == i else "b") for (a, b), v in zip(pairs, together, strict=True) if i in (a, b)
            )
            assert found.ranks[i] == (1 + better, 4 - worse)


def test_the_headline_is_adjusted_together_and_named_by_the_protocol(write_run):
    rows = compare(model(write_run, "A", 0.3, 1), model(write_run, "B", 0.0, 2)).rows
    headline = [row for row in rows if row.p_headline is not None]
    assert {row.metric for row in headline} == {"fvd", "kvd", "tv_ib"} and {row.slice for row in headline} == {
        "overall"
    }
    assert [row.p_headline for row in headline] == pytest.approx(holm([row.difference.p_value for row in headline]))


@pytest.mark.parametrize(
    ("facts", "note"),
    [
        ({"stand_in": True}, "stand-in weights"),
        ({"encoders": {"i3d": {"variant": "x", "weights_sha256": "ab"}}}, "different weights"),
        ({"reference": {"kind": "cache"}}, "real sides are of different kinds"),
    ],
)
def test_what_boards_do_not_rank_comparisons_do_not_test(write_run, facts, note):
    both = {"stand_in": True} if "stand_in" in facts else {}
    a, b = model(write_run, "A", 3.0, 1, **both), model(write_run, "B", 0.0, 2, **facts)
    row = next(row for row in compare(a, b).rows if row.metric == "fvd")
    assert (row.difference.p_value, row.p_adjusted, row.better, row.smallest) == (None,) * 4
    assert row.a is not None and row.difference.value is not None and note in row.difference.note
    assert all(row.cells["fvd"].rank is None for row in board_table([a, b], None, Ranker()).rows)


@pytest.mark.parametrize("n", [1, 2, 9])
def test_few_clips_have_values_and_no_verdict(write_run, n):
    models = [model(write_run, name, shift, i, n=n) for i, (name, shift) in enumerate((("A", 3.0), ("B", 0.0)))]
    found = judge(models, "tv_ib")
    assert None not in found.values and found.ranks == (None, None)
    verdict = found.pair()
    assert verdict.difference.value == pytest.approx(found.values[0] - found.values[1])
    assert (verdict.difference.ci_low, verdict.difference.p_value, verdict.better) == (None, None, None)
    assert f"n = {n} is below 10" in verdict.difference.note


def test_checks_of_clips_are_counted_and_not_tested(write_run, monkeypatch):
    from javisbench.metrics.base import Fault
    from javisbench.metrics.registry import METRICS as REGISTRY

    monkeypatch.setattr(REGISTRY.get("health_loudness"), "fault", Fault("inaudible", least=0.3), raising=False)
    runs = [write_run(name, metrics=("tv_ib", "health_loudness"), seed=i) for i, name in enumerate("AB")]
    a, b = map(load_result, runs)
    found = compare(a, b)
    check = found.checks[0]
    assert check.slice == "overall" and sum(c.slice.startswith("visual_style") for c in found.checks) == 3
    counts = [int((result.scores()["health_loudness"] < 0.3).sum()) for result in (a, b)]
    assert (check.word, check.a, check.b, check.n) == ("inaudible", *counts, 60)
    assert {row.metric for row in found.scores} == {"tv_ib"} and found.to_json()["checks"][0]["a"] == counts[0]
    assert all(row.difference.p_value is None for row in found.rows if row.metric == "health_loudness")
    assert judge([a, b], "health_loudness").ranks == (None, None)


def test_a_model_without_features_does_not_keep_others_from_their_ranks(write_run):
    models = [model(write_run, name, shift, i) for i, (name, shift) in enumerate((("A", 1.0), ("B", 0.0), ("C", 0.0)))]
    (models[1].folder / "set_features.safetensors").unlink()
    found = judge(models, "fvd")
    assert (found.values[1], found.ranks[1]) == (None, None) and {found.ranks[0], found.ranks[2]} == {(1, 1), (2, 2)}


def test_the_smallest_difference_is_found_in_80_of_100_cases():
    rng, n, spread = np.random.default_rng(0), 30, 2.0
    size = smallest_difference(spread / np.sqrt(n), n)
    found = stats.ttest_1samp(rng.normal(size, spread, (4000, n)), 0, axis=1).pvalue < 0.05
    # 4,000 data sets know a share of 0.8 to 0.006; the approximation by central t is good to 0.01.
    assert found.mean() == pytest.approx(0.8, abs=0.03)


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.integers(2, 10_000))
def test_as_many_prompts_as_needed_and_no_more(size, error, prompts):
    needed = prompts_needed(size, error, prompts)
    if needed is None:
        return
    spread = error * np.sqrt(prompts)
    assert smallest_difference(spread / np.sqrt(needed), needed) <= size * (1 + 1e-12)
    if needed > 2:
        assert smallest_difference(spread / np.sqrt(needed - 1), needed - 1) > size * (1 - 1e-12)
    assert prompts_needed(-size, error, prompts) == needed


def test_a_model_whose_distance_cannot_be_tested_does_not_keep_others_from_their_ranks(write_run):
    models = [model(write_run, name, shift, i) for i, (name, shift) in enumerate((("A", 1.0), ("B", 0.0), ("C", 0.0)))]
    stored = rows_by_metric(models[1].folder)["fvd"]
    flat = np.concatenate([stored.fake[:, :2], np.ones((N, 1), np.float32)], axis=1)
    write_set_features(models[1].folder, {"i3d": replace(stored, fake=flat)})
    found = judge(models, "fvd")
    assert found.values[1] is not None and found.ranks[1] is None
    assert {found.ranks[0], found.ranks[2]} == {(1, 1), (2, 2)}
    assert "singular" in found.pair(0, 1).difference.note and found.pair(0, 2).better == "a"


def test_a_clip_that_stands_twice_is_damage(write_run):
    models = [model(write_run, name, 0.0, i) for i, name in enumerate("AB")]
    scores = pd.read_parquet(models[0].folder / "scores.parquet")
    pd.concat([scores, scores[:1]]).to_parquet(models[0].folder / "scores.parquet")
    with pytest.raises(RunError, match="a clip twice"):
        judge(models, "tv_ib")


def test_models_with_other_clips_are_compared_on_those_that_both_have(write_run):
    a, b = model(write_run, "A", 0.0, 1), model(write_run, "B", 0.0, 2)
    scores = {result.model: pd.read_parquet(result.folder / "scores.parquet") for result in (a, b)}
    scores["A"].sample(frac=1, random_state=0)[:-5].to_parquet(a.folder / "scores.parquet")
    scores["B"].assign(tv_ib=scores["B"]["tv_ib"].where(scores["B"].index >= 7)).to_parquet(b.folder / "scores.parquet")
    kept = pd.read_parquet(a.folder / "scores.parquet").merge(scores["B"], on="sample_id")
    kept = kept[kept["sample_id"] >= "sample_0007"]
    found = judge([a, b], "tv_ib")
    assert found.n == len(kept)
    assert found.values == pytest.approx((kept["tv_ib_x"].mean(), kept["tv_ib_y"].mean()))
    paired = stats.ttest_rel(kept["tv_ib_x"], kept["tv_ib_y"])
    assert found.pair().difference.p_value == pytest.approx(paired.pvalue)
