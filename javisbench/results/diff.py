"""Two results on one suite: what differs in how they were made, which clips, which values, and which samples moved."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from javisbench.errors import UsageError
from javisbench.results.cell import EMPTY, OVERALL, Cell
from javisbench.results.clip_hashes import clip_hashes
from javisbench.results.differences import Cause, Deviation, causes, differing, facts_of, unknown_topics
from javisbench.results.table import metric_order
from javisbench.stats import Difference, paired_difference

if TYPE_CHECKING:
    import pandas as pd

    from javisbench.results.run_folder import StoredResult

Change: TypeAlias = Literal["differs", "only in A", "only in B"]
MOST_MOVED = 5
"""Samples a metric that are named."""


@dataclass(frozen=True)
class Value:
    """One metric, over all samples.

    Attributes:
        metric: id.
        a: in the first result; without value where it has none.
        b: in the second.
        difference: b - a, of the samples that both have where the scores are there, with interval and p-value; else of
            the two values.
    """

    metric: str
    a: Cell
    b: Cell
    difference: Difference

    @property
    def size(self) -> float:
        """How far the values lie apart, or the samples that both have: without some samples only the former may."""
        values = (self.a.value, self.b.value)
        apart = 0.0 if None in values else abs(values[1] - values[0])  # type: ignore[operator]
        return max(apart, abs(self.difference.value or 0.0))


@dataclass(frozen=True)
class Moved:
    """A sample whose value moved; `change` is b - a. One that has a value in one result alone has none in the other."""

    metric: str
    sample_id: str
    repeat: int
    a: float | None
    b: float | None
    change: float | None


@dataclass(frozen=True)
class ClipChange:
    """A file of clips that is not the same in both."""

    name: str
    what: Change


@dataclass(frozen=True)
class Diff:
    """All that differs.

    Attributes:
        a: model and protocol of the first.
        b: of the second.
        causes: differences in how they were made, the one that explains most first.
        values: metrics whose values differ.
        moved: by metric the samples that moved most, farthest first.
        moved_counts: metric id to how many samples moved.
        clips: files that differ.
        clips_compared: files that both have; None where the clips of one are not known.
        unknown: topics of which nothing is recorded in both, where values differ.
    """

    a: str
    b: str
    causes: tuple[Cause, ...]
    values: tuple[Value, ...]
    moved: tuple[Moved, ...]
    moved_counts: dict[str, int]
    clips: tuple[ClipChange, ...]
    clips_compared: int | None
    unknown: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.causes or self.values or self.moved or self.clips)

    def to_json(self) -> dict[str, Any]:
        """As ``diff --json`` prints it."""
        values = [
            {
                "metric": value.metric,
                "a": value.a.to_json(),
                "b": value.b.to_json(),
                "difference": value.difference.value,
                "ci_low": value.difference.ci_low,
                "ci_high": value.difference.ci_high,
                "n": value.difference.n,
                "p": value.difference.p_value,
            }
            for value in self.values
        ]
        return {
            "schema": 1,
            "a": self.a,
            "b": self.b,
            "empty": self.empty,
            "causes": [cause.to_json() for cause in self.causes],
            "values": values,
            "moved": [dataclasses.asdict(moved) for moved in self.moved],
            "moved_counts": self.moved_counts,
            "clips": [dataclasses.asdict(clip) for clip in self.clips],
            "clips_compared": self.clips_compared,
            "unknown": list(self.unknown),
        }


def diff(a: StoredResult, b: StoredResult) -> Diff:
    """What differs between two results.

    Raises:
        UsageError: they are of different suites.
        RunError: a table of one cannot be read.
    """
    if a.suite != b.suite:
        raise UsageError(
            f"{a.path} was scored on the suite {a.suite}, {b.path} on {b.suite}: nothing can be compared. Score both "
            f"on one suite."
        )
    first, second = facts_of(a), facts_of(b)
    frames = a.scores(), b.scores()
    values = tuple(_values(a, b, frames))
    deviations = [Deviation(value.metric, value.a.value, value.size) for value in values if value.a.value is not None]
    moved = {metric: _moved(frames, metric) for metric in _common_columns(frames)}
    clips, compared = _clips(a, b)
    metrics = {value.metric for value in values}
    unknown = tuple(topic.title for topic in unknown_topics(first, second, metrics)) if values else ()
    return Diff(
        f"{a.model}, {a.protocol_label}",
        f"{b.model}, {b.protocol_label}",
        causes(differing(first, second), deviations),
        values,
        tuple(found for rows in moved.values() for found in rows[:MOST_MOVED]),
        {metric: len(rows) for metric, rows in moved.items() if rows},
        clips,
        compared,
        unknown,
    )


Frames: TypeAlias = "tuple[pd.DataFrame | None, pd.DataFrame | None]"


def _values(a: StoredResult, b: StoredResult, frames: Frames) -> Iterator[Value]:
    for metric in metric_order({*a.metrics, *b.metrics}):
        first = a.metrics.get(metric, {}).get(OVERALL, EMPTY)
        second = b.metrics.get(metric, {}).get(OVERALL, EMPTY)
        if (first.value, first.n) != (second.value, second.n):
            yield Value(metric, first, second, _difference(frames, metric, first, second))


def _difference(frames: Frames, metric: str, first: Cell, second: Cell) -> Difference:
    if metric in _common_columns(frames):
        import numpy as np
        import pandas as pd

        from javisbench.metrics.registry import sample_metric

        joined = _joined(frames, metric).dropna()
        if len(joined) > 1:
            codes, _ = pd.factorize(joined["sample_id"])
            # As they are averaged and compared, so that the difference is that of the values beside it.
            made, sides = sample_metric(metric), joined[["b", "a"]].to_numpy(np.float64)
            sides = sides if made is None else made.for_mean(sides)
            return paired_difference(sides[:, 0], sides[:, 1], codes.astype(np.int64))
    if first.value is None or second.value is None:
        return Difference(None, 0)
    return Difference(second.value - first.value, min(first.n, second.n))


def _common_columns(frames: Frames) -> list[str]:
    if frames[0] is None or frames[1] is None:
        return []
    columns = set(frames[0].columns) & set(frames[1].columns) - {"sample_id", "repeat"}
    return metric_order(columns)


def _joined(frames: Frames, metric: str) -> pd.DataFrame:
    """Rows of samples that both have: ``sample_id``, ``repeat``, ``a``, ``b``, NaN where one has no value."""
    first, second = frames
    assert first is not None and second is not None
    keys = ["sample_id", "repeat"]
    sides = [side[[*keys, metric]] for side in (first, second)]
    joined = sides[0].rename(columns={metric: "a"}).merge(sides[1].rename(columns={metric: "b"}), on=keys, how="inner")
    return joined.astype({"a": "float64", "b": "float64"})


def _moved(frames: Frames, metric: str) -> list[Moved]:
    """Samples that moved, the farthest first; those with a value in one result alone come before."""
    joined = _joined(frames, metric)
    a, b = joined["a"], joined["b"]
    joined = joined[(a != b) & ~(a.isna() & b.isna())]
    rows = [
        Moved(metric, str(sample_id), int(repeat), _present(x), _present(y), _present(y - x))
        for sample_id, repeat, x, y in zip(joined["sample_id"], joined["repeat"], joined["a"], joined["b"], strict=True)
    ]
    return sorted(rows, key=lambda row: (row.change is not None, -abs(row.change or 0.0), row.sample_id, row.repeat))


def _present(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _clips(a: StoredResult, b: StoredResult) -> tuple[tuple[ClipChange, ...], int | None]:
    if a.clips is not None and b.clips is not None and a.clips.resolve() == b.clips.resolve():
        return (), sum(1 for path in a.clips.iterdir() if path.is_file())
    first, second = clip_hashes(a), clip_hashes(b)
    if not first or not second:
        return (), None
    return tuple(_changes(first, second)), len(first.keys() & second.keys())


def _changes(first: dict[str, str], second: dict[str, str]) -> Sequence[ClipChange]:
    found = []
    for name in sorted(first.keys() | second.keys()):
        if name not in second:
            found.append(ClipChange(name, "only in A"))
        elif name not in first:
            found.append(ClipChange(name, "only in B"))
        elif first[name] != second[name]:
            found.append(ClipChange(name, "differs"))
    return found
