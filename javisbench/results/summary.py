"""From per-sample scores to values, counts and intervals, overall and for every category."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

from javisbench.results.cell import OVERALL, Cell, slice_name
from javisbench.stats import slice_means

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.matching import Item
    from javisbench.metrics.base import SampleMetric
    from javisbench.suite import Suite

DetailsOf = Callable[[int], Mapping[str, Sequence[float]]]
"""From the position of an item to what a metric told of its clip besides the score; empty for nothing."""


def positions(suite: Suite, items: Sequence[Item]) -> dict[str, NDArray[np.int64]]:
    """Slice name to positions in `items`: overall and every category of the taxonomy."""
    import numpy as np

    slices = {OVERALL: np.arange(len(items), dtype=np.int64)}
    for (aspect, category), rows in suite.slices(item.sample for item in items).items():
        slices[slice_name(aspect, category)] = np.asarray(rows, dtype=np.int64)
    return slices


def by_id(items: Sequence[Item]) -> list[int]:
    """Positions in `items` in order of sample ids, then of repeats.

    Whatever depends on an order (which prompt a draw of the bootstrap takes, the last bits of a sum) goes by this one,
    so that a suite whose rows stand in another order has the same intervals.
    """
    return sorted(range(len(items)), key=lambda i: (items[i].sample.id, items[i].repeat))


def sample_cells(
    values: NDArray[np.float64],
    suite: Suite,
    items: Sequence[Item],
    seed: int,
    *,
    metric: SampleMetric | None = None,
    not_applicable: Collection[int] = (),
    details: DetailsOf | None = None,
) -> dict[str, Cell]:
    """Cells of a per-sample metric.

    Prompts are numbered in order of their ids: cells do not depend on the order of `items`.

    Args:
        values: scores, shape ``(n,)``, NaN where a sample has none.
        suite: the prompts.
        items: of the scores.
        seed: of the bootstrap.
        metric: what the scores are of, where it says how they are averaged.
        not_applicable: positions of items that the metric does not apply to.
        details: of a position with a score; None where the metric's facts are not asked for.
    """
    import numpy as np

    present = [i for i in by_id(items) if np.isfinite(values[i])]
    kept = [items[i] for i in present]
    numbers = {sample_id: number for number, sample_id in enumerate(dict.fromkeys(item.sample.id for item in kept))}
    clusters = np.asarray([numbers[item.sample.id] for item in kept], dtype=np.int64)
    averaged = values[present] if metric is None else metric.for_mean(values[present])
    estimates = slice_means(averaged, clusters, positions(suite, kept), seed=seed)
    cells = {}
    for name, rows in positions(suite, items).items():
        beside = sum(int(row) in not_applicable for row in rows) if not_applicable else 0
        cells[name] = replace(Cell.of(estimates[name]), not_applicable=beside)
        if cells[name].n or not rows.size:
            continue
        if beside == rows.size:
            cells[name] = Cell(
                status="not_applicable", note=f"to none of {beside} clips does it apply", not_applicable=beside
            )
        else:
            note = f"none of {rows.size} clips has a value; see failures"
            cells[name] = Cell(status="failed", note=note, not_applicable=beside)
    if metric is not None and details is not None and present:
        facts = metric.facts(values[present], _LookedUp(details, present), clusters, seed)
        cells[OVERALL] = replace(cells[OVERALL], facts=facts)
    return cells


class _LookedUp(Sequence[Mapping[str, Sequence[float]]]):
    """Details of chosen positions, each made when it is looked at: those of all clips take much memory at once."""

    def __init__(self, details: DetailsOf, chosen: Sequence[int]) -> None:
        self._details = details
        self._chosen = chosen

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Sequence[float]]: ...

    @overload
    def __getitem__(self, index: slice) -> _LookedUp: ...

    def __getitem__(self, index: int | slice) -> Mapping[str, Sequence[float]] | _LookedUp:
        if isinstance(index, slice):
            return _LookedUp(self._details, self._chosen[index])
        return self._details(self._chosen[index])


def cells_without_value(reason: Cell, suite: Suite) -> dict[str, Cell]:
    """Cells of a metric that has no value at all, for one reason."""
    return dict.fromkeys([OVERALL, *(slice_name(*names) for names in suite.slices(()))], reason)


def nested(cells: Mapping[str, Cell]) -> dict[str, Any]:
    """``{"overall": cell, ASPECT: {CATEGORY: cell}}`` as JSON, from flat slice names."""
    result: dict[str, Any] = {OVERALL: cells[OVERALL].to_json()}
    for name, cell in cells.items():
        if name != OVERALL:
            aspect, _, category = name.partition("/")
            result.setdefault(aspect, {})[category] = cell.to_json()
    return result
