"""What the templates of a site are given: results, cells and facts as plain values that are safe to show."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from javisbench.errors import UsageError
from javisbench.leaderboard import plots
from javisbench.protocol import PROTOCOLS, headline_of, parse_protocol
from javisbench.publish.export import cell_text, format_interval, format_rank
from javisbench.publish.sources import Refused
from javisbench.results.cell import EMPTY, Cell
from javisbench.results.published import EXTRA_COLUMNS, Disagreement, Reported
from javisbench.results.rankability import weights_behind
from javisbench.results.run_folder import StoredResult
from javisbench.results.table import Column, Row, RowGroup, Table, column, metric_order
from javisbench.text import printable


def digest(text: str) -> str:
    """Six hexadecimal digits that tell names apart which look alike in a file's name."""
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def score_columns(table: Table, group: RowGroup | None) -> list[Column]:
    """The metrics that are scores, without those that no row has a value of; notes name these. Checks if all are."""
    scores = [col for col in table.columns if not col.is_check] or list(table.columns)
    return [col for col in scores if _has_value(table.rows, col)] or scores


def headline_columns(table: Table, group: RowGroup) -> list[Column]:
    """The headline metrics of a group's protocol, as far as it has values of them; all scores where it has none."""
    named = {metric: place for place, metric in enumerate(headline_of(group.rows[0].protocol))}
    found = [col for col in table.columns if col.id in named and _has_value(group.rows, col)]
    return sorted(found, key=lambda col: named[col.id]) or score_columns(table, group)


def check_columns(table: Table, group: RowGroup) -> list[Column]:
    """The checks of clips; none where all metrics are checks, which then stand as scores do."""
    checks = [col for col in table.columns if col.is_check and _has_value(group.rows, col)]
    return checks if any(not col.is_check for col in table.columns) else []


def has_more_than_headline(table: Table) -> bool:
    """Whether a table of all scores would show more than the headline does."""
    return any(set(score_columns(table, group)) - set(headline_columns(table, group)) for group in table.groups)


def _has_value(rows: Iterable[Row], col: Column) -> bool:
    return any(row.cells.get(col.id, EMPTY).value is not None for row in rows)


@dataclass(frozen=True)
class Scale:
    """The common range of a metric's intervals in a table, so that whiskers of its rows can be compared."""

    low: float
    high: float

    @classmethod
    def of(cls, table: Table, col: Column) -> Scale | None:
        """The scale of a column; None where its values span no range."""
        ends: list[float] = []
        for row in table.rows:
            cell = row.cells.get(col.id)
            if cell is not None and cell.value is not None and cell.ci_low is not None and cell.ci_high is not None:
                ends += [cell.ci_low, cell.value, cell.ci_high]
        return cls(min(ends), max(ends)) if ends and min(ends) < max(ends) else None

    def at(self, value: float) -> float:
        """Place of `value` on a line from 4 to 96."""
        return round(4 + 92 * (value - self.low) / (self.high - self.low), 1)


def row_view(
    row: Row, columns: Sequence[Column], scales: Mapping[str, Scale | None], result: StoredResult | None
) -> dict[str, Any]:
    """A row of a board, with one view a column."""
    return {
        "row": row,
        "result": result,
        "cells": [_cell_view(row, row.cells.get(col.id, EMPTY), col, scales[col.id]) for col in columns],
    }


def _cell_view(row: Row, cell: Cell, col: Column, scale: Scale | None) -> dict[str, Any]:
    whisker = None
    if cell.value is not None and cell.ci_low is not None and cell.ci_high is not None and scale is not None:
        whisker = (scale.at(cell.ci_low), scale.at(cell.ci_high), scale.at(cell.value))
    return {
        "text": cell_text(cell, col.digits),
        "order": "" if cell.value is None else repr(cell.value),
        "interval": format_interval(cell, col.digits),
        "rank": format_rank(cell.rank) if cell.rank else "",
        "place": cell.place or "",
        "status": cell.status,
        "note": printable(cell.note or ""),
        "n": cell.n if cell.value is not None and cell.n != row.n else None,
        "whisker": whisker,
    }


def spokes(result: StoredResult, peers: Sequence[StoredResult]) -> list[plots.Spoke]:
    """The axes of a result's radar: metrics that it shares with `peers` at equal n and weights."""
    found = []
    for metric in metric_order(result.metrics):
        col, own = column(metric, [result]), result.cell(metric)
        if col.is_check or col.higher_is_better is None or own is None or own.value is None or own.status != "ok":
            continue
        behind, *theirs = weights_behind([result, *peers], metric)
        alike = [peer for peer, weights in zip(peers, theirs, strict=True) if weights == behind]
        cells = [cell for peer in alike if (cell := peer.cell(metric)) is not None]
        others = tuple(c.value for c in cells if c.value is not None and c.status == "ok" and c.n == own.n)
        if others:
            found.append(plots.Spoke(col, own.value, others))
    return found


def model_facts(result: StoredResult) -> list[tuple[str, str]]:
    """What the model card says."""
    facts = [("Family", result.family), ("Licence of the weights", result.licence)]
    if result.params_b is not None:
        facts.append(("Parameters", f"{result.params_b:g} B"))
    card = result.card or {}
    for name, title in (("title", "Full name"), ("paper", "Paper"), ("code", "Code"), ("status", "Status")):
        if isinstance(card.get(name), str):
            facts.append((title, printable(card[name])[:500]))
    return [(title, value) for title, value in facts if value]


def run_facts(result: StoredResult) -> list[tuple[str, str]]:
    """How the result was made."""
    sources = {"sidecar": "beside the video", "container": "in the container", "none": "no sound"}
    audio = ", ".join(f"{n:,} {sources[key]}" for key, n in result.audio.items() if n)
    facts = [
        ("Suite", f"{result.suite} ({result.suite_hash[:12] or 'no hash'})"),
        ("Protocol", result.protocol_label),
        ("Samples", f"{result.samples:,}"),
        ("Sound taken from", audio),
    ]
    versions = result.run.get("versions")
    if isinstance(versions, dict):
        text = ", ".join(f"{name} {found}" for name, found in list(versions.items())[:30] if isinstance(found, str))
        facts.append(("Versions", printable(text)[:1000]))
    return [(title, printable(value)) for title, value in facts if value]


def protocol_page(name: str) -> str:
    """Where the protocol's page lies in the site."""
    suffix = "" if name in PROTOCOLS else f"-{digest(name)}"
    return f"protocols/{plots.file_name(name)}{suffix}.html"


def protocol_settings(name: str, results: Sequence[StoredResult]) -> list[tuple[str, str, bool]]:
    """(setting, value, whether it differs from javisbench-v1) of a protocol; empty when it is not known here."""
    recorded = next((r.run.get("protocol_settings") for r in results if r.run.get("protocol_settings")), None)
    try:
        settings: object = recorded or parse_protocol(name).settings()
    except UsageError:
        settings = recorded
    base = dict(_flat(PROTOCOLS["javisbench-v1"].settings()))
    return [(key, value, base.get(key, value) != value) for key, value in list(_flat(settings))[:200]]


def _flat(settings: object, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    if isinstance(settings, dict) and depth < 3:
        for key, value in settings.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else printable(str(key)), depth + 1)
    elif prefix:
        if isinstance(settings, list | tuple):
            settings = ", ".join(map(str, settings)) or "none"
        yield prefix[:200], printable(str(settings))[:200]


def metric_facts(metric: str) -> dict[str, Any] | None:
    """What the metric's card says; None for a metric that is not installed here."""
    from javisbench.metrics.registry import card_of

    card = card_of(metric)
    if card is None:
        return None
    low, high = card.value_range
    ends = ("−∞" if low is None else f"{low:g}", "∞" if high is None else f"{high:g}")
    direction: Literal["higher", "lower", "neither"] = "neither"
    if card.higher_is_better is not None:
        direction = "higher" if card.higher_is_better else "lower"
    return {"card": card, "range": f"{ends[0]} to {ends[1]}", "better": direction}


MAX_REASONS = 20


def refused_view(archive: Refused) -> dict[str, Any]:
    """An archive that is not shown, and why; a long list is cut."""
    reasons = [printable(reason)[:500] for reason in archive.reasons[:MAX_REASONS]]
    more = len(archive.reasons) - len(reasons)
    return {"name": printable(archive.name)[:200], "reasons": [*reasons, *([f"and {more:,} more"] if more else [])]}


# The published record


def metrics_of(row: Reported) -> list[str]:
    """Metrics that a paper's row has values of."""
    return [metric for metric in row.values if metric not in EXTRA_COLUMNS]


def by_suite(record: Sequence[Reported]) -> dict[str, list[Reported]]:
    """Rows of the published record by suite, in their order."""
    found: dict[str, list[Reported]] = {}
    for row in record:
        found.setdefault(row.suite, []).append(row)
    return found


def reported_view(rows: Sequence[Reported], columns: Sequence[Column], suite: str) -> dict[str, Any]:
    """A table of reported values, with those of `columns` that any row has."""
    shown = [col for col in columns if any(col.id in row.values for row in rows)]
    return {
        "suite": suite,
        "columns": shown,
        "rows": [
            {
                "model": printable(row.model),
                "family": row.family,
                "params": "" if row.params_b is None else f"{row.params_b:g}",
                "source": printable(f"{row.source}, {row.table}"),
                "cells": [row.values[col.id][1] if col.id in row.values else "" for col in shown],
                "runtime": row.runtime_s,
            }
            for row in rows
        ],
    }


def disagreement_view(found: Disagreement) -> dict[str, Any]:
    """A row of the table of disagreements."""
    return {
        "found": found,
        "metric": column(found.metric).title,
        "gap": f"{100 * found.ratio:.3g} %" if found.ratio != float("inf") else "from 0",
        "order": repr(found.ratio) if found.ratio != float("inf") else "1e300",
    }
