"""EBML (RFC 8794): elements, their sizes and checksums; and the names of Matroska's (RFC 9559) that are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from javisbench.media.integrity.content import Content, checksum
from javisbench.media.integrity.report import BrokenError, cut_off

HEADER = 0x1A45DFA3
SEGMENT = 0x18538067
SEEK_HEAD, INFO, TRACKS, CLUSTER = 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1F43B675
CUES, CHAPTERS, TAGS, ATTACHMENTS = 0x1C53BB6B, 0x1043A770, 0x1254C367, 0x1941A469
VOID, CRC_32, SIGNATURE = 0xEC, 0xBF, 0x1B538667
ANYWHERE = frozenset((VOID, CRC_32, SIGNATURE))
MASTERS = {
    SEEK_HEAD: "SeekHead",
    INFO: "Info",
    TRACKS: "Tracks",
    CLUSTER: "Cluster",
    CUES: "Cues",
    CHAPTERS: "Chapters",
    TAGS: "Tags",
    ATTACHMENTS: "Attachments",
}
"""What a segment consists of, besides `ANYWHERE`."""


class Element(NamedTuple):
    """One element.

    Attributes:
        ident: its ID, marker bits included.
        at: byte at which it starts.
        body: byte at which its content starts.
        size: bytes of its content; -1 when unknown.
    """

    ident: int
    at: int
    body: int
    size: int

    @property
    def end(self) -> int:
        """The byte after it (of known size)."""
        return self.body + self.size


class NoElementError(BrokenError):
    """Bytes that are no element at all."""

    def __init__(self, at: int) -> None:
        super().__init__(f"no Matroska element at byte {at:,}", at)


def element(data: Content, at: int, end: int) -> Element:
    """The element that starts at byte ``at`` of a stretch that ends before byte ``end``.

    Raises:
        NoElementError: there is none.
        BrokenError: it does not fit into the stretch.
    """
    head = data[at : at + 12]
    if len(head) > 1 and head[0] & 0x80 and 0x80 <= head[1] < 0xFF and at + 2 + (head[1] & 0x7F) <= end:
        return Element(head[0], at, at + 2, head[1] & 0x7F)  # nearly all of them
    first = head[0] if head else 0
    if first < 0x10:
        raise NoElementError(at)
    width = 9 - first.bit_length()
    second = head[width] if len(head) > width else 0
    if not second:
        if at + width < len(data):
            raise NoElementError(at)
        raise cut_off(1, at)
    size_width = 9 - second.bit_length()
    body = at + width + size_width
    if body > end:
        raise _overrun(data, at, body, end)
    size = int.from_bytes(head[width : width + size_width], "big") - (1 << 7 * size_width)
    if size == (1 << 7 * size_width) - 1:
        size = -1
    elif body + size > end:
        raise _overrun(data, at, body + size, end)
    return Element(int.from_bytes(head[:width], "big"), at, body, size)


def _overrun(data: Content, at: int, needed: int, end: int) -> BrokenError:
    if end >= len(data):
        return cut_off(needed - len(data), at)
    return BrokenError(f"the Matroska element at byte {at:,} reaches beyond what holds it", at)


def children(data: Content, parent: Element) -> Iterator[Element]:
    """The elements inside one of known size.

    Raises:
        BrokenError: they do not tile it.
    """
    at, end = parent.body, parent.body + parent.size
    while at < end:
        child = element(data, at, end)
        if child.size < 0:
            raise BrokenError(f"a Matroska element of unknown size at byte {at:,}, where none may be", at)
        yield child
        at = child.body + child.size


def number(data: Content, item: Element) -> int:
    """An unsigned integer.

    Raises:
        BrokenError: it has more than eight bytes.
    """
    if item.size > 8:
        raise BrokenError(f"a number of {item.size:,} bytes at byte {item.at:,}", item.at)
    return int.from_bytes(data[item.body : item.end], "big")


def text(data: Content, item: Element, most: int = 256) -> str:
    """A text, its first ``most`` bytes."""
    return data[item.body : item.body + min(item.size, most)].split(b"\0")[0].decode("utf-8", "replace")


def has_wrong_checksum(data: Content, parent: Element) -> bool:
    """Whether an element of known size starts with a CRC-32 that does not fit the rest of it."""
    at = parent.body
    if parent.size < 6 or data[at : at + 2] != b"\xbf\x84":
        return False
    return checksum(data, at + 6, parent.end) != int.from_bytes(data[at + 2 : at + 6], "little")
