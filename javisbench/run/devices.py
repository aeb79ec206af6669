"""Several devices of one machine: a process for each, which take the clips block by block.

A block is encoded as it would be on one device, batches included (`javisbench.run.encode.BLOCK_CLIPS`), so results do
not depend on how many devices there are. A process that dies is replaced and its block encoded again; features that it
had stored are found.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from javisbench.errors import RunError, SystemFaultError
from javisbench.isolated.process import import_path
from javisbench.run.device_messages import Advance, Block, Failed, LogLine, Outcome, Setup
from javisbench.run.encode import BLOCK_CLIPS, encode_clips, missing_of_clips, spread_errors
from javisbench.run.progress import ENCODING

if TYPE_CHECKING:
    from javisbench.media import ClipSource
    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.run.encode import ContentIndex, EncodeSession
    from javisbench.run.progress import Progress, Stage

log = logging.getLogger(__name__)
_MODULE = "javisbench.run.device_process"
_TRIES = 2
_END_TIMEOUT_S = 10.0


def encode_on_devices(
    wanted: Mapping[ClipSource, Iterable[FeatureSpec]],
    index: ContentIndex,
    session: EncodeSession,
    progress: Progress,
) -> None:
    """Make the clip features that are not stored yet, on all of the session's devices; as `encode_clips` on one."""
    if len(session.devices) == 1:
        encode_clips(wanted, index, session, progress)
        return
    missing = missing_of_clips(wanted, index, session)
    todo = {s: (index.hashes[s], [spec for specs in found.values() for spec in specs]) for s, found in missing.items()}
    if not todo:
        return
    sources = list(todo)
    parts = (sources[start : start + BLOCK_CLIPS] for start in range(0, len(sources), BLOCK_CLIPS))
    tasks = deque(_Task(Block({source: todo[source] for source in part})) for part in parts)
    session.leave_device()  # which the processes need for themselves
    session.store.flush()  # or they would not find what is pending
    with progress.stage(ENCODING, len(todo)) as stage, ExitStack() as stack:
        processes = [_DeviceProcess(session, device) for device in session.devices[: len(tasks)]]
        for process in processes:
            stack.callback(process.end)
        _run(tasks, processes, index, session, stage)
    session.store.refresh()
    spread_errors(wanted, index)


class _Task:
    """A block, how often it was begun, and how many of its clips were counted as done."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.tries = 0
        self.counted = 0


def _run(
    tasks: deque[_Task],
    processes: list[_DeviceProcess],
    index: ContentIndex,
    session: EncodeSession,
    stage: Stage,
) -> None:
    busy: dict[Connection, tuple[_DeviceProcess, _Task]] = {}
    idle = deque(processes)
    while tasks or busy:
        while tasks and idle:
            process, task = idle.popleft(), tasks.popleft()
            busy[process.begin(task)] = process, task
        for connection in wait(list(busy)):
            process, task = busy[connection]  # type: ignore[index]
            message = process.hear()
            if isinstance(message, Advance):
                if task.counted < len(task.block.clips):  # a block that is encoded again counts once
                    task.counted += 1
                    stage.advance(failed=message.failed)
            elif isinstance(message, LogLine):
                logging.getLogger(message.name).log(message.level, "%s: %s", process.device, message.message)
            elif isinstance(message, Failed):
                raise message.error
            else:
                del busy[connection]  # type: ignore[arg-type]
                idle.append(process)
                if isinstance(message, Outcome):
                    _take(message, task, index, session, stage)
                else:
                    tasks.appendleft(process.replace(task))


def _take(outcome: Outcome, task: _Task, index: ContentIndex, session: EncodeSession, stage: Stage) -> None:
    index.errors |= outcome.errors
    session.feature_errors |= outcome.feature_errors
    session.broken |= outcome.broken
    if task.counted < len(task.block.clips):
        stage.advance(len(task.block.clips) - task.counted)


class _DeviceProcess:
    """One process, started when it gets its first block."""

    def __init__(self, session: EncodeSession, device: str) -> None:
        self.device = device
        self._session = session
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def begin(self, task: _Task) -> Connection:
        """Send a block; returns where the answers come from."""
        task.tries += 1
        if self._connection is None:
            self._connection = self._start()
        try:
            self._connection.send(task.block)
        except OSError:
            log.debug("%s: the process died between two blocks", self.device)  # which `hear` will tell
        return self._connection

    def hear(self) -> Any:
        """The next message; None from a process that has died."""
        assert self._connection is not None
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            return None

    def replace(self, task: _Task) -> _Task:
        """Forget a process that has died; the task is to be begun again, by the next one.

        Raises:
            RunError: it has cost too many processes already.
        """
        assert self._process is not None
        code = self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}"
        self.end()
        if task.tries >= _TRIES:
            # A signal that nobody here has sent is most often the system's, for want of memory.
            raise (SystemFaultError if code < 0 else RunError)(
                f"The process of {self.device} {how} on the same {len(task.block.clips)} clips twice. Run the same "
                "command again: it goes on after what is stored; --device takes a single device.",
                kind="device_process",
            )
        log.warning("The process of %s %s; its clips are encoded again.", self.device, how)
        return task

    def end(self) -> None:
        """End the process."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait(_END_TIMEOUT_S)
        self._process = self._connection = None

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": import_path()},
            )
        connection = Connection(ours.detach())
        connection.send(self._setup())
        return connection

    def _setup(self) -> Setup:
        import torch

        session = self._session
        return Setup(
            folder=session.store.folder,
            writer=secrets.token_hex(4),
            encoders={name: (choice.variant, choice.weights) for name, choice in session.encoders.items()},
            device=self.device,
            threads=torch.get_num_threads(),
            workers=max(1, session.workers // len(session.devices)),
            batch_clips=session.batch_clips,
            limits=session.limits,
            precision=session.precision,
            log_level=logging.getLogger("javisbench").getEffectiveLevel(),
            listed=session.listed,
        )
