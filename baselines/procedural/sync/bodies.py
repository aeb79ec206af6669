"""Families of bodies that move: bouncing balls, walking people, a hand that scrubs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from javisbench.baselines.procedural import sounds
from javisbench.baselines.procedural.actors import DARK, STEEL, WHITE, WOOD
from javisbench.baselines.procedural.painting import Color, Painter, mixed
from javisbench.baselines.procedural.sync.bystanders import Mover, elsewhere, movers, seen_of
from javisbench.baselines.procedural.sync.mixing import Track, in_a_place, scene_samples, scene_times_s
from javisbench.baselines.procedural.sync.motion import eased, wander
from javisbench.baselines.procedural.sync.picture import Stage, any_color
from javisbench.baselines.procedural.sync.scene import MARGIN_S, Scene, Setting, events_in
from javisbench.baselines.procedural.sync.timing import shift_off_ends, strengths
from javisbench.baselines.procedural.sync.tools import any_skin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.baselines.procedural.kinds import Synthesis
    from javisbench.baselines.procedural.sync.scene import Signal, Times

# Bounces


@dataclass(frozen=True)
class Flight:
    """A ball that drops, bounces lower and lower, and rolls on.

    Attributes:
        contacts: when it touches the ground.
        height: of its first fall, in heights of the picture.
        start: where it first touches, in widths of the picture.
        speed: sideways, in widths a second.
    """

    contacts: Times
    height: float
    start: float
    speed: float

    def above(self, times: Times, gravity: float) -> Times:
        """How high it is at each of `times`, in heights of the picture, under `gravity` in heights a second squared."""
        drop = self.height - gravity / 2 * np.square(
            np.maximum(0, times - self.contacts[0] + math.sqrt(2 * self.height / gravity))
        )
        after = np.searchsorted(self.contacts, times, side="right")
        inside = np.clip(after, 1, self.contacts.size - 1)
        since, left = times - self.contacts[inside - 1], self.contacts[inside] - times
        arc = gravity / 2 * since * left
        high: Times = np.where(after == 0, drop, np.where(after == self.contacts.size, 0.0, arc))
        return np.maximum(0, high)


def _flights(setting: Setting, rng: np.random.Generator, gravity: float) -> list[Flight]:
    """Ball after ball over the whole scene."""
    end, moment = setting.duration_s + MARGIN_S, -MARGIN_S + rng.uniform(0, 1)
    keeps = rng.uniform(0.72, 0.88)
    found = []
    while moment < end:
        height = rng.uniform(0.45, 0.85)
        flight = 2 * keeps * math.sqrt(2 * height / gravity)
        contacts = [moment]
        while flight > 0.17 and len(contacts) < 12:
            contacts.append(contacts[-1] + flight)
            flight *= keeps * rng.uniform(0.97, 1.03)
        side = 1 if rng.uniform() < 0.5 else -1
        found.append(
            Flight(np.asarray(contacts), height, 0.5 - side * rng.uniform(0.1, 0.4), side * rng.uniform(0.1, 0.3))
        )
        # The next one falls while this one still rolls, or bounces its last.
        moment = contacts[-1] + math.sqrt(2 * height / gravity) + rng.uniform(-0.3, 0.5)
    return found


def bounces(setting: Setting) -> Scene:
    """Balls fall under gravity, bounce lower and lower and roll away; the faster one lands the louder it is."""
    rng = setting.random("times")
    gravity = rng.uniform(4.5, 9.0)
    flights = _flights(setting, rng, gravity)
    shift = shift_off_ends(setting, np.concatenate([flight.contacts for flight in flights]))
    flights = [replace(flight, contacts=flight.contacts + shift) for flight in flights]
    contacts = np.concatenate([flight.contacts for flight in flights])
    speeds = np.concatenate([_landing(flight, gravity) for flight in flights])
    background, other = movers(setting), elsewhere(setting, contacts, never="knock")

    def sound() -> Signal:
        noises, track = setting.random("sound"), Track(setting)
        pitch, hard = noises.uniform(0.7, 1.8), noises.uniform() < 0.3 or "marble" in setting.words
        make: Synthesis = sounds.knock if hard else sounds.bounce
        for time, speed in zip(contacts, speeds, strict=True):
            track.add(float(time), make(noises, setting.sample_rate, 0.3, pitch), float(speed))
        return in_a_place(setting, [track, other.track(setting)])

    def picture() -> NDArray[np.uint8]:
        looks, stage = setting.random("looks"), Stage(setting)
        radius = looks.uniform(0.055, 0.1)
        colors = [any_color(looks) for _ in flights]
        times = setting.frame_times_s
        heights = [flight.above(times, gravity) for flight in flights]

        def frame(p: Painter, number: int) -> None:
            for mover in background:
                mover.draw(stage, p, number)
            for flight, height, color in zip(flights, heights, colors, strict=True):
                _ball(stage, p, flight, times[number], float(height[number]), radius, color)

        return stage.film(frame)

    return Scene(
        events=events_in(setting, contacts, "bounce"),
        seen_only=seen_of(background),
        heard_only=other.heard(setting),
        expected="in step",
        facts={"thing": "ball"},
        picture=picture,
        sound=sound,
    )


def _landing(flight: Flight, gravity: float) -> Times:
    """Loudness of each contact: the speed of landing over that of a fall from the picture's top."""
    falls = np.concatenate([[math.sqrt(2 * flight.height / gravity)], np.diff(flight.contacts) / 2])
    loud: Times = (gravity * falls / math.sqrt(2 * gravity)) ** 1.2
    return loud


def _ball(stage: Stage, p: Painter, flight: Flight, time: float, height: float, radius: float, color: Color) -> None:
    since = time - float(flight.contacts[0])
    x = flight.start + flight.speed * since
    if height > 1.1 or not -0.15 < x < 1.15:
        return
    size = radius * stage.height
    stage.place(p, x * stage.width, size)
    p.shadow(0, 0, max(0.3, 1.1 - height), 0.5 / (1 + 3 * height))
    stage.place(p, x * stage.width, size, height * stage.height)
    p.circle((0, 1), 1.0, color)
    turn = -flight.speed * since * stage.width / size
    for side in (-1, 1):
        spot = (side * 0.55 * math.cos(turn), 1 + side * 0.55 * math.sin(turn))
        p.ellipse(spot, (0.2, 0.36), mixed(color, WHITE, 0.7), turn)
    p.flush()


# Footsteps


@dataclass(frozen=True)
class Walk:
    """Steps of somebody who walks, stops and goes on.

    Attributes:
        steps: when each foot comes down; feet take turns.
        starts: when each of these steps begins.
        stride: how far a step carries, in heights of the body.
    """

    steps: Times
    starts: Times
    stride: float

    def body(self, times: Times) -> Times:
        """Where the body is, in its heights, 0 at time 0."""
        from scipy.interpolate import PchipInterpolator

        moments = np.stack([self.starts, self.steps], axis=1).ravel()
        places = self.stride * np.stack([np.arange(self.steps.size) - 0.5, np.arange(self.steps.size) + 0.5], 1).ravel()
        moments = moments + 1e-4 * np.arange(moments.size)
        path = PchipInterpolator(moments, places, extrapolate=False)
        inside = np.clip(times, moments[0], moments[-1])
        walked: Times = path(inside) - path(np.clip(0.0, moments[0], moments[-1]))
        return walked

    def foot(self, times: Times, which: int) -> tuple[Times, Times]:
        """Where a foot (0 or 1) is along the way, and how far above the ground, in heights of the body."""
        lands, starts = self.steps[which::2], self.starts[which::2]
        index = np.arange(self.steps.size)[which::2]
        after = np.searchsorted(lands, times, side="right")
        here = self.stride * (index[np.maximum(after - 1, 0)] + (after == 0) * -2)
        coming = np.minimum(after, lands.size - 1)
        share = np.clip((times - starts[coming]) / (lands[coming] - starts[coming]), 0, 1)
        share = np.where(after == lands.size, 0, share)
        forward = share - 0.6 * np.sin(2 * np.pi * share) / (2 * np.pi)
        return here + self.stride + 2 * self.stride * forward, 0.09 * np.sin(np.pi * share**0.8)


def _walk(setting: Setting, rng: np.random.Generator) -> Walk:
    pace, uneven = rng.uniform(0.36, 0.62), rng.uniform(0.03, 0.2)
    gaps = pace * (1 + uneven * rng.uniform(-1, 1, int((setting.duration_s + 2 * MARGIN_S) / pace) + 4))
    stops = rng.uniform(size=gaps.size) < (0.12 if rng.uniform() < 0.4 or setting.words & {"stop", "gap"} else 0.0)
    gaps = gaps + stops * rng.uniform(0.4, 1.0, gaps.size)
    steps = -MARGIN_S + np.cumsum(gaps)
    steps = steps[steps < setting.duration_s + MARGIN_S]
    steps = steps + shift_off_ends(setting, steps)
    starts = np.maximum(np.concatenate([[steps[0] - pace], steps[:-1]]) + 0.02, steps - 0.95 * pace)
    return Walk(steps, starts, rng.uniform(0.26, 0.36) * (0.8 + 0.1 / pace))


def footsteps(setting: Setting) -> Scene:
    """Somebody walks, at an uneven pace or with stops; each foot is heard when it comes down."""
    rng = setting.random("times")
    walk = _walk(setting, rng)
    loud = strengths(rng, walk.steps.size)
    background, other = movers(setting), elsewhere(setting, walk.steps)
    _, follows = setting.pick(rng, {"follow": True, "stay": False})

    def sound() -> Signal:
        noises, track = setting.random("sound"), Track(setting)
        pitch = noises.uniform(0.7, 2.2)
        for time, level in zip(walk.steps, loud, strict=True):
            step = sounds.step(noises, setting.sample_rate, 0.2, pitch * noises.uniform(0.95, 1.05))
            track.add(float(time), step, float(level))
        return in_a_place(setting, [track, other.track(setting)])

    def picture() -> NDArray[np.uint8]:
        return _filmed_walk(setting, walk, follows, background)

    return Scene(
        events=events_in(setting, walk.steps, "step"),
        seen_only=seen_of(background),
        heard_only=other.heard(setting),
        expected="in step",
        facts={"thing": "walker", "camera_follows": follows},
        picture=picture,
        sound=sound,
    )


def _filmed_walk(setting: Setting, walk: Walk, follows: bool, background: tuple[Mover, ...]) -> NDArray[np.uint8]:
    looks, times = setting.random("looks"), setting.frame_times_s
    body = walk.body(times)
    far = max(1e-6, float(body[-1] - body[0]))
    unit = looks.uniform(0.5, 0.75) * setting.height
    wide = 1 + far * unit / setting.width if follows else 1.0
    if not follows:
        unit = min(unit, 0.75 * setting.width / far)
    stage = Stage(setting, wide)
    left = looks.uniform() < 0.5
    moved = (body - body[0]) * unit
    x = moved + (0.5 * setting.width if follows else (stage.width - moved[-1]) / 2)
    x = stage.width - x if left else x
    pan = x - setting.width / 2 if follows else None
    feet = [walk.foot(times, which) for which in (0, 1)]
    # A foot's place counts from the start of the walk, like the body's.
    zero = walk.body(np.array([walk.steps[0]]))[0] - 0.5 * walk.stride
    person = Walker(any_color(looks), any_color(looks), any_skin(looks), looks.uniform(0.8, 1.3))

    def frame(p: Painter, number: int) -> None:
        for mover in background:
            mover.draw(stage, p, number)
        stage.place(p, float(x[number]), unit, mirrored=left)
        placed = [(float(along[number] + zero - body[number]), float(high[number])) for along, high in feet]
        person.draw(p, placed)

    return stage.film(frame, pan)


@dataclass(frozen=True)
class Walker:
    """A person seen from the side, about 1 high, who walks to the right."""

    shirt: Color
    trousers: Color
    skin: Color
    stout: float

    def draw(self, p: Painter, feet: list[tuple[float, float]]) -> None:
        """With each foot (along, above) relative to the body."""
        apart = feet[0][0] - feet[1][0]
        hip = (0.0, 0.5 - 0.25 * min(0.3, abs(apart)) ** 2)
        p.shadow(0, 0, 0.25)
        for which, foot in enumerate(feet):
            ankle = (foot[0] - 0.02, foot[1] + 0.05)
            knee = _knee(hip, ankle, 0.235)
            dark = mixed(self.trousers, DARK, 0.45 if which else 0.2)
            p.line([hip, knee, ankle], 0.085 * self.stout, dark)
            p.ellipse((foot[0] + 0.025, foot[1] + 0.03), (0.07, 0.03), DARK, 1.2 * foot[1])
        p.flush()
        top = hip[1] + 0.32
        for side, tone in ((-1, 0.35), (1, 0.0)):
            swing = side * 0.45 * apart
            elbow = (0.6 * swing, top - 0.18)
            p.line([(0, top - 0.03), elbow, (swing + 0.04, top - 0.3)], 0.06, mixed(self.shirt, DARK, tone))
            if side < 0:
                p.polygon(
                    [(-0.09 * self.stout, hip[1] - 0.04), (0.09 * self.stout, hip[1] - 0.04), (0.1, top), (-0.09, top)],
                    self.shirt,
                )
        p.circle((0.02, top + 0.13), 0.085, self.skin)
        p.ellipse((0.0, top + 0.17), (0.09, 0.06), mixed(self.trousers, DARK, 0.6), 0.2)
        p.flush()


def _knee(hip: tuple[float, float], ankle: tuple[float, float], half: float) -> tuple[float, float]:
    """Where the knee of a leg of two equal parts is; it bends forwards."""
    x, y = ankle[0] - hip[0], ankle[1] - hip[1]
    span = max(1e-6, math.hypot(x, y))
    bend = math.sqrt(max(0.0, half**2 - (span / 2) ** 2))
    return hip[0] + x / 2 - bend * y / span, hip[1] + y / 2 + bend * x / span


# Scrubbing

_SURFACES = {"board": "board", "plank": "board", "table": "board", "pan": "pan", "plate": "pan", "tile": "tiles",
             "slab": "tiles"}  # fmt: skip
"""A prompt's word to what is scrubbed."""


@dataclass(frozen=True)
class Strokes:
    """Strokes of a hand to and fro: each goes from one place to the next in its own time, with soft ends."""

    starts: Times
    lengths_s: Times
    places: Times

    def at(self, times: Times) -> Times:
        """Where the hand is, -1 to 1."""
        after = np.clip(np.searchsorted(self.starts, times, side="right"), 1, self.starts.size) - 1
        share = eased((times - self.starts[after]) / self.lengths_s[after])
        where: Times = self.places[after] + (self.places[after + 1] - self.places[after]) * share
        return where

    @property
    def fastest(self) -> Times:
        """When each is fastest: halfway."""
        return self.starts + self.lengths_s / 2


def _strokes(setting: Setting, rng: np.random.Generator) -> Strokes:
    pace, moment, side = rng.uniform(0.22, 0.6), -MARGIN_S, 1.0
    starts, lengths, places = [], [], [-rng.uniform(0.5, 1)]
    while moment < setting.duration_s + MARGIN_S:
        length = pace * rng.uniform(0.75, 1.4)
        starts.append(moment)
        lengths.append(length)
        places.append(side * rng.uniform(0.3, 1))
        side = -side
        moment += length + (rng.uniform(0.3, 0.9) if rng.uniform() < 0.15 else 0.0)
    strokes = Strokes(np.asarray(starts), np.asarray(lengths), np.asarray(places))
    return replace(strokes, starts=strokes.starts + shift_off_ends(setting, strokes.fastest))


def scrubbing(setting: Setting) -> Scene:
    """A hand scrubs a surface; the noise is louder and brighter the faster it moves."""
    rng = setting.random("times")
    strokes = _strokes(setting, rng)
    background, other = movers(setting), elsewhere(setting, strokes.fastest)

    def sound() -> Signal:
        noises, track = setting.random("sound"), Track(setting)
        rate, count = setting.sample_rate, scene_samples(setting)
        where = strokes.at(scene_times_s(setting))
        speed = np.abs(np.gradient(where)) * rate
        speed = speed / max(float(speed.max()), 1e-9)
        low = noises.uniform(400, 1200)
        dull = sounds.band(noises, rate, count, low, 2.5 * low)
        bright = sounds.band(noises, rate, count, 2.5 * low, min(8 * low, 0.45 * rate))
        rough = 1 + 0.3 * sounds.band(noises, rate, count, 15, 60)
        track.signal += 0.3 * speed ** noises.uniform(1, 1.6) * rough * ((1 - 0.5 * speed) * dull + speed * bright)
        return in_a_place(setting, [track, other.track(setting)])

    def picture() -> NDArray[np.uint8]:
        looks, stage, times = setting.random("looks"), Stage(setting), setting.frame_times_s
        unit, x = looks.uniform(0.5, 0.75) * setting.height, looks.uniform(0.42, 0.58) * setting.width
        where, drift = strokes.at(times), wander(looks, times, 2.0)
        surface = setting.pick(looks, _SURFACES)[1]
        hand = Hand(any_color(looks), any_color(looks), any_color(looks), any_skin(looks), surface)
        mirrored = bool(looks.uniform() < 0.5)

        def frame(p: Painter, number: int) -> None:
            for mover in background:
                mover.draw(stage, p, number)
            stage.place(p, x, unit, mirrored=mirrored)
            hand.draw(p, float(where[number]), float(drift[number]))

        return stage.film(frame)

    return Scene(
        events=events_in(setting, strokes.fastest, "stroke"),
        seen_only=seen_of(background),
        heard_only=other.heard(setting),
        expected="in step",
        facts={"thing": "hand"},
        picture=picture,
        sound=sound,
    )


@dataclass(frozen=True)
class Hand:
    """A hand with a sponge or a brush on a board, a pan or tiles."""

    surface: Color
    tool: Color
    sleeve: Color
    skin: Color
    kind: str

    def draw(self, p: Painter, where: float, drift: float) -> None:
        """With the hand at `where`, -1 to 1, and `drift`, its small movements across."""
        x, y = 0.45 * where, 0.42 + 0.05 * drift
        p.shadow(0, 0, 0.7)
        if self.kind == "board":
            p.polygon([(-0.85, 0.1), (0.85, 0.1), (0.68, 0.72), (-0.68, 0.72)], mixed(WOOD, self.surface, 0.4))
            p.line([(-0.76, 0.4), (0.76, 0.4)], 0.012, mixed(WOOD, DARK, 0.4))
        elif self.kind == "pan":
            p.ellipse((0, 0.4), (0.85, 0.34), mixed(STEEL, DARK, 0.4))
            p.ellipse((0, 0.42), (0.74, 0.27), mixed(STEEL, self.surface, 0.3))
        else:
            p.box(-0.9, 0.15, 0.9, 0.75, mixed(self.surface, WHITE, 0.5))
            for column in (-0.45, 0.0, 0.45):
                p.line([(column, 0.16), (column, 0.74)], 0.014, mixed(self.surface, DARK, 0.2))
        p.flush()
        p.box(x - 0.16, y - 0.08, x + 0.16, y + 0.08, self.tool)
        p.box(x - 0.16, y - 0.1, x + 0.16, y - 0.03, mixed(self.tool, WHITE, 0.4))
        p.line([(0.95, 1.1), (x + 0.28, y + 0.3), (x + 0.1, y + 0.13)], 0.15, self.sleeve)
        p.line([(x + 0.16, y + 0.18), (x + 0.05, y + 0.1)], 0.12, self.skin)
        for finger in range(4):
            p.line([(x + 0.06, y + 0.12), (x - 0.1 + 0.06 * finger, y + 0.03)], 0.05, self.skin)
        p.flush()
