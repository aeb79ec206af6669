"""Clips in Parquet tables, as data sets of the hub keep a video column: each row's bytes, and its prompt beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import UsageError
from javisbench.places.entry import PROMPT, Entry, check_prompt
from javisbench.places.remote import Remote, version_of
from javisbench.places.urls import PlaceError, explained, file_system, shown

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_VIDEO_NAMES = ("video", "clip", "mp4")
_ID_NAMES = ("id", "sample_id", "__key__", "key")
_TEXT_NAMES = ("text", "prompt", "caption")
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SUFFIX = re.compile(r"\.(?:mp4|mov|mkv|webm|avi)", re.IGNORECASE)


def cells(url: str, *, prompts: bool) -> Iterator[Entry]:
    """The clips of a table's video column, named by its ``id`` column, else by the names that came with the bytes.

    Raises:
        PlaceError: it is no table, or cannot be read.
        UsageError: it has no column of videos, or rows without a name that can name a file.
    """
    system, path = file_system(url)
    with explained(url, "read"):
        version = version_of(system.info(path))
        with system.open(path, "rb") as file, _table(file, url) as table:
            column = _video_column(table, url)
            names = set(table.schema_arrow.names)
            id_column = next((name for name in _ID_NAMES if name in names), None)
            text_column = next((name for name in _TEXT_NAMES if name in names), None) if prompts else None
            wanted = [f"{column}.path", *filter(None, (id_column, text_column))]
            for group in range(table.num_row_groups):
                for row, facts in enumerate(table.read_row_group(group, columns=wanted).to_pylist()):
                    told = (facts.get(column) or {}).get("path") or ""
                    name = _name(facts.get(id_column) if id_column else None, str(told), f"{shown(url)}, row {row}")
                    remote = Remote(url, None, version, None, name, (group, row, column))
                    yield Entry(name, remote)
                    if text_column and facts.get(text_column):
                        text = str(facts[text_column]).encode("utf-8", "replace")
                        said = replace(remote, size=len(text))
                        check_prompt(said)
                        yield Entry(f"{Path(name).stem}{PROMPT}", said, text)


def _table(file: Any, url: str) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise PlaceError(f"{shown(url)} is no Parquet table ({str(error)[:100]}).", kind="damaged") from error


def _video_column(table: pq.ParquetFile, url: str) -> str:
    """The column of structs of ``bytes`` and ``path`` that holds videos: the one called so, or the only one."""
    import pyarrow as pa

    able = [
        field.name
        for field in table.schema_arrow
        if pa.types.is_struct(field.type) and {"bytes", "path"} <= {part.name for part in field.type}
    ]
    named = [name for name in able if name.lower() in _VIDEO_NAMES]
    if len(named or able) != 1:
        has = ", ".join(able or table.schema_arrow.names[:20])
        raise UsageError(f"{shown(url)} has no single column of videos (bytes and path); its columns: {has}.")
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
    import pyarrow.parquet as pq

    assert remote.cell is not None
    group, wanted, column = remote.cell
    system, path = file_system(remote.url)
    with explained(remote.url, "read"), system.open(path, "rb") as file:
        table = pq.ParquetFile(file)
        names = set(table.schema_arrow.names)
        id_column = next((name for name in _ID_NAMES if name in names), None)
        batches = table.iter_batches(
            1, [group], columns=[f"{column}.bytes", f"{column}.path", *filter(None, [id_column])]
        )
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
