"""Two results side by side: paired differences, which of them are real, and why the numbers may differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from javisbench.errors import UsageError
from javisbench.results.cell import OVERALL
from javisbench.results.run_folder import Result
from javisbench.results.table import aspects_of, chosen_aspects, column, metric_order, slice_title
from javisbench.stats import Difference, difference, holm, paired_difference
from javisbench.taxonomy import ASPECTS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from javisbench.metrics.base import SetMetric
    from javisbench.metrics.distance import Distance
    from javisbench.results.set_features import SetRows

ALPHA = 0.05
_IGNORED_FACTS = (
    "model",
    "slug",
    "card",
    "created",
    "audio",
    "samples",
    "prompts",
    "clips",
    "first_protocol",
    "aspects",
)


@dataclass(frozen=True)
class Row:
    """One metric on one slice.

    Attributes:
        metric: id.
        slice: ``overall`` or ``aspect/category``.
        a: value of the first result on the samples that both have.
        b: value of the second.
        difference: a - b with its interval and unadjusted p-value.
        p_adjusted: Holm-adjusted over all rows of the comparison; None where no test can be made.
        better: ``a`` or ``b`` when the difference is significant and the metric has a direction, else None.
    """

    metric: str
    slice: str
    a: float | None
    b: float | None
    difference: Difference
    p_adjusted: float | None
    better: str | None


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
                "better": row.better,
                "note": row.difference.note,
            }
            for row in self.rows
        ]
        return {
            "schema": 1,
            "a": self.a,
            "b": self.b,
            "comparable": self.comparable,
            "differences": list(self.differences),
            "rows": rows,
        }


def compare(a: Result, b: Result, slice_by: Sequence[str] | None = None) -> Comparison:
    """Paired differences of two results on the samples that both have.

    The same sample is the same prompt: where the suites differ, samples whose prompt changed are left out.

    Per-sample metrics: cluster-robust t interval over prompts. Set metrics: recomputed on the common samples from
    the stored rows, with the interval of the paired influences (none where n is too small for one). All rows are one
    family for Holm's adjustment.

    Args:
        a: the first result.
        b: the second.
        slice_by: columns of the suite whose slices are compared, and no others; None for all slices that both have.

    Raises:
        UsageError: different suites, protocols or revisions of one; no sample or no metric in common; or the results
            were not sliced by these columns.
    """
    refuse_unlike(a, b)
    differences = tuple(explain(a, b))
    wanted = chosen_aspects([a, b], slice_by)
    ground = _Ground.of(a, b, wanted)
    pairs = [*_sample_pairs(a, b, ground), *_set_pairs(a, b, ground)]
    if not pairs:
        raise UsageError(f"{a.path} and {b.path} have no metric with a value for the same samples.")
    adjusted = holm([float("nan") if p.difference.p_value is None else p.difference.p_value for p in pairs])
    rows = [_row(pair, float(p)) for pair, p in zip(pairs, adjusted, strict=True)]
    order = {metric: place for place, metric in enumerate(metric_order(row.metric for row in rows))}
    rows.sort(key=lambda row: (order[row.metric], row.slice != OVERALL))
    comparable = a.stand_in == b.stand_in and not _weights_differ(a, b)
    aspects = aspects_of([a, b])
    titles = {row.slice: slice_title(row.slice, aspects) for row in rows}
    return Comparison(a.model, b.model, tuple(rows), differences, comparable, titles)


def refuse_unlike(a: Result, b: Result) -> None:
    """Refuse two results whose difference would not be the models' alone, before anything is computed.

    Raises:
        UsageError: different suites, protocols or revisions of a protocol, by name.
    """
    if a.suite != b.suite:
        raise UsageError(
            f"{a.model} was scored on the suite {a.suite}, {b.model} on {b.suite}: nothing can be compared. Score both "
            "on one suite."
        )
    if a.protocol_label != b.protocol_label:
        raise UsageError(
            f"{a.model} was scored under {a.protocol_label}, {b.model} under {b.protocol_label}: a difference would "
            f"not be the models' alone. Score both in one way: javisbench score RUN --protocol {b.protocol}."
        )


@dataclass(frozen=True)
class _Ground:
    """What two results have in common.

    Attributes:
        changed: ids that stand for different prompts in both.
        members: category to the ids that both results have in it.
    """

    changed: frozenset[str]
    members: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, a: Result, b: Result, aspects: frozenset[str] | None = None) -> _Ground:
        """What they share; of `aspects` alone, where some are named."""
        first, second = a.samples_by_id(), b.samples_by_id()
        changed: frozenset[str] = frozenset()
        if a.suite_hash != b.suite_hash:
            if not first or not second:
                raise UsageError(
                    f"{a.model} and {b.model} were scored on different suites or revisions of one, and the prompts of "
                    "one of them are not known here, so that their common samples are not known either. Score both "
                    "on one suite."
                )
            changed = frozenset(i for i in first.keys() & second.keys() if first[i].text != second[i].text)
        members: dict[str, set[str]] = {}
        for sample_id in first.keys() | second.keys():
            known = [(result, infos[sample_id]) for result, infos in ((a, first), (b, second)) if sample_id in infos]
            for name in {name for _, info in known for name in info.categories}:
                aspect = name.partition("/")[0]
                # Of the same prompts, one result may be sliced by a column and the other not.
                told = [name in info.categories for result, info in known if _knows(result, aspect)]
                if told and all(told) and (aspects is None or aspect in aspects):
                    members.setdefault(name, set()).add(sample_id)
        return cls(changed, {name: frozenset(ids) for name, ids in members.items()})


def _knows(result: Result, aspect: str) -> bool:
    """Whether the result says of its samples which categories of this aspect they are in."""
    return aspect in ASPECTS or any(own.id == aspect for own in result.own_aspects)


@dataclass(frozen=True)
class _Pair:
    metric: str
    slice: str
    a: float | None
    b: float | None
    difference: Difference


def _row(pair: _Pair, p: float) -> Row:
    import math

    tested = not math.isnan(p)
    better = None
    higher = column(pair.metric).higher_is_better
    if tested and p <= ALPHA and higher is not None and pair.difference.value:
        better = "a" if (pair.difference.value > 0) == higher else "b"
    return Row(pair.metric, pair.slice, pair.a, pair.b, pair.difference, p if tested else None, better)


def _sample_pairs(a: Result, b: Result, ground: _Ground) -> Iterator[_Pair]:
    first, second = a.scores(), b.scores()
    if first is None or second is None:
        return
    keys = ["sample_id", "repeat"]
    joined = first.merge(second, on=keys, suffixes=("_a", "_b"))
    joined = joined[~joined["sample_id"].isin(ground.changed)].sort_values(keys)
    for metric in (name for name in first.columns if name not in keys and name in second.columns):
        values = joined[[*keys, f"{metric}_a", f"{metric}_b"]].dropna()
        for name, rows in _slices(values["sample_id"], ground.members).items():
            if len(rows):
                yield _sample_pair(metric, name, values.iloc[rows])


def _sample_pair(metric: str, name: str, values: pd.DataFrame) -> _Pair:
    import numpy as np

    first, second = (values[f"{metric}_{side}"].to_numpy(dtype=np.float64) for side in "ab")
    _, clusters = np.unique(values["sample_id"].to_numpy(dtype=str), return_inverse=True)
    found = paired_difference(first, second, clusters)
    known = found.value is not None
    return _Pair(metric, name, float(first.mean()) if known else None, float(second.mean()) if known else None, found)


def _slices(sample_ids: Any, members: Mapping[str, frozenset[str]]) -> dict[str, NDArray[np.intp]]:
    import numpy as np

    ids = np.asarray(list(sample_ids), dtype=object)
    slices = {OVERALL: np.arange(len(ids))}
    for name, inside in sorted(members.items()):
        slices[name] = np.flatnonzero([sample_id in inside for sample_id in ids])
    return slices


def _set_pairs(a: Result, b: Result, ground: _Ground) -> Iterator[_Pair]:
    from javisbench.metrics.registry import set_metric
    from javisbench.results.set_distances import protocol_of, set_distances
    from javisbench.results.set_features import rows_by_metric

    if a.folder is None or b.folder is None:
        return
    first, second = rows_by_metric(a.folder), rows_by_metric(b.folder)
    for name in metric_order(first.keys() & second.keys()):
        metric, x, y = set_metric(name), first[name], second[name]
        both = set(y.sample_ids) - ground.changed
        common = sorted(both.intersection(x.sample_ids))
        if metric is None or len(common) < 2:
            continue
        slices = {part: rows for part, rows in _slices(common, ground.members).items() if len(rows) >= 2}
        left = set_distances(metric, _taken(x, common), slices, protocol_of(a))
        right = set_distances(metric, _taken(y, common), slices, protocol_of(b))
        for part in slices:
            yield _set_pair(name, part, metric, left[part], right[part])


def _taken(rows: SetRows, ids: list[str]) -> SetRows:
    place = {sample_id: i for i, sample_id in enumerate(rows.sample_ids)}
    taken = [place[sample_id] for sample_id in ids]
    return replace(rows, sample_ids=tuple(ids), fake=rows.fake[taken], real=rows.real[taken])


def _set_pair(name: str, part: str, metric: SetMetric, a: Distance, b: Distance) -> _Pair:
    n = a.n_fake
    worse = next((found for found in (a, b) if not metric.ranks(found)), None)
    if a.value is None or b.value is None:
        status, note = (worse.status, worse.note) if worse is not None else ("failed", None)
        return _Pair(name, part, a.value, b.value, Difference(None, n, status=status, note=note))
    gap = a.value - b.value
    if worse is not None or a.influences is None or b.influences is None:
        told = worse or a
        return _Pair(name, part, a.value, b.value, Difference(gap, n, status=told.status, note=told.note))
    return _Pair(name, part, a.value, b.value, difference(gap, a.influences - b.influences, level=0.95))


def _weights_differ(a: Result, b: Result) -> bool:
    first, second = a.run.get("encoders") or {}, b.run.get("encoders") or {}
    return any(first[name] != second[name] for name in first.keys() & second.keys())


def explain(a: Result, b: Result) -> Iterator[str]:
    """Every difference in how two results were made: protocol, settings, weights, suite, samples, versions."""
    first, second = _flat(_facts(a)), _flat(_facts(b))
    for name in sorted(first.keys() | second.keys()):
        if first.get(name) != second.get(name):
            yield f"{name}: {_shown(first.get(name))} / {_shown(second.get(name))}"
    frames = [frame for frame in (a.scores(), b.scores()) if frame is not None]
    if len(frames) == 2:
        ids = [set(zip(frame["sample_id"], frame["repeat"], strict=True)) for frame in frames]
        for label, only in ((a.model, ids[0] - ids[1]), (b.model, ids[1] - ids[0])):
            if only:
                yield f"samples: {len(only)} only in {label}, such as {min(only)[0]}"
    changed = len(_Ground.of(a, b).changed)
    if changed:
        yield f"prompts: {changed} samples of both have another prompt and are left out"
    for name in ("sidecar", "container", "none"):
        counts = a.audio.get(name, 0), b.audio.get(name, 0)
        if counts[0] != counts[1]:
            yield f"audio from {name}: {counts[0]} / {counts[1]} clips"


def _facts(result: Result) -> dict[str, Any]:
    facts = {name: value for name, value in result.run.items() if name not in _IGNORED_FACTS}
    if result.folder is not None:
        manifest = result.manifest
        facts["generation"] = manifest.get("generation")
        facts["generation model"] = manifest.get("model", {}).get("identity")
        facts["generation files"] = manifest.get("model", {}).get("weights")
        scoring = manifest.get("scoring") or {}
        facts["scoring"] = {name: value for name, value in scoring.items() if name not in _IGNORED_FACTS}
    return facts


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {
            k: v for key, inner in value.items() for k, v in _flat(inner, f"{name}.{key}" if name else str(key)).items()
        }
    return {name: value}


def _shown(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
