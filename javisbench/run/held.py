"""A run folder in one job's hands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from javisbench.durable import locked, sweep_temporaries
from javisbench.run.log import run_log
from javisbench.run.progress import Progress, Silent


@contextlib.contextmanager
def held(run: Path, progress: Progress | None) -> Iterator[Progress]:
    """Inside, the folder is locked, rid of what a killed job left, and its log is written.

    Args:
        run: the run's folder; made when it is not there.
        progress: what to show besides; None for nothing.

    Yields:
        progress that is logged too.

    Raises:
        RunError: another process works in it, or it cannot be written to.
    """
    with locked(run), run_log(run, progress or Silent()) as shown:
        sweep_temporaries(run)
        yield shown
