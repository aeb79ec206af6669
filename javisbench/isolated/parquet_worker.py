"""The process that reads tables: ``python -m javisbench.isolated.parquet_worker``; see `javisbench.isolated.parquet`.

Standard input is a socket (`javisbench.isolated.wire`). Each message brings an open Parquet file, what its columns must
be, and limits; the answer is a buffer with the table as an Arrow stream of plain types, or why there is none.

What a Parquet file says of its own sizes may be wrong, and its pages can repeat one value two thousand million times in
six bytes. So nothing of it is believed: it is read in batches, text as references into a dictionary where Arrow can,
and what a batch would unpack to is counted before it does. A batch that is too large by itself meets the limit on
address space.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from typing import IO, Any

from javisbench.isolated import buffers
from javisbench.isolated.process import confine, leave_signals_to_parent
from javisbench.isolated.wire import receive, send

_BATCH_ROWS = 16_384
_IDLE_S = 60.0
_BEYOND_DEADLINE = 8
_GRACE_S = 5
# After a table of more than this, the process makes room for a new one instead of giving memory back piece by piece.
_LARGE_BYTES = 64 * 2**20
_TEXT_BYTES = 64  # of an object of Python, beside its text
_LIST_BYTES = 128  # of an array, beside its values
_LONGEST_REASON = 300

Limits = Mapping[str, Any]


class _RefusedError(Exception):
    """A table that is not read; the argument says why, as the rest of a sentence that begins with the file's name."""


def main() -> None:
    """Answer requests until the parent hangs up, or has asked nothing for a minute."""
    # Arrow's own allocators reserve address space by the gigabyte.
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    import pyarrow as pa

    leave_signals_to_parent()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as connection:
        connection.settimeout(_IDLE_S)
        large = False
        while not large:
            try:
                request, (descriptor,) = receive(connection)
            except (EOFError, TimeoutError):
                return
            large = _answer(connection, request, descriptor)


def _answer(connection: socket.socket, request: Mapping[str, Any], descriptor: int) -> bool:
    """Read one table; returns whether it was a large one."""
    limits = request["limits"]
    confine(limits["memory_bytes"])
    # The parent keeps the deadline; this ends the process if the parent is gone.
    signal.alarm(_BEYOND_DEADLINE * int(limits["deadline_s"]) + _GRACE_S)
    out, used = buffers.create(), 0
    try:
        with os.fdopen(descriptor, "rb") as file, os.fdopen(os.dup(out), "wb") as target:
            used = _read(file, target, request["columns"], limits)
        send(connection, {"bytes": used}, [out])
    except _RefusedError as refused:
        send(connection, {"reason": str(refused)})
    except MemoryError:
        send(connection, {"reason": f"takes more than {limits['memory_bytes'] / 2**30:.1f} GiB of memory to read"})
        return True
    finally:
        buffers.close(out)
        signal.alarm(0)
    return used > _LARGE_BYTES


def _read(file: IO[bytes], target: IO[bytes], columns: Mapping[str, str], limits: Limits) -> int:
    """Write the table to `target`; returns what it takes in the caller's memory, in bytes.

    Raises:
        _RefusedError: there is no such table in the file.
        MemoryError: the process may not have what reading takes.
    """
    import pyarrow as pa

    try:
        _check_footer(file, limits)
        return _copy(file, target, columns, limits)
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        told = " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
        raise _RefusedError(f"is not a readable Parquet file ({told})") from error


def _check_footer(file: IO[bytes], limits: Limits) -> None:
    """Refuse metadata that would take long to read: all of them are, before anything else."""
    size = file.seek(0, os.SEEK_END)
    if size > limits["file_bytes"]:
        raise _RefusedError(f"has {size:,} bytes; at most {limits['file_bytes']:,} are read")
    file.seek(max(0, size - 8))
    end = file.read(8)
    file.seek(0)
    metadata = int.from_bytes(end[:4], "little")
    if end[4:] != b"PAR1":
        raise _RefusedError("is not a readable Parquet file (it does not end as one)")
    if metadata > limits["metadata_bytes"]:
        raise _RefusedError(f"has {metadata:,} bytes of metadata; at most {limits['metadata_bytes']:,} are read")


def _copy(file: IO[bytes], target: IO[bytes], columns: Mapping[str, str], limits: Limits) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    bounds = {"thrift_string_size_limit": limits["metadata_bytes"], "thrift_container_size_limit": 1_000_000}
    whole = {"pre_buffer": False, "buffer_size": 2**20, **bounds}
    with pq.ParquetFile(file, **whole) as found:
        _check_sizes(found.metadata, limits)
        _check_types(found.schema_arrow, columns)
        leaves = [found.schema.column(i) for i in range(len(found.schema))]
        # Dictionaries in lists are something that Arrow cannot always read.
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY" and not leaf.max_repetition_level]
    plain = _plain_schema(found.schema_arrow)
    file.seek(0)
    used, rows = 0, 0
    with pq.ParquetFile(file, read_dictionary=texts, **whole) as found, pa.ipc.new_stream(target, plain) as writer:
        for batch in found.iter_batches(_BATCH_ROWS, use_threads=False):
            rows += batch.num_rows
            used += _checked_bytes(batch, columns, limits)
            if rows > limits["rows"]:
                raise _RefusedError(f"has more than {limits['rows']:,} rows")
            if used > limits["unpacked_bytes"]:
                raise _RefusedError(f"unpacks to more than {limits['unpacked_bytes']:,} bytes")
            table = pa.table(list(batch.columns), names=plain.names).cast(plain)
            table.validate(full=True)
            writer.write_table(table)
    return used


def _check_sizes(meta: Any, limits: Limits) -> None:
    if meta.num_rows > limits["rows"]:
        raise _RefusedError(f"has {meta.num_rows:,} rows; at most {limits['rows']:,} are read")
    if meta.num_columns > limits["columns"]:
        raise _RefusedError(f"has {meta.num_columns:,} columns; at most {limits['columns']:,} are read")
    parts = meta.num_row_groups * meta.num_columns
    if parts > limits["parts"]:
        raise _RefusedError(f"has {parts:,} parts (row groups times columns); at most {limits['parts']:,} are read")


def _check_types(schema: Any, columns: Mapping[str, str]) -> None:
    missing = [name for name in columns if name not in schema.names]
    if missing:
        raise _RefusedError(f"lacks the columns {', '.join(missing)}")
    if len(set(schema.names)) < len(schema.names):
        raise _RefusedError("has a column twice")
    for name, kind in columns.items():
        if not _is_of_kind(schema.field(name).type, kind):
            raise _RefusedError(f"does not hold {kind} in its column {name}")
    for field in schema:
        if not _is_plain(field.type):
            told = f"{str(field.type)[:80]} in its column {field.name[:80]}"
            raise _RefusedError(f"holds {told}, and only numbers, text and lists of them are read")


def _is_of_kind(type_: Any, kind: str) -> bool:
    import pyarrow.types as t

    if t.is_dictionary(type_):
        return _is_of_kind(type_.value_type, kind)
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


def _is_plain(type_: Any, *, lists: bool = True) -> bool:
    """Whether a column is of numbers, text, nothing, or lists of these."""
    import pyarrow.types as t

    if t.is_dictionary(type_):
        return _is_plain(type_.value_type, lists=False)
    if lists and (t.is_list(type_) or t.is_large_list(type_)):
        return _is_plain(type_.value_type, lists=False)
    kinds = (t.is_integer, t.is_floating, t.is_boolean, t.is_string, t.is_large_string, t.is_null)
    return any(kind(type_) for kind in kinds)


def _checked_bytes(batch: Any, columns: Mapping[str, str], limits: Limits) -> int:
    """What a batch takes as Python sees it, in bytes, before its text is unpacked.

    Raises:
        _RefusedError: a cell is empty that must not be, or too large.
    """
    import pyarrow.compute as pc

    total = 0
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if column.null_count and name in columns and "nothing" not in columns[name]:
            raise _RefusedError(f"has empty cells in its column {name}")
        for array in _levels(column):
            if hasattr(array.type, "value_type") and not hasattr(array, "indices"):
                longest = pc.max(pc.list_value_length(array)).as_py() or 0
                if longest > limits["cell_values"]:
                    raise _RefusedError(
                        f"has more than {limits['cell_values']:,} values in one cell of its column {name}"
                    )
                total += _LIST_BYTES * len(array)
            elif longest := _text_lengths(array):
                most, text = longest
                if most > limits["cell_bytes"]:
                    raise _RefusedError(
                        f"has more than {limits['cell_bytes']:,} bytes in one cell of its column {name}"
                    )
                total += text + _TEXT_BYTES * len(array)
            else:
                total += 8 * len(array)
    return total


def _levels(array: Any) -> Iterator[Any]:
    """A column, and for lists what lies in them."""
    yield array
    while hasattr(array.type, "value_type") and not hasattr(array, "indices"):
        array = array.flatten()
        yield array


def _text_lengths(array: Any) -> tuple[int, int] | None:
    """Bytes of the longest text of an array, and of all of it; None where it holds none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = array.dictionary if hasattr(array, "indices") else array
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        return None
    lengths = pc.cast(pc.binary_length(values), pa.int64())
    most = pc.max(lengths).as_py() or 0
    if hasattr(array, "indices"):
        lengths = lengths.take(array.indices)
    return most, pc.sum(lengths).as_py() or 0


def _plain_schema(schema: Any) -> Any:
    """The schema with 64-bit text instead of dictionaries, and without metadata, which nobody needs."""
    import pyarrow as pa

    def plain(type_: Any) -> Any:
        if pa.types.is_dictionary(type_):
            return plain(type_.value_type)
        if pa.types.is_list(type_) or pa.types.is_large_list(type_):
            return pa.list_(plain(type_.value_type))
        return pa.large_string() if type_ == pa.string() else type_

    return pa.schema([(field.name, plain(field.type)) for field in schema])


if __name__ == "__main__":
    main()
