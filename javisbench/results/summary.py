"""From per-sample scores to values, counts and intervals, overall and for every category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from javisbench.results.cell import OVERALL, Cell, slice_name
from javisbench.stats import slice_means

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.matching import Item
    from javisbench.suite import Suite


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
    cells = {}
    for name, rows in positions(suite, items).items():
        cells[name] = Cell.of(estimates[name])
        if not cells[name].n and rows.size:
            note = f"none of {rows.size} clips has a value; see failures"
            cells[name] = Cell(status="failed", note=note)
    return cells


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
