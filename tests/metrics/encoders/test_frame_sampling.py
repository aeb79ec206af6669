"""Evenly spaced frames: the reference's indices, and what holds for any clip."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from javisbench.clip import Timeline
from javisbench.metrics.encoders.preprocessing.frame_sampling import evenly_spaced_frames, evenly_spaced_indices


def test_indices_equal_the_reference_evaluation(golden_json: Callable[[str], Any]) -> None:
    clips = golden_json("fvd_kvd_fad")["clips"]
    assert len(clips) == 11
    for clip in clips:
        assert evenly_spaced_indices(clip["cv2_frame_count"], 24).tolist() == clip["indices"], clip["id"]


@given(frame_count=st.integers(1, 100_000), n=st.integers(1, 300))
def test_indices_equal_float32_linspace(frame_count: int, n: int) -> None:
    expected = torch.linspace(0, frame_count - 1, n, dtype=torch.float32).round().long().numpy()
    np.testing.assert_array_equal(evenly_spaced_indices(frame_count, n), expected)


def test_positions_from_the_end_are_rounded_once() -> None:
    """27075.4987, which a product rounded by itself makes a half."""
    assert evenly_spaced_indices(37314, 278)[201] == 27075


def test_an_odd_number_of_frames_tells_float32_from_float64() -> None:
    """With 25 frames positions can fall on halves, which the two precisions round apart."""
    differing = [
        frame_count
        for frame_count in range(1, 2000)
        if (evenly_spaced_indices(frame_count, 25) != np.rint(np.linspace(0, frame_count - 1, 25))).any()
    ]
    assert differing


@given(frame_count=st.integers(1, 10_000), n=st.integers(2, 300))
def test_both_ends_are_included_and_order_is_kept(frame_count: int, n: int) -> None:
    indices = evenly_spaced_indices(frame_count, n)
    assert indices.shape == (n,) and indices.dtype == np.int64
    assert indices[0] == 0 and indices[-1] == frame_count - 1
    assert (np.diff(indices) >= 0).all()


def test_short_clips_repeat_frames() -> None:
    assert evenly_spaced_indices(1, 24).tolist() == [0] * 24
    assert evenly_spaced_indices(2, 4).tolist() == [0, 0, 1, 1]
    assert evenly_spaced_indices(7, 1).tolist() == [0]


@pytest.mark.parametrize(("frame_count", "n"), [(0, 24), (24, 0)])
def test_nothing_to_choose_is_an_error(frame_count: int, n: int) -> None:
    with pytest.raises(ValueError, match="frame_count >= 1 and n >= 1"):
        evenly_spaced_indices(frame_count, n)


@pytest.mark.parametrize(
    ("frame_count", "fps", "seconds", "expected"),
    [
        (240, Fraction(24), 4.0, 96),
        (96, Fraction(24), 4.0, 96),
        (36, Fraction(24), 4.0, 36),
        (300, Fraction(30000, 1001), 4.0, 120),
        (300, Fraction(30), 0.1, 3),
        (300, Fraction(1, 10), 4.0, 1),
    ],
)
def test_frames_shown_within_a_span(frame_count: int, fps: Fraction, seconds: float, expected: int) -> None:
    line = Timeline.at_rate(frame_count, fps)
    assert line.frames_before(Fraction(str(seconds))) == expected
    chosen = evenly_spaced_frames(line, 24, seconds)
    assert chosen.tolist() == evenly_spaced_indices(expected, 24).tolist()
