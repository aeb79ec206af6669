"""Scoring folders of clips: matching, failures, resuming, two protocols, the shape of what is written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import javisbench
from javisbench.api import Result
from javisbench.errors import UsageError
from javisbench.media import read_clip, write_clip
from javisbench.metrics.encoders.flow import FlowEncoder

METRICS = ["av_align", "health_silence"]


CHOSEN = [f"sample_{number:04d}" for number in (0, 3, 4, 9)]


@pytest.fixture(scope="module")
def small_clips(tmp_path_factory: pytest.TempPathFactory, clips_fake: Path) -> Path:
    """Four golden clips, named by row of the golden suite: 0, 3 (silent), 4 (1.5 s) and 9.

    The same sounds beside a sixteenth of the pixels, in which motion is found quickly.
    """
    folder = tmp_path_factory.mktemp("small")
    for name in CHOSEN:
        clip = read_clip(clips_fake / f"{name}.mp4")
        frames = np.ascontiguousarray(clip.frames[:, ::4, ::4][:, : clip.frames.shape[1] // 8 * 2, :106])
        write_clip(replace(clip, frames=frames, audio=None, sample_rate=None), folder / f"{name}.mp4", sidecar=False)
        shutil.copy(clips_fake / f"{name}.wav", folder)
    return folder


@pytest.fixture
def clips(tmp_path: Path, small_clips: Path) -> Path:
    return Path(shutil.copytree(small_clips, tmp_path / "clips"))


@pytest.fixture
def suite(tmp_path: Path) -> str:
    """Ten rows; those of the four clips share a category."""
    rows = [f"prompt {i},{0 if i in (0, 3, 4, 9) else 1}" for i in range(10)]
    (tmp_path / "s.csv").write_text("\n".join(["text,cat0_ind", *rows]) + "\n")
    return str(tmp_path / "s.csv")


def score(clips: Path, suite: str, run: Path, **more: Any) -> Result:
    return javisbench.score(clips, suite=suite, out=run, metrics=more.pop("metrics", METRICS), workers=1, **more)


def test_values_counts_and_failures(
    clips: Path, clips_fake: Path, suite: str, tmp_path: Path, golden_json: Callable[[str], Any]
) -> None:
    shutil.copy(clips_fake / "sample_0009.mp4", clips)
    (clips / "sample_0004.wav").write_bytes(b"RIFFbroken")
    (clips / "notes.mp4").write_bytes(b"")
    result = score(clips, suite, tmp_path / "run")
    golden = golden_json("av_align")["av_align"]
    scores = result.scores.set_index("sample_id")["av_align"]
    assert len(scores) == 10
    assert scores["sample_0009"] == pytest.approx(golden[9], abs=1e-12)
    assert scores["sample_0003"] == 0.0
    assert pd.isna(scores["sample_0004"])
    cell = result.summary["metrics"]["av_align"]["event_scenario"]["natural_scenario"]
    assert cell["n"] == 3
    assert cell["value"] == pytest.approx((scores["sample_0000"] + golden[3] + golden[9]) / 3, abs=1e-12)
    empty = result.summary["metrics"]["av_align"]["event_scenario"]["urban_scenario"]
    assert (empty["value"], empty["n"], empty["status"]) == (None, 0, "failed")
    kinds = result.failures.set_index("sample_id")["kind"]
    assert kinds["sample_0004"] == "bad_sidecar"
    assert (kinds.drop("sample_0004") == "missing_clip").all()
    assert len(kinds) == 7
    assert result.summary["run"]["audio"] == {"sidecar": 3, "container": 0, "none": 0}
    assert result.failed_samples == 7


def test_what_is_written_is_json_without_nan_and_loads_again(clips: Path, suite: str, tmp_path: Path) -> None:
    result = score(clips, suite, tmp_path / "run")

    def refuse(token: str) -> None:
        raise AssertionError(token)

    summary = json.loads((tmp_path / "run/summary.json").read_text(), parse_constant=refuse)
    assert summary["schema"] == 1
    assert summary["run"]["protocol"] == "javisbench-v1"
    assert summary["run"]["stand_in"] is False
    assert {"value", "n", "ci_low", "ci_high", "status"} <= summary["metrics"]["av_align"]["overall"].keys()
    assert len(result.table) == 2 * 20
    onsets = result.details.query("name == 'onset_times_s' and sample_id == 'sample_0000'")
    assert len(onsets.iloc[0]["values"]) == 10


def test_unchanged_clips_are_not_encoded_again_and_changed_ones_are(
    clips: Path, suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = score(clips, suite, tmp_path / "run")
    encoded: list[str] = []
    original = FlowEncoder.intake

    def counting(self: FlowEncoder, head: Any, specs: Any) -> Any:
        encoded.append(head.name)
        return original(self, head, specs)

    monkeypatch.setattr(FlowEncoder, "intake", counting)
    again = score(clips, suite, tmp_path / "run")
    assert encoded == []
    pd.testing.assert_frame_equal(first.scores, again.scores)
    shutil.copy(clips / "sample_0003.wav", clips / "sample_0009.wav")
    changed = score(clips, suite, tmp_path / "run")
    # The picture is the old one, and the sound is known from another clip.
    assert encoded == []
    assert changed.scores.set_index("sample_id")["av_align"]["sample_0009"] == 0.0


def test_two_protocols_share_features_and_lie_apart(clips: Path, suite: str, tmp_path: Path) -> None:
    result = score(clips, suite, tmp_path / "run", protocol=["javisbench-v1", "javisbench-v2"])
    other = Result(tmp_path / "run", "javisbench-v2")
    assert result.protocol == "javisbench-v1"
    assert other.protocol == "javisbench-v2"
    assert (tmp_path / "run/protocols/javisbench-v2/scores.parquet").exists()
    # Health is the same under both; one-to-one matching can only lower AV-Align (v2 also drops 1e-6 in it).
    pd.testing.assert_series_equal(result.scores["health_silence"], other.scores["health_silence"])
    assert (result.scores["av_align"].dropna() >= other.scores["av_align"].dropna() - 1e-6).all()


def test_worker_counts_do_not_change_a_bit(clips: Path, suite: str, tmp_path: Path) -> None:
    one = score(clips, suite, tmp_path / "one")
    three = javisbench.score(clips, suite=suite, out=tmp_path / "three", metrics=METRICS, workers=3)
    pd.testing.assert_frame_equal(one.scores, three.scores, check_exact=True)
    assert one.summary["metrics"] == three.summary["metrics"]


def test_clips_are_found_by_id_by_row_or_by_manifest(clips: Path, tmp_path: Path) -> None:
    from javisbench.matching import match_folder
    from javisbench.suite import load_suite

    (tmp_path / "ids.csv").write_text("id,text\ncat,a\ndog,b\n")
    suite = load_suite(str(tmp_path / "ids.csv"))
    by_row = match_folder(clips, suite)
    assert by_row.how == "index"
    assert by_row.missing == ("dog",)
    assert {path.stem for path in by_row.extra} == {"sample_0003", "sample_0004", "sample_0009"}
    shutil.copy(clips / "sample_0003.mp4", clips / "dog.mp4")
    by_id = match_folder(clips, suite)
    assert by_id.how == "id"
    assert by_id.missing == ("cat",)
    (tmp_path / "m.csv").write_text("id,video,audio\ncat,clips/sample_0004.mp4,clips/sample_0009.wav\n")
    by_manifest = match_folder(clips, suite, manifest=tmp_path / "m.csv")
    source = by_manifest.items[0].source
    assert source is not None and source.audio is not None
    assert (source.video.name, source.audio.name) == ("sample_0004.mp4", "sample_0009.wav")


def test_suffixes_of_clips_count_in_any_case(tmp_path: Path) -> None:
    from javisbench.matching import match_folder
    from javisbench.suite import load_suite

    (tmp_path / "ids.csv").write_text("id,text\ncat,a\ndog,b\ncow,c\n")
    for name in ("cat.MP4", "cat.WAV", "dog.mp4", "dog.MP4", "dog.flac", "dog.Flac", "cow.Mkv", "cow.wav.txt"):
        (tmp_path / name).touch()
    found = match_folder(tmp_path, load_suite(str(tmp_path / "ids.csv")))
    sources = [item.source for item in found.items if item.source is not None]
    assert [source.video.name for source in sources] == ["cat.MP4", "dog.mp4", "cow.Mkv"]
    assert [source.audio and source.audio.name for source in sources] == ["cat.WAV", "dog.flac", None]
    assert [path.name for path in found.extra] == ["dog.MP4"]


def test_repeats_are_found_and_averaged_by_prompt(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "two.csv").write_text("text\na\nb\n")
    for suffix in (".mp4", ".wav"):
        shutil.copy(clips / f"sample_0009{suffix}", clips / f"sample_0000-1{suffix}")
    result = score(clips, str(tmp_path / "two.csv"), tmp_path / "run")
    assert list(result.scores["repeat"]) == [0, 1, 0, 1]
    assert result.summary["metrics"]["av_align"]["overall"]["n"] == 2


def test_missing_weights_are_one_line_and_block_nothing(clips: Path, suite: str, tmp_path: Path) -> None:
    result = score(clips, suite, tmp_path / "run", metrics=["av_align", "javis_score", "fvd"])
    cells = result.summary["metrics"]
    assert cells["javis_score"]["overall"]["status"] == "missing_weights"
    assert "javisbench weights fetch imagebind_huge" in cells["javis_score"]["overall"]["note"]
    assert cells["javis_score"]["event_scenario"]["natural_scenario"]["value"] is None
    assert cells["fvd"]["overall"]["status"] in ("missing_weights", "missing_reference")
    assert cells["av_align"]["overall"]["n"] == 4


def test_text_metrics_do_not_apply_without_prompts(clips: Path, tmp_path: Path) -> None:
    result = javisbench.score(
        clips, suite="landscape", limit=10, out=tmp_path / "run", metrics=["tv_ib", "av_align"], workers=1
    )
    assert result.protocol == "aist-landscape"
    assert result.summary["metrics"]["tv_ib"]["overall"]["status"] == "not_applicable"


def test_a_folder_without_a_match_says_what_names_are_expected(tmp_path: Path, suite: str) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="holds no video"):
        score(tmp_path / "other", suite, tmp_path / "run")
    (tmp_path / "other/clip.mp4").write_bytes(b"x")
    with pytest.raises(UsageError, match="sample_0000"):
        score(tmp_path / "other", suite, tmp_path / "run")


@pytest.mark.parametrize("step", ["take", "features"])
def test_an_encoder_that_breaks_on_one_clip_costs_that_clip(
    clips: Path, suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    begin = FlowEncoder.intake

    def breaking(*_: Any) -> Any:
        raise RuntimeError("unexpected")

    def intake(self: FlowEncoder, head: Any, specs: Any) -> Any:
        begun = begin(self, head, specs)
        if "sample_0003" in head.name:
            monkeypatch.setattr(begun, step, breaking)
        return begun

    monkeypatch.setattr(FlowEncoder, "intake", intake)
    result = score(clips, suite, tmp_path / "run")
    broken = result.failures.query("kind == 'encoder_failed'")
    assert list(broken["sample_id"]) == ["sample_0003"]
    assert list(broken["metric"]) == ["av_align"]
    assert result.summary["metrics"]["av_align"]["overall"]["n"] == 3
    assert result.summary["metrics"]["health_silence"]["overall"]["n"] == 4


def test_encoders_are_listed_in_one_order_in_every_process(suite: str) -> None:
    plan = (
        "import sys; from javisbench.run.scoring_job import ScoringOptions, plan_scoring; "
        "from javisbench.suite import load_suite; "
        "print(*plan_scoring(load_suite(sys.argv[1]), ScoringOptions(metrics=['av_align'])).encoders)"
    )
    told = []
    # With these two, Python puts a set of the two names in different orders.
    for seed in "01":
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed}
        told.append(subprocess.check_output([sys.executable, "-c", plan, suite], env=environment, text=True))
    assert told == ["flow onsets\n"] * 2
