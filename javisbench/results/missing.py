"""What was not computed, in as few lines as tell what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from javisbench.results.cell import Cell
from javisbench.text import printable

_FETCH = re.compile(r"javisbench weights fetch ([\w.+-]+)")
_EXTRA = re.compile(r"pip install 'javisbench\[([\w-]+)\]'")


def missing_lines(cells: Iterable[tuple[str, Cell]]) -> list[str]:
    """A line for all that weights would give, with one command; likewise for packages; one for each other reason.

    Args:
        cells: names of metrics and cells without a value; several cells of a metric count once.
    """
    fetched: dict[str, str] = {}
    lacking: dict[str, dict[str, None]] = {}
    others: dict[str, dict[str, None]] = {}
    for name, cell in cells:
        if not cell.note or cell.value is not None:
            continue
        entry = _FETCH.search(cell.note)
        if cell.status != "missing_weights":
            others.setdefault(printable(cell.note), {})[name] = None
        elif entry is not None:
            fetched[name] = entry[1]
        else:
            lacking.setdefault(printable(cell.note), {})[name] = None
    lines = []
    if fetched:
        entries = " ".join(dict.fromkeys(fetched.values()))
        lines.append(
            f"No weights here for {', '.join(fetched)}. Licences are shown first: javisbench weights fetch {entries}"
        )
    extras = {reason: entry[1] for reason in lacking if (entry := _EXTRA.search(reason)) is not None}
    if len(extras) > 1:
        names = dict.fromkeys(name for reason in extras for name in lacking.pop(reason))
        together = ",".join(dict.fromkeys(extras.values()))
        lines.append(f"Packages lack for {', '.join(names)}: pip install 'javisbench[{together}]'")
    return [*lines, *(f"{', '.join(names)}: {reason}" for reason, names in (lacking | others).items())]
