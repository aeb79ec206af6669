"""``javisbench clean``."""

from __future__ import annotations

from pathlib import Path

import click

from javisbench.cli import options, output

EPILOG = """\b
Examples:
  javisbench clean runs/*/demo                  what features and leftovers take
  javisbench clean runs/*/demo --leftovers      free what killed jobs left
  javisbench clean runs/*/demo --features       and the features: scoring again then reads the clips again
"""


@click.command("clean", epilog=EPILOG)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--leftovers", is_flag=True, help="Remove temporary files of killed jobs, and shards that cannot be read."
)
@click.option("--features", is_flag=True, help="Remove features, too. Clips, scores and tables stay.")
@options.json_option
def command(runs: tuple[Path, ...], leftovers: bool, features: bool, as_json: bool) -> int:
    """Show what the clips, features and leftovers of RUNS take on disk, and free what is not needed."""
    from javisbench.run.clean import clean, usage

    found = [usage(run) for run in runs]
    freed = [clean(run, features=features) if leftovers or features else 0 for run in runs]
    if as_json:
        output.json_document(
            [
                {
                    "run": str(one.run),
                    "clips_bytes": one.clips,
                    "features_bytes": one.features,
                    "leftovers_bytes": one.leftovers,
                    "results_bytes": one.results,
                    "freed_bytes": free,
                }
                for one, free in zip(found, freed, strict=True)
            ]
        )
        return 0
    for one, free in zip(found, freed, strict=True):
        parts = (
            ("clips", one.clips),
            ("features", one.features),
            ("leftovers", one.leftovers),
            ("results", one.results),
        )
        text = ", ".join(f"{name} {_mib(size)}" for name, size in parts)
        output.line(f"{one.run}: {text}" + (f"; freed {_mib(free)}" if leftovers or features else ""))
    return 0


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
