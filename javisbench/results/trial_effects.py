"""From the values of good and damaged clips to what a metric sees: the statistics of a trial, without files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from javisbench.agreement import auroc_estimate, pair_accuracy, pair_outcomes, tau_by_prompt
from javisbench.results.power import prompts_needed
from javisbench.results.trial import KEPT_CHANGE, Effect, Kind, Verdict
from javisbench.results.verdicts import ALPHA
from javisbench.stats import FEW_PROMPTS, holm, paired_difference, standard_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.metrics.base import MetricCard, SetMetric
    from javisbench.protocol import Protocol

HALVES = 20
"""Random halves of the good clips that say how far two sets of good clips lie apart."""
SAME_DISTANCE = 1e-9
"""A distance below this share of the floor is rounding: the features are the same."""


@dataclass(frozen=True)
class Case:
    """One damage at one dose, or one group of judged pairs.

    Attributes:
        damage: name.
        dose: None without one.
        unit: of the dose.
        severity: grows with the harm.
        kind: what should happen, see `Effect`.
        branch: ``negative`` for the negative doses of a damage that works both ways, else empty.
    """

    damage: str
    dose: float | None = None
    unit: str = ""
    severity: float = 0.0
    kind: Kind = "harm"
    branch: str = ""


@dataclass(frozen=True, eq=False)
class PairValues:
    """A metric's values of the pairs of one case.

    Attributes:
        case: what tells the members of a pair apart.
        better: values of the better members, float64 ``(n,)``; NaN where there is none.
        worse: values of the worse ones.
        sources: where each pair is from: clip, prompt or group; integers ``(n,)``.
        tied: pairs that were judged equally good, bool ``(n,)``; None for none.
        lacking: why a pair has no value, and how often; further pairs that were never made are counted here alone.
    """

    case: Case
    better: NDArray[np.float64]
    worse: NDArray[np.float64]
    sources: NDArray[np.int64]
    tied: NDArray[np.bool_] | None = None
    lacking: Mapping[str, int] = field(default_factory=dict)

    @property
    def never_made(self) -> int:
        """Pairs that are counted in `lacking` alone."""
        valueless = int((np.isnan(self.better) | np.isnan(self.worse)).sum())
        return max(0, sum(self.lacking.values()) - valueless)


def sample_effects(
    card: MetricCard,
    cases: Sequence[PairValues],
    *,
    seed: int = 0,
    mean_range: tuple[float, float] | None = None,
) -> tuple[Effect, ...]:
    """What a metric with one value a clip sees.

    A damage is seen at a dose where the good clips score better on average and the paired difference's p-value, after
    Holm's adjustment over all harmful cases of the metric, is at most 0.05.

    Args:
        card: for the direction; one is needed.
        cases: the values.
        seed: of the bootstraps.
        mean_range: what values are clipped to before differences are averaged, as the metric's means are; None for not.
    """
    sign = 1.0 if card.higher_is_better else -1.0
    found = [_effect(card.id, values, sign, seed, mean_range) for values in cases]
    tested = [place for place, effect in enumerate(found) if effect.kind != "same"]
    adjusted = holm([np.nan if found[i].p_value is None else float(found[i].p_value or 0.0) for i in tested])
    for place, p in zip(tested, adjusted, strict=True):
        found[place] = replace(found[place], p_adjusted=None if np.isnan(p) else float(p))
    return tuple(replace(effect, verdict=_verdict(effect)) for effect in found)


def _effect(metric: str, values: PairValues, sign: float, seed: int, mean_range: tuple[float, float] | None) -> Effect:
    case = values.case
    usable = ~(np.isnan(values.better) | np.isnan(values.worse))
    tied = np.zeros(len(usable), bool) if values.tied is None else values.tied
    effect = Effect(
        metric, case.damage, case.dose, case.unit, case.severity, case.kind, case.branch,
        pairs=len(usable) + values.never_made,
        n=int(usable.sum()),
        sources=len(np.unique(values.sources[usable])),
        ties=int((usable & tied).sum()),
        lacking=values.lacking,
    )  # fmt: skip
    told = usable & ~tied
    better, worse, sources = sign * values.better[told], sign * values.worse[told], values.sources[told]
    untold = int(tied.sum())
    effect = _with_agreement(effect, better, worse, sources, effect.pairs - untold, seed)
    averaged = (values.better[told], values.worse[told])
    if mean_range is not None:
        averaged = (averaged[0].clip(*mean_range), averaged[1].clip(*mean_range))
    effect = _with_difference(effect, sign * averaged[0], sign * averaged[1], sources)
    if case.kind == "same":
        effect = replace(effect, relative_change=relative_change(better, worse))
    if case.kind == "judged":
        gaps = sign * (values.better[usable] - values.worse[usable])
        tau = tau_by_prompt(np.where(tied[usable], 0, 1), gaps, values.sources[usable], seed=seed)
        effect = replace(effect, tau=tau.value, tau_low=tau.ci_low, tau_high=tau.ci_high)
    return replace(effect, note=_note(effect))


def _with_agreement(
    effect: Effect,
    better: NDArray[np.float64],
    worse: NDArray[np.float64],
    sources: NDArray[np.int64],
    asked: int,
    seed: int,
) -> Effect:
    area = auroc_estimate(better, worse, sources, seed=seed)
    right = pair_accuracy(pair_outcomes(better, worse), sources, seed=seed)
    share, strict = right.estimate, right.strict
    return replace(
        effect,
        auroc=area.value,
        auroc_low=area.ci_low,
        auroc_high=area.ci_high,
        accuracy=share.value,
        accuracy_low=share.ci_low,
        accuracy_high=share.ci_high,
        accuracy_strict=strict,
        accuracy_relaxed=right.relaxed,
        accuracy_of_all=strict * len(better) / asked if strict is not None and asked else None,
    )


def _with_difference(
    effect: Effect, better: NDArray[np.float64], worse: NDArray[np.float64], sources: NDArray[np.int64]
) -> Effect:
    gap = paired_difference(better, worse, sources)
    if gap.value is None:
        return effect
    gaps = better - worse
    spread = float(gaps.std(ddof=1))
    error = standard_error(gaps, sources)
    power = None
    if error is not None and gap.value and error[0] > 0:
        power = prompts_needed(gap.value, error[0], error[1] + 1)
    return replace(
        effect,
        effect=gap.value,
        effect_low=gap.ci_low,
        effect_high=gap.ci_high,
        effect_in_spreads=gap.value / spread if spread > 0 else None,
        p_value=gap.p_value,
        n_for_power=power,
    )


def relative_change(good: NDArray[np.float64], changed: NDArray[np.float64]) -> float | None:
    """Median over clips of ``|changed - good| / |good|``; a change from 0 is without bound.

    Returns:
        None for no clips, or where half of them or more changed from 0.
    """
    if not len(good):
        return None
    size, change = np.abs(good), np.abs(changed - good)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(change == 0, 0.0, change / size)
    middle = float(np.median(shares))
    return middle if np.isfinite(middle) else None


def _verdict(effect: Effect) -> Verdict:
    if effect.n - effect.ties < 1:
        return "untested"
    if effect.kind == "same":
        change = effect.relative_change
        return "kept" if change is not None and change <= KEPT_CHANGE else "changed"
    if effect.accuracy_strict == 0 and effect.accuracy_relaxed == 1:
        return "blind"
    if effect.p_adjusted is None or effect.effect is None:
        return "untested"
    if effect.p_adjusted > ALPHA:
        return "unseen"
    return "seen" if effect.effect > 0 else "opposite"


def _note(effect: Effect) -> str | None:
    if effect.n == 0:
        return "no pair has a value"
    if effect.n == effect.ties:
        return "all pairs are judged ties: no accuracy"
    if effect.sources < 2:
        return "one source: no interval"
    return f"{effect.sources} sources: intervals are too narrow" if effect.sources < FEW_PROMPTS else None


@dataclass(frozen=True, eq=False)
class SetCase:
    """A set metric's rows of one case.

    Attributes:
        case: the damage and dose.
        rows: of the damaged clips' features, int ``(n,)``.
        pairs: clips that were asked for.
        lacking: why clips have no row, and how often.
    """

    case: Case
    rows: NDArray[np.int64]
    pairs: int
    lacking: Mapping[str, int] = field(default_factory=dict)


def set_effects(
    metric: SetMetric,
    damaged: NDArray[np.floating],
    good: NDArray[np.floating],
    own: NDArray[np.int64],
    cases: Sequence[SetCase],
    protocol: Protocol,
    *,
    seed: int = 0,
) -> tuple[Effect, ...]:
    """What a metric between sets sees: how far damaged clips lie from the good ones they were made of.

    A damage is seen at a dose where that distance exceeds the largest one of twenty random halves of the good clips,
    which two sets of good clips show by chance.

    Args:
        metric: of the registry.
        damaged: features of all damaged clips, ``(m, d)`` or ``(m, k, d)``.
        good: features of the good copy of each, in the same order.
        own: rows of `good` that hold every good clip once.
        cases: which rows belong to which case.
        protocol: for the settings that change the number.
        seed: of the halves.

    Raises:
        MetricError: as `SetMetric.measure`.
    """
    floor = _floor(metric, good[own], protocol, seed)
    found = metric.measure(damaged, good, {str(i): case.rows for i, case in enumerate(cases)}, protocol)
    effects = []
    for place, case in enumerate(cases):
        value, n = found[str(place)].value, len(case.rows)
        effects.append(
            Effect(
                metric.card.id,
                case.case.damage,
                case.case.dose,
                case.case.unit,
                case.case.severity,
                case.case.kind,
                case.case.branch,
                pairs=case.pairs,
                n=n,
                sources=n,
                effect=value,
                floor=floor,
                lacking=case.lacking,
                verdict=_set_verdict(value, floor, case.case.kind),
                note=found[str(place)].note,
            )
        )
    return tuple(effects)


def _floor(metric: SetMetric, good: NDArray[np.floating], protocol: Protocol, seed: int) -> float | None:
    """The largest distance of random halves of the good clips."""
    half = len(good) // 2
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(good)) for _ in range(HALVES)]
    values = [
        metric.measure(good[order[:half]], good[order[half : 2 * half]], {"half": np.arange(half)}, protocol)[
            "half"
        ].value
        for order in orders
    ]
    known = [value for value in values if value is not None]
    return max(known) if known else None


def _set_verdict(value: float | None, floor: float | None, kind: Kind) -> Verdict:
    if value is None or floor is None:
        return "untested"
    if abs(value) <= SAME_DISTANCE * max(abs(floor), 1e-12):
        return "kept" if kind == "same" else "blind"
    if kind == "same":
        return "kept" if value <= floor else "changed"
    return "seen" if value > floor else "unseen"
