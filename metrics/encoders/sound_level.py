"""Level of a sound and its rise by bands: what `av_sync` compares with the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from javisbench.errors import FeatureError
from javisbench.metrics.encoders.base import EncoderCard, Features, FeatureSpec
from javisbench.metrics.encoders.host_encoder import HostEncoder, HostIntake
from javisbench.metrics.encoders.preprocessing.mel_filters import htk_mel_filters

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEP_S = 0.01
WINDOW_S = 0.04
BANDS = 24
LOWEST_HZ = 60.0
HIGHEST_HZ = 8000.0
RANGE_DB = 60.0
LOUDNESS_EXPONENT = 0.25
SMOOTHING_S = 0.015

_WINDOWS_AT_ONCE = 512


def band_power(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Power of 24 mel bands (HTK, 60 Hz to 8 kHz or half the rate) in Hann windows of 40 ms, every 10 ms, centred.

    A window that would reach beyond the sound has the power of the nearest one that does not: silence that is not
    there would make every sound begin at the start of its clip and stop at its end.

    Args:
        samples: mono, shape ``(samples,)``.
        sample_rate: Hz.

    Returns:
        float64, shape ``(24, 1 + duration / 10 ms)``, index k at k * 10 ms.
    """
    size = max(2, round(WINDOW_S * sample_rate))
    if samples.size < size:
        samples = np.pad(samples, (0, size - samples.size))
    count = 1 + int(samples.size / (STEP_S * sample_rate))
    starts = np.rint(np.arange(count) * STEP_S * sample_rate).astype(np.int64) - size // 2
    starts = np.clip(starts, 0, samples.size - size)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    filters = htk_mel_filters(sample_rate, size, BANDS, LOWEST_HZ, min(HIGHEST_HZ, sample_rate / 2))
    views = np.lib.stride_tricks.sliding_window_view(samples, size)
    power = np.empty((BANDS, count))
    for first in range(0, count, _WINDOWS_AT_ONCE):
        spectrum = np.fft.rfft(views[starts[first : first + _WINDOWS_AT_ONCE]] * window, axis=1)
        power[:, first : first + _WINDOWS_AT_ONCE] = filters @ np.square(np.abs(spectrum)).T
    return power


def sound_level(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """How loud a sound is at each moment, about as the ear has it.

    Args:
        power: as `band_power` gives it, shape ``(bands, steps)``.

    Returns:
        the mean over bands as a share of its maximum, at least -60 dB, to the power 0.25, smoothed by a Gaussian of
        15 ms: in (0, 1], shape ``(steps,)``; 0 for digital silence.
    """
    return _smooth(_loudness(power.mean(axis=0)))


def sound_rise(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much a sound rises at each moment, over its bands.

    Args:
        power: as `band_power` gives it, shape ``(bands, steps)``.

    Returns:
        with Q the power as a share of the maximum of all bands and moments, at least -60 dB, to the power 0.25: the
        mean over bands of max(0, Q(t + 10 ms) - Q(t - 10 ms)), smoothed by a Gaussian of 15 ms, shape ``(steps,)``. The
        ends have the values of their neighbours.
    """
    loudness = _loudness(power)
    rise = np.zeros(power.shape[1])
    if rise.size > 2:
        rise[1:-1] = np.maximum(0.0, loudness[:, 2:] - loudness[:, :-2]).mean(axis=0)
        rise[0], rise[-1] = rise[1], rise[-2]
    return _smooth(rise)


def _loudness(power: NDArray[np.float64]) -> NDArray[np.float64]:
    most = power.max()
    if most <= 0:
        return np.zeros_like(power)
    return cast("NDArray[np.float64]", np.maximum(power / most, 10 ** (-RANGE_DB / 10)) ** LOUDNESS_EXPONENT)


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter1d

    return cast("NDArray[np.float64]", gaussian_filter1d(values, SMOOTHING_S / STEP_S, mode="nearest"))


class _LevelIntake(HostIntake):
    sees: ClassVar[bool] = False

    def make(self, spec: FeatureSpec) -> Features:
        sound, rate = self.sound(), self.head.sample_rate
        if sound is None or rate is None:
            raise FeatureError(f"{self.head.name} has no sound, so there is no level.", kind="no_audio")
        samples = sound.mean(axis=0, dtype=np.float32)
        power = band_power(samples, rate)
        return {
            "level": sound_level(power).astype(np.float32),
            "rise": sound_rise(power).astype(np.float32),
            "rms": np.sqrt(np.square(samples, dtype=np.float64).mean(keepdims=True)),
            "duration_s": np.asarray([self.head.audio_duration_s]),
        }


class SoundLevelEncoder(HostEncoder):
    """Level of a clip's sound and its rise, mixed to mono at its own rate.

    Features:
        ``level``: ``level`` and ``rise``, float32 ``(steps,)``, of `sound_level` and `sound_rise`, index k at k * 10 ms
        from the start of the sound; ``rms``, float64 ``(1,)``, root mean square of the samples; ``duration_s``, float64
        ``(1,)``, seconds of sound.

    A clip without sound, or with values that are not numbers, has no features.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="sound_level",
        title="Sound level and its rise by bands",
        variants={"default": None},
        source="javisbench",
        host=True,
    )

    intake_type = _LevelIntake
