"""The second-order part of a set distance's variance: its derivatives, and what taking it off does to intervals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from javisbench.metrics.distance import Distance, distance_error
from javisbench.metrics.distances import frechet, kernel_distance
from javisbench.metrics.variance_correction import (
    FrechetGeometry,
    frechet_cross,
    frechet_same,
    kernel_cross,
    kernel_excess,
    kernel_same,
)
from javisbench.stats import t_interval

Weighted = Callable[[np.ndarray, np.ndarray], float]


def two_sets(n: int, m: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return 1.3 * rng.normal(size=(n, width)) + 0.2, rng.normal(size=(m, width)) @ rng.normal(size=(width, width))


def mixed_derivative(
    distance: Weighted, sizes: tuple[int, int], first: tuple[int, int], second: tuple[int, int], step: float
) -> float:
    """By central differences; `first` and `second` are (side, row), whose weights grow while their sides' shrink."""

    def at(e: float, h: float) -> float:
        weights = [np.full(size, 1 / size) for size in sizes]
        for side in (0, 1):
            weights[side] *= 1 - e * (first[0] == side) - h * (second[0] == side)
        weights[first[0]][first[1]] += e
        weights[second[0]][second[1]] += h
        return distance(*weights)

    signs = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
    return sum(sign * at(a * step, b * step) for a, b, sign in signs) / (4 * step**2)


def test_frechet_derivatives_are_those_of_the_weighted_distance() -> None:
    x, y = two_sets(40, 50, 5)

    def weighted(w: np.ndarray, v: np.ndarray) -> float:
        gap = w @ x - v @ y
        spread_x, spread_y = (((z - u @ z) * u[:, None]).T @ (z - u @ z) for z, u in ((x, w), (y, v)))
        roots = np.sqrt(np.linalg.eigvals(spread_x @ spread_y).real)
        return float(gap @ gap + np.trace(spread_x) + np.trace(spread_y) - 2 * roots.sum())

    rows_x, rows_y = x - x.mean(axis=0), y - y.mean(axis=0)
    factor_x, factor_y = (np.linalg.cholesky(rows.T @ rows / len(rows)) for rows in (rows_x, rows_y))
    left, spectrum, right = np.linalg.svd(factor_x.T @ factor_y)
    p = rows_x @ np.linalg.inv(factor_x).T @ (left * np.sqrt(spectrum))
    q = rows_y @ np.linalg.inv(factor_y).T @ (right.T * np.sqrt(spectrum))
    geometry = FrechetGeometry(rows_x, rows_y, p, q, spectrum)
    for i, j in ((0, 1), (3, 9), (39, 5)):
        a, b = np.array([i]), np.array([j])
        for sides, found in (
            ((0, 0), frechet_same(p, spectrum, a, b)),
            ((1, 1), frechet_same(q, spectrum, a, b)),
            ((0, 1), frechet_cross(geometry, a, b)),
        ):
            expected = mixed_derivative(weighted, (40, 50), (sides[0], i), (sides[1], j), 1e-4)
            # Central differences of a step of 1e-4 in float64.
            assert found[0] == pytest.approx(expected, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("centred", [False, True])
def test_kernel_derivatives_are_those_of_the_weighted_distance(centred: bool) -> None:
    x, y = two_sets(600, 500, 4)

    def weighted(w: np.ndarray, v: np.ndarray) -> float:
        a, b = (x - w @ x, y - v @ y) if centred else (x, y)
        own_a, own_b = (a @ a.T / 4 + 1) ** 3, (b @ b.T / 4 + 1) ** 3
        # Unbiased: a row is not its own partner.
        np.fill_diagonal(own_a, 0)
        np.fill_diagonal(own_b, 0)
        own = w @ own_a @ w * 600 / 599 + v @ own_b @ v * 500 / 499
        return float(own - 2 * w @ (a @ b.T / 4 + 1) ** 3 @ v)

    a, b = (x - x.mean(axis=0), y - y.mean(axis=0)) if centred else (x, y)
    for i, j in ((0, 1), (3, 9)):
        for sides, found in (
            ((0, 0), kernel_same(a, b, centred)),
            ((1, 1), kernel_same(b, a, centred)),
            ((0, 1), kernel_cross(a, b, centred)),
        ):
            expected = mixed_derivative(weighted, (600, 500), (sides[0], i), (sides[1], j), 1e-3)
            # The curvature of the mean is that of all rows, partners of themselves included: a share of 1/n.
            assert found[i, j] == pytest.approx(expected, abs=0.02 * float(found.std()))


MEASURES: dict[str, Callable[..., Distance]] = {
    "frechet": frechet,
    "mmd": kernel_distance,
    "mmd, centred": partial(kernel_distance, centred=True),
}


@pytest.mark.parametrize("name", MEASURES)
def test_errors_of_equal_sets_are_as_large_as_the_scatter(name: str) -> None:
    """Without the correction they are 1.41 times as large."""
    rng = np.random.default_rng(1)
    values, corrected, first_order = [], [], []
    for _ in range(300):
        x, y = rng.normal(size=(2, 80, 3))
        found = MEASURES[name](x, y, with_excess=True)
        values.append(found.value)
        error = distance_error(found)
        plain = distance_error(MEASURES[name](x, y))
        assert error is not None and plain is not None
        corrected.append(error[0] ** 2)
        first_order.append(plain[0] ** 2)
        assert plain[0] ** 2 / 2 <= error[0] ** 2 * (1 + 1e-12) and error[0] <= plain[0]
    scatter = float(np.var(values))
    assert np.mean(first_order) > 1.5 * scatter
    # 300 repeats: the variance of a skewed quantity is known to about 12 %, and what is clipped at half adds a little.
    assert np.mean(corrected) == pytest.approx(1.1 * scatter, rel=0.35)


@pytest.mark.parametrize(("width", "centred"), [(16, False), (16, True), (32, True)])
def test_intervals_hold_against_a_fixed_set(width: int, centred: bool) -> None:
    """A small version of the part `fixed` of benchmarks/coverage.py."""
    rng = np.random.default_rng(4)
    spread = np.linspace(0.5, 1.5, width)
    real = spread * rng.normal(size=(60, width))
    values, errors = [], []
    for _ in range(500):
        fake = 1.3 * spread * rng.normal(size=(50, width))
        found = kernel_distance(fake, real, centred=centred, with_excess=True, y_is_fixed=True)
        assert found.influences_real is None and found.excess > 0
        error = distance_error(found)
        assert error is not None
        values.append(found.value)
        errors.append(error[0])
    # 500 repeats know a variance to 6 %. With a mean that moves to first order it is 0.8 of the scatter.
    ratio = np.mean(np.square(errors)) / np.var(values)
    assert 0.93 <= ratio <= 1.25
    low, high = t_interval(np.array(values), np.array(errors), 49)  # type: ignore[arg-type]
    # 0.95 within three standard errors of 500 repeats; to first order 0.89.
    assert np.mean((low <= np.mean(values)) & (np.mean(values) <= high)) >= 0.92


def test_the_excess_is_half_the_mean_square_of_pairs_over_n_squared() -> None:
    n = 21  # odd and small, so that every pair is taken
    x, y = two_sets(n, n, 3)
    rows_x, rows_y = x - x.mean(axis=0), y - y.mean(axis=0)
    factor_x, factor_y = (np.linalg.cholesky(rows.T @ rows / (n - 1)) for rows in (rows_x, rows_y))
    left, spectrum, right = np.linalg.svd(factor_x.T @ factor_y)
    p = rows_x @ np.linalg.inv(factor_x).T @ (left * np.sqrt(spectrum))
    q = rows_y @ np.linalg.inv(factor_y).T @ (right.T * np.sqrt(spectrum))
    geometry = FrechetGeometry(rows_x, rows_y, p, q, spectrum)
    i, j = np.nonzero(~np.eye(n, dtype=bool))
    sides = frechet_same(p, spectrum, i, j) + frechet_same(q, spectrum, i, j)
    both = sides + frechet_cross(geometry, i, j) + frechet_cross(geometry, j, i)
    assert frechet(x, y, with_excess=True).excess == pytest.approx(np.mean(both**2) / (2 * n**2), rel=1e-6)
    for centred in (False, True):
        a, b = (rows_x, rows_y) if centred else (x, y)
        cross = kernel_cross(a, b, centred)
        pairs = (kernel_same(a, b, centred) + kernel_same(b, a, centred) + cross + cross.T)[i, j]
        assert kernel_excess(x, y, centred=centred) == pytest.approx(np.mean(pairs**2) / (2 * n**2), rel=1e-9)


def test_the_excess_against_a_fixed_set_is_that_of_the_one_side() -> None:
    x, y = two_sets(40, 25, 3)
    for centred in (False, True):
        a, b = (x - x.mean(axis=0), y - y.mean(axis=0)) if centred else (x, y)
        squares = np.square(kernel_same(a, b, centred)[~np.eye(40, dtype=bool)])
        assert kernel_excess(x, y, centred=centred, y_is_fixed=True) == pytest.approx(squares.mean() / 2 / 40**2)
        # A share of 8/n is left in.
        found = kernel_distance(x, y, centred=centred, with_excess=True, y_is_fixed=True)
        assert found.excess == pytest.approx(squares.mean() / 2 / 40**2 * (1 - 8 / 40))


def test_nothing_is_taken_off_where_it_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 2000, 3))
    found = frechet(x + 2, y, with_excess=True)
    plain, error = distance_error(frechet(x + 2, y)), distance_error(found)
    assert plain is not None and error is not None
    assert error[0] == pytest.approx(plain[0], rel=1e-3) and error[0] < plain[0]
