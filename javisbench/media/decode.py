"""Decoding one clip with PyAV, inside a worker process.

Pictures: frames in presentation order as the container's edit list shows them, converted to RGB with FFmpeg's
default scaler settings (bit-identical to OpenCV and ffmpeg for 8-bit video), never resized, turned by the display
matrix when it is a multiple of 90 degrees or a mirror image of one (any other matrix is ignored, as players do).
Non-square pixels stay as stored.

Sound: every channel at the file's own rate, as decoded (a lossy codec may overshoot [-1, 1] a little). Encoder
delay is removed as FFmpeg removes it. A container's sound is lined up with its picture: sample 0 belongs to the
first frame. Sound that starts later is led in by zeros, sound that starts earlier is cut; differences below
`ALIGNMENT_TOLERANCE_S`, the rounding of container time stamps, are left alone, and so is AVI, which has no time
stamps. A file beside the video starts with the first frame by definition. Gaps inside a track are not filled.

One thread decodes: with several, FFmpeg turns truncated files into silently shorter ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
import av.logging
import numpy as np
from av.video.reformatter import VideoReformatter

from javisbench.errors import MediaError
from javisbench.media import buffers
from javisbench.media.errors import media_error
from javisbench.media.signature import AUDIO_FORMATS, VIDEO_FORMATS, Signature, identify
from javisbench.media.source import DecodeLimits, MediaInfo

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

ALIGNMENT_TOLERANCE_S = 0.002
"""Seconds; Matroska rounds every time stamp to 1 ms, so two of them may be off by that much."""

_ATTACHED_PICTURE = 0x400
_REFUSED_SIZE = re.compile(r"(?<=Picture size )\d+x\d+(?= is invalid)")
# Powers of two, so that scaling is exact. By FFmpeg's names of sample formats.
_FULL_SCALE = {"u8": 2.0**-7, "s16": 2.0**-15, "s32": 2.0**-31, "s64": 2.0**-63, "flt": 1.0, "dbl": 1.0}
# From PyAV 17 on, the scaler would start threads of its own; before, it knew no such option.
_ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 17 else {}
_MP3_DURATION_TOLERANCE_S = 0.1


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


@dataclass(frozen=True)
class Sound:
    """Decoded samples, float32 ``(channels, samples)``, and their rate in Hz."""

    samples: NDArray[np.float32]
    rate: int


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
    signature = _complete(video, identify(video, VIDEO_FORMATS))
    with _open(video, signature) as container:
        stream = _video_stream(container, video)
        track = None if audio is not None else _SoundTrack.of(container, video, limits)
        picture = _Picture(stream, video, limits, descriptor)
        for packet in _packets(container, stream, track, video):
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
    picture: _Picture,
    fps: Fraction,
    times: NDArray[np.float64],
    sound: Sound | None,
    source: str,
    limits: DecodeLimits,
) -> ClipLayout:
    times_at = buffers.aligned(picture.used_bytes)
    samples_at = buffers.aligned(buffers.append(descriptor, times_at, times))
    if sound is not None:
        _check_size(picture.path, picture.used_bytes + sound.samples.nbytes, limits, "")
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
    signature = _complete(video, identify(video, VIDEO_FORMATS))
    with _open(video, signature) as container:
        stream = _video_stream(container, video)
        sound = _audio_stream(container)
        _check_header(video, stream, limits, 1)
        first = _first_frame(container, stream, video)
        height, width = _turn(np.empty((first.height, first.width, 1), np.uint8), _display_matrix(first)).shape[:2]
        return MediaInfo(
            container=signature.format,
            width=width,
            height=height,
            fps=_declared_fps(stream) or Fraction(1),
            frames=stream.frames or None,
            duration_s=None if container.duration is None else container.duration / av.time_base,
            video_codec=stream.codec_context.name,
            pixel_format=first.format.name,
            has_audio=sound is not None,
            sample_rate=None if sound is None else sound.codec_context.sample_rate,
            channels=None if sound is None else len(sound.codec_context.layout.channels),
            audio_codec=None if sound is None else sound.codec_context.name,
        )


# Containers and packets


def _complete(path: Path, signature: Signature) -> Signature:
    if signature.missing_bytes:
        raise media_error("short_read", f"{path}: the file is cut off; {signature.missing_bytes} bytes are missing.")
    return signature


def _open(path: Path, signature: Signature, options: dict[str, str] | None = None) -> InputContainer:
    with av.logging.Capture() as log:
        try:
            # The prefix keeps a name like "http:x" from being taken for an address.
            container = av.open(
                f"file:{path}",
                format=signature.format,
                container_options={"protocol_whitelist": "file", **(options or {})},
                metadata_errors="replace",
            )
        except av.error.FFmpegError as failure:
            raise media_error(
                "bad_container", f"{path}: the {signature.format} structure cannot be read ({_reason(failure)})."
            ) from failure
    # FFmpeg drops a size that it finds impossible and says so in its log alone.
    refused = _REFUSED_SIZE.search("".join(entry[2] for entry in log))
    if refused and not any(stream.codec_context.width for stream in container.streams.video if stream.codec_context):
        container.close()
        raise media_error("too_large", f"{path}: pictures of {refused[0]} pixels, by its header, cannot be decoded.")
    return container


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    pictures = [stream for stream in container.streams.video if not int(stream.disposition) & _ATTACHED_PICTURE]
    if not pictures:
        raise media_error("no_video_stream", f"{path}: there is no video track in this file.")
    best = container.streams.best("video")
    stream = next((stream for stream in pictures if stream is best), pictures[0])
    if stream.codec_context is None:
        raise media_error("decode_error", f"{path}: there is no decoder for its video track.")
    stream.thread_count = 1
    return stream


def _audio_stream(container: InputContainer) -> AudioStream | None:
    best = container.streams.best("audio")
    return next((stream for stream in container.streams.audio if stream is best), None)


def _packets(
    container: InputContainer, stream: VideoStream, track: _SoundTrack | None, path: Path
) -> Iterator[Packet[Any]]:
    wanted = [stream] if track is None else [stream, track.stream]
    try:
        yield from container.demux(*wanted)
    except av.error.FFmpegError as failure:
        raise media_error("short_read", f"{path}: reading the file failed midway ({_reason(failure)}).") from failure


def _count_samples(path: Path, signature: Signature) -> int:
    """How many video samples a file really holds, edit list or not."""
    with _open(path, signature, {"ignore_editlist": "1"}) as container:
        return sum(packet.size > 0 for packet in container.demux(_video_stream(container, path)))


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    try:
        for frame in container.decode(stream):
            return frame
    except av.error.FFmpegError as failure:
        raise media_error(
            "decode_error", f"{path}: the first frame cannot be decoded ({_reason(failure)})."
        ) from failure
    raise media_error("no_frames", f"{path}: the video track holds no frames.")


def _reason(failure: av.error.FFmpegError) -> str:
    """FFmpeg's own last complaint, or else the name of its error."""
    log: Any = failure.log  # level, who, what; typed otherwise
    complaint = log[2] if log else failure.strerror
    return (complaint or type(failure).__name__).strip().rstrip(".")


def _check_size(path: Path, size: int, limits: DecodeLimits, how: str) -> None:
    if size > limits.max_decoded_bytes:
        raise media_error(
            "too_large",
            f"{path}: the clip decodes to {size / 2**20:,.0f} MiB or more{how}; the limit is "
            f"{limits.max_decoded_bytes / 2**20:,.0f} MiB.",
        )


def _check_header(path: Path, stream: VideoStream, limits: DecodeLimits, frames: int) -> None:
    context = stream.codec_context
    how = f" ({frames} frames of {context.width}x{context.height}, by its header)"
    _check_size(path, context.width * context.height * 3 * frames, limits, how)


# Pictures


class _Picture:
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
        self._reformatter = VideoReformatter()
        _check_header(path, stream, limits, max(self._declared, 1))
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
            frames = packet.decode()
        except av.error.FFmpegError as failure:
            raise media_error(
                "decode_error", f"{self.path}: damaged picture data near frame {self.count} ({_reason(failure)})."
            ) from failure
        for frame in frames:
            self._add(frame)

    def _add(self, frame: VideoFrame) -> None:
        if frame.is_corrupt:
            # The decoder has patched over a hole with what it had.
            raise media_error("decode_error", f"{self.path}: damaged picture data in frame {self.count}.")
        if self.count == 0:
            self._coded_size = (frame.height, frame.width)
            self._matrix = _display_matrix(frame)
        elif (frame.height, frame.width) != self._coded_size:
            raise media_error("decode_error", f"{self.path}: the picture size changes at frame {self.count}.")
        rgb = self._reformatter.reformat(frame, format="rgb24", **_ONE_THREAD)
        plane = rgb.planes[0]
        pixels = np.ndarray(
            (rgb.height, rgb.width, 3), np.uint8, buffer=memoryview(plane), strides=(plane.line_size, 3, 1)
        )
        pixels = _turn(pixels, self._matrix)
        if self.count == 0:
            self.size = pixels.shape[:2]
        used = self.used_bytes
        _check_size(self.path, used + pixels.size, self._limits, f" ({self.count + 1} frames and no end yet)")
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
        fps = _declared_fps(self._stream) or _fps_from_times(self._times)
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


def _display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """The upper left of the display matrix (a, b, c, d), 16.16 fixed point: x' = ax + cy, y' = bx + dy."""
    side_data: Any = frame.side_data
    data = side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    matrix = np.frombuffer(data, np.int32)
    return tuple(int(matrix[i]) for i in (0, 1, 3, 4))


def _turn(pixels: NDArray[np.uint8], matrix: tuple[int, ...] | None) -> NDArray[np.uint8]:
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


def _declared_fps(stream: VideoStream) -> Fraction | None:
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
    return Fraction((last - first) / (end - start)).limit_denominator(1001)


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


# Sound


class _SoundTrack:
    """Collects the samples of a sound track."""

    def __init__(self, stream: AudioStream, path: Path, limits: DecodeLimits, kind: str) -> None:
        self.stream = stream
        self._path = path
        self._limits = limits
        self._kind = kind
        self._chunks: list[NDArray[np.float32]] = []
        self._bytes = 0
        self._packets = 0
        self._rate = 0
        self._start: float | None = None

    @classmethod
    def of(
        cls, container: InputContainer, path: Path, limits: DecodeLimits, kind: str = "bad_audio"
    ) -> _SoundTrack | None:
        """The container's main sound track, None when it has none."""
        stream = _audio_stream(container)
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
            frames = self.stream.decode(packet)
        except av.error.FFmpegError as failure:
            seconds = self._length() / self._rate if self._rate else 0.0
            raise media_error(
                self._kind, f"{self._path}: damaged sound data at {seconds:.2f} s ({_reason(failure)})."
            ) from failure
        for frame in frames:
            self._add(frame)

    def _add(self, frame: AudioFrame) -> None:
        samples = _as_float(frame)
        if not self._chunks:
            self._rate = frame.sample_rate
            self._start = frame.time
        elif frame.sample_rate != self._rate or samples.shape[0] != self._chunks[0].shape[0]:
            raise media_error(self._kind, f"{self._path}: the sound's rate or number of channels changes midway.")
        self._bytes += samples.nbytes
        _check_size(self._path, self._bytes, self._limits, " of sound alone")
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
            _check_size(self._path, self._bytes + shift * channels * 4, self._limits, ", the lead-in included")
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
        with soundfile.SoundFile(str(path)) as file:
            declared, rate = file.frames, file.samplerate
            _check_size(path, declared * file.channels * 4, limits, " of sound, by its header")
            samples = file.read(dtype="float32", always_2d=True)
    except soundfile.SoundFileError as failure:
        raise media_error("bad_sidecar", f"{path}: the sound file cannot be read ({failure}).") from failure
    if samples.shape[0] == 0:
        raise media_error("bad_sidecar", f"{path}: the sound file holds no samples.")
    if samples.shape[0] < declared:
        raise media_error("bad_sidecar", f"{path}: {samples.shape[0]} samples could be read of {declared} declared.")
    return Sound(_finite(np.ascontiguousarray(samples.T), path, "bad_sidecar"), rate)


def _read_compressed(path: Path, found: Signature, limits: DecodeLimits) -> Sound:
    with _open(path, found) as container:
        track = _SoundTrack.of(container, path, limits, "bad_sidecar")
        if track is None:
            raise media_error("bad_sidecar", f"{path}: there is no sound in this file.")
        declared_s = _declared_seconds(track.stream)
        try:
            for packet in container.demux(track.stream):
                track.feed(packet)
        except av.error.FFmpegError as failure:
            raise media_error("bad_sidecar", f"{path}: reading failed midway ({_reason(failure)}).") from failure
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
