"""What SyncNet hears: mel-frequency cepstral coefficients of 25 ms every 10 ms.

Source: Davis and Mermelstein, Comparison of parametric representations for monosyllabic word recognition, 1980, with
the defaults of python_speech_features 0.6, which SyncNet was trained with.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE_RATE = 16000
FRAME, STEP = 400, 160
COEFFICIENTS = 13
_FFT, _FILTERS, _LIFTER, _EMPHASIS = 512, 26, 22, 0.97
# In place of 0 under a logarithm: digital silence.
_LEAST = np.finfo(np.float64).eps


def mfcc(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    """Coefficients of a sound, with those of each step as if the sound began there.

    Only the first sample of a sound differs: it has none before it that pre-emphasis could take off.

    Args:
        samples: int16 at 16 kHz, shape ``(n,)``.

    Returns:
        float64, shape ``(2, rows, 13)``, rows = 1 + ceil((n - 400) / 160), at least 1: as the sound goes on, and as if
        it began.
    """
    signal = samples.astype(np.float64)
    emphasised = np.append(signal[:1], signal[1:] - _EMPHASIS * signal[:-1])
    rows = 1 + max(0, -(-(len(signal) - FRAME) // STEP))
    padded = np.zeros((rows - 1) * STEP + FRAME)
    padded[: len(emphasised)] = emphasised
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::STEP]
    began = frames.copy()
    starts = signal[: rows * STEP : STEP]
    began[: len(starts), 0] = starts
    return np.stack([_coefficients(frames), _coefficients(began)])


def _coefficients(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of frames ``(rows, 400)``: ``(rows, 13)``."""
    from scipy.fft import dct

    found = np.empty((len(frames), COEFFICIENTS))
    for start in range(0, len(frames), 4096):  # half a minute at a time: spectra take five times a sound's memory
        part = frames[start : start + 4096]
        power = np.abs(np.fft.rfft(part, _FFT)) ** 2 / _FFT
        cepstrum = dct(np.log(_positive(power @ _filters().T)), type=2, axis=1, norm="ortho")[:, :COEFFICIENTS]
        cepstrum *= 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(COEFFICIENTS) / _LIFTER)
        cepstrum[:, 0] = np.log(_positive(power.sum(axis=1)))
        found[start : start + 4096] = cepstrum
    return found


def _positive(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values == 0, _LEAST, values)


@cache
def _filters() -> NDArray[np.float64]:
    """26 triangles of height 1, their corners rounded down to bins: ``(26, 257)``."""
    mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), _FILTERS + 2)
    corners = np.floor((_FFT + 1) * 700 * (10 ** (mel / 2595) - 1) / SAMPLE_RATE)
    bins = np.arange(_FFT // 2 + 1)[None]
    low, peak, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        rising, falling = (bins - low) / (peak - low), (high - bins) / (high - peak)
    up, down = (low <= bins) & (bins < peak), (peak <= bins) & (bins < high)
    return np.where(up, rising, np.where(down, falling, 0.0))
