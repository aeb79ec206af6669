"""Metrics that do not apply to every clip: counted beside the mean, clipped, and ranked only where shares are alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from javisbench.metrics.av_sync import AVSyncMetric
from javisbench.results.compare import compare
from javisbench.results.ranking import Ranker
from javisbench.results.run_folder import StoredResult, load_result
from javisbench.results.table import board_table, run_table
from javisbench.results.verdicts import Judge, judge
from javisbench.stats import sign_test

N = 60


# The tables' tests replace the metrics' cards; here a real one is at work.
@pytest.fixture(autouse=True)
def _metric_cards() -> Iterator[None]:
    yield


def model(write_run, name: str, shift: float, silent: range, outlier: float | None = None) -> StoredResult:
    """A run under javisbench-v2 with AV-Sync, some of whose clips are silent."""
    path: Path = write_run(name, n=N, metrics=("av_sync",), protocol="javisbench-v2", details=False)
    scores = pd.read_parquet(path / "scores.parquet")
    noise = np.random.default_rng([5, len(name)]).normal(0, 0.5, N)
    scores["av_sync"] = 1 + np.random.default_rng(2).normal(0, 1, N) + noise + shift
    if outlier is not None:
        scores.loc[N - 1, "av_sync"] = outlier
    scores.loc[list(silent), "av_sync"] = np.nan
    scores.to_parquet(path / "scores.parquet")
    rows = [
        {"sample_id": f"sample_{i:04d}", "repeat": 0, "stage": "not_applicable", "metric": "av_sync", "kind": "silent",
         "message": "The sound is silent."}
        for i in silent
    ]  # fmt: skip
    document = json.loads((path / "summary.json").read_text())
    document["failures"] = rows
    kept = scores["av_sync"].dropna().clip(-2, 6)
    facts = {"informative": 0.5, "weighted_mean": 1.5}
    document["metrics"]["av_sync"]["overall"] |= {
        "value": kept.mean(), "n": len(kept), "ci_low": kept.mean() - 0.3, "ci_high": kept.mean() + 0.3,
        **({"not_applicable": len(silent)} if silent else {}), "facts": facts,
    }  # fmt: skip
    (path / "summary.json").write_text(json.dumps(document))
    return load_result(path)


def test_clips_that_a_metric_does_not_apply_to_are_no_failures(write_run) -> None:
    result = model(write_run, "Quiet", 0.0, range(12))
    assert not result.failures and result.failed_samples == 0 and len(result.not_applicable) == 12
    notes = " ".join(run_table(result).notes)
    assert (
        "Quiet, AV-Sync: not applicable to 12 of 60 clips (12 silent); 50 % of clips informative; mean weighted by"
        in notes
    )
    assert "failure" not in notes


def test_models_of_like_shares_are_ranked_on_the_clips_that_both_have(write_run) -> None:
    one, two = model(write_run, "One", 1.0, range(3)), model(write_run, "Second", 0.0, range(2, 7), outlier=1e6)
    found = judge([one, two], "av_sync")
    assert found.n == N - 7 and found.ranks == ((1, 1), (2, 2)) and found.pair().better == "a"
    assert found.values[1] is not None and found.values[1] < 3, "clipped: one clip does not decide"
    cells = [row.cells["av_sync"] for row in board_table([one, two], None, Ranker()).rows]
    assert [cell.rank for cell in cells] == [(1, 1), (2, 2)] and all(cell.comparable for cell in cells)
    assert [cell.place for cell in cells] == ["best", "second"], "unequal n is no hindrance where shares are alike"


def test_shares_that_differ_significantly_mean_no_rank(write_run) -> None:
    one, two = model(write_run, "One", 0.0, range(1)), model(write_run, "Mute", 2.0, range(25))
    found = judge([one, two], "av_sync")
    assert found.ranks == (None, None) and found.pair().better is None and found.pair().p_adjusted is None
    assert found.note == "not applicable to 2 % of One, 42 % of Mute: shares that differ significantly, so no rank"
    assert found.values[0] is not None and found.values[1] is not None and found.n == 35
    assert {row.difference.note for row in compare(one, two).rows if row.slice == "overall"} == {found.note}
    cells = [row.cells["av_sync"] for row in board_table([one, two], None, Ranker()).rows]
    assert all(cell.rank is None and cell.place is None and cell.value is not None for cell in cells)


def test_one_silent_model_does_not_keep_the_others_from_their_ranks(write_run) -> None:
    models = [
        model(write_run, "One", 1.0, range(2)),
        model(write_run, "Mute", 3.0, range(40)),
        model(write_run, "Other", 0.0, range(1)),
    ]
    found = judge(models, "av_sync")
    assert found.ranks == ((1, 1), None, (2, 2)) and found.n == 58
    assert "67 % of Mute" in (found.note or "")


def with_weights(result: StoredResult, weights: np.ndarray) -> StoredResult:
    rows = [(f"sample_{i:04d}", 0, "av_sync", "weight", [float(w)]) for i, w in enumerate(weights)]
    columns = ["sample_id", "repeat", "metric", "name", "values"]
    pd.DataFrame(rows, columns=columns).to_parquet(result.path / "details.parquet")
    return load_result(result.path)


def test_ranks_by_the_weighted_mean_stand_beside_those_by_the_mean(write_run) -> None:
    one, two = model(write_run, "One", 1.0, range(2)), model(write_run, "Second", 0.0, range(2))
    assert Judge().weighted([one, two], "av_sync") is None, "no details, no weights"
    # The second model's good clips are those that can tell most.
    weights = np.where(two.scores()["av_sync"] > 1.5, 1.0, 0.01)  # type: ignore[index]
    one, two = with_weights(one, np.ones(N)), with_weights(two, weights)
    plain, weighted = judge([one, two], "av_sync"), Judge().weighted([one, two], "av_sync")
    assert weighted is not None and weighted.n == plain.n and plain.ranks == ((1, 1), (2, 2))
    scores = two.scores()["av_sync"].to_numpy()[2:]  # type: ignore[index]
    assert weighted.values[1] == pytest.approx(np.average(scores.clip(-2, 6), weights=weights[2:]))
    assert weighted.values[0] == pytest.approx(plain.values[0]), "equal weights are none"
    assert weighted.values[1] > plain.values[1] + 0.5 and weighted.ranks != plain.ranks
    notes = " ".join(board_table([one, two], None, Ranker()).notes)
    assert "AV-Sync, ranks by the mean that weights clips by how much they can tell: One " in notes
    row = next(row for row in compare(one, two).rows if row.slice == "overall")
    assert "clips weighted by how much they can tell: difference" in (row.difference.note or "")
    assert Judge().weighted([one, model(write_run, "Mute", 2.0, range(25))], "av_sync") is None


def test_the_test_of_shares_is_exact_and_counts_prompts() -> None:
    a, b = np.array([1, 1, 1, 1, 1, 1, 0, 0, 1]), np.array([0, 0, 0, 0, 0, 0, 1, 0, 1])
    assert sign_test(a, b, np.arange(9)) == pytest.approx(binomtest(6, 7).pvalue) == pytest.approx(0.125)
    assert sign_test(a, b, np.zeros(9, int)) == 1.0, "repeats of one prompt are one vote"
    assert sign_test(a, a, np.arange(9)) == 1.0
    assert sign_test(np.zeros(0), np.zeros(0), np.zeros(0, int)) == 1.0


def details(lag_steps: int | None, n: int = 25, seed: int = 0) -> list[dict[str, tuple[float, ...]]]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        strength = random.normal(size=101)
        if lag_steps is not None:
            strength[50 + lag_steps + random.integers(-1, 2)] += 5
        found.append(
            {"weight": (float(random.uniform(0.1, 1)),), "informative": (1.0,), "correlation": tuple(strength)}
        )
    return found


@pytest.mark.parametrize(
    ("lag_steps", "words"),
    [
        (0, "in step (+"),
        (16, "the sound is 320 ms late"),
        (-9, "ms early"),
        (None, "no offset that the clips have in common"),
    ],
)
def test_the_offset_of_a_set_has_an_interval_that_admits_ignorance(lag_steps: int | None, words: str) -> None:
    metric, values = AVSyncMetric(), np.linspace(-4, 8, 25)
    facts = metric.facts(values, details(lag_steps), np.arange(25), seed=1)
    assert facts == metric.facts(values, details(lag_steps), np.arange(25), seed=1)
    assert (
        facts["informative"] == 1 and facts["weighted_mean_low"] < facts["weighted_mean"] < facts["weighted_mean_high"]
    )
    weights = np.array([told["weight"][0] for told in details(lag_steps)])
    assert facts["weighted_mean"] == pytest.approx(np.average(values.clip(-2, 6), weights=weights))
    if lag_steps is None:
        assert facts["offset_ms_high"] - facts["offset_ms_low"] > 400
    else:
        assert facts["offset_ms_low"] - 20 <= 20 * lag_steps <= facts["offset_ms_high"] + 20
    remark = metric.remark(facts) or ""
    assert words in remark or (lag_steps == 0 and "in step" in remark)


def test_a_handful_of_prompts_has_no_offset_in_common() -> None:
    metric = AVSyncMetric()
    assert "offset_ms" not in metric.facts(np.ones(9), details(3, 9), np.arange(9), seed=0)
    assert "offset_ms" in metric.facts(np.ones(10), details(3, 10), np.arange(10), seed=0)


def test_one_prompt_has_no_interval_and_no_details_no_facts() -> None:
    metric = AVSyncMetric()
    facts = metric.facts(np.ones(3), details(3, 3), np.zeros(3, np.int64), seed=0)
    assert set(facts) == {"informative", "weighted_mean"} and "mean weighted" in (metric.remark(facts) or "")
    assert metric.facts(np.ones(1), [{}], np.zeros(1, np.int64), seed=0) == {} and metric.remark({}) is None
