"""``javisbench diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from javisbench.cli import options, output

if TYPE_CHECKING:
    from javisbench.results.cell import Cell
    from javisbench.results.diff import Diff, Value

EPILOG = """\b
Examples:
  javisbench diff RUN_A RUN_B
  javisbench diff RUN --protocol javisbench-v1 --protocol javisbench-v2     one run, two protocols
  javisbench diff RUN_A RUN_B --json
"""
MOST_CLIPS = 10


@click.command("diff", epilog=EPILOG)
@click.argument("run_a", type=options.Place(fetch=True, exists=True))
@click.argument("run_b", type=options.Place(fetch=True, exists=True), required=False)
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    metavar="NAME",
    help="Which protocol of both runs; given twice, that of the first and that of the second. [default: the first]",
)
@options.json_option
@options.verbosity
def command(
    run_a: Path, run_b: Path | None, protocols: tuple[str, ...], as_json: bool, quiet: bool, verbose: bool
) -> int:
    """Tell what differs between two runs of one model: settings, clips, values and the samples that moved most.

    Runs are run folders, summaries, or archives of `submit pack`. Whether one model is better than another: javisbench
    compare.
    """
    from javisbench.errors import UsageError
    from javisbench.publish.sources import chosen_result, results_at
    from javisbench.results.diff import diff

    options.setup_logging(quiet, verbose)
    if len(protocols) > 2:
        raise UsageError("--protocol is given once, or once for each of the two runs.")
    if run_b is None and len(protocols) != 2:
        raise UsageError("Give two runs, or one with two --protocol.")
    first = protocols[0] if protocols else None
    second = protocols[-1] if protocols else None
    with results_at(run_a, "") as here, results_at(run_b or run_a, "") as there:
        found = diff(chosen_result(here, run_a, first), chosen_result(there, run_b or run_a, second))
    if as_json:
        output.json_document(found.to_json())
    else:
        _print(found)
    return 0


def _print(found: Diff) -> None:
    from javisbench.cli.reproduce import print_causes

    output.line(f"A: {found.a}")
    output.line(f"B: {found.b}")
    if found.empty:
        output.line("Nothing differs.")
        return
    _print_values(found)
    print_causes(found.causes, "How they were made differs (A / B), what explains most first")
    _print_clips(found)
    _print_moved(found)
    if found.unknown:
        output.line()
        output.line(f"Not recorded in both: {', '.join(found.unknown)}.")


def _print_values(found: Diff) -> None:
    from rich.table import Table

    from javisbench.results.table import column

    if not found.values:
        output.line("No value over all samples differs.")
        return
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("")
    for heading in ("A", "B", "B - A", "95 % interval", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for value in found.values:
        digits = column(value.metric).digits + 1
        table.add_row(*output.cells(column(value.metric).heading, *_numbers(value, digits)))
    output.console().print(table)


def _numbers(value: Value, digits: int) -> tuple[str, ...]:
    def shown(number: float | None) -> str:
        return "-" if number is None else f"{number:.{digits}f}"

    def told(cell: Cell) -> str:
        return shown(cell.value) if cell.value is not None else cell.status.replace("_", " ")

    gap = value.difference
    interval = "-" if gap.ci_low is None else f"[{shown(gap.ci_low)}, {shown(gap.ci_high)}]"
    n = f"{value.a.n:,}" if value.a.n == value.b.n else f"{value.a.n:,} / {value.b.n:,}"
    return told(value.a), told(value.b), shown(gap.value), interval, n


def _print_clips(found: Diff) -> None:
    output.line()
    if found.clips_compared is None:
        output.line("Clips: not compared, since those of one do not lie with it.")
        return
    counts = {what: sum(clip.what == what for clip in found.clips) for what in ("differs", "only in A", "only in B")}
    words = {"differs": "with other content", "only in A": "only in A", "only in B": "only in B"}
    told = ", ".join(f"{count:,} {words[what]}" for what, count in counts.items() if count) or "the same"
    output.line(f"Clips, by the content of {found.clips_compared:,} common files: {told}.")
    for clip in found.clips[:MOST_CLIPS]:
        output.line(f"  {clip.name}: {clip.what}")
    if len(found.clips) > MOST_CLIPS:
        output.line(f"  and {len(found.clips) - MOST_CLIPS:,} more (--json lists all)")


def _print_moved(found: Diff) -> None:
    from javisbench.results.table import column

    for metric, count in found.moved_counts.items():
        output.line()
        output.line(f"{column(metric).title}: {count:,} samples moved, most:")
        for moved in (row for row in found.moved if row.metric == metric):
            repeat = f" (repeat {moved.repeat})" if moved.repeat else ""
            a, b = ("-" if value is None else f"{value:.4f}" for value in (moved.a, moved.b))
            change = "" if moved.change is None else f" ({moved.change:+.4f})"
            output.line(f"  {moved.sample_id}{repeat}: {a} -> {b}{change}")
