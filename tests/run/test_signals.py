"""Runs that are told to end: what is done is kept, no process stays, and the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import javisbench
from javisbench.clip import Clip
from javisbench.media import write_clip
from javisbench.run.features import FeatureStore

# The command line, slow after each feature so that there is time to end it, and telling of each.
SLOW = """
import sys, time
from javisbench.cli import main
from javisbench.run.features import FeatureStore
put = FeatureStore.put
def told(self, *given):
    put(self, *given)
    print("kept one", file=sys.stderr, flush=True)
    time.sleep({pause})
FeatureStore.put = told
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips with their prompts beside them."""
    folder = tmp_path_factory.mktemp("clips")
    for name in "abcd":
        rng = np.random.default_rng(ord(name))
        sound = (rng.normal(size=(1, 16000)) * (rng.random(16000) < 0.01)).clip(-1, 1).astype(np.float32)
        clip = Clip(rng.integers(0, 255, (8, 48, 64, 3), dtype=np.uint8), Fraction(8), sound, 16000)
        write_clip(clip, folder / f"{name}.mp4")
        (folder / f"{name}.txt").write_text(name)
    return folder


def begin(clips: Path, out: Path, *, ignoring: signal.Signals | None = None) -> subprocess.Popen[str]:
    """A job that has just kept its first feature, in memory."""
    # Whoever is to be ended waits for it, however long a busy machine takes to send the signal.
    pause = "60" if ignoring is None else "0.1"
    job = subprocess.Popen(
        [
            sys.executable,
            "-c",
            SLOW.replace("{pause}", pause),
            "score",
            str(clips),
            "--metrics",
            "av_align",
            "--workers",
            "1",
            "--out",
            str(out),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        # Whoever runs the tests may ignore signals (nohup), and hands that on.
        preexec_fn=lambda: [
            signal.signal(number, signal.SIG_IGN if number == ignoring else signal.SIG_DFL)
            for number in (signal.SIGHUP, signal.SIGTERM)
        ],
    )
    assert job.stderr is not None
    assert any("kept one" in line for line in job.stderr), "it ended before it kept anything"
    return job


def group_of(job: subprocess.Popen[str]) -> list[int]:
    """Running processes of the job's session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == job.pid and state != "Z":
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_run_that_is_told_to_end_keeps_what_is_done(
    number: signal.Signals, code: int, clips: Path, tmp_path: Path
) -> None:
    job = begin(clips, tmp_path / "run")
    os.killpg(job.pid, number)
    _, told = job.communicate(timeout=180)
    assert job.returncode == code
    assert f"Stopped by {number.name}. Run the same command again to go on." in told
    deadline = time.monotonic() + 60
    while group_of(job) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert group_of(job) == []
    kept = len(FeatureStore(tmp_path / "run/features"))
    assert kept > 0
    assert "interrupted" in (tmp_path / "run/log.txt").read_text()
    again = javisbench.score(clips, out=tmp_path / "run", metrics=["av_align"], workers=1)
    alone = javisbench.score(clips, out=tmp_path / "alone", metrics=["av_align"], workers=1)
    assert again.scores.equals(alone.scores)
    assert len(FeatureStore(tmp_path / "run/features")) > kept


def test_a_signal_that_the_caller_ignores_stays_ignored(clips: Path, tmp_path: Path) -> None:
    """As under nohup."""
    job = begin(clips, tmp_path / "run", ignoring=signal.SIGHUP)
    os.killpg(job.pid, signal.SIGHUP)
    job.communicate(timeout=300)
    assert job.returncode == 0
