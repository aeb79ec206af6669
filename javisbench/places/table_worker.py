"""The process that reads tables of clips: ``python -m javisbench.places.table_worker``; see `javisbench.places.tables`.

Standard input is a socket (`javisbench.isolated.wire`). One request says what is wanted of a Parquet file, whose bytes
the parent brings piece by piece, from wherever the file lies; rows go back as they are read. What the file says of its
own sizes is not believed: it is read a few rows at a time, text that is too long is refused where it comes, and
whatever takes more memory than may be ends the reading.
"""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from javisbench.isolated import buffers
from javisbench.isolated.process import confine, leave_signals_to_parent
from javisbench.isolated.wire import receive, send

if TYPE_CHECKING:
    import pyarrow.parquet as pq

PIECE_BYTES = 2**23
"""Most that is asked of the parent at once."""

_BATCH_ROWS = 64
_STREAM_BYTES = 2**20
_LONGEST_REASON = 100
_LONGEST_NAME = 1000
_VIDEO_NAMES = ("video", "clip", "mp4")
_ID_NAMES = ("id", "sample_id", "__key__", "key")
_TEXT_NAMES = ("text", "prompt", "caption")

Limits = Mapping[str, int]


class _RefusedError(Exception):
    """A table that is not read.

    Args:
        reason: the rest of a sentence that begins with the table's name.
        kind: of the error that the parent raises: ``damaged``, ``too_large``, ``usage`` or ``no_videos``.
    """

    def __init__(self, reason: str, kind: str) -> None:
        super().__init__(reason)
        self.kind = kind


def main() -> None:
    """Answer one request."""
    # Arrow's own allocators reserve address space by the gigabyte.
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    import pyarrow as pa

    leave_signals_to_parent()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as connection:
        request, _ = receive(connection)
        confine(request["limits"]["memory_bytes"])
        try:
            _answer(connection, request)
            send(connection, {"done": True})
        except _RefusedError as refused:
            send(connection, {"refused": str(refused), "kind": refused.kind})
        except MemoryError:
            most = request["limits"]["memory_bytes"] / 2**30
            send(connection, {"refused": f"takes more than {most:.1f} GiB of memory to read", "kind": "too_large"})
        except (EOFError, BrokenPipeError, ConnectionResetError):
            # The parent wants no more.
            signal.raise_signal(signal.SIGTERM)


class _Brought(io.RawIOBase):
    """A file whose bytes the parent has."""

    def __init__(self, connection: socket.socket, size: int) -> None:
        super().__init__()
        self._connection = connection
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._at)
        left = left if size is None or size < 0 else min(left, size)
        parts = []
        while left:
            send(self._connection, {"read": [self._at, min(left, PIECE_BYTES)]})
            answer, (descriptor,) = receive(self._connection)
            try:
                part = os.pread(descriptor, answer["bytes"], 0)
            finally:
                os.close(descriptor)
            if not part:
                break
            parts.append(part)
            self._at += len(part)
            left -= len(part)
        return b"".join(parts)


def _answer(connection: socket.socket, request: Mapping[str, Any]) -> None:
    import pyarrow as pa

    file = _Brought(connection, request["size"])
    try:
        with _opened(file, request["limits"]) as table:
            if request["group"] is None:
                _list(connection, table, request["prompts"], request["limits"])
            else:
                _send_group(connection, table, request["group"], request["column"])
    except (MemoryError, EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except (pa.ArrowException, ValueError, TypeError, KeyError, IndexError, OverflowError, OSError) as error:
        told = " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
        raise _RefusedError(f"is no Parquet table that can be read ({told})", "damaged") from error


def _opened(file: io.RawIOBase, limits: Limits) -> pq.ParquetFile:
    """An open table, whose metadata is small enough, and which does not say that it is larger than may be."""
    import pyarrow.parquet as pq

    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    end = file.read(8) or b""
    file.seek(0)
    if end[4:] != b"PAR1":
        raise _RefusedError("is no Parquet table (it does not end as one)", "damaged")
    metadata = int.from_bytes(end[:4], "little")
    _check(metadata, limits["metadata_bytes"], "bytes of metadata")
    table = pq.ParquetFile(
        file,
        pre_buffer=False,
        # Else a row group's column is read whole.
        buffer_size=_STREAM_BYTES,
        thrift_string_size_limit=limits["metadata_bytes"],
        thrift_container_size_limit=1_000_000,
    )
    names = table.schema_arrow.names
    if len(set(names)) < len(names):
        raise _RefusedError("has a column twice", "damaged")
    _check(table.metadata.num_rows, limits["rows"], "rows")
    parts = table.metadata.num_row_groups * table.metadata.num_columns
    _check(parts, limits["parts"], "parts (row groups times columns)")
    return table


def _check(has: int, most: int, what: str) -> None:
    if has > most:
        raise _RefusedError(f"has {has:,} {what}; at most {most:,} are read", "too_large")


def _list(connection: socket.socket, table: pq.ParquetFile, prompts: bool, limits: Limits) -> None:
    """Send the rows' names and prompts, some at a time, after the columns that they stand in."""
    column = _video_column(table)
    names = set(table.schema_arrow.names)
    id_column = next((name for name in _ID_NAMES if name in names), None)
    text_column = next((name for name in _TEXT_NAMES if name in names), None) if prompts else None
    send(connection, {"column": column})
    wanted = [f"{column}.path", *filter(None, (id_column, text_column))]
    found = 0
    for group in range(table.num_row_groups):
        for batch in table.iter_batches(_BATCH_ROWS, [group], columns=wanted, use_threads=False):
            if batch.nbytes > _BATCH_ROWS * limits["text_bytes"]:
                raise _RefusedError(
                    f"has {batch.nbytes:,} bytes of names and prompts in a few rows; at most "
                    f"{limits['text_bytes']:,} each are read",
                    "too_large",
                )
            found += batch.num_rows
            if found > limits["rows"]:
                raise _RefusedError(f"has {found:,} rows or more; at most {limits['rows']:,} are read", "too_large")
            rows = [
                [_id_of(row, id_column), _path_of(row.get(column)), str(row.get(text_column) or "")]
                for row in batch.to_pylist()
            ]
            _send_data(connection, {"group": group}, json.dumps(rows).encode())


def _send_group(connection: socket.socket, table: pq.ParquetFile, group: int, column: str) -> None:
    """Send the clips of a row group, one by one."""
    id_column = next((name for name in _ID_NAMES if name in table.schema_arrow.names), None)
    wanted = [f"{column}.bytes", f"{column}.path", *filter(None, [id_column])]
    for batch in _single_rows(table, group, wanted):
        (row,) = batch.to_pylist()
        cell = row.get(column) or {}
        data = cell.get("bytes")
        if data is not None and not isinstance(data, bytes):
            raise _RefusedError(f"holds no bytes in its column {column[:80]}", "damaged")
        _send_data(connection, {"id": _id_of(row, id_column), "path": _path_of(cell)}, data or b"")


def _single_rows(table: pq.ParquetFile, group: int, columns: list[str]) -> Iterator[Any]:
    for batch in table.iter_batches(1, [group], columns=columns, use_threads=False):
        if batch.num_rows:
            yield batch


def _id_of(row: Mapping[str, Any], column: str | None) -> str | None:
    given = row.get(column) if column else None
    return None if given is None or isinstance(given, bool) else str(given)[:_LONGEST_NAME]


def _path_of(cell: Any) -> str:
    return str((cell or {}).get("path") or "")[-_LONGEST_NAME:]


def _send_data(connection: socket.socket, message: dict[str, Any], data: bytes) -> None:
    descriptor = buffers.create()
    try:
        with os.fdopen(os.dup(descriptor), "wb") as target:
            target.write(data)
        send(connection, {**message, "bytes": len(data)}, [descriptor])
    finally:
        buffers.close(descriptor)


def _video_column(table: pq.ParquetFile) -> str:
    """The column of structs of ``bytes`` and ``path`` that holds videos: the one called so, or the only one."""
    import pyarrow as pa

    able = [
        field.name
        for field in table.schema_arrow
        if pa.types.is_struct(field.type) and {"bytes", "path"} <= {part.name for part in field.type}
    ]
    named = [name for name in able if name.lower() in _VIDEO_NAMES]
    if not able:
        raise _RefusedError("has no column of videos (bytes and path)", "no_videos")
    if len(named or able) != 1:
        has = ", ".join(name[:80] for name in able[:20])
        raise _RefusedError(f"has no single column of videos (bytes and path); it has {has}", "usage")
    return str((named or able)[0])


if __name__ == "__main__":
    main()
