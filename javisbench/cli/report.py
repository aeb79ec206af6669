"""``javisbench report``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from javisbench.cli import options, output

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
@click.argument("runs", nargs=-1, required=True, type=options.Place(fetch=True, exists=True))
@click.option("--format", "kind", type=click.Choice(["table", *FORMATS]), default="table", show_default=True)
@click.option("--protocol", help="Which of a run's protocols. [default: its first]")
@click.option("--aspect", help="For several runs: the categories of this aspect instead of all samples.")
@options.shown_slices_option
@click.option("--checks", is_flag=True, help="The checks of clips (health_*) as columns, not folded into a line.")
@click.option("--write", type=options.Target(file_okay=False), help="Write every format into this folder.")
@options.json_option
@options.verbosity
def command(
    runs: tuple[Path, ...],
    kind: str,
    protocol: str | None,
    aspect: str | None,
    slice_by: tuple[str, ...],
    checks: bool,
    write: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Print the table of a run by aspect and category, or of several RUNS side by side."""
    from javisbench.publish.export import render, table_json

    options.setup_logging(quiet, verbose)
    table = build_table(runs, protocol, aspect, slice_by)
    if checks:
        table = replace(table, checks=())
    if write is not None:
        from javisbench.durable import write_text

        name = runs[0].resolve().name if len(runs) == 1 else "comparison"
        for form, suffix in FORMATS.items():
            write_text(write / f"{name}{suffix}", render(table, form))
            output.line(f"wrote {write / (name + suffix)}", err=True)
    if as_json or kind == "json":
        output.json_document(table_json(table))
    elif kind != "table":
        output.document(render(table, kind))
    elif write is None:
        print_table(table)
    return 0


def build_table(
    runs: tuple[Path, ...], protocol: str | None, aspect: str | None, slice_by: tuple[str, ...] = ()
) -> Table:
    """The table of one run, or of several side by side.

    Args:
        runs: run folders or summaries.
        protocol: which of each run's; None for its first.
        aspect: for several runs: show the categories of this one.
        slice_by: columns of the suite whose slices are shown, and no others.

    Raises:
        UsageError: there is no such protocol, aspect or slice.
        RunError: there is no readable result.
    """
    from javisbench.errors import UsageError
    from javisbench.registry import did_you_mean
    from javisbench.results.ranking import Ranker
    from javisbench.results.run_folder import load_result, load_results
    from javisbench.results.table import aspects_of, board_table, chosen_aspects, joined_tables, run_table

    if aspect is not None and slice_by:
        raise UsageError("Give either --aspect or --slice-by.")
    results = []
    for run in runs:
        of_run = load_results(run) if protocol else [load_result(run)]
        chosen = [result for result in of_run if protocol in (None, result.protocol)]
        if not chosen:
            names = ", ".join(result.protocol for result in of_run)
            raise UsageError(f"{run} was not scored under {protocol}; it has {names}.")
        results += chosen
    known = [aspect.id for aspect in aspects_of(results)]
    if aspect is not None and aspect not in known:
        raise UsageError(f"There is no aspect {aspect!r}.{did_you_mean(aspect, known)} Known: {', '.join(known)}.")
    own = chosen_aspects(results, slice_by or None)
    ranks = Ranker() if len(results) > 1 else None
    if len(results) == 1 and aspect is None:
        return run_table(results[0], own)
    return (
        joined_tables([board_table(results, name, ranks) for name in known if own and name in own])
        if own
        else board_table(results, aspect, ranks)
    )


def print_run(folder: Path, protocol: str) -> None:
    """Print a run's table, its failures counted by reason, and where everything lies."""
    from collections import Counter

    from javisbench.places import named
    from javisbench.results.run_folder import load_results
    from javisbench.results.table import run_table

    result = next(r for r in load_results(folder) if r.protocol == protocol)
    print_table(run_table(result))
    kinds = Counter((failure.stage, failure.kind) for failure in result.failures)
    if kinds:
        output.line()
        output.line(f"Failures ({len(result.failures)}; see {named(folder / 'failures.jsonl')}):")
        for (stage, kind), count in kinds.most_common():
            output.line(f"  {count} x {kind} ({stage})")
    output.line()
    output.line(f"Run folder: {named(folder)}")


def print_table(table: Table) -> None:
    """Print with rich; plain text without colour into a pipe."""
    from javisbench.publish.export import to_rich

    output.console().print(to_rich(table))
