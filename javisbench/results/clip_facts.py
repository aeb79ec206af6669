"""What is known of a result's clips: size, frames, rate, length; from what the checks of clips found, else from what
their maker planned, else from ratios to the suite's setting.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from javisbench.durable import read_json
from javisbench.errors import RunError
from javisbench.results.cell import OVERALL
from javisbench.results.checked_json import check_size
from javisbench.system_faults import raise_if_system

if TYPE_CHECKING:
    from javisbench.results.run_folder import StoredResult

NAMES = ("width", "height", "frames", "fps", "duration_s", "sample_rate")
MAX_SIDECARS = 20_000
_DETAILS = {
    "health_size": ("width", "height"),
    "health_fps": ("fps",),
    "health_duration": ("duration_s",),
    "health_rate": ("sample_rate",),
}
_ALIKE = 0.01
"""Rates and lengths of clips that lie no farther apart, relative to their middle, are one."""


def clip_facts(result: StoredResult) -> dict[str, Any]:
    """``clips.width`` and so on: one number where clips are alike, else text with their range; what is not known lacks.

    Width and height in pixels, fps in frames per second, duration in seconds, sample rate in Hz.

    Raises:
        RunError: details.parquet cannot be read.
    """
    series = _from_details(result) or _from_sidecars(result)
    if series:
        found = {name: _one(values, exact=name not in ("fps", "duration_s")) for name, values in series.items()}
    else:
        found = _from_ratios(result)
    return {f"clips.{name}": found[name] for name in NAMES if found.get(name) is not None}


def _from_details(result: StoredResult) -> dict[str, list[float]]:
    wanted = {(metric, name) for metric, names in _DETAILS.items() for name in names}
    details = result.details() if any(metric in result.metrics for metric, _ in wanted) else None
    if details is None:
        return {}
    rows = details[[pair in wanted for pair in zip(details["metric"], details["name"], strict=True)]]
    by_clip: dict[tuple[str, int], dict[str, float]] = {}
    for sample_id, repeat, name, values in zip(
        rows["sample_id"], rows["repeat"], rows["name"], rows["values"], strict=True
    ):
        if values is not None and len(values):
            by_clip.setdefault((str(sample_id), int(repeat)), {})[str(name)] = float(values[0])
    return _series(by_clip.values())


def _from_sidecars(result: StoredResult) -> dict[str, list[float]]:
    if result.clips is None:
        return {}
    return _series(_plans(result))


def _plans(result: StoredResult) -> Iterator[Mapping[str, float]]:
    assert result.clips is not None
    for number, path in enumerate(sorted(result.clips.glob("*.json"))):
        if number >= MAX_SIDECARS:
            return
        try:
            check_size(path)
            plan = read_json(path).get("plan")
            rate = plan["fps"]
            top, _, bottom = str(rate).partition("/")
            fps = float(top) / float(bottom or 1)
            told = {name: float(plan[name]) for name in ("width", "height", "frames", "sample_rate")}
        except (RunError, OSError, AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise_if_system(error, path)
            continue  # a sidecar of another form tells nothing
        if not all(map(math.isfinite, (fps, *told.values()))):
            continue
        yield {**told, "fps": fps, **({"duration_s": told["frames"] / fps} if fps > 0 else {})}


def _series(clips: Any) -> dict[str, list[float]]:
    series: dict[str, list[float]] = {}
    for clip in clips:
        told = dict(clip)
        if "frames" not in told and {"fps", "duration_s"} <= told.keys():
            told["frames"] = float(round(told["fps"] * told["duration_s"]))
        for name, value in told.items():
            if value > 0:
                series.setdefault(name, []).append(value)
    return series


def _one(values: list[float], *, exact: bool) -> float | int | str | None:
    if not values:
        return None
    ordered = sorted(values)
    low, middle, high = ordered[0], ordered[len(ordered) // 2], ordered[-1]
    alike = low == high if exact else high - low <= _ALIKE * middle
    if alike:
        return int(middle) if middle == int(middle) else round(middle, 4)
    return f"{low:g} to {high:g}"


def _from_ratios(result: StoredResult) -> dict[str, Any]:
    from javisbench.cards import suite_cards

    card = suite_cards().get(result.suite)
    if card is None or card.setting is None:
        return {}
    asked = {
        "health_fps": ("fps", float(card.setting.fps)),
        "health_duration": ("duration_s", card.setting.duration_s),
        "health_rate": ("sample_rate", float(card.setting.sample_rate)),
    }
    found: dict[str, Any] = {}
    for metric, (name, setting) in asked.items():
        cell = result.metrics.get(metric, {}).get(OVERALL)
        # Of a mean, only one that all clips share tells what each of them is.
        if cell is not None and cell.value is not None and cell.ci_low == cell.ci_high is not None:
            found[name] = _one([cell.value * setting], exact=name == "sample_rate")
    if {"fps", "duration_s"} <= found.keys():
        found["frames"] = round(found["fps"] * found["duration_s"])
    return found
