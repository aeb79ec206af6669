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
    check_paired,
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
    paired: bool = True,
    real_is_population: bool = False,
    clusters: Rows | None = None,
    level: float = 0.95,
) -> dict[str, SetValue]:
    """Fréchet distance of every slice, with an interval where n allows one.

    Args:
        fake: float array ``(n, d)``, or ``(n, k, d)``: see `frechet`.
        real: float array ``(m, d)``, or ``(m, k, d)``; row i belongs to row i of `fake` when `paired`.
        slices: name to row indices, of both sides when `paired`, else of `fake` alone.
        factor: multiplies values and intervals.
        paired: whether rows correspond; the two influences of a pair are then added before they are squared.
        real_is_population: take `real` as fixed.
        clusters: integer prompt of each fake row; None when each row has its own.
        level: coverage of the intervals.

    Returns:
        slice name to value. Under two samples on a side: no value, ``small_n``. Under 2d: ``biased``, no interval.
        Singular covariance: value without an interval; the note says so.

    Raises:
        MetricError: NaN or infinite features, or sets that do not fit each other.
    """
    x, y, parts = _split(fake, real, slices, paired, grouped=True)
    values: dict[str, SetValue] = {}
    for name, (rows_x, rows_y) in parts.items():
        if min(rows_x.size, rows_y.size) < 2:
            values[name] = _too_few(rows_x.size, rows_y.size)
            continue
        found = frechet(x[rows_x], y[rows_y], y_is_population=real_is_population, paired=paired)
        sampled = rows_x.size if real_is_population else min(rows_x.size, rows_y.size)
        prompts = None if clusters is None else clusters[rows_x]
        values[name] = _set_value(found, rows_x.size, paired, prompts, level, factor=factor, floor=0.0)
        if sampled < 2 * x.shape[-1]:
            values[name] = replace(values[name], status="biased", note=f"{found.why_no_influence}: biased upward")
    return values


def kernel_slices(
    fake: NDArray[np.floating[Any]],
    real: NDArray[np.floating[Any]],
    slices: Mapping[str, Rows],
    *,
    centred: bool = False,
    paired: bool = True,
    real_is_population: bool = False,
    clusters: Rows | None = None,
    level: float = 0.95,
) -> dict[str, SetValue]:
    """Polynomial-kernel MMD of every slice, with jackknife intervals.

    Uncentred, the kernel is evaluated once, in tiles, for all slices together. Centred, every slice has its own means
    and so its own kernel, and is a pass of its own: about three times the work for the JavisBench taxonomy.

    Args:
        fake: float array ``(n, d)``.
        real: float array ``(m, d)``; row i belongs to row i of `fake` when `paired`.
        slices: name to row indices, of both sides when `paired`, else of `fake` alone.
        centred: subtract each set's (each slice's) own mean first.
        paired: whether rows correspond; the two influences of a pair are then added before they are squared.
        real_is_population: take `real` as fixed.
        clusters: integer prompt of each fake row; None when each row has its own.
        level: coverage of the intervals.

    Returns:
        slice name to value. Under two samples on a side: no value, ``small_n``. Under three: no interval.

    Raises:
        MetricError: NaN or infinite features, or sets that do not fit each other.
    """
    x, y, parts = _split(fake, real, slices, paired)
    usable = {name: rows for name, rows in parts.items() if min(rows[0].size, rows[1].size) >= 2}
    if centred:
        found = {name: centred_kernel_distance(x[i], y[j], real_is_population) for name, (i, j) in usable.items()}
    else:
        found = kernel_distances(x, y, usable, real_is_population)
    values: dict[str, SetValue] = {}
    for name, (rows_x, rows_y) in parts.items():
        if name not in usable:
            values[name] = _too_few(rows_x.size, rows_y.size)
            continue
        prompts = None if clusters is None else clusters[rows_x]
        distance = with_kernel_excess(found[name], x[rows_x], y[rows_y], centred, paired)
        values[name] = _set_value(distance, rows_x.size, paired, prompts, level)
        if values[name].note is None and rows_x.size < KERNEL_FEW:
            values[name] = replace(values[name], note=f"n = {rows_x.size} is below {KERNEL_FEW}: rough interval")
    return values


def extrapolate_frechet(
    fake: NDArray[np.floating[Any]],
    real: NDArray[np.floating[Any]],
    *,
    paired: bool = True,
    real_is_population: bool = False,
    seed: int = 0,
) -> Extrapolation:
    """The Fréchet distance extrapolated to infinite n.

    Eight subset sizes, evenly spaced in 1/n from n down to 2d; at each size the samples, shuffled once, are cut into
    as many disjoint subsets as fit, and their distances averaged.

    Args:
        fake: float array ``(n, d)``, or ``(n, k, d)``.
        real: float array ``(m, d)``, or ``(m, k, d)``.
        paired: whether rows correspond; subsets then hold whole pairs.
        real_is_population: take `real` whole in every subset.
        seed: of the shuffle.

    Raises:
        MetricError: fewer than 4d samples, from which a line to infinity would be a guess (``kind="small_n"``), or
            unusable features.
    """
    x, y = two_sets(fake, real, grouped=True)
    check_paired(x, y, paired)
    n = len(x) if real_is_population else min(len(x), len(y))
    smallest = 2 * x.shape[-1]
    if n < 2 * smallest:
        raise MetricError(
            f"Extrapolation needs at least 4d = {2 * smallest} samples, so that subsets of 2d = {smallest} and more "
            f"differ in size; got {n}.",
            kind="small_n",
        )
    rng = np.random.default_rng(seed)
    order_x = rng.permutation(len(x))
    order_y = order_x if paired else rng.permutation(len(y))
    sizes = [round(1 / s) for s in np.linspace(1 / n, 1 / smallest, _EXTRAPOLATION_SIZES)]

    def mean_distance(size: int) -> float:
        parts = [slice(start, start + size) for start in range(0, n - size + 1, size)]
        return float(
            np.mean(
                [frechet_distance(x[order_x[part]], y if real_is_population else y[order_y[part]]) for part in parts]
            )
        )

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
    paired: bool = True,
    real_is_population: bool = False,
) -> dict[str, SetValue]:
    """`values` with a note on those of the whole set: its distance extrapolated to infinite n, and the line's R².

    Nothing is added below 4d samples, where `extrapolate_frechet` refuses.
    """
    n = len(fake) if real_is_population else min(len(fake), len(real))
    whole = [name for name, value in values.items() if value.n == len(fake)]
    if n < 4 * np.shape(fake)[-1] or not whole:
        return dict(values)
    found = extrapolate_frechet(fake, real, paired=paired, real_is_population=real_is_population)
    text = f"extrapolated to infinite n: {factor * found.value:.4g} (R² {found.r_squared:.3f})"
    noted = dict(values)
    for name in whole:
        note = noted[name].note
        noted[name] = replace(noted[name], note=text if note is None else f"{note}; {text}")
    return noted


def distance_error(found: Distance, paired: bool, prompts: Rows | None = None) -> tuple[float, int] | None:
    """Standard error of a distance, less what its squared influences count twice, and degrees of freedom.

    Args:
        found: with its excess.
        paired: whether rows correspond; the two influences of a pair are then added before they are squared.
        prompts: integer prompt of each row of the first set; None when each row has its own.

    Returns:
        None where the distance has no influences, or all samples are of one prompt.
    """
    if found.influence_x is None:
        return None
    spread = _first_order(found.influence_x, found.influence_y, paired, prompts)
    if spread is None:
        return None
    error, freedom = spread
    # Nothing but second-order noise comes exactly twice, so that more than half is never taken off. Repeats of a
    # prompt are taken as independent here, which takes off too little rather than too much.
    return float(np.sqrt(max(error**2 - found.excess, error**2 / 2))), freedom


def _split(
    fake: NDArray[np.floating[Any]],
    real: NDArray[np.floating[Any]],
    slices: Mapping[str, Rows],
    paired: bool,
    *,
    grouped: bool = False,
) -> tuple[Matrix, Matrix, dict[str, tuple[Rows, Rows]]]:
    """Checked sets, and the rows of both that each slice has."""
    x = checked_features(fake, "The generated set", grouped=grouped)
    y = checked_features(real, "The real set", grouped=grouped)
    check_widths(x, y)
    check_paired(x, y, paired)
    everything = np.arange(len(y))
    rows = {name: checked_rows(chosen, len(x), name) for name, chosen in slices.items()}
    return x, y, {name: (chosen, chosen if paired else everything) for name, chosen in rows.items()}


def _too_few(n: int, m: int) -> SetValue:
    side = f"n = {n}" if n < 2 else f"{m} real clips"
    return SetValue(None, n, status="small_n", note=f"{side}: no value from fewer than two samples")


def _set_value(
    found: Distance,
    n: int,
    paired: bool,
    prompts: Rows | None,
    level: float,
    *,
    factor: float = 1.0,
    floor: float = -np.inf,
) -> SetValue:
    """Value with its interval, both times `factor`; the lower end is never below `floor`."""
    value = factor * found.value
    if found.influence_x is None:
        return SetValue(value, n, note=f"{found.why_no_influence}: no interval")
    spread = distance_error(found, paired, prompts)
    if spread is None:
        return SetValue(value, n, note="all samples are of one prompt: no interval")
    low, high = t_interval(found.value, *spread, level)
    return SetValue(value, n, factor * max(low, floor), factor * high)


def _first_order(
    influence_x: Vector, influence_y: Vector | None, paired: bool, prompts: Rows | None
) -> tuple[float, int] | None:
    if influence_y is None:
        return standard_error(influence_x, prompts)
    if paired:
        return standard_error(influence_x + influence_y, prompts)
    first, second = standard_error(influence_x, prompts), standard_error(influence_y)
    if first is None or second is None:
        return None
    return float(np.hypot(first[0], second[0])), min(first[1], second[1])
