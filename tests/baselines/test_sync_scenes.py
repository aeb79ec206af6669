"""Scenes with true event times: equal by seed, events where they are said to be, suite and command line."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.baselines.base import Failed, Generated, Request
from javisbench.baselines.procedural import Procedural, scene_events
from javisbench.baselines.procedural.sync.bodies import Flight, Walk
from javisbench.baselines.procedural.sync.clips import SUITE_SETTING, setting_of
from javisbench.baselines.procedural.sync.families import FAMILIES, make_scene
from javisbench.baselines.procedural.sync.mixing import FADE_S, heard
from javisbench.baselines.procedural.sync.motion import raised, wobble
from javisbench.baselines.procedural.sync.scene import MARGIN_S, Setting
from javisbench.baselines.procedural.sync.timing import apart, irregular, shift_off_ends
from javisbench.baselines.procedural.sync.tools import TOOLS
from javisbench.cards import suite_cards
from javisbench.cli import cli
from javisbench.clip import ClipSpec
from javisbench.errors import GenerationError, UsageError
from javisbench.suite import Sample, load_suite
from javisbench.taxonomy import TAXONOMY

WITHOUT_EVENTS = ("rain", "still_picture")
STRUCK = ("struck_thing", "panning_camera", "busy_background", "two_sources")


def small(family: str, seed: int, **changes: object) -> Setting:
    return replace(Setting(family, seed, 2.0, Fraction(25), 64, 36, 8000), **changes)  # type: ignore[arg-type]


def sound(setting: Setting, offset_s: float = 0.0) -> np.ndarray:
    return heard(setting, make_scene(setting).sound(), offset_s)[0]


def digest(setting: Setting) -> str:
    scene = make_scene(setting)
    facts = json.dumps([scene.times(), scene.facts, scene.expected])
    return hashlib.sha256(scene.picture().tobytes() + scene.sound().tobytes() + facts.encode()).hexdigest()


# All families


@pytest.mark.parametrize("family", FAMILIES)
def test_the_seed_decides_alone(family: str) -> None:
    digests = [digest(small(family, seed)) for seed in (1, 2, 1)]
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("fps", "width", "rate"), [(15, 100, 16000), (50, 64, 24000)])
def test_clips_have_the_setting_that_was_asked_for(family: str, fps: int, width: int, rate: int) -> None:
    setting = small(family, 3, fps=Fraction(fps), width=width, sample_rate=rate, duration_s=1.2)
    scene = make_scene(setting)
    frames = scene.picture()
    assert frames.shape == (round(1.2 * fps), 36, width, 3) and frames.dtype == np.uint8
    audio = heard(setting, scene.sound(), 0.0)
    assert audio.shape == (1, round(1.2 * rate)) and audio.dtype == np.float32 and np.abs(audio).max() <= 1


@pytest.mark.parametrize("family", FAMILIES)
def test_times_do_not_depend_on_rate_or_size(family: str) -> None:
    one, other = (make_scene(small(family, 5, fps=fps, width=w)) for fps, w in ((Fraction(24), 64), (Fraction(50), 96)))
    assert one.times() == other.times()


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), duration_s=st.floats(1.5, 8))
def test_events_lie_inside_the_clip_in_order(family: str, seed: int, duration_s: float) -> None:
    setting = small(family, seed, duration_s=duration_s)
    scene = make_scene(setting)
    for listed in (scene.events, scene.seen_only, scene.heard_only):
        times = [event.time_s for event in listed]
        assert times == sorted(times)
        assert all(0 <= time < setting.frames / 25 for time in times)
    if family in WITHOUT_EVENTS:
        assert not scene.events
    elif family in STRUCK:
        assert scene.events
    if scene.expected == "none":
        assert not scene.events
    # Nothing that counts happens at the very ends, where nobody could see or hear it.
    assert all(0.03 < event.time_s < duration_s - 0.02 for event in scene.events)
    assert scene.expected == FAMILIES[family].expected or family == "music_over_cuts"


@pytest.mark.parametrize("family", FAMILIES)
def test_sound_is_there_at_both_ends_without_a_click(family: str) -> None:
    for seed in range(2):
        setting = small(family, seed)
        audio = sound(setting)
        fade = round(FADE_S * setting.sample_rate)
        assert audio[0] == 0 == audio[-1]
        for end in (audio[fade : 4 * fade], audio[-4 * fade : -fade]):
            assert np.sqrt(np.square(end).mean()) > 1e-4, "silence would tell where the clip begins or ends"
        edges = np.abs(np.diff(np.concatenate([audio[: fade // 4], audio[-fade // 4 :]]))).max()
        assert edges <= 0.3 * np.abs(audio).max()


@pytest.mark.parametrize("family", FAMILIES)
def test_no_seed_looks_or_sounds_like_another(family: str) -> None:
    pictures, levels = [], []
    for seed in range(5):
        setting = small(family, seed, duration_s=0.6)
        pictures.append(make_scene(setting).picture()[0].astype(np.float64))
        levels.append(np.sqrt(np.square(sound(setting)).mean()))
    differences = [np.abs(pictures[i] - pictures[j]).mean() for i in range(5) for j in range(i)]
    assert min(differences) > 5
    assert max(levels) > 1.5 * min(levels)


def test_an_offset_brings_in_what_was_to_be_heard_outside_the_clip() -> None:
    setting = small("struck_thing", 1)
    plain, late = sound(setting), sound(setting, 0.5)
    moved, fade = round(0.5 * setting.sample_rate), round(FADE_S * setting.sample_rate)
    np.testing.assert_array_equal(late[moved + fade : -fade], plain[fade : -moved - fade])
    assert np.abs(late[fade:moved]).max() > 1e-4
    assert np.abs(sound(setting, MARGIN_S)[fade:]).max() > 1e-4


# Where events are


@pytest.mark.parametrize("tool", TOOLS)
def test_a_blow_is_heard_within_5_ms(tool: str) -> None:
    heard_at = []
    for seed in (1, 2, 3):
        setting = small("struck_thing", seed, duration_s=3.0, sample_rate=16000, words=frozenset([tool]))
        scene = make_scene(setting)
        assert scene.facts["thing"] == tool
        audio = np.abs(heard(setting, scene.sound(), 0.0)[0])
        for event in scene.events:
            start = round(event.time_s * 16000)
            before = audio[max(0, start - 480) : start - 16].max()
            loud = audio[start - 320 : start + 800] > max(1.05 * before, audio[start : start + 800].max() / 8)
            heard_at.append((np.flatnonzero(loud)[0] - 320) / 16000)
    assert len(heard_at) >= 5
    # Measured over the ten tools: 0 to 3 ms; the partials of a bell take a moment to add up.
    assert np.abs(heard_at).max() < 0.005


def test_blows_are_seen_within_half_a_frame() -> None:
    """Filmed at 100 fps, the picture changes most where a blow lands: what gathers speed is fastest just before.

    Half a frame at 25 fps is 20 ms. Things that pass in front of others, or others that move, spread single blows.
    """
    offsets = []
    for seed, tool in enumerate(TOOLS):
        setting = Setting("struck_thing", seed, 2.0, Fraction(100), 96, 54, 8000, frozenset([tool]))
        scene = make_scene(setting)
        change = np.square(np.diff(scene.picture().astype(np.float32), axis=0)).mean(axis=(1, 2, 3))
        middles = (np.arange(change.size) + 0.5) / 100
        for event in scene.events:
            near = np.abs(middles - event.time_s) < 0.1
            offsets.append(middles[near][change[near].argmax()] - event.time_s)
    assert len(offsets) > 15
    assert np.abs(np.median(offsets)) < 0.02
    assert np.mean(np.abs(offsets) < 0.04) > 0.75


def test_nothing_but_the_sounding_thing_of_two_is_heard() -> None:
    for seed in range(5):
        setting = Setting("two_sources", seed, 4.0, Fraction(25), 64, 36, 16000)
        scene = make_scene(setting)
        silent = [event for event in scene.seen_only if event.kind.startswith("silent")]
        assert silent and scene.facts["thing"] != scene.facts["silent_thing"]
        own = np.array([event.time_s for event in scene.events])
        for event in silent:
            assert np.abs(own - event.time_s).min() >= 0.1


def test_a_still_picture_is_still_and_sounds() -> None:
    for seed in range(6):
        setting = small("still_picture", seed)
        scene = make_scene(setting)
        frames = scene.picture()
        assert (frames == frames[0]).all()
        assert scene.heard_only or scene.facts["heard"] == "wind"


def test_cuts_lie_on_beats_where_they_are_said_to_and_between_them_elsewhere() -> None:
    kinds = set()
    for seed in range(8):
        setting = small("music_over_cuts", seed, duration_s=4.0)
        scene = make_scene(setting)
        frames = scene.picture().astype(np.int16)
        change = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
        cuts = scene.events or scene.seen_only
        kinds.add(scene.expected)
        for cut in cuts:
            first = int(np.ceil(cut.time_s * 25 - 1e-9))
            assert change[first - 1] > 3 * np.median(change) + 1
        if scene.seen_only:
            beats = np.array([event.time_s for event in scene.heard_only])
            assert min(np.abs(beats - cut.time_s).min() for cut in cuts) > 0.05
    assert kinds == {"weak", "none"}


def test_rain_is_even_and_swells_alike_in_picture_and_sound() -> None:
    together = []
    for seed in range(8):
        setting = small("rain", seed, duration_s=6.0, sample_rate=16000, words=frozenset(["heavy"]))
        scene = make_scene(setting)
        if scene.seen_only or scene.heard_only:
            continue
        frames = scene.picture().astype(np.float64)
        change = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))[:144].reshape(12, 12).mean(axis=1)
        loud = np.square(heard(setting, scene.sound(), 0.0)[0]).reshape(-1, 8000).mean(axis=1)
        assert loud.max() < 8 * loud.min()
        together.append(np.corrcoef(change, loud)[0, 1])
    assert len(together) >= 2 and np.mean(together) > 0.4


def test_the_faster_the_hand_the_louder_it_scrubs() -> None:
    from javisbench.baselines.procedural.sync.bodies import _strokes

    setting = small("scrubbing", 2, duration_s=4.0, sample_rate=16000)
    scene = make_scene(setting)
    strokes = _strokes(setting, setting.random("times"))
    speed = np.abs(np.gradient(strokes.at(np.arange(0, 4, 0.04))))
    loud = np.sqrt(np.square(sound(setting)).reshape(100, -1).mean(axis=1))
    assert np.corrcoef(speed, loud)[0, 1] > 0.8
    assert len(scene.events) >= 4


def test_a_mouth_opens_as_the_voice_swells() -> None:
    from javisbench.baselines.procedural.sync.mouths import speech

    setting = small("mouths", 4, duration_s=5.0, sample_rate=16000)
    talk = speech(setting, setting.random("times"))
    opened = talk.openness(np.arange(0, 5, 0.04))
    loud = np.sqrt(np.square(sound(setting)).reshape(125, -1).mean(axis=1))
    assert np.corrcoef(opened, loud)[0, 1] > 0.5
    assert [event.time_s for event in make_scene(setting).events] == [t for t in talk.onsets if 0 <= t < 5]


# Parts


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), shortest=st.floats(0.2, 0.8), ratio=st.floats(1.2, 5), duration_s=st.floats(1, 8))
def test_irregular_times_keep_their_gaps(seed: int, shortest: float, ratio: float, duration_s: float) -> None:
    setting = small("struck_thing", seed, duration_s=duration_s)
    times = irregular(setting, np.random.default_rng(seed), shortest, shortest * ratio)
    assert (np.diff(times) >= shortest - 1e-9).all()
    assert ((times > 0) & (times < duration_s)).any()
    moved = times + shift_off_ends(setting, times)
    assert min(np.abs(moved).min(), np.abs(moved - duration_s).min()) >= min(0.04, duration_s / 8) - 1e-9
    kept = apart(times, times[::2], 0.1)
    assert not np.isin(times[::2], kept).any()


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.floats(0.25, 2), min_size=1, max_size=6),
    rest=st.floats(0.1, 0.9),
    fall_s=st.floats(0.05, 0.3),
    power=st.floats(1, 3),
    missed=st.integers(0, 63),
)
def test_strokes_touch_when_they_land_and_never_elsewhere(
    gaps: list[float], rest: float, fall_s: float, power: float, missed: int
) -> None:
    strokes = np.cumsum(gaps)
    lands = np.array([not missed >> place & 1 for place in range(strokes.size)])
    times = np.sort(np.concatenate([np.linspace(0, strokes[-1] + 1, 400), strokes]))
    height = raised(times, strokes, lands, np.ones(strokes.size), rest, fall_s, power)
    assert (height >= -1e-9).all() and (height <= 1 + 1e-9).all()
    at = height[np.searchsorted(times, strokes)]
    np.testing.assert_allclose(at, np.where(lands, 0.0, 0.3), atol=1e-6)
    away = np.abs(times[:, None] - strokes[lands][None]).min(axis=1, initial=9) > 0.02
    assert (height[away] > 0.005).all()


def test_a_struck_thing_is_at_rest_before_it_is_struck() -> None:
    times = np.linspace(0, 2, 201)
    swings = wobble(times, np.array([1.0]), np.array([1.0]), 5, 0.2)
    assert not swings[times < 1].any() and np.abs(swings[-1]) < 0.01 and swings.max() > 0.5


@settings(max_examples=50, deadline=None)
@given(height=st.floats(0.2, 0.9), gravity=st.floats(4, 10), keeps=st.floats(0.6, 0.9))
def test_balls_fly_as_gravity_says_and_touch_the_ground_at_their_contacts(
    height: float, gravity: float, keeps: float
) -> None:
    first = 2 * keeps * np.sqrt(2 * height / gravity)
    contacts = np.cumsum([1.0, *(first * keeps ** np.arange(5))])
    flight = Flight(contacts, height, 0.5, 0.1)
    np.testing.assert_allclose(flight.above(contacts, gravity), 0, atol=1e-9)
    middles = (contacts[1:] + contacts[:-1]) / 2
    np.testing.assert_allclose(flight.above(middles, gravity), gravity / 8 * np.diff(contacts) ** 2)
    between = np.linspace(contacts[0], contacts[1], 101)
    np.testing.assert_allclose(np.diff(flight.above(between, gravity), 2), -gravity * (between[1] - between[0]) ** 2)
    assert flight.above(np.array([contacts[-1] + 1]), gravity) == 0


def test_feet_come_down_at_their_steps_and_stay_until_the_other_has() -> None:
    steps = np.array([0.5, 1.0, 1.6, 2.1, 2.9])
    walk = Walk(steps, np.array([0.1, 0.52, 1.02, 1.62, 2.4]), 0.3)
    times = np.linspace(0.5, 2.9, 481)
    for which in (0, 1):
        along, high = walk.foot(times, which)
        moving = np.diff(along) > 1e-9
        assert (np.diff(along) >= -1e-9).all()
        for k in range(which, steps.size - 1, 2):
            planted = (times[1:] > steps[k]) & (times[1:] < steps[k + 1])
            assert not moving[planted].any() and not high[1:][planted].any()
        just_before = np.searchsorted(times, steps[which::2][1:] - 0.01)
        assert (high[just_before] > 0).all()
    # The body is between its feet when both are down.
    left, right = (walk.foot(steps[1:], which)[0] for which in (0, 1))
    relative = walk.body(steps[1:]) - (left + right) / 2
    np.testing.assert_allclose(relative, relative[0], atol=1e-3)


# The generator


def answer(sample: Sample, seed: int = 5, **params: str) -> Generated | Failed:
    generator = Procedural("sync", params)
    plan = generator.plan(ClipSpec(64, 36, 1.5, Fraction(25), 8000))
    (made,) = generator.generate([Request(sample, 0, 0, seed, plan, sample.prompts)])
    return made


def test_the_suites_column_names_the_family_and_the_sidecar_holds_the_true_times() -> None:
    sample = Sample("one", 0, "A drum.", extra={"family": "panning_camera"})
    made = answer(sample)
    assert isinstance(made, Generated)
    assert made.info["family"] == "panning_camera" and made.info["scene"]["thing"] == "drum"
    assert made.info["expected"] == "in step"
    spec = ClipSpec(64, 36, 38 / 25, Fraction(25), 8000)
    assert {name: made.info[name] for name in ("events", "seen_only", "heard_only")} == scene_events(sample, 5, spec)
    json.dumps(dict(made.info), allow_nan=False)


def test_rates_and_lengths_differ_by_clip_unless_the_suites_are_asked_for() -> None:
    sample = Sample("one", 0, "A ball bounces.")
    drawn = [setting_of(sample, seed, SUITE_SETTING) for seed in range(60)]
    assert {setting.fps for setting in drawn} == {15, 24, 25, 30, 50}
    assert all(3.9 <= setting.duration_s <= 6.1 for setting in drawn)
    assert max(setting.duration_s for setting in drawn) > 5.5 > 4.5 > min(setting.duration_s for setting in drawn)
    kept = [setting_of(sample, seed, SUITE_SETTING, "suite") for seed in range(3)]
    assert {(setting.fps, setting.duration_s) for setting in kept} == {(25, 5.0)}
    made = answer(sample, rates="suite")
    assert isinstance(made, Generated) and made.clip.frames.shape == (38, 36, 64, 3) and made.clip.fps == 25
    assert (
        Procedural("sync").plan(SUITE_SETTING).notes
        and not Procedural("sync", {"rates": "suite"}).plan(SUITE_SETTING).notes
    )


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("A ball bounces on the floor.", "bounces"),
        ("Somebody walks by.", "footsteps"),
        ("Heavy rain.", "rain"),
        ("A woman is speaking.", "mouths"),
        ("A hammer on an anvil.", "struck_thing"),
        ("A hand scrubs a pan.", "scrubbing"),
    ],
)
def test_words_choose_the_family_where_no_column_does(text: str, family: str) -> None:
    made = answer(Sample("one", 0, text))
    assert isinstance(made, Generated) and made.info["family"] == family


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (Sample("one", 0, "An orchestra of whales."), "none of the families"),
        (Sample("one", 0, "A ball.", extra={"family": "bounce"}), "Did you mean 'bounces'"),
    ],
)
def test_what_it_cannot_make_is_a_failure_that_says_why(sample: Sample, message: str) -> None:
    made = answer(sample)
    assert isinstance(made, Failed) and made.kind == "family" and message in made.message and not made.retryable
    with pytest.raises(GenerationError, match=message):
        scene_events(sample, 1)


@pytest.mark.parametrize(
    ("params", "message"),
    [({"rates": "fast"}, "varied, suite"), ({"offset_s": "3"}, "between -2 and 2"), ({"rate": "x"}, "procedural:sync")],
)
def test_wrong_parameters_are_refused_at_once(params: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Procedural("sync", params)


def test_its_variant_has_a_parameter_that_plain_scenes_lack() -> None:
    with pytest.raises(UsageError, match="no parameter 'rates'"):
        Procedural(None, {"rates": "suite"})


def test_damage_and_offset_work_as_for_plain_scenes() -> None:
    sample = Sample("one", 0, "A drum.", extra={"family": "struck_thing"})
    plain, frozen, late = answer(sample), answer(sample, damage="frozen"), answer(sample, offset_s="0.25")
    assert isinstance(plain, Generated) and isinstance(frozen, Generated) and isinstance(late, Generated)
    assert (frozen.clip.frames == plain.clip.frames[0]).all()
    np.testing.assert_array_equal(late.clip.frames, plain.clip.frames)
    assert plain.clip.audio is not None and late.clip.audio is not None
    np.testing.assert_array_equal(late.clip.audio[0, 2100:-80], plain.clip.audio[0, 100:-2080])
    assert late.info["events"] == plain.info["events"] and late.info["audio_offset_s"] == 0.25


# The suite


def test_the_suite_has_14_prompts_a_family_that_are_sorted_in() -> None:
    suite = load_suite("sync-scenes").sliced_by(["family"])
    assert len(suite) == suite.total == suite_cards()["sync-scenes"].samples == 154
    assert suite.setting == SUITE_SETTING
    slices = suite.slices()
    assert {name: len(slices["family", name]) for name in FAMILIES} == dict.fromkeys(FAMILIES, 14)
    assert len({sample.text for sample in suite}) == 154
    for sample in suite:
        assert all(sample.categories.get(aspect.id) for aspect in TAXONOMY), sample.id
        assert sample.text[0].isupper() and sample.text.endswith(".") and 5 <= len(sample.text.split()) <= 36


def test_scenes_show_the_thing_that_their_prompt_names() -> None:
    for sample in load_suite("sync-scenes"):
        setting = setting_of(sample, 1, SUITE_SETTING)
        if setting.family in STRUCK:
            assert [tool for tool in TOOLS if tool in setting.words] == [make_scene(setting).facts["thing"]], (
                sample.text
            )


def test_the_suite_is_what_its_script_writes() -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "sync_scenes.py"
    spec = importlib.util.spec_from_file_location("sync_scenes", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.SUITE.read_text(encoding="utf-8") == script.table()


def test_the_command_line_makes_and_scores_the_first_scenes(tmp_path: Path) -> None:
    words = "eval --suite sync-scenes --model procedural:sync --limit 2 --metrics health_silence --workers 1 --quiet"
    result = CliRunner().invoke(cli, [*words.split(), "--slice-by", "family", "--out", str(tmp_path / "run"), "--json"])
    assert result.exit_code == 0, result.output
    cells = json.loads(result.stdout)["metrics"]["health_silence"]
    assert {name for name, cell in cells["family"].items() if cell["n"]} == {"bounces", "busy_background"}
    facts = json.loads((tmp_path / "run" / "clips" / "sync_0001.json").read_text(encoding="utf-8"))
    sample = next(sample for sample in load_suite("sync-scenes") if sample.id == "sync_0001")
    assert facts["info"]["events"] == scene_events(sample, facts["seed"])["events"] != []


def test_another_family_is_another_clip(tmp_path: Path) -> None:
    suite = tmp_path / "mine.csv"
    command = f"generate --suite {suite} --model procedural:sync --out {tmp_path / 'run'} --quiet"
    for family, code in (("rain", 0), ("rain", 0), ("still_picture", 2)):
        suite.write_text(f"text,family\nWater and a drum.,{family}\n", encoding="utf-8")
        result = CliRunner().invoke(cli, command.split(), standalone_mode=True)
        assert (result.exit_code == 0) == (code == 0), result.output
