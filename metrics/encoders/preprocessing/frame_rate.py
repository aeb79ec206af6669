"""Conversion to another frame rate, as FFmpeg's ``fps`` filter does it: by repeating and dropping frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
