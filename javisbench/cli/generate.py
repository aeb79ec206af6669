"""``javisbench generate``, and the options that it shares with ``eval``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from javisbench.cli import names, options, output
from javisbench.cli.grouped import GroupedCommand
from javisbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from javisbench.run.dry_run import DryRun
    from javisbench.run.generate import GenerateSettings
    from javisbench.run.scoring_job import ScoringOptions

EPILOG = """\b
Examples:
  javisbench generate --model procedural --suite demo
  javisbench generate --model javisdit -M steps=30 --suite javisbench-mini --repeats 2
  javisbench generate --model 'command:./my_model.sh --fast' --suite my.csv
  javisbench generate --model javisdit --shard 3/8         one of eight machines
  javisbench generate --model javisdit --dry-run           what it would take
The same command again goes on where it stopped.
"""

generating_options = options.compose(
    click.option(
        "--model",
        required=True,
        metavar="MODEL",
        shell_complete=names.completer(names.models),
        help="name, name:variant, cascade:..., diffusers:REPO, command:..., python:module:Class or folder:PATH.",
    ),
    click.option("-M", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the model; repeatable."),
    click.option("--name", help="How the model is called in tables. [default: as given]"),
    click.option(
        "--conform",
        type=click.Choice(["native", "exact"]),
        default="native",
        show_default=True,
        help="Keep the model's own size, rate and length, or bring clips to the suite's setting.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace clips that were made with other settings."),
    click.option("--max-failures", metavar="N|SHARE", help="Stop after so many failures: a count, or a share below 1."),
    click.option("--batch", type=click.IntRange(min=1), help="Clips a call. [default: the model's own limit]"),
    click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True),
    options.shard_option,
    click.option(
        "--dry-run",
        is_flag=True,
        help="Tell time, memory, disk, downloads and licences, as far as they are known, and do nothing.",
    ),
)


@click.command("generate", epilog=EPILOG, cls=GroupedCommand)
@generating_options
@options.suite_option
@options.weights_option
@options.out_option
@options.limit_option
@options.repeats_option
@options.device_option
@options.seed_option
@options.allow_outside_option
@options.cache_options
@options.engine_options
@options.patience_option
@options.strict_option
@options.verbosity
def command(**given: Any) -> int:
    """Generate the clips of a suite into a run folder."""
    from javisbench.api import generate
    from javisbench.cli.progress import make_progress
    from javisbench.results.run_folder import read_failures

    options.setup_logging(given["quiet"], given["verbose"])
    given = options.by_rank(given)
    if given["dry_run"]:
        return show_dry_run(given)
    run = generate(
        **generate_arguments(given), weights_dirs=given["weights_dirs"], progress=make_progress(given["quiet"])
    )
    failed = [row for row in read_failures(run) if row.get("stage") == "generate"]
    output.line(str(run))
    return 1 if given["strict"] and failed else 0


def show_dry_run(given: dict[str, Any], scoring: ScoringOptions | None = None) -> int:
    """Tell what the command would take; of ``eval`` with what its scoring would lack."""
    from javisbench.api import look_ahead

    found = look_ahead(
        **generate_arguments(given),
        weights_dirs=given["weights_dirs"],
        overlap=given.get("overlap"),
        options=scoring,
    )
    if given.get("as_json"):
        output.json_document(found.as_json())
    else:
        for line in _dry_run_lines(found):
            output.line(line)
    return 0


def _dry_run_lines(found: DryRun) -> Iterator[str]:
    yield f"{found.model} on {found.suite}, into {found.run}"
    yield f"clips: {found.clips - found.there} to make, {found.there} there already"
    if found.each is not None:
        yield f"each: {found.each}"
    yield from (f"  {note}" for note in found.notes)
    yield from (f"needed to make them: {told}" for told in found.lacks)
    yield f"to fetch: {found.to_fetch.told}"
    for file in found.downloads:
        where = f"here: {file.here}" if file.here else f"not here: {file.fetch}" if file.fetch else "not here"
        yield f"  {file.part}: {file.source}, {file.size}, licence {file.licence}; {where}"
    if found.memory:
        yield "memory:"
    yield from (f"  {line.told}" for line in found.memory)
    yield f"time: {found.time.told}"
    yield f"disk: {found.disk.told}; {found.free_disk_bytes / 1e9:.1f} GB are free"
    if found.overlap:
        yield f"scoring: {found.overlap}"
    if found.scoring:
        yield "scoring would lack:"
    for reason in dict.fromkeys(found.scoring.values()):
        metrics = ", ".join(metric for metric, told in found.scoring.items() if told == reason)
        yield f"  {metrics}: {reason}"
    yield from (f"judges: {line}" for line in found.judges)
    yield "Nothing was made or fetched."


def generate_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """What `generate`, `evaluate` and `look_ahead` of the library take alike, from the options of a command."""
    return {
        "model": given["model"],
        "suite": given["suite"],
        "params": options.parse_pairs("-M", given["params"]),
        "settings": generate_settings(given),
        "out": given["out"],
        "name": given["name"],
        "limit": given["limit"],
        "allow_outside": given["allow_outside"],
    }


def generate_settings(given: dict[str, Any]) -> GenerateSettings:
    """The settings of generation, from the options of a command."""
    from javisbench.run.generate import GenerateSettings

    return GenerateSettings(
        seed=given["seed"],
        repeats=given["repeats"] or 1,
        shard=options.parse_shard(given["shard"]),
        conform=given["conform"],
        overwrite=given["overwrite"],
        max_failures=_max_failures(given["max_failures"]),
        batch=given["batch"],
        device=given["device"],
        dtype=given["dtype"],
        engine=given["engine"],
        engine_address=given["engine_address"],
        patience_s=given["patience"],
    )


def _max_failures(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf") or (limit > 1 and limit % 1):
        raise UsageError(f"--max-failures is a count, or a share below 1; got {text!r}.")
    return limit
