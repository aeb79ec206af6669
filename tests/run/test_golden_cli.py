"""The reference evaluation's numbers, reached through the public command line.

Reference numbers: commit b505b37 of the reference evaluation, clips in tests/golden/clips, stand-in weights seed 0.
"""

from __future__ import annotations

import hashlib
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
from javisbench.taxonomy import TAXONOMY

ENCODERS = tuple(
    part for name in ("imagebind=tiny", "synchformer=small", "clip=small", "clap=small") for part in ("--encoder", name)
)
SAMPLE_METRICS = {
    "tv_ib": "ib_tv",
    "ta_ib": "ib_ta",
    "av_ib": "ib_av",
    "clip_score": "clip_score",
    "av_align": "av_align",
    "avh_score": "avh_score",
    "javis_score": "javis_score",
}
# file in --weights-dir: (state-dict list, its member, weight preset)
WEIGHTS = {
    "imagebind_tiny.pth": ("statedict_imagebind_tiny", "tensors", "imagebind"),
    "i3d_pretrained_400.pt": ("statedict_i3d", "tensors", "i3d"),
    "AudioCLIP-Full-Training.pt": ("statedict_audioclip", "audio", "audioclip"),
    "clap_small.pt": ("statedict_clap_small", "tensors", "clap"),
}
CAVP_WEIGHTS = "cavp_epoch66.ckpt"
SYNCHFORMER_WEIGHTS = "synchformer_small.pth"
SLOW_WEIGHTS = {
    CAVP_WEIGHTS: ("statedict_cavp", "tensors", "cavp"),
    SYNCHFORMER_WEIGHTS: ("statedict_synchformer_small", "tensors", "synchformer"),
}


def write_clip_weights(path: Path, seeded: ModuleType, seed: int) -> None:
    import torch

    from javisbench.metrics.encoders import clip

    names = clip.to_openai_names(clip.build_clip(clip.VARIANTS["small"]).state_dict())
    arrays = seeded.seeded_state_dict({name: tensor.shape for name, tensor in names.items()}, "clip", seed)
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)


def write_weights(folder: Path, golden_json: Callable[[str], Any], seeded: ModuleType, seed: int, *names: str) -> Path:
    import torch

    known = {**WEIGHTS, **SLOW_WEIGHTS}
    for name in names:
        listing, member, preset = known[name]
        entries = golden_json(listing)[member]
        shapes = {tensor: entry[0] for tensor, entry in entries.items()}
        integers = [tensor for tensor, entry in entries.items() if entry[1] == "int64"]
        state = seeded.seeded_state_dict(shapes, preset, seed, integer_names=integers)
        torch.save({tensor: torch.from_numpy(array) for tensor, array in state.items()}, folder / name)
    return folder


def call(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "javisbench", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def javisbench(*args: str | Path) -> dict[str, Any]:
    """The summary that the command prints, run as a process."""
    result = call(*args, "--json", "--quiet", "--workers", "1")
    assert result.returncode == 0, result.stderr
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def command(*args: str | Path) -> int:
    """The exit code of the command, run in this process."""
    return run([str(arg) for arg in args])


def slices(metric: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Cells in the order of the reference evaluation's lists "0" to "4"."""
    return [[metric[aspect.id][category] for category in aspect.category_ids] for aspect in TAXONOMY]


@pytest.fixture(scope="module")
def scored(
    tmp_path_factory: pytest.TempPathFactory,
    golden: Path,
    golden_json: Callable[[str], Any],
    seeded_weights: ModuleType,
    save_stand_in_tokenizer: Callable[[Path], None],
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("golden")
    weights = folder / "weights"
    weights.mkdir()
    write_weights(weights, golden_json, seeded_weights, 0, *WEIGHTS)
    write_clip_weights(weights / "clip_small.pt", seeded_weights, 0)
    save_stand_in_tokenizer(weights / "clap_small.tokenizer.json")
    metrics = ",".join((*SAMPLE_METRICS, "clap_score", "fvd", "kvd", "fad"))
    summary = javisbench(
        "score", golden / "clips/fake", "--suite", golden / "suite.csv", "--metrics", metrics, *ENCODERS,
        "--weights-dir", weights, "--reference", golden / "clips/real", "--out", folder / "run",
    )  # fmt: skip
    return folder / "run", summary


@pytest.mark.parametrize("metric", SAMPLE_METRICS)
def test_every_clip_and_slice(
    scored: tuple[Path, dict[str, Any]], golden_json: Callable[[str], Any], metric: str
) -> None:
    assert_equal(*scored, metric, golden_json("evaluator_output")[SAMPLE_METRICS[metric]])


def assert_equal(folder: Path, summary: dict[str, Any], metric: str, reference: dict[str, Any]) -> None:
    column = pd.read_parquet(folder / "scores.parquet")[metric]
    # Float32 sums in another order: 2.4e-7 was the largest seen; an in-place mean done once too often gives 5e-5.
    np.testing.assert_allclose(column, reference["all"], rtol=0, atol=1e-6)
    assert summary["metrics"][metric]["overall"]["value"] == pytest.approx(reference["overall"], abs=1e-6)
    for number, aspect in enumerate(slices(summary["metrics"][metric])):
        np.testing.assert_allclose([c["value"] for c in aspect], reference[str(number)], rtol=0, atol=1e-6)


def score_desync(folder: Path, golden: Path, *more: str) -> dict[str, Any]:
    return javisbench(
        "score", golden / "clips/fake", "--suite", golden / "suite.csv", "--metrics", "desync", *ENCODERS[2:4],
        "--weights-dir", folder.parent / "weights", "--out", folder, *more,
    )  # fmt: skip


@pytest.mark.slow  # A third of a minute a clip; test_synchformer.py has the numbers by stage.
def test_desync_of_every_clip_and_slice(
    scored: tuple[Path, dict[str, Any]], golden: Path, golden_json: Callable[[str], Any], seeded_weights: ModuleType
) -> None:
    folder = scored[0].parent / "desync"
    write_weights(scored[0].parent / "weights", golden_json, seeded_weights, 0, SYNCHFORMER_WEIGHTS)
    summary = score_desync(folder, golden)
    assert_equal(folder, summary, "desync", golden_json("evaluator_output")["desync"])


def test_clap_score_of_every_clip(scored: tuple[Path, dict[str, Any]], golden_json: Callable[[str], Any]) -> None:
    column = pd.read_parquet(scored[0] / "scores.parquet")["clap_score"]
    # Our mel differs from the extractor's by 4e-6 where sound is resampled, which moves a score by 2e-6 at most.
    np.testing.assert_allclose(column, golden_json("clap_score")["clap_score"], rtol=0, atol=5e-6)


@pytest.mark.slow
def test_cavp_score_of_every_clip(
    tmp_path: Path, golden: Path, golden_json: Callable[[str], Any], seeded_weights: ModuleType
) -> None:
    weights = write_weights(tmp_path, golden_json, seeded_weights, 0, CAVP_WEIGHTS)
    javisbench(
        "score", golden / "clips/fake", "--suite", golden / "suite.csv", "--metrics", "cavp_score",
        "--weights-dir", weights, "--out", tmp_path / "run",
    )  # fmt: skip
    column = pd.read_parquet(tmp_path / "run/scores.parquet")["cavp_score"]
    # The reference encodes the frames once more, with losses: that moves a score by 1.5e-5.
    np.testing.assert_allclose(column, golden_json("cavp_score")["cavp_score"], rtol=0, atol=3e-5)


@pytest.mark.parametrize(
    ("metric", "reference", "relative", "absolute", "slice_relative"),
    [
        # I3D features agree to 3e-7; small slices have nearly singular covariances, which amplify that.
        ("fvd", "fvd", 1e-4, 0.0, 1e-3),
        ("kvd", "kvd_centred", 0.0, 1e-5, 0.0),
        # AudioCLIP turns the rounding of digital silence into features: the reference itself varies by as much.
        ("fad", "fad", 0.05, 0.0, 0.15),
    ],
)
def test_distances_to_real_clips(
    scored: tuple[Path, dict[str, Any]],
    golden_json: Callable[[str], Any],
    metric: str,
    reference: str,
    relative: float,
    absolute: float,
    slice_relative: float,
) -> None:
    expected = golden_json("evaluator_output_float64")[reference]
    found = scored[1]["metrics"][metric]
    assert found["overall"]["value"] == pytest.approx(expected["overall"], rel=relative, abs=absolute)
    assert found["overall"]["n"] == 11
    for number, aspect in enumerate(slices(found)):
        values = [cell["value"] for cell in aspect]
        np.testing.assert_allclose(values, expected[str(number)], rtol=slice_relative, atol=max(absolute, 1e-4))
    if metric != "kvd":
        assert found["overall"]["status"] == "biased"


def test_stand_in_weights_are_said_everywhere(
    scored: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, summary = scored
    assert summary["run"]["protocol"].startswith("javisbench-v1+")
    assert "imagebind=tiny" in summary["run"]["protocol"]
    assert summary["run"]["stand_in"] is True
    assert command("report", folder) == 0
    assert "stand-in" in capsys.readouterr().out


def test_other_weights_under_an_official_name_are_told_named_and_refused(
    scored: tuple[Path, dict[str, Any]], tmp_path: Path, golden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = scored[0].parent / "weights"
    digest = hashlib.sha256((weights / "AudioCLIP-Full-Training.pt").read_bytes()).hexdigest()
    code = command(
        "score", golden / "clips/fake", "--suite", golden / "suite.csv", "--limit", "2", "--metrics", "fad",
        "--weights-dir", weights, "--reference", golden / "clips/real", "--out", tmp_path / "run", "--json",
        "--workers", "1",
    )  # fmt: skip
    shown = capsys.readouterr()
    assert code == 0, shown.err
    protocol = f"javisbench-v1+weights={digest[:8]}"
    facts = json.loads(shown.out)["run"]
    assert (facts["protocol"], facts["encoders"]["audioclip"]["weights_sha256"]) == (protocol, digest)
    told = f"is not the official file of AudioCLIP, full training: its SHA-256 is {digest[:8]}..., not 2441d35b..."
    assert shown.err.count(told) == 1, shown.err
    assert "boards refuse the run" in shown.err and "javisbench weights fetch audioclip" in shown.err
    assert command("submit", "pack", tmp_path / "run", "--out", tmp_path / "a.zip") == 2
    assert not (tmp_path / "a.zip").exists()
    refused = capsys.readouterr().err
    assert f"{protocol} is a derived protocol" in refused and "with the official weights" in refused


def test_another_weight_seed_gives_other_valid_scores(
    scored: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    golden: Path,
    golden_json: Callable[[str], Any],
    seeded_weights: ModuleType,
) -> None:
    seed = int(np.random.default_rng().integers(1, 2**31))
    weights = write_weights(tmp_path, golden_json, seeded_weights, seed, "imagebind_tiny.pth")
    metrics = ["tv_ib", "ta_ib", "av_ib", "avh_score", "javis_score"]
    arguments = (
        "score", golden / "clips/fake", "--suite", golden / "suite.csv", "--limit", "5", "--metrics",
        ",".join(metrics), *ENCODERS[:2], "--weights-dir", weights,
    )  # fmt: skip
    assert command(*arguments, "--workers", "1", "--quiet", "--out", tmp_path / "run") == 0
    scores = pd.read_parquet(tmp_path / "run/scores.parquet")
    first = pd.read_parquet(scored[0] / "scores.parquet").head(5)
    for metric in metrics:
        assert scores[metric].between(-1.0, 1.0).all(), seed
        assert (scores[metric] - first[metric]).abs().max() > 1e-3, seed
    # JavisScore keeps a window's least similar frames, so it can only lie below the mean over the same windows; on a
    # clip of one window (sample 4: 1.5 s) that mean is AVHScore itself.
    assert scores["javis_score"][4] <= scores["avh_score"][4] + 1e-6, seed
