"""Whether a video container holds what it promises.

`examine` walks through a container's structure without decoding anything; `shortfalls` sets what decoding gave against
what the container promises. docs/damage.md lists what is refused and what is flagged, by which evidence.
"""

from __future__ import annotations

import statistics
from itertools import pairwise
from pathlib import Path

from javisbench.clip import Damage
from javisbench.media.integrity.report import Fault, Integrity, Measured, Promised

__all__ = ["Damage", "Fault", "Integrity", "Measured", "Promised", "examine", "shortfalls"]

_LEAST_LOSS_S = 0.05
_JITTER_S = 0.003
_GAPS_TO_TELL = 8


def examine(path: Path, format: str) -> Integrity:
    """Walk through the structure of a video file, in time linear in its size at most.

    Args:
        path: a regular file.
        format: ``matroska``, ``mov`` or ``avi``, as its content shows (`javisbench.media.signature`).

    Returns:
        What is broken, what is promised, what is doubtful. No content of the file makes this raise.

    Raises:
        MediaError: the file cannot be opened or is empty.
    """
    from javisbench.media.integrity.content import Opened

    with Opened(path) as data:
        if format == "matroska":
            from javisbench.media.integrity import matroska

            return matroska.examine(data)
        if format == "mov":
            from javisbench.media.integrity import mov

            return mov.examine(data)
        if format == "avi":
            from javisbench.media.integrity import avi

            return avi.examine(data)
    return Integrity()


def shortfalls(integrity: Integrity, measured: Measured) -> tuple[Damage, ...]:
    """What lacks in a clip that was read, by its structure and by what decoding gave.

    A frame more or less, and 50 ms of sound or one packet, are within what encoders add and decoders drop at the ends.

    Args:
        integrity: of the file, without faults.
        measured: what came out of it.

    Returns:
        One sentence each, with the frames and seconds lost as far as they are known; () when all is there.
    """
    return integrity.doubts + _frames_lost(integrity.promised, measured) + _sound_lost(integrity.promised, measured)


def _frames_lost(promised: Promised, measured: Measured) -> tuple[Damage, ...]:
    times = measured.frame_times_s
    if promised.frames is not None:
        lost = promised.frames - len(times)
        if lost <= 0:
            return ()
        return (Damage(f"{len(times)} of {promised.frames} frames came out", lost, round(lost * promised.frame_s, 3)),)
    if promised.picture_s is None or not len(times):
        return ()
    shown_s = float(times[-1] - times[0]) + measured.last_frame_s
    lost_s = promised.picture_s - shown_s
    if lost_s <= max(_LEAST_LOSS_S, 1.5 * promised.frame_s, measured.last_frame_s):
        return ()
    frames = round(lost_s / promised.frame_s) if promised.frame_s else 0
    return (Damage(f"the picture lasts {shown_s:.2f} of {promised.picture_s:.2f} s", frames, round(lost_s, 3)),)


def _sound_lost(promised: Promised, measured: Measured) -> tuple[Damage, ...]:
    spans = measured.sound_spans_s
    if promised.sound_s is None or not spans:
        return ()
    heard_s = spans[-1][1] - spans[0][0]
    lost_s = promised.sound_s - heard_s
    if abs(lost_s) > _LEAST_LOSS_S + 2 * promised.packet_s:
        message = f"the sound lasts {heard_s:.2f} of {promised.sound_s:.2f} s"
        return (Damage(message, 0, round(max(0.0, lost_s), 3)),)
    if _is_torn(spans):
        return (Damage(f"the sound is in {len(spans)} equal pieces with equal gaps; its time stamps do not fit it"),)
    return ()


def _is_torn(spans: tuple[tuple[float, float], ...]) -> bool:
    """Whether a gap follows each packet, as where the clock is another: no recording pauses like that."""
    lengths = [end - start for start, end in spans[1:-1]]
    gaps = [after[0] - before[1] for before, after in pairwise(spans[1:-1])]
    if len(gaps) < _GAPS_TO_TELL:
        return False
    length, gap = statistics.median(lengths), statistics.median(gaps)
    regular = sum(abs(other - gap) < _JITTER_S for other in gaps) + sum(abs(o - length) < _JITTER_S for o in lengths)
    return gap > _JITTER_S and regular > 0.9 * (len(gaps) + len(lengths))
