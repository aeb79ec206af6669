"""What Synchformer sees of a clip: 25 frames a second, 224 x 224, and log-mel segments of 0.64 s at 16 kHz.

Sources: Iashin et al., Synchformer, ICASSP 2024, section 3; the conversion to 25 fps is that of FFmpeg's ``fps``
filter.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from javisbench.errors import FeatureError
from javisbench.metrics.encoders.preprocessing.frame_rate import frames_at_rate
from javisbench.metrics.encoders.preprocessing.mel_filters import htk_mel_filters
from javisbench.metrics.encoders.preprocessing.pil_resize import centre_offset, shorter_side
from javisbench.metrics.encoders.preprocessing.windowed_sinc import resample

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead, Timeline

FPS = 25
SAMPLE_RATE = 16000
SIZE = 224
SEGMENT_FRAMES, STEP_FRAMES = 16, 8
SEGMENT_SAMPLES, STEP_SAMPLES = 10240, 5120
GROUP = 14
BLACK = -1  # in place of a source frame's index
N_FFT, WINDOW, HOP, BINS = 1024, 400, 160, 128
MEL_FRAMES = 66
MEL_MEAN, MEL_SCALE = -4.2677393, 2 * 4.5689974


def segment_count(max_audio_len_s: float) -> int:
    """Segments of 0.64 s every 0.32 s within `max_audio_len_s` seconds: 11 in 4 s.

    Raises:
        FeatureError: not even one.
    """
    frames, samples = spans(max_audio_len_s)
    count = min((frames - SEGMENT_FRAMES) // STEP_FRAMES, (samples - SEGMENT_SAMPLES) // STEP_SAMPLES) + 1
    if count < 1:
        raise FeatureError(
            f"Synchformer needs at least 0.64 s; max_audio_len_s is {max_audio_len_s}. Use a longer one.",
            kind="too_short",
        )
    return count


def spans(max_audio_len_s: float) -> tuple[int, int]:
    """Frames at 25 fps and samples at 16 kHz within `max_audio_len_s` seconds."""
    return math.floor(FPS * max_audio_len_s), math.floor(SAMPLE_RATE * max_audio_len_s)


def segment_groups(segments: int) -> NDArray[np.int64]:
    """Which 14 segments make up each input of the synchronisation part.

    Fewer than 14 segments are followed by the same ones from the start, a jump in time; a short last group becomes
    the last 14 segments.

    Args:
        segments: at least 1.

    Returns:
        int64, shape ``(groups, 14)``.
    """
    if segments < GROUP:
        return np.arange(GROUP)[None] % segments
    starts = np.minimum(np.arange(0, segments, GROUP), segments - GROUP)
    return np.asarray(starts[:, None] + np.arange(GROUP), dtype=np.int64)


def segment_sources(timeline: Timeline, max_audio_len_s: float, *, keep_last: bool) -> NDArray[np.int64]:
    """Which source frames make up the video segments of the first `max_audio_len_s` seconds.

    Returns:
        int64, shape ``(segments, 16)``; ``BLACK`` behind the clip's end.

    Raises:
        FeatureError: not even one segment fits into `max_audio_len_s`.
    """
    segments = segment_count(max_audio_len_s)
    total, _ = spans(max_audio_len_s)
    shown = np.full(total, BLACK, dtype=np.int64)
    indices = frames_at_rate(timeline, FPS, total, keep_last=keep_last)
    shown[: len(indices)] = indices
    starts = STEP_FRAMES * np.arange(segments)
    return np.asarray(shown[starts[:, None] + np.arange(SEGMENT_FRAMES)], dtype=np.int64)


def resize_and_crop(frames: NDArray[np.uint8]) -> Tensor:
    """Shorter side to 224 (bicubic, antialiased, in integers), then the centre square.

    Args:
        frames: uint8, shape ``(n, H, W, 3)``.

    Returns:
        uint8, shape ``(n, 3, 224, 224)``.
    """
    import torch
    from torch.nn.functional import interpolate

    size = shorter_side(frames.shape[1], frames.shape[2], SIZE)
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    resized = interpolate(pixels, size=size, mode="bicubic", antialias=True)
    top, left = (centre_offset(side, SIZE) for side in size)
    return resized[:, :, top : top + SIZE, left : left + SIZE]


def prepare_audio(clip: ClipHead, max_audio_len_s: float) -> Tensor:
    """The channels' mean at 16 kHz, cut or followed by silence to `max_audio_len_s` seconds.

    Returns:
        float32, shape ``(samples,)``, samples = floor(16000 max_audio_len_s).

    Raises:
        FeatureError: the clip has no sound.
    """
    import torch

    if clip.audio is None or not clip.sample_rate or clip.audio.shape[1] == 0:
        raise FeatureError(f"{clip.name} has no sound, so it has no audio-video offset.", kind="no_audio")
    _, total = spans(max_audio_len_s)
    mono = torch.from_numpy(np.ascontiguousarray(clip.audio)).mean(dim=0)
    mono = resample(mono, clip.sample_rate, SAMPLE_RATE)[:total]
    return torch.nn.functional.pad(mono, (0, total - mono.shape[0]))


def normalise_pixels(frames: Tensor) -> Tensor:
    """uint8 to float32 in [-1, 1], same shape."""
    return frames.float().div_(255).sub_(0.5).div_(0.5)


def log_mel_segments(samples: Tensor, count: int) -> Tensor:
    """Log-mel spectrograms of segments of 10240 samples every 5120, each by itself.

    Args:
        samples: float32 at 16 kHz, shape ``(n,)``.
        count: segments.

    Returns:
        float32, shape ``(count, 128, 65)``: natural log of HTK mel power plus 1e-6.
    """
    import torch

    segments = samples.unfold(0, SEGMENT_SAMPLES, STEP_SAMPLES)[:count]
    window = torch.hann_window(WINDOW, device=samples.device)
    spectra = torch.stft(segments, N_FFT, HOP, WINDOW, window, center=True, pad_mode="reflect", return_complex=True)
    mel = mel_filters().to(samples.device) @ spectra.abs().pow(2)
    return torch.log(mel + 1e-6)


def mel_filters() -> Tensor:
    """128 HTK triangles from 0 to 8 kHz, float32, shape ``(128, 513)``."""
    import torch

    return torch.from_numpy(htk_mel_filters(SAMPLE_RATE, N_FFT, BINS, 0.0, SAMPLE_RATE / 2)).float()


def normalise_mel(log_mel: Tensor) -> Tensor:
    """Pad to 66 frames with 0 and normalise: ``(n, 128, 65)`` to ``(n, 128, 66)``."""
    from torch.nn.functional import pad

    return (pad(log_mel, (0, MEL_FRAMES - log_mel.shape[-1])) - MEL_MEAN) / MEL_SCALE
