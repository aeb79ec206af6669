"""``javisbench eval``."""

from __future__ import annotations

from typing import Any

import click

from javisbench.cli import options
from javisbench.cli.generate import generate_arguments, generating_options, show_dry_run
from javisbench.cli.grouped import GroupedCommand
from javisbench.cli.score import scoring_options, show_result

EPILOG = """\b
Examples:
  javisbench eval --model procedural --suite demo
  javisbench eval --model javisdit --suite javisbench-mini --protocol javisbench-v1 --protocol javisbench-v2
  javisbench eval --model diffusers:Lightricks/LTX-2 --dry-run
  javisbench eval --model folder:clips/ --suite my.csv
The same command again goes on where it stopped.
"""


@click.command("eval", epilog=EPILOG, cls=GroupedCommand)
@generating_options
@click.option(
    "--overlap/--no-overlap",
    default=None,
    help="Encode clips while others are made. [default: on a GPU with memory for both]",
)
@options.scored_suite_option
@options.scoring_options
@options.out_option
@options.limit_option
@options.repeats_option
@options.workers_option
@options.device_option
@options.seed_option
@options.allow_outside_option
@options.cache_options
@options.engine_options
@options.strict_option
@options.json_option
@options.verbosity
def command(**given: Any) -> int:
    """Generate the clips of a suite, score them and print the table by aspect and category."""
    from javisbench.api import evaluate
    from javisbench.cli.memory import keep_freed_memory
    from javisbench.cli.progress import make_progress

    options.setup_logging(given["quiet"], given["verbose"])
    keep_freed_memory()
    given = options.by_rank(given)
    if given["dry_run"]:
        return show_dry_run(given, scoring_options(given))
    result = evaluate(
        **generate_arguments(given),
        overlap=given["overlap"],
        options=scoring_options(given),
        progress=make_progress(given["quiet"]),
    )
    return show_result(result, as_json=given["as_json"], strict=given["strict"])
