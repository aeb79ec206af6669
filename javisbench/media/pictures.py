"""Decoding the picture: frames in the order shown, to RGB, turned upright, with their times.

Frames come as the container's edit list shows them, are converted to RGB with FFmpeg's default scaler settings
(bit-identical to OpenCV and ffmpeg for 8-bit video), never resized, and turned by the display matrix when it is a
multiple of 90 degrees or a mirror image of one (any other matrix is ignored, as OpenCV does). Pixels that are not
square stay as stored.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np

from javisbench.media import buffers
from javisbench.media.colour import ToRgb
from javisbench.media.container import check_header, check_size, open_media, packets, reason, video_stream
from javisbench.media.errors import media_error
from javisbench.media.signature import Signature
from javisbench.media.source import DecodeLimits

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray


class Picture:
    """Collects the frames of a video track in the clip's buffer."""

    def __init__(self, stream: VideoStream, path: Path, limits: DecodeLimits, descriptor: int) -> None:
        self.path = path
        self.count = 0
        self.size = (0, 0)
        self._stream = stream
        self._limits = limits
        self._declared = stream.frames
        self._packets = 0
        self._discarded = 0
        self._last_dts = -1
        self._coded_size = (0, 0)
        self._matrix: tuple[int, ...] | None = None
        self._times: list[float | None] = []
        self._to_rgb = ToRgb(path)
        check_header(path, stream, limits, max(self._declared, 1))
        self._descriptor = descriptor

    @property
    def used_bytes(self) -> int:
        """Bytes of pixels so far."""
        return self.count * self.size[0] * self.size[1] * 3

    def feed(self, packet: Packet[Any]) -> None:
        """Decode a packet; store the frames that come out."""
        self._packets += packet.size > 0
        self._discarded += packet.is_discard
        if packet.dts is not None:
            self._last_dts = max(self._last_dts, packet.dts)
        if packet.is_corrupt:
            raise media_error("short_read", f"{self.path}: the file is cut off within frame {self.count}.")
        try:
            for frame in packet.decode():
                self._add(frame)
        except av.error.FFmpegError as failure:
            raise media_error(
                "decode_error", f"{self.path}: damaged picture data near frame {self.count} ({reason(failure)})."
            ) from failure

    def _add(self, frame: VideoFrame) -> None:
        if frame.is_corrupt:
            # The decoder has patched over a hole with what it had.
            raise media_error("decode_error", f"{self.path}: damaged picture data in frame {self.count}.")
        if self.count == 0:
            self._coded_size = (frame.height, frame.width)
            self._matrix = display_matrix(frame)
        elif (frame.height, frame.width) != self._coded_size:
            raise media_error("decode_error", f"{self.path}: the picture size changes at frame {self.count}.")
        pixels = turn(self._to_rgb(frame), self._matrix)
        if self.count == 0:
            self.size = pixels.shape[:2]
        used = self.used_bytes
        check_size(self.path, used + pixels.size, self._limits, f" ({self.count + 1} frames and no end yet)")
        buffers.append(self._descriptor, used, pixels)
        self._times.append(frame.time)
        self.count += 1

    def finish(self, signature: Signature) -> tuple[Fraction, NDArray[np.float64]]:
        """Check that everything came; returns the frame rate and the time of each frame in seconds."""
        if self.count == 0:
            raise media_error("no_frames", f"{self.path}: the video track holds no frames.")
        missing = self._missing_frames(signature)
        if missing > 0:
            raise media_error(
                "short_read",
                f"{self.path}: only {self.count} frames could be read; {missing} more are declared by the file.",
            )
        fps = declared_fps(self._stream) or _fps_from_times(self._times)
        return fps, _complete_times(self._times, fps)

    def _missing_frames(self, signature: Signature) -> int:
        if self._declared <= 0 or self.count >= self._declared:
            return 0
        if signature.format == "avi":
            # AVI counts time slots, empty ones included; the last one must have been reached.
            return self._declared - (self._last_dts + 1) - 1
        # An edit list may leave frames out: of the samples in the file none may lack, and of those that were
        # decoded and not marked as hidden each must have become a frame.
        lost = self._declared - _count_samples(self.path, signature)
        return max(lost, self._packets - self._discarded - self.count)


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


def _fps_from_times(times: list[float | None]) -> Fraction:
    """Frames per second over the known times; 1 for a single frame, whose rate nobody knows."""
    known = [(index, time) for index, time in enumerate(times) if time is not None]
    if len(known) < 2 or known[-1][1] <= known[0][1]:
        return Fraction(1)
    (first, start), (last, end) = known[0], known[-1]
    rate = Fraction((last - first) / (end - start)).limit_denominator(1001)
    return max(rate, Fraction(1, 1001))


def _complete_times(times: list[float | None], fps: Fraction) -> NDArray[np.float64]:
    """Times in order, those that the container lacks filled in, one frame period from their neighbours.

    Frames come in the order in which they are shown. Times do not where the container has none and FFmpeg guesses
    them from the order in which frames are stored (AVI).
    """
    step = float(1 / fps)
    first = next((index for index, time in enumerate(times) if time is not None), None)
    if first is None:
        return np.arange(len(times), dtype=np.float64) * step
    known = times[first]
    assert known is not None
    result = np.empty(len(times), np.float64)
    previous = known - (first + 1) * step
    for index, time in enumerate(times):
        previous = previous + step if time is None else time
        result[index] = previous
    return np.sort(result)


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


def _count_samples(path: Path, signature: Signature) -> int:
    """How many video samples a file really holds, edit list or not."""
    with open_media(path, signature, {"ignore_editlist": "1"}) as container:
        return sum(packet.size > 0 for packet in packets(container, [video_stream(container, path)], path))
