"""Reading ``-M key=value`` parameters: known names, ranges, choices, and errors that say all three."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from javisbench.errors import UsageError
from javisbench.registry import did_you_mean

Parser: TypeAlias = Callable[[str], Any]


def read_parameters(
    who: str, params: Mapping[str, str], parsers: Mapping[str, Parser], known: Iterable[str] | None = None
) -> dict[str, Any]:
    """Parse parameters given as text.

    Args:
        who: the generator, as errors call it.
        params: name to text.
        parsers: name to what reads its value.
        known: the names that apply; None for all that have a parser.

    Raises:
        UsageError: an unknown parameter (with near matches), or a value that its parser refuses.
    """
    names = list(parsers) if known is None else list(known)
    values: dict[str, Any] = {}
    for name, text in params.items():
        if name not in names:
            raise UsageError(
                f"{who} has no parameter {name!r}.{did_you_mean(name, names)} Known: {', '.join(sorted(names))}."
            )
        try:
            values[name] = parsers[name](text)
        except ValueError as error:
            raise UsageError(f"{who}: {name} is {error}; got {text!r}.") from None
    return values


def number(kind: Callable[[str], Any], low: float, high: float, what: str) -> Parser:
    """A number of `kind` from `low` to `high`; `what` names it in errors."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except (ValueError, ZeroDivisionError):
            value = None
        if value is None or not low <= value <= high:
            raise ValueError(f"{what} between {low:g} and {high:g}")
        return value

    return parse


def choice(*choices: str) -> Parser:
    """One of some words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(" or ".join(choices))
        return text

    return parse


def existing(what: Literal["file", "folder"]) -> Parser:
    """The path of a file or folder that exists."""

    def parse(text: str) -> Path:
        path = Path(text).expanduser()
        if not (path.is_file() if what == "file" else path.is_dir()):
            raise ValueError(f"an existing {what}")
        return path

    return parse


def text(given: str) -> str:
    """Any text."""
    return given


def like(default: Any) -> Parser:
    """A value of the kind of `default`: true or false, a whole number, a finite number, or any text; nothing else."""

    def parse(given: str) -> Any:
        if not isinstance(default, bool | int | float | str):
            raise ValueError("a list or a table, which -M cannot give")
        if isinstance(default, bool):
            if given.lower() not in ("true", "false"):
                raise ValueError("true or false")
            return given.lower() == "true"
        try:
            value = type(default)(given)
        except ValueError:
            value = float("nan")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("a whole number" if isinstance(default, int) else "a number")
        return value

    return parse
