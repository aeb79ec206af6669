"""Clips in Parquet tables, as data sets of the hub keep a video column: each row's bytes, and its prompt beside it.

A table is read by a process of its own, with little memory (`javisbench.places.table_worker`), to which this one
brings the file's bytes from wherever it lies.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from javisbench.errors import SystemFaultError, UsageError
from javisbench.isolated import buffers
from javisbench.isolated.process import Launched, launch, machine_load
from javisbench.isolated.wire import receive, send
from javisbench.places.entry import PROMPT, Entry, check_prompt
from javisbench.places.remote import Remote, version_of
from javisbench.places.table_worker import PIECE_BYTES
from javisbench.places.urls import PlaceError, explained, file_system, shown
from javisbench.system_faults import raise_if_system

MAX_METADATA_BYTES = 64 * 2**20
MAX_ROWS = 5_000_000
MAX_PARTS = 200_000
MAX_TEXT_BYTES = 2**17
"""Of the names and the prompt of a row."""
MAX_MEMORY_BYTES = 4 * 2**30
"""Address space of the process that reads a table (Linux; other systems may not enforce it)."""
DEADLINE_S = 120.0
"""Seconds in which that process says something; in proportion longer on a machine with more to do than it has cores."""

_MODULE = "javisbench.places.table_worker"
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SUFFIX = re.compile(r"\.(?:mp4|mov|mkv|webm|avi)", re.IGNORECASE)


class NoVideosError(UsageError):
    """A table without a column of videos: of prompts, perhaps."""


def cells(url: str, *, prompts: bool) -> Iterator[Entry]:
    """The clips of a table's video column, named by its ``id`` column, else by the names that came with the bytes.

    Raises:
        PlaceError: it is no table, cannot be read, or takes too much to read.
        NoVideosError: it has no column of videos.
        UsageError: it has several columns of videos, or rows without a name that can name a file.
        SystemFaultError: no process can be started, or the system ends it.
    """
    system, path = file_system(url)
    with explained(url, "read"):
        version = version_of(system.info(path))
    column, group, row, read = "", -1, 0, 0
    with closing(_asked(url, {"group": None, "prompts": prompts})) as answers:
        for message, data in answers:
            if "column" in message:
                column = str(message["column"])
                continue
            if message["group"] != group:
                group, row = int(message["group"]), 0
            for given, told, text in json.loads(bytes(data)):
                read += 1
                name = _name(given, told, f"{shown(url)}, row {read}")
                remote = Remote(url, None, version, None, name, (group, row, column))
                row += 1
                yield Entry(name, remote)
                if text:
                    content = str(text).encode("utf-8", "replace")
                    said = replace(remote, size=len(content))
                    check_prompt(said)
                    yield Entry(f"{Path(name).stem}{PROMPT}", said, content)


def bring_row_group(remote: Remote, written: Callable[[Remote], AbstractContextManager[Path | None]]) -> None:
    """Write a clip and its neighbours: a table is read by groups of rows, so one of them costs as much as all.

    Args:
        remote: a cell.
        written: where to write what a cell holds; None when it is there.
    """
    assert remote.cell is not None
    group, wanted, column = remote.cell
    with closing(_asked(remote.url, {"group": group, "column": column})) as answers:
        for row, (message, data) in enumerate(answers):
            if row == wanted and not data:
                raise PlaceError(f"{remote.title}: the table holds no bytes for it.", kind="not_found")
            if not data:
                continue
            name = remote.member if row == wanted else _name(message["id"], str(message["path"]), shown(remote.url))
            with written(replace(remote, member=name, cell=(group, row, column))) as target:
                if target is not None:
                    target.write_bytes(data)


def _name(given: str | None, told: str, place: str) -> str:
    base = told.replace("\\", "/").rpartition("/")[2]
    suffix = Path(base).suffix
    kept = suffix.lower() if _SUFFIX.fullmatch(suffix) else ".mp4"
    stem = Path(base).stem if given is None else given
    if not _SAFE_ID.fullmatch(stem):
        raise UsageError(
            f"{place}: {stem[:60]!r} is no id. Give the table a column id of letters, digits, '.', '_' and '-'."
        )
    return f"{stem}{kept}"


def _asked(url: str, request: dict[str, Any]) -> Generator[tuple[dict[str, Any], memoryview | bytes], None, None]:
    """What the process says of a table, message by message, with the data that comes with each."""
    system, path = file_system(url)
    with explained(url, "read"):
        file = system.open(path, "rb")
    with file:
        with explained(url, "read"):
            size = file.seek(0, os.SEEK_END)
        try:
            launched = launch(_MODULE)
        except OSError as error:
            raise_if_system(error, shown(url))
            raise
        try:
            limits = {
                "metadata_bytes": MAX_METADATA_BYTES,
                "rows": MAX_ROWS,
                "parts": MAX_PARTS,
                "text_bytes": MAX_TEXT_BYTES,
                "memory_bytes": MAX_MEMORY_BYTES,
            }
            _said(url, launched, {**request, "size": size, "limits": limits})
            while True:
                message, descriptors = _heard(url, launched)
                try:
                    if "done" in message:
                        return
                    if "refused" in message:
                        raise _refused(url, message)
                    if "read" in message:
                        _bring(url, launched, file, message["read"])
                    else:
                        yield message, _data(message, descriptors)
                finally:
                    for descriptor in descriptors:
                        os.close(descriptor)
        finally:
            launched.end()


def _bring(url: str, launched: Launched, file: Any, asked: list[int]) -> None:
    """Send a piece of the file."""
    start, size = asked
    with explained(url, "read"):
        file.seek(start)
        data = file.read(min(size, PIECE_BYTES))
    descriptor = buffers.create()
    try:
        with os.fdopen(os.dup(descriptor), "wb") as target:
            target.write(data)
        _said(url, launched, {"bytes": len(data)}, [descriptor])
    finally:
        buffers.close(descriptor)


def _data(message: dict[str, Any], descriptors: list[int]) -> memoryview | bytes:
    if not descriptors or not message["bytes"]:
        return b""
    return memoryview(buffers.map_for_reading(descriptors[0]))[: message["bytes"]]


def _refused(url: str, message: dict[str, Any]) -> PlaceError | UsageError:
    sentence = f"{shown(url)} {message['refused']}."
    if message["kind"] == "no_videos":
        return NoVideosError(sentence)
    return UsageError(sentence) if message["kind"] == "usage" else PlaceError(sentence, kind=str(message["kind"]))


def _said(url: str, launched: Launched, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
    try:
        send(launched.connection, message, descriptors)
    except OSError as error:
        raise _died(url, launched) from error


def _heard(url: str, launched: Launched) -> tuple[dict[str, Any], list[int]]:
    poll = select.poll()
    poll.register(launched.connection, select.POLLIN)
    begun = time.monotonic()
    while not poll.poll(1000):
        spent_s = time.monotonic() - begun
        if spent_s > DEADLINE_S * machine_load():
            raise PlaceError(f"{shown(url)} was not read within {spent_s:.0f} s.", kind="too_large")
    try:
        return receive(launched.connection)
    except (EOFError, ValueError) as error:
        raise _died(url, launched) from error
    except OSError as error:
        raise_if_system(error, shown(url))
        raise _died(url, launched) from error


def _died(url: str, launched: Launched) -> PlaceError | SystemFaultError:
    how = launched.cause_of_death()
    with suppress(OSError):
        if launched.process.poll() == -signal.SIGKILL:
            return SystemFaultError(
                f"{shown(url)} cannot be read: the process that reads it {how}, as when memory is short. Run the same "
                f"command again when there is more."
            )
    return PlaceError(f"{shown(url)} cannot be read: the process that reads it {how}.", kind="damaged")
