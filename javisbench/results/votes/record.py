"""The file of votes: JSON lines, a head that says where they come from, then one vote a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

from javisbench.durable import sweep_earlier, write_text
from javisbench.errors import RunError
from javisbench.results.checked_json import Checker, check_size, parse_json
from javisbench.text import json_text, printable

VOTES_SCHEMA = 1
KIND = "javisbench-votes"
MAX_BYTES = 512 * 2**20
MAX_VOTES = 1_000_000
MAX_NAME = 200
MAX_TEXT = 4000
MAX_SOURCES = 1000
OVERALL_QUESTION = "overall"
"""What votes without a question answer: which clip is better."""

Answer: TypeAlias = Literal["a", "b", "tie", "bad"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)


@dataclass(frozen=True, slots=True)
class Vote:
    """What one person said of two clips of one prompt.

    Attributes:
        sample_id: of the prompt.
        repeat: which clip of it, of both models.
        model_a: whose clip was named, or shown on the left, first.
        model_b: whose was the other.
        answer: ``a`` or ``b``, the better one; ``tie``: equally good; ``bad``: equally bad, which counts as a tie.
        voter: pseudonym, or empty where not known.
        question: id of what was asked.
    """

    sample_id: str
    repeat: int
    model_a: str
    model_b: str
    answer: Answer
    voter: str = ""
    question: str = OVERALL_QUESTION


@dataclass(frozen=True)
class Votes:
    """The votes of a file.

    Attributes:
        votes: in the order of their sources; of one person on one pair and question there is one.
        suite: name of the suite, or empty where not known.
        suite_hash: of its rows, or empty.
        questions: id to what was asked, as far as known.
        sources: of each file that was read: name, SHA-256, form, rows, votes.
        left_out: why rows became no vote, and how many.
        notices: what else is worth knowing.
        names: what stands for voters: ``pseudonyms``, ``kept`` (as they came) or ``none``.
        version: of javisbench.
    """

    votes: tuple[Vote, ...]
    suite: str = ""
    suite_hash: str = ""
    questions: Mapping[str, str] = field(default_factory=dict)
    sources: Sequence[Mapping[str, Any]] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    notices: Sequence[str] = ()
    names: Literal["pseudonyms", "kept", "none"] = "none"
    version: str = ""

    @property
    def asked(self) -> tuple[str, ...]:
        """Ids of the questions that have votes, in the order of their first vote; the overall one first."""
        found = dict.fromkeys(vote.question for vote in self.votes)
        return tuple(sorted(found, key=lambda question: question != OVERALL_QUESTION))


def save_votes(votes: Votes, target: Path) -> None:
    """Write a file of votes, whole or not at all."""
    head = {
        "kind": KIND,
        "schema": VOTES_SCHEMA,
        **{field.name: getattr(votes, field.name) for field in fields(votes)},
        "votes": len(votes.votes),
    }
    lines = [json_text(head), *(json_text(_row(vote)) for vote in votes.votes)]
    sweep_earlier(target)
    write_text(target, "\n".join(lines) + "\n")


def _row(vote: Vote) -> dict[str, Any]:
    row = {"sample_id": vote.sample_id, "a": vote.model_a, "b": vote.model_b, "vote": vote.answer}
    optional = {"repeat": (vote.repeat, 0), "voter": (vote.voter, ""), "question": (vote.question, OVERALL_QUESTION)}
    return row | {name: value for name, (value, default) in optional.items() if value != default}


def is_votes_file(path: Path) -> bool:
    """Whether a file says that it is one of votes, whole or not."""
    with path.open("rb") as file:
        return f'"kind": "{KIND}"'.encode() in file.read(200)


def load_votes(path: Path) -> Votes:
    """Read a file of votes, which somebody else may have written.

    Raises:
        RunError: no such file, none of votes, of a newer version, too large, or with a line that is damaged.
    """
    if not path.is_file():
        raise RunError(f"There is no file of votes at {path}. Make one: javisbench votes import FILE --out {path}")
    check_size(path, MAX_BYTES)
    lines = path.read_bytes().split(b"\n")
    head = _head(path, lines[0])
    check = Checker(str(path))
    rows = [(number, line) for number, line in enumerate(lines[1:], start=2) if line.strip()]
    if len(rows) > MAX_VOTES:
        check.fail("the file", f"has {len(rows):,} votes; at most {MAX_VOTES:,} are read")
    if check.count(head.get("votes"), "votes") != len(rows):
        check.fail("votes", f"says {head['votes']:,}, but {len(rows):,} lines follow")
    found = tuple(_vote(check, parse_json(line, f"{path}, line {number}"), f"line {number}") for number, line in rows)
    names = head.get("names", "none")
    if names not in ("pseudonyms", "kept", "none"):
        check.fail("names", f"is {str(names)[:40]!r}")
    return Votes(
        votes=_once(check, found),
        suite=check.text(head, "suite", MAX_NAME, default=""),
        suite_hash=check.text(head, "suite_hash", MAX_NAME, default=""),
        questions=_texts(check, head.get("questions", {}), "questions"),
        sources=_sources(check, head.get("sources", [])),
        left_out=_counts(check, head.get("left_out", {}), "left_out"),
        notices=_lines(check, head.get("notices", []), "notices"),
        names=names,
        version=check.text(head, "version", MAX_NAME, default=""),
    )


def _head(path: Path, line: bytes) -> dict[str, Any]:
    advice = f"Import votes first: javisbench votes import {path} --out votes.jsonl"
    try:
        head = parse_json(line, f"{path}, line 1")
    except RunError as error:
        raise RunError(f"{path} is no file of votes of javisbench. {advice}") from error
    if not isinstance(head, dict) or head.get("kind") != KIND:
        raise RunError(f"{path} is no file of votes of javisbench. {advice}")
    if head.get("schema") != VOTES_SCHEMA:
        raise RunError(f"{path} has schema {head.get('schema')!r}; this javisbench reads {VOTES_SCHEMA}. Update it.")
    return head


def _vote(check: Checker, value: Any, where: str) -> Vote:
    row = check.mapping(value, where)
    answer = row.get("vote")
    if answer not in ANSWERS:
        check.fail(f"{where}, vote", f"is {str(answer)[:40]!r}; it is one of {', '.join(ANSWERS)}")
    models = [check.text(row, side, MAX_NAME) for side in ("a", "b")]
    if models[0] == models[1]:
        check.fail(where, "compares a model with itself")
    return Vote(
        check.text(row, "sample_id", MAX_TEXT),
        check.count(row.get("repeat", 0), f"{where}, repeat"),
        models[0],
        models[1],
        cast(Answer, answer),
        check.text(row, "voter", MAX_NAME, default=""),
        check.text(row, "question", MAX_NAME, default=OVERALL_QUESTION) or OVERALL_QUESTION,
    )


def _once(check: Checker, votes: tuple[Vote, ...]) -> tuple[Vote, ...]:
    seen = set()
    for number, vote in enumerate(votes, start=2):
        if vote.voter and (key := pair_key(vote)) in seen:
            check.fail(f"line {number}", "is a second vote of one person on one pair")
        elif vote.voter:
            seen.add(key)
    return votes


def pair_key(vote: Vote) -> tuple[Any, ...]:
    """What one person may vote on once."""
    return vote.voter, vote.question, vote.sample_id, vote.repeat, *sorted((vote.model_a, vote.model_b))


def _texts(check: Checker, value: Any, where: str) -> dict[str, str]:
    found = check.mapping(value, where)
    return {printable(name)[:MAX_NAME]: printable(check.string(text, where, MAX_TEXT)) for name, text in found.items()}


def _counts(check: Checker, value: Any, where: str) -> dict[str, int]:
    found = check.mapping(value, where)
    return {printable(name)[:MAX_TEXT]: check.count(count, where) for name, count in found.items()}


def _lines(check: Checker, value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_SOURCES:
        check.fail(where, f"is no list of at most {MAX_SOURCES:,}")
    return tuple(printable(check.string(text, where, MAX_TEXT)) for text in value)


def _sources(check: Checker, value: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list) or len(value) > MAX_SOURCES:
        check.fail("sources", f"is no list of at most {MAX_SOURCES:,}")
    return tuple(
        {
            "file": check.text(source, "file", MAX_NAME, default=""),
            "sha256": check.text(source, "sha256", MAX_NAME, default=""),
            "form": check.text(source, "form", MAX_NAME, default=""),
            "rows": check.count(source.get("rows", 0), "sources, rows"),
            "votes": check.count(source.get("votes", 0), "sources, votes"),
        }
        for source in (check.mapping(item, "sources") for item in value)
    )


def votes_of(votes: Votes, kept: Iterable[Vote]) -> Votes:
    """The same file with some of its votes."""
    return replace(votes, votes=tuple(kept))
