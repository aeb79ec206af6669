"""A child process that nobody trusts: own process group, deadlines, bounded output, no endless waiting."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from javisbench.private import redacted
from javisbench.system_faults import awake_s, fault_of

log = logging.getLogger(__name__)
LOG_BYTES = 5 * 2**20
LINE_BYTES = 2**20
TERM_GRACE_S = 2.0
CLOSE_GRACE_S = 10.0
_TAIL_BYTES = 4096
# Time-outs are counted in steps, so that a machine that sleeps or a run that is stopped costs one step at most.
_STEP_S = 0.5
# Waits until its stdin says something or closes. It closes when javisbench is gone, however that happened.
_GUARD = "import os, signal, sys; os.read(0, 1) or os.killpg(int(sys.argv[1]), signal.SIGKILL)"


_PASSED_OVER = 1000
"""Lines on stdout that are no answers, and are logged."""


class ProgramError(Exception):
    """The program ended (``crash``) or did not answer in time (``timeout``)."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class ProgramLog:
    """What programs print, up to `LOG_BYTES`; their pipes are emptied to the end, however much comes.

    Args:
        path: the log file; replaced.
    """

    def __init__(self, path: Path) -> None:
        self._file: IO[str] | None = None
        with contextlib.suppress(OSError):
            self._file = path.open("w", encoding="utf-8", errors="backslashreplace")
        self._left = LOG_BYTES
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        """Add text; beyond the limit it is dropped, and a line says so. A full disk costs the log, not the run."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            if not text or self._file is None or self._left <= 0:
                return
            self._left -= len(text)
            self._file.write(text if self._left > 0 else "\n[more was printed; it is not kept]\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with self._lock, contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
            self._file = None


class Program:
    """A running program.

    Args:
        argv: program and arguments; no shell sees them.
        environment: its environment variables.
        log_file: where its stderr goes (and its stdout unless it talks).
        talks: whether it takes requests on stdin and answers on stdout.

    Raises:
        ProgramError: it cannot be started.
        OSError: the system has no room for it.
    """

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], log_file: ProgramLog, *, talks: bool):
        try:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if talks else subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as error:
            if fault_of(error) is not None:  # no process or descriptor to be had is no fault of a clip
                raise
            raise ProgramError("crash", f"The program {argv[0]} cannot be started: {error.strerror}.") from error
        self._guard = _guard(self._process.pid)
        self._log = log_file
        self._tail = b""
        self._partial = b""
        self._answered = False
        self._passed_over = 0
        printed = self._process.stderr if talks else self._process.stdout
        assert printed is not None
        self._drain = threading.Thread(target=self._empty, args=(printed,), daemon=True)
        self._drain.start()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def cause(self) -> str:
        """How it ended, with the last line that it printed."""
        self._drain.join(1.0)
        code = self._process.poll()
        how = "still runs" if code is None else f"killed by signal {-code}" if code < 0 else f"exit status {code}"
        lines = redacted(self._tail.decode("utf-8", "replace")).strip().splitlines()
        return f"{how}; last line: {lines[-1][:500]}" if lines else how

    def exchange(self, payload: bytes, timeout_s: float, start_timeout_s: float) -> Iterator[dict[str, Any]]:
        """Send requests and yield answers for as long as the caller asks for more.

        Args:
            payload: JSON lines.
            timeout_s: seconds without an answer after which the program counts as hanging.
            start_timeout_s: added while it has not answered at all.

        Raises:
            ProgramError: ``crash`` or ``timeout``.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            for pipe, event in (
                (self._process.stdin, selectors.EVENT_WRITE),
                (self._process.stdout, selectors.EVENT_READ),
            ):
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, event)
            spent_s = 0.0
            while True:
                allowed = timeout_s if self._answered else timeout_s + start_timeout_s
                left = allowed - spent_s
                if left <= 0:
                    raise ProgramError("timeout", f"The program gave no answer within {allowed:g} s and was ended.")
                begun, at_most_s = time.monotonic(), min(left, _STEP_S)
                ready = {key.fileobj for key, _ in selector.select(at_most_s)}
                spent_s += awake_s(at_most_s, time.monotonic() - begun)
                if self._process.stdin in ready:
                    payload = self._write(payload)
                    if not payload:
                        selector.unregister(self._process.stdin)
                if self._process.stdout in ready:
                    begun = time.monotonic()
                    answers = self._read()
                    # A flood of other lines is always ready: going through it is time without an answer, too.
                    spent_s += min(time.monotonic() - begun, _STEP_S)
                    for answer in answers:
                        self._answered = True
                        yield answer
                        # The time that the caller took is not the program's.
                        spent_s = 0.0
                elif not self.alive:
                    raise ProgramError("crash", f"The program ended before it answered ({self.cause()}).")

    def _write(self, payload: bytes) -> bytes:
        assert self._process.stdin is not None
        try:
            return payload[os.write(self._process.stdin.fileno(), payload[: 2**16]) :]
        except BlockingIOError:
            return payload
        except BrokenPipeError:
            # Whether it ended or only closed its stdin shows on its stdout.
            return b""

    def _read(self) -> list[dict[str, Any]]:
        assert self._process.stdout is not None
        try:
            chunk = os.read(self._process.stdout.fileno(), 2**16)
        except BlockingIOError:
            return []
        if not chunk:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(TERM_GRACE_S)
            raise ProgramError("crash", f"The program ended before it answered ({self.cause()}).")
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        if len(self._partial) > LINE_BYTES:
            log.warning("the program printed a line of more than %d bytes to stdout; it is dropped", LINE_BYTES)
            self._partial = b""
        answers = []
        for line in lines:
            answer = _parsed(line)
            if answer is not None:
                answers.append(answer)
            elif self._passed_over <= _PASSED_OVER:
                self._passed_over += 1
                told = "further lines that are no answers are not logged"
                log.debug("%s", f"not an answer: {line[:200]!r}" if self._passed_over <= _PASSED_OVER else told)
        return answers

    def wait(self, timeout_s: float) -> None:
        """Wait for its end.

        Raises:
            ProgramError: ``crash`` (exit status other than 0) or ``timeout``.
        """
        spent_s, code = 0.0, None
        while code is None:
            begun, at_most_s = time.monotonic(), min(timeout_s - spent_s, _STEP_S)
            if at_most_s <= 0:
                raise ProgramError("timeout", f"The program did not end within {timeout_s:g} s and was ended.")
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(at_most_s)
            spent_s += awake_s(at_most_s, time.monotonic() - begun)
        if code != 0:
            raise ProgramError("crash", f"The program failed ({self.cause()}).")

    def finish(self) -> None:
        """Close its stdin and let it end by itself, for `CLOSE_GRACE_S` at most; then end it."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(CLOSE_GRACE_S)
        self.end()

    def end(self) -> None:
        """End it and its children: politely, then for good."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(TERM_GRACE_S)
        # Children may outlive it, in its group.
        self._signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(TERM_GRACE_S)
        self._drain.join(TERM_GRACE_S)
        if self._guard is not None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self._guard.communicate(b".", TERM_GRACE_S)
            # The group is gone by now, so that one which hangs has nothing left to guard.
            self._guard.kill()
            self._guard.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _empty(self, stream: IO[bytes]) -> None:
        partial = b""
        with stream:
            while chunk := os.read(stream.fileno(), 2**16):
                self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
                # Whole lines, so that a secret is not cut in two and missed.
                whole, newline, partial = (partial + chunk).rpartition(b"\n")
                if len(partial) > LINE_BYTES:
                    whole, partial = whole + newline + partial, b""
                self._log.write(redacted((whole + newline).decode("utf-8", "replace")))
            self._log.write(redacted(partial.decode("utf-8", "replace")))


def _guard(group: int) -> subprocess.Popen[bytes] | None:
    """A process that ends a program's group when this process is killed: the program would keep its GPU."""
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARD, str(group)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        log.warning("the program is not guarded against the sudden end of javisbench: %s", error)
        return None


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The answer on a line; None for anything else that programs print (bars, notices).

    NaN, which is no JSON and which Python's `json.dumps` writes, is passed on: whoever reads the answer says so.
    """
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) and "id" in answer else None
