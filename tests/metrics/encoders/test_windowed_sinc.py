"""The windowed-sinc resampler."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.errors import FeatureError
from javisbench.metrics.encoders.preprocessing import windowed_sinc
from javisbench.metrics.encoders.preprocessing.windowed_sinc import resample

RATES = [(44100, 16000), (48000, 16000), (8000, 16000), (22050, 16000), (16000, 25000), (11025, 16000)]


def by_definition(signal: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """The interpolation formula in float64, an output sample at a time."""
    cutoff = 0.99 * min(rate, new_rate)
    out = np.empty(-(-len(signal) * new_rate // rate))
    for index in range(len(out)):
        t = np.clip(cutoff * (np.arange(len(signal)) / rate - index / new_rate), -6, 6)
        out[index] = (signal * np.cos(np.pi * t / 12) ** 2 * np.sinc(t)).sum() * cutoff / rate
    return out


@pytest.mark.parametrize(("rate", "new_rate"), RATES)
def test_equals_the_formula(rate: int, new_rate: int) -> None:
    signal = np.random.default_rng(rate).uniform(-1, 1, 400)
    ours = resample(torch.from_numpy(signal).float()[None], rate, new_rate)[0].numpy()
    # Taps in float32, as the reference has them, lie some 1e-5 beside the formula's.
    np.testing.assert_allclose(ours, by_definition(signal, rate, new_rate), rtol=0, atol=5e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3000), st.sampled_from(RATES))
def test_shape(channels: int, samples: int, rates: tuple[int, int]) -> None:
    out = resample(torch.zeros(channels, samples), *rates)
    assert out.shape == (channels, math.ceil(samples * rates[1] / rates[0]))
    assert not out.any()


@pytest.mark.parametrize(("rate", "new_rate"), [*RATES, (96000, 16000)])
def test_a_tone_stays_the_tone(rate: int, new_rate: int) -> None:
    seconds, hertz = 0.2, 440.0
    signal = torch.sin(2 * math.pi * hertz * torch.arange(int(rate * seconds)) / rate)
    ours = resample(signal[None], rate, new_rate)[0]
    expected = torch.sin(2 * math.pi * hertz * torch.arange(len(ours)) / new_rate)
    inside = slice(200, -200)  # the ends are filtered against silence
    # The window's ripple in the pass band is 1e-3.
    torch.testing.assert_close(ours[inside], expected[inside], rtol=0, atol=3e-3)


def test_what_the_new_rate_cannot_hold_is_removed() -> None:
    signal = torch.sin(2 * math.pi * 12000 * torch.arange(44100) / 44100)
    assert resample(signal[None], 44100, 16000)[0, 200:-200].abs().max() < 0.01


def test_equal_rates_change_nothing() -> None:
    signal = torch.randn(2, 100)
    assert resample(signal, 16000, 16000) is signal


def test_leading_axes() -> None:
    signal = torch.randn(4, 2, 500)
    out = resample(signal, 44100, 16000)
    assert out.shape == (4, 2, 182)
    torch.testing.assert_close(out[3, 1], resample(signal[3, 1], 44100, 16000), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("rate", "new_rate"), RATES)
def test_large_and_small_kernels_agree(rate: int, new_rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    signal = torch.randn(2, 2000)
    dense = resample(signal, rate, new_rate)
    monkeypatch.setattr(windowed_sinc, "_LARGEST_KERNEL", 0)
    monkeypatch.setattr(windowed_sinc, "_OUTPUTS_AT_ONCE", 300)
    torch.testing.assert_close(resample(signal, rate, new_rate), dense, rtol=0, atol=5e-6)


def test_rates_without_a_common_factor_need_no_huge_kernel() -> None:
    # One phase for each of 16,000 outputs would be a kernel of 3 GB.
    signal = torch.sin(2 * math.pi * 300 * torch.arange(47999) / 47999)
    ours = resample(signal[None], 47999, 16000)[0]
    expected = torch.sin(2 * math.pi * 300 * torch.arange(16000) / 16000)
    torch.testing.assert_close(ours[200:-200], expected[200:-200], rtol=0, atol=3e-3)


@pytest.mark.parametrize(("rate", "new_rate"), [(0, 16000), (16000, 0), (-1, 16000)])
def test_bad_rates(rate: int, new_rate: int) -> None:
    with pytest.raises(FeatureError, match="positive") as caught:
        resample(torch.zeros(1, 10), rate, new_rate)
    assert caught.value.kind == "bad_sample_rate"
