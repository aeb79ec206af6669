"""``javisbench submit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from javisbench.cli import options, output

if TYPE_CHECKING:
    from javisbench.publish.archive import Contents

EPILOG = """\b
Examples:
  javisbench submit pack runs/mine-1a2b3c4d/javisbench --out mine.zip
  javisbench submit pack runs/mine-1a2b3c4d/javisbench --show
  javisbench submit verify mine.zip
  javisbench leaderboard build *.zip --out site/
"""


@click.group("submit", epilog=EPILOG)
def command() -> None:
    """Pack a run for a leaderboard, or verify such an archive."""


@command.command("pack")
@click.argument("run", type=options.Place(fetch=True, exists=True, file_okay=False))
@click.option("--out", type=options.Target(dir_okay=False), help="[default: <model>-<suite>-<protocol>.zip]")
@click.option("--protocol", help="Which of the run's protocols. [default: its first]")
@click.option("--show", is_flag=True, help="List what would go into the archive and what would not, and write nothing.")
@options.verbosity
def pack(run: Path, out: Path | None, protocol: str | None, show: bool, quiet: bool, verbose: bool) -> int:
    """Pack RUN into one archive: scores, features of the set metrics, hashes, environment, card.

    Paths, commands, names of users and hosts, values of environment variables and what looks like a secret stay here.
    """
    from javisbench.publish.archive import contents
    from javisbench.publish.archive import pack as write
    from javisbench.run.manifest import slug

    options.setup_logging(quiet, verbose)
    if show:
        _show(contents(run, protocol=protocol))
        return 0
    if out is None:
        manifest = contents(run, protocol=protocol).manifest
        out = Path("-".join(slug(str(manifest[name])) for name in ("model", "suite", "protocol")) + ".zip")
    output.line(str(write(run, out, protocol=protocol)))
    return 0


def _show(found: Contents) -> None:
    from javisbench.text import json_text

    output.line("manifest.json:")
    for line in json_text(found.manifest, indent=2).splitlines():
        output.line(f"  {line}")
    output.line("Files beside it:")
    for name, data in found.members.items():
        output.line(f"  {name}  {len(data):,} bytes")
    output.line("Rewritten or left out, because it tells of this machine or looks like a secret:")
    for told in found.hidden or ("nothing",):
        output.line(f"  {told}")


@command.command("verify")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@options.json_option
@options.verbosity
def verify(file: Path, as_json: bool, quiet: bool, verbose: bool) -> int:
    """Recompute every number of FILE and check all that it claims. Exit code 2 if something does not hold."""
    import tempfile

    from javisbench.errors import SubmissionError
    from javisbench.publish.archive import unpack
    from javisbench.publish.verify import Finding, verify_folder

    options.setup_logging(quiet, verbose)
    with tempfile.TemporaryDirectory(prefix="javisbench-") as folder:
        try:
            findings = verify_folder(Path(folder), unpack(file, Path(folder)))
        except SubmissionError as error:
            findings = [Finding(error.kind, error.message)]
    refused = any(finding.refuses for finding in findings)
    if as_json:
        rows = [{"kind": f.kind, "message": f.message, "refuses": f.refuses} for f in findings]
        output.json_document({"valid": not refused, "findings": rows})
    else:
        for finding in findings:
            output.line(f"{'refused' if finding.refuses else 'note'}: {finding}")
        if not refused:
            output.line(f"{file.name} holds what it claims.")
    return 2 if refused else 0
