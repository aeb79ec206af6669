"""The data of the per-sample pages: scores of every clip, and what stands behind them, in chunks loaded on demand.

A page opened from a file may not fetch other files, but it may load scripts; so the data are scripts that hand one
JSON value to the page. Everything in them is ASCII JSON, and the page puts it into the document as text alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.leaderboard.clips import ClipPublisher, Files
from javisbench.matching import clip_name
from javisbench.results.table import Column, column, metric_order, slice_title
from javisbench.text import printable

if TYPE_CHECKING:
    import pandas as pd

    from javisbench.results.run_folder import SampleInfo, StoredResult
    from javisbench.taxonomy import Aspect

CHUNK = 250
EXTREMES = 5
MAX_SERIES = 400


@dataclass(frozen=True)
class Extreme:
    """The best and worst clips of a metric, as (clip, value)."""

    column: Column
    best: tuple[tuple[str, float], ...]
    worst: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class SamplesPage:
    """What the page of one result's samples needs besides its data files.

    Attributes:
        columns: per-sample metrics with a value.
        clips: number of rows.
        chunks: number of detail files.
        extremes: best and worst clips by metric.
        published: clip to its published files, from the result's data folder.
    """

    columns: tuple[Column, ...]
    clips: int
    chunks: int
    extremes: tuple[Extreme, ...]
    published: Mapping[str, Files]


def write_samples(result: StoredResult, folder: Path, publisher: ClipPublisher) -> SamplesPage | None:
    """Write ``samples.js``, ``details-N.js`` and, where asked for, the clips of one result into `folder`.

    Args:
        result: with per-sample scores.
        folder: made here.
        publisher: copies clips along.

    Returns:
        None when the result has no per-sample scores.

    Raises:
        RunError: the scores are there but damaged.
    """
    frame = result.scores()
    if frame is None or frame.empty:
        return None
    frame = frame.reset_index(drop=True)
    # Of an archive, only what was checked is among the result's metrics.
    metrics = [m for m in metric_order(set(frame.columns) & result.metrics.keys()) if _numeric(frame[m])]
    columns = tuple(column(metric, [result]) for metric in metrics)
    texts = [str(sample_id) for sample_id in frame["sample_id"]]
    clips = [clip_name(str(s), int(r)) for s, r in zip(frame["sample_id"], frame["repeat"], strict=True)]
    scores = [col for col in columns if col.higher_is_better is not None and not col.is_check]
    spread = [col for col in scores if frame[col.id].nunique() > 1]
    extremes = tuple(_extreme(frame[col.id], clips, col) for col in spread)
    folder.mkdir(parents=True)
    best_and_worst = (clip for extreme in extremes for clip, _ in (*extreme.best, *extreme.worst))
    files = publisher.publish(result, folder.name, dict(zip(clips, texts, strict=True)), best_and_worst)
    infos = result.samples_by_id()
    overview = {
        "clips": [printable(clip) for clip in clips],
        "metrics": [column_json(col) for col in columns],
        "scores": [[rounded(v, col.digits + 2) for v in frame[col.id]] for col in columns],
        "categories": [
            slice_title(f"{aspect.id}/{category.id}", [aspect])
            for aspect in result.aspects
            for category in aspect.categories
        ],
        "members": [_category_numbers(infos.get(text), result.aspects) for text in texts],
        "failed": sorted({clip_name(f.sample_id, f.repeat) for f in result.failures}),
        "chunk": CHUNK,
    }
    write_script(folder / "samples.js", "samples", overview)
    series = _series(result.details())
    failures: dict[str, list[list[str]]] = {}
    for f in result.failures:
        words = [printable(f"{f.stage} {f.metric or ''}").strip(), printable(f.kind), printable(f.message)]
        failures.setdefault(clip_name(f.sample_id, f.repeat), []).append(words)
    left_out: dict[str, list[list[str]]] = {}
    for f in result.not_applicable:
        words = [column(f.metric or "").title, printable(f.message)]
        left_out.setdefault(clip_name(f.sample_id, f.repeat), []).append(words)
    chunks = -(-len(clips) // CHUNK)
    for number in range(chunks):
        rows = range(number * CHUNK, min((number + 1) * CHUNK, len(clips)))
        detail = [
            {
                "text": infos[texts[i]].text if texts[i] in infos else "",
                "series": series.get(clips[i], {}),
                "files": files.get(clips[i], {}),
                "failures": failures.get(clips[i], []),
                "not_applicable": left_out.get(clips[i], []),
            }
            for i in rows
        ]
        write_script(folder / f"details-{number}.js", "details", {"number": number, "rows": detail})
    return SamplesPage(columns, len(clips), chunks, extremes, files)


def write_script(path: Path, kind: str, value: Any) -> None:
    """Write a script that hands `value` to the page, in ASCII and without anything that could end a script element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    path.write_text(f'javisbench.receive("{kind}",{text});\n', encoding="ascii")


def _numeric(series: pd.Series[Any]) -> bool:
    return series.dtype.kind in "fiu" and bool(series.notna().any())


def column_json(col: Column) -> dict[str, Any]:
    """A metric as scripts of pages know it."""
    return {"id": col.id, "title": col.heading, "digits": col.digits, "higher": col.higher_is_better}


def rounded(value: float, digits: int) -> float | None:
    """The value with so many digits behind the point; None for what is no finite number."""
    value = float(value)
    return None if value != value or abs(value) == float("inf") else round(value, digits)


def _category_numbers(info: SampleInfo | None, aspects: Sequence[Aspect]) -> list[int]:
    """Numbers of the sample's categories, in the order of the aspects."""
    names = [f"{aspect.id}/{category.id}" for aspect in aspects for category in aspect.categories]
    return [i for i, name in enumerate(names) if info is not None and name in info.categories]


def _extreme(values: pd.Series[Any], clips: Sequence[str], col: Column) -> Extreme:
    ordered = values.dropna().sort_values(ascending=not col.higher_is_better, kind="stable")
    pairs = [(printable(clips[int(i)]), float(v)) for i, v in ordered.items()]  # type: ignore[call-overload]
    count = min(EXTREMES, len(pairs) // 2)
    return Extreme(col, tuple(pairs[:count]), tuple(reversed(pairs[-count:])) if count else ())


def _series(details: pd.DataFrame | None) -> dict[str, dict[str, list[float | None]]]:
    """Clip to ``metric.name`` to the values of a short series: window scores and times of events."""
    found: dict[str, dict[str, list[float | None]]] = {}
    if details is None:
        return found
    wanted = details["name"].astype(str).str.fullmatch(r"windows|[a-z_]{1,40}_times_s")
    columns = [details[wanted][name].tolist() for name in ("sample_id", "repeat", "metric", "name", "values")]
    for sample_id, repeat, metric, name, values in zip(*columns, strict=True):
        short = [rounded(v, 4) for v in list(values)[:MAX_SERIES]]
        found.setdefault(clip_name(str(sample_id), int(repeat)), {})[printable(f"{metric}.{name}")] = short
    return found
