"""What one clip may cost: memory does not grow with its length, and both limits are options that doctor knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from javisbench.cli import run as main
from javisbench.clip import Clip, ClipHead, Damage, FrameRun
from javisbench.media import ClipSource, DecodeLimits, MediaInfo, read_clip, stream_clip, write_clip
from javisbench.media import probe as probe_media

Run = Callable[..., int]


def picture(path: Path, width: int, height: int, frames: int) -> Path:
    """A clip of noise without sound."""
    rng = np.random.default_rng(frames)
    pixels = rng.integers(0, 255, (frames, height, width, 3), np.uint8)
    write_clip(Clip(pixels, Fraction(25), None, None), path)
    return path


class Counting:
    """Takes every frame and keeps none."""

    def __init__(self, head: ClipHead) -> None:
        self.head = head
        self.runs: list[int] = []
        self.sums: list[int] = []

    wanted = None

    def take(self, run: FrameRun) -> None:
        self.runs.append(run.frames.nbytes)
        self.sums += [int(frame.sum()) for frame in run.frames]

    def end(self, damage: tuple[Damage, ...]) -> None:
        self.damage = damage


def test_frames_come_in_runs_that_the_limit_bounds(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.mp4", 320, 240, 40)
    whole = read_clip(path)
    limits = DecodeLimits(memory_bytes=64 * 2**20)

    seen = stream_clip(ClipSource("a", path), Counting, limits=limits)

    assert len(seen.runs) == 2 and max(seen.runs) <= limits.run_bytes
    assert seen.sums == [int(frame.sum()) for frame in whole.frames]


def test_a_whole_clip_may_come_in_runs_too(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.mp4", 320, 240, 40)
    one, many = read_clip(path), read_clip(path, limits=DecodeLimits(memory_bytes=16 * 2**20))
    assert np.array_equal(one.frames, many.frames)


def test_a_clip_beyond_the_memory_of_one_names_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    picture(clips / "large.mp4", 1920, 1600, 1)
    (tmp_path / "s.csv").write_text("id,text\nlarge,noise\n")
    score = ["score", str(clips), "--suite", str(tmp_path / "s.csv"), "--metrics", "health_black", "--json", "-q"]

    assert main([*score, "--out", str(tmp_path / "small"), "--clip-memory", "64"]) == 0
    failed = json.loads(capsys.readouterr().out)["failures"]
    assert failed[0]["kind"] == "too_large" and "--clip-memory" in failed[0]["message"]

    assert main(["doctor", str(clips), "--suite", str(tmp_path / "s.csv"), "--clip-memory", "64", "--sample", "0"]) in (
        0,
        1,
        2,
    )
    assert "too_large" in capsys.readouterr().out

    assert main([*score, "--out", str(tmp_path / "large")]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert not summary["failures"] and summary["metrics"]["health_black"]["overall"]["value"] == 0


def test_probing_knows_the_limits(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.mp4", 320, 240, 10)
    assert isinstance(probe_media(path), MediaInfo)
    with pytest.raises(Exception, match="--clip-memory"):
        probe_media(path, limits=DecodeLimits(memory_bytes=2**20))
