"""Checks of clips, folded into one line: how many are clean, and how many have which fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from javisbench.results.run_folder import StoredResult


@dataclass(frozen=True)
class Found:
    """How many clips have one fault.

    Attributes:
        metric: id of the check (``health_silence``).
        word: what such clips are (``mostly silent``).
        clips: how many.
    """

    metric: str
    word: str
    clips: int


@dataclass(frozen=True)
class Checks:
    """What the checks of a result found.

    Attributes:
        clips: clips that any check looked at.
        clean: those without a fault.
        found: faults that any clip has, in the order of tables. A clip may have several.
    """

    clips: int
    clean: int
    found: tuple[Found, ...]

    @property
    def line(self) -> str:
        """``70 of 72 clips clean; 2 mostly silent``."""
        faults = ", ".join(f"{fault.clips:,} {fault.word}" for fault in self.found)
        return f"{self.clean:,} of {self.clips:,} clips clean" + (f"; {faults}" if faults else "")


def checks_of(result: StoredResult) -> Checks | None:
    """What the checks of a result found, from its scores; None where no check was made, or no scores are at hand.

    Raises:
        RunError: its scores cannot be read.
    """
    import numpy as np

    from javisbench.metrics.registry import METRICS, fault_of

    known = [metric for metric in METRICS if metric in result.metrics]
    faults = {metric: fault for metric in known if (fault := fault_of(metric)) is not None}
    scores = result.scores() if faults else None
    if scores is None:
        return None
    checked, faulty = np.zeros(len(scores), bool), np.zeros(len(scores), bool)
    found = []
    for metric, fault in faults.items():
        if metric not in scores:
            continue
        values = scores[metric].to_numpy(np.float64)
        has = fault.has(values)
        checked |= np.isfinite(values)
        faulty |= has
        if has.any():
            found.append(Found(metric, fault.word, int(has.sum())))
    return Checks(int(checked.sum()), int((checked & ~faulty).sum()), tuple(found))
