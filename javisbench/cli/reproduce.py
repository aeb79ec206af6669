"""``javisbench reproduce``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from javisbench.cli import names, options, output

if TYPE_CHECKING:
    from javisbench.results.differences import Cause
    from javisbench.results.recipe import Recipe
    from javisbench.results.reproduction import Reproduction, Row
    from javisbench.results.run_folder import StoredResult

EPILOG = """\b
Examples:
  javisbench reproduce list
  javisbench reproduce show javisdit-v0.1
  javisbench reproduce run javisdit-v0.1 --dry-run
  javisbench reproduce check RUN javisdit-v0.1
  javisbench reproduce new RUN --out mine.toml
"""
MOST_LINES = 6

recipe_argument = click.argument(
    "recipe", metavar="NAME", shell_complete=names.completer(names.recipes, files=True), required=True
)


@click.group("reproduce", epilog=EPILOG)
def command() -> None:
    """Repeat published results by a recipe, and check runs against what was published."""


@command.command("list")
@options.json_option
def list_(as_json: bool) -> int:
    """List the recipes, and what can be done with each."""
    from rich.table import Table

    from javisbench.results.recipe import KINDS
    from javisbench.results.recipes import known_recipes, recipe_problems

    for problem in recipe_problems():
        output.line(problem, err=True)
    recipes = known_recipes()
    if as_json:
        members = ("id", "title", "kind", "suite", "model", "protocol", "source", "package")
        output.json_document(
            [{**{m: getattr(r, m) for m in members}, "values": len(r.expected)} for r in recipes.values()]
        )
        return 0
    table = Table(box=None)
    for heading in ("id", "what", "can be", "values"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "values" else "left")
    for recipe in recipes.values():
        table.add_row(*output.cells(recipe.id, recipe.title, KINDS[recipe.kind], str(len(recipe.expected))))
    output.console().print(table)
    return 0


@command.command("show")
@recipe_argument
@options.json_option
def show(recipe: str, as_json: bool) -> int:
    """Show a recipe: settings, published values with their sources and tolerances, what is doubtful.

    NAME is a recipe's id, or a TOML file.
    """
    from javisbench.results.recipe import KINDS
    from javisbench.results.recipes import load_recipe

    found = load_recipe(recipe)
    if as_json:
        output.json_document(dataclasses.asdict(found), default=str)
        return 0
    output.line(f"{found.id}: {found.title} ({KINDS[found.kind]})")
    if found.summary:
        output.line(found.summary)
    for name, told in _settings(found):
        output.line(f"{name}: {told}")
    output.line()
    _print_expected(found)
    _section("Doubtful", (f"{doubt.about}: {doubt.text}" for doubt in found.doubts))
    _section("Known of the published code", (fault.text for fault in found.faults))
    return 0


def _settings(recipe: Recipe) -> Iterable[tuple[str, str]]:
    told = {
        "source": recipe.source,
        "suite": _joined(recipe.suite, recipe.suite_revision, recipe.samples and f"{recipe.samples:,} samples"),
        "model": _joined(recipe.model, recipe.spec and f"--model {recipe.spec}", recipe.model_revision),
        "parameters": _pairs(recipe.parameters),
        "generation": _pairs(recipe.generation),
        "clips": _pairs(recipe.clips),
        "sound": {"sidecar": "files beside the clips", "container": "tracks in the clips"}.get(recipe.sound, ""),
        "protocol": recipe.protocol,
        "metrics": ", ".join(recipe.asked_metrics),
        "reference": recipe.reference,
        "weights of metrics": _pairs(recipe.encoder_weights),
    }
    return ((name, text) for name, text in told.items() if text)


def _joined(*parts: Any) -> str:
    return ", ".join(str(part) for part in parts if part)


def _pairs(values: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _print_expected(recipe: Recipe) -> None:
    from rich.table import Table

    table = Table(box=None)
    for heading in ("value", "published", "n", "tolerance", "source"):
        table.add_column(heading, overflow="fold", justify="right" if heading in ("published", "n") else "left")
    for value in recipe.expected:
        name = value.name if value.slice == "overall" else f"{value.name}, {value.slice}"
        n = "" if value.n is None else f"{value.n:,}"
        table.add_row(*output.cells(name, value.printed, n, f"±{value.margin:.3g}", value.source))
    output.console().print(table)
    _section("Tolerances", _by_names((value.tolerance_from, value.name) for value in recipe.expected))
    _section("Of these values", _by_names((value.note, value.name) for value in recipe.expected))


def _by_names(told: Iterable[tuple[str, str]]) -> Iterable[str]:
    """``FD-A, KL-A: javisbench has no A.``: each text once, with the names that it is of."""
    names: dict[str, dict[str, None]] = {}
    for text, name in told:
        if text:
            names.setdefault(text, {})[name] = None
    return (f"{', '.join(found)}: {text}" for text, found in names.items())


def _section(heading: str, lines: Iterable[str]) -> None:
    told = list(lines)
    if told:
        output.line()
        output.line(f"{heading}:")
        for line in told:
            output.line(f"  {line}")


@command.command("run")
@recipe_argument
@click.option("--clips", type=options.Place(), help="Score these instead of making clips; of a trial, its data set.")
@click.option(
    "--suite",
    metavar="FILE|NAME:DIR",
    help="The suite's file, or where its data lie (vggsound:DIR). [default: the recipe's suite, by name]",
)
@options.data_root_option
@options.out_option
@options.limit_option
@click.option("--reference", metavar="DIR|suite|FILE", help="Real side of the set metrics. [default: the suite's own]")
@options.weights_option
@options.workers_option
@options.device_option
@options.cache_options
@click.option("--dry-run", is_flag=True, help="Print the command that does it, and do nothing.")
@click.option("--strict", is_flag=True, help="Exit with 1 when a value differs.")
@options.json_option
@options.verbosity
def run(recipe: str, dry_run: bool, **given: Any) -> int:
    """Make and score what a recipe says, as eval or score would, and check what was found.

    NAME is a recipe's id, or a TOML file.
    """
    from javisbench.api import perform
    from javisbench.cli.memory import keep_freed_memory
    from javisbench.cli.progress import make_progress
    from javisbench.results.recipes import load_recipe
    from javisbench.run.recipe_job import RecipeJob

    options.setup_logging(given["quiet"], given["verbose"])
    wanted = ("clips", "suite", "out", "limit", "reference", "weights_dirs", "device", "workers")
    found = load_recipe(recipe)
    given["suite"] = options.suite_at_data_root(click.get_current_context(), given["suite"], found.suite)
    job = RecipeJob.of(found, **{name: given[name] for name in wanted})
    if dry_run:
        if given["as_json"]:
            output.json_document({"recipe": job.recipe.id, "command": ["javisbench", *job.arguments()]})
        else:
            output.line(job.line)
        return 0
    keep_freed_memory()
    return _tell(perform(job, make_progress(given["quiet"])), given["as_json"], given["strict"])


@command.command("check")
@click.argument("result", metavar="RUN", type=options.Place(fetch=True, exists=True))
@recipe_argument
@click.option("--protocol", help="Which of the run's protocols. [default: the recipe's, else the first]")
@click.option("--strict", is_flag=True, help="Exit with 1 when a value differs.")
@options.json_option
@options.verbosity
def check(
    result: Path, recipe: str, protocol: str | None, strict: bool, as_json: bool, quiet: bool, verbose: bool
) -> int:
    """Check a result against a recipe: each value beside the published one, a verdict, and what explains it.

    RUN is a run folder, a summary.json, an archive of `submit pack`, the reference evaluation's JSON file, or a trial
    of `validate-metrics`. NAME is a recipe's id, or a TOML file.
    """
    from javisbench.publish.sources import results_at
    from javisbench.results.recipes import load_recipe
    from javisbench.results.reproduction import check as checked
    from javisbench.results.reproduction import check_trial
    from javisbench.results.trial import read_trial

    options.setup_logging(quiet, verbose)
    loaded = load_recipe(recipe)
    if loaded.kind == "trial":
        return _tell(check_trial(read_trial(result), loaded), as_json, strict)
    with results_at(result, loaded.suite) as results:
        found = checked(_chosen(results, result, protocol, loaded), loaded)
    return _tell(found, as_json, strict)


def _chosen(results: list[StoredResult], run: Path, protocol: str | None, recipe: Recipe) -> StoredResult:
    from javisbench.protocol import parse_protocol, protocol_label
    from javisbench.publish.sources import chosen_result

    if protocol is not None:
        return chosen_result(results, run, protocol)
    wanted = parse_protocol(recipe.protocol)
    label = protocol_label(wanted.name, wanted.revision)
    return next((result for result in results if result.protocol_label == label), results[0])


@command.command("new")
@click.argument("result", metavar="RUN", type=options.Place(fetch=True, exists=True))
@click.option("--out", type=options.Target(dir_okay=False), help="The recipe. [default: on stdout]")
@click.option("--name", help="The recipe's id. [default: from model and suite]")
@click.option("--title", default="", help="One line on it. [default: model and suite]")
@click.option("--source", default="", help="Where the values are published: paper, table. [default: this run]")
@click.option("--protocol", help="Which of the run's protocols. [default: its first]")
@options.json_option
@options.verbosity
def new(
    result: Path,
    out: Path | None,
    name: str | None,
    title: str,
    source: str,
    protocol: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Write a recipe that says what RUN was made with and what it found, to ship with a paper.

    Its tolerances are what another seed of the same model would stay within.
    """
    from javisbench.results.recipe_toml import recipe_text
    from javisbench.results.recipes import write_recipe
    from javisbench.results.reproduction import recipe_of
    from javisbench.results.run_folder import load_protocol, load_result

    options.setup_logging(quiet, verbose)
    loaded = load_protocol(result, protocol) if result.is_dir() else load_result(result)
    made = recipe_of(loaded, _recipe_id(name or f"{loaded.slug}-{loaded.suite}", out), title=title, source=source)
    if out is not None:
        write_recipe(made, out)
        output.line(f"wrote {out}: {len(made.expected)} value{'s' * (len(made.expected) != 1)}", err=True)
    if as_json:
        output.json_document(dataclasses.asdict(made), default=str)
    elif out is None:
        output.document(recipe_text(made))
    return 0


def _recipe_id(name: str, out: Path | None) -> str:
    from javisbench.run.manifest import slug

    return slug(name if out is None else out.stem)


def _tell(found: Reproduction, as_json: bool, strict: bool) -> int:
    if as_json:
        output.json_document(found.to_json())
    else:
        print_reproduction(found)
    return 1 if strict and found.verdict == "differs" else 0


def print_reproduction(found: Reproduction) -> None:
    """Print what a check found: the table, why verdicts are no others, causes, and what cannot be ruled out."""
    from rich.table import Table
    from rich.text import Text

    from javisbench.text import printable

    title = Text(printable(f"{found.recipe.title} (published), and {found.result}"), style="italic")
    table = Table(box=None, title=title, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("")
    for heading in ("published", "here", "n", "deviation", "95 % interval", "margin"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    styles = {"differs": "bold", "not run": "dim"}
    for row in found.rows:
        table.add_row(*output.cells(*_cells(row)), style=styles.get(row.verdict, ""))
    output.console().print(table)
    output.line(f"{found.line}.")
    for notice in found.notices:
        output.line(notice)
    _section("Why", _reasons(found.rows))
    print_causes(found.causes, "Differs from the recipe (here / recipe), what explains most first")
    _section("Cannot be ruled out", found.open)
    _section("Doubtful in the recipe", (f"{doubt.about}: {doubt.text}" for doubt in found.recipe.doubts))


def _cells(row: Row) -> tuple[str, ...]:
    value, cell = row.expected, row.cell
    digits = 4 if value.digits is None else value.digits + 1

    def shown(number: float | None, sign: str = "") -> str:
        return "-" if number is None else f"{number:{sign}.{digits}f}"

    interval = "-" if row.ci_low is None else f"[{shown(row.ci_low, '+')}, {shown(row.ci_high, '+')}]"
    name = value.name if value.slice == "overall" else f"{value.name}, {value.slice}"
    here, n = (None, "-") if cell is None else (cell.value, f"{cell.n:,}" if cell.n else "-")
    margin = f"±{value.margin:.3g}"
    return name, value.printed, shown(here), n, shown(row.deviation, "+"), interval, margin, row.verdict


def _reasons(rows: Sequence[Row]) -> Iterator[str]:
    """Why verdicts are what they are, each reason once; one command computes all that was not asked for."""
    absent = [row.expected for row in rows if row.not_asked]
    if absent:
        names, metrics = (dict.fromkeys(getattr(value, what) for value in absent) for what in ("name", "metric"))
        yield f"{', '.join(names)}: not computed in this run: javisbench score RUN --metrics {','.join(metrics)}"
    others = [row for row in rows if not row.not_asked]
    told = [
        (f"{row.reason}; about {row.needed:,} clips would tell", row) if row.needed else (row.reason, row)
        for row in others
    ]
    # How a value was computed otherwise explains what deviates, whatever the verdict.
    told += [(row.expected.note, row) for row in others if row.verdict in ("differs", "cannot tell")]
    yield from _by_names((text, row.expected.name) for text, row in told)


def print_causes(causes: Iterable[Cause], heading: str) -> None:
    """Print differences by topic; also of `javisbench diff`."""
    for number, cause in enumerate(causes, start=1):
        if number == 1:
            output.line()
            output.line(f"{heading}:")
        acts = "; acts on no value that deviates" if cause.share == 0 else ""
        output.line(f"  {number}. {cause.title}{acts}")
        for difference in cause.differences[:MOST_LINES]:
            output.line(f"       {difference.line}")
        if len(cause.differences) > MOST_LINES:
            output.line(f"       and {len(cause.differences) - MOST_LINES} more (--json lists all)")
        for told in cause.told:
            output.line(f"       {told}")
