"""A run under javisbench-v2 with AV-Sync: means, reasons and facts in the summary; a submission's are checked."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import javisbench
from javisbench.api import Result
from javisbench.clip import Clip
from javisbench.media import write_clip
from javisbench.publish.verify import verify_folder

CLIPS = 8


def flashing_box(seed: int, *, silent: bool = False, still: bool = False) -> Clip:
    """2.5 s at 12 fps of a box that jumps when a knock is heard, 96x64."""
    random = np.random.default_rng(seed)
    hits = np.cumsum(random.uniform(0.3, 0.6, 6))
    frames = np.full((30, 64, 96, 3), 60, np.uint8)
    frames[:, ::7, ::5] = 180
    for index in range(30):
        place = 0 if still else int((hits <= index / 12).sum()) % 2
        frames[index, 20:40, 20 + 24 * place : 40 + 24 * place] = (240, 30, 30)
    sound = 1e-3 * random.standard_normal(40_000)
    for at in (hits * 16_000).astype(int):
        length = min(1600, max(0, 40_000 - at))
        sound[at : at + length] += 0.4 * random.standard_normal(length) * np.exp(-np.arange(length) / 400)
    audio = np.zeros((1, 40_000), np.float32) if silent else sound.astype(np.float32)[None]
    return Clip(frames, Fraction(12), audio, 16_000)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("av_sync")
    (folder / "clips").mkdir()
    for number in range(CLIPS):
        write_clip(
            flashing_box(number, silent=number == 0, still=number == 1), folder / f"clips/sample_{number:04d}.mp4"
        )
    (folder / "s.csv").write_text("text\n" + "\n".join(f"prompt {i}" for i in range(CLIPS)) + "\n")
    return javisbench.score(
        folder / "clips", suite=str(folder / "s.csv"), out=folder / "run", metrics=["av_sync", "health_silence"],
        protocols=["javisbench-v2", "javisbench-v1"], workers=1,
    )  # fmt: skip


def summary(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())  # type: ignore[no-any-return]


def test_reasons_and_facts_stand_beside_the_mean(result: Result) -> None:
    overall = summary(result.folder)["metrics"]["av_sync"]["overall"]
    assert (overall["n"], overall["not_applicable"]) == (CLIPS - 2, 2)
    scores = result.scores["av_sync"]
    assert overall["value"] == pytest.approx(scores.dropna().clip(-2, 6).mean())
    assert set(overall["facts"]) == {"informative", "weighted_mean", "weighted_mean_low", "weighted_mean_high"}
    reasons = {row["sample_id"]: (row["stage"], row["kind"]) for row in summary(result.folder)["failures"]}
    assert reasons == {
        "sample_0000": ("not_applicable", "silent"),
        "sample_0001": ("not_applicable", "no_motion_events"),
    }
    assert result.failed_samples == 0 and result.failures.empty


def test_v1_does_not_have_it_and_says_which_protocol_does(result: Result) -> None:
    cell = summary(result.folder / "protocols" / "javisbench-v1")["metrics"]["av_sync"]["overall"]
    assert cell["status"] == "not_applicable" and "--protocol javisbench-v2" in cell["note"]


def test_what_a_submission_says_is_computed_again(result: Result, tmp_path: Path) -> None:
    run = result.folder
    document = summary(run)
    manifest = {name: document["run"][name] for name in ("model", "suite", "suite_hash", "protocol")}
    assert not [finding for finding in verify_folder(run, manifest) if finding.refuses]
    saved = (run / "summary.json").read_bytes()
    try:
        for change in (
            {"facts": {**document["metrics"]["av_sync"]["overall"]["facts"], "weighted_mean": 9.0}},
            {"not_applicable": 0},
        ):
            document = json.loads(saved)
            document["metrics"]["av_sync"]["overall"] |= change
            (run / "summary.json").write_text(json.dumps(document))
            assert [f.kind for f in verify_folder(run, manifest) if f.refuses] == ["aggregate"]
    finally:
        (run / "summary.json").write_bytes(saved)
