"""Kaldi's log-mel filterbank for whole batches, equal bit for bit to torchaudio's ``compliance.kaldi.fbank``."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from javisbench.errors import FeatureError

if TYPE_CHECKING:
    from torch import Tensor

FRAME_S = 0.025
SHIFT_S = 0.010
_PRE_EMPHASIS = 0.97
_LOW_HZ = 20.0


def frame_count(samples: int, sample_rate: int = 16000) -> int:
    """How many whole 25-ms frames, 10 ms apart, fit into `samples`; 0 when none does."""
    size, shift = _frame(sample_rate)
    return 0 if samples < size else 1 + (samples - size) // shift


def log_mel(waveforms: Tensor, *, mel_bins: int, sample_rate: int = 16000) -> Tensor:
    """Log-mel energies with Hann windows, no dither, per-frame mean removal and pre-emphasis 0.97.

    The order of operations is part of the result: silence sits at the floor of float32, where another order moves
    logarithms by 5e-4.

    Args:
        waveforms: float32, shape ``(batch, samples)``.
        mel_bins: triangles between 20 Hz and half the rate, of equal width in mel.
        sample_rate: Hz.

    Returns:
        float32, shape ``(batch, frames, mel_bins)``; natural logarithm, floored at that of float32's epsilon.

    Raises:
        FeatureError: less than one frame (25 ms) of sound.
    """
    import torch
    import torch.nn.functional as F

    size, shift = _frame(sample_rate)
    if waveforms.shape[-1] < size:
        raise FeatureError(
            f"{waveforms.shape[-1]} samples at {sample_rate} Hz are less than one 25-ms frame: there is no spectrum.",
            kind="audio_too_short",
        )
    fft_size = 1 << (size - 1).bit_length()
    frames = waveforms.unfold(-1, size, shift)
    frames = frames - frames.mean(dim=-1, keepdim=True)
    before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
    frames = frames - _PRE_EMPHASIS * before
    frames = frames * torch.hann_window(size, periodic=False, device=frames.device)
    power = torch.fft.rfft(F.pad(frames, (0, fft_size - size))).abs().pow(2.0)
    banks = mel_banks(mel_bins, fft_size, sample_rate).to(frames.device)
    energies = power @ F.pad(banks, (0, 1)).T
    floor = torch.tensor(torch.finfo(torch.float32).eps, device=frames.device)
    return torch.maximum(energies, floor).log()


@lru_cache(maxsize=8)
def mel_banks(
    mel_bins: int, fft_size: int, sample_rate: int, low_hz: float = _LOW_HZ, high_hz: float | None = None
) -> Tensor:
    """Triangles evaluated at the mel value of the FFT bins below half the rate, shape ``(mel_bins, fft_size // 2)``.

    Args:
        mel_bins: triangles of equal width in mel.
        fft_size: samples of the Fourier transform.
        sample_rate: Hz.
        low_hz: where the first one begins.
        high_hz: where the last one ends; None for half the rate.
    """
    import torch

    # What is kept must not be a tensor of inference mode: no gradient could flow past it.
    with torch.inference_mode(False):
        low, high = _mel(low_hz), _mel(sample_rate / 2 if high_hz is None else high_hz)
        width = (high - low) / (mel_bins + 1)
        bank = torch.arange(mel_bins)[:, None]
        left, centre, right = low + bank * width, low + (bank + 1.0) * width, low + (bank + 2.0) * width
        bins = (1127.0 * (1.0 + sample_rate / fft_size * torch.arange(fft_size // 2) / 700.0).log())[None]
        rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
        return torch.maximum(torch.zeros(1), torch.minimum(rising, falling))


def _mel(hertz: float) -> float:
    return 1127.0 * math.log(1.0 + hertz / 700.0)


def _frame(sample_rate: int) -> tuple[int, int]:
    return int(sample_rate * FRAME_S), int(sample_rate * SHIFT_S)
