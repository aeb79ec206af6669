"""How long work says how far it is; the command line draws it, the library stays silent."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

GENERATING = "generating"
READING = "reading"
ENCODING = "decoding and encoding"
SCORING = "scoring under "  # and the protocol's name

# Seconds a clip of stages that cost next to nothing: assumed until they are measured, so that they leave no gap.
_LIGHT_S = 0.005


@dataclass(frozen=True)
class Step:
    """A stage that is still to come.

    Attributes:
        title: the stage's.
        total: items in it, as far as is known beforehand.
    """

    title: str
    total: int


class Stage(Protocol):
    """One stage of a job."""

    def advance(self, done: int = 1, failed: str | None = None) -> None:
        """Count items done; `failed` names the clip when it failed, so that it counts once in all stages."""


class Progress(Protocol):
    """Something that shows stages and lines."""

    def expect(self, steps: Sequence[Step]) -> None:
        """Tell which stages are still to come, in their order; replaces what was told before."""

    def stage(self, title: str, total: int, unit: str = "clips") -> contextlib.AbstractContextManager[Stage]:
        """A stage of `total` items."""

    def say(self, message: str) -> None:
        """A line that stays."""


class _SilentStage:
    def advance(self, done: int = 1, failed: str | None = None) -> None:
        """Show nothing."""


class Silent:
    """Shows nothing."""

    def expect(self, steps: Sequence[Step]) -> None:
        """Nothing is shown of them."""

    @contextlib.contextmanager
    def stage(self, title: str, total: int, unit: str = "clips") -> Iterator[Stage]:
        """A stage that shows nothing."""
        yield _SilentStage()

    def say(self, message: str) -> None:
        """Say nothing."""


@dataclass
class Job:
    """How far a job of several stages is, and how long the rest will take.

    Stages that ran tell their pace; the time left is what remains of every stage at its own pace. Stages that were
    never timed are named instead of guessed.

    Attributes:
        clock: monotonic seconds.
        title: of the stage at hand; empty between stages.
        total: its items.
        done: how many of them are done.
        failed: names of the clips that failed in any stage.
    """

    clock: Callable[[], float] = time.monotonic
    title: str = ""
    total: int = 0
    done: int = 0
    failed: set[str] = field(default_factory=set)
    _steps: list[Step] = field(default_factory=list)
    _paces: dict[str, float] = field(default_factory=dict)
    _begun: float = field(init=False)
    _stage_begun: float = field(init=False)

    def __post_init__(self) -> None:
        self._begun = self._stage_begun = self.clock()

    def expect(self, steps: Sequence[Step]) -> None:
        """Take note of the stages to come."""
        self._steps = list(steps)

    def begin(self, title: str, total: int) -> None:
        """Start a stage; expected ones before it had nothing to do."""
        titles = [step.title for step in self._steps]
        if title in titles:
            del self._steps[: titles.index(title) + 1]
        self.title, self.total, self.done = title, total, 0
        self._stage_begun = self.clock()

    def advance(self, done: int, failed: str | None) -> None:
        """Count items, and failed clips once each."""
        self.done += done
        if failed is not None:
            self.failed.add(failed)
        self._paces[self.title] = (self.clock() - self._stage_begun) / self.done

    def end(self) -> None:
        """The stage at hand is over."""
        self.title, self.total, self.done = "", 0, 0

    @property
    def pace_s(self) -> float | None:
        """Seconds an item of the stage at hand; None before the first one is done."""
        return self._paces[self.title] if self.done else None

    @property
    def left_s(self) -> float | None:
        """Seconds for what remains of all stages but the `untimed` ones; None when the stage at hand is untimed."""
        known = sum(step.total * (self._pace(step.title) or 0.0) for step in self._steps)
        if not self.title:
            return known
        pace = self._pace(self.title)
        if pace is None:
            return None
        # The item at hand has begun already.
        spent = self.clock() - self._stage_begun - self.done * pace
        return known + (self.total - self.done) * pace - min(max(0.0, spent), pace * (self.done < self.total))

    @property
    def untimed(self) -> list[str]:
        """Titles of the stages to come that were never timed."""
        return list(dict.fromkeys(s.title for s in self._steps if s.total and self._pace(s.title) is None))

    @property
    def share(self) -> float | None:
        """How much of the whole job's time is over, from 0 to 1; None when some stage was never timed."""
        left = self.left_s
        if left is None or self.untimed:
            return None
        spent = self.clock() - self._begun
        return spent / (spent + left) if spent + left > 0 else 1.0

    def _pace(self, title: str) -> float | None:
        light = title == READING or title.startswith(SCORING)
        return self._paces.get(title, _LIGHT_S if light else None)
