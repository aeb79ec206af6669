"""Optical flow: how much the picture moves from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from javisbench.errors import FeatureError
from javisbench.metrics.encoders.base import EncoderCard, Features, FeatureSpec, Stream
from javisbench.metrics.encoders.host_encoder import HostEncoder, HostIntake

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import ClipHead


class Motion:
    """Mean optical-flow magnitude of each frame against the one before it, frame by frame.

    Farnebäck flow on luma (pyramid 0.5 with 3 levels, window 15, 3 iterations, polynomial 5 with sigma 1.2).

    Source:
        Farnebäck, "Two-frame motion estimation based on polynomial expansion", SCIA 2003, as in OpenCV.
    """

    def __init__(self) -> None:
        self._magnitudes: list[float] = []
        self._earlier: NDArray[np.uint8] | None = None

    def add(self, frame: NDArray[np.uint8]) -> None:
        """See the next frame: uint8 RGB, shape ``(H, W, 3)``."""
        import cv2

        later = cast("NDArray[np.uint8]", cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        if self._earlier is not None:
            flow = cv2.calcOpticalFlowFarneback(
                self._earlier,
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
            self._magnitudes.append(float(np.sqrt(np.square(flow).sum(axis=2)).mean(dtype=np.float64)))
        self._earlier = later

    def magnitudes(self) -> NDArray[np.float64]:
        """Pixels per frame, float64, shape ``(T,)``.

        The first frame has none before it and takes the second one's value; a single frame moves by 0.
        """
        return np.array([self._magnitudes[0] if self._magnitudes else 0.0, *self._magnitudes])


def motion_magnitude(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """`Motion` of uint8 RGB frames of shape ``(T, H, W, 3)``, T >= 1: pixels per frame, shape ``(T,)``."""
    motion = Motion()
    for frame in frames:
        motion.add(frame)
    return motion.magnitudes()


class _FlowIntake(HostIntake):
    def __init__(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> None:
        super().__init__(head, specs)
        self._motion = Motion()

    def see(self, index: int, frame: NDArray[np.uint8]) -> None:
        import cv2

        try:
            self._motion.add(frame)
        except cv2.error as error:
            head = self.head
            message = f"No optical flow for {head.name} ({head.width}x{head.height} pixels): {error}."
            raise FeatureError(message, kind="flow") from error

    def make(self, spec: FeatureSpec) -> Features:
        line = self.head.timeline
        return {
            "magnitude": self._motion.magnitudes(),
            "times_s": np.array([line.start_of(frame) for frame in range(len(line) + 1)]),
            "declared_fps": np.asarray([float(line.declared_fps)]),
        }


class FlowEncoder(HostEncoder):
    """Motion of a clip's picture, from all frames at native size.

    Features:
        ``motion``: ``magnitude``, float64 ``(T,)``, mean flow in pixels per frame, index i for the motion from frame
        i - 1 to i (index 0 repeats index 1); ``times_s``, float64 ``(T + 1,)``, when each frame is shown and when the
        last one's time is over, in seconds; ``declared_fps``, float64 ``(1,)``, frames per second by the file's header.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="flow",
        title="Farnebäck optical flow",
        variants={"default": None},
        source="Farnebäck, SCIA 2003, as in OpenCV",
        host=True,
        revision=2,
    )

    intake_type = _FlowIntake

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Stream:
        """The picture alone."""
        return "picture"
