"""Recomputing a submission: every aggregate from the scores, the suite from its rows, and whether it is plausible."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import JavisbenchError, RunError, SystemFaultError, UsageError
from javisbench.matching import Item
from javisbench.media.source import SIDECAR_SUFFIXES
from javisbench.results.cell import Cell
from javisbench.results.checked_json import parse_json
from javisbench.results.parquet import DETAILS, SAMPLES, SCORES, read_parquet
from javisbench.results.rankability import refuse_unrankable
from javisbench.results.run_folder import StoredResult, load_result
from javisbench.suite import Sample, Suite, suite_hash
from javisbench.tasks import TASKS
from javisbench.taxonomy import ASPECTS
from javisbench.text import printable
from javisbench.weights.hashes import SHA256

if TYPE_CHECKING:
    import pandas as pd

    from javisbench.metrics.base import SetMetric
    from javisbench.protocol import Protocol
    from javisbench.results.set_features import SetRows
    from javisbench.results.summary import DetailsOf
    from javisbench.weights import WeightsEntry

log = logging.getLogger(__name__)

# Means are sums of at most some ten thousand float64 values; another order of the sum moves them by less.
SAMPLE_TOLERANCE = 1e-9
# Distances go through an eigendecomposition, which another LAPACK rounds differently.
SET_TOLERANCE = 1e-6
# Features of the known encoders have 400 and 1,024 values; a distance takes time with the cube.
MAX_WIDTH = 4096
# As many as `fid_frames` may be.
MAX_ROWS_A_CLIP = 256


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
        # Names in a message come from the archive: none may start a line of its own or move a terminal's cursor.
        return printable(f"[{self.kind}] {self.message}")


def verify_folder(folder: Path, manifest: Mapping[str, Any]) -> list[Finding]:
    """Every check on an unpacked submission; an empty list means that all of it holds."""
    try:
        result = load_result(folder, follow_clips=False)
        refuse_unrankable(result)
        tables = _Tables.read(folder)
    except SystemFaultError:
        raise
    except JavisbenchError as error:
        return [Finding(error.kind, error.message.replace(f"{folder}/", ""))]
    # Later checks compute with what earlier ones have found to be sane.
    early: tuple[Callable[[], Iterable[Finding]], ...] = (
        lambda: [*_check_manifest(result, manifest), *_check_protocol(result), *_check_facts(result)],
        lambda: [*_check_metrics(result, tables.scores), *_check_columns(tables.scores)],
        lambda: [*_check_rows(result, tables), *_check_details(tables)],
    )
    findings: list[Finding] = []
    for check in early:
        findings += check()
        if any(finding.refuses for finding in findings):
            return findings
    suite, items = _rebuilt(result, tables)
    findings += _check_suite(result, suite)
    findings += _check_means(result, tables, suite, items)
    findings += _check_sets(result, folder, suite)
    findings += _check_plausible(result, tables.scores)
    findings += _check_clips(folder, result, tables.scores)
    return findings


@dataclass(frozen=True)
class _Tables:
    """What a submission says of its samples."""

    scores: pd.DataFrame
    samples: pd.DataFrame
    details: pd.DataFrame | None

    @classmethod
    def read(cls, folder: Path) -> _Tables:
        scores = read_parquet(folder / "scores.parquet", SCORES)
        more = {"index": "whole numbers", "audio_text": "text or nothing", "video_text": "text or nothing"}
        samples = read_parquet(folder / "samples.parquet", {**SAMPLES, **more})
        details = folder / "details.parquet"
        return cls(scores, samples, read_parquet(details, DETAILS) if details.is_file() else None)


def _check_facts(result: StoredResult) -> Iterator[Finding]:
    """The facts that later checks compute with."""
    from javisbench.metrics.encoders import encoder_card
    from javisbench.weights import weights_registry

    for name, least, most in (("suite_total", 1, 2**31), ("seed", 0, 2**63 - 1)):
        value = result.run.get(name)
        if type(value) is not int or not least <= value <= most:
            yield Finding("facts", f"{name} must be a whole number from {least} to {most}, not {str(value)[:40]!r}")
    encoders = result.run.get("encoders")
    if not isinstance(encoders, dict) or not all(map(_is_encoder, encoders.values())):
        yield Finding("facts", "encoders must say of each encoder its variant and the SHA-256 of its weights")
        return
    registry = weights_registry()
    for name, facts in encoders.items():
        card = encoder_card(name)
        if card is None:
            yield Finding("weights", f"{name[:80]} is no encoder that is installed here, and works", refuses=False)
            continue
        variants = card.variants
        if facts["variant"] not in variants:
            yield Finding("weights", f"{name} has no variant {facts['variant'][:80]!r}")
            continue
        entry = registry.get(variants[facts["variant"]] or "")
        if entry is None:
            continue
        if entry.stand_in:
            yield Finding("stand_in", f"{name} ran with {entry.title}, although stand_in is false")
        elif facts["weights_sha256"] is None:
            yield Finding("weights", f"{name} ran without weights; it needs {entry.title}")
        elif not _may_be_official(entry, facts["weights_sha256"]):
            yield Finding(
                "weights",
                f"{name} ran with other weights ({facts['weights_sha256'][:8]}...) than the official ones of "
                f"{entry.title}, which the protocol's name must say",
            )


def _is_encoder(facts: object) -> bool:
    if not isinstance(facts, dict) or not isinstance(facts.get("variant"), str):
        return False
    digest = facts.get("weights_sha256")
    return digest is None or (isinstance(digest, str) and SHA256.fullmatch(digest) is not None)


def _may_be_official(entry: WeightsEntry, digest: str) -> bool:
    """False where the registry knows the hash of the entry's one file, and it is another."""
    return len(entry.files) != 1 or not entry.hashed or digest in {file.sha256 for file in entry.hashed}


def _check_manifest(result: StoredResult, manifest: Mapping[str, Any]) -> Iterator[Finding]:
    for name in ("model", "suite", "suite_hash", "protocol"):
        if manifest.get(name) != getattr(result, name):
            yield Finding("manifest", f"manifest and summary disagree on the {name}")


def _check_protocol(result: StoredResult) -> Iterator[Finding]:
    from javisbench.protocol import PROTOCOLS, protocol_at
    from javisbench.results.set_distances import protocol_of

    if result.protocol not in PROTOCOLS:
        yield Finding("protocol", f"{result.protocol} is no protocol that this javisbench knows")
        return
    protocol, label = protocol_at(result.protocol, result.revision), result.protocol_label
    if protocol is None:
        yield Finding("protocol", f"{label} is no revision that this javisbench knows")
        return
    recorded = result.run.get("protocol_settings")
    own = {k: v for k, v in recorded.items() if k != "plugins"} if isinstance(recorded, dict) else recorded
    try:
        found = protocol_of(result)
        same = _within(own, _plain(protocol.settings())) and replace(found, plugins=()) == protocol
        yield from _check_plugin_settings(found)
    except RunError:
        same = False
    if not same:
        yield Finding("protocol", f"the settings recorded are not those of {label}")
    elif protocol is not PROTOCOLS[result.protocol]:
        yield Finding("revision", f"{label}: shown with its revision, not ranked with today's results", refuses=False)


def _check_plugin_settings(protocol: Protocol) -> Iterator[Finding]:
    """Of an underived name they are the defaults; those of what is not installed here belong to values not shown."""
    from javisbench.metrics.registry import METRICS
    from javisbench.settings import plugin_settings

    for plugin, values in protocol.plugins:
        try:
            cls = plugin_settings(plugin)
        except UsageError:
            continue
        try:
            mounted: object = protocol.mounted(plugin, cls)
        except UsageError as error:
            if METRICS.has_parameter(plugin):  # a judge that is here, and asks something else
                yield Finding("protocol", error.message)
            continue
        if mounted != cls():
            told = ", ".join(f"{name}={value}" for name, value in values)
            yield Finding("protocol", f"{plugin} has other settings ({told}) than the installed package's defaults")


def _within(recorded: object, known: object) -> bool:
    """Whether settings are known ones with their values; older versions recorded fewer."""
    if not isinstance(recorded, dict) or not isinstance(known, dict):
        return recorded == known
    return all(name in known and _within(value, known[name]) for name, value in recorded.items())


def _plain(value: Any) -> Any:
    """As it looks after a round trip through JSON."""
    import json

    return json.loads(json.dumps(value))


def _check_metrics(result: StoredResult, scores: pd.DataFrame) -> Iterator[Finding]:
    """Metrics that are not installed here: not shown, and refused where not even a package is said to have them."""
    from javisbench.metrics.registry import METRICS

    for name in {**result.metrics, **dict.fromkeys(_metric_columns(scores))}:
        if not checkable(name):
            stored = result.plugins.get(name)
            whose = f" of {stored.package}" if stored and stored.package else ""
            message = f"{name}{whose} is not installed here, so its values can be neither checked nor shown"
            if METRICS.has_parameter(name):
                message += ": score without it, or put its question set into a package (docs/judges.md)"
            yield Finding("metric", message, refuses=not whose)


def _check_columns(scores: pd.DataFrame) -> Iterator[Finding]:
    for name in _metric_columns(scores):
        if str(scores[name].dtype) != "float64":
            yield Finding("types", f"scores.parquet: {name} must be float64")
        elif scores[name].isin([math.inf, -math.inf]).any():
            yield Finding("values", f"scores.parquet: {name} holds infinite values")


def _metric_columns(scores: pd.DataFrame) -> list[str]:
    return [str(name) for name in scores.columns if name not in SCORES]


def _check_rows(result: StoredResult, tables: _Tables) -> Iterator[Finding]:
    scores, samples = tables.scores, tables.samples
    if scores.duplicated(["sample_id", "repeat"]).any() or samples.duplicated(["sample_id"]).any():
        yield Finding("rows", "a sample stands there twice")
    if set(scores["sample_id"]) != set(samples["sample_id"]):
        yield Finding("rows", "scores and samples are not of the same prompts")
    if len(scores) != result.samples:
        yield Finding("rows", f"{len(scores)} rows of scores, but the summary says {result.samples} samples")
    if result.run.get("prompts") != len(samples):
        yield Finding("rows", f"{len(samples)} prompts, but the summary says {str(result.run.get('prompts'))[:40]}")
    total = int(result.run["suite_total"])
    if samples["index"].duplicated().any() or not samples["index"].between(0, total - 1).all():
        yield Finding("rows", f"samples.parquet: index must be different places from 0 to {total - 1}")
    if not scores["repeat"].between(0, 10_000).all():
        yield Finding("rows", "scores.parquet: repeat must count from 0")
    strangers = {row.sample_id for row in (*result.failures, *result.not_applicable)} - set(samples["sample_id"])
    if strangers:
        yield Finding("failures", f"there is a failure of {min(strangers)[:80]!r}, which is no sample")
    if len(samples) < total:
        yield Finding(
            "incomplete",
            f"{len(samples)} of the suite's {total} prompts: ranked with results of the same prompts alone",
            refuses=False,
        )


def _check_details(tables: _Tables) -> Iterator[Finding]:
    if tables.details is None:
        return
    scored = set(zip(tables.scores["sample_id"], tables.scores["repeat"], strict=True))
    if not scored.issuperset(zip(tables.details["sample_id"], tables.details["repeat"], strict=True)):
        yield Finding("details", "details.parquet holds samples that have no scores")
    strangers = set(tables.details["metric"]) - set(_metric_columns(tables.scores))
    if strangers:
        yield Finding("details", f"details.parquet holds {min(strangers)[:80]!r}, which has no scores")


def _rebuilt(result: StoredResult, tables: _Tables) -> tuple[Suite, list[Item]]:
    by_id = {}
    for row in tables.samples.to_dict("records"):
        categories: dict[str, list[str]] = {}
        for name in row["categories"]:
            aspect, _, category = str(name).partition("/")
            categories.setdefault(aspect, []).append(category)
        by_id[row["sample_id"]] = Sample(
            id=row["sample_id"],
            index=int(row["index"]),
            text=row["text"],
            audio_text=_text(row["audio_text"]),
            video_text=_text(row["video_text"]),
            categories={aspect: tuple(names) for aspect, names in categories.items()},
            given=_text(row.get("given")) or "",
        )
    chosen, total = tuple(by_id.values()), int(result.run["suite_total"])
    suite = Suite(
        result.suite,
        chosen,
        None,
        False,
        result.suite_hash,
        "submission",
        total,
        own_aspects=result.own_aspects,
        task=result.task,
    )
    rows = zip(tables.scores["sample_id"], tables.scores["repeat"], strict=True)
    return suite, [Item(by_id[sample_id], int(repeat), None) for sample_id, repeat in rows]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _check_suite(result: StoredResult, suite: Suite) -> Iterator[Finding]:
    from javisbench.cards import suite_cards
    from javisbench.suite import load_suite

    gives = suite.task_facts.condition is not None
    if gives and not any(sample.given for sample in suite):
        yield Finding(
            "suite",
            "samples.parquet does not name the files that the suite gives, as in older runs: the suite's hash was not "
            "made anew",
            refuses=False,
        )
    elif len(suite) == suite.total and suite_hash(suite.samples, suite.task) != result.suite_hash:
        named = "prompts, ids, categories or names of given files" if gives else "prompts, ids or categories"
        yield Finding("suite", f"{named} are not those that the suite's hash was made of")
    card = suite_cards().get(result.suite)
    if card is None:
        return
    if card.samples != suite.total:
        yield Finding("suite", f"{result.suite} has {card.samples} prompts, not {suite.total}")
    try:
        known = load_suite(result.suite, offline=True)
    except JavisbenchError:
        yield Finding("suite", f"{result.suite} is not on this machine: its rows were not compared", refuses=False)
        return
    if known.hash != result.suite_hash:
        yield Finding("suite", f"the rows are not those of {result.suite} as this machine has it")
    expected = {sample.id: (sample.text, sample.categories) for sample in known}
    changed = [s.id for s in suite if expected.get(s.id) != (s.text, _of_taxonomy(s))]
    if changed:
        yield Finding("suite", f"{len(changed)} rows differ from {result.suite}, such as {changed[0]}")


def _of_taxonomy(sample: Sample) -> dict[str, tuple[str, ...]]:
    """The sample's categories without those that a column of the suite made."""
    return {aspect: found for aspect, found in sample.categories.items() if aspect in ASPECTS}


def checkable(metric_id: str) -> bool:
    """Whether a metric's values can be checked here: it is installed, and works."""
    from javisbench.metrics.registry import card_of

    return card_of(metric_id) is not None


def _check_means(result: StoredResult, tables: _Tables, suite: Suite, items: list[Item]) -> Iterator[Finding]:
    import numpy as np

    from javisbench.metrics.registry import sample_metric
    from javisbench.results.summary import sample_cells

    scores = tables.scores
    for metric_id, cells in result.metrics.items():
        if not checkable(metric_id):
            continue
        metric = sample_metric(metric_id)
        if metric is None:
            continue
        if metric_id not in scores.columns:
            if any(cell.value is not None for cell in cells.values()):
                yield Finding("scores", f"{metric_id} has values in the summary, but no scores")
            continue
        left_out = {(row.sample_id, row.repeat) for row in result.not_applicable if row.metric == metric_id}
        try:
            computed = sample_cells(
                scores[metric_id].to_numpy(dtype=np.float64),
                suite,
                items,
                result.run["seed"],
                metric=metric,
                not_applicable={i for i, item in enumerate(items) if (item.sample.id, item.repeat) in left_out},
                details=_details_of(metric_id, tables, items),
            )
        except Exception as error:  # Details of another shape, or a defect of another package: neither stops a board.
            log.warning("The metric %s (%s) failed.", metric_id, type(metric).__module__, exc_info=True)
            yield Finding(
                "details", f"{metric_id}: nothing can be made of its details: {type(error).__name__}: {error}"
            )
            continue
        yield from _differences(metric_id, cells, computed, SAMPLE_TOLERANCE)
    missing = [name for name in _metric_columns(scores) if name not in result.metrics]
    if missing:
        yield Finding("scores", f"scores of {', '.join(missing)} are not in the summary")


def _details_of(metric_id: str, tables: _Tables, items: Sequence[Item]) -> DetailsOf | None:
    """Details of a metric by the position of their item; None where there are none at all."""
    if tables.details is None:
        return None
    place = {(item.sample.id, item.repeat): i for i, item in enumerate(items)}
    rows = tables.details[tables.details["metric"] == metric_id]
    found: dict[int, dict[str, tuple[float, ...]]] = {}
    for sample_id, repeat, name, values in zip(
        *(rows[column] for column in ("sample_id", "repeat", "name", "values")), strict=True
    ):
        found.setdefault(place[sample_id, repeat], {})[str(name)] = tuple(map(float, values))
    return lambda position: found.get(position, {})


def _differences(
    metric_id: str, claimed: Mapping[str, Cell], computed: Mapping[str, Cell], tolerance: float
) -> Iterator[Finding]:
    if claimed.keys() != computed.keys():
        yield Finding("slices", f"{metric_id}: the categories are not those of the samples")
        return
    for name, cell in computed.items():
        for field in ("value", "n", "ci_low", "ci_high"):
            said, found = getattr(claimed[name], field), getattr(cell, field)
            if not _close(said, found, tolerance):
                yield Finding("aggregate", f"{metric_id}, {name}: {field} is {found}, the summary says {said}")
        for field, number in claimed[name].facts.items():
            if not _close(number, cell.facts.get(field), tolerance):
                yield Finding(
                    "aggregate", f"{metric_id}, {name}: {field} is {cell.facts.get(field)}, the summary says {number}"
                )
        if claimed[name].not_applicable != cell.not_applicable:
            yield Finding("aggregate", f"{metric_id}, {name}: it is not applicable to {cell.not_applicable} clips")
        if claimed[name].status != cell.status:
            yield Finding("aggregate", f"{metric_id}, {name}: status is {cell.status}, not {claimed[name].status}")


def _close(said: float | None, found: float | None, tolerance: float) -> bool:
    if said is None or found is None:
        return said is found
    return math.isclose(said, found, rel_tol=tolerance, abs_tol=tolerance)


def _check_sets(result: StoredResult, folder: Path, suite: Suite) -> Iterator[Finding]:
    from javisbench.metrics.registry import set_metric
    from javisbench.results.set_features import RowBounds, read_set_features

    try:
        stored = read_set_features(folder, RowBounds(len(suite), MAX_WIDTH, MAX_ROWS_A_CLIP))
    except SystemFaultError:
        raise
    except JavisbenchError as error:
        yield Finding("set_features", error.message)
        return
    unsound = [finding for rows in stored.values() for finding in _check_features(rows)]
    yield from unsound
    if any(finding.refuses for finding in unsound):
        return
    by_metric = {metric: rows for rows in stored.values() for metric in rows.metrics}
    unused = [metric for metric in by_metric if metric not in result.metrics]
    if unused:
        yield Finding("set_features", f"features of {', '.join(unused)[:80]}, which the summary does not have")
    for metric_id, cells in result.metrics.items():
        metric = set_metric(metric_id)
        if metric is None:
            continue
        if metric_id in by_metric:
            yield from _check_set(metric, cells, by_metric[metric_id], result, suite)
        elif any(cell.value is not None for cell in cells.values()):
            yield Finding("set_features", f"{metric_id} has values in the summary, but no features")


def _check_features(rows: SetRows) -> Iterator[Finding]:
    import numpy as np

    name, sides = rows.name[:80], (rows.fake, rows.real)
    if not all(np.isfinite(side).all() for side in sides):
        yield Finding("set_features", f"features of {name} hold NaN or infinity")
    elif len(rows.fake) and _compares(rows) and np.array_equal(rows.fake, rows.real):
        yield Finding("copies", f"features of {name} are the same for generated and real clips", refuses=False)


def _compares(rows: SetRows) -> bool:
    """Whether a metric of these rows looks at the real side."""
    from javisbench.metrics.registry import set_metric

    metrics = [set_metric(metric_id) for metric_id in rows.metrics]
    return not metrics or any(metric is None or metric.needs_real for metric in metrics)


def _check_set(
    metric: SetMetric, cells: Mapping[str, Cell], rows: SetRows, result: StoredResult, suite: Suite
) -> Iterator[Finding]:
    from javisbench.results.set_distances import protocol_of
    from javisbench.results.summary import positions

    metric_id = metric.card.id
    by_id = {sample.id: sample for sample in suite}
    strangers = [sample_id for sample_id in rows.sample_ids if sample_id not in by_id]
    if strangers:
        yield Finding("set_features", f"{metric_id}: features of {strangers[0]}, which is no sample")
        return
    items = [Item(by_id[sample_id], 0, None) for sample_id in rows.sample_ids]
    try:
        values = metric.compute(rows.fake, rows.real, positions(suite, items), protocol_of(result))
    except JavisbenchError as error:
        yield Finding("set_features", f"{metric_id}: {error.message}")
        return
    except Exception as error:  # A metric of another package: its defect stops neither this check nor a board.
        log.warning("The metric %s (%s) failed.", metric_id, type(metric).__module__, exc_info=True)
        yield Finding("metric", f"{metric_id} of {type(metric).__module__} failed: {type(error).__name__}: {error}")
        return
    yield from _differences(metric_id, cells, {name: Cell.of(value) for name, value in values.items()}, SET_TOLERANCE)


def _check_plausible(result: StoredResult, scores: pd.DataFrame) -> Iterator[Finding]:
    from javisbench.metrics.registry import METRICS

    reasons = (*result.failures, *result.not_applicable)
    failed = {(failure.sample_id, failure.repeat, failure.metric) for failure in reasons}
    for metric_id in filter(checkable, _metric_columns(scores)):
        low, high = METRICS.get(metric_id).card.value_range
        column = scores[metric_id].dropna()
        outside = column[(column < (-math.inf if low is None else low - 1e-6))
                         | (column > (math.inf if high is None else high + 1e-6))]  # fmt: skip
        if len(outside):
            yield Finding("range", f"{metric_id}: {outside.iloc[0]} lies outside its range")
        if len(column) >= 20 and column.nunique() == 1 and not metric_id.startswith("health_"):
            yield Finding("constant", f"{metric_id} is the same for all {len(column)} clips", refuses=False)
        empty = scores[scores[metric_id].isna()]
        clips = zip(empty["sample_id"], empty["repeat"], strict=True)
        unexplained = [clip for clip in clips if failed.isdisjoint({(*clip, None), (*clip, metric_id)})]
        if unexplained:
            yield Finding(
                "failures", f"{metric_id}: {len(unexplained)} values are missing without a failure that says why"
            )


def _check_clips(folder: Path, result: StoredResult, scores: pd.DataFrame) -> Iterator[Finding]:
    """The hashes of the clips: whether they are hashes, of as many clips as were scored, and all different."""
    path = folder / "clips.json"
    try:
        hashes = parse_json(path.read_bytes(), path.name) if path.is_file() else {}
    except JavisbenchError as error:
        yield Finding("clips", error.message)
        return
    if not isinstance(hashes, dict) or not all(isinstance(h, str) and SHA256.fullmatch(h) for h in hashes.values()):
        yield Finding("clips", "clips.json must give the SHA-256 of each clip by its name")
        return
    sounds = [digest for name, digest in hashes.items() if name.lower().endswith(SIDECAR_SUFFIXES)]
    videos = [digest for name, digest in hashes.items() if not name.lower().endswith(SIDECAR_SUFFIXES)]
    if sounds and not TASKS[result.task].makes_picture:
        videos = sounds
    gone = {(f.sample_id, f.repeat) for f in result.failures if f.metric is None}
    scored = len(scores) - len(gone)
    if len(videos) < scored:
        yield Finding("clips", f"hashes of {len(videos)} clips for {scored} that were scored", refuses=False)
    if len(set(videos)) < len(videos):
        yield Finding("clips", f"{len(videos) - len(set(videos))} clips are copies of others", refuses=False)
