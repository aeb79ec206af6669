"""What people said of a board's models: strengths by votes, how far voters agree, and how metrics agree with people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from javisbench.errors import UsageError
from javisbench.leaderboard.clips import suite_key
from javisbench.leaderboard.prompts import prompt_groups
from javisbench.private import Scrubber
from javisbench.publish.public import public_model
from javisbench.results.table import Table
from javisbench.results.votes.against import agreement_table, agreements, people_with_people
from javisbench.results.votes.people import Heard, VoterFacts, hear, people_table, title_of, voters_of
from javisbench.results.votes.record import Votes

if TYPE_CHECKING:
    from javisbench.results.run_folder import StoredResult

MAX_VOTERS_SHOWN = 200


@dataclass(frozen=True)
class People:
    """What people said of the models of one suite.

    Attributes:
        suite: its name.
        questions: what was asked, where known.
        overall: strengths by all votes.
        by_aspect: aspect id to strengths by category.
        agreements: one table a question and protocol.
        voters: each voter, at most so many.
        more_voters: further ones.
    """

    suite: str
    questions: tuple[tuple[str, str], ...]
    overall: Table
    by_aspect: Mapping[str, Table]
    agreements: tuple[Table, ...]
    voters: tuple[VoterFacts, ...]
    more_voters: int


def people_of(votes: Votes, results: Sequence[StoredResult]) -> People | None:
    """What votes say of a board's results; None where no vote is about them.

    Names of models in votes are made as public as those of the results are, and voters whose names were kept are shown
    by numbers.

    Raises:
        UsageError: the votes do not say which suite they are about, and may be about several.
    """
    votes = _public(votes)
    heard = [(group, hear(votes, group)) for group in prompt_groups(results)]
    heard = [(group, own) for group, own in heard if own.votes.votes]
    if not heard:
        return None
    if len(heard) > 1:
        suites = " and ".join(f"{group[0].suite} ({group[0].suite_hash[:12]})" for group, _ in heard[:2])
        raise UsageError(
            f"The file of votes does not say which of these suites it is about: {suites}. Import the votes again with "
            "--run or --suite, or build a board of one suite."
        )
    ((group, own),) = heard
    return _people(votes, own, group, [result for result in results if suite_key(result) == suite_key(group[0])])


def _public(votes: Votes) -> Votes:
    scrub = Scrubber.of_this_machine()
    models = {name for vote in votes.votes for name in (vote.model_a, vote.model_b)}
    shown = {name: public_model(name, scrub) for name in models}
    voters = {vote.voter: vote.voter for vote in votes.votes}
    if votes.names == "kept":
        voters = {name: name and f"voter {number}" for number, name in enumerate(sorted(voters), start=1)}
    return replace(
        votes,
        votes=tuple(
            replace(vote, model_a=shown[vote.model_a], model_b=shown[vote.model_b], voter=voters[vote.voter])
            for vote in votes.votes
        ),
        left_out={scrub.text(why): count for why, count in votes.left_out.items()},
    )


def _people(votes: Votes, heard: Heard, group: Sequence[StoredResult], results: Sequence[StoredResult]) -> People:
    keys = {result.model: result.key for result in group}
    by_aspect = {aspect.id: _keyed(people_table(heard, aspect.id), keys) for aspect in heard.aspects}
    voters = voters_of(heard.votes.votes).voters
    return People(
        suite=group[0].suite,
        questions=tuple((name, text) for name, text in votes.questions.items() if name in heard.votes.asked),
        overall=_keyed(people_table(heard), keys),
        by_aspect={name: table for name, table in by_aspect.items() if table.groups},
        agreements=tuple(_agreements(votes, results)),
        voters=voters[:MAX_VOTERS_SHOWN],
        more_voters=max(0, len(voters) - MAX_VOTERS_SHOWN),
    )


def _keyed(table: Table, keys: Mapping[str, str]) -> Table:
    """The table with results' keys in place of models' names, so that rows lead to pages."""
    groups = tuple(
        replace(
            group, id=f"people-{group.id.replace('/', '-')}", rows=tuple(replace(r, id=keys[r.id]) for r in group.rows)
        )
        for group in table.groups
    )
    return replace(table, groups=groups)


def _agreements(votes: Votes, results: Sequence[StoredResult]) -> list[Table]:
    """Metrics against people, protocol by protocol: values of two protocols are not compared."""
    tables = []
    by_protocol: dict[str, dict[str, StoredResult]] = {}
    for result in results:
        by_protocol.setdefault(result.protocol_label, {}).setdefault(result.model, result)
    for label, own in by_protocol.items():
        members = list(own.values())
        heard = hear(votes, members)
        for question in heard.votes.asked:
            found = agreements(heard, members, question)
            told = [title_of(question, heard.votes)] if len(heard.votes.asked) > 1 else []
            title = ", ".join([*told, label])
            if any(one.accuracy.value is not None or one.models_tau is not None for one in found):
                tables.append(agreement_table(found, people_with_people(heard, question), members, title))
    return tables
