"""A picture and the sound that lies beside it as one file that browsers play: packets of the picture as they are, the
sound without loss.

The sound is FLAC of 16 bits in MP4, which Chromium, Firefox and Safari play: what is heard is what was scored, and no
delay of an encoder moves it, as with AAC. It starts with the first frame, as everywhere for a file beside a video.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error
import numpy as np

from javisbench.media.container import open_media, packets, reason, video_stream
from javisbench.media.errors import media_error
from javisbench.media.signature import VIDEO_FORMATS, identify
from javisbench.media.sound_file import read_sidecar
from javisbench.media.source import DecodeLimits

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

    from javisbench.media.sound import Sound

PLAYED_IN_MP4 = frozenset({"h264", "hevc", "av1", "vp9"})
"""Codecs of pictures that some browser plays in MP4."""
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def join(video: Path, audio: Path, target: Path, limits: DecodeLimits) -> None:
    """Write the picture of one file and the sound of another into an mp4; nothing of the picture is decoded.

    Runs in a decoding process (`javisbench.media.process.Worker.join`).

    Args:
        video: mov, mp4, mkv or webm.
        audio: the sound file beside it.
        target: the mp4; half of it may be left where this fails.
        limits: how many bytes the sound may decode to.

    Raises:
        MediaError: ``unsupported_format``: the picture cannot stand in an mp4 as it is; the reasons of reading; or
            ``cannot_write``.
    """
    found = identify(video, VIDEO_FORMATS)
    sound = read_sidecar(audio, limits)
    with open_media(video, found) as source:
        stream = video_stream(source, video)
        if stream.codec_context.name not in PLAYED_IN_MP4 and stream.codec_context.codec.name not in PLAYED_IN_MP4:
            raise media_error("unsupported_format", f"{video}: {stream.codec_context.name} is not played in mp4.")
        picture = [packet for packet in packets(source, [stream], video) if packet.size]
        start = _first_shown(picture, video)
        try:
            # Without a delta, packets wait until the other track has caught up, so that both are laid down by time.
            options = {"movflags": "+faststart", "max_interleave_delta": "0", "strict": "experimental"}
            with av.open(f"file:{target}", "w", format="mp4", options=options) as written:
                picture_track, sound_track = written.add_stream_from_template(stream), _sound_track(written, sound)
                for packet in picture:
                    _mux(written, packet, picture_track, start)
                _encode(written, sound_track, sound)
        except (av.error.FFmpegError, OSError, ValueError) as failure:
            why = reason(failure) if isinstance(failure, av.error.FFmpegError) else str(failure)
            raise media_error("cannot_write", f"{target}: the clip cannot be stored ({why}).") from failure


def _first_shown(picture: list[Packet[VideoStream]], path: Path) -> int:
    """The time stamp of the first frame that is shown."""
    shown = [packet.pts for packet in picture if packet.pts is not None and not packet.is_discard]
    if not shown or any(packet.pts is None or packet.dts is None for packet in picture):
        raise media_error("unsupported_format", f"{path}: frames without times cannot be stored in mp4 as they are.")
    return min(shown)


def _mux(written: OutputContainer, packet: Packet[VideoStream], track: VideoStream, start: int) -> None:
    assert packet.pts is not None and packet.dts is not None
    packet.pts, packet.dts = packet.pts - start, packet.dts - start
    packet.stream = track
    written.mux(packet)


def _sound_track(written: OutputContainer, sound: Sound) -> AudioStream:
    channels = sound.samples.shape[0]
    if channels not in _LAYOUTS:
        raise ValueError(f"sound of {channels} channels")
    track = written.add_stream("flac", rate=sound.rate, layout=_LAYOUTS[channels])
    track.codec_context.format = av.AudioFormat("s16")
    return track


def _encode(written: OutputContainer, track: AudioStream, sound: Sound) -> None:
    samples = np.clip(np.rint(sound.samples.T.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)
    interleaved, layout = np.ascontiguousarray(samples).reshape(1, -1), _LAYOUTS[sound.samples.shape[0]]
    frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = sound.rate, 0, Fraction(1, sound.rate)
    written.mux(track.encode(frame))
    written.mux(track.encode(None))
