"""One track of an MP4 or MOV file: its headers, edit list, coding and sample tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from javisbench.media.integrity.boxes import Box, Fields, inside, name
from javisbench.media.integrity.content import Content
from javisbench.media.integrity.payload import Codec, Coding
from javisbench.media.integrity.report import BrokenError, cut_off

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VIDEO, SOUND = b"vide", b"soun"
MOST_SAMPLES = 4_000_000
_NORMAL_RATE = 0x10000
_BEYOND_ANY_FILE = 2**61
_CODECS: dict[bytes, Codec] = {
    **dict.fromkeys((b"avc1", b"avc3"), "avc"),
    **dict.fromkeys((b"hvc1", b"hev1"), "hevc"),
    **dict.fromkeys((b"vp08",), "vp8"),
    **dict.fromkeys((b"vp09",), "vp9"),
    **dict.fromkeys((b"av01",), "av1"),
    **dict.fromkeys((b"jpeg", b"mjpa", b"apch", b"apcn", b"apcs", b"apco", b"ap4h", b"ap4x", b"png "), "intra"),
    **dict.fromkeys((b"mp4v", b"mp4a", b"Opus", b"fLaC", b"ac-3", b"ec-3", b".mp3"), "compressed"),
}  # fmt: skip
_CONFIGURATIONS = {b"avcC": "avc", b"hvcC": "hevc"}
# Where boxes begin inside a sample entry: after the fields of a picture's, or a sound's.
_PICTURE_FIELDS, _CONFIGURATION_BYTES = 78, 64


@dataclass
class Table:
    """Where the samples lie and how long they last.

    Attributes:
        count: samples.
        fixed: bytes of each when all are equal, else 0.
        sizes: bytes of each, int64, shape ``(count,)``; empty when all are equal.
        offsets: byte at which each chunk starts, int64, shape ``(chunks,)``.
        per_chunk: samples of each chunk, int64, shape ``(chunks,)``.
        steps: rows of (samples, ticks), int64, shape ``(N, 2)``.
        shifts: rows of (samples, ticks from decoding to presentation), int64, shape ``(M, 2)``.
    """

    count: int
    fixed: int
    sizes: NDArray[np.int64]
    offsets: NDArray[np.int64]
    per_chunk: NDArray[np.int64]
    steps: NDArray[np.int64]
    shifts: NDArray[np.int64]

    def duration(self) -> float:
        """Ticks of all samples together."""
        return float((self.steps[:, 0].astype(float) * self.steps[:, 1]).sum())

    def span(self, most: int) -> float:
        """Ticks from the earliest presentation to the latest; of all samples where none is shown out of order.

        Decoding times of pictures that are shown out of order may begin long before the first one is shown.
        """
        if not len(self.shifts) or not 0 < self.count <= most:
            return self.duration()
        times = self.times()
        return float(times.max() - times.min())

    def first_time(self, most: int) -> int:
        """The earliest presentation time in ticks; 0 where there are more than ``most`` samples."""
        return int(self.times().min()) if len(self.shifts) and 0 < self.count <= most else 0

    def times(self) -> NDArray[np.int64]:
        """Presentation time of each sample in ticks, as stored, shape ``(count,)``."""
        import numpy as np

        steps = _spread(self.steps, self.count)
        return np.cumsum(steps) - steps + _spread(self.shifts, self.count)

    def chunks(self) -> NDArray[np.int64]:
        """Start and end of each chunk that has samples, shape ``(chunks, 2)``."""
        import numpy as np

        if self.fixed:
            lengths = np.minimum(self.per_chunk, _BEYOND_ANY_FILE // self.fixed) * self.fixed
        else:
            ends = np.cumsum(self.per_chunk)
            before = np.concatenate(([0], np.cumsum(self.sizes)))
            lengths = before[np.minimum(ends, self.count)] - before[np.minimum(ends - self.per_chunk, self.count)]
        return np.stack([self.offsets, self.offsets + lengths], 1)[lengths > 0]

    def samples(self) -> Iterator[tuple[int, int]]:
        """Start and end of each sample; only where sizes are listed."""
        import numpy as np

        at = np.cumsum(self.sizes) - self.sizes
        ends = np.minimum(np.cumsum(self.per_chunk), self.count)
        per_chunk = np.diff(ends, prepend=0)
        owner = np.repeat(np.arange(len(per_chunk)), per_chunk)
        first = np.minimum(ends - per_chunk, max(0, self.count - 1))
        starts = self.offsets[owner] + at[: len(owner)] - at[first[owner]]
        return zip(starts.tolist(), (starts + self.sizes[: len(owner)]).tolist(), strict=True)


def _spread(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The value of each of ``count`` samples from rows of (samples, value); the last one goes on, 0 without any."""
    import numpy as np

    if not len(rows):
        return np.zeros(count, np.int64)
    ends = np.minimum(np.cumsum(np.minimum(rows[:, 0], count)), count)
    lengths = np.diff(ends, prepend=0)
    lengths[-1] += count - int(ends[-1])
    return np.repeat(rows[:, 1], lengths)


@dataclass
class Track:
    """A track's headers; ``table`` is empty where fragments carry the samples.

    Attributes:
        ident: its number.
        kind: four characters of its handler.
        scale: ticks a second of the media.
        media_ticks: duration by the media header, 0 when unknown.
        movie_ticks: duration by the track header, in ticks of the movie, 0 when unknown.
        edits: rows of (ticks of the movie, first tick of the media or -1 for none, rate).
        coding: what can be checked of the samples.
        table: its samples.
    """

    ident: int = 0
    kind: bytes = b""
    scale: int = 0
    media_ticks: int = 0
    movie_ticks: int = 0
    edits: list[tuple[int, int, int]] = field(default_factory=list)
    coding: Coding = field(default_factory=Coding)
    table: Table | None = None

    @property
    def is_media(self) -> bool:
        """Whether it is picture or sound."""
        return self.kind in (VIDEO, SOUND)

    @property
    def what(self) -> str:
        """How to call it."""
        return {VIDEO: "picture", SOUND: "sound"}.get(self.kind, "other")

    def seconds(self, ticks: float) -> float:
        """Ticks of the media in seconds."""
        return ticks / self.scale if self.scale else 0.0

    def windows(self, movie_scale: int) -> list[tuple[float, float]] | None:
        """What the edit list shows, in seconds of the media; None where it cannot be told (other speeds)."""
        if any(rate != _NORMAL_RATE for _, start, rate in self.edits if start >= 0) or not movie_scale:
            return None
        shown = [(self.seconds(start), ticks / movie_scale) for ticks, start, _ in self.edits if start >= 0]
        return [(start, start + (length or float("inf"))) for start, length in shown]


def read_track(data: Content, trak: Box) -> Track:
    """Read a ``trak`` box.

    Raises:
        BrokenError: a box that must be there is not, or a table is inconsistent.
    """
    track = Track()
    parts = {child.kind: child for child in inside(data, trak)}
    tkhd = _need(parts, b"tkhd", trak)
    fields = Fields(data, tkhd)
    fields.take("QQ" if fields.version == 1 else "II")
    track.ident = fields.take("II")[0]
    track.movie_ticks = _known(fields.wide(), fields.version)
    if b"edts" in parts:
        _edits(data, parts[b"edts"], track)
    mdia = _need(parts, b"mdia", trak)
    parts = {child.kind: child for child in inside(data, mdia)}
    fields = Fields(data, _need(parts, b"mdhd", mdia))
    fields.take("QQ" if fields.version == 1 else "II")
    track.scale = fields.one("I")
    track.media_ticks = _known(fields.wide(), fields.version)
    hdlr = _need(parts, b"hdlr", mdia)
    track.kind = data[hdlr.body + 8 : hdlr.body + 12]
    minf = _need(parts, b"minf", mdia)
    parts = {child.kind: child for child in inside(data, minf)}
    for header, kind in ((b"vmhd", VIDEO), (b"smhd", SOUND)):
        if header in parts and track.kind != kind:
            raise BrokenError(
                f"the track at byte {trak.at:,} does not say that it is {name(parts[header])[0]}", trak.at
            )
    stbl = _need(parts, b"stbl", minf)
    if track.is_media:
        _tables(data, stbl, track)
    return track


def _need(parts: dict[bytes, Box], kind: bytes, of: Box) -> Box:
    if kind not in parts:
        raise BrokenError(f"the MP4 box '{name(of)}' at byte {of.at:,} lacks its '{kind.decode()}'", of.at)
    return parts[kind]


def _known(ticks: int, version: int) -> int:
    """A duration, 0 where it is written as unknown."""
    return 0 if ticks == (1 << (64 if version == 1 else 32)) - 1 else ticks


def _edits(data: Content, edts: Box, track: Track) -> None:
    for child in inside(data, edts):
        if child.kind == b"elst":
            fields = Fields(data, child)
            count = fields.one("I")
            fields.rows(count, 20 if fields.version == 1 else 12)
            rows = (fields.take("QqI" if fields.version == 1 else "IiI") for _ in range(count))
            track.edits = [(ticks, start, rate) for ticks, start, rate in rows]


def _tables(data: Content, stbl: Box, track: Track) -> None:
    import numpy as np

    parts = {child.kind: child for child in inside(data, stbl)}
    track.coding, sample_bytes = _coding(data, _need(parts, b"stsd", stbl), track.kind)
    steps = _rows(data, _need(parts, b"stts", stbl), 2)
    shifts = _rows(data, parts[b"ctts"], 2) if b"ctts" in parts else steps[:0]
    if len(shifts):
        shifts = shifts.copy()
        shifts[:, 1] -= (shifts[:, 1] >= 2**31) * 2**32  # version 0 is written with signs as well
    sizes = parts[b"stz2"] if b"stz2" in parts else _need(parts, b"stsz", stbl)
    fixed, count, listed = _sizes(data, sizes)
    offsets = parts[b"co64"] if b"co64" in parts else _need(parts, b"stco", stbl)
    places = np.minimum(_rows(data, offsets, 1, 8 if offsets.kind == b"co64" else 4)[:, 0], _BEYOND_ANY_FILE)
    per_chunk = _per_chunk(_rows(data, _need(parts, b"stsc", stbl), 3), len(places), stbl)
    if fixed == 1 and track.kind == SOUND:
        fixed = sample_bytes  # QuickTime counts samples of uncompressed sound
    track.table = Table(count, fixed, listed, places, per_chunk, steps, shifts)
    _agree(track, stbl)


def _agree(track: Track, stbl: Box) -> None:
    """Sizes, durations and chunks must be of equally many samples."""
    table = track.table
    assert table is not None
    placed, timed = int(table.per_chunk.sum()), int(table.steps[:, 0].sum())
    if table.count == 0 and track.kind == VIDEO:
        return  # the reader says that there are no frames
    if placed < table.count or (placed != table.count and timed != table.count):
        raise BrokenError(
            f"the {track.what} tables at byte {stbl.at:,} disagree: {table.count:,} samples have sizes, {timed:,} have "
            f"times and {placed:,} have places",
            stbl.at,
        )


def _rows(data: Content, of: Box, columns: int, width: int = 4) -> NDArray[np.int64]:
    """A table of big-endian unsigned numbers, shape ``(rows, columns)``."""
    import numpy as np

    fields = Fields(data, of)
    count = fields.one("I")
    fields.rows(count, columns * width)
    raw = data[fields.at : fields.at + count * columns * width]
    if len(raw) < count * columns * width:
        raise cut_off(count * columns * width - len(raw), of.at)
    numbers = np.frombuffer(raw, f">u{width}").astype(np.int64)
    if width == 8 and (numbers < 0).any():
        raise BrokenError(f"the MP4 box '{name(of)}' at byte {of.at:,} points beyond any file", of.at)
    return numbers.reshape(count, columns)


def _sizes(data: Content, of: Box) -> tuple[int, int, NDArray[np.int64]]:
    """Bytes of each sample if equal, their number, else the bytes of each."""
    import numpy as np

    fields = Fields(data, of)
    fixed, count = fields.take("II")
    none = np.zeros(0, np.int64)
    if of.kind == b"stz2":
        bits = fixed & 0xFF
        if bits not in (4, 8, 16):
            raise BrokenError(f"the MP4 box 'stz2' at byte {of.at:,} has sizes of {bits} bits", of.at)
        fields.rows(count * bits // 8, 1)
        raw = np.frombuffer(data[fields.at : fields.at + (count * bits + 7) // 8], ">u2" if bits == 16 else "u1")
        if bits == 4:
            raw = np.stack([raw >> 4, raw & 15], 1).ravel()[:count]
        return 0, count, raw.astype(np.int64)
    if fixed:
        return fixed, count, none
    fields.rows(count, 4)
    return 0, count, np.frombuffer(data[fields.at : fields.at + 4 * count], ">u4").astype(np.int64)


def _per_chunk(rows: NDArray[np.int64], chunks: int, stbl: Box) -> NDArray[np.int64]:
    """Samples of each chunk, from rows of (first chunk, samples, description)."""
    import numpy as np

    if not len(rows) or not chunks:
        return np.zeros(chunks, np.int64)
    first = rows[:, 0]
    if first[0] != 1 or (np.diff(first) <= 0).any():
        raise BrokenError(f"the table of chunks at byte {stbl.at:,} is out of order", stbl.at)
    kept = first <= chunks
    lengths = np.diff(np.append(first[kept], chunks + 1))
    return np.repeat(rows[kept, 1], lengths)


def _coding(data: Content, stsd: Box, kind: bytes) -> tuple[Coding, int]:
    """What can be checked of the samples, and the bytes of one sample of uncompressed sound."""
    entries = list(inside(data, Box(b"stsd", stsd.at, stsd.body + 8, stsd.end)))
    if len(entries) != 1:  # several descriptions in turn: nothing is said of the samples
        return Coding(), 0
    entry = entries[0]
    codec = _CODECS.get(entry.kind, "unknown")
    if kind == SOUND:
        channels, bits = (int.from_bytes(data[entry.body + at : entry.body + at + 2], "big") for at in (16, 18))
        return Coding(codec), channels * bits // 8
    if codec in ("avc", "hevc"):
        try:
            for child in inside(data, Box(entry.kind, entry.at, entry.body + _PICTURE_FIELDS, entry.end)):
                if _CONFIGURATIONS.get(child.kind) == codec:
                    configuration = data[child.body : min(child.end, child.body + _CONFIGURATION_BYTES)]
                    return Coding.of_units(codec, configuration), 0
        except BrokenError:  # of no weight for the samples' places; the decoder says what it lacks
            return Coding(codec), 0
    return Coding(codec), 0
