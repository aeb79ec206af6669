"""Kaldi's log-mel filterbank."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.errors import FeatureError
from javisbench.metrics.encoders.preprocessing.kaldi_mel import frame_count, log_mel, mel_banks

FLOOR = math.log(2.0**-23)


def by_definition(signal: np.ndarray, bins: int) -> np.ndarray:
    """The filterbank in float64, a frame at a time."""

    def mel(hertz: np.ndarray | float) -> np.ndarray:
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    edges = np.linspace(mel(20.0), mel(8000.0), bins + 2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)
    rows = []
    for start in range(0, len(signal) - 399, 160):
        frame = signal[start : start + 400] - signal[start : start + 400].mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(frame * window, 512)) ** 2
        place = mel(np.arange(256) * 31.25)
        energies = [np.interp(place, edges[b : b + 3], [0, 1, 0], left=0, right=0) @ power[:256] for b in range(bins)]
        rows.append(np.log(np.maximum(energies, 2.0**-23)))
    return np.array(rows)


@pytest.mark.parametrize("bins", [23, 128])
def test_equals_the_definition(bins: int) -> None:
    signal = np.random.default_rng(bins).normal(scale=0.1, size=4000)
    ours = log_mel(torch.from_numpy(signal).float()[None], mel_bins=bins)[0].numpy()
    expected = by_definition(signal, bins)
    # The narrowest of 128 triangles lie between two bins of the FFT and hold almost nothing: rounding shows there.
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-3)
    assert np.abs(ours - expected).mean() < 1e-5


@given(st.integers(0, 100_000))
def test_frames_are_whole(samples: int) -> None:
    count = frame_count(samples)
    assert count == len([start for start in range(0, samples, 160) if start + 400 <= samples])


@settings(max_examples=20, deadline=None)
@given(st.integers(400, 2000), st.integers(1, 4))
def test_shape(samples: int, batch: int) -> None:
    mels = log_mel(torch.zeros(batch, samples), mel_bins=128)
    assert mels.shape == (batch, frame_count(samples), 128)
    assert torch.allclose(mels, torch.tensor(FLOOR))


def test_two_seconds_are_198_frames() -> None:
    assert frame_count(32000) == 198


def test_batches_do_not_change_a_bit() -> None:
    signals = torch.randn(5, 8000) * 0.1
    together = log_mel(signals, mel_bins=128)
    for signal, mels in zip(signals, together, strict=True):
        assert torch.equal(log_mel(signal[None], mel_bins=128)[0], mels)


def test_constants_are_silence_and_gain_is_a_shift() -> None:
    assert torch.allclose(log_mel(torch.full((1, 1600), 0.25), mel_bins=64), torch.tensor(FLOOR))
    signal = torch.randn(1, 1600)
    louder, quiet = log_mel(4 * signal, mel_bins=23), log_mel(signal, mel_bins=23)
    torch.testing.assert_close(louder - quiet, torch.full_like(quiet, math.log(16.0)), rtol=0, atol=1e-4)


def test_a_tone_fills_its_bin() -> None:
    bins = 23
    signal = torch.sin(2 * math.pi * 1000 * torch.arange(1600) / 16000)[None]
    centre = int(log_mel(signal, mel_bins=bins).mean(dim=1).argmax())
    banks = mel_banks(bins, 512, 16000)
    assert abs(int(banks[centre].argmax()) * 31.25 - 1000) < 100


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_too_short(samples: int) -> None:
    with pytest.raises(FeatureError, match="25-ms frame") as caught:
        log_mel(torch.zeros(1, samples), mel_bins=128)
    assert caught.value.kind == "audio_too_short"
