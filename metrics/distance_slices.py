"""Distances slice by slice, with intervals, small-n rules and the extrapolation to infinite n.

What the set metrics share on top of `javisbench.metrics.distances`. Intervals describe sampling noise at the given n.
The Fréchet distance is biased upward at every n, so its interval is for the value *expected at that n*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from javisbench.errors import MetricError
from javisbench.metrics.base import SetValue
from javisbench.metrics.distances import (
    Distance,
    centred_kernel_distance,
    check_widths,
    checked_features,
    frechet,
    frechet_distance,
    kernel_distances,
    two_sets,
    with_kernel_excess,
)
from javisbench.stats import checked_rows, standard_error, t_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]
    Vector = NDArray[np.float64]
    Rows = NDArray[np.integer[Any]]

KERNEL_FEW = 40
"""Below this many samples the jackknife interval of the MMD has not been shown to hold; tables say so."""

_EXTRAPOLATION_SIZES = 8


@dataclass(frozen=True)
class Extrapolation:
    """A distance extrapolated to infinite n by a line in 1/n (Chong and Forsyth, 2020, section 3).

    Attributes:
        value: intercept of the line.
        r_squared: share of the variance of the points that the line explains, in [0, 1].
        sizes: subset sizes.
        values: mean distance at each size.
    """

    value: float
    r_squared: float
    sizes: tuple[int, ...]
    values: tuple[float, ...]


def frechet_slices(
    fake: NDArray[np.floating[Any]],
    real: NDArray[np.floating[Any]],
    slices: Mapping[str, Rows],
    *,
    factor: float = 1.0,
) -> dict[str, SetValue]:
    """Fréchet distance of every slice, with an interval where n allows one.

    Args:
        fake: float array ``(n, d)``, or ``(n, k, d)``: see `frechet`.
        real: of the same shape; row i belongs to row i of `fake`, and the influences of both are added before they are
            squared.
        slices: name to row indices, of both sides.
        factor: multiplies values and intervals.

    Returns:
        slice name to value. Under two samples: no value, ``small_n``. Under 2d: ``biased``, no interval.
        Singular covariance: value without an interval; the note says so.

    Raises:
        MetricError: NaN or infinite features, or sets that do not fit each other.
    """
    x, y, parts = _split(fake, real, slices, grouped=True)
    values: dict[str, SetValue] = {}
    for name, rows in parts.items():
        if rows.size < 2:
            values[name] = _too_few(rows.size)
            continue
        found = frechet(x[rows], y[rows], with_excess=True)
        values[name] = _set_value(found, rows.size, factor=factor, floor=0.0)
        if rows.size < 2 * x.shape[-1]:
            values[name] = replace(values[name], status="biased", note=f"{found.why_no_influence}: biased upward")
    return values


def kernel_slices(
    fake: NDArray[np.floating[Any]],
    real: NDArray[np.floating[Any]],
    slices: Mapping[str, Rows],
    *,
    centred: bool = False,
) -> dict[str, SetValue]:
    """Polynomial-kernel MMD of every slice, with jackknife intervals.

    Uncentred, the kernel is evaluated once, in tiles, for all slices together. Centred, every slice has its own means
    and so its own kernel, and is a pass of its own: about three times the work for the JavisBench taxonomy.

    Args:
        fake: float array ``(n, d)``.
        real: of the same shape, paired as in `frechet_slices`.
        slices: name to row indices, of both sides.
        centred: subtract each set's (each slice's) own mean first.

    Returns:
        slice name to value. Under two samples: no value, ``small_n``. Under three: no interval.

    Raises:
        MetricError: NaN or infinite features, or sets that do not fit each other.
    """
    x, y, parts = _split(fake, real, slices)
    usable = {name: rows for name, rows in parts.items() if rows.size >= 2}
    if centred:
        found = {name: centred_kernel_distance(x[rows], y[rows]) for name, rows in usable.items()}
    else:
        found = kernel_distances(x, y, {name: (rows, rows) for name, rows in usable.items()})
    values: dict[str, SetValue] = {}
    for name, rows in parts.items():
        if name not in usable:
            values[name] = _too_few(rows.size)
            continue
        distance = with_kernel_excess(found[name], x[rows], y[rows], centred)
        values[name] = _set_value(distance, rows.size)
        if values[name].note is None and rows.size < KERNEL_FEW:
            values[name] = replace(values[name], note=f"n = {rows.size} is below {KERNEL_FEW}: rough interval")
    return values


def extrapolate_frechet(
    fake: NDArray[np.floating[Any]],
    real: NDArray[np.floating[Any]],
    *,
    seed: int = 0,
) -> Extrapolation:
    """The Fréchet distance extrapolated to infinite n.

    Eight subset sizes, evenly spaced in 1/n from n down to 2d; at each size the samples, shuffled once, are cut into
    as many disjoint subsets of pairs as fit, and their distances averaged.

    Args:
        fake: float array ``(n, d)``, or ``(n, k, d)``.
        real: of the same shape; row i belongs to row i of `fake`.
        seed: of the shuffle.

    Raises:
        MetricError: fewer than 4d samples, from which a line to infinity would be a guess (``kind="small_n"``), or
            unusable features.
    """
    x, y = two_sets(fake, real, grouped=True)
    _check_paired(x, y)
    n = len(x)
    smallest = 2 * x.shape[-1]
    if n < 2 * smallest:
        raise MetricError(
            f"Extrapolation needs at least 4d = {2 * smallest} samples, so that subsets of 2d = {smallest} and more "
            f"differ in size; got {n}.",
            kind="small_n",
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    sizes = [round(1 / s) for s in np.linspace(1 / n, 1 / smallest, _EXTRAPOLATION_SIZES)]

    def mean_distance(size: int) -> float:
        parts = [order[start : start + size] for start in range(0, n - size + 1, size)]
        return float(np.mean([frechet_distance(x[part], y[part]) for part in parts]))

    values = np.array([mean_distance(size) for size in sizes])
    inverse = 1 / np.array(sizes, dtype=np.float64)
    slope, intercept = np.polyfit(inverse, values, 1)
    residual = values - (intercept + slope * inverse)
    total = float(((values - values.mean()) ** 2).sum())
    r_squared = 1.0 if total == 0 else max(0.0, 1 - float(residual @ residual) / total)
    return Extrapolation(float(intercept), r_squared, tuple(sizes), tuple(values.tolist()))


def note_extrapolation(
    values: Mapping[str, SetValue],
    fake: NDArray[np.floating[Any]],
    real: NDArray[np.floating[Any]],
    *,
    factor: float = 1.0,
) -> dict[str, SetValue]:
    """`values` with a note on those of the whole set: its distance extrapolated to infinite n, and the line's R².

    Nothing is added below 4d samples, where `extrapolate_frechet` refuses.
    """
    whole = [name for name, value in values.items() if value.n == len(fake)]
    if len(fake) < 4 * np.shape(fake)[-1] or not whole:
        return dict(values)
    found = extrapolate_frechet(fake, real)
    text = f"extrapolated to infinite n: {factor * found.value:.4g} (R² {found.r_squared:.3f})"
    noted = dict(values)
    for name in whole:
        note = noted[name].note
        noted[name] = replace(noted[name], note=text if note is None else f"{note}; {text}")
    return noted


def distance_error(found: Distance) -> tuple[float, int] | None:
    """Standard error of a distance, less what its squared influences count twice, and degrees of freedom.

    Args:
        found: with its excess; of sets whose rows correspond, or of a sampled set and a fixed one.

    Returns:
        None where the distance has no influences.
    """
    if found.influence_x is None:
        return None
    spread = standard_error(found.influence_x + (0.0 if found.influence_y is None else found.influence_y))
    if spread is None:
        return None
    error, freedom = spread
    # Nothing but second-order noise comes exactly twice, so that more than half is never taken off.
    return float(np.sqrt(max(error**2 - found.excess, error**2 / 2))), freedom


def _split(
    fake: NDArray[np.floating[Any]],
    real: NDArray[np.floating[Any]],
    slices: Mapping[str, Rows],
    *,
    grouped: bool = False,
) -> tuple[Matrix, Matrix, dict[str, Rows]]:
    """Checked sets, and the rows of both that each slice has."""
    x = checked_features(fake, "The generated set", grouped=grouped)
    y = checked_features(real, "The real set", grouped=grouped)
    check_widths(x, y)
    _check_paired(x, y)
    return x, y, {name: checked_rows(chosen, len(x), name) for name, chosen in slices.items()}


def _check_paired(x: Matrix, y: Matrix) -> None:
    if len(x) != len(y):
        raise MetricError(
            f"Paired sets have one real row for each generated one; got {len(x)} generated and {len(y)} real rows.",
            kind="shape",
        )


def _too_few(n: int) -> SetValue:
    return SetValue(None, n, status="small_n", note=f"n = {n}: no value from fewer than two samples")


def _set_value(found: Distance, n: int, *, factor: float = 1.0, floor: float = -np.inf) -> SetValue:
    """Value with its interval, both times `factor`; the lower end is never below `floor`."""
    value = factor * found.value
    spread = distance_error(found)
    if spread is None:
        return SetValue(value, n, note=f"{found.why_no_influence}: no interval")
    low, high = t_interval(found.value, *spread, 0.95)
    return SetValue(value, n, factor * max(low, floor), factor * high)
