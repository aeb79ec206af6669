"""The families of scenes: each is a function of a `Setting`, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from javisbench.baselines.procedural.sync.ambience import music_over_cuts, rain, still_picture
from javisbench.baselines.procedural.sync.bodies import bounces, footsteps, scrubbing
from javisbench.baselines.procedural.sync.mouths import mouths
from javisbench.baselines.procedural.sync.scene import Expected, Scene, Setting
from javisbench.baselines.procedural.sync.struck import busy_background, panning_camera, struck_thing, two_sources


@dataclass(frozen=True)
class Family:
    """Scenes of one kind.

    Attributes:
        title: one line.
        expected: whether picture and sound agree in time; a scene says it for itself where that differs.
        events: what its events are.
        words: by which a prompt asks for it, in base form, where no column names the family.
        scene: decides a scene; pure.
    """

    title: str
    expected: Expected
    events: str
    words: frozenset[str]
    scene: Callable[[Setting], Scene]


def _family(title: str, expected: Expected, events: str, words: str, scene: Callable[[Setting], Scene]) -> Family:
    return Family(title, expected, events, frozenset(words.split()), scene)


FAMILIES: dict[str, Family] = {
    "still_picture": _family("nothing moves, and any sound is heard", "none", "none",
                             "photograph photo frozen motionless postcard", still_picture),
    "music_over_cuts": _family("shots follow each other under music, on its beats or between them", "weak",
                               "cuts on a beat", "montage trailer slideshow shot", music_over_cuts),
    "panning_camera": _family("one thing is struck while the camera pans", "in step", "blows",
                              "pans panning sweep", panning_camera),
    "busy_background": _family("one thing is struck among many that move in silence", "in step", "blows",
                               "busy crowd crowded bustling among", busy_background),
    "two_sources": _family("two things are struck, and one of them is heard", "in step", "blows that are heard",
                           "mute silent silently soundless noiseless", two_sources),
    "rain": _family("many small drops and their noise", "weak", "none", "rain drizzle downpour shower", rain),
    "mouths": _family("somebody speaks, close to the camera", "in step", "syllables (where each swells fastest)",
                      "speak talk say mouth tell explain narrate announce read", mouths),
    "scrubbing": _family("a hand scrubs, the faster the louder", "in step", "strokes (where each is fastest)",
                         "scrub sand polish brush wipe rub scour file", scrubbing),
    "footsteps": _family("somebody walks and is heard at each step", "in step", "steps",
                         "walk footstep step stroll stride march pace", footsteps),
    "bounces": _family("balls fall, bounce lower and lower, and roll on", "in step", "contacts with the ground",
                       "bounce ball marble", bounces),
    "struck_thing": _family("one thing is struck at irregular times", "in step", "blows",
                            "strike hit hammer anvil nail drum bell gong xylophone door knock clap hand knife chop "
                            "press", struck_thing),
}  # fmt: skip
"""By the name that a suite's column ``family`` has for it; where words decide, the first that fits is taken."""


def family_of(words: frozenset[str]) -> str | None:
    """The family that a prompt's words (in base form) ask for, or None."""
    return next((name for name, family in FAMILIES.items() if family.words & words), None)


def make_scene(setting: Setting) -> Scene:
    """The scene of a setting.

    Raises:
        KeyError: there is no such family.
    """
    return FAMILIES[setting.family].scene(setting)
