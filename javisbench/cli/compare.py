"""``javisbench compare``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from javisbench.cli import options

if TYPE_CHECKING:
    from javisbench.leaderboard.compare import Comparison, Row
    from javisbench.leaderboard.results import Result

EPILOG = """\b
Examples:
  javisbench compare runs/mine-1a2b3c4d/demo runs/theirs-5e6f7a8b/demo
  javisbench compare RUN_A RUN_B --explain
  javisbench compare RUN_A RUN_B --plot difference.svg
"""


@click.command("compare", epilog=EPILOG)
@click.argument("run_a", type=click.Path(path_type=Path, exists=True))
@click.argument("run_b", type=click.Path(path_type=Path, exists=True))
@click.option("--protocol", help="Which protocol of both runs. [default: the first of each]")
@click.option("--explain", is_flag=True, help="List every difference in how the two were made.")
@click.option("--all", "show_all", is_flag=True, help="Every category, not only the significant ones.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw the differences (.png or .svg).")
@options.json_option
@options.verbosity
def command(
    run_a: Path,
    run_b: Path,
    protocol: str | None,
    explain: bool,
    show_all: bool,
    plot: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Compare RUN_A and RUN_B on the samples that both have: paired differences, intervals, adjusted significance."""
    from javisbench.leaderboard.compare import compare

    options.setup_logging(quiet, verbose)
    found = compare(_load(run_a, protocol), _load(run_b, protocol))
    if plot is not None:
        from javisbench.leaderboard.compare_plot import draw_comparison

        draw_comparison(found, plot)
        click.echo(f"wrote {plot}", err=True)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        _print(found, show_all, explain)
    return 0


def _load(run: Path, protocol: str | None) -> Result:
    from javisbench.errors import UsageError
    from javisbench.leaderboard.results import load_result, load_results

    if protocol is None:
        return load_result(run)
    of_run = load_results(run)
    for result in of_run:
        if result.protocol == protocol:
            return result
    raise UsageError(f"{run} was not scored under {protocol}; it has {', '.join(r.protocol for r in of_run)}.")


def _print(found: Comparison, show_all: bool, explain: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    rows = [row for row in found.rows if show_all or row.slice == "overall" or row.better]
    table = Table(box=None, title=f"{found.a} (A) minus {found.b} (B)", title_justify="left")
    for heading in ("metric", "slice", "A", "B", "A - B", "95 % interval", "n", "p (Holm)", "better"):
        table.add_column(heading, justify="left" if heading in ("metric", "slice", "better") else "right")
    for row in rows:
        table.add_row(*_cells(row))
    console = Console(highlight=False)
    console.print(table)
    if not found.comparable:
        console.print("Protocols or weights differ: these differences are not the models' alone.", style="bold")
    notes = {row.difference.note for row in rows if row.difference.note}
    for note in sorted(notes):
        console.print(note, style="dim")
    if explain:
        console.print("\nDifferences in how they were made (A / B):")
        for line in found.differences or ("none",):
            console.print(f"  {line}", markup=False)
    elif found.differences:
        console.print(f"{len(found.differences)} differences in how they were made: --explain lists them.", style="dim")


def _cells(row: Row) -> tuple[str, ...]:
    from javisbench.leaderboard.table import column

    digits = column(row.metric).digits + 1

    def shown(value: float | None) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    gap = row.difference
    interval = "-" if gap.ci_low is None else f"{shown(gap.ci_low)} to {shown(gap.ci_high)}"
    p = "-" if row.p_adjusted is None else f"{row.p_adjusted:.3f}"
    return (
        row.metric,
        row.slice.partition("/")[2] or row.slice,
        shown(row.a),
        shown(row.b),
        shown(gap.value),
        interval,
        str(gap.n),
        p,
        (row.better or "").upper(),
    )
