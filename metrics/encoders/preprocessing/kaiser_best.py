"""Resampling as resampy 0.4's ``kaiser_best`` does it: a Kaiser-windowed sinc, tabulated and interpolated linearly."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import as_strided

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ZERO_CROSSINGS = 50
_POINTS_PER_CROSSING = 8192
_ROLLOFF = 0.9173473712608761
_KAISER_BETA = 12.984584815593854
# Outputs made by one matrix product; bounds the memory of its weights.
_OUTPUTS_PER_BLOCK = 256


def resample_kaiser_best(
    signal: NDArray[np.float32], old_rate: int, new_rate: int, *, max_samples: int | None = None
) -> NDArray[np.float32]:
    """Resample a mono signal with the filter of resampy 0.4.3's ``kaiser_best`` and the length rule of librosa.

    Output sample ``j`` is the input weighted by the filter around the input time ``j * old_rate / new_rate``; when
    the rate falls, the filter is stretched by the ratio. resampy makes ``trunc(n * new_rate / old_rate)`` samples and
    librosa appends zeros up to ``ceil(n * new_rate / old_rate)``; so does this function. The sums are float64.

    Args:
        signal: float32, shape ``(n,)``.
        old_rate: Hz.
        new_rate: Hz.
        max_samples: stop after this many output samples; those returned are the same as without it.

    Returns:
        float32, shape ``(min(ceil(n * new_rate / old_rate), max_samples),)``; `signal` itself at equal rates.

    Raises:
        ValueError: a rate below 1 Hz, or a signal that is not one-dimensional.

    Source: J. O. Smith, Digital Audio Resampling Home Page, "Theory of Ideal Bandlimited Interpolation".
    """
    if old_rate < 1 or new_rate < 1 or signal.ndim != 1:
        raise ValueError(
            f"resampling needs rates of at least 1 Hz and shape (n,); got {old_rate}, {new_rate}, {signal.shape}"
        )
    length = -(-signal.size * new_rate // old_rate)
    length = length if max_samples is None else min(length, max_samples)
    if old_rate == new_rate:
        return signal[:length]
    made = min(length, signal.size * new_rate // old_rate)
    resampled = np.zeros(length, dtype=np.float32)
    if made:
        resampled[:made] = _polyphase(signal, old_rate, new_rate, made)
    return resampled


def _polyphase(signal: NDArray[np.float32], old_rate: int, new_rate: int, length: int) -> NDArray[np.float64]:
    """`length` outputs. With the rates reduced to p / q, output ``j + q`` has the weights of ``j``, p inputs later.

    So a block of neighbouring outputs and all its repetitions are one matrix product: rows of input, p apart, times
    one column of weights an output.
    """
    divisor = math.gcd(old_rate, new_rate)
    p, q = old_rate // divisor, new_rate // divisor
    reach = _reach(p, q)
    repeats = -(-length // q)
    padded = np.zeros(reach + (repeats + 1) * p + reach + 1, dtype=np.float64)
    usable = signal[: padded.size - reach]
    padded[reach : reach + usable.size] = usable
    outputs = np.empty((repeats, q), dtype=np.float64)
    for first in range(0, min(q, length), _OUTPUTS_PER_BLOCK):
        phases = np.arange(first, min(first + _OUTPUTS_PER_BLOCK, q))
        start, weights = _block_weights(phases, p, q, reach)
        step = padded.strides[0]
        rows = as_strided(padded[start:], shape=(repeats, weights.shape[0]), strides=(p * step, step), writeable=False)
        outputs[:, phases] = rows @ weights
    return outputs.reshape(-1)[:length]


def _block_weights(phases: NDArray[np.int64], p: int, q: int, reach: int) -> tuple[int, NDArray[np.float64]]:
    """Weights of the outputs `phases` (within 0..q-1), and where in the padded signal their first row begins.

    Output r lies at input time r p / q = n + f. Inputs n, n-1, ... lie f, f+1, ... before it, n+1, n+2, ...
    lie 1-f, 2-f, ... behind it.
    """
    whole, remainder = np.divmod(phases * p, q)
    before = _wing(remainder / q, p, q, reach)
    behind = _wing(1.0 - remainder / q, p, q, reach)
    start = int(whole[0])
    weights = np.zeros((int(whole[-1]) - start + 2 * reach, phases.size), dtype=np.float64)
    taps = np.arange(reach)
    for column, n in enumerate(whole - start):
        weights[n + reach - taps, column] = before[column]
        weights[n + reach + 1 + taps[:-1], column] = behind[column, :-1]
    return start, weights


def _wing(offset: NDArray[np.float64], p: int, q: int, reach: int) -> NDArray[np.float64]:
    """Filter values at ``offset, offset + 1, ...`` input samples from the output, shape ``(offsets, reach)``.

    Taps advance by a whole number of table points, as in the original: the truncated step is part of the filter.
    """
    table = _table()
    scale = min(1.0, q / p)
    position = scale * offset * _POINTS_PER_CROSSING
    base = position.astype(np.int64)
    fraction = (position - base)[:, None]
    points = base[:, None] + np.arange(reach) * int(scale * _POINTS_PER_CROSSING)
    inside = points < table.size
    low = np.minimum(points, table.size - 1)
    high = np.minimum(points + 1, table.size - 1)
    values = table[low] + fraction * (table[high] - table[low])
    return np.where(inside, scale * values, 0.0)


def _reach(p: int, q: int) -> int:
    """Taps of one wing, the last one beyond the table's end included."""
    step = int(min(1.0, q / p) * _POINTS_PER_CROSSING)
    return _ZERO_CROSSINGS * _POINTS_PER_CROSSING // max(step, 1) + 2


@lru_cache(maxsize=1)
def _table() -> NDArray[np.float64]:
    """The right half of the filter, from its centre to the last zero crossing."""
    crossings = np.linspace(0.0, _ZERO_CROSSINGS, _ZERO_CROSSINGS * _POINTS_PER_CROSSING + 1)
    taper = np.i0(_KAISER_BETA * np.sqrt(1.0 - (crossings / _ZERO_CROSSINGS) ** 2)) / np.i0(_KAISER_BETA)
    return np.asarray(_ROLLOFF * np.sinc(_ROLLOFF * crossings) * taper)
