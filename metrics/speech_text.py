"""Comparing what was said with what should have been: text as it is compared, and error rates."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from javisbench.errors import UsageError

Rule = Literal["basic", "raw"]
UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "km", "my", "bo"})
"""Languages that are written without spaces between words (ISO 639 codes)."""
_UNSPACED_SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
_TAG = re.compile(r"\[S(\d+)\]")


@dataclass(frozen=True)
class Errors:
    """Edits that turn a reference into what was heard.

    Attributes:
        substituted: units that are others.
        deleted: units of the reference that were not heard.
        inserted: units that were heard besides.
        units: of the reference, at least 1.
    """

    substituted: int
    deleted: int
    inserted: int
    units: int

    @property
    def rate(self) -> float:
        """All edits over the units of the reference; above 1 where more is inserted than there is."""
        return (self.substituted + self.deleted + self.inserted) / self.units


def normalised(text: str, rule: Rule = "basic") -> str:
    """Text as it is compared.

    Args:
        text: any.
        rule: ``basic``: compatibility forms (NFKC), lower case, punctuation and symbols gone (an apostrophe within a
            word stays), white space single. ``raw``: lower case and white space alone, so that commas count.
    """
    text = text.lower() if rule == "raw" else unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    if rule == "basic":
        inner = re.sub(r"(?<=\w)'(?=\w)", "\0", text)
        text = "".join(c if c == "\0" or unicodedata.category(c)[0] not in "PSC" else " " for c in inner)
        text = text.replace("\0", "'")
    return " ".join(text.split())


def is_unspaced(text: str, language: str = "") -> bool:
    """Whether a text is written without spaces: by its language, and where none is given by most of its letters."""
    code = language.strip().lower().replace("_", "-").partition("-")[0]
    if code:
        return code in UNSPACED
    letters = [c for c in text if c.isalpha()]
    return sum(_script(c) for c in letters) * 2 > len(letters)


@lru_cache(4096)
def _script(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(_UNSPACED_SCRIPTS)


def words_of(text: str, language: str = "", rule: Rule = "basic") -> list[str]:
    """The units of a word error rate: words, and characters in languages that are written without spaces."""
    clean = normalised(text, rule)
    return characters_of(clean, rule) if is_unspaced(clean, language) else clean.split()


def characters_of(text: str, rule: Rule = "basic") -> list[str]:
    """The units of a character error rate: characters, spaces left out."""
    return list(normalised(text, rule).replace(" ", ""))


def errors(reference: Sequence[str], heard: Sequence[str]) -> Errors:
    """Fewest edits between two sequences of units, by jiwer.

    Raises:
        UsageError: jiwer is not installed, or the reference is empty.
    """
    if not reference:
        raise UsageError("An error rate needs a reference with at least one unit.")
    if not heard:
        return Errors(0, len(reference), 0, len(reference))
    try:
        import jiwer
    except ImportError as error:
        raise UsageError(
            "Error rates need the package jiwer. Install it with: pip install 'javisbench[speech]'",
            kind="missing_extra",
        ) from error
    found = jiwer.process_words([" ".join(reference)], [" ".join(heard)])
    return Errors(found.substitutions, found.deletions, found.insertions, len(reference))


def speakers_of(text: str) -> dict[str, str]:
    """What each speaker says in a text with tags ``[S1]``, ``[S2]``: parts of one speaker joined, in the order spoken.

    What stands before the first tag belongs to nobody; a text without tags has no speaker.
    """
    parts = _TAG.split(text)
    said: dict[str, str] = {}
    for speaker, part in zip(parts[1::2], parts[2::2], strict=True):
        said[speaker] = said.get(speaker, "") + part
    return said


def untagged(text: str) -> str:
    """A text without the tags of its speakers: what is said, in order."""
    return " ".join(_TAG.sub(" ", text).split()) if _TAG.search(text) else text


def cpcer(reference: str, heard: str, rule: Rule = "basic") -> Errors:
    """Character errors of texts with speakers' tags, speakers paired so that the errors are fewest (cpCER).

    A speaker who is missing on one side is paired with silence. Numbers of speakers need not agree.

    Raises:
        UsageError: the reference has no tags, or nothing but tags.

    Source: Watanabe et al., CHiME-6, 2020 (cpWER), on characters, as MOVA's evaluation has it.
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    wanted = [characters_of(text, rule) for text in speakers_of(reference).values()]
    said = [characters_of(text, rule) for text in speakers_of(heard).values()]
    units = sum(map(len, wanted))
    if not units:
        raise UsageError("The reference says nothing: it needs tags like [S1] and words after them.")
    size = max(len(wanted), len(said))
    wanted += [[]] * (size - len(wanted))
    said += [[]] * (size - len(said))
    pairs = [[_edits(a, b) for b in said] for a in wanted]
    cost = np.array([[e.substituted + e.deleted + e.inserted for e in row] for row in pairs])
    rows, columns = linear_sum_assignment(cost)
    chosen = [pairs[i][j] for i, j in zip(rows, columns, strict=True)]
    return Errors(
        sum(e.substituted for e in chosen), sum(e.deleted for e in chosen), sum(e.inserted for e in chosen), units
    )


def _edits(reference: Sequence[str], heard: Sequence[str]) -> Errors:
    """As `errors`, with an empty reference allowed."""
    return errors(reference, heard) if reference else Errors(0, 0, len(heard), 1)
