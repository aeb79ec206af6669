"""Suites: the prompts of a benchmark, their categories, and the setting they ask clips for.

A suite is a name of this package (``demo``, ``javisbench``, ...), of an installed plugin (entry points
``javisbench.suites``), such a name with the folder of its data (``verse-bench:DIR``, `javisbench.suite_layouts`), a
CSV, JSONL or Parquet file, or a folder of clips with their prompts beside them (``ID.txt``); file and folder may be
URLs. Columns: ``text``; optional ``id``, ``audio_text``, ``video_text``, ``path``, ``audio_path``, ``pred_video_path``,
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
from typing import Any

from javisbench.cards import SuiteCard, card_problems, suite_cards
from javisbench.clip import ClipSpec
from javisbench.errors import SuiteError, UsageError
from javisbench.own_aspects import MAX_OWN_ASPECTS, MAX_OWN_CATEGORIES, OwnColumn, own_aspects, values_of
from javisbench.places import Cache, NoVideosError, gather, holds_clips, is_table, is_url, located, named, tables_at
from javisbench.places.urls import shown as shown_url
from javisbench.registry import Registry, did_you_mean
from javisbench.suite_folder import holds_prompts, read_folder
from javisbench.suite_layouts import SuiteLayout
from javisbench.suite_rows import SUITE_SUFFIXES, Problem, Rows, read_parts, read_rows
from javisbench.suite_samples import KNOWN_COLUMNS, SampleReader
from javisbench.suite_samples import Sample as Sample
from javisbench.suite_statement import Statement, statement_of
from javisbench.tasks import TASKS, TaskFacts
from javisbench.tasks import Task as Task
from javisbench.taxonomy import ASPECTS, TAXONOMY, Aspect
from javisbench.text import printable

MAX_NAME_LENGTH = 120
_NAMES_SHOWN = 10
_READ_BY_METRICS = ("transcript", "language")
_TEXT_TABLES = tuple(suffix for suffix in SUITE_SUFFIXES if suffix != ".parquet")
_SEVERAL = re.compile(r"[-_.]*(?:\{[^}]*\}|\*).*|\.parquet$")
"""What is no name in the pattern of several tables."""


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
        unused = tuple(column for column in self.unused_columns if column not in (*used, *_READ_BY_METRICS))
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
    """The suite called `spec`: a known name, a CSV, JSONL or Parquet file, or a folder of clips with ``ID.txt``.

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
    places = _here(spec)
    path = places[0]
    if not path.exists():
        raise UsageError(
            f"There is no suite {spec!r}, and no such file.{did_you_mean(spec, known_suites())} "
            f"Known suites: {', '.join(sorted(known_suites()))}; or give a .csv, .jsonl or .parquet file."
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
                f".csv, .jsonl or .parquet file, or one of {', '.join(cards)}."
            )
        rows = read_folder(path, allow_outside=allow_outside, condition=condition)
        name = _name(path.resolve().name.removesuffix(".tar").removesuffix(".parquet"))
    elif len(places) > 1:
        rows, name = read_parts(places), _name(_SEVERAL.sub("", spec.rstrip("/").rpartition("/")[2]).lower())
    else:
        rows, name = read_rows(path), _name(path.stem.lower())
    suite, problems = _read(rows, path, name, stated, allow_outside=allow_outside)
    return (replace(suite, source=spec) if suite is not None and len(places) > 1 else suite), problems


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


def _here(spec: str) -> list[Path]:
    """The file, files or folder of a suite; what lies elsewhere is brought: tables, or the names and prompts of clips.

    A Parquet table may hold clips themselves, or be one of prompts.
    """
    cache = Cache.from_environment()
    if is_url(spec) and is_table(spec, _TEXT_TABLES):
        return [cache.file(spec)]
    if not holds_clips(spec) or not (is_url(spec) or Path(spec).exists() or set("*{") & set(spec)):
        return [Path(spec)]
    try:
        return [gather(spec, cache, prompts=True)]
    except NoVideosError:
        return [place if isinstance(place, Path) else cache.file(place) for place in tables_at(spec)]


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
    reader = SampleReader(rows, folder, allow_outside, TASKS[stated.task])
    samples = tuple(reader.sample(index, row) for index, row in enumerate(rows.rows))
    reader.check_columns()
    reader.check_unique(samples)
    if not samples:
        wanted = TASKS[stated.task].condition or "prompt"
        rows.problem(None, "", f"no rows; a suite needs at least one {wanted}")
    if rows.problems:
        return None, rows.problems
    own = [column for column in rows.columns if column not in KNOWN_COLUMNS]
    columns = {column: OwnColumn.of(sample.extra.get(column, "") for sample in samples) for column in own}
    return Suite(
        name=name,
        samples=samples,
        setting=stated.setting,
        unconditional=False,
        hash=suite_hash(samples, stated.task),
        source=located(path) if Cache.of(path) else str(path),
        total=len(samples),
        columns=columns,
        warnings=(*rows.warnings, *reader.warnings()),
        task=stated.task,
    ), []


def suite_hash(samples: Iterable[Sample], task: Task = "t2av") -> str:
    """SHA-256 over ids, prompts and the taxonomy's categories of all samples, in order.

    Where the task gives something besides the prompt: of the task, too, and of `Sample.given`.
    """
    digest = hashlib.sha256()
    gives = TASKS[task].condition is not None
    if gives:
        digest.update(json.dumps(["task", task]).encode() + b"\n")
    for sample in samples:
        categories = {
            aspect: sorted(ids) for aspect, ids in sorted(sample.categories.items()) if ids and aspect in ASPECTS
        }
        row: list[Any] = [sample.id, sample.text, sample.audio_text, sample.video_text, categories]
        if gives:
            row.append(sample.given or None)
        digest.update(json.dumps(row, ensure_ascii=True).encode() + b"\n")
    return digest.hexdigest()
