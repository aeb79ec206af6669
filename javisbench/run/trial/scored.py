"""Scoring the clips of a trial as one run, and reading what every pair of them got."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import MetricError, UsageError
from javisbench.results.cell import OVERALL
from javisbench.results.trial import MetricTrial, ordered
from javisbench.results.trial_effects import Case, PairValues, SetCase, sample_effects, set_effects
from javisbench.run.scoring_job import ScoringJob, ScoringOptions, plan_scoring

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.results.run_folder import Failure, StoredResult
    from javisbench.results.set_features import SetRows
    from javisbench.run.plan import ScorePlan
    from javisbench.run.progress import Progress
    from javisbench.suite import Sample, Suite

_REASONS_SHOWN = 5
NO_DIRECTION = "neither direction is better"


@dataclass(frozen=True)
class Pair:
    """Two variants.

    Attributes:
        case: what tells them apart.
        better: id of the better variant.
        worse: id of the worse one.
        source: where both are from.
        tied: whether both were judged equally good.
    """

    case: Case
    better: str
    worse: str
    source: str
    tied: bool = False


@dataclass
class Variants:
    """Everything that is scored, and what is compared with what.

    Attributes:
        samples: one a clip to score, with its prompts; ids are unique.
        pairs: of their ids.
        cases: of the pairs, in the order of tables.
        never_made: case to why a pair was not made, and how often.
        originals: ids of the good clips as they are, each once.
    """

    samples: list[Sample] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    never_made: dict[Case, Counter[str]] = field(default_factory=dict)
    originals: list[str] = field(default_factory=list)


def check_plan(suite: Suite, options: ScoringOptions) -> ScorePlan:
    """What will be scored, before any work.

    Raises:
        UsageError: an unknown metric, more than one protocol, or no metric that could be tested here.
    """
    if len(options.protocols) > 1:
        raise UsageError(f"A trial has one protocol; got {', '.join(options.protocols)}.")
    plan = plan_scoring(suite, _with_reference(suite, options))
    part = plan.parts[0]
    testable = [m for m, metric in part.sample_metrics.items() if metric.card.higher_is_better is not None]
    if not testable and not part.set_metrics:
        reasons = sorted({cell.note or cell.status for cell in part.unavailable.values()})
        told = "; ".join(reasons) or NO_DIRECTION
        raise UsageError(f"None of these metrics can be tested: {told.rstrip('.')}.")
    return plan


def _with_reference(suite: Suite, options: ScoringOptions) -> ScoringOptions:
    """The real side of set metrics is the good copies, where there are any."""
    return replace(options, reference="suite" if any(sample.path for sample in suite) else None)


def score_variants(
    variants: Variants, suite: Suite, options: ScoringOptions, plan: ScorePlan, folder: Path, progress: Progress
) -> StoredResult:
    """Score all variants into a run folder of their own.

    Args:
        variants: what to score.
        suite: for the setting and the name.
        options: how to score.
        plan: which metrics there will be.
        folder: of the run.
        progress: shown to the user.
    """
    from javisbench.suite import suite_hash

    own = replace(
        suite,
        name=f"{suite.name}-trial",
        samples=tuple(variants.samples),
        hash=suite_hash(variants.samples),
        total=len(variants.samples),
        columns={},
        warnings=(),
    )
    job = ScoringJob.prepare(None, own, out=folder, name="validate-metrics")
    # Without set metrics nobody reads the good copies once more.
    return job.score(replace(options, reference="suite" if plan.parts[0].set_metrics else None), progress)


def metric_trials(
    result: StoredResult, variants: Variants, seed: int, plan: ScorePlan
) -> tuple[tuple[MetricTrial, ...], dict[str, str]]:
    """What every metric sees, and why others were not tested."""
    from javisbench.metrics.registry import card_of

    missing = {m: cells[OVERALL].note or "" for m, cells in result.metrics.items() if cells[OVERALL].status in _ABSENT}
    scores = result.scores()
    assert scores is not None
    values = scores.set_index("sample_id")
    reasons = _Reasons([*result.failures, *result.not_applicable])
    found = []
    for metric, cells in result.metrics.items():
        card = card_of(metric)
        # A metric of another package that failed has no column.
        if card is None or (card.kind == "sample" and metric not in values):
            missing.setdefault(metric, cells[OVERALL].note or "")
        if card is None or metric in missing:
            continue
        if card.kind == "sample" and card.higher_is_better is None:
            missing[metric] = NO_DIRECTION
        elif card.kind == "sample":
            column = dict(zip(values.index, values[metric].to_numpy(dtype=float), strict=True))
            cases = [_values(case, pairs, column, reasons, metric, variants) for case, pairs in _by_case(variants)]
            clipped = plan.parts[0].sample_metrics[metric].mean_range
            found.append(MetricTrial(metric, sample_effects(card, cases, seed=seed, mean_range=clipped)))
    sets, failed = _set_trials(result, variants, seed, plan, reasons, missing)
    return ordered([*found, *sets]), missing | failed


_ABSENT = ("missing_weights", "missing_reference", "not_applicable")


def _by_case(variants: Variants) -> Iterable[tuple[Case, list[Pair]]]:
    """The pairs of each case; a case of which no pair could be made has none."""
    found: dict[Case, list[Pair]] = {case: [] for case in variants.cases}
    for pair in variants.pairs:
        found[pair.case].append(pair)
    return found.items()


class _Reasons:
    """Why a variant has no value of a metric."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        self._of: dict[tuple[str, str | None], Failure] = {(f.sample_id, f.metric): f for f in failures}
        self._words: dict[str, str] = {}

    def __call__(self, variant: str, metric: str) -> str:
        failure = self._of.get((variant, metric)) or self._of.get((variant, None))
        if failure is None:
            return "no value"
        # Messages may name a file or a number: the first one stands for all of its kind.
        return self._words.setdefault(failure.kind, failure.message)


def _lacking(reasons: Iterable[str], never_made: Mapping[str, int]) -> dict[str, int]:
    counts = Counter(reasons) + Counter(never_made)
    shown = dict(counts.most_common(_REASONS_SHOWN))
    rest = sum(counts.values()) - sum(shown.values())
    return shown | ({"other reasons": rest} if rest else {})


def _values(
    case: Case,
    pairs: Sequence[Pair],
    column: Mapping[str, float],
    reasons: _Reasons,
    metric: str,
    variants: Variants,
) -> PairValues:
    import numpy as np

    better, worse = (
        np.array([column.get(getattr(pair, side), np.nan) for pair in pairs], dtype=np.float64)
        for side in ("better", "worse")
    )
    absent = [
        reasons(pair.worse if np.isnan(second) else pair.better, metric)
        for pair, first, second in zip(pairs, better, worse, strict=True)
        if np.isnan(first) or np.isnan(second)
    ]
    return PairValues(
        case,
        better,
        worse,
        _codes([pair.source for pair in pairs]),
        np.array([pair.tied for pair in pairs], dtype=bool),
        _lacking(absent, variants.never_made.get(case, {})),
    )


def _codes(names: Sequence[str]) -> NDArray[np.int64]:
    import numpy as np

    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([places[name] for name in names], dtype=np.int64)


def _set_trials(
    result: StoredResult,
    variants: Variants,
    seed: int,
    plan: ScorePlan,
    reasons: _Reasons,
    missing: Mapping[str, str],
) -> tuple[list[MetricTrial], dict[str, str]]:
    from javisbench.results.set_features import rows_by_metric

    assert result.folder is not None
    rows_of = rows_by_metric(result.folder)
    found, failed = [], {}
    part = plan.parts[0]
    for metric_id, metric in part.set_metrics.items():
        if metric_id in missing:
            continue
        if metric_id not in rows_of or not variants.originals:
            failed[metric_id] = "no clip has features" if variants.originals else "judged pairs are no sets"
            continue
        rows = rows_of[metric_id]
        place = {sample_id: row for row, sample_id in enumerate(rows.sample_ids)}
        own = _rows_of(variants.originals, place)
        cases = [_set_case(case, pairs, place, reasons, metric_id, variants) for case, pairs in _by_case(variants)]
        try:
            effects = set_effects(metric, *_sides(rows), own, cases, part.protocol, seed=seed)
        except MetricError as error:
            failed[metric_id] = error.message
            continue
        found.append(MetricTrial(metric_id, effects))
    return found, failed


def _sides(rows: SetRows) -> tuple[NDArray[Any], NDArray[Any]]:
    return rows.fake, rows.real


def _rows_of(names: Iterable[str], place: Mapping[str, int]) -> NDArray[np.int64]:
    import numpy as np

    return np.array([place[name] for name in names if name in place], dtype=np.int64)


def _set_case(
    case: Case,
    pairs: Sequence[Pair],
    place: Mapping[str, int],
    reasons: _Reasons,
    metric: str,
    variants: Variants,
) -> SetCase:
    never = variants.never_made.get(case, Counter())
    absent = [reasons(pair.worse, metric) for pair in pairs if pair.worse not in place]
    rows = _rows_of([pair.worse for pair in pairs], place)
    return SetCase(case, rows, len(pairs) + sum(never.values()), _lacking(absent, never))
