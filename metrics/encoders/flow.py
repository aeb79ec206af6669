"""Optical flow: how much the picture moves from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from javisbench.errors import FeatureError, JavisbenchError
from javisbench.metrics.encoders.base import Encoder, EncoderCard, Features, FeatureSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import Clip


def motion_magnitude(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean optical-flow magnitude of each frame against the one before it.

    Farnebäck flow on luma (pyramid 0.5 with 3 levels, window 15, 3 iterations, polynomial 5 with sigma 1.2).

    Args:
        frames: uint8 RGB, shape ``(T, H, W, 3)``, T >= 1.

    Returns:
        Pixels per frame, float64, shape ``(T,)``. The first frame has none before it and takes the second one's
        value; a single frame moves by 0.

    Source:
        Farnebäck, "Two-frame motion estimation based on polynomial expansion", SCIA 2003, as in OpenCV.
    """
    import cv2

    magnitude = np.zeros(len(frames), dtype=np.float64)
    earlier = cv2.cvtColor(frames[0], cv2.COLOR_RGB2GRAY)
    for index in range(1, len(frames)):
        later = cv2.cvtColor(frames[index], cv2.COLOR_RGB2GRAY)
        flow = cv2.calcOpticalFlowFarneback(
            earlier,
            later,
            None,  # type: ignore[call-overload,unused-ignore]
            pyr_scale=0.5,
            levels=3,
            winsize=15,
            iterations=3,
            poly_n=5,
            poly_sigma=1.2,
            flags=0,
        )
        # Not cv2.magnitude, whose last bit depends on memory alignment: equal flow must give equal values, or a
        # still picture gets peaks.
        magnitude[index] = np.sqrt(np.square(flow).sum(axis=2)).mean(dtype=np.float64)
        earlier = later
    if len(frames) > 1:
        magnitude[0] = magnitude[1]
    return magnitude


class FlowEncoder(Encoder):
    """Motion of a clip's picture, from all frames at native size.

    Features:
        ``motion``: ``magnitude``, float64 ``(T,)``, mean flow in pixels per frame, index i for the motion from frame
        i - 1 to i (index 0 repeats index 1); ``fps``, float64 ``(1,)``, the clip's average frame rate.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="flow",
        title="Farnebäck optical flow",
        variants={"default": None},
        source="Farnebäck, SCIA 2003, as in OpenCV",
        host=True,
    )

    def encode(
        self, items: Sequence[Clip] | Sequence[str], specs: Sequence[FeatureSpec]
    ) -> list[dict[FeatureSpec, Features | JavisbenchError]]:
        """Features of each clip; all specs ask for the same ones."""
        return [dict.fromkeys(specs, _features(clip)) for clip in cast("Sequence[Clip]", items)]


def _features(clip: Clip) -> Features | JavisbenchError:
    import cv2

    try:
        magnitude = motion_magnitude(clip.frames)
    except cv2.error as error:
        _, height, width, _ = clip.frames.shape
        return FeatureError(f"No optical flow for {clip.name} ({width}x{height} pixels): {error}.", kind="flow")
    return {"magnitude": magnitude, "fps": np.asarray([float(clip.fps)])}
