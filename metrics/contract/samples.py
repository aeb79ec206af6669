"""Small clips and prompts, the same in every process, on which the checks run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np

from javisbench.clip import Clip

FPS = Fraction(12)
FRAMES = 24
WIDTH, HEIGHT = 64, 48
SAMPLE_RATE = 16000
PROMPTS = ("A drum is beaten twice.", "Rain falls on a tin roof while a dog barks.", "x")


def ordinary_clips() -> dict[str, Clip]:
    """Three clips of 2 s: a bright disc over noise jumps at each of several clicks, elsewhere in each clip."""
    return {f"ordinary {seed}": _clip(seed) for seed in range(3)}


def odd_clips() -> Mapping[str, Clip]:
    """Clips that exist in every folder of generated ones; each may have features, or a reason why not."""
    base = _clip(9)
    assert base.audio is not None
    times = np.cumsum(np.arange(FRAMES) % 3).astype(np.float64) / 25
    made = {
        "without sound": replace(base, audio=None, sample_rate=None),
        "with silence": replace(base, audio=np.zeros_like(base.audio)),
        "with an empty sound": replace(base, audio=base.audio[:, :0]),
        "with a click alone": replace(base, audio=base.audio[:, :40]),
        "in stereo at 44.1 kHz": replace(base, audio=np.repeat(base.audio, 2, axis=0), sample_rate=44100),
        "of one frame": base.with_frames(base.frames[:1]),
        "of a black, still picture": base.with_frames(np.zeros_like(base.frames)),
        "of 16x16 pixels": base.with_frames(np.ascontiguousarray(base.frames[:, :16, :16])),
        "with uneven times": replace(base, frame_times_s=times, last_frame_s=0.5),
    }
    return {name: replace(clip, name=f"the clip {name}") for name, clip in made.items()}


def broken_sound() -> Clip:
    """A clip whose sound holds NaN and infinity."""
    base = _clip(7)
    assert base.audio is not None
    audio = base.audio.copy()
    audio[:, 100], audio[:, 200] = np.nan, np.inf
    return replace(base, audio=audio, name="the clip with NaN in its sound")


def _clip(seed: int) -> Clip:
    draw = np.random.default_rng(seed)
    frames = draw.integers(0, 60, (FRAMES, HEIGHT, WIDTH, 3)).astype(np.uint8)
    audio = draw.normal(0, 0.01, (1, int(FRAMES / FPS * SAMPLE_RATE))).astype(np.float32)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    place = draw.uniform((10, 10), (HEIGHT - 10, WIDTH - 10))
    events = sorted(draw.choice(np.arange(2, FRAMES - 2), 4, replace=False).tolist())
    for frame in range(FRAMES):
        if frame in events:
            place = draw.uniform((10, 10), (HEIGHT - 10, WIDTH - 10))
            start = int(frame / FPS * SAMPLE_RATE)
            audio[0, start : start + 800] += 0.7 * np.exp(-np.arange(800) / 120) * np.sin(np.arange(800) * 0.4)
        disc = (rows - place[0]) ** 2 + (columns - place[1]) ** 2 < 64
        frames[frame][disc] = (230, 200 - 20 * seed, 90)
    return Clip(frames, FPS, np.clip(audio, -1, 1), SAMPLE_RATE, "container", name=f"ordinary clip {seed}")
