"""Mel filter banks against librosa's, and their shapes' properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.metrics.encoders.preprocessing.mel_filters import htk_mel_filters, slaney_mel_filters

# sample rate, n_fft, filters, lowest and highest Hz: onset envelope, CLAP, CAVP, a low bank below the 1 kHz break
BANKS = [
    (16000, 2048, 128, 0.0, 8000.0),
    (44100, 2048, 128, 0.0, 22050.0),
    (48000, 1024, 64, 50.0, 14000.0),
    (16000, 1024, 128, 125.0, 7600.0),
    (8000, 512, 5, 0.0, 900.0),
]


@pytest.mark.parametrize(("rate", "n_fft", "n_mels", "fmin", "fmax"), BANKS)
def test_slaney_bank_is_librosas(rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> None:
    import librosa

    expected = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, dtype=np.float64)
    # float64 on both sides; what differs is the order of a few operations
    np.testing.assert_allclose(slaney_mel_filters(rate, n_fft, n_mels, fmin, fmax), expected, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize(("rate", "n_fft", "n_mels", "fmin", "fmax"), [*BANKS, (16000, 1024, 128, 0.0, 8000.0)])
def test_htk_bank_is_librosas(rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> None:
    import librosa

    # Slaney's norm divided out again: librosa spends 20 s on compiling what norm=None needs.
    expected = librosa.filters.mel(
        sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, htk=True, dtype=np.float64
    )
    mels = np.linspace(*(2595 * np.log10(1 + np.array([fmin, fmax]) / 700)), n_mels + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    expected *= (edges[2:] - edges[:-2])[:, None] / 2
    np.testing.assert_allclose(htk_mel_filters(rate, n_fft, n_mels, fmin, fmax), expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    n_mels=st.integers(1, 64),
    fmin=st.floats(0.0, 2000.0),
    width=st.floats(3000.0, 5900.0),
)
def test_neighbouring_htk_filters_add_up_to_one(n_mels: int, fmin: float, width: float) -> None:
    filters = htk_mel_filters(16000, 4096, n_mels, fmin, fmin + width)
    assert filters.shape == (n_mels, 2049)
    assert filters.min() >= 0.0
    assert filters.max() <= 1.0
    peaks_hz = filters.argmax(axis=1) * 16000 / 4096
    inner = np.arange(2049) * 16000 / 4096
    between = (inner > peaks_hz[0]) & (inner < peaks_hz[-1])
    np.testing.assert_allclose(filters[:, between].sum(axis=0), 1.0, atol=1e-9)


@pytest.mark.parametrize(("n_mels", "fmin", "fmax"), [(0, 0.0, 8000.0), (8, 4000.0, 4000.0), (8, -1.0, 8000.0)])
def test_a_bank_that_cannot_exist_is_refused(n_mels: int, fmin: float, fmax: float) -> None:
    with pytest.raises(ValueError, match="mel bank"):
        slaney_mel_filters(16000, 1024, n_mels, fmin, fmax)
