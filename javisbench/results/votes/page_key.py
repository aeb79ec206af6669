"""The key of a page of blind pairs: which clip was whose. It stays with whoever made the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from javisbench.durable import sweep_earlier, write_json
from javisbench.errors import RunError
from javisbench.results.checked_json import Checker

KEY_SCHEMA = 1
KIND = "javisbench-votes-key"
_MAX_TEXT = 4000
_MAX_NAME = 200


@dataclass(frozen=True)
class PagePair:
    """One pair of a page: the clips of two models of one prompt.

    Attributes:
        sample_id: of the prompt.
        repeat: of both clips.
        left: the model on the left.
        right: the other one.
    """

    sample_id: str
    repeat: int
    left: str
    right: str


@dataclass(frozen=True)
class PageKey:
    """What a page does not tell.

    Attributes:
        page: the page's id.
        suite: name of the suite.
        suite_hash: of its rows.
        questions: id to what is asked.
        pairs: id on the page to the pair.
    """

    page: str
    suite: str
    suite_hash: str
    questions: Mapping[str, str]
    pairs: Mapping[str, PagePair]


def save_key(key: PageKey, target: Path) -> None:
    """Write a key, whole or not at all."""
    pairs = {
        name: {"sample_id": pair.sample_id, "repeat": pair.repeat, "left": pair.left, "right": pair.right}
        for name, pair in key.pairs.items()
    }
    facts = {"page": key.page, "suite": key.suite, "suite_hash": key.suite_hash, "questions": dict(key.questions)}
    sweep_earlier(target)
    write_json(target, {"kind": KIND, "schema": KEY_SCHEMA, **facts, "pairs": pairs})


def load_key(path: Path) -> PageKey:
    """Read a key.

    Raises:
        RunError: no such file, or no key.
    """
    if not path.is_file():
        raise RunError(f"There is no key of a page at {path}.")
    check = Checker(str(path))
    data = check.read(path)
    if data.get("kind") != KIND or data.get("schema") != KEY_SCHEMA:
        raise RunError(f"{path} is no key of a page of votes. It is the file FOLDER-key.json that was written with it.")
    questions = check.mapping(data.get("questions"), "questions")
    return PageKey(
        check.text(data, "page", _MAX_NAME),
        check.text(data, "suite", _MAX_NAME, default=""),
        check.text(data, "suite_hash", _MAX_NAME, default=""),
        {name[:_MAX_NAME]: check.string(text, "questions", _MAX_TEXT) for name, text in questions.items()},
        {name: _pair(check, value, name) for name, value in check.mapping(data.get("pairs"), "pairs").items()},
    )


def _pair(check: Checker, value: Any, name: str) -> PagePair:
    row = check.mapping(value, f"pairs, {name[:40]}")
    return PagePair(
        check.text(row, "sample_id", _MAX_TEXT),
        check.count(row.get("repeat", 0), "repeat"),
        check.text(row, "left", _MAX_NAME),
        check.text(row, "right", _MAX_NAME),
    )
