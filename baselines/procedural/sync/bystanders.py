"""What else is going on: things that move without a sound, and sounds of things that are not seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from javisbench.baselines.procedural import sounds
from javisbench.baselines.procedural.actors import DARK, WHITE
from javisbench.baselines.procedural.painting import Color, Painter, mixed
from javisbench.baselines.procedural.sync.mixing import Track
from javisbench.baselines.procedural.sync.motion import wander
from javisbench.baselines.procedural.sync.picture import Stage, any_color
from javisbench.baselines.procedural.sync.scene import Event, Setting, events_in
from javisbench.baselines.procedural.sync.timing import apart, irregular

if TYPE_CHECKING:
    from javisbench.baselines.procedural.kinds import Synthesis
    from javisbench.baselines.procedural.sync.scene import Signal, Times


@dataclass(frozen=True)
class Mover:
    """Something in the background.

    Attributes:
        draw: draws it on a stage in the frame of a number.
        seen: when it visibly does something; empty for smooth motion.
    """

    draw: Callable[[Stage, Painter, int], None]
    seen: tuple[Event, ...] = ()


@dataclass(frozen=True)
class _Spot:
    """Where a mover is, how large and in which colour; `x` in widths of the stage, the rest in heights."""

    x: float
    above: float
    size: float
    color: Color


Making = Callable[[Setting, np.random.Generator, _Spot], Mover]


def _pendulum(setting: Setting, rng: np.random.Generator, spot: _Spot) -> Mover:
    """A lamp that swings from the ceiling."""
    times, hz, reach = setting.frame_times_s, rng.uniform(0.3, 0.9), rng.uniform(0.2, 0.6)
    angles = reach * np.sin(2 * np.pi * (hz * times + rng.uniform()))

    def draw(stage: Stage, p: Painter, number: int) -> None:
        stage.place(p, spot.x * stage.width, spot.size * stage.height, 0.9 * stage.height)
        end = (2 * math.sin(angles[number]), -2 * math.cos(angles[number]))
        p.line([(0, 0), end], 0.06, DARK)
        p.circle(end, 0.3, spot.color)
        p.flush(plain=True)

    return Mover(draw)


def _crosser(setting: Setting, rng: np.random.Generator, spot: _Spot) -> Mover:
    """Something that drifts across: a cart, a cloud, a fish."""
    times, speed = setting.frame_times_s, rng.uniform(0.08, 0.35) * (1 if rng.uniform() < 0.5 else -1)
    x = (spot.x + speed * times) % 1.4 - 0.2
    y = spot.above + 0.03 * wander(rng, times, 1.5)

    def draw(stage: Stage, p: Painter, number: int) -> None:
        stage.place(p, x[number] * stage.width, spot.size * stage.height, y[number] * stage.height)
        p.ellipse((0, 0.3), (0.7, 0.3), spot.color)
        p.ellipse((0.2, 0.5), (0.3, 0.25), mixed(spot.color, WHITE, 0.3))
        p.flush(plain=True)

    return Mover(draw)


def _blinker(setting: Setting, rng: np.random.Generator, spot: _Spot) -> Mover:
    """A lamp or a sign that changes its colour at irregular moments."""
    changes = irregular(setting, rng, 0.3, 1.6)
    state = np.searchsorted(changes, setting.frame_times_s, side="right") % 2
    other = mixed(spot.color, (WHITE, DARK)[int(rng.integers(2))], 0.75)

    def draw(stage: Stage, p: Painter, number: int) -> None:
        stage.place(p, spot.x * stage.width, spot.size * stage.height, max(0.3, spot.above) * stage.height)
        p.box(-0.5, -0.3, 0.5, 0.3, DARK)
        p.box(-0.42, -0.22, 0.42, 0.22, other if state[number] else spot.color)
        p.flush(plain=True)

    return Mover(draw, events_in(setting, changes, "lamp"))


def _hopper(setting: Setting, rng: np.random.Generator, spot: _Spot) -> Mover:
    """A soft toy that hops without a sound."""
    contacts = irregular(setting, rng, 0.35, 0.9)
    edges = np.concatenate([[contacts[0] - 0.6], contacts, [contacts[-1] + 0.6]])
    times = setting.frame_times_s
    after = np.clip(np.searchsorted(edges, times, side="right"), 1, edges.size - 1)
    share = np.clip((times - edges[after - 1]) / (edges[after] - edges[after - 1]), 0, 1)
    height = rng.uniform(0.6, 1.6) * 4 * share * (1 - share)

    def draw(stage: Stage, p: Painter, number: int) -> None:
        stage.place(p, spot.x * stage.width, spot.size * stage.height)
        p.ellipse((0, height[number] + 0.4), (0.35, 0.4), spot.color)
        for side in (-1, 1):
            p.ellipse((side * 0.15, height[number] + 0.95), (0.08, 0.25), spot.color, -side * 0.2)
        p.flush(plain=True)

    return Mover(draw, events_in(setting, contacts, "hop"))


def _spinner(setting: Setting, rng: np.random.Generator, spot: _Spot) -> Mover:
    """A wheel that turns, faster and slower."""
    times = setting.frame_times_s
    angles = rng.uniform(1, 5) * times + 0.8 * wander(rng, times, 2.5)

    def draw(stage: Stage, p: Painter, number: int) -> None:
        stage.place(p, spot.x * stage.width, spot.size * stage.height, (0.2 + spot.above) * stage.height)
        for blade in range(4):
            angle = angles[number] + blade * math.pi / 2
            tip = (math.cos(angle), math.sin(angle))
            side = (0.35 * math.cos(angle + 0.5), 0.35 * math.sin(angle + 0.5))
            p.polygon([(0, 0), tip, side], mixed(spot.color, WHITE, 0.2 * (blade % 2)))
        p.flush(plain=True)

    return Mover(draw)


def _passer(setting: Setting, rng: np.random.Generator, spot: _Spot) -> Mover:
    """Somebody who walks by far away."""
    times = setting.frame_times_s
    speed, hz = rng.uniform(0.06, 0.16) * (1 if rng.uniform() < 0.5 else -1), rng.uniform(0.8, 1.2)
    x = (spot.x + speed * times) % 1.3 - 0.15
    stride = 0.3 * np.sin(2 * np.pi * hz * times)

    def draw(stage: Stage, p: Painter, number: int) -> None:
        stage.place(p, x[number] * stage.width, 1.6 * spot.size * stage.height, 0.04 * stage.height)
        for side in (-1, 1):
            p.line([(0, 0.5), (side * stride[number], 0.0)], 0.14, mixed(spot.color, DARK, 0.6))
        p.ellipse((0, 0.75), (0.17, 0.34), spot.color)
        p.circle((0, 1.2), 0.14, (0.8, 0.6, 0.45))
        p.flush(plain=True)

    return Mover(draw)


_MAKINGS: tuple[Making, ...] = (_pendulum, _crosser, _blinker, _hopper, _spinner, _passer)


def movers(setting: Setting, count: int | None = None, purpose: str = "movers") -> tuple[Mover, ...]:
    """Some that are chosen by the seed; without a count none in two of five scenes, else one to three."""
    rng = setting.random(purpose)
    if count is None:
        count = 0 if rng.uniform() < 0.4 else int(rng.integers(1, 4))
    made = []
    for _ in range(count):
        size = rng.uniform(0.06, 0.13)
        spot = _Spot(rng.uniform(0.05, 0.95), rng.uniform(0.0, 0.6), size, mixed(any_color(rng), DARK, 0.15))
        made.append(_MAKINGS[int(rng.integers(len(_MAKINGS)))](setting, rng, spot))
    return tuple(made)


def seen_of(listed: Sequence[Mover]) -> tuple[Event, ...]:
    """What several movers are seen to do, in order of time."""
    return tuple(sorted((event for mover in listed for event in mover.seen), key=lambda event: event.time_s))


_ELSEWHERE: dict[str, Synthesis] = {
    "chirp": sounds.chirp,
    "bark": sounds.bark,
    "knock": sounds.knock,
    "clank": sounds.clank,
    "rev": sounds.rev,
    "drip": sounds.drip,
    "bell": sounds.bell,
    "clap": sounds.clap,
}


@dataclass(frozen=True)
class Elsewhere:
    """Sounds from outside the picture."""

    kind: str
    times: Times
    level: float

    def track(self, setting: Setting) -> Track:
        """All of them."""
        rng, track = setting.random("elsewhere sound"), Track(setting)
        pitch = rng.uniform(0.75, 1.3)
        for time in self.times:
            sound: Signal = _ELSEWHERE[self.kind](rng, setting.sample_rate, 0.6, pitch)
            track.add(float(time), sound, self.level * rng.uniform(0.6, 1.0))
        return track

    def heard(self, setting: Setting) -> tuple[Event, ...]:
        """Those in the clip."""
        return events_in(setting, self.times, self.kind)


def elsewhere(setting: Setting, events: Times, never: str = "") -> Elsewhere:
    """Sounds from elsewhere in two of five scenes, none within 0.15 s of `events`; never of the kind `never`."""
    rng = setting.random("elsewhere")
    kinds = [kind for kind in _ELSEWHERE if kind != never]
    kind, level = kinds[int(rng.integers(len(kinds)))], rng.uniform(0.15, 0.55)
    times = apart(irregular(setting, rng, 0.7, 2.5), events, 0.15)
    return Elsewhere(kind, times if rng.uniform() < 0.4 else times[:0], level)
