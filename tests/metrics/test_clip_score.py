"""CLIP score from embeddings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.metrics.base import SampleContext
from javisbench.metrics.clip_score import CLIPScore
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V1, V2, parse_protocol


def score(frames: np.ndarray, prompt: np.ndarray) -> float:
    features = {"frames": {"embeddings": frames}, "prompt": {"embedding": prompt}}
    return CLIPScore().score(features, SampleContext(V1)).value


def test_equal_opposite_and_orthogonal() -> None:
    prompt = np.array([3.0, 0.0, 0.0])
    assert score(np.array([[1.0, 0, 0], [5.0, 0, 0]]), prompt) == pytest.approx(1.0)
    assert score(np.array([[1.0, 0, 0], [-5.0, 0, 0]]), prompt) == pytest.approx(0.0)
    assert score(np.array([[0, 1.0, 0], [0, 0, 2.0]]), prompt) == pytest.approx(0.0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10.0))
def test_range_and_scale(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    frames, prompt = rng.normal(size=(5, 8)), rng.normal(size=8)
    value = score(frames, prompt)
    assert -1.0 <= value <= 1.0
    assert score(factor * frames, prompt) == pytest.approx(value, abs=1e-12)
    assert score(frames[::-1], prompt) == pytest.approx(value, abs=1e-12)


def test_what_it_asks_for() -> None:
    assert METRICS.get("clip_score") is CLIPScore
    first, second = CLIPScore().needs(V1), CLIPScore().needs(V2)
    assert first["prompt"] == second["prompt"] and first["prompt"].subject == "text"
    assert first["frames"].settings == {"clip_frames": 48, "channel_order": "bgr"}
    assert second["frames"].settings == {"clip_frames": 48, "channel_order": "rgb", "frame_times": "shown"}
    fewer = CLIPScore().needs(parse_protocol("javisbench-v1+clip_frames=8"))
    assert fewer["frames"].settings["clip_frames"] == 8
