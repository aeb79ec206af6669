"""Checks of clips of one result, folded into one line: how many clips are clean, and what the others are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from javisbench.results.table import metric_order
from javisbench.results.verdicts import fault_of

if TYPE_CHECKING:
    from javisbench.results.run_folder import Result


@dataclass(frozen=True)
class FoundFault:
    """What one check has found.

    Attributes:
        metric: id of the check.
        word: what clips with the fault are (``mostly silent``).
        clips: how many have it.
        checked: how many have a value of the check.
    """

    metric: str
    word: str
    clips: int
    checked: int


@dataclass(frozen=True)
class ClipChecks:
    """All checks of a result.

    Attributes:
        clips: that any check has a value for.
        clean: those that no check has found a fault in.
        faults: of every check, in the order of tables, also where it has found none.
    """

    clips: int
    clean: int
    faults: tuple[FoundFault, ...]

    @property
    def line(self) -> str:
        """``70 of 72 clips clean; 2 mostly silent``."""
        found = sorted((fault for fault in self.faults if fault.clips), key=lambda fault: -fault.clips)
        return "; ".join(
            [f"{self.clean:,} of {self.clips:,} clips clean", *(f"{fault.clips:,} {fault.word}" for fault in found)]
        )


def clip_checks(result: Result) -> ClipChecks | None:
    """The checks of a result's clips; None where it has no scores of single clips, or no checks.

    Raises:
        RunError: the scores are there but damaged.
    """
    import numpy as np

    frame = result.scores()
    if frame is None:
        return None
    checks = [(metric, fault) for metric in metric_order(frame.columns) if (fault := fault_of(metric)) is not None]
    seen, faulty = np.zeros(len(frame), np.bool_), np.zeros(len(frame), np.bool_)
    faults = []
    for metric, fault in checks:
        values = frame[metric].to_numpy(dtype=np.float64)
        bad = fault.has(values)
        seen |= ~np.isnan(values)
        faulty |= bad
        faults.append(FoundFault(metric, fault.word, int(bad.sum()), int((~np.isnan(values)).sum())))
    if not seen.any():
        return None
    return ClipChecks(int(seen.sum()), int((seen & ~faulty).sum()), tuple(faults))
