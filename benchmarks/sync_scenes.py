"""Write the suite ``sync-scenes``: 14 prompts for each family of scenes with true event times.

    python benchmarks/sync_scenes.py

Prompts are put together from what the families can show (`javisbench.baselines.procedural.sync`): the thing, the place
and the style that a prompt names are those that ``procedural:sync`` draws.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from javisbench.baselines.procedural.sync.families import FAMILIES

SUITE = Path(__file__).parent.parent / "data_cards" / "suites" / "sync-scenes.csv"
A_FAMILY = 14
COLUMNS = ("id", "text", "audio_text", "cat0_ind", "cat1_ind", "cat2_ind", "cat3_ind", "cat4_ind", "family")

PLACES = {
    "natural": ("in a meadow with hills behind it", "on a lawn before far trees", "out in the open under a wide sky"),
    "urban": ("on a pavement in front of tall houses", "beside a road at the edge of town", "in a street of the city"),
    "living": ("in a living room with a window", "at home, on a wooden floor", "in a bright room with a framed print"),
    "industrial": ("in a factory hall with pipes", "in a workshop with brick walls", "under the lamps of a warehouse"),
    "virtual": (
        "on a neon grid in outer space",
        "in a dark arcade world full of stars",
        "on a glowing plain below a planet",
    ),
}
STYLES = (
    ("", ""),
    ("In a flat cartoon, ", "Drawn as a flat cartoon: "),
    ("In a rendered animation, ", "Rendered in 3D: "),
)
SEQUENTIAL, SIMULTANEOUS = 1, 2
SINGLE, MULTIPLE, OFF_SCREEN = 0, 1, 2
AMBIENT, BIOLOGICAL, MECHANICAL, MUSICAL, SPEECH = range(5)

# (what is seen, what is heard, sound type, place): one a tool, and then again with other words.
STRUCK = (
    ("a hammer drives a nail into a block of wood", "dull blows of a hammer on wood", MECHANICAL, "industrial"),
    (
        "a smith's hammer comes down on an anvil, now soft, now hard",
        "a hammer ringing on iron",
        MECHANICAL,
        "industrial",
    ),
    ("two sticks play a drum at an uneven pace", "single beats of a drum", MUSICAL, "urban"),
    ("a mallet swings against a hanging bell", "slow strokes of a bell that ring on", MUSICAL, "natural"),
    ("a large gong is struck and sways on its cords", "a gong that fades slowly", MUSICAL, "virtual"),
    ("a mallet picks out notes on a xylophone", "single notes of a xylophone", MUSICAL, "living"),
    ("somebody knocks on a door with bare knuckles", "knocks on a wooden door", MECHANICAL, "living"),
    ("a pair of hands claps, stops, and claps again", "claps, irregular", BIOLOGICAL, "urban"),
    ("a knife cuts a long vegetable slice by slice", "a blade hitting a board", MECHANICAL, "living"),
    ("a steel press stamps one plate after another", "heavy clanks of a machine", MECHANICAL, "industrial"),
    ("a nail sinks deeper with each stroke of the hammer", "knocks that come at odd times", MECHANICAL, "natural"),
    ("a bronze bell is rung by somebody out of view", "a bell, again and again", MUSICAL, "urban"),
    ("a drum waits for its next beat, which comes late", "loud and soft beats of a drum", MUSICAL, "virtual"),
    ("iron glows on an anvil while a hammer works on it", "bright strokes of metal on metal", MECHANICAL, "natural"),
)
CAMERA = (
    "the camera pans slowly to the left and back",
    "the camera sweeps to and fro",
    "seen by a camera that never rests",
    "the camera pans across the place and returns",
)
CROWD = (
    "among lamps, wheels and toys that all move in silence",
    "in the middle of a busy place where everything turns and swings without a sound",
    "while people pass, signs blink and toys hop all around, none of them heard",
    "in front of a crowded background full of soundless motion",
)
SILENT = (
    "something else next to it is struck as well, but makes no sound",
    "a second thing beside it moves at its own pace, silent",
    "only this one is heard; what works at its side stays mute",
    "its neighbour strikes too, soundless, at other moments",
)
BALLS = (
    ("a rubber ball drops and bounces lower and lower", "dull bounces that come faster and faster", "living"),
    (
        "one ball after another falls, bounces and rolls away",
        "bounces of balls, each softer than the one before",
        "natural",
    ),
    ("a glass marble jumps over hard ground", "hard, bright taps, quicker and quicker", "industrial"),
    ("a bright ball comes down from above and hops along", "thuds of a bouncing ball", "urban"),
    ("a striped ball bounces across the ground until it only rolls", "bounces that die away", "virtual"),
    ("a heavy ball falls from the sky and bounces briefly", "a loud thud and a few softer ones", "virtual"),
    ("somebody above lets balls drop, one every second or two", "series of bounces", "industrial"),
)
STEPS = (
    ("a person walks by at an easy pace", "footsteps on hard ground", "urban"),
    ("somebody walks past, stops, and walks on", "footsteps with pauses", "living"),
    ("a walker goes along with long strides", "slow, heavy steps", "natural"),
    ("a person in a bright shirt walks quickly", "quick footsteps", "industrial"),
    ("the camera follows somebody who walks along a wall", "steady steps", "industrial"),
    ("a lone figure strolls through the night", "footsteps, now and then a longer gap", "virtual"),
    ("somebody paces up the road with an uneven gait", "uneven steps", "urban"),
)
SCRUBS = (
    ("a hand scrubs a board with a sponge", "scrubbing, louder when the hand is fast", "living"),
    ("a hand with a brush cleans a large pan", "bristles on metal, to and fro", "living"),
    ("somebody sands a wooden plank by hand", "strokes of sandpaper", "industrial"),
    ("tiles are wiped with quick strokes, then slow ones", "a cloth rubbing over tiles", "urban"),
    ("a hand polishes a round metal plate", "rubbing that swells and ebbs", "industrial"),
    ("somebody scours a table outdoors, with pauses", "scouring, stroke by stroke", "natural"),
    ("a hand rubs at a stain on a glowing slab", "harsh rubbing", "virtual"),
)
TALK = (
    ("a woman speaks straight into the camera", "a voice speaking in short phrases", "living"),
    ("a man with a calm face explains something", "calm speech with pauses", "living"),
    ("somebody talks to us while another person listens", "one voice speaking", "urban"),
    ("a reporter announces the news, close up", "clear, quick speech", "urban"),
    ("a worker tells how the machine is used", "speech in a large hall", "industrial"),
    ("a hiker talks about the view", "a voice in the open", "natural"),
    ("a figure from another world says a few words", "a deep voice, slow syllables", "virtual"),
)
RAIN = (
    ("rain falls evenly", "even noise of rain", "natural"),
    ("heavy rain comes down in slanting streaks", "loud rain, swelling and ebbing", "urban"),
    ("a light drizzle dots the ground with small rings", "soft hiss of drizzle", "natural"),
    ("a downpour hides the far trees", "dense noise of a downpour", "natural"),
    ("rain on the road, and nobody is out", "rain on asphalt", "urban"),
    ("glowing rain falls through the dark", "steady hiss", "virtual"),
    ("a summer shower with the sun still out", "a shower, no single drop stands out", "natural"),
)
STILL = (
    ("a photograph of a workbench; nothing in it moves", "knocks from somewhere", MECHANICAL, "industrial"),
    ("a still picture of an empty room", "speech of a person who is not shown", SPEECH, "living"),
    ("a frozen view of a street", "music with a steady beat", MUSICAL, "urban"),
    ("a motionless landscape, as on a postcard", "wind, rising and falling", AMBIENT, "natural"),
    ("a still frame of a strange planet", "music for a strange place", MUSICAL, "virtual"),
    ("a photo of the town hall square", "speech from a loudspeaker that is not shown", SPEECH, "urban"),
    ("a still life with a few toys", "a knock, and another knock", MECHANICAL, "living"),
)
CUTS = (
    ("a quick montage of places", "music with drums and bass", "urban"),
    ("shots of a town, cut to a song", "a song without words", "urban"),
    ("a slideshow of quiet views", "cheerful music", "natural"),
    ("a trailer that cuts from room to room", "driving music with a strong beat", "living"),
    ("a montage of machines and halls", "pounding music", "industrial"),
    ("cuts between worlds of a game", "arcade music", "virtual"),
    ("a holiday film, shot after shot", "light music on a marimba", "natural"),
)


def _sentence(style: int, turn: int, place: str, seen: str, extra: str = "") -> str:
    first = STYLES[style][turn % 2] + (f"{place}, " if place else "") + seen
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in (first, extra) if part)


def _place(kind: str, turn: int) -> str:
    return PLACES[kind][turn % len(PLACES[kind])]


Cells = tuple[str, str, str, int, int]


def _struck(family: str, turn: int, style: int) -> Cells:
    # Each family begins with another tool, so that all are among the first rows of one family or another.
    first = list(FAMILIES).index(family) * 3
    seen, heard, sound, kind = STRUCK[(turn + first) % len(STRUCK)]
    place = _place(kind, turn)
    extras = {"panning_camera": CAMERA, "two_sources": SILENT}.get(family, ("",))
    if family == "busy_background":
        seen, place = f"{seen}, {CROWD[turn % len(CROWD)]}", ""
    text = _sentence(style, turn, place, seen, extras[turn % len(extras)])
    return text, heard, f"{kind}_scenario", sound, MULTIPLE if family == "two_sources" else SINGLE


def _listed(family: str, turn: int, style: int) -> Cells:
    listed, sound = {
        "bounces": (BALLS, MECHANICAL), "footsteps": (STEPS, BIOLOGICAL), "scrubbing": (SCRUBS, MECHANICAL),
        "mouths": (TALK, SPEECH), "rain": (RAIN, AMBIENT),
    }[family]  # fmt: skip
    seen, heard, kind = listed[turn % len(listed)]
    if turn >= len(listed) and family != "rain":
        # The second time round, another place.
        kinds = list(PLACES)
        kind = kinds[(kinds.index(kind) + 2) % len(kinds)]
    return _sentence(style, turn, _place(kind, turn), seen), heard, f"{kind}_scenario", sound, SINGLE


def _still(turn: int, style: int) -> Cells:
    seen, heard, sound, kind = STILL[turn % len(STILL)]
    extra = "" if turn < len(STILL) else "It is held for seconds, whatever is heard"
    return _sentence(style, turn, "", seen, extra), heard, f"{kind}_scenario", sound, OFF_SCREEN


def _cuts(turn: int, style: int) -> Cells:
    seen, heard, kind = CUTS[turn % len(CUTS)]
    extra = "" if turn < len(CUTS) else "The music is not seen"
    return _sentence(style, turn, "", seen, extra), heard, f"{kind}_scenario", MUSICAL, OFF_SCREEN


def rows() -> Iterator[tuple[str, ...]]:
    """Every row of the suite, in order of `COLUMNS`: families take turns, so that the first rows hold one of each."""
    number = 0
    for turn in range(A_FAMILY):
        for place, family in enumerate(sorted(FAMILIES)):
            style = (turn + place) % 3
            if family in ("struck_thing", "panning_camera", "busy_background", "two_sources"):
                text, heard, scenario, sound, spatial = _struck(family, turn, style)
            elif family in ("still_picture", "music_over_cuts"):
                text, heard, scenario, sound, spatial = (_still if family == "still_picture" else _cuts)(turn, style)
            else:
                text, heard, scenario, sound, spatial = _listed(family, turn, style)
            temporal = SIMULTANEOUS if family in ("rain", "music_over_cuts", "two_sources") else SEQUENTIAL
            cells = (scenario, style, sound, temporal, spatial)
            yield f"sync_{number:04d}", text, heard, *map(str, cells), family
            number += 1


def table() -> str:
    """The suite as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows())
    return text.getvalue()


if __name__ == "__main__":
    SUITE.write_text(table(), encoding="utf-8")
    print(f"wrote {SUITE}")
