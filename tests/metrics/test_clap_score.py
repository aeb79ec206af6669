"""CLAP score from embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from javisbench.metrics.base import SampleContext
from javisbench.metrics.clap_score import CLAPScore
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V1, V2


def score(audio: np.ndarray, prompt: np.ndarray) -> float:
    features = {"audio": {"embedding": audio}, "prompt": {"embedding": prompt}}
    return CLAPScore().score(features, SampleContext(V1)).value


def test_scores_of_the_reference_from_its_embeddings(
    golden_json: Callable[[str], Any], golden_npz: Callable[[str], dict[str, np.ndarray]]
) -> None:
    arrays = golden_npz("clap_embeds")
    for index, expected in enumerate(golden_json("clap_score")["clap_score"]):
        found = score(arrays[f"sample_{index:04d}/audio"][0], arrays[f"sample_{index:04d}/text"][0])
        assert found == pytest.approx(expected, abs=2e-7)  # the reference sums in float32


def test_equal_opposite_and_orthogonal() -> None:
    assert score(np.array([2.0, 0.0]), np.array([5.0, 0.0])) == pytest.approx(1.0)
    assert score(np.array([2.0, 0.0]), np.array([-5.0, 0.0])) == pytest.approx(-1.0)
    assert score(np.array([2.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(0.0)


def test_what_it_asks_for() -> None:
    assert METRICS.get("clap_score") is CLAPScore
    first, second = CLAPScore().needs(V1), CLAPScore().needs(V2)
    assert first["prompt"] == second["prompt"] and first["prompt"].subject == "audio_text"
    assert first["audio"].settings == {"clap_padding": "pad", "clap_resampler": "kaiser_best"}
    assert second["audio"].settings["clap_padding"] == "repeatpad"
