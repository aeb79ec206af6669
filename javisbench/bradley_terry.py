"""Strengths of models from votes on pairs: the Bradley-Terry model with ties, of Davidson.

With strengths s (logarithms) and a readiness to call ties d, a vote on models i and j says with odds

    i better : j better : tie  =  exp(s_i) : exp(s_j) : exp(d + (s_i + s_j) / 2)

Sources: Bradley and Terry, Biometrika 39 (1952); ties, Davidson, JASA 65 (1970), section 2, chosen over Rao and Kupper
(1967) because a tie then counts as half a win for both, and because the likelihood is concave in (s, d); when strengths
are finite, Ford, American Mathematical Monthly 64 (1957), extended to ties here (`_finite`); bootstrap over clusters,
Efron and Tibshirani (1993), chapter 13, with Hesterberg's expanded percentiles, The American Statistician 69 (2015),
section 5.
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


def bootstrap_intervals(
    first: ArrayLike,
    second: ArrayLike,
    outcomes: ArrayLike,
    clusters: ArrayLike,
    models: int,
    *,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> Floats:
    """Intervals of `strengths`, by drawing clusters (voters, or prompts) with all their votes.

    The ends are percentiles of the resampled strengths, a little further out than the level says for few clusters, so
    that a mean of normal values would get Student's interval.

    Args:
        first: as for `strengths`.
        second: as for `strengths`.
        outcomes: as for `strengths`.
        clusters: integer cluster of each vote, ``(n,)``.
        models: their number, M.
        seed: of the bootstrap.
        resamples: repetitions, at least 100.
        level: coverage, in (0, 1).

    Returns:
        ``(M, 2)``; NaN for models without a strength, and for all with fewer than two clusters.

    Raises:
        ValueError: as `strengths`, or a level or number of resamples that makes no interval.
    """
    if not 0 < level < 1 or resamples < 100:
        raise ValueError(f"level lies in (0, 1) and resamples is at least 100; got {level} and {resamples}.")
    votes = _Votes.of(first, second, outcomes, models)
    labels = np.asarray(clusters)
    if labels.shape != (votes.n,):
        raise ValueError(f"clusters must hold one entry for each of {votes.n} votes; got shape {labels.shape}.")
    ends = np.full((models, 2), np.nan)
    inside = _largest_group(votes.counts().sum(axis=-1), votes.pairs, models)
    part, kept = votes.among(inside)
    codes = np.unique(labels[kept], return_inverse=True)[1]
    count = int(codes.max()) + 1 if len(codes) else 0
    if count < 2 or len(inside) < 2:
        return ends
    cells = np.zeros((count, len(part.pairs) * 3))
    np.add.at(cells, (codes, 3 * part.pair + part.outcome), 1.0)
    rng = np.random.default_rng(seed)
    height = max(1, _CELLS_PER_BLOCK // max(cells.shape[1], count, len(inside) ** 2))
    found = []
    for start in range(0, resamples, height):
        draws = rng.multinomial(count, np.full(count, 1 / count), size=min(height, resamples - start))
        counts = (draws @ cells).reshape(len(draws), len(part.pairs), 3)
        wide = np.logical_not(_finite(counts, part.pairs, len(inside)))
        counts[wide] += _added(part.counts()[None])
        found.append(_fit(counts, part.pairs, len(inside))[0])
    ends[inside] = np.quantile(np.concatenate(found), _tails(level, count), axis=0).T
    return ends


def _tails(level: float, count: int) -> tuple[float, float]:
    """Percentiles that give a mean of normal values Student's interval."""
    from scipy.special import ndtr, stdtrit

    tail = float(ndtr(-np.sqrt(count / (count - 1)) * stdtrit(count - 1, (1 + level) / 2)))
    return tail, 1 - tail


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


def _fit(counts: Floats, pairs: Integers, models: int) -> tuple[Floats, Floats]:
    """Newton's method on all tables of counts ``(R, P, 3)`` at once: strengths ``(R, M)`` and ties ``(R,)``."""
    some = counts[..., TIE].sum(axis=-1) > 0
    theta, ties = np.zeros((len(counts), models)), np.where(some, 0.0, -np.inf)
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
