"""Matroska and WebM: whether the segment holds together, and what it promises.

A demuxer that meets rubbish looks for the next cluster and goes on, and one that meets the end of a file believes it.
Here every byte of the segment must belong to an element that may stand there, every block must fit into its cluster,
and what points elsewhere (SeekHead, Cues, PrevSize, Position) must point at the right thing.
"""

from __future__ import annotations

import struct

from javisbench.clip import Damage
from javisbench.media.integrity import ebml
from javisbench.media.integrity.content import Content
from javisbench.media.integrity.doubts import doubts, promised
from javisbench.media.integrity.ebml import Element, NoElementError, children, element, has_wrong_checksum, number, text
from javisbench.media.integrity.payload import Codec, Coding
from javisbench.media.integrity.report import MOST_SAID, BrokenError, Fault, Integrity, damaged_data
from javisbench.media.integrity.segment import AUDIO, VIDEO, Cluster, Cue, Segment, Track

_TIMESTAMP, _POSITION, _PREV_SIZE, _SIMPLE_BLOCK, _GROUP = 0xE7, 0xA7, 0xAB, 0xA3, 0xA0
_BLOCK, _BLOCK_DURATION, _REFERENCE = 0xA1, 0x9B, 0xFB
_IN_CLUSTER = frozenset((_TIMESTAMP, 0x5854, _POSITION, _PREV_SIZE, _SIMPLE_BLOCK, _GROUP, 0xAF)) | ebml.ANYWHERE
_IN_GROUP = (
    frozenset((_BLOCK, _BLOCK_DURATION, _REFERENCE, 0xA2, 0x75A1, 0xFA, 0xFD, 0xA4, 0x75A2, 0x8E, 0xC8, 0xAF))
    | ebml.ANYWHERE
)
_CODECS: dict[str, Codec] = {
    "V_MPEG4/ISO/AVC": "avc",
    "V_MPEGH/ISO/HEVC": "hevc",
    "V_VP8": "vp8",
    "V_VP9": "vp9",
    "V_AV1": "av1",
    "V_MJPEG": "intra",
    "V_FFV1": "intra",
    "V_PRORES": "intra",
    "A_AAC": "compressed",
    "A_OPUS": "compressed",
    "A_VORBIS": "compressed",
    "A_FLAC": "compressed",
    "A_MPEG/L3": "compressed",
    "A_AC3": "compressed",
    "A_EAC3": "compressed",
}
_MOST_KEPT = 2_000_000


def examine(data: Content) -> Integrity:
    """Walk through a Matroska or WebM file. Never raises, whatever the bytes are."""
    walk = _Walk(data)
    faults: tuple[Fault, ...] = ()
    try:
        walk.run()
    except BrokenError as broken:
        faults = (broken.fault,)
    found = () if faults else (*walk.said, *doubts(walk.segment))
    return Integrity(faults, promised(walk.segment), found)


class _Walk:
    """One walk through a file, and what it gathers."""

    def __init__(self, data: Content) -> None:
        self.data = data
        self.segment = Segment()
        self.said: list[Damage] = []
        self.kept = 0

    def run(self) -> None:
        data, size = self.data, len(self.data)
        at = 0
        while True:
            head = element(data, at, size)
            if head.ident == ebml.SEGMENT:
                break
            if head.size < 0 or head.ident not in (ebml.HEADER, *ebml.ANYWHERE):
                raise BrokenError(f"no Matroska segment at byte {at:,}", at)
            at = head.end
        self.segment.start, self.segment.known_size = head.body, head.size >= 0
        at = self._level_1(head.body, head.end if self.segment.known_size else size)
        self._rest(at)

    def _level_1(self, at: int, end: int) -> int:
        """Every element of the segment, one after the other."""
        while at < end:
            try:
                item = element(self.data, at, end)
            except NoElementError as broken:
                raise self._rubbish(at, end) from broken
            if item.ident == ebml.HEADER and not self.segment.known_size:
                break
            name = ebml.MASTERS.get(item.ident)
            if name is None and item.ident not in ebml.ANYWHERE:
                raise self._rubbish(at, end)
            if item.size < 0 and item.ident != ebml.CLUSTER:
                raise BrokenError(f"a Matroska element of unknown size at byte {at:,}, where none may be", at)
            if item.ident == ebml.CLUSTER:
                at = self._cluster(item, end)
                continue
            if name is not None:
                self.segment.masters[at] = item.ident
                self._header(item, name)
            at = item.end
        return at

    def _rubbish(self, at: int, end: int) -> BrokenError:
        """Bytes that are no element: how many, up to the next one that is."""
        following = _find_master(self.data, at + 1, end)
        return BrokenError(f"{following - at:,} bytes that are no Matroska element at byte {at:,}", at)

    def _header(self, item: Element, name: str) -> None:
        if has_wrong_checksum(self.data, item) and len(self.said) < MOST_SAID:
            self.said.append(Damage(f"the checksum of {name} at byte {item.at:,} does not fit it"))
        readers = {
            ebml.SEEK_HEAD: self._seek_head,
            ebml.INFO: self._info,
            ebml.TRACKS: self._track_entries,
            ebml.CUES: self._cue_points,
            ebml.TAGS: self._tag_entries,
        }
        if item.ident in readers:
            readers[item.ident](item)

    def _seek_head(self, item: Element) -> None:
        for seek in children(self.data, item):
            if seek.ident != 0x4DBB:
                continue
            ident = position = None
            for part in children(self.data, seek):
                if part.ident == 0x53AB:
                    ident = number(self.data, part)
                elif part.ident == 0x53AC:
                    position = number(self.data, part)
            if ident is not None and position is not None:
                self._count(seek.at)
                self.segment.seeks.append((ident, position))

    def _info(self, item: Element) -> None:
        for part in children(self.data, item):
            if part.ident == 0x2AD7B1:
                self.segment.scale_ns = number(self.data, part) or 1_000_000
            elif part.ident == 0x4489 and part.size in (4, 8):
                (value,) = struct.unpack(">f" if part.size == 4 else ">d", self.data[part.body : part.end])
                self.segment.duration = value if 0 < value < 2**53 else None
            elif part.ident == 0x5741:
                self.segment.writer = text(self.data, part)

    def _track_entries(self, item: Element) -> None:
        for entry in children(self.data, item):
            if entry.ident == 0xAE:
                track = _track(self.data, entry)
                self.segment.tracks.setdefault(track.number, track)

    def _tracks_further_on(self, at: int, end: int) -> None:
        """Read the tracks from behind the clusters; editors move them there when they grow."""
        while at < end:
            item = element(self.data, at, end)
            if item.size < 0 or item.ident == ebml.TRACKS:
                if item.size >= 0:
                    self._track_entries(item)
                return
            at = item.end

    def _cue_points(self, item: Element) -> None:
        for point in children(self.data, item):
            if point.ident != 0xBB:
                continue
            time = 0
            for part in children(self.data, point):
                if part.ident == 0xB3:
                    time = number(self.data, part)
                elif part.ident == 0xB7:
                    places = {
                        place.ident: number(self.data, place)
                        for place in children(self.data, part)
                        if place.ident in (0xF7, 0xF1)
                    }
                    if 0xF1 in places:
                        self._count(part.at)
                        self.segment.cues.append(Cue(time, places.get(0xF7, 0), places[0xF1]))

    def _tag_entries(self, item: Element) -> None:
        for tag in children(self.data, item):
            if tag.ident != 0x7373:
                continue
            uid, values = 0, {}
            for part in children(self.data, tag):
                if part.ident == 0x63C0:
                    uids = [number(self.data, target) for target in children(self.data, part) if target.ident == 0x63C5]
                    uid = uids[0] if uids else 0
                elif part.ident == 0x67C8:
                    pair = {
                        sub.ident: text(self.data, sub)
                        for sub in children(self.data, part)
                        if sub.ident in (0x45A3, 0x4487)
                    }
                    values[pair.get(0x45A3, "")] = pair.get(0x4487, "")
            self.segment.tags.append((uid, values))

    # clusters

    def _cluster(self, item: Element, end: int) -> int:
        """One cluster; returns the byte after it."""
        data, known = self.data, item.size >= 0
        if not self.segment.tracks and not self.segment.clusters:
            self._tracks_further_on(item.at, end)
        if known:
            end = item.end
            if has_wrong_checksum(data, item):
                raise BrokenError(f"the checksum of the cluster at byte {item.at:,} does not fit it", item.at)
        cluster = Cluster(item.at, end)
        self.segment.clusters.append(cluster)
        self._count(item.at)
        at = item.body
        while at < end:
            following = self._short_block(cluster, at, end)
            if following:
                at = following
                continue
            child = element(data, at, end)
            ident = child.ident
            if not known and (ident in ebml.MASTERS or ident == ebml.HEADER):
                break
            if ident not in _IN_CLUSTER:
                where = _find_master(data, at + 1, end) if not known else end
                raise BrokenError(f"{where - at:,} bytes that are no Matroska element at byte {at:,}", at)
            if child.size < 0:
                raise BrokenError(f"a Matroska element of unknown size at byte {at:,}, where none may be", at)
            if ident == _SIMPLE_BLOCK:
                self._block(cluster, at, child.body, child.end, 0)
            elif ident == _GROUP:
                self._group(cluster, child)
            elif ident == _TIMESTAMP:
                cluster.time = number(data, child)
            elif ident == _PREV_SIZE:
                cluster.previous_size = number(data, child)
            elif ident == _POSITION:
                cluster.position = number(data, child)
            at = child.end
        cluster.end = at
        return at

    def _short_block(self, cluster: Cluster, at: int, end: int) -> int:
        """A SimpleBlock of a size in one to three bytes, quickly; returns the byte after it, 0 for anything else."""
        data = self.data
        if end - at < 16 or data[at] != _SIMPLE_BLOCK:
            return 0
        first, second = data[at + 1], data[at + 2]
        if first & 0x80:
            body, stop = at + 2, at + 2 + (first & 0x7F)
        elif first & 0x40:
            body, stop = at + 3, at + 3 + ((first & 0x3F) << 8 | second)
        elif first & 0x20:
            body, stop = at + 4, at + 4 + ((first & 0x1F) << 16 | second << 8 | data[at + 3])
        else:
            return 0
        if stop > end or first in (0xFF, 0x7F, 0x3F):
            return 0
        self._block(cluster, at, body, stop, 0)
        return stop

    def _count(self, at: int) -> None:
        """One more block, cluster or entry of Cues to be kept.

        Raises:
            BrokenError: there are more than any clip has.
        """
        self.kept += 1
        if self.kept > _MOST_KEPT:
            raise BrokenError(f"more than {_MOST_KEPT:,} blocks, clusters and Cues", at)

    def _group(self, cluster: Cluster, group: Element) -> None:
        block, duration = None, 0
        for child in children(self.data, group):
            if child.ident not in _IN_GROUP:
                raise BrokenError(f"no Matroska element at byte {child.at:,}", child.at)
            if child.ident == _BLOCK:
                block = child
            elif child.ident == _BLOCK_DURATION:
                duration = number(self.data, child)
        if block is None:
            raise BrokenError(f"a group without its block at byte {group.at:,}", group.at)
        self._block(cluster, block.at, block.body, block.end, duration)

    def _block(self, cluster: Cluster, block: int, at: int, end: int, duration: int) -> None:
        """A block whose content lies from byte ``at`` to ``end``."""
        data = self.data
        if at >= end or cluster.time is None:
            raise BrokenError(f"a block without content or time at byte {block:,}", block)
        ident, width = data[at] & 0x7F, 1
        if not data[at] & 0x80:
            width = 9 - data[at].bit_length()
            ident = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
        track, at = self.segment.tracks.get(ident), at + width + 3
        if track is None or at > end:
            raise BrokenError(f"a block of no track at byte {block:,}", block)
        relative = data[at - 3] << 8 | data[at - 2]
        time = cluster.time + (relative - 0x10000 if relative & 0x8000 else relative)
        track.times.append(time)
        self._count(block)
        if duration:
            track.durations[time] = duration
        lacing = data[at - 1] >> 1 & 3
        if lacing:
            track.last_frames = _laces(data, at, end, lacing, block)
            track.frames += track.last_frames
            return
        track.frames += 1
        track.last_frames = 1
        complaint = track.coding.complaint(data, at, end)
        if complaint:
            raise damaged_data(track.kind == VIDEO, at, complaint)
        if track.may_hide:
            track.hidden += track.coding.is_hidden(data, at, end)

    def _rest(self, at: int) -> None:
        """What follows the segment: nothing, or padding."""
        data, size = self.data, len(self.data)
        if at >= size:
            return
        if data[at : at + 4] == b"\x1a\x45\xdf\xa3":
            self.said.append(Damage(f"another Matroska file follows at byte {at:,} and is not read"))
        elif _find_master(data, at, min(size, at + 4)) < min(size, at + 4):
            raise BrokenError(f"the segment ends at byte {at:,}, before {size - at:,} bytes that belong to it", at)
        elif data[at : at + 64].strip(b"\0"):
            self.said.append(Damage(f"{size - at:,} bytes that belong to nothing follow the segment at byte {at:,}"))


def _track(data: Content, entry: Element) -> Track:
    track, name, private, encoded = Track(), "", b"", False
    for part in children(data, entry):
        if part.ident == 0xD7:
            track.number = number(data, part)
        elif part.ident == 0x73C5:
            track.uid = number(data, part)
        elif part.ident == 0x83:
            track.kind = number(data, part)
        elif part.ident == 0x23E383:
            track.default_ns = number(data, part)
        elif part.ident == 0x86:
            name = text(data, part)
        elif part.ident == 0x63A2:
            private = data[part.body : part.body + min(part.size, 64)]
        elif part.ident == 0x6D80:
            encoded = True
    if {"V": VIDEO, "A": AUDIO}.get(name[:1], track.kind) != track.kind:
        raise BrokenError(f"the track at byte {entry.at:,} is of another kind than its codec", entry.at)
    codec = _CODECS.get(name, "compressed" if name.startswith("A_AAC") else "unknown")
    if codec in ("avc", "hevc"):
        track.coding = Coding(codec) if encoded else Coding.of_units(codec, private)
    elif not encoded:
        track.coding = Coding(codec)
    track.may_hide = track.coding.codec in ("vp8", "vp9")
    return track


def _laces(data: Content, at: int, end: int, lacing: int, block: int) -> int:
    """The number of frames in a laced block, whose sizes must fit it (Xiph 1, fixed 2, EBML 3)."""
    if at >= end:
        raise BrokenError(f"an empty laced block at byte {block:,}", block)
    count, at = data[at] + 1, at + 1
    total, previous = 0, 0
    for index in range(count - 1 if lacing != 2 else 0):
        size = 0
        if lacing == 1:
            while at < end and data[at] == 255:
                size, at = size + 255, at + 1
            size, at = size + (data[at] if at < end else 0), at + 1
        else:
            width = 9 - data[at].bit_length() if at < end and data[at] else 9
            value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
            size = value if index == 0 else previous + value - ((1 << 7 * width - 1) - 1)
            at, previous = at + width, size
        total += size
        if size < 0 or at + total > end:
            raise BrokenError(f"laced pieces that do not fit the block at byte {block:,}", block)
    if lacing == 2 and (end - at) % count:
        raise BrokenError(f"laced pieces that do not fit the block at byte {block:,}", block)
    return count


def _find_master(data: Content, at: int, end: int) -> int:
    """The byte at which the next element of a segment starts, else ``end``."""
    idents = [ident.to_bytes(4, "big") for ident in ebml.MASTERS]
    piece = 2**16
    for start in range(at, end, piece):
        part = data[start : min(end, start + piece + 3)]
        places = [place for place in map(part.find, idents) if place >= 0]
        if places:
            return start + min(places)
    return end
