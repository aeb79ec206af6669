"""Suites: what is read, what is refused, and how bad rows are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from javisbench.errors import SuiteError, UsageError
from javisbench.suite import known_suites, load_suite, read_suite
from javisbench.taxonomy import TAXONOMY


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_taxonomy_has_five_aspects_and_nineteen_categories() -> None:
    assert [len(aspect.categories) for aspect in TAXONOMY] == [5, 3, 5, 3, 3]
    assert len({category for aspect in TAXONOMY for category in aspect.category_ids}) == 19


def test_golden_suite_has_its_multi_label_categories(golden: Path) -> None:
    suite = load_suite(str(golden / "suite.csv"))
    assert len(suite) == 11
    assert suite.samples[0].id == "sample_0000"
    assert suite.samples[0].categories["event_scenario"] == ("natural_scenario", "urban_scenario")
    assert suite.samples[0].path == (golden / "clips/real/sample_0000.mp4").resolve()
    slices = suite.slices()
    assert len(slices) == 19
    assert slices["event_scenario", "natural_scenario"] == [0, 4, 5, 9, 10]


def test_csv_and_jsonl_give_the_same_suite(tmp_path: Path) -> None:
    csv = write(tmp_path / "a.csv", 'id,text,cat0_ind,cat4_ind\nx,"a, b","0,1",2\ny,c,,0\n')
    rows = [{"id": "x", "text": "a, b", "cat0_ind": [0, 1], "cat4_ind": 2}, {"id": "y", "text": "c", "cat4_ind": 0}]
    jsonl = write(tmp_path / "b.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    first, second = load_suite(csv), load_suite(jsonl)
    assert first.hash == second.hash
    assert [s.categories for s in first] == [s.categories for s in second]
    assert first.samples[0].categories["spatial_composition"] == ("off_screen_sound",)


def test_every_bad_row_is_named_at_once(tmp_path: Path) -> None:
    text = 'id,text,cat1_ind,path\n../x,hello,0,\ny,,9,\ny,b,"0,-1",\nz,c,0,../../etc/passwd\n'
    suite, problems = read_suite(write(tmp_path / "bad.csv", text))
    assert suite is None
    assert {(p.row, p.column) for p in problems} == {
        (1, "id"), (2, "text"), (2, "cat1_ind"), (3, "cat1_ind"), (3, "id"), (4, "path"),
    }  # fmt: skip
    assert all(p.file == "bad.csv" and p.reason for p in problems)
    with pytest.raises(SuiteError, match="6 problems"):
        load_suite(str(tmp_path / "bad.csv"))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"prompt\nhello\n", "no such column"),
        ("a.csv", b"text,text\na,b\n", "twice"),
        ("a.csv", b"text\n", "no rows"),
        ("a.csv", b"text\na,b\n", "more cells"),
        ("a.csv", b'text\n"unclosed\n', "CSV"),
        ("a.csv", b"text\n\xff\xfe\n", "UTF-8"),
        ("a.csv", b"text\na\0b\n", "NUL"),
        ("a.jsonl", b'{"text": "a"}\nnonsense\n', "JSON"),
        ("a.jsonl", b"[1]\n", "JSON object"),
        ("a.jsonl", b'{"text": 5}\n', "text is needed"),
        ("a.txt", b"text\na\n", "suffix"),
    ],
)
def test_unreadable_files_say_why(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    suite, problems = read_suite(str(tmp_path / name))
    assert suite is None
    assert any(reason in str(problem) for problem in problems), problems


def test_paths_may_leave_the_folder_only_when_allowed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    suite = write(tmp_path / "in" / "s.csv", "text,path\na,../real.mp4\n")
    with pytest.raises(SuiteError, match="--allow-outside"):
        load_suite(suite)
    assert load_suite(suite, allow_outside=True).samples[0].path == (tmp_path / "real.mp4").resolve()


def test_unknown_suite_suggests_near_matches() -> None:
    with pytest.raises(UsageError, match="javisbench-mini"):
        load_suite("javisbench-mimi")


def test_ids_that_differ_only_in_case_are_refused(tmp_path: Path) -> None:
    _, problems = read_suite(write(tmp_path / "a.csv", "id,text\nA,x\na,y\n"))
    assert [problem.row for problem in problems] == [2]


def test_the_hash_covers_prompts_ids_and_categories_but_not_limit(tmp_path: Path) -> None:
    base = load_suite(write(tmp_path / "a.csv", "text,cat0_ind\na,0\nb,1\n"))
    assert load_suite(write(tmp_path / "b.csv", "text,cat0_ind\na,0\nB,1\n")).hash != base.hash
    assert load_suite(write(tmp_path / "c.csv", "text,cat0_ind\na,0\nb,2\n")).hash != base.hash
    assert base.limited(1).hash == base.hash
    assert len(base.limited(1)) == 1


def test_hub_suites_are_read_from_a_local_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "JavisBench-mini.csv", "text,cat0_ind\na dog barks,2\n")
    monkeypatch.setenv("JAVISBENCH_SUITES", str(tmp_path))
    assert load_suite("javisbench-mini").samples[0].categories == {"event_scenario": ("living_scenario",)}


def test_unconditional_suites_have_no_prompts() -> None:
    suite = load_suite("landscape")
    assert suite.unconditional
    assert suite.setting.fps == 10
    assert not any(sample.prompts for sample in suite)
    assert {"javisbench", "javisbench-mini", "demo", "landscape", "aist++"} <= set(known_suites())


@given(st.binary(max_size=200))
def test_random_bytes_never_crash_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    for suffix in (".csv", ".jsonl"):
        path = tmp_path_factory.mktemp("fuzz") / f"s{suffix}"
        path.write_bytes(content)
        suite, problems = read_suite(str(path))
        assert (suite is None) == bool(problems)
