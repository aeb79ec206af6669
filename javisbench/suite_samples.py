"""Samples: one row of a suite each, and how they are read from rows as they stand in a file."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from javisbench.errors import UsageError
from javisbench.media.source import GIVEN_SUFFIXES
from javisbench.own_aspects import slug
from javisbench.places import Cache, is_url
from javisbench.suite_rows import MAX_TEXT_LENGTH, Rows, kind_of, no_text
from javisbench.system_faults import raise_if_system
from javisbench.tasks import Condition, TaskFacts
from javisbench.taxonomy import TAXONOMY
from javisbench.text import printable

MAX_ID_LENGTH = 128
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
KNOWN_COLUMNS = {"id", *_TEXT_COLUMNS, *_PATH_COLUMNS, *_CATEGORY_COLUMNS}
_WORDS_SHOWN = 10


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
        given: where what the suite's task gives lies in the suite's folder, the name alone of a file elsewhere; in NFC,
            and a part of the suite's hash. Empty where nothing is given.
        extra: all other columns, as text.
        clip_names: further names, without suffix, that the suite's own programs give the sample's clip; ``ads/Tea`` in
            a folder ``ads``, ``7_video_*`` for all that begin with ``7_video_``.
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
    given: str = ""
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


@dataclass
class _Count:
    """Cells of a column that deserve a warning: how many, the first place, and what they held."""

    cells: int = 0
    first: str = ""
    words: dict[str, None] = field(default_factory=dict)

    def add(self, place: str, word: str = "") -> None:
        self.cells += 1
        self.first = self.first or place
        if len(self.words) < _WORDS_SHOWN:
            self.words[word] = None


class SampleReader:
    """Turns raw rows into samples and gathers everything that is wrong, or may be, on the way."""

    def __init__(self, rows: Rows, folder: Path, allow_outside: bool, task: TaskFacts) -> None:
        self._rows = rows
        self._task = task
        self._folder = folder
        self._allow_outside = allow_outside
        self._cache = Cache.from_environment()
        self._elsewhere = self._cache.url_of(folder) is not None
        self._lacks_condition = task.condition is not None and task.condition not in rows.columns
        self._alike: dict[tuple[tuple[str, tuple[str, ...]], ...], Mapping[str, tuple[str, ...]]] = {}
        self._missing: dict[str, _Count] = {}
        self._controls: dict[str, _Count] = {}

    def sample(self, index: int, row: Mapping[str, Any]) -> Sample:
        """The sample of a row; what is wrong with the row is a problem of the rows that it belongs to."""
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
                if column not in KNOWN_COLUMNS and value is not None
            },
            clip_names=self._rows.clip_names[index] if self._rows.clip_names else (),
            given=self._within(paths.get(self._task.condition or "")),
            **paths,
        )

    def _within(self, path: Path | None) -> str:
        if path is None:
            return ""
        within = path.relative_to(self._folder).as_posix() if path.is_relative_to(self._folder) else path.name
        return unicodedata.normalize("NFC", within)

    def _check_given(self, index: int, row: Mapping[str, Any], paths: Mapping[str, Path | None]) -> None:
        """The row has what its task gives, as a file of the kind; whether it can be read is seen later."""
        column = self._task.condition
        if column is None or self._lacks_condition:
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
        """Note columns whose names are no text, and that there is none of what the task gives."""
        if self._lacks_condition and self._rows.rows:
            known = ", ".join(self._rows.columns[:20])
            column = str(self._task.condition)
            self._rows.problem(None, column, f"there is no such column, and {self._task.id} needs it (it has {known})")
        for column in self._rows.columns:
            if held := no_text(column):
                self._rows.problem(None, column, f"the column's name holds {held}")

    def check_unique(self, samples: Iterable[Sample]) -> None:
        """Note ids that stand twice, or differ in case alone."""
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
            raise_if_system(error, value[:200])
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
        path = self._folder / (value.replace("%", "%25") if self._elsewhere else value)
        if not value.isascii() and not path.exists():
            # Some file systems take letters and their accents apart, tables do not.
            forms = (self._folder / unicodedata.normalize(form, value) for form in ("NFC", "NFD"))
            path = next((form for form in forms if form.exists()), path)
        return path.resolve()

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
