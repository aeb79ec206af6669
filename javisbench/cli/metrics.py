"""``javisbench metrics``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from javisbench.cli import names, options, output

if TYPE_CHECKING:
    from javisbench.metrics.contract import Report
    from javisbench.weights import WeightStore


CHECK_EPILOG = """\b
Examples:
  javisbench metrics check av_align
  javisbench metrics check my_metric my_encoder --weights-dir checkpoints/
"""


@click.group("metrics")
def command() -> None:
    """List, show and check metrics."""


@command.command("list")
@options.weights_option
@options.json_option
def list_(weights_dirs: tuple[Path, ...], as_json: bool) -> int:
    """List all metrics: direction, kind, encoders, and whether their weights are on this machine."""
    from javisbench.metrics.encoders import ENCODERS
    from javisbench.metrics.registry import METRICS
    from javisbench.weights import WeightStore

    store = WeightStore(weights_dirs)
    facts = [_facts_or_fault(metric_id, store) for metric_id in METRICS]
    for notice in (*METRICS.notices(), *ENCODERS.notices()):
        output.line(notice, err=True)
    if as_json:
        output.json_document(facts)
        return 0
    from rich.table import Table

    table = Table(box=None)
    names = ("id", "title", "better", "kind", "encoders", "state", "package")
    shown = names if any(fact["package"] != "javisbench" for fact in facts) else names[:-1]
    for name in shown:
        table.add_column({"title": "metric", "state": "weights"}.get(name, name), overflow="fold")
    for fact in facts:
        cells = {**fact, "encoders": ", ".join(fact["encoders"])}
        table.add_row(*output.cells(*(cells[name] for name in shown)))
    output.console().print(table)
    for fact in facts:
        if "fault" in fact:
            output.line(fact["fault"], err=True)
    return 0


def _facts_or_fault(metric_id: str, store: WeightStore) -> dict[str, Any]:
    """What the cards tell of a metric; of one whose package has a defect, that."""
    from javisbench.errors import UsageError
    from javisbench.metrics.registry import METRICS

    try:
        return metric_facts(metric_id, store)
    except UsageError as error:
        plugin = METRICS.plugin(metric_id)
        empty = dict.fromkeys(("title", "better", "kind"), "")
        package = plugin.label if plugin else "javisbench"
        return {"id": metric_id, **empty, "encoders": [], "state": "broken", "package": package, "fault": error.message}


@command.command("show")
@click.argument("metric", shell_complete=names.completer(names.metrics))
@options.weights_option
@options.json_option
def show(metric: str, weights_dirs: tuple[Path, ...], as_json: bool) -> int:
    """Show what a METRIC measures, what it cannot see, its range, source, encoders, licences, weights and trials."""
    from javisbench.weights import WeightStore

    facts = metric_facts(metric, WeightStore(weights_dirs))
    if as_json:
        output.json_document(facts)
        return 0
    for key, value in facts.items():
        if key == "settings":
            output.line(f"{key:<24} " + "; ".join(f"{name}={default}" for name, default in value.items()))
        elif isinstance(value, dict):
            for name, inner in value.items():
                output.line(
                    f"{key + ' ' + name:<24} " + "; ".join(f"{k}: {v}" for k, v in inner.items() if v not in ("", None))
                )
        elif value not in ("", None, []):
            output.line(f"{key:<24} {', '.join(value) if isinstance(value, list) else value}")
    return 0


@command.command("check", epilog=CHECK_EPILOG)
@click.argument("ids", nargs=-1, required=True, metavar="ID...", shell_complete=names.completer(names.checkable))
@options.weights_option
@options.json_option
def check(ids: tuple[str, ...], weights_dirs: tuple[Path, ...], as_json: bool) -> int:
    """Check that the metrics and encoders ID keep the contract: card, settings, shapes, determinism, batches, NaN, odd
    clips, range and direction. On small made clips, without downloads. Exit code 1 if something does not hold.
    """
    from javisbench.metrics.contract import check as run_checks
    from javisbench.metrics.contract import targets
    from javisbench.weights import WeightStore

    options.setup_logging(False, False)
    store = WeightStore(weights_dirs)
    wanted = [target for name in ids for target in targets(name)]
    reports = []
    for kind, name in wanted:
        reports.append(run_checks(kind, name, store))
        if not as_json:
            _print_report(reports[-1])
    if as_json:
        output.json_document([dataclasses.asdict(report) for report in reports])
        return int(any(report.failed for report in reports))
    failed = sum(row.status == "failed" for report in reports for row in report.rows)
    output.line(f"{failed} failed." if failed else "All that could be checked holds.")
    return int(failed > 0)


def _print_report(report: Report) -> None:
    from rich.table import Table

    output.line(f"{report.kind} {report.id} ({report.package})")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for heading in ("check", "status"):
        table.add_column(heading, no_wrap=True)
    table.add_column("note", overflow="fold")
    for row in report.rows:
        style = {"ok": "green", "failed": "bold red", "not applicable": "dim"}[row.status]
        table.add_row(*output.cells(row.name, row.status, row.note), style=style)
    output.console().print(table)


def metric_facts(metric_id: str, store: WeightStore) -> dict[str, Any]:
    """Everything that the cards tell of a metric, as JSON values."""
    from javisbench.metrics.base import needed_features
    from javisbench.metrics.judges.family import is_file, judge_of_file
    from javisbench.metrics.registry import METRICS
    from javisbench.protocol import PROTOCOLS
    from javisbench.tasks import TASKS

    cls = judge_of_file(metric_id) if is_file(metric_id) else METRICS.get(metric_id)
    metric_id, plugin = cls.card.id, METRICS.plugin(metric_id)
    card = {name: value for name, value in dataclasses.asdict(cls.card).items() if name != "formula" or value}
    per_protocol: dict[str, dict[str, Any]] = {}
    names: set[str] = set()
    with METRICS.guarded(metric_id, "needs"):
        metric = cls()
        for protocol in PROTOCOLS.values():
            if (protocol.metrics and metric_id not in protocol.metrics) or metric_id in protocol.without:
                continue
            specs = needed_features(metric, protocol)
            names |= {spec.encoder for spec in specs}
            per_protocol[protocol.name] = {f"{s.encoder}/{s.feature}": s.settings or "-" for s in specs}
        settings = dataclasses.asdict(cls.settings()) if cls.settings else {}
    encoders = {name: _encoder_facts(name, store) for name in sorted(names)}
    states = {facts["weights"] for facts in encoders.values()}
    card["tasks"] = [task for task in TASKS if task in cls.card.tasks]
    card["differentiable"] = sorted(cls.card.differentiable) or "no"
    better = {True: "higher", False: "lower", None: "neither"}[card.pop("higher_is_better")]
    low, high = card.pop("value_range")
    return {
        **card,
        "better": better,
        "range": f"{'-inf' if low is None else low} to {'inf' if high is None else high}",
        **({"no value for clips": sorted(left_out.values())} if (left_out := _left_out(cls)) else {}),
        "package": plugin.label if plugin else "javisbench",
        **({"settings": {f"{metric_id}.{name}": value for name, value in settings.items()}} if settings else {}),
        "encoders": sorted(names),
        "state": "missing" if "missing" in states else "present" if "present" in states else "none needed",
        "encoder": encoders,
        "protocol": per_protocol,
        **({"trials": trials} if (trials := _trials(metric_id)) else {}),
    }


def _left_out(cls: type) -> dict[str, str]:
    """What clips are that a per-sample metric does not apply to, by kind of error."""
    return dict(getattr(cls, "not_applicable", {}))


def _trials(metric_id: str) -> dict[str, dict[str, str]]:
    """What the trials that ship with javisbench found of a metric."""
    from javisbench.results.trial import recorded_trials

    return {recorded.name: {"sees": recorded.line(metric_id)} for recorded in recorded_trials()}


def _encoder_facts(name: str, store: WeightStore) -> dict[str, Any]:
    from javisbench.errors import MissingWeightsError
    from javisbench.metrics.encoders import ENCODERS

    card, plugin = ENCODERS.get(name).card, ENCODERS.plugin(name)
    entry = card.variants[card.default_variant]
    facts = {"title": card.title, "licence": card.licence, "source": card.source}
    if plugin is not None:
        facts["package"] = plugin.label
    if card.extra:
        facts["extra"] = f"pip install '{plugin.package if plugin else 'javisbench'}[{card.extra}]'"
    if entry is None:
        return {**facts, "weights": "none needed"}
    try:
        return {**facts, "weights": "present", "path": str(store.find(entry))}
    except MissingWeightsError:
        return {**facts, "weights": "missing", "fetch": store.entry(entry).fetch_command}
