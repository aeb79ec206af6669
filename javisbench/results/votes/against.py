"""How well metrics and judges agree with people: pair accuracy, Kendall's tau by prompt, and the order of models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from javisbench.agreement import kendall_tau, pair_accuracy, pair_outcomes, tau_by_prompt
from javisbench.results.cell import OVERALL, Cell
from javisbench.results.rankability import weights_behind
from javisbench.results.table import Column, Row, RowGroup, Table, column, metric_order, protocol_line
from javisbench.results.votes.people import Heard, standings
from javisbench.stats import Estimate
from javisbench.text import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.results.run_folder import StoredResult

LEAST_MODELS = 3
"""Two models have one order; that a metric has the same is no finding."""


@dataclass(frozen=True)
class Agreement:
    """One metric against people, by one question.

    Attributes:
        metric: id.
        question: id.
        votes: that were asked for, ties of people left out.
        ties: votes that preferred neither, which count in `tau` alone.
        accuracy: share of votes whose preferred clip has the better value, a tie of values counting half; interval over
            prompts. None for a metric of sets.
        strict: the same with ties of values wrong.
        tau: mean over prompts of Kendall's tau-b of values and votes; interval over prompts.
        models_tau: Kendall's tau-b of the models' values and their strengths by votes; None below three models.
        models: behind it.
        lacking: why votes have no values to compare, and how often.
        stand_in: whether the weights were stand-ins, so that the numbers mean nothing.
    """

    metric: str
    question: str
    votes: int
    ties: int
    accuracy: Estimate
    strict: float | None
    tau: Estimate
    models_tau: float | None = None
    models: int = 0
    lacking: Mapping[str, int] = field(default_factory=dict)
    stand_in: bool = False

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(frozen=True)
class PeopleAgreement:
    """People against people, which no metric can be expected to exceed by much.

    Attributes:
        question: id.
        same_side: share of pairs of votes on one pair of clips, neither a tie, that prefer the same clip; interval over
            prompts.
    """

    question: str
    same_side: Estimate


def people_with_people(heard: Heard, question: str) -> PeopleAgreement:
    """How often two voters of one pair prefer the same clip."""
    from javisbench.results.votes.people import voters_of

    found = voters_of([vote for vote in heard.votes.votes if vote.question == question]).concord
    return PeopleAgreement(question, found.same_side)


def agreements(
    heard: Heard,
    results: Sequence[StoredResult],
    question: str,
    metrics: Iterable[str] | None = None,
    *,
    seed: int = 0,
) -> tuple[Agreement, ...]:
    """Every metric of `results` that has a direction, against the votes on one question.

    Args:
        heard: the votes, of `javisbench.results.votes.people.hear` with these results.
        results: one a model, all under one protocol.
        question: id.
        metrics: ids; None for all that are scores (checks of clips are not).
        seed: of the bootstraps.

    Returns:
        the metrics in the order of tables. Values of models that were made with other weights or settings than those of
        most models are not compared.
    """
    there = metric_order({metric for result in results for metric in result.metrics})
    columns = [column(metric, results) for metric in there if metrics is None or metric in set(metrics)]
    columns = [col for col in columns if col.higher_is_better is not None and not (metrics is None and col.is_check)]
    sided = _Sided.of(heard, question, [result.model for result in results])
    frames = [_Scores.of(result) for result in results]
    order = standings(heard, question).standings
    points = {standing.model: standing.points.value for standing in order}
    return tuple(_agreement(col, question, results, frames, sided, points, seed) for col in columns)


COLUMNS = (
    Column("accuracy", "Pairs right", True, "share"),
    Column("strict", "With ties wrong", True, "share"),
    Column("tau", "Tau by prompt", True),
    Column("models_tau", "Tau of models", True, "", 2),
)


def agreement_table(
    found: Sequence[Agreement], people: PeopleAgreement, results: Sequence[StoredResult], title: str = "Agreement"
) -> Table:
    """Metrics against people, a row each, and people against people.

    Args:
        found: of `agreements`.
        people: of `people_with_people`.
        results: that the metrics are of.
        title: of the table.
    """
    rows = [Row(one.metric, column(one.metric, results).title, _cells(one), one.metric) for one in found]
    if people.same_side.value is not None:
        cells = {"accuracy": Cell.of(people.same_side)}
        rows.append(Row("people", "People with each other", cells, "people"))
    notes = [
        "Brackets: 95 % intervals of the sampling noise at this many prompts.",
        "Pairs right: share of votes whose preferred clip has the better value, a tie of values counting half; "
        "votes for neither are left out; of people, how often two voters of one pair prefer the same clip.",
        "Tau by prompt: Kendall's tau-b of values and votes within each prompt, averaged over prompts. Tau of models: "
        "of the models' values and their strengths by votes, from 3 models on; of few models it says little.",
    ]
    lacking: dict[str, list[str]] = {}
    for one in found:
        for why, count in one.lacking.items():
            told = f"{count:,} of {one.votes + one.ties:,} votes have no values to compare ({why})"
            lacking.setdefault(told, []).append(column(one.metric, results).title)
    notes += [f"{', '.join(titles)}: {told}." for told, titles in lacking.items()]
    return Table(title, protocol_line(results), COLUMNS, (RowGroup(OVERALL, title, tuple(rows)),),
                 tuple(map(printable, notes)), "Metric")  # fmt: skip


def _cells(one: Agreement) -> dict[str, Cell]:
    cells = {"tau": Cell.of(one.tau)} if one.tau.value is not None else {}
    if one.accuracy.value is not None:
        cells["accuracy"] = Cell.of(one.accuracy)
    if one.strict is not None:
        cells["strict"] = Cell(one.strict, one.accuracy.n)
    if one.models_tau is not None:
        cells["models_tau"] = Cell(one.models_tau, one.models)
    return cells


def _agreement(
    col: Column,
    question: str,
    results: Sequence[StoredResult],
    frames: Sequence[_Scores],
    sided: _Sided,
    points: Mapping[str, float | None],
    seed: int,
) -> Agreement:
    alike = _alike(results, col.id)
    sign = 1.0 if col.higher_is_better else -1.0
    values = [sign * frame.values(col.id) if same else None for frame, same in zip(frames, alike, strict=True)]
    first, second = (sided.values(values, frames, side) for side in (0, 1))
    lacking: Counter[str] = Counter()
    usable = ~(np.isnan(first) | np.isnan(second))
    if col.kind == "sample":
        unlike = np.array([not alike[a] or not alike[b] for a, b in sided.models], dtype=np.bool_)
        for why, rows in (("made with other weights or settings", unlike), ("a clip without a value", ~unlike)):
            if count := int((rows & ~usable).sum()):
                lacking[why] = count
    told = usable & (sided.lean != 0)
    better = np.where(sided.lean > 0, first, second)[told]
    worse = np.where(sided.lean > 0, second, first)[told]
    right = pair_accuracy(pair_outcomes(better, worse), sided.prompts[told], seed=seed)
    tau = tau_by_prompt(sided.lean[usable], (first - second)[usable], sided.prompts[usable], seed=seed)
    models_tau, models = _order(col.id, sign, results, alike, points)
    return Agreement(
        col.id,
        question,
        int((sided.lean != 0).sum()),
        int((sided.lean == 0).sum()),
        right.estimate,
        right.strict,
        tau,
        models_tau,
        models,
        dict(lacking),
        any(result.stand_in for result in results),
    )


def _alike(results: Sequence[StoredResult], metric: str) -> list[bool]:
    """Which results made their values of a metric as most of them did."""
    behind = weights_behind(results, metric)
    most = Counter(behind).most_common(1)
    return [weights == most[0][0] for weights in behind]


def _order(
    metric: str,
    sign: float,
    results: Sequence[StoredResult],
    alike: Sequence[bool],
    points: Mapping[str, float | None],
) -> tuple[float | None, int]:
    pairs = [
        (sign * cell.value, strength)
        for result, same in zip(results, alike, strict=True)
        if same
        and (cell := result.cell(metric)) is not None
        and cell.value is not None
        and (strength := points.get(result.model)) is not None
    ]
    if len(pairs) < LEAST_MODELS:
        return None, len(pairs)
    values, strengths = zip(*pairs, strict=True)
    return kendall_tau(values, strengths), len(pairs)


@dataclass(frozen=True, eq=False)
class _Scores:
    """A result's scores by clip."""

    rows: Mapping[tuple[str, int], int]
    columns: Mapping[str, NDArray[np.float64]]

    @classmethod
    def of(cls, result: StoredResult) -> _Scores:
        frame = result.scores()
        if frame is None:
            return cls({}, {})
        clips = zip(frame["sample_id"], frame["repeat"], strict=True)
        columns = {
            str(name): frame[name].to_numpy(dtype=np.float64)
            for name in frame.columns
            if name not in ("sample_id", "repeat")
        }
        return cls({(str(sample), int(repeat)): row for row, (sample, repeat) in enumerate(clips)}, columns)

    def values(self, metric: str) -> NDArray[np.float64]:
        """One a row, and NaN at the end, for what has no row."""
        found = self.columns.get(metric)
        lacking = np.full(len(self.rows) if found is None else 1, np.nan)
        return np.append(lacking, np.nan) if found is None else np.append(found, lacking)


@dataclass(frozen=True, eq=False)
class _Sided:
    """Votes on one question as numbers.

    Attributes:
        models: places of both models, ``(n, 2)``.
        clips: of each vote.
        lean: 1 where the first was preferred, -1 where the second was, 0 for a tie.
        prompts: integer prompt of each.
    """

    models: NDArray[np.intp]
    clips: tuple[tuple[str, int], ...]
    lean: NDArray[np.float64]
    prompts: NDArray[np.intp]

    @classmethod
    def of(cls, heard: Heard, question: str, models: Sequence[str]) -> _Sided:
        place = {model: number for number, model in enumerate(models)}
        votes = [
            vote
            for vote in heard.votes.votes
            if vote.question == question and vote.model_a in place and vote.model_b in place
        ]
        prompts = np.unique(np.array([vote.sample_id for vote in votes], dtype=str), return_inverse=True)[1]
        pairs = [(place[vote.model_a], place[vote.model_b]) for vote in votes]
        leans = {"a": 1.0, "b": -1.0}
        return cls(
            np.array(pairs, dtype=np.intp).reshape(-1, 2),
            tuple((vote.sample_id, vote.repeat) for vote in votes),
            np.array([leans.get(vote.answer, 0.0) for vote in votes], dtype=np.float64),
            prompts.reshape(-1).astype(np.intp),
        )

    def values(
        self, columns: Sequence[NDArray[np.float64] | None], frames: Sequence[_Scores], side: int
    ) -> NDArray[np.float64]:
        """The value of each vote's first (side 0) or second clip; NaN where it has none."""
        found = np.full(len(self.clips), np.nan)
        for place, (column_, frame) in enumerate(zip(columns, frames, strict=True)):
            if column_ is None:
                continue
            own = np.flatnonzero(self.models[:, side] == place)
            found[own] = column_[[frame.rows.get(self.clips[i], -1) for i in own]]
        return found


__all__ = ["Agreement", "PeopleAgreement", "agreement_table", "agreements", "people_with_people"]
