"""Plots of results as Vega-Lite specifications, drawn to SVG and PNG without a browser.

The specifications are made with Altair and drawn by vl-convert, so pages need no chart library: their plots are plain
SVG whose text takes the page's colour, light or dark.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from javisbench.leaderboard.site_extra import CHARTS, require_site_extra
from javisbench.publish.export import format_rank, format_value
from javisbench.results.table import Column, Table
from javisbench.taxonomy import ASPECTS

if TYPE_CHECKING:
    from types import ModuleType

ACCENT = "#3b6fd4"
MUTED = "#8a8f98"
GROUND = "#ffffff"
INK = "#1b1f27"
MAX_LABEL = 34
_SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True, eq=False)
class Plot:
    """A plot that can be drawn in several formats.

    Attributes:
        name: for files.
        title: what it shows, for captions and screen readers.
        spec: the Vega-Lite specification, complete but for colours of text.
    """

    name: str
    title: str
    spec: Mapping[str, Any]

    @cached_property
    def svg(self) -> str:
        """The plot as SVG, with text, axes and grid in the colour of the page around it (``currentColor``).

        Raises:
            UsageError: the plotting packages are not installed.
        """
        drawn: str = _vl_convert().vegalite_to_svg(_themed(self.spec))
        return checked_svg(drawn)

    @property
    def svg_file(self) -> str:
        """The plot as SVG that stands alone, dark on white."""
        ground = f'<rect width="100%" height="100%" fill="{GROUND}"/>'
        head, end, rest = self.svg.partition(">")
        return (head + end + ground + rest).replace('"currentColor"', f'"{INK}"')

    def png(self) -> bytes:
        """The plot as PNG on white, two pixels a point."""
        drawn: bytes = _vl_convert().svg_to_png(self.svg_file, scale=2.0)
        return drawn


def _vl_convert() -> ModuleType:
    require_site_extra(CHARTS, "A plot")
    import vl_convert

    return vl_convert


def _altair() -> ModuleType:
    require_site_extra(CHARTS, "A plot")
    import altair

    return altair


def _themed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The specification with text, axes and grid in one colour; Altair's own types refuse ``currentColor``."""
    ink = "currentColor"
    axis = {"labelColor": ink, "titleColor": ink, "tickColor": ink, "domainColor": ink, "gridColor": ink}
    config = {
        "aria": False,
        "background": None,
        "font": "sans-serif",
        "view": {"stroke": None},
        "axis": {**axis, "gridOpacity": 0.15, "domainOpacity": 0.4, "tickOpacity": 0.4, "labelLimit": 260},
        "header": {"labelColor": ink, "titleColor": ink, "labelFontWeight": "bold"},
        "legend": {"labelColor": ink, "titleColor": ink},
        "title": {"color": ink, "anchor": "start"},
        "text": {"color": ink},
    }
    return {**spec, "config": config}


def checked_svg(svg: str) -> str:
    """`svg` without roles and labels of its single marks, after making sure that it draws and does nothing else.

    A page gives each plot one label and says where its numbers stand; hundreds of marks would bury a screen reader.

    Raises:
        ValueError: it holds scripts, links, event handlers or foreign content, which no plot of ours has.
    """
    tree = ElementTree.fromstring(svg)
    for parent in tree.iter():
        for element in list(parent):
            if element.get("class") in ("background", "foreground") and element.get("stroke") is None:
                parent.remove(element)
    for element in tree.iter():
        tag = str(element.tag).removeprefix(_SVG)
        if tag in ("script", "foreignObject", "a", "image", "use", "iframe", "style"):
            raise ValueError(f"A plot holds the SVG element {tag!r}.")
        for name in list(element.attrib):
            if name.lower().startswith("on") or name.endswith("href"):
                raise ValueError(f"A plot holds the SVG attribute {name!r}.")
            if name == "role" or name.startswith("aria-"):
                del element.attrib[name]
    ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
    return ElementTree.tostring(tree, encoding="unicode")


def _short(text: str) -> str:
    return text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"


def _labels(texts: Sequence[str]) -> list[str]:
    """Short labels, made distinct, since rows of one label would be drawn on top of each other."""
    short = [_short(text) for text in texts]
    return [f"{text} ({i + 1})" if short.count(text) > 1 else text for i, text in enumerate(short)]


def _room(labels: Iterable[str]) -> dict[str, float]:
    """Padding for row labels: a browser's font may be a fifth wider than the one that the plot was measured with."""
    return {"left": 5 + 1.5 * max((len(text) for text in labels), default=0), "right": 5, "top": 5, "bottom": 5}


def _data(rows: list[dict[str, Any]]) -> Any:
    return _altair().InlineData(values=rows)


def whisker_plot(table: Table, col: Column, name: str) -> Plot | None:
    """Values of one metric with 95 % intervals, one row a model, one panel a group of comparable results.

    Args:
        table: of `board_table`.
        col: one of its columns.
        name: of the plot's files.

    Returns:
        None when the table has no value of the metric.
    """
    panels = []
    for group in table.groups:
        rows: list[dict[str, Any]] = []
        labels = _labels([row.label for row in group.rows])
        for label, row in zip(labels, group.rows, strict=True):
            cell = row.cells.get(col.id)
            if cell is not None and cell.value is not None:
                low = cell.value if cell.ci_low is None else cell.ci_low
                high = cell.value if cell.ci_high is None else cell.ci_high
                rank = f"#{format_rank(cell.rank)}" if cell.rank else ""
                rows.append({"model": label, "value": cell.value, "low": low, "high": high, "rank": rank})
        if rows:
            title = {"title": _short_title(group.title)} if len(table.groups) > 1 else {}
            panels.append({**_whiskers(rows, col), **title})
    if not panels:
        return None
    spec = {
        "concat": panels,
        "columns": 2,
        "resolve": {"scale": {"x": "shared" if len(panels) > 1 else "independent"}},
        "padding": _room(_short(row.label) for row in table.rows),
    }
    return Plot(name, f"{table.title}: {col.title} with 95 % intervals", spec)


def _whiskers(rows: list[dict[str, Any]], col: Column) -> dict[str, Any]:
    """One panel, as Vega-Lite. A board has hundreds; Altair takes longer to put one together than it takes to draw."""
    order = sorted(rows, key=lambda r: r["value"], reverse=col.higher_is_better is not False)
    scale = {"zero": False, "nice": True}
    axis = {"labelOverlap": True, "labelSeparation": 6}
    marks: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (
            {"type": "rule", "color": ACCENT, "strokeWidth": 2},
            {"x": _numbers("low", scale=scale, title=col.heading, axis=axis), "x2": {"field": "high"}},
        ),
        ({"type": "circle", "color": ACCENT, "size": 55, "opacity": 1}, {"x": _numbers("value", scale=scale)}),
    ]
    if any(r["rank"] for r in rows):
        rank = {"field": "rank", "type": "nominal"}
        text = {"type": "text", "align": "left", "dx": 6, "fontSize": 9}
        marks.append((text, {"x": _numbers("high"), "text": rank}))
    y = {"field": "model", "type": "nominal", "sort": [r["model"] for r in order], "title": None}
    return {
        "data": {"values": rows},
        "layer": [{"mark": mark, "encoding": {**encoding, "y": y}} for mark, encoding in marks],
        "width": 300,
        "height": {"step": 18},
    }


def _numbers(field: str, **more: Any) -> dict[str, Any]:
    return {"field": field, "type": "quantitative", **more}


def _short_title(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def heatmap_plot(table: Table, name: str) -> Plot | None:
    """Category by metric of one run: how far each category lies from the run's own mean, in standard deviations of the
    categories, so that metrics of different units share one colour scale. Better is blue whatever the direction.

    Args:
        table: of `run_table`.
        name: of the plot's files.

    Returns:
        None for a run without categories, or without a metric that has a direction.
    """
    alt = _altair()
    rows: list[dict[str, Any]] = []
    columns = [col for col in table.columns if col.higher_is_better is not None and not col.is_check]
    # Columns of a suite may have the same values, such as yes and no.
    categories = [
        row if group.id in ASPECTS else replace(row, id=f"{group.id}/{row.id}", label=f"{group.title}: {row.label}")
        for group in table.groups[1:]
        for row in group.rows
    ]
    for col in columns:
        values = {
            row.id: float(cell.value)
            for row in categories
            if (cell := row.cells.get(col.id)) is not None and cell.value is not None
        }
        if len(values) < 3:
            continue
        mean = sum(values.values()) / len(values)
        spread = math.sqrt(sum((v - mean) ** 2 for v in values.values()) / len(values))
        sign = 1 if col.higher_is_better else -1
        for row in categories:
            if row.id in values:
                z = sign * (values[row.id] - mean) / spread if spread > 0 else 0.0
                text = format_value(values[row.id], col.digits)
                rows.append({"category": row.label, "metric": col.heading, "z": round(z, 3), "text": text})
    if not rows:
        return None
    base = alt.Chart(_data(rows)).encode(
        x=alt.X("metric:N", sort=[c.heading for c in columns], title=None, axis=alt.Axis(orient="top", labelAngle=-40)),
        y=alt.Y("category:N", sort=[row.label for row in categories], title=None),
    )
    cells = base.mark_rect(stroke=GROUND, strokeWidth=1).encode(
        color=alt.Color(
            "z:Q",
            scale=alt.Scale(scheme="redblue", domain=[-2.5, 2.5], clamp=True),
            legend=alt.Legend(title=["Standard deviations", "better than the", "run's categories"]),
        )
    )
    dark = alt.condition("abs(datum.z) > 1.6", alt.value("#ffffff"), alt.value("#10131a"))
    text = base.mark_text(fontSize=10).encode(text="text:N", color=dark)
    chart = alt.layer(cells, text).properties(width=alt.Step(52), height=alt.Step(20))
    chart = chart.properties(padding={**_room(row.label for row in categories), "top": 25})
    return Plot(name, f"{table.title}: category by metric", chart.to_dict(validate=False))


@dataclass(frozen=True)
class Spoke:
    """One axis of a radar: a metric's values of all results that are compared with each other."""

    column: Column
    own: float
    others: tuple[float, ...]

    @property
    def scaled(self) -> tuple[float, float]:
        """The result's own value and the median of all, with 0 the worst and 1 the best of the values."""
        values = sorted([self.own, *self.others], reverse=self.column.higher_is_better is False)
        worst, best = values[0], values[-1]
        middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
        if worst == best:
            return 0.5, 0.5
        return (self.own - worst) / (best - worst), (middle - worst) / (best - worst)


def radar_plot(title: str, spokes: Sequence[Spoke], name: str) -> Plot | None:
    """One result against the worst, median and best of those that it can be compared with.

    Args:
        title: of the plot.
        spokes: at least three.
        name: of the plot's files.

    Returns:
        None for fewer than three spokes, which span no area.
    """
    if len(spokes) < 3:
        return None
    alt = _altair()
    angles = [2 * math.pi * i / len(spokes) for i in range(len(spokes))]
    # The centre is kept free, so that the worst value still has a place of its own.
    radius = [[0.15 + 0.85 * part for part in spoke.scaled] for spoke in spokes]
    lines = [
        {"series": series, "order": i, **_at(angles[i % len(angles)], radius[i % len(angles)][k])}
        for k, series in enumerate(("This model", "Median of the compared"))
        for i in range(len(spokes) + 1)
    ]
    rings = [
        {"ring": r, "order": i, **_at(angles[i % len(angles)], r)}
        for r in (0.15, 0.575, 1.0)
        for i in range(len(spokes) + 1)
    ]
    rays = [{**_at(a, 0.15), "x2": _at(a, 1.0)["x"], "y2": _at(a, 1.0)["y"]} for a in angles]
    labels = [
        {"text": f"{s.column.title} {format_value(s.own, s.column.digits)}", "side": _side(a), **_at(a, 1.12)}
        for s, a in zip(spokes, angles, strict=True)
    ]
    scale = alt.Scale(domain=[-1.25, 1.25])
    x, y = alt.X("x:Q", axis=None, scale=scale), alt.Y("y:Q", axis=None, scale=scale)
    grid = alt.Chart(_data(rings)).mark_line(color=MUTED, opacity=0.5, strokeWidth=1)
    layers = [
        grid.encode(x=x, y=y, detail="ring:N", order="order:Q"),
        alt.Chart(_data(rays)).mark_rule(color=MUTED, opacity=0.4).encode(x=x, y=y, x2="x2:Q", y2="y2:Q"),
        alt.Chart(_data(lines))
        .mark_line(strokeWidth=2.5, point=alt.OverlayMarkDef(size=40))
        .encode(
            x=x,
            y=y,
            order="order:Q",
            color=alt.Color(
                "series:N",
                sort=["This model", "Median of the compared"],
                scale=alt.Scale(domain=["This model", "Median of the compared"], range=[ACCENT, MUTED]),
                legend=alt.Legend(title=None, orient="bottom"),
            ),
            strokeDash=alt.StrokeDash(
                "series:N",
                scale=alt.Scale(domain=["This model", "Median of the compared"], range=[[1, 0], [5, 4]]),
                legend=None,
            ),
        ),
    ]
    for side in ("left", "center", "right"):
        rows = [row for row in labels if row["side"] == side]
        if rows:
            align = {"left": "right", "center": "center", "right": "left"}[side]
            layers.append(alt.Chart(_data(rows)).mark_text(align=align, fontSize=11).encode(x=x, y=y, text="text:N"))
    padding = {"left": 110, "right": 110, "top": 5, "bottom": 5}
    chart = alt.layer(*layers).properties(width=340, height=340, padding=padding)
    return Plot(name, title, chart.to_dict(validate=False))


def _at(angle: float, radius: float) -> dict[str, float]:
    return {"x": round(radius * math.sin(angle), 4), "y": round(radius * math.cos(angle), 4)}


def _side(angle: float) -> str:
    x = math.sin(angle)
    return "center" if abs(x) < 0.15 else "right" if x > 0 else "left"


def file_name(text: str) -> str:
    """`text` as part of a file name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.").lower()[:80] or "plot"
