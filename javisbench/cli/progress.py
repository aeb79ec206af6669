"""Progress on stderr: a bar with rate and time left on a terminal, a line now and then into a log."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from javisbench.run.progress import Progress, Silent, Stage

if TYPE_CHECKING:
    from rich.progress import Progress as RichBar
    from rich.progress import TaskID

_LINE_EVERY_S = 10.0


def make_progress(quiet: bool) -> Progress:
    """What fits the terminal at hand."""
    if quiet:
        return Silent()
    return Bars() if sys.stderr.isatty() else Lines()


class Bars:
    """Rich progress bars."""

    def __init__(self) -> None:
        self._totals = _Totals()

    @contextlib.contextmanager
    def stage(self, title: str, total: int, unit: str = "clips") -> Iterator[Stage]:
        """A bar of `total` items."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichBar

        columns = (
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with RichBar(*columns, console=Console(stderr=True)) as bar:
            yield _BarStage(bar, bar.add_task(title, total=total, facts=""), _Counter(unit, self._totals))

    def say(self, message: str) -> None:
        """A line on stderr."""
        click.echo(message, err=True)


@dataclass
class _Totals:
    """Counts over all stages of the job."""

    failed: int = 0


class _Counter:
    def __init__(self, unit: str, totals: _Totals) -> None:
        self._unit = unit
        self._start = time.monotonic()
        self._totals = totals
        self.done = 0

    def count(self, done: int, failed: int) -> None:
        self.done += done
        self._totals.failed += failed

    @property
    def rate(self) -> float:
        return self.done / max(time.monotonic() - self._start, 1e-9)

    @property
    def facts(self) -> list[str]:
        """Rate, failures so far, GPU memory; empty texts where there is nothing to say."""
        return [self.rate_text, self.failed_text, self.gpu_text]

    @property
    def rate_text(self) -> str:
        return f"{self.rate:.1f} {self._unit}/s"

    @property
    def failed_text(self) -> str:
        return f"{self._totals.failed} failed so far" if self._totals.failed else ""

    @property
    def gpu_text(self) -> str:
        """The most GPU memory that this process has taken; empty without a GPU, or before it is used."""
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
            return ""
        return f"GPU {torch.cuda.max_memory_reserved() / 2**30:.1f} GiB"


class _BarStage:
    def __init__(self, bar: RichBar, task: TaskID, counter: _Counter) -> None:
        self._bar, self._task, self._counter = bar, task, counter

    def advance(self, done: int = 1, failed: int = 0) -> None:
        """Move the bar."""
        self._counter.count(done, failed)

        self._bar.update(self._task, advance=done, facts=", ".join(filter(None, self._counter.facts)))


class Lines:
    """Plain lines, for logs and pipes: at a stage's end, and every ten seconds on the way."""

    def __init__(self) -> None:
        self._totals = _Totals()

    @contextlib.contextmanager
    def stage(self, title: str, total: int, unit: str = "clips") -> Iterator[Stage]:
        """A stage of `total` items."""
        stage = _LineStage(title, total, _Counter(unit, self._totals))
        yield stage
        stage.show()

    def say(self, message: str) -> None:
        """A line on stderr."""
        click.echo(message, err=True)


class _LineStage:
    def __init__(self, title: str, total: int, counter: _Counter) -> None:
        self._title, self._total, self._counter = title, total, counter
        self._shown = time.monotonic()

    def advance(self, done: int = 1, failed: int = 0) -> None:
        """Count; print when the last line is old enough."""
        self._counter.count(done, failed)
        if time.monotonic() - self._shown >= _LINE_EVERY_S:
            self.show()

    def show(self) -> None:
        """Print how far it is."""
        self._shown = time.monotonic()
        counter = self._counter
        left = (self._total - counter.done) / counter.rate if counter.done else 0.0
        parts = [
            f"{self._title}: {counter.done}/{self._total}",
            counter.rate_text,
            counter.failed_text,
            counter.gpu_text,
        ]
        if counter.done < self._total:
            parts.append(f"{left:.0f} s left")
        click.echo(", ".join(part for part in parts if part), err=True)
