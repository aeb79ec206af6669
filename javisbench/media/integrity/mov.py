"""MP4 and MOV: whether the sample tables, fragments and media data fit together, and what they promise.

A demuxer goes by the tables alone: where a table, a fragment or a piece of media data is missing, what it does not find
does not exist. Here tables are held against each other, against the durations in the headers and against the media
data, and fragments against their numbers, times and indexes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from javisbench.clip import Damage
from javisbench.media.integrity.boxes import Box, Fields, box, inside, name
from javisbench.media.integrity.content import Content
from javisbench.media.integrity.fragments import Defaults, Fragments
from javisbench.media.integrity.gaps import displaced
from javisbench.media.integrity.payload import ONE_PICTURE_A_PAYLOAD
from javisbench.media.integrity.report import (
    MOST_SAID,
    OPEN_END,
    BrokenError,
    Fault,
    Integrity,
    Promised,
    cut_off,
    damaged_data,
)
from javisbench.media.integrity.track import MOST_SAMPLES, SOUND, VIDEO, Track, read_track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CARRIERS = (b"mdat", b"moov", b"moof")
_FREE = (b"free", b"skip", b"wide")
_LEAST_LOSS_S = 0.05
_ROUNDING_S = 0.0015
"""Edit lists count in the movie's ticks, mostly milliseconds."""
_LEAST_SHARE = 0.1
_STEPS_TO_TELL = 12
_LONG_S = 10.0
_MOST_BOXES = 1_000_000
_MOST_HEADER_BYTES = 256 * 2**20


def examine(data: Content) -> Integrity:
    """Walk through an MP4 or MOV file. Never raises, whatever the bytes are."""
    walk = _Walk(data)
    faults: tuple[Fault, ...] = ()
    promised = Promised()
    try:
        walk.run()
        promised = walk.promised()
    except BrokenError as broken:
        faults = (broken.fault,)
    return Integrity(faults, promised, tuple(walk.said[: 2 * MOST_SAID]) if not faults else ())


class _Walk:
    """One walk through a file, and what it gathers."""

    def __init__(self, data: Content) -> None:
        self.data = data
        self.said: list[Damage] = []
        self.tops: list[Box] = []
        self.tracks: list[Track] = []
        self.movie_scale = 0
        self.movie_ticks = 0
        self.fragment_ticks = 0
        self.defaults: dict[int, Defaults] = {}
        self.is_fragmented = False
        self.has_moov = False
        self.by_ffmpeg = False
        self.fragments = Fragments(data, self.defaults)
        self._most_samples = min(MOST_SAMPLES, len(data))  # each has a byte at least, or it is no sample

    def run(self) -> None:
        self._tops()
        for top in self.tops:
            if top.kind == b"moov" and not self.has_moov:
                self._movie(top)
        if not self.has_moov:
            return  # nothing can be read, and the demuxer says so
        for top in self.tops:
            if top.kind == b"moof":
                self.fragments.add(top)
        self._places()
        self._payloads()
        self._durations()
        self._stray_times()
        if self.is_fragmented:
            self._fragments()

    def _tops(self) -> None:
        """The boxes of the file, one after the other."""
        data, size, at = self.data, len(self.data), 0
        while at < size:
            top = box(data, at, size)
            if top is None or len(self.tops) >= _MOST_BOXES:
                self._rubbish(at)
                return
            if top.end > size:
                if top.kind in _CARRIERS:
                    raise cut_off(top.end - size, at)
                if top.kind not in _FREE:
                    self.said.append(Damage(f"{top.end - size:,} bytes of the MP4 box '{name(top)}' are missing"))
            elif self._first_child(top) == b"mfhd" and top.kind != b"moof":
                raise BrokenError(f"a fragment at byte {at:,} that is called '{name(top)}'", at)
            self.tops.append(top)
            at = top.end

    def _first_child(self, top: Box) -> bytes:
        return self.data[top.body + 4 : top.body + 8]

    def _rubbish(self, at: int) -> None:
        """Bytes that are no box: with fragments or without the tables, what stood there is lost."""
        size = len(self.data)
        rest = self.data[at : min(size, at + 4096)]
        if not rest.strip(b"\0") and any(top.kind == b"moov" for top in self.tops):
            return
        if any(top.kind == b"moof" for top in self.tops) or not any(top.kind == b"moov" for top in self.tops):
            raise BrokenError(f"{size - at:,} bytes that are no MP4 box at byte {at:,}", at)
        self.said.append(Damage(f"{size - at:,} bytes that are no MP4 box at byte {at:,}"))

    def _movie(self, moov: Box) -> None:
        if moov.end - moov.at > _MOST_HEADER_BYTES:
            raise BrokenError(f"tables of {(moov.end - moov.at) / 2**20:,.0f} MiB at byte {moov.at:,}", moov.at)
        self.has_moov = True
        for child in inside(self.data, moov):
            if child.kind == b"mvhd":
                fields = Fields(self.data, child)
                fields.take("QQ" if fields.version == 1 else "II")
                self.movie_scale, self.movie_ticks = fields.one("I"), fields.wide()
            elif child.kind == b"trak":
                self.tracks.append(read_track(self.data, child))
            elif child.kind == b"mvex":
                self._extends(child)
            elif child.kind == b"udta":
                self.by_ffmpeg = b"Lavf" in self.data[child.body : min(child.end, child.body + 4096)]
            elif self._first_child(child) == b"tkhd":
                raise BrokenError(f"a track at byte {child.at:,} that is called '{name(child)}'", child.at)

    def _extends(self, mvex: Box) -> None:
        self.is_fragmented = True
        for child in inside(self.data, mvex):
            fields = Fields(self.data, child)
            if child.kind == b"mehd":
                self.fragment_ticks = fields.wide()
            elif child.kind == b"trex":
                ident, _, duration, size, _ = fields.take("5I")
                self.defaults[ident] = Defaults(duration, size)

    # where the media data lies

    def _places(self) -> None:
        """Every chunk and run must lie in media data, and every piece of media data of fragments must be used."""
        import numpy as np

        tables = [track.table.chunks() for track in self.tracks if track.table is not None]
        runs = np.array(self.fragments.extents, np.int64).reshape(-1, 2)
        places = np.concatenate([*tables, runs]) if tables else runs
        places = places[np.argsort(places[:, 0], kind="stable")]
        if not len(places):
            return
        beyond = int(places[:, 1].max()) - len(self.data)
        if beyond > 0:
            raise cut_off(beyond, len(self.data))
        overlaps = int((places[1:, 0] < places[:-1, 1]).sum())
        if overlaps:
            self.said.append(Damage(f"{overlaps:,} pieces of media data overlap"))
        holders = np.array([(top.body, top.end) for top in self.tops if top.kind == b"mdat"], np.int64).reshape(-1, 2)
        self._held(places, holders)
        if self.fragments.places and len(holders):
            used = np.searchsorted(places[:, 0], holders)
            unused = np.flatnonzero((used[:, 0] == used[:, 1]) & (holders[:, 0] < holders[:, 1]))
            if len(unused):
                at = int(holders[unused[0], 0])
                raise BrokenError(f"media data at byte {at:,} that belongs to no fragment", at)

    def _held(self, places: NDArray[np.int64], holders: NDArray[np.int64]) -> None:
        import numpy as np

        if not len(holders):
            self.said.append(Damage("the media data lies in no box of its own"))
            return
        owner = np.searchsorted(holders[:, 0], places[:, 0], side="right") - 1
        outside = (owner < 0) | (places[:, 1] > holders[np.maximum(owner, 0), 1])
        if outside.all():
            self.said.append(Damage("all media data lies outside of its box"))
        elif outside.any():
            at = int(places[np.flatnonzero(outside)[0], 0])
            raise BrokenError(f"{int(outside.sum()):,} pieces of media data lie outside of it, one at byte {at:,}", at)

    def _payloads(self) -> None:
        """No sample may be what its codec never writes."""
        budget = len(self.data)
        for track in self.tracks:
            table = track.table
            if table is None or table.fixed or track.coding.codec in ("raw", "unknown"):
                continue
            budget -= int(table.sizes.sum())
            if budget >= 0:
                self._check(track, table.samples())
        checked = {track.ident: track for track in self.tracks if track.coding.codec not in ("raw", "unknown")}
        if sum(end - start for start, end in self.fragments.extents) > len(self.data):
            return
        for ident, start, end in self.fragments.samples:
            if ident in checked:
                self._check(checked[ident], [(start, end)])

    def _check(self, track: Track, samples: Iterable[tuple[int, int]]) -> None:
        for start, end in samples:
            complaint = track.coding.complaint(self.data, start, end)
            if complaint:
                raise damaged_data(track.kind == VIDEO, start, complaint)

    # durations

    def _durations(self) -> None:
        """What the headers say of each track against its samples."""
        for track in self.tracks:
            table = track.table
            if table is None or (self.is_fragmented and not table.count):
                continue
            timed, shifted = int(table.steps[:, 0].sum()), int(table.shifts[:, 0].sum())
            if timed != table.count or shifted not in (0, table.count):
                message = f"the {track.what} has {table.count:,} samples, and times of {timed:,} or {shifted:,}"
                self.said.append(Damage(message))
            held, declared = track.seconds(table.duration()), track.seconds(track.media_ticks)
            least = max(_LEAST_LOSS_S, held / max(1, table.count))
            shortest = min(held, track.seconds(table.span(self._most_samples)))
            if track.media_ticks and not shortest - least <= declared <= held + least:
                self.said.append(
                    Damage(f"the {track.what} is said to last {declared:.2f} s, its samples last {held:.2f} s")
                )
            if not self.movie_scale or not track.movie_ticks:
                continue
            self._edits_reach(track, held, least)
            shown = track.movie_ticks / self.movie_scale
            edited = sum(ticks for ticks, _, _ in track.edits) / self.movie_scale if track.edits else held
            if abs(shown - edited) > least:
                self.said.append(
                    Damage(f"the {track.what} is said to be shown for {shown:.2f} s, by its edits for {edited:.2f} s")
                )

    def _edits_reach(self, track: Track, held: float, least: float) -> None:
        """What the edit list shows must be there."""
        for start, end in track.windows(self.movie_scale) or ():
            if end < float("inf") and end - held > least + _ROUNDING_S:
                assert track.table is not None
                held += track.seconds(
                    track.table.first_time(self._most_samples)
                )  # pictures out of order begin later than at 0
            if end < float("inf") and end - held > least + _ROUNDING_S:
                lost = round(end - max(start, held), 3)
                message = f"the edits show {track.what} up to {end:.2f} s, its samples last {held:.2f} s"
                self.said.append(Damage(message, 0, lost))

    def _stray_times(self) -> None:
        """What edit lists hide, and pictures that stand where none belongs."""
        import numpy as np

        for track in self.tracks:
            if track.kind == VIDEO:
                seconds, last, _ = self._presentation(track)
                shown, _, _ = self._shown(track)
                whole = last - float(seconds.min()) if len(seconds) else 0.0
                if shown is not None and whole > 1.0 and shown < _LEAST_SHARE * whole:
                    self.said.append(Damage(f"the edits show {shown:.2f} of {whole:.2f} s of picture"))
                self._plausible(np.sort(seconds))
                far = displaced(seconds)
                if far:
                    self.said.append(Damage(f"{far} pictures stand where their times do not belong"))

    def _plausible(self, seconds: NDArray[np.float64]) -> None:
        """Presentation times, ascending, as no clip has them: one stray time, where all steps are equal otherwise."""
        import numpy as np

        steps = np.diff(seconds)
        if len(steps) < _STEPS_TO_TELL:
            return
        longest, total = float(steps.max()), float(seconds[-1] - seconds[0])
        if longest > _LONG_S and longest > 0.9 * total:
            self.said.append(Damage(f"one picture is shown for {longest:.2f} of {total:.2f} s"))
        usual = float(np.median(steps))
        same, long = np.abs(steps - usual) < _ROUNDING_S, steps > 1.5 * usual
        short = ~same & ~long
        if 0 < short.sum() <= 2 and long.sum() == 1 and len(steps) - same.sum() <= 3:
            at = float(seconds[int(np.flatnonzero(long)[0])])
            self.said.append(Damage(f"one picture's time is wrong; there is none after {at:.2f} s"))

    # fragments

    def _fragments(self) -> None:
        scales = {track.ident: track.scale for track in self.tracks if track.is_media}
        if not self.fragments.places:
            if not any(track.table is not None and track.table.count for track in self.tracks):
                self.said.append(Damage("the fragments that the header announces are missing"))
            self._indexes()
            return
        strangers = self.fragments.parts.keys() - {track.ident for track in self.tracks}
        if strangers:
            at = self.fragments.places[0]
            raise BrokenError(f"the fragments from byte {at:,} on are of a track that the header does not have", at)
        for at, damage in self.fragments.lost(scales):
            if damage.seconds:
                raise BrokenError(f"{damage.message} at byte {at:,}; {damage.seconds:.2f} s are missing", at)
            self.said.append(damage)
        for at in self.fragments.overlaps(scales):
            self.said.append(Damage(f"the fragment at byte {at:,} goes back in time"))
        self._indexes()
        self._early_end(scales)

    def _indexes(self) -> None:
        """``sidx`` and ``mfra`` must point at what is there; FFmpeg ends every file with the latter."""
        starts = {top.at for top in self.tops} | {len(self.data)}
        fragments = set(self.fragments.places)
        for top in self.tops:
            if top.kind == b"sidx":
                self._segment_index(top, starts)
            elif top.kind == b"mfra" and top.end <= len(self.data):
                wrong = sum(at not in fragments for at in _random_access(self.data, top) if at)  # GStreamer writes a 0
                if wrong:
                    self.said.append(Damage(f"{wrong} entries of the index at byte {top.at:,} point at no fragment"))
        if self.by_ffmpeg and not any(top.kind in (b"styp", b"mfra") for top in self.tops):
            self.said.append(Damage("the index that FFmpeg writes after the last fragment is missing"))

    def _segment_index(self, sidx: Box, starts: set[int]) -> None:
        fields = Fields(self.data, sidx)
        _, scale = fields.take("II")
        _, offset = fields.take("QQ" if fields.version == 1 else "II")
        _, count = fields.take("HH")
        fields.rows(count, 12)
        at, lost_ticks = sidx.end + offset, 0
        for _ in range(count):
            size, ticks, _ = fields.take("III")
            at += size & 0x7FFFFFFF
            lost_ticks += ticks if at > len(self.data) else 0
            if at not in starts and at < len(self.data):
                self.said.append(Damage(f"the index at byte {sidx.at:,} points at byte {at:,}, where nothing starts"))
                return
        if lost_ticks:
            seconds = lost_ticks / max(1, scale)
            self.said.append(Damage(f"the index at byte {sidx.at:,} goes on after the file ends", 0, round(seconds, 3)))

    def _early_end(self, scales: dict[int, int]) -> None:
        """The duration in the header, where it is not 0, against the last fragment's end."""
        ticks = self.fragment_ticks
        if not ticks or not self.movie_scale:
            if not self.said and not any(top.kind in (b"sidx", b"mfra") for top in self.tops):
                self.said.append(OPEN_END)
            return
        ends = [
            (parts[-1].start + parts[-1].ticks) / scales[ident]
            for ident, parts in self.fragments.parts.items()
            if scales.get(ident) and parts[-1].start is not None
        ]
        declared, end = ticks / self.movie_scale, max(ends, default=0.0)
        if ends and declared - end > max(_LEAST_LOSS_S, 0.1):
            lost = round(declared - end, 3)
            self.said.append(Damage(f"the fragments end at {end:.2f} of {declared:.2f} s", 0, lost))

    # what it promises

    def promised(self) -> Promised:
        video, sound = self._main(VIDEO), self._main(SOUND)
        picture_s, frames, frame_s = self._shown(video) if video is not None else (None, None, 0.0)
        sound_s, _, packet_s = self._shown(sound) if sound is not None else (None, None, 0.0)
        if video is not None and video.coding.codec not in ONE_PICTURE_A_PAYLOAD:
            frames = None
        ticks = self.fragment_ticks or (0 if self.is_fragmented else self.movie_ticks)
        return Promised(
            frames=frames,
            picture_s=picture_s,
            sound_s=sound_s,
            duration_s=ticks / self.movie_scale if ticks and self.movie_scale else None,
            frame_s=frame_s,
            packet_s=packet_s,
        )

    def _main(self, kind: bytes) -> Track | None:
        """The only track of a kind; None with none or several."""
        found = [track for track in self.tracks if track.kind == kind]
        return found[0] if len(found) == 1 else None

    def _shown(self, track: Track) -> tuple[float | None, int | None, float]:
        """Seconds and samples of a track that are shown, and the seconds of one sample."""
        windows = track.windows(self.movie_scale)
        if track.table is not None and track.table.fixed and track.kind == SOUND:
            return self._shown_sound(track, track.table.duration(), windows)
        seconds, last, step = self._presentation(track)
        if not len(seconds) or windows is None:
            return None, None, step
        first = float(seconds.min())
        if not windows or self.fragments.places:
            begin = windows[0][0] if windows else first
            return last - max(first, begin), int((seconds >= begin - 1e-9).sum()), step
        count = sum(int(((seconds >= a - 1e-9) & (seconds < b - _ROUNDING_S)).sum()) for a, b in windows)
        return sum(max(0.0, min(b, last) - max(a, first)) for a, b in windows), count, step

    def _presentation(self, track: Track) -> tuple[NDArray[np.float64], float, float]:
        """Seconds at which samples are shown, as stored; where the last one ends; the seconds of one sample."""
        import numpy as np

        pieces, held = [], 0.0
        if track.table is not None and track.table.count:
            held = track.table.duration()
            if track.table.count <= self._most_samples:
                pieces.append(track.table.times().astype(float))
        parts = self.fragments.parts.get(track.ident, [])
        begin = 0 if held or not parts else parts[0].start or 0
        at = held
        for part in parts:
            at = at if part.start is None else float(part.start)
            pieces.append(np.array(part.times, float) + at)
            at += part.ticks
        seconds = np.concatenate(pieces) / track.scale if pieces and track.scale else np.zeros(0)
        if not len(seconds):
            return seconds, 0.0, 0.0
        step = (held + sum(part.ticks for part in parts)) / len(seconds) / track.scale
        return seconds, max(float(seconds.min()) + (at - begin) / track.scale, float(seconds.max())), step

    def _shown_sound(
        self, track: Track, held: float, windows: list[tuple[float, float]] | None
    ) -> tuple[float | None, int | None, float]:
        """The same for uncompressed sound, whose samples are many and of no interest one by one."""
        whole = track.seconds(held)
        if windows is None:
            return None, None, 0.0
        length = sum(max(0.0, min(b, whole) - a) for a, b in windows) if windows else whole
        return length, None, 0.0


def _random_access(data: Content, mfra: Box) -> list[int]:
    """The fragments' places by ``tfra``."""
    places = []
    for child in inside(data, mfra):
        if child.kind != b"tfra":
            continue
        fields = Fields(data, child)
        _, widths, count = fields.take("III")
        width = sum((widths >> shift & 3) + 1 for shift in (4, 2, 0))
        fields.rows(count, (16 if fields.version == 1 else 8) + width)
        for _ in range(count):
            fields.wide()
            places.append(fields.wide())
            fields.take(f"{width}x")
    return places
