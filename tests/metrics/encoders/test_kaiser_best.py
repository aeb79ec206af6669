"""kaiser_best against resampy and the reference evaluation's waveform."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.metrics.encoders.preprocessing.kaiser_best import resample_kaiser_best

RATES = [(44100, 16000), (48000, 16000), (16000, 48000), (16000, 44100), (22050, 16000), (44099, 16000), (192000, 1000)]


def _noise(n: int, seed: int = 0) -> np.ndarray:
    return (0.3 * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)


@pytest.mark.parametrize(("old", "new"), RATES)
def test_equals_resampy(old: int, new: int) -> None:
    import resampy

    signal = _noise(9001)
    expected = resampy.resample(signal.astype(np.float64), old, new, filter="kaiser_best")
    actual = resample_kaiser_best(signal, old, new)
    # float32 storage of values up to about 1.3, and resampy's running float64 time.
    np.testing.assert_allclose(actual[: expected.size], expected, atol=1e-6, rtol=0)


@settings(max_examples=40, deadline=None)
@given(
    old=st.integers(4000, 96000), new=st.integers(4000, 48000), n=st.integers(1, 400), seed=st.integers(0, 2**32 - 1)
)
def test_equals_resampy_and_zeros_at_any_rates_and_lengths(old: int, new: int, n: int, seed: int) -> None:
    import resampy

    signal = _noise(n, seed)
    actual = resample_kaiser_best(signal, old, new)
    assert actual.size == -(-n * new // old)  # librosa's rule; it appends zeros
    if n * new // old == 0:  # resampy refuses
        assert not actual.any()
        return
    expected = resampy.resample(signal, old, new, filter="kaiser_best")
    np.testing.assert_allclose(actual[: expected.size], expected, atol=4e-6, rtol=0)  # resampy sums in float32 here
    assert not actual[n * new // old :].any()


def test_meets_the_reference_evaluation_on_the_44_khz_stereo_clip(
    golden_json: Callable[[str], Any], clips_fake: Path
) -> None:
    fingerprint = golden_json("fvd_kvd_fad")["clips"][6]["audio"]
    audio, rate = soundfile.read(clips_fake / "sample_0006.wav", dtype="float32")
    assert rate == 44100 and audio.shape[1] == 2
    waveform = resample_kaiser_best(audio.mean(axis=1), rate, 16000)[:64000]
    # The reference evaluation sums in float32.
    np.testing.assert_allclose(waveform[fingerprint["idx"]], fingerprint["val"], atol=1e-6, rtol=0)
    assert waveform.astype(np.float64).std() == pytest.approx(fingerprint["std"], rel=1e-6)


@pytest.mark.parametrize("n", [1000, 1001, 1002, 1003])
def test_length_is_rounded_up_and_the_extra_sample_is_zero(n: int) -> None:
    resampled = resample_kaiser_best(np.ones(n, dtype=np.float32), 48000, 16000)
    assert resampled.size == math.ceil(n / 3)
    assert (resampled[-1] == 0.0) == (n % 3 != 0)


def test_equal_rates_return_the_samples_untouched() -> None:
    signal = _noise(100)
    np.testing.assert_array_equal(resample_kaiser_best(signal, 16000, 16000), signal)


@pytest.mark.parametrize(("old", "new"), RATES)
def test_max_samples_is_a_prefix(old: int, new: int) -> None:
    signal = _noise(20000)
    whole = resample_kaiser_best(signal, old, new)
    part = resample_kaiser_best(signal, old, new, max_samples=100)
    # The matrix product may add the same terms in another order.
    np.testing.assert_allclose(part, whole[:100], atol=1e-7, rtol=0)


def test_a_tone_below_both_nyquist_rates_keeps_its_place_and_height() -> None:
    seconds = np.arange(44100) / 44100
    tone = np.sin(2 * np.pi * 1000 * seconds).astype(np.float32)
    expected = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    resampled = resample_kaiser_best(tone, 44100, 16000)
    np.testing.assert_allclose(resampled[200:-200], expected[200:-200], atol=1e-3)


def test_a_minute_of_cd_audio_takes_under_a_second() -> None:
    signal = _noise(60 * 44100)
    start = time.process_time()
    resample_kaiser_best(signal, 44100, 16000)
    assert time.process_time() - start < 1.0


def test_silence_and_nothing() -> None:
    assert not resample_kaiser_best(np.zeros(500, dtype=np.float32), 44100, 16000).any()
    assert resample_kaiser_best(np.zeros(0, dtype=np.float32), 44100, 16000).size == 0


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 Hz"):
        resample_kaiser_best(_noise(10), 0, 16000)
    with pytest.raises(ValueError, match=r"shape \(n,\)"):
        resample_kaiser_best(_noise(10).reshape(2, 5), 44100, 16000)
