"""Reference clips, decoded in this process, and comparison with stored fingerprints."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from javisbench.clip import Clip


def decode(video: Path, audio: Path | None) -> Clip:
    frames, times = [], []
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        for frame in container.decode(stream):
            frames.append(frame.to_ndarray(format="rgb24"))
            times.append(float(frame.pts * frame.time_base))
        fps = Fraction(stream.average_rate)
    if audio is None:
        return Clip(np.stack(frames), fps, None, None, "none", np.array(times), video.stem)
    samples, rate = soundfile.read(audio, dtype="float32", always_2d=True)
    return Clip(np.stack(frames), fps, np.ascontiguousarray(samples.T), rate, "sidecar", np.array(times), video.stem)


@pytest.fixture(scope="session")
def fake_clip(clips_fake: Path) -> Callable[[int], Clip]:
    """``fake_clip(i)``: the i-th generated reference clip."""
    return lambda i: decode(clips_fake / f"sample_{i:04d}.mp4", clips_fake / f"sample_{i:04d}.wav")


@pytest.fixture(scope="session")
def assert_fingerprint() -> Callable[..., None]:
    """``assert_fingerprint(array, stored, atol)``: shape, stored elements, mean and standard deviation."""

    def check(array: Any, stored: dict[str, Any], atol: float) -> None:
        values = np.asarray(array)
        assert list(values.shape) == stored["shape"]
        np.testing.assert_allclose(values.reshape(-1)[stored["idx"]], stored["val"], rtol=0, atol=atol)
        np.testing.assert_allclose(values.mean(dtype=np.float64), stored["mean"], rtol=0, atol=atol)
        np.testing.assert_allclose(values.std(dtype=np.float64), stored["std"], rtol=0, atol=atol)

    return check


@pytest.fixture(scope="session")
def noise_clip() -> Callable[..., Clip]:
    """``noise_clip(seconds, seed, ...)``: random pixels and samples, reproducible."""

    def make(
        seconds: float, seed: int = 0, *, fps: int = 24, size: tuple[int, int] = (24, 32), sound: bool = True
    ) -> Clip:
        rng = np.random.default_rng(seed)
        frames = rng.integers(0, 256, (max(1, round(seconds * fps)), *size, 3), dtype=np.uint8)
        audio = rng.uniform(-0.5, 0.5, (1, round(seconds * 16000))).astype(np.float32) if sound else None
        return Clip(frames, Fraction(fps), audio, 16000 if sound else None, name=f"noise {seed}")

    return make
