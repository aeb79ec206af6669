"""The clips that a site publishes: copied, with their sound in them.

A sound that lies beside its video is written into the copy, or browsers would play the clip without it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from javisbench.errors import MediaError
from javisbench.leaderboard.given import GivenMedia
from javisbench.media import ClipJoiner, ClipSource
from javisbench.places import held

if TYPE_CHECKING:
    from javisbench.results.run_folder import StoredResult

ClipsPublished: TypeAlias = Literal["none", "extremes", "all"]
Files: TypeAlias = Mapping[str, str]
"""Paths of a clip from the result's data folder: ``video``, and ``audio`` where its sound could not be joined."""

SHARED = 12
"""Prompts whose clips every model publishes, beside its best and worst, so that some can be seen side by side."""
VIDEO_SUFFIXES = (".mp4", ".webm", ".m4v", ".mov", ".mkv", ".avi")
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".m4a")
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class ClipPublisher:
    """Copies clips into a site, each file once, also where several results were made of it.

    Use it as a context manager.

    Args:
        data: the site's folder with one folder a result.
        published: which clips are copied.
        results: of the site.
        given: by `suite_key`, what suites give to models that make one stream alone: copied into their clips.
    """

    def __init__(
        self,
        data: Path,
        published: ClipsPublished,
        results: Sequence[StoredResult],
        given: Mapping[tuple[str, str], GivenMedia] | None = None,
    ) -> None:
        self._data = data
        self._published = published
        self._shared = shared_clips(results) if published == "extremes" else {}
        self._given = given or {}
        self._done: dict[tuple[Path, str], dict[str, Path]] = {}
        self._joiner = ClipJoiner()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._joiner.__exit__(kind, error, traceback)

    def publish(
        self, result: StoredResult, name: str, clips: Mapping[str, str], extremes: Iterable[str]
    ) -> dict[str, Files]:
        """Copy a result's clips.

        Args:
            result: whose clips they are.
            name: of the result's folder in ``data``.
            clips: all of them, with their samples' ids.
            extremes: the best and worst.

        Returns:
            clip to its files.
        """
        if self._published == "none" or result.clips is None:
            return {}
        wanted = set(clips)
        if self._published == "extremes":
            wanted &= {*extremes, *self._shared.get(suite_key(result), ())}
        media = media_of(result.clips)
        given = self._given.get(suite_key(result))
        found: dict[str, Files] = {}
        for clip in sorted(wanted & media.keys()):
            key = (result.clips, clip)
            if key not in self._done:
                whole = None if given is None else given.joined(clips[clip], media[clip])
                folder = self._data / name / "clips"
                self._done[key] = dict(copied_clip(self._joiner, media[clip], folder, clip, whole))
            found[clip] = {
                kind: Path(os.path.relpath(path, self._data / name)).as_posix()
                for kind, path in self._done[key].items()
            }
        return found


def copied_clip(
    joiner: ClipJoiner, files: Mapping[str, Path], folder: Path, stem: str, whole: Mapping[str, Path] | None = None
) -> Iterator[tuple[str, Path]]:
    """Copy a clip into a folder, as `stem` and a suffix: its files by kind, a sound beside it joined into it.

    Args:
        joiner: writes picture and sound into one file.
        files: of the clip by kind.
        folder: made where it is not there.
        stem: of the copies.
        whole: picture and sound to be joined in place of `files`, one of them given by the suite. Where that fails,
            `files` are copied and what was given is not: the sound of a suite's video is not the model's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        parts = files if whole is None else whole
        if len(parts) == 2:
            target = folder / f"{stem}.mp4"
            try:
                here = {kind: stack.enter_context(held(path)) for kind, path in parts.items()}
                joiner.join(ClipSource(stem, here["video"], here["audio"]), target)
                yield "video", target
                return
            except MediaError as error:
                if error.kind == "worker_start":
                    raise
                # What mp4 cannot hold, or what cannot be read, is published as it is: the page plays both files.
                target.unlink(missing_ok=True)
        for kind, path in files.items():
            target = folder / f"{stem}{path.suffix}"
            shutil.copyfile(stack.enter_context(held(path)), target, follow_symlinks=False)
            yield kind, target


def suite_key(result: StoredResult) -> tuple[str, str]:
    """What results on the same prompts share."""
    return result.suite, result.suite_hash


def shared_clips(results: Iterable[StoredResult]) -> dict[tuple[str, str], Collection[str]]:
    """For each suite, some clips that all of its models have, evenly spread over them in the order of their names."""
    having: dict[tuple[str, str], list[set[str]]] = defaultdict(list)
    for result in results:
        if result.clips is not None:
            having[suite_key(result)].append(set(media_of(result.clips)))
    found: dict[tuple[str, str], Collection[str]] = {}
    for key, sets in having.items():
        common = sorted(set.intersection(*sets))
        count = min(SHARED, len(common))
        found[key] = {common[i * len(common) // count] for i in range(count)}
    return found


def media_of(folder: Path) -> dict[str, dict[str, Path]]:
    """Clip to its files: plain media files with harmless names; never what a link points to."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        if not _SAFE_ID.fullmatch(path.name) or path.is_symlink() or not path.is_file():
            continue
        for kind, suffixes in (("video", VIDEO_SUFFIXES), ("audio", AUDIO_SUFFIXES)):
            if path.suffix.lower() in suffixes:
                found.setdefault(path.stem, {})[kind] = path
    return found
