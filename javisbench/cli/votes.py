"""``javisbench votes``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from javisbench.cli import names, options, output

if TYPE_CHECKING:
    from javisbench.results.run_folder import StoredResult
    from javisbench.results.votes.imported import Imported
    from javisbench.results.votes.known import Known
    from javisbench.results.votes.people import Voters

EPILOG = """\b
Examples:
  javisbench votes page runs/*/demo --out blind/ --pairs 40
  javisbench votes import answers-*.csv --key blind-key.json --run runs/mine/demo --out votes.jsonl
  javisbench votes import arena.csv --column winner=choice --answer 1=a --answer 2=b --out votes.jsonl
  javisbench votes show votes.jsonl
  javisbench votes agreement runs/*/demo --votes votes.jsonl
  javisbench leaderboard build runs/*/demo --votes votes.jsonl --out site/
"""
SALT_BYTES = 32


@click.group("votes", epilog=EPILOG)
def command() -> None:
    """Collect what people say of clips, and compare models and metrics with it."""


votes_argument = click.argument("votes", type=click.Path(path_type=Path, dir_okay=False))
votes_option = click.option(
    "--votes", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File of votes (votes import)."
)


format_option = click.option(
    "--format",
    "kind",
    type=click.Choice(["table", "markdown", "csv", "latex", "json"]),
    default="table",
    show_default=True,
)


@command.command("page")
@click.argument("runs", nargs=-1, required=True, type=options.Place(fetch=True, media=True, exists=True))
@click.option(
    "--out",
    required=True,
    type=options.Target(file_okay=False),
    help="Folder of the page; its key lies beside.",
)
@click.option(
    "--pairs", type=click.IntRange(1, 1000), default=40, show_default=True, help="Pairs on the page, at most."
)
@click.option(
    "--question",
    "questions",
    multiple=True,
    metavar="ID=TEXT",
    help="What is asked about every pair; may be given several times. [default: overall, which clip is better]",
)
@options.given_option
@click.option("--title", default="Which clip is better?", show_default=True, help="Title of the page.")
@options.seed_option
@options.verbosity
def page(
    runs: tuple[Path, ...],
    out: Path,
    pairs: int,
    questions: tuple[str, ...],
    given: tuple[str, ...],
    title: str,
    seed: int,
    quiet: bool,
    verbose: bool,
) -> int:
    """Make a page on which people compare the clips of RUNS without knowing whose they are.

    It needs no server: send the folder, or put it on any web host, and keep the key, OUT-key.json, to yourself.
    """
    from javisbench.leaderboard.votes_page import QUESTIONS, VotesPageOptions, write_votes_page

    options.setup_logging(quiet, verbose)
    asked = options.parse_pairs("--question", questions) or dict(QUESTIONS)
    report = write_votes_page(_first_results(runs), out, VotesPageOptions(pairs, asked, seed, title, given))
    if not quiet:
        output.line(
            f"{report.pairs:,} of {report.possible:,} pairs of {len(report.models)} models. Keep {report.key} to "
            f"yourself: it says which clip is whose, and answers are read with it.",
            err=True,
        )
    output.line(report.index)
    return 0


@command.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--out", required=True, type=options.Target(dir_okay=False), help="File of votes to write.")
@click.option(
    "--run",
    "runs",
    multiple=True,
    type=options.Place(fetch=True, exists=True),
    help="A run that was voted on; may be given several times. Votes on other models and clips are left out.",
)
@click.option(
    "--suite",
    metavar="NAME|FILE",
    shell_complete=names.completer(names.suites, files=True),
    help="Without runs: the prompts that were voted on.",
)
@click.option("--key", "keys", multiple=True, type=click.Path(path_type=Path), help="Key of a page of blind pairs.")
@click.option("--column", "columns", multiple=True, metavar="ROLE=NAME", help="Which column is what.")
@click.option("--answer", "answers", multiple=True, metavar="CELL=a|b|tie|bad", help="What an answer means.")
@click.option("--model", "models", multiple=True, metavar="NAME=NAME", help="A model's name there, and in the runs.")
@click.option("--question", metavar="ID", help="What was asked, where no column says it.")
@click.option(
    "--salt",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the secret of pseudonyms, made if it is not there: with it, later imports know the same voters. "
    "[default: a secret that is forgotten]",
)
@click.option("--keep-names", is_flag=True, help="Keep voters' names as they are. They are personal data.")
@click.option("--overwrite", is_flag=True, help="Replace a file of votes that is none of FILES.")
@options.json_option
@options.verbosity
def import_(files: tuple[Path, ...], out: Path, as_json: bool, quiet: bool, verbose: bool, **given: Any) -> int:
    """Read votes on pairs, or ratings, from FILES and write them as one file of votes.

    FILES are CSV, JSON lines, a JSON list, VBench's annotations, the answers that a page of `votes page` saved, or
    files of votes made earlier.
    """
    from javisbench.results.votes.forms import ImportOptions
    from javisbench.results.votes.imported import import_votes
    from javisbench.results.votes.page_key import load_key
    from javisbench.results.votes.record import save_votes

    options.setup_logging(quiet, verbose)
    _check_replaced(out, files, again=given["overwrite"] or given["salt"] is not None)
    read = ImportOptions(
        columns=options.parse_pairs("--column", given["columns"]),
        answers=options.parse_pairs("--answer", given["answers"]),
        models=options.parse_pairs("--model", given["models"]),
        question=given["question"],
        keys={key.page: key for key in map(load_key, given["keys"])},
        salt=_salt(given["salt"], given["keep_names"]),
    )
    found = import_votes(files, read, _known(given["runs"], given["suite"]))
    save_votes(found.votes, out)
    if as_json:
        output.json_document(
            {
                "votes": len(found.votes.votes),
                "left_out": found.votes.left_out,
                "sources": found.votes.sources,
                "notices": found.votes.notices,
                "file": str(out),
            }
        )
    else:
        _print_imported(found, out, quiet, checked=bool(given["runs"]))
    return 0


def _check_replaced(out: Path, files: Sequence[Path], *, again: bool) -> None:
    """Refuse to lose votes: without the secret of their pseudonyms the same file cannot be made again.

    Raises:
        UsageError: `out` is there, and is something else than a file of votes; or its votes are not read first, and
            nobody said that they may go (`again`).
    """
    from javisbench.errors import UsageError
    from javisbench.results.votes.record import is_votes_file

    if out.exists() and out.stat().st_size and not is_votes_file(out):
        raise UsageError(
            f"{out} is there already, and is no file of votes that javisbench wrote: it is not replaced. Name another "
            f"--out."
        )
    if not again and out.exists() and not any(file.exists() and out.samefile(file) for file in files):
        raise UsageError(
            f"{out} is there already, and its pseudonyms cannot be made again once their secret is forgotten. To add "
            f"to its votes, name it among FILES; to replace it, give --overwrite, or --salt with its secret; else name "
            f"another --out."
        )


def _salt(path: Path | None, keep_names: bool) -> bytes | None:
    import os
    import secrets

    from javisbench.durable import atomic_path, sweep_earlier
    from javisbench.errors import UsageError

    if keep_names:
        if path is not None:
            raise UsageError("Give either --keep-names or --salt.")
        return None
    if path is None:
        return secrets.token_bytes(SALT_BYTES)
    if not path.exists():
        sweep_earlier(path)
        # Whole or not at all, and nobody else's at any moment, whatever the umask.
        with (
            atomic_path(path) as temporary,
            os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file,
        ):
            file.write(secrets.token_hex(SALT_BYTES).encode() + b"\n")
    salt = path.read_bytes().strip() if path.is_file() and path.stat().st_size < 2**16 else b""
    if len(salt) < SALT_BYTES:
        raise UsageError(f"{path} is no secret of pseudonyms: it has less than {SALT_BYTES} bytes. Name a new file.")
    return salt


def _known(runs: tuple[Path, ...], suite: str | None) -> Known | None:
    from javisbench.errors import UsageError
    from javisbench.results.votes.known import Known

    if runs and suite:
        raise UsageError("Give either --run or --suite: runs know their suite.")
    if runs:
        return Known.of_runs(_first_results(runs))
    if suite is None:
        return None
    from javisbench.suite import load_suite

    return Known.of_suite(load_suite(suite))


def _first_results(runs: Sequence[Path]) -> list[StoredResult]:
    from javisbench.results.run_folder import load_result

    return [load_result(run) for run in runs]


def _print_imported(found: Imported, out: Path, quiet: bool, *, checked: bool) -> None:
    from javisbench.results.votes.people import hear, votes_lines

    for why, count in sorted(found.votes.left_out.items(), key=lambda item: -item[1]):
        output.line(f"left out {count:,}: {why} (first: {found.first[why]})", err=True)
    if not quiet:
        for notice in found.votes.notices:
            output.line(notice, err=True)
        if not checked:
            output.line("Whether models and clips are there was not checked: no --run was given.", err=True)
        voters = {"pseudonyms": "Voters have pseudonyms.", "kept": "Voters' names were kept: they are personal data."}
        for line in votes_lines(hear(found.votes)):
            if not line.startswith("Not counted"):
                output.line(line, err=True)
        if found.votes.names in voters:
            output.line(voters[found.votes.names], err=True)
    output.line(out)


@command.command("show")
@votes_argument
@click.argument("runs", nargs=-1, type=options.Place(fetch=True, exists=True))
@click.option("--aspect", help="With runs: by the categories of this aspect.")
@click.option("--voters", is_flag=True, help="Every voter: how many votes, and how often others say the same.")
@format_option
@options.seed_option
@options.json_option
@options.verbosity
def show(
    votes: Path,
    runs: tuple[Path, ...],
    aspect: str | None,
    voters: bool,
    kind: str,
    seed: int,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Print how models stand by VOTES, of the models and prompts of RUNS where some are given."""
    from javisbench.cli.report import print_table
    from javisbench.errors import UsageError
    from javisbench.publish.export import render, table_json
    from javisbench.registry import did_you_mean
    from javisbench.results.votes.people import check_voted, hear, people_table, voters_of
    from javisbench.results.votes.record import load_votes

    options.setup_logging(quiet, verbose)
    heard = hear(load_votes(votes), _first_results(runs))
    check_voted(heard)
    known = [found.id for found in heard.aspects]
    if aspect is not None and not runs:
        raise UsageError("Categories are known from runs: name the runs that were voted on.")
    if aspect is not None and aspect not in known:
        raise UsageError(f"There is no aspect {aspect!r}.{did_you_mean(aspect, known)} Known: {', '.join(known)}.")
    table = people_table(heard, aspect)
    facts = voters_of(heard.votes.votes, seed=seed) if voters else None
    if as_json or kind == "json":
        from dataclasses import asdict

        output.json_document(table_json(table) | ({} if facts is None else {"voters": asdict(facts)}))
        return 0
    if kind != "table":
        output.document(render(table, kind))
    else:
        print_table(table)
    if facts is not None:
        _print_voters(facts)
    return 0


def _print_voters(found: Voters) -> None:
    from rich.table import Table

    def share(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.0f} %"

    table = Table(box=None, pad_edge=False)
    for heading in ("voter", "votes", "others say the same", "of", "ties", "first-named preferred"):
        table.add_column(heading, justify="left" if heading == "voter" else "right", no_wrap=True)
    for own in found.voters:
        cells = (own.voter, f"{own.votes:,}", share(own.same), f"{own.shared:,}", share(own.ties), share(own.first))
        table.add_row(*output.cells(*cells))
    output.line()
    output.console().print(table)


@command.command("agreement")
@click.argument("runs", nargs=-1, required=True, type=options.Place(fetch=True, exists=True))
@votes_option
@click.option("--protocol", help="Which of the runs' protocols. [default: the first that all have]")
@click.option(
    "--metrics",
    metavar="ID,...",
    shell_complete=names.completer(names.metrics, listed=True),
    help="Metric ids. [default: all scores]",
)
@format_option
@options.seed_option
@options.json_option
@options.verbosity
def agreement(
    runs: tuple[Path, ...],
    votes: Path,
    protocol: str | None,
    metrics: str | None,
    kind: str,
    seed: int,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Compare every metric and judge of RUNS with what people said of the same clips."""
    from dataclasses import asdict

    from javisbench.cli.report import print_table
    from javisbench.publish.export import render
    from javisbench.results.votes.against import agreement_table, agreements, people_with_people
    from javisbench.results.votes.people import check_voted, hear
    from javisbench.results.votes.record import load_votes

    options.setup_logging(quiet, verbose)
    results = _of_one_protocol(runs, protocol)
    heard = hear(load_votes(votes), results)
    check_voted(heard)
    chosen = options.parse_metrics(metrics)
    found = {q: agreements(heard, results, q, chosen, seed=seed) for q in heard.votes.asked}
    people = {question: people_with_people(heard, question) for question in heard.votes.asked}
    if as_json or kind == "json":
        output.json_document(
            {
                "protocol": results[0].protocol_label,
                "left_out": dict(heard.left_out),
                "people": {q: asdict(p.same_side) for q, p in people.items()},
                "metrics": [one.to_json() for own in found.values() for one in own],
            }
        )
        return 0
    for question, own in found.items():
        title = "Agreement with people" + (f": {question}" if len(found) > 1 else "")
        table = agreement_table(own, people[question], results, title)
        if kind == "table":
            print_table(table)
        else:
            output.document(render(table, kind))
    for why, count in heard.left_out.items():
        output.line(f"left out {count:,} vote{'s' * (count != 1)}: {why}", err=True)
    return 0


def _of_one_protocol(runs: Sequence[Path], protocol: str | None) -> list[StoredResult]:
    """A result of each run, all under one protocol."""
    from javisbench.errors import UsageError
    from javisbench.results.run_folder import load_results

    by_run = [{result.protocol_label: result for result in load_results(run)} for run in runs]
    shared = [label for label in by_run[0] if all(label in own for own in by_run)]
    chosen = [label for label in shared if protocol in (None, label, by_run[0][label].protocol)]
    if not chosen:
        told = "; ".join(f"{run}: {', '.join(own)}" for run, own in zip(runs, by_run, strict=True))
        what = (
            "The runs have no protocol in common" if protocol is None else f"Not all runs were scored under {protocol}"
        )
        raise UsageError(f"{what} ({told}). Score them under one: javisbench score RUN --protocol NAME")
    results = [own[chosen[0]] for own in by_run]
    names_ = [result.model for result in results]
    doubled = sorted({name for name in names_ if names_.count(name) > 1})
    if doubled:
        raise UsageError(f"Two of the runs are of {doubled[0]}: votes do not say which of them they are about.")
    return results
