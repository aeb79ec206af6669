"""Frequency B-spline (FBSP) transform: a learned relative of the short-time Fourier transform.

Sources: A. Guzhov et al., "ESResNe(X)t-fbsp: Learning Robust Time-Frequency Transformation of Audio", IJCNN 2021;
FBSP wavelets: C. Torrence, G. Compo, "A Practical Guide to Wavelet Analysis", 1998.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_EPS = 1e-8


class FBSP(nn.Module):
    """Complex FBSP wavelets as long as a frame, one an output bin.

    Wavelet k is ``sqrt(fb) sinc(fb t / m)^m exp(-i fc t)`` with its own ``m``, ``fb`` and ``fc``, t from -pi to pi.

    Args:
        n_fft: samples of a frame; the transform has ``n_fft // 2 + 1`` bins.
    """

    def __init__(self, n_fft: int) -> None:
        super().__init__()
        bins = n_fft // 2 + 1
        self.n_fft = n_fft
        self.m = nn.Parameter(torch.ones(bins))
        self.fb = nn.Parameter(torch.ones(bins))
        self.fc = nn.Parameter(torch.arange(bins, dtype=torch.float32))
        # Stored by the official checkpoint, and empty.
        self.bias = nn.Parameter(torch.empty(0))
        self._weights: dict[torch.dtype, Tensor] = {}

    def forward(self, frames: Tensor, dtype: torch.dtype) -> Tensor:
        """Transform windowed frames.

        Each clip is a matrix product of its own, so that its result does not depend on its neighbours in the batch:
        in digital silence the upper bins are nothing but the rounding of weights and sums.

        Args:
            frames: float32, shape ``(B, frames, n_fft)``.
            dtype: of weights, product and result.

        Returns:
            shape ``(B, frames, bins, 2)``, real and imaginary parts.
        """
        weights = self._cached_weights(dtype).to(frames.device)
        flat = weights.permute(1, 0, 2).reshape(self.n_fft, -1)
        spectra = [clip.to(dtype) @ flat for clip in frames]
        return torch.stack(spectra).view(*frames.shape[:2], -1, 2)

    def weights(self, dtype: torch.dtype) -> Tensor:
        """The wavelets, shape ``(bins, n_fft, 2)``, computed on the CPU in `dtype`, whatever device holds the module.

        The time axis is float32 for any `dtype`, as the parameters were trained with it. The order of the operations
        is part of the result: see `forward`.
        """
        t = (math.pi * torch.linspace(-1.0, 1.0, self.n_fft, dtype=torch.float32) + _EPS).to(dtype)
        m, fb, fc = (p.detach().to("cpu", dtype)[:, None] for p in (self.m, self.fb, self.fc))
        kernel_re, kernel_im = torch.cos(fc * t), -torch.sin(fc * t)
        base = _sinc(fb * t / (m + _EPS))
        modulus = (base * base) ** (m / 2)
        phase = torch.where(base < 0, math.pi, 0.0).to(dtype) * m
        window_re, window_im = modulus * torch.cos(phase), modulus * torch.sin(phase)
        real = window_re * kernel_re - window_im * kernel_im
        imaginary = window_re * kernel_im + window_im * kernel_re
        return torch.sqrt(fb)[..., None] * torch.stack([real, imaginary], dim=-1) / math.sqrt(self.n_fft)

    def _cached_weights(self, dtype: torch.dtype) -> Tensor:
        if dtype not in self._weights:
            self._weights[dtype] = self.weights(dtype)
        return self._weights[dtype]


def windowed_frames(signal: Tensor, window: Tensor, hop: int, n_fft: int) -> Tensor:
    """Overlapping frames that cover all of `signal`, windowed and centred in `n_fft` samples of zeros.

    Args:
        signal: shape ``(B, L)``; zeros are added at both ends, the smaller half in front, to fill the last frame.
        window: shape ``(window_length,)``.
        hop: samples between frames.
        n_fft: samples of a frame, at least the window's.

    Returns:
        shape ``(B, 1 + ceil((L - window_length) / hop), n_fft)``, one frame where the signal is shorter than a window.
    """
    length, width = signal.shape[1], window.shape[0]
    count = 1 if length <= width else 1 + math.ceil((length - width) / hop)
    missing = (count - 1) * hop + width - length
    frames = F.pad(signal, (missing // 2, missing - missing // 2)).unfold(1, width, hop) * window
    margin = n_fft - width
    return F.pad(frames, (margin // 2, margin - margin // 2))


def decibels(spectrum: Tensor) -> Tensor:
    """10 log10 of the power of ``(..., 2)``; where there is none, -180 dB."""
    power = spectrum.square().sum(dim=-1)
    return 10.0 * torch.log10(torch.where(power > 0, power, 1e-18))


def _sinc(z: Tensor) -> Tensor:
    return torch.where(z == 0, 1.0, torch.sin(z) / z)
