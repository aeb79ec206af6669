"""The parent's end of a process that works for one device (`javisbench.run.device_process` is the other)."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from javisbench.errors import RunError, SystemFaultError
from javisbench.isolated.process import import_path
from javisbench.run.device_messages import LogLine

log = logging.getLogger(__name__)
_MODULE = "javisbench.run.device_process"
_TRIES = 2
_END_TIMEOUT_S = 10.0


class DeviceWorker:
    """One process, started with the first message, and again with the next one after it has died.

    Args:
        device: torch device, for messages.
        setup: makes what the process is told first.
        environment: what it has beside this process's own environment.
    """

    def __init__(self, device: str, setup: Callable[[], object], environment: Mapping[str, str] | None = None) -> None:
        self.device = device
        self._setup = setup
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def start(self) -> Connection:
        """Start the process if there is none; returns where its messages come from."""
        if self._connection is None:
            self._connection = self._started()
        return self._connection

    def send(self, message: object) -> Connection:
        """Send a message; returns where the answers come from."""
        connection = self.start()
        try:
            connection.send(message)
        except OSError:
            log.debug("%s: the process died between two messages", self.device)  # which `hear` will tell
        return connection

    def hear(self) -> Any:
        """The next message, of which lines for the log are written there; None from a process that has died."""
        assert self._connection is not None
        try:
            message = self._connection.recv()
        except (EOFError, OSError):
            return None
        if isinstance(message, LogLine):
            logging.getLogger(message.name).log(message.level, "%s: %s", self.device, message.message)
        return message

    def lost(self, tries: int, clips: int, done: str) -> None:
        """Forget a process that has died at work, which is to be begun again.

        Args:
            tries: how often the work was begun.
            clips: how many it is about.
            done: what is done to them (``encoded``).

        Raises:
            RunError: it has cost too many processes already.
        """
        assert self._process is not None
        code = self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}"
        self.end()
        if tries >= _TRIES:
            # A signal that nobody here has sent is most often the system's, for want of memory.
            raise (SystemFaultError if code < 0 else RunError)(
                f"The process of {self.device} {how} on the same {clips} clips twice. Run the same "
                "command again: it goes on after what is stored; --device takes a single device.",
                kind="device_process",
            )
        log.warning("The process of %s %s; its clips are %s again.", self.device, how, done)

    def leave(self) -> None:
        """Let the process end by itself, which frees what it holds; one that does not is ended."""
        if self._connection is not None and self._process is not None:
            self.send(None)
            try:
                self._process.wait(_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                log.debug("%s: the process did not end by itself", self.device)
        self.end()

    def kill(self) -> None:
        """Kill the process from any thread; whoever waits for its messages hears of it."""
        process = self._process
        if process is not None:
            process.kill()

    def end(self) -> None:
        """End the process."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait(_END_TIMEOUT_S)
        self._process = self._connection = None

    def _started(self) -> Connection:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self._environment, "PYTHONPATH": import_path()},
            )
        connection = Connection(ours.detach())
        try:
            connection.send(self._setup())
        except OSError:
            log.debug("%s: the process died at once", self.device)  # which `hear` will tell
        return connection
