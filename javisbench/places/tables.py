"""Clips in Parquet tables, as data sets of the hub keep a video column: each row's bytes, and its prompt beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import UsageError
from javisbench.places.entry import PROMPT, Entry, check_prompt
from javisbench.places.remote import Remote, version_of
from javisbench.places.urls import PlaceError, explained, file_system, shown

if TYPE_CHECKING:
    import pyarrow.parquet as pq

MAX_METADATA_BYTES = 64 * 2**20
MAX_ROWS = 5_000_000
MAX_PARTS = 200_000
MAX_TEXT_BYTES = 2**17
"""Of the names and the prompt of a row."""

_BATCH_ROWS = 64
_VIDEO_NAMES = ("video", "clip", "mp4")
_ID_NAMES = ("id", "sample_id", "__key__", "key")
_TEXT_NAMES = ("text", "prompt", "caption")
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SUFFIX = re.compile(r"\.(?:mp4|mov|mkv|webm|avi)", re.IGNORECASE)


class NoVideosError(UsageError):
    """A table without a column of videos: of prompts, perhaps."""


def cells(url: str, *, prompts: bool) -> Iterator[Entry]:
    """The clips of a table's video column, named by its ``id`` column, else by the names that came with the bytes.

    Raises:
        PlaceError: it is no table, or cannot be read.
        NoVideosError: it has no column of videos.
        UsageError: it has several columns of videos, or rows without a name that can name a file.
    """
    system, path = file_system(url)
    with explained(url, "read"), _whole(url):
        version = version_of(system.info(path))
        with system.open(path, "rb") as file, _table(file, url) as table:
            column = _video_column(table, url)
            names = set(table.schema_arrow.names)
            id_column = next((name for name in _ID_NAMES if name in names), None)
            text_column = next((name for name in _TEXT_NAMES if name in names), None) if prompts else None
            wanted = [f"{column}.path", *filter(None, (id_column, text_column))]
            for group in range(table.num_row_groups):
                for row, facts in enumerate(_rows(table, group, wanted, url)):
                    told = (facts.get(column) or {}).get("path") or ""
                    name = _name(facts.get(id_column) if id_column else None, str(told), f"{shown(url)}, row {row}")
                    remote = Remote(url, None, version, None, name, (group, row, column))
                    yield Entry(name, remote)
                    if text_column and facts.get(text_column):
                        text = str(facts[text_column]).encode("utf-8", "replace")
                        said = replace(remote, size=len(text))
                        check_prompt(said)
                        yield Entry(f"{Path(name).stem}{PROMPT}", said, text)


@contextmanager
def _whole(url: str) -> Iterator[None]:
    """What Arrow says of a damaged table, as a sentence."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, MemoryError, ValueError, TypeError, OSError) as error:
        # What goes wrong with a file or a connection has a number, or a class of its own; Arrow's has neither.
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise
        told = " ".join(str(error).split())[:100]
        raise PlaceError(f"{shown(url)} is no Parquet table that can be read ({told}).", kind="damaged") from error


def _table(file: Any, url: str) -> pq.ParquetFile:
    """An open table, whose metadata is small enough, and which does not say that it is larger than may be.

    What it says need not be true: it is read a few rows at a time, and text that is too long is refused where it comes.
    """
    import pyarrow.parquet as pq

    size = file.seek(0, 2)
    file.seek(max(0, size - 8))
    end = file.read(8)
    file.seek(0)
    if end[4:] != b"PAR1":
        raise PlaceError(f"{shown(url)} is no Parquet table (it does not end as one).", kind="damaged")
    metadata = int.from_bytes(end[:4], "little")
    if metadata > MAX_METADATA_BYTES:
        raise _too_large(url, f"{metadata:,} bytes of metadata", f"{MAX_METADATA_BYTES:,}")
    table = pq.ParquetFile(
        file, pre_buffer=False, thrift_string_size_limit=MAX_METADATA_BYTES, thrift_container_size_limit=1_000_000
    )
    parts = table.metadata.num_row_groups * table.metadata.num_columns
    names = table.schema_arrow.names
    if len(set(names)) < len(names):
        raise PlaceError(f"{shown(url)} has a column twice.", kind="damaged")
    if table.metadata.num_rows > MAX_ROWS:
        raise _too_large(url, f"{table.metadata.num_rows:,} rows", f"{MAX_ROWS:,}")
    if parts > MAX_PARTS:
        raise _too_large(url, f"{parts:,} parts (row groups times columns)", f"{MAX_PARTS:,}")
    return table


def _too_large(url: str, has: str, most: str) -> PlaceError:
    return PlaceError(f"{shown(url)} has {has}; at most {most} are read.", kind="too_large")


def _rows(table: pq.ParquetFile, group: int, columns: list[str], url: str) -> Iterator[dict[str, Any]]:
    """The rows of a group, a few at a time."""
    found = 0
    for batch in table.iter_batches(_BATCH_ROWS, [group], columns=columns, use_threads=False):
        if batch.nbytes > _BATCH_ROWS * MAX_TEXT_BYTES:
            has = f"{batch.nbytes:,} bytes of names and prompts in a few rows"
            raise _too_large(url, has, f"{MAX_TEXT_BYTES:,} each")
        found += batch.num_rows
        if found > MAX_ROWS:
            raise _too_large(url, f"{found:,} rows or more", f"{MAX_ROWS:,}")
        yield from batch.to_pylist()


def _video_column(table: pq.ParquetFile, url: str) -> str:
    """The column of structs of ``bytes`` and ``path`` that holds videos: the one called so, or the only one."""
    import pyarrow as pa

    able = [
        field.name
        for field in table.schema_arrow
        if pa.types.is_struct(field.type) and {"bytes", "path"} <= {part.name for part in field.type}
    ]
    named = [name for name in able if name.lower() in _VIDEO_NAMES]
    if not able:
        raise NoVideosError(f"{shown(url)} has no column of videos (bytes and path).")
    if len(named or able) != 1:
        has = ", ".join(able)
        raise UsageError(f"{shown(url)} has no single column of videos (bytes and path); it has {has}.")
    return str((named or able)[0])


def _name(given: object, told: str, place: str) -> str:
    base = told.replace("\\", "/").rpartition("/")[2]
    suffix = Path(base).suffix
    kept = suffix.lower() if _SUFFIX.fullmatch(suffix) else ".mp4"
    stem = str(given) if given is not None and not isinstance(given, bool) else Path(base).stem
    if not _SAFE_ID.fullmatch(stem):
        raise UsageError(
            f"{place}: {stem[:60]!r} is no id. Give the table a column id of letters, digits, '.', '_' and '-'."
        )
    return f"{stem}{kept}"


def bring_row_group(remote: Remote, written: Callable[[Remote], AbstractContextManager[Path | None]]) -> None:
    """Write a clip and its neighbours: a table is read by groups of rows, so one of them costs as much as all.

    Args:
        remote: a cell.
        written: where to write what a cell holds; None when it is there.
    """
    assert remote.cell is not None
    group, wanted, column = remote.cell
    system, path = file_system(remote.url)
    with explained(remote.url, "read"), _whole(remote.url), system.open(path, "rb") as file:
        table = _table(file, remote.url)
        names = set(table.schema_arrow.names)
        id_column = next((name for name in _ID_NAMES if name in names), None)
        columns = [f"{column}.bytes", f"{column}.path", *filter(None, [id_column])]
        batches = table.iter_batches(1, [group], columns=columns, use_threads=False)
        for row, batch in enumerate(batches):
            cell = batch.column(column)[0].as_py() or {}
            data = cell.get("bytes")
            if row == wanted and not data:
                raise PlaceError(f"{remote.title}: the table holds no bytes for it.", kind="not_found")
            if not data:
                continue
            given = batch.column(id_column)[0].as_py() if id_column else None
            name = remote.member if row == wanted else _name(given, str(cell.get("path") or ""), shown(remote.url))
            with written(replace(remote, member=name, cell=(group, row, column))) as target:
                if target is not None:
                    target.write_bytes(data)
