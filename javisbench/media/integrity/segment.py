"""What a Matroska segment holds: its tracks with their blocks' times, its clusters, indexes and tags."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from javisbench.media.integrity.gaps import usual_step
from javisbench.media.integrity.payload import Coding

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VIDEO, AUDIO = 1, 2
_TAG_OF_WRITER = "_STATISTICS_WRITING_APP"


@dataclass
class Track:
    """A track's entry, and what its blocks say.

    Attributes:
        number: by which blocks name it.
        uid: by which tags name it.
        kind: `VIDEO`, `AUDIO` or another.
        default_ns: nanoseconds of a frame by its header, 0 where it does not say.
        coding: what can be checked of its blocks.
        times: ticks of each block, in the order of the file.
        durations: ticks of the blocks that say it, by their time.
        frames: how many there are in all blocks.
        last_frames: how many there are in the last block.
        hidden: pictures that are never shown.
        may_hide: whether the codec has such.
    """

    number: int = 0
    uid: int = 0
    kind: int = 0
    default_ns: int = 0
    coding: Coding = field(default_factory=Coding)
    times: list[int] = field(default_factory=list)
    durations: dict[int, int] = field(default_factory=dict)
    frames: int = 0
    last_frames: int = 1
    hidden: int = 0
    may_hide: bool = False


@dataclass
class Cluster:
    """A cluster: its bytes, its ticks, and what it says of itself and of the one before it."""

    at: int
    end: int
    time: int | None = None
    previous_size: int | None = None
    position: int | None = None


@dataclass
class Cue:
    """What an entry of Cues points at: ticks, track, position of the cluster."""

    time: int
    track: int
    cluster: int


@dataclass
class Segment:
    """What the walk through a segment gathered.

    Attributes:
        start: byte of the segment's content, from which its indexes count.
        known_size: whether it says where it ends.
        scale_ns: nanoseconds a tick.
        duration: ticks, None where it does not say.
        writer: the program that wrote it.
        tracks: by number.
        clusters: in order.
        masters: ID of each other element of the segment, by its byte.
        seeks: ID and position of what SeekHead points at.
        cues: what Cues point at.
        tags: track's UID (0: of the whole) and texts by name.
    """

    start: int = 0
    known_size: bool = True
    scale_ns: int = 1_000_000
    duration: float | None = None
    writer: str = ""
    tracks: dict[int, Track] = field(default_factory=dict)
    clusters: list[Cluster] = field(default_factory=list)
    masters: dict[int, int] = field(default_factory=dict)
    seeks: list[tuple[int, int]] = field(default_factory=list)
    cues: list[Cue] = field(default_factory=list)
    tags: list[tuple[int, dict[str, str]]] = field(default_factory=list)

    def seconds(self, ticks: float) -> float:
        """Ticks in seconds."""
        return ticks * self.scale_ns * 1e-9

    def main(self, kind: int) -> Track | None:
        """The only track of a kind; None with none or several."""
        found = [track for track in self.tracks.values() if track.kind == kind]
        return found[0] if len(found) == 1 else None

    def step_s(self, track: Track) -> float:
        """Seconds from one block of a track to the next, mostly."""
        usual = usual_step(self.times_s(track))
        return usual or track.default_ns * 1e-9

    def times_s(self, track: Track) -> NDArray[np.float64]:
        """Seconds at which a track's blocks start, ascending."""
        import numpy as np

        return np.sort(np.array(track.times, np.float64)) * (self.scale_ns * 1e-9)

    def length_s(self, track: Track) -> float | None:
        """Seconds from a track's first block to its end, None without blocks."""
        if not track.times:
            return None
        return self.end_s(track) - self.seconds(min(track.times))

    def end_s(self, track: Track) -> float:
        """Where a track with blocks ends: its last block, and as long as that lasts."""
        last = max(track.times)
        duration = track.durations.get(last)
        return self.seconds(last) + (
            self.frame_s(track) * track.last_frames if duration is None else self.seconds(duration)
        )

    def frame_s(self, track: Track) -> float:
        """Seconds of one frame, of which a block may have several."""
        before = track.frames - track.last_frames
        if before == len(track.times) - 1:
            return self.step_s(track)
        return self.seconds(max(track.times) - min(track.times)) / before if before > 0 else 0.0

    def counted(self, track: Track) -> int | None:
        """The number of frames by the statistics tags, if they were written with this file."""
        for uid, values in self.tags:
            count = values.get("NUMBER_OF_FRAMES", "")
            if uid == track.uid and self.is_current(values) and count.isascii() and count.isdigit() and len(count) < 10:
                return int(count)
        return None

    def is_current(self, statistics: dict[str, str]) -> bool:
        """Whether tags come from the program that wrote the file."""
        return statistics.get(_TAG_OF_WRITER) == self.writer
