"""A fixed slice of what `make fuzz` does for hours, and whether the fuzzing sees what it looks for."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.errors import JavisbenchError
from javisbench.results.checked_json import parse_json
from javisbench.results.run_folder import load_result, read_failures
from javisbench.suite import read_suite
from tests.fuzz.harness import BAD, fuzz, made
from tests.fuzz.targets import TARGETS

SLICE = {name: range(12 if target.cost < 4 else 6) for name, target in TARGETS.items()}


def test_a_slice_of_all_targets_gives_results_or_sentences() -> None:
    reports = fuzz(SLICE)
    assert {name: report.findings for name, report in reports.items() if report.bad} == {}
    for name, report in reports.items():
        assert report.counts.total() == len(SLICE[name])
        assert report.counts["read"], f"no file of {name} was good"


def test_the_fuzzing_sees_crashes_hangs_defects_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {"refuses": "refused", "fails": "defect", "dies": "crash", "hangs": "hang", "takes": "memory"}
    if sys.platform != "linux":
        del expected["takes"]
    reports = fuzz({name: range(3) for name in expected}, module="tests.fuzz.faulty")
    for name, word in expected.items():
        assert reports[name].counts == {word: 1, "read": 2}, name
        assert reports[name].bad == (word in BAD)
        assert [number for number, _ in reports[name].findings] == [2] * (word in BAD)


def test_inputs_can_be_made_again() -> None:
    target = TARGETS["summary"]
    good = [("summary.json", json.dumps({"schema": 1, "run": {"model": "m"}, "metrics": {}}).encode())]
    first = [made(target, good, 5, number) for number in range(40)]
    assert first == [made(target, good, 5, number) for number in range(40)]
    assert first[0] == good[0] and len({data for _, data in first}) > 25
    assert first[20:] != [made(target, good, 6, number) for number in range(20, 40)]


# By rules instead of by damage: anything that is JSON, or a table of text.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["schema", "run", "metrics", "failures", "model", "suite", "protocol", "overall", "value", "n",
                         "sample_id", "message", "status", "note", "text", "id", "path"])  # fmt: skip
OBJECTS = st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON, max_size=4), max_size=6)


@settings(max_examples=60)
@given(OBJECTS)
def test_any_json_is_a_summary_or_a_sentence(document: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "summary.json").write_text(json.dumps({"schema": 1, **document}))
        (Path(folder) / "failures.jsonl").write_text(json.dumps(document) + "\n")
        for read in (load_result, read_failures):
            try:
                read(Path(folder))
            except JavisbenchError as error:
                assert "\n" not in error.sentence


@settings(max_examples=60)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | JSON.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_json_or_a_sentence(data: bytes) -> None:
    try:
        parse_json(data, "it")
    except JavisbenchError as error:
        assert error.message.startswith("it ")


CELLS = st.text(max_size=12) | st.sampled_from(["", "0", '"', "a,b", "a\nb", "../x", "/x", "\0", "\ufeff"])


@settings(max_examples=60)
@given(
    st.lists(st.lists(CELLS, min_size=1, max_size=5), min_size=1, max_size=6), st.sampled_from(",;\t|"), st.booleans()
)
def test_any_table_is_a_suite_or_problems(rows: list[list[str]], separator: str, headed: bool) -> None:
    header = [["id", "text", "path", "cat0_ind", "own"]] if headed else []
    text = "\n".join(separator.join(cells) for cells in [*header, *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "suite.csv"
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        suite, problems = read_suite(str(path))
        assert (suite is None) == bool(problems)
