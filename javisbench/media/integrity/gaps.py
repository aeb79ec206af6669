"""Pauses that all tracks make together.

One track may stop for a while: a picture is held, a recording has a gap. That all of them stop at once where one part
of the file ends and the next begins is what a missing part looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from javisbench.clip import Damage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_JITTER_S = 0.003
_STEPS_TO_TELL = 8
_DEEPEST_REORDERING = 17  # H.264 and HEVC keep 16 pictures


@dataclass(frozen=True)
class Pause:
    """A stretch in which no track has anything.

    Attributes:
        start_s: where the last one ends.
        end_s: where the first one goes on.
    """

    start_s: float
    end_s: float


def usual_step(times_s: NDArray[np.float64]) -> float:
    """Median of the steps between ascending times in seconds; 0 for fewer than two."""
    import numpy as np

    return float(np.median(np.diff(times_s))) if times_s.size > 1 else 0.0


def displaced(times: Sequence[float] | NDArray[np.float64]) -> int:
    """How many pictures stand further from their place in the order of storage than any codec puts them.

    Args:
        times: presentation times, in the order in which pictures are stored.
    """
    import numpy as np

    order = np.argsort(np.asarray(times, np.float64), kind="stable")
    return int((np.abs(order - np.arange(len(order))) > _DEEPEST_REORDERING).sum())


def common_pauses(tracks: Sequence[NDArray[np.float64]]) -> list[Pause]:
    """Where all tracks pause at the same time, for longer than any one track's usual step.

    A single track counts only when its steps are equal otherwise: then a pause is no trait of it.

    Args:
        tracks: ascending start times in seconds of what each track consists of, shape ``(N,)`` each.
    """
    tracks = [times for times in tracks if times.size]
    if not tracks:
        return []
    if len(tracks) == 1 and not _is_steady(tracks[0]):
        return []
    longest = max(map(usual_step, tracks))
    found = intersection([[*_holes(times), *_end(times, tracks)] for times in tracks])
    least = longest * 0.9 if len(tracks) > 1 else longest * 1.5
    return [pause for pause in found if pause.end_s - pause.start_s > max(least, _JITTER_S)]


def _holes(times_s: NDArray[np.float64]) -> list[Pause]:
    import numpy as np

    if times_s.size < 2:
        return []
    steps = np.diff(times_s)
    usual = float(np.median(steps))
    places = np.flatnonzero(steps > usual + _JITTER_S)
    return [Pause(float(times_s[place]) + usual, float(times_s[place + 1])) for place in places]


def intersection(tracks: Sequence[list[Pause]]) -> list[Pause]:
    """What all tracks' pauses, each ascending, have in common."""
    common = tracks[0] if tracks else []
    for pauses in tracks[1:]:
        common = _both(common, pauses)
    return common


def nothing_during(pause: Pause, step_s: float = 0.0) -> Damage:
    """What to say of a pause; ``step_s``: seconds of a frame, 0 when unknown."""
    lost_s = pause.end_s - pause.start_s
    frames = round(lost_s / step_s) if step_s else 0
    return Damage(f"nothing at all from {pause.start_s:.2f} to {pause.end_s:.2f} s", frames, round(lost_s, 3))


def _both(one: list[Pause], other: list[Pause]) -> list[Pause]:
    """Intersections of two ascending lists."""
    result, i, j = [], 0, 0
    while i < len(one) and j < len(other):
        start, end = max(one[i].start_s, other[j].start_s), min(one[i].end_s, other[j].end_s)
        if start < end:
            result.append(Pause(start, end))
        if one[i].end_s < other[j].end_s:
            i += 1
        else:
            j += 1
    return result


def _end(times_s: NDArray[np.float64], tracks: Sequence[NDArray[np.float64]]) -> list[Pause]:
    """Where a track ends for good, as a pause, if another one pauses at that very moment and goes on later."""
    end_s = float(times_s[-1]) + usual_step(times_s)
    for other in tracks:
        near = max(usual_step(other), usual_step(times_s)) + _JITTER_S
        if any(abs(hole.start_s - end_s) <= near for hole in _holes(other)):
            return [Pause(end_s, max(float(track[-1]) for track in tracks))]
    return []


def _is_steady(times_s: NDArray[np.float64]) -> bool:
    """Whether nearly all steps are equal, but for rounding."""
    import numpy as np

    if times_s.size <= _STEPS_TO_TELL:
        return False
    steps = np.diff(times_s)
    odd = np.abs(steps - np.median(steps)) > _JITTER_S
    return int(odd.sum()) <= max(1, steps.size // 50)
