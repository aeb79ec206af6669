"""Where a video cuts from one shot to the next.

The rule is that of PySceneDetect 0.5.1's content detector with its defaults, which the published numbers were made
with. It is computed here because today's releases have other defaults (threshold 27, cuts near each other merged), and
come as two packages that overwrite each other's module, one of which brings an OpenCV that overwrites the headless one.

Source: PySceneDetect 0.5.1, documentation of ``ContentDetector``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

THRESHOLD = 30.0
LEAST_SHOT_FRAMES = 15
#: A wider picture is compared at every second, third, ... pixel.
MOST_COLUMNS = 600


class Cuts:
    """Compares each frame with the one before.

    Attributes:
        found: positions of frames that begin a shot, the first one's left out.
    """

    def __init__(self) -> None:
        self.found: list[int] = []
        self._before: NDArray[np.int16] | None = None

    def is_cut(self, position: int, frame: NDArray[np.uint8]) -> bool:
        """Whether a shot begins with a frame.

        That is where hue (0..179), saturation and value (0..255) change by 30 or more, averaged over the three and all
        pixels, unless the last cut is less than 15 frames before.

        Args:
            position: of the frame, at 25 frames a second; it grows from call to call.
            frame: uint8 RGB, shape ``(H, W, 3)``, of one size.
        """
        change = self.change(frame)
        long_enough = not self.found or position - self.found[-1] >= LEAST_SHOT_FRAMES
        if change < THRESHOLD or not long_enough:
            return False
        self.found.append(position)
        return True

    def change(self, frame: NDArray[np.uint8]) -> float:
        """Mean absolute change since the frame before; 0 for the first one."""
        import cv2

        step = -(-frame.shape[1] // MOST_COLUMNS)
        seen = np.ascontiguousarray(frame[::step, ::step])
        now = cv2.cvtColor(seen, cv2.COLOR_RGB2HSV).astype(np.int16)
        before, self._before = self._before, now
        return 0.0 if before is None else float(np.abs(now - before).mean(dtype=np.float64))
