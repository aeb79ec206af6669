"""What the audio VAE reads of a waveform."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from javisbench.baselines.javisdit.config import AudioConfig
from javisbench.baselines.javisdit.sound import Sound, gain_of, log_mel, mono_at
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


def test_log_mel_is_that_of_a_kept_library():
    """transformers' front end, filters included, from which AudioLDM 2's numbers can be asked for."""
    audio_utils = pytest.importorskip("transformers.audio_utils")
    filters = audio_utils.mel_filter_bank(513, 64, 0.0, 8000.0, RATE, norm="slaney", mel_scale="slaney")
    expected = audio_utils.spectrogram(
        waveform().astype(np.float64),
        audio_utils.window_function(1024, "hann"),
        1024,
        160,
        power=1.0,
        mel_filters=filters,
        mel_floor=1e-5,
        log_mel="log",
    )
    found = log_mel(torch.from_numpy(waveform()), 100, AudioConfig())
    # Float32 beside float64. Measured: 4e-5.
    np.testing.assert_allclose(found.numpy(), expected.T[:100], atol=2e-4)


@pytest.fixture
def sound(tiny):
    paths = {"audio_vae": tiny / "audioldm2" / "vae", "vocoder": tiny / "audioldm2" / "vocoder"}
    return Sound(AudioConfig(), 8, paths, "cpu")


@pytest.fixture
def library_vae(tiny):
    return pytest.importorskip("diffusers").AutoencoderKL.from_pretrained(tiny / "audioldm2" / "vae")


def test_latents_of_a_sound_are_the_library_s(sound, library_vae, difference):
    """The posterior of diffusers' own AudioLDM 2 VAE, times its scaling factor."""
    steps, samples = 32, torch.from_numpy(waveform())
    posterior = library_vae.encode(log_mel(samples, 4 * steps, sound.config)[None, None]).latent_dist
    assert posterior.mean.shape == (1, 8, steps, 16)
    noise = torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(3))
    found = sound.encode(samples, steps, torch.Generator().manual_seed(3))
    expected = (posterior.mean + posterior.std * noise) * 0.4110932946
    # The same float32 operations. Measured: 0.
    assert difference(found, expected) < 1e-6
    assert float(posterior.std.min()) > 1e-3, "a draw would be the mean, and this could not fail"


def test_a_latent_sounds_as_in_the_library_s_pipeline(sound, library_vae, difference):
    """AudioLDM 2's own way of diffusers from latent to waveform."""
    pipeline = pytest.importorskip("diffusers").AudioLDM2Pipeline
    latent = torch.randn(1, 8, 32, 16, generator=torch.Generator().manual_seed(4))
    mel = library_vae.decode(latent / library_vae.config.scaling_factor).sample
    expected = pipeline.mel_spectrogram_to_waveform(SimpleNamespace(vocoder=sound.vocoder), mel)
    assert difference(sound.decode(latent), expected.view(1, -1)) < 1e-6


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
