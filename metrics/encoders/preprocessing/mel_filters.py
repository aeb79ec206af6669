"""Triangular mel filter banks on the two mel scales in use, in float64.

Both banks hold triangles between neighbouring points of ``n_mels + 2`` points, spaced evenly on a mel scale from `fmin`
to `fmax`. They differ in the scale and in the height of the triangles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SLANEY_HZ_PER_MEL = 200.0 / 3
_SLANEY_BREAK_HZ = 1000.0
_SLANEY_BREAK_MEL = _SLANEY_BREAK_HZ / _SLANEY_HZ_PER_MEL
_SLANEY_LOG_STEP = np.log(6.4) / 27.0


def slaney_mel_filters(sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> NDArray[np.float64]:
    """Filters of equal area on Slaney's mel scale: linear up to 1 kHz, logarithmic above.

    Args:
        sample_rate: Hz.
        n_fft: length of the Fourier transform in samples.
        n_mels: number of filters.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz, at most ``sample_rate / 2``.

    Returns:
        float64, shape ``(n_mels, n_fft // 2 + 1)``; each row is scaled by 2 / its width in Hz.

    Source: M. Slaney, Auditory Toolbox, technical report 1998-010, Interval Research, 1998 (mfcc).
    """
    edges_hz = _edges(n_mels, fmin, fmax, _slaney_mel, _slaney_hz)
    heights = 2.0 / (edges_hz[2:] - edges_hz[:-2])
    return _triangles(edges_hz, sample_rate, n_fft) * heights[:, None]


def htk_mel_filters(sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> NDArray[np.float64]:
    """Filters of height 1 on the mel scale 2595 log10(1 + f / 700).

    Args:
        sample_rate: Hz.
        n_fft: length of the Fourier transform in samples.
        n_mels: number of filters.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz, at most ``sample_rate / 2``.

    Returns:
        float64, shape ``(n_mels, n_fft // 2 + 1)``.

    Source: S. Young et al., The HTK Book, version 3.4, section 5.4.
    """
    return _triangles(_edges(n_mels, fmin, fmax, _htk_mel, _htk_hz), sample_rate, n_fft)


def _edges(
    n_mels: int,
    fmin: float,
    fmax: float,
    to_mel: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    to_hz: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """The ``n_mels + 2`` corner frequencies in Hz."""
    if n_mels < 1 or not 0 <= fmin < fmax:
        raise ValueError(f"a mel bank needs n_mels >= 1 and 0 <= fmin < fmax; got {n_mels}, {fmin}, {fmax}")
    low, high = to_mel(np.array([fmin, fmax], dtype=np.float64))
    return to_hz(np.linspace(low, high, n_mels + 2))


def _triangles(edges_hz: NDArray[np.float64], sample_rate: int, n_fft: int) -> NDArray[np.float64]:
    bins_hz = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    widths = np.diff(edges_hz)
    distance = edges_hz[:, None] - bins_hz[None, :]
    rising = -distance[:-2] / widths[:-1, None]
    falling = distance[2:] / widths[1:, None]
    return np.maximum(0.0, np.minimum(rising, falling))


def _slaney_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = hz / _SLANEY_HZ_PER_MEL
    logarithmic = _SLANEY_BREAK_MEL + np.log(np.maximum(hz, _SLANEY_BREAK_HZ) / _SLANEY_BREAK_HZ) / _SLANEY_LOG_STEP
    return np.where(hz < _SLANEY_BREAK_HZ, linear, logarithmic)


def _slaney_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = mel * _SLANEY_HZ_PER_MEL
    above = np.maximum(mel - _SLANEY_BREAK_MEL, 0.0)
    return np.where(mel < _SLANEY_BREAK_MEL, linear, _SLANEY_BREAK_HZ * np.exp(_SLANEY_LOG_STEP * above))


def _htk_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 2595.0 * np.log10(1.0 + hz / 700.0)


def _htk_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
