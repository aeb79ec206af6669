"""Aspects that a suite's own columns make: the column is the aspect, its distinct values are the categories."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from javisbench.taxonomy import ASPECTS, Aspect, Category

MAX_OWN_CATEGORIES = 64
MAX_OWN_ASPECTS = 16
_RESERVED = frozenset({*ASPECTS, "overall"})


@dataclass(frozen=True)
class OwnColumn:
    """A column that javisbench gives no meaning.

    Attributes:
        values: the distinct values (`values_of`), in order; none where there are too many.
        distinct: how many there are in the whole suite, empty cells aside.
    """

    values: tuple[str, ...]
    distinct: int

    @classmethod
    def of(cls, cells: Iterable[str]) -> OwnColumn:
        """The column with these cells."""
        values = {value for cell in cells for value in values_of(cell)}
        kept = sorted(values, key=_order) if len(values) <= MAX_OWN_CATEGORIES else []
        return cls(tuple(kept), len(values))


def values_of(cell: str) -> tuple[str, ...]:
    """The values of a cell, without the blanks around them: one, or those of a JSON list of texts and numbers; none of
    an empty cell.
    """
    text = cell.strip()
    if text.startswith("["):
        try:
            listed = json.loads(text)
        except (ValueError, RecursionError):
            listed = None
        if isinstance(listed, list) and all(type(value) in (str, int, float) for value in listed):
            return tuple(dict.fromkeys(stripped for value in listed if (stripped := str(value).strip())))
    return (text,) if text else ()


def _order(value: str) -> tuple[float, str, str]:
    """Numbers by size, then text by the alphabet."""
    number = re.fullmatch(r"[+-]?\d{1,15}(?:\.\d{1,15})?", value, re.ASCII)
    return (float(value) if number else float("inf"), value.casefold(), value)


def own_aspects(columns: Mapping[str, Sequence[str]]) -> tuple[Aspect, ...]:
    """One aspect a column.

    Args:
        columns: name to the values that become its categories.

    Returns:
        aspects in the order of `columns`. Names and values stand in the titles as they are; ids are made of lower-case
        ASCII letters, digits and ``_``, safe in file names, and depend on nothing but the name or value itself, unless
        two would share one.
    """
    ids = _ids(columns, "column")
    return tuple(
        Aspect(
            f"{ids[column]}_column" if ids[column] in _RESERVED else ids[column],
            column,
            describe(column),
            tuple(Category(id_, value, "") for value, id_ in _ids(values, "value").items()),
        )
        for column, values in columns.items()
    )


def describe(column: str) -> str:
    """What an aspect that a column makes is about."""
    return f"Values of the suite's own column {column}."


def own_facts(aspects: Iterable[Aspect]) -> list[dict[str, Any]]:
    """Own aspects as ``summary.json`` holds them."""
    return [
        {
            "id": aspect.id,
            "title": aspect.title,
            "categories": [{"id": category.id, "title": category.title} for category in aspect.categories],
        }
        for aspect in aspects
    ]


def joined(aspects: Iterable[Aspect]) -> tuple[Aspect, ...]:
    """Own aspects of several results: one an id, with the categories of all."""
    found: dict[str, Aspect] = {}
    for aspect in aspects:
        before = found.setdefault(aspect.id, aspect)
        categories = {category.id: category for category in (*aspect.categories, *before.categories)}
        ordered = sorted(categories.values(), key=lambda category: _order(category.title))
        found[aspect.id] = replace(before, categories=tuple(ordered))
    return tuple(found.values())


def _ids(names: Iterable[str], otherwise: str) -> dict[str, str]:
    """Name to a safe id that no other of `names` has."""
    slugs = {name: slug(name) for name in names}
    counts = Counter(slugs.values())
    return {
        name: found if found and counts[found] == 1 else f"{found or otherwise}_{_digest(name)}"
        for name, found in slugs.items()
    }


def slug(name: str) -> str:
    """`name` in lower-case ASCII letters, digits and ``_``, at most 40 of them; may be empty."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:40].rstrip("_")


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:8]
