"""MP3 streams (MPEG-1, 2 and 2.5, layer III): where their frames lie, and whether all of them are there.

Nothing in an MP3 file says where it ends but its frames themselves, each of which says how long it is, and the header
of Xing, Info or VBRI in the first frame of most files, which says how many there are. So the frames are walked: each
must follow the other, with nothing but tags before, between and behind them.

Layout after ISO/IEC 11172-3 and 13818-3; headers of Xing, LAME and VBRI as their encoders write them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from javisbench.errors import MediaError
from javisbench.media.errors import media_error
from javisbench.media.tags import before_tags, behind_tags
from javisbench.media.wav import UNSAID_LOSS_S

_BIT_RATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)  # kbit/s, MPEG-1
_BIT_RATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)  # MPEG-2 and 2.5
_RATES_HZ = (44_100, 48_000, 32_000)
_DECODER_DELAY = 529
_LONGEST_FRAME = 1441
_SEARCHED = 2**22
_MAX_SPANS = 1000
_KNOWS_DELAY = (b"LAME", b"Lavf", b"Lavc")


@dataclass(frozen=True)
class FrameKind:
    """What all frames of a stream share.

    Attributes:
        mark: the second byte of their headers, without the bit that says whether there is a checksum.
        rate: Hz.
        samples: samples a channel in a frame.
        lengths: bytes of a frame by the third byte of its header; 0 where that byte is impossible.
    """

    mark: int
    rate: int
    samples: int
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, header: bytes) -> FrameKind | None:
        """The kind of the frame that begins with ``header``; None where no layer III frame begins."""
        if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2 or header[1] >> 3 & 3 == 1:
            return None
        rate_index = header[2] >> 2 & 3
        kind = None if rate_index == 3 else _kind(header[1] & 0xFE, rate_index)
        return kind if kind is not None and kind.length(header) else None

    def length(self, header: bytes) -> int:
        """Bytes of the frame that begins with ``header``; 0 where none of this kind begins."""
        if len(header) < 4 or header[0] != 0xFF or header[1] & 0xFE != self.mark:
            return 0
        return self.lengths[header[2]]

    def begins(self, rest: bytes) -> bool:
        """Whether the last bytes of a file, fewer than a header, are the start of one."""
        return 0 < len(rest) < 4 and rest[0] == 0xFF and (len(rest) == 1 or rest[1] & 0xFE == self.mark)

    def seconds(self, frames: int) -> float:
        """Duration of so many frames."""
        return frames * self.samples / self.rate


@lru_cache(maxsize=32)
def _kind(mark: int, rate_index: int) -> FrameKind:
    version = mark >> 3 & 3
    rate = _RATES_HZ[rate_index] >> (2, 0, 1, 0)[version]
    samples, bit_rates = (1152, _BIT_RATES_1) if version == 3 else (576, _BIT_RATES_2)

    def length(byte: int) -> int:
        kilobits = bit_rates[byte >> 4] if byte >> 2 & 3 == rate_index else 0
        return samples // 8 * kilobits * 1000 // rate + (byte >> 1 & 1) if kilobits else 0

    return FrameKind(mark, rate, samples, tuple(map(length, range(256))))


@dataclass(frozen=True)
class Mp3Stream:
    """The frames of an MP3 stream.

    Attributes:
        spans: from which offset to which they lie in the file; several where tags stand between them.
        rate: Hz.
        samples: samples a channel that come out, less what the encoder says it added.
    """

    spans: tuple[tuple[int, int], ...]
    rate: int
    samples: int


@dataclass(frozen=True)
class _Promise:
    """What the header of Xing, Info or VBRI says: frames and bytes (0: nothing), samples to cut at both ends."""

    frames: int = 0
    bytes: int = 0
    cut_samples: int = 0


def walk_frames(path: Path, file: BinaryIO, start: int, end: int) -> Mp3Stream:
    """Go from frame to frame through the bytes from ``start`` to ``end``.

    Raises:
        MediaError: ``bad_sidecar``: there are no frames, something else stands between them, the last one is not
            whole, or there are fewer than the first one promises.
    """
    end = before_tags(file, start, end)
    behind = behind_tags(file, start)
    found = _search(file, behind, end, None)
    if found is None:
        raise _bad(path, "there is no whole MP3 frame in it" if behind < end else "the file is cut off within its tags")
    first, kind = found
    file.seek(first)
    frame = file.read(_LONGEST_FRAME)
    promise = _promise(frame[: kind.length(frame)], kind)
    if promise is None and kind.seconds(1) * (first - behind) / kind.length(frame) > UNSAID_LOSS_S:
        raise _bad(path, f"{first - behind} bytes before the first MP3 frame are no sound; the file is damaged")
    walk = _Walk(path, file, kind, promise or _Promise(), end)
    walk.go(first)
    if promise is None:
        return Mp3Stream(tuple(walk.spans), kind.rate, walk.found * kind.samples)
    walk.check_promise()
    return Mp3Stream(tuple(walk.spans), kind.rate, max(0, (walk.found - 1) * kind.samples - promise.cut_samples))


class _Walk:
    def __init__(self, path: Path, file: BinaryIO, kind: FrameKind, promise: _Promise, end: int) -> None:
        self.path = path
        self.file = file
        self.kind = kind
        self.promise = promise
        self.end = end
        self.found = 0
        self.spans: list[tuple[int, int]] = []

    def go(self, position: int) -> None:
        """Collect the spans in which frames follow each other; tags may stand between spans."""
        while position < self.end:
            behind = self._frames_from(position)
            if behind > position:
                self.spans.append((position, behind))
            position = behind_tags(self.file, behind)
            if position == behind < self.end:
                self._refuse_rest(behind)
                return
            if len(self.spans) > _MAX_SPANS:
                raise _bad(self.path, "its MP3 frames are torn apart by thousands of tags")

    def check_promise(self) -> None:
        """Refuse fewer frames than promised. Some encoders count the frame that holds the promise, too."""
        promised, found, there = self.promise.frames, self.found - 1, sum(end - start for start, end in self.spans)
        counts_itself = found == promised - 1 and there >= self.promise.bytes > 0
        if found < promised and not counts_itself:
            there_s, promised_s = self.kind.seconds(found), self.kind.seconds(promised)
            raise _bad(self.path, f"the file is cut off; {there_s:.2f} of {promised_s:.2f} s are there")

    def _frames_from(self, position: int) -> int:
        """Where the frames end that follow each other from here."""
        file, kind, end = self.file, self.kind, self.end
        while True:
            file.seek(position)
            length = kind.length(file.read(4))
            if not length or position + length > end:
                return position
            self.found += 1
            position += length

    def _refuse_rest(self, position: int) -> None:
        """Refuse what follows the frames, unless it is little, or all frames were there before it."""
        self.file.seek(position)
        header = self.file.read(min(4, self.end - position))
        left, place_s = self.end - position, self.kind.seconds(self.found)
        again = _search(self.file, position + 1, self.end, self.kind)
        if again is not None:
            raise _bad(self.path, f"{again[0] - position} bytes at {place_s:.2f} s are no sound; the file is damaged")
        if 0 < self.promise.frames < self.found:
            return
        if self.kind.length(header) or self.kind.begins(header):
            raise _bad(self.path, f"the file is cut off; it ends within an MP3 frame at {place_s:.2f} s")
        if FrameKind.of(header) is not None:
            raise _bad(self.path, f"the kind of MP3 changes at {place_s:.2f} s; join such sounds by decoding them")
        bytes_per_s = sum(end - start for start, end in self.spans) / place_s if self.found else 0.0
        if left > UNSAID_LOSS_S * bytes_per_s:
            raise _bad(self.path, f"{left} bytes behind {place_s:.2f} s are no sound; the file is cut off or damaged")


def _bad(path: Path, what: str) -> MediaError:
    return media_error("bad_sidecar", f"{path}: {what}.")


def _search(file: BinaryIO, start: int, end: int, wanted: FrameKind | None) -> tuple[int, FrameKind] | None:
    """The next place (within 4 MiB) where a frame begins, right behind which is another one, a tag or the end."""
    file.seek(start)
    data = file.read(max(0, min(_SEARCHED, end - start)))
    at = data.find(b"\xff")
    while at >= 0:
        header = data[at : at + 4]
        kind = FrameKind.of(header)
        if kind is not None and (wanted is None or kind == wanted):
            behind = start + at + kind.length(header)
            file.seek(behind)
            if behind == end or (behind < end and (kind.length(file.read(4)) or behind_tags(file, behind) > behind)):
                return start + at, kind
        at = data.find(b"\xff", at + 1)
    return None


def _promise(frame: bytes, kind: FrameKind) -> _Promise | None:
    """What the first frame says of the others; None where it is sound itself."""
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return _Promise(int.from_bytes(frame[50:54], "big"), int.from_bytes(frame[46:50], "big"))
    mono = frame[3] >> 6 == 3
    at = 4 + ((17 if mono else 32) if kind.samples == 1152 else (9 if mono else 17))
    if frame[at : at + 4] not in (b"Xing", b"Info"):
        return None
    flags, at = int.from_bytes(frame[at + 4 : at + 8], "big"), at + 8
    counts = {1: 0, 2: 0}
    for flag, width in ((1, 4), (2, 4), (4, 100), (8, 4)):
        if flags & flag:
            if flag in counts:
                counts[flag] = int.from_bytes(frame[at : at + width], "big")
            at += width
    cut = 0
    if frame[at : at + 4] in _KNOWS_DELAY and len(frame) >= at + 24:
        delays = int.from_bytes(frame[at + 21 : at + 24], "big")
        cut = (delays >> 12) + _DECODER_DELAY + max(0, (delays & 0xFFF) - _DECODER_DELAY)
    return _Promise(counts[1], counts[2], cut)
