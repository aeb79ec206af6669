"""``javisbench leaderboard``."""

from __future__ import annotations

from pathlib import Path

import click

from javisbench.cli import options, output

EPILOG = """\b
Examples:
  javisbench leaderboard build runs/*/demo --out site/
  javisbench leaderboard build lab-a.zip runs/mine/javisbench --out site/ --clips extremes --plots
  javisbench leaderboard build runs/*/demo --votes votes.jsonl --out site/
  javisbench leaderboard build *.zip --out site/ --title "Our board" --intro about.md --link https://lab.example/submit
  javisbench leaderboard push runs/*/demo --to tables/
  javisbench leaderboard push runs/*/demo --to hub:my-lab/results
  javisbench leaderboard import results.json --name my-model --suite javisbench --out runs/my-model/javisbench
"""
SOURCES = click.argument("sources", nargs=-1, required=True, type=options.Place(fetch=True))


@click.group("leaderboard", epilog=EPILOG)
def command() -> None:
    """Build a leaderboard site, push its tables, or exchange results with the reference evaluation."""


@command.command("build")
@SOURCES
@click.option(
    "--out", required=True, type=options.Target(urls=True), help="Folder of the site, or its URL; replaced as a whole."
)
@click.option("--title", default="JavisBench leaderboard", show_default=True, help="Title of every page.")
@click.option(
    "--intro",
    type=click.Path(path_type=Path),
    help="Introduction: a file in Markdown (no HTML, no pictures) or plain text.",
)
@click.option("--link", default="", metavar="URL", help="Where readers hand in results (https:, http:, mailto:).")
@click.option(
    "--clips",
    type=click.Choice(["none", "extremes", "all"]),
    default="none",
    show_default=True,
    help="Clips to publish: none, the best and worst of every metric and twelve prompts of all models, or all.",
)
@options.given_option
@click.option(
    "--votes", type=click.Path(path_type=Path, dir_okay=False), help="File of votes (votes import): people's view."
)
@click.option("--plots", is_flag=True, help="Also write every plot as PNG and SVG.")
@options.shown_slices_option
@options.verbosity
def build(
    sources: tuple[Path, ...],
    out: Path | str,
    title: str,
    intro: Path | None,
    link: str,
    clips: str,
    given: tuple[str, ...],
    votes: Path | None,
    plots: bool,
    slice_by: tuple[str, ...],
    quiet: bool,
    verbose: bool,
) -> int:
    """Build a static site of runs and submissions; it needs no server and no network.

    SOURCES are run folders, summary.json files, or submission archives, which are verified first. An archive that does
    not hold what it claims is left out; the first page says why.
    """
    from typing import cast

    from javisbench.leaderboard.build import SiteOptions, build_site
    from javisbench.leaderboard.clips import ClipsPublished
    from javisbench.places.mirror import worked_on

    options.setup_logging(quiet, verbose)
    text = "" if intro is None else _text_of(intro)
    if given and clips == "none":
        raise click.UsageError("--given adds to the clips that are published; give --clips too.")
    choice = cast(ClipsPublished, clips)
    with worked_on(out) as site:
        report = build_site(
            sources, site, SiteOptions(title, choice, plots, slice_by or None, text, link, votes, given)
        )
    for archive in report.refused:
        output.line(f"left out {archive.name}: {' '.join(archive.reasons)}", err=True)
    if votes is not None and not report.voted:
        output.line(f"no vote of {votes} is about the models and prompts of this board", err=True)
    if not quiet:
        output.line(f"{report.results} results on {report.pages} pages", err=True)
    output.line(report.index if isinstance(out, Path) else f"{out.rstrip('/')}/{report.index.name}")
    return 0


def _text_of(path: Path) -> str:
    from javisbench.errors import UsageError

    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"--intro {path} is no UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    except OSError as error:
        raise UsageError(f"--intro {path} cannot be read: {error.strerror}.") from error


@command.command("push")
@SOURCES
@click.option("--to", "target", required=True, metavar="FOLDER|hub:OWNER/NAME", help="Where the dataset goes.")
@click.option("--title", default="JavisBench results", show_default=True, help="Title of the dataset card.")
@click.option("--private", is_flag=True, help="Make a new dataset on the hub private.")
@options.verbosity
def push(sources: tuple[Path, ...], target: str, title: str, private: bool, quiet: bool, verbose: bool) -> int:
    """Write the tables of runs and submissions as a `datasets` dataset, to a folder or to the hub."""
    from javisbench.publish.push import push_dataset, write_dataset
    from javisbench.publish.sources import loaded_results

    options.setup_logging(quiet, verbose)
    with loaded_results(sources) as results:
        if target.startswith("hub:"):
            output.line(push_dataset(results, target.removeprefix("hub:"), title, private=private))
        else:
            output.line(write_dataset(results, Path(target), title))
    return 0


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--name", required=True, help="How the model is called.")
@click.option("--suite", required=True, metavar="NAME", help="Suite that was evaluated.")
@click.option("--out", required=True, type=options.Target(), help="Run folder to make.")
def import_(file: Path, name: str, suite: str, out: Path) -> int:
    """Make a run folder of a result FILE of the reference evaluation.

    Its protocol is javisbench-v1+imported, so it stands beside measured results without being ranked with them.
    """
    from javisbench.publish.reference_json import import_reference

    output.line(import_reference(file, out, model=name, suite=suite))
    return 0


@command.command("export")
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.option("--out", required=True, type=options.Target(dir_okay=False), help="JSON file to write.")
def export(run: Path, out: Path) -> int:
    """Write a RUN in the form of the reference evaluation's result file (ib_tv, lists by category)."""
    from javisbench.publish.reference_json import write_reference
    from javisbench.results.run_folder import load_result

    write_reference(load_result(run), out)
    output.line(out)
    return 0
