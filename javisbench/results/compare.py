"""Two results side by side: their verdicts, what such a comparison can show, and why the numbers may differ."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from javisbench.errors import UsageError
from javisbench.protocol import headline_of
from javisbench.results.cell import OVERALL
from javisbench.results.differences import differing, made_with
from javisbench.results.power import prompts_needed, smallest_difference
from javisbench.results.table import Column, aspects_of, chosen_aspects, column, metric_order, slice_title
from javisbench.results.verdicts import Judge, Verdict, Verdicts
from javisbench.stats import Difference, holm

if TYPE_CHECKING:
    from javisbench.results.run_folder import StoredResult


@dataclass(frozen=True)
class Row:
    """One metric on one slice.

    Attributes:
        metric: id.
        slice: ``overall`` or ``aspect/category``.
        a: value of the first result on the samples that both have.
        b: value of the second.
        difference: a - b with its interval and unadjusted p-value.
        p_adjusted: Holm-adjusted over the pairs of the models that were judged together (two alone: one); None where no
            test can be made.
        better: ``a`` or ``b`` when the difference is significant and the metric has a direction, else None.
        p_headline: Holm-adjusted over the headline metrics of the protocol, overall; None for other rows.
        smallest: the smallest true difference that is found in 80 of 100 cases at this n; None where nothing is tested.
        prompts_needed: prompts that the difference asked about needs to be found as often; None where nothing was
            asked, or more than a thousand millions.
    """

    metric: str
    slice: str
    a: float | None
    b: float | None
    difference: Difference
    p_adjusted: float | None
    better: str | None
    p_headline: float | None = None
    smallest: float | None = None
    prompts_needed: int | None = None


@dataclass(frozen=True)
class Check:
    """A check of clips: how many of each result have the fault, of those that both have.

    Attributes:
        metric: id.
        slice: ``overall`` or ``aspect/category``.
        word: what these clips are (``mostly silent``).
        a: of the first result.
        b: of the second.
        n: clips that both have.
    """

    metric: str
    slice: str
    word: str
    a: int
    b: int
    n: int


@dataclass(frozen=True)
class Comparison:
    """All rows, and everything that makes the two results differ besides the models."""

    a: str
    b: str
    rows: tuple[Row, ...]
    differences: tuple[str, ...]
    comparable: bool
    titles: Mapping[str, str] = field(default_factory=dict)
    """How each slice is called."""
    checks: tuple[Check, ...] = ()
    detect: float | None = None
    """The difference that was asked about."""
    columns: Mapping[str, Column] = field(default_factory=dict)
    """How each metric of the rows is shown."""

    @property
    def scores(self) -> tuple[Row, ...]:
        """The rows of metrics that are scores; those of checks are counted in `checks`."""
        counted = {check.metric for check in self.checks}
        return tuple(row for row in self.rows if row.metric not in counted)

    def to_json(self) -> dict[str, Any]:
        """As ``compare --json`` prints it."""
        rows = [
            {
                "metric": row.metric,
                "slice": row.slice,
                "title": self.titles.get(row.slice, row.slice),
                "a": row.a,
                "b": row.b,
                "difference": row.difference.value,
                "ci_low": row.difference.ci_low,
                "ci_high": row.difference.ci_high,
                "n": row.difference.n,
                "p": row.difference.p_value,
                "p_adjusted": row.p_adjusted,
                "p_headline": row.p_headline,
                "better": row.better,
                "smallest_difference": row.smallest,
                "prompts_needed": row.prompts_needed,
                "note": row.difference.note,
            }
            for row in self.rows
        ]
        return {
            "schema": 1,
            "a": self.a,
            "b": self.b,
            "comparable": self.comparable,
            "detect": self.detect,
            "differences": list(self.differences),
            "rows": rows,
            "checks": [dataclasses.asdict(check) for check in self.checks],
        }


def compare(
    a: StoredResult,
    b: StoredResult,
    slice_by: Sequence[str] | None = None,
    *,
    detect: float | None = None,
    judge: Judge | None = None,
) -> Comparison:
    """The verdicts on two results, on the samples that both have: what a board of the two says.

    The same sample is the same prompt: where the suite has another revision, samples whose prompt changed are left out.

    Per-sample metrics: cluster-robust t interval over prompts. Set metrics: recomputed on the common samples from
    the stored rows, with the interval of the paired influences (none where n is too small for one). Each row is a
    verdict of its own; the headline metrics of the protocol, overall, also get p-values adjusted over them together.
    Checks of clips are counted and not tested.

    Args:
        a: the first result.
        b: the second.
        slice_by: columns of the suite whose slices are compared, and no others; None for all slices that both have.
        detect: a difference, in each metric's own unit, of which is said how many prompts it needs.
        judge: one that has read the results already; its aspects are those that are compared.

    Raises:
        UsageError: different suites, protocols or revisions of one; no sample or no metric in common; or the results
            were not sliced by these columns.
    """
    refuse_unlike(a, b)
    if detect is not None and not 0 < abs(detect) < math.inf:
        raise UsageError(f"A difference to detect is a number other than 0; got {detect}.")
    judge = judge or Judge(chosen_aspects([a, b], slice_by))
    differences = tuple(_explained(a, b, judge))
    metrics = metric_order(judge.metrics([a, b]))
    rows = [row for metric in metrics for row in _rows(judge, a, b, metric, detect)]
    checks = tuple(check for metric in metrics for check in _checks(judge, a, b, metric))
    if not rows:
        raise UsageError(f"{a.path} and {b.path} have no metric with a value for the same samples.")
    rows = with_headline(rows, a.protocol)
    comparable = a.stand_in == b.stand_in and not _weights_differ(a, b)
    aspects = aspects_of([a, b])
    titles = {row.slice: slice_title(row.slice, aspects) for row in rows}
    columns = {metric: column(metric, [a, b]) for metric in dict.fromkeys(row.metric for row in rows)}
    return Comparison(a.model, b.model, tuple(rows), differences, comparable, titles, checks, detect, columns)


def _rows(judge: Judge, a: StoredResult, b: StoredResult, metric: str, detect: float | None) -> Iterator[Row]:
    for name in judge.slices([a, b]):
        found = judge([a, b], metric, name)
        if not found.n:
            continue
        row = verdict_row(found, detect=detect)
        weighted = judge.weighted([a, b], metric, name) if name == OVERALL else None
        yield row if weighted is None else replace(row, difference=_beside(row.difference, metric, weighted.pair()))


def verdict_row(found: Verdicts, first: int = 0, second: int = 1, detect: float | None = None) -> Row:
    """The row of two of the models that were judged together, by their places.

    Args:
        found: of `javisbench.results.verdicts.Judge`.
        first: whose value comes first.
        second: whose value is taken from it.
        detect: as for `compare`.
    """
    verdict = found.pair(first, second)
    smallest = needed = None
    if verdict.error is not None:
        smallest = smallest_difference(verdict.error, verdict.prompts)
        needed = None if detect is None else prompts_needed(detect, verdict.error, verdict.prompts)
    return Row(
        found.metric,
        found.slice,
        found.values[first],
        found.values[second],
        verdict.difference,
        verdict.p_adjusted,
        verdict.better,
        smallest=smallest,
        prompts_needed=needed,
    )


def _beside(found: Difference, metric: str, weighted: Verdict) -> Difference:
    """A difference with a note on that of the weighted means."""
    gap, adjusted = weighted.difference, weighted.p_adjusted
    if gap.value is None or adjusted is None:
        return found
    title = column(metric).title
    told = f"{title}, clips weighted by how much they can tell: difference {gap.value:+.2f}, {_p(adjusted)}"
    return replace(found, note=told if found.note is None else f"{found.note}; {told}")


def _checks(judge: Judge, a: StoredResult, b: StoredResult, metric: str) -> Iterator[Check]:
    from javisbench.metrics.registry import fault_of

    fault = fault_of(metric)
    for name in () if fault is None else judge.slices([a, b]):
        scores = judge.common_scores([a, b], metric, name)
        if fault is not None and len(scores):
            first, second = (fault.count(side) for side in scores.T)
            yield Check(metric, name, fault.word, first, second, len(scores))


def with_headline(rows: Sequence[Row], protocol: str) -> list[Row]:
    """The rows of two models with p-values adjusted over the headline metrics of their protocol, overall."""
    rows = list(rows)
    headline = headline_of(protocol)
    family = [
        place
        for place, row in enumerate(rows)
        if row.slice == OVERALL and row.metric in headline and row.difference.p_value is not None
    ]
    for place, p in zip(family, holm([rows[place].difference.p_value or 0.0 for place in family]), strict=True):
        rows[place] = replace(rows[place], p_headline=float(p))
    return rows


def refuse_unlike(a: StoredResult, b: StoredResult) -> None:
    """Refuse two results whose difference would not be the models' alone, before anything is computed.

    Raises:
        UsageError: different suites, tasks, given files, protocols or revisions of a protocol, by name.
    """
    if a.suite != b.suite:
        raise UsageError(
            f"{a.model} was scored on the suite {a.suite}, {b.model} on {b.suite}: nothing can be compared. Score both "
            "on one suite."
        )
    if a.task != b.task:
        raise UsageError(
            f"{a.suite} was a suite of {a.task} for {a.model} and of {b.task} for {b.model}, which made "
            "something else. Score both over one suite."
        )
    # Over a part of the suite, the given files are fewer, and not for that others.
    same_part = (a.suite_hash, a.run.get("prompts")) == (b.suite_hash, b.run.get("prompts"))
    if same_part and a.given != b.given:
        raise UsageError(
            f"What {a.suite} gives had other contents for {a.model} than for {b.model}: a difference would not be the "
            f"models' alone. Score both over the same files."
        )
    if a.protocol_label != b.protocol_label:
        raise UsageError(
            f"{a.model} was scored under {a.protocol_label}, {b.model} under {b.protocol_label}: a difference would "
            f"not be the models' alone. Score both in one way: javisbench score RUN --protocol {b.protocol}."
        )


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _weights_differ(a: StoredResult, b: StoredResult) -> bool:
    first, second = a.run.get("encoders") or {}, b.run.get("encoders") or {}
    return any(first[name] != second[name] for name in first.keys() & second.keys())


def explain(a: StoredResult, b: StoredResult) -> Iterator[str]:
    """Every difference in how two results were made: protocol, settings, weights, suite, samples, versions."""
    yield from _explained(a, b, Judge())


def _explained(a: StoredResult, b: StoredResult, judge: Judge) -> Iterator[str]:
    yield from (found.line for found in differing(made_with(a), made_with(b), absent=True))
    ids = [judge.clips(result) for result in (a, b)]
    if all(ids):
        for label, only in ((a.model, ids[0] - ids[1]), (b.model, ids[1] - ids[0])):
            if only:
                yield f"samples: {len(only)} only in {label}, such as {min(only)[0]}"
    changed = len(judge.ground([a, b]).changed)
    if changed:
        yield f"prompts: {changed} samples of both have another prompt and are left out"
    for name in ("sidecar", "container", "none"):
        counts = a.audio.get(name, 0), b.audio.get(name, 0)
        if counts[0] != counts[1]:
            yield f"audio from {name}: {counts[0]} / {counts[1]} clips"
