"""A file's bytes at any place, without reading what nobody looks at."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Protocol, overload

from javisbench.media.source import open_regular

_WHOLE_BYTES = 32 * 2**20
_WINDOW_BYTES = 64 * 2**10
_PIECE_BYTES = 2**20


class Content(Protocol):
    """Bytes that are indexed and sliced like `bytes`; a slice beyond the end is short."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> bytes: ...


class Window:
    """A file too large to hold: the part around the last place looked at is kept.

    Args:
        descriptor: an open file, which the caller closes.
        size: its bytes.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size
        self._start = 0
        self._held = b""

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> bytes: ...
    def __getitem__(self, place: int | slice) -> int | bytes:
        if isinstance(place, int):
            return self[place : place + 1][0]
        start = min(place.start or 0, self._size)
        stop = self._size if place.stop is None else min(place.stop, self._size)
        if stop - start > _WINDOW_BYTES:
            return os.pread(self._descriptor, stop - start, start)
        at = start - self._start
        if at < 0 or stop - self._start > len(self._held):
            self._start, at = start, 0
            self._held = os.pread(self._descriptor, _WINDOW_BYTES, start)
        return self._held[at : at + max(0, stop - start)]


class Opened:
    """A file's content while it is open, as a context manager.

    Raises:
        MediaError: the file cannot be opened or is empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> Content:
        self._descriptor = open_regular(self._path)
        size = os.fstat(self._descriptor).st_size
        if size > _WHOLE_BYTES:
            return Window(self._descriptor, size)
        return os.pread(self._descriptor, size, 0)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def checksum(data: Content, start: int, end: int) -> int:
    """CRC-32 (zlib's) of a range, read in pieces."""
    value = 0
    for at in range(start, end, _PIECE_BYTES):
        value = zlib.crc32(data[at : min(end, at + _PIECE_BYTES)], value)
    return value


def is_zero(data: Content, start: int, end: int) -> bool:
    """Whether a range of more than 16 bytes holds nothing but zeros; almost always told by its first 16."""
    if end - start <= 16 or data[start] or data[start : start + 16].count(0) < 16:
        return False
    for at in range(start, end, _PIECE_BYTES):
        piece = data[at : min(end, at + _PIECE_BYTES)]
        if piece.count(0) < len(piece):
            return False
    return True
