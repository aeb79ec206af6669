"""Putting a generated clip into the run's folder: encoded here, or as the program's own finished files."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from javisbench.durable import atomic_path, disk_trouble
from javisbench.errors import MediaError, RunError
from javisbench.tasks import TASKS, Task

if TYPE_CHECKING:
    from javisbench.clip import Clip

_FULL_BYTES = 2**20
_HEAD_BYTES = 4096
_PEAK_TIME = 12  # behind the chunk's name, its size and its version


def place_clip(clip: Clip, files: Mapping[str, str], video: Path, audio: Path, task: Task = "t2av") -> None:
    """Store a clip as `video` (mp4) and `audio` (wav), the sound first; only what is the model's for the task.

    Args:
        clip: its media; without `files` they are encoded.
        files: ``video``: a finished mp4, which is moved as it is; ``audio``: a wav that goes with it. An mp4 alone
            gets its own track, decoded, as a lossless wav.
        video: where the mp4 goes.
        audio: where the wav goes; one from before is removed when the clip has no sound.
        task: with a given picture only the sound is stored, with a given sound only the picture.

    Raises:
        MediaError: the clip cannot be encoded.
        RunError: full disk, or a folder that may not be written.
    """
    from javisbench.media import write_clip, write_sound

    facts = TASKS[task]
    if not facts.makes_sound:
        clip, files = replace(clip, audio=None, sample_rate=None), {}
    if not facts.makes_picture:
        files = {kind: path for kind, path in files.items() if kind == "audio"}
        video.unlink(missing_ok=True)
        if files:
            _move(Path(files["audio"]), audio)
            return
    if "video" not in files:
        with storing(video):
            if facts.makes_picture:
                write_clip(clip, video, audio)
            else:
                write_sound(clip, audio)
        return
    if "audio" in files:
        _move(Path(files["audio"]), audio)
    elif clip.audio is None or clip.sample_rate is None:
        audio.unlink(missing_ok=True)
    else:
        import soundfile

        with atomic_path(audio) as temporary:
            # Floats, because the decoded track is none of 16 bits.
            soundfile.write(os.fsencode(temporary), clip.audio.T, clip.sample_rate, subtype="FLOAT", format="WAV")
            _forget_time(temporary)
    _move(Path(files["video"]), video)


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Inside, a clip that cannot be stored because of the disk is not called one that cannot be stored.

    Raises:
        RunError: full disk, or a folder that may not be written.
        MediaError: the clip is at fault.
    """
    try:
        yield
    except MediaError as error:
        raise _disk_trouble(error, path) or error from error.__cause__


def _forget_time(wav: Path) -> None:
    """Set the moment to nothing that libsndfile notes beside the peaks of floats: equal sounds are equal files."""
    with wav.open("r+b") as file:
        head = file.read(_HEAD_BYTES)
        peaks = head.find(b"PEAK")
        if 0 <= peaks < head.find(b"data"):
            file.seek(peaks + _PEAK_TIME)
            file.write(bytes(4))


def _disk_trouble(error: MediaError, video: Path) -> RunError | None:
    cause: BaseException | None = error.__cause__
    # Audio libraries do not say why a write failed.
    if cause is not None and shutil.disk_usage(video.parent).free < _FULL_BYTES:
        cause = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return disk_trouble(cause, video)


def _move(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.move(source, temporary)
