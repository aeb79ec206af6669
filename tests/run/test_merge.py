"""Merging shards gives the run that one machine would have made, or says why not."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import javisbench
from javisbench.api import Result, merge
from javisbench.durable import locked, read_json, read_jsonl, write_json
from javisbench.errors import JavisbenchError, RunError, UsageError
from javisbench.metrics.encoders.flow import FlowEncoder
from javisbench.results.seal import sealed_manifest
from javisbench.run.generate import GenerateSettings
from javisbench.run.merge import MergeOptions
from javisbench.suite import Suite

METRICS = ["av_align", "health_silence"]
PROMPTS = ("rain", "refuse this", "a dog", "wind", "refuse that", "a bell", "a drum")


@pytest.fixture
def suite(tiny_suite: Callable[..., Suite]) -> Suite:
    return tiny_suite(*PROMPTS)


@pytest.fixture
def evaluate(noise: str, suite: Suite, tmp_path: Path) -> Callable[..., Path]:
    """Evaluate a shard into a folder of its own; returns the folder."""

    def go(shard: str = "0/1", **more: Any) -> Path:
        index, count = map(int, shard.split("/"))
        out = tmp_path / more.pop("out", f"runs/tiny.shard-{index}-of-{count}")
        settings = GenerateSettings(**{"shard": (index, count), "repeats": 2, **more.pop("settings", {})})
        scoring = {"metrics": METRICS, "workers": 1, **more}
        return javisbench.evaluate(noise, suite=suite, settings=settings, out=out, **scoring).folder

    return go


@pytest.fixture(scope="module")
def made_halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("halves")


@pytest.fixture
def halves(evaluate: Callable[..., Path], made_halves: Path, tmp_path: Path) -> list[Path]:
    """Both shards of two, in folders of the test's own. They are evaluated once."""
    parts = []
    for index in range(2):
        made = made_halves / str(index)
        if not made.exists():
            evaluate(f"{index}/2", out=made)
        parts.append(tmp_path / f"runs/tiny.shard-{index}-of-2")
        shutil.copytree(made, parts[-1])
    return parts


def files(run: Path) -> dict[str, bytes]:
    """Everything in which numbers are, by name."""
    found = [*run.glob("*.parquet"), *run.rglob("failures.jsonl"), *run.rglob("summary.json"), *run.rglob("clips/*.*4")]
    return {str(path.relative_to(run)): path.read_bytes() for path in found}


@pytest.mark.parametrize("count", [pytest.param(2, marks=pytest.mark.slow), 3])  # two: test_merge_scored.py
def test_merged_shards_equal_one_run(
    evaluate: Callable[..., Path], suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    protocols = {"protocol": ["javisbench-v2", "javisbench-v1"]}
    whole = evaluate(out="whole", **protocols)
    parts = [evaluate(f"{index}/{count}", **protocols) for index in range(count)]

    def no_more_encoding(self: FlowEncoder, *_: Any) -> Any:
        raise AssertionError("features are stored")

    monkeypatch.setattr(FlowEncoder, "intake", no_more_encoding)
    merged = merge(list(reversed(parts)), options=MergeOptions(suite=suite))
    assert merged is not None
    assert merged.folder == tmp_path / "runs/tiny"
    assert merged.protocol == "javisbench-v2"
    expected = files(whole)
    assert {"scores.parquet", "details.parquet", "protocols/javisbench-v1/summary.json"} <= set(expected)
    assert files(merged.folder) == expected
    assert [row["sample_id"] for row in read_jsonl(whole / "failures.jsonl")] == ["sample_0001"] * 2 + [
        "sample_0004"
    ] * 2
    manifest = read_json(merged.folder / "run.json")
    assert manifest["generation"] == read_json(whole / "run.json")["generation"]
    assert [part["shard"] for part in manifest["merged"]] == [f"{index}/{count}" for index in range(count)]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("run.json", {"generation": {"shard": 0}}, "shard is not a pair"),
        ("run.json", {"generation": {"shard": [0, "2"], "repeats": 1}}, "is not a count"),
        ("run.json", {"suite": {"name": 7}}, "suite.name is not text"),
        ("clips/sample_0000.json", {"repeat": 3}, "does not tell of the clip beside it"),
        ("clips/sample_0000.json", {"files": "all"}, "does not tell of the clip beside it"),
    ],
)
def test_parts_that_others_wrote_are_checked(
    halves: list[Path], suite: Suite, name: str, changes: dict[str, Any], message: str
) -> None:
    (part,) = (half for half in halves if (half / "clips/sample_0000.json").is_file())
    written = {**read_json(part / name), **changes}
    write_json(part / name, sealed_manifest(written) if name == "run.json" else written)
    with pytest.raises(RunError, match=message):
        merge(halves, options=MergeOptions(suite=suite))


def test_a_merged_run_goes_on_like_any_other(
    evaluate: Callable[..., Path], halves: list[Path], suite: Suite, noise: str
) -> None:
    # What a merge leaves that is killed at once.
    target = Path(str(halves[0]).partition(".shard-")[0])
    target.mkdir()
    for left in (".lock", "log.txt", ".tmp-1-abcd-run.json"):
        (target / left).write_text("")
    merged = merge(halves, options=MergeOptions(suite=suite))
    assert merged is not None and merged.folder == target.resolve()
    before = files(merged.folder)
    again = merge(halves, options=MergeOptions(suite=suite))
    assert again is not None
    assert files(again.folder) == before
    sidecar = merged.folder / "clips/sample_0000.json"
    made = sidecar.stat().st_mtime_ns
    settings = GenerateSettings(repeats=2)
    javisbench.evaluate(noise, suite=suite, settings=settings, out=merged.folder, metrics=METRICS, workers=1)
    assert sidecar.stat().st_mtime_ns == made
    assert files(merged.folder) == before


def test_clips_are_linked_not_copied(halves: list[Path], suite: Suite) -> None:
    merged = merge(halves, options=MergeOptions(suite=suite))
    assert merged is not None
    assert (merged.folder / "clips/sample_0003.mp4").samefile(halves[1] / "clips/sample_0003.mp4")


def test_missing_shards_are_refused_or_said(evaluate: Callable[..., Path], suite: Suite, tmp_path: Path) -> None:
    parts = [evaluate("0/3"), evaluate("2/3")]
    with pytest.raises(RunError, match=r"4 clips are in no part \(such as sample_0001\).*0/3, 2/3") as caught:
        merge(parts, tmp_path / "merged", options=MergeOptions(suite=suite))
    assert caught.value.kind == "parts_missing"
    merged = merge(parts, tmp_path / "merged", options=MergeOptions(suite=suite, allow_missing=True))
    assert merged is not None
    missing = merged.failures.query("kind == 'missing_clip'")
    assert list(missing["sample_id"]) == ["sample_0001"] * 2 + ["sample_0004"] * 2
    assert merged.summary["run"]["samples"] == 14


Change = Callable[[dict[str, Any]], None]


def _set(*path: str, to: Any) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        for key in path[:-1]:
            manifest = manifest[key]
        manifest[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_set("model", "identity", "model", to="python:other:Model"), "the model differs"),
        (_set("suite", "hash", to="0" * 64), "the suite differs"),
        (_set("generation", "seed", to=1), "the seed differs"),
        (_set("generation", "repeats", to=3), "the number of repeats differs"),
        (_set("generation", "conform", to="exact"), "--conform differs"),
        (_set("generation", "limit", to=3), "--limit differs"),
        (_set("generation", "shard", to=[1, 3]), "shards differs"),
        (_set("generation", "shard", to=[0, 2]), "both shard 0/2"),
        (_set("scoring", "requests", "javisbench-v1", "metrics", to=["desync"]), "what was scored and how differs"),
        (_set("scoring", "requests", to={}), "what was scored and how differs"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(
    halves: list[Path], suite: Suite, tmp_path: Path, change: Change, told: str
) -> None:
    manifest = read_json(halves[1] / "run.json")
    change(manifest)
    write_json(halves[1] / "run.json", sealed_manifest(manifest))
    with pytest.raises(RunError, match=told):
        merge(halves, tmp_path / "merged", options=MergeOptions(suite=suite))
    assert not (tmp_path / "merged" / "clips").exists()


def test_other_weights_do_not_fit(halves: list[Path], suite: Suite, tmp_path: Path) -> None:
    summary = read_json(halves[1] / "summary.json")
    summary["run"]["encoders"]["flow"]["weights_sha256"] = "0" * 64
    del summary["generation"], summary["files"]
    write_json(halves[1] / "summary.json", summary)
    with pytest.raises(RunError, match="encoders and their weights differs"):
        merge(halves, tmp_path / "merged", options=MergeOptions(suite=suite))


def test_another_javisbench_is_refused_unless_allowed(halves: list[Path], suite: Suite, tmp_path: Path) -> None:
    # One clip from before an update is enough.
    sidecar = halves[1] / "clips/sample_0003.json"
    facts = read_json(sidecar)
    write_json(sidecar, {**facts, "versions": {**facts["versions"], "javisbench": "0.0.9"}})
    today = re.escape(javisbench.__version__)
    told = rf"javisbench {today} \(0/2, 1/2, this one\), 0\.0\.9 \(1/2\).*--allow-versions"
    with pytest.raises(RunError, match=told):
        merge(halves, tmp_path / "merged", options=MergeOptions(suite=suite))
    assert not (tmp_path / "merged" / "clips").exists()
    merged = merge(halves, tmp_path / "merged", options=MergeOptions(suite=suite, allow_versions=True))
    assert merged is not None
    unlike = read_json(merged.folder / "run.json")["differences"]
    assert unlike == {"javisbench": {javisbench.__version__: ["0/2", "1/2", "this one"], "0.0.9": ["1/2"]}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_set("versions", "av", to="17.0"), {"av": {"17.0": ["1/2"]}}),
        (_set("versions", "torch", to="2.10.0"), {"torch": {"2.10.0": ["1/2"]}}),
        (_set("versions", "ffmpeg", to="7.0"), {"ffmpeg": {"7.0": ["1/2"]}}),
        (
            _set("scoring", "hardware", "gpu", to="H100"),
            {"device": {"cuda": ["1/2"]}, "processor": {"H100": ["1/2"]}},
        ),
    ],
)  # fmt: skip
def test_what_else_computed_the_parts_is_compared_told_and_kept(
    halves: list[Path],
    suite: Suite,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Change,
    told: dict[str, dict[str, list[str]]],
) -> None:
    from javisbench.cli.progress import Lines

    alike = merge(halves, tmp_path / "alike", options=MergeOptions(suite=suite), progress=Lines())
    assert alike is not None
    assert read_json(alike.folder / "run.json")["differences"] == {}
    assert "Warning" not in capsys.readouterr().err
    manifest = read_json(halves[1] / "run.json")
    change(manifest)
    write_json(halves[1] / "run.json", sealed_manifest(manifest))
    merged = merge(halves, tmp_path / "merged", options=MergeOptions(suite=suite), progress=Lines())
    assert merged is not None
    kept = read_json(merged.folder / "run.json")["differences"]
    said = capsys.readouterr().err
    for component, versions in told.items():
        assert f"Warning: parts differ in {component} " in said
        for version, shards in versions.items():
            assert kept[component][version] == shards
    assert set(kept) == set(told)


def test_a_clip_in_two_parts_is_refused(halves: list[Path], suite: Suite, tmp_path: Path) -> None:
    (halves[0] / "clips/sample_0003.json").write_bytes((halves[1] / "clips/sample_0003.json").read_bytes())
    with pytest.raises(RunError, match="sample_0003 is in more than one part") as caught:
        merge(halves, tmp_path / "merged", options=MergeOptions(suite=suite))
    assert caught.value.kind == "parts_overlap"


@pytest.mark.parametrize("change", [{"seed": 5}, {"weights": {"class": {"tiny_noise.py": "0" * 64}}}])
def test_a_clip_of_another_job_is_refused(
    halves: list[Path], suite: Suite, tmp_path: Path, change: dict[str, Any]
) -> None:
    sidecar = halves[1] / "clips/sample_0003.json"
    write_json(sidecar, {**json.loads(sidecar.read_text()), **change})
    with pytest.raises(RunError, match="another seed, prompt or checkpoint"):
        merge(halves, tmp_path / "merged", options=MergeOptions(suite=suite))


def test_a_part_in_use_is_refused(halves: list[Path], suite: Suite, tmp_path: Path) -> None:
    with locked(halves[1]), pytest.raises(RunError, match="in use by process"):
        merge(halves, tmp_path / "merged", options=MergeOptions(suite=suite))


def test_targets_that_hold_something_else_are_refused(
    evaluate: Callable[..., Path], halves: list[Path], suite: Suite, tmp_path: Path
) -> None:
    chosen = MergeOptions(suite=suite)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").write_text("mine")
    refused: list[tuple[Path, type[JavisbenchError], str]] = [
        (tmp_path / "full", RunError, "not empty"),
        (halves[0], JavisbenchError, "one of the parts|in use"),
        (evaluate(out="other"), RunError, "another run"),
    ]
    for target, error, told in refused:
        with pytest.raises(error, match=told):
            merge(halves, target, options=chosen)
    with pytest.raises(UsageError, match="two or more"):
        merge([halves[0], halves[0]], options=chosen)
    with pytest.raises(UsageError, match="no run folder"):
        merge([halves[0], tmp_path / "full"], tmp_path / "merged", options=chosen)


def test_a_changed_suite_is_refused(halves: list[Path], tiny_suite: Callable[..., Suite], tmp_path: Path) -> None:
    other = tiny_suite(*PROMPTS[:-1], "a flute")
    with pytest.raises(RunError, match="prompts differ"):
        merge(halves, tmp_path / "merged", options=MergeOptions(suite=other))


def test_unscored_parts_are_gathered(noise: str, suite: Suite, tmp_path: Path) -> None:
    parts = [
        javisbench.generate(noise, suite=suite, settings=GenerateSettings(shard=(i, 2)), out=tmp_path / f"part{i}")
        for i in range(2)
    ]
    assert merge(parts, tmp_path / "merged", options=MergeOptions(suite=suite)) is None
    assert len(list((tmp_path / "merged/clips").glob("*.json"))) == 5
    result = javisbench.score(tmp_path / "merged", suite=suite, metrics=METRICS, workers=1)
    assert isinstance(result, Result)
    assert result.summary["run"]["clips"] == 5


def test_the_command_line_merges(noise: str, suite: Suite, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from javisbench.cli import run

    # The suite of the file itself, limited, at a setting that the file cannot name.
    small = replace(suite, samples=suite.samples[:3])
    parts = []
    for number in range(2):
        settings, out = GenerateSettings(shard=(number, 2)), tmp_path / f"p{number}"
        result = javisbench.evaluate(noise, suite=small, settings=settings, out=out, metrics=METRICS, workers=1)
        parts.append(result.folder)
    merged = tmp_path / "merged"
    assert run(["merge", *map(str, parts), "--out", str(merged), "--json", "-q"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["run"]["samples"], summary["run"]["clips"]) == (3, 2)
    assert run(["merge", *map(str, parts), "--out", str(merged), "--strict", "-q"]) == 1
    assert "refused" in capsys.readouterr().out
