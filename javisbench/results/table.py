"""Tables of results: one run by category, or several models side by side.

A `Table` is plain data; `javisbench.publish.export` turns it into Markdown, CSV, LaTeX, JSON or a terminal table.
A value never stands without its n, its status and its protocol, and values are marked best or second only among
results that can be compared: same suite, same protocol, same n, official weights, enough samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from javisbench.own_aspects import joined
from javisbench.results.cell import EMPTY, NOT_COUNTED, OVERALL, STATUS_NOTE, STATUS_REASON, Cell, Place
from javisbench.results.checks import checks_of
from javisbench.results.missing import missing_lines
from javisbench.results.rankability import MIN_N_TO_RANK, Comparison, comparison, rankable, weights_behind
from javisbench.results.run_folder import NOT_AS_ASKED, count_not_as_asked
from javisbench.tasks import TASKS
from javisbench.taxonomy import ASPECTS, TAXONOMY, Aspect
from javisbench.text import printable

if TYPE_CHECKING:
    from javisbench.results.run_folder import StoredResult

RankFunction: TypeAlias = (
    "Callable[[Sequence[StoredResult], str, str | None, str | None], Sequence[tuple[int, int] | None]]"
)


@runtime_checkable
class WeightedRanks(Protocol):
    """What also ranks by a metric's weighted mean, as `javisbench.results.ranking.Ranker` does."""

    def weighted(self, results: Sequence[StoredResult], metric: str) -> Sequence[tuple[int, int] | None]:
        """The rank interval of each result over all samples; empty where the metric weights nothing."""
        ...


UNEQUAL_N_MARK = "§"
FEW_MARK = "¶"
TO_MEND = ("missing_weights", "missing_reference", "failed")


@dataclass(frozen=True)
class Column:
    """A metric as a column; fields as in `javisbench.metrics.base.MetricCard`.

    Attributes:
        is_check: whether it is a check of clips, which is counted and never ranked.
    """

    id: str
    title: str
    higher_is_better: bool | None = None
    unit: str = ""
    digits: int = 3
    kind: Literal["sample", "set"] = "sample"
    is_check: bool = False

    @property
    def arrow(self) -> str:
        """``↑`` when higher is better, ``↓`` when lower is, else nothing."""
        return {True: "↑", False: "↓", None: ""}[self.higher_is_better]

    @property
    def heading(self) -> str:
        """Title, unit and arrow: ``DeSync (s) ↓``."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.title}{unit} {self.arrow}".rstrip()


@dataclass(frozen=True)
class Row:
    """A category of one run, or a model of a board.

    Attributes:
        id: category id or result key.
        label: what the first column shows.
        cells: metric id to cell; a metric that is not there has none.
        protocol: name of the protocol behind the row.
        stand_in: whether the weights were stand-ins, so that the numbers mean nothing.
    """

    id: str
    label: str
    cells: Mapping[str, Cell]
    protocol: str
    stand_in: bool = False

    @property
    def n(self) -> int:
        """The largest n of the row's cells."""
        return max((cell.n for cell in self.cells.values()), default=0)


@dataclass(frozen=True)
class RowGroup:
    """Rows under one heading: an aspect of a run, or results of a board that can be compared."""

    id: str
    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """A table with everything that must be said about its numbers.

    Attributes:
        title: one line.
        protocol: the protocol line, printed with every export.
        notes: footnotes, in order.
        columns: the metrics.
        groups: the rows.
        row_heading: what the first column holds.
        is_board: whether rows are results that are ranked where they can be, not slices of one result.
        checks: what the checks of clips found, a line a result.
    """

    title: str
    protocol: str
    columns: tuple[Column, ...]
    groups: tuple[RowGroup, ...]
    notes: tuple[str, ...] = ()
    row_heading: str = ""
    is_board: bool = False
    checks: tuple[str, ...] = ()

    def too_few(self, row: Row) -> bool:
        """Whether a row of a board has too few samples to be ranked."""
        return self.is_board and 0 < row.n < MIN_N_TO_RANK

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows of all groups."""
        return tuple(row for group in self.groups for row in group.rows)

    def folded(self) -> Table:
        """The table with its checks as lines in place of columns; as it is where that would leave no column."""
        scores = tuple(col for col in self.columns if not col.is_check)
        if not self.checks or not scores or len(scores) == len(self.columns):
            return self
        return replace(self, columns=scores)

    def for_reading(self) -> Table:
        """The table without metrics that have no value in any row: a footnote names them. All metrics, if none has."""
        cells = {col: [row.cells.get(col.id, EMPTY) for row in self.rows] for col in self.columns}
        shown = tuple(col for col in self.columns if any(cell.value is not None for cell in cells[col]))
        if not shown or len(shown) == len(self.columns):
            return self
        reasons: dict[str, list[str]] = {}
        # A note says what to do where something lacks.
        told = {col for col in self.columns if any(cell.note and cell.status in TO_MEND for cell in cells[col])}
        for col in (col for col in self.columns if col not in shown and col not in told):
            found = list(dict.fromkeys(STATUS_REASON.get(cell.status, "too few samples") for cell in cells[col]))
            reasons.setdefault(", ".join(found), []).append(col.title)
        left_out = "; ".join(f"{', '.join(titles)} ({reason})" for reason, titles in reasons.items())
        last = (f"Without any value: {left_out}.",) if left_out else ()
        present = {cell.status for col in shown for cell in cells[col]}
        needless = {note for status, note in STATUS_NOTE.items() if status not in present}
        notes = (*(note for note in self.notes if note not in needless), *last)
        return replace(self, columns=shown, notes=notes)


def column(metric_id: str, results: Iterable[StoredResult] = ()) -> Column:
    """The metric's column, from its card; of a metric that is not installed here, from what one of `results` stored of
    it, else with its id as title.
    """
    from javisbench.metrics.registry import card_of, fault_of

    card = card_of(metric_id)
    if card is None:
        stored = next((result.plugins[metric_id] for result in results if metric_id in result.plugins), None)
        if stored is None:
            return Column(metric_id, metric_id)
        title = stored.title or metric_id
        return Column(metric_id, title, stored.higher_is_better, stored.unit, stored.digits, stored.kind)
    is_check = fault_of(metric_id) is not None
    return Column(metric_id, card.title, card.higher_is_better, card.unit, card.digits, card.kind, is_check)


def metric_order(metric_ids: Iterable[str], headline: Sequence[str] = ()) -> list[str]:
    """The ids in the order of tables: those of `headline` first, then as registered, then others by name."""
    from javisbench.metrics.registry import METRICS

    known = {metric: place for place, metric in enumerate(dict.fromkeys([*headline, *METRICS]))}
    return sorted(set(metric_ids), key=lambda metric: (known.get(metric, len(known)), metric))


def headline_of(results: Iterable[StoredResult]) -> tuple[str, ...]:
    """Ids of the metrics that stand for the whole under the results' protocol; those of the first, of several."""
    from javisbench import protocol

    return next((protocol.headline_of(result.protocol) for result in results), ())


def aspects_of(results: Iterable[StoredResult]) -> tuple[Aspect, ...]:
    """The aspects that there may be slices of: the taxonomy's, then those that columns of suites made."""
    return (*TAXONOMY, *joined(aspect for result in results for aspect in result.own_aspects))


def chosen_aspects(results: Sequence[StoredResult], columns: Sequence[str] | None) -> frozenset[str] | None:
    """Ids of the aspects that these columns of suites made, or of those of the taxonomy that are called so; None for
    None.

    Raises:
        UsageError: no result was sliced by one of them.
    """
    if columns is None:
        return None
    known = aspects_of(results)
    return frozenset(_aspect_of(column, known).id for column in columns)


def _aspect_of(column: str, known: Sequence[Aspect]) -> Aspect:
    for aspect in known:
        if column in (aspect.title, aspect.id):
            return aspect
    from javisbench.errors import UsageError

    own = [aspect for aspect in known if aspect.id not in ASPECTS]
    sliced = f"they were sliced by {', '.join(aspect.title for aspect in own)}" if own else "they have no such slices"
    raise UsageError(
        f"None of the results was sliced by {printable(column)!r}; {sliced}. Score them again with --slice-by "
        f"{printable(column)} (what the networks made of the clips is kept, so that takes seconds)."
    )


def slice_title(name: str, aspects: Iterable[Aspect]) -> str:
    """How a slice (``overall`` or ``aspect/category``) is called beside those of other aspects.

    A value of a suite's own column stands with the column's name: by itself it may say nothing (``1``, ``yes``).
    """
    if name == OVERALL:
        return "All samples"
    aspect_id, _, category_id = name.partition("/")
    for aspect in aspects:
        for category in aspect.categories:
            if (aspect.id, category.id) == (aspect_id, category_id):
                return category.title if aspect.id in ASPECTS else f"{aspect.title}: {category.title}"
    return category_id


def run_table(result: StoredResult, only: Collection[str] | None = None) -> Table:
    """One run: a row for all samples, then one for each category of each aspect.

    Args:
        result: of `javisbench.results.run_folder.load_result`.
        only: ids of the aspects that are shown; None for all.

    Returns:
        A table whose groups are ``overall`` and the aspects that the run's suite has.
    """
    metrics = metric_order(result.metrics, headline_of([result]))
    groups = [RowGroup(OVERALL, "Overall", (_result_row(result, metrics, None, None, "All samples", OVERALL),))]
    for aspect in result.aspects:
        wanted = only is None or aspect.id in only
        if not wanted or not any(result.has_aspect(metric, aspect.id) for metric in metrics):
            continue
        rows = tuple(
            _result_row(result, metrics, aspect.id, category.id, category.title, category.id)
            for category in aspect.categories
        )
        groups.append(RowGroup(aspect.id, aspect.title, rows))
    table = Table(
        title=printable(f"{result.model} on {result.suite}"),
        protocol=protocol_line([result]),
        columns=tuple(column(metric, [result]) for metric in metrics),
        groups=tuple(groups),
        row_heading="Category",
        checks=_check_lines([result]),
    )
    return replace(table, notes=_notes(table, [result]))


def board_table(results: Sequence[StoredResult], aspect: str | None = None, ranks: RankFunction | None = None) -> Table:
    """Several results side by side.

    Args:
        results: at least one; a model may be there several times, under several protocols.
        aspect: id of the aspect whose categories are shown; None for the values over all samples.
        ranks: gives the rank interval of each of some comparable results for a metric and slice
            (`javisbench.results.ranking.rank_results`); None for a table without ranks.

    Returns:
        A table with one row a result; one group for each set of comparable results, and within an aspect for each
        category of each.
    """
    metrics = metric_order((metric for result in results for metric in result.metrics), headline_of(results))
    columns = tuple(column(metric, results) for metric in metrics)
    slices: list[tuple[str | None, str]] = [(None, OVERALL)]
    shown = next((known for known in aspects_of(results) if known.id == aspect), None)
    if shown is not None:
        slices = [(category.id, category.title) for category in shown.categories]
    together: dict[Comparison, list[StoredResult]] = {}
    for result in results:
        together.setdefault(comparison(result), []).append(result)
    groups: list[RowGroup] = []
    for category, title in slices:
        for key, members in together.items():
            heading = title if len(together) == 1 and category else f"{title}: {key.title}" if category else key.title
            rows = [_result_row(r, metrics, aspect, category, r.model, r.key) for r in members]
            if category and not any(row.n for row in rows):
                continue
            for col in columns:
                rows = _placed(rows, members, col, (aspect, category), ranks)
            groups.append(RowGroup(f"{category or OVERALL}-{len(groups)}", printable(heading), tuple(rows)))
    table = Table(
        title="Overall" if shown is None else shown.title,
        protocol=protocol_line(results),
        columns=columns,
        groups=tuple(groups),
        row_heading="Model",
        is_board=True,
        checks=_check_lines(results),
    )
    notes = _notes(table, results)
    if shown is None and isinstance(ranks, WeightedRanks):
        notes += tuple(_weighted_ranks(list(together.values()), columns, ranks))
    return replace(table, notes=notes)


def _weighted_ranks(
    groups: Iterable[Sequence[StoredResult]], columns: Iterable[Column], ranks: WeightedRanks
) -> Iterator[str]:
    """Ranks by the second mean of metrics that have one."""
    for col in columns:
        for members in groups:
            able = [result for result in members if rankable(result.cell(col.id)) and not result.stand_in]
            found = ranks.weighted(able, col.id) if len(able) > 1 else ()
            told = [
                f"{result.model} {rank[0]}" + (f"–{rank[1]}" if rank[1] > rank[0] else "")
                for result, rank in zip(able, found, strict=False)
                if rank is not None
            ]
            if told:
                yield printable(
                    f"{col.title}, ranks by the mean that weights clips by how much they can tell: {', '.join(told)}."
                )


def joined_tables(tables: Sequence[Table]) -> Table:
    """Tables of the same results by several aspects as one."""
    groups = [
        replace(
            group, id=f"{number}-{group.id}", title=f"{table.title}: {group.title}" if len(tables) > 1 else group.title
        )
        for number, table in enumerate(tables)
        for group in table.groups
    ]
    notes = dict.fromkeys(note for table in tables for note in table.notes)
    return replace(tables[0], title=", ".join(t.title for t in tables), groups=tuple(groups), notes=tuple(notes))


def _result_row(
    result: StoredResult, metrics: Iterable[str], aspect: str | None, category: str | None, label: str, row_id: str
) -> Row:
    cells = {}
    for metric in metrics:
        cell = result.cell(metric, aspect, category)
        if cell is None and category is not None:
            cell = _as_overall(result.cell(metric))
        if cell is not None:
            cells[metric] = cell
    return Row(row_id, printable(label), cells, result.protocol_label, result.stand_in)


def _as_overall(cell: Cell | None) -> Cell | None:
    """A category's cell where the metric has no value at all: for the same reason."""
    if cell is None or cell.status not in ("missing_weights", "missing_reference", "not_applicable"):
        return None
    return Cell(status=cell.status)


def _placed(
    rows: list[Row],
    members: Sequence[StoredResult],
    col: Column,
    place_in: tuple[str | None, str | None],
    ranks: RankFunction | None,
) -> list[Row]:
    """The rows with rank, best and second set for one metric."""
    able = [
        i for i, row in enumerate(rows) if rankable(row.cells.get(col.id)) and not row.stand_in and not col.is_check
    ]
    if not able:
        return rows
    if col.kind == "set":
        references = [members[i].reference_kind for i in able]
        able = [i for i, kind in zip(able, references, strict=True) if kind == max(references, key=references.count)]
    weights = weights_behind([members[i] for i in able], col.id)
    asked = {i: rows[i].cells[col.id].n + rows[i].cells[col.id].not_applicable for i in able}
    kinds = {i: (asked[i], behind) for i, behind in zip(able, weights, strict=True)}
    # What most of them share; of equally many, the largest n.
    counts = Counter(kinds.values())
    common = max(counts, key=lambda kind: (counts[kind], kind))
    changed = {i: replace(rows[i].cells[col.id], comparable=False) for i in able if kinds[i] != common}
    same = [i for i in able if i not in changed]
    if len(same) > 1 and col.higher_is_better is not None:
        values = [float(rows[i].cells[col.id].value or 0.0) for i in same]
        places = _places(values, col.higher_is_better)
        intervals: Sequence[tuple[int, int] | None] = [None] * len(same)
        if ranks is not None:
            intervals = ranks([members[i] for i in same], col.id, *place_in)
        for i, place, interval in zip(same, places, intervals, strict=True):
            cell = rows[i].cells[col.id]
            # Means of other clips, too unlike to be ranked, are no best and second either.
            shown = None if cell.not_applicable and interval is None else place
            changed[i] = replace(cell, place=shown, rank=interval)
    return [
        replace(row, cells={**row.cells, col.id: changed[i]}) if i in changed else row for i, row in enumerate(rows)
    ]


def _places(values: Sequence[float], higher_is_better: bool) -> list[Place | None]:
    """Ties share a place; where all are equal, nobody is best."""
    ordered = sorted(set(values), reverse=higher_is_better)
    if len(ordered) == 1:
        return [None] * len(values)
    best = ordered[0]
    second = ordered[1] if values.count(best) == 1 else None
    return ["best" if v == best else "second" if v == second else None for v in values]


def protocol_line(results: Sequence[StoredResult]) -> str:
    """Names of the protocols behind a table, with what makes them special."""
    names = list(dict.fromkeys(printable(result.protocol_label) for result in results))
    line = f"Protocol {names[0]}" if len(names) == 1 else f"Protocols {', '.join(names)}, not ranked together"
    if any(result.protocol_label != result.protocol for result in results):
        line += " (an earlier revision computed other numbers, not comparable with today's)"
    if any("+" in name for name in names):
        line += " (+ marks a derived protocol, not comparable with its base)"
    if any(result.stand_in for result in results):
        line += "; stand-in weights: numbers show that the program works, not how good a model is"
    return line + "."


def _precision_note(result: StoredResult) -> str:
    """How a run that kept its protocol's name in a faster precision was compared; empty for others."""
    records = result.run.get("precision")
    record = records.get(result.protocol) if isinstance(records, dict) else None
    if not isinstance(record, dict) or record.get("precision", "fp32") == "fp32" or not record.get("within_tolerance"):
        return ""
    if not record.get("largest_deviation"):
        # No network took part, or none of its metrics was compared.
        return ""
    way, clips, tolerance = (str(record.get(key))[:16] for key in ("precision", "clips_tried", "tolerance"))
    how = way if way == "compiled" else f"in {way}"
    return printable(
        f"{result.model}: networks {how}. On the first {clips} clips nothing moved by more than {tolerance} from fp32."
    )


def _check_lines(results: Sequence[StoredResult]) -> tuple[str, ...]:
    """What the checks of each result found."""
    found = [(result, checks) for result in results if (checks := checks_of(result)) is not None]
    if len(results) == 1:
        return tuple(f"Checks: {checks.line}." for _, checks in found)
    return tuple(printable(f"Checks of {result.model}: {checks.line}.") for result, checks in found)


def _not_installed(columns: Iterable[Column], results: Sequence[StoredResult]) -> Iterator[str]:
    """Whose metrics are shown as they were stored, since they are not installed here."""
    from javisbench.metrics.registry import METRICS

    titles: dict[str, list[str]] = {}
    for col in columns:
        if col.id not in METRICS and not METRICS.has_parameter(col.id):  # of a judge's file, its own note tells
            cards = [result.plugins[col.id] for result in results if col.id in result.plugins]
            whose = next((f" of {card.package}" for card in cards if card.package), "")
            titles.setdefault(whose, []).append(col.title)
    for whose, found in titles.items():
        yield printable(f"{', '.join(found)}: as stored. The metric{whose} is not installed here.")


def _remarks(result: StoredResult, metrics: Sequence[str]) -> Iterator[str]:
    """What clips that metrics do not apply to are, and what the others show besides the mean."""
    from javisbench.errors import PluginError
    from javisbench.metrics.judges.metric import remark_on
    from javisbench.metrics.registry import METRICS, sample_metric

    for metric_id in metrics:
        metric, cell = sample_metric(metric_id), result.cell(metric_id)
        if metric is None and cell is not None and METRICS.has_parameter(metric_id):
            remark = remark_on(cell.facts)
            told = [text for text in (judged_by(result, metric_id), remark) if text]
            yield printable(f"{result.model}, {column(metric_id, [result]).title}: {'; '.join(told)}.")
        if metric is None or cell is None:
            continue
        told = []
        if cell.not_applicable:
            kinds = Counter(row.kind for row in result.not_applicable if row.metric == metric_id)
            known = {**NOT_COUNTED, **metric.not_applicable}
            words = ", ".join(f"{count:,} {known.get(kind, kind)}" for kind, count in kinds.most_common())
            clips = cell.n + cell.not_applicable
            told.append(
                f"not applicable to {cell.not_applicable:,} of {clips:,} clips" + (f" ({words})" if words else "")
            )
        try:
            with METRICS.guarded(metric_id, "remark"):
                remark = metric.remark(cell.facts)
        except PluginError as error:
            remark = error.message
        told += [text for text in (judged_by(result, metric_id), remark) if text]
        if told:
            yield printable(f"{result.model}, {metric.card.title}: {'; '.join(told)}.")


def judged_by(result: StoredResult, metric_id: str) -> str:
    """Which model a judge asked, and what it showed it; empty for a metric that is no judge."""
    from javisbench.errors import UsageError
    from javisbench.protocol import recorded_plugins

    try:
        plugins = recorded_plugins(result.run.get("protocol_settings"))
    except UsageError:
        return ""
    own = dict(dict(plugins).get(metric_id, ()))
    if "questions" not in own or "model" not in own:
        return ""
    sound = "with sound" if own.get("sound") else "without sound"
    times = "once" if own.get("repeats") == 1 else f"{own.get('repeats')} times"
    model = str(own["model"]).replace("--", "/")
    return f"asked of {model} ({own.get('frames')} frames, {sound}, {times}; questions {own['questions']})"


def _caveats(metrics: Collection[str], results: Sequence[StoredResult]) -> list[str]:
    """What the set metrics of a table say about their values."""
    from javisbench.errors import PluginError
    from javisbench.metrics.registry import METRICS, set_metric

    protocols = list(dict.fromkeys(result.protocol for result in results))
    notes: list[str] = []
    for metric_id in metric_order(metrics):
        metric = set_metric(metric_id)
        if metric is None:
            continue
        try:
            with METRICS.guarded(metric_id, "caveats"):
                notes += [str(note) for protocol in protocols for note in metric.caveats(protocol)]
        except PluginError as error:
            notes.append(error.message)
    return notes


def _not_as_asked(results: Sequence[StoredResult]) -> list[str]:
    """How many clips of each run are not what its model was asked for: they count all the same."""
    notes = []
    for result in results:
        count = 0 if result.clips is None else count_not_as_asked(result.clips.parent)
        if count:
            whose = f"{result.model}: " if len(results) > 1 else ""
            were = "clip was" if count == 1 else "clips were"
            notes.append(f"{whose}{count:,} {were} not made as asked; {NOT_AS_ASKED} in the run folder says how.")
    return notes


def _notes(table: Table, results: Sequence[StoredResult]) -> tuple[str, ...]:
    cells = [(col, row.cells.get(col.id, EMPTY)) for col in table.columns for row in table.rows]
    notes = []
    for task in dict.fromkeys(result.task for result in results):
        facts = TASKS[task]
        if not facts.makes_both:
            given, made = ("sound", "picture") if facts.makes_picture else ("picture", "sound")
            notes.append(f"The {given} is the suite's ({facts.title}): the models made the {made} alone.")
    if any(cell.ci_low is not None for _, cell in cells):
        notes.append("Brackets: 95 % intervals of the sampling noise at this n.")
    if any(cell.place for _, cell in cells):
        notes.append(
            "Bold: best value, underlined: second, among results of equal suite, protocol and n; "
            "not in itself a significant difference."
        )
    if any(cell.rank for _, cell in cells):
        notes.append(
            "Ranks are intervals: from 1 + models that are significantly better to all but those significantly worse "
            "(pairwise on the same samples, Holm-adjusted over the pairs of a metric and slice)."
        )
    if any(table.too_few(row) for row in table.rows):
        notes.append(f"{FEW_MARK} Fewer than {MIN_N_TO_RANK} samples: too few to rank, and intervals are too narrow.")
    if any(not cell.comparable for _, cell in cells):
        notes.append(f"{UNEQUAL_N_MARK} Not ranked: its n, or the weights behind it, differ from those of most others.")
    notes += _caveats({col.id for col, cell in cells if cell.value is not None and col.kind == "set"}, results)
    notes += _not_installed(table.columns, results)
    present = {cell.status for _, cell in cells}
    notes += [note for status, note in STATUS_NOTE.items() if status in present]
    notes += missing_lines((col.title, cell) for col, cell in cells if cell.status in TO_MEND)
    notes += [note for result in results for note in _remarks(result, [col.id for col in table.columns])]
    notes += filter(None, map(_precision_note, results))
    failures = sum(result.failed_samples for result in results)
    if failures:
        notes.append(f"{failures:,} sample{'s' * (failures != 1)} with a failure; each metric has its own n.")
    notes += _not_as_asked(results)
    return tuple(dict.fromkeys(notes))
