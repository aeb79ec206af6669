"""Results as papers report them, and where papers disagree about the same model and suite."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from javisbench.errors import UsageError

FOLDER = Path(__file__).parent.parent / "data_cards" / "published"
_FACTS = ("model", "family", "params_b", "suite", "source", "table")
EXTRA_COLUMNS = {"runtime_s": "Runtime (s)"}


@dataclass(frozen=True)
class Reported:
    """One row of a paper's table.

    Attributes:
        model: as the paper calls it.
        family: ``t2av``, ``t2v+v2a``, ...
        params_b: parameters in billions, or None.
        suite: suite name.
        values: metric id to (value, as printed); what the paper does not give is left out.
        source: the paper.
        table: where in it.
    """

    model: str
    family: str
    params_b: float | None
    suite: str
    values: Mapping[str, tuple[float, str]]
    source: str
    table: str

    @property
    def runtime_s(self) -> str:
        """Seconds a clip as printed, or empty."""
        return self.values["runtime_s"][1] if "runtime_s" in self.values else ""


@dataclass(frozen=True)
class Disagreement:
    """Two papers with different numbers for the same model, suite and metric.

    Attributes:
        model: as both call it.
        suite: suite name.
        metric: metric id.
        first: value as printed by `first_source`.
        second: value as printed by `second_source`.
        ratio: difference relative to the smaller of both, by size.
        rounding: whether the printed digits alone could explain it: no farther apart than one unit of the last digit.
    """

    model: str
    suite: str
    metric: str
    first: str
    first_source: str
    second: str
    second_source: str
    ratio: float
    rounding: bool


@dataclass(frozen=True)
class Validation:
    """How well a metric tells synchronous from asynchronous pairs, as a paper reports it."""

    metric: str
    auroc: str
    accuracy: str
    note: str
    source: str


def published_results(path: Path | None = None) -> list[Reported]:
    """The published record, in the order of its file.

    Args:
        path: another CSV with the same columns; default: the record that ships with javisbench.

    Raises:
        UsageError: a row without model, suite or source, or with a value that is not a number.
    """
    path = path or FOLDER / "published_results.csv"
    rows = list(_rows(path))
    return _as_printed([_reported(path, number, row) for number, row in enumerate(rows, 1)])


def _as_printed(record: list[Reported]) -> list[Reported]:
    """With the trailing zeros that the file lost: a column of a paper's table has one number of digits."""
    digits: dict[tuple[str, str, str], int] = {}
    for row in record:
        for metric, (_, text) in row.values.items():
            key = (row.source, row.table, metric)
            digits[key] = max(digits.get(key, 0), _digits(text))
    return [
        replace(
            row,
            values={
                metric: (value, f"{value:.{digits[row.source, row.table, metric]}f}")
                for metric, (value, _) in row.values.items()
            },
        )
        for row in record
    ]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield {key: (value or "").strip() for key, value in row.items() if key}


def _reported(path: Path, number: int, row: Mapping[str, str]) -> Reported:
    for name in ("model", "suite", "source"):
        if not row.get(name):
            raise UsageError(f"{path}: row {number} has no {name}. A published number needs all three.")
    values = {}
    for metric, text in row.items():
        if metric in _FACTS or not text:
            continue
        if not re.fullmatch(r"-?\d+(\.\d+)?", text):
            raise UsageError(f"{path}: row {number}, column {metric}: {text!r} is not a number. Leave it empty.")
        values[metric] = (float(text), text)
    params = row.get("params_b", "")
    return Reported(
        row["model"],
        row.get("family", ""),
        float(params) if params else None,
        row["suite"],
        values,
        row["source"],
        row.get("table", ""),
    )


def disagreements(record: list[Reported] | None = None) -> list[Disagreement]:
    """Every pair of different numbers for the same model, suite and metric, the largest relative gap first.

    Runtime is left out: papers time different hardware.
    """
    record = published_results() if record is None else record
    found = []
    for one, other in combinations(record, 2):
        if (one.model, one.suite) != (other.model, other.suite) or one.source == other.source:
            continue
        for metric in one.values:
            if metric in other.values and metric not in EXTRA_COLUMNS:
                (a, a_text), (b, b_text) = one.values[metric], other.values[metric]
                if a != b:
                    found.append(_disagreement(one, other, metric, (a, a_text), (b, b_text)))
    return sorted(found, key=lambda d: (-d.ratio, d.model, d.metric))


def _disagreement(
    one: Reported, other: Reported, metric: str, a: tuple[float, str], b: tuple[float, str]
) -> Disagreement:
    step = 10.0 ** -min(_digits(a[1]), _digits(b[1]))
    gap, smaller = abs(a[0] - b[0]), min(abs(a[0]), abs(b[0]))
    return Disagreement(
        one.model,
        one.suite,
        metric,
        a[1],
        f"{one.source}, {one.table}",
        b[1],
        f"{other.source}, {other.table}",
        gap / smaller if smaller > 0 else float("inf"),
        gap <= step * (1 + 1e-9),
    )


def _digits(text: str) -> int:
    return len(text.partition(".")[2])


def metric_validation() -> list[Validation]:
    """How well metrics tell synchronous from asynchronous pairs, as papers report it."""
    rows = _rows(FOLDER / "metric_validation_published.csv")
    return [Validation(row["metric"], row["auroc"], row["accuracy"], row["note"], row["source"]) for row in rows]
