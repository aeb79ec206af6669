"""Small files as people have them, with the right values of each: white flashes and clicks at known times.

Sound files, suites and names of the same provenance are made by their own tests.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from javisbench.clip import Clip
from javisbench.errors import MediaError
from javisbench.media import ClipReader, ClipSource

CASES = Path(__file__).parent / "cases"
ALL: list[dict[str, Any]] = json.loads((CASES / "expected.json").read_text())
FAULTS = ("timeout", "worker_died", "worker_start")


def read(reader: ClipReader, case: dict[str, Any]) -> Clip | MediaError:
    ((_, found),) = reader.read([ClipSource(case["id"], CASES / case["file"])])
    return found


def begins(loud: NDArray[np.bool_], times_s: NDArray[np.float64]) -> list[float]:
    """Times at which something begins, after 0.2 s of nothing."""
    at = times_s[np.flatnonzero(loud)]
    return [float(time) for i, time in enumerate(at) if i == 0 or time - at[i - 1] > 0.2]


def measured(clip: Clip) -> dict[str, Any]:
    height, width = clip.frames.shape[1:3]
    middle = clip.frames[:, height // 3 : 2 * height // 3, width // 3 : 2 * width // 3]
    sound = np.zeros(0) if clip.audio is None else np.abs(clip.audio[0])
    values: dict[str, Any] = {
        "frames": len(clip.frames),
        "size": [width, height],
        "audio_source": clip.audio_source,
        "duration_s": clip.duration_s,
        "audio_duration_s": clip.audio_duration_s,
        "rgb": clip.frames[len(clip.frames) // 2, height // 2, width // 2].astype(float),
        "flashes_s": begins(middle.mean(axis=(1, 2, 3)) > 150, clip.frame_times_s),
        "clicks_s": begins(sound > 0.25, np.arange(len(sound)) / (clip.sample_rate or 1)),
    }
    pairs = zip(values["flashes_s"], values["clicks_s"], strict=False)
    values["together"] = max((abs(flash - click) for flash, click in pairs), default=9.0)
    return values


@pytest.mark.parametrize("case", [c for c in ALL if c["kind"] == "clip"], ids=lambda case: str(case["id"]))
def test_a_clip_shows_what_a_careful_player_shows(reader: ClipReader, case: dict[str, Any]) -> None:
    clip, expected = read(reader, case), case["expect"]
    if isinstance(clip, MediaError):
        assert clip.kind not in FAULTS and re.search(expected["or_refused"], clip.message), clip.message
        return
    values = measured(clip)
    for name, right in expected.items():
        if isinstance(right, dict):
            assert values[name] == pytest.approx(right["value"], abs=right["tolerance"] + 1e-9), name
        elif name in values:
            assert values[name] == right, name
    assert not clip.damage


@pytest.mark.parametrize("case", [c for c in ALL if c["kind"] == "damaged"], ids=lambda case: str(case["id"]))
def test_a_damaged_clip_says_so(reader: ClipReader, case: dict[str, Any]) -> None:
    clip = read(reader, case)
    if isinstance(clip, MediaError):
        assert clip.kind not in FAULTS
    else:
        assert clip.damage
