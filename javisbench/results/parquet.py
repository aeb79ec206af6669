"""Reading the tables of a run, which somebody else may have written: sizes and types are checked before cells are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from javisbench.errors import RunError

if TYPE_CHECKING:
    import pandas as pd

MAX_PARQUET_BYTES = 2**30
MAX_PARQUET_UNPACKED = 4 * 2**30
MAX_ROWS = 5_000_000
MAX_CELL_BYTES = 100_000
# Column to what its cells must be, for the tables of a run.
SCORES = {"sample_id": "text", "repeat": "whole numbers"}
SAMPLES = {"sample_id": "text", "text": "text", "categories": "lists of text"}
DETAILS = {
    "sample_id": "text",
    "repeat": "whole numbers",
    "metric": "text",
    "name": "text",
    "values": "lists of numbers",
}


def read_parquet(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """A table of a run, after what it would unpack to was found sane and its columns to be what they should.

    Text is read as dictionaries first: one long prompt that a small file repeats a million times is found before it
    fills the memory.

    Args:
        path: the file.
        columns: those that must be there, with what their cells must be (see `SCORES`); others may hold anything.

    Raises:
        RunError: too large, damaged, or without one of `columns`, or with cells of another type.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.stat().st_size > MAX_PARQUET_BYTES:
        raise RunError(f"{path} has {path.stat().st_size:,} bytes; at most {MAX_PARQUET_BYTES:,} are read.")
    try:
        with path.open("rb") as opened, pq.ParquetFile(opened) as file:
            reason = _parquet_size(file.metadata) or _parquet_types(file.schema_arrow, columns)
            if reason:
                raise RunError(f"{path} {reason}. Score the run again.")
            leaves = [file.schema.column(i) for i in range(len(file.schema))]
            texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        with path.open("rb") as opened, pq.ParquetFile(opened, read_dictionary=texts) as file:
            table = file.read()
            reason = _parquet_cells(table, columns)
            if reason:
                raise RunError(f"{path} {reason}. Score the run again.")
            return cast("pd.DataFrame", table.cast(_plain_schema(table.schema)).to_pandas())
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{path} is not a readable Parquet file ({error}). Score the run again.") from error


def _parquet_size(meta: Any) -> str:
    """Why a file is too large to read, from its own facts; empty when it is not."""
    groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
    chunks = [group.column(k) for group in groups for k in range(group.num_columns)]
    rows = sum(group.num_rows for group in groups)
    unpacked = sum(group.total_byte_size for group in groups) + sum(8 * chunk.num_values for chunk in chunks)
    if rows > MAX_ROWS or rows != meta.num_rows:
        return f"has {rows:,} rows; at most {MAX_ROWS:,} are read"
    return f"unpacks to {unpacked:,} bytes" if unpacked > MAX_PARQUET_UNPACKED else ""


def _parquet_types(schema: Any, columns: Mapping[str, str]) -> str:
    """What is wrong with the names and types of a file's columns; empty when nothing is."""
    missing = [name for name in columns if name not in schema.names]
    if missing:
        return f"lacks the columns {', '.join(missing)}"
    if len(set(schema.names)) < len(schema.names):
        return "has a column twice"
    wrong = [name for name, kind in columns.items() if not _is_of_kind(schema.field(name).type, kind)]
    return f"does not hold {columns[wrong[0]]} in its column {wrong[0]}" if wrong else ""


def _is_of_kind(type_: Any, kind: str) -> bool:
    import pyarrow.types as t

    if kind.startswith("lists of"):
        inner = type_.value_type if t.is_list(type_) or t.is_large_list(type_) else None
        return inner is not None and (t.is_null(inner) or _is_of_kind(inner, kind.removeprefix("lists of ")))
    if kind == "text or nothing":
        return bool(t.is_null(type_)) or _is_of_kind(type_, "text")
    if kind == "whole numbers":
        return bool(t.is_integer(type_))
    if kind == "numbers":
        return bool(t.is_floating(type_))
    return bool(t.is_string(type_) or t.is_large_string(type_))


def _parquet_cells(table: Any, columns: Mapping[str, str]) -> str:
    """What is wrong with the cells of a table whose text is in dictionaries; empty when nothing is."""
    import pyarrow.compute as pc

    empty = [name for name, kind in columns.items() if "nothing" not in kind and table.column(name).null_count]
    if empty:
        return f"has empty cells in its column {empty[0]}"
    total = 0
    for name in table.column_names:
        for chunk in table.column(name).chunks:
            leaf = chunk
            while hasattr(leaf, "flatten") and hasattr(leaf.type, "value_type") and not hasattr(leaf, "indices"):
                leaf = leaf.flatten()
            if hasattr(leaf, "indices") and len(leaf.dictionary):
                lengths = pc.binary_length(leaf.dictionary)
                if (pc.max(lengths).as_py() or 0) > MAX_CELL_BYTES:
                    return f"has more than {MAX_CELL_BYTES:,} bytes in one cell of its column {name}"
                total += pc.sum(lengths.take(leaf.indices)).as_py() or 0
    return f"unpacks to {total:,} bytes of text" if total > MAX_PARQUET_UNPACKED else ""


def _plain_schema(schema: Any) -> Any:
    """The schema with text instead of dictionaries of text."""
    import pyarrow as pa

    def plain(type_: Any) -> Any:
        if pa.types.is_dictionary(type_):
            return pa.large_string() if type_.value_type == pa.string() else type_.value_type
        if pa.types.is_list(type_) or pa.types.is_large_list(type_):
            return pa.list_(plain(type_.value_type))
        return type_

    return pa.schema([field.with_type(plain(field.type)) for field in schema], metadata=schema.metadata)
