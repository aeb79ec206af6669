"""Fragments of MP4 files (``moof``): where their media data lies, whether one of them is missing.

Writers number fragments one by one and give each the time at which it begins, for every track. A number that is left
out, where a track's time has a hole as well, is a lost fragment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from javisbench.clip import Damage
from javisbench.media.integrity.boxes import Box, Fields, inside
from javisbench.media.integrity.content import Content
from javisbench.media.integrity.gaps import Pause, intersection, nothing_during
from javisbench.media.integrity.report import BrokenError, cut_off

_MOST_SAMPLES = 1_000_000
_LEAST_HOLE_S = 0.01
_LEAST_OVERLAP_S = 0.1


@dataclass
class Defaults:
    """What holds for a track's samples unless a fragment says otherwise (``trex``): ticks, bytes."""

    duration: int = 0
    size: int = 0


@dataclass
class Part:
    """What one fragment has of one track.

    Attributes:
        fragment: its place in the order of the file.
        start: first decoding time in ticks, None where it does not say.
        ticks: duration.
        times: presentation times of the samples in ticks, from 0 at ``start``.
    """

    fragment: int
    start: int | None
    ticks: int = 0
    times: list[int] = field(default_factory=list)


class Fragments:
    """Collects the fragments of a file, in order.

    Args:
        data: the file.
        defaults: by track.
    """

    def __init__(self, data: Content, defaults: dict[int, Defaults]) -> None:
        self._data = data
        self._defaults = defaults
        self.places: list[int] = []
        self.numbers: list[int] = []
        self.parts: dict[int, list[Part]] = {}
        self.extents: list[tuple[int, int]] = []
        self.samples: list[tuple[int, int, int]] = []
        """Track, start and end of every sample."""

    def add(self, moof: Box) -> None:
        """Read one fragment.

        Raises:
            BrokenError: it is inconsistent.
        """
        self.places.append(moof.at)
        end_of_data = moof.at
        for child in inside(self._data, moof):
            if child.kind == b"mfhd":
                self.numbers.append(Fields(self._data, child).one("I"))
            elif child.kind == b"traf":
                end_of_data = self._track(moof, child, end_of_data)
        if len(self.numbers) != len(self.places):
            raise BrokenError(f"the fragment at byte {moof.at:,} has no number", moof.at)

    def _track(self, moof: Box, traf: Box, end_of_data: int) -> int:
        """One track's part; returns the byte after its data."""
        parts = list(inside(self._data, traf))
        header = next((part for part in parts if part.kind == b"tfhd"), None)
        if header is None:
            raise BrokenError(f"the fragment at byte {moof.at:,} has a part of no track", moof.at)
        fields = Fields(self._data, header)
        flags, ident = fields.flags, fields.one("I")
        base = moof.at if flags & 0x20000 else end_of_data
        if flags & 0x1:
            base = fields.one("Q")
        if flags & 0x2:
            fields.one("I")
        common = self._defaults.get(ident)
        if common is None:
            raise BrokenError(f"the fragment at byte {moof.at:,} is of a track that is not there", moof.at)
        duration = fields.one("I") if flags & 0x8 else common.duration
        size = fields.one("I") if flags & 0x10 else common.size
        part = Part(len(self.places) - 1, None)
        at = base
        for child in parts:
            if child.kind == b"tfdt":
                part.start = Fields(self._data, child).wide()
            elif child.kind == b"trun":
                at = self._run(child, ident, part, Defaults(duration, size), base, at)
        self.parts.setdefault(ident, []).append(part)
        return at

    def _run(self, trun: Box, ident: int, part: Part, common: Defaults, base: int, at: int) -> int:
        """One run of samples; returns the byte after its data."""
        fields = Fields(self._data, trun)
        flags, count = fields.flags, fields.one("I")
        if flags & 0x1:
            at = base + fields.one("i")
        if flags & 0x4:
            fields.one("I")
        present = [flag for flag in (0x100, 0x200, 0x400, 0x800) if flags & flag]
        fields.rows(count, 4 * len(present))
        if len(self.samples) + count > _MOST_SAMPLES:
            raise BrokenError(f"more than {_MOST_SAMPLES:,} samples in fragments", trun.at)
        width = len(present)
        values = fields.take(f"{count * width}I")
        columns = {flag: values[place::width] for place, flag in enumerate(present)}
        durations = columns.get(0x100) or (common.duration,) * count
        sizes = columns.get(0x200) or (common.size,) * count
        shifts = columns.get(0x800) or (0,) * count
        ends = list(accumulate(sizes, initial=at))
        self.extents.append((at, ends[-1]))
        self.samples += ((ident, start, end) for start, end in pairwise(ends))
        starts = accumulate(durations, initial=part.ticks)
        part.times += (
            start + (shift - 2**32 if shift >= 2**31 else shift) for start, shift in zip(starts, shifts, strict=False)
        )
        part.ticks += sum(durations)
        if ends[-1] > len(self._data):
            raise cut_off(ends[-1] - len(self._data), trun.at)
        if at < 0:
            raise BrokenError(f"the samples of the fragment's part at byte {trun.at:,} lie before the file", trun.at)
        return ends[-1]

    def lost(self, scales: dict[int, int]) -> Iterator[tuple[int, Damage]]:
        """Fragments that are missing, twice there or out of order.

        Args:
            scales: ticks a second of each track of picture or sound.

        Yields:
            The byte at which it shows and what to say; the seconds are those of the longest hole in a track there.
        """
        holes = {ident: self._holes(ident, scale) for ident, scale in scales.items() if ident in self.parts}
        steps = [after - before for before, after in pairwise(self.numbers)]
        if sum(step in (0, 1) for step in steps) * 2 < len(steps):  # this writer numbers them otherwise
            for pause in intersection([[hole for _, hole in found] for found in holes.values()]):
                yield self.places[0], nothing_during(pause)
            return
        for place, step in enumerate(steps, 1):
            if step not in (0, 1):
                there = [hole.end_s - hole.start_s for found in holes.values() for at, hole in found if at == place]
                message = f"fragment {self.numbers[place]} follows fragment {self.numbers[place - 1]}"
                yield self.places[place], Damage(message, 0, round(max(there, default=0.0), 3))
        if self.numbers[0] > 1 and all(self.parts[ident][0].start for ident in holes):
            yield self.places[0], Damage(f"the first fragment is number {self.numbers[0]}")

    def _holes(self, ident: int, scale: int) -> list[tuple[int, Pause]]:
        """Each hole in a track's decoding times, and the place of the fragment after it."""
        found = []
        for before, after in pairwise(self.parts[ident]):
            if scale and before.start is not None and after.start is not None:
                hole = Pause((before.start + before.ticks) / scale, after.start / scale)
                if hole.end_s - hole.start_s > _LEAST_HOLE_S:
                    found.append((after.fragment, hole))
        return found

    def overlaps(self, scales: dict[int, int]) -> Iterator[int]:
        """The bytes of fragments that begin before the one before of the same track ends, by more than rounding."""
        for ident, scale in scales.items():
            for before, after in pairwise(self.parts.get(ident, ())):
                if before.start is not None and after.start is not None and scale:
                    back = before.start + before.ticks - after.start
                    if back / scale > max(_LEAST_OVERLAP_S, 2 * before.ticks / max(1, len(before.times)) / scale):
                        yield self.places[after.fragment]
