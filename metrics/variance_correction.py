"""What squared influences count twice: the second-order part of a set distance's variance.

To second order, a distance T of n pairs w = (x, y) is ``T + mean_i f(w_i) + mean_ij g(w_i, w_j) / 2``, where f is its
first and g its second derivative with respect to the weight of a pair. With ``s^2 = E f^2`` and ``t^2 = E g(w, w')^2``
its variance is ``s^2 / n + t^2 / (2 n^2)``. The influences that are measured on the same n pairs are
``f(w_i) + mean_j g(w_i, w_j)``, and the mean of their squares over n is ``s^2 / n + t^2 / n^2``: the second-order part
comes twice (Efron and Stein, 1981, section 4, show the same of the jackknife). Where two distributions are equal, f is
0 and standard errors are 1.41 times too large. `excess` is ``t^2 / (2 n^2)``, to be taken off. Where one set is fixed,
w is a row of the other alone, and all of this holds with the derivatives of that side.

Efron and Stein's identity is of what leaving a row out does. Influences that follow that to first order only lack
``-g(w_i, w_i) / (2 n)``, which goes with f; their squares are too small by as much as the excess, and taking it off
them would be too much.

The second derivatives are exact; their mean squares are over pairs of rows of the sample, some thousands of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]
    Vector = NDArray[np.float64]
    Index = NDArray[np.intp]

_FRECHET_PAIRS = 2048
_KERNEL_ROWS = 512
_CAUCHY_LEFT = 1e-9


@dataclass(frozen=True, eq=False)
class FrechetGeometry:
    """Two sets in the coordinates in which both covariances are the same diagonal matrix.

    With ``Lx' Ly = U D V'`` (`javisbench.metrics.distances`), the centred rows become ``p = D^1/2 U' Lx^-1 x`` and
    ``q = D^1/2 V' Ly^-1 y``; the covariances of both are D, and the distance, which depends on the eigenvalues of
    ``Sx Sy`` alone, can be differentiated entry by entry.

    Attributes:
        x: centred rows, shape ``(n, d)``.
        y: centred rows, shape ``(m, d)``.
        p: of x, shape ``(n, d)``.
        q: of y, shape ``(m, d)``.
        spectrum: the diagonal of D, shape ``(d,)``.
    """

    x: Matrix
    y: Matrix
    p: Matrix
    q: Matrix
    spectrum: Vector


def frechet_excess(geometry: FrechetGeometry) -> float:
    """The variance that squared influences of the Fréchet distance count twice.

    Args:
        geometry: of two sets whose rows correspond, both with invertible covariances.
    """
    n = len(geometry.x)
    i, j = _ring(n)
    both = (
        frechet_same(geometry.p, geometry.spectrum, i, j)
        + frechet_same(geometry.q, geometry.spectrum, i, j)
        + frechet_cross(geometry, i, j)
        + frechet_cross(geometry, j, i)
    )
    return float(np.mean(np.square(both))) / (2 * n * n)


def frechet_same(p: Matrix, spectrum: Vector, i: Index, j: Index) -> Vector:
    """Second derivative by the weights of rows i and j of one side.

    A weight moves the covariance by ``E = p p' - D``, and two together by ``-(p_i p_j' + p_j p_i')`` more. With
    ``tr sqrt((D + E)(D + H)) = tr D + tr(E + H) / 2 - sum_kl (E - H)_kl^2 / (4 (D_k + D_l)) + ...``.
    """
    return np.asarray(2 * np.einsum("ij,ij->i", p[i], p[j]) + _frechet_curvature(p[i], p[j], spectrum))


def frechet_cross(geometry: FrechetGeometry, i: Index, j: Index) -> Vector:
    """Second derivative by the weights of row i of x and row j of y."""
    means = np.einsum("ij,ij->i", geometry.x[i], geometry.y[j])
    return np.asarray(-2 * means - _frechet_curvature(geometry.p[i], geometry.q[j], geometry.spectrum))


def _frechet_curvature(a: Matrix, b: Matrix, spectrum: Vector) -> Vector:
    """``sum_kl (a a' - D)_kl (b b' - D)_kl / (D_k + D_l)`` of corresponding rows."""
    projected = (a * b) @ _cauchy_factor(spectrum)
    bilinear = np.einsum("ij,ij->i", projected, projected)
    lengths = np.einsum("ij,ij->i", a, a) + np.einsum("ij,ij->i", b, b)
    return np.asarray(bilinear - lengths / 2 + spectrum.sum() / 2)


def _cauchy_factor(spectrum: Vector) -> Matrix:
    """G with ``G G' = 1 / (D_k + D_l)``, by a pivoted Cholesky factorisation.

    The matrix is a Cauchy matrix, whose singular values fall off so fast that some ten columns hold it.
    """
    root = np.sqrt(spectrum)
    left = np.full(len(spectrum), 0.5)
    columns: list[Vector] = []
    while len(columns) < len(spectrum) and left.max() > _CAUCHY_LEFT:
        pivot = int(left.argmax())
        column = root * root[pivot] / (spectrum + spectrum[pivot])
        for known in columns:
            column -= known * known[pivot]
        column /= np.sqrt(left[pivot])
        left -= column**2
        columns.append(column)
    return np.stack(columns, axis=1) / root[:, None]


def _ring(n: int) -> tuple[Index, Index]:
    """Pairs of different rows among n: each row with its next ones, and about `_FRECHET_PAIRS` pairs in all."""
    steps = max(1, min((n - 1) // 2, -(-_FRECHET_PAIRS // n)))
    first = np.tile(np.arange(n), steps)
    second = (first + np.repeat(np.arange(1, steps + 1), n)) % n
    chosen = np.linspace(0, len(first) - 1, min(len(first), _FRECHET_PAIRS)).astype(np.intp)
    return first[chosen], second[chosen]


def kernel_excess(x: Matrix, y: Matrix, *, centred: bool, y_is_fixed: bool = False) -> float:
    """The variance that squared influences of the polynomial MMD count twice.

    The kernel is ``s^3`` with ``s = x.y/d + 1``. Measured on at most 512 rows of each set, evenly spaced.

    Args:
        x: float array ``(n, d)``, n >= 3.
        y: of the same shape; row i belongs to row i of `x`. Where it is fixed: ``(m, d)``.
        centred: whether each set's own mean is taken out first; the derivatives then include its movement.
        y_is_fixed: whether `x` alone was sampled.
    """
    n = len(x)
    if centred:
        x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    u, v = _spaced(x), _spaced(y)
    derivative = kernel_same(u, v, centred)
    if not y_is_fixed:
        cross = kernel_cross(u, v, centred)
        derivative += kernel_same(v, u, centred) + cross + cross.T
    return _off_diagonal_square(derivative) / (2 * n * n)


def kernel_same(u: Matrix, v: Matrix, centred: bool) -> Matrix:
    """Second derivative of the MMD of `u` and `v` by the weights of rows i and j of `u`, shape ``(n, n)``."""
    n, width = u.shape
    own = u @ u.T / width + 1
    np.fill_diagonal(own, 0.0)
    derivative = 2 * _twice_centred(own**3, n - 1)
    if not centred:
        return derivative
    # A common shift c of both arguments: ds/dc = -(u + u')/d, so that the mean of s^3 has this gradient at row i, and
    # the curvature below; of the kernel with the other side only the first argument moves.
    own **= 2
    other = (u @ v.T / width + 1) ** 2
    gradient = own @ u / (n - 1) + u * (own.sum(axis=1, keepdims=True) / (n - 1)) - other @ v / len(v)
    gradient -= gradient.mean(axis=0)
    shift = (-6 / width) * gradient @ u.T
    return np.asarray(derivative + shift + shift.T + u @ shift_curvature(u, v) @ u.T)


def shift_curvature(u: Matrix, v: Matrix) -> Matrix:
    """Second derivative of the MMD of two centred sets by a shift of all rows of `u`, shape ``(d, d)``.

    Args:
        u: centred rows, shape ``(n, d)``.
        v: centred rows, shape ``(m, d)``.
    """
    width = u.shape[1]
    spread, partner = u.T @ u / len(u), v.T @ v / len(v)
    curvature = (12 / width**2) * (spread + spread @ spread / width - partner)
    curvature += np.eye(width) * (6 / width) * (1 + float(np.vdot(spread, spread)) / width**2)
    return np.asarray(curvature)


def kernel_cross(u: Matrix, v: Matrix, centred: bool) -> Matrix:
    """Second derivative of the MMD of `u` and `v` by the weights of row i of `u` and j of `v`, shape ``(n, m)``."""
    width = u.shape[1]
    base = u @ v.T / width + 1
    derivative = -2 * _twice_centred(base**3, len(v))
    if not centred:
        return derivative
    square = base**2
    by_u = u * square.mean(axis=1, keepdims=True)
    by_v = v * square.mean(axis=0)[:, None]
    shift = (by_u - by_u.mean(axis=0)) @ v.T + u @ (by_v - by_v.mean(axis=0)).T
    spread_u, spread_v = u.T @ u / len(u), v.T @ v / len(v)
    curvature = (2 / width**2) * spread_v @ spread_u
    curvature += np.eye(width) * (1 + float(np.vdot(spread_u, spread_v)) / width**2)
    return np.asarray(derivative + (6 / width) * (shift - u @ curvature @ v.T))


def _spaced(rows: Matrix) -> Matrix:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), _KERNEL_ROWS)).astype(np.intp)]


def _twice_centred(kernel: Matrix, partners: int) -> Matrix:
    """Less the means of rows and of columns; `partners` entries of a row are pairs (the diagonal may be none)."""
    n, m = kernel.shape
    rows = kernel.sum(axis=1, keepdims=True) / partners
    columns = kernel.sum(axis=0) / (partners - m + n)
    return np.asarray(kernel - rows - columns + rows.mean())


def _off_diagonal_square(values: Matrix) -> float:
    n = len(values)
    return float((np.vdot(values, values) - np.square(np.diagonal(values)).sum()) / (n * (n - 1)))
