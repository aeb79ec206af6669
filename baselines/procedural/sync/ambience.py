"""Families without a common moment: rain, still pictures with any sound, and music over cuts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from javisbench.baselines.procedural import sounds
from javisbench.baselines.procedural.painting import Painter
from javisbench.baselines.procedural.sync.bystanders import elsewhere, movers, seen_of
from javisbench.baselines.procedural.sync.mixing import Track, in_a_place, scene_samples, scene_times_s
from javisbench.baselines.procedural.sync.motion import wander
from javisbench.baselines.procedural.sync.mouths import speech, spoken
from javisbench.baselines.procedural.sync.picture import Stage
from javisbench.baselines.procedural.sync.scene import MARGIN_S, Event, Scene, Setting, events_in
from javisbench.baselines.procedural.sync.struck import striker
from javisbench.baselines.procedural.sync.timing import apart, irregular, shift_off_ends

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.baselines.procedural.sync.scene import Signal, Times

# Rain


def _gusts(setting: Setting, times: Times) -> Times:
    """How hard it rains at each of `times`, 0.3 to 1: slow swells that picture and sound share."""
    rng = setting.random("gusts")
    share = rng.uniform(0.1, 0.35)
    swell: Times = 1 - share + share * wander(rng, times, rng.uniform(2.5, 6))
    return swell


def rain(setting: Setting) -> Scene:
    """Many small drops and their noise; no drop stands out, and only slow swells are common to both."""
    outside = ("natural_scenario", "urban_scenario")[int(setting.random("outside").integers(2))]
    setting = replace(setting, scenario=setting.scenario or outside)
    background, other = movers(setting), elsewhere(setting, np.zeros(0), never="drip")

    def sound() -> Signal:
        rng, track = setting.random("sound"), Track(setting)
        rate, count = setting.sample_rate, scene_samples(setting)
        hard = _gusts(setting, scene_times_s(setting))
        hiss = sounds.band(rng, rate, count, rng.uniform(600, 1500), min(rng.uniform(5000, 9000), 0.45 * rate))
        ticks = (rng.uniform(size=count) < rng.uniform(80, 400) / rate) * rng.uniform(0.2, 1, count)
        ring = np.exp(-np.arange(round(0.004 * rate) + 1) / (0.0007 * rate))
        track.signal += hard**1.5 * (0.12 * hiss + rng.uniform(0.05, 0.3) * np.convolve(ticks, ring)[:count])
        return in_a_place(setting, [track, other.track(setting)])

    def picture() -> NDArray[np.uint8]:
        rng, stage, times = setting.random("drops"), Stage(setting), setting.frame_times_s
        drops = Drops.falling(rng, setting)
        hard = _gusts(setting, times)

        def frame(p: Painter, number: int) -> None:
            for mover in background:
                mover.draw(stage, p, number)
            drops.draw(p.canvas, float(times[number]), float(hard[number]))

        return stage.film(frame)

    return Scene(
        events=(),
        seen_only=seen_of(background),
        heard_only=other.heard(setting),
        expected="weak",
        facts={"thing": "rain"},
        picture=picture,
        sound=sound,
    )


@dataclass(frozen=True)
class Drops:
    """Rain drops that fall all the time, each from top to bottom and again.

    Attributes:
        x: pixels from the left where each starts.
        phase: of its fall, 0 to 1.
        falls_s: seconds that a fall takes.
        ground: where it lands, in pixels from the top.
        slant: pixels sideways per pixel downwards.
        length: of a streak, pixels.
        width: of the canvas, pixels.
        light: of a streak, 0 to 255.
    """

    x: Times
    phase: Times
    falls_s: Times
    ground: Times
    slant: float
    length: float
    width: float
    light: int

    @classmethod
    def falling(cls, rng: np.random.Generator, setting: Setting) -> Drops:
        """60 to 220 of them: few in a drizzle, many in a downpour."""
        least, most = 60, 220
        if setting.words & {"drizzle", "light"}:
            most = 110
        elif setting.words & {"heavy", "downpour"}:
            least = 160
        count, scale = int(rng.integers(least, most + 1)), setting.height / 144
        return cls(
            rng.uniform(-0.1, 1.1, count) * setting.width,
            rng.uniform(size=count),
            rng.uniform(0.22, 0.45) * rng.uniform(0.9, 1.2, count),
            setting.height * rng.uniform(0.68, 1.1, count),
            float(rng.uniform(-0.25, 0.25)),
            rng.uniform(6, 14) * scale,
            float(setting.width),
            int(rng.integers(150, 215)),
        )

    def draw(self, canvas: NDArray[np.uint8], time: float, hard: float) -> None:
        """As many as the rain is `hard`, with the rings of those that have just landed."""
        kept = slice(0, int(self.x.size * hard))
        turns = (time / self.falls_s + self.phase)[kept]
        fallen = turns % 1
        # A drop falls somewhere else each time.
        start = (self.x[kept] + 0.618 * self.width * np.floor(turns)) % (1.2 * self.width) - 0.1 * self.width
        down = fallen * (self.ground[kept] + self.length)
        tail = np.maximum(0, down - self.length)
        tip = np.minimum(down, self.ground[kept])
        lines = np.stack([start + self.slant * tail, tail, start + self.slant * tip, tip], 1)
        fixed = np.round(lines.reshape(-1, 2, 2) * 16).astype(np.int32)
        over = canvas.copy()
        light = (self.light, self.light, min(255, self.light + 15))
        cv2.polylines(over, list(fixed), False, light, 1, cv2.LINE_AA, 4)
        landed = np.flatnonzero(fallen < 0.3)
        before = (self.x[kept] + 0.618 * self.width * (np.floor(turns) - 1)) % (1.2 * self.width) - 0.1 * self.width
        for drop in landed:
            middle = (before[drop] + self.slant * self.ground[drop], self.ground[drop])
            size = 1 + 0.5 * self.length * fallen[drop]
            cv2.ellipse(over, (round(middle[0] * 16), round(middle[1] * 16)), (round(size * 16), round(size * 5)), 0, 0,
                        360, light, 1, cv2.LINE_AA, 4)  # fmt: skip
        cv2.addWeighted(over, 0.65, canvas, 0.35, 0, canvas)


# Still pictures


def still_picture(setting: Setting) -> Scene:
    """A picture in which nothing moves, with any sound: whatever is heard, nothing is seen to make it."""
    rng = setting.random("times")
    kind, making = setting.pick(rng, _STILL_SOUNDS)
    heard, tracks = making(setting)

    def picture() -> NDArray[np.uint8]:
        looks, stage = setting.random("looks"), Stage(setting)
        background = movers(setting, int(looks.integers(1, 5)), "still things")
        thing, x = striker(setting, "still thing").drawing(setting), looks.uniform(0.3, 0.7) * setting.width
        shown, unit = bool(looks.uniform() < 0.7), looks.uniform(0.4, 0.7) * setting.height
        held = int(looks.integers(setting.frames))

        def frame(p: Painter, _: int) -> None:
            for mover in background:
                mover.draw(stage, p, held)
            if shown:
                stage.place(p, x, unit)
                thing(p, held)

        return stage.still(frame)

    return Scene(
        events=(),
        seen_only=(),
        heard_only=heard,
        expected="none",
        facts={"thing": "picture", "heard": kind},
        picture=picture,
        sound=lambda: in_a_place(setting, tracks()),
    )


Heard = tuple[tuple[Event, ...], Callable[[], list[Track]]]


def _still_strokes(setting: Setting) -> Heard:
    source = striker(setting)
    return events_in(setting, source.hits, source.name), lambda: [source.track(setting)]


def _still_speech(setting: Setting) -> Heard:
    talk = speech(setting, setting.random("speech"))
    return events_in(setting, talk.onsets, "syllable"), lambda: [spoken(setting, talk)]


def _still_music(setting: Setting) -> Heard:
    music = Music.composed(setting)
    return events_in(setting, music.beats, "beat"), lambda: [music.track(setting)]


def _still_wind(setting: Setting) -> Heard:
    def tracks() -> list[Track]:
        rng, track = setting.random("sound"), Track(setting)
        low = rng.uniform(80, 400)
        noise = sounds.band(rng, setting.sample_rate, track.signal.size, low, 4 * low)
        track.signal += 0.3 * _gusts(setting, scene_times_s(setting)) ** 2 * noise
        return [track]

    return (), tracks


_STILL_SOUNDS: Mapping[str, Callable[[Setting], Heard]] = {
    "knock": _still_strokes,
    "speech": _still_speech,
    "music": _still_music,
    "wind": _still_wind,
}

# Music over cuts


@dataclass(frozen=True)
class Music:
    """Beats at a steady tempo over the whole scene."""

    beats: Times
    beat_s: float

    @classmethod
    def composed(cls, setting: Setting) -> Music:
        """84 to 150 beats a minute."""
        rng = setting.random("tempo")
        beat_s = 60 / rng.uniform(84, 150)
        beats = np.arange(-MARGIN_S + rng.uniform(0, beat_s), setting.duration_s + MARGIN_S, beat_s)
        return cls(beats + shift_off_ends(setting, beats), beat_s)

    def track(self, setting: Setting) -> Track:
        """Drums, a bass and a melody."""
        rng, track, rate = setting.random("music"), Track(setting), setting.sample_rate
        drums, tune = rng.uniform(0.4, 1.0), rng.uniform(0.3, 0.7)
        key, sparse = rng.uniform(0.6, 1.4), rng.uniform(0.4, 0.9)
        for number, beat in enumerate(self.beats):
            strong = number % 2 == 0
            kick = sounds.bounce(rng, rate, 0.3, 0.8) if strong else sounds.drum(rng, rate, 0.4, 1.2)
            track.add(float(beat), kick, drums * (1.0 if strong else 0.7))
            bass = sounds.note(rng, rate, 0.9, 0.25 * key)
            track.add(float(beat), bass[: round(1.5 * self.beat_s * rate)], 0.6 * tune)
            for half in (0.0, 0.5):
                if rng.uniform() < sparse:
                    track.add(float(beat) + half * self.beat_s, sounds.note(rng, rate, 0.9, key), tune)
                hat = sounds.clap(rng, rate, 0.1, 2.5)
                track.add(float(beat) + half * self.beat_s, hat, 0.12 * drums)
        return track


def music_over_cuts(setting: Setting) -> Scene:
    """Shot follows shot while music plays; the cuts lie on its beats or between them."""
    rng = setting.random("times")
    music = Music.composed(setting)
    on_beat = bool(rng.uniform() < 0.5)
    cuts = irregular(setting, rng, 0.6, 2.0)
    if on_beat:
        nearest = music.beats[np.abs(cuts[:, None] - music.beats[None]).argmin(axis=1)]
        cuts = np.unique(nearest)
    else:
        cuts = apart(cuts, music.beats, min(0.12, music.beat_s / 4))
    inside = cuts[(cuts > 0) & (cuts < setting.duration_s)]

    def picture() -> NDArray[np.uint8]:
        times = setting.frame_times_s
        shot_of = np.searchsorted(inside, times, side="right")
        frames = np.empty((setting.frames, setting.height, setting.width, 3), dtype=np.uint8)
        for shot in range(inside.size + 1):
            chosen = shot_of == shot
            if chosen.any():
                frames[chosen] = _shot(setting, shot, np.flatnonzero(chosen))
        return frames

    at_cuts, beats = events_in(setting, inside, "cut"), events_in(setting, music.beats, "beat")
    unseen = tuple(beat for beat in beats if not on_beat or not np.isclose(inside, beat.time_s).any())
    return Scene(
        events=at_cuts if on_beat else (),
        seen_only=() if on_beat else at_cuts,
        heard_only=unseen,
        expected="weak" if on_beat else "none",
        facts={"thing": "music", "cuts_on_beats": on_beat},
        picture=picture,
        sound=lambda: in_a_place(setting, [music.track(setting)]),
    )


def _shot(setting: Setting, shot: int, numbers: NDArray[np.intp]) -> NDArray[np.uint8]:
    """The frames of one shot: a place of its own, with what moves there."""
    looks, stage = setting.random(f"shot {shot}"), Stage(setting, purpose=f"shot {shot}")
    background = movers(setting, int(looks.integers(0, 4)), f"movers {shot}")

    def frame(p: Painter, number: int) -> None:
        for mover in background:
            mover.draw(stage, p, number)

    return stage.film(frame, numbers=numbers)
