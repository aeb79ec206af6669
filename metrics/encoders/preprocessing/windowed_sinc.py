"""Resampling with a Hann-windowed sinc, torchaudio's default method (``sinc_interp_hann``, width 6, roll-off 0.99)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from javisbench.errors import FeatureError

if TYPE_CHECKING:
    from torch import Tensor

_ZERO_CROSSINGS = 6
_ROLL_OFF = 0.99
_LARGEST_KERNEL = 2**23  # elements; rates without a common factor would need one of gigabytes
_OUTPUTS_AT_ONCE = 2**16


def resample(waveform: Tensor, rate: int, new_rate: int) -> Tensor:
    """`waveform` at `new_rate`, with the filter's taps in float32 as the reference has them.

    Args:
        waveform: float32, shape ``(..., samples)``.
        rate: its rate in Hz.
        new_rate: the wanted rate in Hz.

    Returns:
        float32, shape ``(..., ceil(samples * new_rate / rate))``; `waveform` itself when the rates are equal.

    Raises:
        FeatureError: a rate that is not positive.
    """
    if rate <= 0 or new_rate <= 0:
        raise FeatureError(f"Sample rates are positive; got {rate} and {new_rate} Hz.", kind="bad_sample_rate")
    if rate == new_rate:
        return waveform
    common = math.gcd(rate, new_rate)
    old, new = rate // common, new_rate // common
    length = -(-new * waveform.shape[-1] // old)
    rows = waveform.reshape(-1, waveform.shape[-1])
    half = _half_width(old, new)
    if new * (2 * half + old) <= _LARGEST_KERNEL:
        out = _by_phases(rows, old, new)
    else:
        out = _by_taps(rows, old, new, length)
    return out[:, :length].reshape(*waveform.shape[:-1], length)


def _by_phases(rows: Tensor, old: int, new: int) -> Tensor:
    """All `new` phases at every step of `old` samples: one matrix product."""
    import torch.nn.functional as F

    kernel = _kernel(old, new).to(rows.device)
    half = _half_width(old, new)
    blocks = F.pad(rows, (half, half + old)).unfold(-1, kernel.shape[1], old)
    return (blocks @ kernel.T).flatten(-2)


def _by_taps(rows: Tensor, old: int, new: int, length: int) -> Tensor:
    """Each output from its own few taps; for kernels of which nearly all is outside the window."""
    import torch
    import torch.nn.functional as F

    half = _half_width(old, new)
    reach = math.ceil(_ZERO_CROSSINGS / (_ROLL_OFF * min(old, new)) * old) + 1
    padded = F.pad(rows, (half + reach, half + old + reach))
    offsets = torch.arange(-reach, reach + 1, device=rows.device)
    parts = []
    for start in range(0, length, _OUTPUTS_AT_ONCE):
        index = torch.arange(start, min(start + _OUTPUTS_AT_ONCE, length), device=rows.device)
        phase, step = index % new, index // new
        taps = (phase * old // new)[:, None] + offsets
        weights = _sinc(taps, phase[:, None], old, new)
        parts.append((padded[:, step[:, None] * old + taps + half + reach] * weights).sum(-1))
    return torch.cat(parts, dim=-1)


def _half_width(old: int, new: int) -> int:
    return math.ceil(_ZERO_CROSSINGS * old / (_ROLL_OFF * min(old, new)))


@lru_cache(maxsize=8)
def _kernel(old: int, new: int) -> Tensor:
    """Taps of all phases, shape ``(new, 2 * half + old)``."""
    import torch

    half = _half_width(old, new)
    # What is kept must not be a tensor of inference mode: no gradient could flow past it.
    with torch.inference_mode(False):
        return _sinc(torch.arange(-half, half + old)[None], torch.arange(new)[:, None], old, new)


def _sinc(taps: Tensor, phase: Tensor, old: int, new: int) -> Tensor:
    """Filter value at `taps` input samples from output `phase`; float32 throughout, which moves log-mels by 2e-4."""
    import torch

    base = _ROLL_OFF * min(old, new)
    t = taps.to(torch.float32) / old + -phase.to(torch.float32) / new
    t = (t * base).clamp(-_ZERO_CROSSINGS, _ZERO_CROSSINGS)
    window = torch.cos(t * math.pi / _ZERO_CROSSINGS / 2) ** 2
    t = t * math.pi
    return torch.where(t == 0, torch.ones_like(t), torch.sin(t) / t) * (window * (base / old))
