"""Suites: the prompts of a benchmark, their categories, and the setting they ask clips for.

A suite is a name of this package (``demo``, ``javisbench``, ``javisbench-mini``, ``landscape``, ``aist++``), of an
installed plugin (entry points ``javisbench.suites``), or a CSV or JSONL file. Columns: ``text``; optional ``id``,
``audio_text``, ``video_text``, ``path``, ``audio_path``, ``pred_video_path``, ``pred_audio_path`` and ``cat0_ind`` to
``cat4_ind``: an index, or several separated by commas, into the categories of the taxonomy's five aspects.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from javisbench.cards import SuiteCard, suite_cards
from javisbench.clip import ClipSpec
from javisbench.errors import SuiteError, UsageError
from javisbench.registry import did_you_mean
from javisbench.taxonomy import TAXONOMY

MAX_SUITE_BYTES = 512 * 2**20
MAX_ID_LENGTH = 128
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PATH_COLUMNS = ("path", "audio_path", "pred_video_path", "pred_audio_path")
_TEXT_COLUMNS = ("text", "audio_text", "video_text")
_CATEGORY_COLUMNS = tuple(f"cat{number}_ind" for number in range(len(TAXONOMY)))
_KNOWN_COLUMNS = {"id", *_TEXT_COLUMNS, *_PATH_COLUMNS, *_CATEGORY_COLUMNS}


@dataclass(frozen=True)
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
        extra: all other columns, as text.
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
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def prompts(self) -> dict[str, str]:
        """The prompts that the suite gives, by column."""
        given = {"text": self.text, "audio_text": self.audio_text, "video_text": self.video_text}
        return {name: text for name, text in given.items() if text}

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
        setting: what clips should be.
        unconditional: True when there are no prompts: text metrics are then not applicable.
        hash: SHA-256 over the whole suite's ids, prompts and categories, before any `limit`.
        source: the file or card it came from.
        total: samples of the whole suite.
    """

    name: str
    samples: tuple[Sample, ...]
    setting: ClipSpec
    unconditional: bool
    hash: str
    source: str
    total: int

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

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

    def slices(self, rows: Iterable[Sample] | None = None) -> dict[tuple[str, str], list[int]]:
        """(aspect, category) to positions in `rows` (default: the samples); every category, also empty ones.

        A suite whose samples have no categories at all has no slices.
        """
        rows = list(self.samples if rows is None else rows)
        if not any(sample.categories for sample in self.samples):
            return {}
        return {
            (aspect.id, category): [
                position for position, sample in enumerate(rows) if category in sample.categories.get(aspect.id, ())
            ]
            for aspect in TAXONOMY
            for category in aspect.category_ids
        }


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a suite file. `row` counts data rows from 1; 0 is the file as a whole."""

    file: str
    row: int
    column: str
    reason: str

    def __str__(self) -> str:
        place = f"row {self.row}" if self.row else "file"
        return f"{self.file}: {place}" + (f", column {self.column}" if self.column else "") + f": {self.reason}"


def known_suites() -> dict[str, str]:
    """Suite name to a one-line title: this package's, then those of installed plugins."""
    titles = {name: card.title for name, card in suite_cards().items()}
    for point in entry_points(group="javisbench.suites"):
        titles.setdefault(point.name, f"from the plugin {point.value}")
    return titles


def load_suite(spec: str, *, allow_outside: bool = False, offline: bool = False) -> Suite:
    """The suite called `spec`: a known name, or the path of a CSV or JSONL file.

    Args:
        spec: name or path.
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
        raise SuiteError(f"The suite {spec!r} has {count}:", details=[*shown, *more])
    return suite


def read_suite(spec: str, *, allow_outside: bool = False, offline: bool = False) -> tuple[Suite | None, list[Problem]]:
    """Like `load_suite`, but returns the problems of a bad file instead of raising."""
    cards = suite_cards()
    if spec in cards:
        return _read_card(cards[spec], allow_outside=allow_outside, offline=offline)
    for point in entry_points(group="javisbench.suites"):
        if point.name == spec:
            return cast(Callable[[], Suite], point.load())(), []
    path = Path(spec)
    if not path.exists():
        raise UsageError(
            f"There is no suite {spec!r}, and no such file.{did_you_mean(spec, known_suites())} "
            f"Known suites: {', '.join(sorted(known_suites()))}; or give a .csv or .jsonl file."
        )
    if path.is_dir():
        raise UsageError(f"{spec} is a folder; a suite is a .csv or .jsonl file (or one of {', '.join(cards)}).")
    return _read_file(path, path.stem.lower(), ClipSpec(), allow_outside=allow_outside)


def _read_card(card: SuiteCard, *, allow_outside: bool, offline: bool) -> tuple[Suite | None, list[Problem]]:
    if card.unconditional:
        samples = tuple(Sample(id=f"sample_{i:04d}", index=i, text="") for i in range(card.samples))
        return _suite(card.name, samples, card.setting, f"card {card.name}", unconditional=True), []
    path = card.local_file(offline=offline)
    return _read_file(path, card.name, card.setting, allow_outside=allow_outside)


def _read_file(path: Path, name: str, setting: ClipSpec, *, allow_outside: bool) -> tuple[Suite | None, list[Problem]]:
    rows, problems = _read_rows(path)
    if problems:
        return None, problems
    reader = _RowReader(path, allow_outside)
    samples = [reader.sample(index, row) for index, row in enumerate(rows)]
    reader.check_unique(samples)
    if not samples:
        reader.problems.append(Problem(path.name, 0, "", "no rows; a suite needs at least one prompt"))
    if reader.problems:
        return None, reader.problems
    return _suite(name, tuple(samples), setting, str(path)), []


def suite_hash(samples: Iterable[Sample]) -> str:
    """SHA-256 over ids, prompts and categories of all samples, in order."""
    digest = hashlib.sha256()
    for sample in samples:
        categories = {aspect: sorted(ids) for aspect, ids in sorted(sample.categories.items()) if ids}
        row = [sample.id, sample.text, sample.audio_text, sample.video_text, categories]
        digest.update(json.dumps(row, ensure_ascii=True).encode() + b"\n")
    return digest.hexdigest()


def _suite(
    name: str, samples: tuple[Sample, ...], setting: ClipSpec, source: str, unconditional: bool = False
) -> Suite:
    return Suite(name, samples, setting, unconditional, suite_hash(samples), source, len(samples))


def _read_rows(path: Path) -> tuple[list[dict[str, Any]], list[Problem]]:
    def trouble(reason: str) -> tuple[list[dict[str, Any]], list[Problem]]:
        return [], [Problem(path.name, 0, "", reason)]

    if path.suffix.lower() not in (".csv", ".jsonl"):
        return trouble(f"the suffix {path.suffix!r} is unknown; a suite is a .csv or a .jsonl file")
    if path.stat().st_size > MAX_SUITE_BYTES:
        return trouble(f"larger than {MAX_SUITE_BYTES >> 20} MiB")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        return trouble(f"not UTF-8 text (byte {error.start}); save it as UTF-8")
    if "\0" in text:
        return trouble("holds NUL characters; this is not a text file")
    return _csv_rows(path, text) if path.suffix.lower() == ".csv" else _jsonl_rows(path, text)


def _csv_rows(path: Path, text: str) -> tuple[list[dict[str, Any]], list[Problem]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    try:
        columns = reader.fieldnames or []
        doubled = sorted({column for column in columns if columns.count(column) > 1})
        if doubled:
            problems.append(Problem(path.name, 0, doubled[0], "the column stands twice in the header"))
        if "text" not in columns:
            near = did_you_mean("text", columns)
            problems.append(Problem(path.name, 0, "text", f"the header has no such column (it has {columns}).{near}"))
        for number, row in enumerate(reader, start=1):
            if None in row:
                problems.append(
                    Problem(path.name, number, "", "more cells than the header has columns; quote cells with commas")
                )
            rows.append({key: value for key, value in row.items() if key is not None and value is not None})
    except csv.Error as error:
        problems.append(Problem(path.name, len(rows) + 1, "", f"not readable as CSV: {error}"))
    return rows, problems


def _jsonl_rows(path: Path, text: str) -> tuple[list[dict[str, Any]], list[Problem]]:
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    lines = [line for line in text.split("\n") if line.strip()]
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            problems.append(Problem(path.name, number, "", f"not readable as JSON: {error}"))
            continue
        if isinstance(row, dict):
            rows.append(row)
        else:
            problems.append(Problem(path.name, number, "", "not a JSON object ({...})"))
    return rows, problems


class _RowReader:
    """Turns raw rows into samples and gathers everything that is wrong on the way."""

    def __init__(self, path: Path, allow_outside: bool) -> None:
        self._file = path.name
        self._folder = path.resolve().parent
        self._allow_outside = allow_outside
        self.problems: list[Problem] = []

    def sample(self, index: int, row: Mapping[str, Any]) -> Sample:
        texts = {column: self._text(index, column, row) for column in _TEXT_COLUMNS}
        if not texts["text"]:
            self._problem(index, "text", "empty; every row needs a prompt")
        paths = {column: self._path(index, column, row) for column in _PATH_COLUMNS}
        return Sample(
            id=self._id(index, row),
            index=index,
            text=texts["text"] or "",
            audio_text=texts["audio_text"],
            video_text=texts["video_text"],
            categories=self._categories(index, row),
            extra={str(k): str(v) for k, v in row.items() if k not in _KNOWN_COLUMNS},
            **paths,
        )

    def check_unique(self, samples: Iterable[Sample]) -> None:
        first: dict[str, int] = {}
        for sample in samples:
            earlier = first.setdefault(sample.id.lower(), sample.index)
            if earlier != sample.index:
                self._problem(sample.index, "id", f"{sample.id!r} is also the id of row {earlier + 1}")

    def _problem(self, index: int, column: str, reason: str) -> None:
        self.problems.append(Problem(self._file, index + 1, column, reason))

    def _text(self, index: int, column: str, row: Mapping[str, Any]) -> str | None:
        value = row.get(column)
        if value is None:
            return None
        if not isinstance(value, str):
            self._problem(index, column, f"text is needed, got {type(value).__name__}")
            return None
        return value if value.strip() else None

    def _id(self, index: int, row: Mapping[str, Any]) -> str:
        value = row.get("id")
        if value is None or value == "":
            return f"sample_{index:04d}"
        text = str(value)
        if len(text) > MAX_ID_LENGTH or not _SAFE_ID.fullmatch(text):
            self._problem(
                index,
                "id",
                f"{text[:40]!r} cannot name a file: letters, digits, '.', '_' and '-' only, the first a letter or "
                f"digit, at most {MAX_ID_LENGTH} characters",
            )
        return text

    def _path(self, index: int, column: str, row: Mapping[str, Any]) -> Path | None:
        value = row.get(column)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            self._problem(index, column, f"a path is needed, got {type(value).__name__}")
            return None
        path = (self._folder / value).resolve()
        if not self._allow_outside and not path.is_relative_to(self._folder):
            self._problem(index, column, f"{value!r} leaves the suite's folder; allow it with --allow-outside")
        return path

    def _categories(self, index: int, row: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        categories: dict[str, tuple[str, ...]] = {}
        for aspect, column in zip(TAXONOMY, _CATEGORY_COLUMNS, strict=True):
            found: list[str] = []
            for text in self._category_cells(row.get(column)):
                ids = aspect.category_ids
                if text.isascii() and text.isdigit() and len(text) < 4 and int(text) < len(ids):
                    found.append(ids[int(text)])
                else:
                    self._problem(
                        index, column, f"{text[:40]!r} is no category of {aspect.title}; use 0 to {len(ids) - 1}"
                    )
            if found:
                categories[aspect.id] = tuple(dict.fromkeys(found))
        return categories

    @staticmethod
    def _category_cells(value: object) -> list[str]:
        if value is None or value == "":
            return []
        cells = value if isinstance(value, list) else str(value).split(",")
        # Tables that went through pandas hold 2.0 for 2 where a column had gaps.
        return [re.sub(r"\.0$", "", str(cell).strip()) for cell in cells]
