"""Text that others wrote (file names, prompts, messages of programs), made fit to be shown and stored.

A file name may hold any byte but ``/`` and NUL: escapes that steer a terminal, line breaks that forge a line of a log,
bytes that are no text. What is changed here is changed visibly, so that the reader sees what is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

# C1 controls and DEL; line and paragraph separators; marks that embed, override or isolate a direction of writing; and
# halves of surrogate pairs, which Python puts where a file name is no text (PEP 383). C0 comes to it in `printable`;
# JSON escapes C0 by itself.
_UNSAFE = "\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_UNPRINTABLE = re.compile(f"[\x00-\x1f{_UNSAFE}]")
_UNSAFE_IN_JSON = re.compile(f"[{_UNSAFE}]")


def printable(text: str) -> str:
    r"""`text` on one line, harmless to a terminal.

    Controls (newline and tab too), line separators, marks that turn the direction of text and lone surrogates become
    escapes as in Python's source: ``\n``, ``\x1b``, ``\u202e``, ``\udce9``. All else stays, backslashes too: the
    escapes are for reading, not for reading back, and a second call changes nothing.
    """
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def printable_lines(text: str) -> str:
    """`text` with each of its lines `printable`, for documents whose line breaks are their own."""
    return "\n".join(map(printable, text.split("\n")))


def encodable(text: str) -> str:
    r"""`text` with lone surrogates as escapes (``\udce9``): UTF-8 can hold what is returned."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def json_text(
    value: Any,
    *,
    indent: int | None = None,
    encoding: str = "utf-8",
    default: Callable[[Any], Any] | None = None,
) -> str:
    r"""`value` as JSON that any stream, file or terminal takes; it reads back as the same value.

    Letters stay letters where `encoding` has them. Lone surrogates, and what `printable` would not let through, stand
    as JSON's own ``\uXXXX``.

    Args:
        value: what `json.dumps` takes.
        indent: spaces a level; None for one line.
        encoding: of where it goes.
        default: turns a value of a type that JSON lacks into one that it has.

    Raises:
        ValueError: NaN or an infinity in it, which JSON has no word for.
    """
    plain = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False, default=default)
    text = _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", plain)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent, allow_nan=False, default=default)
    return text
