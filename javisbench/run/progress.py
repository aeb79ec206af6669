"""How long work says how far it is; the command line draws it, the library stays silent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol


class Stage(Protocol):
    """One stage of a job."""

    def advance(self, done: int = 1, failed: int = 0) -> None:
        """Count items done, and how many of them failed."""


class Progress(Protocol):
    """Something that shows stages and lines."""

    def stage(self, title: str, total: int, unit: str = "clips") -> contextlib.AbstractContextManager[Stage]:
        """A stage of `total` items."""

    def say(self, message: str) -> None:
        """A line that stays."""


class _SilentStage:
    def advance(self, done: int = 1, failed: int = 0) -> None:
        """Show nothing."""


class Silent:
    """Shows nothing."""

    @contextlib.contextmanager
    def stage(self, title: str, total: int, unit: str = "clips") -> Iterator[Stage]:
        """A stage that shows nothing."""
        yield _SilentStage()

    def say(self, message: str) -> None:
        """Say nothing."""
