"""Decoding one clip with PyAV, inside a worker process: first its sound and its timeline, then its frames in runs.

The packets are read once. They tell when each frame is shown, so that encoders can say which frames they need before
any is decoded; small files keep them for the decoder, larger ones are read again. Frames that nobody needs are decoded
(damage is found that way) but neither converted nor handed over. If the decoder gives other frames than the packets
told of, the clip is begun again with what it gave.

One thread decodes: with several, FFmpeg turns truncated files into silently shorter ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from javisbench.clip import Damage
from javisbench.isolated import buffers
from javisbench.media.container import (
    audio_stream,
    check_pixels,
    check_sound,
    examined,
    open_media,
    packets,
    video_stream,
)
from javisbench.media.crop import crop_of, cropped
from javisbench.media.errors import media_error
from javisbench.media.integrity import Measured, shortfalls
from javisbench.media.pictures import (
    PictureDecoder,
    PictureIndex,
    Ticks,
    declared_fps,
    display_matrix,
    first_frame,
    timeline_of,
    turn,
)
from javisbench.media.signature import VIDEO_FORMATS, Format, identify
from javisbench.media.sound import Sound, SoundTrack
from javisbench.media.sound_file import read_sidecar
from javisbench.media.source import DecodeLimits, MediaInfo
from javisbench.media.stream_hash import PictureHash, sound_hash

if TYPE_CHECKING:
    from typing import Self

    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

_KEPT_PACKET_BYTES = 64 * 2**20
_UNKNOWN_AVI_FRAMES = 2**30


class ClipDecoder:
    """One clip on its way out of its files; a context manager.

    Args:
        video: a video file.
        audio: the sound file that goes with it; None: the sound in the video's container, if any.
        limits: how much it may cost.
        known: when its frames are shown, where an earlier attempt has found out.

    Raises:
        MediaError: (by all methods) the clip cannot be read; `javisbench.media.errors.KINDS` lists the kinds.
    """

    def __init__(self, video: Path, audio: Path | None, limits: DecodeLimits, known: Ticks | None = None) -> None:
        self._video = video
        self._audio = audio
        self._limits = limits
        self._known = known
        self._stack = ExitStack()
        self._format = identify(video, VIDEO_FORMATS)
        self._kept: list[Packet[Any]] | None = []
        self._frames: Iterator[VideoFrame] = iter(())
        self._sound_spans_s: tuple[tuple[float, float], ...] = ()
        self.sound: Sound | None = None
        self.audio_source = "none"

    @property
    def _by_slot(self) -> bool:
        """AVI has no time stamps: a frame's place among the slots is its time, and sound follows without a gap."""
        return self._format == "avi"

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._frames = iter(())
        self._kept = None
        self._stack.close()

    def _open(self) -> None:
        with examined(self._video, self._format) as self._integrity:
            container = self._stack.enter_context(open_media(self._video, self._format))
            stream = video_stream(container, self._video)
            self._samples = _declared_frames(stream, self._format)
            check_pixels(self._video, *_coded_size(stream), max(self._samples, 1), self._limits)
        self._declared = declared_fps(stream)
        self._index = PictureIndex(stream, by_slot=self._by_slot)
        self._hash = PictureHash(stream)
        self._start, self._duration = int(stream.start_time or 0), int(stream.duration or 0)
        self._crop = crop_of(self._video, self._format, container.streams.video.index(stream))
        self._picture = PictureDecoder(self._video, self._crop, by_slot=self._by_slot)
        track = None if self._audio is not None else SoundTrack.of(container, self._video, self._limits)
        self._scan(packets(container, [stream, *([track.stream] if track else [])], self._video), stream, track)
        check_pixels(self._video, *_coded_size(stream), len(self._index), self._limits)
        if self._kept is None:
            container = self._stack.enter_context(open_media(self._video, self._format))
            stream = video_stream(container, self._video)
            source = packets(container, [stream], self._video)
        else:
            source = iter(self._kept)
        self._frames = self._picture.frames(source)
        self._begin()
        self._take_sound(track)

    def _scan(self, source: Iterator[Packet[Any]], stream: VideoStream, track: SoundTrack | None) -> None:
        """Take note of every packet of the picture, keep them if they are small enough, decode the sound."""
        size = 0
        for packet in source:
            # A packet that flushes a decoder has a stream, but no index of its own.
            if packet.stream.index != stream.index:
                if track is not None:
                    track.feed(packet)
                continue
            self._index.add(packet)
            self._hash.add(packet)
            size += packet.size
            if size > _KEPT_PACKET_BYTES:
                self._kept = None
            if self._kept is not None:
                self._kept.append(packet)

    def _begin(self) -> None:
        """Decode the first frame, for the picture's size, and lay out the timeline."""
        first = next(self._frames, None)
        if first is None:
            raise media_error("no_frames", f"{self._video}: the video track holds no frames.")
        self.height, self.width = self._picture.upright_size(first)
        self._frames = chain([first], self._frames)
        ticks = self._known or self._index.ticks()
        if ticks is None:  # the packets do not tell: only decoding does
            for _ in self._frames:
                pass
            ticks = self._picture.shown(self._declared)
            self._restart()
        self._ticks = ticks
        self.timeline = timeline_of(ticks, self._declared, self._whole(ticks))

    def _whole(self, ticks: Ticks) -> int:
        """Ticks from the first frame to the end of the track, where a header tells better than the last frame does.

        An AVI counts its slots. MP4 and MOV say of each frame how long after it the next one is decoded, which is how
        long it is shown only where frames are stored in the order shown.
        """
        if self._by_slot:
            return self._duration
        if self._format != "mov" or not self._index.last_is_out_of_order or self._duration <= 0:
            return 0
        return self._start + self._duration - int(ticks.stamps[0])

    def _restart(self) -> None:
        container = self._stack.enter_context(open_media(self._video, self._format))
        stream = video_stream(container, self._video)
        self._picture = PictureDecoder(self._video, self._crop, by_slot=self._by_slot)
        self._frames = self._picture.frames(packets(container, [stream], self._video))

    def _take_sound(self, track: SoundTrack | None) -> None:
        if self._audio is not None:
            self.sound, self.audio_source = read_sidecar(self._audio, self._limits), "sidecar"
        elif track is not None:
            start = float(self._ticks.stamps[0] * self._ticks.base)
            self._sound_spans_s = track.spans_s(timed=not self._by_slot)
            self.sound = track.finish(start, timed=not self._by_slot)
            self.audio_source = "none" if self.sound is None else "container"

    @property
    def stream_hashes(self) -> tuple[str, str]:
        """Of picture and sound, each alone; see `javisbench.media.stream_hash`."""
        picture = self._hash.digest(self.timeline, self._picture.matrix, self._crop, by_slot=self._by_slot)
        return picture, sound_hash(self.sound)

    def runs(self, wanted: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], int]]:
        """The wanted frames, in runs.

        Args:
            wanted: for each frame of the timeline whether somebody needs it, shape ``(T,)``.

        Yields:
            indices of frames, and the descriptor of a buffer (`javisbench.isolated.buffers`) that holds their pixels,
            which the caller closes.
        """
        at_once = max(1, self._limits.run_bytes // (self.height * self.width * 3))
        indices: list[int] = []
        descriptor, used = -1, 0
        try:
            for index, frame in enumerate(self._frames):
                if index >= len(wanted) or not wanted[index]:
                    continue
                if descriptor < 0:
                    descriptor, used = buffers.create(), 0
                used = buffers.append(descriptor, used, self._picture.pixels(frame))
                indices.append(index)
                if len(indices) == at_once:
                    ready, descriptor = descriptor, -1
                    yield np.array(indices, np.int64), ready
                    indices = []
            if descriptor >= 0:
                ready, descriptor = descriptor, -1
                yield np.array(indices, np.int64), ready
        finally:
            buffers.close(descriptor)

    def corrected(self) -> Ticks | None:
        """When the frames that came are shown, if that is not what was told before; to be asked after the last run.

        Raises:
            MediaError: ``short_read``: fewer frames came than the file declares.
        """
        self._check_missing()
        if self._known is None:
            found = self._picture.shown(self._declared)
            same = len(found.stamps) == len(self._ticks.stamps)
            if not same or not (self._by_slot or np.array_equal(found.stamps, self._ticks.stamps)):
                return found
        return None

    def damage(self) -> tuple[Damage, ...]:
        """What the file should hold and does not; to be asked after the last run."""
        times = self._ticks.stamps.astype(np.float64) * float(self._ticks.base)
        rate = None if self._declared is None else float(self._declared)
        return shortfalls(self._integrity, Measured(times, self.timeline.last_frame_s, self._sound_spans_s, rate))

    def _check_missing(self) -> None:
        missing = self._missing_frames()
        if missing > 0:
            raise media_error(
                "short_read",
                f"{self._video}: only {self._picture.count} frames could be read; {missing} more are declared by the "
                "file.",
            )

    def _missing_frames(self) -> int:
        if self._samples <= 0 or self._picture.count >= self._samples:
            return 0
        if self._by_slot:
            # AVI counts time slots, empty ones included; the last one must have been reached.
            return self._samples - (self._index.last_dts + 1) - 1
        # An edit list may leave frames out: of the samples in the file none may lack, and of those that were
        # decoded and not marked as hidden each must have become a frame.
        lost = self._samples - self._count_samples()
        return max(lost, self._index.packets - self._index.hidden - self._picture.count)

    def _count_samples(self) -> int:
        """How many video samples the file really holds, edit list or not."""
        with open_media(self._video, self._format, {"ignore_editlist": "1"}) as container:
            found = packets(container, [video_stream(container, self._video)], self._video)
            return sum(packet.size > 0 for packet in found)


def _declared_frames(stream: VideoStream, format: Format) -> int:
    """Frames that the header declares; 0 for unknown, as AVI says it that is written to a pipe."""
    return 0 if format == "avi" and stream.frames >= _UNKNOWN_AVI_FRAMES else stream.frames


def _coded_size(stream: VideoStream) -> tuple[int, int]:
    return stream.codec_context.width, stream.codec_context.height


def probe_headers(video: Path, limits: DecodeLimits) -> MediaInfo:
    """Read a video's headers, and its first frame for the display matrix.

    Raises:
        MediaError: as for `ClipDecoder`, as far as the headers and the first frame show it.
    """
    format = identify(video, VIDEO_FORMATS)
    with ExitStack() as stack:
        with examined(video, format):
            container = stack.enter_context(open_media(video, format))
            stream = video_stream(container, video)
            check_pixels(video, *_coded_size(stream), max(1, _declared_frames(stream, format)), limits)
        sound = audio_stream(container)
        if sound is not None and container.duration:
            seconds, context = container.duration / av.time_base, sound.codec_context
            size = int(seconds * context.sample_rate * len(context.layout.channels) * 4)
            check_sound(video, size, limits, ", by its header")
        first = first_frame(container, stream, video)
        crop = crop_of(video, format, container.streams.video.index(stream))
        stored = np.empty((first.height, first.width, 0), np.uint8)
        height, width = turn(cropped(stored, crop), display_matrix(first)).shape[:2]
        return MediaInfo(
            container=format,
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
