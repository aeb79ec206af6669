"""Which suite a run's manifest means."""

from __future__ import annotations

from pathlib import Path

import pytest

from javisbench.cards import CARDS
from javisbench.errors import UsageError
from javisbench.run.own_suite import recorded_source, recorded_suite
from javisbench.suite import load_suite


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


def test_a_file_that_is_called_like_a_packaged_suite_is_meant_where_it_lies(tmp_path: Path) -> None:
    own = tmp_path / "demo.csv"
    own.write_text("text\na cat\n")
    assert recorded_source({"name": "demo", "source": str(own)}) == str(own)
    assert recorded_source({"name": "demo", "source": str(tmp_path / "gone.csv")}) == "demo"
