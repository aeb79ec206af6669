"""The rows of a suite file as they stand there: text decoded, cells split, and what cannot be read named by row.

What the cells mean is decided in `javisbench.suite_samples`. Files may come from anybody: bytes, rows, columns and
nesting are bounded, and whatever is wrong is a `Problem`, not an exception.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from javisbench.isolated.parquet import RefusedError, TableLimits, read_arrow
from javisbench.registry import did_you_mean
from javisbench.strict_json import parse_json
from javisbench.system_faults import raise_if_system
from javisbench.text import printable

MAX_SUITE_BYTES = 512 * 2**20
MAX_ROWS = 1_000_000
MAX_COLUMNS = 1000
MAX_HEADER_LENGTH = 2**20
MAX_TEXT_LENGTH = 131_072
"""Characters of a prompt, and of a field of a published suite."""
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""What may separate the cells of a CSV file, the first winning where several fit."""

_MARKS = (
    (codecs.BOM_UTF8, "UTF-8", "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "UTF-32", "utf-32"),
    (codecs.BOM_UTF32_BE, "UTF-32", "utf-32"),
    (codecs.BOM_UTF16_LE, "UTF-16", "utf-16"),
    (codecs.BOM_UTF16_BE, "UTF-16", "utf-16"),
)
# Excel's own way of saying it, on a line before the header.
_SAID_SEPARATOR = re.compile(r'"?sep=([,;|\t])"?\n', re.IGNORECASE)
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_SUFFIXES = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
SUITE_SUFFIXES = tuple(_SUFFIXES)
_PARQUET = TableLimits(
    file_bytes=MAX_SUITE_BYTES, rows=MAX_ROWS, columns=MAX_COLUMNS, cell_bytes=4 * MAX_TEXT_LENGTH, cell_values=1000
)


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a suite file. `row` counts data rows from 1; 0 is the file as a whole."""

    file: str
    row: int
    column: str
    reason: str

    def __str__(self) -> str:
        place = f"row {self.row}" if self.row else "file"
        column = f", column {self.column}" if self.column else ""
        return printable(f"{self.file}: {place}{column}: {self.reason}")


@dataclass
class Rows:
    """What a suite file holds.

    Attributes:
        file: its name, for messages.
        columns: names in order of appearance; ``(column N)`` is one without a name that holds something.
        rows: column to cell, as text (CSV) or as any JSON value (JSONL, Parquet); absent cells are left out.
        problems: what could not be read.
        places: where each row came from, when that is not row N of `file`: a file's name, and the row in it from 1; 0
            for a file that is a row by itself.
        needs_text: whether every row must have a prompt.
        warnings: what was read but may not be meant.
        clip_names: for each row, `Sample.clip_names`; empty where a suite has none.
        numbers: of the rows in the file, from 1.
    """

    file: str
    columns: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    places: list[tuple[str, int]] | None = None
    needs_text: bool = True
    warnings: list[str] = field(default_factory=list)
    clip_names: list[tuple[str, ...]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def problem(self, index: int | None, column: str, reason: str) -> None:
        """Note what is wrong with the row at `index` (from 0), or with the file as a whole for None."""
        file, row = (self.file, 0) if index is None else self._located(index)
        self.problems.append(Problem(file, row, column, reason))

    def _located(self, index: int) -> tuple[str, int]:
        return (self.file, index + 1) if self.places is None else self.places[index]

    def place(self, index: int) -> str:
        """How messages call the row at `index`: ``row 3``, ``row 3 of ads.json``, or the name of its file."""
        if self.places is None:
            return f"row {index + 1}"
        file, row = self.places[index]
        return f"row {row} of {file}" if row else file


def read_rows(path: Path) -> Rows:
    """The rows of a CSV (``.csv``, ``.tsv``), JSONL (``.jsonl``, ``.ndjson``) or Parquet (``.parquet``) file."""
    found = Rows(path.name)
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        found.problem(None, "", f"the suffix {path.suffix!r} is unknown; a suite is a .csv, .jsonl or .parquet file")
        return found
    if kind == "parquet":
        _read_parquet(path, "text", found)
        return found
    try:
        text = read_text(path, MAX_SUITE_BYTES)
    except ValueError as error:
        found.problem(None, "", str(error))
        return found
    if kind == "csv":
        _read_csv(text, "text", found)
    else:
        _read_jsonl(text, "text", found)
    return found


def read_parts(paths: Sequence[Path]) -> Rows:
    """The rows of a suite that lies in several files, as of one; messages name the file and the row in it."""
    found = Rows(paths[0].name, places=[])
    assert found.places is not None
    for path in paths:
        part = read_rows(path)
        found.rows += part.rows
        found.places += [(part.file, number) for number in part.numbers]
        found.numbers += [len(found.numbers) + number for number in range(1, len(part.numbers) + 1)]
        found.problems += part.problems
        found.warnings += part.warnings
        if len(found.rows) > MAX_ROWS:
            found.problem(None, "", f"more than {MAX_ROWS:,} rows in all files")
            break
        found.columns += [name for name in part.columns if name not in found.columns]
    return found


def read_table(path: Path, needed: str) -> Rows:
    """The rows of a CSV file of any name that has a column called `needed`, as `read_rows` reads suites."""
    found = Rows(path.name)
    try:
        _read_csv(read_text(path, MAX_SUITE_BYTES), needed, found)
    except ValueError as error:
        found.problem(None, "", str(error))
    return found


def read_loose_table(path: Path) -> Rows:
    """The rows of a CSV or JSONL file whose columns are not known before; of a name without such a suffix, as CSV."""
    found = Rows(path.name)
    try:
        text = read_text(path, MAX_SUITE_BYTES)
    except ValueError as error:
        found.problem(None, "", str(error))
        return found
    if _SUFFIXES.get(path.suffix.lower()) == "jsonl":
        _read_jsonl(text, "", found)
    else:
        _read_csv(text, "", found)
    return found


def read_text(path: Path, most_bytes: int) -> str:
    """The text of a small file: UTF-8, or what its byte order mark says; every line end is a newline.

    Raises:
        ValueError: it is no plain file, cannot be read, is larger than `most_bytes`, or no such text; the message says
            which byte, and what to do.
        SystemFaultError: the system cannot read it.
    """
    try:
        if not path.is_file():
            raise ValueError("not a plain file" if path.exists() else "there is no such file")
        with path.open("rb") as file:
            # Python sets aside at once what is asked for.
            raw = file.read(min(most_bytes, os.fstat(file.fileno()).st_size) + 1)
    except OSError as error:
        raise_if_system(error, path)
        raise ValueError(f"cannot be read ({error.strerror})") from error
    if len(raw) > most_bytes:
        shown = f"{most_bytes >> 20} MiB" if most_bytes >= 2**20 else f"{most_bytes >> 10} KiB"
        raise ValueError(f"larger than {shown}")
    title, encoding = next(((t, e) for mark, t, e in _MARKS if raw.startswith(mark)), ("UTF-8", "utf-8"))
    if title == "UTF-8" and raw[:200].count(0) * 3 > len(raw[:200]):
        raise ValueError("every other byte is NUL, as in UTF-16 without a byte order mark; save it as UTF-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"not {title} text (byte {error.start}, 0x{raw[error.start]:02x}, in line {line}); save it as UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_csv(text: str, needed: str, found: Rows) -> None:
    separator, text = _separator(text, needed)
    records = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        header = next((_names(record) for record in records if record), [])
        if _check_header(header, needed, found):
            _read_records(records, header, separator, found)
    except csv.Error as error:
        found.problem(len(found.rows), "", f"not readable as CSV separated by {SEPARATORS[separator]}: {error}")
    # Spreadsheets leave rows of nothing but separators at the end.
    while found.rows and not any(cell.strip() for cell in found.rows[-1].values()):
        found.rows.pop()


def _separator(text: str, needed: str) -> tuple[str, str]:
    """What separates the cells (what the first line says, ``sep=;``; else what gives the header the column that is
    needed), and the text without a line that says so."""
    said = _SAID_SEPARATOR.match(text)
    if said:
        return said[1], text[said.end() :]
    headers = {separator: _header(text[:MAX_HEADER_LENGTH], separator) for separator in SEPARATORS}
    fits = [separator for separator, names in headers.items() if needed in names]
    # Without such a column, the most columns make the most helpful message.
    return (fits[0] if fits else max(headers, key=lambda separator: len(headers[separator]))), text


def _header(text: str, separator: str) -> list[str]:
    records = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return next((_names(record) for record in records if record), [])
    except csv.Error:
        return []


def _names(record: list[str]) -> list[str]:
    return [name.strip().strip("\ufeff") for name in record]


def _check_header(header: list[str], needed: str, found: Rows) -> bool:
    """Whether rows can be read under this header; what is wrong with it is noted."""
    if len(header) > MAX_COLUMNS:
        found.problem(None, "", f"the header has {len(header):,} columns; at most {MAX_COLUMNS:,} are read")
        return False
    doubled = sorted({name for name in header if name and header.count(name) > 1})
    if doubled:
        found.problem(None, doubled[0], "the column stands twice in the header")
    if needed and needed not in header:
        near = did_you_mean(needed, header) or f" Call the one that is meant {needed}."
        found.problem(None, needed, f"the header has no such column (it has {header[:20]}).{near}")
    return True


def _read_records(records: Iterator[list[str]], header: list[str], separator: str, found: Rows) -> None:
    names = [name or f"(column {number})" for number, name in enumerate(header, start=1)]
    used = {name for name in header if name}
    # Blank lines are no rows, and are not counted.
    for record in filter(None, records):
        if len(found.rows) == MAX_ROWS:
            found.problem(None, "", f"more than {MAX_ROWS:,} rows")
            break
        if any(cell.strip() for cell in record[len(header) :]):
            found.problem(
                len(found.rows),
                "",
                f"more cells than the header has columns; quote cells that hold {SEPARATORS[separator]}",
            )
        # Of columns without a name, spreadsheets leave empty ones, and pandas its row numbers.
        row = {name: cell for name, cell in zip(names, record, strict=False) if name in used or cell.strip()}
        used.update(row)
        found.rows.append(row)
        found.numbers.append(len(found.rows))
    found.columns = [name for name in names if name in used]


def _read_jsonl(text: str, needed: str, found: Rows) -> None:
    columns: dict[str, None] = {}
    for number, line in enumerate(line for line in text.split("\n") if line.strip()):
        if number == MAX_ROWS:
            found.problem(None, "", f"more than {MAX_ROWS:,} rows")
            break
        try:
            row = parse_json(line)
        except ValueError as error:
            found.problem(number, "", str(error))
            continue
        if not isinstance(row, dict):
            found.problem(number, "", "not a JSON object ({...})")
            continue
        found.rows.append(row)
        found.numbers.append(number + 1)
        columns.update(dict.fromkeys(row))
        if len(columns) > MAX_COLUMNS:
            found.problem(number, "", f"with this row there are more than {MAX_COLUMNS:,} different names of columns")
            break
    found.columns = list(columns)
    if found.rows and needed and needed not in columns:
        found.problem(None, needed, f"no row has such a member (they have {found.columns[:20]})")


def _read_parquet(path: Path, needed: str, found: Rows) -> None:
    """As JSON lines: a cell that is null, or no number (NaN), is absent."""
    try:
        if not path.is_file():
            raise RefusedError("is not a plain file" if path.exists() else "there is no such file")
        table = read_arrow(path, {}, _PARQUET)
    except RefusedError as refused:
        found.problem(None, "", str(refused))
        return
    except OSError as error:
        raise_if_system(error, path)
        found.problem(None, "", f"cannot be read ({error.strerror})")
        return
    if needed not in table.column_names:
        has = table.column_names[:20]
        near = did_you_mean(needed, table.column_names) or f" Call the one that is meant {needed}."
        found.problem(None, needed, f"the table has no such column (it has {has}).{near}")
    for batch in table.to_batches():
        for row in batch.to_pylist():
            found.rows.append({name: cell for name, cell in row.items() if cell is not None and cell == cell})
            found.numbers.append(len(found.rows))
            for name in [name for name, cell in row.items() if cell in (math.inf, -math.inf)]:
                found.problem(len(found.rows) - 1, name, "is infinite")
    found.columns = list(table.column_names)


def kind_of(value: object) -> str:
    """What JSON calls the type of `value`."""
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
        type(None): "null",
    }
    return names.get(type(value), type(value).__name__)


def no_text(value: str) -> str | None:
    """What is in `value` that is no text; None where it is text."""
    found = _NO_TEXT.search(value)
    if found is None:
        return None
    if "\0" in value:
        return "a NUL character; remove it"
    return f"half of a surrogate pair (\\u{ord(found[0]):04x}), which is no Unicode character; the text was cut there"
