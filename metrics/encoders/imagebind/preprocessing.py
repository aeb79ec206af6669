"""Pixels and samples to what ImageBind's towers take, on the device that runs them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from javisbench.metrics.encoders.imagebind.config import (
    AUDIO_RATE,
    CLIP_FRAMES,
    IMAGE_SIZE,
    MEL_BINS,
    MEL_FRAMES,
    PIXEL_MEAN,
    PIXEL_STD,
)
from javisbench.metrics.encoders.imagebind.windows import Span, audio_clip_spans, video_clip_spans
from javisbench.metrics.encoders.preprocessing.kaldi_mel import log_mel
from javisbench.metrics.encoders.preprocessing.windowed_sinc import resample

if TYPE_CHECKING:
    from javisbench.clip import Timeline

_MEL_MEAN, _MEL_STD = -4.268, 9.138


def normalise(pixels: Tensor) -> Tensor:
    """float32 pixels in [0, 1], shape ``(B, 3, H, W)``, to the mean and deviation of ImageBind's training."""
    mean = torch.tensor(PIXEL_MEAN, device=pixels.device).view(1, 3, 1, 1)
    std = torch.tensor(PIXEL_STD, device=pixels.device).view(1, 3, 1, 1)
    return (pixels - mean).div_(std)


def scaled_frames(frames: Tensor) -> Tensor:
    """Frames with a shorter side of 224 pixels, bilinear, not antialiased.

    Args:
        frames: uint8, shape ``(n, H, W, 3)``.

    Returns:
        normalised float32, shape ``(n, 3, h, w)``.
    """
    if frames.device.type != "cpu":
        return normalise(scale_shorter_side(frames.permute(0, 3, 1, 2).contiguous().to(torch.float32).div_(255.0)))
    # On a CPU scaling takes half the time with channels last, to the same bits; what follows takes twice as long.
    scaled = scale_shorter_side(frames.to(torch.float32).div_(255.0).permute(0, 3, 1, 2))
    return normalise(scaled.contiguous(memory_format=torch.contiguous_format))


def clip_pairs(timeline: Timeline) -> list[Span]:
    """The first and the last frame of each of five 2-second clips."""
    return [(first, end - 1) for first, end in video_clip_spans(timeline)]


def video_crops(scaled: Tensor, pairs: Sequence[Span]) -> tuple[Tensor, list[int]]:
    """The distinct ones of the 15 crops of a video, and which of them each of the 15 is.

    Five clips of two frames, each in three squares along the longer side.

    Args:
        scaled: frames as `scaled_frames` gives them.
        pairs: for each clip the rows of its two frames in `scaled`.

    Returns:
        normalised float32, shape ``(distinct, 3, 2, 224, 224)``, and 15 rows of it, clip by clip.
    """
    crops = crop_places(scaled, pairs)
    distinct = list(dict.fromkeys(crops))
    cropped = scaled.new_empty(len(distinct), 3, CLIP_FRAMES, IMAGE_SIZE, IMAGE_SIZE)
    for out, (first, last, top, left) in zip(cropped, distinct, strict=True):
        for place, frame in enumerate((first, last)):
            out[:, place] = square(scaled[frame], top, left)
    return cropped, [distinct.index(crop) for crop in crops]


def crop_places(scaled: Tensor, pairs: Sequence[Span]) -> list[tuple[int, int, int, int]]:
    """Rows of both frames, top and left of each of the 15 crops, clip by clip; arguments as for `video_crops`."""
    return [(first, last, *offset) for first, last in pairs for offset in _crop_offsets(scaled)]


def square(planes: Tensor, top: int, left: int) -> Tensor:
    """224 x 224 pixels of ``(3, h, w)``."""
    return planes[:, top : top + IMAGE_SIZE, left : left + IMAGE_SIZE]


def prepare_waveform(audio: Tensor, rate: int, channels: str) -> Tensor:
    """Resample to 16 kHz.

    Args:
        audio: float32, shape ``(channels, samples)``.
        rate: Hz.
        channels: ``left`` keeps all channels (each counts in the mean that is removed later); ``mean`` mixes them
            down to one first.
    """
    if channels == "mean":
        audio = audio.mean(dim=0, keepdim=True)
    with _float32(audio):
        return resample(audio, rate, AUDIO_RATE)


class AudioSegments:
    """The distinct mel inputs of a batch of waveforms.

    Each pass over a waveform cuts spans out of it in order, removes the mean over all channels and samples, and keeps
    the first channel. With ``in_place`` the mean is removed from the waveform itself, so that later spans of the
    same pass see it; a span's content then depends on the spans before it.
    """

    def __init__(self) -> None:
        self._segments: list[Tensor] = []
        self._rows: dict[tuple[object, ...], int] = {}

    def __len__(self) -> int:
        return len(self._segments)

    def cut(self, name: object, waveform: Tensor, spans: Sequence[Span], *, in_place: bool) -> list[int]:
        """Add the 2-second clips of each of `spans` in one pass.

        Args:
            name: equal for equal waveforms only.
            waveform: float32, shape ``(channels, samples)``; not changed.
            spans: samples of each span.
            in_place: whether removed means stay removed.

        Returns:
            three rows of `mels` for each span, in order.
        """
        working = waveform.clone() if in_place else waveform
        rows: list[int] = []
        history = -1
        last: Span | None = None
        for first, end in spans:
            for low, high in audio_clip_spans(end - first):
                span = (first + low, first + high)
                if span != last:
                    history = self._row(name, working, span, history, in_place)
                    last = span
                rows.append(history)
        return rows

    def _row(self, name: object, waveform: Tensor, span: Span, history: int, in_place: bool) -> int:
        piece = waveform[:, span[0] : span[1]]
        if in_place:
            piece -= piece.mean()
            key: tuple[object, ...] = (name, span, history)
        else:
            piece = piece - piece.mean()
            key = (name, span)
        if key not in self._rows:
            self._rows[key] = len(self._segments)
            self._segments.append(piece[0].clone() if in_place else piece[0])
        return self._rows[key]

    def mels(self) -> Tensor:
        """Normalised log-mels of all segments, float32, shape ``(segments, 1, 128, 204)``."""
        by_length: dict[int, list[int]] = {}
        for row, segment in enumerate(self._segments):
            by_length.setdefault(segment.shape[0], []).append(row)
        out: list[Tensor | None] = [None] * len(self._segments)
        for rows in by_length.values():
            mels = mel_input(torch.stack([self._segments[row] for row in rows]))
            for row, mel in zip(rows, mels, strict=True):
                out[row] = mel
        return torch.stack([mel for mel in out if mel is not None])


def mel_input(segments: Tensor) -> Tensor:
    """Log-mels of ``(B, samples)`` at 16 kHz, filled with 0 or cut to 204 frames, normalised: ``(B, 1, 128, 204)``."""
    with _float32(segments):
        mels = log_mel(segments, mel_bins=MEL_BINS, sample_rate=AUDIO_RATE).transpose(1, 2)
    mels = F.pad(mels, (0, max(MEL_FRAMES - mels.shape[-1], 0)))[..., :MEL_FRAMES]
    return ((mels - _MEL_MEAN) / _MEL_STD)[:, None]


def _float32(values: Tensor) -> torch.autocast:
    """Keeps a caller's autocast, which is meant for the network, from the network's input."""
    return torch.autocast(values.device.type, enabled=False)


def scale_shorter_side(pixels: Tensor) -> Tensor:
    """Float planes ``(n, 3, H, W)`` with a shorter side of 224 pixels, bilinear, not antialiased."""
    height, width = int(pixels.shape[2]), int(pixels.shape[3])
    if width < height:
        size = math.floor(height / width * IMAGE_SIZE), IMAGE_SIZE
    else:
        size = IMAGE_SIZE, math.floor(width / height * IMAGE_SIZE)
    return F.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=False)


def _crop_offsets(scaled: Tensor) -> list[tuple[int, int]]:
    """Top and left of the three squares: both ends of the longer side, and its middle rounded up."""
    spare_rows, spare_columns = int(scaled.shape[2]) - IMAGE_SIZE, int(scaled.shape[3]) - IMAGE_SIZE
    steps = (0.0, 0.5, 1.0)
    return [(math.ceil(spare_rows * step), math.ceil(spare_columns * step)) for step in steps]
