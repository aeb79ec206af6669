"""CAVP score from embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from javisbench.metrics.base import SampleContext
from javisbench.metrics.cavp_score import CAVPScore
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V1, V2


def score(video: np.ndarray, audio: np.ndarray) -> float:
    features = {"video": {"embeddings": video}, "audio": {"embeddings": audio}}
    return CAVPScore().score(features, SampleContext(V1)).value


def test_scores_of_the_reference_from_its_embeddings(
    golden_json: Callable[[str], Any], golden_npz: Callable[[str], dict[str, np.ndarray]]
) -> None:
    arrays = golden_npz("cavp_embeds")
    for index, expected in enumerate(golden_json("cavp_score")["cavp_score"]):
        found = score(arrays[f"sample_{index:04d}/video"], arrays[f"sample_{index:04d}/audio"])
        assert found == pytest.approx(expected, abs=1e-7)  # the reference sums in float32


def test_moments_are_compared_one_by_one() -> None:
    video = np.eye(4)
    assert score(video, 2 * video) == pytest.approx(1.0)
    assert score(video, np.roll(video, 1, axis=0)) == pytest.approx(0.0)
    assert score(video, -video) == pytest.approx(-1.0)


def test_what_it_asks_for() -> None:
    assert METRICS.get("cavp_score") is CAVPScore
    for role, first in CAVPScore().needs(V1).items():
        assert first.settings == {}
        assert CAVPScore().needs(V2)[role] == replace(first, prep=(("frame_times", "shown"),))
