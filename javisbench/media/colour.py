"""From what a decoder gives to RGB, in the same way whatever the version of PyAV and FFmpeg.

Matrix and range are those that the frame is tagged with, by its codec or its container. What is not tagged is taken as
BT.601 in limited range at every size, as by FFmpeg's converter, OpenCV and so the reference evaluation (players may
guess BT.709 for high definition). Both are set on the converter here: some versions of PyAV ignore the tags, others
refuse tags that FFmpeg's newest converter does not know. Transfer functions and primaries are not converted: pixels are
the coded R'G'B' values, those of HDR clips too.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from javisbench.media.errors import media_error

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

_MAJOR = int(av.__version__.partition(".")[0])
ONE_SCALER_THREAD: dict[str, Any] = {"threads": 1} if _MAJOR >= 17 else {}
"""Options of every `VideoReformatter.reformat`: PyAV 17 and later start threads, older ones know no such option."""

# Values of ITU-T H.273 (2021), which are FFmpeg's: matrix coefficients (table 4) ...
_BT709, _FCC, _BT601, _SMPTE240M, _YCGCO, _BT2020 = 1, 4, 5, 7, 8, 9
# ... BT.2020 of constant luminance (10) is converted as the other BT.2020, as FFmpeg does ...
_MATRICES = {1: _BT709, 4: _FCC, 5: _BT601, 6: _BT601, 7: _SMPTE240M, 9: _BT2020, 10: _BT2020}
# ... those that no converter here knows ...
_UNKNOWN_MATRICES = {
    11: "SMPTE ST 2085",
    12: "chromaticity-derived, non-constant luminance",
    13: "chromaticity-derived, constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
# ... and transfer characteristics (table 3) of HDR; 2 says nothing.
_HDR = {16: "PQ", 18: "HLG"}
_UNSPECIFIED = 2
_PLAIN_FORMATS = ("yuv420p", "yuv422p", "yuv444p")
_PLAIN_MATRICES = (2, 5, 6)  # none, and both names of BT.601
_LIMITED, _FULL = 1, 2  # AVColorRange


class ToRgb:
    """Converts the frames of one clip to 8-bit RGB.

    Args:
        name: the clip's file, for errors.

    Attributes:
        hdr: ``PQ`` or ``HLG`` once a frame was tagged with such a transfer function, else None; its pixels are the
            coded values, without tone mapping. PyAV 16 does not tell.
    """

    def __init__(self, name: str | PathLike[str]) -> None:
        self._name = name
        self.hdr: str | None = None
        self._reformatter = VideoReformatter()
        self._tags: tuple[Any, ...] = ()
        self._how: tuple[str, int, int] = ("", 0, 0)

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """The frame's pixels.

        Args:
            frame: any pixel format that FFmpeg converts; its colour tags are replaced by those that were in force.

        Returns:
            shape ``(H, W, 3)``, R, G, B from 0 to 255, as stored: neither cropped nor rotated. It may share the memory
            of `frame`.

        Raises:
            MediaError: ``decode_error`` for a matrix that cannot be converted (ICtCp and other rare ones).
            av.error.FFmpegError: FFmpeg cannot convert the pixel format.
        """
        form = frame.format
        tags = (form.name, frame.colorspace, frame.color_range)
        if tags != self._tags:
            self._tags, self._how = tags, (self._kind(frame), self._matrix(frame), _range(frame))
            # PyAV 16 keeps the matrix that it was once given where the default is asked for again.
            self._reformatter = VideoReformatter()
        self._forget_transfer(frame)
        kind, matrix, colour_range = self._how
        if kind == "plain":
            return _pixels(self._reformatter.reformat(frame, format="rgb24", **ONE_SCALER_THREAD))
        if kind == "rgb":
            return _pixels(self._converted(frame, "rgb24", _BT601, _BT601))
        frame.color_range = colour_range
        if kind == "ycgco":
            return self._from_ycgco(frame, colour_range)
        frame.colorspace = matrix
        # PyAV 16 takes note of source's tags only where the target's differ; RGB has no matrix, so any other will do.
        other = _BT709 if matrix == _BT601 else _BT601
        ranges = {"src_color_range": colour_range, "dst_color_range": _FULL}
        return _pixels(self._converted(frame, "rgb24", matrix, other, **ranges))

    def _kind(self, frame: VideoFrame) -> str:
        if frame.format.is_rgb or frame.format.has_palette:
            return "rgb"
        plain = frame.format.name in _PLAIN_FORMATS and int(frame.colorspace) in _PLAIN_MATRICES
        if plain and int(frame.color_range) != _FULL:
            # FFmpeg's own default, of every version, in half the time; tests and doctor hold it to BT.601.
            return "plain"
        # A grey picture has no matrix.
        is_ycgco = int(frame.colorspace) == _YCGCO and len(frame.format.components) > 2
        return "ycgco" if is_ycgco else "yuv"

    def _matrix(self, frame: VideoFrame) -> int:
        """The matrix to convert by; YCgCo, which only grey pictures still have here, counts for nothing."""
        unknown = _UNKNOWN_MATRICES.get(int(frame.colorspace))
        if unknown is not None and not frame.format.is_rgb:
            raise media_error(
                "decode_error",
                f"{self._name}: colours of the matrix {unknown} cannot be converted to RGB; encode the clip as BT.709.",
            )
        return _MATRICES.get(int(frame.colorspace), _BT601)

    def _forget_transfer(self, frame: VideoFrame) -> None:
        """No conversion of transfer and primaries; PyAV 17.0 refuses frames with reserved values of them."""
        if _MAJOR >= 17:
            self.hdr = self.hdr or _HDR.get(int(frame.color_trc))
            frame.color_trc = frame.color_primaries = _UNSPECIFIED

    def _converted(self, frame: VideoFrame, form: str, matrix: int, target: int, **ranges: int) -> VideoFrame:
        return self._reformatter.reformat(
            frame,
            format=form,
            src_colorspace=matrix,
            dst_colorspace=target,
            # PyAV's own default, said so that it stays: it matters where chroma is not simply repeated.
            interpolation=Interpolation.BILINEAR,
            **ranges,
            **ONE_SCALER_THREAD,
        )

    def _from_ycgco(self, frame: VideoFrame, colour_range: int) -> NDArray[np.uint8]:
        """YCgCo, which FFmpeg's converter does not know: H.273, equations 58 to 61 (Cg as Cb, Co as Cr)."""
        frame.colorspace = _BT601  # in name alone: from YUV to YUV, only size and depth of the planes change
        form = "yuvj444p" if frame.format.name.startswith("yuvj") else "yuv444p"
        planes = self._converted(frame, form, _BT601, _BT601).planes
        luma, green, orange = (_plane(plane, 1)[..., 0].astype(np.float32) for plane in planes)
        green, orange = green - 128, orange - 128
        if colour_range == _LIMITED:
            luma = (luma - 16) * np.float32(255 / 219)
            green, orange = green * np.float32(255 / 224), orange * np.float32(255 / 224)
        rest = luma - green
        rgb = np.stack([rest + orange, luma + green, rest - orange], axis=-1)
        return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def _range(frame: VideoFrame) -> int:
    """1 (limited, 16 to 235) or 2 (full, 0 to 255): as tagged; else full for ``yuvj`` formats, limited for others.

    Grey formats are full whatever their tag: so does FFmpeg convert them, in both directions.
    """
    if frame.format.name.startswith(("yuvj", "gray", "ya")):
        return _FULL
    return _FULL if int(frame.color_range) == _FULL else _LIMITED


def _pixels(frame: VideoFrame) -> NDArray[np.uint8]:
    return _plane(frame.planes[0], 3)


def _plane(plane: Any, channels: int) -> NDArray[np.uint8]:
    shape, strides = (plane.height, plane.width, channels), (plane.line_size, channels, 1)
    return np.ndarray(shape, np.uint8, buffer=memoryview(plane), strides=strides)
