"""Sounds of events, each synthesised from a few partials, noise bands and envelopes.

Every function returns one mono sound that begins with its attack: float64, peak about 1. `pitch` is a factor around 1
that tells several subjects of a kind apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Signal = NDArray[np.float64]

VOWELS_HZ = ((730, 1090, 2440), (530, 1840, 2480), (390, 1990, 2550), (570, 840, 2410), (440, 1020, 2240))
SCALE = (0, 2, 4, 7, 9, 12)


def _time(rate: int, seconds: float) -> Signal:
    return np.arange(max(1, round(seconds * rate))) / rate


def _partials(t: Signal, rate: int, modes: list[tuple[float, float, float]]) -> Signal:
    """Sum of decaying sines; `modes` holds (Hz, level, decay in seconds); nothing above 0.45 of the rate."""
    total = np.zeros_like(t)
    for hz, level, decay in modes:
        if hz < 0.45 * rate:
            total += level * np.exp(-t / decay) * np.sin(2 * np.pi * hz * t)
    return total


def band(rng: np.random.Generator, rate: int, count: int, low_hz: float, high_hz: float) -> Signal:
    """Noise between two frequencies with soft edges, standard deviation 1."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    hz = np.fft.rfftfreq(count, 1 / rate)
    spectrum *= 1 / (1 + (low_hz / np.maximum(hz, 1e-3)) ** 4) / (1 + (hz / high_hz) ** 4)
    noise = np.fft.irfft(spectrum, count)
    return noise / max(float(noise.std()), 1e-9)


def _attack(t: Signal, seconds: float = 0.002) -> Signal:
    return np.minimum(1.0, t / seconds)


def _sweep(t: Signal, rate: int, hz: Signal) -> Signal:
    return np.sin(2 * np.pi * np.cumsum(np.minimum(hz, 0.45 * rate)) / rate)


def bounce(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """A ball on the floor: a dull tone that falls in pitch, and a tap."""
    t = _time(rate, 0.3)
    thump = _sweep(t, rate, pitch * (95 + 130 * np.exp(-t / 0.02))) * np.exp(-t / 0.07)
    tap = band(rng, rate, t.size, 700, 3500) * np.exp(-t / 0.008)
    return _attack(t) * (0.8 * thump + 0.25 * tap)


def bell(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """A struck bell: the partials of a church bell, the high ones fading first."""
    t = _time(rate, 1.6)
    base = 420 * pitch
    ratios = [(0.5, 0.5, 0.9), (1, 1.0, 0.7), (1.2, 0.5, 0.5), (1.5, 0.3, 0.4), (2, 0.6, 0.35), (2.66, 0.3, 0.2)]
    tone = _partials(t, rate, [(base * ratio, level, decay) for ratio, level, decay in ratios])
    return _attack(t) * tone / 2 * _release(t, 0.3)


def rev(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """An engine that is given gas: a pulse train whose rate jumps up and sinks back."""
    t = _time(rate, max(0.6, seconds))
    hz = pitch * (48 + 75 * np.exp(-t / 0.35))
    phase = np.cumsum(hz) / rate
    pulses = np.tanh(3 * np.sin(2 * np.pi * phase) + 1.5 * np.sin(np.pi * phase))
    exhaust = band(rng, rate, t.size, 80, 900) * (0.6 + 0.4 * np.sin(2 * np.pi * phase))
    return _attack(t, 0.006) * np.exp(-t / 0.4) * (0.6 * pulses + 0.25 * exhaust) * _release(t, 0.1)


def clank(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """Metal on metal: many inharmonic partials and a short burst."""
    t = _time(rate, 0.6)
    modes = [(hz * pitch, level, 0.25 / (1 + hz / 1500)) for hz, level in zip(
        (187, 431, 733, 1187, 1789, 2693, 3761), (0.7, 0.9, 0.8, 0.6, 0.5, 0.4, 0.3), strict=True
    )]  # fmt: skip
    burst = band(rng, rate, t.size, 300, 5000) * np.exp(-t / 0.012)
    return _attack(t, 0.001) * (0.45 * _partials(t, rate, modes) + 0.35 * burst) * _release(t, 0.2)


def knock(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """A blow on wood."""
    t = _time(rate, 0.25)
    modes = [(210 * pitch, 1.0, 0.05), (540 * pitch, 0.6, 0.03), (1150 * pitch, 0.3, 0.015)]
    click = band(rng, rate, t.size, 1200, 5000) * np.exp(-t / 0.004)
    return _attack(t, 0.001) * (0.6 * _partials(t, rate, modes) + 0.3 * click)


def shower(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """A burst of rain: hiss with drops in it, loud at once and slowly less."""
    t = _time(rate, seconds)
    hiss = 0.2 * band(rng, rate, t.size, 900, 7000)
    drops = rng.uniform(0, 1, t.size) < 180 / rate
    ticks = np.convolve(drops * rng.uniform(0.2, 1, t.size), np.exp(-np.arange(round(0.004 * rate) + 1) / 12))[: t.size]
    return _attack(t, 0.01) * np.exp(-t / 0.8) * (hiss + 0.5 * ticks) * _release(t, 0.15)


def gust(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """A gust of wind: low noise with a whistle."""
    t = _time(rate, seconds)
    low = 0.35 * band(rng, rate, t.size, 90 * pitch, 500 * pitch)
    whistle = 0.08 * band(rng, rate, t.size, 700 * pitch, 1000 * pitch)
    return _attack(t, 0.04) * np.exp(-t / 0.6) * (low + whistle) * _release(t, 0.2)


def thunder(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """A crack and a rumble."""
    t = _time(rate, 2.0)
    crack = band(rng, rate, t.size, 200, 4000) * np.exp(-t / 0.06)
    rumble = band(rng, rate, t.size, 30, 180) * np.exp(-t / 0.6)
    return _attack(t, 0.003) * (0.25 * crack + 0.3 * rumble) * _release(t, 0.3)


def drip(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """A drop on water: a tone that rises as its bubble closes."""
    t = _time(rate, 0.22)
    ring = _sweep(t, rate, pitch * (650 + 900 * t / 0.22)) * np.exp(-t / 0.045)
    return _attack(t, 0.002) * (0.8 * ring + 0.08 * band(rng, rate, t.size, 2000, 6000) * np.exp(-t / 0.01))


def chirp(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """A bird: two quick whistles that swing in pitch."""
    t = _time(rate, 0.2)
    base = pitch * rng.uniform(2300, 2900)
    hz = base + 700 * np.sin(2 * np.pi * t / 0.1) * pitch
    envelope = np.abs(np.sin(np.pi * t / 0.1)) ** 0.4 * np.where(t < 0.1, 1.0, 0.6)
    return _attack(t, 0.003) * envelope * _sweep(t, rate, hz) * 0.7 * _release(t, 0.03)


def bark(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """A dog: a rough falling tone through an open mouth."""
    t = _time(rate, 0.26)
    hz = pitch * (230 + 260 * np.exp(-(((t - 0.05) / 0.06) ** 2)))
    envelope = _attack(t, 0.006) * np.exp(-t / 0.09)
    rough = 0.15 * band(rng, rate, t.size, 500, 3000)
    return envelope * (0.8 * voice(t, rate, hz, VOWELS_HZ[0]) + rough) * _release(t, 0.08)


def step(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """A footstep: heel, then sole."""
    t = _time(rate, 0.22)
    heel = _partials(t, rate, [(120 * pitch, 0.9, 0.03), (320 * pitch, 0.4, 0.015)])
    scuff = band(rng, rate, t.size, 600, 4500) * np.exp(-t / 0.02)
    return _attack(t) * (0.6 * heel + 0.3 * scuff)


def clap(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """Two hands."""
    t = _time(rate, 0.2)
    return _attack(t, 0.001) * band(rng, rate, t.size, 700 * pitch, 3200 * pitch) * np.exp(-t / 0.022) * 0.45


def syllable(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """A syllable without meaning: a consonant's puff and a vowel with three formants."""
    t = _time(rate, min(0.3, max(0.14, seconds)))
    hz = pitch * rng.uniform(105, 150) * (1 + 0.12 * np.sin(2 * np.pi * t / t[-1] if t.size > 1 else t))
    vowel = VOWELS_HZ[int(rng.integers(len(VOWELS_HZ)))]
    voiced = voice(t, rate, hz, vowel) * _attack(t, 0.015) * np.exp(-t / 0.14)
    puff = band(rng, rate, t.size, 1800, 5500) * np.exp(-t / 0.015) * rng.uniform(0.1, 0.3)
    return (voiced + puff) * _release(t, 0.05)


def note(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """A struck bar or string, on a pentatonic scale."""
    t = _time(rate, 0.9)
    base = 330 * pitch * 2 ** (SCALE[int(rng.integers(len(SCALE)))] / 12)
    modes = [(base, 1.0, 0.35), (2 * base, 0.4, 0.2), (3 * base, 0.2, 0.12), (4.1 * base, 0.12, 0.05)]
    return _attack(t) * _partials(t, rate, modes) * 0.6 * _release(t, 0.1)


def drum(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """A drum: a falling skin tone with the snare's rattle."""
    t = _time(rate, 0.4)
    skin = _sweep(t, rate, pitch * (150 + 90 * np.exp(-t / 0.02))) * np.exp(-t / 0.1)
    rattle = band(rng, rate, t.size, 1500, 6500) * np.exp(-t / 0.05)
    return _attack(t, 0.001) * (0.7 * skin + 0.2 * rattle) * _release(t, 0.1)


def zap(rng: np.random.Generator, rate: int, seconds: float, pitch: float) -> Signal:
    """A ray of an arcade game: a square wave that falls."""
    t = _time(rate, 0.35)
    ray = np.tanh(4 * _sweep(t, rate, pitch * (200 + 1500 * np.exp(-t / 0.08))))
    return _attack(t) * 0.6 * ray * np.exp(-t / 0.1) * _release(t, 0.1)


def voice(t: Signal, rate: int, hz: Signal, formants: tuple[int, int, int]) -> Signal:
    """Harmonics of a voice, weighed by the resonances of a vowel."""
    phase = 2 * np.pi * np.cumsum(hz) / rate
    middle = float(np.mean(hz))
    total = np.zeros_like(t)
    for number in range(1, int(min(4000.0, 0.45 * rate) / middle) + 1):
        weight = sum(1 / (1 + ((number * middle - formant) / 110) ** 2) for formant in formants)
        total += (weight + 0.03) / number**0.4 * np.sin(number * phase)
    return total / max(float(np.abs(total).max()), 1e-9)


def _release(t: Signal, seconds: float) -> Signal:
    left: Signal = (t[-1] - t) / seconds
    return np.minimum(1.0, left)


def room(rng: np.random.Generator, rate: int, count: int) -> Signal:
    """The faint noise of a place, standard deviation 1; a microphone is never silent."""
    return band(rng, rate, count, 60, 900) + 0.2 * band(rng, rate, count, 900, 6000)
