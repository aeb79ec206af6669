"""What a file is, by its content. Whether all of it is there is told by `javisbench.media.integrity` and `sound_file`.

FFmpeg guesses formats and, when the guess is a playlist or a script, follows it to other files and to the network.
So the format is decided here, from a short list of real containers, and forced on FFmpeg afterwards. Names do
not matter: a Matroska file called ``.mp4`` is read as Matroska, a text called ``.mp4`` is refused.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Literal

from javisbench.media.errors import media_error
from javisbench.media.mp3 import FrameKind
from javisbench.media.source import open_regular
from javisbench.media.tags import behind_tags_and_padding
from javisbench.media.wav import MAGICS as WAV_MAGICS

Format = Literal["mov", "matroska", "avi", "wav", "flac", "mp3"]

VIDEO_FORMATS: tuple[Format, ...] = ("mov", "matroska", "avi")
AUDIO_FORMATS: tuple[Format, ...] = ("wav", "flac", "mp3", "mov", "matroska")

_MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp")
_EBML = b"\x1a\x45\xdf\xa3"
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


def identify(path: Path, accepted: tuple[Format, ...]) -> Format:
    """Tell a file's container format from its first bytes.

    Raises:
        MediaError: the file cannot be opened, is empty, or is of no accepted format (``unsupported_format``).
    """
    with os.fdopen(open_regular(path), "rb") as file:
        head = file.read(_HEAD_BYTES)
        found = _format_of(head)
        if found is None:
            found, head = _sound_behind_tags(file, head)
        if found is None or found not in accepted:
            what = _describe(head) if found is None else f"a file of format {found}"
            raise media_error(
                "unsupported_format", f"{path}: {what}. Accepted here, whatever the name: {_names(accepted)}."
            )
        return found


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
