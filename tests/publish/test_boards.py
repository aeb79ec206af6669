"""From clips to a board: scored, packed, verified and built, with nothing but what the commands leave behind."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import javisbench
from javisbench.cli import run as cli
from javisbench.clip import ClipSpec
from javisbench.suite import Suite, load_suite
from javisbench.taxonomy import TAXONOMY

TINY = ClipSpec(width=64, height=48, duration_s=1.0)
METRICS = ["av_align", "health_*"]


def tiny_demo(limit: int) -> Suite:
    """The packaged suite, asking for clips that are made in no time."""
    return replace(load_suite("demo").limited(limit), setting=TINY)


def text_of(page: Path) -> str:
    return re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 clips with wavs beside them, and one with the sound in the container alone."""
    root = tmp_path_factory.mktemp("elsewhere")
    run = javisbench.generate("procedural", suite=tiny_demo(24), out=root / "run")
    for name in ("sidecar", "container"):
        shutil.copytree(run / "clips", root / name, ignore=shutil.ignore_patterns("*.json"))
    for wav in (root / "container").glob("*.wav"):
        wav.unlink()
    return root


def test_two_folders_from_elsewhere_become_a_board_from_their_archives_alone(clips: Path, tmp_path: Path) -> None:
    archives, summaries = [], {}
    for name in ("sidecar", "container"):
        run = tmp_path / name
        arguments = ["--suite", "demo", "--limit", "24", "--name", f"model {name}", "--metrics", ",".join(METRICS)]
        assert cli(["score", str(clips / name), *arguments, "--out", str(run), "--quiet", "--workers", "1"]) == 0
        summaries[name] = json.loads((run / "summary.json").read_text())
        assert summaries[name]["run"]["audio"][name] == 24
        archive = tmp_path / f"{name}.zip"
        assert cli(["submit", "pack", str(run), "--out", str(archive)]) == 0
        assert cli(["submit", "verify", str(archive)]) == 0
        archives.append(archive)
        shutil.rmtree(run)
    assert cli(["leaderboard", "build", *map(str, archives), "--out", str(tmp_path / "site"), "--quiet"]) == 0
    for aspect in TAXONOMY:
        table = json.loads((tmp_path / "site/tables" / f"{aspect.id}.json").read_text())
        cells = summaries["sidecar"]["metrics"]["av_align"][aspect.id]
        # 24 prompts leave two of the 19 categories without any; the board of 60 (test_real_board.py) has all.
        categories = [category for category in aspect.categories if cells[category.id]["n"]]
        assert [group["title"] for group in table["groups"]] == [category.title for category in categories]
        page = text_of(tmp_path / "site/aspects" / f"{aspect.id}.html")
        for category, group in zip(categories, table["groups"], strict=True):
            assert category.title in page
            rows = {row["label"].removeprefix("model "): row["cells"] for row in group["rows"]}
            assert rows.keys() == summaries.keys()
            for name, cells in rows.items():
                for metric, cell in cells.items():
                    assert_is_the_run_s(cell, summaries[name]["metrics"][metric][aspect.id][category.id])


def assert_is_the_run_s(shown: dict[str, Any], own: dict[str, Any]) -> None:
    assert {field: shown[field] for field in ("value", "n", "ci_low", "ci_high", "status")} == {
        field: own[field] for field in ("value", "n", "ci_low", "ci_high", "status")
    }
