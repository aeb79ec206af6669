"""What a recogniser of the user's own heard in clips: a table with one row a clip, or one a turn or segment of it.

Columns: ``id`` and ``text``; ``repeat`` (from 0), ``speaker`` and ``start_s`` where there are any. Rows of one clip are
put in the order of their times where all of them have one, else in that of the file. Speakers may stand in the text
instead, as tags ``[S1]``. The table is a CSV or a JSONL file, and may come from anybody.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from javisbench.errors import UsageError
from javisbench.protocol import Protocol, parse_protocol
from javisbench.settings import WORD
from javisbench.suite_rows import MAX_TEXT_LENGTH, Problem, Rows, no_text, read_loose_table

OWN_RECOGNISERS = ("whisper", "sensevoice")
"""Those that javisbench runs, by the encoder's name."""
MAX_SPEAKERS = 64
_TAG = re.compile(r"\[S\d+\]")
_REPEAT = re.compile(r"[0-9]{1,4}")
_TOLD = 3


@dataclass(frozen=True)
class Heard:
    """What was heard in one clip.

    Attributes:
        parts: speaker (empty where not said) and text of each turn, in the order spoken.
    """

    parts: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """All of it, with a space between turns."""
        return " ".join(text for _, text in self.parts)

    @property
    def tagged(self) -> str:
        """All of it, with a tag before what a speaker says: ``[S1]`` is who speaks first."""
        numbers: dict[str, int] = {}
        said = []
        for speaker, text in self.parts:
            tag = f"[S{numbers.setdefault(speaker, len(numbers) + 1)}] " if speaker else ""
            said.append(tag + text)
        return " ".join(said)


@dataclass(frozen=True)
class Transcripts:
    """What one recogniser heard in a set of clips.

    Attributes:
        recogniser: its name, as in the protocol.
        sha256: of the file.
        clips: sample id and repeat to what was heard.
    """

    recogniser: str
    sha256: str
    clips: Mapping[tuple[str, int], Heard] = field(repr=False)

    def of(self, sample_id: str, repeat: int) -> Heard | None:
        """What was heard in a clip; None for one that the file does not name."""
        return self.clips.get((sample_id, repeat))

    @property
    def facts(self) -> dict[str, str]:
        """For the run's record."""
        return {"recogniser": self.recogniser, "sha256": self.sha256}


def check_recogniser(protocol: Protocol, given: str | None) -> Protocol:
    """The protocol whose recogniser is that of the transcripts that are given, if any are.

    Args:
        protocol: as asked for.
        given: name of the recogniser whose transcripts are given; None where none are.

    Raises:
        UsageError: no such name, or the protocol names another recogniser.
    """
    named = protocol.speech.recogniser
    if given is None:
        if named in OWN_RECOGNISERS:
            return protocol
        raise UsageError(
            f"The protocol {protocol.name} goes by the recogniser {named!r}, which is not run here "
            f"({', '.join(OWN_RECOGNISERS)} are): give what it heard with --speech-transcripts {named}=FILE."
        )
    if not WORD.fullmatch(given) or given.lower() in OWN_RECOGNISERS:
        raise UsageError(
            f"Transcripts need the name of their recogniser, a word of letters, digits, '.', '_' and '-' other than "
            f"{' and '.join(OWN_RECOGNISERS)}, which are run here; got {given!r}."
        )
    if named not in (*OWN_RECOGNISERS, given):
        raise UsageError(f"The protocol {protocol.name} goes by the recogniser {named!r}, and {given!r} is given.")
    return parse_protocol(f"{protocol.name}+recogniser={given}")


def read_transcripts(recogniser: str, path: str | Path) -> Transcripts:
    """Read a file of transcripts.

    Raises:
        UsageError: it cannot be read, or rows of it cannot be used; up to three are named.
    """
    path = Path(path).expanduser()
    table = read_loose_table(path)
    if not table.problems and not {"id", "text"} <= set(table.columns):
        table.problem(None, "", f"transcripts have the columns id and text; here are {', '.join(table.columns[:9])}")
    turns = {} if table.problems else _turns(table)
    if table.problems:
        raise UsageError(f"The transcripts {path} cannot be used.", details=_first(table.problems), kind="transcripts")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Transcripts(recogniser, digest, {clip: _heard(rows) for clip, rows in turns.items()})


_Turn = tuple[float | None, str, str]


def _turns(table: Rows) -> dict[tuple[str, int], list[_Turn]]:
    """Clip to its turns: start in seconds, speaker and text."""
    found: dict[tuple[str, int], list[_Turn]] = {}
    lengths: dict[tuple[str, int], int] = {}
    for index, row in enumerate(table.rows):
        sample_id, text, speaker = (_text(table, index, row, name) for name in ("id", "text", "speaker"))
        repeat, start_s = _repeat(table, index, row), _start(table, index, row)
        if not sample_id:
            table.problem(index, "id", "is empty")
        if row.get("text") is None:
            # A gap is no finding: as an empty text it would count every word as missed.
            table.problem(index, "text", 'is missing; "" says that nothing was heard')
        if speaker and _TAG.search(text):
            table.problem(index, "text", "has tags such as [S1], and the row has a speaker: one of both")
        clip = (sample_id, repeat)
        found.setdefault(clip, []).append((start_s, speaker, text))
        lengths[clip] = lengths.get(clip, 0) + len(text)
        if lengths[clip] > MAX_TEXT_LENGTH:
            table.problem(index, "text", f"more than {MAX_TEXT_LENGTH:,} characters of one clip")
        if len(table.problems) > _TOLD:
            break
    return found


def _text(table: Rows, index: int, row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        table.problem(index, name, "is no text")
        return ""
    text = str(value).strip()
    if (found := no_text(text)) is not None:
        table.problem(index, name, found)
    return text


def _repeat(table: Rows, index: int, row: Mapping[str, Any]) -> int:
    text = _text(table, index, row, "repeat")
    if text and not _REPEAT.fullmatch(text):
        table.problem(index, "repeat", "is no number from 0 to 9999")
        return 0
    return int(text or 0)


def _start(table: Rows, index: int, row: Mapping[str, Any]) -> float | None:
    value = row.get("start_s")
    if value is None or value == "":
        return None
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        table.problem(index, "start_s", "is no number of seconds")
    return seconds


def _heard(turns: list[_Turn]) -> Heard:
    times = [start_s for start_s, _, _ in turns]
    if all(time is not None for time in times):
        turns = sorted(turns, key=lambda turn: turn[0] or 0.0)
    return Heard(tuple((speaker, text) for _, speaker, text in turns))


def _first(problems: list[Problem]) -> list[str]:
    told = [str(problem) for problem in problems[:_TOLD]]
    return told if len(problems) <= _TOLD else [*told, "and more"]
