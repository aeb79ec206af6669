"""Boxes of ISO base media files (ISO/IEC 14496-12) and QuickTime."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from javisbench.media.integrity.content import Content
from javisbench.media.integrity.report import BrokenError


class Box(NamedTuple):
    """One box.

    Attributes:
        kind: its four characters.
        at: byte at which it starts.
        body: byte at which its content starts.
        end: byte after it.
    """

    kind: bytes
    at: int
    body: int
    end: int


def box(data: Content, at: int, end: int) -> Box | None:
    """The box at byte ``at`` of a stretch up to ``end``, which it may overrun; None where there is none."""
    head = data[at : min(at + 16, end)]
    if len(head) < 8:
        return None
    size, body = int.from_bytes(head[:4], "big"), at + 8
    if size == 1 and len(head) == 16:
        size, body = int.from_bytes(head[8:], "big"), at + 16
    elif size == 0:
        size = end - at
    if size < body - at or not _is_name(head[4:8]):
        return None
    return Box(head[4:8], at, body, at + size)


def _is_name(kind: bytes) -> bool:
    """Whether four bytes may name a box: printable, or the (c) of QuickTime's texts first."""
    return all(0x20 <= letter < 0x7F for letter in kind[1:]) and (0x20 <= kind[0] < 0x7F or kind[0] == 0xA9)


def inside(data: Content, parent: Box) -> Iterator[Box]:
    """The boxes inside another one; up to seven bytes, or zeros, may follow them.

    Raises:
        BrokenError: they do not fit into it.
    """
    at = parent.body
    while at + 8 <= parent.end:
        child = box(data, at, parent.end)
        if child is None:
            if data[at : min(parent.end, at + 64)].strip(b"\0"):
                raise BrokenError(f"bytes that are no MP4 box at byte {at:,}", at)
            return
        if child.end > parent.end:
            raise BrokenError(f"the MP4 box '{name(child)}' at byte {at:,} reaches beyond what holds it", at)
        yield child
        at = child.end


def name(of: Box) -> str:
    """A box's kind as text."""
    return of.kind.decode("latin-1")


class Fields:
    """Reads the numbers of a box in order.

    Raises:
        BrokenError: the box is too short for them.
    """

    def __init__(self, data: Content, of: Box) -> None:
        self._data = data
        self._box = of
        self._end = min(of.end, len(data))
        self.at = of.body
        first = self.one("I")
        self.version, self.flags = first >> 24, first & 0xFFFFFF

    def take(self, layout: str) -> tuple[int, ...]:
        """Numbers by a layout of `struct`, big-endian; ``x`` for a byte that is left out."""
        layout = ">" + layout
        size = struct.calcsize(layout)
        if self.at + size > self._end:
            raise BrokenError(f"the MP4 box '{name(self._box)}' at byte {self._box.at:,} is too short", self._box.at)
        values: tuple[int, ...] = struct.unpack(layout, self._data[self.at : self.at + size])
        self.at += size
        return values

    def one(self, layout: str) -> int:
        """One number."""
        (value,) = self.take(layout)
        return value

    def wide(self) -> int:
        """A number of 64 bits in version 1, else of 32."""
        return self.one("Q" if self.version == 1 else "I")

    def left(self) -> int:
        """Bytes that follow in the box."""
        return self._end - self.at

    def rows(self, count: int, width: int) -> None:
        """Check that a table of ``count`` rows of ``width`` bytes follows.

        Raises:
            BrokenError: the box is too short for it.
        """
        if count * width > self.left():
            raise BrokenError(
                f"the MP4 box '{name(self._box)}' at byte {self._box.at:,} is said to hold {count:,} entries and has "
                f"room for {self.left() // width:,}",
                self._box.at,
            )
