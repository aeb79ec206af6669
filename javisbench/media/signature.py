"""What a file is, by its content, and whether all of it is there.

FFmpeg guesses formats and, when the guess is a playlist or a script, follows it to other files and to the network.
So the format is decided here, from a short list of real containers, and forced on FFmpeg afterwards. Names do
not matter: a Matroska file called ``.mp4`` is read as Matroska, a text called ``.mp4`` is refused.

The second half finds files that were cut off. FFmpeg reads many of these without complaint, just shorter
(Matroska and AVI always); the container's own sizes against the file's size say it with certainty.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from javisbench.media.errors import media_error
from javisbench.media.mp3 import FrameKind
from javisbench.media.source import open_regular
from javisbench.media.tags import behind_tags_and_padding
from javisbench.media.wav import MAGICS as WAV_MAGICS
from javisbench.media.wav import wav_layout

Format = Literal["mov", "matroska", "avi", "wav", "flac", "mp3"]

VIDEO_FORMATS: tuple[Format, ...] = ("mov", "matroska", "avi")
AUDIO_FORMATS: tuple[Format, ...] = ("wav", "flac", "mp3", "mov", "matroska")

_MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp")
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
# Sizes that programs write when they cannot go back to fill in the real one (a WAV made into a pipe).
_UNKNOWN_RIFF_SIZES = (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000)
_MAX_BOXES = 100_000
_HEAD_BYTES = 4096

_OTHER_THINGS = (
    (b"ffconcat", "an ffconcat script, which would make FFmpeg read other files"),
    (b"#EXTM3U", "a playlist (M3U/HLS), which would make FFmpeg read other files or the network"),
    (b"<?xml", "an XML text (a DASH manifest?)"),
    (b"[playlist]", "a playlist (PLS)"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF document"),
    (b"OggS", "an Ogg file (Vorbis/Opus)"),
    (b"RIFX", "a big-endian WAV file (RIFX)"),
    (b"riff\x2e\x91\xcf\x11", "a Wave64 file"),
    (b"caff", "a CAF file"),
    (b".snd", "an AU file"),
    (b"#!AMR", "an AMR file"),
    (b"MThd", "a MIDI file"),
    (b"MAC ", "a Monkey's Audio file"),
    (b"wvpk", "a WavPack file"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "an ASF file (WMA/WMV)"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the real file with `git lfs pull`"),
)


@dataclass(frozen=True)
class Signature:
    """What a file's content shows.

    Attributes:
        format: name of the FFmpeg demuxer to use.
        missing_bytes: how many bytes the container announces beyond the end of the file; 0 when complete or unknown.
    """

    format: Format
    missing_bytes: int


def identify(path: Path, accepted: tuple[Format, ...]) -> Signature:
    """Tell a file's container format from its first bytes, and whether its end is there.

    Raises:
        MediaError: the file cannot be opened, is empty, or is of no accepted format (``unsupported_format``); a WAV
            file has no sound that could be found (``bad_sidecar``).
    """
    with os.fdopen(open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(_HEAD_BYTES)
        found = _format_of(head)
        if found is None:
            found, head = _sound_behind_tags(file, head)
        if found is None or found not in accepted:
            what = _describe(head) if found is None else f"a file of format {found}"
            raise media_error(
                "unsupported_format", f"{path}: {what}. Accepted here, whatever the name: {_names(accepted)}."
            )
        missing = wav_layout(path, file, size).missing_bytes if found == "wav" else _missing_bytes(found, file, size)
        return Signature(found, missing)


def _format_of(head: bytes) -> Format | None:
    if head[4:8] in _MOV_BOXES:
        return "mov"
    if head.startswith(_EBML):
        return "matroska"
    if head[:4] in WAV_MAGICS and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"AVIX"):
        return "avi"
    if head.startswith(b"fLaC"):
        return "flac"
    return "mp3" if FrameKind.of(head) is not None else None


def _sound_behind_tags(file: BinaryIO, head: bytes) -> tuple[Format | None, bytes]:
    """The format of a sound behind tags such as ID3v2, and the first bytes behind them."""
    start = behind_tags_and_padding(file, 0)
    if start == 0:
        return None, head
    file.seek(start)
    head = file.read(_HEAD_BYTES)
    found = _format_of(head)
    if found is None and _name_of(head) is None:
        return "mp3", head  # maybe a damaged one; whoever reads it says more
    return (found if found in ("wav", "flac", "mp3") else None), head


def _describe(head: bytes) -> str:
    name = _name_of(head)
    if name is not None:
        return name
    if b"\0" not in head and all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        return "a text, not a media file"
    return "its content is not that of a known media file"


def _name_of(head: bytes) -> str | None:
    """What a file of no accepted format is, where its first bytes say it."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for magic, what in _OTHER_THINGS:
        if start.startswith(magic):
            return what
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "an AIFF file"
    if len(head) > 3 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "an AAC stream without a container (ADTS)"
    if len(head) > 3 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] >> 1 & 3 in (2, 3):
        return "an MPEG layer I or II sound"
    return None


def _names(accepted: tuple[Format, ...]) -> str:
    shown = {"mov": "mp4/mov/m4a", "matroska": "mkv/webm"}
    return ", ".join(shown.get(name, name) for name in accepted)


def _missing_bytes(found: Format, file: BinaryIO, size: int) -> int:
    if found == "mov":
        return _missing_in_boxes(file, size)
    if found == "matroska":
        return _missing_in_segment(file, size)
    if found == "avi":
        return _missing_in_riff(file, size)
    return 0


def _missing_in_boxes(file: BinaryIO, size: int) -> int:
    """ISO base media: top-level boxes follow each other; only those that carry the media must be whole."""
    position = 0
    for _ in range(_MAX_BOXES):
        file.seek(position)
        header = file.read(16)
        if len(header) < 8:
            return 0
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1 and len(header) == 16:
            length = int.from_bytes(header[8:], "big")
        if length == 0:  # to the end of the file
            return 0
        if length < 8:  # not a box: trailing rubbish, which players ignore
            return 0
        if position + length > size:
            return position + length - size if kind in (b"mdat", b"moov", b"moof") else 0
        position += length
    return 0


def _missing_in_segment(file: BinaryIO, size: int) -> int:
    """Matroska: EBML header, then one segment that holds everything, its size known unless it was streamed."""
    file.seek(4)
    header_length = _read_ebml_size(file)
    if header_length is None or header_length > size:  # as said by the file; seeking takes no number above 2^63
        return 0
    file.seek(header_length, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return 0
    segment_length = _read_ebml_size(file)
    if segment_length is None:
        return 0
    return max(0, file.tell() + segment_length - size)


def _read_ebml_size(file: BinaryIO) -> int | None:
    """A variable-length EBML size; None for "unknown"."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    width = 9 - first[0].bit_length()
    rest = file.read(width - 1)
    value = int.from_bytes(bytes([first[0] & (0xFF >> width)]) + rest, "big")
    unknown = (1 << 7 * width) - 1
    return None if value == unknown or len(rest) < width - 1 else value


def _missing_in_riff(file: BinaryIO, size: int) -> int:
    """RIFF: the length in the outermost header. One padding byte may lack at the end."""
    file.seek(4)
    length = int.from_bytes(file.read(4), "little")
    if length in _UNKNOWN_RIFF_SIZES:
        return 0
    missing = 8 + length - size
    return missing if missing > 1 else 0
