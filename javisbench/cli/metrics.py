"""``javisbench metrics``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from javisbench.cli import names, options, output

if TYPE_CHECKING:
    from javisbench.weights import WeightStore


@click.group("metrics")
def command() -> None:
    """List and show metrics."""


@command.command("list")
@options.weights_option
@options.json_option
def list_(weights_dirs: tuple[Path, ...], as_json: bool) -> int:
    """List all metrics: direction, kind, encoders, and whether their weights are on this machine."""
    from javisbench.metrics.registry import METRICS
    from javisbench.weights import WeightStore

    store = WeightStore(weights_dirs)
    facts = [metric_facts(metric_id, store) for metric_id in METRICS]
    if as_json:
        output.json_document(facts)
        return 0
    from rich.table import Table

    table = Table(box=None)
    for heading in ("id", "metric", "better", "kind", "encoders", "weights"):
        table.add_column(heading, overflow="fold")
    for fact in facts:
        table.add_row(
            fact["id"], fact["title"], fact["better"], fact["kind"], ", ".join(fact["encoders"]), fact["state"]
        )
    output.console().print(table)
    return 0


@command.command("show")
@click.argument("metric", shell_complete=names.completer(names.metrics))
@options.weights_option
@options.json_option
def show(metric: str, weights_dirs: tuple[Path, ...], as_json: bool) -> int:
    """Show what a METRIC measures, what it cannot see, its range, source, encoders, licences and weights."""
    from javisbench.weights import WeightStore

    facts = metric_facts(metric, WeightStore(weights_dirs))
    if as_json:
        output.json_document(facts)
        return 0
    for key, value in facts.items():
        if isinstance(value, dict):
            for name, inner in value.items():
                output.line(
                    f"{key + ' ' + name:<24} " + "; ".join(f"{k}: {v}" for k, v in inner.items() if v not in ("", None))
                )
        elif value not in ("", None, []):
            output.line(f"{key:<24} {', '.join(value) if isinstance(value, list) else value}")
    return 0


def metric_facts(metric_id: str, store: WeightStore) -> dict[str, Any]:
    """Everything that the cards tell of a metric, as JSON values."""
    from javisbench.metrics.base import SetMetric
    from javisbench.metrics.encoders import ENCODERS
    from javisbench.metrics.registry import METRICS
    from javisbench.protocol import PROTOCOLS

    metric = METRICS.get(metric_id)()
    card = dataclasses.asdict(metric.card)
    per_protocol: dict[str, dict[str, Any]] = {}
    names: set[str] = set()
    for protocol in PROTOCOLS.values():
        if protocol.metrics and metric_id not in protocol.metrics:
            continue
        specs = [metric.needs(protocol)] if isinstance(metric, SetMetric) else [*metric.needs(protocol).values()]
        names |= {spec.encoder for spec in specs}
        per_protocol[protocol.name] = {f"{s.encoder}/{s.feature}": s.settings or "-" for s in specs}
    encoders = {name: _encoder_facts(ENCODERS.get(name).card, store) for name in sorted(names)}
    states = {facts["weights"] for facts in encoders.values()}
    better = {True: "higher", False: "lower", None: "neither"}[card.pop("higher_is_better")]
    low, high = card.pop("value_range")
    return {
        **card,
        "better": better,
        "range": f"{'-inf' if low is None else low} to {'inf' if high is None else high}",
        "encoders": sorted(names),
        "state": "missing" if "missing" in states else "present" if "present" in states else "none needed",
        "encoder": encoders,
        "protocol": per_protocol,
    }


def _encoder_facts(card: Any, store: WeightStore) -> dict[str, Any]:
    from javisbench.errors import MissingWeightsError

    entry = card.variants[card.default_variant]
    facts = {"title": card.title, "licence": card.licence, "source": card.source}
    if card.extra:
        facts["extra"] = f"pip install 'javisbench[{card.extra}]'"
    if entry is None:
        return {**facts, "weights": "none needed"}
    try:
        return {**facts, "weights": "present", "path": str(store.find(entry))}
    except MissingWeightsError:
        return {**facts, "weights": "missing", "fetch": store.entry(entry).fetch_command}
