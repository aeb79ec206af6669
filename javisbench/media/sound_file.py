"""Sound files beside a video: WAV, FLAC, MP3, and AAC or anything else in MP4 and Matroska.

A file is read whole or refused (``bad_sidecar``): less than 50 ms of its sound may be missing. How that is known
depends on the format:

* WAV: the length of the sound in the header, against the file (`javisbench.media.wav`, with what counts as unknown
  length). Numbers are decoded here, everything else by FFmpeg: A-law, mu-law, ADPCM, GSM 6.10, MP3 and more.
* FLAC: the number of samples in the header and the checksum of every frame. A header without a number (a stream) is
  read to the end. Tags before and behind are stepped over.
* MP3: its frames (`javisbench.media.mp3`), and the number of them where the first one says it. What the encoder says
  that it added is cut at both ends.
* MP4 and Matroska: the container's own sizes, and Matroska's duration. Delays are cut as far as the container gives
  them; a fragmented file often does not.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from javisbench.errors import JavisbenchError, MediaError
from javisbench.media.container import check_sound, examined, open_media, packets
from javisbench.media.errors import media_error
from javisbench.media.integrity import examine
from javisbench.media.mp3 import Mp3Stream, walk_frames
from javisbench.media.pieces import Piece, pieces_of
from javisbench.media.signature import AUDIO_FORMATS, Format, identify
from javisbench.media.sound import Sound, SoundTrack
from javisbench.media.source import DecodeLimits, open_regular
from javisbench.media.tags import behind_tags_and_padding
from javisbench.media.wav import MP3, UNSAID_LOSS_S, WavLayout, read_plain, wav_layout, with_clean_header

if TYPE_CHECKING:
    from av.container import InputContainer
    from numpy.typing import NDArray

_FLAC_TOTAL_AT = 21  # of the file: half of this byte and the four behind it hold the number of samples
_ANY_TOTAL = (1 << 36) - 1
_AV_TIME_BASE = 1_000_000  # of a container's duration, in FFmpeg


def read_sidecar(path: Path, limits: DecodeLimits) -> Sound:
    """Read a sound file that stands beside a video.

    Args:
        path: the file; its content decides the format, not its name.
        limits: how many bytes of float32 samples may come out.

    Raises:
        MediaError: ``bad_sidecar`` whatever is wrong with it, except ``too_large``.
    """
    try:
        found = identify(path, AUDIO_FORMATS)
        if found in ("mov", "matroska"):
            return _read_container(path, found, limits)
        with os.fdopen(open_regular(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = behind_tags_and_padding(file, 0)
            if found == "wav":
                return _read_wav(path, file, wav_layout(path, file, size, start), limits)
            if found == "flac":
                return _read_flac(path, file, start, size, limits)
            return _read_mp3(path, file, walk_frames(path, file, 0, size), limits)
    except MediaError as failure:
        if failure.kind in ("too_large", "bad_sidecar"):
            raise
        advice = " Convert it, for example with `ffmpeg -i IN OUT.wav`." if failure.kind == "unsupported_format" else ""
        raise media_error("bad_sidecar", failure.message + advice) from failure


def is_cut_off(path: Path) -> bool:
    """Whether a sound file is no readable one, or cut off, as far as its headers tell; nothing is decoded."""
    try:
        found = identify(path, AUDIO_FORMATS)
        if found in ("mov", "matroska"):
            return bool(examine(path, found).faults)
        if found != "wav":
            return False
        with os.fdopen(open_regular(path), "rb") as file:
            layout = wav_layout(path, file, os.fstat(file.fileno()).st_size, behind_tags_and_padding(file, 0))
        return layout.missing_bytes > 0
    except MediaError:
        return True


def _sound(path: Path, samples: NDArray[np.float32], rate: int) -> Sound:
    if samples.shape[1] == 0:
        raise media_error("bad_sidecar", f"{path}: the sound file holds no samples.")
    if not np.isfinite(samples).all():
        raise media_error("bad_sidecar", f"{path}: the sound holds values that are not numbers (NaN or infinite).")
    return Sound(samples, rate)


def _refuse_short(path: Path, sound: Sound, samples: int) -> Sound:
    """Refuse a sound of fewer samples than the file holds: a decoder left something out without a word."""
    there = sound.samples.shape[1]
    if samples - there > UNSAID_LOSS_S * sound.rate:
        raise _incomplete(path, there, samples, sound.rate)
    return sound


def _incomplete(path: Path, there: int, declared: int, rate: int) -> MediaError:
    what = f"{there / rate:.2f} of {declared / rate:.2f} s can be read; the file is cut off or damaged"
    return media_error("bad_sidecar", f"{path}: {what}.")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What a library raises on a strange file is that file's trouble, whatever its type."""
    try:
        yield
    except (JavisbenchError, MemoryError):
        raise
    except Exception as failure:
        what = f"{type(failure).__name__}: {failure}".rstrip(".: ")
        raise media_error("bad_sidecar", f"{path}: the sound file cannot be read ({what}).") from failure


# WAV


def _read_wav(path: Path, file: BinaryIO, layout: WavLayout, limits: DecodeLimits) -> Sound:
    described = layout.format
    if layout.missing_bytes:
        missing_s = described.seconds(layout.missing_bytes)
        raise media_error(
            "bad_sidecar",
            f"{path}: the file is cut off; {missing_s:.2f} of "
            f"{missing_s + described.seconds(layout.size):.2f} s are missing ({layout.missing_bytes} bytes).",
        )
    check_sound(path, layout.samples * described.channels * 4, limits, " of sound, by its length")
    if described.plain:
        return _sound(path, read_plain(path, file, layout), described.rate)
    if described.codec == MP3:
        return _read_mp3(path, file, walk_frames(path, file, layout.start, layout.start + layout.size), limits)
    return _read_coded_wav(path, file, layout, limits)


def _read_coded_wav(path: Path, file: BinaryIO, layout: WavLayout, limits: DecodeLimits) -> Sound:
    pieces: list[Piece] = [with_clean_header(layout), (layout.start, layout.start + layout.size)]
    try:
        with _told(path), open_media(path, "wav", file=pieces_of(file, pieces)) as container:
            sound = _refuse_short(path, _decode(path, container, limits), layout.samples)
    except MediaError as failure:
        if failure.kind == "too_large":
            raise
        which = f"This WAV file is coded as format tag 0x{layout.format.codec:04x}; convert it to PCM."
        raise media_error("bad_sidecar", f"{failure.message} {which}") from failure
    # The last block is filled up beyond the end.
    filled = sound.samples.shape[1] - layout.fact
    if layout.fact == 0 or not 0 < filled < layout.format.block_samples:
        return sound
    return Sound(np.ascontiguousarray(sound.samples[:, : layout.fact]), sound.rate)


# FLAC


def _read_flac(path: Path, file: BinaryIO, start: int, size: int, limits: DecodeLimits) -> Sound:
    import soundfile

    file.seek(start)
    head = file.read(_FLAC_TOTAL_AT + 5)
    pieces: list[Piece] = [(start, size)]
    number = int.from_bytes(head[_FLAC_TOTAL_AT:], "big")
    if number & _ANY_TOTAL == 0:  # libsndfile reads no file without the number of its samples
        number |= min(_count_flac(path, file, start, size), _ANY_TOTAL)
        pieces = [head[:_FLAC_TOTAL_AT] + number.to_bytes(5, "big"), (start + len(head), size)]
    declared, rate = number & _ANY_TOTAL, 0
    try:
        with _told(path), soundfile.SoundFile(pieces_of(file, pieces)) as opened:
            rate = opened.samplerate
            check_sound(path, declared * opened.channels * 4, limits, " of sound, by its header")
            samples = opened.read(dtype="float32", always_2d=True)
    except MediaError as failure:
        there = _count_flac(path, file, start, size) if rate and failure.kind == "bad_sidecar" else declared
        if there < declared:
            raise _incomplete(path, there, declared, rate) from failure
        raise
    if samples.shape[0] < declared:
        raise _incomplete(path, samples.shape[0], declared, rate)
    return _sound(path, np.ascontiguousarray(samples.T), rate)


def _count_flac(path: Path, file: BinaryIO, start: int, size: int) -> int:
    """Samples a channel that the frames of a FLAC file declare."""
    total = 0
    with _told(path), open_media(path, "flac", file=pieces_of(file, [(start, size)])) as container:
        for packet in packets(container, container.streams.audio, path):
            total += packet.duration or 0
    return total


# Through FFmpeg


def _read_mp3(path: Path, file: BinaryIO, stream: Mp3Stream, limits: DecodeLimits) -> Sound:
    with _told(path), open_media(path, "mp3", file=pieces_of(file, stream.spans)) as container:
        return _refuse_short(path, _decode(path, container, limits), stream.samples)


def _read_container(path: Path, found: Format, limits: DecodeLimits) -> Sound:
    with examined(path, found):
        container = open_media(path, found)
    with _told(path), container:
        # Matroska's duration is that of its longest track, MP4's may contain what an edit list hides.
        alone = found == "matroska" and len(container.streams) == 1
        declared_s = (container.duration or 0) / _AV_TIME_BASE if alone else 0.0
        return _decode(path, container, limits, declared_s)


def _decode(path: Path, container: InputContainer, limits: DecodeLimits, declared_s: float = 0.0) -> Sound:
    track = SoundTrack.of(container, path, limits, "bad_sidecar")
    if track is None:
        raise media_error("bad_sidecar", f"{path}: there is no sound in this file.")
    start_s, end_s = 0.0, 0.0
    for packet in packets(container, [track.stream], path):
        if packet.pts is not None and packet.time_base is not None:
            start_s = min(start_s, float(packet.pts * packet.time_base))
            end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        track.feed(packet)
    if declared_s - (end_s - start_s) > UNSAID_LOSS_S:
        raise media_error("bad_sidecar", f"{path}: the file is cut off; {end_s:.2f} of {declared_s:.2f} s are there.")
    sound = track.finish(None)
    if sound is None:
        raise media_error("bad_sidecar", f"{path}: the sound file holds no samples.")
    return sound
