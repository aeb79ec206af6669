"""The kinds of sounding things that procedural clips show, and the words that call for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from javisbench.baselines.procedural import actors, sounds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.baselines.procedural.actors import Pose
    from javisbench.baselines.procedural.painting import Color, Painter

Synthesis = Callable[["np.random.Generator", int, float, float], "NDArray[np.float64]"]
Drawing = Callable[["Painter", "Pose"], None]


@dataclass(frozen=True)
class Kind:
    """A kind of sounding thing.

    Attributes:
        name: in event lists.
        event: what one of its events is called.
        sound_type: its category of the aspect ``sound_type``.
        gap_s: shortest and longest time between two of its events, seconds.
        phrase: how many events make one turn (footsteps come in rows, a bell strikes once).
        level: loudness beside the others.
        sound: makes one event's sound.
        draw: draws it at one moment.
        words: what a prompt says to get it.
        colors: of its body; empty for any.
    """

    name: str
    event: str
    sound_type: str
    gap_s: tuple[float, float]
    phrase: int
    level: float
    sound: Synthesis
    draw: Drawing
    words: str
    colors: tuple[Color, ...] = ()


_BRASS: tuple[Color, ...] = ((0.82, 0.62, 0.22), (0.72, 0.45, 0.20), (0.70, 0.66, 0.50))
_FUR: tuple[Color, ...] = ((0.62, 0.42, 0.24), (0.45, 0.32, 0.24), (0.85, 0.72, 0.52), (0.50, 0.50, 0.53))

_KINDS = (
    Kind("ball", "bounce", "mechanical_sounds", (0.5, 0.75), 1, 1.0, sounds.bounce, actors.ball,
         "ball basketball football tennis bounce bounces juggle marble dribble"),
    Kind("bell", "strike", "mechanical_sounds", (0.8, 1.2), 1, 0.8, sounds.bell, actors.bell,
         "bell chime gong clock alarm church tower doorbell ring toll", _BRASS),
    Kind("car", "rev", "mechanical_sounds", (1.0, 1.5), 1, 0.8, sounds.rev, actors.car,
         "car engine truck motor traffic motorcycle motorbike bus tractor train vehicle rev taxi racing horn"),
    Kind("press", "clank", "mechanical_sounds", (0.6, 0.9), 1, 0.8, sounds.clank, actors.press,
         "machine press factory stamp metal conveyor piston forge assembly robot mill steel"),
    Kind("hammer", "blow", "mechanical_sounds", (0.5, 0.8), 1, 0.9, sounds.knock, actors.hammer,
         "hammer nail carpenter anvil blacksmith chop axe knife knock door tool chisel saw mallet cut"),
    Kind("rain", "shower", "ambient_sounds", (1.1, 1.8), 1, 0.7, sounds.shower, actors.rain,
         "rain drizzle shower downpour waterfall river stream sea wave ocean surf hail storm"),
    Kind("wind", "gust", "ambient_sounds", (1.1, 1.8), 1, 0.8, sounds.gust, actors.tree,
         "wind breeze leaf leaves tree forest grass gust howl sail flag rustle"),
    Kind("thunder", "thunder", "ambient_sounds", (1.4, 2.2), 1, 1.0, sounds.thunder, actors.lightning,
         "thunder lightning explosion explode firework blast volcano boom"),
    Kind("tap", "drip", "ambient_sounds", (0.5, 0.9), 1, 0.9, sounds.drip, actors.tap,
         "drip water tap pour splash faucet sink puddle fountain cave bubble kettle"),
    Kind("bird", "chirp", "biological_sounds", (0.4, 0.65), 3, 0.7, sounds.chirp, actors.bird,
         "bird chirp crow owl seagull rooster chicken duck parrot sparrow tweet robin cuckoo canary insect cricket"),
    Kind("dog", "bark", "biological_sounds", (0.5, 0.8), 2, 0.9, sounds.bark, actors.dog,
         "dog bark puppy cat meow cow sheep goat lion wolf horse dragon growl fox roar frog croak monster", _FUR),
    Kind("walker", "step", "biological_sounds", (0.42, 0.55), 4, 0.8, sounds.step, actors.walker,
         "walk footstep foot feet run step march jog jogger hike stroll dance dancer pedestrian boots shoes"),
    Kind("hands", "clap", "biological_sounds", (0.4, 0.6), 3, 0.9, sounds.clap, actors.hands,
         "clap applause applaud hand hands audience cheer slap high-five"),
    Kind("speaker", "syllable", "speech_sounds", (0.26, 0.4), 5, 0.7, sounds.syllable, actors.face,
         "speak speech talk say voice narrate narrator teacher reporter woman man tell conversation shout reads "
         "announce announcer child children whisper argue lecture explain speaker host chat greet count "
         "people presenter wizard ask answer guide"),
    Kind("keys", "note", "musical_sounds", (0.32, 0.5), 5, 0.7, sounds.note, actors.keys,
         "piano pianist melody music guitar violin xylophone flute song sing singer tune harp orchestra keyboard "
         "marimba band cello trumpet sax accordion ukulele choir musician instrument waltz lullaby"),
    Kind("drum", "beat", "musical_sounds", (0.35, 0.55), 3, 0.9, sounds.drum, actors.drum,
         "drum drummer beat percussion tambourine cymbal bongo rhythm snare"),
    Kind("ship", "zap", "mechanical_sounds", (0.5, 0.8), 2, 0.7, sounds.zap, actors.ship,
         "laser spaceship game ship alien arcade coin level magic spell portal pixel rocket spacecraft beam "
         "sword space"),
)  # fmt: skip

KINDS: dict[str, Kind] = {kind.name: kind for kind in _KINDS}
BYSTANDER = Kind("listener", "turn", "speech_sounds", (1.0, 1.0), 1, 0.0, sounds.syllable, actors.listener, "")

_BY_WORD = {word: kind for kind in _KINDS for word in kind.words.split()}


def kinds_in(text: str) -> tuple[Kind, ...]:
    """The kinds that a prompt names, in the order of its words, each once."""
    found: dict[str, Kind] = {}
    for word in re.findall(r"[a-z-]+", text.lower()):
        for form in base_forms(word):
            if form in _BY_WORD:
                kind = _BY_WORD[form]
                found.setdefault(kind.name, kind)
                break
    return tuple(found.values())


def kinds_of(sound_type: str) -> tuple[Kind, ...]:
    """The kinds whose sound belongs to a category of the aspect ``sound_type``."""
    return tuple(kind for kind in _KINDS if kind.sound_type == sound_type)


def base_forms(word: str) -> list[str]:
    """The word and what it may be an inflection of (``dripping``: dripping, dripp, dripe, drip)."""
    forms = [word]
    for ending in ("s", "es", "d", "ed", "ing", "er", "ers"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            stem = word[: -len(ending)]
            forms += [stem, stem + "e"]
            if stem[-1] == stem[-2]:
                forms.append(stem[:-1])
    return forms
