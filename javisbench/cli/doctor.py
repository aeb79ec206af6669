"""``javisbench doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from javisbench.cli import options, output

if TYPE_CHECKING:
    from javisbench.run.doctor import Bound, Forecast, Report

EPILOG = """\b
Examples:
  javisbench doctor                                       the machine and the weights
  javisbench doctor javisbench-mini --model javisdit      before a run: what it would cost
  javisbench doctor clips/ --suite my.csv                 before scoring: which files would fail
  javisbench doctor runs/procedural-1a2b3c4d/demo         after a run: what its failures could have changed
"""


@click.command("doctor", epilog=EPILOG)
@click.argument("target", required=False, metavar="[SUITE|DIR|RUN]")
@options.scored_suite_option
@click.option("--model", metavar="MODEL", help="Also generate the sample with this model.")
@click.option("-M", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the model; repeatable.")
@click.option(
    "--sample", type=click.IntRange(min=0), default=4, show_default=True, help="Clips to measure on; 0 for none."
)
@options.scoring_options
@options.out_option
@options.limit_option
@options.repeats_option
@options.workers_option
@options.device_option
@options.seed_option
@options.strict_option
@options.json_option
@options.verbosity
def command(target: str | None, **given: Any) -> int:
    """Check machine, weights and files before a long run and forecast it, or weigh the failures of a finished one.

    Exit code 1 with --strict when something would fail.
    """
    from javisbench.cli.score import scoring_options
    from javisbench.run.doctor import DoctorOptions, examine

    options.setup_logging(given["quiet"], given["verbose"])
    chosen = DoctorOptions(
        suite=given["suite"],
        model=given["model"],
        params=options.parse_pairs("-M", given["params"]),
        repeats=given["repeats"],
        limit=given["limit"],
        sample=given["sample"],
        out=given["out"] or Path("runs"),
        scoring=scoring_options(given),
    )
    report = examine(target, chosen)
    if given["as_json"]:
        output.json_document(report.as_json())
    else:
        _print(report)
    return 1 if given["strict"] and report.problems else 0


def _print(report: Report) -> None:
    marks = {"ok": "   ", "warning": " ! ", "problem": "XX "}
    for finding in report.findings:
        sentence, *details = finding.message.split("\n")
        output.line(f"{marks[finding.level]}{finding.area}: {sentence}")
        for detail in details:
            output.line(f"   {detail}")
    for forecast in report.forecasts:
        output.line()
        output.document(f"{_forecast(forecast)}\n")
    if report.bounds:
        output.line()
        output.line("If the samples without a value had the worst or the best one:")
        for bound in report.bounds:
            output.line(f"  {_bound(bound)}")
    count = len(report.problems)
    output.line()
    output.line(f"{count} problem{'' if count == 1 else 's'} found." if count else "Nothing found that would fail.")


def _forecast(forecast: Forecast) -> str:
    parts = [
        f"To {forecast.stage} {forecast.clips} clips would take {_time(forecast.total_s)} "
        f"({forecast.start_s:.1f} s to start, then {forecast.clip_s:.2f} s a clip)",
        f"{_bytes(forecast.disk_bytes)} of disk",
        f"{_bytes(forecast.memory_bytes)} of memory",
    ]
    if forecast.gpu_bytes:
        parts.append(f"{_bytes(forecast.gpu_bytes)} of GPU memory")
    return f"{', '.join(parts)}.\n  Measured on {forecast.how}."


def _bytes(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _bound(bound: Bound) -> str:
    if bound.low is None or bound.high is None:
        value = "no value" if bound.value is None else f"{bound.value:.4g}"
        return f"{bound.metric}: {value} (n {bound.n}, missing {bound.missing}); {bound.note}"
    ends = "the metric's range" if bound.basis == "range" else "most extreme values seen, for want of a bound"
    return (
        f"{bound.metric}: {bound.value:.4g} (n {bound.n}, missing {bound.missing}), "
        f"from {bound.low:.4g} to {bound.high:.4g} ({ends})"
    )
