"""Clips as other people's models make them; skipped where they are not at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import javisbench

REAL = Path(os.environ.get("JAVISBENCH_REAL_CLIPS", Path(__file__).parents[3] / "shared" / "real"))

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not REAL.is_dir(), reason="no real clips here")]
MODELS = ("sora-2", "veo-3.1", "wan-2.6", "ltx-2", "grok-3", "vidu-q3")


@pytest.mark.parametrize("model", MODELS)
def test_clips_with_sound_in_the_container(tmp_path: Path, model: str) -> None:
    result = javisbench.score(
        REAL / "clips" / model, suite=str(REAL / "suite.csv"), out=tmp_path / "run", metrics=["av_align", "health_*"]
    )
    assert result.failed_samples == 0
    assert result.summary["run"]["audio"] == {"sidecar": 0, "container": 2, "none": 0}
    assert result.scores["av_align"].between(0, 2).all()
    assert result.scores["health_duration"].between(1.2, 4).all(), "5 to 15 s, where the suite asks for 4"


def test_clips_in_the_official_setting(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("text\na\nb\n")
    result = javisbench.score(
        REAL / "javisbench-ltx-2.3",
        suite=str(tmp_path / "s.csv"),
        out=tmp_path / "run",
        metrics=["av_align", "health_*"],
    )
    assert result.failed_samples == 0
    assert result.summary["run"]["audio"]["sidecar"] == 2
    assert (result.scores["health_size"] == 1.0).all()
