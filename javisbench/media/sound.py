"""Decoding the sound: every channel at the file's own rate.

Samples come as decoded (a lossy codec may overshoot [-1, 1] a little), without the encoder's delay as far as FFmpeg
knows it. A container's sound is lined up with its picture: sample 0 belongs to the first frame. Sound that starts
later is led in by zeros, sound that starts earlier is cut; differences below `ALIGNMENT_TOLERANCE_S` are left
alone, and so is AVI, which has no time stamps. A file beside the video starts with the first frame by definition.
Gaps inside a track are not filled.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np

from javisbench.errors import MediaError
from javisbench.media.container import audio_stream, check_size, open_media, packets, reason
from javisbench.media.errors import media_error
from javisbench.media.signature import AUDIO_FORMATS, Signature, identify
from javisbench.media.source import DecodeLimits

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from numpy.typing import NDArray

ALIGNMENT_TOLERANCE_S = 0.002
"""Seconds; Matroska rounds every time stamp to 1 ms, so two of them may be off by that much."""

# PyAV (14 to 18 at least) crashes on frames with this many separate channels.
_TOO_MANY_PLANES = 8
# Powers of two, so that scaling is exact. By FFmpeg's names of sample formats.
_FULL_SCALE = {"u8": 2.0**-7, "s16": 2.0**-15, "s32": 2.0**-31, "s64": 2.0**-63, "flt": 1.0, "dbl": 1.0}
_MP3_DURATION_TOLERANCE_S = 0.1


@dataclass(frozen=True)
class Sound:
    """Decoded samples, float32 ``(channels, samples)``, and their rate in Hz."""

    samples: NDArray[np.float32]
    rate: int


class SoundTrack:
    """Collects the samples of a sound track."""

    def __init__(self, stream: AudioStream, path: Path, limits: DecodeLimits, kind: str) -> None:
        self.stream = stream
        self._path = path
        self._limits = limits
        self._kind = kind
        self._chunks: list[NDArray[np.float32]] = []
        self._interleave: av.AudioResampler | None = None
        self._bytes = 0
        self._packets = 0
        self._rate = 0
        self._start: float | None = None

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
        if not self._chunks:
            self._rate = frame.sample_rate
            self._start = start
        self._bytes += samples.nbytes
        check_size(self._path, self._bytes, self._limits, " of sound alone")
        self._chunks.append(samples)

    def _length(self) -> int:
        return sum(chunk.shape[1] for chunk in self._chunks)

    def finish(self, video_start_s: float | None) -> Sound | None:
        """All samples, lined up with a picture that starts at ``video_start_s`` (None: no lining up).

        Returns None when the track is empty or over before the picture starts.
        """
        if not self._chunks:
            if self._packets:
                raise media_error(self._kind, f"{self._path}: no sound comes out of the sound track.")
            return None
        offset = 0.0
        if video_start_s is not None and self._start is not None:
            offset = self._start - video_start_s
        shift = round(offset * self._rate) if abs(offset) >= ALIGNMENT_TOLERANCE_S else 0
        channels = self._chunks[0].shape[0]
        if shift > 0:
            check_size(self._path, self._bytes + shift * channels * 4, self._limits, ", the lead-in included")
            self._chunks.insert(0, np.zeros((channels, shift), np.float32))
        samples = np.concatenate(self._chunks, axis=1)[:, max(0, -shift) :]
        if samples.shape[1] == 0:
            return None
        return Sound(_finite(np.ascontiguousarray(samples), self._path, self._kind), self._rate)


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


def read_sidecar(path: Path, limits: DecodeLimits) -> Sound:
    """Read a sound file that stands beside a video.

    Raises:
        MediaError: ``bad_sidecar`` whatever is wrong with it, except ``too_large``.
    """
    try:
        found = identify(path, AUDIO_FORMATS)
        if found.missing_bytes:
            raise media_error("bad_sidecar", f"{path}: the file is cut off; {found.missing_bytes} bytes are missing.")
        if found.format in ("wav", "flac"):
            return _read_uncompressed(path, limits)
        return _read_compressed(path, found, limits)
    except MediaError as failure:
        if failure.kind in ("too_large", "bad_sidecar"):
            raise
        raise media_error("bad_sidecar", failure.message) from failure


def _read_uncompressed(path: Path, limits: DecodeLimits) -> Sound:
    import soundfile

    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            declared, rate = file.frames, file.samplerate
            check_size(path, declared * file.channels * 4, limits, " of sound, by its header")
            samples = file.read(dtype="float32", always_2d=True)
    except soundfile.SoundFileError as failure:
        raise media_error("bad_sidecar", f"{path}: the sound file cannot be read ({failure}).") from failure
    if samples.shape[0] == 0:
        raise media_error("bad_sidecar", f"{path}: the sound file holds no samples.")
    if samples.shape[0] < declared:
        raise media_error("bad_sidecar", f"{path}: {samples.shape[0]} samples could be read of {declared} declared.")
    return Sound(_finite(np.ascontiguousarray(samples.T), path, "bad_sidecar"), rate)


def _read_compressed(path: Path, found: Signature, limits: DecodeLimits) -> Sound:
    with open_media(path, found) as container:
        track = SoundTrack.of(container, path, limits, "bad_sidecar")
        if track is None:
            raise media_error("bad_sidecar", f"{path}: there is no sound in this file.")
        declared_s = _declared_seconds(track.stream)
        for packet in packets(container, [track.stream], path):
            track.feed(packet)
        sound = track.finish(None)
    if sound is None:
        raise media_error("bad_sidecar", f"{path}: the sound file holds no samples.")
    read_s = sound.samples.shape[1] / sound.rate
    if found.format == "mp3" and read_s < declared_s - max(_MP3_DURATION_TOLERANCE_S, declared_s / 50):
        raise media_error("bad_sidecar", f"{path}: the file is cut off; {read_s:.2f} of {declared_s:.2f} s are there.")
    return sound


def _declared_seconds(stream: AudioStream) -> float:
    if stream.duration is None or stream.time_base is None:
        return 0.0
    return float(stream.duration * stream.time_base)
