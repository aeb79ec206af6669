"""``javisbench submit``."""

from __future__ import annotations

from pathlib import Path

import click

from javisbench.cli import options, output

EPILOG = """\b
Examples:
  javisbench submit pack runs/mine-1a2b3c4d/javisbench --out mine.zip
  javisbench submit verify mine.zip
  javisbench leaderboard build *.zip --out site/
"""


@click.group("submit", epilog=EPILOG)
def command() -> None:
    """Pack a run for a leaderboard, or verify such an archive."""


@command.command("pack")
@click.argument("run", type=options.Place(fetch=True, exists=True, file_okay=False))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="[default: <model>-<suite>-<protocol>.zip]"
)
@click.option("--protocol", help="Which of the run's protocols. [default: its first]")
@options.verbosity
def pack(run: Path, out: Path | None, protocol: str | None, quiet: bool, verbose: bool) -> int:
    """Pack RUN into one archive: scores, features of the set metrics, hashes, environment, card."""
    from javisbench.publish.archive import pack as write
    from javisbench.results.run_folder import load_results
    from javisbench.run.manifest import slug

    options.setup_logging(quiet, verbose)
    if out is None:
        first = load_results(run)[0]
        out = Path(f"{slug(first.model)}-{slug(first.suite)}-{slug(protocol or first.protocol)}.zip")
    output.line(str(write(run, out, protocol=protocol)))
    return 0


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
