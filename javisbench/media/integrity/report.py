"""What is said of a container: what it promises, what is broken, what lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from javisbench.clip import Damage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_SAID = 8
"""Sentences about one kind of damage, at most; the rest is counted."""


@dataclass(frozen=True)
class Fault:
    """The structure itself is broken: something is lost for certain.

    Attributes:
        message: what is wrong and where, without the file's name and without a full stop.
        position: the byte of the file.
        kind: the kind of `MediaError` to refuse the clip with: ``short_read`` where the structure is broken,
            ``decode_error`` or ``bad_audio`` where coded data shows its damage by itself.
    """

    message: str
    position: int
    kind: str = "short_read"


@dataclass(frozen=True)
class Promised:
    """What the container declares and holds, by its own tables; None where it does not say.

    Attributes:
        frames: pictures of the main video track that are to be shown (edit lists applied, hidden ones left out).
        picture_s: seconds from the first picture's start to the last one's end.
        sound_s: seconds from the first sound packet's start to the last one's end, pauses included.
        duration_s: seconds of the whole, as the header says.
        fps: rate that the header states, which may be absurd.
        frame_s: seconds of the longest usual picture, the tolerance of ``picture_s``.
        packet_s: seconds of the longest usual sound packet, the tolerance of ``sound_s``.
    """

    frames: int | None = None
    picture_s: float | None = None
    sound_s: float | None = None
    duration_s: float | None = None
    fps: float | None = None
    frame_s: float = 0.0
    packet_s: float = 0.0


@dataclass(frozen=True)
class Integrity:
    """What the walk through a container found.

    Attributes:
        faults: the broken places; empty when the structure holds together.
        promised: what decoding has to give.
        doubts: damage that shows in the structure alone (`shortfalls` hands it on).
    """

    faults: tuple[Fault, ...] = ()
    promised: Promised = Promised()
    doubts: tuple[Damage, ...] = ()


@dataclass(frozen=True, eq=False)
class Measured:
    """What decoding gave.

    Attributes:
        frame_times_s: presentation times, float64, shape ``(T,)``, ascending, on the container's own clock.
        last_frame_s: seconds that the last frame is shown.
        sound_spans_s: start and end of each stretch of sound without a gap, ascending, on the same clock; () without
            sound.
        declared_fps: rate that the demuxer reports, None without one.
    """

    frame_times_s: NDArray[np.float64]
    last_frame_s: float
    sound_spans_s: tuple[tuple[float, float], ...] = ()
    declared_fps: float | None = None


class BrokenError(Exception):
    """Raised inside a walk at the place where it cannot go on; never leaves this package."""

    def __init__(self, message: str, position: int, kind: str = "short_read") -> None:
        super().__init__(message)
        self.fault = Fault(message, position, kind)


def damaged_data(is_picture: bool, at: int, complaint: str) -> BrokenError:
    """Coded data at byte ``at`` that no encoder writes."""
    what, kind = ("picture", "decode_error") if is_picture else ("sound", "bad_audio")
    return BrokenError(f"damaged {what} data at byte {at:,} ({complaint})", at, kind)


def cut_off(missing: int, position: int) -> BrokenError:
    """The file ends before something that it announces; ``missing`` bytes lack."""
    return BrokenError(f"the file is cut off; {missing:,} bytes are missing", position)


OPEN_END = Damage(
    "it was recorded live and says nowhere how long it is: whether its end is missing cannot be told", certain=False
)
"""Of a file that holds together, but may have been ended, or cut, between any two of its clusters or fragments."""
