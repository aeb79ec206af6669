from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from javisbench.stats import (
    difference,
    holm,
    paired_difference,
    pairwise_p_values,
    rank_intervals,
    slice_means,
    standard_error,
    t_interval,
    t_test,
)


def everything(n: int) -> dict[str, np.ndarray]:
    return {"overall": np.arange(n)}


class TestSliceMeans:
    def test_mean_and_interval_agree_with_scipys_bootstrap(self) -> None:
        rng = np.random.default_rng(3)
        values = rng.exponential(size=300)
        ours = slice_means(values, np.arange(300), everything(300), resamples=20_000)["overall"]
        theirs = scipy_stats.bootstrap(
            (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(4)
        ).confidence_interval
        assert ours.value == pytest.approx(values.mean(), rel=1e-15)
        assert ours.n == 300 and ours.status == "ok" and ours.note is None
        # Two independent bootstraps of 20 000: their percentiles differ by about 1 % of the interval.
        width = theirs.high - theirs.low
        assert ours.ci_low == pytest.approx(theirs.low, abs=0.03 * width)
        assert ours.ci_high == pytest.approx(theirs.high, abs=0.03 * width)

    def test_repeats_of_a_prompt_stay_together(self) -> None:
        rng = np.random.default_rng(0)
        prompt_values = rng.normal(size=50)
        single = slice_means(prompt_values, np.arange(50), everything(50))["overall"]
        repeated = slice_means(np.repeat(prompt_values, 4), np.repeat(np.arange(50), 4), everything(200))["overall"]
        # Copies carry no information: the interval must not shrink.
        assert (repeated.ci_low, repeated.ci_high) == pytest.approx((single.ci_low, single.ci_high), rel=1e-12)
        assert repeated.n == 200
        taken_for_new = slice_means(np.repeat(prompt_values, 4), np.arange(200), everything(200))["overall"]
        assert taken_for_new.ci_high - taken_for_new.ci_low < 0.7 * (single.ci_high - single.ci_low)

    def test_unequal_repeats_weigh_samples_not_prompts(self) -> None:
        estimate = slice_means([0.0, 1.0, 1.0, 1.0], [7, 9, 9, 9], everything(4))["overall"]
        assert estimate.value == 0.75
        assert (estimate.ci_low, estimate.ci_high) == (0.0, 1.0)

    def test_a_slice_does_not_depend_on_the_others(self) -> None:
        rng = np.random.default_rng(1)
        values, clusters = rng.normal(size=2000), np.arange(2000)
        part = np.flatnonzero(rng.random(2000) < 0.1)
        together = slice_means(values, clusters, {"overall": np.arange(2000), "part": part})
        assert slice_means(values, clusters, {"part": part})["part"] == together["part"]
        assert slice_means(values[part], clusters[part], everything(part.size))["overall"] == together["part"]

    def test_overlapping_slices_count_a_sample_fully_in_each(self) -> None:
        values = np.arange(30, dtype=float)
        found = slice_means(values, np.arange(30), {"a": np.arange(20), "b": np.arange(10, 30)})
        assert found["a"].value == 9.5 and found["b"].value == 19.5
        assert found["a"].n == found["b"].n == 20

    def test_seed_decides(self) -> None:
        values = np.random.default_rng(0).normal(size=100)
        first, again, other = (slice_means(values, np.arange(100), everything(100), seed=s) for s in (1, 1, 2))
        assert first == again
        assert first != other

    def test_small_slices_have_defined_results(self) -> None:
        slices = {"none": np.array([], dtype=int), "one": np.array([0]), "one prompt": np.array([0, 1])}
        found = slice_means([1.0, 2.0, 5.0], [4, 4, 8], slices)
        assert (found["none"].value, found["none"].n, found["none"].status) == (None, 0, "small_n")
        assert (found["one"].n, found["one"].status, found["one"].ci_low) == (1, "small_n", None)
        assert found["one"].value is not None
        assert (found["one prompt"].value, found["one prompt"].ci_low) == (1.5, None)
        assert found["one prompt"].status == "small_n"

    def test_few_prompts_are_said(self) -> None:
        found = slice_means(np.arange(30.0), np.arange(30), {"few": np.arange(5), "many": np.arange(20)})
        assert found["few"].note is not None and "5 prompts" in found["few"].note
        assert found["many"].note is None

    @given(st.floats(-1e6, 1e6), st.integers(2, 40))
    @settings(max_examples=25)
    def test_a_constant_score_has_an_interval_of_no_width(self, value: float, n: int) -> None:
        found = slice_means(np.full(n, value), np.arange(n), everything(n), resamples=100)["overall"]
        assert found.ci_low == found.value == found.ci_high

    @given(st.lists(st.floats(-100, 100), min_size=2, max_size=30), st.integers(0, 5))
    @settings(max_examples=40)
    def test_the_interval_lies_within_the_scores(self, scores: list[float], seed: int) -> None:
        found = slice_means(scores, np.arange(len(scores)), everything(len(scores)), seed=seed, resamples=100)
        low, high = found["overall"].ci_low, found["overall"].ci_high
        assert low is not None and high is not None
        assert min(scores) - 1e-9 <= low <= high <= max(scores) + 1e-9

    def test_more_prompts_than_a_block_of_draws(self) -> None:
        # 3000 prompts x 2000 resamples are drawn in several blocks; the mean of n has standard error sd / sqrt(n).
        values = np.random.default_rng(0).normal(size=3000)
        found = slice_means(values, np.arange(3000), everything(3000))["overall"]
        assert found.ci_low is not None and found.ci_high is not None
        assert found.ci_high - found.ci_low == pytest.approx(2 * 1.96 / np.sqrt(3000), rel=0.08)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_nan_is_refused_with_its_row(self, bad: float) -> None:
        with pytest.raises(ValueError, match="row 1"):
            slice_means([0.0, bad, 1.0], [0, 1, 2], everything(3))

    def test_wrong_arguments_are_refused(self) -> None:
        with pytest.raises(ValueError, match="one prompt for each of 3"):
            slice_means([0.0, 1.0, 2.0], [0, 1], everything(3))
        with pytest.raises(ValueError, match="must lie in"):
            slice_means([0.0, 1.0], [0, 1], {"x": np.array([0, 2])})
        with pytest.raises(ValueError, match="more than once"):
            slice_means([0.0, 1.0], [0, 1], {"x": np.array([1, 1])})
        with pytest.raises(ValueError, match="integer array"):
            slice_means([0.0, 1.0], [0, 1], {"x": np.array([True, False])})  # a mask is not a list of rows
        with pytest.raises(ValueError, match="level"):
            slice_means([0.0, 1.0], [0, 1], everything(2), level=95)
        with pytest.raises(ValueError, match="resamples"):
            slice_means([0.0, 1.0], [0, 1], everything(2), resamples=1)


class TestDifferences:
    def test_equals_the_paired_t_test(self) -> None:
        rng = np.random.default_rng(0)
        a, b = rng.normal(0.2, 1, 80), rng.normal(size=80)
        ours = paired_difference(a, b, np.arange(80))
        theirs = scipy_stats.ttest_rel(a, b)
        interval = theirs.confidence_interval(0.95)
        assert ours.value == pytest.approx((a - b).mean(), rel=1e-14)
        assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-10)
        assert (ours.ci_low, ours.ci_high) == pytest.approx((interval.low, interval.high), rel=1e-10)

    def test_copies_of_a_prompt_do_not_make_it_significant(self) -> None:
        rng = np.random.default_rng(2)
        a, b = rng.normal(0.3, 1, 20), rng.normal(size=20)
        once = paired_difference(a, b, np.arange(20))
        copied = paired_difference(np.tile(a, 5), np.tile(b, 5), np.tile(np.arange(20), 5))
        assert copied.p_value == pytest.approx(once.p_value, rel=1e-10)

    def test_of_influences(self) -> None:
        rng = np.random.default_rng(0)
        gaps = rng.normal(size=50)
        by_value = paired_difference(gaps, np.zeros(50), np.arange(50))
        assert difference(float(gaps.mean()), gaps, level=0.95).p_value == pytest.approx(by_value.p_value)

    def test_equal_scores_are_never_told_apart(self) -> None:
        same = paired_difference(np.arange(5.0), np.arange(5.0), np.arange(5))
        assert (same.value, same.ci_low, same.ci_high, same.p_value) == (0, 0, 0, 1)
        always_better = paired_difference(np.arange(5.0) + 1, np.arange(5.0), np.arange(5))
        assert (always_better.ci_low, always_better.p_value) == (1, 0)

    def test_too_few(self) -> None:
        assert paired_difference([1.0], [0.0], [0]).value is None
        one_prompt = paired_difference([1.0, 2.0], [0.0, 0.0], [3, 3])
        assert (one_prompt.value, one_prompt.ci_low, one_prompt.p_value) == (1.5, None, None)
        with pytest.raises(ValueError, match="same samples"):
            paired_difference([1.0, 2.0], [0.0], [3, 3])

    def test_standard_error_of_a_mean(self) -> None:
        values = np.random.default_rng(0).normal(5, 2, 40)
        assert standard_error(values) == (pytest.approx(scipy_stats.sem(values)), 39)
        assert standard_error(values, np.zeros(40, dtype=int)) is None
        assert t_interval(1.0, 2.0, 10) == pytest.approx(scipy_stats.t.interval(0.95, 10, 1.0, 2.0))
        assert t_test(3.0, 2.0, 10) == pytest.approx(2 * scipy_stats.t.sf(1.5, 10))

    def test_all_pairs_at_once_equal_each_pair(self) -> None:
        rng = np.random.default_rng(0)
        clusters = rng.integers(0, 25, 60)
        scores = rng.normal(size=(60, 4)) + rng.normal(size=25)[clusters][:, None]
        scores[:, 3] = scores[:, 2]
        p = pairwise_p_values(scores.mean(axis=0), scores, clusters)
        for i, j in itertools.product(range(4), repeat=2):
            assert p[i, j] == pytest.approx(paired_difference(scores[:, i], scores[:, j], clusters).p_value, rel=1e-9)
        assert p[2, 3] == 1

    def test_nearly_equal_models_keep_their_digits(self) -> None:
        rng = np.random.default_rng(0)
        first = 1e6 + rng.normal(size=50)
        second = first + 1e-3 * rng.normal(size=50)
        scores = np.stack([first, second], axis=1)
        p = pairwise_p_values(scores.mean(axis=0), scores)
        assert p[0, 1] == pytest.approx(scipy_stats.ttest_rel(first, second).pvalue, rel=1e-4)

    def test_models_that_cannot_be_compared(self) -> None:
        rng = np.random.default_rng(0)
        scores = rng.normal(size=(20, 3))
        p = pairwise_p_values([0.1, np.nan, 0.2], scores)
        assert np.isnan(p[1]).all() and np.isnan(p[:, 1]).all() and np.isfinite(p[0, 2])
        assert np.isnan(pairwise_p_values([0.1, 0.2], scores[:1, :2])).all()
        assert np.isnan(pairwise_p_values([0.1, 0.2], scores[:, :2], np.zeros(20))).all()
        with pytest.raises(ValueError, match="columns"):
            pairwise_p_values([0.1], scores)


class TestHolm:
    def test_by_hand(self) -> None:
        # Sorted 0.01 0.02 0.03 0.2, times 4 3 2 1: 0.04 0.06 0.06 0.2; the third may not fall below the second.
        assert holm([0.03, 0.01, 0.2, 0.02]) == pytest.approx([0.06, 0.04, 0.2, 0.06])

    def test_never_above_one_and_untested_pairs_do_not_count(self) -> None:
        assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
        adjusted = holm([0.02, np.nan, 0.5])
        assert adjusted[0] == pytest.approx(0.04) and np.isnan(adjusted[1]) and adjusted[2] == 0.5
        assert holm([]).shape == (0,)

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
    def test_equals_the_closed_testing_procedure(self, p: list[float]) -> None:
        # Holm is Bonferroni within closed testing: reject i iff every set that contains i is rejected.
        alpha = 0.05
        by_sorting = np.asarray(p)
        k = len(p)
        order = np.argsort(by_sorting, kind="stable")
        rejected = np.zeros(k, dtype=bool)
        for step, i in enumerate(order):
            if by_sorting[i] * (k - step) > alpha:
                break
            rejected[i] = True
        assert (holm(p) <= alpha).tolist() == rejected.tolist()

    def test_refuses_what_is_no_p_value(self) -> None:
        with pytest.raises(ValueError, match="between 0 and 1"):
            holm([1.2])
        with pytest.raises(ValueError, match="one-dimensional"):
            holm(np.zeros((2, 2)))


class TestRanks:
    def test_by_hand(self) -> None:
        # A and B clearly above C; A and B not told apart. Three pairs: Holm doubles the second smallest.
        p = np.array([[1, 0.5, 0.001], [0.5, 1, 0.02], [0.001, 0.02, 1]])
        assert rank_intervals([0.9, 0.8, 0.1], p, higher_is_better=True) == [(1, 2), (1, 2), (3, 3)]
        assert rank_intervals([0.9, 0.8, 0.1], p, higher_is_better=False) == [(2, 3), (2, 3), (1, 1)]

    def test_adjustment_is_over_all_pairs_of_the_table(self) -> None:
        p = np.array([[1, 0.04, 0.9], [0.04, 1, 0.9], [0.9, 0.9, 1]])
        assert rank_intervals([3.0, 2.0, 1.0], p, higher_is_better=True) == [(1, 3)] * 3
        assert rank_intervals([3.0, 2.0], p[:2, :2], higher_is_better=True) == [(1, 1), (2, 2)]

    def test_a_model_without_value_is_not_ranked_and_not_counted(self) -> None:
        p = np.full((3, 3), 1e-9)
        assert rank_intervals([2.0, np.nan, 1.0], p, higher_is_better=True) == [(1, 1), None, (2, 2)]

    def test_one_model_and_pairs_without_a_test(self) -> None:
        assert rank_intervals([1.0], np.ones((1, 1)), higher_is_better=True) == [(1, 1)]
        assert rank_intervals([], np.ones((0, 0)), higher_is_better=True) == []
        assert rank_intervals([2.0, 1.0], np.full((2, 2), np.nan), higher_is_better=True) == [(1, 2), (1, 2)]
        with pytest.raises(ValueError, match="2 x 2"):
            rank_intervals([2.0, 1.0], np.ones((3, 3)), higher_is_better=True)

    @given(st.integers(1, 8), st.integers(0, 10_000))
    @settings(max_examples=60)
    def test_intervals_hold_the_order_of_the_values(self, models: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        values = rng.normal(size=models)
        p = rng.random((models, models)) ** 6
        order = np.argsort(-values)
        ranks = rank_intervals(values, np.triu(p) + np.triu(p, 1).T, higher_is_better=True)
        for rank, i in enumerate(order, start=1):
            assert ranks[i] is not None
            best, worst = ranks[i]
            assert 1 <= best <= rank <= worst <= models


def test_coverage_of_the_bootstrap() -> None:
    # A small version of benchmarks/coverage.py: 300 data sets of 60 prompts; 3 standard errors of 0.94 are 0.04.
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(300):
        scores = rng.gamma(2.0, 0.5, 60)
        found = slice_means(scores, np.arange(60), everything(60), seed=seed, resamples=500)["overall"]
        assert found.ci_low is not None and found.ci_high is not None
        hits += found.ci_low <= 1.0 <= found.ci_high
    assert 0.88 <= hits / 300 <= 0.985
