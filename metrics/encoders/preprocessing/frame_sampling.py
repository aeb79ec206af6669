"""Which frames of a clip a network sees: evenly spaced ones, both ends included."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def evenly_spaced_indices(frame_count: int, n: int) -> NDArray[np.int64]:
    """Indices of `n` frames evenly spaced over a clip, the first and the last frame included.

    Positions are computed in float32, from the nearer end, and rounded half to even, because published numbers were
    made so: float64 picks another frame where a position falls on a half. Fewer than `n` frames are repeated.

    Args:
        frame_count: frames to choose from, at least 1.
        n: indices to return, at least 1; a single index is 0.

    Returns:
        int64, shape ``(n,)``, not decreasing, within ``[0, frame_count - 1]``.

    Raises:
        ValueError: `frame_count` or `n` below 1.
    """
    if frame_count < 1 or n < 1:
        raise ValueError(f"evenly spaced frames need frame_count >= 1 and n >= 1; got {frame_count} and {n}")
    if n == 1:
        return np.zeros(1, dtype=np.int64)
    last = np.float32(frame_count - 1)
    step = last / np.float32(n - 1)
    order = np.arange(n, dtype=np.float32)
    # From the end, product and difference are rounded once, as a fused multiply-add does it.
    from_end = (np.float64(last) - np.float64(step) * order[::-1].astype(np.float64)).astype(np.float32)
    positions = np.where(order < n // 2, step * order, from_end)
    return np.rint(positions).astype(np.int64)


def frames_shown_within(frame_count: int, fps: Fraction, seconds: float) -> int:
    """How many of a clip's frames appear before `seconds` have passed, at least 1.

    Frame ``i`` appears at ``i / fps`` seconds: 4 s at 24 fps are 96 frames, at 30000/1001 fps 120.

    Args:
        frame_count: frames of the clip.
        fps: frames per second, exact.
        seconds: length of the span from the clip's start in seconds, taken as the decimal number it prints as.
    """
    return max(1, min(frame_count, math.ceil(Fraction(str(seconds)) * fps)))
