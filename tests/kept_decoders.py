"""Decoding processes that serve one reader after the other, loaded by the fixture `decoders_are_kept`.

Starting one takes a quarter of a second of processor time, and most tests of runs need one for each reader. A process
reads any number of clips anyway. Where processes are what is tested, every reader starts its own.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from typing import Any

import pytest

from javisbench.isolated.process import Launched
from javisbench.media import given, pool
from javisbench.media.process import Worker

_AT_MOST = 4
# What a process takes from its environment when it starts, as far as it matters to decoding.
_DECISIVE = ("PYTHON", "LD_", "TMPDIR")
Key = tuple[Any, ...]


class KeptDecoders:
    """Processes that wait for the next reader; `end` ends them."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Key, Launched]] = []
        self._lock = threading.Lock()  # a reader starts its processes from several threads

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Meanwhile, readers take processes from here, and leave them here in the end."""
        with pytest.MonkeyPatch.context() as patch:
            for module in (given, pool):
                patch.setattr(module, "Worker", lambda limits: _KeptWorker(limits, self))
            yield

    def take(self, key: Key) -> Launched | None:
        """One that waits, if there is a live one for the same limits."""
        with self._lock:
            fitting = [waiting for waiting in self._waiting if waiting[0] == key]
            for waiting in fitting:
                self._waiting.remove(waiting)
                if _is_idle(waiting[1]):
                    return waiting[1]
                waiting[1].end()
        return None

    def leave(self, key: Key, launched: Launched) -> None:
        """Keep one for the next reader; the oldest of too many ends."""
        with self._lock:
            self._waiting.append((key, launched))
            if len(self._waiting) > _AT_MOST:
                self._waiting.pop(0)[1].end()

    def end(self) -> None:
        """End all of them."""
        while self._waiting:
            self._waiting.pop()[1].end()


class _KeptWorker(Worker):
    """Whose process outlives it, unless that died or was interrupted."""

    def __init__(self, limits: Any, kept: KeptDecoders) -> None:
        super().__init__(limits)
        self._kept = kept

    def _key(self) -> Key:
        decisive = sorted((name, value) for name, value in os.environ.items() if name.startswith(_DECISIVE))
        return (os.getpid(), astuple(self._limits), *decisive)

    def _start_once(self) -> None:
        with self._starting:
            if not self._ended:
                self._launched = self._kept.take(self._key())
        if self._launched is None:
            super()._start_once()

    @contextmanager
    def _conversation(self) -> Iterator[None]:
        with self._starting:  # from now on, whoever ends this worker cannot take it to be idle
            self._talking = True
        with super()._conversation():
            yield

    def kill(self) -> None:
        with self._starting:
            launched = self._launched
            if launched is not None and not self._talking and _is_idle(launched):
                self._launched = None
                self._kept.leave(self._key(), launched)
        super().kill()


def _is_idle(launched: Launched) -> bool:
    """Whether it lives and has said all that it had to say."""
    if launched.process.poll() is not None:
        return False
    poll = select.poll()
    poll.register(launched.connection, select.POLLIN)
    return not poll.poll(0)
