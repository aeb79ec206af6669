"""How far the samples without a value could move each score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from javisbench.errors import RunError
from javisbench.metrics.base import MetricCard
from javisbench.metrics.registry import METRICS, card_of
from javisbench.results.cell import OVERALL, Cell
from javisbench.results.run_folder import StoredResult, load_result

if TYPE_CHECKING:
    import pandas as pd

Basis = Literal["range", "observed", "none"]


@dataclass(frozen=True)
class Bound:
    """A score, and where it would be if all samples without a value had the lowest or the highest.

    Attributes:
        metric: its id.
        value: as measured; None without one.
        n: samples with a value.
        missing: samples without.
        low: with the lowest possible value for those; None where there is no saying.
        high: with the highest.
        basis: ``range``: the metric's own ends; ``observed``: at least one end is the most extreme value of this run,
            because the metric has no bound there; ``none``: no bounds.
        note: why there are none, else empty.
    """

    metric: str
    value: float | None
    n: int
    missing: int
    low: float | None
    high: float | None
    basis: Basis
    note: str = ""


def bounds_of_run(run: Path) -> list[Bound]:
    """Bounds of every metric of a scored run, over all samples.

    Raises:
        RunError: it was not scored.
    """
    result = load_result(run)
    scores = result.scores()
    if scores is None:
        raise RunError(f"There is no scores.parquet in {run}. Score it first: javisbench score.")
    return [
        _bound(metric_id, cells[OVERALL], result, scores)
        for metric_id, cells in result.metrics.items()
        if card_of(metric_id) is not None
    ]


def _bound(metric_id: str, cell: Cell, result: StoredResult, scores: pd.DataFrame) -> Bound:
    card = METRICS.get(metric_id).card
    # Distances look at one clip a prompt.
    prompts = result.run.get("prompts")
    planned = prompts if card.kind == "set" and isinstance(prompts, int) else result.samples
    value, n = cell.value, cell.n
    missing = planned - n

    def without(note: str) -> Bound:
        return Bound(metric_id, value, n, missing, None, None, "none", note)

    if value is None:
        return without(cell.note or cell.status)
    if card.kind == "set":
        return without("a distance between sets has no value a sample; compare it only at equal n")
    if metric_id not in scores or planned < 1:
        return without("the run holds no value a sample")
    low, high, basis = _ends(card, scores[metric_id])
    ends = [(n * value + missing * end) / planned for end in (low, high)]
    return Bound(metric_id, value, n, missing, ends[0], ends[1], basis)


def _ends(card: MetricCard, column: pd.Series[float]) -> tuple[float, float, Basis]:
    low, high = card.value_range
    basis: Basis = "observed" if low is None or high is None else "range"
    return (
        float(column.min()) if low is None else low,
        float(column.max()) if high is None else high,
        basis,
    )
