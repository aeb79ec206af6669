"""``javisbench merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from javisbench.cli import options, output

EPILOG = """\b
Examples:
  javisbench merge runs/my-model-1a2b3c4d/demo.shard-*
  javisbench merge part0/ part1/ part2/ --out runs/my-model/demo
  javisbench merge part0/ part2/ --out preview/ --allow-missing
"""


@click.command("merge", epilog=EPILOG)
@click.argument(
    "runs", nargs=-1, required=True, type=options.Place(fetch=True, media=True, exists=True, file_okay=False)
)
@click.option(
    "--out",
    type=options.Target(urls=True),
    help="Folder of the merged run, or its URL. [default: the parts' name without .shard-I-of-N]",
)
@click.option("--allow-missing", is_flag=True, help="Merge although clips are in no part; they count as missing.")
@click.option("--allow-versions", is_flag=True, help="Merge although different versions of javisbench made the parts.")
@click.option("--suite", metavar="NAME|FILE", help="Where the suite lies now. [default: as recorded]")
@click.option("--reference", metavar="DIR|suite|FILE", help="Real side of the set metrics. [default: as recorded]")
@click.option(
    "--speech-transcripts",
    metavar="NAME=FILE",
    help="Where what your own recogniser heard lies now. [default: as recorded]",
)
@options.weights_option
@options.workers_option
@options.device_option
@options.strict_option
@options.json_option
@options.verbosity
def command(runs: tuple[Path, ...], **given: Any) -> int:
    """Join the shards of a run (RUNS) into the run that one machine would have made.

    Parts must be of one model (or one folder of clips that was scored), suite, seed and way of scoring, and must not
    overlap. Clips and features are linked where the disk allows it, else copied; scores are made anew from the
    features. The same command again goes on. Other versions of decoder, torch or numpy, and other devices, are told and
    kept in run.json under "differences".
    """
    from javisbench.api import merge
    from javisbench.cli.progress import make_progress
    from javisbench.cli.score import show_result
    from javisbench.run.merge import MergeOptions

    options.setup_logging(given["quiet"], given["verbose"])
    chosen = MergeOptions(
        suite=given["suite"],
        allow_missing=given["allow_missing"],
        allow_versions=given["allow_versions"],
        weights_dirs=given["weights_dirs"],
        reference=given["reference"],
        speech_transcripts=options.parse_named_file("--speech-transcripts", given["speech_transcripts"]),
        device=given["device"],
        workers=given["workers"],
    )
    result = merge(runs, given["out"], options=chosen, progress=make_progress(given["quiet"]))
    if result is None:
        output.line("The parts were not scored; their clips are together now. Score them with: javisbench score RUN")
        return 0
    return show_result(result, as_json=given["as_json"], strict=given["strict"])
