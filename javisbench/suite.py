"""Suites: the prompts of a benchmark, their categories, and the setting they ask clips for.

A suite is a name of this package (``demo``, ``javisbench``, ...), of an installed plugin (entry points
``javisbench.suites``), such a name with the folder of its data (``verse-bench:DIR``, `javisbench.suite_layouts`), a CSV
or JSONL file, or a folder of clips with their prompts beside them (``ID.txt``); file and folder may be URLs. Columns:
``text``; optional ``id``, ``audio_text``, ``video_text``, ``path``, ``audio_path``, ``pred_video_path``,
``pred_audio_path``, ``image``, ``video`` and ``audio`` (what is given to a model, by the suite's task) and ``cat0_ind``
to ``cat4_ind``: an index or a name, or several separated by commas or bars, of the categories of the taxonomy's five
aspects. Other columns can make slices: `Suite.sliced_by`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from javisbench.cards import SuiteCard, card_problems, suite_cards
from javisbench.clip import ClipSpec
from javisbench.errors import SuiteError, UsageError
from javisbench.media.source import GIVEN_SUFFIXES
from javisbench.own_aspects import MAX_OWN_ASPECTS, MAX_OWN_CATEGORIES, OwnColumn, own_aspects, slug, values_of
from javisbench.places import Cache, gather, holds_clips, is_table, is_url, located, named
from javisbench.places.urls import shown as shown_url
from javisbench.registry import Registry, did_you_mean
from javisbench.suite_folder import holds_prompts, read_folder
from javisbench.suite_layouts import SuiteLayout
from javisbench.suite_rows import MAX_TEXT_LENGTH, SUITE_SUFFIXES, Problem, Rows, kind_of, no_text, read_rows
from javisbench.suite_statement import Statement, statement_of
from javisbench.tasks import TASKS, Condition, TaskFacts
from javisbench.tasks import Task as Task
from javisbench.taxonomy import ASPECTS, TAXONOMY, Aspect
from javisbench.text import printable

MAX_ID_LENGTH = 128
MAX_NAME_LENGTH = 120
MISSING_WORDS = frozenset((
    "na", "n/a", "#na", "#n/a", "#n/a n/a", "<na>", "null", "none", "nat",
    "nan", "-nan", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan",
))  # fmt: skip
"""Words, in lower case, that tables are filled with where a cell was empty: what pandas reads as missing."""

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_CONDITIONS: tuple[Condition, ...] = get_args(Condition)
_PATH_COLUMNS = ("path", "audio_path", "pred_video_path", "pred_audio_path", *_CONDITIONS)
_TEXT_COLUMNS = ("text", "audio_text", "video_text")
_CATEGORY_COLUMNS = tuple(f"cat{number}_ind" for number in range(len(TAXONOMY)))
_KNOWN_COLUMNS = {"id", *_TEXT_COLUMNS, *_PATH_COLUMNS, *_CATEGORY_COLUMNS}
_NAMES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of a suite.

    Attributes:
        id: unique name, safe as a file name; ``sample_%04d`` by row when the suite gives none.
        index: row number in the whole suite, from 0.
        text: the prompt; empty in an unconditional suite.
        audio_text: prompt of the sound alone, or None.
        video_text: prompt of the picture alone, or None.
        categories: aspect id to the ids of the categories the sample is in (often several, possibly none).
        path: real video, or None.
        audio_path: real audio, or None (then it is taken from `path`).
        pred_video_path: a clip to score, or None.
        pred_audio_path: its audio, or None.
        image: a picture to begin with, given to models of ``i2av``, or None.
        video: the video that a sound is to be made for, given to models of ``v2a``, or None.
        audio: the sound that a picture is to be made for, given to models of ``a2v``, or None.
        extra: all other columns, as text.
        clip_names: further names, without suffix, that the suite's own programs give the sample's clip; ``ads/Tea`` in
            a folder ``ads``.
    """

    id: str
    index: int
    text: str
    audio_text: str | None = None
    video_text: str | None = None
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    path: Path | None = None
    audio_path: Path | None = None
    pred_video_path: Path | None = None
    pred_audio_path: Path | None = None
    image: Path | None = None
    video: Path | None = None
    audio: Path | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    clip_names: tuple[str, ...] = ()

    @property
    def prompts(self) -> dict[str, str]:
        """The prompts that the suite gives, by column."""
        given = {"text": self.text, "audio_text": self.audio_text, "video_text": self.video_text}
        return {name: text for name, text in given.items() if text}

    def cell(self, column: str) -> str:
        """What a prompt or an own column holds; empty where it holds nothing."""
        return self.prompts.get(column, "") or self.extra.get(column, "")

    @property
    def index_name(self) -> str:
        """``sample_%04d`` of the row, the reference evaluation's file name."""
        return f"sample_{self.index:04d}"


@dataclass(frozen=True)
class Suite:
    """Prompts with the setting they ask for.

    Attributes:
        name: as printed and stored.
        samples: in suite order (possibly a subset of the whole suite; `Sample.index` keeps the row).
        setting: what clips should be; None when the suite does not say, as files of prompts do not.
        unconditional: True when there are no prompts: text metrics are then not applicable.
        hash: SHA-256 over the whole suite's ids, prompts and categories of the taxonomy, before any `limit`.
        source: the file or card it came from.
        total: samples of the whole suite.
        columns: the whole suite's own columns by name; `sliced_by` makes aspects of them.
        own_aspects: aspects besides the taxonomy's; `Sample.categories` has their categories too.
        warnings: sentences about what is read but may not be meant.
        task: what is given to a model and what the model makes of it (`javisbench.tasks`).
    """

    name: str
    samples: tuple[Sample, ...]
    setting: ClipSpec | None
    unconditional: bool
    hash: str
    source: str
    total: int
    columns: Mapping[str, OwnColumn] = field(default_factory=dict)
    own_aspects: tuple[Aspect, ...] = ()
    warnings: tuple[str, ...] = ()
    task: Task = "t2av"

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @property
    def task_facts(self) -> TaskFacts:
        """What the task gives and what it wants made."""
        return TASKS[self.task]

    @property
    def setting_to_make(self) -> ClipSpec:
        """What a generator is asked for: the suite's setting, or JavisBench's where the suite states none."""
        return self.setting or ClipSpec()

    @property
    def aspects(self) -> tuple[Aspect, ...]:
        """The aspects that there are slices of: the taxonomy's, if any sample has categories of it, then the own."""
        sorted_in = any(aspect in ASPECTS for sample in self.samples for aspect in sample.categories)
        return (*(TAXONOMY if sorted_in else ()), *self.own_aspects)

    @property
    def unused_columns(self) -> tuple[str, ...]:
        """Own columns that make no slices."""
        used = {aspect.title for aspect in self.own_aspects}
        return tuple(column for column in self.columns if column not in used)

    def notices(self, used: Collection[str] = ()) -> tuple[str, ...]:
        """What a user should know before scoring: the warnings, and which columns are not used.

        Args:
            used: columns that a model reads.
        """
        unused = tuple(column for column in self.unused_columns if column not in used)
        if not unused:
            return self.warnings
        more = f" and {len(unused) - _NAMES_SHOWN} more" if len(unused) > _NAMES_SHOWN else ""
        names = ", ".join(printable(name)[:60] for name in unused[:_NAMES_SHOWN])
        return (*self.warnings, f"columns not used: {names}{more} (--slice-by COLUMN makes slices of one)")

    def limited(self, limit: int | None) -> Suite:
        """The first `limit` samples; the whole suite for None."""
        return self if limit is None else replace(self, samples=self.samples[:limit])

    def shard(self, index: int, count: int) -> Suite:
        """Every `count`-th sample, from row `index`; `Sample.index` keeps the row.

        Raises:
            UsageError: `index` is not below `count`.
        """
        if not 0 <= index < count:
            raise UsageError(f"A shard is (i, n) with i from 0 to n-1; got {(index, count)}.")
        return replace(self, samples=tuple(sample for sample in self if sample.index % count == index))

    def sliced_by(self, columns: Sequence[str]) -> Suite:
        """The suite with an aspect for each of these own columns, whose categories are the column's distinct values.

        A sample with an empty cell is in no category of the aspect. The hash stays: it tells what was asked of a model.
        Without a column the suite stays as it is.

        Raises:
            UsageError: there is no such column of the suite's own, it has too many distinct values, or there are too
                many columns.
        """
        if not columns:
            return self
        chosen = list(dict.fromkeys(columns))
        if len(chosen) > MAX_OWN_ASPECTS:
            raise UsageError(f"At most {MAX_OWN_ASPECTS} columns can make slices; got {len(chosen)}.")
        aspects = own_aspects({column: self._values(column) for column in chosen})
        samples = tuple(replace(sample, categories=_with_own(sample, aspects)) for sample in self.samples)
        return replace(self, samples=samples, own_aspects=aspects)

    def _values(self, column: str) -> tuple[str, ...]:
        known = self.columns.get(column)
        if known is None:
            has = f"it has {', '.join(map(printable, self.columns))}" if self.columns else "it has none"
            near = did_you_mean(column, self.columns)
            raise UsageError(f"{self.name} has no column {column!r} of its own to slice by ({has}).{near}")
        if known.distinct > MAX_OWN_CATEGORIES:
            raise UsageError(
                f"The column {column!r} of {self.name} has {known.distinct:,} distinct values; at most "
                f"{MAX_OWN_CATEGORIES} can be slices. Give a column with fewer, such as groups of them."
            )
        if not known.values:
            raise UsageError(f"The column {column!r} of {self.name} is empty: there is nothing to slice by.")
        return known.values

    def slices(self, rows: Iterable[Sample] | None = None) -> dict[tuple[str, str], list[int]]:
        """(aspect, category) to positions in `rows` (default: the samples); every category, also empty ones.

        A suite whose samples have no categories at all has no slices.
        """
        rows = list(self.samples if rows is None else rows)
        found: dict[tuple[str, str], list[int]] = {
            (aspect.id, category): [] for aspect in self.aspects for category in aspect.category_ids
        }
        for position, sample in enumerate(rows):
            for aspect, categories in sample.categories.items():
                for category in categories:
                    if (aspect, category) in found:
                        found[aspect, category].append(position)
        return found


def _with_own(sample: Sample, aspects: Iterable[Aspect]) -> dict[str, tuple[str, ...]]:
    """The sample's categories of the taxonomy, and of these aspects, which columns make."""
    found = {name: categories for name, categories in sample.categories.items() if name in ASPECTS}
    for aspect in aspects:
        values = values_of(sample.extra.get(aspect.title, ""))
        if values:
            found[aspect.id] = tuple(category.id for category in aspect.categories if category.title in values)
    return found


SUITES: Registry[Callable[[], Suite] | SuiteLayout] = Registry(
    "suite",
    "javisbench.suites",
    {
        "verse-bench": "javisbench.suite_layouts.verse_bench:WITH_PICTURES",
        "verse-bench-t2av": "javisbench.suite_layouts.verse_bench:FROM_TEXT",
        "t2av-compass": "javisbench.suite_layouts.t2av_compass:T2AV_COMPASS",
        "vabench": "javisbench.suite_layouts.vabench:FROM_TEXT",
        "vabench-i2av": "javisbench.suite_layouts.vabench:WITH_PICTURES",
        "avgen-bench": "javisbench.suite_layouts.avgen_bench:AVGEN_BENCH",
        "vggsound": "javisbench.suite_layouts.vggsound:MMAUDIO_LIST",
        "vggsound-full": "javisbench.suite_layouts.vggsound:OFFICIAL_LIST",
    },
    lambda name, found: None if callable(found) or isinstance(found, SuiteLayout) else "gives no Suite",
)
"""Suites that are read from a folder laid out as it is published, which cards of the same names describe, and those
that functions of other packages make. All others are cards alone."""


def known_suites() -> dict[str, str]:
    """Suite name to a one-line title: this package's, then those of installed plugins."""
    titles = {name: card.title for name, card in suite_cards().items()}
    for name in SUITES:
        plugin = SUITES.plugin(name)
        titles.setdefault(name, f"of the package {plugin.label if plugin else ''}")
    return titles


def suite_notices() -> list[str]:
    """What is wrong with the suites that other packages bring, a sentence each."""
    cards = suite_cards()
    taken = [
        (name, plugin)
        for name in SUITES
        if name in cards and not cards[name].in_folder and (plugin := SUITES.plugin(name)) is not None
    ]
    shadowed = [
        f"The suite {name!r} of the package {plugin.label} is left out: a card has it." for name, plugin in taken
    ]
    return [*card_problems("suites"), *SUITES.notices(), *shadowed]


def load_suite(spec: str, *, allow_outside: bool = False, offline: bool = False) -> Suite:
    """The suite called `spec`: a known name, the path of a CSV or JSONL file, or a folder of clips with ``ID.txt``.

    Args:
        spec: name or path; ``NAME:DIR`` for a published suite whose data lie in that folder.
        allow_outside: accept paths in the suite that leave its folder.
        offline: never ask the hub.

    Raises:
        SuiteError: the file has bad rows (all of them are listed) or cannot be had.
        UsageError: there is neither such a name nor such a file.
    """
    suite, problems = read_suite(spec, allow_outside=allow_outside, offline=offline)
    if suite is None:
        shown = [str(problem) for problem in problems[:50]]
        more = [f"... and {len(problems) - 50} more"] if len(problems) > 50 else []
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise SuiteError(f"The suite {_shown_spec(spec)} has {count}:", details=[*shown, *more])
    return suite


def read_suite(spec: str, *, allow_outside: bool = False, offline: bool = False) -> tuple[Suite | None, list[Problem]]:
    """Like `load_suite`, but returns the problems of a bad file instead of raising."""
    cards = suite_cards()
    if spec in cards:
        return _read_card(cards[spec], allow_outside=allow_outside, offline=offline)
    if published := published_at(spec):
        return _read_published(*published, allow_outside=allow_outside)
    if spec in SUITES:
        return _of_plugin(spec), []
    path = _here(spec)
    if not path.exists():
        raise UsageError(
            f"There is no suite {spec!r}, and no such file.{did_you_mean(spec, known_suites())} "
            f"Known suites: {', '.join(sorted(known_suites()))}; or give a .csv or .jsonl file."
        )
    try:
        stated = statement_of(path)
    except SuiteError as error:
        return None, [Problem(path.name, 0, "", error.message)]
    condition = TASKS[stated.task].condition
    if path.is_dir():
        if condition is None and not holds_prompts(path):
            raise UsageError(
                f"{named(path)} is a folder without prompts (ID.txt beside ID.mp4); a suite is a folder with them, a "
                f".csv or .jsonl file, or one of {', '.join(cards)}."
            )
        rows = read_folder(path, allow_outside=allow_outside, condition=condition)
        name = _name(path.resolve().name.removesuffix(".tar").removesuffix(".parquet"))
    else:
        rows, name = read_rows(path), _name(path.stem.lower())
    return _read(rows, path, name, stated, allow_outside=allow_outside)


def published_at(spec: str) -> tuple[SuiteCard, Path] | None:
    """The card and the folder that ``NAME:DIR`` names; None for any other spec."""
    name, colon, folder = spec.partition(":")
    card = suite_cards().get(name) if colon and folder else None
    return (card, Path(folder)) if card is not None and card.in_folder else None


def suites_in_folders() -> list[str]:
    """Names of the suites that are read from a folder laid out as it is published."""
    return [name for name, card in suite_cards().items() if card.in_folder]


def _shown_spec(spec: str) -> str:
    return shown_url(spec) if is_url(spec) else repr(spec)


def _here(spec: str) -> Path:
    """The file or folder of a suite; what lies elsewhere is brought: a table, or the names and prompts of clips."""
    if is_url(spec) and is_table(spec, SUITE_SUFFIXES):
        return Cache.from_environment().file(spec)
    return gather(spec, Cache.from_environment(), prompts=True) if holds_clips(spec) else Path(spec)


def _of_plugin(name: str) -> Suite:
    make = SUITES.get(name)
    with SUITES.guarded(name, "its function"):
        if isinstance(make, SuiteLayout):
            raise TypeError("it reads a folder, and has no card that says which")
        suite = make()
        if not isinstance(suite, Suite):
            raise TypeError(f"it gives a {type(suite).__name__}, no Suite")
    return suite


def _name(file_name: str) -> str:
    """The name of the suite in a file or folder that is called so: what results and terminals can hold."""
    return printable(file_name)[:MAX_NAME_LENGTH] or "suite"


def _read_card(card: SuiteCard, *, allow_outside: bool, offline: bool) -> tuple[Suite | None, list[Problem]]:
    if card.unconditional:
        samples = tuple(Sample(id=f"sample_{i:04d}", index=i, text="") for i in range(card.samples))
        total = len(samples)
        return Suite(card.name, samples, card.setting, True, suite_hash(samples), f"card {card.name}", total), []
    if card.in_folder:
        return _read_published(card, card.local_folder(), allow_outside=allow_outside)
    path = card.local_file(offline=offline)
    stated = Statement(card.task, card.setting)
    return _read(read_rows(path), path, card.name, stated, allow_outside=allow_outside)


def _read_published(card: SuiteCard, folder: Path, *, allow_outside: bool) -> tuple[Suite | None, list[Problem]]:
    """A suite from a folder laid out as it is published; numbers of samples that are not as stated are warnings."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder. Give the one that holds the data of {card.name}.")
    layout = SUITES.get(card.name)
    with SUITES.guarded(card.name, "reading its folder"):
        if not isinstance(layout, SuiteLayout):
            raise TypeError(f"it is a {type(layout).__name__}, no SuiteLayout, and its card names no file")
        rows = layout.read(folder, allow_outside=allow_outside)
    stated = Statement(card.task, card.setting)
    suite, problems = _read(rows, folder, card.name, stated, allow_outside=allow_outside)
    if suite is None:
        return None, problems
    suite = replace(
        suite,
        source=f"{card.name}:{folder.resolve()}",
        columns={name: column for name, column in suite.columns.items() if column.distinct},
        warnings=(*suite.warnings, *_other_counts(card, suite)),
    )
    return suite.sliced_by([name for name in layout.slices if name in suite.columns and suite.columns[name].values]), []


def _other_counts(card: SuiteCard, suite: Suite) -> Iterator[str]:
    """A sentence for each number of samples that is not what the suite's source states."""
    if len(suite) != card.samples:
        yield f"{card.samples:,} samples expected, {len(suite):,} found"
    for column, stated in card.counts.items():
        found = Counter(value for sample in suite for value in values_of(sample.extra.get(column, "")))
        wrong = [
            f"{value} {count:,} expected, {found[value]:,} found"
            for value, count in stated.items()
            if found[value] != count
        ]
        if wrong:
            yield f"column {column}: {'; '.join(wrong)}"


def _read(
    rows: Rows, path: Path, name: str, stated: Statement, *, allow_outside: bool
) -> tuple[Suite | None, list[Problem]]:
    """The suite of some rows; `path` is the file or folder that they came from."""
    if rows.problems:
        return None, rows.problems
    folder = path.resolve() if path.is_dir() else path.resolve().parent
    reader = _RowReader(rows, folder, allow_outside, TASKS[stated.task])
    samples = tuple(reader.sample(index, row) for index, row in enumerate(rows.rows))
    reader.check_columns()
    reader.check_unique(samples)
    if not samples:
        rows.problem(None, "", "no rows; a suite needs at least one prompt")
    if rows.problems:
        return None, rows.problems
    own = [column for column in rows.columns if column not in _KNOWN_COLUMNS]
    columns = {column: OwnColumn.of(sample.extra.get(column, "") for sample in samples) for column in own}
    return Suite(
        name=name,
        samples=samples,
        setting=stated.setting,
        unconditional=False,
        hash=suite_hash(samples, stated.task, folder),
        source=located(path) if Cache.of(path) else str(path),
        total=len(samples),
        columns=columns,
        warnings=(*rows.warnings, *reader.warnings()),
        task=stated.task,
    ), []


def suite_hash(samples: Iterable[Sample], task: Task = "t2av", folder: Path | None = None) -> str:
    """SHA-256 over ids, prompts and the taxonomy's categories of all samples, in order.

    Where the task gives something besides the prompt: of the task, too, and of where it lies in the suite's folder.
    """
    digest = hashlib.sha256()
    condition = TASKS[task].condition
    if condition is not None:
        digest.update(json.dumps(["task", task]).encode() + b"\n")
    for sample in samples:
        categories = {
            aspect: sorted(ids) for aspect, ids in sorted(sample.categories.items()) if ids and aspect in ASPECTS
        }
        row: list[Any] = [sample.id, sample.text, sample.audio_text, sample.video_text, categories]
        if condition is not None:
            row.append(_within(getattr(sample, condition), folder))
        digest.update(json.dumps(row, ensure_ascii=True).encode() + b"\n")
    return digest.hexdigest()


def _within(path: Path | None, folder: Path | None) -> str | None:
    """A path from the suite's folder; the name alone of one that lies elsewhere."""
    if path is None or folder is None or not path.is_relative_to(folder):
        return None if path is None else path.name
    return path.relative_to(folder).as_posix()


@dataclass
class _Count:
    """Cells of a column that deserve a warning: how many, the first place, and what they held."""

    cells: int = 0
    first: str = ""
    words: dict[str, None] = field(default_factory=dict)

    def add(self, place: str, word: str = "") -> None:
        self.cells += 1
        self.first = self.first or place
        if len(self.words) < _NAMES_SHOWN:
            self.words[word] = None


class _RowReader:
    """Turns raw rows into samples and gathers everything that is wrong, or may be, on the way."""

    def __init__(self, rows: Rows, folder: Path, allow_outside: bool, task: TaskFacts) -> None:
        self._rows = rows
        self._task = task
        self._folder = folder
        self._allow_outside = allow_outside
        self._cache = Cache.from_environment()
        self._elsewhere = self._cache.url_of(folder) is not None
        self._alike: dict[tuple[tuple[str, tuple[str, ...]], ...], Mapping[str, tuple[str, ...]]] = {}
        self._missing: dict[str, _Count] = {}
        self._controls: dict[str, _Count] = {}

    def sample(self, index: int, row: Mapping[str, Any]) -> Sample:
        given, row = row, self._proper(index, row)
        texts = {column: self._text(index, column, row) for column in _TEXT_COLUMNS}
        if not texts["text"] and self._rows.needs_text and self._task.condition is None:
            self._problem(index, "text", "empty; every row needs a prompt")
        paths = {column: self._path(index, column, row) for column in _PATH_COLUMNS}
        self._check_given(index, given, paths)
        return Sample(
            id=self._id(index, row),
            index=index,
            text=texts["text"] or "",
            audio_text=texts["audio_text"],
            video_text=texts["video_text"],
            categories=self._categories(index, row),
            extra={
                column: _as_text(value)
                for column, value in row.items()
                if column not in _KNOWN_COLUMNS and value is not None
            },
            clip_names=self._rows.clip_names[index] if self._rows.clip_names else (),
            **paths,
        )

    def _check_given(self, index: int, row: Mapping[str, Any], paths: Mapping[str, Path | None]) -> None:
        """The row has what its task gives, as a file of the kind; whether it can be read is seen later."""
        column = self._task.condition
        if column is None:
            return
        path = paths[column]
        if path is None:
            if row.get(column) in (None, ""):  # else what is wrong with it is told
                article = "an" if column[0] in "ai" else "a"
                self._problem(index, column, f"empty; {self._task.id} needs {article} {column} in every row")
        elif path.suffix.lower() not in GIVEN_SUFFIXES[column]:
            known = ", ".join(GIVEN_SUFFIXES[column])
            self._problem(index, column, f"{path.name[:200]!r} is no {column} by its name ({known})")

    def check_columns(self) -> None:
        for column in self._rows.columns:
            if held := no_text(column):
                self._rows.problem(None, column, f"the column's name holds {held}")

    def check_unique(self, samples: Iterable[Sample]) -> None:
        first: dict[str, Sample] = {}
        for sample in samples:
            earlier = first.setdefault(sample.id.lower(), sample)
            if earlier is sample:
                continue
            place = self._rows.place(earlier.index)
            if earlier.id == sample.id:
                self._problem(sample.index, "id", f"{sample.id!r} is also the id of {place}")
            else:
                self._problem(
                    sample.index,
                    "id",
                    f"{sample.id!r} and {earlier.id!r}, the id of {place}, differ in case alone: their files would be "
                    f"one on some systems",
                )

    def warnings(self) -> Iterator[str]:
        """A sentence a column for cells that are kept, but may not be meant."""
        for column, found in self._missing.items():
            words = ", ".join(found.words)
            yield (
                f"column {column}: {_cells(found)} nothing but a word that tables are filled with where a cell was "
                f"empty ({words}); it is kept as text. Leave the cell empty where nothing is meant"
            )
        for column, found in self._controls.items():
            yield f"column {column}: {_cells(found)} control characters; they are kept, and escaped where shown"
        unused = [name for name in _CONDITIONS if name in self._rows.columns and name != self._task.condition]
        if unused:
            yield (
                f"column {', '.join(unused)}: not given to models, for the suite's task is {self._task.id} (another "
                f'one stands in a file of the same name that ends in .toml: task = "v2a")'
            )

    def _problem(self, index: int, column: str, reason: str) -> None:
        self._rows.problem(index, column, reason)

    def _proper(self, index: int, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row without cells that are no text at all, which are refused."""
        bad = {column: held for column, cell in row.items() if isinstance(cell, str) and (held := no_text(cell))}
        for column, held in bad.items():
            self._problem(index, column, f"holds {held}")
        # A prompt that is refused is not missing besides.
        return {**row, **{column: "-" if column == "text" else None for column in bad}} if bad else row

    def _count_missing(self, index: int, column: str, cell: str) -> None:
        if len(cell) < 16 and cell.strip().lower() in MISSING_WORDS:
            self._missing.setdefault(column, _Count()).add(self._rows.place(index), cell.strip())

    def _text(self, index: int, column: str, row: Mapping[str, Any]) -> str | None:
        value = row.get(column)
        if value is None:
            return None
        if not isinstance(value, str):
            self._problem(index, column, f"text is needed, got {kind_of(value)}")
            return None
        if len(value) > MAX_TEXT_LENGTH:
            self._problem(index, column, f"has {len(value):,} characters; at most {MAX_TEXT_LENGTH:,} are read")
            return None
        self._count_missing(index, column, value)
        if _CONTROL_IN_TEXT.search(value):
            self._controls.setdefault(column, _Count()).add(self._rows.place(index))
        return value if value.strip() else None

    def _id(self, index: int, row: Mapping[str, Any]) -> str:
        value = row.get("id")
        if value is None or (isinstance(value, str) and not value.strip()):
            return f"sample_{index:04d}"
        if isinstance(value, bool) or not isinstance(value, str | int):
            self._problem(index, "id", f"text or a whole number is needed, got {kind_of(value)}")
            return f"sample_{index:04d}"
        text = str(value).strip()
        self._count_missing(index, "id", text)
        if len(text) > MAX_ID_LENGTH or not _SAFE_ID.fullmatch(text):
            self._problem(
                index,
                "id",
                f"{text[:40]!r} is no id, which names files: letters, digits, '.', '_' and '-' only, the first a "
                f"letter or digit, at most {MAX_ID_LENGTH} characters",
            )
        return text

    def _path(self, index: int, column: str, row: Mapping[str, Any]) -> Path | None:
        value = row.get(column)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            self._problem(index, column, f"a path is needed, got {kind_of(value)}")
            return None
        if _CONTROL.search(value):
            self._problem(index, column, f"{value[:200]!r} holds control characters")
            return None
        self._count_missing(index, column, value)
        try:
            path = self._resolved(value)
        except (OSError, RuntimeError, ValueError, UsageError) as error:
            self._problem(index, column, f"{value[:200]!r} is no usable path ({error})")
            return None
        if not self._allow_outside and is_url(value):
            self._problem(index, column, f"{value[:200]!r} is a URL; allow it with --allow-outside")
        elif not self._allow_outside and not path.is_relative_to(self._folder):
            self._problem(index, column, f"{value[:200]!r} leaves the suite's folder; allow it with --allow-outside")
        return path

    def _resolved(self, value: str) -> Path:
        if is_url(value):
            return self._cache.path_of(value)
        # Below a URL too, a cell is a path as it stands there.
        return (self._folder / (value.replace("%", "%25") if self._elsewhere else value)).resolve()

    def _categories(self, index: int, row: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
        """Aspect to categories; one object for all rows that have the same ones."""
        categories: dict[str, tuple[str, ...]] = {}
        for aspect, column in zip(TAXONOMY, _CATEGORY_COLUMNS, strict=True):
            found: list[str] = []
            for text in self._category_cells(row.get(column)):
                ids = aspect.category_ids
                if text.isascii() and text.isdigit() and len(text) < 4 and int(text) < len(ids):
                    found.append(ids[int(text)])
                elif slug(text) in ids:
                    found.append(slug(text))
                else:
                    self._problem(
                        index,
                        column,
                        f"{text[:40]!r} is no category of {aspect.title}; use 0 to {len(ids) - 1}, or {', '.join(ids)}",
                    )
            if found:
                categories[aspect.id] = tuple(dict.fromkeys(found))
        return self._alike.setdefault(tuple(categories.items()), categories)

    @staticmethod
    def _category_cells(value: object) -> list[str]:
        if value is None or value == "":
            return []
        cells = value if isinstance(value, list) else re.split("[,|]", str(value))
        # Tables that went through pandas hold 2.0 for 2 where a column had gaps.
        return [re.sub(r"\.0$", "", str(cell).strip()) for cell in cells]


def _cells(found: _Count) -> str:
    first = printable(found.first)
    return f"1 cell ({first}) holds" if found.cells == 1 else f"{found.cells:,} cells (the first in {first}) hold"


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
