"""Means with intervals, differences of models, and ranks that admit what is not known.

Every interval here is about sampling of *prompts*: repeats of a prompt stay together, as one cluster. Overall and
slices go through one routine; a sample of several categories counts fully in each of them.

Sources: percentile bootstrap, Efron and Tibshirani (1993), chapter 13; cluster-robust standard error, Cameron and
Miller (2015), section II; Holm (1979), section 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Status: TypeAlias = Literal[
    "ok", "small_n", "biased", "not_applicable", "missing_weights", "missing_reference", "failed"
]
FEW_PROMPTS = 20
"""Below this many prompts a percentile bootstrap interval is noticeably too narrow; the estimate says so."""

_DRAWS_PER_BLOCK = 1 << 20


@dataclass(frozen=True)
class Estimate:
    """A value, what it rests on, and how far it may be off.

    Attributes:
        value: None when there are none; of a distance, None below two samples.
        n: samples behind it.
        ci_low: lower end of the interval, or None.
        ci_high: upper end, or None.
        status: ``ok``, or ``small_n`` when there is no value or no interval for want of samples or prompts.
        note: a sentence for the table, or None.
    """

    value: float | None
    n: int
    ci_low: float | None = None
    ci_high: float | None = None
    status: Status = "ok"
    note: str | None = None


@dataclass(frozen=True)
class Difference(Estimate):
    """The first model's value minus the second's.

    Attributes:
        p_value: two-sided, of "no difference", not adjusted for other comparisons; None when there is no interval.
    """

    p_value: float | None = None


def slice_means(
    values: ArrayLike,
    clusters: ArrayLike,
    slices: Mapping[str, NDArray[np.integer[Any]]],
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """Mean over the samples of each slice, with a percentile bootstrap interval over its prompts.

    A slice of C prompts is resampled by drawing C of its own prompts with replacement; the resampled mean is the
    ratio of summed scores to summed samples, so prompts with more repeats weigh more, as they do in the mean. All
    slices read the same stream of random numbers from its start: the result of a slice depends on its own samples and
    on `seed` alone, not on what else is asked for.

    Args:
        values: one finite score a sample, shape ``(n,)``.
        clusters: the prompt of each sample, integers, shape ``(n,)``.
        slices: name to row indices in [0, n), for example ``{"overall": np.arange(n), ...}``.
        seed: of the bootstrap.
        resamples: bootstrap repetitions, at least 100.
        level: coverage of the interval, in (0, 1).

    Returns:
        slice name to estimate, in the order of `slices`. No sample: no value. Fewer than two prompts: no
        interval. Both are ``small_n``.

    Raises:
        ValueError: NaN or infinite values, unequal lengths, rows out of range, or a level or number of resamples that
            makes no interval.
    """
    scores = _finite_vector(values, "values")
    codes = _codes(clusters, len(scores))
    _check_level(level)
    if resamples < 100:
        raise ValueError(f"resamples must be at least 100 to make an interval; got {resamples}.")
    parts = {name: _Part.of(scores, codes, checked_rows(rows, len(scores), name)) for name, rows in slices.items()}
    eligible = [part for part in parts.values() if part.n >= 2 and len(part.sums) >= 2]
    tails = ((1 - level) / 2, (1 + level) / 2)
    intervals = {
        id(part): (part.mean + low, part.mean + high)
        for part, (low, high) in zip(eligible, _bootstrap(eligible, seed, resamples, tails), strict=True)
    }
    return {name: _estimate(part, intervals.get(id(part))) for name, part in parts.items()}


@dataclass(frozen=True, eq=False)
class _Part:
    """One slice: its mean, and per prompt the summed deviations from it and the number of samples."""

    n: int
    mean: float
    sums: NDArray[np.float64]
    sizes: NDArray[np.float64]

    @classmethod
    def of(cls, scores: NDArray[np.float64], codes: NDArray[np.intp], rows: NDArray[np.intp]) -> _Part:
        if rows.size == 0:
            return cls(0, float("nan"), np.empty(0), np.empty(0))
        chosen = scores[rows]
        # Relative to the first score, and then deviations, so that a constant score has its own value as mean and an
        # interval of exactly zero width.
        mean = float(chosen[0] + (chosen - chosen[0]).mean())
        sums, sizes = cluster_totals(chosen - mean, codes[rows])
        return cls(rows.size, mean, sums, sizes)


def cluster_totals(
    values: NDArray[np.float64], codes: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of `values` and number of samples of each cluster that occurs, ordered by code.

    Args:
        values: shape ``(n,)`` or ``(n, k)``.
        codes: non-negative cluster number of each row, shape ``(n,)``.

    Returns:
        sums ``(C,)`` or ``(C, k)``, sizes ``(C,)``.
    """
    _, dense, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    if len(sizes) == len(codes):
        return values[np.argsort(dense, kind="stable")], sizes.astype(np.float64)
    sums = np.zeros((len(sizes), *values.shape[1:]))
    np.add.at(sums, dense, values)
    return sums, sizes.astype(np.float64)


def _bootstrap(
    parts: Sequence[_Part], seed: int, resamples: int, tails: tuple[float, float]
) -> list[tuple[float, float]]:
    """Percentiles of the resampled mean deviations of each part."""
    totals = [np.zeros(resamples) for _ in parts]
    counts = [np.zeros(resamples) for _ in parts]
    equal_sizes = [bool((part.sizes == part.sizes[0]).all()) for part in parts]
    widest = max((len(part.sums) for part in parts), default=0)
    rng = np.random.default_rng(seed)
    height = max(1, _DRAWS_PER_BLOCK // resamples)
    # Row p of the stream holds the p-th draw of every resample; a part with C prompts uses the first C rows, each
    # 32-bit number scaled to [0, C).
    for start in range(0, widest, height):
        draws = rng.integers(0, 1 << 32, size=(min(height, widest - start), resamples), dtype=np.uint32)
        for k, part in enumerate(parts):
            prompts = len(part.sums)
            if prompts <= start:
                continue
            scaled = draws[: prompts - start].astype(np.uint64)
            scaled *= np.uint64(prompts)
            scaled >>= np.uint64(32)
            chosen = scaled.view(np.int64)
            totals[k] += part.sums.take(chosen).sum(axis=0)
            counts[k] += len(chosen) * part.sizes[0] if equal_sizes[k] else part.sizes.take(chosen).sum(axis=0)
    ends = [np.quantile(total / count, tails) for total, count in zip(totals, counts, strict=True)]
    return [(float(low), float(high)) for low, high in ends]


def _estimate(part: _Part, interval: tuple[float, float] | None) -> Estimate:
    if part.n == 0:
        return Estimate(None, 0, status="small_n", note="no samples")
    if part.n == 1:
        return Estimate(part.mean, 1, status="small_n", note="one sample: its value, no interval")
    if interval is None:
        return Estimate(part.mean, part.n, status="small_n", note="all samples are of one prompt: no interval")
    prompts = len(part.sums)
    note = f"{prompts} prompts: the interval is too narrow" if prompts < FEW_PROMPTS else None
    return Estimate(part.mean, part.n, interval[0], interval[1], note=note)


def standard_error(
    contributions: NDArray[np.float64], clusters: NDArray[np.integer[Any]] | None = None
) -> tuple[float, int] | None:
    """Standard error of an estimate from the contribution of each sample to it.

    The contributions are centred here; for a mean they are the values, for a distance its influence function. With
    clusters they are summed within each: ``sqrt(C/(C-1) * sum_c T_c^2) / n``.

    Args:
        contributions: shape ``(n,)``.
        clusters: integer cluster of each row, or None when every row is its own.

    Returns:
        standard error and degrees of freedom (clusters - 1), or None for fewer than two clusters.
    """
    n = len(contributions)
    totals = contributions - contributions.mean() if n else contributions
    if clusters is not None:
        totals, _ = cluster_totals(totals, np.asarray(clusters, dtype=np.intp))
    if len(totals) < 2:
        return None
    spread = len(totals) / (len(totals) - 1) * float(totals @ totals)
    return float(np.sqrt(spread)) / n, len(totals) - 1


def t_interval(value: float, error: float, freedom: int, level: float = 0.95) -> tuple[float, float]:
    """`value` minus and plus `error` times Student's quantile with `freedom` degrees of freedom."""
    from scipy.special import stdtrit

    reach = float(stdtrit(freedom, (1 + level) / 2)) * error
    return value - reach, value + reach


def t_test(value: float, error: float, freedom: int) -> float:
    """Two-sided p-value of "the true value is 0"; 1 for exactly 0, whatever the error."""
    from scipy.special import stdtr

    if value == 0:
        return 1.0
    if error == 0:
        return 0.0
    return float(2 * stdtr(freedom, -abs(value) / error))


def difference(
    value: float, contributions: NDArray[np.float64], clusters: NDArray[np.integer[Any]] | None = None, *, level: float
) -> Difference:
    """A difference of two models whose estimates rest on the same prompts.

    Args:
        value: the difference.
        contributions: what each sample contributes to it: the difference of the two models' values, or of their
            influences (`javisbench.metrics.distances`), shape ``(n,)``.
        clusters: integer prompt of each sample, or None when every sample has its own.
        level: coverage of the interval, in (0, 1).
    """
    n = len(contributions)
    found = standard_error(contributions, clusters)
    if found is None:
        return Difference(value, n, status="small_n", note="all samples are of one prompt: no interval")
    low, high = t_interval(value, *found, level)
    return Difference(value, n, low, high, p_value=t_test(value, *found))


def paired_difference(a: ArrayLike, b: ArrayLike, clusters: ArrayLike, *, level: float = 0.95) -> Difference:
    """Mean of ``a - b`` over the samples that both models have, with a cluster-robust t interval and p-value.

    Args:
        a: the first model's scores, finite, shape ``(n,)``.
        b: the second model's scores of the same samples, in the same order.
        clusters: the prompt of each sample, integers, shape ``(n,)``.
        level: coverage of the interval, in (0, 1).

    Returns:
        the difference; no value for fewer than two samples, no interval for fewer than two prompts.

    Raises:
        ValueError: NaN or infinite values, or unequal lengths.
    """
    _check_level(level)
    first, second = _finite_vector(a, "a"), _finite_vector(b, "b")
    if len(first) != len(second):
        raise ValueError(f"a and b must hold the same samples; their lengths are {len(first)} and {len(second)}.")
    codes = _codes(clusters, len(first))
    gaps = first - second
    if len(gaps) < 2:
        return Difference(
            None, len(gaps), status="small_n", note=f"n = {len(gaps)}: no value from fewer than two samples"
        )
    return difference(float(gaps.mean()), gaps, codes, level=level)


def pairwise_p_values(
    values: ArrayLike, contributions: NDArray[np.float64], clusters: ArrayLike | None = None
) -> NDArray[np.float64]:
    """The two-sided p-value of every pair of models that were scored on the same samples, at once.

    Entry (i, j) is that of `paired_difference` between the columns i and j (to rounding).

    Args:
        values: one estimate a model, shape ``(M,)``; NaN for a model that cannot be compared.
        contributions: what each sample contributes to each model's estimate, shape ``(n, M)``: scores, or influences.
        clusters: integer prompt of each sample, or None when every sample has its own.

    Returns:
        symmetric ``(M, M)``, ones on the diagonal, NaN where a model cannot be compared or n leaves no test.
    """
    from scipy.special import stdtr

    estimates = np.asarray(values, dtype=np.float64)
    n, models = contributions.shape
    if estimates.shape != (models,):
        raise ValueError(f"values has shape {estimates.shape}; contributions has {models} columns.")
    usable = np.isfinite(estimates) & np.isfinite(contributions).all(axis=0)
    p = np.full((models, models), np.nan)
    if n < 2:
        return p
    totals = np.where(usable, contributions, 0.0)
    totals = totals - totals.mean(axis=0)
    if clusters is not None:
        totals, _ = cluster_totals(totals, _codes(clusters, n))
    count = len(totals)
    if count < 2:
        return p
    for i in np.flatnonzero(usable):
        # Differences before squaring: nearly equal models would lose everything in V_ii + V_jj - 2 V_ij.
        gaps = totals - totals[:, i : i + 1]
        errors = np.sqrt(count / (count - 1) * np.einsum("cm,cm->m", gaps, gaps)) / n
        distance = np.abs(estimates - estimates[i])
        with np.errstate(divide="ignore", invalid="ignore"):
            row = 2 * stdtr(count - 1, -distance / errors)
        p[i] = np.where(usable, np.where(distance == 0, 1.0, row), np.nan)
    return p


def sign_test(first: ArrayLike, second: ArrayLike, clusters: ArrayLike) -> float:
    """Two-sided p-value of "a yes or no is as frequent on both sides", of paired samples, exact.

    Of each prompt it counts which side has more of it; prompts that have it as often on both sides say nothing. For
    one sample a prompt that is McNemar's exact test.

    Args:
        first: one yes or no a sample, shape ``(n,)``.
        second: the same samples on the other side.
        clusters: the prompt of each sample, integers, shape ``(n,)``.

    Source: McNemar (1947); Conover, Practical Nonparametric Statistics (1999), section 3.5.
    """
    from scipy.stats import binomtest

    gaps = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    sums, _ = cluster_totals(gaps, _codes(clusters, len(gaps)))
    more, all_of_them = int((sums > 0).sum()), int((sums != 0).sum())
    return float(binomtest(more, all_of_them).pvalue) if all_of_them else 1.0


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values adjusted by Holm's step-down method, which bounds the chance of any false finding in the family.

    Args:
        p_values: in [0, 1], shape ``(k,)``; NaN for a comparison that was not made, which then does not count.

    Returns:
        adjusted p-values in the order given, NaN kept.

    Raises:
        ValueError: a value outside [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1:
        raise ValueError(f"p_values must be one-dimensional; got shape {p.shape}.")
    adjusted = np.full(p.shape, np.nan)
    made = np.flatnonzero(~np.isnan(p))
    if ((p[made] < 0) | (p[made] > 1)).any():
        raise ValueError("p-values lie between 0 and 1.")
    order = made[np.argsort(p[made], kind="stable")]
    steps = p[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return adjusted


def rank_intervals(
    values: ArrayLike, p_values: NDArray[np.float64], *, higher_is_better: bool, alpha: float = 0.05
) -> list[tuple[int, int] | None]:
    """The ranks that each model of a table may have.

    From 1 + the number of models that are significantly better, to M - the number that are significantly worse, with
    Holm's adjustment over all pairs of the table.

    Args:
        values: one value a model, shape ``(M,)``; NaN for a model that is not ranked.
        p_values: unadjusted p-value of each pair, symmetric ``(M, M)``; NaN where a pair cannot be compared. Only the
            part above the diagonal is read.
        higher_is_better: the metric's direction.
        alpha: bound on the chance that any rank interval is wrong when models are equal.

    Returns:
        (best, worst) possible rank of each model, from 1; None for a model that is not ranked, which does not count
        in M either.
    """
    estimates = np.asarray(values, dtype=np.float64)
    models = len(estimates)
    if p_values.shape != (models, models):
        raise ValueError(f"p_values must be {models} x {models} for {models} models; got {p_values.shape}.")
    ranked = np.flatnonzero(np.isfinite(estimates))
    first, second = (ranked[index] for index in np.triu_indices(len(ranked), k=1))
    significant = np.zeros((models, models), dtype=bool)
    significant[first, second] = holm(p_values[first, second]) <= alpha
    significant |= significant.T
    lead = estimates[:, None] - estimates[None, :]
    better = significant & ((lead > 0) if higher_is_better else (lead < 0))
    ranks: list[tuple[int, int] | None] = [None] * models
    for i in ranked:
        ranks[i] = (1 + int(better[:, i].sum()), len(ranked) - int(better[i].sum()))
    return ranks


def checked_rows(rows: NDArray[np.integer[Any]], n: int, name: str) -> NDArray[np.intp]:
    """Row indices as a one-dimensional integer array.

    Raises:
        ValueError: they are not integers in [0, n), or one occurs twice.
    """
    chosen = np.asarray(rows)
    if chosen.size == 0:
        return np.empty(0, dtype=np.intp)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise ValueError(
            f"The rows of slice {name!r} must be a one-dimensional integer array; got {chosen.dtype} {chosen.shape}."
        )
    if int(chosen.min()) < 0 or int(chosen.max()) >= n:
        raise ValueError(f"The rows of slice {name!r} must lie in [0, {n}); got {chosen.min()} to {chosen.max()}.")
    if np.unique(chosen).size != chosen.size:
        raise ValueError(f"The rows of slice {name!r} hold a sample more than once.")
    return chosen.astype(np.intp)


def _finite_vector(values: ArrayLike, name: str) -> NDArray[np.float64]:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional; got shape {vector.shape}.")
    bad = np.flatnonzero(~np.isfinite(vector))
    if bad.size:
        raise ValueError(
            f"{name} holds {bad.size} NaN or infinite entries, the first in row {bad[0]}; leave failed samples out."
        )
    return vector


def _codes(clusters: ArrayLike, n: int) -> NDArray[np.intp]:
    labels = np.asarray(clusters)
    if labels.shape != (n,):
        raise ValueError(f"clusters must hold one prompt for each of {n} samples; got shape {labels.shape}.")
    return np.unique(labels, return_inverse=True)[1].astype(np.intp)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is a coverage between 0 and 1; got {level}.")
