"""What the audio VAE reads of a waveform."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from javisbench.baselines.javisdit.config import AudioConfig
from javisbench.baselines.javisdit.sound import gain_of, log_mel, mono_at
from javisbench.metrics.encoders.preprocessing.mel_filters import slaney_mel_filters

RATE = 16000


def waveform(seconds=1.0):
    draw = np.random.default_rng(5)
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * 700 * t**1.5) + 0.02 * draw.standard_normal(t.size)).astype(np.float32)


def test_log_mel_is_tacotron_2_s():
    """Magnitudes at 1,024 samples, mirrored ends; Slaney's filters to 8 kHz; natural logarithm of at least 1e-5."""
    mirrored = np.pad(waveform().astype(np.float64), 512, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    frames = np.stack([mirrored[160 * k : 160 * k + 1024] * window for k in range(100)])
    filters = slaney_mel_filters(RATE, 1024, 64, 0.0, 8000.0)
    expected = np.log(np.maximum(np.abs(np.fft.rfft(frames)) @ filters.T, 1e-5))
    found = log_mel(torch.from_numpy(waveform()), 100, AudioConfig())
    assert found.shape == (100, 64)
    # Float32 beside float64. Measured: 4e-5.
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4)


def test_what_lacks_is_silence():
    found = log_mel(torch.from_numpy(waveform(0.5)), 100, AudioConfig())
    assert found.shape == (100, 64)
    assert torch.allclose(found[60:], torch.tensor(1e-5).log())
    assert log_mel(torch.zeros(0), 16, AudioConfig()).shape == (16, 64)


def test_mono_at_another_rate_keeps_pitch_and_length():
    t = np.arange(44100) / 44100
    stereo = np.stack([np.sin(2 * np.pi * 440 * t), np.zeros_like(t)]).astype(np.float32)
    mixed = mono_at(stereo, 44100, RATE)
    assert mixed.shape == (RATE,)
    assert np.abs(np.fft.rfft(mixed)).argmax() == 440
    assert np.abs(mixed).max() == pytest.approx(0.5, abs=0.02)


def test_gain_brings_the_peak_to_a_half():
    assert gain_of(np.array([0.1, -0.25], np.float32)) == pytest.approx(2.0)
    assert gain_of(np.zeros(3, np.float32)) == gain_of(np.zeros(0, np.float32)) == 1.0
