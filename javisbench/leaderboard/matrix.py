"""Models by categories: one table a metric, drawn from the same tables as the pages of the aspects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from javisbench.leaderboard.template_data import score_columns
from javisbench.publish.export import cell_text, format_interval, format_rank
from javisbench.results.cell import EMPTY, Cell
from javisbench.results.table import Column, Row, RowGroup, Table
from javisbench.taxonomy import Aspect, Category

SHADES = 5
"""Steps of colour from the worst value of a category to the best."""


@dataclass(frozen=True)
class MatrixAspect:
    """The categories of one aspect that any result has values in."""

    aspect: Aspect
    categories: tuple[Category, ...]


def matrix_aspects(tables: Mapping[str, Table], aspects: Iterable[Aspect]) -> list[MatrixAspect]:
    """The columns of all matrices, by aspect.

    Args:
        tables: aspect id to its table, of `javisbench.results.table.board_table`.
        aspects: their order.
    """
    found = []
    for aspect in aspects:
        seen = {_category(group) for group in tables[aspect.id].groups}
        found.append(MatrixAspect(aspect, tuple(c for c in aspect.categories if c.id in seen)))
    return [part for part in found if part.categories]


def matrices(overall: Table, tables: Mapping[str, Table], columns: Sequence[MatrixAspect]) -> list[dict[str, Any]]:
    """For each metric that is a score, one matrix for each group of results that may be compared.

    Args:
        overall: the table over all samples, which gives metrics, groups and rows.
        tables: aspect id to its table.
        columns: of `matrix_aspects`.
    """
    cells: dict[tuple[str, str, str], Mapping[str, Cell]] = {}
    for part in columns:
        for group in tables[part.aspect.id].groups:
            for row in group.rows:
                cells[row.id, part.aspect.id, _category(group)] = row.cells
    slices = [(part.aspect.id, category.id) for part in columns for category in part.categories]
    found = []
    for col in score_columns(overall, None):
        groups = []
        for group in overall.groups:
            by_slice = [[row.cells.get(col.id, EMPTY) for row in group.rows]]
            by_slice += [[cells.get((row.id, *name), {}).get(col.id, EMPTY) for row in group.rows] for name in slices]
            if any(cell.value is not None for column in by_slice for cell in column):
                rows = _rows(group.rows, [_views(c, col) for c in by_slice])
                order = sorted(range(len(rows)), key=lambda i: _place(by_slice[0][i], col))
                groups.append({"group": group, "rows": [rows[i] for i in order]})
        found.append({"column": col, "groups": groups})
    return [matrix for matrix in found if matrix["groups"]]


def _category(group: RowGroup) -> str:
    """The category that a group of an aspect's table is of: its id is that and the number of the group."""
    return group.id.rpartition("-")[0]


def _rows(rows: Sequence[Row], columns: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [{"row": row, "cells": [column[i] for column in columns]} for i, row in enumerate(rows)]


def _place(overall: Cell, col: Column) -> tuple[bool, float]:
    """Sorts the best value over all samples to the top, and rows without one to the end."""
    if overall.value is None:
        return True, 0.0
    return False, overall.value if col.higher_is_better is False else -overall.value


def _views(column: Sequence[Cell], col: Column) -> list[dict[str, Any]]:
    """One slice's cells, shaded from its worst to its best value among those that may be compared."""
    able = [float(c.value) for c in column if c.value is not None and c.status == "ok" and c.comparable]
    low, high = min(able, default=0.0), max(able, default=0.0)

    def shade(cell: Cell) -> int | None:
        if cell.value is None or cell.status != "ok" or not cell.comparable or not low < high:
            return None
        if col.higher_is_better is None:
            return None
        part = (cell.value - low) / (high - low)
        return min(int(SHADES * (part if col.higher_is_better else 1 - part)), SHADES - 1)

    return [
        {
            "text": cell_text(cell, col.digits),
            "interval": format_interval(cell, col.digits),
            "rank": format_rank(cell.rank) if cell.rank else "",
            "place": cell.place or "",
            "n": cell.n,
            "shade": shade(cell),
        }
        for cell in column
    ]
