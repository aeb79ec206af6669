"""Reading Parquet tables that somebody else may have written: in a process of its own, under limits."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import select
import signal
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import SystemFaultError
from javisbench.isolated import buffers
from javisbench.isolated.process import Launched, launch, machine_load
from javisbench.isolated.wire import receive, send
from javisbench.system_faults import waits_s

if TYPE_CHECKING:
    import pyarrow as pa

_MODULE = "javisbench.isolated.parquet_worker"
_MESSAGE_TIMEOUT_S = 30.0
# Until its process is killed once too often, as it is where memory is short.
_PATIENCE_S = 8.0
# pandas writes an index of its own as such a column.
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True)
class TableLimits:
    """How large a table may be, and how much reading it may cost.

    Attributes:
        file_bytes: of the file.
        metadata_bytes: of its footer: schema, row groups, what pandas noted.
        rows: in all.
        columns: leaves of the schema.
        parts: row groups times columns.
        cell_bytes: of one text.
        cell_values: of one list.
        unpacked_bytes: of all cells as Python holds them: 8 a number, 64 and its length a text, 128 a list.
        memory_bytes: address space of the process that reads (Linux; other systems may not enforce it).
        deadline_s: seconds for one table; on a machine with more to do than it has cores, in proportion longer.
    """

    file_bytes: int = 2**30
    metadata_bytes: int = 16 * 2**20
    rows: int = 5_000_000
    columns: int = 1_000
    parts: int = 200_000
    cell_bytes: int = 100_000
    cell_values: int = 1_000_000
    unpacked_bytes: int = 2 * 2**30
    memory_bytes: int = 2**30
    deadline_s: float = 120.0


class RefusedError(Exception):
    """A table that is not read; the argument says why, as the rest of a sentence that begins with the file's name."""


def read_arrow(path: Path, columns: Mapping[str, str], limits: TableLimits) -> pa.Table:
    """The table in a file: numbers, text and lists of these.

    The file is read by another process with little address space, in batches, and what a batch would unpack to is
    counted before it does: what the file says of its own sizes is not believed. A file that takes too much or brings
    the process down is refused.

    Args:
        path: the file.
        columns: those that must be there, with what their cells must be: ``text``, ``text or nothing``, ``numbers``,
            ``whole numbers``, ``lists of text``, ...
        limits: on its size, and on what reading it may cost.

    Raises:
        RefusedError: too large, damaged, or without one of `columns`, or with cells of another type.
        SystemFaultError: the process that reads is killed again and again, as where memory is short.
        OSError: it cannot be opened, or no process can be started.
        SystemFaultError: the process that reads is killed again and again.
    """
    if path.stat().st_size > limits.file_bytes:
        raise RefusedError(f"has {path.stat().st_size:,} bytes; at most {limits.file_bytes:,} are read")
    with path.open("rb") as file:
        return READER.read(file.fileno(), columns, limits)


class Reader:
    """The process that reads this program's tables: started with the first one, replaced when lost, and one at a time.

    It costs two tenths of a second to start, and a board reads a hundred tables.
    """

    def __init__(self) -> None:
        self._launched: Launched | None = None
        self._owner = 0
        self._turn = threading.Lock()

    def read(self, descriptor: int, columns: Mapping[str, str], limits: TableLimits) -> pa.Table:
        """The table in the open file `descriptor`.

        Raises:
            RefusedError: it cannot be had.
            OSError: no process can be started.
            SystemFaultError: it is killed again and again.
        """
        request = {"columns": dict(columns), "limits": asdict(limits)}
        with self._turn:
            reply, found = self._ask(request, descriptor, limits)
        if "reason" in reply:
            raise RefusedError(str(reply["reason"]))
        return _table_in(found)

    def _ask(
        self, request: dict[str, Any], descriptor: int, limits: TableLimits
    ) -> tuple[dict[str, Any], tuple[int, ...]]:
        waits = waits_s(_PATIENCE_S)
        while True:
            launched = self._ready()
            try:
                send(launched.connection, request, [descriptor])
                _await(launched.connection, limits)
                reply, found = receive(launched.connection)
                return reply, tuple(found)
            except (EOFError, OSError, ValueError) as failure:
                how = launched.cause_of_death()
                code = launched.process.poll()
                self._end()
                # One that has left by itself, after a while without work, has not seen this table; and what kills with
                # this signal is the system, for memory: no table does.
                if code not in (0, -signal.SIGKILL):
                    raise RefusedError(f"cannot be read: the process that reads tables {how}") from failure
                wait_s = next(waits, None)
                if wait_s is None:
                    raise SystemFaultError(
                        f"Tables cannot be read: the process that reads them {how}, as when memory is short. Run the "
                        f"same command again when there is more."
                    ) from failure
                time.sleep(wait_s if code else 0.0)
            except BaseException:
                # What it would answer next is about this table.
                self._end()
                raise

    def _ready(self) -> Launched:
        if self._owner != os.getpid():
            # A fork has a copy of its parent's; speaking with it too would mix up both.
            self._launched = None
        if self._launched is not None and self._launched.process.poll() is not None:
            self._end()
        if self._launched is None:
            self._launched, self._owner = launch(_MODULE), os.getpid()
            atexit.register(self._end)
        return self._launched

    def _end(self) -> None:
        launched, self._launched = self._launched, None
        atexit.unregister(self._end)
        if launched is not None and self._owner == os.getpid():
            launched.end()


READER = Reader()


def _await(connection: socket.socket, limits: TableLimits) -> None:
    """Wait until an answer begins.

    Raises:
        RefusedError: it took too long.
    """
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    begun = time.monotonic()
    while not poll.poll(1000):
        spent_s = time.monotonic() - begun
        if spent_s > limits.deadline_s * machine_load():
            raise RefusedError(f"was not read within {spent_s:.0f} s")
    connection.settimeout(_MESSAGE_TIMEOUT_S)


def _table_in(descriptors: tuple[int, ...]) -> pa.Table:
    """The table that a buffer holds.

    Raises:
        RefusedError: it holds none.
    """
    import pyarrow as pa

    try:
        (descriptor,) = descriptors
        mapping = buffers.map_for_reading(descriptor)
        table = pa.ipc.open_stream(pa.py_buffer(mapping)).read_all()
        kept = [name for name in table.column_names if not _PANDAS_INDEX.fullmatch(name)]
        return table.select(kept)
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise RefusedError(f"cannot be read: the process that reads tables sent nonsense ({error})") from error
    finally:
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
