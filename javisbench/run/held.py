"""A run folder in one job's hands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from javisbench.durable import locked, sweep_temporaries
from javisbench.errors import JavisbenchError
from javisbench.run.log import run_log
from javisbench.run.progress import Progress, Silent

_OF_A_START = frozenset((".lock", "log.txt"))


@contextlib.contextmanager
def held(run: Path, progress: Progress | None) -> Iterator[Progress]:
    """Inside, the folder is locked, rid of what a killed job left, and its log is written.

    Args:
        run: the run's folder; made when it is not there, and taken back when it then fails with nothing in it.
        progress: what to show besides; None for nothing.

    Yields:
        progress that is logged too.

    Raises:
        RunError: another process works in it, or it cannot be written to.
    """
    made = [folder for folder in (run, *run.absolute().parents) if not folder.exists()]
    try:
        with locked(run), run_log(run, progress or Silent()) as shown:
            sweep_temporaries(run)
            yield shown
    except JavisbenchError:
        _take_back(run, made)
        raise


def _take_back(run: Path, made: list[Path]) -> None:
    """Remove the folders of a start that failed before anything was in them; an earlier run's stay."""
    if run not in made or not run.is_dir() or not {entry.name for entry in run.iterdir()} <= _OF_A_START:
        return
    with contextlib.suppress(OSError):
        for name in _OF_A_START:
            (run / name).unlink(missing_ok=True)
        for folder in made:
            folder.rmdir()
