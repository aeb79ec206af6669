"""AVI, with OpenDML's further parts: whether the chunks follow one another, and whether all of them are there.

AVI has no times: a frame's time is the number of frames before it. A chunk that is missing moves everything after it,
and a demuxer that meets rubbish looks for the next chunk and goes on. The header counts frames and sound, the index
names every chunk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from javisbench.clip import Damage
from javisbench.media.integrity.content import Content
from javisbench.media.integrity.payload import Codec, Coding
from javisbench.media.integrity.report import MOST_SAID, BrokenError, Fault, Integrity, Promised, cut_off, damaged_data

_UNKNOWN_SIZES = (0, 0x40000000, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000)
_KINDS = (b"dc", b"db", b"wb", b"tx", b"pc", b"iv", b"__", b"sb")
_PICTURES = (b"dc", b"db", b"iv", b"__")
_INTRA = (b"MJPG", b"mjpg", b"FFV1", b"HFYU", b"png ", b"MPNG")
_COMPRESSED = (
    b"FMP4",
    b"XVID",
    b"xvid",
    b"DIVX",
    b"DX50",
    b"mp4v",
    b"MP4V",
    b"H264",
    b"h264",
    b"X264",
    b"MJPG",
    b"FFV1",
)
_COMPRESSED_SOUND = (0x50, 0x55, 0xFF, 0x2000, 0x706D, 0x674F, 0x566F)
_RAW_SOUND = (1, 3, 6, 7)
_SAMPLES_A_CHUNK = (64, 8192)
_CHUNK_SAMPLES = {0x55: (576, 1152), 0x50: (384, 1152), 0xFF: (960, 1024, 1920, 2048), 0x2000: (1536,)}
_STREAMS = (b"vids", b"auds", b"txts", b"mids", b"iavs")
_INDEXED = 0x10
_MOST_CHUNKS = 2_000_000
_LEAST_LOSS_S = 0.05
_RATES_DIFFER = 0.02


class Chunk(NamedTuple):
    """A chunk: its four characters, where it starts, and where its content starts and ends."""

    kind: bytes
    at: int
    body: int
    end: int


@dataclass
class _Stream:
    """A stream's header, and what there is of it.

    Attributes:
        kind: ``vids`` or ``auds``, or something else.
        rate: samples a second, as a fraction of two numbers.
        start: frames, or samples of sound, by which it begins later than the file.
        length: frames, or samples of sound, by the header.
        sample_bytes: bytes of a sample of sound, 0 where chunks vary.
        sound_hz: samples a second by the format of the sound.
        chunk_samples: how many a chunk of its codec may have; () when that is not known.
        coding: what can be checked of its chunks.
        chunks: how many there are.
        filled: how many of them are not empty.
        indexed: how many the further indexes name.
        held: bytes.
    """

    kind: bytes = b""
    scale: int = 0
    rate: int = 0
    start: int = 0
    length: int = 0
    sample_bytes: int = 0
    sound_hz: int = 0
    chunk_samples: tuple[int, ...] = ()
    coding: Coding = field(default_factory=Coding)
    chunks: int = 0
    filled: int = 0
    indexed: int = 0
    held: int = 0

    @property
    def seconds_each(self) -> float:
        """Seconds of one frame or sample."""
        return self.scale / self.rate if self.rate else 0.0

    @property
    def sound_s(self) -> float:
        """Seconds of sound that are there: samples of equal size are counted by bytes, others are one chunk each."""
        return self.seconds_each * (self.held // self.sample_bytes if self.sample_bytes else self.chunks)


def examine(data: Content) -> Integrity:
    """Walk through an AVI file. Never raises, whatever the bytes are."""
    walk = _Walk(data)
    faults: tuple[Fault, ...] = ()
    try:
        walk.run()
    except BrokenError as broken:
        faults = (broken.fault,)
    return Integrity(faults, walk.promised(), tuple(walk.said[:MOST_SAID]) if not faults else ())


class _Walk:
    """One walk through a file, and what it gathers."""

    def __init__(self, data: Content) -> None:
        self.data = data
        self.said: list[Damage] = []
        self.streams: list[_Stream] = []
        self.flags = 0
        self.frame_us = 0
        self.places: dict[int, tuple[bytes, int]] = {}
        self.movi = -1
        self.index: Chunk | None = None
        self.further: set[int] = set()
        self.more_indexes: list[Chunk] = []
        self.parts = 0
        self.ended = 0

    def run(self) -> None:
        data, size, at = self.data, len(self.data), 0
        while at + 12 <= size and data[at : at + 4] == b"RIFF":
            length = int.from_bytes(data[at + 4 : at + 8], "little")
            end = size if length in _UNKNOWN_SIZES else at + 8 + length
            if end > size + 1:
                raise cut_off(end - size, at)
            self.parts += 1
            self._riff(at + 12, min(end, size))
            at = min(end + end % 2, size)
        self._rest(at)
        self._rates()
        self._counts()
        self._indexes()

    def _riff(self, at: int, end: int) -> None:
        while at + 8 <= end:
            item = self._chunk(at, end)
            if item.kind == b"LIST":
                kind = self.data[item.body : item.body + 4]
                if kind == b"hdrl":
                    self._header(item)
                elif kind == b"movi":
                    at = self._movie(item, end)
                    continue
            elif item.kind == b"idx1" and self.index is None:
                self.index = item
            elif item.kind not in (b"JUNK", b"idx1", b"junk", b"PAD ") and not _is_name(item.kind):
                raise BrokenError(f"bytes that are no AVI chunk at byte {at:,}", at)
            at = item.end + item.end % 2

    def _chunk(self, at: int, end: int) -> Chunk:
        """The chunk at a byte, which has to fit before another."""
        head = self.data[at : at + 8]
        size = int.from_bytes(head[4:], "little")
        body = at + 8
        if head[:4] == b"LIST" and size in _UNKNOWN_SIZES:
            return Chunk(b"LIST", at, body, end)
        if body + size > end:
            if end >= len(self.data) and _is_name(head[:4]):
                raise cut_off(body + size - end, at)
            raise BrokenError(f"the AVI chunk at byte {at:,} reaches beyond what holds it", at)
        return Chunk(head[:4], at, body, body + size)

    # headers

    def _header(self, hdrl: Chunk) -> None:
        at = hdrl.body + 4
        while at + 8 <= hdrl.end:
            item = self._chunk(at, hdrl.end)
            if item.kind == b"avih" and item.end - item.body >= 20:
                self.frame_us, self.flags = self._number(item.body), self._number(item.body + 12)
            elif item.kind == b"LIST" and self.data[item.body : item.body + 4] == b"strl":
                self.streams.append(self._stream(item))
            at = item.end + item.end % 2

    def _stream(self, strl: Chunk) -> _Stream:
        stream, at = _Stream(), strl.body + 4
        while at + 8 <= strl.end:
            item = self._chunk(at, strl.end)
            if item.kind == b"strh" and item.end - item.body >= 48:
                stream.kind = self.data[item.body : item.body + 4]
                if stream.kind not in _STREAMS:
                    raise BrokenError(f"a stream of no known kind at byte {item.at:,}", item.at)
                stream.scale, stream.rate = self._number(item.body + 20), self._number(item.body + 24)
                stream.start = self._number(item.body + 28)
                stream.length, stream.sample_bytes = self._number(item.body + 32), self._number(item.body + 44)
            elif item.kind == b"strf":
                self._format(stream, item)
            elif item.kind == b"indx" and len(self.more_indexes) < 64:
                self.more_indexes.append(item)
            at = item.end + item.end % 2
        return stream

    def _format(self, stream: _Stream, item: Chunk) -> None:
        """Codec of the stream, from BITMAPINFOHEADER or WAVEFORMATEX."""
        codec: Codec = "unknown"
        if stream.kind == b"vids":
            name = self.data[item.body + 16 : item.body + 20]
            codec = "intra" if name in _INTRA else "compressed" if name in _COMPRESSED else "unknown"
        elif stream.kind == b"auds":
            form = self._number(item.body) & 0xFFFF
            codec = "compressed" if form in _COMPRESSED_SOUND else "raw" if form in _RAW_SOUND else "unknown"
            stream.chunk_samples = _CHUNK_SAMPLES.get(form, ())
            stream.sound_hz = self._number(item.body + 4)
        stream.coding = Coding(codec)

    def _number(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 4], "little")

    # media

    def _movie(self, movi: Chunk, end: int) -> int:
        """The chunks of a ``movi`` list; returns the byte after it."""
        if self.movi < 0:
            self.movi = movi.body
        at, stop = movi.body + 4, movi.end
        known = stop < end or self._number(movi.at + 4) not in _UNKNOWN_SIZES
        while at + 8 <= stop:
            head = self.data[at : at + 8]
            kind, size = head[:4], int.from_bytes(head[4:], "little")
            if kind == b"LIST":  # "rec ", whose chunks follow as if they were outside of it
                at += 12
                continue
            if kind == b"idx1" and not known:
                return at
            if not self._is_media(kind):
                at = self._between(at, stop)
                continue
            if at + 8 + size > stop:
                if stop >= len(self.data):
                    raise cut_off(at + 8 + size - stop, at)
                raise BrokenError(f"the AVI chunk at byte {at:,} reaches beyond what holds it", at)
            if kind[:2] == b"ix":
                self._entries_of(kind, at + 8, size)
            elif kind[2:] in _KINDS:
                self._media(Chunk(kind, at, at + 8, at + 8 + size))
            at += 8 + size + size % 2
        self.ended = stop
        return stop + stop % 2

    def _is_media(self, kind: bytes) -> bool:
        if kind in (b"JUNK", b"junk") or kind[:2] == b"ix":
            return True
        return kind[:2].isdigit() and kind[2:] in _KINDS and int(kind[:2]) < max(1, len(self.streams))

    def _between(self, at: int, stop: int) -> int:
        """The next chunk where none is: one byte back, after a writer that does not pad; nowhere else."""
        if at % 2 == 0 and self._is_media(self.data[at - 1 : at + 3]):
            return at - 1
        following = next(
            (place for place in range(at, min(stop, at + 2**16)) if self._is_media(self.data[place : place + 4])), stop
        )
        raise BrokenError(f"{following - at:,} bytes that are no AVI chunk at byte {at:,}", at)

    def _media(self, item: Chunk) -> None:
        stream = self.streams[int(item.kind[:2])] if self.streams else None
        self.places[item.at] = (item.kind, item.end - item.body)
        if len(self.places) > _MOST_CHUNKS:
            raise BrokenError(f"more than {_MOST_CHUNKS:,} chunks", item.at)
        if stream is None or item.kind[2:] == b"pc":
            return
        if (stream.kind == b"vids") != (item.kind[2:] in _PICTURES):
            raise BrokenError(f"the AVI chunk at byte {item.at:,} is of another kind than its stream", item.at)
        stream.chunks += 1
        stream.filled += item.end > item.body
        stream.held += item.end - item.body
        complaint = stream.coding.complaint(self.data, item.body, item.end)
        if complaint:
            raise damaged_data(stream.kind == b"vids", item.body, complaint)

    def _entries_of(self, kind: bytes, body: int, size: int) -> None:
        """Count what a further index (OpenDML) of one stream names."""
        if size >= 24 and self.data[body + 3] == 1 and kind[2:].isdigit() and int(kind[2:]) < len(self.streams):
            self.streams[int(kind[2:])].indexed += self._number(body + 4)
            self.further.add(body - 8)

    def _rest(self, at: int) -> None:
        """What follows the last part."""
        size = len(self.data)
        if at < size and self.data[at : at + 64].strip(b"\0"):
            head = self.data[at : at + 4]
            if self._is_media(head) or head in (b"idx1", b"LIST"):
                raise BrokenError(f"the file ends at byte {at:,}, before {size - at:,} bytes that belong to it", at)
            self.said.append(Damage(f"{size - at:,} bytes that belong to nothing follow at byte {at:,}"))

    # what it comes to

    def _counts(self) -> None:
        for stream in self.streams:
            if stream.length in _UNKNOWN_SIZES or not stream.rate:
                continue
            if stream.kind == b"vids":
                lost = stream.length - stream.chunks
                # Writers that leave out a repeated picture write an empty chunk; the last ones may lack.
                if lost > 1:
                    seconds = round(lost * stream.seconds_each, 3)
                    self.said.append(Damage(f"{stream.chunks} of {stream.length} pictures are there", lost, seconds))
            elif stream.kind == b"auds":
                self._sound(stream)

    def _rates(self) -> None:
        """The rate is written twice: for a stream, and for the file or in the format of the sound."""
        for stream in self.streams:
            each = stream.seconds_each
            if stream.kind == b"vids" and self.frame_us and abs(each * 1e6 / self.frame_us - 1) > _RATES_DIFFER:
                self.said.append(Damage(f"frames last {each * 1e3:.4g} or {self.frame_us / 1e3:.4g} ms, by the header"))
            if stream.kind in (b"vids", b"auds") and stream.start:
                late_s = stream.start * each
                self.said.append(Damage(f"a stream begins {late_s:.2f} s late, which the header alone says"))
            if stream.kind != b"auds" or not stream.sound_hz or not each:
                continue
            samples = each * stream.sound_hz
            if stream.coding.codec == "raw":
                is_odd = abs(samples - 1) > _RATES_DIFFER
            else:
                is_odd = not stream.sample_bytes and not _is_a_chunk(samples, stream.chunk_samples)
            if is_odd:
                self.said.append(Damage(f"the sound's rate is {stream.sound_hz} Hz or another, by the header"))

    def _sound(self, stream: _Stream) -> None:
        """Bytes, or chunks, of sound against the header's."""
        lost_s = stream.length * stream.seconds_each - stream.sound_s
        if lost_s > _LEAST_LOSS_S + (0 if stream.sample_bytes else stream.seconds_each):
            message = f"{lost_s:.2f} of {stream.length * stream.seconds_each:.2f} s of sound are missing"
            self.said.append(Damage(message, 0, round(lost_s, 3)))

    def _indexes(self) -> None:
        self._further_indexes()
        if self.index is not None:
            self._first_index(self.index)
        elif self.flags & _INDEXED and self.parts == 1 and not self.more_indexes:
            self.said.append(Damage("the index at the end of the file is missing"))

    def _further_indexes(self) -> None:
        """``indx`` must name the further indexes that are there, and those as many chunks as there are."""
        for index in self.more_indexes:
            count = min(self._number(index.body + 4), (index.end - index.body - 24) // 16)
            if self.data[index.body + 3 : index.body + 4] != b"\0":
                continue
            rows = (index.body + 24 + 16 * row for row in range(count))
            wrong = sum(int.from_bytes(self.data[at : at + 8], "little") not in self.further for at in rows)
            if wrong:
                self.said.append(Damage(f"{wrong} indexes that the header at byte {index.at:,} names are not there"))
        for stream in self.streams:
            if stream.indexed > stream.chunks:
                lost = stream.indexed - stream.chunks
                self.said.append(Damage(f"{lost} of {stream.indexed} chunks that the indexes name are not there"))

    def _first_index(self, index: Chunk) -> None:
        """``idx1``: every entry must name a chunk, from the start of ``movi`` or of the file."""
        raw = self.data[index.body : index.end]
        rows = (raw[at : at + 16] for at in range(0, len(raw) - 15, 16))
        entries = [
            (row[:4], int.from_bytes(row[8:12], "little"), int.from_bytes(row[12:], "little"))
            for row in rows
            if self._is_media(row[:4])
        ]
        if not entries:
            return
        bases = [base for base in (self.movi, self.movi + 4, 0) if self._fits(entries[:1], base) == 1]
        fits = max((self._fits(entries, base) for base in bases or (self.movi,)), default=0)
        if fits < len(entries):
            self.said.append(
                Damage(f"{len(entries) - fits} of {len(entries)} chunks that the index names are not there")
            )
        elif self.parts == 1 and len(entries) < len(self.places):
            extra = len(self.places) - len(entries)
            self.said.append(Damage(f"{extra} of {len(self.places)} chunks are not in the index"))

    def _fits(self, entries: list[tuple[bytes, int, int]], base: int) -> int:
        return sum(self.places.get(base + offset) == (kind, size) for kind, offset, size in entries)

    def promised(self) -> Promised:
        video, sound = self._main(b"vids"), self._main(b"auds")
        frames = None
        if video is not None and video.coding.codec in ("intra", "compressed"):
            frames = video.filled
        slots = 0 if video is None else max(video.chunks, video.length if video.length not in _UNKNOWN_SIZES else 0)
        return Promised(
            frames=frames,
            picture_s=video.chunks * video.seconds_each if video is not None and video.rate else None,
            sound_s=sound.sound_s if sound is not None and sound.sound_s else None,
            duration_s=slots * video.seconds_each if video is not None and video.rate else None,
            fps=video.rate / video.scale if video is not None and video.scale else None,
            frame_s=0.0 if video is None else video.seconds_each,
            packet_s=0.0 if sound is None or sound.sample_bytes else sound.seconds_each,
        )

    def _main(self, kind: bytes) -> _Stream | None:
        found = [stream for stream in self.streams if stream.kind == kind]
        return found[0] if len(found) == 1 else None


def _is_a_chunk(samples: float, known: tuple[int, ...]) -> bool:
    """Whether a chunk of compressed sound may have so many samples: whole chunks of its codec, if that is known."""
    low, high = _SAMPLES_A_CHUNK
    if not known:
        return low <= samples <= high and abs(samples - round(samples)) < 0.01 * samples / low
    return any(samples > one / 2 and abs(samples / one - round(samples / one)) < _RATES_DIFFER for one in known)


def _is_name(kind: bytes) -> bool:
    return len(kind) == 4 and all(0x20 <= letter < 0x7F for letter in kind)
