"""Scores of a run in TensorBoard's event files and in W&B's offline runs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

import javisbench
from javisbench.clip import ClipSpec
from javisbench.errors import UsageError
from javisbench.publish.trackers import TensorBoardCallback, WandbCallback, scalars, slices
from javisbench.suite import Suite, load_suite

SMALL = ClipSpec(width=64, height=48, duration_s=1.0)


def two() -> Suite:
    """Prompts of the packaged suite, asking for small clips."""
    return replace(load_suite("demo").limited(2), setting=SMALL)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return javisbench.generate("procedural", suite=two(), out=tmp_path_factory.mktemp("tracked") / "run")


def scored(run: Path, callback: object) -> javisbench.Result:
    return javisbench.score(run, suite=two(), metrics=["av_align", "health_silence"], callbacks=[callback])  # type: ignore[list-item]


def test_every_value_and_interval_becomes_a_scalar(run: Path) -> None:
    seen: list[javisbench.Result] = []
    result = scored(run, seen.append)
    assert seen == [result]
    found = scalars(result)
    overall = result.table.query("metric == 'av_align' and aspect == 'overall'").iloc[0]
    assert found["javisbench-v1/av_align/overall"] == overall["value"]
    assert found["javisbench-v1/av_align/overall/ci_low"] == overall["ci_low"]
    assert len([name for name in found if "ci_" not in name]) == int(result.table["value"].notna().sum())
    assert all(math.isfinite(value) for value in found.values())


def test_tensorboard_reads_what_was_logged(run: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = scored(run, TensorBoardCallback(tmp_path / "logs", step=4000))
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    logged = {tag: events.Scalars(tag)[0] for tag in events.Tags()["scalars"]}
    assert logged.keys() == scalars(result).keys()
    for tag, value in scalars(result).items():
        assert logged[tag].step == 4000
        assert logged[tag].value == pytest.approx(value, rel=1e-6)  # event files hold 32-bit floats
    (table,) = [tag for tag in events.Tags()["tensors"] if "table" in tag]
    text = events.Tensors(table)[0].tensor_proto.string_val[0].decode()
    assert len(text.splitlines()) == len(result.table) + 2


def test_a_writer_of_the_callers_stays_open(run: Path, tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(tmp_path / "logs"))
    scored(run, TensorBoardCallback(writer))
    writer.add_scalar("loss", 1.0, 0)
    writer.close()


def test_an_offline_run_of_wandb_holds_scalars_and_tables(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    mine = wandb.init(mode="offline", project="javisbench", dir=str(tmp_path))
    result = scored(run, WandbCallback(mine, step=7))
    mine.log({}, step=8)  # what belongs to a step is complete when the next one begins
    summary = dict(mine.summary)
    mine.finish()
    for tag, value in scalars(result).items():
        assert summary[tag] == value
    assert summary["javisbench/javisbench-v1/slices"]["nrows"] == len(slices(result))
    assert summary["javisbench/javisbench-v1/clips"]["nrows"] == 2
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


def test_a_run_and_how_to_begin_one_are_too_much() -> None:
    with pytest.raises(UsageError, match="not both"):
        WandbCallback(object(), project="javisbench")


@pytest.mark.parametrize(
    ("module", "make"),
    [("torch.utils.tensorboard", lambda: TensorBoardCallback("logs")), ("wandb", WandbCallback)],
)
def test_a_missing_package_is_one_sentence(module: str, make: object, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match="pip install"):
        make()  # type: ignore[operator]


def test_paths_may_be_text(run: Path, tmp_path: Path) -> None:
    result = javisbench.score(str(run), suite="demo", limit=1, metrics=["av_align"], weights_dirs=[str(tmp_path)])
    assert javisbench.Result(str(result.folder)).scores.equals(result.scores)
