"""Crops that a container asks for: Matroska's PixelCrop elements and the clean aperture of MP4 and MOV.

A codec's own cropping is applied by its decoder. The container's is not, and PyAV does not tell it, so it is read from
the file here: few elements deep, with a bound on how many are looked at and every position kept within the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from javisbench.media.source import open_regular

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Elements looked at: at the top, where clusters may lie before the one that is looked for, and at each level below.
_MAX_ABOVE = 100_000
_MAX_BELOW = 500

# Elements of Matroska (RFC 9559), identifiers with their length bits.
_SEGMENT, _TRACKS, _TRACK_ENTRY, _TRACK_TYPE, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0x83, 0xE0
_CROPS = {0x54CC: "left", 0x54BB: "top", 0x54DD: "right", 0x54AA: "bottom"}
_VIDEO_TYPE = 1

# Bytes of a visual sample entry before its boxes (ISO/IEC 14496-12, 12.1.3), and of the size within them.
_ENTRY_BYTES = 78
_ENTRY_SIZE = slice(24, 28)


class Crop(NamedTuple):
    """Pixels to be taken off the decoded picture, before rotation."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


NO_CROP = Crop()


class _Part(NamedTuple):
    """An element or box: its identifier, and where its content begins and ends in the file."""

    kind: int | bytes
    start: int
    end: int


def crop_of(path: Path, format: str, track: int) -> Crop:
    """What the container wants cropped.

    Args:
        path: a regular file.
        format: as `javisbench.media.signature.identify` found it; only ``matroska`` and ``mov`` have crops.
        track: which of the file's video tracks, counted from 0 in their order.

    Returns:
        the crop; `NO_CROP` without one, and where the file's structure cannot be followed.

    Raises:
        MediaError: the file cannot be opened.
    """
    read = {"matroska": _matroska_crop, "mov": _mov_crop}.get(format)
    if read is None:
        return NO_CROP
    with os.fdopen(open_regular(path), "rb") as file:
        return read(file, _Part(b"", 0, os.fstat(file.fileno()).st_size), track)


def cropped(pixels: NDArray[np.uint8], crop: Crop) -> NDArray[np.uint8]:
    """A view of ``(H, W, C)`` pixels without their crop; all of them when it would leave nothing."""
    height, width = pixels.shape[:2]
    if crop.left + crop.right >= width or crop.top + crop.bottom >= height:
        return pixels
    return pixels[crop.top : height - crop.bottom, crop.left : width - crop.right]


def _matroska_crop(file: BinaryIO, whole: _Part, track: int) -> Crop:
    segment = next(_elements(file, whole, _SEGMENT), None)
    tracks = None if segment is None else next(_elements(file, segment, _TRACKS, _MAX_ABOVE), None)
    if tracks is None:
        return NO_CROP
    entries = (entry for entry in _elements(file, tracks, _TRACK_ENTRY) if _is_video(file, entry))
    entry = next((entry for place, entry in enumerate(entries) if place == track), None)
    video = None if entry is None else next(_elements(file, entry, _VIDEO), None)
    if video is None:
        return NO_CROP
    found = {_CROPS[part.kind]: _number(file, part) for part in _elements(file, video) if part.kind in _CROPS}
    return Crop(**found)


def _is_video(file: BinaryIO, entry: _Part) -> bool:
    return any(_number(file, part) == _VIDEO_TYPE for part in _elements(file, entry, _TRACK_TYPE))


def _elements(file: BinaryIO, parent: _Part, kind: int | None = None, most: int = _MAX_BELOW) -> Iterator[_Part]:
    """The EBML elements within another (RFC 8794), those of one kind if given; one of unknown size takes all the rest.

    The consumer may move the file.
    """
    position = parent.start
    for _ in range(most):
        file.seek(position)
        identifier, size = _variable(file, 4, marked=True), _variable(file, 8, marked=False)
        start = file.tell()
        if identifier is None or size is None or start > parent.end:
            return
        unknown = size == -1
        position = parent.end if unknown else min(start + size, parent.end)
        if kind is None or identifier == kind:
            yield _Part(identifier, start, position)


def _variable(file: BinaryIO, longest: int, *, marked: bool) -> int | None:
    """A number of variable length: with its length bits, or without and then -1 for "unknown"; None if it is none."""
    first = file.read(1)
    width = 9 - first[0].bit_length() if first else 9
    if width > longest:
        return None
    rest = file.read(width - 1)
    if len(rest) < width - 1:
        return None
    value = int.from_bytes(first + rest, "big")
    if marked:
        return value
    value -= 1 << 7 * width
    return -1 if value == (1 << 7 * width) - 1 else value


def _number(file: BinaryIO, part: _Part) -> int:
    """An unsigned integer element; 0 when it is longer than such an element may be."""
    length = part.end - part.start
    if length > 8:
        return 0
    file.seek(part.start)
    return int.from_bytes(file.read(length), "big")


def _mov_crop(file: BinaryIO, whole: _Part, track: int) -> Crop:
    movie = next(_boxes(file, whole, b"moov", _MAX_ABOVE), None)
    if movie is None:
        return NO_CROP
    media = (_inside(file, entry, b"mdia") for entry in _boxes(file, movie, b"trak"))
    videos = (part for part in media if part is not None and _is_visual(file, part))
    video = next((part for place, part in enumerate(videos) if place == track), None)
    table = None if video is None else _inside(file, video, b"minf", b"stbl", b"stsd")
    if table is None:
        return NO_CROP
    # Version, flags and count come before the entries; the first one is what the track begins with.
    entry = next(_boxes(file, table._replace(start=table.start + 8)), None)
    return NO_CROP if entry is None else _clean_aperture(file, entry)


def _is_visual(file: BinaryIO, media: _Part) -> bool:
    handler = _inside(file, media, b"hdlr")
    if handler is None:
        return False
    file.seek(handler.start + 8)
    return file.read(4) == b"vide"


def _clean_aperture(file: BinaryIO, entry: _Part) -> Crop:
    """The ``clap`` box of a sample entry (ISO/IEC 14496-12, 12.1.4): width, height and offsets from the centre."""
    file.seek(entry.start)
    head = file.read(_ENTRY_BYTES)
    box = _inside(file, entry._replace(start=entry.start + _ENTRY_BYTES), b"clap")
    if box is None or box.end - box.start < 32:
        return NO_CROP
    file.seek(box.start)
    data = file.read(32)
    # Widths are unsigned, offsets signed; their denominators are positive.
    numbers = [int.from_bytes(data[i : i + 4], "big", signed=i in (16, 24)) for i in range(0, 32, 4)]
    if len(data) < 32 or not all(numbers[1::2]):
        return NO_CROP
    width, height, x, y = (Fraction(numbers[i], numbers[i + 1]) for i in range(0, 8, 2))
    size = head[_ENTRY_SIZE]
    left, right = _margins(int.from_bytes(size[:2], "big"), width, x)
    top, bottom = _margins(int.from_bytes(size[2:], "big"), height, y)
    return Crop(left, top, right, bottom)


def _margins(size: int, kept: Fraction, offset: Fraction) -> tuple[int, int]:
    """What lies before and behind an aperture, in whole pixels; nothing when it is no part of the picture."""
    first = round((size - kept) / 2 + offset)
    last = size - first - round(kept)
    return (first, last) if kept >= 1 and first >= 0 and last >= 0 else (0, 0)


def _inside(file: BinaryIO, part: _Part, *kinds: bytes) -> _Part | None:
    """The first box of the first kind, in it the first of the second, and so on."""
    found: _Part | None = part
    for kind in kinds:
        found = None if found is None else next(_boxes(file, found, kind), None)
    return found


def _boxes(file: BinaryIO, parent: _Part, kind: bytes | None = None, most: int = _MAX_BELOW) -> Iterator[_Part]:
    """The boxes within another (ISO/IEC 14496-12, 4.2), those of one kind if given. The consumer may move the file."""
    position = parent.start
    for _ in range(most):
        file.seek(position)
        header = file.read(8)
        size, start = int.from_bytes(header[:4], "big"), position + 8
        if size == 1:
            size, start = int.from_bytes(file.read(8), "big"), position + 16
        end = parent.end if size == 0 else position + size
        if len(header) < 8 or end < start or start > parent.end:
            return
        position = min(end, parent.end)
        if kind is None or header[4:] == kind:
            yield _Part(header[4:], start, position)
