"""What votes say of models: strengths with intervals and ranks, overall and by category; and how far voters agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from javisbench.agreement import Concord, alpha, concord
from javisbench.bradley_terry import A_WINS, B_WINS, ELO, TIE, intervals, strengths
from javisbench.errors import UsageError
from javisbench.results.cell import OVERALL, STATUS_NOTE, Cell
from javisbench.results.table import Column, Row, RowGroup, Table, aspects_of
from javisbench.results.verdicts import Rank, judge_estimates
from javisbench.results.votes.known import Known
from javisbench.results.votes.record import Vote, Votes, votes_of
from javisbench.stats import FEW_PROMPTS, Estimate
from javisbench.text import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.results.run_folder import StoredResult
    from javisbench.taxonomy import Aspect

MIDDLE = 1000.0
"""Elo points of a model that is as good as the models on average."""
HOW = (
    "Strengths from votes on pairs: Bradley-Terry with ties (Davidson 1970), in Elo points; 1000 is the models' mean, "
    "and of two models 400 points apart the better one is preferred ten times as often."
)
MIN_VOTERS = 10
"""Fewer voters make no intervals: what ten people say, nine of them may say by chance."""
_OUTCOMES = {"a": A_WINS, "b": B_WINS}


@dataclass(frozen=True)
class Heard:
    """Votes that are about some models and prompts.

    Attributes:
        votes: those that are.
        models: in the order of the results; without results by name.
        members: category (``aspect/category``) to the ids of its prompts.
        aspects: that categories are of.
        left_out: why votes of the file do not count here, and how many.
    """

    votes: Votes
    models: tuple[str, ...]
    members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    aspects: tuple[Aspect, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)


def hear(votes: Votes, results: Sequence[StoredResult] = ()) -> Heard:
    """The votes that are about `results`, which are of one suite; all of them without results.

    Raises:
        UsageError: results on several suites.
    """
    if not results:
        models = sorted({name for vote in votes.votes for name in (vote.model_a, vote.model_b)})
        return Heard(votes, tuple(models))
    known = Known.of_runs(results)
    assert known.clips is not None
    other = _other_suite(votes, known)
    if other:
        return Heard(votes_of(votes, ()), tuple(known.clips), left_out={other: len(votes.votes)})
    kept, left_out = [], Counter[str]()
    for vote in votes.votes:
        reason = _why_not(vote, known)
        if reason is None:
            kept.append(vote)
        else:
            left_out[reason] += 1
    members: dict[str, set[str]] = {}
    for result in results:
        for sample_id, info in result.samples_by_id().items():
            for category in info.categories:
                members.setdefault(category, set()).add(sample_id)
    voted = {vote.sample_id for vote in kept}
    return Heard(
        votes_of(votes, kept),
        tuple(known.clips),
        {name: frozenset(ids) for name, ids in members.items() if ids & voted},
        aspects_of(results),
        dict(left_out),
    )


def _other_suite(votes: Votes, known: Known) -> str:
    """What the votes are of instead; empty where they may be of these prompts."""
    if votes.suite and votes.suite != known.suite:
        return f"of the suite {votes.suite}"
    if votes.suite_hash and known.suite_hash and votes.suite_hash != known.suite_hash:
        return f"of another revision of {known.suite}"
    return ""


def _why_not(vote: Vote, known: Known) -> str | None:
    assert known.clips is not None
    for model in (vote.model_a, vote.model_b):
        if model not in known.clips:
            return f"on {model}, which is not among the results"
        if known.clips[model] and (vote.sample_id, vote.repeat) not in known.clips[model]:
            return f"on clips that {model} does not have"
    return None


@dataclass(frozen=True)
class Standing:
    """One model by one question on one slice.

    Attributes:
        model: its name.
        points: strength in Elo points, with interval and rank.
        won: share of its votes that it won, ties counting half.
        wins: votes for it.
        ties: votes for neither.
        losses: votes for the other.
    """

    model: str
    points: Cell
    won: Cell
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True)
class Standings:
    """The models by one question on one slice.

    Attributes:
        question: id.
        slice: ``overall`` or ``aspect/category``.
        standings: one a model, in the order of `Heard.models`.
        n: votes.
        note: what must be said about intervals and values, or None.
    """

    question: str
    slice: str
    standings: tuple[Standing, ...]
    n: int
    note: str | None = None


def standings(heard: Heard, question: str, slice_name: str = OVERALL) -> Standings:
    """How the models stand by what people said.

    Intervals are over voters where at least 10 voted, else over prompts, else there are none; ranks come from
    `javisbench.results.verdicts` with the same groups of votes.
    """
    inside = None if slice_name == OVERALL else heard.members.get(slice_name, frozenset())
    votes = [v for v in heard.votes.votes if v.question == question and (inside is None or v.sample_id in inside)]
    coded = _Coded.of(votes, heard.models)
    found = strengths(coded.first, coded.second, coded.outcomes, len(heard.models))
    clusters, said = coded.clusters()
    notes = [said, None if found.bounded else _unbounded(coded, heard.models)]
    note = "; ".join(filter(None, notes)) or None
    points = MIDDLE + ELO * found.values
    verdicts = judge_estimates(question, slice_name, points, ELO * found.influences, clusters, note)
    ends = np.full((len(heard.models), 2), np.nan)
    if clusters is not None:
        ends = MIDDLE + ELO * intervals(coded.first, coded.second, coded.outcomes, clusters, len(heard.models))
    ranks = list(verdicts.ranks)
    if not found.bounded:
        # Their width would be that of the votes that were added.
        ends[:] = np.nan
    why = _no_interval(ends) if clusters is not None and found.used and found.bounded else None
    if why is not None:
        ends[:], ranks = np.nan, [None] * len(ranks)
        note = "; ".join(filter(None, [*notes, why]))
    rows = [
        _standing(coded, place, model, points[place], ends[place], ranks[place], note)
        for place, model in enumerate(heard.models)
    ]
    return Standings(question, slice_name, _marked(rows), len(votes), note)


def _no_interval(ends: NDArray[np.float64]) -> str | None:
    """Why votes in groups that are enough in number tell no interval; None where they do."""
    known = ends[np.isfinite(ends).all(axis=1)]
    if not len(known):
        return "nearly all votes are of one voter or prompt: no intervals and ranks"
    if (known[:, 1] - known[:, 0] < 1e-6).all():
        # As of voters who contradict each other everywhere, which is no certainty.
        return "whichever voter or prompt is left out, the votes say the same: no intervals and ranks"
    return None


@dataclass(frozen=True, eq=False)
class _Coded:
    """Votes as numbers."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    outcomes: NDArray[np.intp]
    voters: NDArray[Any]
    prompts: NDArray[Any]

    @classmethod
    def of(cls, votes: Sequence[Vote], models: Sequence[str]) -> _Coded:
        place = {model: number for number, model in enumerate(models)}
        return cls(
            np.array([place[vote.model_a] for vote in votes], dtype=np.intp),
            np.array([place[vote.model_b] for vote in votes], dtype=np.intp),
            np.array([_OUTCOMES.get(vote.answer, TIE) for vote in votes], dtype=np.intp),
            np.array([vote.voter for vote in votes], dtype=object),
            np.array([vote.sample_id for vote in votes], dtype=object),
        )

    def clusters(self) -> tuple[NDArray[np.intp] | None, str | None]:
        """What is left out for intervals, and what must be said of it."""
        if not len(self.voters):
            return None, None
        known = bool((self.voters != "").all())
        voters, by_voter = np.unique(self.voters.astype(str), return_inverse=True)
        prompts, by_prompt = np.unique(self.prompts.astype(str), return_inverse=True)
        if known and len(voters) >= MIN_VOTERS:
            few = f"{len(voters)} voters: intervals may be too narrow" if len(voters) < FEW_PROMPTS else None
            return by_voter.astype(np.intp), few
        why = f"{len(voters)} voter{'s' * (len(voters) != 1)}" if known else "voters are not known"
        if len(prompts) >= MIN_VOTERS:
            few = ", and may be too narrow" if len(prompts) < FEW_PROMPTS else ""
            told = (
                f"{why}: intervals are over {len(prompts)} prompts{few}; what other people would say they do not tell"
            )
            return by_prompt.astype(np.intp), told
        return None, f"{why} and {len(prompts)} prompt{'s' * (len(prompts) != 1)}: too few for intervals and ranks"


def _unbounded(coded: _Coded, models: Sequence[str]) -> str:
    lost = np.bincount(np.where(coded.outcomes == B_WINS, coded.first, coded.second)[coded.outcomes != TIE],
                       minlength=len(models))  # fmt: skip
    won = np.bincount(np.where(coded.outcomes == A_WINS, coded.first, coded.second)[coded.outcomes != TIE],
                      minlength=len(models))  # fmt: skip
    extreme = [
        f"{model} {'won' if won[place] else 'lost'} every vote that was no tie"
        for place, model in enumerate(models)
        if bool(won[place]) != bool(lost[place])
    ]
    told = ", ".join(extreme[:5]) or "some models won every vote against others"
    added = "half a vote each way was added to every pair, and there are no intervals"
    return f"{told}: no finite strength fits best, so {added}"


def _standing(
    coded: _Coded,
    place: int,
    model: str,
    points: float,
    ends: NDArray[np.float64],
    rank: Rank,
    note: str | None,
) -> Standing:
    first, second = coded.first == place, coded.second == place
    wins = int((first & (coded.outcomes == A_WINS)).sum() + (second & (coded.outcomes == B_WINS)).sum())
    ties = int(((first | second) & (coded.outcomes == TIE)).sum())
    n = int((first | second).sum())
    if not n:
        return Standing(model, Cell(status="not_applicable"), Cell(status="not_applicable"), 0, 0, 0)
    won = Cell((wins + ties / 2) / n, n)
    if np.isnan(points):
        lone = Cell(None, n, status="small_n", note="no chain of votes compares it with the other models")
        return Standing(model, lone, won, wins, ties, n - wins - ties)
    low, high = (None if np.isnan(end) else float(end) for end in ends)
    cell = Cell(float(points), n, low, high, "ok" if low is not None else "small_n", note, rank=rank)
    return Standing(model, cell, won, wins, ties, n - wins - ties)


def _marked(rows: Sequence[Standing]) -> tuple[Standing, ...]:
    """Best and second best, of those that are ranked."""
    ranked = sorted((row for row in rows if row.points.rank), key=lambda row: -(row.points.value or 0.0))
    if len(ranked) < 2:
        return tuple(rows)
    places = {ranked[0].model: "best", ranked[1].model: "second"}
    return tuple(
        replace(row, points=replace(row.points, place=places[row.model])) if row.model in places else row  # type: ignore[arg-type]
        for row in rows
    )


def title_of(question: str, votes: Votes) -> str:
    """How a question's column is called: ``People`` where nothing else was asked."""
    return "People" if len(votes.asked) < 2 else f"People: {printable(question)}"


def people_table(heard: Heard, aspect: str | None = None) -> Table:
    """The models by what people said.

    Args:
        heard: of `hear`.
        aspect: id of the aspect whose categories are shown; None for all votes.

    Returns:
        a table with a row a model, strongest first, and a column a question (with one question, the share of votes won
        too); one group, or one a category that has votes.
    """
    slices = [(OVERALL, "All votes")]
    shown = next((known for known in heard.aspects if known.id == aspect), None)
    if shown is not None:
        slices = [(f"{shown.id}/{category.id}", category.title) for category in shown.categories]
    asked = heard.votes.asked
    columns = [Column(f"people:{question}", title_of(question, heard.votes), True, "Elo", 0) for question in asked]
    if len(asked) == 1:
        columns.append(Column("people_won", "Votes won", True, "share", 3))
    groups: list[RowGroup] = []
    said: dict[str, list[str]] = {}
    for name, title in slices:
        found = [standings(heard, question, name) for question in asked]
        if any(one.n for one in found):
            groups.append(RowGroup(name, title, _rows(heard.models, found)))
        for one in found:
            if one.note:
                where = [title_of(one.question, heard.votes)] if len(asked) > 1 else []
                said.setdefault(one.note, []).append(", ".join([*where, *([title] if len(slices) > 1 else [])]))
    notes = [*_marks(groups, columns), *(votes_lines(heard) if aspect is None else ())]
    for note, places in said.items():
        where = places if any(places) and len(places) < len(slices) * len(asked) else []
        notes.append(f"{'; '.join(where)}: {note}." if where else f"{note[0].upper()}{note[1:]}.")
    return Table(
        title="People" if shown is None else f"People: {shown.title}",
        protocol=HOW,
        columns=tuple(columns),
        groups=tuple(groups),
        notes=tuple(printable(note) for note in notes),
        row_heading="Model",
        is_board=True,
    )


def _marks(groups: Sequence[RowGroup], columns: Sequence[Column]) -> Iterable[str]:
    """What marks in cells mean, of those that are there."""
    cells = [row.cells[col.id] for group in groups for row in group.rows for col in columns if col.id in row.cells]
    if any(cell.ci_low is not None for cell in cells):
        yield (
            "Brackets: 95 % intervals, from leaving out voters (or prompts, where the notes say so) one by one with "
            "all their votes."
        )
    if any(cell.rank for cell in cells):
        yield (
            "Ranks are intervals: from 1 + models that are significantly better to all but those significantly worse "
            "(tested by the same groups of votes, Holm-adjusted over the pairs of models)."
        )
    if any(cell.status == "small_n" for cell in cells):
        yield STATUS_NOTE["small_n"]


def _rows(models: Sequence[str], found: Sequence[Standings]) -> tuple[Row, ...]:
    rows = []
    for place, model in enumerate(models):
        own = [one.standings[place] for one in found]
        cells = {f"people:{one.question}": standing.points for one, standing in zip(found, own, strict=True)}
        if len(found) == 1:
            cells["people_won"] = own[0].won
        if any(cell.n for cell in cells.values()):
            rows.append(Row(model, printable(model), cells, "people"))
    first = f"people:{found[0].question}" if found else ""
    return tuple(sorted(rows, key=lambda row: -(row.cells[first].value or -np.inf)))


# The voters


@dataclass(frozen=True)
class VoterFacts:
    """One voter.

    Attributes:
        voter: pseudonym.
        votes: given.
        shared: pairs of a vote of theirs and one of another on the same pair.
        same: share of these that say the same; None without any.
        ties: share of their votes that are ties.
        first: share of their other votes that are for the clip that was named first or shown left; None without any.
    """

    voter: str
    votes: int
    shared: int
    same: float | None
    ties: float
    first: float | None


@dataclass(frozen=True)
class Voters:
    """How far voters agree, by one question or by all.

    Attributes:
        count: voters known by a pseudonym.
        alpha: Krippendorff's alpha over all votes of known voters, with 1, 0 (tie) and -1 on an interval scale.
        concord: of any two votes on one pair.
        voters: one a voter, those with most votes first.
    """

    count: int
    alpha: Estimate
    concord: Concord
    voters: tuple[VoterFacts, ...]


def voters_of(votes: Iterable[Vote], *, seed: int = 0) -> Voters:
    """How far voters agree; votes of unknown voters are left out, since a person may not be compared with themself."""
    known = [vote for vote in votes if vote.voter]
    values = np.array([_lean(vote) for vote in known], dtype=np.float64)
    units = _numbers([(v.question, v.sample_id, v.repeat, *sorted((v.model_a, v.model_b))) for v in known])
    prompts = _numbers([vote.sample_id for vote in known])
    names = sorted({vote.voter for vote in known})
    by_voter = _numbers([vote.voter for vote in known])
    counts = {side: np.bincount(units[values == side], minlength=1 + units.max(initial=0)) for side in (-1.0, 0.0, 1.0)}
    all_of = np.sum(list(counts.values()), axis=0)
    facts = []
    for number, name in enumerate(names):
        own = np.flatnonzero(by_voter == number)
        others = int((all_of[units[own]] - 1).sum())
        same = sum(int(counts[side][units[own[values[own] == side]]].sum()) for side in counts) - len(own)
        sided = [known[i] for i in own if known[i].answer in ("a", "b")]
        facts.append(
            VoterFacts(
                name,
                len(own),
                others,
                same / others if others else None,
                1 - len(sided) / len(own),
                sum(vote.answer == "a" for vote in sided) / len(sided) if sided else None,
            )
        )
    return Voters(
        len(names),
        alpha(values, units, prompts, seed=seed),
        concord(values, units, prompts, seed=seed),
        tuple(sorted(facts, key=lambda fact: -fact.votes)),
    )


def _lean(vote: Vote) -> float:
    """1 for the model whose name comes first, -1 for the other: the same for every order of naming them."""
    if vote.answer not in ("a", "b"):
        return 0.0
    return 1.0 if (vote.answer == "a") == (vote.model_a < vote.model_b) else -1.0


def _numbers(keys: Sequence[Any]) -> NDArray[np.intp]:
    known: dict[Any, int] = {}
    return np.array([known.setdefault(key, len(known)) for key in keys], dtype=np.intp)


def votes_lines(heard: Heard) -> Iterable[str]:
    """What must be said of the votes behind a table: their number, voters, ties, agreement, and what does not count."""
    votes = heard.votes.votes
    if not votes:
        yield "No vote is about these models and prompts."
    else:
        yield from _facts(votes)
    for reasons in (heard.votes.left_out, heard.left_out):
        told = "; ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items(), key=lambda item: -item[1]))
        if told:
            yield f"Not counted{' when imported' if reasons is heard.votes.left_out else ''}: {told}."


def _facts(votes: Sequence[Vote]) -> Iterable[str]:
    n, ties, bad = len(votes), sum(v.answer == "tie" for v in votes), sum(v.answer == "bad" for v in votes)
    voters, prompts = len({v.voter for v in votes if v.voter}), len({v.sample_id for v in votes})
    who = f"{voters:,} voter{'s' * (voters != 1)}" if voters else "unknown voters"
    what, where = f"{n:,} vote{'s' * (n != 1)}", f"{prompts:,} prompt{'s' * (prompts != 1)}"
    yield f"{what} of {who} on {where}; {_percent(ties, n)} ties, {_percent(bad, n)} both bad."
    sided = n - ties - bad
    if sided:
        first = sum(vote.answer == "a" for vote in votes)
        of = f"{sided:,} vote{'s' * (sided != 1)}"
        yield f"The clip that was named or shown first was preferred in {_percent(first, sided)} of {of}."
    yield agreement_line(voters_of(votes))


def agreement_line(found: Voters) -> str:
    """How far voters agree, as a sentence."""
    same, side = found.concord.same, found.concord.same_side
    if same.value is None:
        return "How far voters agree is not known: no pair was judged by two of them."
    sides = "" if side.value is None else f", the same clip in {100 * side.value:.0f} % where neither is a tie"
    value, low, high = found.alpha.value, found.alpha.ci_low, found.alpha.ci_high
    told = "not defined" if value is None else f"{value:.2f}" + ("" if low is None else f" [{low:.2f}, {high:.2f}]")
    pairs = f"{same.n:,} pair{'s' * (same.n != 1)}"
    warning = "" if value is None or value >= 0 else " Below 0, voters contradict each other more than chance would."
    return (
        f"Two voters of one pair say the same in {100 * same.value:.0f} % of {pairs} of votes{sides}; "
        f"Krippendorff's alpha is {told}.{warning}"
    )


def _percent(count: int, of: int) -> str:
    return f"{100 * count / of:.0f} %"


def check_voted(heard: Heard) -> None:
    """Refuse to go on without votes.

    Raises:
        UsageError: none is about the models and prompts.
    """
    if not heard.votes.votes:
        told = "; ".join(f"{count:,} {reason}" for reason, count in heard.left_out.items())
        raise UsageError(f"No vote is about these runs{': ' if told else '.'}{told}")


__all__ = [
    "Heard",
    "Standing",
    "Standings",
    "VoterFacts",
    "Voters",
    "agreement_line",
    "check_voted",
    "hear",
    "people_table",
    "standings",
    "title_of",
    "voters_of",
    "votes_lines",
]
