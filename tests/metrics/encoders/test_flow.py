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
from javisbench.metrics.encoders.flow import FlowEncoder, motion_magnitude

SPEC = FeatureSpec.of("flow", "motion")


def texture(height: int = 96, width: int = 160) -> NDArray[np.uint8]:
    noise = np.random.default_rng(3).uniform(0, 255, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


@pytest.mark.parametrize("pixels", [1, 3])
def test_a_sliding_texture_moves_by_its_own_speed(pixels: int) -> None:
    frames = np.stack([np.roll(texture(), pixels * index, axis=1) for index in range(5)])
    magnitude = motion_magnitude(frames)
    # Farnebäck's flow is an estimate, and the frame's border moves out of sight.
    np.testing.assert_allclose(magnitude, pixels, rtol=0.15)


def test_index_i_is_the_motion_up_to_frame_i_and_index_0_repeats_index_1() -> None:
    still, moved = texture(), np.roll(texture(), 4, axis=1)
    magnitude = motion_magnitude(np.stack([still, still, still, moved, moved]))
    assert magnitude.argmax() == 3
    magnitude = motion_magnitude(np.stack([still, moved, moved]))
    assert magnitude[0] == magnitude[1] > magnitude[2]


def test_a_still_picture_hardly_moves_and_evenly() -> None:
    magnitude = motion_magnitude(np.stack([texture()] * 4))
    # Farnebäck's borders leave a thousandth of a pixel; that it is constant means no peaks.
    assert np.ptp(magnitude) == 0 and magnitude.max() < 0.01


def test_one_frame_does_not_move() -> None:
    assert motion_magnitude(texture()[None]).tolist() == [0.0]


def test_luma_weighs_green_more_than_blue() -> None:
    base = np.full((2, 64, 64, 3), 128, np.uint8)
    pattern = texture(64, 64)[..., 0]
    moved = np.roll(pattern, 2, axis=1)
    green, blue = base.copy(), base.copy()
    green[0, ..., 1], green[1, ..., 1] = pattern, moved
    blue[0, ..., 2], blue[1, ..., 2] = pattern // 16 + 120, moved // 16 + 120
    assert motion_magnitude(green)[1] > motion_magnitude(blue)[1]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (17, 5), (31, 64)])
def test_small_pictures_have_a_value_or_a_reason(height: int, width: int) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, height, width, 3)).astype(np.uint8)
    features = FlowEncoder().encode([Clip(frames, Fraction(24), None, None)], [SPEC])[0][SPEC]
    if isinstance(features, FeatureError):
        assert features.kind == "flow" and f"{width}x{height}" in features.message
    else:
        assert features["magnitude"].shape == (3,) and np.isfinite(features["magnitude"]).all()


def test_features_hold_when_frames_are_shown_and_the_declared_rate() -> None:
    clip = Clip(np.stack([texture()] * 2), Fraction(30000, 1001), None, None)
    features = FlowEncoder().encode([clip], [SPEC])[0][SPEC]
    assert not isinstance(features, FeatureError)
    assert features["declared_fps"].tolist() == [30000 / 1001]
    assert features["times_s"].tolist() == [frame / (30000 / 1001) for frame in range(3)]


def test_it_is_registered_as_a_host_encoder() -> None:
    assert ENCODERS.get("flow") is FlowEncoder
    assert FlowEncoder.card.host
