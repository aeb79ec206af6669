"""Decoding the sound: every channel at the file's own rate, on the picture's clock.

Samples come as decoded (a lossy codec may overshoot [-1, 1] a little), without the encoder's delay and padding as far
as FFmpeg knows them. Sample 0 belongs to the first frame's presentation: sound that starts later is led in by silence,
sound that starts earlier is cut. Where the times of a track leave a gap, there is silence; where they overlap, what
comes later is cut at its start. Times that waver about a steady course, as containers round them, make neither. A file
beside the video starts with the first frame by definition.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np

from javisbench.media.container import audio_stream, check_sound, reason
from javisbench.media.errors import media_error
from javisbench.media.source import DecodeLimits

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from numpy.typing import NDArray

ALIGNMENT_TOLERANCE_S = 0.002
"""Seconds; Matroska rounds every time stamp to 1 ms, so two of them may be off by that much."""

_FRAMES_OF_A_COURSE = 5
_WAVERING = 6.0
_PACKETS_THAT_WAVER = 8
_MOST_WAVERING_S = 0.02

# PyAV (14 to 18 at least) crashes on frames with this many separate channels.
_TOO_MANY_PLANES = 8
# Powers of two, so that scaling is exact. By FFmpeg's names of sample formats.
_FULL_SCALE = {"u8": 2.0**-7, "s16": 2.0**-15, "s32": 2.0**-31, "s64": 2.0**-63, "flt": 1.0, "dbl": 1.0}


@dataclass(frozen=True)
class Sound:
    """Decoded samples, float32 ``(channels, samples)``, and their rate in Hz."""

    samples: NDArray[np.float32]
    rate: int


@dataclass(frozen=True)
class Stretch:
    """Sound without a gap: when it starts on the container's clock, in seconds; its first sample, and past its last."""

    start_s: float
    first: int
    end: int


class SoundTrack:
    """Collects the samples of a sound track."""

    def __init__(self, stream: AudioStream, path: Path, limits: DecodeLimits, kind: str) -> None:
        self.stream = stream
        self._path = path
        self._limits = limits
        self._kind = kind
        self._chunks: list[NDArray[np.float32]] = []
        self._starts: list[float | None] = []
        self._interleave: av.AudioResampler | None = None
        self._bytes = 0
        self._packets = 0
        self._rate = 0

    @classmethod
    def of(
        cls, container: InputContainer, path: Path, limits: DecodeLimits, kind: str = "bad_audio"
    ) -> SoundTrack | None:
        """The container's main sound track, None when it has none."""
        stream = audio_stream(container)
        if stream is None:
            return None
        if stream.codec_context is None:
            raise media_error(kind, f"{path}: there is no decoder for its sound track.")
        stream.codec_context.thread_count = 1
        return cls(stream, path, limits, kind)

    def feed(self, packet: Packet[Any]) -> None:
        """Decode a packet; keep the samples that come out."""
        self._packets += packet.size > 0
        try:
            for frame in self.stream.decode(packet):
                self._add(frame)
        except av.error.FFmpegError as failure:
            seconds = self._length() / self._rate if self._rate else 0.0
            raise media_error(
                self._kind, f"{self._path}: damaged sound data at {seconds:.2f} s ({reason(failure)})."
            ) from failure

    def _add(self, frame: AudioFrame) -> None:
        start, channels = frame.time, len(frame.layout.channels)
        if self._chunks and (frame.sample_rate, channels) != (self._rate, self._chunks[0].shape[0]):
            raise media_error(self._kind, f"{self._path}: the sound's rate or number of channels changes midway.")
        if frame.format.is_planar and channels >= _TOO_MANY_PLANES:
            # The only filter here: the same samples, channels interleaved.
            if self._interleave is None:
                self._interleave = av.AudioResampler(frame.format.packed, frame.layout, frame.sample_rate)
            (frame,) = self._interleave.resample(frame)
        samples = _as_float(frame)
        self._rate = frame.sample_rate
        self._bytes += samples.nbytes
        check_sound(self._path, self._bytes, self._limits, " of sound alone")
        self._chunks.append(samples)
        self._starts.append(start)

    def _length(self) -> int:
        return sum(chunk.shape[1] for chunk in self._chunks)

    def stretches(self, *, timed: bool = True) -> tuple[Stretch, ...]:
        """The track's sound, cut where its times leave gaps or overlap.

        Args:
            timed: False for a container whose times mean nothing (AVI): one stretch from the first time on.
        """
        if not self._chunks:
            return ()
        lengths = np.array([chunk.shape[1] for chunk in self._chunks], np.int64)
        firsts = np.concatenate([[0], np.cumsum(lengths)])
        starts = np.array([np.nan if start is None else start for start in self._starts])
        if not timed or np.isnan(starts).all():
            begin = 0.0 if np.isnan(starts[0]) else float(starts[0])
            return (Stretch(begin, 0, int(firsts[-1])),)
        lag = _filled(starts - firsts[:-1] / self._rate)
        cuts = [0, *_steps(lag), len(lag)]
        return tuple(
            Stretch(float(np.median(lag[a:b])) + float(firsts[a]) / self._rate, int(firsts[a]), int(firsts[b]))
            for a, b in pairwise(cuts)
        )

    def spans_s(self, *, timed: bool = True) -> tuple[tuple[float, float], ...]:
        """Start and end of each stretch in seconds on the container's clock."""
        return tuple(
            (stretch.start_s, stretch.start_s + (stretch.end - stretch.first) / self._rate)
            for stretch in self.stretches(timed=timed)
        )

    def finish(self, video_start_s: float | None, *, timed: bool = True) -> Sound | None:
        """All samples on the clock of a picture that starts at ``video_start_s`` (None: the sound starts with it).

        Returns None when the track is empty or over before the picture starts.
        """
        if not self._chunks:
            if self._packets:
                raise media_error(self._kind, f"{self._path}: no sound comes out of the sound track.")
            return None
        stretches = self.stretches(timed=timed)
        zero = stretches[0].start_s if video_start_s is None else video_start_s
        samples = np.concatenate(self._chunks, axis=1)
        self._chunks.clear()
        placed = _places(stretches, zero, self._rate)
        length = max((place + stretch.end - stretch.first for place, stretch in placed), default=0)
        if length <= 0:
            return None
        if len(placed) == 1 and placed[0][0] == 0:
            samples = samples[:, placed[0][1].first : placed[0][1].end]
        else:
            samples = self._laid_out(samples, placed, length)
        return Sound(_finite(np.ascontiguousarray(samples), self._path, self._kind), self._rate)

    def _laid_out(
        self, samples: NDArray[np.float32], placed: list[tuple[int, Stretch]], length: int
    ) -> NDArray[np.float32]:
        """Samples at their places, silence between them; what overlaps with earlier sound is cut."""
        size = samples.shape[0] * length * 4
        check_sound(self._path, size, self._limits, ", silence before and within the sound included")
        out = np.zeros((samples.shape[0], length), np.float32)
        end = 0
        for place, stretch in placed:
            skipped = max(end - place, 0)
            count = stretch.end - stretch.first - skipped
            if count > 0:
                out[:, place + skipped : place + skipped + count] = samples[:, stretch.first + skipped : stretch.end]
                end = place + skipped + count
        return out


def _filled(lag: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unknown values taken from the one before (the first known one at the start)."""
    known = np.flatnonzero(~np.isnan(lag))
    return np.asarray(lag[known[np.maximum(np.searchsorted(known, np.arange(len(lag)), side="right") - 1, 0)]])


def _steps(lag: NDArray[np.float64]) -> list[int]:
    """Where a track's times leave the course that they had, and stay off it.

    A single frame off its course, or times that waver from frame to frame, are no steps.

    Args:
        lag: seconds by which each frame's time is behind the samples before it, shape ``(n,)``.
    """
    # Of a few packets nobody can say that their times waver.
    wavering = float(np.median(np.abs(np.diff(lag)))) if len(lag) >= _PACKETS_THAT_WAVER else 0.0
    tolerance = min(max(ALIGNMENT_TOLERANCE_S, _WAVERING * wavering), _MOST_WAVERING_S)
    cuts: list[int] = []
    level = _course(lag, 0, tolerance)
    values = lag.tolist()
    for index in range(1, len(values)):
        off = values[index] - level
        if abs(off) < tolerance:
            continue
        if index + 1 < len(values):
            next_off = values[index + 1] - level
            if abs(next_off) < tolerance or (next_off > 0) != (off > 0):
                continue
        cuts.append(index)
        level = _course(lag, index, tolerance)
    return cuts


def _course(lag: NDArray[np.float64], index: int, tolerance: float) -> float:
    """The lag that holds from a frame on: the median of the few frames that agree with it."""
    ahead = lag[index : index + _FRAMES_OF_A_COURSE]
    return float(np.median(ahead[np.abs(ahead - ahead[0]) < tolerance]))


def _places(stretches: tuple[Stretch, ...], zero_s: float, rate: int) -> list[tuple[int, Stretch]]:
    """Stretches with the samples at which they start, cut where they begin before `zero_s`, left out when over then."""
    placed = []
    for stretch in stretches:
        offset = stretch.start_s - zero_s
        place = round(offset * rate) if abs(offset) >= ALIGNMENT_TOLERANCE_S else 0
        first = stretch.first + max(-place, 0)
        if first < stretch.end:
            placed.append((max(place, 0), Stretch(stretch.start_s, first, stretch.end)))
    return placed


def _as_float(frame: AudioFrame) -> NDArray[np.float32]:
    """A frame's samples as float32 ``(channels, samples)``, integers scaled so that full scale is 1."""
    samples = frame.to_ndarray()
    channels = len(frame.layout.channels)
    if not frame.format.is_planar:
        samples = samples.reshape(-1, channels).T
    scaled = samples.astype(np.float32)
    if frame.format.name.startswith("u8"):
        scaled -= np.float32(128)
    scaled *= np.float32(_FULL_SCALE[frame.format.name.removesuffix("p")])
    return scaled


def _finite(samples: NDArray[np.float32], path: Path, kind: str) -> NDArray[np.float32]:
    if not np.isfinite(samples).all():
        raise media_error(kind, f"{path}: the sound holds values that are not numbers (NaN or infinite).")
    return samples
