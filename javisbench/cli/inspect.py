"""``javisbench inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from javisbench.cli import options, output
from javisbench.text import encodable

if TYPE_CHECKING:
    from javisbench.leaderboard.inspect import Inspection

EPILOG = """\b
Examples:
  javisbench inspect clip.mp4
  javisbench inspect clip.mp4 --text "a dog barks twice" --png clip.png
  javisbench inspect clip.mp4 --audio other.wav --html clip.html
Without --audio, a wav of the same name beside the clip is its sound, else its own track is.
"""


@click.command("inspect", epilog=EPILOG)
@click.argument("clip", type=click.Path(path_type=Path))
@click.option("--audio", type=click.Path(path_type=Path), help="The clip's sound.")
@click.option("--text", "prompt", default="", help="The prompt; without one, metrics of the prompt are left out.")
@click.option("--png", type=options.Target(dir_okay=False), help="Draw the timeline.")
@click.option("--html", type=options.Target(dir_okay=False), help="Write a page with timeline and numbers.")
@click.option(
    "--metrics",
    multiple=True,
    callback=options.joined,
    metavar="ID,...",
    help="Metric ids or globs. [default: all that apply]",
)
@click.option("--protocol", default=None, metavar="NAME", help="How numbers are made. [default: javisbench-v1]")
@click.option("--encoder", "encoders", multiple=True, metavar="NAME=VARIANT", help="Another variant of an encoder.")
@options.weights_option
@options.device_option
@options.json_option
@options.verbosity
def command(clip: Path, audio: Path | None, prompt: str, png: Path | None, html: Path | None, **given: Any) -> int:
    """Draw one CLIP's timeline and print its numbers."""
    from javisbench.api import ScoringOptions
    from javisbench.leaderboard.inspect import inspect_clip
    from javisbench.leaderboard.site_extra import FIGURES, require_site_extra

    options.setup_logging(given["quiet"], given["verbose"])
    if png is not None or html is not None:
        require_site_extra(FIGURES, "--html" if png is None else "--png")
    scoring = ScoringOptions(
        metrics=options.parse_metrics(given["metrics"]),
        protocols=(given["protocol"],) if given["protocol"] else (),
        encoders=options.parse_pairs("--encoder", given["encoders"]),
        weights_dirs=given["weights_dirs"],
        device=given["device"],
        workers=1,
    )
    # What is no text in an argument would fail in networks and tables.
    found = inspect_clip(clip, audio, prompt=encodable(prompt), options=scoring)
    if given["as_json"]:
        output.json_document(found.to_json())
    else:
        _print(found)
    _draw(found, png, html)
    return 0


def _draw(found: Inspection, png: Path | None, html: Path | None) -> None:
    from javisbench.leaderboard.inspect_plot import write_html, write_png

    for target, write in ((png, write_png), (html, write_html)):
        if target is not None:
            write(found, target)
            output.line(f"wrote {target}", err=True)


def _print(found: Inspection) -> None:
    from rich.table import Table

    from javisbench.leaderboard.inspect_plot import score_text
    from javisbench.results.table import column

    console = output.console()
    for name, text in found.facts().items():
        console.print(f"{name:<8} {text}", soft_wrap=True)
    console.print(f"protocol {found.protocol}", soft_wrap=True)
    console.print()
    table = Table(box=None, pad_edge=False)
    table.add_column("metric")
    table.add_column("value", justify="right")
    for metric, value in found.scores.items():
        table.add_row(column(metric).heading, score_text(metric, value))
    console.print(table)
    if found.stand_in:
        console.print("STAND-IN WEIGHTS: scores of the networks mean nothing.", style="bold")
    for missing in found.missing:
        console.print(f"{', '.join(missing.metrics)}: {missing.note}", soft_wrap=True, style="dim")
