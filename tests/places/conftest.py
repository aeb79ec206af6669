"""Tiny clips, and a place in memory that is reached by URL as a bucket is."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from javisbench.clip import Clip
from javisbench.media.write import write_clip
from javisbench.places import Cache


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """A cache of this test alone, with room for everything."""
    monkeypatch.setenv("JAVISBENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVISBENCH_CACHE_SIZE", raising=False)
    return Cache.from_environment()


@pytest.fixture
def memory() -> Iterator[Any]:
    """The file system behind ``memory://``, empty."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of a second with their sounds and prompts beside them: ``a0`` to ``a2``."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(3):
        random = np.random.default_rng(number)
        frames = random.integers(0, 256, (8, 48, 64, 3)).astype(np.uint8)
        sound = 0.1 * random.standard_normal((1, 8000)).astype(np.float32)
        write_clip(
            Clip(frames, Fraction(8), sound, 8000, "sidecar"), folder / f"a{number}.mp4", folder / f"a{number}.wav"
        )
        (folder / f"a{number}.txt").write_text(f"prompt {number}")
    return folder


@pytest.fixture
def url(memory: Any, clips: Path) -> str:
    """The URL of a folder with the tiny clips, which is ``/b/clips`` in memory."""
    for path in clips.iterdir():
        memory.pipe_file(f"/b/clips/{path.name}", path.read_bytes())
    return "memory://b/clips"
