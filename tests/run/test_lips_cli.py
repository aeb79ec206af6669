"""Lip synchrony by the command line: values, what has none, and the reference's numbers from files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from javisbench.cli import run

METRICS = ("lse_c", "lse_d", "av_offset_ms")


def javisbench(*args: str | Path) -> dict[str, Any]:
    result = subprocess.run(
        [sys.executable, "-m", "javisbench", *map(str, args), "--json", "--quiet", "--workers", "1"],
        capture_output=True,
        text=True,
        timeout=1800,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def suite_of(folder: Path, names: list[str]) -> Path:
    path = folder / "suite.csv"
    path.write_text("id,text\n" + "".join(f"{name},somebody speaks\n" for name in names), encoding="utf-8")
    return path


def test_clips_have_numbers_or_are_counted_by_what_they_lack(
    lip_inputs: ModuleType,
    seeded_weights: ModuleType,
    golden_json: Callable[[str], Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored, clips = golden_json("field/syncnet"), tmp_path / "clips"
    clips.mkdir()
    weights = lip_inputs.save_weights(
        tmp_path / "weights", "small", stored, seeded_weights, 0, lip_inputs.one_face("small")
    )
    frames, sound = lip_inputs.reference_frames(0, 24), lip_inputs.reference_sound(0)[:15360]
    for name, pixels, samples in (
        ("speaks", frames, sound),
        ("mute", frames, None),
        ("silent", frames, np.zeros_like(sound)),
        ("tiny", frames[:, :64, :64].copy(), sound),
        ("short", frames[:15], sound),
    ):
        lip_inputs.write_lossless(clips / f"{name}.mkv", pixels, samples)
    names = ["speaks", "mute", "silent", "tiny", "short"]
    arguments = (
        "score", clips, "--suite", suite_of(tmp_path, names), "--metrics", ",".join(METRICS), "--encoder",
        "syncnet=small", "--weights-dir", weights, "--out", tmp_path / "run", "--json", "--quiet", "--workers", "1",
    )  # fmt: skip
    assert run([str(argument) for argument in arguments]) == 0
    summary = json.loads(capsys.readouterr().out)
    scores = pd.read_parquet(tmp_path / "run/scores.parquet").set_index("sample_id")
    for metric in METRICS:
        cell = summary["metrics"][metric]["overall"]
        assert (cell["n"], cell["not_applicable"]) == (1, 4)
        assert cell["value"] == pytest.approx(scores.loc["speaks", metric])
        assert scores[metric].isna().sum() == 4
    rows = [json.loads(line) for line in (tmp_path / "run/failures.jsonl").read_text(encoding="utf-8").splitlines()]
    reasons = {(row["sample_id"], row["metric"], row["kind"]) for row in rows}
    kinds = {"mute": "no_audio", "silent": "silent", "tiny": "no_face", "short": "too_short"}
    assert reasons == {(name, metric, kind) for name, kind in kinds.items() for metric in METRICS}
    assert {row["stage"] for row in rows} == {"not_applicable"}


@pytest.mark.slow
def test_the_references_numbers_from_files(
    lip_inputs: ModuleType, seeded_weights: ModuleType, golden_json: Callable[[str], Any], tmp_path: Path
) -> None:
    """Official names and sizes; S3FD is given a face whose crop is the whole picture, as the reference had it."""
    stored, clips = golden_json("field/syncnet"), tmp_path / "clips"
    clips.mkdir()
    faces = lip_inputs.one_face("official")
    weights = lip_inputs.save_weights(tmp_path / "weights", "official", stored, seeded_weights, 0, faces)
    for clip in (0, 1):
        frames, sound = lip_inputs.reference_frames(clip), lip_inputs.reference_sound(clip)
        lip_inputs.write_lossless(clips / f"clip{clip}.mkv", frames, sound)
    for number, protocol in enumerate(("javisbench-v1", "javisbench-v2")):
        javisbench(
            "score", clips, "--suite", suite_of(tmp_path, ["clip0", "clip1"]), "--metrics", ",".join(METRICS),
            "--protocol", protocol, "--weights-dir", weights, "--out", tmp_path / f"run{number}",
        )  # fmt: skip
        scores = pd.read_parquet(tmp_path / f"run{number}/scores.parquet").set_index("sample_id")
        for name, numbers in stored["clips"].items():
            # 1e-5 seen; embeddings are equal to 5e-5.
            assert scores.loc[name, "lse_d"] == pytest.approx(numbers["LSE-D_float64"], abs=1e-4)
            assert scores.loc[name, "lse_c"] == pytest.approx(numbers["LSE-C_float64"], abs=1e-4)
            assert scores.loc[name, "av_offset_ms"] == pytest.approx(40 * abs(numbers["offset"]))
