"""The data of the page that compares two models: the board's verdicts on all pairs, a file for each first model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.leaderboard.samples import column_json, rounded, write_script
from javisbench.protocol import headline_of
from javisbench.results.cell import OVERALL
from javisbench.results.pairs import PairBook
from javisbench.results.rankability import Comparison, comparison
from javisbench.results.table import Column, aspects_of, column, metric_order, slice_title
from javisbench.text import printable

if TYPE_CHECKING:
    from javisbench.results.compare import Row
    from javisbench.results.run_folder import StoredResult

Slices = Sequence[str]


def write_pairs(
    results: Sequence[StoredResult], book: PairBook, names: Mapping[str, str], pages: Mapping[str, str], folder: Path
) -> list[str]:
    """Write ``groups.js`` and, for each group and first model, ``pairs-GROUP-MODEL.js``.

    A row of a pair holds its two values, half the interval's width, both p-values, who is better (1, 2 or 0 for
    neither) and the smallest difference that this n can show.

    Args:
        results: of the board.
        book: what its ranks were made of.
        names: result key to the name of its files, which addresses use.
        pages: result key to its model's page.
        folder: made here.

    Returns:
        titles of the groups of two or more results that may be compared; nothing is written where there is none.
    """
    together: dict[Comparison, list[StoredResult]] = {}
    for result in results:
        together.setdefault(comparison(result), []).append(result)
    groups = {key.title: members for key, members in together.items() if len(members) > 1}
    if not groups:
        return []
    folder.mkdir(parents=True)
    documents = []
    for number, (title, members) in enumerate(groups.items()):
        found = [
            m
            for m in metric_order({m for result in members for m in result.metrics})
            if not column(m, members).is_check
        ]
        headline = headline_of(members[0].protocol)
        metrics = sorted(found, key=lambda m: (m not in headline, headline.index(m) if m in headline else 0))
        columns = [column(metric, members) for metric in metrics]
        aspects = aspects_of(members)
        slices = [OVERALL, *(f"{aspect.id}/{category.id}" for aspect in aspects for category in aspect.categories)]
        slices = [name for name in slices if any(name in r.metrics.get(m, {}) for r in members for m in metrics)]
        documents.append(
            {
                "title": printable(title),
                "metrics": [{**column_json(col), "name": col.title, "headline": col.id in headline} for col in columns],
                "slices": [[name, slice_title(name, aspects)] for name in slices],
                "models": [_model(r, columns, slices, book, names, pages) for r in members],
            }
        )
        for i, first in enumerate(members[:-1]):
            pairs = [_pair(book.rows(first, second), columns, slices) for second in members[i + 1 :]]
            write_script(folder / f"pairs-{number}-{i}.js", "pairs", {"group": number, "first": i, "pairs": pairs})
    write_script(folder / "groups.js", "groups", documents)
    return list(groups)


def _model(
    result: StoredResult,
    columns: Sequence[Column],
    slices: Slices,
    book: PairBook,
    names: Mapping[str, str],
    pages: Mapping[str, str],
) -> dict[str, Any]:
    values, families = [], []
    for col in columns:
        cells = [result.metrics.get(col.id, {}).get(name) for name in slices]
        values.append([None if c is None or c.value is None else rounded(c.value, col.digits + 2) for c in cells])
        found = [book.family(result, col.id, name) for name in slices]
        families.append([None if f is None else [len(f.keys), f.n, printable(f.note or "")] for f in found])
    return {
        "id": names[result.key],
        "model": printable(result.model),
        "page": f"models/{pages[result.key]}.html",
        "values": values,
        "families": families,
    }


def _pair(rows: Sequence[Row], columns: Sequence[Column], slices: Slices) -> list[list[Any]]:
    """For each row: metric, slice, both values, half the interval, p, p over the headline, who is better, smallest."""
    found = []
    places = {col.id: place for place, col in enumerate(columns)}
    for row in rows:
        if row.metric not in places or row.slice not in slices or row.difference.value is None:
            continue
        digits, gap = columns[places[row.metric]].digits + 3, row.difference
        half = None if gap.ci_high is None else rounded(gap.ci_high - gap.value, digits)  # type: ignore[operator]
        found.append(
            [
                places[row.metric],
                slices.index(row.slice),
                None if row.a is None else rounded(row.a, digits),
                None if row.b is None else rounded(row.b, digits),
                half,
                _p(row.p_adjusted),
                _p(row.p_headline),
                {"a": 1, "b": 2}.get(row.better or "", 0),
                None if row.smallest is None else rounded(row.smallest, digits),
            ]
        )
    return found


def _p(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
