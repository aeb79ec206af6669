"""Flow between neighbouring frames, reduced as it comes: by OpenCV in the thread that reads a clip, or on a GPU.

A GPU takes clips from the same queue as the threads: whoever is free takes the next one. A clip stays where it began,
because the two round differently, and what stands still must have equal values throughout.
"""

from __future__ import annotations

import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from javisbench.errors import FeatureError
from javisbench.metrics.encoders.base import FeatureSpec, Stream
from javisbench.metrics.encoders.host_encoder import HostEncoder, HostIntake
from javisbench.metrics.encoders.preprocessing.farneback import LEAST_SIDE, Farneback

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead

# Of all pairs that are on the GPU at once; about 200 bytes each.
_PIXELS_AT_ONCE = 4 * 2**20
# One is computed, one more is on its way: what the GPU gets beyond that, the threads would have done meanwhile.
_CLIPS_AT_ONCE = 2


@dataclass(frozen=True)
class FlowMeasure:
    """What is kept of the flow of a pair.

    Attributes:
        flow: how the flow is found.
        of_pair: maps a flow ``(H, W, 2)``, right and down, to what is kept.
        of_pairs: maps flows on a device, ``(N, 2, H, W)``, to as many of those.
    """

    flow: Farneback
    of_pair: Callable[[NDArray[np.float32]], NDArray[np.generic]]
    of_pairs: Callable[[Tensor], Tensor]


class PairFlows(ABC):
    """The measures of one clip, frame by frame."""

    def __init__(self, measure: FlowMeasure) -> None:
        self._measure = measure

    @abstractmethod
    def begin(self, luma: NDArray[np.uint8]) -> None:
        """Take a frame ``(H, W)`` as the earlier one of the next pair, whatever came before."""

    @abstractmethod
    def add(self, luma: NDArray[np.uint8]) -> None:
        """See the frame after the last one, of the same size.

        Raises:
            cv2.error: OpenCV does not take pictures of this size.
        """

    @abstractmethod
    def made(self) -> list[NDArray[np.generic]]:
        """The measure of each pair so far."""

    @property
    @abstractmethod
    def held_bytes(self) -> int:
        """Bytes of frames and measures."""


class HostPairFlows(PairFlows):
    """By OpenCV, at once."""

    def __init__(self, measure: FlowMeasure) -> None:
        super().__init__(measure)
        self._earlier: NDArray[np.uint8] | None = None
        self._made: list[NDArray[np.generic]] = []

    def begin(self, luma: NDArray[np.uint8]) -> None:
        """See `PairFlows`."""
        self._earlier = luma

    def add(self, luma: NDArray[np.uint8]) -> None:
        """See `PairFlows`."""
        assert self._earlier is not None
        self._made.append(self._measure.of_pair(self._measure.flow.of_pair(self._earlier, luma)))
        self._earlier = luma

    def made(self) -> list[NDArray[np.generic]]:
        """See `PairFlows`."""
        return self._made

    @property
    def held_bytes(self) -> int:
        """See `PairFlows`."""
        earlier = 0 if self._earlier is None else self._earlier.nbytes
        return earlier + sum(made.nbytes for made in self._made)


class DevicePairFlows(PairFlows):
    """On a GPU, as many pairs at once as its share of memory allows."""

    def __init__(self, measure: FlowMeasure, device: FlowDevice) -> None:
        super().__init__(measure)
        self._device = device
        self._waiting: list[NDArray[np.uint8]] = []
        self._made: list[NDArray[np.generic]] = []
        # A clip that ends early frees its place as well.
        self._leave = weakref.finalize(self, device.leave)
        self._leave.atexit = False

    def begin(self, luma: NDArray[np.uint8]) -> None:
        """See `PairFlows`."""
        self._compute()
        self._waiting = [luma]

    def add(self, luma: NDArray[np.uint8]) -> None:
        """See `PairFlows`."""
        self._waiting.append(luma)
        if (len(self._waiting) - 1) * luma.size >= _PIXELS_AT_ONCE:
            self._compute()

    def made(self) -> list[NDArray[np.generic]]:
        """See `PairFlows`. The place on the GPU is free then."""
        self._compute()
        self._leave()
        return self._made

    @property
    def held_bytes(self) -> int:
        """See `PairFlows`."""
        return sum(array.nbytes for array in (*self._waiting, *self._made))

    def _compute(self) -> None:
        if len(self._waiting) > 1:
            self._made += self._device.measured(self._waiting, self._measure)
            self._waiting = self._waiting[-1:]


class FlowDevice:
    """A GPU that takes clips beside the threads that read them.

    Args:
        device: torch device.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._places = threading.BoundedSemaphore(_CLIPS_AT_ONCE)
        self._busy = threading.Lock()
        self._stream: Any = None

    def enter(self) -> bool:
        """Take a place for one clip, if one is free."""
        return self._places.acquire(blocking=False)

    def leave(self) -> None:
        """Give it back."""
        self._places.release()

    def _own_stream(self) -> AbstractContextManager[Any]:
        """Beside the networks: on their stream, flow would wait for all batches that they were given ahead."""
        import torch

        # Not even every CUDA tensor has streams: those that only stand for one, to check code without a GPU.
        if torch.device(self._device).type != "cuda" or not torch.cuda.is_available():
            return nullcontext()
        if self._stream is None:
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call,unused-ignore]
        return torch.cuda.stream(self._stream)

    def measured(self, lumas: list[NDArray[np.uint8]], measure: FlowMeasure) -> list[NDArray[np.generic]]:
        """Measures of all pairs of neighbours; by OpenCV those for which the GPU has no memory."""
        import torch

        try:
            with self._busy, torch.inference_mode(), self._own_stream():
                frames = torch.from_numpy(np.stack(lumas)).to(self._device)
                return list(measure.of_pairs(measure.flow.of_frames(frames)).cpu().numpy())
        except torch.cuda.OutOfMemoryError:
            pass
        torch.cuda.empty_cache()
        if len(lumas) == 2:
            return [measure.of_pair(measure.flow.of_pair(*lumas))]
        middle = len(lumas) // 2
        return self.measured(lumas[: middle + 1], measure) + self.measured(lumas[middle:], measure)


def pair_flows(measure: FlowMeasure, device: FlowDevice | None, height: int, width: int) -> PairFlows:
    """For a clip of frames of this size: on the GPU if there is one with a free place, else by OpenCV."""
    if device is not None and min(height, width) >= LEAST_SIDE and device.enter():
        return DevicePairFlows(measure, device)
    return HostPairFlows(measure)


class FlowIntake(HostIntake):
    """One clip on its way through a `SharedFlowEncoder`. Write `look` and `make`.

    Attributes:
        measure: what is kept of each pair of frames.
        flows: where it is found.
    """

    measure: ClassVar[FlowMeasure]

    def __init__(self, head: ClipHead, specs: Sequence[FeatureSpec], device: FlowDevice | None) -> None:
        super().__init__(head, specs)
        self.flows = pair_flows(self.measure, device, head.height, head.width)

    @abstractmethod
    def look(self, frame: NDArray[np.uint8]) -> None:
        """See the next frame: uint8 RGB, shape ``(H, W, 3)``."""

    def see(self, index: int, frame: NDArray[np.uint8]) -> None:
        """See `HostIntake`."""
        import cv2

        try:
            self.look(frame)
        except cv2.error as error:
            head = self.head
            message = f"No optical flow for {head.name} ({head.width}x{head.height} pixels): {error}."
            raise FeatureError(message, kind="flow") from error


class SharedFlowEncoder(HostEncoder):
    """Base of encoders of optical flow: on a CUDA device, clips are shared between it and the threads that read them.

    A subclass names its `FlowIntake`.
    """

    intake_type: ClassVar[type[FlowIntake]]

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self._device: FlowDevice | None = None

    def load(self, weights: Path | None, device: str) -> None:
        """Use `device` beside the CPU, if it is a GPU. There are no weights."""
        self._device = FlowDevice(device) if device.startswith("cuda") else None

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Stream:
        """The picture alone."""
        return "picture"

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> FlowIntake:
        """Begin a clip, where there is room for it."""
        return self.intake_type(head, specs, self._device)
