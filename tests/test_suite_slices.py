"""Slices by a suite's own columns, from the file to the board; and clips whose prompts lie beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import javisbench
from javisbench.cli import run
from javisbench.clip import Clip
from javisbench.errors import GenerationError, RunError, SuiteError, UsageError
from javisbench.media import write_clip
from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import Encoder, EncoderCard, FeatureSpec
from javisbench.own_aspects import MAX_OWN_CATEGORIES, OwnColumn, joined, own_aspects, values_of
from javisbench.protocol import Protocol
from javisbench.publish.verify import verify_folder
from javisbench.results.run_folder import load_result, read_manifest
from javisbench.run.generate import GenerateSettings
from javisbench.suite import load_suite
from javisbench.taxonomy import ASPECTS

MOODS = ["glad", "sad", "", "So-so!"]


def tiny(folder: Path, names: list[str], silent: Callable[[int], bool] = lambda i: False) -> Path:
    """Clips of eight small frames; those that are `silent` are so for their second half."""
    random = np.random.default_rng(0)
    for i, name in enumerate(names):
        audio = random.uniform(-0.3, 0.3, (1, 8000)).astype(np.float32)
        audio[:, 4000 if silent(i) else 8000 :] = 0
        frames = random.integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
        write_clip(Clip(frames, Fraction(8), audio, 8000), folder / f"{name}.mp4")
    return folder


def suite_file(path: Path, rows: int) -> str:
    lines = [f"s{i};clip {i};{MOODS[i % 4]};{i % 3};{i}\n" for i in range(rows)]
    path.write_text("id;text;mood;Level (1-3);nr\n" + "".join(lines))
    return str(path)


# Aspects that columns make


def test_values_become_categories_in_order(tmp_path: Path) -> None:
    whole = load_suite(suite_file(tmp_path / "s.csv", 12))
    sliced = whole.sliced_by(["Level (1-3)", "mood"])
    assert [(a.id, [c.title for c in a.categories]) for a in sliced.own_aspects] == [
        ("level_1_3", ["0", "1", "2"]),
        ("mood", ["glad", "sad", "So-so!"]),
    ]
    assert sliced.slices()["mood", "so_so"] == [3, 7, 11]
    assert sliced.slices()["level_1_3", "1"] == [1, 4, 7, 10]
    assert sliced.hash == whole.hash, "other slices are the same prompts"
    assert sliced.limited(2).slices()["mood", "so_so"] == [], "categories are those of the whole suite"
    assert sliced.sliced_by(["mood"]) == whole.sliced_by(["mood"])
    assert whole.limited(2).sliced_by(["mood"]).own_aspects == whole.sliced_by(["mood"]).own_aspects


def test_own_columns_stand_beside_the_taxonomy(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('{"text": "a", "cat0_ind": 1, "overall": true, "sound_type": "x"}\n')
    sliced = load_suite(str(tmp_path / "s.jsonl")).sliced_by(["overall", "sound_type"])
    assert [aspect.id for aspect in sliced.aspects] == [*ASPECTS, "overall_column", "sound_type_column"]
    assert sliced.samples[0].categories == {
        "event_scenario": ("urban_scenario",),
        "overall_column": ("true",),
        "sound_type_column": ("x",),
    }


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["moody"], "no column 'moody' of its own.*Did you mean 'mood'"),
        (["text"], "no column 'text' of its own"),
        (["nr"], f"'nr' of s has 65 distinct values; at most {MAX_OWN_CATEGORIES}"),
        (["none"], "'none' of s is empty"),
    ],
)
def test_columns_that_make_no_slices_are_named(tmp_path: Path, columns: list[str], said: str) -> None:
    rows = "".join(f"clip {i},glad,{i},\n" for i in range(MAX_OWN_CATEGORIES + 1))
    (tmp_path / "s.csv").write_text(f"text,mood,nr,none\n{rows}")
    with pytest.raises(UsageError, match=said):
        load_suite(str(tmp_path / "s.csv")).sliced_by(columns)
    assert len(load_suite(str(tmp_path / "s.csv")).limited(3).sliced_by(["mood"]).slices()) == 1


NAMES = st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=8, unique=True)


@given(NAMES, NAMES)
def test_ids_are_safe_and_distinct_whatever_the_names(columns: list[str], values: list[str]) -> None:
    aspects = own_aspects(dict.fromkeys(columns, values))
    ids = [aspect.id for aspect in aspects]
    assert [aspect.title for aspect in aspects] == columns
    assert len(set(ids)) == len(ids) and not set(ids) & {*ASPECTS, "overall"}
    for aspect in aspects:
        assert [category.title for category in aspect.categories] == values
        assert len(set(aspect.category_ids)) == len(values)
        assert all(id_.replace("_", "a").isalnum() and id_.isascii() and len(id_) < 64 for id_ in aspect.category_ids)
    assert joined([*aspects, *aspects]) == joined(aspects)


def test_numbers_are_in_order_of_size() -> None:
    assert OwnColumn.of(["10", "9", "", " 9 ", "-1.5", "b", "A"]).values == ("-1.5", "9", "10", "A", "b")


# From score to the board


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models' runs on 12 prompts, sliced by mood: every clip of the second is half silent where it is sad."""
    folder = tmp_path_factory.mktemp("slices")
    suite = suite_file(folder / "s.csv", 12)
    names = [f"s{i}" for i in range(12)]
    for model, silent in (("loud", lambda i: False), ("half", lambda i: i % 4 == 1)):
        clips = tiny(folder / model, names, silent)
        given = ("--suite", suite, "--metrics", "health_silence,health_size", "--out", str(folder / "runs" / model))
        assert run(["score", str(clips), *given, "--slice-by", "mood", "--workers", "1", "-q"]) == 0
    return folder / "runs" / "loud", folder / "runs" / "half"


def test_slices_stand_in_the_summary_like_those_of_the_taxonomy(runs: tuple[Path, Path]) -> None:
    summary = json.loads((runs[1] / "summary.json").read_text())
    cells = summary["metrics"]["health_silence"]
    assert {name: (cell["value"], cell["n"]) for name, cell in cells["mood"].items()} == {
        "glad": (0.0, 3),
        "sad": (0.5, 3),
        "so_so": (0.0, 3),
    }
    assert cells["overall"]["value"] == pytest.approx(0.125) and cells["overall"]["n"] == 12
    size = summary["metrics"]["health_size"]["overall"]
    assert (size["status"], size["note"]) == ("not_applicable", "s states no size, rates or length to compare with")
    assert summary["run"]["aspects"][0]["categories"][2] == {"id": "so_so", "title": "So-so!"}
    assert "columns not used: Level (1-3), nr" in (runs[1] / "log.txt").read_text()
    assert read_manifest(runs[0])["scoring"]["requests"]["javisbench-v1"]["slice_by"] == ["mood"]


def test_reports_show_slices_by_columns(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(runs[1])]) == 0
    plain = capsys.readouterr().out
    assert "mood" in plain and "So-so!" in plain
    assert run(["report", *map(str, runs), "--slice-by", "mood", "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert [group["title"] for group in groups] == ["glad", "sad", "So-so!"]
    assert [row["cells"]["health_silence"]["value"] for row in groups[1]["rows"]] == [0.0, 0.5]
    assert run(["report", str(runs[0]), "--slice-by", "level"]) == 2
    assert "sliced by 'level'; they were sliced by mood" in capsys.readouterr().err


def test_comparisons_and_boards_have_them(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", *map(str, runs), "--slice-by", "mood", "--all"]) == 0
    assert "mood: So-so!" in capsys.readouterr().out
    (tmp_path / "plain").mkdir()
    clips, plain = read_manifest(runs[1])["matching"]["clips"], str(tmp_path / "plain")
    suite = read_manifest(runs[1])["suite"]["source"]
    given = ("--suite", suite, "--metrics", "health_silence", "--out", plain, "--workers", "1", "-q")
    assert run(["score", clips, *given]) == 0
    capsys.readouterr()
    assert run(["compare", str(runs[0]), plain, "--json"]) == 0, "one of the two knows the slices"
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {(row["slice"], row["n"], row["b"]) for row in rows} == {
        ("overall", 12, 0.125), ("mood/glad", 3, 0.0), ("mood/sad", 3, 0.5), ("mood/so_so", 3, 0.0),
    }  # fmt: skip
    assert run(["leaderboard", "build", *map(str, runs), "--out", str(tmp_path / "site"), "--slice-by", "mood"]) == 0
    page = (tmp_path / "site" / "aspects" / "mood.html").read_text()
    assert "So-so!" in page and "Values of the suite&#39;s own column mood." in page
    assert "mood: So-so!" in next((tmp_path / "site" / "data").glob("*/samples.js")).read_text()


def test_a_run_is_sliced_anew_without_its_suite_being_named(tmp_path: Path) -> None:
    """What a run was made for is in its manifest."""
    suite = tmp_path / "s.csv"
    made = javisbench.generate("procedural", suite=suite_file(suite, 12), limit=1, out=tmp_path / "made")
    assert "states no size, rates or length" in (made / "log.txt").read_text()
    result = javisbench.score(made, slice_by=["Level (1-3)"], metrics=["health_silence"], workers=1)
    assert result.summary["run"]["suite"] == "s"
    assert set(result.table["aspect"]) == {"overall", "level_1_3"}
    suite.write_text(suite.read_text().replace("clip 3", "clip 4"))
    with pytest.raises(UsageError, match="other prompts now"):
        javisbench.score(made)


@pytest.mark.parametrize(
    ("ids", "repeats", "said"),
    [(["a", "a-1"], 2, "clip 1 of a and the sample a-1"), (["a", "A-2"], 3, "clip 2 of a and the sample A-2")],
)
def test_clips_of_two_samples_may_not_share_a_file(tmp_path: Path, ids: list[str], repeats: int, said: str) -> None:
    (tmp_path / "s.csv").write_text("id,text\n" + "".join(f"{id_},x\n" for id_ in ids))
    settings = GenerateSettings(repeats=repeats)
    with pytest.raises(GenerationError, match=said):
        javisbench.generate("procedural", suite=str(tmp_path / "s.csv"), settings=settings, out=tmp_path / "made")


def test_shards_that_were_sliced_merge_to_the_same(runs: tuple[Path, Path], tmp_path: Path) -> None:
    manifest = read_manifest(runs[0])
    given = {"suite": manifest["suite"]["source"], "metrics": ["health_silence", "health_size"], "slice_by": ["mood"]}
    for index in (0, 1):
        shard = tmp_path / f"all.shard-{index}-of-2"
        javisbench.score(manifest["matching"]["clips"], out=shard, shard=(index, 2), workers=1, **given)
    assert run(["merge", *(str(path) for path in sorted(tmp_path.iterdir())), "--workers", "1", "-q"]) == 0
    assert (tmp_path / "all" / "summary.json").read_bytes() == (runs[0] / "summary.json").read_bytes()


def test_whoever_verifies_recomputes_slices(runs: tuple[Path, Path]) -> None:
    result = load_result(runs[1])
    facts = {name: getattr(result, name) for name in ("model", "suite", "suite_hash", "protocol")}
    assert [finding for finding in verify_folder(runs[1], facts) if finding.refuses] == []


@pytest.mark.parametrize(
    ("aspects", "said"),
    [
        ({}, "not a list"),
        ([{"id": "../x", "title": "x", "categories": []}], "no id"),
        ([{"id": "overall", "title": "x", "categories": []}], "twice, or after"),
        ([{"id": "sound_type", "title": "x", "categories": []}], "twice, or after"),
        ([{"id": "x", "title": "x", "categories": [{"id": "a", "title": "a"}] * 65}], "at most 64"),
        ([{"id": "x", "title": 5, "categories": []}], "not text"),
    ],
)
def test_aspects_of_strangers_are_checked(runs: tuple[Path, Path], tmp_path: Path, aspects: Any, said: str) -> None:
    summary = json.loads((runs[0] / "summary.json").read_text())
    summary["run"]["aspects"] = aspects
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(RunError, match=said):
        load_result(tmp_path / "summary.json")


# Prompts beside the clips


def prompted(folder: Path, **prompts: str | bytes) -> Path:
    for name, prompt in prompts.items():
        content = prompt if isinstance(prompt, bytes) else prompt.encode()
        (folder / f"{name}.txt").write_bytes(content)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "Clips"
    made.mkdir()
    for name in ("a.mp4", "a-1.mp4", "b.MOV", "c.mp4"):
        (made / name).write_bytes(b"")
    return made


def test_a_folder_is_its_own_suite(folder: Path) -> None:
    prompted(folder, a="  a dog\r\nbarks \n", b="rain".encode("utf-8-sig"), notes="buy milk")
    found = load_suite(str(folder))
    assert (found.name, found.setting) == ("Clips", None)
    assert [(sample.id, sample.text) for sample in found] == [("a", "a dog\nbarks"), ("b", "rain"), ("c", "")]
    assert [warning.split(":")[0] for warning in found.warnings] == [
        "1 of 3 clips have no prompt (ID.txt)",
        "text files without a clip, not used",
    ]
    prompted(folder, c="wind")
    assert load_suite(str(folder)).hash != found.hash


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (b"caf\xe9", "not UTF-8 text"),
        (b" \n", "empty"),
        (b"a\0b", "NUL"),
        (b"a" * 70_000, "larger than 64 KiB"),
    ],
)
def test_bad_prompts_are_named_by_file(folder: Path, prompt: bytes, said: str) -> None:
    prompted(folder, a="fine", b=prompt)
    with pytest.raises(SuiteError, match=f"b.txt: file.*{said}"):
        load_suite(str(folder))


def test_prompts_may_not_be_links_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("token")
    (folder / "a.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(SuiteError, match=r"a\.txt: file: a link out of the folder"):
        load_suite(str(folder))
    assert load_suite(str(folder), allow_outside=True).samples[0].text == "token"


class Words(Encoder):
    """CLIP's place: the length of the prompt, and nothing of the clip."""

    card: ClassVar[EncoderCard] = EncoderCard("clip", "words", {"vit-b-32": None}, host=True)

    def encode(self, items: Any, specs: Sequence[FeatureSpec]) -> list[dict[FeatureSpec, Any]]:
        return [{spec: {"length": np.array([len(item)], dtype=np.float32)} for spec in specs} for item in items]


class Length(SampleMetric):
    """CLIP score's place: the length of the prompt."""

    card: ClassVar[MetricCard] = MetricCard("clip_score", "Length", True, (0, None), "sample", "m", "b", "a test")

    def needs(self, protocol: Protocol) -> dict[str, FeatureSpec]:
        return {"prompt": FeatureSpec.of("clip", "length", subject="text")}

    def score(self, features: Any, context: SampleContext) -> SampleScore:
        return SampleScore(float(features["prompt"]["length"][0]))


def test_a_clip_without_a_prompt_has_no_text_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("javisbench.metrics.encoders.clip.CLIPEncoder", Words)
    monkeypatch.setattr("javisbench.metrics.clip_score.CLIPScore", Length)
    clips = prompted(tiny(tmp_path / "mine", ["a", "b", "c"]), a="a dog", c="rain")
    result = javisbench.score(clips, metrics=["clip_score", "health_black"], out=tmp_path / "run", workers=1)
    cells = result.summary["metrics"]
    assert (cells["clip_score"]["overall"]["value"], cells["clip_score"]["overall"]["n"]) == (4.5, 2)
    assert cells["health_black"]["overall"]["n"] == 3
    assert [(f["sample_id"], f["metric"], f["kind"]) for f in result.summary["failures"]] == [
        ("b", "clip_score", "no_prompt")
    ]


def test_clips_are_scored_by_the_prompts_beside_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = prompted(tiny(tmp_path / "mine", ["a", "a-1", "b"]), a="a dog")
    given = ("--metrics", "health_silence", "--workers", "1", "--json", "-q", "--out")
    assert run(["score", str(clips), *given, str(tmp_path / "run")]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["run"]["suite"], summary["run"]["prompts"], summary["run"]["clips"]) == ("mine", 2, 3)
    assert run(["eval", "--model", f"folder:{clips}", *given, str(tmp_path / "run2")]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["suite_hash"] == summary["run"]["suite_hash"]
    (clips / "a.txt").unlink()
    assert run(["score", str(clips), *given, str(tmp_path / "none")]) == 2
    assert "prompt beside it, as in a-1.txt" in capsys.readouterr().err


def test_a_cell_that_is_a_list_is_in_the_category_of_each_value(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "mood": ["calm", "loud", " calm "]},
        {"text": "b", "mood": ["loud"]},
        {"text": "c", "mood": []},
    ]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    suite = load_suite(str(tmp_path / "s.jsonl")).sliced_by(["mood"])
    assert suite.slices() == {("mood", "calm"): [0], ("mood", "loud"): [0, 1]}


@pytest.mark.parametrize("cell", ["[calm, loud]", "[", '[{"a": 1}]', "[null]", "[" * 100_000, "[true]"])
def test_what_is_no_list_of_values_is_one_value(cell: str) -> None:
    assert values_of(f" {cell} ") == (cell,)
