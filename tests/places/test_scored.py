"""Scoring clips at URLs into a run at a URL: the numbers of a folder, going on, and what cannot be reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from javisbench import api
from javisbench.cli import run
from javisbench.errors import MediaError
from javisbench.places.remote import Remote

METRICS = ["health_silence"]


def test_scores_of_a_bucket_are_those_of_the_folder(
    memory: Any,
    url: str,
    clips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = api.score(clips, out=tmp_path / "run", metrics=METRICS, workers=1)
    there = api.score(url, out="memory://b/run", metrics=METRICS, workers=1)
    assert there.scores.equals(here.scores)
    assert there.table.equals(here.table)
    # On another machine: nothing of a clip is read again.
    monkeypatch.setenv("JAVISBENCH_CACHE_DIR", str(tmp_path / "other"))
    again = api.score(url, out="memory://b/run", metrics=METRICS, workers=1)
    assert again.scores.equals(here.scores)
    assert not (tmp_path / "other/clips").exists()
    assert run(["report", "memory://b/run"]) == 0
    assert "3 of 3 clips" in capsys.readouterr().out
    # A clip that changed is read again, and what cannot be reached stops the job and says so.
    memory.pipe_file("/b/clips/a0.mp4", (clips / "a1.mp4").read_bytes())
    whole = type(memory)._open

    def fail(self: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        if path.endswith("a0.mp4"):
            raise PermissionError("Forbidden")
        return whole(self, path, *args, **kwargs)

    monkeypatch.setattr(type(memory), "_open", fail)
    with pytest.raises(MediaError, match=r"memory://b/clips/a0.mp4 may not be read") as error:
        api.score(url, out="memory://b/run", metrics=METRICS, workers=1)
    assert (error.value.kind, error.value.exit_code) == ("no_access", 2)
    monkeypatch.setattr(type(memory), "_open", whole)
    assert api.score(url, out="memory://b/run", metrics=METRICS, workers=1).failed_samples == 0


def test_a_broken_clip_elsewhere_is_named_by_its_url(memory: Any, url: str, tmp_path: Path) -> None:
    memory.pipe_file("/b/clips/a2.mp4", b"no clip")
    result = api.score(url, out=tmp_path / "run", metrics=METRICS, workers=1)
    (row,) = result.failures.to_dict("records")
    assert row["sample_id"] == "a2"
    assert "memory://b/clips/a2.mp4" in row["message"]
    assert str(tmp_path) not in row["message"]
    assert Remote.read(tmp_path / "cache/at/memory/b/clips/a2.mp4") is not None
