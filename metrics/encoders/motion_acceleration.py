"""Motion by place and moment: what `av_sync` compares with the sound."""

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

LONG_SIDE = 160
CELLS = 8
DARK_LUMA = 24
STEADY_LUMA = 8
BAR_SHARE = 0.98
LEAST_PICTURE = 16
_LOOK_AGAIN_FRAMES = 8
_THUMB = (64, 36)
_HISTOGRAM_BINS = 32
CUT_DIFFERENCE = 10.0
CUT_CONTRAST = 4.0
CUT_DISTANCE = 0.25
_CUT_NEIGHBOURS = 6


class PictureBox:
    """Where the picture is in frames that may have black bars.

    A pixel is dead while its luma stays below 24 and moves by less than 8; rows, then columns, at the edges that are
    dead to 98 % are bars. What was seen later can only add to the picture, except that frames that are black all over
    are taken for picture until something shows.
    """

    def __init__(self) -> None:
        self._low: NDArray[np.uint8] | None = None
        self._high: NDArray[np.uint8] | None = None

    def see(self, luma: NDArray[np.uint8]) -> None:
        """Take in a frame, uint8 ``(H, W)``."""
        import cv2

        if self._low is None or self._high is None:
            self._low, self._high = luma.copy(), luma.copy()
        else:
            cv2.min(self._low, luma, dst=self._low)
            cv2.max(self._high, luma, dst=self._high)

    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the picture."""
        assert self._low is not None and self._high is not None
        dead = (self._high < DARK_LUMA) & (self._high - self._low < STEADY_LUMA)
        rows = _alive(dead, axis=1)
        columns = _alive(dead[rows], axis=0)
        if rows.stop - rows.start < LEAST_PICTURE or columns.stop - columns.start < LEAST_PICTURE:
            return slice(0, dead.shape[0]), slice(0, dead.shape[1])
        return rows, columns


def _alive(dead: NDArray[np.bool_], axis: int) -> slice:
    alive = np.flatnonzero(dead.mean(axis=axis) < BAR_SHARE)
    return slice(int(alive[0]), int(alive[-1]) + 1) if len(alive) else slice(0, dead.shape[1 - axis])


def cell_means(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of a flow ``(H, W, 2)`` over 8 x 8 cells of equal size, ``(8, 8, 2)``."""
    import cv2

    return cast("NDArray[np.float32]", cv2.resize(flow, (CELLS, CELLS), interpolation=cv2.INTER_AREA))


def cell_means_of_pairs(flows: Tensor) -> Tensor:
    """`cell_means` of flows ``(N, 2, H, W)`` on a device, ``(N, 8, 8, 2)``."""
    down, right = (_shares(side).to(flows.device) for side in flows.shape[2:])
    return (down @ flows.double() @ right.T).permute(0, 2, 3, 1).float()


def _shares(length: int) -> Tensor:
    """What each pixel of a side adds to each cell's mean, float64 ``(8, length)``."""
    import torch

    edges = torch.arange(length + 1, dtype=torch.float64) * (CELLS / length)
    cells = torch.arange(CELLS, dtype=torch.float64)[:, None]
    within = (edges - cells).clamp(0, 1)
    return within.diff(dim=1)


CELL_MEANS = FlowMeasure(Farneback(window=11, iterations=2), cell_means, cell_means_of_pairs)


class CellMotion:
    """Mean optical flow of 8 x 8 cells of the picture, frame by frame.

    The picture without its bars, reduced to 160 pixels on its long side and blurred by 1 pixel; Farnebäck flow between
    neighbouring frames (pyramid 0.5 with 3 levels, window 11, 2 iterations, polynomial 5 with sigma 1.2).

    Args:
        flows: where the flow of this clip is found; None for OpenCV.

    Source:
        Farnebäck, "Two-frame motion estimation based on polynomial expansion", SCIA 2003, as in OpenCV.
    """

    def __init__(self, flows: PairFlows | None = None) -> None:
        self._flows = HostPairFlows(CELL_MEANS) if flows is None else flows
        self._box = PictureBox()
        self._place: tuple[slice, slice] | None = None
        self._moved = True
        self._earlier: NDArray[np.uint8] | None = None
        self._seen = 0
        self._thumb: NDArray[np.uint8] | None = None
        self._differences: list[float] = []
        self._distances: list[float] = []

    def add(self, frame: NDArray[np.uint8]) -> None:
        """See the next frame: uint8 RGB, shape ``(H, W, 3)``."""
        import cv2

        luma = cast("NDArray[np.uint8]", cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        self._find_picture(luma)
        small = self._small(luma)
        if self._earlier is None:
            self._flows.begin(small)
            self._thumb = _thumb(small)
        else:
            if self._moved:
                self._flows.begin(self._small(self._earlier))
            self._flows.add(small)
            self._compare(small)
        self._earlier, self._moved = luma, False
        self._seen += 1

    def cells(self) -> NDArray[np.float32]:
        """Pixels (of 160 on the long side) that each cell moved from frame i - 1 to i, ``(T, 8, 8, 2)``: right, down.

        The first frame repeats the second. At a cut the flow means nothing: it is taken from the frames around it.
        """
        made = self._flows.made()
        if not made:
            return np.zeros((self._seen, CELLS, CELLS, 2), np.float32)
        flows = cast("NDArray[np.float32]", np.stack([made[0], *made]))
        cuts = find_cuts(np.array([0.0, *self._differences]), np.array([0.0, *self._distances]))
        return bridged(flows, cuts)

    @property
    def held_bytes(self) -> int:
        """Bytes of what is kept."""
        # Of whole pictures: the last one, and the darkest and brightest of each pixel.
        pictures = 0 if self._earlier is None else 3 * self._earlier.nbytes
        return pictures + self._flows.held_bytes

    def _find_picture(self, luma: NDArray[np.uint8]) -> None:
        # Bars do not come and go: after the first frames, looking now and then is enough.
        if self._seen > 1 and self._seen % _LOOK_AGAIN_FRAMES:
            return
        self._box.see(luma)
        place = self._box.box()
        if place != self._place:
            # Both frames of a pair must be cropped alike.
            self._place, self._moved = place, True

    def _small(self, luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
        import cv2

        assert self._place is not None
        picture = luma[self._place]
        height, width = picture.shape
        scale = LONG_SIDE / max(height, width)
        size = max(LEAST_PICTURE, round(width * scale)), max(LEAST_PICTURE, round(height * scale))
        way = cv2.INTER_AREA if scale <= 1 else cv2.INTER_LINEAR
        return cast("NDArray[np.uint8]", cv2.GaussianBlur(cv2.resize(picture, size, interpolation=way), (0, 0), 1.0))

    def _compare(self, small: NDArray[np.uint8]) -> None:
        import cv2

        thumb, earlier = _thumb(small), self._thumb
        assert earlier is not None
        self._differences.append(cv2.mean(cv2.absdiff(thumb, earlier))[0])
        counts = [
            np.bincount(t.ravel() // (256 // _HISTOGRAM_BINS), minlength=_HISTOGRAM_BINS) for t in (thumb, earlier)
        ]
        self._distances.append(float(np.abs(counts[0] - counts[1]).sum()) / (2 * thumb.size))
        self._thumb = thumb


def _thumb(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    return cast("NDArray[np.uint8]", cv2.resize(small, _THUMB, interpolation=cv2.INTER_AREA))


def find_cuts(differences: NDArray[np.float64], distances: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which frames begin another shot.

    Args:
        differences: mean absolute luma difference (0 to 255) of each frame to the one before it, shape ``(T,)``.
        distances: total variation, in [0, 1], of their luma histograms.

    Returns:
        bool ``(T,)``: differences above 10 and above 4 times the median of the 6 neighbours on each side, with
        distances above 0.25.
    """
    cuts = (differences > CUT_DIFFERENCE) & (distances > CUT_DISTANCE)
    for frame in np.flatnonzero(cuts).tolist():
        first = max(1, frame - _CUT_NEIGHBOURS)
        around = np.concatenate([differences[first:frame], differences[frame + 1 : frame + 1 + _CUT_NEIGHBOURS]])
        cuts[frame] = differences[frame] > CUT_CONTRAST * (np.median(around) if around.size else 0.0)
    return cuts


def bridged(flows: NDArray[np.float32], cuts: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Flows ``(T, ...)`` in which those at cuts lie on the line between the nearest others; all cut: as they are."""
    kept = np.flatnonzero(~cuts)
    if not cuts.any() or not kept.size:
        return flows
    made = flows.copy()
    for frame in np.flatnonzero(cuts).tolist():
        after = int(np.searchsorted(kept, frame))
        before, behind = kept[max(0, after - 1)], kept[min(after, kept.size - 1)]
        share = 0.0 if before == behind else (frame - before) / (behind - before)
        made[frame] = (1 - share) * flows[before] + share * flows[behind]
    return made


class _CellIntake(FlowIntake):
    measure = CELL_MEANS

    def __init__(self, head: ClipHead, specs: Sequence[FeatureSpec], device: FlowDevice | None) -> None:
        super().__init__(head, specs, device)
        self._motion = CellMotion(self.flows)

    @property
    def held_bytes(self) -> int:
        return self._motion.held_bytes

    def look(self, frame: NDArray[np.uint8]) -> None:
        self._motion.add(frame)

    def make(self, spec: FeatureSpec) -> Features:
        line = self.head.timeline
        times = [line.start_of(frame) for frame in range(len(line) + 1)]
        return {"cells": self._motion.cells(), "times_s": np.array(times)}


class MotionAccelerationEncoder(SharedFlowEncoder):
    """Motion of a clip's picture in 8 x 8 cells, from all frames.

    On a CUDA device clips are shared between it and the CPU's threads, whose flows differ by rounding.

    Features:
        ``cells``: ``cells``, float32 ``(T, 8, 8, 2)``, mean flow of each cell (row, column) from frame i - 1 to i, to
        the right and down, in pixels of a picture of 160 on its long side (index 0 repeats index 1); ``times_s``,
        float64 ``(T + 1,)``, when each frame is shown and when the last one's time is over, in seconds.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="motion_acceleration",
        title="Farnebäck optical flow by cells",
        variants={"default": None},
        source="Farnebäck, SCIA 2003, as in OpenCV",
        host=True,
    )

    intake_type = _CellIntake
