"""Tags that programs put before, behind and between pieces of sound: ID3v1, ID3v2, APE, Lyrics3.

Nothing in them is read; they are only stepped over. Sizes are as the file claims: a position behind a tag may lie
behind the end of the file, which then was cut off within the tag.
"""

from __future__ import annotations

from typing import BinaryIO

_MAX_TAGS = 64
_MAX_PADDING = 2**20
_MAX_LYRICS = 2**20
_APE_HAS_HEADER = 1 << 31
_APE_IS_HEADER = 1 << 29


def behind_tags(file: BinaryIO, position: int) -> int:
    """The first byte behind the tags that begin at ``position``; ``position`` itself where none begins."""
    for _ in range(_MAX_TAGS):
        file.seek(position)
        length = _length_from_start(file, file.read(32))
        if length == 0:
            break
        position += length
    return position


def behind_tags_and_padding(file: BinaryIO, position: int) -> int:
    """As `behind_tags`, and zeros behind each tag are stepped over as well (up to 1 MiB)."""
    for _ in range(_MAX_TAGS):
        behind = behind_tags(file, position)
        if behind == position:
            break
        file.seek(behind)
        padding = file.read(_MAX_PADDING)
        position = behind + len(padding) - len(padding.lstrip(b"\0"))
    return position


def before_tags(file: BinaryIO, start: int, end: int) -> int:
    """Where the tags begin that stand at the end of the bytes from ``start`` to ``end``; ``end`` without any."""
    for _ in range(_MAX_TAGS):
        length = _length_from_end(file, start, end)
        if length == 0 or end - length < start:
            break
        end -= length
    return end


def _length_from_start(file: BinaryIO, head: bytes) -> int:
    """Bytes of the tag that begins with ``head``; 0 where none begins. The file stands 32 bytes behind its start."""
    if head[:3] == b"ID3" and len(head) >= 10 and head[3] != 0xFF and max(head[6:10]) < 0x80:
        footer = 10 if head[5] & 0x10 else 0
        return 10 + _seven_bits(head[6:10]) + footer
    if head[:8] == b"APETAGEX" and len(head) == 32:
        is_header = int.from_bytes(head[20:24], "little") & _APE_IS_HEADER
        return 32 + int.from_bytes(head[12:16], "little") if is_header else 32
    if head[:11] == b"LYRICSBEGIN":
        text = head + file.read(_MAX_LYRICS)
        ends = [text.find(mark) for mark in (b"LYRICS200", b"LYRICSEND") if mark in text]
        return min(ends) + 9 if ends else 0
    if head[:4] == b"TAG+":
        return 227
    return 128 if head[:3] == b"TAG" else 0


def _seven_bits(data: bytes) -> int:
    value = 0
    for byte in data:
        value = value << 7 | byte & 0x7F
    return value


def _length_from_end(file: BinaryIO, start: int, end: int) -> int:
    if _read(file, start, end - 128, 3) == b"TAG":
        return 128
    if _read(file, start, end - 227, 4) == b"TAG+":
        return 227
    foot = _read(file, start, end - 32, 32)
    if foot[:8] == b"APETAGEX":
        length = int.from_bytes(foot[12:16], "little")
        if int.from_bytes(foot[20:24], "little") & _APE_HAS_HEADER:
            length += 32
            return length if _read(file, start, end - length, 8) == b"APETAGEX" else 0
        return max(32, length)
    if foot[-9:] == b"LYRICS200" and foot[-15:-9].isdigit():
        length = int(foot[-15:-9]) + 15
        return length if _read(file, start, end - length, 11) == b"LYRICSBEGIN" else 0
    if foot[-10:-7] == b"3DI":
        length = _seven_bits(foot[-4:]) + 20
        return length if _read(file, start, end - length, 3) == b"ID3" else 0
    return 0


def _read(file: BinaryIO, start: int, position: int, count: int) -> bytes:
    if position < start:
        return b""
    file.seek(position)
    return file.read(count)
