"""Decoding the picture: frames in the order shown, to RGB, turned upright, each at its own time.

Frames come as the container's edit list shows them, are converted to RGB, never resized, and turned by the display
matrix when it is a multiple of 90 degrees or a mirror image of one (any other matrix is ignored, as OpenCV does).
Pixels that are not square stay as stored.

Times come from the packets, before anything is decoded: the presentation times of those that are shown. AVI has none: a
frame's place there is its slot, and slots may be empty. What really comes out of the decoder is compared with that in
the end.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np

from javisbench.clip import Timeline
from javisbench.media.colour import ToRgb
from javisbench.media.container import reason
from javisbench.media.crop import NO_CROP, Crop, cropped
from javisbench.media.errors import media_error

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

_NONE = -(2**63)
# A last frame without a duration of its own is shown as long as these before it, on average.
_STEPS_BEFORE_THE_LAST = 5


class PictureIndex:
    """What the packets of a video track say of its frames, before any is decoded."""

    def __init__(self, stream: VideoStream, *, by_slot: bool) -> None:
        self.base = Fraction(stream.time_base or Fraction(1, 1000))
        self.packets = 0
        self.hidden = 0
        self.last_dts = -1
        self._by_slot = by_slot
        self._ticks = array("q")
        self._durations = array("q")

    def add(self, packet: Packet[Any]) -> None:
        """Take note of a packet."""
        if packet.dts is not None:
            self.last_dts = max(self.last_dts, packet.dts)
        if not packet.size:
            return
        self.packets += 1
        self.hidden += packet.is_discard
        if packet.is_discard:
            return
        stamp = packet.dts if self._by_slot else packet.pts
        self._ticks.append(_NONE if stamp is None else stamp)
        self._durations.append(packet.duration or 0)

    def __len__(self) -> int:
        return len(self._ticks)

    @property
    def last_is_out_of_order(self) -> bool:
        """Whether the frame that is shown last is not the one that is stored last."""
        return len(self._ticks) > 0 and self._ticks[-1] < max(self._ticks)

    def ticks(self) -> Ticks | None:
        """When the frames are shown, in that order; None where a time is unknown."""
        stamps, durations = np.array(self._ticks, np.int64), np.array(self._durations, np.int64)
        if not len(stamps) or (stamps == _NONE).any():
            return None
        order = np.argsort(stamps, kind="stable")
        return Ticks(stamps[order], durations[order], self.base)


@dataclass(frozen=True)
class Ticks:
    """When frames are shown, as a container counts it.

    Attributes:
        stamps: int64, shape ``(T,)``, ascending.
        durations: of the frames, int64; 0 where unknown.
        base: seconds of a tick.
    """

    stamps: NDArray[np.int64]
    durations: NDArray[np.int64]
    base: Fraction


def timeline_of(ticks: Ticks, declared_fps: Fraction | None, whole: int = 0) -> Timeline:
    """The times of frames.

    Args:
        ticks: of at least one frame. Of the durations only the last one counts.
        declared_fps: of the header.
        whole: ticks in the whole track, as far as a header tells better than the last frame does; else 0.
    """
    base = ticks.base
    passed = ticks.stamps - ticks.stamps[0]
    times = passed.astype(np.float64) * base.numerator / base.denominator
    last_ticks = _last_duration(passed, ticks.durations, max(whole - int(passed[-1]), 0))
    if passed[-1] > 0:
        fps = Fraction(len(passed) - 1) / (int(passed[-1]) * base)
    elif declared_fps:
        fps = declared_fps
    else:
        fps = 1 / (last_ticks * base) if last_ticks else Fraction(1)
    if declared_fps and _follows(passed, base, declared_fps):
        fps = declared_fps
    last_s = float(last_ticks * base) if last_ticks else float(1 / fps)
    return Timeline(times, last_s, fps, declared_fps or fps)


def _follows(passed: NDArray[np.int64], base: Fraction, fps: Fraction) -> bool:
    """Whether every frame stands within a tick of its place at a rate."""
    if len(passed) < 2 or fps * base > 1:
        return False
    # In AVI a tick is a slot: codecs that reorder frames leave one empty behind the first.
    places = np.arange(len(passed)) * float(1 / (fps * base))
    return bool(np.abs(passed - places).max() <= 1.001)


def _last_duration(passed: NDArray[np.int64], durations: NDArray[np.int64], rest: int) -> Fraction:
    """Ticks for which the last frame is shown; 0 where nothing tells.

    Containers state it, or a rate from which it follows for every frame alike. A rate that the frames do not keep
    says nothing of the last one either.
    """
    own = int(durations[-1])
    steps = np.diff(passed[-_STEPS_BEFORE_THE_LAST - 1 :])
    usual = Fraction(int(steps.sum()), len(steps)) if len(steps) else Fraction(0)
    if not usual:
        return Fraction(max(own, rest))
    if rest:
        return Fraction(rest)
    stated = len(durations) < 2 or own != int(np.median(durations[:-1]))
    plausible = usual / 2 <= own <= usual * 2
    return Fraction(own) if own > 0 and (stated or plausible) else usual


class PictureDecoder:
    """Turns the packets of a video track into frames."""

    def __init__(self, path: Path, crop: Crop = NO_CROP, *, by_slot: bool = False) -> None:
        self.path = path
        self.count = 0
        self._by_slot = by_slot
        self.ticks = array("q")
        self.durations = array("q")
        self.base = Fraction(1, 1000)
        self._coded_size = (0, 0)
        self.matrix: tuple[int, ...] | None = None
        self._crop = crop
        self._to_rgb = ToRgb(path)

    def frames(self, packets: Iterator[Packet[Any]]) -> Iterator[VideoFrame]:
        """The frames that come out of `packets`, as the decoder gives them.

        Raises:
            MediaError: ``decode_error`` or ``short_read``: a frame lacks, in part or whole.
        """
        for packet in packets:
            if packet.is_corrupt:
                raise media_error("short_read", f"{self.path}: the file is cut off within frame {self.count}.")
            try:
                decoded = packet.decode()
            except av.error.FFmpegError as failure:
                raise media_error(
                    "decode_error", f"{self.path}: damaged picture data near frame {self.count} ({reason(failure)})."
                ) from failure
            for frame in decoded:
                self._check(frame)
                self.count += 1
                yield frame

    def _check(self, frame: VideoFrame) -> None:
        if frame.is_corrupt:
            # The decoder has patched over a hole with what it had.
            raise media_error("decode_error", f"{self.path}: damaged picture data in frame {self.count}.")
        if self.count == 0:
            self._coded_size = (frame.height, frame.width)
            self.matrix = display_matrix(frame)
            self.base = Fraction(frame.time_base or self.base)
        elif (frame.height, frame.width) != self._coded_size:
            raise media_error("decode_error", f"{self.path}: the picture size changes at frame {self.count}.")
        stamp = frame.dts if self._by_slot else frame.pts
        self.ticks.append(_NONE if stamp is None else stamp)
        self.durations.append(frame.duration or 0)

    def pixels(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """A frame as RGB, upright, ``(H, W, 3)``; valid until the next call."""
        pixels = self._to_rgb(frame)
        if self._crop != NO_CROP:
            pixels = cropped(pixels, self._crop)
        return pixels if self.matrix is None else turn(pixels, self.matrix)

    def upright_size(self, frame: VideoFrame) -> tuple[int, int]:
        """Height and width of a frame once it is turned."""
        stored = np.empty((frame.height, frame.width, 0), np.uint8)
        height, width = turn(cropped(stored, self._crop), self.matrix).shape[:2]
        return int(height), int(width)

    def shown(self, declared_fps: Fraction | None) -> Ticks:
        """When the frames that came are shown, missing times filled in; without any, at the declared rate."""
        stamps, durations = np.array(self.ticks, np.int64), np.array(self.durations, np.int64)
        known = np.flatnonzero(stamps != _NONE)
        if not len(known):
            return Ticks(np.arange(len(stamps)), np.ones(len(stamps), np.int64), 1 / (declared_fps or Fraction(1)))
        if len(known) < len(stamps):
            step = max(1, int(np.median(durations)))
            first = int(known[0])
            stamps[:first] = stamps[first] - step * np.arange(first, 0, -1)
            for index in range(first + 1, len(stamps)):
                if stamps[index] == _NONE:
                    stamps[index] = stamps[index - 1] + step
        return Ticks(np.sort(stamps), durations, self.base)


def display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """The upper left of the display matrix (a, b, c, d), 16.16 fixed point: x' = ax + cy, y' = bx + dy."""
    side_data: Any = frame.side_data
    data = side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    matrix = np.frombuffer(data, np.int32)
    return tuple(int(matrix[i]) for i in (0, 1, 3, 4))


def turn(pixels: NDArray[np.uint8], matrix: tuple[int, ...] | None) -> NDArray[np.uint8]:
    """Turn or mirror ``(H, W, C)`` pixels as a display matrix says; as they are when it says something else."""
    if matrix is None:
        return pixels
    a, b, c, d = matrix
    if a and d and not b and not c:
        flip_x, flip_y = a < 0, d < 0
    elif b and c and not a and not d:
        pixels = pixels.transpose(1, 0, 2)
        flip_x, flip_y = c < 0, b < 0
    else:
        return pixels
    return pixels[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


def declared_fps(stream: VideoStream) -> Fraction | None:
    """The container's average frame rate, or FFmpeg's guess where it has none."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate is not None and rate > 0:
            return Fraction(rate)
    return None


def first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    """Decode no further than the first frame."""
    try:
        for frame in container.decode(stream):
            return frame
    except av.error.FFmpegError as failure:
        raise media_error(
            "decode_error", f"{path}: the first frame cannot be decoded ({reason(failure)})."
        ) from failure
    raise media_error("no_frames", f"{path}: the video track holds no frames.")
