"""Level and rise of sounds: where they are, what they do not depend on, and no event at the ends."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from javisbench.clip import Clip
from javisbench.errors import FeatureError
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.sound_level import SoundLevelEncoder, band_power, sound_level, sound_rise

SPEC = FeatureSpec.of("sound_level", "level")
RATE = 16000


def knocks(times_s: list[float], rate: int = RATE, seconds: float = 3.0) -> NDArray[np.float32]:
    t = np.arange(round(seconds * rate)) / rate
    samples = sum(
        np.where(t >= at, np.exp(-np.maximum(0, t - at) / 0.05), 0) * np.sin(2 * np.pi * 700 * t) for at in times_s
    )
    return (0.3 * samples).astype(np.float32)


def encoded(audio: NDArray[np.float32] | None, rate: int = RATE) -> object:
    clip = Clip(np.zeros((2, 4, 4, 3), np.uint8), Fraction(24), audio, rate if audio is not None else None)
    return SoundLevelEncoder().encode([clip], [SPEC])[0][SPEC]


@pytest.mark.parametrize("rate", [11025, 16000, 44100, 48000])
def test_sounds_rise_where_they_begin(rate: int) -> None:
    power = band_power(knocks([0.7, 1.9], rate), rate)
    assert power.shape == (24, 301)
    rise = sound_rise(power)
    peaks = [100 * k for k in (0.7, 1.9)]
    for peak in peaks:
        near = rise[int(peak) - 10 : int(peak) + 11]
        # Windows of 40 ms see a sound up to 20 ms before it begins.
        assert abs(int(near.argmax()) - 10) <= 2 and near.max() > 5 * np.median(rise)
    level = sound_level(power)
    assert level.max() <= 1 and level[60] < 0.4 < level[72]


@pytest.mark.parametrize("samples", [np.ones(RATE * 2), np.random.default_rng(0).standard_normal(RATE * 2)])
def test_a_sound_that_is_there_from_end_to_end_has_no_event_at_its_ends(samples: NDArray[np.float64]) -> None:
    tone = (0.1 * samples * np.sin(2 * np.pi * 440 * np.arange(RATE * 2) / RATE)).astype(np.float32)
    power = band_power(tone, RATE)
    level, rise = sound_level(power), sound_rise(power)
    middle = slice(20, -20)
    assert level[:20].min() > 0.9 * level[middle].min() and level[-20:].min() > 0.9 * level[middle].min()
    assert max(rise[:20].max(), rise[-20:].max()) <= 1.3 * rise[middle].max() + 1e-9


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 3.0))
def test_volume_does_not_matter(gain: float) -> None:
    quiet, loud = (band_power(knocks([0.7, 1.9]) * np.float32(g), RATE) for g in (1.0, gain))
    # Rounding of float32 samples, relative to the loudest.
    np.testing.assert_allclose(sound_level(loud), sound_level(quiet), atol=1e-4)
    np.testing.assert_allclose(sound_rise(loud), sound_rise(quiet), atol=1e-4)


def test_channels_are_mixed() -> None:
    mono = knocks([0.7])[None]
    one, two = encoded(mono), encoded(np.repeat(mono, 2, axis=0))
    assert isinstance(one, dict) and isinstance(two, dict)
    np.testing.assert_array_equal(one["rise"], two["rise"])
    assert one["rms"] == pytest.approx(np.sqrt((mono**2).mean())) and one["duration_s"].tolist() == [3.0]


def test_silence_is_level_zero_and_no_sound_a_reason() -> None:
    silent = encoded(np.zeros((1, RATE), np.float32))
    assert isinstance(silent, dict) and not silent["level"].any() and silent["rms"].tolist() == [0]
    for audio, kind in (
        (None, "no_audio"),
        (np.zeros((1, 0), np.float32), "no_audio"),
        (np.full((1, 9), np.nan, np.float32), "non_finite"),
    ):
        made = encoded(audio)
        assert isinstance(made, FeatureError) and made.kind == kind


def test_a_sound_shorter_than_a_window_has_a_level() -> None:
    made = encoded(np.full((1, 30), 0.1, np.float32))
    assert isinstance(made, dict) and np.isfinite(made["level"]).all() and np.isfinite(made["rise"]).all()
