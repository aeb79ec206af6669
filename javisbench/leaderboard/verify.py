"""Recomputing a submission: every aggregate from the scores, the suite from its rows, and whether it is plausible."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.clip import ClipSpec
from javisbench.errors import JavisbenchError, SubmissionError
from javisbench.leaderboard.results import Result, load_result, read_parquet
from javisbench.leaderboard.submit import refuse_unrankable
from javisbench.run.sources import Item
from javisbench.suite import Sample, Suite, suite_hash

if TYPE_CHECKING:
    import pandas as pd

    from javisbench.run.set_features import SetRows

# Means are sums of at most some ten thousand float64 values; another order of the sum moves them by less.
SAMPLE_TOLERANCE = 1e-9
# Distances go through an eigendecomposition, which another LAPACK rounds differently.
SET_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        kind: short name of the check.
        message: a sentence.
        refuses: False for what only deserves a look.
    """

    kind: str
    message: str
    refuses: bool = True

    def __str__(self) -> str:
        return f"[{self.kind}] {self.message}"


def verify_folder(folder: Path, manifest: Mapping[str, Any]) -> list[Finding]:
    """Every check on an unpacked submission; an empty list means that all of it holds."""
    try:
        result = load_result(folder, follow_clips=False)
        scores, samples = _tables(folder)
        refuse_unrankable(result)
    except JavisbenchError as error:
        return [Finding(error.kind, error.message)]
    findings = [*_check_manifest(result, manifest), *_check_protocol(result), *_check_rows(result, scores, samples)]
    if any(finding.refuses for finding in findings):
        return findings
    suite, items = _rebuilt(result, scores, samples)
    findings += _check_suite(result, suite, samples)
    findings += _check_means(result, scores, suite, items)
    findings += _check_sets(result, folder, suite)
    findings += _check_plausible(result, scores)
    return findings


def _tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    scores = read_parquet(folder / "scores.parquet", ("sample_id", "repeat"))
    columns = ("sample_id", "index", "text", "audio_text", "video_text", "categories")
    return scores, read_parquet(folder / "samples.parquet", columns)


def _check_manifest(result: Result, manifest: Mapping[str, Any]) -> Iterator[Finding]:
    for name in ("model", "suite", "suite_hash", "protocol"):
        if manifest.get(name) != getattr(result, name):
            yield Finding("manifest", f"manifest and summary disagree on the {name}")


def _check_protocol(result: Result) -> Iterator[Finding]:
    from javisbench.protocol import PROTOCOLS

    protocol = PROTOCOLS.get(result.protocol)
    if protocol is None:
        yield Finding("protocol", f"{result.protocol} is no protocol that this javisbench knows")
    elif result.run.get("protocol_settings") != _plain(protocol.settings()):
        yield Finding("protocol", f"the settings recorded are not those of {result.protocol}")


def _plain(value: Any) -> Any:
    """As it looks after a round trip through JSON."""
    import json

    return json.loads(json.dumps(value))


def _check_rows(result: Result, scores: pd.DataFrame, samples: pd.DataFrame) -> Iterator[Finding]:
    from pandas.api.types import is_float_dtype, is_integer_dtype, is_string_dtype

    if not is_integer_dtype(scores["repeat"]) or not is_integer_dtype(samples["index"]):
        yield Finding("types", "repeat and index must be whole numbers")
        return
    if not is_string_dtype(scores["sample_id"]) or not is_string_dtype(samples["sample_id"]):
        yield Finding("types", "sample ids must be text")
        return
    wrong = [name for name in scores.columns[2:] if not is_float_dtype(scores[name])]
    if wrong:
        yield Finding("types", f"scores.parquet: {', '.join(map(str, wrong))} must be numbers")
        return
    infinite = [name for name in scores.columns[2:] if scores[name].isin([math.inf, -math.inf]).any()]
    if infinite:
        yield Finding("values", f"scores.parquet: {', '.join(infinite)} hold infinite values")
    if scores.duplicated(["sample_id", "repeat"]).any() or samples.duplicated(["sample_id"]).any():
        yield Finding("rows", "a sample stands there twice")
    if set(scores["sample_id"]) != set(samples["sample_id"]):
        yield Finding("rows", "scores and samples are not of the same prompts")
    if len(scores) != result.samples:
        yield Finding("rows", f"{len(scores)} rows of scores, but the summary says {result.samples} samples")
    total = result.run.get("suite_total")
    if isinstance(total, int) and len(samples) < total:
        yield Finding("incomplete", f"{len(samples)} of the suite's {total} prompts: shown, not ranked", refuses=False)


def _rebuilt(result: Result, scores: pd.DataFrame, samples: pd.DataFrame) -> tuple[Suite, list[Item]]:
    by_id = {}
    for row in samples.to_dict("records"):
        categories: dict[str, list[str]] = {}
        for name in row["categories"]:
            aspect, _, category = str(name).partition("/")
            categories.setdefault(aspect, []).append(category)
        sample_id = str(row["sample_id"])
        by_id[sample_id] = Sample(
            id=sample_id,
            index=int(row["index"]),
            text=_text(row["text"]) or "",
            audio_text=_text(row["audio_text"]),
            video_text=_text(row["video_text"]),
            categories={aspect: tuple(names) for aspect, names in categories.items()},
        )
    chosen = tuple(by_id.values())
    total = int(result.run.get("suite_total", len(chosen)))
    suite = Suite(result.suite, chosen, ClipSpec(), False, result.suite_hash, "submission", total)
    items = [Item(by_id[i], int(r), None) for i, r in zip(scores["sample_id"], scores["repeat"], strict=True)]
    return suite, items


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _check_suite(result: Result, suite: Suite, samples: pd.DataFrame) -> Iterator[Finding]:
    from javisbench.cards import suite_cards
    from javisbench.suite import load_suite

    if len(suite) == suite.total and suite_hash(suite.samples) != result.suite_hash:
        yield Finding("suite", "prompts, ids or categories are not those that the suite's hash was made of")
    if result.suite not in suite_cards():
        return
    try:
        known = load_suite(result.suite, offline=True)
    except JavisbenchError:
        yield Finding("suite", f"{result.suite} is not on this machine: its rows were not compared", refuses=False)
        return
    if known.hash != result.suite_hash:
        yield Finding("suite", f"the rows are not those of {result.suite} as this machine has it")
    expected = {sample.id: (sample.text, sample.categories) for sample in known}
    changed = [s.id for s in suite if expected.get(s.id) != (s.text, dict(s.categories))]
    if changed:
        yield Finding("suite", f"{len(changed)} rows differ from {result.suite}, such as {changed[0]}")


def _check_means(result: Result, scores: pd.DataFrame, suite: Suite, items: list[Item]) -> Iterator[Finding]:
    import numpy as np

    from javisbench.metrics.base import SampleMetric
    from javisbench.metrics.registry import METRICS
    from javisbench.run.summary import sample_cells

    seed = result.run.get("seed", 0)
    for metric_id, cells in result.metrics.items():
        if metric_id not in METRICS or not issubclass(METRICS.get(metric_id), SampleMetric):
            continue
        if metric_id not in scores.columns:
            if any(cell.value is not None for cell in cells.values()):
                yield Finding("scores", f"{metric_id} has values in the summary, but no scores")
            continue
        computed = sample_cells(scores[metric_id].to_numpy(dtype=np.float64), suite, items, int(seed))
        yield from _differences(metric_id, cells, computed, SAMPLE_TOLERANCE)
    missing = [name for name in scores.columns[2:] if name not in result.metrics]
    if missing:
        yield Finding("scores", f"scores of {', '.join(missing)} are not in the summary")


def _differences(
    metric_id: str, claimed: Mapping[str, Any], computed: Mapping[str, Mapping[str, Any]], tolerance: float
) -> Iterator[Finding]:
    if claimed.keys() != computed.keys():
        yield Finding("slices", f"{metric_id}: the categories are not those of the samples")
        return
    for name, cell in computed.items():
        for field in ("value", "n", "ci_low", "ci_high"):
            said, found = getattr(claimed[name], field), cell[field]
            if not _close(said, found, tolerance):
                yield Finding("aggregate", f"{metric_id}, {name}: {field} is {found}, the summary says {said}")
        if claimed[name].status != cell["status"]:
            yield Finding("aggregate", f"{metric_id}, {name}: status is {cell['status']}, not {claimed[name].status}")


def _close(said: float | None, found: float | None, tolerance: float) -> bool:
    if said is None or found is None:
        return said is found
    return math.isclose(said, found, rel_tol=tolerance, abs_tol=tolerance)


def _check_sets(result: Result, folder: Path, suite: Suite) -> Iterator[Finding]:
    from javisbench.metrics.base import SetMetric
    from javisbench.metrics.registry import METRICS
    from javisbench.run.set_features import read_set_features

    try:
        stored = read_set_features(folder)
    except JavisbenchError as error:
        yield Finding("set_features", error.message)
        return
    by_metric = {metric: rows for rows in stored.values() for metric in rows.metrics}
    for metric_id, cells in result.metrics.items():
        if metric_id not in METRICS or not issubclass(METRICS.get(metric_id), SetMetric):
            continue
        if all(cell.value is None for cell in cells.values()):
            continue
        rows = by_metric.get(metric_id)
        if rows is None:
            yield Finding("set_features", f"{metric_id} has values in the summary, but no features")
        else:
            yield from _check_set(metric_id, cells, rows, result, suite)


def _check_set(
    metric_id: str, cells: Mapping[str, Any], rows: SetRows, result: Result, suite: Suite
) -> Iterator[Finding]:
    from javisbench.metrics.base import SetMetric
    from javisbench.metrics.registry import METRICS
    from javisbench.protocol import parse_protocol
    from javisbench.run.summary import positions, set_cells

    by_id = {sample.id: sample for sample in suite}
    strangers = [sample_id for sample_id in rows.sample_ids if sample_id not in by_id]
    if strangers:
        yield Finding("set_features", f"{metric_id}: features of {strangers[0]}, which is no sample")
        return
    metric = METRICS.get(metric_id)()
    assert isinstance(metric, SetMetric)
    items = [Item(by_id[sample_id], 0, None) for sample_id in rows.sample_ids]
    try:
        values = metric.compute(rows.fake, rows.real, positions(suite, items), parse_protocol(result.protocol))
    except (JavisbenchError, SubmissionError) as error:
        yield Finding("set_features", f"{metric_id}: {error.message}")
        return
    yield from _differences(metric_id, cells, set_cells(values), SET_TOLERANCE)


def _check_plausible(result: Result, scores: pd.DataFrame) -> Iterator[Finding]:
    from javisbench.metrics.registry import METRICS

    failed = {(failure.sample_id, failure.repeat) for failure in result.failures}
    for metric_id in scores.columns[2:]:
        if metric_id not in METRICS:
            yield Finding("metric", f"{metric_id} is no metric that this javisbench knows", refuses=False)
            continue
        low, high = METRICS.get(metric_id).card.value_range
        column = scores[metric_id].dropna()
        outside = column[(column < (-math.inf if low is None else low - 1e-6))
                         | (column > (math.inf if high is None else high + 1e-6))]  # fmt: skip
        if len(outside):
            yield Finding("range", f"{metric_id}: {outside.iloc[0]} lies outside its range")
        if len(column) >= 20 and column.nunique() == 1 and not metric_id.startswith("health_"):
            yield Finding("constant", f"{metric_id} is the same for all {len(column)} clips", refuses=False)
        empty = scores[scores[metric_id].isna()]
        unexplained = [key for key in zip(empty["sample_id"], empty["repeat"], strict=True) if key not in failed]
        if unexplained:
            yield Finding(
                "failures", f"{metric_id}: {len(unexplained)} values are missing without a failure that says why"
            )
