"""Motion by cells: bars and cuts, cells in place, pictures of any size, the same however frames come."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from javisbench.clip import Clip
from javisbench.errors import FeatureError
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.motion_acceleration import (
    CellMotion,
    MotionAccelerationEncoder,
    PictureBox,
    bridged,
    find_cuts,
)

SPEC = FeatureSpec.of("motion_acceleration", "cells")


def texture(height: int = 90, width: int = 160, seed: int = 3) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return cv2.cvtColor(cv2.normalize(smooth, None, 30, 255, cv2.NORM_MINMAX).astype(np.uint8), cv2.COLOR_GRAY2RGB)


def moving(count: int = 6, step: int = 2) -> NDArray[np.uint8]:
    """A still background on which a square moves to the right, in the upper left quarter."""
    frames = np.stack([texture()] * count)
    patch = texture(24, 24, seed=5)
    for index in range(count):
        frames[index, 8:32, 10 + step * index : 34 + step * index] = patch
    return frames


def cells(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    motion = CellMotion()
    for frame in frames:
        motion.add(frame)
    return motion.cells()


def test_cells_say_where_and_which_way_it_moves() -> None:
    found = cells(moving())
    assert found.shape == (6, 8, 8, 2) and found.dtype == np.float32
    speed = np.linalg.norm(found[3], axis=-1)
    row, column = np.unravel_index(speed.argmax(), speed.shape)
    assert row in (0, 1, 2) and column in (0, 1, 2)
    # The cell holds little but the square; Farnebäck's estimate at its borders is smaller.
    assert found[3, row, column, 0] == pytest.approx(2, abs=0.7) and abs(found[3, row, column, 1]) < 0.3
    assert speed[5:, 5:].max() < 0.05


def test_a_sliding_picture_moves_by_pixels_of_160_on_the_long_side() -> None:
    small = np.stack([np.roll(texture(), 2 * k, axis=1) for k in range(4)])
    large = np.stack([cv2.resize(frame, (640, 360), interpolation=cv2.INTER_CUBIC) for frame in small])
    for frames in (small, large, small.transpose(0, 2, 1, 3).copy()):
        inner = cells(frames)[1:, 2:6, 2:6]
        np.testing.assert_allclose(np.linalg.norm(inner, axis=-1), 2, rtol=0.15)


def test_the_first_frame_repeats_the_second_and_one_frame_does_not_move() -> None:
    found = cells(moving())
    np.testing.assert_array_equal(found[0], found[1])
    assert not cells(moving()[:1]).any()


@pytest.mark.parametrize(("pad", "axis"), [(40, 0), (60, 1)])
def test_black_bars_change_nothing(pad: int, axis: int) -> None:
    frames = moving()
    width = [(0, 0)] * 4
    width[1 + axis] = (pad, pad)
    with_bars = np.pad(frames, width)
    np.testing.assert_array_equal(cells(with_bars), cells(frames))


def test_dim_noise_in_the_bars_is_no_picture_and_a_fade_from_black_is_no_bar() -> None:
    box = PictureBox()
    random = np.random.default_rng(0)
    for level in (0.0, 0.3, 1.0):
        frame = random.integers(0, 7, (120, 160)).astype(np.uint8)
        frame[20:100] = (texture(80, 160)[..., 0] * level).astype(np.uint8)
        box.see(frame)
        if level == 0:
            assert box.box() == (slice(0, 120), slice(0, 160)), "all black: nothing is known yet"
    assert box.box() == (slice(20, 100), slice(0, 160))


def test_a_cut_is_no_motion() -> None:
    shots = np.concatenate([np.stack([texture(seed=1)] * 8), np.stack([texture(seed=2) // 3] * 8)])
    assert np.abs(cells(shots)).max() < 0.1


def test_fast_motion_is_no_cut() -> None:
    even = np.full(20, 20.0)
    assert not find_cuts(even, np.full(20, 0.5)).any(), "as different as its neighbours"
    even[9] = 90
    assert np.flatnonzero(find_cuts(even, np.full(20, 0.5))).tolist() == [9]
    assert not find_cuts(even, np.full(20, 0.2)).any(), "the same colours at other places"
    assert find_cuts(np.array([0.0, 50.0]), np.array([0.0, 0.9])).tolist() == [False, True]


def test_flow_at_a_cut_lies_between_its_neighbours() -> None:
    flows = np.arange(6, dtype=np.float32).reshape(6, 1) ** 2
    cuts = np.array([False, False, True, False, False, True])
    assert bridged(flows, cuts).ravel().tolist() == [0, 1, 5, 9, 16, 16]
    assert bridged(flows, np.ones(6, bool)) is flows


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (17, 5), (16, 900)])
def test_small_and_odd_pictures_have_a_value_or_a_reason(height: int, width: int) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, height, width, 3)).astype(np.uint8)
    made = MotionAccelerationEncoder().encode([Clip(frames, Fraction(24), None, None)], [SPEC])[0][SPEC]
    if isinstance(made, FeatureError):
        assert made.kind == "flow" and f"{width}x{height}" in made.message
    else:
        assert made["cells"].shape == (3, 8, 8, 2) and np.isfinite(made["cells"]).all()


def test_features_hold_when_frames_are_shown() -> None:
    times = np.array([0, 0.1, 0.5])
    clip = Clip(moving(3), Fraction(4), None, None, frame_times_s=times, last_frame_s=0.2)
    made = MotionAccelerationEncoder().encode([clip], [SPEC])[0][SPEC]
    assert not isinstance(made, FeatureError)
    assert made["times_s"].tolist() == [0, 0.1, 0.5, 0.7]
    assert ENCODERS.get("motion_acceleration") is MotionAccelerationEncoder and MotionAccelerationEncoder.card.host
