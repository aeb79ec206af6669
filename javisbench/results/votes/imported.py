"""Votes from elsewhere, made a file of votes. A row that is no vote is counted with its reason."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from javisbench.errors import UsageError
from javisbench.results.votes.forms import Collected, ImportOptions, VoteReader
from javisbench.results.votes.known import Known
from javisbench.results.votes.record import MAX_NAME, Vote, Votes, pair_key
from javisbench.suite_rows import MAX_SUITE_BYTES
from javisbench.system_faults import raise_if_system


@dataclass(frozen=True)
class Imported:
    """What became of some files.

    Attributes:
        votes: the votes.
        first: why rows were left out, and the first such row.
    """

    votes: Votes
    first: Mapping[str, str]


def import_votes(files: Sequence[Path], options: ImportOptions, known: Known | None = None) -> Imported:
    """Read votes.

    Args:
        files: CSV, JSON lines, a JSON list of objects, VBench's annotations, answers saved by a page, or files of votes
            made earlier.
        options: how they are read.
        known: what they may be about; votes on anything else are left out. None to take all.

    Raises:
        UsageError: a file that cannot be read, whose columns are not understood, or not one vote in all of them.
    """
    found = Collected()
    reader = VoteReader(options, known, found)
    sources, seen = [], set()
    for file in files:
        before, raw = len(found.votes), _bytes(file)
        sha = hashlib.sha256(raw).hexdigest()
        if sha in seen:
            found.notices.append(f"{file.name} holds the same as another file: read once")
            continue
        seen.add(sha)
        form, rows = reader.read(file)
        sources.append(
            {
                "file": file.name[:MAX_NAME],
                "sha256": sha,
                "form": form,
                "rows": rows,
                "votes": len(found.votes) - before,
            }
        )
    votes = _without_second_votes(found)
    if not votes:
        told = "; ".join(
            f"{count:,} {reason} (first: {found.first[reason]})" for reason, count in found.left_out.items()
        )
        raise UsageError(f"There is not one vote in {', '.join(map(str, files))}{': ' if told else '.'}{told}")
    suite, suite_hash = _suite_of(known, options)
    voters = any(vote.voter for vote in votes)
    return Imported(
        Votes(
            votes=tuple(votes),
            suite=suite,
            suite_hash=suite_hash,
            questions=found.questions,
            sources=sources,
            left_out=dict(found.left_out),
            notices=found.notices,
            names="none" if not voters else "kept" if options.salt is None or found.kept_names else "pseudonyms",
            version=_version(),
        ),
        found.first,
    )


def _bytes(file: Path) -> bytes:
    try:
        if not file.is_file():
            raise UsageError(f"{file} {'is no plain file' if file.exists() else 'is not there'}.")
        if file.stat().st_size > MAX_SUITE_BYTES:
            raise UsageError(f"{file} is larger than {MAX_SUITE_BYTES >> 20} MiB: give its votes in several files.")
        return file.read_bytes()
    except OSError as error:
        raise_if_system(error, file)
        raise UsageError(f"{file} cannot be read ({error.strerror}).") from error


def _version() -> str:
    from javisbench import __version__

    return __version__


def _suite_of(known: Known | None, options: ImportOptions) -> tuple[str, str]:
    if known is not None:
        return known.suite, known.suite_hash
    named = {(key.suite, key.suite_hash) for key in options.keys.values()}
    return next(iter(named)) if len(named) == 1 else ("", "")


def _without_second_votes(found: Collected) -> list[Vote]:
    """Of one person on one pair and question one vote: the same again is left out, of contradicting ones all are."""
    by_pair: dict[tuple[Any, ...], list[int]] = {}
    for number, vote in enumerate(found.votes):
        if vote.voter:
            by_pair.setdefault(pair_key(vote), []).append(number)
    gone = set()
    for numbers in by_pair.values():
        if len(numbers) < 2:
            continue
        said = {_side(found.votes[number]) for number in numbers}
        if len(said) == 1:
            found.leave_out("a second vote of one person on one pair that says the same", found.places[numbers[1]],
                            len(numbers) - 1)  # fmt: skip
            gone.update(numbers[1:])
        else:
            found.leave_out("votes of one person on one pair that contradict each other", found.places[numbers[0]],
                            len(numbers))  # fmt: skip
            gone.update(numbers)
    return [vote for number, vote in enumerate(found.votes) if number not in gone]


def _side(vote: Vote) -> str:
    """The model that was preferred; empty where neither was."""
    return {"a": vote.model_a, "b": vote.model_b}.get(vote.answer, "")
