"""How well numbers agree with what is known to be better: AUROC, pair accuracy and Kendall's tau, with intervals; and
how well people agree with each other.

What is known may come from deliberate damage, from listeners' votes or from a judge. Everything here is a pure function
of arrays; higher numbers are taken as better, so negate those of a metric whose lower values are.

Sources: AUROC, Mann and Whitney (1947), Hanley and McNeil, Radiology 143 (1982); tau-b, Kendall (1945); percentile
bootstrap over clusters, Efron and Tibshirani (1993), chapter 13; alpha, Krippendorff, Content Analysis (2004),
chapter 11.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from javisbench.stats import FEW_PROMPTS, Estimate, cluster_totals, slice_means

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_CELLS_PER_BLOCK = 1 << 21
_DRAWS = 1000


@dataclass(frozen=True)
class PairAccuracy:
    """Share of pairs whose better member has the higher number.

    Attributes:
        estimate: a tie of numbers counts half; interval over sources.
        strict: a tie is wrong.
        relaxed: a tie is right.
    """

    estimate: Estimate
    strict: float | None
    relaxed: float | None


def auroc(good: ArrayLike, bad: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a good value exceeds a bad one, a tie counting half.

    Args:
        good: shape ``(n,)``, n >= 1.
        bad: shape ``(m,)``, m >= 1.

    Returns:
        in [0, 1]; 0.5 where nothing tells the two apart.

    Raises:
        ValueError: an empty side, or NaN.
    """
    better, worse = _vector(good, "good"), _vector(bad, "bad")
    return float(_Ranked.of(better, worse).areas(np.ones((1, len(better))), np.ones((1, len(worse))))[0])


def auroc_estimate(
    good: ArrayLike,
    bad: ArrayLike,
    sources: ArrayLike,
    bad_sources: ArrayLike | None = None,
    *,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> Estimate:
    """`auroc` with a percentile bootstrap interval over sources, which are drawn with all their clips of both sides.

    Args:
        good: finite, shape ``(n,)``.
        bad: finite, shape ``(m,)``.
        sources: where each good clip is from, integers, shape ``(n,)``.
        bad_sources: the same of the bad clips; None where they are copies of the good ones, in the same order.
        seed: of the bootstrap.
        resamples: repetitions, at least 100. Those without a clip on either side are left out.
        level: coverage, in (0, 1).

    Returns:
        the area, with n the larger side; no interval for fewer than two sources, no value for an empty side.

    Raises:
        ValueError: NaN, or unequal lengths.
    """
    if not np.size(good) or not np.size(bad):
        return Estimate(None, 0, status="small_n", note="no clips on one side")
    better, worse = _vector(good, "good"), _vector(bad, "bad")
    origin = np.asarray(sources)
    own, foreign = _common_codes(origin, origin if bad_sources is None else np.asarray(bad_sources))
    if len(own) != len(better) or len(foreign) != len(worse):
        raise ValueError("Every value needs one source.")
    ranked = _Ranked.of(better, worse)
    value = float(ranked.areas(np.ones((1, len(better))), np.ones((1, len(worse))))[0])
    n, count = max(len(better), len(worse)), 1 + int(max(own.max(), foreign.max()))
    if count < 2:
        return Estimate(value, n, status="small_n", note="all clips are of one source: no interval")
    areas = _resampled_areas(ranked, own, foreign, count, seed, resamples)
    low, high = np.quantile(areas, [(1 - level) / 2, (1 + level) / 2])
    note = f"{count} sources: the interval is too narrow" if count < FEW_PROMPTS else None
    return Estimate(value, n, float(low), float(high), note=note)


def pair_outcomes(better: ArrayLike, worse: ArrayLike) -> NDArray[np.float64]:
    """1 where the better member of a pair has the higher number, 0.5 where both have the same, else 0.

    Args:
        better: finite, shape ``(n,)``.
        worse: of the same shape.
    """
    first, second = _vector(better, "better"), _vector(worse, "worse")
    if first.shape != second.shape:
        raise ValueError(f"Pairs need two values each; got {len(first)} and {len(second)}.")
    return np.where(first == second, 0.5, first > second)


def pair_accuracy(outcomes: ArrayLike, sources: ArrayLike, *, seed: int = 0, level: float = 0.95) -> PairAccuracy:
    """The share of pairs that are right, with a bootstrap interval over sources.

    Args:
        outcomes: of `pair_outcomes`, shape ``(n,)``.
        sources: where each pair is from (prompt, video), integers, shape ``(n,)``.
        seed: of the bootstrap.
        level: coverage, in (0, 1).
    """
    right = np.asarray(outcomes, dtype=np.float64)
    rows = np.arange(len(right))
    found = slice_means(right, sources, {"all": rows}, seed=seed, level=level)["all"]
    if not len(right):
        return PairAccuracy(found, None, None)
    if found.ci_low is not None and found.ci_high is not None:
        # The ends are sums of deviations, and rounding may put them just outside of a share's range.
        found = replace(found, ci_low=max(0.0, found.ci_low), ci_high=min(1.0, found.ci_high))
    return PairAccuracy(found, float((right == 1).mean()), float((right > 0).mean()))


def kendall_tau(first: ArrayLike, second: ArrayLike) -> float | None:
    """Kendall's tau-b of two rankings of the same things, in [-1, 1]; None where either is constant.

    Args:
        first: shape ``(n,)``.
        second: of the same shape.
    """
    one, two = _vector(first, "first"), _vector(second, "second")
    places = np.triu_indices(len(one), 1)
    return pairs_tau(np.subtract.outer(one, one)[places], np.subtract.outer(two, two)[places])


def pairs_tau(labels: ArrayLike, gaps: ArrayLike) -> float | None:
    """Kendall's tau-b from pairs, which need not be all pairs of anything.

    Args:
        labels: shape ``(n,)``; above 0 where the pair's first member is known to be better, below 0 where the second
            is, 0 where they are equally good.
        gaps: the first member's number minus the second's.

    Returns:
        (pairs in agreement - pairs in disagreement) / sqrt(pairs without a tie of labels * pairs without a tie of
        numbers), in [-1, 1]; over all pairs of a set that is tau-b. None where all are ties.
    """
    known, found = np.sign(_vector(labels, "labels")), np.sign(_vector(gaps, "gaps"))
    scale = float(np.abs(known).sum() * np.abs(found).sum())
    return float(known @ found) / scale**0.5 if scale else None


def tau_by_prompt(labels: ArrayLike, gaps: ArrayLike, prompts: ArrayLike, *, seed: int = 0) -> Estimate:
    """Mean over prompts of `pairs_tau` within each, with a bootstrap interval over prompts.

    Args:
        labels: as for `pairs_tau`.
        gaps: as for `pairs_tau`.
        prompts: the prompt of each pair, integers, shape ``(n,)``.
        seed: of the bootstrap.

    Returns:
        the mean; n counts prompts. Prompts whose labels or numbers are all tied have no tau; the note counts them.
    """
    known, found, codes = (np.asarray(part) for part in (labels, gaps, prompts))
    taus = [pairs_tau(known[codes == prompt], found[codes == prompt]) for prompt in np.unique(codes)]
    values = np.array([tau for tau in taus if tau is not None])
    mean = slice_means(values, np.arange(len(values)), {"all": np.arange(len(values))}, seed=seed)["all"]
    tied = len(taus) - len(values)
    if not tied:
        return mean
    note = f"{tied} of {len(taus)} prompts have ties alone and no tau"
    note = note if mean.note is None else f"{mean.note}; {note}"
    return Estimate(mean.value, mean.n, mean.ci_low, mean.ci_high, mean.status, note)


def alpha(values: ArrayLike, units: ArrayLike, clusters: ArrayLike | None = None, *, seed: int = 0) -> Estimate:
    """Krippendorff's alpha of ratings on an interval scale: 1 where all who judged a unit say the same, 0 where they
    agree as strangers would by chance, below 0 where they disagree on purpose.

    Args:
        values: one rating each, ``(n,)``; of a pair 1, 0 (tie) and -1.
        units: what was rated, integers, ``(n,)``. Units that one person alone has rated do not count.
        clusters: what is drawn for the interval (the prompt of each rating), integers; None for the units.
        seed: of the bootstrap.

    Returns:
        alpha, with n ratings that count; no value where there are none or all are the same, no interval for fewer than
        two clusters.
    """
    rated, codes = _vector(values, "values"), np.unique(np.asarray(units), return_inverse=True)[1]
    kept = np.bincount(codes, minlength=1)[codes] > 1
    rated, codes = rated[kept], np.unique(codes[kept], return_inverse=True)[1]
    if not len(rated):
        return Estimate(None, 0, status="small_n", note="nothing was judged by two people")
    sizes, sums, squares = (np.bincount(codes, weights=w) for w in (np.ones(len(rated)), rated, rated**2))
    # Of each unit: ratings, their sum and sum of squares, and its disagreement within.
    rows = np.stack([sizes, sums, squares, 2 * (sizes * squares - sums**2) / (sizes - 1)], axis=1)
    value = _alphas(rows.sum(axis=0)[None])[0]
    if not np.isfinite(value):
        return Estimate(None, len(rated), status="small_n", note="all judgements are the same")
    groups = (
        np.arange(len(rows)) if clusters is None else np.asarray(clusters)[kept][np.unique(codes, return_index=True)[1]]
    )
    totals, _ = cluster_totals(rows, np.unique(groups, return_inverse=True)[1].astype(np.intp))
    count = len(totals)
    if count < 2:
        return Estimate(float(value), len(rated), status="small_n", note="all are of one prompt: no interval")
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=_DRAWS)
    found = _alphas(draws @ totals)
    low, high = np.quantile(found[np.isfinite(found)], [0.025, 0.975])
    return Estimate(float(value), len(rated), float(low), float(high), note=_few(count))


@dataclass(frozen=True)
class Concord:
    """How often two people who judged the same said the same; n counts pairs of judgements.

    Attributes:
        same: share of pairs of judgements that are the same, a tie being one of three.
        same_side: of those in which neither is a tie.
    """

    same: Estimate
    same_side: Estimate


def concord(values: ArrayLike, units: ArrayLike, clusters: ArrayLike | None = None, *, seed: int = 0) -> Concord:
    """Judgements of each unit, two by two.

    Args:
        values: 1, 0 (tie) or -1, ``(n,)``.
        units: what was judged, integers, ``(n,)``; each person judged a unit once.
        clusters: what is drawn for the intervals (the prompt of each judgement), integers; None for the units.
        seed: of the bootstrap.
    """
    judged = np.sign(_vector(values, "values"))
    _, first, codes = np.unique(np.asarray(units), return_index=True, return_inverse=True)
    counts = np.stack([np.bincount(codes[judged == side], minlength=len(first)) for side in (-1, 0, 1)])
    alike = counts * (counts - 1) // 2
    every, sided = (sums * (sums - 1) // 2 for sums in (counts.sum(axis=0), counts[0] + counts[2]))
    groups = np.arange(len(first)) if clusters is None else np.asarray(clusters)[first]
    return Concord(_share(alike.sum(axis=0), every, groups, seed), _share(alike[0] + alike[2], sided, groups, seed))


def _share(right: NDArray[np.integer], of: NDArray[np.integer], clusters: NDArray[np.integer], seed: int) -> Estimate:
    """A share of counts, with a percentile bootstrap interval over clusters."""
    kept = of > 0
    n = int(of.sum())
    if not n:
        return Estimate(None, 0, status="small_n", note="nothing was judged by two people")
    codes = np.unique(clusters[kept], return_inverse=True)[1].astype(np.intp)
    totals, _ = cluster_totals(np.stack([right[kept], of[kept]], axis=1).astype(np.float64), codes)
    count = len(totals)
    if count < 2:
        return Estimate(float(right.sum() / n), n, status="small_n", note="all are of one prompt: no interval")
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=_DRAWS) @ totals
    low, high = np.quantile(draws[:, 0] / draws[:, 1], [0.025, 0.975])
    return Estimate(float(right.sum() / n), n, float(low), float(high), note=_few(count))


def _few(prompts: int) -> str | None:
    return f"{prompts} prompts: the interval is too narrow" if prompts < FEW_PROMPTS else None


def _alphas(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Alpha from ratings, sums, sums of squares and disagreements within, ``(r, 4)``; NaN where all are the same."""
    n, sums, squares, within = totals.T
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = 2 * (n * squares - sums**2) / (n - 1)
        found: NDArray[np.float64] = np.where(expected > 0, 1 - within / expected, np.nan)
    return found


def monotony(severities: Sequence[float], effects: Sequence[float]) -> float | None:
    """Kendall's tau-b of effects over doses: 1 when every stronger dose does more; None for fewer than three doses.

    Args:
        severities: growing with the dose's harm.
        effects: mean effect of each dose.
    """
    return kendall_tau(severities, effects) if len(effects) > 2 else None


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Where each good value stands among the sorted bad ones.

    Attributes:
        order: of the bad values.
        below: bad values below each good one.
        up_to: bad values up to and including each good one.
    """

    order: NDArray[np.intp]
    below: NDArray[np.intp]
    up_to: NDArray[np.intp]

    @classmethod
    def of(cls, good: NDArray[np.float64], bad: NDArray[np.float64]) -> _Ranked:
        order = np.argsort(bad, kind="stable")
        lined = bad[order]
        return cls(order, np.searchsorted(lined, good, "left"), np.searchsorted(lined, good, "right"))

    def areas(self, good: NDArray[np.float64], bad: NDArray[np.float64]) -> NDArray[np.float64]:
        """Areas for weights of the clips, ``(r, n)`` and ``(r, m)``."""
        sums = np.zeros((len(bad), bad.shape[1] + 1))
        np.cumsum(bad[:, self.order], axis=1, out=sums[:, 1:])
        wins = 0.5 * (sums[:, self.below] + sums[:, self.up_to])
        area: NDArray[np.float64] = np.einsum("rn,rn->r", good, wins) / (good.sum(axis=1) * sums[:, -1])
        return area


def _resampled_areas(
    ranked: _Ranked, own: NDArray[np.intp], foreign: NDArray[np.intp], count: int, seed: int, resamples: int
) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    height = max(1, _CELLS_PER_BLOCK // max(len(own), len(foreign), count))
    found = []
    for start in range(0, resamples, height):
        draws = rng.multinomial(count, np.full(count, 1 / count), size=min(height, resamples - start))
        weights = draws.astype(np.float64)
        good, bad = weights[:, own], weights[:, foreign]
        usable = (good.sum(axis=1) > 0) & (bad.sum(axis=1) > 0)
        found.append(ranked.areas(good[usable], bad[usable]))
    return np.concatenate(found)


def _common_codes(first: NDArray[np.generic], second: NDArray[np.generic]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    codes = np.unique(np.concatenate([first, second]), return_inverse=True)[1].astype(np.intp)
    return codes[: len(first)], codes[len(first) :]


def _vector(values: ArrayLike, name: str) -> NDArray[np.float64]:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or np.isnan(vector).any():
        raise ValueError(f"{name} must be one-dimensional and without NaN.")
    return vector
