"""Shards of `javisbench score` merge into the run that one machine would have made of the folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import javisbench
from javisbench.api import merge
from javisbench.clip import Clip
from javisbench.durable import read_json, write_json
from javisbench.errors import RunError, UsageError
from javisbench.media.write import write_clip
from javisbench.metrics.encoders.flow import FlowEncoder
from javisbench.results.seal import sealed_manifest
from javisbench.run.generate import GenerateSettings
from javisbench.run.merge import MergeOptions

METRICS = ["av_align", "health_silence"]
NUMBERS = ("scores.parquet", "details.parquet", "samples.parquet", "failures.jsonl", "summary.json")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four prompts with a clip, a broken one, a second repeat and none; scored whole, in two and in three shards."""
    root = tmp_path_factory.mktemp("scored")
    clips = root / "clips"
    clips.mkdir()
    (root / "s.csv").write_text("text,cat0_ind\n" + "".join(f"prompt {row},{row % 2}\n" for row in range(4)))
    random = np.random.default_rng(0)
    for name in ("sample_0000", "sample_0002", "sample_0002-1"):
        frames = random.integers(0, 256, (8, 48, 64, 3)).astype(np.uint8)
        sound = random.standard_normal((1, 8000)).astype(np.float32) / 8
        write_clip(Clip(frames, Fraction(8), sound, 8000, "sidecar"), clips / f"{name}.mp4")
    (clips / "sample_0001.mp4").write_bytes(b"no video")
    for index, count in ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)):
        out = root / (f"runs/tiny.shard-{index}-of-{count}" if count > 1 else "whole")
        javisbench.score(
            clips, suite=str(root / "s.csv"), out=out, shard=(index, count), metrics=METRICS, workers=1, name="tiny"
        )
    return root


@pytest.fixture
def parts(made: Path, tmp_path: Path) -> Callable[[str], list[Path]]:
    """Copies of shards, by name (``0-of-2``), that a test may change."""

    def copies(*names: str) -> list[Path]:
        return [
            Path(shutil.copytree(made / f"runs/tiny.shard-{name}", tmp_path / f"tiny.shard-{name}")) for name in names
        ]

    return copies


def files(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in NUMBERS}


@pytest.mark.parametrize("count", [2, 3])
def test_merged_scored_shards_equal_one_run(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    parts = [made / f"runs/tiny.shard-{index}-of-{count}" for index in range(count)]
    rows = [set(javisbench.api.Result(part).scores["sample_id"]) for part in parts]
    assert rows[1] == {f"sample_{row:04d}" for row in range(1, 4, count)}

    def no_more_encoding(self: FlowEncoder, *_: Any) -> Any:
        raise AssertionError("features are stored")

    monkeypatch.setattr(FlowEncoder, "intake", no_more_encoding)
    merged = merge(list(reversed(parts)), tmp_path / "merged")
    assert merged is not None
    assert files(merged.folder) == files(made / "whole")
    assert sorted(zip(merged.failures["sample_id"], merged.failures["repeat"], strict=True)) == [
        ("sample_0000", 1), ("sample_0001", 0), ("sample_0001", 1), ("sample_0003", 0), ("sample_0003", 1)
    ]  # fmt: skip
    manifest = read_json(merged.folder / "run.json")
    whole = read_json(made / "whole/run.json")
    assert (manifest["matching"], manifest["model"]) == (whole["matching"], whole["model"])
    assert [part["shard"] for part in manifest["merged"]] == [f"{index}/{count}" for index in range(count)]
    assert not (merged.folder / "clips").exists()


def test_a_folder_given_as_model_is_scored_by_shard_too(made: Path, tmp_path: Path) -> None:
    settings = GenerateSettings(shard=(1, 2))
    folder = f"folder:{made / 'clips'}"
    options = {"metrics": METRICS, "workers": 1, "name": "tiny"}
    javisbench.evaluate(folder, suite=str(made / "s.csv"), settings=settings, out=tmp_path / "run", **options)
    scores = [(run / "scores.parquet").read_bytes() for run in (tmp_path / "run", made / "runs/tiny.shard-1-of-2")]
    assert scores[0] == scores[1]


def test_a_merged_folder_goes_on_like_any_other(made: Path, tmp_path: Path) -> None:
    merged = merge([made / "runs/tiny.shard-0-of-2", made / "runs/tiny.shard-1-of-2"], tmp_path / "merged")
    assert merged is not None
    javisbench.score(
        made / "clips", suite=str(made / "s.csv"), out=merged.folder, metrics=METRICS, workers=1, name="tiny"
    )
    assert files(merged.folder) == files(made / "whole")


def test_missing_scored_shards_are_refused_or_said(made: Path, tmp_path: Path) -> None:
    parts = [made / "runs/tiny.shard-0-of-3", made / "runs/tiny.shard-1-of-3"]
    with pytest.raises(RunError, match=r"2 clips are in no part \(such as sample_0002\).*0/3, 1/3"):
        merge(parts, tmp_path / "merged")
    merged = merge(parts, tmp_path / "merged", options=MergeOptions(allow_missing=True))
    assert merged is not None
    assert merged.summary["run"]["samples"] == 8
    assert merged.summary["run"]["clips"] == 2
    missing = merged.failures.query("kind == 'missing_clip' and sample_id == 'sample_0002'")
    assert list(missing["repeat"]) == [0, 1]


@pytest.mark.parametrize(
    ("section", "change", "told"),
    [
        ("matching", {"clips": "/elsewhere"}, "the folder of clips differs"),
        ("matching", {"manifest": "/other.csv"}, "--manifest differs"),
        ("matching", {"repeats": 1}, "the number of repeats differs"),
        ("matching", {"limit": 3}, "--limit differs"),
        ("matching", {"shard": [1, 3]}, "shards differs"),
        ("matching", {"shard": [0, 2]}, "both shard 0/2"),
        ("suite", {"hash": "0" * 64}, "the suite differs"),
        ("versions", {"javisbench": "0.0.9"}, "--allow-versions"),
    ],
)
def test_scored_parts_that_do_not_fit_are_refused(
    parts: Callable[..., list[Path]], tmp_path: Path, section: str, change: dict[str, Any], told: str
) -> None:
    both = parts("0-of-2", "1-of-2")
    manifest = read_json(both[1] / "run.json")
    write_json(both[1] / "run.json", sealed_manifest({**manifest, section: {**manifest[section], **change}}))
    with pytest.raises(RunError, match=told):
        merge(both, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_other_metrics_overlap_and_unfinished_parts_are_refused(
    parts: Callable[..., list[Path]], tmp_path: Path
) -> None:
    first, second = parts("0-of-2", "1-of-2")
    before = read_json(second / "run.json")
    request = {**before["scoring"]["requests"]["javisbench-v1"], "metrics": ["health_silence"]}
    scoring = {**before["scoring"], "requests": {"javisbench-v1": request}}
    write_json(second / "run.json", sealed_manifest({**before, "scoring": scoring}))
    with pytest.raises(RunError, match="what was scored and how differs"):
        merge([first, second], tmp_path / "merged")
    write_json(second / "run.json", before)
    (second / "scores.parquet").rename(tmp_path / "kept.parquet")
    with pytest.raises(RunError, match="not scored to its end"):
        merge([first, second], tmp_path / "merged")
    (second / "scores.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(RunError, match=r"scores\.parquet is not a readable .*Score the part again"):
        merge([first, second], tmp_path / "merged")
    shutil.copy(first / "scores.parquet", second / "scores.parquet")
    with pytest.raises(RunError, match="not of one scoring"):
        merge([first, second], tmp_path / "merged")
    # As one of an earlier version, whose summary names no files.
    summary = read_json(second / "summary.json")
    write_json(second / "summary.json", {k: v for k, v in summary.items() if k not in ("files", "generation")})
    with pytest.raises(RunError, match="sample_0000 is in more than one part"):
        merge([first, second], tmp_path / "merged")


def test_a_folder_holds_one_shard_and_a_run_is_scored_in_place_by_one_process(made: Path, tmp_path: Path) -> None:
    suite = str(made / "s.csv")
    with pytest.raises(RunError, match="holds the scores of shard 0/2"):
        javisbench.score(made / "clips", suite=suite, out=made / "runs/tiny.shard-0-of-2", shard=(1, 2))
    with pytest.raises(UsageError, match="i from 0 to n-1"):
        javisbench.score(made / "clips", suite=suite, out=tmp_path / "x", shard=(2, 2))
    run = tmp_path / "run"
    shutil.copytree(made / "clips", run / "clips")
    write_json(run / "run.json", {"generation": {}})
    for out in (None, run):
        with pytest.raises(UsageError, match=r"scored in place, by one process.*--out FOLDER"):
            javisbench.score(run, suite=suite, out=out, shard=(0, 2))


def test_the_command_line_scores_shards_and_merges_them(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from javisbench.cli import run

    monkeypatch.chdir(tmp_path)
    command = ["score", str(made / "clips"), "--suite", str(made / "s.csv"), "--name", "tiny"]
    command += ["--metrics", ",".join(METRICS), "--workers", "1", "--device", "cpu", "-q"]
    assert run([*command, "--shard", "0/2"]) == 0
    # Under torchrun, the other one takes its shard by itself.
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert run(command) == 0
    found = sorted(path.name for path in tmp_path.glob("runs/tiny-*/*"))
    assert found == ["s.shard-0-of-2", "s.shard-1-of-2"]
    capsys.readouterr()
    assert run(["merge", *map(str, tmp_path.glob("runs/tiny-*/*")), "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["samples"] == 8
    (merged,) = tmp_path.glob("runs/tiny-*/s")
    assert files(merged) == files(made / "whole")
