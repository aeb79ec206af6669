"""A file made of pieces of another one, so that a library sees the sound without what stands around it."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Piece = bytes | tuple[int, int]
"""Bytes as they are, or the range from one offset of the file to another."""


def pieces_of(file: BinaryIO, pieces: Sequence[Piece]) -> io.BufferedReader:
    """A readable, seekable file of the pieces one behind the other; ``file`` must stay open, and is moved about."""
    return io.BufferedReader(_Pieces(file, pieces), 2**16)


class _Pieces(io.RawIOBase):
    def __init__(self, file: BinaryIO, pieces: Sequence[Piece]) -> None:
        super().__init__()
        self._file = file
        self._pieces = [piece for piece in pieces if _length(piece) > 0]
        self._ends = list(accumulate(map(_length, self._pieces)))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        total = self._ends[-1] if self._ends else 0
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: total}[whence]
        if base + offset < 0:
            raise OSError("a seek before the start of the file")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        index = bisect_right(self._ends, self._position)
        if index == len(self._pieces) or not len(view):
            return 0
        piece = self._pieces[index]
        within = self._position - (self._ends[index] - _length(piece))
        count = min(len(view), self._ends[index] - self._position)
        if isinstance(piece, bytes):
            data = piece[within : within + count]
        else:
            self._file.seek(piece[0] + within)
            data = self._file.read(count)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


def _length(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
