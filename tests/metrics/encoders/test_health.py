from __future__ import annotations

import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from javisbench.clip import Clip
from javisbench.errors import FeatureError
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.metrics.encoders.health import HealthEncoder, levels_dbfs

SPEC = FeatureSpec.of("health", "health")


def features(
    frames: NDArray[np.uint8] | None = None, audio: NDArray[np.float32] | None = None, rate: int = 16000
) -> Features:
    frames = np.zeros((3, 16, 16, 3), np.uint8) if frames is None else frames
    made = HealthEncoder().encode([Clip(frames, Fraction(24), audio, rate if audio is not None else None)], [SPEC])
    result = made[0][SPEC]
    assert not isinstance(result, Exception), result
    return result


def sine(seconds: float, level: float, rate: int = 48000, hz: float = 997.0) -> NDArray[np.float32]:
    return (level * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)[None]


def test_loudness_of_the_standards_calibration_tone() -> None:
    # BS.1770-4: a 997 Hz sine at 0 dBFS in one channel reads -3.01 LKFS; EBU Tech 3341 allows meters 0.1.
    loudness = features(audio=sine(5, 1.0), rate=48000)["loudness_lufs"]
    assert loudness.shape == (1,)
    assert loudness[0] == pytest.approx(-3.01, abs=0.1)
    assert features(audio=sine(5, 0.1), rate=48000)["loudness_lufs"][0] == pytest.approx(-23.01, abs=0.1)


def test_surround_sound_has_a_loudness_without_its_low_frequency_channel() -> None:
    front = sine(2, 0.5)
    six = np.zeros((6, front.shape[1]), np.float32)
    six[0], six[3] = front[0], 0.9
    assert features(audio=six, rate=48000)["loudness_lufs"][0] == pytest.approx(
        features(audio=front, rate=48000)["loudness_lufs"][0], abs=1e-6
    )
    eight = np.repeat(front, 8, axis=0)
    assert np.isfinite(features(audio=eight, rate=48000)["loudness_lufs"]).all()


def test_levels_of_a_known_signal() -> None:
    audio = np.zeros((2, 800), np.float32)
    audio[:, 320:640] = 0.1
    levels = levels_dbfs(audio, 16000)
    np.testing.assert_allclose(levels, [-120, -20, -120], atol=1e-5)
    assert levels_dbfs(np.ones((1, 330), np.float32), 16000).tolist() == [0.0, 0.0]


@given(st.integers(1, 2000), st.sampled_from([8000, 16000, 44100]), st.integers(1, 3))
def test_levels_conserve_energy(samples: int, rate: int, channels: int) -> None:
    audio = np.random.default_rng(samples).uniform(-1, 1, (channels, samples)).astype(np.float32)
    levels = levels_dbfs(audio, rate)
    window = round(0.02 * rate)
    lengths = np.minimum(window, samples - np.arange(levels.size) * window)
    energy = (10 ** (levels / 10) * lengths).sum()
    assert energy == pytest.approx(float(np.square(audio, dtype=np.float64).mean(axis=0).sum()), rel=1e-6, abs=1e-9)


def test_picture_features_tell_changed_from_repeated_frames() -> None:
    frames = np.full((4, 100, 100, 3), 100, np.uint8)
    frames[2:, :10, :10] = 200
    made = features(frames)
    np.testing.assert_allclose(made["change"], [0, 1, 0])
    np.testing.assert_allclose(made["changed_share"], [0, 0.01, 0])
    assert made["dark_share"].tolist() == [0, 0, 0, 0]


def test_dark_pixels_are_those_up_to_a_tenth() -> None:
    frames = np.zeros((1, 10, 10, 3), np.uint8)
    frames[0, :5] = 26
    made = features(frames)
    assert made["dark_share"].tolist() == [0.5]
    assert made["change"].shape == made["changed_share"].shape == (0,)


@pytest.mark.parametrize("audio", [None, np.zeros((1, 0), np.float32)])
def test_no_sound(audio: NDArray[np.float32] | None) -> None:
    made = features(audio=audio)
    assert made["sample_rate"].tolist() == made["audio_duration_s"].tolist() == [0.0]
    assert made["level_dbfs"].size == made["clipped_share"].size == made["loudness_lufs"].size == 0


def test_short_and_silent_sound() -> None:
    assert features(audio=np.full((1, 6399), 0.1, np.float32))["loudness_lufs"].size == 0
    assert features(audio=np.full((1, 6400), 0.1, np.float32))["loudness_lufs"].size == 1
    assert features(audio=np.zeros((1, 16000), np.float32))["loudness_lufs"].tolist() == [-np.inf]


def test_clipping_counts_samples_of_all_channels() -> None:
    audio = np.zeros((2, 100), np.float32)
    audio[0, :10], audio[1, 0] = 1.0, -1.0
    assert features(audio=audio)["clipped_share"].tolist() == [0.055]


def test_values_that_are_not_numbers_are_that_clips_failure() -> None:
    frames = np.zeros((1, 8, 8, 3), np.uint8)
    bad = Clip(frames, Fraction(24), np.array([[0.0, np.inf]], np.float32), 16000)
    good = Clip(frames, Fraction(24), None, None)
    first, second = HealthEncoder().encode([bad, good], [SPEC])
    error = first[SPEC]
    assert isinstance(error, FeatureError) and error.kind == "non_finite"
    assert not isinstance(second[SPEC], FeatureError)


def test_one_pass_is_quick() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (96, 240, 426, 3), dtype=np.uint8)
    audio = rng.uniform(-0.5, 0.5, (1, 64000)).astype(np.float32)
    features(frames, audio)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        features(frames, audio)
        seconds.append(time.process_time() - start)
    # About 40 ms of processor time alone; room for a slow machine, yet far below decoding every frame again and again.
    assert min(seconds) < 0.25


def test_it_is_registered_as_a_host_encoder() -> None:
    assert ENCODERS.get("health") is HealthEncoder
    assert HealthEncoder.card.host
