"""Optical flow: how much the picture moves from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from javisbench.metrics.encoders.base import EncoderCard, Features, FeatureSpec
from javisbench.metrics.encoders.pair_flows import (
    FlowDevice,
    FlowIntake,
    FlowMeasure,
    HostPairFlows,
    PairFlows,
    SharedFlowEncoder,
)
from javisbench.metrics.encoders.preprocessing.farneback import Farneback

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead


FLOW = Farneback(window=15, iterations=3)
# Magnitudes on a GPU are added as whole numbers of these shares of a pixel.
_SHARE = 2.0**-20


def mean_magnitude(flow: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean length of a flow ``(H, W, 2)``, a single number."""
    # Not cv2.magnitude, whose last bit depends on memory alignment: equal flow must give equal values, or a
    # still picture gets peaks.
    return np.asarray(np.sqrt(np.square(flow).sum(axis=2)).mean(dtype=np.float64))


def mean_magnitudes(flows: Tensor) -> Tensor:
    """Mean length of each flow of ``(N, 2, H, W)``, float64 ``(N,)``."""
    import torch

    # Sums of whole numbers are the same in any order, which on a GPU may depend on where in the batch a flow lies.
    lengths = (flows.square().sum(dim=1).sqrt().clamp(max=1 / _SHARE).double() / _SHARE).round().to(torch.int64)
    return lengths.sum(dim=(1, 2)).double() * (_SHARE / flows[0, 0].numel())


MAGNITUDE = FlowMeasure(FLOW, mean_magnitude, mean_magnitudes)


class Motion:
    """Mean optical-flow magnitude of each frame against the one before it, frame by frame.

    Farnebäck flow on luma (pyramid 0.5 with 3 levels, window 15, 3 iterations, polynomial 5 with sigma 1.2).

    Args:
        flows: where the flow of this clip is found; None for OpenCV.

    Source:
        Farnebäck, "Two-frame motion estimation based on polynomial expansion", SCIA 2003, as in OpenCV.
    """

    def __init__(self, flows: PairFlows | None = None) -> None:
        self._flows = HostPairFlows(MAGNITUDE) if flows is None else flows
        self._begun = False

    def add(self, frame: NDArray[np.uint8]) -> None:
        """See the next frame: uint8 RGB, shape ``(H, W, 3)``."""
        import cv2

        luma = cast("NDArray[np.uint8]", cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        (self._flows.add if self._begun else self._flows.begin)(luma)
        self._begun = True

    def magnitudes(self) -> NDArray[np.float64]:
        """Pixels per frame, float64, shape ``(T,)``.

        The first frame has none before it and takes the second one's value; a single frame moves by 0.
        """
        made = [float(value) for value in self._flows.made()]
        return np.array([made[0] if made else 0.0, *made])


def motion_magnitude(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """`Motion` of uint8 RGB frames of shape ``(T, H, W, 3)``, T >= 1: pixels per frame, shape ``(T,)``."""
    motion = Motion()
    for frame in frames:
        motion.add(frame)
    return motion.magnitudes()


class _FlowIntake(FlowIntake):
    measure = MAGNITUDE

    def __init__(self, head: ClipHead, specs: Sequence[FeatureSpec], device: FlowDevice | None) -> None:
        super().__init__(head, specs, device)
        self._motion = Motion(self.flows)

    @property
    def held_bytes(self) -> int:
        return self.flows.held_bytes

    def look(self, frame: NDArray[np.uint8]) -> None:
        self._motion.add(frame)

    def make(self, spec: FeatureSpec) -> Features:
        line = self.head.timeline
        return {
            "magnitude": self._motion.magnitudes(),
            "times_s": np.array([line.start_of(frame) for frame in range(len(line) + 1)]),
            "declared_fps": np.asarray([float(line.declared_fps)]),
        }


class FlowEncoder(SharedFlowEncoder):
    """Motion of a clip's picture, from all frames at native size.

    On a CUDA device clips are shared between it and the CPU's threads. Magnitudes then differ by up to 2e-5 pixels from
    one run to another, as a clip is taken by the one or the other.

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
