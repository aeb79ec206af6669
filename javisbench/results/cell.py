"""A value with all that must be said about it: its n, its interval, its status, and how it compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from javisbench.stats import Estimate, Status

Place: TypeAlias = Literal["best", "second"]

OVERALL = "overall"
NOT_APPLICABLE = "not_applicable"
"""The stage of a row of failures that is none: the metric does not apply to the clip."""
NOT_COUNTED = {"not_counted": "that the protocol does not count"}
"""The kind of such rows where a protocol says so, for any metric, and what such clips are."""


def slice_name(aspect: str, category: str) -> str:
    """Name of a slice in flat mappings."""
    return f"{aspect}/{category}"


STATUSES: tuple[Status, ...] = get_args(Status)
STATUS_TEXT: Mapping[str, str] = {
    "small_n": "–",
    "biased": "–",
    "not_applicable": "–",
    "missing_weights": "no weights",
    "missing_reference": "no reference",
    "failed": "failed",
}
"""What stands in a cell without a value."""
STATUS_REASON: Mapping[str, str] = {
    "not_applicable": "not applicable",
    "missing_weights": "no weights",
    "missing_reference": "no reference",
    "failed": "failed",
}
"""Why a metric has no value at all, where it is not for want of samples."""
STATUS_MARK: Mapping[str, str] = {"small_n": "‡", "biased": "†"}
"""What follows a cell's value (or dash) with this status; the footnote explains it."""
STATUS_NOTE: Mapping[str, str] = {
    "small_n": "‡ Too few samples for this measure.",
    "biased": "† Biased: too few samples for this distance (of Fréchet distances, fewer than twice the feature width), "
    "so no interval and no rank.",
    "not_applicable": "– Not applicable, or no samples.",
    "missing_weights": "no weights: the metric's weights are not on this machine.",
    "missing_reference": "no reference: the metric needs real clips to compare with (--reference).",
    "failed": "failed: no value could be computed; the failures say why.",
}


@dataclass(frozen=True)
class Cell(Estimate):
    """One value.

    Attributes:
        value: None where there is none; `status` says why. Never NaN.
        n: samples behind the value.
        ci_low: lower end of the 95 % interval, or None.
        ci_high: upper end, or None.
        status: as in summary.json.
        note: a sentence about this cell, or None.
        rank: best and worst rank that the data allow, 1 being the best; None when not ranked.
        place: whether the value is the best or second best of those that it can be compared with.
        not_applicable: clips of the slice that the metric does not apply to, besides the `n` that it does.
        facts: what the clips show besides, by name (`javisbench.metrics.base.SampleMetric.facts`); overall alone.
        comparable: False for a value whose n, or the weights behind it, differ from those of the others of its group.
    """

    value: float | None = None
    n: int = 0
    ci_low: float | None = None
    ci_high: float | None = None
    status: Status = "ok"
    note: str | None = None
    rank: tuple[int, int] | None = None
    place: Place | None = None
    comparable: bool = True
    not_applicable: int = 0
    facts: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Estimate) -> Cell:
        """What a statistic or a set metric found."""
        return cls(found.value, found.n, found.ci_low, found.ci_high, found.status, found.note)

    def to_json(self) -> dict[str, Any]:
        """As summary.json holds it; what a table adds (rank, place) is left out."""
        names = ("value", "n", "ci_low", "ci_high", "status", *(("note",) if self.note else ()))
        told: dict[str, Any] = {name: getattr(self, name) for name in names}
        if self.not_applicable:
            told["not_applicable"] = self.not_applicable
        return {**told, "facts": dict(self.facts)} if self.facts else told


EMPTY = Cell(status="not_applicable")
