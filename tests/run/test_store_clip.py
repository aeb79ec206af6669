"""Storing clips: equal clips are equal files, and a disk in trouble is no clip's fault."""

from __future__ import annotations

import errno
import os
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile

from javisbench.clip import Clip
from javisbench.errors import MediaError, SystemFaultError
from javisbench.media import write_clip
from javisbench.run.store_clip import place_clip, storing


def test_a_sound_of_floats_does_not_tell_when_it_was_stored(tmp_path: Path) -> None:
    sound = np.linspace(-1, 1, 4000, dtype=np.float32)[None]
    clip = Clip(np.zeros((4, 48, 64, 3), np.uint8), Fraction(8), sound, 8000, "container")
    write_clip(clip, tmp_path / "finished.mp4", sidecar=False)
    wav = tmp_path / "a.wav"
    place_clip(clip, {"video": str(tmp_path / "finished.mp4")}, tmp_path / "a.mp4", wav)
    head = wav.read_bytes()[:256]
    peaks = head.index(b"PEAK")
    assert head[peaks + 12 : peaks + 16] == bytes(4), "seconds since 1970"
    assert np.array_equal(soundfile.read(wav, dtype="float32")[0], sound[0])


@pytest.mark.parametrize(
    ("cause", "free", "kind"),
    [
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), 2**30, "no_space"),
        (OSError(errno.ESTALE, os.strerror(errno.ESTALE)), 2**30, "system"),
        (soundfile.SoundFileRuntimeError("System error."), 0, "no_space"),
        (soundfile.SoundFileRuntimeError("Format not recognised."), 2**30, "cannot_write"),
        (None, 2**30, "cannot_write"),
    ],
)
def test_whose_fault_it_is_that_a_clip_cannot_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: Exception | None, free: int, kind: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**30, 2**30 - free, free))
    with pytest.raises((MediaError, SystemFaultError)) as raised, storing(tmp_path / "a.mp4"):
        raise MediaError("a.mp4 cannot be stored.", kind="cannot_write") from cause
    assert (raised.value.kind, raised.value.exit_code) == (kind, 2 if kind == "cannot_write" else 3)
