"""From single sounds to the sound of a place: mixing, echo, room tone, loudness, and the window that a clip hears."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from javisbench.baselines.procedural.sounds import band, room
from javisbench.baselines.procedural.sync.scene import MARGIN_S, Setting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.baselines.procedural.sync.scene import Signal

FADE_S = 0.01


class Track:
    """Sound over the whole scene, from `MARGIN_S` before the clip to `MARGIN_S` after it."""

    def __init__(self, setting: Setting) -> None:
        self.rate = setting.sample_rate
        self.signal: Signal = np.zeros(scene_samples(setting))

    def add(self, time_s: float, sound: Signal, level: float = 1.0) -> None:
        """Mix in a sound that begins at `time_s`; what lies outside the scene is cut off."""
        start = round((time_s + MARGIN_S) * self.rate)
        skipped = max(0, -start)
        part = sound[skipped : max(skipped, self.signal.size - start)]
        self.signal[start + skipped : start + skipped + part.size] += level * part


def scene_samples(setting: Setting) -> int:
    """Samples from `MARGIN_S` before the clip to `MARGIN_S` after it."""
    return round((setting.duration_s + 2 * MARGIN_S) * setting.sample_rate)


def scene_times_s(setting: Setting) -> Signal:
    """The time of each sample of the whole scene; 0 is the start of the clip."""
    return np.arange(scene_samples(setting)) / setting.sample_rate - MARGIN_S


def in_a_place(setting: Setting, tracks: Sequence[Track]) -> Signal:
    """What a microphone records of the tracks: echo, the noise of the place, and a level that differs by seed.

    Room tone lies 30 to 60 dB below the loudest sound, and is there from the first sample to the last; so is a bed of
    hum, traffic or wind in half of the scenes.
    """
    rng = setting.random("place")
    rate, count = setting.sample_rate, scene_samples(setting)
    dry: Signal = np.sum([track.signal for track in tracks], axis=0) if tracks else np.zeros(count)
    sound = dry + _echo(rng, rate, dry)
    loudest = float(np.abs(sound).max())
    if loudest > 0:
        sound = np.tanh(sound / loudest) / np.tanh(1.0)
    tone = room(rng, rate, count) * 10 ** (-rng.uniform(35, 60) / 20)
    tone += _bed(rng, rate, count) * 10 ** (-rng.uniform(30, 45) / 20)
    level = 10 ** (-rng.uniform(1.5, 14) / 20)
    return np.clip(level * (sound + tone), -1, 1)


def _echo(rng: np.random.Generator, rate: int, dry: Signal) -> Signal:
    from scipy.signal import fftconvolve

    share, fade_s, first_s = rng.uniform(0, 0.35), rng.uniform(0.02, 0.12), rng.uniform(0.008, 0.03)
    t = np.arange(round(5 * fade_s * rate)) / rate
    tail = rng.standard_normal(t.size) * np.exp(-t / fade_s)
    tail /= np.sqrt(np.square(tail).sum())
    late = np.concatenate([np.zeros(round(first_s * rate)), tail])
    wet: Signal = share * fftconvolve(dry, late)[: dry.size]
    return wet


def _bed(rng: np.random.Generator, rate: int, count: int) -> Signal:
    """Hum, traffic or wind, standard deviation about 1; silence in half of the cases."""
    kind = int(rng.integers(6))
    t = np.arange(count) / rate
    if kind == 0:
        base = float(rng.choice([50.0, 60.0]))
        return sum((np.sin(2 * np.pi * base * n * t + n) / n for n in (1, 2, 3)), np.zeros(count))
    if kind in (1, 2):
        low, high = ((40, 300), (150, 700))[kind - 1]
        swell = 1 + 0.6 * np.sin(2 * np.pi * t / rng.uniform(3, 8) + rng.uniform(0, 6.3))
        return swell * band(rng, rate, count, low, high)
    return np.zeros(count)


def heard(setting: Setting, sound: Signal, offset_s: float) -> NDArray[np.float32]:
    """What the clip holds of a scene's sound: float32 ``(1, samples)`` on the grid of 16-bit samples.

    Args:
        setting: of the scene.
        sound: as `Scene.sound` made it.
        offset_s: by how much it is late (negative: early), within `MARGIN_S`: what then moves into the clip is what
            was to be heard before or after it.
    """
    rate = setting.sample_rate
    count = max(1, round(setting.frames / float(setting.fps) * rate))
    start = round((MARGIN_S - offset_s) * rate)
    cut = sound[start : start + count]
    cut = np.pad(cut, (0, count - cut.size))
    fade = min(round(FADE_S * rate), count // 2)
    slope = 0.5 - 0.5 * np.cos(np.pi * np.arange(fade) / max(1, fade))
    gain = np.ones(count)
    gain[:fade], gain[count - fade :] = slope, slope[::-1]
    grid: NDArray[np.float32] = (np.round(cut * gain * 32767) / 32768).astype(np.float32)
    return grid[None]
