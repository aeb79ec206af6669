"""Opening containers: forced format, files only, one decoding thread, FFmpeg's errors in our words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import av.error
import av.logging

from javisbench.errors import MediaError
from javisbench.media.errors import media_error
from javisbench.media.integrity import Integrity, examine
from javisbench.media.signature import Format
from javisbench.media.source import DecodeLimits

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_ATTACHED_PICTURE = 0x400
_BYTES_OF_A_TIME = 128  # a frame in the index, and its packet without its data
_REFUSED_SIZE = re.compile(r"(?<=Picture size )\d+x\d+(?= is invalid)")


@contextmanager
def examined(path: Path, format: Format) -> Iterator[Integrity]:
    """What a container says of itself, for the opening of it; at the end it is refused if its structure is broken.

    Raises:
        MediaError: the structure is broken (``short_read``, ``decode_error``, ``bad_audio``); whatever else the opening
            has met is a consequence of that, but for ``too_large``.
    """
    integrity = examine(path, format)
    try:
        yield integrity
    except MediaError as failure:
        if failure.kind == "too_large" or not integrity.faults:
            raise
    for fault in integrity.faults:
        raise media_error(fault.kind, f"{path}: {fault.message}.")


def open_media(
    path: Path, format: Format, options: dict[str, str] | None = None, file: BinaryIO | None = None
) -> InputContainer:
    """Open a file as the format that it was found to be, with nothing but files to follow.

    Args:
        path: a regular file.
        format: as `javisbench.media.signature.identify` found it.
        options: more options of the demuxer.
        file: what to read in place of the file of that name; stays open.

    Raises:
        MediaError: ``bad_container``, or ``too_large`` where FFmpeg refuses the size in the header.
    """
    with av.logging.Capture() as log:
        try:
            # The prefix keeps a name like "http:x" from being taken for an address.
            container = av.open(
                f"file:{path}" if file is None else file,
                "r",
                format=format,
                container_options={"protocol_whitelist": "file", **(options or {})},
                metadata_errors="replace",
            )
        except av.error.FFmpegError as failure:
            raise media_error(
                "bad_container", f"{path}: the {format} structure cannot be read ({reason(failure)})."
            ) from failure
    # FFmpeg drops a size that it finds impossible and says so in its log alone.
    refused = _REFUSED_SIZE.search("".join(entry[2] for entry in log))
    if refused and not any(stream.codec_context.width for stream in container.streams.video if stream.codec_context):
        container.close()
        raise media_error("too_large", f"{path}: pictures of {refused[0]} pixels, by its header, cannot be decoded.")
    return container


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The main video track, to be decoded on one thread; cover pictures do not count.

    Raises:
        MediaError: ``no_video_stream``, or ``decode_error`` without a decoder for it.
    """
    pictures = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not pictures:
        raise media_error("no_video_stream", f"{path}: there is no video track in this file.")
    best = container.streams.best("video")
    stream = next((stream for stream in pictures if stream is best), pictures[0])
    if stream.codec_context is None:
        raise media_error("decode_error", f"{path}: there is no decoder for its video track.")
    stream.thread_count = 1
    return stream


def _is_cover(stream: VideoStream) -> bool:
    """Whether a track is the picture that comes with a piece of music."""
    flags: Any = getattr(stream, "disposition", 0)  # the first versions of PyAV 14 lack it
    return bool(getattr(flags, "value", flags) & _ATTACHED_PICTURE)


def audio_stream(container: InputContainer) -> AudioStream | None:
    """The main sound track, None without one."""
    best = container.streams.best("audio")
    return next((stream for stream in container.streams.audio if stream is best), None)


def packets(
    container: InputContainer, streams: Sequence[VideoStream | AudioStream], path: Path
) -> Iterator[Packet[Any]]:
    """The tracks' packets as they lie in the file, each track closed by an empty one that flushes its decoder."""
    try:
        yield from container.demux(*streams)
    except av.error.FFmpegError as failure:
        raise media_error("short_read", f"{path}: reading the file failed midway ({reason(failure)}).") from failure


def reason(failure: av.error.FFmpegError) -> str:
    """FFmpeg's own last complaint, or else the name of its error.

    Raises:
        MemoryError: that was the error.
    """
    if isinstance(failure, MemoryError):
        raise failure
    log: Any = failure.log  # level, who, what; typed otherwise
    complaint = log[2] if log else failure.strerror
    return (complaint or type(failure).__name__).strip().rstrip(".")


def check_sound(path: Path, size: int, limits: DecodeLimits, how: str) -> None:
    """Refuse a clip (``too_large``) whose sound takes ``size`` bytes when decoded; ``how`` says how that is known."""
    if size > limits.sound_bytes:
        raise media_error(
            "too_large",
            f"{path}: the sound decodes to {size / 2**20:,.0f} MiB or more{how}; the limit is "
            f"{limits.sound_bytes / 2**20:,.0f} MiB, half of what one clip may take (--clip-memory).",
        )


def check_pixels(path: Path, width: int, height: int, frames: int, limits: DecodeLimits) -> None:
    """Refuse a clip (``too_large``) by its number of pixels, before anything is decoded."""
    if frames * width * height > limits.max_pixels:
        raise media_error(
            "too_large",
            f"{path}: {frames} frames of {width}x{height} are {frames * width * height / 1e9:,.1f} thousand million "
            f"pixels; the limit is {limits.max_pixels / 1e9:,.1f}.",
        )
    if _BYTES_OF_A_TIME * frames > limits.frame_bytes:
        raise media_error(
            "too_large",
            f"{path}: {frames} frames; the limit is {limits.frame_bytes // _BYTES_OF_A_TIME} (--clip-memory).",
        )
    if 3 * width * height > limits.frame_bytes:
        raise media_error(
            "too_large",
            f"{path}: one frame of {width}x{height} takes {3 * width * height / 2**20:,.0f} MiB; the limit is "
            f"{limits.frame_bytes / 2**20:,.0f} MiB, an eighth of what one clip may take (--clip-memory).",
        )
