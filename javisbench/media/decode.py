"""Decoding one clip with PyAV, inside a worker process: picture and sound into one buffer.

One thread decodes: with several, FFmpeg turns truncated files into silently shorter ones.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from javisbench.media import buffers
from javisbench.media.container import (
    audio_stream,
    check_header,
    check_size,
    open_media,
    packets,
    refuse_truncated,
    video_stream,
)
from javisbench.media.pictures import Picture, declared_fps, display_matrix, first_frame, turn
from javisbench.media.signature import VIDEO_FORMATS, identify
from javisbench.media.sound import Sound, SoundTrack
from javisbench.media.sound_file import read_sidecar
from javisbench.media.source import DecodeLimits, MediaInfo

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ClipLayout:
    """Where the arrays of a decoded clip lie in its buffer: frames at 0, then times, then samples.

    Attributes:
        frames: shape (T, H, W) of the uint8 RGB frames.
        fps: numerator and denominator of the average frame rate.
        times_at: offset in bytes of T float64 seconds.
        samples_at: offset in bytes of the float32 samples.
        channels: number of channels; 0 without sound.
        samples: samples per channel.
        sample_rate: Hz; None without sound.
        audio_source: ``sidecar``, ``container`` or ``none``.
    """

    frames: tuple[int, int, int]
    fps: tuple[int, int]
    times_at: int
    samples_at: int
    channels: int
    samples: int
    sample_rate: int | None
    audio_source: str

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the way to the parent process."""
        return asdict(self)


def decode_clip(video: Path, audio: Path | None, limits: DecodeLimits, descriptor: int) -> ClipLayout:
    """Decode a clip into the buffer behind ``descriptor``.

    Args:
        video: a video file.
        audio: the sound file that goes with it; None: the sound in the video's container, if any.
        limits: how many bytes may come out.
        descriptor: an empty file (see `javisbench.media.buffers`).

    Raises:
        MediaError: the clip cannot be read; `javisbench.media.errors.KINDS` lists the kinds.
    """
    signature = refuse_truncated(video, identify(video, VIDEO_FORMATS))
    with open_media(video, signature) as container:
        stream = video_stream(container, video)
        track = None if audio is not None else SoundTrack.of(container, video, limits)
        picture = Picture(stream, video, limits, descriptor)
        wanted: list[VideoStream | AudioStream] = [stream]
        if track is not None:
            wanted.append(track.stream)
        for packet in packets(container, wanted, video):
            if packet.stream_index == stream.index:
                picture.feed(packet)
            elif track is not None:
                track.feed(packet)
        fps, times = picture.finish(signature)
        sound = None if track is None else track.finish(None if signature.format == "avi" else times[0])
    if audio is not None:
        sound = read_sidecar(audio, limits)
    source = "none" if sound is None else "container" if audio is None else "sidecar"
    return _store(descriptor, picture, fps, times, sound, source, limits)


def _store(
    descriptor: int,
    picture: Picture,
    fps: Fraction,
    times: NDArray[np.float64],
    sound: Sound | None,
    source: str,
    limits: DecodeLimits,
) -> ClipLayout:
    times_at = buffers.aligned(picture.used_bytes)
    samples_at = buffers.aligned(buffers.append(descriptor, times_at, times))
    if sound is not None:
        check_size(picture.path, picture.used_bytes + sound.samples.nbytes, limits, "")
        buffers.append(descriptor, samples_at, sound.samples)
    channels, samples = sound.samples.shape if sound is not None else (0, 0)
    return ClipLayout(
        frames=(picture.count, *picture.size),
        fps=(fps.numerator, fps.denominator),
        times_at=times_at,
        samples_at=samples_at,
        channels=channels,
        samples=samples,
        sample_rate=None if sound is None else sound.rate,
        audio_source=source,
    )


def probe_headers(video: Path, limits: DecodeLimits) -> MediaInfo:
    """Read a video's headers, and its first frame for the display matrix.

    Raises:
        MediaError: as for `decode_clip`, as far as the headers and the first frame show it.
    """
    signature = refuse_truncated(video, identify(video, VIDEO_FORMATS))
    with open_media(video, signature) as container:
        stream = video_stream(container, video)
        sound = audio_stream(container)
        check_header(video, stream, limits, 1)
        first = first_frame(container, stream, video)
        height, width = turn(np.empty((first.height, first.width, 1), np.uint8), display_matrix(first)).shape[:2]
        return MediaInfo(
            container=signature.format,
            width=width,
            height=height,
            fps=declared_fps(stream) or Fraction(1),
            frames=stream.frames or None,
            duration_s=None if container.duration is None else container.duration / av.time_base,
            video_codec=stream.codec_context.name,
            pixel_format=first.format.name,
            has_audio=sound is not None,
            sample_rate=None if sound is None else sound.codec_context.sample_rate,
            channels=None if sound is None else len(sound.codec_context.layout.channels),
            audio_codec=None if sound is None else sound.codec_context.name,
        )
