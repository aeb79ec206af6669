"""``javisbench report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from javisbench.cli import options

if TYPE_CHECKING:
    from javisbench.results.table import Table

EPILOG = """\b
Examples:
  javisbench report runs/procedural-1a2b3c4d/demo
  javisbench report runs/*/demo                       models side by side
  javisbench report RUN --format latex > table.tex
  javisbench report RUN --write tables/               .md .csv .tex .json
"""
FORMATS = {"markdown": ".md", "csv": ".csv", "latex": ".tex", "json": ".json"}


@click.command("report", epilog=EPILOG)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--format", "kind", type=click.Choice(["table", *FORMATS]), default="table", show_default=True)
@click.option("--protocol", help="Which of a run's protocols. [default: its first]")
@click.option("--aspect", help="For several runs: the categories of this aspect instead of all samples.")
@click.option("--write", type=click.Path(path_type=Path, file_okay=False), help="Write every format into this folder.")
@options.json_option
@options.verbosity
def command(
    runs: tuple[Path, ...],
    kind: str,
    protocol: str | None,
    aspect: str | None,
    write: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Print the table of a run by aspect and category, or of several RUNS side by side."""
    from javisbench.publish.export import render

    options.setup_logging(quiet, verbose)
    table = build_table(runs, protocol, aspect)
    if write is not None:
        from javisbench.durable import write_bytes

        name = runs[0].resolve().name if len(runs) == 1 else "comparison"
        for form, suffix in FORMATS.items():
            write_bytes(write / f"{name}{suffix}", render(table, form).encode())
            click.echo(f"wrote {write / (name + suffix)}", err=True)
    if as_json or kind != "table":
        click.echo(render(table, "json" if as_json else kind), nl=False)
    elif write is None:
        print_table(table)
    return 0


def build_table(runs: tuple[Path, ...], protocol: str | None, aspect: str | None) -> Table:
    """The table of one run, or of several side by side."""
    from javisbench.errors import UsageError
    from javisbench.registry import did_you_mean
    from javisbench.results.run_folder import load_result, load_results
    from javisbench.results.table import board_table, run_table
    from javisbench.taxonomy import ASPECTS

    if aspect is not None and aspect not in ASPECTS:
        raise UsageError(f"There is no aspect {aspect!r}.{did_you_mean(aspect, ASPECTS)} Known: {', '.join(ASPECTS)}.")
    results = []
    for run in runs:
        of_run = load_results(run) if protocol else [load_result(run)]
        chosen = [result for result in of_run if protocol in (None, result.protocol)]
        if not chosen:
            names = ", ".join(result.protocol for result in of_run)
            raise UsageError(f"{run} was not scored under {protocol}; it has {names}.")
        results += chosen
    return run_table(results[0]) if len(results) == 1 and aspect is None else board_table(results, aspect)


def print_run(folder: Path, protocol: str) -> None:
    """Print a run's table, its failures counted by reason, and where everything lies."""
    from collections import Counter

    from javisbench.results.run_folder import load_results
    from javisbench.results.table import run_table

    result = next(r for r in load_results(folder) if r.protocol == protocol)
    print_table(run_table(result))
    kinds = Counter((failure.stage, failure.kind) for failure in result.failures)
    if kinds:
        click.echo(f"\nFailures ({len(result.failures)}; see {folder / 'failures.jsonl'}):")
        for (stage, kind), count in kinds.most_common():
            click.echo(f"  {count} x {kind} ({stage})")
    click.echo(f"\nRun folder: {folder}")


def print_table(table: Table) -> None:
    """Print with rich; plain text without colour into a pipe."""
    import sys

    from rich.console import Console

    from javisbench.publish.export import to_rich

    width = None if sys.stdout.isatty() else 160
    Console(width=width, highlight=False).print(to_rich(table))
