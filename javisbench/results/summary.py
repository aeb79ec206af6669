"""From per-sample scores to values, counts and intervals, overall and for every category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from javisbench.metrics.base import SetValue
from javisbench.stats import Estimate, slice_means

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.matching import Item
    from javisbench.run.plan import Unavailable
    from javisbench.suite import Suite

OVERALL = "overall"
Cell = dict[str, Any]


def slice_name(aspect: str, category: str) -> str:
    """Name of a slice in flat mappings."""
    return f"{aspect}/{category}"


def positions(suite: Suite, items: Sequence[Item]) -> dict[str, NDArray[np.int64]]:
    """Slice name to positions in `items`: overall and every category of the taxonomy."""
    import numpy as np

    slices = {OVERALL: np.arange(len(items), dtype=np.int64)}
    for (aspect, category), rows in suite.slices(item.sample for item in items).items():
        slices[slice_name(aspect, category)] = np.asarray(rows, dtype=np.int64)
    return slices


def sample_cells(values: NDArray[np.float64], suite: Suite, items: Sequence[Item], seed: int) -> dict[str, Cell]:
    """Cells of a per-sample metric; `values` holds NaN where a sample has none."""
    import numpy as np

    present = np.flatnonzero(np.isfinite(values))
    kept = [items[int(i)] for i in present]
    clusters = np.asarray([item.sample.index for item in kept], dtype=np.int64)
    estimates = slice_means(values[present], clusters, positions(suite, kept), seed=seed)
    planned = positions(suite, items)
    return {name: _estimate_cell(estimates[name], int(rows.size)) for name, rows in planned.items()}


def _estimate_cell(estimate: Estimate, planned: int) -> Cell:
    if estimate.n == 0 and planned > 0:
        return empty_cell("failed", f"none of {planned} clips has a value; see failures")
    return _cell(estimate.value, estimate.n, estimate.ci_low, estimate.ci_high, estimate.status, estimate.note)


def set_cells(values: Mapping[str, SetValue]) -> dict[str, Cell]:
    """Cells of a set metric."""
    return {name: _cell(v.value, v.n, v.ci_low, v.ci_high, v.status, v.note) for name, v in values.items()}


def unavailable_cells(reason: Unavailable, suite: Suite) -> dict[str, Cell]:
    """Cells of a metric that this run cannot have."""
    names = [OVERALL, *(slice_name(aspect, category) for aspect, category in suite.slices(()))]
    return {name: empty_cell(reason.status, reason.note) for name in names}


def empty_cell(status: str, note: str | None) -> Cell:
    """A cell without a value."""
    return _cell(None, 0, None, None, status, note)


def _cell(value: float | None, n: int, low: float | None, high: float | None, status: str, note: str | None) -> Cell:
    cell: Cell = {"value": value, "n": n, "ci_low": low, "ci_high": high, "status": status}
    if note:
        cell["note"] = note
    return cell


def nested(cells: Mapping[str, Cell]) -> dict[str, Any]:
    """``{"overall": cell, ASPECT: {CATEGORY: cell}}`` from flat slice names."""
    result: dict[str, Any] = {OVERALL: cells[OVERALL]}
    for name, cell in cells.items():
        if name != OVERALL:
            aspect, _, category = name.partition("/")
            result.setdefault(aspect, {})[category] = cell
    return result
