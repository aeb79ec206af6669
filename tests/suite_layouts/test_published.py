"""Published suites: counts that their sources state, what each field becomes, and what is refused, by row."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from javisbench.cards import CARDS, suite_cards
from javisbench.cli import run
from javisbench.errors import SuiteError, UsageError
from javisbench.metrics.judges.question_set import Question, checklist, read_file
from javisbench.run.own_suite import recorded_suite
from javisbench.suite import SUITES, Sample, load_suite, published_at, read_suite, suites_in_folders

Change = Callable[[Path], None]


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def vgg_id(number: int) -> str:
    """The eleven characters of the video `number` of `published_suites.vggsound`."""
    return f"{'-_aZ'[number % 4]}{number:010d}"


@pytest.fixture(scope="module")
def small(published_suites: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A small folder of each suite, made once; not to be changed."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            published_suites.BUILDERS[name](made[name], False)
        return made[name]

    return folder


def test_every_published_suite_has_a_card_a_layout_and_a_folder_here(published_suites: Any) -> None:
    assert sorted(suites_in_folders()) == sorted(SUITES.own) == sorted(published_suites.BUILDERS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, published_suites: Any) -> Callable[[str], Path]:
    """A folder at full count; suites that share one, share it. Not to be changed."""
    made: dict[object, Path] = {}

    def folder(name: str) -> Path:
        build = published_suites.BUILDERS[name]
        if build not in made:
            made[build] = tmp_path_factory.mktemp(name)
            build(made[build], True)
        return made[build]

    return folder


@pytest.mark.parametrize("name", sorted(SUITES.own))
def test_at_full_count_no_number_differs_from_what_the_source_states(name: str, whole: Callable[[str], Path]) -> None:
    suite = load_suite(f"{name}:{whole(name)}")
    card = suite_cards()[name]
    assert len(suite) == suite.total == card.samples
    assert suite.task == card.task and suite.setting is None
    assert not [notice for notice in suite.notices() if "expected" in notice]
    given = [getattr(sample, suite.task_facts.condition) for sample in suite] if suite.task_facts.condition else []
    assert all(path.is_file() for path in given) and len(given) in (0, len(suite))
    if name == "vabench":
        assert "70 of 848 items have no name" in suite.notices()[0]


@pytest.mark.parametrize("name", sorted(SUITES.own))
def test_fewer_items_are_a_finding_and_no_refusal(
    name: str, small: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["suites", "validate", name, "--data-root", str(small(name))]) == 0
    stated = f"{suite_cards()[name].samples:,} samples expected, {len(load_suite(f'{name}:{small(name)}'))} found"
    assert stated in capsys.readouterr().out


def judged(name: str, sample: Sample) -> tuple[Question, ...]:
    """What the judge that is called as the suite asks about the sample."""
    per_sample = read_file(CARDS / "judges" / f"{name}.toml").per_sample
    assert per_sample is not None
    return checklist(per_sample, sample)


def test_verse_bench(small: Callable[[str], Path]) -> None:
    suite = load_suite(f"verse-bench:{small('verse-bench')}")
    chinese, first, silent = suite.samples[:3]
    assert first.text.endswith('Sound: saw on wood, birds. a man says: "Mind the step."')
    assert (first.video_text, first.audio_text) == ("A man saws plank 1 of set1.", "saw on wood")
    assert first.image is not None and first.image.name == f"{first.id}.jpg"
    assert first.extra["transcript"] == "Mind the step." and first.categories["language"] == ("en",)
    assert "transcript" not in silent.extra and "language" not in silent.categories
    assert (chinese.extra["transcript"], chinese.extra["language"]) == ("你好，世界。", "zh")
    assert [sample.id for sample in suite][:3] == ["1", "00000002", "00003"], "by number, however it is written"
    assert [sample.audio_path is not None for sample in suite] == [s.extra["set"] == "set2" for s in suite]
    without = load_suite(f"verse-bench-t2av:{small('verse-bench')}")
    assert [s.text for s in without] == [s.text for s in suite] and all(s.image is None for s in without)
    assert without.hash != suite.hash, "what is given belongs to the hash"


def test_an_empty_sound_prompt_is_none(published_suites: Any, tmp_path: Path) -> None:
    published_suites.BUILDERS["verse-bench"](tmp_path, False)
    path = next((tmp_path / "set1").glob("*.json"))
    write_json(path, {**json.loads(path.read_text()), "audio_prompt": ["", "rain"], "prompt": "As it stands."})
    (found,) = (s for s in load_suite(f"verse-bench:{tmp_path}") if s.id == path.stem)
    assert (found.audio_text, found.text) == ("rain", "As it stands.")


def test_items_of_two_sets_with_one_number_are_told_apart(published_suites: Any, tmp_path: Path) -> None:
    published_suites.BUILDERS["verse-bench"](tmp_path, False)
    for suffix in (".json", ".jpg"):
        shutil.copy(next((tmp_path / "set1").glob(f"*{suffix}")), tmp_path / f"set3/0000000002{suffix}")
    ids = [sample.id for sample in load_suite(f"verse-bench:{tmp_path}")]
    assert "set3-0000000002" in ids and len(ids) == len(set(ids)) == 10


def test_t2av_compass(small: Callable[[str], Path]) -> None:
    suite = load_suite(f"t2av-compass:{small('t2av-compass')}")
    assert [sample.id for sample in suite][:2] == ["sample_0001", "sample_0002"]
    first, second = suite.samples[:2]
    assert (first.audio_text, second.audio_text, second.video_text) == (None, "Sound 2.", "Picture 2.")
    assert second.extra["transcript"] == "Who is there?"
    assert first.categories["core_subject"] == ("animal", "human"), "each value of a list is a category"
    assert first.categories["event_scenario_column"] == ("indoor",), "the name of the taxonomy's aspect stays its own"
    (question,) = judged("t2av-compass", first)
    assert (question.text, question.group, question.hears) == ("Is it said?", "Sound", True)


def test_several_speakers_have_tags(published_suites: Any, tmp_path: Path) -> None:
    item = published_suites.compass_item(12, "Caption", "Fantasy")
    write_json(tmp_path / "prompts.json", [item])
    (sample,) = load_suite(f"t2av-compass:{tmp_path}")
    assert sample.extra["transcript"] == "[S1] Who is there? [S2] Me. [S1] Ah."


def test_vabench(small: Callable[[str], Path]) -> None:
    suite = load_suite(f"vabench:{small('vabench')}")
    first = suite.samples[0]
    assert first.text == 'She says "scene 0"\nand waits, then goes.', "the mapping has it with JSON's escapes"
    assert (first.extra["idx"], first.id) == ("phrase number 0. and more", "phrase_number_0")
    assert first.categories["difficulty"] == ("easy",) and first.categories["dimension"] == ("realism", "sync")
    assert [(q.text, q.hears) for q in judged("vabench", first)] == [("Does it sound?", True), ("Is it seen?", False)]
    shown = load_suite(f"vabench-i2av:{small('vabench')}")
    assert [sample.image is not None and sample.image.name for sample in shown] == [f"frame_{n}.jpg" for n in (0, 2, 1)]


def test_avgen_bench(small: Callable[[str], Path]) -> None:
    suite = load_suite(f"avgen-bench:{small('avgen-bench')}")
    assert suite.samples[0].id == "ads.lute_g_c_chord_0"
    assert suite.samples[0].clip_names[0] == "ads/Lute_ G_C chord 0_"
    assert [s.extra.get("style") for s in suite] == [None, None, "noir", "noir"]
    assert load_suite(f"avgen-bench:{small('avgen-bench') / 'prompts'}").hash == suite.hash


def test_vggsound(published_suites: Any, tmp_path: Path) -> None:
    published_suites.BUILDERS["vggsound"](tmp_path, False)
    (tmp_path / "audio").mkdir()
    (tmp_path / f"audio/{vgg_id(2)}_000032.wav").touch()
    suite = load_suite(f"vggsound:{tmp_path}")
    assert [sample.id for sample in suite][:3] == [
        f"v{vgg_id(0)}_000030",
        f"v{vgg_id(1)}_000031",
        f"{vgg_id(2)}_000032",
    ]
    assert [sample.audio_path is not None for sample in suite] == [False, False, True, False]
    assert all(sample.path == sample.video for sample in suite)
    (tmp_path / f"video/{vgg_id(1)}_000031.mp4").unlink()
    fewer = load_suite(f"vggsound:{tmp_path}")
    assert len(fewer) == 3 and "n is 3" in fewer.notices()[0] and fewer.hash != suite.hash


def edit(file: str, change: Callable[[Any], Any]) -> Change:
    def apply(folder: Path) -> None:
        (path,) = sorted(folder.glob(file))[:1]
        write_json(path, change(json.loads(path.read_text(encoding="utf-8"))))

    return apply


def member(name: str, value: object) -> Callable[[Any], Any]:
    """The first row, or the only one, with another value; `...` takes the member away."""

    def change(document: Any) -> Any:
        row = document[0] if isinstance(document, list) else document
        row[name] = value
        if value is ...:
            del row[name]
        return document

    return change


def raw(file: str, text: str) -> Change:
    def apply(folder: Path) -> None:
        next(iter(sorted(folder.glob(file)))).write_text(text, encoding="utf-8")

    return apply


def line(file: str, number: int, text: str) -> Change:
    def apply(folder: Path) -> None:
        lines = (folder / file).read_text(encoding="utf-8").split("\n")
        lines[number] = text
        (folder / file).write_text("\n".join(lines), encoding="utf-8")

    return apply


def gone(file: str) -> Change:
    return lambda folder: sorted(folder.glob(file))[0].unlink()


def led_outside(file: str) -> Change:
    def apply(folder: Path) -> None:
        (path,) = sorted(folder.glob(file))[:1]
        outside = folder.parent / f"{folder.name}-outside{path.suffix}"
        path.replace(outside)
        path.symlink_to(outside)

    return apply


DEEP = "[" * 100_000
VERSE, COMPASS, VA, VI = (
    "set1/*.json",
    "Data/prompts.json",
    "json_files/json_text/*.json",
    "json_files/json_image/*.json",
)
AVGEN = "prompts/ads.json"
MAPPING = "mapping/final_idx_to_prompt.csv"
SPEECH = [{"speaker": "a", "text": 3}]
BROKEN: list[tuple[str, Change, int, str, str]] = [
    ("verse-bench", edit(VERSE, member("video_prompt", 5)), 0, "video_prompt", "text is needed, got a number"),
    ("verse-bench", edit(VERSE, member("video_prompt", ...)), 0, "video_prompt", "missing"),
    ("verse-bench", edit(VERSE, member("video_prompt", " ")), 0, "video_prompt", "empty"),
    ("verse-bench", edit(VERSE, member("audio_prompt", "saw")), 0, "audio_prompt", "a list is needed, got text"),
    ("verse-bench", edit(VERSE, member("audio_prompt", [None])), 0, "audio_prompt", "missing"),
    ("verse-bench", edit(VERSE, member("speech_prompt", [])), 0, "speech_prompt", "an object is needed"),
    ("verse-bench", edit(VERSE, member("speech_prompt", {"text": []})), 0, "speech_prompt.text", "got a list"),
    ("verse-bench", edit(VERSE, member("prompt", {})), 0, "prompt", "got an object"),
    ("verse-bench", edit(VERSE, member("video_prompt", "x" * 10_000_000)), 0, "", "larger than 1 MiB"),
    ("verse-bench", edit(VERSE, member("video_prompt", "x" * 200_000)), 0, "video_prompt", "has 200,000 characters"),
    ("verse-bench", edit(VERSE, member("video_prompt", "a\0b")), 0, "video_prompt", "NUL"),
    ("verse-bench", edit(VERSE, member("audio_prompt", ["\ud800"])), 0, "audio_prompt", "surrogate"),
    ("verse-bench", edit(VERSE, lambda document: [document]), 0, "", "not a JSON object, but a list"),
    ("verse-bench", raw(VERSE, DEEP), 0, "", "nested too deeply"),
    ("verse-bench", raw(VERSE, '{"a": NaN}'), 0, "", "no JSON|is not JSON"),
    ("verse-bench", gone("set1/*.jpg"), 0, "image", "is missing"),
    ("verse-bench", led_outside("set1/*.jpg"), 0, "image", "leaves the suite's folder"),
    ("verse-bench", led_outside("set2/*.wav"), 0, "audio_path", "leaves the suite's folder"),
    ("verse-bench", led_outside(VERSE), 0, "", "a link out of the folder"),
    ("t2av-compass", edit(COMPASS, member("index", "1")), 1, "index", "a whole number is needed, got text"),
    ("t2av-compass", edit(COMPASS, member("index", True)), 1, "index", "got true or false"),
    ("t2av-compass", edit(COMPASS, member("index", 0)), 1, "index", "counted from 1"),
    ("t2av-compass", edit(COMPASS, member("index", 2)), 2, "id", "also the id of row 1 of Data/prompts.json"),
    ("t2av-compass", edit(COMPASS, member("prompt", None)), 1, "prompt", "missing"),
    ("t2av-compass", edit(COMPASS, member("source", 1)), 1, "source", "text is needed"),
    ("t2av-compass", edit(COMPASS, member("sound_type", "speech")), 1, "sound_type", "a list is needed"),
    ("t2av-compass", edit(COMPASS, member("sound_type", [1])), 1, "sound_type", "text is needed"),
    ("t2av-compass", edit(COMPASS, member("sound_type", ["x"] * 5000)), 1, "sound_type", "a list of 5,000"),
    ("t2av-compass", edit(COMPASS, member("speech_prompt", ["Hi"])), 1, "speech_prompt", "its entry 1 is text"),
    ("t2av-compass", edit(COMPASS, member("speech_prompt", SPEECH)), 1, "speech_prompt[1].text", "text is needed"),
    ("t2av-compass", edit(COMPASS, member("checklist_info", [])), 1, "checklist_info", "an object is needed"),
    ("t2av-compass", edit(COMPASS, member("checklist_info", {"A": 1})), 1, "checklist_info.A", "an object is needed"),
    ("t2av-compass", edit(COMPASS, member("checklist_info", {"A": {"B": 1}})), 1, "checklist_info.A.B", "text is"),
    ("t2av-compass", edit(COMPASS, lambda document: {"all": document}), 0, "", "a list of objects is needed"),
    ("t2av-compass", edit(COMPASS, lambda document: ["row", *document]), 1, "", "not a JSON object, but text"),
    ("t2av-compass", raw(COMPASS, DEEP), 0, "", "nested too deeply"),
    ("t2av-compass", raw(COMPASS, "null"), 0, "", "null"),
    ("t2av-compass", gone(COMPASS), 0, "", "holds no Data/prompts.json"),
    ("vabench", edit(VA, member("prompt_en", 1)), 1, "prompt_en", "text is needed"),
    ("vabench", edit(VA, member("prompt_vision", [])), 1, "prompt_vision", "text is needed"),
    ("vabench", edit(VA, member("dimension", "sync")), 1, "dimension", "a list is needed"),
    ("vabench", edit(VA, member("auxiliary_info_audio", [{}])), 1, "auxiliary_info_audio", "text is needed"),
    ("vabench", line(MAPPING, 1, "\tprompt"), 1, "idx", "empty"),
    ("vabench", line(MAPPING, 0, "idx\tname"), 0, "prompt", "no such column"),
    ("vabench", gone(MAPPING), 0, "", "holds no mapping/final_idx_to_prompt.csv"),
    ("vabench-i2av", gone("images/*/frame_0.jpg"), 1, "image", "'frame_0.jpg' is missing"),
    ("vabench-i2av", led_outside("images/*/frame_0.jpg"), 1, "image", "leaves the suite's folder"),
    ("vabench-i2av", lambda f: shutil.copy(next(f.glob("images/*/frame_0.jpg")), f), 1, "image", "keep one of them"),
    ("vabench-i2av", edit(VI, member("prompt_audio", 1.5)), 1, "prompt_audio", "text is needed"),
    ("avgen-bench", edit(AVGEN, member("content", ...)), 1, "content", "missing"),
    ("avgen-bench", edit(AVGEN, member("content", 1)), 1, "content", "text is needed"),
    ("avgen-bench", edit(AVGEN, member("prompt", "")), 1, "prompt", "empty"),
    ("avgen-bench", edit("prompts/movie_trailer.json", member("style", {})), 1, "style", "text is needed"),
    ("avgen-bench", edit(AVGEN, lambda document: [*document, 5]), 3, "", "not a JSON object"),
    ("vggsound", line("vgg-test.tsv", 2, "../../etc/passwd\tlabel"), 2, "id", "is no clip"),
    ("vggsound", line("vgg-test.tsv", 1, f"{vgg_id(0)}_000030"), 1, "label", "missing"),
    ("vggsound", line("vgg-test.tsv", 1, f"{vgg_id(1)}_000031\tagain"), 2, "id", "the id of row 1 of vgg-test.tsv"),
    ("vggsound", line("vgg-test.tsv", 1, f"{vgg_id(0)}_000030\ta\0b"), 1, "text", "NUL"),
    ("vggsound", led_outside("video/*.mp4"), 1, "video", "leaves the suite's folder"),
    ("vggsound", gone("vgg-test.tsv"), 0, "", "holds no vgg-test.tsv"),
    ("vggsound-full", line("vggsound.csv", 0, f"{vgg_id(0)},x,label,test"), 1, "id", "is no clip"),
    ("vggsound-full", line("vggsound.csv", 0, f"{vgg_id(0)},30,label"), 1, "", "is not id, start second"),
    ("vggsound-full", line("vggsound.csv", 0, '"unclosed'), 0, "", "not readable as a table"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "row", "column", "reason"),
    BROKEN,
    ids=[f"{number}-{case[0]}-{case[3] or 'file'}" for number, case in enumerate(BROKEN)],
)
def test_one_broken_field_is_refused_by_row(
    published_suites: Any, tmp_path: Path, name: str, change: Change, row: int, column: str, reason: str
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    published_suites.BUILDERS[name](folder, False)
    change(folder)
    suite, problems = read_suite(f"{name}:{folder}")
    assert suite is None
    assert {p.row for p in problems} == {row}, problems
    # What stands in one field of VGGSound's list is several columns here.
    assert {p.column for p in problems} == {column} or (name == "vggsound" and len(problems) < 4), problems
    assert any(p.column == column for p in problems), problems
    with pytest.raises(SuiteError, match=reason):
        load_suite(f"{name}:{folder}")


@pytest.mark.parametrize("name", sorted(SUITES.own))
def test_a_folder_of_something_else_is_refused_with_what_to_give(tmp_path: Path, name: str) -> None:
    (tmp_path / "other.txt").touch()
    with pytest.raises(SuiteError, match=r"give the folder|put the list there"):
        load_suite(f"{name}:{tmp_path}")
    with pytest.raises(UsageError, match="no folder"):
        load_suite(f"{name}:{tmp_path / 'nowhere'}")


def test_a_file_where_a_folder_should_be_is_told_once(published_suites: Any, tmp_path: Path) -> None:
    published_suites.BUILDERS["vabench"](tmp_path, False)
    shutil.rmtree(tmp_path / "json_files/json_text")
    (tmp_path / "json_files/json_text").touch()
    assert [str(problem) for problem in read_suite(f"vabench:{tmp_path}")[1]] == [
        "json_files/json_text: file: cannot be listed (Not a directory)"
    ]


def test_the_root_of_all_folders_has_a_name_in_messages() -> None:
    _, problems = read_suite("vggsound:/")
    assert [problem.file for problem in problems] == ["/"]


@pytest.mark.parametrize("name", sorted(SUITES.own))
def test_without_data_the_error_says_how_they_are_fetched(
    name: str, monkeypatch: pytest.MonkeyPatch, small: Callable[[str], Path], tmp_path: Path
) -> None:
    monkeypatch.delenv("JAVISBENCH_SUITES", raising=False)
    card = suite_cards()[name]
    with pytest.raises(SuiteError) as caught:
        load_suite(name)
    assert "--data-root DIR" in caught.value.sentence and list(caught.value.details) == card.fetch.strip().splitlines()
    (tmp_path / (card.home or name)).symlink_to(small(name))
    monkeypatch.setenv("JAVISBENCH_SUITES", str(tmp_path))
    assert load_suite(name).hash == load_suite(f"{name}:{small(name)}").hash


@pytest.mark.parametrize("arguments", [["suites", "show", "demo"], ["score", "."], ["score", ".", "--suite", "demo"]])
def test_a_data_root_goes_with_a_published_suite_alone(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*arguments, "--data-root", str(tmp_path)]) == 2
    assert "--data-root says where the data of a published suite lie" in capsys.readouterr().err
    assert published_at("demo:x") is None and published_at("verse-bench:") is None


def test_show_tells_what_the_paper_reports_and_javisbench_lacks(
    small: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["suites", "show", "verse-bench", "--data-root", str(small("verse-bench"))]) == 0
    told = capsys.readouterr().out
    assert "verse-bench computes: KL (kl_passt), CS (clap_score)" in told
    assert "javisbench lacks: AS, ID, FD, Overall" in told
    assert "set: set1 3, set2 3, set3 3" in told
    assert run(["suites", "show", "verse-bench", "--data-root", str(small("verse-bench")), "--json"]) == 0
    reports = {report["name"]: report["metric"] for report in json.loads(capsys.readouterr().out)["reports"]}
    assert (reports["WER"], reports["AS"]) == ("wer", None)


def test_show_tells_of_a_suite_whose_data_are_not_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVISBENCH_SUITES", raising=False)
    assert run(["suites", "show", "vabench"]) == 2
    told = capsys.readouterr()
    assert "javisbench lacks: NISQA, ViCLIP, Judges" in told.out and "git clone" in told.err


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    ("verse-bench", VERSE, ("video_prompt", "audio_prompt", "speech_prompt", "prompt")),
    ("t2av-compass", COMPASS, ("index", "prompt", "audio_prompt", "speech_prompt", "checklist_info", "sound_type")),
    ("vabench", VA, ("prompt_en", "prompt_audio", "dimension", "auxiliary_info_audio")),
    ("avgen-bench", AVGEN, ("content", "prompt", "style")),
]


@given(case=st.sampled_from(FIELDS), place=st.integers(0, 5), value=ANY_JSON)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_field_holds_is_read_or_refused(
    small: Callable[[str], Path], case: tuple[str, str, tuple[str, ...]], place: int, value: object
) -> None:
    name, file, members = case
    path = sorted(small(name).glob(file))[0]
    before = path.read_bytes()
    try:
        write_json(path, member(members[place % len(members)], value)(json.loads(before)))
        suite, problems = read_suite(f"{name}:{small(name)}")
    finally:
        path.write_bytes(before)
    assert (suite is None) == bool(problems)
    assert all(str(problem) and len(str(problem)) < 2000 for problem in problems)


def test_a_run_finds_the_suite_that_it_was_made_for(
    small: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("JAVISBENCH_SUITES", raising=False)
    suite = load_suite(f"avgen-bench:{small('avgen-bench')}")
    facts = {"name": suite.name, "hash": suite.hash, "source": suite.source}
    assert recorded_suite(facts).hash == suite.hash
    moved = {**facts, "source": f"avgen-bench:{tmp_path / 'gone'}"}
    with pytest.raises(SuiteError, match="--data-root"):
        recorded_suite(moved)
    (tmp_path / "avgen-bench").symlink_to(small("avgen-bench"))
    monkeypatch.setenv("JAVISBENCH_SUITES", str(tmp_path))
    assert recorded_suite(moved).hash == suite.hash, "where the suites lie now"
