"""The sound of both versions: AudioLDM 2's VAE over log-mel frames (64 bins, one each 10 ms at 16 kHz) and its vocoder.

Liu et al., "AudioLDM 2: Learning Holistic Audio Generation with Self-supervised Pretraining", 2024; the front end is
Tacotron 2's: magnitudes of a Fourier transform of 1,024 samples, Slaney's filters, natural logarithm of at least 1e-5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from javisbench.baselines.javisdit.checkpoints import from_library
from javisbench.baselines.javisdit.config import AudioConfig
from javisbench.metrics.encoders.preprocessing.mel_filters import slaney_mel_filters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_N_FFT = 1024
_FLOOR = 1e-5
_PEAK = 0.5


class Sound:
    """From latents to waveforms and back.

    Args:
        config: its numbers.
        channels: of the latent.
        paths: local folders of ``audio_vae`` and ``vocoder``.
        device: torch device; everything computes in float32.

    Raises:
        WeightsError: a folder does not hold its network.
    """

    def __init__(self, config: AudioConfig, channels: int, paths: Mapping[str, Path], device: str) -> None:
        self.config, self.channels, self.device = config, channels, device
        self.vae = from_library("diffusers", "AutoencoderKL", paths["audio_vae"], torch.float32).to(device)
        self.vocoder = from_library("transformers", "SpeechT5HifiGan", paths["vocoder"], torch.float32).to(device)

    @property
    def samples_a_step(self) -> int:
        """Samples that a latent step covers."""
        return self.config.hop * self.config.stride

    def latent_shape(self, seconds: float) -> tuple[int, ...]:
        """Channels, steps and mel bins of the latent of `seconds` of sound."""
        return (self.channels, *self.config.latent_shape(seconds))

    def decode(self, latent: Tensor) -> Tensor:
        """``(1, channels, steps, mels)`` to a waveform ``(1, samples)``."""
        mel = self.vae.decode(latent / self.vae.config.scaling_factor).sample
        waveform: Tensor = self.vocoder(mel[:, 0])
        return waveform.view(1, -1)

    def encode(self, samples: Tensor, steps: int, draw: torch.Generator) -> Tensor:
        """One draw of the latent ``(1, channels, steps, mels)`` of samples ``(n,)``, filled up with silence."""
        mel = log_mel(samples.to(self.device), steps * self.config.stride, self.config)
        moments = self.vae.encode(mel[None, None]).latent_dist
        noise = torch.randn(moments.mean.shape, generator=draw).to(self.device)
        latent: Tensor = (moments.mean + moments.std * noise) * self.vae.config.scaling_factor
        return latent


def mono_at(audio: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    """The mean of the channels of ``(channels, samples)``, resampled (polyphase) from `rate` to `wanted` Hz; 1-D."""
    import numpy as np
    from scipy.signal import resample_poly

    mixed = audio.mean(axis=0, dtype=np.float32)
    if rate != wanted:
        common = math.gcd(rate, wanted)
        mixed = resample_poly(mixed, wanted // common, rate // common)
    return np.asarray(mixed, dtype=np.float32)


def gain_of(samples: NDArray[np.float32]) -> float:
    """What brings a sound's peak to 0.5, as AudioLDM 2 prepares sounds; 1 for digital silence."""
    peak = float(abs(samples).max()) if samples.size else 0.0
    return _PEAK / peak if peak > 0 else 1.0


def log_mel(waveform: Tensor, frames: int, config: AudioConfig) -> Tensor:
    """The first `frames` log-mel frames of a waveform ``(samples,)``, filled up with silence; ``(frames, mels)``."""
    length = max(frames * config.hop, _N_FFT)
    padded = torch.nn.functional.pad(waveform[:length], (0, max(0, length - len(waveform))))
    window = torch.hann_window(_N_FFT, device=waveform.device)
    spectrum = torch.stft(
        padded, _N_FFT, config.hop, window=window, center=True, pad_mode="reflect", return_complex=True
    )
    filters = slaney_mel_filters(config.sample_rate, _N_FFT, config.mels, 0.0, config.sample_rate / 2)
    mel = torch.from_numpy(filters).float().to(waveform.device) @ spectrum.abs()
    return mel.clamp(min=_FLOOR).log().T[:frames]
