"""What a run takes on disk, and what can be freed of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import javisbench
from javisbench.cli import run
from javisbench.durable import locked


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean") / "run"
    javisbench.evaluate("procedural", suite="demo", limit=1, out=folder, metrics=["health_*"])
    return folder


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, int]:
    assert run(["clean", *words, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    return row  # type: ignore[no-any-return]


def test_what_is_shown_is_what_lies_there_and_nothing_goes(scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(scored.rglob("*"))
    row = shown(capsys, str(scored))
    sizes = {part: sum(f.stat().st_size for f in (scored / part).rglob("*")) for part in ("clips", "features")}
    assert (row["clips_bytes"], row["features_bytes"]) == (sizes["clips"], sizes["features"])
    assert row["leftovers_bytes"] == row["freed_bytes"] == 0 < row["results_bytes"]
    assert sorted(scored.rglob("*")) == before


def test_leftovers_and_features_go_and_results_stay(scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = javisbench.Result(scored)
    (scored / "clips/.tmp-x").write_bytes(b"x" * 1000)
    (scored / "features/shard-000099.safetensors").write_bytes(b"y" * 100)
    (scored / "staging/batch").mkdir(parents=True)
    (scored / "staging/batch/half.mp4").write_bytes(b"z" * 10)
    (scored / "run.json.damaged").write_bytes(b"{")
    names = [path.name for path in scored.rglob("*")]
    leftover = shown(capsys, str(scored), "--leftovers")
    assert leftover["leftovers_bytes"] == leftover["freed_bytes"] == 1111, names
    assert not (scored / "staging").exists()
    features = shown(capsys, str(scored), "--features")
    assert features["freed_bytes"] == features["features_bytes"] > 0
    assert not (scored / "features").exists()
    assert javisbench.Result(scored).scores.equals(result.scores)
    again = javisbench.evaluate("procedural", suite="demo", limit=1, out=scored, metrics=["health_*"])
    assert again.scores.equals(result.scores)


def test_a_run_at_work_and_other_folders_are_left_alone(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with locked(scored):
        assert run(["clean", str(scored), "--features"]) == 2
    assert "in use" in capsys.readouterr().err
    (tmp_path / "features").mkdir()
    assert run(["clean", str(tmp_path), "--features"]) == 2
    assert "no run folder" in capsys.readouterr().err
    assert (tmp_path / "features").exists()
