"""The picture of a comparison: differences with intervals, one panel a metric."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from javisbench.durable import atomic_path
from javisbench.errors import UsageError
from javisbench.leaderboard.site_extra import FIGURES, require_site_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from javisbench.results.compare import Comparison, Row

_PANELS_ACROSS = 5
_COLOURS = {"a": "#0a7d54", "b": "#b3402a", None: "#5a6472"}


def check_drawable(target: Path) -> None:
    """Refuse, before anything is compared, what could not be drawn.

    Raises:
        UsageError: a suffix other than ``.png`` and ``.svg``, or matplotlib is not installed.
    """
    if target.suffix not in (".png", ".svg"):
        raise UsageError(f"--plot draws .png or .svg; got {target.name}.")
    require_site_extra(FIGURES, "--plot")


def draw_comparison(found: Comparison, target: Path) -> None:
    """Draw differences of the first minus the second result with 95 % intervals, by slice.

    Args:
        found: what `javisbench.results.compare.compare` gave.
        target: ``.png`` or ``.svg``.

    Raises:
        UsageError: another suffix, or matplotlib is not installed.
    """
    check_drawable(target)
    from matplotlib.figure import Figure

    if not found.scores:
        raise UsageError("The results have checks of clips in common and no metric: there is no difference to draw.")
    metrics = list(dict.fromkeys(row.metric for row in found.scores))
    slices = list(dict.fromkeys(row.slice for row in found.scores))
    across = min(len(metrics), _PANELS_ACROSS)
    down = math.ceil(len(metrics) / across)
    size = (2.2 + 2.3 * across, 0.6 + down * (0.8 + 0.24 * len(slices)))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(down, across, sharey=True, squeeze=False)
    for axis in axes.flat[len(metrics) :]:
        axis.set_visible(False)
    for axis, metric in zip(axes.flat, metrics, strict=False):
        rows = [row for row in found.scores if row.metric == metric]
        _panel(axis, rows, slices, found.columns[metric].heading)
    labels = [found.titles.get(name, name) for name in slices]
    axes[0][0].set_yticks(range(len(slices)), labels)
    axes[0][0].invert_yaxis()
    figure.suptitle(
        f"{found.a} minus {found.b}, 95 % intervals. Green: the first is better; red: the second; grey: not known.",
        fontsize=9,
    )
    with atomic_path(target) as temporary:
        figure.savefig(temporary, format=target.suffix[1:], dpi=150)


def _panel(axis: Axes, rows: list[Row], slices: list[str], heading: str) -> None:
    axis.axvline(0, color="#9aa3ad", linewidth=0.8)
    for row in rows:
        gap, place = row.difference, slices.index(row.slice)
        if gap.value is None:
            continue
        colour = _COLOURS[row.better]
        if gap.ci_low is not None and gap.ci_high is not None:
            axis.hlines(place, gap.ci_low, gap.ci_high, color=colour, linewidth=1.6)
        axis.plot(gap.value, place, "o", color=colour, markersize=4)
    axis.set_title(heading, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.grid(axis="y", color="#e3e7eb", linewidth=0.6)
    axis.set_axisbelow(True)
