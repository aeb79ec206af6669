"""What happens in a clip: the subjects, when each of them sounds, and where; chosen from prompt and categories."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from javisbench.baselines.procedural.kinds import BYSTANDER, KINDS, Kind, kinds_in, kinds_of
from javisbench.taxonomy import ASPECTS

if TYPE_CHECKING:
    import numpy as np

    from javisbench.baselines.procedural.painting import Color, Style

MAX_SUBJECTS = 3
AFTER_FRAME = 0.12
"""Where events fall between two frames, as a share of a frame's duration."""

COLORS: tuple[Color, ...] = (
    (0.86, 0.27, 0.22),
    (0.18, 0.47, 0.78),
    (0.93, 0.66, 0.16),
    (0.30, 0.62, 0.36),
    (0.58, 0.36, 0.70),
    (0.90, 0.45, 0.18),
    (0.20, 0.62, 0.66),
    (0.80, 0.62, 0.42),
)

_SCENARIO_WORDS = {
    "natural_scenario": "forest river mountain meadow field lake beach sea ocean wild garden park storm valley desert "
    "jungle hill waterfall tree cave snow",
    "urban_scenario": "street city traffic crosswalk sidewalk station market town square bus subway downtown road",
    "living_scenario": "kitchen room home bedroom living house bathroom sofa garden classroom table desk studio stage",
    "industrial_scenario": "factory workshop warehouse construction machine forge mill plant shipyard garage foundry",
    "virtual_scenario": "game space planet alien fantasy magic portal neon pixel castle dragon robot galaxy virtual",
}


@dataclass(frozen=True)
class Subject:
    """Somebody or something in a clip.

    Attributes:
        kind: what it is.
        number: 1, 2, 3: which of several of its kind.
        look: 0, 1, 2: skin, hair and the like.
        color: of its body.
        pitch: factor on the pitch of its sounds.
        hits_s: times of its events in seconds, ascending.
        on_screen: whether the picture shows it.
    """

    kind: Kind
    number: int
    look: int
    color: Color
    pitch: float
    hits_s: tuple[float, ...]
    on_screen: bool

    @property
    def name(self) -> str:
        """``dog 1``, ``dog 2``."""
        return f"{self.kind.name} {self.number}"


@dataclass(frozen=True)
class Script:
    """Everything that is decided before drawing and synthesis."""

    scenario: str
    style: Style
    subjects: tuple[Subject, ...]

    def events(self, duration_s: float) -> list[dict[str, Any]]:
        """True events in order of time, for the sidecar: time (s), kind, subject, on screen or not."""
        events = [
            {
                "time_s": round(hit, 6),
                "kind": subject.kind.event,
                "subject": subject.name,
                "on_screen": subject.on_screen,
            }
            for subject in self.subjects
            if subject.kind is not BYSTANDER
            for hit in subject.hits_s
            if hit < duration_s
        ]
        return sorted(events, key=lambda event: (cast("float", event["time_s"]), cast("str", event["subject"])))


def write_script(
    rng: np.random.Generator, text: str, categories: Mapping[str, Sequence[str]], duration_s: float, fps: float
) -> Script:
    """Choose place, style, subjects and event times.

    Args:
        rng: source of every choice.
        text: the prompt; its words choose kinds, and place and style where no category does.
        categories: aspect id to category ids, possibly empty.
        duration_s: length of the clip in seconds.
        fps: its frames per second.
    """
    scenario = _choice(rng, categories.get("event_scenario", ()), "event_scenario", _scenario_of(rng, text))
    style = _choice(rng, categories.get("visual_style", ()), "visual_style", _style_of(text))
    temporal = _choice(rng, categories.get("temporal_composition", ()), "temporal_composition", _temporal_of(text))
    spatial = categories.get("spatial_composition", ())
    off_screen, several = "off_screen_sound" in spatial, "multiple_subjects" in spatial
    wanted = 1 + several + (off_screen and (several or temporal != "single_event"))
    if not spatial and temporal != "single_event":
        wanted = min(2, len(kinds_in(text)) or 1)
    kinds = _cast(rng, text, categories.get("sound_type", ()), wanted)
    if off_screen:
        # The last one is not shown; of several, a voice is the likeliest to come from elsewhere.
        kinds.sort(key=lambda kind: kind.sound_type == "speech_sounds")
    times = _times(rng, kinds, temporal, duration_s, fps)
    colors = rng.permutation(len(COLORS))
    first_look = int(rng.integers(3))
    numbers: dict[str, int] = {}
    subjects: list[Subject] = []
    for place, (kind, hits) in enumerate(zip(kinds, times, strict=True)):
        number = numbers[kind.name] = numbers.get(kind.name, 0) + 1
        hidden = off_screen and place == len(kinds) - 1
        palette = kind.colors or COLORS
        color = palette[int(colors[place]) % len(palette)]
        pitch = float(rng.uniform(0.88, 1.12)) * (1.0, 1.4, 0.75)[(number - 1) % 3]
        subjects.append(Subject(kind, number, (first_look + place) % 3, color, pitch, hits, not hidden))
    if off_screen and len(subjects) == 1:
        subjects.append(Subject(BYSTANDER, 1, first_look, COLORS[colors[-1]], 1.0, subjects[0].hits_s, True))
    return Script(scenario, cast("Style", style), tuple(subjects))


def _choice(rng: np.random.Generator, given: Sequence[str], aspect: str, otherwise: str) -> str:
    known = [category for category in given if category in ASPECTS[aspect].category_ids]
    return known[int(rng.integers(len(known)))] if known else otherwise


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", text.lower()))


def _scenario_of(rng: np.random.Generator, text: str) -> str:
    words = _words(text)
    counts = {name: len(words & set(listed.split())) for name, listed in _SCENARIO_WORDS.items()}
    best = [name for name, count in counts.items() if count == max(counts.values())]
    return best[int(rng.integers(len(best)))]


def _style_of(text: str) -> str:
    words = _words(text)
    if words & {"cartoon", "2d", "anime", "drawn", "drawing", "illustrated", "flat"}:
        return "2d_animate"
    return "3d_animate" if words & {"3d", "cgi", "rendered", "animated", "animation"} else "camera_shooting"


def _temporal_of(text: str) -> str:
    words = _words(text)
    if words & {"then", "after", "before", "followed", "next", "finally"}:
        return "sequential_events"
    return "simultaneous_events"


def _cast(rng: np.random.Generator, text: str, sound_types: Sequence[str], wanted: int) -> list[Kind]:
    """As many kinds as are wanted: those that the text names, then any of the sound types, then the first again."""
    named = list(kinds_in(text))
    # Where categories say what is heard, other words are about who and where: "a man walks" does not speak.
    kinds = [kind for kind in named if kind.sound_type in sound_types] or named
    for sound_type in sound_types:
        fitting = [kind for kind in kinds_of(sound_type) if kind not in kinds]
        if fitting and not any(kind.sound_type == sound_type for kind in kinds):
            kinds.append(fitting[int(rng.integers(len(fitting)))])
    if not kinds:
        everything = list(KINDS.values())
        kinds.append(everything[int(rng.integers(len(everything)))])
    while len(kinds) < wanted:
        kinds.append(kinds[0])
    return kinds[: min(wanted, MAX_SUBJECTS)]


def _times(
    rng: np.random.Generator, kinds: Sequence[Kind], temporal: str, duration_s: float, fps: float
) -> list[tuple[float, ...]]:
    """Event times of each subject."""
    first = min(0.35, 0.12 * duration_s)
    last = max(first, duration_s - min(0.45, 0.15 * duration_s))
    if temporal == "simultaneous_events":
        slowest = max(kinds, key=lambda kind: kind.gap_s[0])
        common = _row(rng, slowest, first, last, 99, fps)
        return [common for _ in kinds]
    if temporal == "single_event":
        start = first + float(rng.uniform(0.2, 0.5)) * (last - first) / 2
        common = _row(rng, kinds[0], start, last, kinds[0].phrase, fps)
        return [common for _ in kinds]
    turns = list(kinds) if len(kinds) > 1 else [kinds[0]] * 2
    slot = (last - first) / len(turns)
    rows = [
        _row(rng, kind, first + slot * turn, first + slot * (turn + 0.8), max(2, kind.phrase), fps)
        for turn, kind in enumerate(turns)
    ]
    return rows if len(kinds) > 1 else [tuple(time for row in rows for time in row)]


def _row(rng: np.random.Generator, kind: Kind, start: float, end: float, most: int, fps: float) -> tuple[float, ...]:
    """Times from `start` to `end` at the kind's own pace, `most` at the most and one at the least.

    They lie just after a frame, so that the next frame shows the whole of what they set in motion.
    """
    gap = float(rng.uniform(*kind.gap_s))
    time = start + float(rng.uniform(0, 0.2)) * max(0.0, min(gap, end - start))
    times = [time]
    while len(times) < most and (time := time + gap * float(rng.uniform(0.75, 1.35))) < end:
        times.append(time)
    return tuple((math.floor(time * fps) + AFTER_FRAME) / fps for time in times)
