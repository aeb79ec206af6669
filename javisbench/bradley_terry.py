"""Strengths of models from votes on pairs: the Bradley-Terry model with ties, of Davidson.

With strengths s (logarithms) and a readiness to call ties d, a vote on models i and j says with odds

    i better : j better : tie  =  exp(s_i) : exp(s_j) : exp(d + (s_i + s_j) / 2)

Sources: Bradley and Terry, Biometrika 39 (1952); ties, Davidson, JASA 65 (1970), section 2, chosen over Rao and Kupper
(1967) because a tie then counts as half a win for both, and because the likelihood is concave in (s, d); when strengths
are finite, Ford, American Mathematical Monthly 64 (1957), extended to ties here (`_finite`); jackknife over clusters,
Cameron and Miller, Journal of Human Resources 50 (2015), section VI.B (CV3), of groups of them, Kott, Journal of
Official Statistics 17 (2001); the number of clusters that unequal ones count for, Kish, Survey Sampling (1965), as by
Carter, Schnepel and Steigerwald, Review of Economics and Statistics 99 (2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.intp]

ELO = 400 / float(np.log(10))
"""Points of Elo's scale a unit of strength: at 400 points more a model is preferred ten times as often as not."""
ADDED = 0.5
"""Votes added each way to every compared pair where strengths would not be finite otherwise."""
A_WINS, B_WINS, TIE = 0, 1, 2
_STEPS = 100
_LONGEST_STEP = 3.0
_SMALLEST_GRADIENT = 1e-9
_CELLS_PER_BLOCK = 1 << 21
_GROUPS = 1000


@dataclass(frozen=True, eq=False)
class Strengths:
    """What votes say of models.

    Attributes:
        values: strength of each model as a natural logarithm, centred on 0, ``(M,)``; NaN for models that no chain of
            votes compares with the others (the largest group that is connected has strengths).
        ties: `d`, the readiness to call ties; -inf without any tie.
        influences: what each vote contributes, ``(n, M)``: the error of `values` is their mean, to first order. 0 for
            votes on models without a strength.
        bounded: False where a model won or lost all there was against the others, so that no finite strength fits best
            and `ADDED` votes were added.
        used: votes behind the values.
    """

    values: Floats
    ties: float
    influences: Floats
    bounded: bool
    used: int


def strengths(first: ArrayLike, second: ArrayLike, outcomes: ArrayLike, models: int) -> Strengths:
    """The strengths that make the votes most likely.

    Args:
        first: a model of each vote, in [0, models), ``(n,)``.
        second: the other model, ``(n,)``.
        outcomes: 0 where the first was better, 1 where the second was, 2 for a tie, ``(n,)``.
        models: their number, M.

    Raises:
        ValueError: unequal lengths, a model or outcome out of range, or a model against itself.
    """
    votes = _Votes.of(first, second, outcomes, models)
    values, influences = np.full(models, np.nan), np.zeros((votes.n, models))
    inside = _largest_group(votes.counts().sum(axis=-1), votes.pairs, models)
    if len(inside) < 2:
        return Strengths(values, -np.inf, influences, True, 0)
    part, kept = votes.among(inside)
    counts = part.counts()[None]
    bounded = bool(_finite(counts, part.pairs, len(inside))[0])
    counts = counts if bounded else counts + _added(counts)
    theta, ties = _fit(counts, part.pairs, len(inside))
    values[inside] = theta[0]
    table = _influence_table(counts[0], part.pairs, theta[0], float(ties[0]), part.n)
    influences[np.ix_(kept, inside)] = table[part.pair, part.outcome]
    if part.n:
        # Of all votes, used or not, so that a mean over them is one over those used.
        influences *= votes.n / part.n
    return Strengths(values, float(ties[0]), influences, bounded, part.n)


def intervals(
    first: ArrayLike,
    second: ArrayLike,
    outcomes: ArrayLike,
    clusters: ArrayLike,
    models: int,
    *,
    level: float = 0.95,
) -> Floats:
    """Intervals of `strengths`, from leaving out one cluster (a voter, or a prompt) after the other with all its votes.

    Student's: the jackknife's standard error each way. Its degrees of freedom lie half-way between those of the number
    of clusters and those of as many equal ones as would tell as much: the latter alone are too few, since the jackknife
    errs upward (benchmarks/votes.py). Of more than 1000 clusters, groups of them are left out.

    Args:
        first: as for `strengths`.
        second: as for `strengths`.
        outcomes: as for `strengths`.
        clusters: integer cluster of each vote, ``(n,)``.
        models: their number, M.
        level: coverage, in (0, 1).

    Returns:
        ``(M, 2)``; NaN for models without a strength, and for all where clusters tell less than two equal ones would.

    Raises:
        ValueError: as `strengths`, or a level that makes no interval.
    """
    from scipy.special import stdtrit

    if not 0 < level < 1:
        raise ValueError(f"level lies in (0, 1); got {level}.")
    votes = _Votes.of(first, second, outcomes, models)
    labels = np.asarray(clusters)
    if labels.shape != (votes.n,):
        raise ValueError(f"clusters must hold one entry for each of {votes.n} votes; got shape {labels.shape}.")
    ends = np.full((models, 2), np.nan)
    inside = _largest_group(votes.counts().sum(axis=-1), votes.pairs, models)
    part, kept = votes.among(inside)
    codes = np.unique(labels[kept], return_inverse=True)[1].reshape(-1) % _GROUPS
    equal = _equal_clusters(codes)
    if equal < 2 or len(inside) < 2:
        return ends
    values, error = _jackknifed(part, codes, len(inside))
    freedom = (int(codes.max()) + 1 + equal) / 2 - 1
    reach = stdtrit(freedom, (1 + level) / 2) * error
    ends[inside] = np.stack([values - reach, values + reach], axis=1)
    return ends


def _equal_clusters(codes: Integers) -> float:
    """As how many clusters of equal size clusters of these sizes tell (Kish)."""
    sizes = np.bincount(codes).astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(codes) else 0.0


def _jackknifed(votes: _Votes, codes: Integers, models: int) -> tuple[Floats, Floats]:
    """Strengths and their standard errors, ``(M,)`` each."""
    count = int(codes.max()) + 1
    cells = np.zeros((count, len(votes.pairs) * 3))
    np.add.at(cells, (codes, 3 * votes.pair + votes.outcome), 1.0)
    whole = votes.counts()

    def fitted(counts: Floats, start: tuple[Floats, Floats] | None) -> tuple[Floats, Floats]:
        wide = np.logical_not(_finite(counts, votes.pairs, models))
        counts[wide] += _added(whole[None])
        return _fit(counts, votes.pairs, models, start)

    start = fitted(whole[None].copy(), None)
    height = max(1, _CELLS_PER_BLOCK // max(cells.shape[1], models**2))
    rest = [
        fitted((whole.reshape(-1) - cells[row : row + height]).reshape(-1, *whole.shape), start)[0]
        for row in range(0, count, height)
    ]
    gaps = np.concatenate(rest) - np.concatenate(rest).mean(axis=0)
    return start[0][0], np.sqrt((count - 1) / count * (gaps**2).sum(axis=0))


@dataclass(frozen=True, eq=False)
class _Votes:
    """Votes by pair: each pair's models in rising order, outcomes turned to that order."""

    pairs: Integers
    pair: Integers
    outcome: Integers

    @classmethod
    def of(cls, first: ArrayLike, second: ArrayLike, outcomes: ArrayLike, models: int) -> _Votes:
        one, two, told = (np.asarray(part, dtype=np.intp) for part in (first, second, outcomes))
        if not one.shape == two.shape == told.shape or one.ndim != 1:
            raise ValueError(f"A vote needs two models and an outcome; got {one.shape}, {two.shape}, {told.shape}.")
        if len(one) and (min(one.min(), two.min()) < 0 or max(one.max(), two.max()) >= models):
            raise ValueError(f"Models are numbered from 0 to {models - 1}.")
        if (one == two).any() or not np.isin(told, (A_WINS, B_WINS, TIE)).all():
            raise ValueError("A vote is on two different models, and its outcome is 0, 1 or 2.")
        low, high = np.minimum(one, two), np.maximum(one, two)
        told = np.where((one > two) & (told != TIE), 1 - told, told)
        codes, pair = np.unique(low * models + high, return_inverse=True)
        return cls(np.stack([codes // models, codes % models], axis=1), pair.reshape(-1), told)

    @property
    def n(self) -> int:
        return len(self.pair)

    def counts(self) -> Floats:
        """Votes by pair and outcome, ``(P, 3)``."""
        found = np.zeros((len(self.pairs), 3))
        np.add.at(found, (self.pair, self.outcome), 1.0)
        return found

    def among(self, inside: Integers) -> tuple[_Votes, Integers]:
        """Votes on some models alone, which are renumbered, and their rows."""
        kept = np.asarray(np.isin(self.pairs, inside).all(axis=1)).reshape(-1)
        rows = np.flatnonzero(kept[self.pair]) if len(self.pairs) else np.empty(0, dtype=np.intp)
        number = np.cumsum(kept) - 1
        return _Votes(np.searchsorted(inside, self.pairs[kept]), number[self.pair[rows]], self.outcome[rows]), rows


def _largest_group(totals: Floats, pairs: Integers, models: int) -> Integers:
    """The models of the largest connected part of the graph of comparisons, by votes where several are as large."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((totals, (pairs[:, 0], pairs[:, 1])), shape=(models, models))
    count, label = connected_components(graph, directed=False)
    sizes = np.bincount(label, minlength=count)
    votes = np.bincount(label[pairs[:, 0]], weights=totals, minlength=count)
    best = max(range(count), key=lambda group: (sizes[group], votes[group], -group))
    return np.flatnonzero(label == best)


def _finite(counts: Floats, pairs: Integers, models: int) -> NDArray[np.bool_]:
    """Whether finite strengths fit best, for each of some tables of counts ``(R, P, 3)``.

    Without ties, if and only if a chain of wins leads from every model to every other (Ford). Ties count as wins of
    both where their share is fixed by a pair that both models have won; without such a pair, strengths and readiness to
    tie can grow together, and this says no.
    """
    both = (counts[..., A_WINS] > 0) & (counts[..., B_WINS] > 0)
    tied = counts[..., TIE] > 0
    held = np.asarray(both.any(axis=-1) | ~tied.any(axis=-1))
    reach = np.zeros((len(counts), models, models), dtype=np.float32)
    reach[:, pairs[:, 0], pairs[:, 1]] = (counts[..., A_WINS] > 0) | tied
    reach[:, pairs[:, 1], pairs[:, 0]] = (counts[..., B_WINS] > 0) | tied
    reach[:, range(models), range(models)] = 1
    for _ in range(max(1, int(np.ceil(np.log2(max(models, 2)))))):
        reach = np.minimum(reach @ reach, 1)
    linked = np.asarray((reach > 0).all(axis=(1, 2)))
    return np.asarray(held & linked)


def _added(counts: Floats) -> Floats:
    extra = np.zeros_like(counts)
    extra[..., :TIE] = ADDED
    return extra


def _fit(
    counts: Floats, pairs: Integers, models: int, start: tuple[Floats, Floats] | None = None
) -> tuple[Floats, Floats]:
    """Newton's method on all tables of counts ``(R, P, 3)`` at once: strengths ``(R, M)`` and ties ``(R,)``.

    `start` is what fits a table like them, ``(1, M)`` and ``(1,)``.
    """
    some = counts[..., TIE].sum(axis=-1) > 0
    near, tied = start or (np.zeros((1, models)), np.zeros(1))
    theta, ties = np.repeat(near, len(counts), axis=0), np.where(some, tied, -np.inf)
    left = np.arange(len(counts))
    for _ in range(_STEPS):
        gradient, hessian = _derivatives(counts[left], pairs, theta[left], ties[left])
        scale = counts[left].sum(axis=(1, 2))
        open_ = np.abs(gradient).max(axis=1) > _SMALLEST_GRADIENT * np.maximum(scale, 1)
        left, gradient, hessian = left[open_], gradient[open_], hessian[open_]
        if not len(left):
            break
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        step *= np.minimum(1, _LONGEST_STEP / np.maximum(np.abs(step).max(axis=1), 1e-300))[:, None]
        theta[left], ties[left] = _ascended(counts[left], pairs, theta[left], ties[left], step, gradient)
    return theta - theta.mean(axis=1, keepdims=True), ties


def _ascended(
    counts: Floats, pairs: Integers, theta: Floats, ties: Floats, step: Floats, gradient: Floats
) -> tuple[Floats, Floats]:
    """A step, halved until it goes up."""
    before = _likelihood(counts, pairs, theta, ties)
    gain = (step * gradient).sum(axis=1)
    share = np.ones(len(counts))
    for _ in range(30):
        new = theta + share[:, None] * step[:, :-1], ties + share * step[:, -1]
        short = _likelihood(counts, pairs, *new) < before + 1e-4 * share * gain - 1e-12 * np.abs(before)
        if not short.any():
            break
        share[short] /= 2
    return new


def _log_shares(pairs: Integers, theta: Floats, ties: Floats) -> Floats:
    """Logarithms of the three outcomes' probabilities, ``(R, P, 3)``."""
    one, two = theta[:, pairs[:, 0]], theta[:, pairs[:, 1]]
    odds = np.stack([one, two, ties[:, None] + (one + two) / 2], axis=-1)
    top = odds.max(axis=-1, keepdims=True)
    found: Floats = odds - top - np.log(np.exp(odds - top).sum(axis=-1, keepdims=True))
    return found


def _likelihood(counts: Floats, pairs: Integers, theta: Floats, ties: Floats) -> Floats:
    shares = _log_shares(pairs, theta, ties)
    # Outcomes that never were may have no chance at all.
    found: Floats = (counts * np.where(counts > 0, shares, 0.0)).sum(axis=(1, 2))
    return found


def _derivatives(counts: Floats, pairs: Integers, theta: Floats, ties: Floats) -> tuple[Floats, Floats]:
    """Gradient ``(R, M + 1)`` and information ``(R, M + 1, M + 1)``, made regular where the data leave it free."""
    rows, models = np.arange(len(counts)), theta.shape[1]
    shares, total = np.exp(_log_shares(pairs, theta, ties)), counts.sum(axis=-1)
    win = (counts[..., A_WINS] - counts[..., B_WINS]) / 2 - total * (shares[..., A_WINS] - shares[..., B_WINS]) / 2
    gradient = np.zeros((len(counts), models + 1))
    np.add.at(gradient, (rows[:, None], pairs[None, :, 0]), win)
    np.add.at(gradient, (rows[:, None], pairs[None, :, 1]), -win)
    gradient[:, -1] = (counts[..., TIE] - total * shares[..., TIE]).sum(axis=1)
    # A pair's outcomes depend on half the gap g = (s_i - s_j) / 2 and on d: scores (1, 0), (-1, 0), (0, 1).
    lean = shares[..., A_WINS] - shares[..., B_WINS]
    of_gap = total * (1 - shares[..., TIE] - lean**2) / 4
    of_both = -total * lean * shares[..., TIE] / 2
    hessian = np.zeros((len(counts), models + 1, models + 1))
    for i, j, sign in ((0, 0, 1), (1, 1, 1), (0, 1, -1), (1, 0, -1)):
        np.add.at(hessian, (rows[:, None], pairs[None, :, i], pairs[None, :, j]), sign * of_gap)
    for i, sign in ((0, 1), (1, -1)):
        np.add.at(hessian, (rows[:, None], pairs[None, :, i], models), sign * of_both)
    hessian[:, -1, :-1] = hessian[:, :-1, -1]
    hessian[:, -1, -1] = (total * shares[..., TIE] * (1 - shares[..., TIE])).sum(axis=1)
    without = ~np.isfinite(ties)
    hessian[without, -1, -1], gradient[without, -1] = 1.0, 0.0
    # Adding a constant to all strengths changes nothing: their sum is held at 0.
    hessian[:, :-1, :-1] += np.maximum(total.sum(axis=1) / models**2, 1e-12)[:, None, None]
    return gradient, hessian


def _influence_table(counts: Floats, pairs: Integers, theta: Floats, ties: float, n: int) -> Floats:
    """What a vote of each pair and outcome contributes to the strengths, ``(P, 3, M)``."""
    given, models = np.array([ties]), len(theta)
    hessian = _derivatives(counts[None], pairs, theta[None], given)[1][0]
    shares = np.exp(_log_shares(pairs, theta[None], given))[0]
    lean = shares[:, A_WINS] - shares[:, B_WINS]
    scores: NDArray[Any] = np.zeros((len(pairs), 3, models + 1))
    rows = np.arange(len(pairs))
    for outcome, (half, tie) in enumerate(((0.5, 0.0), (-0.5, 0.0), (0.0, 1.0))):
        scores[rows, outcome, pairs[:, 0]] = half - lean / 2
        scores[rows, outcome, pairs[:, 1]] = lean / 2 - half
        scores[rows, outcome, models] = tie - shares[:, TIE] if np.isfinite(ties) else 0.0
    found = n * np.linalg.solve(hessian, scores.reshape(-1, models + 1).T).T[:, :models]
    table: Floats = (found - found.mean(axis=1, keepdims=True)).reshape(len(pairs), 3, models)
    return table
