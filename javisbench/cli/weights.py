"""``javisbench weights``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from javisbench.cli import options, output

if TYPE_CHECKING:
    from javisbench.weights import WeightsEntry, WeightStore

EPILOG = """\b
Examples:
  javisbench weights list
  javisbench weights fetch imagebind_huge --accept-licence
  javisbench weights verify imagebind_huge
Local copies: --weights-dir FOLDER with any command, or JAVISBENCH_WEIGHTS=FOLDER.
"""


@click.group("weights", epilog=EPILOG)
def command() -> None:
    """List, fetch and verify weights. Nothing is ever downloaded by another command."""


@command.command("list")
@options.weights_option
@options.json_option
def list_(weights_dirs: tuple[Path, ...], as_json: bool) -> int:
    """List the registry: source, size, licence, and whether a copy is on this machine."""
    from javisbench.weights import WeightStore, weights_registry
    from javisbench.weights.store import weights_problems

    store = WeightStore(weights_dirs)
    entries = list(weights_registry().values())
    for problem in weights_problems():
        output.line(problem, err=True)
    facts = [_facts(store, entry) for entry in entries]
    if as_json:
        output.json_document(facts)
        return 0
    from rich.table import Table

    table = Table(box=None)
    table.add_column("id", no_wrap=True)
    table.add_column("weights", overflow="fold")
    table.add_column("size", no_wrap=True, justify="right")
    others = any(entry.package for entry in entries)
    for heading in ("licence", "here", *(["package"] if others else [])):
        table.add_column(heading, overflow="fold")
    for entry, fact in zip(entries, facts, strict=True):
        # Of what cannot be fetched, only the user can know the size.
        size = entry.size_text.replace("about ", "~") if entry.fetchable else ""
        cells = (entry.id, entry.title, size, entry.licence, fact["path"] or "no", entry.package)
        table.add_row(*output.cells(*cells[: len(table.columns)]))
    output.console().print(table)
    return 0


def _facts(store: WeightStore, entry: WeightsEntry) -> dict[str, Any]:
    from javisbench.errors import MissingWeightsError

    try:
        path = str(store.find(entry.id))
    except MissingWeightsError:
        path = None
    return {
        "id": entry.id,
        "title": entry.title,
        "source": entry.source,
        "revision": entry.revision,
        "bytes": entry.total_bytes,
        "files": [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in entry.files],
        "licence": entry.licence,
        "noncommercial": entry.noncommercial,
        "stand_in": entry.stand_in,
        "package": entry.package or "javisbench",
        "path": path,
    }


@command.command("path")
@click.argument("entry")
@options.weights_option
def path(entry: str, weights_dirs: tuple[Path, ...]) -> int:
    """Print where the weights ENTRY lie on this machine."""
    from javisbench.weights import WeightStore

    output.line(str(WeightStore(weights_dirs).find(entry)))
    return 0


@command.command("verify")
@click.argument("entries", nargs=-1, required=True, metavar="ENTRY...")
@options.weights_option
def verify(entries: tuple[str, ...], weights_dirs: tuple[Path, ...]) -> int:
    """Check sizes and SHA-256 of the weights ENTRY. Exit code 2 if something does not hold."""
    from javisbench.weights import WeightStore
    from javisbench.weights.fetch import verify as check

    options.setup_logging(False, False)
    store = WeightStore(weights_dirs)
    verdicts = [check(store, store.entry(entry)) for entry in entries]
    for verdict in verdicts:
        for held in verdict.good:
            output.line(f"As recorded: {held}")
        for problem in verdict.problems:
            output.line(problem)
        for found in verdict.unknown:
            output.line(f"No SHA-256 is known to compare with; {found}")
    if any(verdict.problems for verdict in verdicts):
        return 2
    if not any(verdict.unknown for verdict in verdicts):
        output.line("All as recorded.")
    return 0


@command.command("fetch")
@click.argument("entries", nargs=-1, required=True, metavar="ENTRY...")
@click.option("--accept-licence", is_flag=True, help="I have read the licence shown and accept it.")
@click.option("--allow-http", is_flag=True, help="Fetch from addresses that are not https, too.")
@options.verbosity
def fetch(entries: tuple[str, ...], accept_licence: bool, allow_http: bool, quiet: bool, verbose: bool) -> int:
    """Fetch the weights ENTRY: licence first, resumable, checked against the known SHA-256."""
    from javisbench.private import shown_address
    from javisbench.weights import WeightStore
    from javisbench.weights.fetch import fetch as download
    from javisbench.weights.fetch import needs_acknowledgement

    options.setup_logging(quiet, verbose)
    store = WeightStore()
    for name in entries:
        entry = store.entry(name)
        use = ", non-commercial use only" if entry.noncommercial else ""
        of = f" (of the package {entry.package})" if entry.package else ""
        source = shown_address(entry.source)
        licence = f"{entry.licence}{use} {entry.licence_url}".rstrip()
        output.line(f"{entry.title}{of} from {source}; licence {licence}", err=True)
        accepted = accept_licence
        if not accepted and needs_acknowledgement(store, entry) and sys.stdin.isatty():
            accepted = click.confirm("Accept the licence and fetch?", err=True)
        found = download(
            store, entry, accept_licence=accepted, allow_http=allow_http, report=None if quiet else _Meter().show
        )
        output.line(str(found))
    return 0


class _Meter:
    """A line on stderr at every percent."""

    def __init__(self) -> None:
        import time

        self._start, self._shown = time.monotonic(), -1
        self._first: int | None = None

    def show(self, name: str, done: int, total: int | None) -> None:
        import time

        step = done * 100 // total if total else done >> 26
        if step == self._shown:
            return
        self._shown = step
        self._first = done if self._first is None else self._first
        rate = (done - self._first) / max(time.monotonic() - self._start, 1e-9)
        left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
        share = f"{step} %" if total else f"{done / 1e6:.0f} MB"
        output.meter(f"{name}: {share}, {rate / 1e6:.1f} MB/s{left}", last=bool(total and done >= total))
