"""Families of struck things: alone, under a camera that pans, in a busy place, and beside one that makes no sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from javisbench.baselines.procedural.sync import motion
from javisbench.baselines.procedural.sync.bystanders import Elsewhere, Mover, elsewhere, movers, seen_of
from javisbench.baselines.procedural.sync.mixing import Track, in_a_place
from javisbench.baselines.procedural.sync.picture import Stage, any_color
from javisbench.baselines.procedural.sync.scene import Scene, Setting, events_in
from javisbench.baselines.procedural.sync.timing import apart, irregular, strengths
from javisbench.baselines.procedural.sync.tools import TOOLS, Blow, Tool, any_skin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.baselines.procedural.painting import Painter
    from javisbench.baselines.procedural.sync.scene import Times

SHORTEST_GAP_S = 0.38
LONGEST_GAP_S = 1.5


@dataclass(frozen=True)
class Striker:
    """A tool with all its strokes.

    Attributes:
        name: of the tool.
        tool: what is struck, and how.
        hits: when strokes land, over the whole scene.
        misses: when strokes stop in the air.
        strength: of each hit, 0.35 to 1.
        purpose: which of several strikers of a scene this is.
    """

    name: str
    tool: Tool
    hits: Times
    misses: Times
    strength: Times
    purpose: str

    def track(self, setting: Setting) -> Track:
        """The sound of all hits, the stronger the louder."""
        rng, track = setting.random(f"{self.purpose} sound"), Track(setting)
        pitch = rng.uniform(0.7, 1.4)
        for time, strength in zip(self.hits, self.strength, strict=True):
            sound = self.tool.sound(rng, setting.sample_rate, 0.6, pitch)
            track.add(float(time), sound, self.tool.level * float(strength) ** 1.5)
        return track

    def drawing(self, setting: Setting) -> Callable[[Painter, int], None]:
        """Draws it at the painter's place in the frame of a number."""
        rng, times = setting.random(f"{self.purpose} look"), setting.frame_times_s
        ends = np.concatenate([self.hits, self.misses])
        order = np.argsort(ends)
        lands = np.arange(ends.size) < self.hits.size
        strong = np.concatenate([self.strength, np.full(self.misses.size, 0.8)])
        raised = motion.raised(
            times, ends[order], lands[order], strong[order],
            rest=rng.uniform(0.35, 0.8), fall_s=rng.uniform(0.09, 0.16), power=rng.uniform(1.7, 2.5),
        )  # fmt: skip
        raised = raised + 0.02 * np.minimum(1, raised / 0.2) * motion.wander(rng, times, 1.8)
        wobble = motion.wobble(times, self.hits, self.strength, self.tool.wobble_hz, self.tool.decay_s)
        count = np.searchsorted(self.hits, times, side="right")
        along = _glided(rng, times, self.hits)
        fixed = Blow(
            0, 0, 0, rng.uniform(0.7, 1.15), any_color(rng), any_color(rng), any_skin(rng), rng.uniform(0.8, 1.3), 0
        )

        def draw(p: Painter, number: int) -> None:
            now = replace(
                fixed,
                raised=max(0.0, float(raised[number])),
                wobble=float(wobble[number]),
                count=int(count[number]),
                along=float(along[number]),
            )
            self.tool.draw(p, now)

        return draw


def _glided(rng: np.random.Generator, times: Times, hits: Times) -> Times:
    """Where along a row of bars it strikes: each hit another place, reached before the stroke."""
    places = rng.integers(7, size=hits.size + 1) / 6
    ahead = np.searchsorted(hits, times, side="right")
    last = np.concatenate([[times[0] - 10], hits])[ahead]
    ahead_time = np.concatenate([hits, [times[-1] + 10]])[ahead]
    share = motion.eased((times - last - 0.05) / np.maximum(0.1, 0.45 * (ahead_time - last)))
    before = places[np.maximum(ahead - 1, 0)]
    glided: Times = before + (places[ahead] - before) * share
    return glided


def striker(setting: Setting, purpose: str = "striker", feints: bool = True, never: str = "") -> Striker:
    """A tool that the prompt names or the seed chooses, with irregular strokes; some stop in the air."""
    rng = setting.random(purpose)
    name, tool = setting.pick(rng, {key: tool for key, tool in TOOLS.items() if key != never})
    hits = irregular(setting, rng, SHORTEST_GAP_S * tool.slow, LONGEST_GAP_S * max(1.0, 0.75 * tool.slow))
    drawn, share = rng.uniform(size=hits.size), rng.uniform(0.1, 0.3) if feints and rng.uniform() < 0.3 else 0.0
    # At least one in the clip lands.
    inside = np.flatnonzero((hits > 0) & (hits < setting.duration_s))
    drawn[inside[int(rng.integers(inside.size))]] = 1
    missed = drawn < share
    landed = hits[~missed]
    return Striker(name, tool, landed, hits[missed], strengths(rng, landed.size), purpose)


def _filmed(setting: Setting, stage: Stage, draw: Callable[[Painter, int], None], background: tuple[Mover, ...],
            x: float, unit: float, pan: Times | None = None) -> NDArray[np.uint8]:  # fmt: skip
    """A drawing in front of the background; `x` in pixels of the stage."""
    mirrored = bool(setting.random("side").uniform() < 0.5)

    def frame(p: Painter, number: int) -> None:
        for mover in background:
            mover.draw(stage, p, number)
        stage.place(p, x, unit, mirrored=mirrored)
        draw(p, number)

    return stage.film(frame, pan)


def _sound(setting: Setting, source: Striker, other: Elsewhere) -> Callable[[], NDArray[np.float64]]:
    return lambda: in_a_place(setting, [source.track(setting), other.track(setting)])


def _scene(setting: Setting, source: Striker, background: tuple[Mover, ...], wide: float, pan_period_s: float) -> Scene:
    """One striker in front of a background; a stage wider than the picture is panned over."""
    other = elsewhere(setting, source.hits, never=_heard_as(source))
    rng = setting.random("layout")
    unit = setting.height * rng.uniform(0.42, 0.72) * (0.85 if wide > 1 else 1.0)
    pan, x = None, setting.width * rng.uniform(0.35, 0.65)
    if wide > 1:
        room = (wide - 1) * setting.width
        pan = room * (0.5 + 0.5 * motion.wander(rng, setting.frame_times_s, pan_period_s))
        x = room / 2 + setting.width * rng.uniform(0.42, 0.58)

    def picture() -> NDArray[np.uint8]:
        return _filmed(setting, Stage(setting, wide), source.drawing(setting), background, x, unit, pan)

    misses = events_in(setting, source.misses, "feint")
    return Scene(
        events=events_in(setting, source.hits, source.name),
        seen_only=tuple(sorted([*misses, *seen_of(background)], key=lambda event: event.time_s)),
        heard_only=other.heard(setting),
        expected="in step",
        facts={"thing": source.name},
        picture=picture,
        sound=_sound(setting, source, other),
    )


def _heard_as(source: Striker) -> str:
    """Which sound from elsewhere could be taken for the striker's own."""
    return {"anvil": "clank", "press": "clank", "nail": "knock", "door": "knock", "knife": "knock", "bell": "bell",
            "gong": "bell", "hand": "clap"}.get(source.name, "")  # fmt: skip


def struck_thing(setting: Setting) -> Scene:
    """One thing is struck; little else moves."""
    return _scene(setting, striker(setting), movers(setting), 1.0, 0.0)


def panning_camera(setting: Setting) -> Scene:
    """One thing is struck while the camera pans over the place, to and fro."""
    period = setting.random("pan").uniform(2.5, 7)
    return _scene(setting, striker(setting), movers(setting), setting.random("wide").uniform(1.4, 1.8), period)


def busy_background(setting: Setting) -> Scene:
    """One thing is struck among five to nine that move in silence."""
    count = int(setting.random("busy").integers(5, 10))
    return _scene(setting, striker(setting), movers(setting, count), 1.0, 0.0)


def two_sources(setting: Setting) -> Scene:
    """Two things are struck, each at its own times; one of them makes no sound."""
    heard = striker(setting, "heard", feints=False)
    quiet = striker(replace(setting, words=frozenset()), "quiet", feints=False, never=heard.name)
    strokes = apart(quiet.hits, heard.hits, 0.1)
    quiet = replace(quiet, hits=strokes, strength=quiet.strength[: strokes.size])
    background, other = movers(setting), elsewhere(setting, heard.hits, never=_heard_as(heard))
    rng = setting.random("layout")
    unit, left = min(setting.height * rng.uniform(0.45, 0.6), 0.38 * setting.width), bool(rng.uniform() < 0.5)
    places = (0.27, 0.75) if left else (0.75, 0.27)

    def picture() -> NDArray[np.uint8]:
        stage = Stage(setting)
        draws = [heard.drawing(setting), quiet.drawing(setting)]

        def frame(p: Painter, number: int) -> None:
            for mover in background:
                mover.draw(stage, p, number)
            for share, draw in zip(places, draws, strict=True):
                stage.place(p, share * setting.width, unit, mirrored=share > 0.5)
                draw(p, number)

        return stage.film(frame)

    silent = events_in(setting, quiet.hits, f"silent {quiet.name}")
    return Scene(
        events=events_in(setting, heard.hits, heard.name),
        seen_only=tuple(sorted([*silent, *seen_of(background)], key=lambda event: event.time_s)),
        heard_only=other.heard(setting),
        expected="in step",
        facts={"thing": heard.name, "silent_thing": quiet.name},
        picture=picture,
        sound=_sound(setting, heard, other),
    )
