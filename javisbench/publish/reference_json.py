"""The result file of the reference evaluation of JavisBench, read and written.

One JSON object, a member a metric in order of computation: a number, or with slices ``{"overall": mean, "all": [per
sample], "0": [per category of the first aspect], ..., "4": [...]}``; set metrics have no ``"all"``. The reference
writes a value that it does not have as ``NaN``, which is not JSON; such files are read, but null is written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import RunError
from javisbench.metrics.registry import METRICS, set_metric
from javisbench.results.cell import OVERALL, Cell, slice_name
from javisbench.results.checked_json import check_size
from javisbench.results.run_folder import SUMMARY_SCHEMA, StoredResult
from javisbench.results.summary import nested
from javisbench.taxonomy import TAXONOMY

if TYPE_CHECKING:
    import pandas as pd

REFERENCE_KEYS: Mapping[str, str] = {
    "fvd": "fvd",
    "kvd": "kvd",
    "fad": "fad",
    "visual_quality": "visual_quality",
    "motion_quality": "motion_quality",
    "audio_quality": "audio_quality",
    "tv_ib": "ib_tv",
    "ta_ib": "ib_ta",
    "av_ib": "ib_av",
    "clip_score": "clip_score",
    "clap_score": "clap_score",
    "cavp_score": "cavp_score",
    "av_align": "av_align",
    "avh_score": "avh_score",
    "javis_score": "javis_score",
    "desync": "desync",
}
"""Our metric ids to the reference's keys, in the reference's order."""
MAX_SAMPLES = 1_000_000
NO_N = "n is not recorded in the reference evaluation's file"


def to_reference(result: StoredResult) -> dict[str, Any]:
    """A result in the form of the reference evaluation.

    Args:
        result: of the metrics that the reference does not have, set metrics follow under their own ids; others are left
            out, as are those without any value.

    Returns:
        reference key to number (for a suite without categories) or to the lists of a sliced result.
    """
    scores = result.scores()
    document: dict[str, Any] = {}
    for metric, key in _keys().items():
        overall = result.cell(metric)
        if overall is None:
            continue
        sliced = [str(i) for i, aspect in enumerate(TAXONOMY) if result.has_aspect(metric, aspect.id)]
        per_sample = None if scores is None or metric not in scores else scores[metric].astype(float).tolist()
        values = {i: _categories(result, metric, int(i)) for i in sliced}
        if not sliced and overall.value is not None:
            document[key] = overall.value
        elif overall.value is not None or any(v is not None for found in values.values() for v in found):
            document[key] = {OVERALL: overall.value}
            if per_sample is not None and set_metric(metric) is None:
                document[key]["all"] = [None if math.isnan(v) else v for v in per_sample]
            document[key] |= values
    return document


def _keys() -> dict[str, str]:
    """Metric ids to keys: the reference's, then the ids of set metrics that it does not have."""
    taken = {*REFERENCE_KEYS, *REFERENCE_KEYS.values()}
    more = [name for name in METRICS if name not in taken and set_metric(name) is not None]
    return {**REFERENCE_KEYS, **dict(zip(more, more, strict=True))}


def _categories(result: StoredResult, metric: str, aspect: int) -> list[float | None]:
    cells = (result.cell(metric, TAXONOMY[aspect].id, c) for c in TAXONOMY[aspect].category_ids)
    return [None if cell is None else cell.value for cell in cells]


def write_reference(result: StoredResult, path: Path) -> None:
    """Write `to_reference` as JSON with one blank of indentation, as the reference does, but without NaN."""
    path.write_text(json.dumps(to_reference(result), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_reference(path: Path) -> dict[str, Any]:
    """A file of the reference evaluation, every value checked; NaN is read as null.

    Returns:
        our metric id to ``{"overall": number or None, "all": [...] or None, "0": [...], ...}``.

    Raises:
        RunError: too large, not JSON, or not of the reference's form; the message names the member.
    """
    document = _document(path)
    if not isinstance(document, dict):
        raise RunError(f"{path} is not an object with one member a metric.")
    ours = {key: metric for metric, key in _keys().items()}
    found = {ours[key]: _read_metric(value, f"{path}: {key}") for key, value in document.items() if key in ours}
    if not found:
        raise RunError(f"{path} has none of the reference evaluation's metrics ({', '.join(ours)}).")
    return found


def is_reference(path: Path) -> bool:
    """Whether a JSON file is of the reference evaluation's form, and no summary.json.

    Raises:
        RunError: it is not there, too large, or no JSON.
    """
    document = _document(path)
    return isinstance(document, dict) and "metrics" not in document and not document.keys().isdisjoint(_keys().values())


def _document(path: Path) -> Any:
    if not path.is_file():
        raise RunError(f"{path} is not a file.")
    check_size(path)
    try:
        return json.loads(path.read_bytes().decode("utf-8"), parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is not readable JSON: {error}.") from error


def _read_metric(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {OVERALL: _number(value, where)}
    read: dict[str, Any] = {OVERALL: _number(value.get(OVERALL), f"{where}.{OVERALL}")}
    lengths = {"all": None, **{str(i): len(aspect.categories) for i, aspect in enumerate(TAXONOMY)}}
    for name, length in lengths.items():
        if name in value:
            items = value[name]
            if not isinstance(items, list) or len(items) != (length or len(items)) or len(items) > MAX_SAMPLES:
                raise RunError(f"{where}.{name} is not a list of {length or 'numbers'}.")
            read[name] = [_number(item, f"{where}.{name}[{i}]") for i, item in enumerate(items)]
    return read


def _number(value: Any, where: str) -> float | None:
    if value is None:
        return None
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise RunError(f"{where} is not a finite number but {str(value)[:40]!r}.")
    return number


def import_reference(path: Path, out: Path, *, model: str, suite: str) -> Path:
    """Make a run folder of a reference evaluation's file, so that it can stand in tables beside measured results.

    The protocol is ``javisbench-v1+imported``: a derived one, since nothing here recomputed the values, so they are
    never ranked with measured ones. The file has no intervals and, for set metrics and categories, no n.

    Args:
        path: the reference's JSON file.
        out: folder to make.
        model: name for tables.
        suite: name of the suite.

    Returns:
        `out`, with summary.json and, where the file has values per sample, scores.parquet.

    Raises:
        RunError: see `read_reference`; or `out` is there already.
    """
    read = read_reference(path)
    if out.exists():
        raise RunError(f"{out} is there already; give another folder.")
    counts = [len(metric["all"]) for metric in read.values() if "all" in metric]
    samples = max(counts, default=0)
    run = {
        "model": model,
        "suite": suite,
        "suite_hash": "",
        "samples": samples,
        "protocol": "javisbench-v1+imported",
        "stand_in": False,
        "audio": {},
        "versions": {},
        "card": None,
        "imported_from": path.name,
    }
    metrics = {metric: _cells(values) for metric, values in read.items()}
    document = {"schema": SUMMARY_SCHEMA, "run": run, "metrics": metrics, "failures": []}
    out.mkdir(parents=True)
    (out / "summary.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if samples:
        _scores(read, samples).to_parquet(out / "scores.parquet", index=False)
    return out


def _cells(values: Mapping[str, Any]) -> dict[str, Any]:
    per_sample = values.get("all")
    n = sum(v is not None for v in per_sample) if per_sample is not None else 0
    cells = {OVERALL: _cell(values[OVERALL], n)}
    for i, aspect in enumerate(TAXONOMY):
        for category, value in zip(aspect.category_ids, values.get(str(i), ()), strict=False):
            cells[slice_name(aspect.id, category)] = _cell(value, 0)
    return nested(cells)


def _cell(value: float | None, n: int) -> Cell:
    if value is None:
        return Cell(n=n, status="failed", note="the reference evaluation has no value")
    return Cell(value, n, note=None if n else NO_N)


def _scores(read: Mapping[str, Mapping[str, Any]], samples: int) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {"sample_id": [f"sample_{i:04d}" for i in range(samples)], "repeat": [0] * samples}
    for metric, values in read.items():
        if len(values.get("all", ())) == samples:
            columns[metric] = pd.Series(values["all"], dtype="float64")
    return pd.DataFrame(columns)
