"""What a Matroska segment promises, and where it contradicts itself though nothing in it is broken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from javisbench.clip import Damage
from javisbench.media.integrity import ebml
from javisbench.media.integrity.gaps import common_pauses, displaced, nothing_during, usual_step
from javisbench.media.integrity.payload import IN_ORDER, ONE_PICTURE_A_PAYLOAD
from javisbench.media.integrity.report import MOST_SAID, OPEN_END, Promised
from javisbench.media.integrity.segment import AUDIO, VIDEO, Segment, Track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LEAST_LOSS_S = 0.05
# Both are written by the same program from the same times: they differ by rounding.
_CLOCKS_DIFFER_S, _CLOCKS_DIFFER = 0.02, 0.002
_USUAL_SCALES_NS = 1000
_CLOCK = re.compile(r"(\d{1,6}):(\d\d):(\d\d(?:\.\d{1,9})?)", re.ASCII)


def promised(segment: Segment) -> Promised:
    """What a segment declares and holds."""
    video, audio = segment.main(VIDEO), segment.main(AUDIO)
    frames = None
    if video is not None and video.coding.codec in ONE_PICTURE_A_PAYLOAD:
        frames = max(video.frames - video.hidden, segment.counted(video) or 0)
    return Promised(
        frames=frames,
        picture_s=None if video is None else segment.length_s(video),
        sound_s=None if audio is None else segment.length_s(audio),
        duration_s=None if segment.duration is None else segment.seconds(segment.duration),
        fps=1e9 / video.default_ns if video is not None and video.default_ns else None,
        frame_s=0.0 if video is None else segment.step_s(video),
        packet_s=0.0 if audio is None else segment.frame_s(audio),
    )


def doubts(segment: Segment) -> list[Damage]:
    """What lacks in a segment that holds together, by whatever in it points elsewhere or counts."""
    misplaced = _misplaced(segment)
    found = misplaced + _wrong_neighbours(segment) + _wrong_order(segment) + _other_clock(segment)
    if not segment.known_size and (misplaced or not _closed(segment)):
        found += _late_start(segment) + _pauses(segment) + _early_end(segment)
        if segment.duration is None and not found:
            found.append(OPEN_END)
    if segment.tracks and not any(track.times for track in segment.tracks.values()):
        found.append(Damage("the tracks hold not one block"))
    return found


def _other_clock(segment: Segment) -> list[Damage]:
    """Durations are written in ticks, and in tags as a time of the clock."""
    for says, holds in _durations_by_tags(segment):
        if says and abs(says - holds) > _CLOCKS_DIFFER_S + _CLOCKS_DIFFER * says:
            return [Damage(f"a duration of {holds:.2f} s is {says:.2f} s by the tags")]
    if segment.main(VIDEO) is not None and segment.scale_ns % _USUAL_SCALES_NS:
        return [
            Damage(f"times are counted in steps of {segment.scale_ns:,} ns, as no common program does beside video")
        ]
    return []


def _durations_by_tags(segment: Segment) -> Iterator[tuple[float, float]]:
    """Seconds by tags that were written with this file, and what they are of by ticks."""
    tagged = [(uid, values, _clock_s(values.get("DURATION", ""))) for uid, values in segment.tags]
    if segment.writer.startswith("Lavf") and segment.duration is not None:
        yield max((seconds for _, _, seconds in tagged), default=0.0), segment.seconds(segment.duration)
    tracks = {track.uid: track for track in segment.tracks.values() if track.kind in (VIDEO, AUDIO)}
    for uid, values, seconds in tagged:
        length = segment.length_s(tracks[uid]) if uid in tracks else None
        if length is not None and segment.is_current(values) and segment.known_size:
            yield seconds, length


def _closed(segment: Segment) -> bool:
    """Whether the file has what its writer added at the end, where SeekHead says."""
    last = segment.clusters[-1].at if segment.clusters else 0
    return any(position + segment.start > last for _, position in segment.seeks)


def _misplaced(segment: Segment) -> list[Damage]:
    """What SeekHead and Cues point at and is not there."""
    found, clusters = [], {cluster.at for cluster in segment.clusters}
    for ident, position in segment.seeks:
        at = segment.start + position
        there = at in clusters if ident == ebml.CLUSTER else segment.masters.get(at) == ident
        if ident in ebml.MASTERS and not there:
            found.append(Damage(f"there is no {ebml.MASTERS[ident]} at byte {at:,}, where SeekHead has one"))
    absent = sum(segment.start + cue.cluster not in clusters for cue in segment.cues)
    if absent:
        found.append(Damage(f"{absent} of {len(segment.cues)} Cues point at no cluster"))
    missing = _unknown_times(segment)
    if missing:
        found.append(Damage(f"{len(missing)} blocks that Cues name are not there, the first at {missing[0]:.2f} s"))
    return found[:MOST_SAID]


def _unknown_times(segment: Segment) -> list[float]:
    """Seconds at which Cues have a block and the track has none, give or take a tick: some writers round twice."""
    named = {cue.track for cue in segment.cues}
    times = {number: set(track.times) for number, track in segment.tracks.items() if number in named}
    return [
        segment.seconds(cue.time)
        for cue in segment.cues
        if cue.track in times and times[cue.track].isdisjoint((cue.time, cue.time - 1, cue.time + 1))
    ]


def _wrong_neighbours(segment: Segment) -> list[Damage]:
    found = []
    for before, cluster in pairwise(segment.clusters):
        if cluster.previous_size is not None and cluster.previous_size != before.end - before.at:
            found.append(Damage(f"the cluster at byte {cluster.at:,} does not follow the one that it says"))
    for cluster in segment.clusters:
        if cluster.position and cluster.position != cluster.at - segment.start:
            found.append(Damage(f"the cluster at byte {cluster.at:,} says that it stands elsewhere"))
    return found[:MOST_SAID]


def _wrong_order(segment: Segment) -> list[Damage]:
    """Clusters and blocks that go back in time, or come twice."""
    found = []
    times = [cluster.time for cluster in segment.clusters if cluster.time is not None]
    back = [time for before, time in pairwise(times) if time < before]
    if back:
        found.append(Damage(f"clusters are not in order; one goes back to {segment.seconds(back[0]):.2f} s"))
    for track in segment.tracks.values():
        if track.kind in (VIDEO, AUDIO):
            found += _track_order(segment, track)
    return found[:MOST_SAID]


def _track_order(segment: Segment, track: Track) -> list[Damage]:
    what = "pictures" if track.kind == VIDEO else "pieces of sound"
    stored = track.times
    in_order = track.kind == AUDIO or track.coding.codec in IN_ORDER
    if in_order and track.coding.codec != "vp8":
        back = [time for before, time in pairwise(stored) if time < before]
        if back:
            return [Damage(f"{what} are not in order; one goes back to {segment.seconds(back[0]):.2f} s")]
    far = displaced(stored) if track.kind == VIDEO and not in_order else 0
    if far:
        return [Damage(f"{far} {what} stand where their times do not belong")]
    twice = len(stored) - len(set(stored))
    if twice and track.kind == VIDEO and track.coding.codec not in ("vp8", "vp9", "unknown"):
        return [Damage(f"{twice} {what} of the same time as another")]
    return []


def _media_times(segment: Segment) -> list[NDArray[np.float64]]:
    return [segment.times_s(track) for track in segment.tracks.values() if track.kind in (VIDEO, AUDIO)]


def _pauses(segment: Segment) -> list[Damage]:
    """Pauses of all tracks at once, where one cluster ends and another begins."""
    starts = [segment.seconds(cluster.time) for cluster in segment.clusters if cluster.time is not None]
    video = segment.main(VIDEO)
    step = segment.step_s(video) if video is not None else 0.0
    found = []
    for pause in common_pauses(_media_times(segment)):
        if any(pause.start_s - 0.001 <= start <= pause.end_s + 0.1 for start in starts):
            found.append(nothing_during(pause, step))
    return found[:MOST_SAID]


def _late_start(segment: Segment) -> list[Damage]:
    """A first cluster that begins later than any track's step, where clusters may be missing."""
    tracks = [times for times in _media_times(segment) if times.size]
    start = min((float(times[0]) for times in tracks), default=0.0)
    if start <= max(_LEAST_LOSS_S, *(2 * usual_step(times) for times in tracks), 0.0):
        return []
    return [Damage(f"the file begins at {start:.2f} s", 0, round(start, 3))]


def _early_end(segment: Segment) -> list[Damage]:
    """The header's duration, in a file whose end nothing else shows."""
    if segment.duration is None:
        return []
    ends = [segment.end_s(track) for track in segment.tracks.values() if track.times]
    declared, end = segment.seconds(segment.duration), max(ends, default=0.0)
    video = segment.main(VIDEO)
    step = segment.step_s(video) if video is not None else 0.0
    if declared - end <= max(_LEAST_LOSS_S, step):
        return []
    lost = declared - end
    frames = round(lost / step) if step else 0
    return [Damage(f"the file ends at {end:.2f} of {declared:.2f} s", frames, round(lost, 3))]


def _clock_s(written: str) -> float:
    """Seconds of ``HH:MM:SS.fraction``, 0 for anything else."""
    match = _CLOCK.fullmatch(written)
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else 0.0
