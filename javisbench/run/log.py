"""``log.txt``: everything that happened in a run folder, job after job."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from javisbench import __version__
from javisbench.errors import JavisbenchError
from javisbench.run.progress import Progress, Stage, Step
from javisbench.text import printable

log = logging.getLogger(__name__)


@contextlib.contextmanager
def run_log(run: Path, progress: Progress) -> Iterator[Progress]:
    """Inside, what the package logs is appended to ``<run>/log.txt``, as far as the logging levels let it through.

    Args:
        run: the run's folder.
        progress: what to show besides.

    Yields:
        `progress`, with its lines and stages logged too.
    """
    package = logging.getLogger("javisbench")
    handler = _Handler(run / "log.txt", encoding="utf-8", errors="backslashreplace", delay=True)
    formatter = LineFormatter("%(asctime)sZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    package.addHandler(handler)
    log.info("javisbench %s begins, process %d on %s", __version__, os.getpid(), socket.gethostname())
    try:
        yield _Logged(progress)
        log.info("done")
    except KeyboardInterrupt:
        log.error("interrupted")
        raise
    except JavisbenchError as error:
        log.error("stopped: %s: %s", error.kind, error.message)
        raise
    except Exception:
        log.exception("stopped by a defect")
        raise
    finally:
        package.removeHandler(handler)
        handler.close()


class LineFormatter(logging.Formatter):
    """A record is one line, whatever stands in its message; lines of a traceback are indented below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name that logging calls
        """The record's line."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name that logging calls
        """The traceback."""
        return "\n".join(f"  {printable(line)}" for line in super().formatException(ei).split("\n"))


class _Handler(logging.FileHandler):
    """A log that cannot be written (full disk) is no reason to stop, nor to print a traceback for every line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, if that is possible."""
        with contextlib.suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        """Say nothing."""


class _Logged:
    """Progress that also goes to the log."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner

    def expect(self, steps: Sequence[Step]) -> None:
        """Pass them on."""
        self._inner.expect(steps)

    @contextlib.contextmanager
    def stage(self, title: str, total: int, unit: str = "clips") -> Iterator[Stage]:
        """A stage whose start and end are logged."""
        log.info("%s: %d %s", title, total, unit)
        started = time.monotonic()
        with self._inner.stage(title, total, unit) as inner:
            stage = _CountedStage(inner)
            try:
                yield stage
            finally:
                seconds = time.monotonic() - started
                log.info("%s: %d of %d %s, %d failed, %.1f s", title, stage.done, total, unit, stage.failed, seconds)

    def say(self, message: str) -> None:
        """A line, shown and logged."""
        log.info("%s", message)
        self._inner.say(message)


class _CountedStage:
    def __init__(self, inner: Stage) -> None:
        self._inner = inner
        self.done = 0
        self.failed = 0

    def advance(self, done: int = 1, failed: str | None = None) -> None:
        """Count, and show."""
        self.done += done
        self.failed += failed is not None
        self._inner.advance(done, failed)
