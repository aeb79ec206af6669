"""Audio onsets: when a sound begins, from the rise of a log-mel spectrogram."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from javisbench.errors import FeatureError
from javisbench.metrics.encoders.base import EncoderCard, Features, FeatureSpec
from javisbench.metrics.encoders.host_encoder import HostEncoder, HostIntake
from javisbench.metrics.encoders.preprocessing.mel_filters import slaney_mel_filters

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_FFT = 2048
HOP = 512
N_MELS = 128
POWER_FLOOR = 1e-10
DYNAMIC_RANGE_DB = 80.0
PEAK_WINDOW_S = 0.03
MEAN_WINDOW_S = 0.1
THRESHOLD = 0.07

_FRAMES_AT_ONCE = 512


def onset_envelope(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Onset strength of a mono signal: by how much its mel bands get louder from one frame to the next.

    Mel spectrogram (Slaney, 128 bands up to half the rate, 2048-sample frames every 512 samples, periodic Hann, the
    signal centred between zeros) in decibels above -100 dB and within 80 dB of its loudest value; positive
    differences of neighbouring frames, averaged over the bands, moved to the end of the frame's first half.
    The stages are rounded to float32 where librosa rounds them, so that ties fall as they do there.

    Args:
        samples: shape ``(samples,)``, in [-1, 1].
        sample_rate: Hz.

    Returns:
        Mean rise in dB, float32, shape ``(1 + samples // 512,)``, not negative; frame n stands at n * 512 samples.

    Source:
        Böck and Widmer, "Maximum filter vibrato suppression for onset detection", DAFx 2013, without the maximum
        filter, as ``librosa.onset.onset_strength`` computes it by default.
    """
    power = _mel_power(samples, sample_rate)
    level = 10.0 * np.log10(np.maximum(np.float32(POWER_FLOOR), power))
    level = np.maximum(level, level.max() - np.float32(DYNAMIC_RANGE_DB))
    rise = np.maximum(np.float32(0.0), level[:, 1:] - level[:, :-1]).mean(axis=0)
    envelope = np.zeros(level.shape[1], dtype=np.float32)
    first = 1 + N_FFT // (2 * HOP)
    envelope[first:] = rise[: max(0, envelope.size - first)]
    return envelope


def _mel_power(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Mel power spectrogram, float32, shape ``(128, 1 + samples // 512)``."""
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(N_FFT) / N_FFT)
    filters = slaney_mel_filters(sample_rate, N_FFT, N_MELS, 0.0, sample_rate / 2).astype(np.float32)
    padded = np.pad(samples, N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    parts = []
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        spectrum = np.fft.rfft(frames[start : start + _FRAMES_AT_ONCE] * window, axis=1).astype(np.complex64)
        parts.append(filters @ np.square(np.abs(spectrum)).T)
    return np.concatenate(parts, axis=1)


def pick_onsets(envelope: NDArray[np.float32], sample_rate: int) -> NDArray[np.int64]:
    """Frames of an onset envelope that are onsets.

    With the envelope scaled to [0, 1], a = floor(0.03 rate / 512) and b = floor(0.1 rate / 512), frame n is an onset
    if it is the largest of [n - a, n], at least 0.07 above the mean of [n - b, n + b] and more than a frames after
    the onset before it. Windows are cut at the ends.

    Args:
        envelope: shape ``(frames,)``, as `onset_envelope` returns it.
        sample_rate: Hz.

    Returns:
        Frame numbers, ascending; empty for a constant envelope.

    Source:
        Böck, Krebs and Schedl, "Evaluating the online capabilities of onset detection methods", ISMIR 2012, with
        the windows of ``librosa.onset.onset_detect``.
    """
    span = envelope - envelope.min()
    if not span.any():
        return np.zeros(0, dtype=np.int64)
    scaled = span / (span.max() + np.finfo(np.float32).tiny)
    before, around = int(PEAK_WINDOW_S * sample_rate // HOP), int(MEAN_WINDOW_S * sample_rate // HOP)
    candidates = np.flatnonzero((scaled >= _running_max(scaled, before)) & _stands_out(scaled, around))
    onsets: list[int] = []
    for frame in candidates.tolist():
        if not onsets or frame > onsets[-1] + before:
            onsets.append(frame)
    return np.asarray(onsets, dtype=np.int64)


def _running_max(values: NDArray[np.float32], before: int) -> NDArray[np.float32]:
    """Largest of each value and the `before` values ahead of it."""
    padded = np.concatenate([np.full(before, -np.inf, dtype=np.float32), values])
    return cast("NDArray[np.float32]", np.lib.stride_tricks.sliding_window_view(padded, before + 1).max(axis=1))


def _stands_out(values: NDArray[np.float32], around: int) -> NDArray[np.bool_]:
    """Whether each value is at least the threshold above the mean of the window around it."""
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    index = np.arange(values.size)
    low, high = np.maximum(index - around, 0), np.minimum(index + around + 1, values.size)
    return cast("NDArray[np.bool_]", values >= (sums[high] - sums[low]) / (high - low) + THRESHOLD)


class _OnsetIntake(HostIntake):
    sees: ClassVar[bool] = False

    def make(self, spec: FeatureSpec) -> Features:
        sound, rate = self.sound(), self.head.sample_rate
        if sound is None or rate is None:
            raise FeatureError(f"{self.head.name} has no sound, so there are no onsets to look for.", kind="no_audio")
        envelope = onset_envelope(sound.mean(axis=0, dtype=np.float32), rate)
        return {"times_s": pick_onsets(envelope, rate) * HOP / float(rate), "envelope": envelope}


class OnsetEncoder(HostEncoder):
    """Onsets of a clip's sound, mixed to mono at its own rate.

    Features:
        ``onsets``: ``times_s``, float64 ``(K,)``, seconds from the start of the sound, ascending; ``envelope``,
        float32 ``(frames,)``, onset strength in dB at every 512th sample.

    A silent or constant sound has no onsets. A clip without sound, or with values that are not numbers, has no
    features.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="onsets",
        title="Audio onsets",
        variants={"default": None},
        source="Böck et al. 2012 and 2013, as in librosa (McFee et al. 2015)",
        host=True,
    )

    intake_type = _OnsetIntake
