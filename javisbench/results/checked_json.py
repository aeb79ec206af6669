"""JSON that somebody else may have written: its size, its form and the type of every value are checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from javisbench import strict_json
from javisbench.errors import RunError
from javisbench.text import printable

MAX_JSON_BYTES = 64 * 2**20
_ID = re.compile(r"(?:[a-z]{1,16}:)?[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def parse_json(text: bytes, where: str) -> Any:
    """Strict JSON.

    Raises:
        RunError: not UTF-8 JSON, NaN, infinity or a name twice in it, or nested too deep; `where` is named.
    """
    try:
        return strict_json.parse_json(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RunError(f"{where} is not readable as JSON: {error}.") from error
    except ValueError as error:
        raise RunError(f"{where} is {error}.") from error


def check_size(path: Path, most: int | None = None) -> None:
    """Refuse a file that is too large to be read whole.

    Raises:
        RunError: it has more than `most` bytes; for None, more than JSON may have.
    """
    size, most = path.stat().st_size, MAX_JSON_BYTES if most is None else most
    if size > most:
        raise RunError(f"{path} has {size:,} bytes; at most {most:,} are read.")


class Checker:
    """Type checks of values; a `RunError` names the file, `where`, and the field."""

    def __init__(self, where: str) -> None:
        self.where = where

    def fail(self, field: str, what: str) -> NoReturn:
        """Raise: `field` is not as it should be."""
        raise RunError(f"{self.where}: {field} {what}. The file is damaged or was not written by javisbench.")

    def read(self, path: Path) -> dict[str, Any]:
        """The object that a file holds."""
        check_size(path)
        return self.mapping(parse_json(path.read_bytes(), str(path)), "the file")

    def mapping(self, value: Any, field: str) -> dict[str, Any]:
        """An object."""
        if not isinstance(value, dict):
            self.fail(field, f"is not an object but {type(value).__name__}")
        return value

    def string(self, value: Any, field: str, longest: int, *, cut: bool = False) -> str:
        """Text of at most `longest` characters; longer text is an error, or is cut."""
        if not isinstance(value, str):
            self.fail(field, f"is not text but {type(value).__name__}")
        if len(value) > longest and not cut:
            self.fail(field, f"has {len(value):,} characters; at most {longest:,} are read")
        return value[:longest]

    def text(
        self, data: Mapping[str, Any], field: str, longest: int, default: str | None = None, *, cut: bool = False
    ) -> str:
        """A member as text on one line; empty only where `default` is."""
        value = data.get(field, default)
        if value is None and default is not None:
            value = default
        text = printable(self.string(value, field, longest, cut=cut).strip())
        if not text and default is None:
            self.fail(field, "is empty")
        return text

    def id(self, value: str, field: str) -> str:
        """The name of a metric, which may have a prefix (``judge:NAME``)."""
        if not _ID.fullmatch(value):
            self.fail(field, f"has the name {value[:80]!r}, which is not a metric id")
        return value

    def number(self, value: Any, field: str) -> float | None:
        """A finite number, or None for null."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(field, f"is not a number but {type(value).__name__}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            self.fail(field, "is not finite")
        return number

    def count(self, value: Any, field: str) -> int:
        """A whole number from 0."""
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
            self.fail(field, f"is not a count (0, 1, 2, ...) but {str(value)[:40]!r}")
        return value

    def flag(self, value: Any, field: str) -> bool:
        """True or false."""
        if not isinstance(value, bool):
            self.fail(field, f"is not true or false but {str(value)[:40]!r}")
        return value
