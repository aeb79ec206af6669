"""A `Table` as Markdown, CSV, LaTeX, JSON, or on the terminal.

Names in a table may come from anywhere, so each format escapes them: no markup, formula, command or terminal escape
in a model's name survives.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from javisbench.errors import UsageError
from javisbench.registry import did_you_mean
from javisbench.results.cell import EMPTY, STATUS_MARK, STATUS_TEXT, Cell
from javisbench.results.table import FEW_MARK, UNEQUAL_N_MARK, Column, Row, Table
from javisbench.text import json_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table as RichTable

TABLE_SCHEMA = 1
COLUMN_GAP = 2
MAX_LABEL_WIDTH = 40
LATEX_COLUMNS = 5
EXTENSIONS: Mapping[str, str] = {"markdown": "md", "csv": "csv", "latex": "tex", "json": "json"}
"""Formats of `render` and the usual file ending of each."""


def render(table: Table, format: str) -> str:
    """The table as text.

    Args:
        table: from `run_table` or `board_table`.
        format: ``markdown`` (a GitHub table), ``csv``, ``latex`` (booktabs) or ``json``.

    Returns:
        Text that ends with a newline.

    Raises:
        UsageError: an unknown format.
    """
    if format not in _RENDERERS:
        known = ", ".join(_RENDERERS)
        raise UsageError(f"There is no table format {format!r}.{did_you_mean(format, _RENDERERS)} Known: {known}.")
    return _RENDERERS[format](table)


def format_value(value: float, digits: int) -> str:
    """`value` with `digits` digits after the point, without a negative zero."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def format_rank(rank: tuple[int, int]) -> str:
    """``3`` or ``1–4``."""
    return str(rank[0]) if rank[0] == rank[1] else f"{rank[0]}–{rank[1]}"


def format_interval(cell: Cell, digits: int) -> str:
    """``[0.150, 0.156]``, or an empty string."""
    if cell.ci_low is None or cell.ci_high is None:
        return ""
    return f"[{format_value(cell.ci_low, digits)}, {format_value(cell.ci_high, digits)}]"


def cell_text(cell: Cell, digits: int) -> str:
    """The value, or what stands in its place, with its footnote mark but without its interval."""
    text = STATUS_TEXT.get(cell.status, "–") if cell.value is None else format_value(cell.value, digits)
    return text + STATUS_MARK.get(cell.status, "") + ("" if cell.comparable else UNEQUAL_N_MARK)


def _cell(row: Row, col: Column) -> Cell:
    return row.cells.get(col.id, EMPTY)


def n_text(table: Table, row: Row) -> str:
    """The row's n, marked where it is too small to rank."""
    return f"{row.n:,}{FEW_MARK if table.too_few(row) else ''}"


def _own_n(row: Row, cell: Cell) -> str:
    """The cell's n where the row's n column does not say it."""
    return f"n={cell.n:,}" if cell.value is not None and cell.n != row.n else ""


# Markdown


def _markdown_text(text: str) -> str:
    for char in "\\`*_[]|~$#!":
        text = text.replace(char, f"\\{char}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _markdown_cell(row: Row, col: Column) -> str:
    cell = _cell(row, col)
    text = cell_text(cell, col.digits)
    if cell.place == "best":
        text = f"**{text}**"
    elif cell.place == "second":
        text = f"<ins>{text}</ins>"
    rank = f"rank {format_rank(cell.rank)}" if cell.rank else ""
    return " ".join(filter(None, (text, format_interval(cell, col.digits), _own_n(row, cell), rank)))


def _markdown(table: Table) -> str:
    table = table.folded().for_reading()
    headings = [table.row_heading, "n", *(col.heading for col in table.columns)]
    lines = [
        f"### {_markdown_text(table.title)}",
        "",
        _markdown_text(table.protocol),
        "",
        "| " + " | ".join(_markdown_text(h) for h in headings) + " |",
        "| --- |" + " ---: |" * (len(headings) - 1),
    ]
    for group in table.groups:
        if len(table.groups) > 1 and not _says_itself(group.title, group.rows):
            lines.append(f"| **{_markdown_text(group.title)}** |" + " |" * (len(headings) - 1))
        for row in group.rows:
            cells = [
                _markdown_text(row.label),
                n_text(table, row),
                *(_markdown_cell(row, col) for col in table.columns),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    if table.checks or table.notes:
        lines += ["", *(f"* {_markdown_text(note)}" for note in (*table.checks, *table.notes))]
    return "\n".join(lines) + "\n"


def _says_itself(title: str, rows: tuple[Row, ...]) -> bool:
    """Whether a heading above the group would only repeat its one row."""
    return title == "Overall" and len(rows) == 1


# CSV


def _csv_text(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _number(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def _csv(table: Table) -> str:
    ranked = any(cell.rank for row in table.rows for cell in row.cells.values())
    fields = ["", "_ci_low", "_ci_high", "_n", "_status", *(("_rank_best", "_rank_worst") if ranked else ())]
    header = ["group", "id", "label", "protocol", "stand_in"]
    header += [f"{col.id}{field}" for col in table.columns for field in fields]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for group in table.groups:
        for row in group.rows:
            facts = [group.title, row.id, row.label, row.protocol]
            values = [_csv_text(fact) for fact in facts] + [str(row.stand_in).lower()]
            for col in table.columns:
                cell = _cell(row, col)
                values += [_number(cell.value), _number(cell.ci_low), _number(cell.ci_high), str(cell.n), cell.status]
                if ranked:
                    values += [str(end) for end in cell.rank] if cell.rank else ["", ""]
            writer.writerow(values)
    return buffer.getvalue()


# LaTeX

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    "†": r"\textsuperscript{\textdagger}",
    "‡": r"\textsuperscript{\textdaggerdbl}",
    "§": r"\textsuperscript{\S}",
    "¶": r"\textsuperscript{\P}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}


def _latex_text(text: str) -> str:
    """`text` for LaTeX with T1 fonts; a character that they lack is named by its code point."""
    return "".join(_LATEX.get(c) or (c if ord(c) < 0x100 else f"[U+{ord(c):04X}]") for c in text)


def _latex_number(text: str) -> str:
    """`text` with its hyphens as minus signs."""
    return _latex_text(text).replace("-", "$-$").replace("$-$$-$", "--")


def _latex_cell(row: Row, col: Column) -> str:
    cell = _cell(row, col)
    text = _latex_number(cell_text(cell, col.digits))
    if cell.place == "best":
        text = rf"\textbf{{{text}}}"
    elif cell.place == "second":
        text = rf"\underline{{{text}}}"
    small = " ".join(filter(None, (format_interval(cell, col.digits), _own_n(row, cell))))
    # Braces, because a row that begins with a bracket would be read as an argument of the line break before it.
    return text + (rf" {{\scriptsize {_latex_number(small)}}}" if small else "")


def _latex(table: Table) -> str:
    """One table environment for every few metrics, since more do not fit on a page with their intervals."""
    table = table.folded().for_reading()
    parts = [table.columns[i : i + LATEX_COLUMNS] for i in range(0, len(table.columns), LATEX_COLUMNS)] or [()]
    lines = [r"% Needs \usepackage[T1]{fontenc}, \usepackage{booktabs} and \usepackage{graphicx}."]
    for place, columns in enumerate(parts, 1):
        part = f" (part {place} of {len(parts)})" if len(parts) > 1 else ""
        lines += _latex_part(table, columns, part)
    return "\n".join(lines) + "\n"


def _latex_part(table: Table, columns: Sequence[Column], part: str) -> list[str]:
    width = len(columns) + 2
    head = [_latex_text(table.row_heading), "$n$", *(_latex_text(col.heading) for col in columns)]
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{_latex_text(table.title)}{part}. {_latex_text(table.protocol)}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
    ]
    for group in table.groups:
        lines.append(r"\midrule")
        if len(table.groups) > 1 and not _says_itself(group.title, group.rows):
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{_latex_text(group.title)}}}}} \\")
        for row in group.rows:
            cells = [
                f"{{{_latex_text(row.label)}}}",
                _latex_text(n_text(table, row)),
                *(_latex_cell(row, col) for col in columns),
            ]
            lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}}", r"\par\smallskip"]
    lines += [rf"{{\raggedright\footnotesize {_latex_text(note)}\par}}" for note in (*table.checks, *table.notes)]
    return [*lines, r"\end{table}"]


# JSON


def table_json(table: Table) -> dict[str, Any]:
    """The table as plain JSON values."""
    return {
        "schema": TABLE_SCHEMA,
        "title": table.title,
        "protocol": table.protocol,
        "checks": list(table.checks),
        "notes": list(table.notes),
        "columns": [
            {
                "id": col.id,
                "title": col.title,
                "higher_is_better": col.higher_is_better,
                "unit": col.unit,
                "digits": col.digits,
                "kind": col.kind,
            }
            for col in table.columns
        ],
        "groups": [
            {"id": group.id, "title": group.title, "rows": [_json_row(row) for row in group.rows]}
            for group in table.groups
        ],
    }


def _json_row(row: Row) -> dict[str, Any]:
    cells = {metric: _json_cell(cell) for metric, cell in row.cells.items()}
    return {"id": row.id, "label": row.label, "protocol": row.protocol, "stand_in": row.stand_in, "cells": cells}


def _json_cell(cell: Cell) -> dict[str, Any]:
    facts = cell.to_json()
    optional = {"rank": list(cell.rank) if cell.rank else None, "place": cell.place}
    facts |= {key: value for key, value in optional.items() if value is not None}
    if not cell.comparable:
        facts["comparable"] = False
    return facts


def _json(table: Table) -> str:
    return json_text(table_json(table), indent=1) + "\n"


_RENDERERS: dict[str, Callable[[Table], str]] = {"markdown": _markdown, "csv": _csv, "latex": _latex, "json": _json}


# Terminal


class TerminalTable:
    """A rich renderable that lays the metrics out in as many blocks as the terminal's width needs."""

    def __init__(self, table: Table) -> None:
        self.table = table.folded().for_reading()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One rich table a block and group, then the notes."""
        from rich.text import Text

        yield Text(self.table.title, style="bold")
        yield Text(self.table.protocol)
        for columns in self._blocks(options.max_width):
            yield Text("")
            yield self._block(columns, (), heading=True)
            widths = [self._label_width, self._n_width, *map(self._width, columns)]
            yield Text("─" * (sum(widths) + COLUMN_GAP * (len(widths) - 1)))
            for group in self.table.groups:
                if len(self.table.groups) > 1 and not _says_itself(group.title, group.rows):
                    yield Text(group.title, style="italic")
                yield self._block(columns, group.rows, heading=False)
        yield Text("")
        for line in self.table.checks:
            yield Text(line)
        for note in self.table.notes:
            yield Text(_terminal_note(note), style="dim")

    @cached_property
    def _label_width(self) -> int:
        from rich.cells import cell_len

        return min(MAX_LABEL_WIDTH, max(map(cell_len, [self.table.row_heading, *(r.label for r in self.table.rows)])))

    @cached_property
    def _n_width(self) -> int:
        return max((len(n_text(self.table, row)) for row in self.table.rows), default=1)

    def _width(self, col: Column) -> int:
        from rich.cells import cell_len

        return max(map(cell_len, [*_heading_lines(col), *(_terminal_cell(row, col) for row in self.table.rows)]))

    def _blocks(self, width: int) -> Iterator[list[Column]]:
        fixed = self._label_width + self._n_width + 2 * COLUMN_GAP
        block: list[Column] = []
        used = fixed
        for col in self.table.columns:
            need = self._width(col) + COLUMN_GAP
            if block and used + need > width:
                yield block
                block, used = [], fixed
            block.append(col)
            used += need
        if block:
            yield block

    def _block(self, columns: list[Column], rows: Sequence[Row], *, heading: bool) -> RichTable:
        from rich.table import Table as RichTable
        from rich.text import Text

        block = RichTable(box=None, show_header=heading, padding=(0, COLUMN_GAP, 0, 0), pad_edge=False)
        block.add_column(Text(self.table.row_heading), no_wrap=True, width=self._label_width)
        block.add_column("n", justify="right", no_wrap=True, width=self._n_width)
        for col in columns:
            block.add_column(
                Text("\n".join(_heading_lines(col))), justify="right", no_wrap=True, width=self._width(col)
            )
        for row in rows:
            cells = [Text(_terminal_cell(row, col), style=_style(_cell(row, col))) for col in columns]
            block.add_row(Text(row.label), n_text(self.table, row), *cells)
        return block


def to_rich(table: Table) -> TerminalTable:
    """The table for ``rich.console.Console().print``; it adapts to the console's width when printed.

    Intervals are shown as plus or minus the longer side, to keep many metrics readable; files have both ends.
    """
    return TerminalTable(table)


def _heading_lines(col: Column) -> list[str]:
    words = col.title.split()
    unit = f" ({col.unit})" if col.unit else ""
    return [*words[:-1], f"{words[-1] if words else ''}{unit} {col.arrow}".strip()]


def _terminal_cell(row: Row, col: Column) -> str:
    cell = _cell(row, col)
    text = cell_text(cell, col.digits)
    if cell.value is not None and cell.ci_low is not None and cell.ci_high is not None:
        side = max(cell.value - cell.ci_low, cell.ci_high - cell.value)
        # Rounded up, so that a narrow interval is never shown as none.
        text += f" ±{format_value(math.ceil(side * 10**col.digits) / 10**col.digits, col.digits)}"
    rank = f"#{format_rank(cell.rank)}" if cell.rank else ""
    return " ".join(filter(None, (text, _own_n(row, cell), rank)))


def _terminal_note(note: str) -> str:
    return "±: longer side of the 95 % interval." if note.startswith("Brackets: 95 % intervals") else note


def _style(cell: Cell) -> str:
    if cell.value is None or cell.status != "ok":
        return "dim"
    return {"best": "bold", "second": "underline"}.get(cell.place or "", "")
