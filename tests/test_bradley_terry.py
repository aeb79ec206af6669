"""Strengths from votes: against closed forms, a general optimiser, a public package, and simulated votes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.bradley_terry import A_WINS, ADDED, B_WINS, TIE, intervals, strengths

# Wins of the row's model over the column's, and what choix 0.4.1 (ilsr_pairwise, tol 1e-12) makes of them, centred.
WINS = np.array([[0, 12, 7, 9, 5], [8, 0, 6, 11, 4], [13, 9, 0, 10, 8], [3, 6, 5, 0, 2], [15, 14, 9, 16, 0]])
CHOIX = (-0.0647754, -0.30229544, 0.36243075, -0.86418251, 0.8688226)


def rows_of(counts: dict[tuple[int, int], tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = [(a, b, outcome) for (a, b), own in counts.items() for outcome in range(3) for _ in range(own[outcome])]
    first, second, outcomes = np.array(rows, dtype=int).reshape(-1, 3).T
    return first, second, outcomes


def drawn(
    truth: np.ndarray, ties: float, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    models = len(truth)
    first = rng.integers(0, models, n)
    second = (first + rng.integers(1, models, n)) % models
    odds = np.stack([truth[first], truth[second], ties + (truth[first] + truth[second]) / 2], axis=1)
    shares = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    return first, second, (rng.random(n)[:, None] > shares.cumsum(axis=1)).sum(axis=1)


def test_wins_alone_give_what_choix_gives():
    pairs = [(i, j) for i in range(5) for j in range(5) for _ in range(WINS[i, j])]
    first, second = np.array(pairs).T
    found = strengths(first, second, np.full(len(first), A_WINS), 5)
    np.testing.assert_allclose(found.values, CHOIX, atol=2e-8)  # the digits that were recorded
    assert found.ties == -np.inf and found.bounded


def test_two_models_have_a_closed_form():
    found = strengths(*rows_of({(0, 1): (30, 20, 10)}), 2)
    assert found.values[0] - found.values[1] == pytest.approx(np.log(30 / 20), abs=1e-9)
    assert np.exp(found.ties) == pytest.approx(10 / np.sqrt(30 * 20), abs=1e-9)


def test_a_general_optimiser_finds_the_same():
    from scipy.optimize import minimize

    first, second, outcomes = drawn(np.array([0.0, 0.4, -0.6, 1.1]), -0.4, 400, np.random.default_rng(5))

    def loss(x: np.ndarray) -> float:
        theta = np.append(x[:3], -x[:3].sum())
        odds = np.stack([theta[first], theta[second], x[3] + (theta[first] + theta[second]) / 2], axis=1)
        return float((np.log(np.exp(odds).sum(axis=1)) - odds[np.arange(len(odds)), outcomes]).sum())

    best = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-6}).x
    found = strengths(first, second, outcomes, 4)
    np.testing.assert_allclose(found.values, np.append(best[:3], -best[:3].sum()), atol=1e-5)
    assert found.ties == pytest.approx(best[3], abs=1e-5)


votes = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=60)


@given(votes, st.permutations(range(4)))
@settings(max_examples=60)
def test_order_of_votes_names_and_sides_does_not_matter(rows, order):
    first = np.array([a for a, _, _ in rows])
    second = np.array([(a + step) % 4 for a, step, _ in rows])
    outcomes = np.array([outcome for _, _, outcome in rows])
    found = strengths(first, second, outcomes, 4)
    turned = np.where(outcomes == TIE, TIE, 1 - outcomes)
    again = strengths(second[::-1], first[::-1], turned[::-1], 4)
    np.testing.assert_allclose(again.values, found.values, atol=1e-6)
    renamed = strengths(np.array(order)[first], np.array(order)[second], outcomes, 4)
    if np.isfinite(found.values).all():  # of several groups of equal size, names decide
        np.testing.assert_allclose(renamed.values[list(order)], found.values, atol=1e-6)
    assert np.nansum(found.values) == pytest.approx(0, abs=1e-9)
    assert np.isfinite(found.influences).all()


def test_influences_say_what_a_vote_changes():
    first, second, outcomes = drawn(np.array([0.0, 0.5, -0.5]), -0.5, 2000, np.random.default_rng(1))
    found = strengths(first, second, outcomes, 3)
    np.testing.assert_allclose(found.influences.mean(axis=0), 0, atol=1e-6)
    for left_out in range(5):
        rest = np.arange(2000) != left_out
        without = strengths(first[rest], second[rest], outcomes[rest], 3)
        # The first-order term; the second is of the order of 1 / n.
        np.testing.assert_allclose(
            2000 * (found.values - without.values), found.influences[left_out], rtol=0.02, atol=0.02
        )


def test_a_model_that_always_wins_has_votes_added():
    found = strengths(*rows_of({(0, 1): (8, 0, 0), (1, 2): (5, 4, 2)}), 3)
    assert not found.bounded and np.isfinite(found.values).all()
    assert found.values[0] > found.values[1] > found.values[2]
    alone = strengths(*rows_of({(0, 1): (8, 0, 0)}), 2)
    assert alone.values[0] - alone.values[1] == pytest.approx(np.log((8 + ADDED) / ADDED))


def test_wins_and_ties_without_one_loss_are_unbounded_too():
    """The likelihood grows as strength and readiness to tie grow together, though ties link both models."""
    found = strengths(*rows_of({(0, 1): (6, 0, 6)}), 2)
    assert not found.bounded and np.isfinite(found.values).all() and found.values[0] > 0


def test_models_that_are_not_compared_with_the_rest_have_no_strength():
    found = strengths(*rows_of({(0, 1): (5, 3, 0), (1, 2): (4, 4, 1), (3, 4): (9, 1, 0)}), 6)
    assert np.isnan(found.values).tolist() == [False, False, False, True, True, True]
    assert found.used == 17 and len(found.influences) == 27
    assert strengths([], [], [], 3).used == 0 and np.isnan(strengths([], [], [], 3).values).all()


@pytest.mark.parametrize(
    ("votes", "why"),
    [
        (([0], [0], [0]), "different"),
        (([0], [3], [0]), "numbered"),
        (([0], [1], [3]), "outcome"),
        (([0, 1], [1], [0]), "two"),
    ],
)
def test_what_is_no_vote_is_refused(votes, why):
    with pytest.raises(ValueError, match=why):
        strengths(*votes, 3)


@pytest.mark.parametrize("uneven", [False, True])
def test_intervals_hold_the_truth_about_as_often_as_they_say(uneven):
    """12 voters on four models. benchmarks/results/votes.json has the numbers of 1,000 draws."""
    truth = np.array([-0.5, 0.0, 0.1, 0.4])
    rng = np.random.default_rng(11)
    sizes = np.full(12, 25) if not uneven else np.array([120, 60, 30, 20, 15, 12, 10, 10, 8, 6, 5, 4])
    held = []
    for _ in range(100):
        first, second, outcomes = drawn(truth, -0.6, 300, rng)
        ends = intervals(first, second, outcomes, np.repeat(np.arange(12), sizes), 4)
        held.append((ends[:, 0] <= truth - truth.mean()) & (truth - truth.mean() <= ends[:, 1]))
    # Of 400 intervals, which share votes by fours: 0.95, give or take three standard errors of 100 independent ones.
    assert 0.885 <= np.mean(held) <= 0.995


def test_an_interval_is_student_s_of_the_strengths_without_each_cluster():
    """Written out: 14 clusters of unequal size, each left out in turn."""
    from scipy.stats import t

    first, second, outcomes = drawn(np.array([0.0, 0.4, -0.6]), -0.4, 300, np.random.default_rng(8))
    clusters = np.sort(np.random.default_rng(9).integers(0, 14, 300) // 2 * 2)  # 7 numbers
    names = np.unique(clusters)
    rest = np.array(
        [strengths(*(part[clusters != name] for part in (first, second, outcomes)), 3).values for name in names]
    )
    error = np.sqrt((len(names) - 1) / len(names) * ((rest - rest.mean(axis=0)) ** 2).sum(axis=0))
    sizes = np.bincount(clusters)[names]
    equal = sizes.sum() ** 2 / (sizes**2).sum()
    reach = t.ppf(0.95, (len(names) + equal) / 2 - 1) * error
    values = strengths(first, second, outcomes, 3).values
    ends = intervals(first, second, outcomes, clusters, 3, level=0.9)
    np.testing.assert_allclose(ends, np.stack([values - reach, values + reach], axis=1), atol=1e-6)


def test_many_clusters_are_left_out_in_groups():
    """2,500 voters of two votes each: about the interval of as many independent votes."""
    first, second, outcomes = drawn(np.array([0.0, 0.3]), -0.5, 5000, np.random.default_rng(3))
    ends = intervals(first, second, outcomes, np.arange(5000) % 2500, 2)
    found = strengths(first, second, outcomes, 2)
    reach = 1.96 * found.influences.std(axis=0) / np.sqrt(5000)
    # 1,000 groups tell a standard error to 2 %.
    np.testing.assert_allclose((ends[:, 1] - ends[:, 0]) / 2, reach, rtol=0.08)


def test_an_interval_needs_two_clusters_of_some_weight():
    one = intervals(*rows_of({(0, 1): (5, 3, 1)}), np.zeros(9, dtype=int), 2)
    assert np.isnan(one).all()
    heavy = intervals(*rows_of({(0, 1): (50, 30, 1)}), (np.arange(81) > 78).astype(int), 2)
    assert np.isnan(heavy).all()
    with pytest.raises(ValueError, match="clusters"):
        intervals([0], [1], [A_WINS], [0, 1], 2)
    with pytest.raises(ValueError, match="level"):
        intervals([0], [1], [B_WINS], [0], 2, level=1.0)


def test_recorded_coverage_is_what_the_page_says():
    root = Path(__file__).parents[1]
    rows = json.loads((root / "benchmarks/results/votes.json").read_text())["rows"]
    page = (root / "docs/votes.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| ") and " to " in line and "%" in line]
    assert len(lines) == len(rows) and {row["repeats"] for row in rows} == {1000}
    for row, line in zip(rows, lines, strict=True):
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        assert cells[4] == f"{100 * row['coverage']:.1f} %"
        assert cells[5] == f"{100 * row['least_model']:.1f} to {100 * row['most_model']:.1f} %"
        assert cells[6] == ("" if row["false_ranks"] is None else f"{100 * row['false_ranks']:.1f} %")
        assert 0.93 <= row["coverage"] <= 0.97 and row["without_interval"] < 0.005
    held = [100 * row["coverage"] for row in rows]
    statistics = " ".join((root / "docs/statistics.md").read_text(encoding="utf-8").split())
    assert (
        f"the truth in {min(held):.1f} to {max(held):.1f} % of 1,000 simulated polls of each of {len(rows)} kinds"
        in statistics
    )
