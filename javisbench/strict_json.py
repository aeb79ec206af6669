"""JSON that somebody else may have written, read strictly: what two readers might take differently is refused."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def parse_json(text: str) -> Any:
    """The value of a JSON document: names of an object stand once, numbers are finite and of a readable length.

    Raises:
        ValueError: it is none; the message says why.
    """
    try:
        return _DECODER.decode(text.strip())
    except ValueError as error:
        raise ValueError(f"not readable as JSON: {error}") from error
    except RecursionError:
        raise ValueError("not readable as JSON: nested too deeply") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in members if names.count(name) > 1)
        raise ValueError(f"{twice[:80]!r} stands twice in it")
    return members


def _no_constant(token: str) -> NoReturn:
    raise ValueError(f"{token} is not JSON; a value that is missing is null")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:40]} is too large a number")
    return value


def _whole(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as error:
        # Python refuses thousands of digits, whose reading takes the square of their number.
        raise ValueError(f"{digits[:20]}... is too large a number ({len(digits.lstrip('-')):,} digits)") from error


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_constant=_no_constant, parse_float=_finite, parse_int=_whole
)
