from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from javisbench.errors import MetricError
from javisbench.metrics import distances
from javisbench.metrics.base import SetValue
from javisbench.metrics.distances import (
    Moments,
    frechet,
    frechet_distance,
    frechet_from_moments,
    kernel_distance,
    polynomial_mmd,
)
from javisbench.metrics.fad import FADMetric
from javisbench.metrics.frechet_metric import extrapolate_frechet
from javisbench.metrics.kvd import KVDMetric
from javisbench.protocol import parse_protocol
from javisbench.stats import standard_error, t_interval

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(2, 40)
WIDTHS = st.integers(1, 24)


def rows(seed: int, n: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, width)) @ rng.normal(size=(width, width)) + rng.normal(size=width)


def pair(n: int = 200, width: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return rows(seed, n, width), 1.3 * rows(seed + 1, n, width) + 0.2


def by_square_root(x: np.ndarray, y: np.ndarray) -> float:
    """The textbook formula, with SciPy's matrix square root; accurate for covariances far from singular."""
    a, b = np.cov(x.T), np.cov(y.T)
    gap = x.mean(axis=0) - y.mean(axis=0)
    return float(gap @ gap + np.trace(a) + np.trace(b) - 2 * np.trace(np.real(linalg.sqrtm(a @ b))))


def by_full_kernel(x: np.ndarray, y: np.ndarray) -> float:
    from sklearn.metrics.pairwise import polynomial_kernel

    n, m = len(x), len(y)
    xx, yy, xy = (polynomial_kernel(a, b, degree=3, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    own = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(own - 2 * xy.mean())


def frechet_slices(x: np.ndarray, y: np.ndarray, slices: dict, factor: float = 1.0) -> dict[str, SetValue]:
    return FADMetric().compute(x, y, slices, parse_protocol(f"javisbench-v1+fad_factor={factor}"))


def kernel_slices(x: np.ndarray, y: np.ndarray, slices: dict, centred: bool = False) -> dict[str, SetValue]:
    return KVDMetric().compute(x, y, slices, parse_protocol("javisbench-v1" if centred else "javisbench-v2"))


def influences(found: distances.Distance) -> tuple[np.ndarray, np.ndarray]:

    assert found.influences_fake is not None and found.influences_real is not None
    return found.influences_fake, found.influences_real


class TestFrechet:
    @pytest.mark.parametrize(("n", "m", "width"), [(300, 250, 12), (60, 90, 30)])
    def test_equals_scipys_square_root_where_that_is_accurate(self, n: int, m: int, width: int) -> None:
        x, y = rows(0, n, width), rows(1, m, width)
        assert frechet_distance(x, y) == pytest.approx(by_square_root(x, y), rel=1e-9)

    @pytest.mark.parametrize(
        ("n", "width", "expected"),
        [(500, 32, 20.299588251017994), (3000, 64, 41.287323366771545), (100, 64, 51.406380216124816)],
    )
    def test_equals_pytorch_fid(self, n: int, width: int, expected: float) -> None:
        # `calculate_frechet_distance` of pytorch-fid 0.3.0 with SciPy 1.17.1, computed once on these arrays.
        rng = np.random.default_rng(7)
        x = rng.normal(size=(n, width)) @ rng.normal(size=(width, width)) / np.sqrt(width)
        y = 1.2 * rng.normal(size=(n, width)) @ rng.normal(size=(width, width)) / np.sqrt(width) + 0.1
        assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-11)

    def test_gaussians_in_closed_form(self) -> None:
        # Rows with exactly the wanted moments: independent coordinates, so (m1-m2)^2 + (s1-s2)^2 in each.
        base = np.random.default_rng(0).normal(size=(500, 6))
        base -= base.mean(axis=0)
        base = base @ np.linalg.inv(np.linalg.cholesky(np.cov(base.T))).T
        first, second = np.array([1, 2, 3, 4, 5, 6.0]), np.array([2, 2, 1, 0.5, 5, 9.0])
        shift = np.array([0, 1, 0, -2, 0, 0.5])
        expected = (shift**2).sum() + ((first - second) ** 2).sum()
        assert frechet_distance(base * first, base[::-1] * second + shift) == pytest.approx(expected, rel=1e-12)

    @given(SEEDS, SIZES, WIDTHS)
    @settings(max_examples=60, deadline=None)
    def test_linear_map_in_closed_form(self, seed: int, n: int, width: int) -> None:
        # y = xA + b, A symmetric positive definite: |mean gap|^2 + tr((I-A) S (I-A)), also for n <= d.
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, width))
        a = rng.normal(size=(width, width))
        a = a @ a.T / width + 0.1 * np.eye(width)
        y = x @ a + rng.normal(size=width)
        rest = np.eye(width) - a
        gap = x.mean(axis=0) - y.mean(axis=0)
        expected = gap @ gap + np.trace(rest @ np.cov(x.T).reshape(width, width) @ rest)
        scale = np.trace(np.atleast_2d(np.cov(x.T))) + np.trace(np.atleast_2d(np.cov(y.T)))
        assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9, abs=1e-12 * scale)

    @given(SEEDS, SIZES, WIDTHS)
    @settings(max_examples=40, deadline=None)
    def test_a_set_is_at_no_distance_from_itself_in_any_order(self, seed: int, n: int, width: int) -> None:
        x = rows(seed, n, width)
        total = np.trace(np.atleast_2d(np.cov(x.T)))
        shuffled = x[np.random.default_rng(seed).permutation(n)]
        assert 0 <= frechet_distance(x, shuffled) <= 1e-12 * (total + 1)

    @given(SEEDS, SIZES, SIZES, WIDTHS)
    @settings(max_examples=40, deadline=None)
    def test_symmetric_unaffected_by_order_rotation_and_common_shift(
        self, seed: int, n: int, m: int, width: int
    ) -> None:
        rng = np.random.default_rng(seed)
        x, y = rows(seed, n, width), rows(seed + 1, m, width)
        value = frechet_distance(x, y)
        rotation = np.linalg.qr(rng.normal(size=(width, width)))[0]
        close = pytest.approx(value, rel=1e-9, abs=1e-10)
        assert frechet_distance(y, x) == close
        assert frechet_distance(x[rng.permutation(n)], y[rng.permutation(m)]) == close
        assert frechet_distance(x @ rotation, y @ rotation) == close
        assert frechet_distance(x + 3.0, y + 3.0) == close

    @given(SEEDS, SIZES, SIZES, WIDTHS)
    @settings(max_examples=30, deadline=None)
    def test_from_moments(self, seed: int, n: int, m: int, width: int) -> None:
        x, y = rows(seed, n, width), rows(seed + 1, m, width)
        # A covariance of few rows knows its small directions to sqrt(1e-14) only.
        found = frechet_from_moments(Moments.of(x), Moments.of(y))
        scale = np.var(x, axis=0).sum() + np.var(y, axis=0).sum()
        assert found == pytest.approx(frechet_distance(x, y), rel=1e-6, abs=1e-6 * scale)

    def test_large_means_lose_nothing(self) -> None:
        x, y = pair()
        assert frechet_distance(x + 1e5, y + 1e5) == pytest.approx(frechet_distance(x, y), rel=1e-8)

    def test_constant_features_and_constant_sets_have_a_value(self) -> None:
        x, y = pair(100, 4)
        x[:, 2] = 7.0
        assert frechet_distance(x, y) == pytest.approx(by_square_root(x + 1e-9 * rows(5, 100, 4), y), rel=1e-4)
        constant = np.ones((100, 4))
        gap = 1 - y.mean(axis=0)
        assert frechet_distance(constant, y) == pytest.approx(gap @ gap + np.trace(np.cov(y.T)), rel=1e-12)
        assert frechet_distance(constant, constant + 2) == pytest.approx(16.0)
        assert frechet_from_moments(Moments.of(constant), Moments.of(constant + 2)) == pytest.approx(16.0)

    def test_inputs_are_not_changed(self) -> None:
        x, y = pair(50, 4)
        kept = x.copy(), y.copy()
        frechet(x, y)
        kernel_distance(x, y, centred=True)
        assert (x == kept[0]).all() and (y == kept[1]).all()


class TestFrechetInfluence:
    @pytest.mark.parametrize("side", [0, 1])
    def test_is_the_derivative_by_a_samples_weight(self, side: int) -> None:
        x, y = pair(60, 5)
        influence = influences(frechet(x, y))[side]
        sets = [x, y]

        def weighted(row: int, step: float) -> float:
            # Moments with divisor sum(w) x (n-1)/n, so that equal weights give the sample covariance.
            n = len(sets[side])
            weights = np.full(n, 1 / n)
            weights = (1 - step) * weights
            weights[row] += step
            mean = weights @ sets[side]
            centred = sets[side] - mean
            covariance = (centred * weights[:, None]).T @ centred * n / (n - 1)
            moments = [Moments.of(x), Moments.of(y)]
            moments[side] = Moments(n, mean, covariance)
            return frechet_from_moments(*moments)

        step = 1e-5
        numeric = np.array([(weighted(i, step) - weighted(i, -step)) / (2 * step) for i in range(60)])
        # The formula leaves out the divisor's n/(n-1) on single rows (a factor of 60/59 here) and is centred.
        n = 60
        gap = 2 * (x.mean(axis=0) - y.mean(axis=0)) * (1 if side == 0 else -1)
        linear = (sets[side] - sets[side].mean(axis=0)) @ gap
        expected = linear + (numeric - numeric.mean() - linear) * (n - 1) / n
        assert influence == pytest.approx(expected, rel=1e-4, abs=1e-4 * np.abs(influence).max())
        assert influence.sum() == pytest.approx(0, abs=1e-9)

    def test_predicts_leaving_a_sample_out(self) -> None:
        x, y = pair(2000, 4)
        influences_fake, influences_real = influences(frechet(x, y))
        value = frechet_distance(x, y)
        for i in (0, 7, 500):
            left_out = frechet_distance(np.delete(x, i, axis=0), y)
            assert (1999 * (value - left_out)) == pytest.approx(influences_fake[i], abs=0.02 * influences_fake.std())
            left_out = frechet_distance(x, np.delete(y, i, axis=0))
            assert (1999 * (value - left_out)) == pytest.approx(influences_real[i], abs=0.02 * influences_real.std())

    def test_none_where_the_covariance_says_nothing(self) -> None:
        x, y = pair(15, 8)
        few = frechet(x, y)
        assert few.influences_fake is None and few.note is not None and "2d = 16" in few.note
        x, y = pair(100, 4)
        x[:, 1] = 2 * x[:, 0]
        singular = frechet(x, y)
        assert singular.value == pytest.approx(frechet_distance(x, y))
        assert singular.influences_fake is None and singular.note == "the covariance is singular: no interval"


class TestKernel:
    @given(SEEDS, SIZES, SIZES, WIDTHS, st.booleans())
    @settings(max_examples=40, deadline=None)
    def test_equals_the_full_kernel(self, seed: int, n: int, m: int, width: int, centred: bool) -> None:
        from sklearn.metrics.pairwise import polynomial_kernel

        x, y = rows(seed, n, width), rows(seed + 1, m, width)
        a, b = (x - x.mean(axis=0), y - y.mean(axis=0)) if centred else (x, y)
        scale = max(polynomial_kernel(a, a).max(), polynomial_kernel(b, b).max())
        assert polynomial_mmd(x, y, centred=centred) == pytest.approx(by_full_kernel(a, b), abs=1e-10 * scale)

    def test_tiles_make_no_difference(self, monkeypatch: pytest.MonkeyPatch) -> None:
        x, y = pair(83, 6)
        slices = {"all": np.arange(83), "some": np.arange(0, 83, 3), "two": np.array([4, 80])}
        whole = kernel_slices(x, y, slices)
        influence = influences(kernel_distance(x, y, centred=True))
        monkeypatch.setattr(distances, "_TILE", 16)
        tiled = kernel_slices(x, y, slices)
        for name in slices:
            assert tiled[name].value == pytest.approx(whole[name].value, rel=1e-10)
            if name != "two":
                assert tiled[name].ci_low == pytest.approx(whole[name].ci_low, rel=1e-10)
        assert influences(kernel_distance(x, y, centred=True))[1] == pytest.approx(influence[1], rel=1e-9, abs=1e-9)

    def test_shift_by_a_known_mean(self) -> None:
        # Two rows each, x = +-a, y = x + b, one dimension: kernels of two numbers can be added up by hand.
        a, b = 2.0, 0.5
        x, y = np.array([[a], [-a]]), np.array([[a + b], [-a + b]])

        def k(u: float, v: float) -> float:
            return (u * v + 1) ** 3

        cross = sum(k(u, v) for u in (a, -a) for v in (a + b, -a + b)) / 4
        expected = k(a, -a) + k(a + b, -a + b) - 2 * cross
        assert polynomial_mmd(x, y) == pytest.approx(expected, rel=1e-14)
        assert polynomial_mmd(x, y, centred=True) == pytest.approx(2 * k(a, -a) - (k(a, a) + k(a, -a)), rel=1e-14)

    def test_unbiased_for_a_shift_of_the_mean(self) -> None:
        # d = 1, standard normal against a shift s: moments 0,1,0 and s, 1+s^2, 3s+s^3 enter as 3 m1^2 + 3 m2^2 + m3^2.
        shift = 0.7
        expected = 3 * shift**2 + 3 * shift**4 + (3 * shift + shift**3) ** 2
        rng = np.random.default_rng(0)
        found = [polynomial_mmd(rng.normal(size=(20, 1)) + shift, rng.normal(size=(20, 1))) for _ in range(3000)]
        assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / np.sqrt(3000))

    def test_centred_is_blind_to_a_shift_and_uncentred_is_not(self) -> None:
        x, y = pair(60, 5)
        assert polynomial_mmd(x + 5, y, centred=True) == pytest.approx(polynomial_mmd(x, y, centred=True), rel=1e-9)
        assert polynomial_mmd(x + 5, y) > 10 * abs(polynomial_mmd(x, y))

    @pytest.mark.parametrize("m", [30, 41])
    def test_jackknife_equals_leaving_every_sample_out(self, m: int) -> None:
        x, y = rows(0, 30, 4), 1.2 * rows(1, m, 4)
        influences_fake, influences_real = influences(kernel_distance(x, y))
        for influence, without in (
            (influences_fake, [polynomial_mmd(np.delete(x, i, axis=0), y) for i in range(30)]),
            (influences_real, [polynomial_mmd(x, np.delete(y, i, axis=0)) for i in range(m)]),
        ):
            left_out = np.array(without)
            assert influence == pytest.approx((len(left_out) - 1) * (left_out.mean() - left_out), rel=1e-8, abs=1e-8)

    def test_centred_jackknife_follows_the_mean(self) -> None:
        rng = np.random.default_rng(0)
        # Skewed, so that the mean matters; second order in 1/n, so close but not equal at this n.
        n = 200
        x, y = 1.3 * rng.exponential(size=(n, 5)), rng.exponential(size=(n, 5))
        for influence, side in zip(influences(kernel_distance(x, y, centred=True)), (0, 1), strict=True):
            without = []
            for i in range(60):
                sets = [x, y]
                sets[side] = np.delete(sets[side], i, axis=0)
                without.append(polynomial_mmd(*sets, centred=True))
            exact = (n - 1) * (polynomial_mmd(x, y, centred=True) - np.array(without))
            # To first order in the mean's movement, the correlation is 0.994 and the spread 6 % off.
            assert np.corrcoef(exact, influence[:60])[0, 1] > 0.9999
            assert influence[:60].std() == pytest.approx(exact.std(), rel=0.01)

    def test_two_samples_have_a_value_but_no_jackknife(self) -> None:
        found = kernel_distance(*pair(2, 3))
        assert np.isfinite(found.value) and found.influences_fake is None
        assert found.note is not None and "no jackknife" in found.note


class TestSlices:
    def test_a_slice_equals_the_distance_of_its_rows(self) -> None:
        x, y = pair(90, 5)
        slices = {"overall": np.arange(90), "a": np.arange(40), "b": np.arange(20, 90)}
        for name, chosen in slices.items():
            partner = y[chosen]
            assert frechet_slices(x, y, slices)[name].value == pytest.approx(
                frechet_distance(x[chosen], partner), rel=1e-12
            )
            for centred in (False, True):
                assert kernel_slices(x, y, slices, centred=centred)[name].value == pytest.approx(
                    polynomial_mmd(x[chosen], partner, centred=centred), rel=1e-9
                )

    def test_intervals_are_those_of_the_influences(self) -> None:
        x, y = pair(90, 5)
        whole = {"overall": np.arange(90)}
        for found, distance in (
            (frechet_slices(x, y, whole), frechet(x, y, with_excess=True)),
            (kernel_slices(x, y, whole), kernel_distance(x, y, with_excess=True)),
        ):
            spread = standard_error(sum(influences(distance)))
            assert spread is not None and distance.excess > 0
            error = float(np.sqrt(spread[0] ** 2 - distance.excess))
            cell = found["overall"]
            assert (cell.ci_low, cell.ci_high) == pytest.approx(t_interval(distance.value, error, 89), rel=1e-9)
            assert cell.status == "ok" and cell.n == 90

    def test_small_slices_have_defined_results(self) -> None:
        x, y = pair(40, 10)
        slices = {"none": np.array([], dtype=int), "one": np.array([3]), "two": np.array([3, 4]), "all": np.arange(40)}
        for found in (
            frechet_slices(x, y, slices),
            kernel_slices(x, y, slices),
            kernel_slices(x, y, slices, centred=True),
        ):
            assert list(found) == list(slices)
            for name, n in (("none", 0), ("one", 1)):
                assert (found[name].value, found[name].n, found[name].status) == (None, n, "small_n")
            assert found["two"].value is not None and found["two"].ci_low is None
            assert found["all"].ci_low is not None
        assert frechet_slices(x, y, slices)["two"].status == "biased"
        assert kernel_slices(x, y, slices)["two"].status == "ok"

    def test_below_2d_is_biased_and_at_2d_is_not(self) -> None:
        x, y = pair(40, 10)
        found = frechet_slices(x, y, {"19": np.arange(19), "20": np.arange(20)}, factor=100.0)
        assert (found["19"].status, found["19"].ci_low) == ("biased", None)
        assert found["20"].status == "ok" and found["20"].ci_low is not None and found["20"].ci_high is not None
        assert found["20"].value == pytest.approx(100 * frechet_distance(x[:20], y[:20]))
        assert 0 <= found["20"].ci_low < found["20"].value < found["20"].ci_high

    def test_a_constant_feature_has_a_value_a_note_and_no_interval(self) -> None:
        x, y = pair(60, 5)
        x[:, 0] = 3.0
        found = frechet_slices(x, y, {"all": np.arange(60)})["all"]
        assert found.value is not None and found.ci_low is None and found.status == "ok"
        assert found.note is not None and "singular" in found.note

    def test_same_input_same_bits(self) -> None:
        x, y = pair(300, 20)
        slices = {"all": np.arange(300), "half": np.arange(150)}
        assert frechet_slices(x, y, slices) == frechet_slices(x, y, slices)
        assert kernel_slices(x, y, slices) == kernel_slices(x, y, slices)


class TestRefusals:
    @pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
    @pytest.mark.parametrize("side", [0, 1])
    def test_unusable_features(self, bad: float, side: int) -> None:
        sets = list(pair(20, 3))
        sets[side][5, 1] = bad
        for measure in (frechet_distance, polynomial_mmd):
            with pytest.raises(MetricError, match="1 of 20 rows, the first in row 5") as raised:
                measure(*sets)
            assert raised.value.kind == "non_finite"
        with pytest.raises(MetricError):
            kernel_slices(*sets, {"without": np.arange(4)})

    def test_sets_that_do_not_fit(self) -> None:
        x, y = pair(20, 3)
        with pytest.raises(MetricError, match="3 and 2 features"):
            frechet_distance(x, y[:, :2])
        with pytest.raises(MetricError, match="3 and 2 features"):
            frechet_from_moments(Moments.of(x), Moments.of(y[:, :2]))
        with pytest.raises(MetricError, match="at least two"):
            polynomial_mmd(x[:1], y)
        with pytest.raises(MetricError, match="at least two"):
            Moments.of(x[:1])
        with pytest.raises(MetricError, match="20 generated and 19 real"):
            frechet_slices(x, y[:19], {"all": np.arange(20)})
        with pytest.raises(MetricError, match="shape"):
            frechet_distance(x[0], y)
        with pytest.raises(ValueError, match="must lie in"):
            kernel_slices(x, y, {"all": np.arange(21)})


class TestExtrapolation:
    def test_comes_closer_to_the_truth(self) -> None:
        rng = np.random.default_rng(0)
        width, n = 10, 400
        x, y = 1.4 * rng.normal(size=(n, width)), rng.normal(size=(n, width))
        truth = width * 0.4**2
        found = extrapolate_frechet(x, y)
        at_n = frechet_distance(x, y)
        assert abs(found.value - truth) < 0.5 * abs(at_n - truth)
        assert found.r_squared > 0.95
        assert max(found.sizes) == n and min(found.sizes) == 2 * width
        assert found.values[0] == pytest.approx(at_n, rel=1e-9)

    def test_depends_on_nothing_but_the_seed(self) -> None:
        x, y = pair(100, 6)
        assert extrapolate_frechet(x, y, seed=1) == extrapolate_frechet(x, y, seed=1)
        assert extrapolate_frechet(x, y, seed=1) != extrapolate_frechet(x, y, seed=2)

    def test_needs_four_times_the_width(self) -> None:
        x, y = pair(39, 10)
        with pytest.raises(MetricError, match="at least 4d = 40") as raised:
            extrapolate_frechet(x, y)
        assert raised.value.kind == "small_n"

    def test_note_on_the_whole_set_alone(self) -> None:
        x, y = pair(60, 4)
        slices = {"overall": np.arange(60), "part": np.arange(50)}
        noted = frechet_slices(x, y, slices, factor=10)
        expected = extrapolate_frechet(x, y)
        assert noted["overall"].note is not None and noted["part"].note is None
        assert f"{10 * expected.value:.4g}" in noted["overall"].note
        assert f"{expected.r_squared:.3f}" in noted["overall"].note
        assert frechet_slices(x[:15], y[:15], {"overall": np.arange(15)})["overall"].note is None


@pytest.mark.parametrize("measure", [frechet, kernel_distance], ids=["frechet", "mmd"])
def test_coverage_of_the_value_expected_at_this_n(measure: Callable[..., distances.Distance]) -> None:
    # A small version of benchmarks/coverage.py, whose results are in benchmarks/results/coverage.json.
    rng = np.random.default_rng(0)
    values, reach = [], []
    for _ in range(250):
        found = measure(1.3 * rng.normal(size=(48, 8)) + 0.3, rng.normal(size=(48, 8)))
        assert found.influences_fake is not None and found.influences_real is not None
        spread = standard_error(found.influences_fake + found.influences_real)
        assert spread is not None
        values.append(found.value)
        reach.append(t_interval(0.0, *spread)[1])
    coverage = np.mean(np.abs(np.array(values) - np.mean(values)) <= reach)
    # 250 repeats know 0.95 to 0.014 (one standard error).
    assert 0.90 <= coverage <= 0.995


BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_simulation_runs_and_its_recorded_results_hold(tmp_path: Path) -> None:
    out = tmp_path / "coverage.json"
    command = [sys.executable, str(BENCHMARKS / "coverage.py"), "--repeats", "2", "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    small = json.loads(out.read_text(encoding="utf-8"))
    recorded = json.loads((BENCHMARKS / "results" / "coverage.json").read_text(encoding="utf-8"))
    assert small.keys() == recorded.keys() and min(recorded["repeats"].values()) >= 2000

    def cell(row: dict[str, object]) -> tuple[object, ...]:
        return row["distance"], row["scenario"], row["n"], row["d"]

    for part in ("distances", "equal_models", "wide"):
        assert [cell(row) for row in recorded[part]] == [cell(row) for row in small[part]]
    for row in recorded["distances"] + recorded["wide"]:
        # 98 %, give or take two standard errors of 2,000 repeats.
        assert row["coverage"] >= 0.92, row
        if row["scenario"] != "equal":
            assert row["coverage"] <= 0.9863, row
    assert all(row["false_differences"] <= 0.06 for row in recorded["equal_models"])
    assert all(row["family_wise_error"] <= 0.06 for row in recorded["ranks"])
    assert all(abs(row["found"] - row["power"]) <= 0.02 for row in recorded["power"])
