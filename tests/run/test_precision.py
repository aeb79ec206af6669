"""A faster precision keeps the protocol's name only when the run's own clips show no difference."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import javisbench
from javisbench.api import Result
from javisbench.errors import UsageError
from javisbench.protocol import V1
from javisbench.results.run_folder import load_results
from javisbench.results.table import run_table


@pytest.fixture
def score(
    tmp_path: Path, clips_fake: Path, golden_json: Callable[[str], Any], seeded_weights: ModuleType
) -> Callable[..., Result]:
    """Score two short golden clips with the stand-in ImageBind."""
    import torch

    for row, number in enumerate((4, 9)):
        for suffix in (".mp4", ".wav"):
            (tmp_path / "clips").mkdir(exist_ok=True)
            shutil.copy(clips_fake / f"sample_{number:04d}{suffix}", tmp_path / "clips" / f"sample_{row:04d}{suffix}")
    (tmp_path / "s.csv").write_text("text\na\nb\n")
    (tmp_path / "weights").mkdir()
    shapes = {name: entry[0] for name, entry in golden_json("statedict_imagebind_tiny")["tensors"].items()}
    state = seeded_weights.seeded_state_dict(shapes, "imagebind", 0)
    torch.save({n: torch.from_numpy(a) for n, a in state.items()}, tmp_path / "weights/imagebind_tiny.pth")

    def run(precision: str, tolerance: float | None = None) -> Result:
        protocol = V1.name if tolerance is None else f"{V1.name}+precision_tolerance={tolerance}"
        return javisbench.score(
            tmp_path / "clips", suite=str(tmp_path / "s.csv"), out=tmp_path / precision, metrics=["av_ib", "av_align"],
            encoders={"imagebind": "tiny"}, weights_dirs=[tmp_path / "weights"], workers=1, precision=precision,
            protocol=protocol,
        )  # fmt: skip

    return run


def test_bf16_is_recorded_and_named_by_what_it_moved(score: Callable[..., Result]) -> None:
    slow, fast = score("fp32"), score("bf16")
    assert slow.summary["run"]["precision"][slow.protocol] == {"precision": "fp32"}
    record = fast.summary["run"]["precision"][fast.protocol]
    moved = (slow.scores["av_ib"] - fast.scores["av_ib"]).abs().max()
    assert moved > 0, "bf16 must really have been used"
    assert record["largest_deviation"] == {"av_ib": pytest.approx(moved, abs=1e-12)}
    assert record["clips_tried"] == 2
    assert fast.protocol.endswith("+bf16") == (moved > V1.precision_tolerance)
    assert slow.scores["av_align"].equals(fast.scores["av_align"])


def test_fp16_is_finer(score: Callable[..., Result]) -> None:
    exact, coarse, fine = (score(precision).scores["av_ib"] for precision in ("fp32", "bf16", "fp16"))
    assert 0 < (fine - exact).abs().max() < 0.5 * (coarse - exact).abs().max()
    with pytest.raises(UsageError, match="fp32, tf32, bf16, fp16"):
        score("fp8")


def test_a_wide_tolerance_keeps_the_name_and_a_narrow_one_does_not(score: Callable[..., Result]) -> None:
    wide, narrow = score("bf16", tolerance=1.0), score("bf16", tolerance=1e-12)
    assert not wide.protocol.endswith("+bf16")
    assert narrow.protocol.endswith("+bf16")
    # Where the protocol's name does not say it, the table does.
    notes = {result.protocol: " ".join(run_table(result).notes) for result in load_results(wide.folder)}
    assert "networks in bf16. On the first 2 clips nothing moved by more than 1.0 from" in notes[wide.protocol]
    assert "bf16" not in notes[narrow.protocol]
