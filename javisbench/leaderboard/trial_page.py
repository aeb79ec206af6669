"""The page of a trial: a line for each metric, a matrix of metrics and damages, and curves over doses."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.durable import write_text
from javisbench.leaderboard.plots import Plot
from javisbench.private import Scrubber
from javisbench.results.trial import VERDICT_TEXT, Curve, Effect, MetricTrial, RecordedTrial, Trial, title_of
from javisbench.text import printable

if TYPE_CHECKING:
    from markupsafe import Markup

# Okabe and Ito's colours, told apart with every kind of colour vision; without black and yellow, which vanish on one of
# the two grounds. Shapes tell metrics of one colour apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
_STEPS = 10
_LINES = 12
"""Metrics of one plot; more could not be told apart."""


@dataclass(frozen=True)
class _Cell:
    """One cell of the matrix: what stands in it, how it is coloured, and what it means."""

    text: str
    css: str
    words: str


def write_trial_page(
    trial: Trial, target: Path, cost_s: Mapping[str, float] | None = None, record: RecordedTrial | None = None
) -> None:
    """Write the page, whole or not at all.

    Args:
        trial: what to show.
        target: the HTML file.
        cost_s: metric to seconds a clip, where they were measured.
        record: name, date, commit and command of a trial that ships with javisbench.

    Raises:
        UsageError: the plotting packages are not installed.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent
    env = Environment(
        loader=FileSystemLoader(folder / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = "".join((folder / "assets" / name).read_text(encoding="utf-8") for name in ("inspect.css", "trial.css"))
    kinds = {effect.kind for effect in trial.effects}
    scrub = Scrubber.of_this_machine()
    page = env.get_template("trial.html.j2").render(
        title="What each metric can see",
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        trial=trial,
        clips=printable(trial.clips_line),
        record=record,
        metrics=[_line(trial, found, (cost_s or {}).get(found.metric)) for found in trial.metrics],
        matrix=_matrix(trial, "harm") if "harm" in kinds else None,
        kept=_matrix(trial, "same") if "same" in kinds else None,
        judged=_judged(trial),
        plots=[_drawn(plot) for plot in dose_plots(trial)],
        damages=[(name, facts) for name, facts in trial.damages.items()],
        reasons=_reasons(trial),
        missing=_grouped({metric: scrub.text(reason) for metric, reason in trial.missing.items()}),
        left_out=[(printable(name), printable(scrub.text(reason))) for name, reason in trial.left_out.items()],
        scale=[_Cell(f"{step / _STEPS:.1f}", f"a{step}", "") for step in range(_STEPS + 1)],
    )
    write_text(target, page)


def _drawn(plot: Plot) -> dict[str, Any]:
    from markupsafe import Markup

    # Safe: drawn from escaped text, and checked to hold nothing but shapes and text.
    svg: Markup = Markup(plot.svg)
    return {"title": plot.title, "svg": svg}


def _line(trial: Trial, found: MetricTrial, cost_s: float | None) -> dict[str, str]:
    pairs, n = (sum(getattr(effect, name) for effect in found.effects) for name in ("pairs", "n"))
    return {
        "id": found.metric,
        "title": title_of(found.metric),
        "sentence": printable(trial.sentence_of(found)),
        "n": str(max((effect.n for effect in found.effects), default=0)),
        "without": f"{100 * (1 - n / pairs):.0f} %" if pairs else "–",
        "cost": "–" if cost_s is None else f"{cost_s:.3g}",
    }


def _matrix(trial: Trial, kind: str) -> dict[str, Any]:
    """Rows of damages with their doses, a column a metric."""
    by_case: dict[str, dict[str, Effect]] = {}
    for effect in trial.effects:
        if effect.kind == kind:
            by_case.setdefault(effect.case, {})[effect.metric] = effect
    rows = []
    for effects in by_case.values():
        first = next(iter(effects.values()))
        name = str(trial.damages.get(first.damage, {}).get("title", first.damage))
        cells = [_cell(effects.get(found.metric)) for found in trial.metrics]
        rows.append({"damage": printable(name), "dose": first.dose_text, "cells": cells, "first": True})
    for row, before in zip(rows[1:], rows, strict=False):
        # A damage is named once for the eye, over its doses.
        row["first"] = row["damage"] != before["damage"]
    return {"titles": [title_of(found.metric) for found in trial.metrics], "rows": rows}


def _cell(effect: Effect | None) -> _Cell:
    if effect is None or effect.verdict == "untested":
        return _Cell("–", "none", "not tested")
    words = _words(effect)
    if effect.kind == "same":
        change = effect.relative_change
        text = "0" if change == 0 else "∞" if change is None else f"{100 * change:.2g} %"
        return _Cell(text, "moved" if effect.verdict == "changed" else "", words)
    if effect.verdict == "blind":
        return _Cell("·", "none", words)
    if effect.auroc is None:
        # Of a set metric: the distance in units of what two sets of good clips show by chance.
        ratio = effect.effect / effect.floor if effect.effect is not None and effect.floor else None
        text = "–" if ratio is None else f"×{ratio:.2g}"
        return _Cell(text, "a10 seen" if effect.verdict == "seen" else "a5", words)
    seen = " seen" if effect.verdict in ("seen", "opposite") else ""
    return _Cell(f"{effect.auroc:.2f}", f"a{round(_STEPS * effect.auroc)}{seen}", words)


def _words(effect: Effect) -> str:
    """A cell's verdict with the numbers behind it, as it is shown under the pointer."""
    words = [VERDICT_TEXT[effect.verdict], f"n = {effect.n}"]
    if effect.accuracy is not None and effect.verdict != "blind":
        words.append(f"pairs right {effect.accuracy:.2f}")
    if effect.n_for_power is not None:
        words.append(f"n for 80 % power {effect.n_for_power}")
    return "; ".join(words)


def _judged(trial: Trial) -> list[dict[str, str]]:
    published = trial.material.get("published") or {}
    rows = []
    for effect in trial.effects:
        if effect.kind != "judged":
            continue
        known = published.get(effect.case)
        rows.append({
            "metric": title_of(effect.metric),
            "case": printable(effect.case),
            "n": str(effect.n - effect.ties),
            "ties": str(effect.ties),
            "accuracy": _interval(effect.accuracy, effect.accuracy_low, effect.accuracy_high),
            "strict": "–" if effect.accuracy_strict is None else f"{effect.accuracy_strict:.3f}",
            "of_all": "–" if effect.accuracy_of_all is None else f"{effect.accuracy_of_all:.3f}",
            "published": "–" if known is None else f"{known:.3f}",
            "tau": _interval(effect.tau, effect.tau_low, effect.tau_high),
            "verdict": VERDICT_TEXT[effect.verdict],
        })  # fmt: skip
    return rows


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + ("" if low is None or high is None else f" ({low:.3f} to {high:.3f})")


def _reasons(trial: Trial) -> list[tuple[str, str, str]]:
    """Damage, metrics and why their pairs have no value."""
    found: dict[tuple[str, str], list[str]] = {}
    for effect in trial.effects:
        for why, count in effect.lacking.items():
            found.setdefault((effect.case, f"{count} of {effect.pairs}: {why}"), []).append(title_of(effect.metric))
    every = len(trial.metrics)
    return [
        (printable(case), "all metrics" if len(metrics) == every else ", ".join(metrics), printable(why))
        for (case, why), metrics in found.items()
    ]


def _grouped(missing: Mapping[str, str]) -> list[tuple[str, str]]:
    by_reason: dict[str, list[str]] = {}
    for metric, reason in missing.items():
        by_reason.setdefault(reason, []).append(title_of(metric))
    return [(", ".join(titles), printable(reason)) for reason, titles in by_reason.items()]


def dose_plots(trial: Trial) -> list[Plot]:
    """Curves over doses, one plot a damage that has several: AUROC, and of set metrics the growth of the distance."""
    curves: dict[str, list[tuple[str, Curve]]] = {}
    for found in trial.metrics:
        for curve in found.curves:
            doses = [effect for effect in curve.effects if effect.kind == "harm" and effect.dose is not None]
            if len(doses) > 1 and any(effect.verdict not in ("blind", "untested") for effect in doses):
                curves.setdefault(curve.title, []).append((found.metric, curve))
    places = {found.metric: place for place, found in enumerate(trial.metrics)}
    order = list(dict.fromkeys(curve.title for found in trial.metrics for curve in found.curves))
    plots = []
    for title, lines in sorted(curves.items(), key=lambda item: order.index(item[0])):
        words = str(trial.damages.get(lines[0][1].damage, {}).get("title", title))
        name = f"{words}, negative doses" if lines[0][1].effects[0].branch else words
        areas = [(m, c) for m, c in lines if any(effect.auroc is not None for effect in c.effects)]
        sets = [(m, c) for m, c in lines if any(effect.floor for effect in c.effects)]
        for value, part, axis in (("auroc", areas, "AUROC"), ("ratio", sets, "distance over chance")):
            for start in range(0, len(part), _LINES):
                plots.append(_dose_plot(name, axis, value, part[start : start + _LINES], places))
    return plots


def _dose_plot(name: str, axis: str, value: str, lines: Sequence[tuple[str, Curve]], places: Mapping[str, int]) -> Plot:
    import altair as alt

    rows = [row for metric, curve in lines for row in _points(metric, curve, value)]
    unit = next((effect.unit for _, curve in lines for effect in curve.effects), "")
    doses = list(dict.fromkeys(row["dose"] for row in sorted(rows, key=lambda row: row["severity"])))
    titles = [title_of(metric) for metric, _ in lines]
    numbers = [places[metric] for metric, _ in lines]
    colours = [_COLOURS[number % len(_COLOURS)] for number in numbers]
    shapes = [_SHAPES[number // len(_COLOURS) % len(_SHAPES)] for number in numbers]
    scale = alt.Scale(domain=[0, 1]) if value == "auroc" else alt.Scale(zero=True, nice=True)
    x = alt.X("dose:N", sort=doses, title=unit or None, axis=alt.Axis(labelAngle=0), scale=alt.Scale(padding=0.3))
    legend = alt.Legend(title=None, orient="bottom", columns=2, labelLimit=150, symbolOpacity=1)
    colour = alt.Color("metric:N", sort=titles, scale=alt.Scale(domain=titles, range=colours), legend=legend)
    shape = alt.Shape("metric:N", sort=titles, scale=alt.Scale(domain=titles, range=shapes), legend=legend)
    base = alt.Chart(alt.InlineData(values=rows)).encode(x=x, color=colour)
    y = alt.Y(f"{value}:Q", title=axis, scale=scale)
    layers = [
        base.mark_rule(strokeWidth=1, opacity=0.5).encode(y=alt.Y("low:Q", title=axis, scale=scale), y2="high:Q"),
        base.mark_line(strokeWidth=2).encode(y=y),
        base.mark_point(size=45, filled=True, opacity=1).encode(y=y, shape=shape),
    ]
    if value == "auroc":
        chance = alt.Chart(alt.InlineData(values=[{"chance": 0.5}])).mark_rule(strokeDash=[4, 4], color="#8a8f98")
        layers.insert(0, chance.encode(y=alt.Y("chance:Q", title=axis, scale=scale)))
    chart = alt.layer(*layers).properties(width=250, height=170, title=name)
    told = f"{name}: {axis} over the dose, with 95 % intervals, of {', '.join(titles)}"
    return Plot(f"dose-{name}", told, chart.to_dict(validate=False))


def _points(metric: str, curve: Curve, value: str) -> Iterable[dict[str, Any]]:
    for effect in curve.effects:
        facts = {"metric": title_of(metric), "dose": f"{effect.dose:g}", "severity": effect.severity}
        if value == "auroc" and effect.auroc is not None:
            low = effect.auroc if effect.auroc_low is None else effect.auroc_low
            high = effect.auroc if effect.auroc_high is None else effect.auroc_high
            yield {**facts, "auroc": effect.auroc, "low": low, "high": high}
        elif value == "ratio" and effect.effect is not None and effect.floor:
            ratio = effect.effect / effect.floor
            yield {**facts, "ratio": ratio, "low": ratio, "high": ratio}
