"""``javisbench compare``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from javisbench.cli import options, output

if TYPE_CHECKING:
    from rich.console import Console

    from javisbench.results.compare import Comparison, Row
    from javisbench.results.run_folder import StoredResult
    from javisbench.results.table import Column

EPILOG = """\b
Examples:
  javisbench compare runs/mine-1a2b3c4d/demo runs/theirs-5e6f7a8b/demo
  javisbench compare RUN_A RUN_B --explain
  javisbench compare RUN_A RUN_B --plot difference.svg
  javisbench compare RUN_A RUN_B --detect 0.01
"""


@click.command("compare", epilog=EPILOG)
@click.argument("run_a", type=options.Place(fetch=True, exists=True))
@click.argument("run_b", type=options.Place(fetch=True, exists=True))
@click.option("--protocol", help="Which protocol of both runs. [default: the first that both have]")
@click.option("--explain", is_flag=True, help="List every difference in how the two were made.")
@click.option("--all", "show_all", is_flag=True, help="Every category, not only the significant ones.")
@click.option("--plot", type=options.Target(dir_okay=False), help="Draw the differences (.png or .svg).")
@click.option(
    "--detect",
    type=float,
    metavar="D",
    help="Also say how many prompts a difference of D, in each metric's own unit, needs to be found.",
)
@options.shown_slices_option
@options.json_option
@options.verbosity
def command(
    run_a: Path,
    run_b: Path,
    protocol: str | None,
    slice_by: tuple[str, ...],
    explain: bool,
    show_all: bool,
    plot: Path | None,
    detect: float | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Compare RUN_A and RUN_B on the samples that both have: what a board of the two says, with differences."""
    from javisbench.errors import UsageError
    from javisbench.results.compare import compare, refuse_unlike
    from javisbench.results.compare import explain as differences

    options.setup_logging(quiet, verbose)
    if plot is not None:
        from javisbench.leaderboard.compare_plot import check_drawable, draw_comparison

        check_drawable(plot)
    a, b = _loaded(run_a, run_b, protocol)
    try:
        refuse_unlike(a, b)
    except UsageError:
        if explain and not as_json:
            _print_differences(tuple(differences(a, b)))
        raise
    found = compare(a, b, slice_by or None, detect=detect)
    if plot is not None:
        draw_comparison(found, plot)
        output.line(f"wrote {plot}", err=True)
    if as_json:
        output.json_document(found.to_json())
    else:
        _print(found, show_all, explain)
    return 0


def _loaded(run_a: Path, run_b: Path, protocol: str | None) -> tuple[StoredResult, StoredResult]:
    """The results to compare: of `protocol`, else of the first protocol that both have, else the first of each."""
    from javisbench.errors import UsageError
    from javisbench.results.run_folder import load_results

    a, b = ({result.protocol: result for result in load_results(run)} for run in (run_a, run_b))
    for run, results in ((run_a, a), (run_b, b)):
        if protocol is not None and protocol not in results:
            raise UsageError(f"{run} was not scored under {protocol}; it has {', '.join(results)}.")
    alike = (name for name in a if name in b and a[name].revision == b[name].revision)
    chosen = protocol or next(alike, None) or next((name for name in a if name in b), None)
    if chosen is not None:
        return a[chosen], b[chosen]
    return next(iter(a.values())), next(iter(b.values()))


def _print(found: Comparison, show_all: bool, explain: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from javisbench.results.cell import OVERALL
    from javisbench.text import printable

    rows = [row for row in found.scores if show_all or row.slice == "overall" or row.better]
    title = Text(printable(f"{found.a} (A) minus {found.b} (B)"), style="italic")
    table = Table(box=None, title=title, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("")
    for heading in ("A", "B", "A - B", "95 % interval", "n", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("better", no_wrap=True)
    for row in rows:
        cells = _cells(row, found.columns[row.metric], found.titles)
        table.add_row(*output.cells(*cells), style="bold" if row.slice == OVERALL else "")
    console = output.console()
    if rows:
        console.print(table)
    _print_tested(console, found)
    for check in found.checks:
        if show_all or check.slice == OVERALL:
            where = "" if check.slice == OVERALL else f", {found.titles[check.slice]}"
            output.line(f"{check.word}{where}: A {check.a}, B {check.b} of {check.n} clips ({check.metric})")
    if not found.comparable:
        console.print(
            "The weights of metrics differ: these differences are not the models' alone. Score both with one set of "
            "weights to compare the models.",
            style="bold",
        )
    if len([row for row in found.scores if row.p_adjusted is not None]) > 1:
        console.print(
            "p is each row's own, as on a board of the two: of rows without a difference, 1 in 20 falls below 0.05.",
            style="dim",
        )
    notes = {row.difference.note for row in rows if row.difference.note}
    for note in sorted(notes):
        console.print(note, style="dim")
    if explain:
        console.print()
        _print_differences(found.differences)
    elif found.differences:
        told = "1 difference" if len(found.differences) == 1 else f"{len(found.differences)} differences"
        console.print(f"{told} in how they were made: --explain lists them.", style="dim")


def _print_tested(console: Console, found: Comparison) -> None:
    """What is said of tested metrics over all samples: adjusted over the headline, and what this n can show."""
    from rich.table import Table
    from rich.text import Text

    from javisbench.results.cell import OVERALL

    rows = [row for row in found.rows if row.slice == OVERALL and row.smallest is not None]
    if not rows:
        return
    family = sum(row.p_headline is not None for row in rows)
    table = Table(box=None, title=Text("All samples", style="italic"), title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("")
    table.add_column(f"p (Holm, {family} headline metric{'s' * (family != 1)})", justify="right")
    table.add_column("smallest difference found (80 % power)", justify="right")
    if found.detect is not None:
        table.add_column(f"prompts for a difference of {found.detect:g}", justify="right")
    for row in rows:
        col = found.columns[row.metric]
        cells = [col.heading, _p(row.p_headline), f"{row.smallest:.{col.digits + 1}f}"]
        if found.detect is not None:
            cells.append("over 1,000,000,000" if row.prompts_needed is None else f"{row.prompts_needed:,}")
        table.add_row(*output.cells(*cells))
    output.line()
    console.print(table)


def _p(value: float | None) -> str:
    return "-" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def _print_differences(differences: tuple[str, ...]) -> None:
    output.line("Differences in how they were made (A / B):")
    for line in differences or ("none",):
        output.line(f"  {line}")


def _cells(row: Row, col: Column, titles: Mapping[str, str]) -> tuple[str, ...]:
    from javisbench.results.cell import OVERALL

    digits = col.digits + 1

    def shown(value: float | None) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    gap = row.difference
    interval = "-" if gap.ci_low is None else f"[{shown(gap.ci_low)}, {shown(gap.ci_high)}]"
    # A metric's first row is over all samples; its categories follow.
    label = col.heading if row.slice == OVERALL else f"  {titles.get(row.slice, row.slice)}"
    return (
        label,
        shown(row.a),
        shown(row.b),
        shown(gap.value),
        interval,
        str(gap.n),
        _p(row.p_adjusted),
        (row.better or "").upper(),
    )
