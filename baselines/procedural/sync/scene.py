"""What a scene is: the setting that decides it, its events, and how picture and sound are made of them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.baselines.procedural.painting import Style

    Times = NDArray[np.float64]
    Signal = NDArray[np.float64]

Expected: TypeAlias = Literal["in step", "weak", "none"]
MARGIN_S = 2.0
"""A clip is a window on a longer scene, which goes on for this long before and after it."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Setting:
    """All that decides a scene; equal settings make equal scenes.

    Attributes:
        family: the scene's.
        seed: of every random draw, with the family's name.
        duration_s: length of the clip in seconds; frames and samples are rounded to it.
        fps: frames per second.
        width: pixels.
        height: pixels.
        sample_rate: Hz.
        words: of the prompt, in their base forms; they choose among a family's things where they name one.
        scenario: where it takes place (an id of the aspect ``event_scenario``), or None for any.
        style: how it is drawn, or None for any.
    """

    family: str
    seed: int
    duration_s: float = 5.0
    fps: Fraction = Fraction(25)
    width: int = 256
    height: int = 144
    sample_rate: int = 16000
    words: frozenset[str] = frozenset()
    scenario: str | None = None
    style: Style | None = None

    def random(self, purpose: str) -> np.random.Generator:
        """A stream of random numbers of its own for each purpose, so that none depends on what another draws."""
        name = zlib.crc32(f"{self.family} {purpose}".encode())
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, name])))

    @property
    def frames(self) -> int:
        """How many."""
        return max(1, round(self.duration_s * self.fps))

    @property
    def frame_times_s(self) -> Times:
        """When each frame is shown, float64 ``(T,)``."""
        times: Times = np.arange(self.frames) / float(self.fps)
        return times

    def pick(self, rng: np.random.Generator, things: Mapping[str, _T]) -> tuple[str, _T]:
        """One of `things`: of those whose name is among the prompt's words, else of all."""
        drawn = rng.uniform()
        named = [name for name in things if name in self.words] or list(things)
        name = named[int(drawn * len(named))]
        return name, things[name]


@dataclass(frozen=True)
class Event:
    """Something that happens at one moment, in seconds from the start of the clip."""

    time_s: float
    kind: str

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {"time_s": round(self.time_s, 6), "kind": self.kind}


@dataclass(frozen=True)
class Scene:
    """A scene that is decided; picture and sound are made when they are asked for.

    Attributes:
        events: what is both seen and heard, in order of time.
        seen_only: what is seen to happen and makes no sound.
        heard_only: what is heard and not seen.
        expected: whether picture and sound agree in time.
        facts: what was chosen, as JSON.
        picture: makes all frames, uint8 RGB ``(T, H, W, 3)``.
        sound: makes the sound from `MARGIN_S` before the clip to `MARGIN_S` after it, float64, within [-1, 1].
    """

    events: tuple[Event, ...]
    seen_only: tuple[Event, ...]
    heard_only: tuple[Event, ...]
    expected: Expected
    facts: Mapping[str, Any] = field(compare=False)
    picture: Callable[[], NDArray[np.uint8]] = field(compare=False, repr=False)
    sound: Callable[[], Signal] = field(compare=False, repr=False)

    def times(self) -> dict[str, list[dict[str, Any]]]:
        """The three lists of events as JSON: ``events``, ``seen_only``, ``heard_only``."""
        lists = {"events": self.events, "seen_only": self.seen_only, "heard_only": self.heard_only}
        return {name: [event.facts() for event in listed] for name, listed in lists.items()}


def events_in(setting: Setting, times: Times, kind: str) -> tuple[Event, ...]:
    """Those of `times` that fall into the clip, ascending, as events."""
    end = setting.frames / float(setting.fps)
    return tuple(Event(float(time), kind) for time in np.sort(times) if 0 <= time < end)
