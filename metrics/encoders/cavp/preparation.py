"""What CAVP sees of a clip: four frames and 64 spectrogram columns a second, for every whole second of video.

Source: Luo et al., Diff-Foley, NeurIPS 2023, section 4.1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from javisbench.errors import FeatureError
from javisbench.metrics.encoders.preprocessing.frame_rate import due_positions, shown_frames
from javisbench.metrics.encoders.preprocessing.kaiser_best import resample_kaiser_best
from javisbench.metrics.encoders.preprocessing.mel_filters import slaney_mel_filters

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead, Timeline

FPS = 4
SIZE = 224
SAMPLE_RATE = 16000
N_FFT, HOP, BINS = 1024, 250, 128
LOWEST_HZ, HIGHEST_HZ = 125.0, 7600.0


def whole_seconds(head: ClipHead, timeline: Timeline) -> int:
    """Whole seconds of video.

    Args:
        head: the clip.
        timeline: the times to go by.

    Raises:
        FeatureError: not even one.
    """
    if timeline.is_regular:
        seconds: int = math.floor(len(timeline) / timeline.fps)
    else:
        seconds = math.floor(timeline.duration_s)
    if seconds < 1:
        raise FeatureError(
            f"{head.name} has {timeline.duration_s:.3f} s of video; CAVP needs at least one second.", kind="too_short"
        )
    return seconds


def frame_indices(head: ClipHead, timeline: Timeline) -> NDArray[np.int64]:
    """The source frames shown at 4 fps: int64, shape ``(4 seconds,)``; of 24 fps 2, 8, 14, ..."""
    due = due_positions(head.timeline.times_s, FPS)
    return shown_frames(due, np.arange(FPS * whole_seconds(head, timeline)))


def prepare_frames(frames: NDArray[np.uint8]) -> Tensor:
    """Frames squeezed to 224 x 224 whatever their shape: uint8 ``(n, H, W, 3)`` to ``(n, 3, 224, 224)``."""
    import torch

    return torch.from_numpy(np.stack([_squeeze(frame) for frame in frames])).permute(0, 3, 1, 2)


def _squeeze(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pillow's antialiased bilinear resize, first across, then down; newer versions choose the order themselves."""
    from PIL import Image

    across = Image.fromarray(frame).resize((SIZE, frame.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(across.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def prepare_audio(clip: ClipHead, timeline: Timeline) -> Tensor:
    """Log-mel spectrogram of the channels' mean over the video's whole seconds, zeros behind the sound's end.

    Returns:
        float32 in [0, 1], shape ``(128, 64 seconds)``.

    Raises:
        FeatureError: the clip has no sound.
    """
    import torch

    if clip.audio is None or not clip.sample_rate or clip.audio.shape[1] == 0:
        raise FeatureError(f"{clip.name} has no sound, so CAVP has no audio features.", kind="no_audio")
    length = SAMPLE_RATE * whole_seconds(clip, timeline)
    mono = np.mean(clip.audio, axis=0)
    mono = resample_kaiser_best(mono, clip.sample_rate, SAMPLE_RATE, max_samples=length)
    signal = torch.zeros(length - 1)
    signal[: len(mono)] = torch.from_numpy(mono[: length - 1])
    return spectrogram(signal)


def spectrogram(signal: Tensor) -> Tensor:
    """Mel magnitudes in decibels from -80 to 20 dB, mapped to [0, 1].

    Args:
        signal: float32 at 16 kHz, shape ``(n,)``.

    Returns:
        float32, shape ``(128, n // 250 + 1)``.
    """
    import torch

    window = torch.hann_window(N_FFT, device=signal.device)
    spectrum = torch.stft(signal, N_FFT, HOP, window=window, center=True, pad_mode="constant", return_complex=True)
    filters = slaney_mel_filters(SAMPLE_RATE, N_FFT, BINS, LOWEST_HZ, HIGHEST_HZ)
    mel = torch.from_numpy(filters).float().to(signal.device) @ spectrum.abs()
    return ((20 * torch.log10(mel.clamp(min=1e-5)) - 20 + 100) / 100).clamp(0, 1)
