"""Which file belongs to which sample."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from javisbench.errors import SystemFaultError, UsageError
from javisbench.media import ClipSource, sidecar_for
from javisbench.media.source import VIDEO_SUFFIXES
from javisbench.places import Cache, PlaceError, gather, named
from javisbench.suite import Sample, Suite
from javisbench.suite_folder import REPEAT_NAME, videos_in
from javisbench.suite_rows import read_table
from javisbench.system_faults import Places

_REPEAT = re.compile(r"[0-9]{0,4}")
_VIDEO_FOLDER, _SOUND_FOLDER = "video", "audio"
"""Of clips whose pictures and sounds lie apart, each sorted into folders."""


@dataclass(frozen=True)
class Item:
    """One clip to score: a sample's repeat and its files; `source` is None when the clip is missing."""

    sample: Sample
    repeat: int
    source: ClipSource | None

    @property
    def label(self) -> str:
        """``sample_id``, with the repeat when it is not the first."""
        return self.sample.id if self.repeat == 0 else f"{self.sample.id}-{self.repeat}"


@dataclass(frozen=True)
class Matched:
    """A folder's files matched to a suite.

    Attributes:
        items: one a sample and repeat, in suite order.
        extra: video files that belong to no sample.
        how: ``id``, ``name``, ``index``, ``manifest`` or ``suite``.
        places: the folders of the files as they were found, to tell later whether one has gone.
    """

    items: tuple[Item, ...]
    extra: tuple[Path, ...]
    how: str
    places: Places = field(default_factory=Places, compare=False)

    def __post_init__(self) -> None:
        self.places.add(file for item in self.items if item.source is not None for file in item.source.files)

    @property
    def missing(self) -> tuple[str, ...]:
        """Labels of samples without a clip."""
        return tuple(item.label for item in self.items if item.source is None)

    @property
    def repeats(self) -> int:
        """How many clips a sample should have."""
        return 1 + max((item.repeat for item in self.items), default=0)

    def of_shard(self, index: int, count: int) -> Matched:
        """The items of every `count`-th row, from row `index`."""
        return replace(self, items=tuple(item for item in self.items if item.sample.index % count == index))


def clip_name(sample_id: str, repeat: int) -> str:
    """File stem of a clip: the sample's id, then ``-1``, ``-2`` for further repeats."""
    return sample_id if repeat == 0 else f"{sample_id}-{repeat}"


def match_clips(
    folder: Path | None, suite: Suite, *, manifest: Path | None = None, repeats: int | None = None
) -> Matched:
    """Match clips made elsewhere: those of a folder, or of the suite's ``pred_video_path`` column for None.

    Arguments and errors are those of `match_folder` and `match_paths`.

    Raises:
        SystemFaultError: the folder vanished meanwhile: clips seem to be missing, or to have no sound beside them.
    """
    if folder is None:
        return match_paths(suite, "pred_video_path")
    listed = folder / "listed"
    places = Places([listed])
    matched = match_folder(folder, suite, manifest=manifest, repeats=repeats)
    if fault := places.lost(listed):
        raise SystemFaultError(f"Clips cannot be matched: {fault.reason}. Run the same command again when it is back.")
    return matched


def match_folder(folder: Path, suite: Suite, *, manifest: Path | None = None, repeats: int | None = None) -> Matched:
    """Match the clips of a folder to the suite's samples.

    By the manifest when given; else by sample id, or a name that the suite's own programs give its clip, where any file
    bears one; else by ``sample_%04d`` of the row.

    Args:
        folder: holds the clips. Sub-folders are searched only for a suite whose own programs sort clips into some.
        suite: whose samples are wanted.
        manifest: CSV with columns ``id``, ``video`` and optionally ``audio`` and ``repeat``, paths relative to it.
        repeats: how many clips a sample should have; None for as many as any sample has.

    Raises:
        UsageError: no folder, no video in it, a bad manifest, or not one match.
    """
    if manifest is not None:
        _check_folder(folder)
        found, how = _by_manifest(manifest, suite), "manifest"
        extra: list[Path] = []
    else:
        videos = _videos(folder, suite)
        found, extra, how = _by_name(videos, suite)
        if not found:
            raise UsageError(
                f"No file in {named(folder)} belongs to a sample of {suite.name}: {videos[0].name} is neither a sample "
                f"id (such as {suite.samples[0].id}) nor sample_%04d of a row. Rename the files, or give --manifest."
            )
    count = repeats or 1 + max((repeat for _, repeat in found), default=0)
    items = tuple(Item(sample, repeat, found.get((sample.id, repeat))) for sample in suite for repeat in range(count))
    return Matched(items, tuple(extra), how)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"{named(folder)} is not a folder of clips.")


def clips_of(folder: Path, such_as: str = "sample_0000") -> list[Path]:
    """The clips of a folder that must have some, by name.

    Args:
        folder: holds the clips.
        such_as: an id that a clip could be named after.

    Raises:
        UsageError: no folder, or no video in it.
    """
    _check_folder(folder)
    videos = videos_in(folder)
    if not videos:
        raise UsageError(
            f"{named(folder)} holds no video ({', '.join(VIDEO_SUFFIXES)}). Clips are named by sample id or row: "
            f"{such_as}.mp4."
        )
    return videos


def match_generated(folder: Path, suite: Suite, repeats: int) -> Matched:
    """The clips that this package generated into `folder`: those with a sidecar, which is written last.

    Unlike in folders of other origin, none at all is no mistake: every clip may have failed.
    """
    items = []
    for sample in suite:
        for repeat in range(repeats):
            video = folder / f"{clip_name(sample.id, repeat)}.mp4"
            made = video.with_name(f"{clip_name(sample.id, repeat)}.json").is_file()
            items.append(Item(sample, repeat, _source(sample.id, video, None) if made else None))
    return Matched(tuple(items), (), "id")


def match_paths(suite: Suite, column: str = "path") -> Matched:
    """The clips that the suite's own columns name: ``path`` (real clips) or ``pred_video_path``.

    Raises:
        UsageError: the suite has no such column.
    """
    audio_column = {"path": "audio_path", "pred_video_path": "pred_audio_path"}[column]
    items = []
    _list_elsewhere(suite, column)
    for sample in suite:
        video, audio = getattr(sample, column), getattr(sample, audio_column)
        items.append(Item(sample, 0, None if video is None else _source(sample.id, video, audio)))
    if all(item.source is None for item in items):
        raise UsageError(f"The suite {suite.name} has no column {column!r} with paths of clips.")
    return Matched(tuple(items), (), "suite")


def _source(sample_id: str, video: Path, audio: Path | None) -> ClipSource:
    return ClipSource(sample_id, video, audio if audio is not None else sidecar_for(video), Cache.of(video))


def _list_elsewhere(suite: Suite, column: str) -> None:
    """Let the folders of the suite's clips that lie elsewhere have their names here, so that sounds are found."""
    cache = Cache.from_environment()
    paths = (getattr(sample, column) for sample in suite)
    for folder in dict.fromkeys(path.parent for path in paths if path is not None):
        url = cache.url_of(folder)
        # The page of a web server need not be a listing.
        if url is None or url.startswith("http"):
            continue
        try:
            gather(url, cache)
        except PlaceError as error:
            if error.kind != "not_found":
                raise


def _videos(folder: Path, suite: Suite) -> list[Path]:
    """The clips of a folder, and those of its folders where the suite's own programs sort clips into some.

    Raises:
        UsageError: no folder, or no video in it.
    """
    _check_folder(folder)
    inside = {name.rpartition("/")[0] for sample in suite for name in sample.clip_names} - {""}
    root = folder / _VIDEO_FOLDER if inside and (folder / _VIDEO_FOLDER).is_dir() else folder
    sorted_in = [video for name in sorted(inside) if (root / name).is_dir() for video in videos_in(root / name)]
    return [*videos_in(root), *sorted_in] if sorted_in else clips_of(root, such_as=suite.samples[0].id)


def _by_name(videos: Iterable[Path], suite: Suite) -> tuple[dict[tuple[str, int], ClipSource], list[Path], str]:
    videos = list(videos)
    ids = {sample.id: sample for sample in suite}
    names = {**_own_names(suite), **ids}
    by_index = {sample.index_name: sample for sample in suite}
    how = next(
        (how for how, known in (("id", ids), ("name", names)) if any(_of_file(path, known) for path in videos)), "index"
    )
    found: dict[tuple[str, int], ClipSource] = {}
    extra: list[Path] = []
    for path in videos:
        match = _of_file(path, by_index if how == "index" else names)
        if match is None or (match[0].id, match[1]) in found:
            extra.append(path)
        else:
            found[match[0].id, match[1]] = _source(match[0].id, path, _sound_beside_folders(path))
    _check_counted_from_one(suite, names, extra, how)
    return found, extra, how


def _own_names(suite: Suite) -> dict[str, Sample]:
    """Names that the suite's own programs give clips; what two samples would share is neither's."""
    found: dict[str, Sample] = {}
    shared = set()
    for sample in suite:
        for name in map(_composed, sample.clip_names):
            if found.setdefault(name, sample) is not sample:
                shared.add(name)
    return {name: sample for name, sample in found.items() if name not in shared}


def _composed(name: str) -> str:
    """The name with letters and their accents in one: some file systems take them apart."""
    return unicodedata.normalize("NFC", name)


def _of_file(path: Path, names: Mapping[str, Sample]) -> tuple[Sample, int] | None:
    """The sample and repeat of a file: by its folder and stem where the names have folders, else by its stem."""
    stem = _composed(path.stem)
    return _lookup(f"{_composed(path.parent.name)}/{stem}", names) or _lookup(stem, names)


def _sound_beside_folders(video: Path) -> Path | None:
    """The sound of ``video/CLASS/NAME.mp4`` in ``audio/CLASS``, where it is not beside the video."""
    root = video.parent.parent
    if root.name != _VIDEO_FOLDER or sidecar_for(video) is not None:
        return None
    return sidecar_for(root.with_name(_SOUND_FOLDER) / video.parent.name / video.name)


def _check_counted_from_one(suite: Suite, names: Mapping[str, Sample], extra: Iterable[Path], how: str) -> None:
    """Refuse ``sample_0000`` for a suite that counts from 1: the other clips would each be taken for the one before."""
    first = f"sample_{0:04d}"
    if how == "index" or first in names or not any(sample.clip_names for sample in suite):
        return
    if any(path.stem == first for path in extra) and suite.samples[-1].index_name in names:
        raise UsageError(
            f"The clips seem to be counted from 0 ({first}), and {suite.name} counts from 1 ({suite.samples[0].id}). "
            "Rename the files, or say with --manifest which clip is whose."
        )


def _lookup(stem: str, names: Mapping[str, Sample]) -> tuple[Sample, int] | None:
    if stem in names:
        return names[stem], 0
    repeat = REPEAT_NAME.fullmatch(stem)
    if repeat and repeat[1] in names and 0 < int(repeat[2]) < 10000:
        return names[repeat[1]], int(repeat[2])
    return None


def _by_manifest(manifest: Path, suite: Suite) -> dict[tuple[str, int], ClipSource]:
    by_id = {sample.id: sample for sample in suite}
    found: dict[tuple[str, int], ClipSource] = {}
    rows_of: dict[tuple[str, int], int] = {}
    table = read_table(manifest, "video")
    if table.problems:
        raise UsageError(f"The manifest {manifest} cannot be used: {table.problems[0]}")
    folder = manifest.resolve().parent
    for number, row in enumerate(table.rows, start=1):
        sample_id, video, audio, repeat = (row.get(column, "") for column in ("id", "video", "audio", "repeat"))
        if not sample_id or not video or not _REPEAT.fullmatch(repeat):
            raise UsageError(
                f"{manifest}: row {number} needs the columns id and video (and may have audio and repeat, a number)."
            )
        if "\0" in video + audio:
            raise UsageError(f"{manifest}: row {number} names a file with a NUL character in it.")
        if sample_id not in by_id:
            continue
        place = sample_id, int(repeat or 0)
        if place in found:
            raise UsageError(f"{manifest}: rows {rows_of[place]} and {number} are the same clip of {sample_id}.")
        rows_of[place] = number
        found[place] = _source(sample_id, folder / video, folder / audio if audio else None)
    if not found:
        raise UsageError(f"No row of {manifest} names a sample of {suite.name} in its column id.")
    return found
