"""Which file belongs to which sample; where a suite gives the picture or the sound, the other half is the model's."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from javisbench.errors import SystemFaultError, UsageError
from javisbench.media import ClipSource, sidecar_for
from javisbench.media.source import SIDECAR_SUFFIXES, VIDEO_SUFFIXES
from javisbench.places import Cache, PlaceError, gather, named
from javisbench.suite import Sample, Suite
from javisbench.suite_folder import REPEAT_NAME, sounds_in, videos_in
from javisbench.suite_rows import read_table
from javisbench.system_faults import Places
from javisbench.tasks import TASKS, Task, TaskFacts

_REPEAT = re.compile(r"[0-9]{0,4}")
_VIDEO_FOLDER, _SOUND_FOLDER = "video", "audio"
"""Of clips whose pictures and sounds lie apart, each sorted into folders."""


@dataclass(frozen=True, slots=True)
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
    def sources(self) -> tuple[ClipSource, ...]:
        """The clips that are there."""
        return tuple(item.source for item in self.items if item.source is not None)

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

    Where the suite gives the picture, the folder holds sounds (or videos, whose sound alone counts), and each stands
    with the suite's video; where it gives the sound, the folder holds videos, whose own sound does not count.

    By the manifest when given; else by sample id, or a name that the suite's own programs give its clip, where any file
    bears one; else by ``sample_%04d`` of the row.

    Args:
        folder: holds the clips. Sub-folders are searched only for a suite whose own programs sort clips into some.
        suite: whose samples are wanted.
        manifest: CSV with columns ``id``, ``video`` and optionally ``audio`` and ``repeat``, paths relative to it; for
            sounds alone ``id`` and ``audio``.
        repeats: how many clips a sample should have; None for as many as any sample has.

    Raises:
        UsageError: no folder, no video in it, a bad manifest, or not one match.
    """
    if manifest is not None:
        _check_folder(folder)
        found, how = _by_manifest(manifest, suite), "manifest"
        extra: list[Path] = []
    else:
        files = _files(folder, suite)
        found, extra, how = _by_name(files, suite)
        if not found:
            raise UsageError(
                f"No file in {named(folder)} belongs to a sample of {suite.name}: {files[0].name} is neither a sample "
                f"id (such as {suite.samples[0].id}) nor sample_%04d of a row. Rename the files, or give --manifest."
            )
    count = repeats or 1 + max((repeat for _, repeat in found), default=0)
    items = tuple(Item(sample, repeat, found.get((sample.id, repeat))) for sample in suite for repeat in range(count))
    return Matched(items, tuple(extra), how)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"{named(folder)} is not a folder of clips.")


def clips_of(folder: Path, such_as: str = "sample_0000", task: Task = "t2av") -> list[Path]:
    """The clips of a folder that must have some, by name; the sounds, for a task whose picture is given.

    Args:
        folder: holds the clips.
        such_as: an id that a clip could be named after.
        task: what the model was to make.

    Raises:
        UsageError: no folder, or nothing of the kind in it.
    """
    _check_folder(folder)
    with_picture = TASKS[task].makes_picture
    files = videos_in(folder) if with_picture else sounds_in(folder)
    if not files:
        what, suffixes = ("video", VIDEO_SUFFIXES) if with_picture else ("sound", SIDECAR_SUFFIXES)
        raise UsageError(
            f"{named(folder)} holds no {what} ({', '.join(suffixes)}). Clips are named by sample id or row: "
            f"{such_as}{suffixes[0]}."
        )
    return files


def match_generated(folder: Path, suite: Suite, repeats: int) -> Matched:
    """The clips that this package generated into `folder`: those with a sidecar, which is written last.

    Unlike in folders of other origin, none at all is no mistake: every clip may have failed.
    """
    facts = suite.task_facts
    items = (generated_item(folder, sample, repeat, facts) for sample in suite for repeat in range(repeats))
    return Matched(tuple(items), (), "id")


def generated_item(folder: Path, sample: Sample, repeat: int, facts: TaskFacts) -> Item:
    """One clip that this package generated into `folder`, or has not."""
    file = folder / f"{clip_name(sample.id, repeat)}{'.mp4' if facts.makes_picture else '.wav'}"
    made = file.with_name(f"{clip_name(sample.id, repeat)}.json").is_file()
    return Item(sample, repeat, _made(sample, file, None, facts) if made else None)


def match_paths(suite: Suite, column: str = "path") -> Matched:
    """The clips that the suite's own columns name: ``path`` (real clips) or ``pred_video_path``.

    Where the suite gives the picture, a row without ``path`` has its ``video`` as the real clip, with the sound in it
    (or beside it) unless ``audio_path`` names another; and ``pred_audio_path`` alone names the model's sound. Where it
    gives the sound, a row without ``path`` has its ``audio``, if that is a video.

    Raises:
        UsageError: the suite has no such column.
    """
    _list_elsewhere(suite, column)
    find = _real if column == "path" else _predicted
    items = tuple(Item(sample, 0, find(sample, suite.task_facts)) for sample in suite)
    if all(item.source is None for item in items):
        names = column if column == "path" or suite.task_facts.makes_picture else "pred_audio_path"
        raise UsageError(f"The suite {suite.name} has no column {names!r} with paths of clips.")
    return Matched(items, (), "suite")


def _real(sample: Sample, facts: TaskFacts) -> ClipSource | None:
    video = sample.path
    if video is None and not facts.makes_picture:
        video = sample.video
    if video is None and not facts.makes_sound and sample.audio is not None:
        video = sample.audio if sample.audio.suffix.lower() in VIDEO_SUFFIXES else None
    return None if video is None else _source(sample.id, video, sample.audio_path)


def _predicted(sample: Sample, facts: TaskFacts) -> ClipSource | None:
    file, audio = sample.pred_video_path, sample.pred_audio_path
    if not facts.makes_picture:
        file = audio or file
    return None if file is None else _made(sample, file, audio, facts)


def _made(sample: Sample, file: Path, audio: Path | None, facts: TaskFacts) -> ClipSource | None:
    """The clip of a sample: the model's file, with the half that the suite gives; None where it gives nothing.

    Args:
        sample: the row.
        file: the model's video, or its sound where the picture is given.
        audio: a sound file that was named for it, or None.
        facts: the suite's task.
    """
    if facts.makes_both:
        return _source(sample.id, file, audio)
    video, sound = (file, sample.audio) if facts.makes_picture else (sample.video, audio or file)
    if video is None or sound is None:
        return None
    return ClipSource(sample.id, video, sound, Cache.of(video) or Cache.of(sound))


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


def _files(folder: Path, suite: Suite) -> list[Path]:
    """What a model made, of a folder and of its folders where the suite's own programs sort clips into some.

    Raises:
        UsageError: no folder, or nothing of the kind in it.
    """
    _check_folder(folder)
    inside = {name.rpartition("/")[0] for sample in suite for name in sample.clip_names} - {""}
    root = folder / _VIDEO_FOLDER if inside and (folder / _VIDEO_FOLDER).is_dir() else folder
    listed = videos_in if suite.task_facts.makes_picture else sounds_in
    sorted_in = [file for name in sorted(inside) if (root / name).is_dir() for file in listed(root / name)]
    return [*listed(root), *sorted_in] if sorted_in else clips_of(root, suite.samples[0].id, suite.task)


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
    facts = suite.task_facts
    for path in videos:
        match = _of_file(path, by_index if how == "index" else names)
        if match is None or (facts.makes_picture and (match[0].id, match[1]) in found):
            extra.append(path)
        elif (match[0].id, match[1]) not in found:
            sound = _sound_beside_folders(path) if facts.makes_both else None
            if (source := _made(match[0], path, sound, facts)) is not None:
                found[match[0].id, match[1]] = source
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
    # Beginnings of names end in a star, and what they stand for in an underscore.
    beginnings = (f"{stem[:end]}*" for end, letter in enumerate(stem, start=1) if letter == "_")
    return next(((names[beginning], 0) for beginning in beginnings if beginning in names), None)


def _by_manifest(manifest: Path, suite: Suite) -> dict[tuple[str, int], ClipSource]:
    by_id = {sample.id: sample for sample in suite}
    found: dict[tuple[str, int], ClipSource] = {}
    rows_of: dict[tuple[str, int], int] = {}
    facts = suite.task_facts
    main = "video" if facts.makes_picture else "audio"
    table = read_table(manifest, main)
    if table.problems:
        raise UsageError(f"The manifest {manifest} cannot be used: {table.problems[0]}")
    folder = manifest.resolve().parent
    for number, row in enumerate(table.rows, start=1):
        sample_id, video, audio, repeat = (row.get(column, "") for column in ("id", "video", "audio", "repeat"))
        if not sample_id or not row.get(main, "") or not _REPEAT.fullmatch(repeat):
            raise UsageError(
                f"{manifest}: row {number} needs the columns id and {main} (and may have "
                f"{'audio and ' if facts.makes_picture else ''}repeat, a number)."
            )
        if "\0" in video + audio:
            raise UsageError(f"{manifest}: row {number} names a file with a NUL character in it.")
        if sample_id not in by_id:
            continue
        place = sample_id, int(repeat or 0)
        if place in found:
            raise UsageError(f"{manifest}: rows {rows_of[place]} and {number} are the same clip of {sample_id}.")
        rows_of[place] = number
        sound = folder / audio if audio else None
        source = _made(by_id[sample_id], folder / video if facts.makes_picture else folder / audio, sound, facts)
        if source is not None:
            found[place] = source
    if not found:
        raise UsageError(f"No row of {manifest} names a sample of {suite.name} in its column id.")
    return found
