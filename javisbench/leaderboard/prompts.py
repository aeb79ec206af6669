"""The data of the pages that show one prompt by all models: their scores of it, and their clips side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.leaderboard import plots
from javisbench.leaderboard.clips import Files, suite_key
from javisbench.leaderboard.samples import column_json, rounded, write_script
from javisbench.leaderboard.template_data import digest
from javisbench.matching import clip_name
from javisbench.protocol import headline_of
from javisbench.results.table import Column, column, metric_order, slice_title
from javisbench.text import printable

if TYPE_CHECKING:
    from javisbench.results.run_folder import SampleInfo, StoredResult

CHUNK = 50
"""Prompts a file: with thirty models, some hundred kilobytes."""
AT_FIRST = 4
"""Models that are shown until the reader chooses others: a phone plays no thirty clips at once."""


@dataclass(frozen=True)
class PromptsPage:
    """One suite's prompts.

    Attributes:
        name: of the page and of its data; the same for every board of the same suite.
        suite: name of the suite.
        results: one of each model.
        clips: number of prompts, repeats counted.
        playable: of these, how many have a clip of any model.
    """

    name: str
    suite: str
    results: tuple[StoredResult, ...]
    clips: int
    playable: int


@dataclass(frozen=True)
class _Scored:
    """One model's scores by clip."""

    result: StoredResult
    columns: tuple[Column, ...]
    rows: Mapping[str, tuple[float, ...]]
    samples: Mapping[str, str]
    """Clip to the id of its sample."""


def prompt_groups(results: Sequence[StoredResult]) -> list[list[StoredResult]]:
    """Results on the same prompts, one of each model: two protocols are two ways to score the same clips."""
    groups: dict[tuple[str, str], dict[str, StoredResult]] = {}
    for result in results:
        groups.setdefault(suite_key(result), {}).setdefault(result.model, result)
    return [list(group.values()) for group in groups.values()]


def write_prompts(
    results: Sequence[StoredResult], files: Mapping[str, Mapping[str, Files]], names: Mapping[str, str], data: Path
) -> PromptsPage | None:
    """Write ``prompts.js`` and ``prompts-N.js`` of one suite.

    Args:
        results: of `prompt_groups`.
        files: result key to clip to its published files.
        names: result key to the name of its data folder and page of samples.
        data: the site's folder with one folder a result.

    Returns:
        None when no result has scores of single clips.
    """
    scored = [found for result in results if (found := _scored(result)) is not None]
    if not scored:
        return None
    first = scored[0].result
    page = f"{plots.file_name(first.suite)}-{digest(f'{first.suite} {first.suite_hash}')}"
    folder = data / f"prompts-{page}"
    folder.mkdir(parents=True)
    clips = list(dict.fromkeys(clip for one in scored for clip in one.rows))
    samples = {clip: sample for one in reversed(scored) for clip, sample in one.samples.items()}
    infos: dict[str, SampleInfo] = {}
    for one in reversed(scored):
        infos |= one.result.samples_by_id()
    playable = [sum(clip in files.get(one.result.key, {}) for one in scored) for clip in clips]
    slices = [(f"{aspect.id}/{category.id}", aspect) for aspect in first.aspects for category in aspect.categories]
    overview = {
        "clips": [printable(clip) for clip in clips],
        "playable": playable,
        "categories": [slice_title(name, [aspect]) for name, aspect in slices],
        "members": [
            [i for i, (name, _) in enumerate(slices) if info is not None and name in info.categories]
            for info in (infos.get(samples[clip]) for clip in clips)
        ],
        "models": [
            {
                "model": printable(one.result.model),
                "folder": f"../data/{names[one.result.key]}/",
                "samples": f"../samples/{names[one.result.key]}.html",
                "columns": [column_json(col) for col in one.columns],
            }
            for one in scored
        ],
        "first": AT_FIRST,
        "chunk": CHUNK,
    }
    write_script(folder / "prompts.js", "prompts", overview)
    for start in range(0, len(clips), CHUNK):
        rows = [_row(clip, samples[clip], infos, scored, files) for clip in clips[start : start + CHUNK]]
        number = start // CHUNK
        write_script(folder / f"prompts-{number}.js", "rows", {"number": number, "rows": rows})
    return PromptsPage(page, first.suite, tuple(one.result for one in scored), len(clips), sum(map(bool, playable)))


def _row(
    clip: str,
    sample: str,
    infos: Mapping[str, SampleInfo],
    scored: Sequence[_Scored],
    files: Mapping[str, Mapping[str, Files]],
) -> dict[str, Any]:
    return {
        "text": infos[sample].text if sample in infos else "",
        "by": [
            {
                "scores": [rounded(v, c.digits + 2) for v, c in zip(one.rows[clip], one.columns, strict=True)]
                if clip in one.rows
                else None,
                "files": files.get(one.result.key, {}).get(clip, {}),
            }
            for one in scored
        ],
    }


def _scored(result: StoredResult) -> _Scored | None:
    """The scores that stand under a clip: the headline of the protocol, or all where it has none of single clips."""
    frame = result.scores()
    if frame is None or frame.empty:
        return None
    there = metric_order(set(frame.columns) - {"sample_id", "repeat"})
    columns = [
        col
        for col in (column(metric, [result]) for metric in there)
        if not col.is_check and frame[col.id].notna().any()
    ]
    headline = headline_of(result.protocol)
    columns = [col for col in columns if col.id in headline] or columns
    samples = [str(sample) for sample in frame["sample_id"]]
    clips = [clip_name(sample, int(repeat)) for sample, repeat in zip(samples, frame["repeat"], strict=True)]
    values = zip(*(frame[col.id].astype(float) for col in columns), strict=True) if columns else [()] * len(clips)
    return _Scored(
        result, tuple(columns), dict(zip(clips, values, strict=True)), dict(zip(clips, samples, strict=True))
    )
