"""DeSync from logits: the reference's scores, and what the details mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from javisbench.errors import MetricError
from javisbench.metrics.base import SampleContext
from javisbench.metrics.desync import OFFSETS_S, DeSync
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V1, V2, parse_protocol

CONTEXT = SampleContext(V1)


def features(logits: Any) -> dict[str, dict[str, np.ndarray]]:
    return {"offset": {"logits": np.asarray(logits, dtype=np.float32)}}


@pytest.mark.parametrize("file", ["desync_small", "desync_full"])
def test_scores_of_the_reference(file: str, golden_json: Callable[[str], Any]) -> None:
    stored = golden_json(file)
    for index, clip in enumerate(stored["clips"]):
        score = DeSync().score(features(clip["logits"]), CONTEXT)
        # the reference rounds the offsets to float32
        assert score.value == pytest.approx(clip["desync"], abs=1e-6)
        assert score.details["offset_s"] == pytest.approx([(c - 10) / 5 for c in clip["argmax"]])
        if "batched" in stored:
            assert score.value == pytest.approx(stored["batched"][index], abs=1e-6)


def test_groups_are_averaged_without_their_signs() -> None:
    logits = np.zeros((2, 21))
    logits[0, 0] = logits[1, 20] = 50.0
    score = DeSync().score(features(logits), CONTEXT)
    assert score.value == 2.0
    assert score.details["offset_s"] == (-2.0, 2.0)
    assert score.details["expected_offset_s"] == pytest.approx((-2.0, 2.0))


def test_uniform_probabilities_expect_no_signed_offset() -> None:
    score = DeSync().score(features(np.zeros((1, 21))), CONTEXT)
    assert score.details["expected_offset_s"][0] == pytest.approx(0.0, abs=1e-12)
    assert score.details["expected_absolute_offset_s"][0] == pytest.approx(np.abs(OFFSETS_S).mean())


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(1, 4), st.just(21)), elements=st.floats(-100, 100, width=32)))
def test_ranges(logits: np.ndarray) -> None:
    score = DeSync().score(features(logits), CONTEXT)
    assert 0.0 <= score.value <= 2.0
    assert score.value * len(logits) * 5 == pytest.approx(round(score.value * len(logits) * 5), abs=1e-6)
    signed = np.array(score.details["expected_offset_s"])
    absolute = np.array(score.details["expected_absolute_offset_s"])
    assert (np.abs(signed) <= absolute + 1e-9).all()
    assert (absolute <= 2.0 + 1e-9).all()


def test_no_offset_from_what_is_not_a_number() -> None:
    with pytest.raises(MetricError, match="not finite"):
        DeSync().score(features(np.full((1, 21), np.nan)), CONTEXT)


def test_what_it_asks_for() -> None:
    assert METRICS.get("desync") is DeSync
    (first,) = DeSync().needs(V1).values()
    (second,) = DeSync().needs(V2).values()
    (longer,) = DeSync().needs(parse_protocol("javisbench-v1+max_audio_len_s=8")).values()
    assert first.settings == {"fps_conversion": "drop_last", "max_audio_len_s": 4.0}
    assert second.settings["fps_conversion"] == "round_up"
    assert longer.settings["max_audio_len_s"] == 8.0
