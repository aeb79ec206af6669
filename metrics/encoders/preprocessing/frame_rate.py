"""Conversion to another frame rate, as FFmpeg's ``fps`` filter does it: by repeating and dropping frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import Timeline

# Time stamps are rationals; their float64 may lie a hair below the half that rounds up.
_TIE_SLACK = 1e-8


def due_positions(times_s: NDArray[np.float64], fps: int) -> NDArray[np.int64]:
    """The output frame at `fps` next to each time, halves rounded up; it never decreases.

    Args:
        times_s: seconds, shape ``(n,)``.
        fps: of the output.

    Returns:
        int64, shape ``(n,)``.
    """
    positions: NDArray[np.int64] = np.floor(times_s * fps + 0.5 + _TIE_SLACK).astype(np.int64)
    return np.maximum.accumulate(positions)


def shown_frames(due: NDArray[np.int64], outputs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The source frame that each output position shows: the last one that is due by then.

    Args:
        due: of each source frame, as `due_positions` gives it.
        outputs: positions, none before ``due[0]``.

    Returns:
        int64 indices of source frames, of the shape of `outputs`.
    """
    return np.asarray(np.searchsorted(due, outputs, side="right") - 1, dtype=np.int64)


def frames_at_rate(timeline: Timeline, fps: int, limit: int, *, keep_last: bool) -> NDArray[np.int64]:
    """The source frame that each output frame shows.

    A frame is due at the output position next to its time (halves round up) and shown until the next one is due.

    Args:
        timeline: when each frame is due.
        fps: of the output.
        limit: most output frames.
        keep_last: show the last source frame for its own duration, and at least once. Otherwise the output ends
            where the last source frame is due, as FFmpeg's filter does without its final flush (99 frames of 4 s
            from 24 to 25 fps); a clip from which nothing would be left keeps one frame.

    Returns:
        int64, shape ``(n,)``, ``1 <= n <= limit``, not decreasing.
    """
    due = due_positions(timeline.times_s, fps)
    end = int(due[-1])
    if keep_last:
        end = max(end + 1, int(due_positions(np.array([timeline.duration_s]), fps)[0]))
    count = min(max(end - int(due[0]), 1), limit)
    return shown_frames(due, due[0] + np.arange(count))
