"""Which suite a run's manifest means."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from javisbench.cards import CARDS
from javisbench.errors import UsageError
from javisbench.matching import match_folder
from javisbench.run.own_suite import recorded_source, recorded_suite
from javisbench.run.scoring_job import other_prompts
from javisbench.suite import load_suite
from javisbench.suite_samples import Sample


def test_a_packaged_suite_is_meant_by_its_name_with_what_its_card_tells() -> None:
    suite = load_suite("demo")
    facts = {"name": "demo", "source": str(CARDS / "suites" / "demo.csv"), "hash": suite.hash}
    assert recorded_source(facts) == "demo"
    assert recorded_suite(facts).setting == suite.setting is not None


@pytest.mark.parametrize("source", ["mine.csv", "part-*.parquet", "/gone/mine.csv"])
def test_a_suite_that_is_not_there_any_more_is_asked_for(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UsageError, match=r"suite of the run, mine \(.*\), is not there, seen from this folder.*--suite"
    ):
        recorded_suite({"name": "mine", "source": source, "hash": ""})


def test_clips_that_were_made_for_other_prompts_are_told(tmp_path: Path) -> None:
    """Whatever suite is named for a run, what its clips were made for is known."""
    rows = [Sample(f"s{n}", n, f"prompt {n}") for n in range(3)]
    suite = replace(load_suite("demo"), samples=tuple(rows), source="mine.csv", name="mine")
    for n, facts in enumerate(({"prompts": {"text": "prompt 0"}}, {"prompts": {"text": "a cat"}}, None)):
        (tmp_path / f"s{n}.mp4").touch()
        (tmp_path / f"s{n}.json").write_text("torn" if facts is None else json.dumps(facts))
    matched = match_folder(tmp_path, suite)
    assert other_prompts(matched, suite).startswith("1 of 3 clips were made for other prompts than mine has (mine.csv)")
    assert "such as that of s1" in other_prompts(matched, suite)
    right = replace(suite, samples=(rows[0], replace(rows[1], text="a cat"), rows[2]))
    assert other_prompts(match_folder(tmp_path, right), right) == ""


def test_a_file_that_is_called_like_a_packaged_suite_is_meant_where_it_lies(tmp_path: Path) -> None:
    own = tmp_path / "demo.csv"
    own.write_text("text\na cat\n")
    assert recorded_source({"name": "demo", "source": str(own)}) == str(own)
    assert recorded_source({"name": "demo", "source": str(tmp_path / "gone.csv")}) == "demo"
