"""Which frames of a clip a network sees: evenly spaced ones, both ends included."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import Timeline


def evenly_spaced_indices(frame_count: int, n: int) -> NDArray[np.int64]:
    """Indices of `n` frames evenly spaced over a clip at a constant rate, the first and the last frame included.

    Fewer than `n` frames are repeated. `evenly_spaced_positions` has the arithmetic.

    Args:
        frame_count: frames to choose from, at least 1.
        n: indices to return, at least 1; a single index is 0.

    Returns:
        int64, shape ``(n,)``, not decreasing, within ``[0, frame_count - 1]``.

    Raises:
        ValueError: `frame_count` or `n` below 1.
    """
    return np.rint(evenly_spaced_positions(frame_count, n)).astype(np.int64)


def evenly_spaced_positions(frame_count: int, n: int) -> NDArray[np.float32]:
    """`n` places evenly spaced from 0 to ``frame_count - 1``, both included.

    They are computed in float32, from the nearer end, because published numbers were made so: float64 picks another
    frame where a place falls on a half.

    Args:
        frame_count: frames to choose from, at least 1.
        n: places to return, at least 1; a single one is 0.

    Returns:
        float32, shape ``(n,)``, not decreasing.

    Raises:
        ValueError: `frame_count` or `n` below 1.
    """
    if frame_count < 1 or n < 1:
        raise ValueError(f"evenly spaced frames need frame_count >= 1 and n >= 1; got {frame_count} and {n}")
    if n == 1:
        return np.zeros(1, dtype=np.float32)
    last = np.float32(frame_count - 1)
    step = last / np.float32(n - 1)
    order = np.arange(n, dtype=np.float32)
    # From the end, product and difference are rounded once, as a fused multiply-add does it.
    from_end = (np.float64(last) - np.float64(step) * order[::-1].astype(np.float64)).astype(np.float32)
    return np.where(order < n // 2, step * order, from_end)


def evenly_spaced_frames(timeline: Timeline, n: int, seconds: float | None = None) -> NDArray[np.int64]:
    """`n` frames evenly spaced in time, the first and the last one included.

    Args:
        timeline: when the frames are shown.
        n: frames to return, at least 1; fewer are repeated.
        seconds: choose among the frames that appear before so many have passed; None for all.

    Returns:
        int64, shape ``(n,)``, not decreasing.
    """
    count = len(timeline) if seconds is None else max(1, timeline.frames_before(Fraction(str(seconds))))
    return timeline.nearest(evenly_spaced_positions(count, n), count)
