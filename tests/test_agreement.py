"""AUROC, pair accuracy and tau against SciPy and scikit-learn; what their intervals cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.stats import kendalltau, mannwhitneyu

from javisbench.agreement import (
    alpha,
    auroc,
    auroc_estimate,
    concord,
    kendall_tau,
    monotony,
    pair_accuracy,
    pair_outcomes,
    pairs_tau,
    tau_by_prompt,
)

# Few distinct values make ties; others are tried too.
VALUE = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6))
SOME = st.lists(VALUE, min_size=1, max_size=12)
PAIRS = st.lists(st.tuples(VALUE, VALUE), min_size=2, max_size=12)


@given(SOME, SOME)
def test_auroc_is_that_of_scikit_learn_and_of_mann_and_whitney(good: list[float], bad: list[float]) -> None:
    from sklearn.metrics import roc_auc_score

    truth = [1] * len(good) + [0] * len(bad)
    assert auroc(good, bad) == pytest.approx(roc_auc_score(truth, [*good, *bad]), abs=1e-12)
    assert auroc(good, bad) == pytest.approx(mannwhitneyu(good, bad).statistic / len(good) / len(bad), abs=1e-12)
    assert auroc(good, bad) == pytest.approx(1 - auroc(bad, good), abs=1e-12)


@given(PAIRS)
@example([(0.0, 0.0), (0.0, 0.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0)])
def test_pair_accuracy_is_that_of_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    from sklearn.metrics import accuracy_score

    better, worse = zip(*pairs, strict=True)
    found = pair_accuracy(pair_outcomes(better, worse), np.arange(len(pairs)))
    right = [True] * len(pairs)
    strict = accuracy_score(right, [b > w for b, w in pairs])
    relaxed = accuracy_score(right, [b >= w for b, w in pairs])
    assert (found.strict, found.relaxed) == pytest.approx((strict, relaxed))
    assert found.estimate.value == pytest.approx((strict + relaxed) / 2)
    low, high = found.estimate.ci_low, found.estimate.ci_high
    assert low is not None and high is not None and found.estimate.value is not None
    # The value may be an end of the interval, to rounding.
    assert 0 <= low <= found.estimate.value + 1e-12 <= high + 2e-12 <= 1 + 2e-12


@given(PAIRS)
def test_tau_is_that_of_scipy(pairs: list[tuple[float, float]]) -> None:
    first, second = zip(*pairs, strict=True)
    oracle = kendalltau(first, second).statistic
    found = kendall_tau(first, second)
    assert (found is None) == math.isnan(oracle)
    if found is not None:
        assert found == pytest.approx(oracle, abs=1e-12)


@given(PAIRS, st.randoms())
def test_tau_of_pairs_depends_on_neither_their_order_nor_who_stands_first(
    pairs: list[tuple[float, float]], random: object
) -> None:
    labels, gaps = (np.array(part) for part in zip(*pairs, strict=True))
    flips = np.array([random.choice([-1, 1]) for _ in pairs])  # type: ignore[attr-defined]
    assert pairs_tau(labels, gaps) == pairs_tau((labels * flips)[::-1], (gaps * flips)[::-1])


@given(SOME, SOME, st.integers(0, 3))
def test_intervals_hold_the_value_for_equal_sources(good: list[float], bad: list[float], seed: int) -> None:
    assume(len(good) >= 2)
    bad = (bad * len(good))[: len(good)]
    found = auroc_estimate(good, bad, np.arange(len(good)), seed=seed, resamples=200)
    assert found.value == auroc(good, bad)
    assert found.ci_low is not None and found.ci_high is not None
    assert 0 <= found.ci_low <= found.ci_high <= 1
    assert found == auroc_estimate(good, bad, np.arange(len(good)), seed=seed, resamples=200)


def test_an_area_of_one_or_a_half() -> None:
    perfect = auroc_estimate([3, 4, 5], [0, 1, 2], [0, 1, 2])
    assert (perfect.value, perfect.ci_low, perfect.ci_high) == (1.0, 1.0, 1.0)
    constant = auroc_estimate([1, 1, 1], [1, 1, 1], [0, 1, 2])
    assert (constant.value, constant.ci_low, constant.ci_high) == (0.5, 0.5, 0.5)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    # Two normals one deviation apart: the area is Phi(1 / sqrt 2) = 0.760.
    truth, random = 0.5 * (1 + math.erf(0.5)), np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        found = auroc_estimate(
            random.normal(1, 1, 60), random.normal(0, 1, 60), np.arange(60), seed=trial, resamples=300
        )
        assert found.ci_low is not None and found.ci_high is not None
        covered += found.ci_low <= truth <= found.ci_high
    # 95 % of 200, less four standard errors of such a count and what a percentile bootstrap lacks at n = 60.
    assert covered >= 174


def test_sources_are_drawn_whole() -> None:
    random = np.random.default_rng(1)
    good, bad = random.normal(0.5, 1, 40), random.normal(0, 1, 40)
    once = auroc_estimate(good, bad, np.arange(40))
    copies = auroc_estimate(np.repeat(good, 5), np.repeat(bad, 5), np.repeat(np.arange(40), 5))
    alone = auroc_estimate(np.repeat(good, 5), np.repeat(bad, 5), np.arange(200))
    assert copies.value == pytest.approx(once.value)
    assert (copies.ci_low, copies.ci_high) == pytest.approx((once.ci_low, once.ci_high))
    widths = [found.ci_high - found.ci_low for found in (copies, alone)]  # type: ignore[operator]
    assert widths[0] > 1.7 * widths[1], "copies of a clip tell nothing new"


def test_sides_of_other_clips_and_sizes() -> None:
    found = auroc_estimate([1.0, 2.0], [0.0, 1.5, 3.0], ["a", "b"], ["a", "b", "b"])
    assert found.value == auroc([1.0, 2.0], [0.0, 1.5, 3.0])
    assert found.n == 3 and found.ci_low is not None
    assert auroc_estimate([1.0], [0.0], [7]).note == "all clips are of one source: no interval"
    assert auroc_estimate([], [0.0], []).value is None
    for bad in ([np.nan], [[1.0]]):
        with pytest.raises(ValueError, match="NaN"):
            auroc([1.0], bad)
    with pytest.raises(ValueError, match="one source"):
        auroc_estimate([1.0, 2.0], [1.0, 2.0], [0])
    with pytest.raises(ValueError, match="two values"):
        pair_outcomes([1.0], [1.0, 2.0])


def test_tau_by_prompt() -> None:
    # Prompt 0 in full agreement, prompt 1 in full disagreement, prompt 2 with tied labels alone.
    labels, gaps = [1, 1, 1, -1, 0, 0], [0.5, 2.0, -1.0, 3.0, 1.0, 2.0]
    found = tau_by_prompt(labels, gaps, [0, 0, 1, 1, 2, 2])
    assert (found.value, found.n) == (0.0, 2)
    assert found.note is not None and "1 of 3 prompts have ties alone" in found.note
    assert tau_by_prompt([1, 1], [1.0, 1.0], [4, 4]).value == 1.0
    assert tau_by_prompt([0], [1.0], [4]).value is None


def test_monotony_needs_three_doses() -> None:
    assert monotony([1, 2, 3], [0.1, 0.2, 0.2]) == pytest.approx(2 / 6**0.5)
    assert monotony([1, 2], [0.1, 0.2]) is None
    assert monotony([1, 2, 3], [0.0, 0.0, 0.0]) is None


def test_many_clips_of_one_source_have_no_interval() -> None:
    rng = np.random.default_rng(0)
    found = auroc_estimate(rng.normal(size=9) + 1, rng.normal(size=9), np.zeros(9, int))
    assert found.value is not None and (found.ci_low, found.n, found.status) == (None, 9, "small_n")


# Krippendorff, Computing Krippendorff's alpha-reliability (2011), section C: four observers, 12 units, missing values;
# interval scale 0.849.
OBSERVED = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)


def test_alpha_is_as_its_author_computes_it():
    ratings = [(value, unit) for own in OBSERVED for unit, value in enumerate(own) if value is not None]
    values, units = zip(*ratings, strict=True)
    found = alpha(values, units)
    assert found.value == pytest.approx(0.849, abs=5e-4) and found.n == 40
    assert found.ci_low is not None and found.ci_low < found.value
    assert "11 prompts" in str(found.note)


def test_people_who_always_disagree_are_far_below_chance():
    units = np.repeat(np.arange(30), 2)
    values = np.tile([1, -1], 30)
    assert alpha(values, units).value == pytest.approx(-1 + 1 / 30)
    found = concord(values, units)
    assert (found.same.value, found.same.n, found.same.ci_high) == (0.0, 30, 0.0) and found.same_side == found.same
    assert alpha(np.tile([1, 1, 0, 0], 15), units).value == 1.0


def test_alpha_without_shared_or_differing_judgements_has_no_value():
    assert alpha([1, -1], [0, 1]).value is None
    assert alpha([1, 1, 1], [0, 0, 1]).note == "all judgements are the same"


def test_concord_counts_pairs_of_judgements():
    # Of three on the first pair: a, a, tie; of two on the second: b, a; one alone.
    found = concord([1, 1, 0, -1, 1, 1], [7, 7, 7, 2, 2, 9])
    assert (found.same.value, found.same.n) == (1 / 4, 4) and (found.same_side.value, found.same_side.n) == (1 / 2, 2)
    assert concord([], []).same.value is None
    # Prompts stay together: of two with all alike and two with nothing alike, a draw may have any share.
    found = concord([1, 1] * 10 + [1, -1] * 10, np.repeat(np.arange(20), 2), np.repeat(np.arange(4), 10))
    assert (found.same.value, found.same.ci_low, found.same.ci_high) == (0.5, 0.0, 1.0)


@given(st.lists(st.tuples(st.integers(-1, 1), st.integers(0, 5)), min_size=2, max_size=40))
def test_alpha_does_not_know_which_side_is_which(rows):
    values, units = (np.array(part) for part in zip(*rows, strict=True))
    one, other = alpha(values, units), alpha(-values, units)
    assert (one.value is None) == (other.value is None)
    if one.value is not None:
        assert one.value == pytest.approx(other.value) and one.value <= 1
