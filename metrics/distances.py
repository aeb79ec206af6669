"""Distances between two sets of feature vectors: Fréchet and polynomial-kernel MMD, with what each sample adds to them.

All of it is float64 linear algebra on arrays; no model, file or device.

* Fréchet distance between Gaussians: Dowson and Landau (1982), equation 4; as FID: Heusel et al. (2017), equation 6.
  ``tr sqrt(Sx Sy)`` is computed as the nuclear norm of ``Lx' Ly`` with ``S = L L'``, which needs neither a matrix
  square root nor an epsilon, and stays exact when the covariances are singular.
* Unbiased squared MMD with the kernel ``(x.y/d + 1)^3``: Gretton et al. (2012), equation 3; as KID: Binkowski et al.
  (2018), section 4.
* Standard errors: influence function (infinitesimal jackknife) of the Fréchet distance; delete-one jackknife of the
  MMD. Efron and Tibshirani (1993), chapters 11 and 21. What their squares count twice where the sets are nearly equal
  is given beside them (`javisbench.metrics.variance_correction`).

The set metrics are made of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from javisbench.errors import MetricError
from javisbench.metrics.distance import Distance
from javisbench.metrics.variance_correction import (
    FrechetGeometry,
    frechet_excess,
    kernel_excess,
    shift_curvature,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]
    Vector = NDArray[np.float64]
    Rows = NDArray[np.integer[Any]]

_DROPPED_EIGENVALUE = 1e-14
# Of the estimated reciprocal condition number, which is at most the ratio of the extreme eigenvalues: well above where
# `_covariance_factor` calls a covariance singular.
_WELL_CONDITIONED = 1e-11
_TILE = 1024
_LARGEST_FEATURE = 1e100
# Chosen by simulation (benchmarks/coverage.py), so that intervals of 40 skewed samples cover as often as they should.
_EXCESS_LEFT = 8


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and covariance of a set: all that its Fréchet distance to another needs.

    Attributes:
        n: samples, at least 2.
        mean: shape ``(d,)``.
        covariance: with divisor n - 1, shape ``(d, d)``.
    """

    n: int
    mean: Vector
    covariance: Matrix

    @classmethod
    def of(cls, features: NDArray[np.floating[Any]]) -> Moments:
        """Moments of the rows of `features`, shape ``(n, d)``, in two passes.

        Raises:
            MetricError: fewer than two rows, or unusable ones (see `checked_features`).
        """
        x = checked_features(features, "The set")
        if len(x) < 2:
            raise MetricError(f"A covariance needs at least two samples; got {len(x)}.", kind="small_n")
        mean = x.mean(axis=0)
        centred = x - mean
        return cls(len(x), mean, centred.T @ centred / (len(x) - 1))


def checked_features(features: NDArray[np.floating[Any]], name: str, *, grouped: bool = False) -> Matrix:
    """The features as a float64 matrix, or where `grouped` also as an array ``(samples, k, features)``.

    Raises:
        MetricError: another number of axes, no columns, or NaN, infinite or absurdly large entries (over 1e100), which
            are never repaired here: they mean that an encoder failed.
    """
    x = np.asarray(features, dtype=np.float64)
    if x.ndim not in ((2, 3) if grouped else (2,)) or 0 in x.shape[1:]:
        raise MetricError(f"{name} must be an array of shape (samples, features); got {x.shape}.", kind="shape")
    usable = (np.abs(x) <= _LARGEST_FEATURE).all(axis=tuple(range(1, x.ndim)))
    if not usable.all():
        bad = np.flatnonzero(~usable)
        raise MetricError(
            f"{name} holds NaN, infinite or over-large features in {bad.size} of {len(x)} rows, the first in row "
            f"{bad[0]}. Leave these clips out, or encode them again.",
            kind="non_finite",
        )
    return x


def two_sets(
    x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]], *, grouped: bool = False
) -> tuple[Matrix, Matrix]:
    """Two sets as `checked_features` gives them, of equal width and at least two samples each.

    Raises:
        MetricError: they are not.
    """
    first = checked_features(x, "The first set", grouped=grouped)
    second = checked_features(y, "The second set", grouped=grouped)
    check_widths(first, second)
    if min(len(first), len(second)) < 2:
        raise MetricError(
            f"A distance needs at least two samples in each set; got {len(first)} and {len(second)}.", kind="small_n"
        )
    return first, second


def paired_sets(fake: NDArray[np.floating[Any]], real: NDArray[np.floating[Any]]) -> tuple[Matrix, Matrix]:
    """Generated and real rows of the same samples as `checked_features` gives them, of any number.

    Args:
        fake: float array ``(n, d)`` or ``(n, k, d)``.
        real: of the same shape; row i belongs to row i of `fake`.

    Raises:
        MetricError: unusable features, or sets that do not fit each other.
    """
    x = checked_features(fake, "The generated set", grouped=True)
    y = checked_features(real, "The real set", grouped=True)
    check_widths(x, y)
    if len(x) != len(y):
        raise MetricError(
            f"Paired sets have one real row for each generated one; got {len(x)} generated and {len(y)} real rows.",
            kind="shape",
        )
    return x, y


def check_widths(x: Matrix, y: Matrix) -> None:
    """Raises `MetricError` unless both sets have equally many features."""
    if x.shape[-1] != y.shape[-1]:
        raise MetricError(
            f"The sets have {x.shape[-1]} and {y.shape[-1]} features; they come from different encoders.", kind="shape"
        )


# ---------------------------------------------------------------------------------------------------------------
# Fréchet distance


def frechet_distance(x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]]) -> float:
    """Fréchet distance between Gaussians fitted to two sets.

    ``|mx - my|^2 + tr Sx + tr Sy - 2 tr sqrt(Sx^1/2 Sy Sx^1/2)`` with covariances of divisor n - 1; at least 0.

    Args:
        x: float array ``(n, d)``, n >= 2, or ``(n, k, d)``: see `frechet`.
        y: float array ``(m, d)``, m >= 2, or ``(m, k, d)``.

    Raises:
        MetricError: NaN or infinite features, unequal widths, or a set of fewer than two.
    """
    return _frechet(*two_sets(x, y, grouped=True), influences=False)[0]


def frechet_from_moments(x: Moments, y: Moments) -> float:
    """The same from stored means and covariances; less accurate than `frechet_distance` where n <= d.

    Raises:
        MetricError: unequal widths.
    """
    if x.mean.shape != y.mean.shape:
        raise MetricError(
            f"The sets have {x.mean.size} and {y.mean.size} features; they come from different encoders.", kind="shape"
        )
    gap = x.mean - y.mean
    traces = float(np.trace(x.covariance) + np.trace(y.covariance))
    cross = _covariance_factor(x.covariance).root.T @ _covariance_factor(y.covariance).root
    nuclear = float(np.linalg.svd(cross, compute_uv=False).sum()) if cross.size else 0.0
    return max(float(gap @ gap) + traces - 2 * nuclear, 0.0)


def frechet(x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]], *, with_excess: bool = False) -> Distance:
    """Fréchet distance with the influence of every sample on it.

    With centred rows over sqrt(n-1) factored as Lx and Ly, ``Lx' Ly = U D V'`` and z the centred row whitened by Lx,
    the influence of x is ``2 (mx-my)'(x-mx) + |x-mx|^2 - z' U D U' z``, centred; that of y uses V and the opposite
    sign of the first term. There is none where fewer than 2d samples make the covariance too noisy, or where it is
    singular (a feature is constant, or a combination of others).

    Args:
        x: float array ``(n, d)``, n >= 2; or ``(n, k, d)``: k rows of each sample, such as frames of a clip. The
            Gaussian is that of all rows; n stays the number of samples, and an influence that of a whole sample.
        y: float array ``(m, d)``, m >= 2, or ``(m, k, d)``.
        with_excess: whether the `excess` of the result is wanted, which needs rows that correspond.

    Raises:
        MetricError: NaN or infinite features, unequal widths, or a set of fewer than two.
    """
    first, second = two_sets(x, y, grouped=True)
    sampled, width = min(len(first), len(second)), first.shape[-1]
    if sampled < 2 * width:
        value, _, _, _ = _frechet(first, second, influences=False)
        note = f"n = {sampled} is below 2d = {2 * width}: biased upward"
        return Distance(value, None, None, len(first), len(second), width, "biased", note)
    value, of_first, of_second, excess = _frechet(first, second, influences=True, with_excess=with_excess)
    reason = None if of_first is not None else "the covariance is singular: no interval"
    return Distance(value, of_first, of_second, len(first), len(second), width, note=reason, excess=excess)


def _frechet(
    x: Matrix, y: Matrix, *, influences: bool, with_excess: bool = False
) -> tuple[float, Vector | None, Vector | None, float]:
    """The distance, with influences of both sides and the excess of their squares where they are wanted."""
    samples_x, samples_y = len(x), len(y)
    width = x.shape[-1]
    x, y = x.reshape(-1, width), y.reshape(-1, width)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    gap = mean_x - mean_y
    rows_x, rows_y = x - mean_x, y - mean_y
    factor_x, factor_y = _factor(rows_x), _factor(rows_y)
    cross = factor_x.root.T @ factor_y.root
    singular = not (factor_x.invertible and factor_y.invertible)
    if influences and not singular:
        left, nuclear, right = np.linalg.svd(cross, full_matrices=False)
    else:
        nuclear = np.linalg.svd(cross, compute_uv=False) if cross.size else np.zeros(1)
    traces = sum(float(np.vdot(rows, rows)) / (len(rows) - 1) for rows in (rows_x, rows_y))
    value = max(float(gap @ gap) + traces - 2 * float(nuclear.sum()), 0.0)
    if not influences or singular:
        return value, None, None, 0.0
    # z' U D U' z is the squared length of the centred row times (whitening times U sqrt(D)).
    projected_x = rows_x @ factor_x.whitening(left * np.sqrt(nuclear))
    influences_fake = _influence(rows_x, 2 * gap, projected_x, samples_x)
    projected_y = rows_y @ factor_y.whitening(right.T * np.sqrt(nuclear))
    geometry = FrechetGeometry(rows_x, rows_y, projected_x, projected_y, nuclear)
    excess = frechet_excess(geometry) if with_excess else 0.0
    return value, influences_fake, _influence(rows_y, -2 * gap, projected_y, samples_y), excess


def _influence(rows: Matrix, slope: Vector, projected: Matrix, samples: int) -> Vector:
    """Of each sample: the mean over its rows."""
    influence = rows @ slope + np.einsum("ij,ij->i", rows, rows) - np.einsum("ij,ij->i", projected, projected)
    return np.asarray((influence - influence.mean()).reshape(samples, -1).mean(axis=1))


@dataclass(frozen=True, eq=False)
class _Factor:
    """A covariance as ``L L'``.

    Attributes:
        root: L, shape ``(d, r)``; lower triangular where `spectrum` is None.
        spectrum: the eigenvalues that the columns of `root` belong to.
        invertible: whether rows can be whitened by it.
    """

    root: Matrix
    spectrum: Vector | None
    invertible: bool

    def whitening(self, then: Matrix) -> Matrix:
        """``W then``, where ``row W`` is a row whitened: ``L^-T``, or ``L`` over its eigenvalues."""
        if self.spectrum is not None:
            return (self.root / self.spectrum) @ then
        from scipy.linalg import solve_triangular

        return np.asarray(solve_triangular(self.root, then, lower=True, trans=1, check_finite=False))


def _factor(rows: Matrix) -> _Factor:
    """Of the covariance of centred rows; from the rows themselves where they are no more than features."""
    n, width = rows.shape
    if n <= width:
        return _Factor(rows.T / np.sqrt(n - 1), np.empty(0), invertible=False)
    return _covariance_factor(rows.T @ rows / (n - 1))


def _covariance_factor(covariance: Matrix) -> _Factor:
    """By Cholesky, in a tenth of the time that eigenvectors take, where the covariance is not nearly singular."""
    root = _well_conditioned_root(covariance)
    if root is not None:
        return _Factor(root, None, invertible=True)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    keep = eigenvalues > _DROPPED_EIGENVALUE * max(float(eigenvalues[-1]), 0.0)
    spectrum = eigenvalues[keep]
    width = len(covariance)
    smallest = width * float(np.finfo(np.float64).eps) * float(eigenvalues[-1])
    invertible = len(spectrum) == width and float(spectrum[0]) > smallest
    return _Factor(vectors[:, keep] * np.sqrt(spectrum), spectrum, invertible)


def _well_conditioned_root(covariance: Matrix) -> Matrix | None:
    """The Cholesky factor; None where the covariance is nearly singular or worse."""
    from scipy.linalg import lapack

    root, failed = lapack.dpotrf(covariance, lower=1, clean=1)
    if failed:
        return None
    reciprocal, failed = lapack.dpocon(root, float(np.abs(covariance).sum(axis=0).max()), uplo="L")
    return np.asarray(root) if not failed and reciprocal > _WELL_CONDITIONED else None


# ---------------------------------------------------------------------------------------------------------------
# Polynomial-kernel MMD


def polynomial_mmd(x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]], *, centred: bool = False) -> float:
    """Unbiased squared MMD with the kernel ``(x.y/d + 1)^3``; may be negative.

    Args:
        x: float array ``(n, d)``, n >= 2.
        y: float array ``(m, d)``, m >= 2.
        centred: subtract each set's own mean first (as the reference evaluation does); the result then neither sees
            a difference of the means nor is it unbiased.

    Raises:
        MetricError: NaN or infinite features, unequal widths, or a set of fewer than two.
    """
    value = kernel_distance(x, y, centred=centred).value
    assert value is not None
    return value


def kernel_distance(
    x: NDArray[np.floating[Any]],
    y: NDArray[np.floating[Any]],
    *,
    centred: bool = False,
    with_excess: bool = False,
    y_is_fixed: bool = False,
) -> Distance:
    """`polynomial_mmd` with the jackknife influence of every sample on it.

    The influence of a sample is (n - 1) times what leaving it out takes away, centred. When `centred`, leaving a
    sample out moves the mean as well; that part is added to second order.

    Args:
        x: float array ``(n, d)``, n >= 2.
        y: float array ``(m, d)``, m >= 2.
        centred: see `polynomial_mmd`.
        with_excess: whether the `excess` of the result is wanted, which needs rows that correspond, or a fixed `y`.
        y_is_fixed: take `y` for the population itself: its rows have no influence.

    Raises:
        MetricError: NaN or infinite features, unequal widths, or a set of fewer than two.
    """
    first, second = two_sets(x, y)
    if centred:
        found = centred_kernel_distance(first, second)
    else:
        whole = {"all": (np.arange(len(first)), np.arange(len(second)))}
        found = kernel_distances(first, second, whole)["all"]
    if y_is_fixed:
        found = replace(found, influences_real=None)
    return with_kernel_excess(found, first, second, centred) if with_excess else found


@dataclass(frozen=True, eq=False)
class _KernelSums:
    """Weighted sums of powers of ``x.y/d + 1`` over partners; a sample is not its own partner.

    Attributes:
        xx: of each x over the x of each slice, shape ``(n, slices)``.
        yy: of each y over the y, shape ``(m, slices)``.
        xy: of each x over the y, shape ``(n, slices)``.
        yx: of each y over the x, shape ``(m, slices)``.
    """

    xx: Matrix
    yy: Matrix
    xy: Matrix
    yx: Matrix

    def of(self, column: int, rows_x: Rows, rows_y: Rows) -> tuple[Vector, Vector, Vector, Vector]:
        """The four sums of one slice's own members."""
        return (
            self.xx[rows_x, column],
            self.yy[rows_y, column],
            self.xy[rows_x, column],
            self.yx[rows_y, column],
        )


def with_kernel_excess(found: Distance, x: Matrix, y: Matrix, centred: bool) -> Distance:
    """`found`, the kernel distance of the pairs `x` and `y`, ``(n, d)``, with the excess of its squared influences.

    Unchanged where it has no influences. Without those of `y`, that set is fixed.
    """
    if found.influences_fake is None:
        return found
    # Of few samples the excess is known badly, and worst where the distance is too: all of it would be too much.
    share = max(0.0, 1 - _EXCESS_LEFT / len(x))
    excess = kernel_excess(x, y, centred=centred, y_is_fixed=found.influences_real is None)
    return replace(found, excess=share * excess)


def kernel_distances(x: Matrix, y: Matrix, parts: Mapping[str, tuple[Rows, Rows]]) -> dict[str, Distance]:
    """Uncentred distance and influences of every slice, from one evaluation of the kernel.

    Args:
        x: float64, shape ``(n, d)``.
        y: float64, shape ``(m, d)``.
        parts: slice name to its rows of `x` and of `y`, at least two of each.
    """
    weights_x, weights_y = np.zeros((len(x), len(parts))), np.zeros((len(y), len(parts)))
    for column, (rows_x, rows_y) in enumerate(parts.values()):
        weights_x[rows_x, column] = 1
        weights_y[rows_y, column] = 1
    (cubes,) = _kernel_sums(x, y, weights_x, weights_y, powers=(3,))
    width = x.shape[1]
    return {name: _mmd(width, *cubes.of(column, *rows)) for column, (name, rows) in enumerate(parts.items())}


def centred_kernel_distance(x: Matrix, y: Matrix) -> Distance:
    """The distance after each set's own mean is taken out, influences including the effect on that mean.

    Shapes and arguments are those of `kernel_distance`.
    """
    (n, width), m = x.shape, len(y)
    rows_x, rows_y = x - x.mean(axis=0), y - y.mean(axis=0)
    sums = _kernel_sums(rows_x, rows_y, np.ones((n, 1)), np.ones((m, 1)), powers=(3, 2))
    cubes, squares = (power.of(0, np.arange(n), np.arange(m)) for power in sums)
    found = _mmd(width, *cubes)
    if found.influences_fake is None or found.influences_real is None:
        return found
    (xx, yy, xy, yx), (xx2, yy2, xy2, yx2) = cubes, squares
    moved_x = _moved_mean(_Side(rows_x, xx, xx2, xy, xy2), rows_y, yx2)
    moved_y = _moved_mean(_Side(rows_y, yy, yy2, yx, yx2), rows_x, xy2)
    return replace(
        found, influences_fake=found.influences_fake + moved_x, influences_real=found.influences_real + moved_y
    )


@dataclass(frozen=True, eq=False)
class _Side:
    """One centred set.

    Attributes:
        rows: shape ``(n, d)``.
        own: of each row, the sum of the kernel's cubes ``s^3`` over the other rows, shape ``(n,)``.
        own_squares: of ``s^2``.
        cross: the sum of the cubes over the other set.
        cross_squares: of the squares.
    """

    rows: Matrix
    own: Vector
    own_squares: Vector
    cross: Vector
    cross_squares: Vector


def _moved_mean(side: _Side, other: Matrix, other_squares: Vector) -> Vector:
    """What the moving mean adds to the jackknife influences of one side, centred.

    Without row i all centred rows move by ``row_i / (n - 1)``. To second order, since variances less the excess of
    `javisbench.metrics.variance_correction` are right to the order 1/n^2 only when influences are right to 1/n.

    Args:
        side: whose influences.
        other: the rows of the other set, centred, shape ``(m, d)``.
        other_squares: of each of them, the sum of ``s^2`` over this side.
    """
    n, m, (rows, width) = len(side.rows), len(other), (side.rows, side.rows.shape[1])
    own, cross = side.own_squares @ rows / (n * (n - 1)), other_squares @ other / (n * m)
    slope = 6 / width * (own - cross)
    # The slope without row i. What a row adds to it, times the row itself: u.u' = d (s - 1), which makes cubes of it.
    lengths = np.einsum("ij,ij->i", rows, rows)
    added = (width * (side.own - side.own_squares) + lengths * side.own_squares) / (n - 1)
    added -= width * (side.cross - side.cross_squares) / m
    added -= rows @ (2 * own - cross)
    bent = np.einsum("ij,ij->i", rows @ shift_curvature(rows, other), rows)
    second = (6 / width * added - bent / 2) / (n - 1)
    return np.asarray(second - second.mean() - rows @ slope)


def _mmd(width: int, xx: Vector, yy: Vector, xy: Vector, yx: Vector) -> Distance:
    """Distance and jackknife from the kernel row sums of each side over the other members and over the other side."""
    n, m = len(xx), len(yy)
    total_x, total_y, total_cross = float(xx.sum()), float(yy.sum()), float(xy.sum())
    value = total_x / (n * (n - 1)) + total_y / (m * (m - 1)) - 2 * total_cross / (n * m)
    if min(n, m) < 3:
        note = "no jackknife from two samples: no interval"
        return Distance(value, n_fake=n, n_real=m, width=width, note=note)
    influences = _jackknife(total_x, xx, total_cross, xy, m), _jackknife(total_y, yy, total_cross, yx, n)
    return Distance(value, *influences, n, m, width)


def _jackknife(own: float, own_rows: Vector, cross: float, cross_rows: Vector, partners: int) -> Vector:
    """(n - 1) times what leaving each row of one side out takes away, centred."""
    n = len(own_rows)
    without = (own - 2 * own_rows) / ((n - 1) * (n - 2)) - 2 * (cross - cross_rows) / ((n - 1) * partners)
    return np.asarray((n - 1) * (without.mean() - without))


def _kernel_sums(
    x: Matrix, y: Matrix, weights_x: Matrix, weights_y: Matrix, *, powers: tuple[int, ...]
) -> list[_KernelSums]:
    """Weighted row sums of the kernel's powers, evaluated in tiles so that no full kernel is ever held."""
    shapes = (weights_x, weights_y, weights_x, weights_y)
    sums = [_KernelSums(*(np.zeros_like(shape) for shape in shapes)) for _ in powers]
    for own, weights, names in ((x, weights_x, "xx"), (y, weights_y, "yy")):
        for i, j in _tiles(len(own), len(own)):
            if j.start < i.start:
                continue
            for power, tile in zip(sums, _kernel_tile(own[i], own[j], powers, same=i == j), strict=True):
                target = getattr(power, names)
                target[i] += tile @ weights[j]
                if i != j:
                    target[j] += tile.T @ weights[i]
    for i, j in _tiles(len(x), len(y)):
        for power, tile in zip(sums, _kernel_tile(x[i], y[j], powers, same=False), strict=True):
            power.xy[i] += tile @ weights_y[j]
            power.yx[j] += tile.T @ weights_x[i]
    return sums


def _tiles(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    for i in range(0, rows, _TILE):
        for j in range(0, columns, _TILE):
            yield slice(i, min(i + _TILE, rows)), slice(j, min(j + _TILE, columns))


def _kernel_tile(a: Matrix, b: Matrix, powers: tuple[int, ...], *, same: bool) -> list[Matrix]:
    base = a @ b.T
    base /= a.shape[1]
    base += 1
    if same:
        np.fill_diagonal(base, 0.0)
    square = base * base
    base *= square
    return [base if power == 3 else square for power in powers]
