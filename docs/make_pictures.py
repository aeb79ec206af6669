"""Pictures for the pages of metrics, each computed by the metric itself as the site is built: for docs/make_site.py."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from javisbench.errors import MetricError
from javisbench.metrics.distances import frechet_distance, polynomial_mmd
from javisbench.metrics.registry import METRICS
from javisbench.protocol import PROTOCOLS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from javisbench.clip import Clip

SHIFTS_MS = (-640, -320, -160, -80, -40, 0, 40, 80, 160, 320, 640)
SCENES = 6
_INK = "#010203"
"""Stands for the colour of the page's text."""
_LINE = "#4a6fd0"
_SIZES = {400: (50, 100, 200, 400, 800, 1600), 1024: (64, 128, 256, 512, 1024)}


def picture(metric_id: str) -> list[str]:
    """Lines with a picture and what it shows; none for metrics whose behaviour needs trained weights to be shown."""
    if metric_id in ("av_align", "av_sync"):
        return _by_shift(metric_id)
    if metric_id in ("fvd", "fad", "kvd"):
        return _by_size(metric_id)
    return []


def _by_shift(metric_id: str) -> list[str]:
    values = shifted_scores(metric_id)
    means = [float(np.mean(values[shift])) for shift in SHIFTS_MS]

    def draw(axis: Axes) -> None:
        axis.plot(SHIFTS_MS, means, marker="o", markersize=3, color=_LINE)
        axis.set_xlabel("sound late by ms")
        axis.set_ylabel(f"mean {METRICS.get(metric_id).card.title}")

    text = f"Mean score of {SCENES} scenes of the suite sync-scenes (procedural:sync), their sound shifted circularly."
    return ["## What a shift of the sound does", "", text, "", _svg(draw, text), ""]


@cache
def _scenes() -> tuple[Clip, ...]:
    from javisbench.baselines.base import Generated, Request
    from javisbench.baselines.procedural import Procedural
    from javisbench.suite import load_suite

    suite, generator = load_suite("sync-scenes"), Procedural("sync", {"rates": "suite"})
    plan = generator.plan(suite.setting_to_make)
    chosen = suite.samples[:: len(suite) // SCENES][:SCENES]
    requests = [Request(sample, sample.index, 0, sample.index, plan, sample.prompts) for sample in chosen]
    made = generator.generate(requests)
    return tuple(one.clip for one in made if isinstance(one, Generated))


def shifted_scores(metric_id: str) -> Mapping[int, list[float]]:
    """A metric's scores of the scenes, by shift in ms. The picture is looked at once."""
    from javisbench.damages import DAMAGES
    from javisbench.metrics.base import SampleContext
    from javisbench.metrics.encoders import ENCODERS

    protocol, metric, shift = PROTOCOLS["javisbench-v2"], METRICS.get(metric_id)(), DAMAGES.get("shift_circular")()
    found: dict[int, list[float]] = {ms: [] for ms in SHIFTS_MS}
    for clip in _scenes():
        pictures: dict[str, Any] = {}
        for ms in SHIFTS_MS:
            late = shift.apply(clip, float(ms), np.random.default_rng(0), None)
            features = {}
            for role, spec in metric.needs(protocol).items():
                encoder = ENCODERS.get(spec.encoder)()
                seen = encoder.stream(spec) == "picture"
                if role not in pictures or not seen:
                    pictures[role] = encoder.encode([late], [spec])[0][spec]
                features[role] = pictures[role]
            with contextlib.suppress(MetricError):  # nothing happens in it at any moment
                found[ms].append(metric.score(features, SampleContext(protocol)).value)
    return found


def _by_size(metric_id: str) -> list[str]:
    width = 1024 if metric_id == "fad" else 400
    sizes = _SIZES[width]
    values = same_source(metric_id, width, sizes)

    def draw(axis: Axes) -> None:
        axis.plot(sizes, values, marker="o", markersize=3, color=_LINE)
        axis.axhline(0, color=_INK, linewidth=0.8, linestyle=(0, (3, 2)))
        axis.set_xscale("log")
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
        axis.set_xlabel("clips a side")
        axis.set_ylabel("distance")

    title = METRICS.get(metric_id).card.title
    text = (
        f"{title}'s distance between two sets of one normal distribution in {width} dimensions, whose true "
        "distance is 0 (the dashed line). What stands above it is bias."
    )
    return ["## What the number of clips does", "", text, "", _svg(draw, text), ""]


def same_source(metric_id: str, width: int, sizes: Iterable[int]) -> Sequence[float]:
    """The metric's distance of two sets of features of one distribution, by their size."""
    rng = np.random.default_rng(0)
    scale = 1 / np.sqrt(1 + np.arange(width))
    values = []
    for size in sizes:
        x, y = (rng.standard_normal((size, width)) * scale for _ in range(2))
        values.append(polynomial_mmd(x, y) if metric_id == "kvd" else frechet_distance(x, y))
    return values


def _svg(draw: Any, text: str) -> str:
    """A drawing inside the page, in the colours of the page, on one line: Markdown would take it apart."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none", "svg.hashsalt": text, "font.size": 9, "text.color": _INK, "axes.labelcolor": _INK,
        "axes.edgecolor": _INK, "xtick.color": _INK, "ytick.color": _INK, "axes.spines.top": False,
        "axes.spines.right": False,
    }  # fmt: skip
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(5.6, 2.6), layout="constrained")
        draw(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL).replace(_INK, "currentColor")
    svg = svg.replace("<svg ", f'<svg class="drawing" role="img" aria-label="{text}" ', 1)
    return re.sub(r"\s+", " ", svg)
