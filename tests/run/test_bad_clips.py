"""Bad clips beside good ones: every good one is scored, every bad one is named with its reason, in bounded time."""

from __future__ import annotations

import importlib.util
import shutil
import time
from pathlib import Path

import pytest

import javisbench

GOOD = 6
DEADLINE_S = 3.0
# 37 files, one of which uses up its whole deadline; the rest are refused at once.
BOUND_S = 300.0


def test_all_good_clips_are_scored_and_every_bad_one_has_its_reason(
    tmp_path: Path, clips_fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("bad_clips", Path(__file__).parents[1] / "media/bad_clips.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path / "clips"
    folder.mkdir()
    expected: dict[str, str] = module.make_bad_clips(folder)
    assert len(expected) >= 20
    good = [f"good_{number:02d}" for number in range(GOOD)]
    for name in good:
        for suffix in (".mp4", ".wav"):
            shutil.copy(clips_fake / f"sample_0004{suffix}", folder / f"{name}{suffix}")
    ids = [*good, *expected]
    (tmp_path / "s.csv").write_text("id,text\n" + "".join(f"{name},a prompt\n" for name in ids))
    started = time.monotonic()
    result = javisbench.score(
        folder,
        suite=str(tmp_path / "s.csv"),
        out=tmp_path / "run",
        metrics=["health_frozen"],
        workers=2,
        clip_deadline_s=DEADLINE_S,
    )
    assert time.monotonic() - started < BOUND_S
    scores = result.scores.set_index("sample_id")["health_frozen"]
    assert scores[good].notna().all()
    failures = result.failures.drop_duplicates("sample_id").set_index("sample_id")
    videos = {path.stem for path in folder.iterdir() if path.suffix in (".mp4", ".mov", ".mkv", ".webm", ".avi")}
    for name, kind in expected.items():
        assert failures["kind"][name] == (kind if name in videos else "missing_clip"), failures["message"][name]
        assert failures["message"][name]
    assert set(failures.index) == set(expected)
