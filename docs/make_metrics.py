"""Write docs/metrics.md from the cards of metrics and encoders: python docs/make_metrics.py."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from javisbench.metrics.base import SetMetric
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.registry import METRICS
from javisbench.protocol import PROTOCOLS, SUITE_PROTOCOLS
from javisbench.results.trial import recorded_trials
from javisbench.tasks import TASKS
from javisbench.weights import weights_registry

PAGE = Path(__file__).parent / "metrics.md"

INTRO = """# Metrics

What each metric computes, and what it can and cannot see. `javisbench metrics show ID` prints the same facts, with the
features that each protocol asks for and whether the weights are on your machine. Protocols change details of the
input: see [protocols](protocols.md). How numbers are averaged, and what their intervals mean: see
[statistics](statistics.md). What each one notices of clips that were damaged on purpose: see [trials](trial.md).

cos is the cosine of two embeddings, n the number of clips.
"""


def page() -> str:
    """The whole page."""
    lines = [*index(), ""]
    for metric in own_metrics():
        if not metric.card.id.startswith("health_"):
            lines += [*section(metric), ""]
    return wrapped([*lines, *health()])


def index(link: Callable[[str], str] = "`{}`".format) -> list[str]:
    """The introduction and a table of all metrics; `link` writes an id."""
    lines = [INTRO, "| id | metric | better | range | one value | encoder |", "| --- | --- | --- | --- | --- | --- |"]
    for metric in own_metrics():
        card = metric.card
        kind = "a set" if card.kind == "set" else "a clip"
        names = ", ".join(ENCODERS.get(name).card.title for name in encoders(metric))
        lines.append(f"| {link(card.id)} | {card.title} | {_better(card)} | {_range(card)} | {kind} | {names} |")
    return lines


def health() -> list[str]:
    """The section of what looks at the clips alone."""
    cards = [metric.card for metric in own_metrics() if metric.card.id.startswith("health_")]
    lines = ["## Clip health", "", "These say nothing about quality; they explain other scores.", ""]
    lines += ["| id | measures | cannot see | range | not for |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| `{card.id}` | {card.measures} | {card.blind_to} | {_range(card)} | {', '.join(_left_out(card))} |"
        for card in cards
    ]
    told = [f"* `{card.id}`, [trial](trial.md) {line}" for card in cards for line in _trials(card.id)]
    return [*lines, *([""] if told else []), *told]


def wrapped(lines: Iterable[str]) -> str:
    """Lines as a page."""
    return "\n".join(map(_wrapped, lines)) + "\n"


def _wrapped(line: str) -> str:
    """Prose and list items at 118 columns; tables and the introduction as they are."""
    if line.startswith("|") or "\n" in line:
        return line
    return textwrap.fill(
        line, 118, subsequent_indent="  " * line.startswith("* "), break_long_words=False, break_on_hyphens=False
    )


def own_metrics() -> Iterator[Any]:
    """The package's own metrics; entry points of other packages are not documented here."""
    for metric_id in METRICS.own:
        cls = METRICS.get(metric_id)
        if cls.__module__.startswith("javisbench."):
            yield cls()


def section(metric: Any) -> list[str]:
    """The section of a metric."""
    card = metric.card
    lines = [f"## {card.title} (`{card.id}`)", "", card.measures, "", f"* **Formula**: {card.formula}."]
    lines.append(f"* **Range**: {_range(card)}; {_better(card)} is better.")
    without = getattr(metric, "not_applicable", {})
    if without:
        lines.append(f"* **No value**, counted beside the mean: {', '.join(without.values())}.")
    if told := _not_for(card):
        lines.append(f"* **[Tasks](tasks.md)**: {told}.")
    lines.append(f"* **Cannot see**: {card.blind_to}")
    if card.differentiable:
        lines.append(f"* **[Gradient](training.md)** in: {', '.join(sorted(card.differentiable))}.")
    for name in encoders(metric):
        encoder = ENCODERS.get(name).card
        facts = [encoder.title]
        if encoder.licence:
            facts.append(f"weights under {encoder.licence}")
        entry = encoder.variants[encoder.default_variant]
        if entry is not None and not weights_registry()[entry].hashed:
            facts.append("whose SHA-256 is [recorded as found](licences.md#weights)")
        if encoder.extra:
            facts.append(f"`pip install 'javisbench[{encoder.extra}]'`")
        lines.append(f"* **Encoder** `{name}`: {', '.join(facts)}.")
    general = [protocol for protocol in PROTOCOLS.values() if protocol not in SUITE_PROTOCOLS]
    left_out = [p.name for p in general if (p.metrics and card.id not in p.metrics) or card.id in p.without]
    if left_out:
        lines.append(f"* **Not in**: {', '.join(left_out)}.")
    suites = [protocol.name for protocol in SUITE_PROTOCOLS if card.id in protocol.metrics]
    if suites:
        lines.append(f"* **In protocols of suites**: {', '.join(suites)}.")
    lines += [f"* **[Trial](trial.md)** {line}" for line in _trials(card.id)]
    return [*lines, f"* **Source**: {card.source}."]


def _left_out(card: Any) -> list[str]:
    """Tasks for which the metric says nothing of a model."""
    return [task for task in TASKS if task not in card.tasks]


def _not_for(card: Any) -> str:
    """Why it is left out of some tasks, or nothing."""
    given = {"v2a": "the picture", "a2v": "the sound"}
    return "; ".join(f"not for {task}, where {given.get(task, 'that')} is the suite's" for task in _left_out(card))


def _trials(metric_id: str) -> list[str]:
    """What the recorded trials found of a metric."""
    return [f"{trial.name}: {trial.line(metric_id)}" for trial in recorded_trials()]


def encoders(metric: Any) -> list[str]:
    """Names of the encoders that it needs under javisbench-v1."""
    protocol = PROTOCOLS["javisbench-v1"]
    needs = metric.needs(protocol)
    specs = [needs] if isinstance(metric, SetMetric) else needs.values()
    return sorted({spec.encoder for spec in specs})


def _better(card: Any) -> str:
    return {True: "higher", False: "lower", None: "neither"}[card.higher_is_better]


def _range(card: Any) -> str:
    low, high = card.value_range
    unit = f" {card.unit}" if card.unit and card.unit not in ("share", "ratio") else ""
    if low is None and high is None:
        return "any number"
    if high is None:
        return f"{low:g}{unit} or more"
    return f"{low:g} to {high:g}{unit}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
