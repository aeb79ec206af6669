"""What can be told of a coded picture or piece of sound without decoding it.

Units of H.264 and HEVC in Matroska and MP4 come with their lengths (ISO/IEC 14496-15), which have to tile the payload.
No compressed payload is all zeros. VP8 (RFC 6386, 9.1) and VP9 (bitstream specification, 6.2) code pictures that are
never shown; those do not count as frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from javisbench.media.integrity.content import Content, is_zero

_LONGEST_PADDING = 8

Codec = Literal["avc", "hevc", "vp8", "vp9", "av1", "intra", "compressed", "raw", "unknown"]
"""``intra``: each payload is one picture; ``compressed``: something of which no payload is all zeros."""

ONE_PICTURE_A_PAYLOAD: tuple[Codec, ...] = ("avc", "hevc", "vp8", "vp9", "av1", "intra")
IN_ORDER: tuple[Codec, ...] = ("vp8", "vp9", "av1", "intra")
"""Codecs whose pictures are stored as they are shown."""


@dataclass(frozen=True)
class Coding:
    """How a track is coded.

    Attributes:
        codec: what can be checked.
        length_bytes: bytes of the length before each unit (``avc``, ``hevc``); 0: units cannot be followed.
    """

    codec: Codec = "unknown"
    length_bytes: int = 0

    @staticmethod
    def of_units(codec: Codec, configuration: bytes) -> Coding:
        """H.264 or HEVC by its configuration record (``avcC``, ``hvcC``)."""
        at = 4 if codec == "avc" else 21
        if len(configuration) <= at or (codec == "avc" and configuration[0] != 1):
            return Coding(codec)
        return Coding(codec, 1 + (configuration[at] & 3))

    def complaint(self, data: Content, start: int, end: int) -> str | None:
        """What is certainly wrong with a payload, None when nothing shows."""
        if self.length_bytes:
            return None if _units_fit(data, start, end, self.length_bytes) else "units whose lengths do not fit"
        if self.codec not in ("raw", "unknown") and is_zero(data, start, end):
            return "nothing but zeros"
        return None

    def is_hidden(self, data: Content, start: int, end: int) -> bool:
        """Whether a payload codes a picture that is never shown."""
        if start >= end:
            return True
        first = data[start]
        if self.codec == "vp8":
            return not first & 0x10
        if self.codec == "vp9":
            superframe = data[end - 1] & 0xE0 == 0xC0
            return not superframe and first >> 4 & 3 != 3 and not first & 0x08 and not first & 0x02
        return False


def _units_fit(data: Content, start: int, end: int, width: int) -> bool:
    at = start
    while at + width <= end:
        length = int.from_bytes(data[at : at + width], "big")
        following = at + width + length
        if following > end or not length:
            break
        at = following
    if at == end:
        return True
    if at == start and data[at : at + 4] in (b"\0\0\0\1", b"\0\0\1\x09", b"\0\0\1\x67"):
        return True  # start codes instead of lengths, which decoders take as well
    rest = data[at:end] if end - at <= _LONGEST_PADDING else b"?"
    return at > start and not rest.strip(b"\0")
