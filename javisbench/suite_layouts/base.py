"""What layouts share: reading JSON by type, names of clips, transcripts of several speakers.

Folders may come from anybody: sizes are bounded, links out of the folder are refused, and what is wrong is a `Problem`
that names file, row and field.
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from javisbench.strict_json import parse_json
from javisbench.suite_rows import (
    MAX_ROWS,
    MAX_SUITE_BYTES,
    MAX_TEXT_LENGTH,
    Problem,
    Rows,
    kind_of,
    no_text,
    read_text,
)
from javisbench.system_faults import raise_if_system

MAX_ITEM_BYTES = 2**20
"""Of a file that is one row."""
MAX_LISTED = 1000
"""Entries of a list within a row."""
_ID_LENGTH = 96
_SHOWN = 200
_WIDEST_NUMBER = 10


class SuiteLayout(ABC):
    """How a published suite lies in a folder.

    Attributes:
        slices: own columns whose values make slices where the user asks for no others.
    """

    slices: tuple[str, ...] = ()

    @abstractmethod
    def read(self, folder: Path, *, allow_outside: bool) -> Rows:
        """The suite's rows, with the columns that `javisbench.suite` knows and others of the suite's own.

        Args:
            folder: as published, or the part of it that holds the prompts; it exists.
            allow_outside: follow links that leave the folder.

        Returns:
            rows whose `Rows.columns` are `slices` and the known columns, and whose `Rows.warnings` tell what was left
            out; what is wrong stands in `Rows.problems`.
        """


@dataclass
class Reading:
    """A folder while it is read.

    Attributes:
        folder: of the suite.
        allow_outside: follow links that leave it.
        rows: what was found so far.
    """

    folder: Path
    allow_outside: bool
    rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        self.rows = Rows(self.folder.resolve().name or str(self.folder.resolve()), places=[])

    def refuse(self, file: str, reason: str) -> None:
        """Note what is wrong with a file of the suite, or with its folder where `file` is empty."""
        self.rows.problems.append(Problem(file or self.rows.file, 0, "", reason))

    def first_of(self, *names: str) -> str | None:
        """The first of these files or folders that is there."""
        return next((name for name in names if (self.folder / name).exists()), None)

    def listed(self, inside: str, suffix: str) -> list[str]:
        """Files with this suffix in a folder of the suite, by name, as paths from the suite's folder."""
        try:
            names = sorted(
                path.name
                for path in (self.folder / inside).iterdir()
                if path.suffix == suffix and not path.name.startswith(".")
            )
        except OSError as error:
            raise_if_system(error, self.folder / inside)
            self.refuse(inside, f"cannot be listed ({error.strerror})")
            return []
        if len(names) > MAX_ROWS:
            self.refuse(inside, f"more than {MAX_ROWS:,} files")
            return []
        return [f"{inside}/{name}" for name in names]

    def folders_in(self, inside: str) -> list[str]:
        """Folders in a folder of the suite, by name, as paths from the suite's folder.

        None where it cannot be listed, which `listed` notes.
        """
        try:
            found = sorted(path.name for path in (self.folder / inside).iterdir() if path.is_dir())
        except OSError as error:
            raise_if_system(error, self.folder / inside)
            return []
        return [f"{inside}/{name}" for name in found if not name.startswith(".")]

    def text_of(self, file: str, most_bytes: int = MAX_SUITE_BYTES) -> str | None:
        """The text of a file of the suite; None, with a problem noted, where it cannot be had."""
        path = self.folder / file
        try:
            if not self.allow_outside and not path.resolve().is_relative_to(self.folder.resolve()):
                raise ValueError("a link out of the folder; allow it with --allow-outside")
            return read_text(path, most_bytes)
        except (OSError, RuntimeError, ValueError) as error:
            raise_if_system(error, path)
            self.refuse(file, str(error))
            return None

    def json_of(self, file: str, most_bytes: int = MAX_SUITE_BYTES) -> Any:
        """What a JSON file holds; None, with a problem noted, where it cannot be had."""
        text = self.text_of(file, most_bytes)
        if text is None:
            return None
        try:
            found = parse_json(text)
        except ValueError as error:
            self.refuse(file, str(error))
            return None
        if found is None:
            self.refuse(file, "null, nothing more")
        return found

    def objects_of(self, file: str) -> Iterator[Item]:
        """The objects of a JSON file that holds a list of them."""
        found = self.json_of(file)
        if found is None:
            return
        if not isinstance(found, list):
            self.refuse(file, f"a list of objects is needed, got {kind_of(found)}")
            return
        if len(found) > MAX_ROWS:
            self.refuse(file, f"more than {MAX_ROWS:,} rows")
            return
        for row, members in enumerate(found, start=1):
            item = self.item(file, row, members)
            if item is not None:
                yield item

    def item(self, file: str, row: int, members: object) -> Item | None:
        """The object as an item; None, with a problem noted, where it is none."""
        if isinstance(members, Mapping):
            return Item(self.rows, file, row, members)
        self.rows.problems.append(Problem(file, row, "", f"not a JSON object, but {kind_of(members)}"))
        return None

    def add(self, item: Item, cells: Mapping[str, Any], clip_names: Iterable[str] = ()) -> None:
        """A row of the suite."""
        assert self.rows.places is not None
        self.rows.rows.append({name: cell for name, cell in cells.items() if cell not in (None, "")})
        self.rows.places.append((item.file, item.row))
        self.rows.clip_names.append(tuple(dict.fromkeys(clip_names)))


@dataclass(frozen=True)
class Item:
    """One object of a JSON file, and where it stands. Members that have another type than asked for are noted.

    Attributes:
        rows: where that is noted.
        file: path from the suite's folder.
        row: in it, from 1; 0 where the file is one object.
        members: name to any JSON value.
        within: the member of the row that this object is, or empty for the row itself.
    """

    rows: Rows
    file: str
    row: int
    members: Mapping[str, Any]
    within: str = ""

    def refuse(self, name: str, reason: str) -> None:
        """Note what is wrong with a member."""
        column = f"{self.within}.{name}" if self.within and name else name or self.within
        self.rows.problems.append(Problem(self.file, self.row, column[:_SHOWN], reason))

    def text(self, name: str, *, needed: bool = False) -> str:
        """A member that is text; empty where it is missing or null."""
        return self._text(name, self.members.get(name), needed=needed)

    def _text(self, name: str, value: object, *, needed: bool) -> str:
        if value is None and not needed:
            return ""
        if not isinstance(value, str):
            self.refuse(name, "missing" if value is None else f"text is needed, got {kind_of(value)}")
            return ""
        if len(value) > MAX_TEXT_LENGTH:
            self.refuse(name, f"has {len(value):,} characters; at most {MAX_TEXT_LENGTH:,} are read")
            return ""
        if held := no_text(value):
            self.refuse(name, f"holds {held}")
            return ""
        if needed and not value.strip():
            self.refuse(name, "empty")
        return value

    def number(self, name: str) -> int | None:
        """A member that is a whole number."""
        value = self.members.get(name)
        if type(value) is int:
            return value
        self.refuse(name, "missing" if value is None else f"a whole number is needed, got {kind_of(value)}")
        return None

    def texts(self, name: str, *, needed: bool = False) -> list[str]:
        """A member that is a list of texts, none of them null."""
        return [self._text(name, entry, needed=entry is None) for entry in self._list(name, needed)]

    def objects(self, name: str) -> list[Item]:
        """A member that is a list of objects."""
        found = []
        for number, entry in enumerate(self._list(name, False), start=1):
            if isinstance(entry, Mapping):
                found.append(Item(self.rows, self.file, self.row, entry, f"{name}[{number}]"))
            else:
                self.refuse(name, f"its entry {number} is {kind_of(entry)}, no object")
        return found

    def object(self, name: str, *, needed: bool = False) -> Item | None:
        """A member that is an object."""
        value = self.members.get(name)
        if isinstance(value, Mapping):
            return Item(self.rows, self.file, self.row, value, f"{self.within}.{name}" if self.within else name)
        if value is not None or needed:
            self.refuse(name, "missing" if value is None else f"an object is needed, got {kind_of(value)}")
        return None

    def _list(self, name: str, needed: bool) -> list[Any]:
        value = self.members.get(name)
        if value is None and not needed:
            return []
        if not isinstance(value, list):
            self.refuse(name, "missing" if value is None else f"a list is needed, got {kind_of(value)}")
            return []
        if len(value) > MAX_LISTED:
            self.refuse(name, f"a list of {len(value):,}; at most {MAX_LISTED:,} are read")
            return []
        return value


def transcript_of(said: Sequence[tuple[str, str]]) -> str:
    """The column ``transcript`` for what is said in a clip, in order.

    Args:
        said: speaker (any name) and words.

    Returns:
        the words of one speaker as they are; those of several with a tag before each turn, speakers numbered in the
        order in which they come: ``[S1] Who is there? [S2] Me.``
    """
    turns = [(speaker.strip(), words.strip()) for speaker, words in said if words.strip()]
    numbers = {speaker: number for number, speaker in enumerate(dict.fromkeys(who for who, _ in turns), start=1)}
    if len(numbers) < 2:
        return " ".join(words for _, words in turns)
    return " ".join(f"[S{numbers[who]}] {words}" for who, words in turns)


def checklist_of(questions: Sequence[Mapping[str, object]]) -> str:
    """The column ``checklist`` for questions to a judge (docs/judges.md); empty without any.

    Args:
        questions: ``question``, and ``hears`` and ``group`` where they are told.
    """
    kept = [
        {**question, **({"group": _word(group)} if (group := question.get("group")) else {})} for question in questions
    ]
    return json.dumps(kept, ensure_ascii=False) if kept else ""


def _word(name: object) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", str(name))[:40]


def numbered(number: int, prefixes: Sequence[str] = ("",)) -> list[str]:
    """Names of clip `number`: after each prefix, the number with and without leading zeros."""
    widths = range(1, _WIDEST_NUMBER + 1)
    digits = dict.fromkeys(str(number).zfill(width) for width in widths)
    return [f"{prefix}{text}" for prefix in prefixes for text in digits]


def safe_ids(names: Sequence[str]) -> list[str]:
    """Ids for names that may hold anything: what files may not be called is ``_``, and two that would be one (upper and
    lower case are alike) end in digits of their hash.
    """
    plain = [re.sub(r"[^A-Za-z0-9.-]+", "_", name).strip("_.-")[:_ID_LENGTH].rstrip("_.-") for name in names]
    counts = Counter(text.lower() for text in plain)
    return [
        text if text and counts[text.lower()] == 1 else f"{text or 'clip'}-{_digest(name)}"
        for name, text in zip(names, plain, strict=True)
    ]


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:8]
