"""Starting a process for strangers' files, and what it does first: limits, and signals that are not its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, NamedTuple

_END_TIMEOUT_S = 5.0


class Launched(NamedTuple):
    """A process that was started.

    Attributes:
        connection: our end of the socket that is its standard input (`javisbench.isolated.wire`).
        errors: collects what it writes to its standard error.
        process: itself.
    """

    connection: socket.socket
    errors: IO[bytes]
    process: subprocess.Popen[bytes]

    def cause_of_death(self) -> str:
        """How it ended, with the last line that it wrote, if any."""
        try:
            code = self.process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return "stopped answering"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}"
        self.errors.seek(0)
        lines = self.errors.read()[-4096:].decode("utf-8", "replace").strip().splitlines()
        return f"{how} ({lines[-1]})" if lines else how

    def end(self) -> None:
        """Kill it, and give back what it held."""
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_TIMEOUT_S)
        self.connection.close()
        self.errors.close()


def launch(module: str) -> Launched:
    """Start ``python -m module``, with the caller's import path and one thread for every numeric library.

    Raises:
        OSError: no process can be started.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        except OSError:
            ours.close()
            raise
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=_environment(),
            )
        except OSError:
            ours.close()
            errors.close()
            raise
    return Launched(ours, errors, process)


def import_path() -> str:
    """``PYTHONPATH`` for a process that is to import what this one does."""
    import javisbench

    paths = [entry for entry in sys.path if entry]
    root = str(Path(javisbench.__file__).parent.parent)
    if root not in paths:
        paths.append(root)
    return os.pathsep.join(paths)


def _environment() -> dict[str, str]:
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **single, "PYTHONPATH": import_path()}


def machine_load() -> float:
    """Processes that want a core for each core there is, over the last minute; at least 1.

    A deadline times this is fair: a machine with more to do than it has cores gets the same work done later.
    """
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def confine(address_space_bytes: int) -> None:
    """Limit this process's address space, let it leave no core file, and let it go first where memory is short.

    What it does can be done again; the process that started it holds hours of work.
    """
    import resource

    with contextlib.suppress(OSError):  # Linux alone has it
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    size = address_space_bytes if hard == resource.RLIM_INFINITY else min(address_space_bytes, hard)
    # macOS knows the limit but refuses to set it.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (size, hard))


def leave_signals_to_parent() -> None:
    """Signals that reach the whole group of processes are ignored: the parent decides what ends. An alarm ends this."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
