"""``javisbench validate-metrics``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from javisbench.cli import options, output

if TYPE_CHECKING:
    from javisbench.run.trial import PairTest, Validation

EPILOG = """\b
Examples:
  javisbench validate-metrics
  javisbench validate-metrics --limit 12 --metrics av_align,javis_score --damage late=0.5,swapped
  javisbench validate-metrics --clips real/ --suite javisbench-mini --json
Each clip is stored once as it is and once for every damage: late=SECONDS and early=SECONDS (shifted sound), swapped
(the next clip's sound), shuffled, reversed, silent, hiss, clipped; frozen, noise, blurred and black (picture).
"""


@click.command("validate-metrics", epilog=EPILOG)
@click.option("--clips", type=click.Path(path_type=Path), help="Good clips. [default: rendered scenes]")
@click.option("--suite", default="demo", show_default=True, metavar="NAME|FILE", help="Prompts of the clips.")
@click.option("--limit", type=click.IntRange(min=2), default=20, show_default=True, help="Only the first N samples.")
@click.option("--damage", metavar="NAME,...", help="Which damages. [default: eleven of them]")
@click.option("--metrics", metavar="ID,...", help="Metric ids or globs. [default: all that apply]")
@click.option("--protocol", default=None, metavar="NAME", help="How numbers are made. [default: the suite's]")
@click.option("--encoder", "encoders", multiple=True, metavar="NAME=VARIANT", help="Another variant of an encoder.")
@options.weights_option
@click.option("--out", type=click.Path(path_type=Path), help="Keep clips and scores in this folder.")
@options.workers_option
@options.device_option
@options.seed_option
@options.json_option
@options.verbosity
def command(clips: Path | None, suite: str, limit: int, damage: str | None, out: Path | None, **given: Any) -> int:
    """Measure what each metric notices: good clips against damaged copies of themselves."""
    from javisbench.api import ScoringOptions
    from javisbench.cli.memory import keep_freed_memory
    from javisbench.cli.progress import make_progress
    from javisbench.run.trial import DEFAULT_DAMAGES, validate_metrics
    from javisbench.suite import load_suite

    options.setup_logging(given["quiet"], given["verbose"])
    keep_freed_memory()
    scoring = ScoringOptions(
        metrics=options.parse_metrics(given["metrics"]),
        protocols=(given["protocol"],) if given["protocol"] else (),
        encoders=options.parse_pairs("--encoder", given["encoders"]),
        weights_dirs=given["weights_dirs"],
        device=given["device"],
        workers=given["workers"],
        seed=given["seed"],
    )
    found = validate_metrics(
        clips=clips,
        suite=load_suite(suite).limited(limit),
        damages=DEFAULT_DAMAGES if damage is None else [name.strip() for name in damage.split(",") if name.strip()],
        options=scoring,
        seed=given["seed"],
        out=out,
        progress=make_progress(given["quiet"]),
    )
    if given["as_json"]:
        output.json_document(found.to_json())
    else:
        _print(found)
    return 0


def _print(found: Validation) -> None:
    from rich.table import Table

    from javisbench.results.table import column

    console = output.console()
    console.print(f"Protocol {found.protocol}, {found.clips} clips", soft_wrap=True)
    if found.stand_in:
        console.print("STAND-IN WEIGHTS: nothing here is true of a trained network.", style="bold")
    table = Table(box=None, pad_edge=False)
    for heading in ("metric", "damage", "n", "AUROC", "strict", "relaxed", "difference", "95 % interval", ""):
        table.add_column(heading, justify="left" if heading in ("metric", "damage", "") else "right", no_wrap=True)
    shown = [test for test in found.tests if test.changed]
    for place, test in enumerate(shown):
        first = place == 0 or shown[place - 1].metric != test.metric
        table.add_row(*_cells(test, column(test.metric).title if first else ""))
    console.print(table)
    console.print(
        "AUROC: chance that a good clip scores better than a damaged one. Strict, relaxed: share of the pairs whose "
        "good clip scores better, ties wrong or right. Differences are positive where the good clip is better; * where "
        "the interval lies above zero. Damages that change no value of a metric are not shown.",
        style="dim",
    )
    for reason in sorted(set(found.missing.values())):
        metrics = ", ".join(metric for metric, why in found.missing.items() if why == reason)
        console.print(f"{metrics}: {reason}", soft_wrap=True, style="dim")
    for sample_id, reason in found.left_out.items():
        console.print(f"left out {sample_id}: {reason}", soft_wrap=True, style="dim")


def _cells(test: PairTest, title: str) -> tuple[str, ...]:
    from javisbench.results.table import column

    digits, gap = column(test.metric).digits, test.difference
    interval = "-" if gap.ci_low is None else f"{gap.ci_low:.{digits}f} to {gap.ci_high:.{digits}f}"
    return (
        title,
        test.damage,
        str(test.n),
        f"{test.auroc:.3f}",
        f"{test.accuracy_strict:.3f}",
        f"{test.accuracy_relaxed:.3f}",
        "-" if gap.value is None else f"{gap.value:.{digits}f}",
        interval,
        "*" if test.noticed else "",
    )
