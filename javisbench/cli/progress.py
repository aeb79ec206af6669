"""Progress on stderr, over the whole job: a bar on a terminal, a plain line now and then into a log."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from javisbench.cli import output
from javisbench.run.progress import Job, Progress, Silent, Stage, Step
from javisbench.text import printable

if TYPE_CHECKING:
    from rich.progress import Progress as RichBar
    from rich.progress import TaskID

# A line every ten seconds at first; every minute once that would be many.
_LINE_EVERY_S = 10.0
_LATER_EVERY_S = 60.0
_LATER_S = 600.0


def make_progress(quiet: bool) -> Progress:
    """What fits the terminal at hand."""
    if quiet:
        return Silent()
    return Bars() if sys.stderr.isatty() else Lines()


class Bars:
    """A bar a stage, with the whole job's facts behind it."""

    def __init__(self) -> None:
        self._job = Job()

    def expect(self, steps: Sequence[Step]) -> None:
        """Take note of the stages to come."""
        self._job.expect(steps)

    @contextlib.contextmanager
    def stage(self, title: str, total: int, unit: str = "clips") -> Iterator[Stage]:
        """A bar of `total` items."""
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn
        from rich.progress import Progress as RichBar
        from rich.text import Text

        job = self._job

        class Facts(ProgressColumn):
            """Told anew at every refresh: time passes while a clip takes minutes."""

            def render(self, task: Task) -> Text:
                return Text(", ".join(facts(job, unit)), no_wrap=True, overflow="ellipsis")

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=10),
            MofNCompleteColumn(),
            Facts(),
        )
        job.begin(title, total)
        with RichBar(*columns, console=output.console(err=True)) as bar:
            yield _BarStage(bar, bar.add_task(printable(title), total=total), job)
        job.end()

    def say(self, message: str) -> None:
        """A line on stderr."""
        output.line(message, err=True)


class _BarStage:
    def __init__(self, bar: RichBar, task: TaskID, job: Job) -> None:
        self._bar, self._task, self._job = bar, task, job

    def advance(self, done: int = 1, failed: str | None = None) -> None:
        """Move the bar."""
        self._job.advance(done, failed)
        self._bar.update(self._task, advance=done)


class Lines:
    """Plain lines, for logs and pipes: at a stage's end, and now and then on the way.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._job = Job(clock)
        self._begun = self._shown = clock()

    def expect(self, steps: Sequence[Step]) -> None:
        """Take note of the stages to come."""
        self._job.expect(steps)

    @contextlib.contextmanager
    def stage(self, title: str, total: int, unit: str = "clips") -> Iterator[Stage]:
        """A stage of `total` items."""
        self._job.begin(title, total)
        self._shown = self._clock()
        yield _LineStage(self, unit)
        self.show(unit)
        self._job.end()

    def say(self, message: str) -> None:
        """A line on stderr."""
        output.line(message, err=True)

    def advance(self, done: int, failed: str | None, unit: str) -> None:
        """Count; print when the last line is old enough."""
        self._job.advance(done, failed)
        now = self._clock()
        every = _LATER_EVERY_S if now - self._begun > _LATER_S else _LINE_EVERY_S
        if now - self._shown >= every and self._job.done < self._job.total:
            self.show(unit)

    def show(self, unit: str) -> None:
        """Print how far the job is."""
        self._shown = self._clock()
        job = self._job
        output.line(", ".join([f"{job.title}: {job.done}/{job.total}", *facts(job, unit)]), err=True)


class _LineStage:
    def __init__(self, lines: Lines, unit: str) -> None:
        self._lines, self._unit = lines, unit

    def advance(self, done: int = 1, failed: str | None = None) -> None:
        """Count."""
        self._lines.advance(done, failed, self._unit)


def facts(job: Job, unit: str) -> list[str]:
    """Pace, failures so far, time left of the whole job and its share, GPU memory; what is not known is left out."""
    failed = f"{len(job.failed)} failed so far" if job.failed else ""
    # What matters most comes first: a narrow terminal cuts the end.
    return [text for text in (_pace(job.pace_s, unit), failed, _left(job), _gpu()) if text]


def _pace(seconds: float | None, unit: str) -> str:
    if not seconds:
        return ""
    return f"{1 / seconds:.1f} {unit}/s" if seconds < 1 else f"{seconds:.1f} s a {unit.removesuffix('s')}"


def _left(job: Job) -> str:
    left, untimed = job.left_s, job.untimed
    if left is None:
        return ""
    if untimed:
        known = f"about {_about(left)} left and " if left >= 1 else ""
        return f"{known}{', '.join(untimed)} (not timed yet)"
    return f"about {_about(left)} left ({job.share:.0%} done)" if left >= 1 else ""


def _about(seconds: float) -> str:
    """A time in the two digits that an estimate deserves."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def _gpu() -> str:
    """The most GPU memory that this process has taken; empty without a GPU, or before it is used."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return ""
    return f"GPU {torch.cuda.max_memory_reserved() / 2**30:.1f} GiB"
