"""``javisbench validate-metrics``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from javisbench.cli import names, options, output
from javisbench.cli.grouped import GroupedCommand
from javisbench.errors import UsageError

if TYPE_CHECKING:
    from javisbench.results.trial import Effect, MetricTrial, Trial
    from javisbench.run.progress import Progress
    from javisbench.run.trial.job import Finished, TrialOptions

EPILOG = """\b
Examples:
  javisbench validate-metrics
  javisbench validate-metrics --limit 12 --metrics av_align,javis_score --damages "shift=160,320;blurred=2;silent"
  javisbench validate-metrics --clips real/ --suite javisbench-mini --html trial.html
  javisbench validate-metrics --pairs pairs.csv --metrics av_align --json
  javisbench validate-metrics --av-syncbench hf_temporal_challenge --metrics desync
  javisbench validate-metrics --list-damages
Run again, a trial goes on where it stopped; other metrics and damages may be asked of the same clips. docs/trial.md
says what each number means and how pairs.csv looks.
"""
_MOST_NEEDED = 100_000
_NOT_WITH_PAIRS = {"clips": "--clips", "damages": "--damages"}


@click.command("validate-metrics", epilog=EPILOG, cls=GroupedCommand)
@click.option("--clips", type=click.Path(path_type=Path), help="Good clips. [default: rendered scenes]")
@click.option(
    "--suite",
    default=None,
    metavar="NAME|FILE",
    shell_complete=names.completer(names.suites, files=True),
    help="Prompts of the clips. [default: sync-scenes]",
)
@click.option("--pairs", type=click.Path(path_type=Path), help="A table of clips that somebody has compared.")
@click.option("--av-syncbench", type=click.Path(path_type=Path), help="AV-SyncBench's folder, as it is published.")
@options.allow_outside_option
@click.option("--limit", type=click.IntRange(min=2), default=20, show_default=True, help="Only the first N samples.")
@click.option(
    "--damages",
    "--damage",
    metavar="NAME=DOSE,...;...",
    shell_complete=names.completer(names.damages),
    help="Which damages. [default: all at their doses]",
)
@click.option("--list-damages", is_flag=True, help="List the damages with their doses, and stop.")
@click.option(
    "--metrics",
    multiple=True,
    callback=options.joined,
    metavar="ID,...",
    shell_complete=names.completer(names.metrics, listed=True),
    help="Metric ids or globs. [default: all that apply]",
)
@click.option(
    "--protocol",
    default=None,
    metavar="NAME",
    shell_complete=names.completer(names.protocols),
    help="How numbers are made. [default: the suite's]",
)
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    metavar="NAME=VARIANT",
    shell_complete=names.completer(names.encoders),
    help="Another variant of an encoder.",
)
@options.weights_option
@click.option("--out", type=options.Target(), help="Folder of the trial. [default: below runs/]")
@click.option("--html", type=options.Target(dir_okay=False), help="Write a page with curves and a matrix.")
@click.option("--drop-clips", is_flag=True, help="Remove the damaged copies at the end.")
@click.option("--effects", is_flag=True, help="Print every damage and dose, not one line a metric alone.")
@options.workers_option
@options.device_option
@options.seed_option
@options.json_option
@options.verbosity
def command(list_damages: bool, html: Path | None, effects: bool, **given: Any) -> int:
    """Measure what each metric can see: good clips against damaged copies of themselves, or judged pairs."""
    from javisbench.cli.memory import keep_freed_memory
    from javisbench.cli.progress import make_progress

    if list_damages:
        return _list_damages(given["as_json"])
    options.setup_logging(given["quiet"], given["verbose"])
    if html is not None:
        from javisbench.leaderboard.site_extra import CHARTS, require_site_extra

        require_site_extra(CHARTS, "--html")
    keep_freed_memory()
    found = _run(given, make_progress(given["quiet"]))
    if html is not None:
        from javisbench.leaderboard.trial_page import write_trial_page

        write_trial_page(found.trial, html, found.cost_s)
        output.line(f"wrote {html}", err=True)
    if given["as_json"]:
        output.json_document(found.trial.to_json())
    else:
        _print(found, effects)
    return 0


def _run(given: dict[str, Any], progress: Progress) -> Finished:
    from javisbench.run.trial.job import damage_trial, pair_trial
    from javisbench.run.trial.material import in_step
    from javisbench.run.trial.pairs import read_av_syncbench, read_pairs
    from javisbench.suite import load_suite

    pairs, folder = given["pairs"], given["av_syncbench"]
    asked = [name for name, path in (("--pairs", pairs), ("--av-syncbench", folder)) if path is not None]
    if len(asked) > 1:
        raise UsageError("--pairs and --av-syncbench are two trials; give one of them.")
    if not asked:
        suite = load_suite(given["suite"] or "sync-scenes", allow_outside=given["allow_outside"])
        suite = (in_step(suite) if given["clips"] is None else suite).limited(given["limit"])
        return damage_trial(suite, given["clips"], _options(given), progress)
    useless = [flag for name, flag in (*_NOT_WITH_PAIRS.items(), ("suite", "--suite")) if given[name] is not None]
    if useless:
        raise UsageError(f"{asked[0]} brings its own clips and damages: leave out {' and '.join(useless)}.")
    if pairs is not None:
        return pair_trial(read_pairs(pairs, allow_outside=given["allow_outside"]), _options(given), progress)
    source = click.get_current_context().get_parameter_source("limit")
    limit = None if source is click.core.ParameterSource.DEFAULT else given["limit"]
    return pair_trial(read_av_syncbench(folder, limit, allow_outside=given["allow_outside"]), _options(given), progress)


def _options(given: dict[str, Any]) -> TrialOptions:
    from javisbench.api import ScoringOptions
    from javisbench.run.trial.job import TrialOptions

    scoring = ScoringOptions(
        metrics=options.parse_metrics(given["metrics"]),
        protocols=(given["protocol"],) if given["protocol"] else (),
        encoders=options.parse_pairs("--encoder", given["encoders"]),
        weights_dirs=given["weights_dirs"],
        device=given["device"],
        workers=given["workers"],
        seed=given["seed"],
    )
    return TrialOptions(given["damages"], scoring, given["seed"], out=given["out"], keep_clips=not given["drop_clips"])


def _list_damages(as_json: bool) -> int:
    from dataclasses import asdict

    from javisbench.damages import DAMAGES

    cards = [DAMAGES.get(name).card for name in DAMAGES]
    if as_json:
        bounds = ("least", "most")
        output.json_document([{k: v for k, v in asdict(card).items() if k not in bounds} for card in cards])
        return 0
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("damage", "stream", "doses", "what it does"):
        table.add_column(heading, overflow="fold")
    for card in cards:
        doses = ", ".join(f"{dose:g}" for dose in card.doses) + (f" {card.unit}" if card.unit else "-")
        table.add_row(card.id, card.stream, doses, card.does + ("" if card.harms else " Nothing should change."))
    output.console().print(table)
    return 0


def _print(found: Finished, effects: bool) -> None:
    from rich.table import Table

    from javisbench.results.trial import title_of

    trial, console = found.trial, output.console()
    console.print(f"Protocol {trial.protocol}, {trial.clips_line}, in {found.folder}", soft_wrap=True)
    if trial.stand_in:
        console.print("STAND-IN WEIGHTS: nothing here is true of a trained network.", style="bold")
    table = Table(box=None, pad_edge=False)
    for heading in ("metric", "without a value", "s a clip", "what it sees"):
        number = heading in ("without a value", "s a clip")
        table.add_column(heading, justify="right" if number else "left", no_wrap=number)
    for metric in trial.metrics:
        cost = found.cost_s.get(metric.metric)
        table.add_row(
            title_of(metric.metric), _share(metric), "-" if cost is None else f"{cost:.3g}", trial.sentence_of(metric)
        )
    console.print(table)
    if effects or any(effect.kind == "judged" for effect in trial.effects):
        _print_effects(trial)
    console.print(
        "Seen: the good clips score better on average, and the paired difference has p <= 0.05 after Holm's adjustment "
        "over all damages of the metric. From: the smallest dose from which on all are seen. Moved by: the median "
        "change of what should not matter is above 5 %. --effects prints every dose, --html draws curves.",
        style="dim",
    )
    for reason in sorted(set(trial.missing.values())):
        metrics = ", ".join(metric for metric, why in trial.missing.items() if why == reason)
        console.print(f"{metrics}: {reason}", soft_wrap=True, style="dim")
    for name, reason in trial.left_out.items():
        console.print(f"left out {name}: {reason}", soft_wrap=True, style="dim")


def _share(metric: MetricTrial) -> str:
    pairs, n = (sum(getattr(effect, name) for effect in metric.effects) for name in ("pairs", "n"))
    return f"{100 * (1 - n / pairs):.0f} %" if pairs else "-"


def _print_effects(trial: Trial) -> None:
    from rich.table import Table

    from javisbench.results.trial import VERDICT_TEXT, title_of

    published = trial.material.get("published") or {}
    table = Table(box=None, pad_edge=False)
    headings = ["metric", "damage", "n", "AUROC", "pairs right", "strict", "difference", "n for 80 %", "verdict"]
    judged = any(effect.kind == "judged" for effect in trial.effects)
    if judged:
        headings.insert(-1, "tau")
    if published:
        headings.insert(6, "published")
    for heading in headings:
        words = heading in ("metric", "damage", "verdict")
        table.add_column(heading, justify="left" if words else "right", no_wrap=True)
    for metric in trial.metrics:
        for place, effect in enumerate(metric.effects):
            cells = _cells(effect)
            if judged:
                cells.append("-" if effect.tau is None else f"{effect.tau:.2f}")
            if published:
                known = published.get(effect.case)
                cells.insert(4, "-" if known is None else f"{known:.3f}")
            title = title_of(metric.metric) if place == 0 else ""
            verdict = VERDICT_TEXT[effect.verdict]
            if effect.kind == "same" and effect.relative_change is not None:
                verdict += f" ({100 * effect.relative_change:.2g} %)"
            table.add_row(title, effect.case, *cells, verdict)
    output.console().print(table)


def _cells(effect: Effect) -> list[str]:
    from javisbench.results.table import column

    digits = column(effect.metric).digits

    def told(value: float | None, low: float | None, high: float | None, places: int) -> str:
        if value is None:
            return "-"
        return f"{value:.{places}f}" + ("" if low is None else f" ({low:.{places}f} to {high:.{places}f})")

    return [
        str(effect.n),
        told(effect.auroc, effect.auroc_low, effect.auroc_high, 2),
        told(effect.accuracy, effect.accuracy_low, effect.accuracy_high, 2),
        "-" if effect.accuracy_strict is None else f"{effect.accuracy_strict:.3f}",
        told(effect.effect, effect.effect_low, effect.effect_high, digits),
        _needed(effect.n_for_power),
    ]


def _needed(sources: int | None) -> str:
    """So many that nobody would gather them are told as such."""
    if sources is None:
        return "-"
    return str(sources) if sources <= _MOST_NEEDED else f"> {_MOST_NEEDED}"
