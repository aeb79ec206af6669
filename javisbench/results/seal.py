"""What holds the files of one scoring together: hashes of each, and one id, its generation, over all of them.

Scores, details and rows are written one after the other, ``summary.json`` behind them and ``run.json`` last. A process
that is killed in between leaves files of two scorings, and a disk may spoil any of them. So the summary names its files
with their hashes, its ``generation`` is the hash of the summary itself, and ``run.json`` names the generation of each
protocol. Equal results have equal generations, whoever computed them and when.

All this tells accidents, not malice: who changes a result on purpose can seal it anew. Archives are checked by their
numbers (`javisbench.publish.verify`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from javisbench.errors import RunError
from javisbench.results.checked_json import Checker
from javisbench.results.set_features import FILE_NAME

GENERATION = "generation"
FILES = "files"
SEAL = "seal"
TABLES = ("scores.parquet", "details.parquet", "samples.parquet", FILE_NAME)


def sealed_summary(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A summary that names the files of its folder with their hashes, and its generation."""
    files = {name: _facts(folder / name) for name in TABLES if (folder / name).is_file()}
    named = {**_without(document, GENERATION), FILES: files}
    return {**named, GENERATION: _digest(named)}


def unsealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """A summary without what holds it and its files together, for whoever changes it."""
    return {key: value for key, value in document.items() if key not in (GENERATION, FILES)}


def check_summary(document: Mapping[str, Any], path: Path) -> None:
    """Refuse a summary that is not as it was written; those of earlier versions have no generation.

    Raises:
        RunError: of kind ``damaged``.
    """
    # The names of these members may be what is damaged.
    sealed = GENERATION in document or FILES in document
    if sealed and document.get(GENERATION) != _digest(_without(document, GENERATION)):
        raise _damaged(path)


def check_tables(document: Mapping[str, Any], folder: Path) -> None:
    """Refuse tables that are not those that a summary was written with.

    Raises:
        RunError: of kind ``mixed``: one is missing, damaged, or of another scoring.
    """
    check = Checker(str(folder / "summary.json"))
    files = check.mapping(document.get(FILES, {}), FILES)
    for name in TABLES:
        there = (folder / name).is_file()
        if name not in files:
            # Earlier versions name none; and what this one does not name is of another scoring.
            if there and files:
                raise _mixed(folder / name)
            continue
        if not there or _facts(folder / name) != check.mapping(files[name], f"files.{name}"):
            raise _mixed(folder / name)


def check_generation(document: Mapping[str, Any], manifest: Mapping[str, Any], protocol: str, folder: Path) -> None:
    """Refuse a summary of another scoring than the one that ``run.json`` names for the protocol.

    Raises:
        RunError: of kind ``mixed``.
    """
    named = manifest.get("scoring", {}).get("generations", {})
    if (
        isinstance(named, dict)
        and GENERATION in document
        and named.get(protocol, document[GENERATION]) != (document[GENERATION])
    ):
        raise _mixed(folder / "summary.json")


def sealed_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest with its own hash."""
    bare = _without(manifest, SEAL)
    return {**bare, SEAL: _digest(bare)}


def check_manifest(manifest: Mapping[str, Any], path: Path) -> None:
    """Refuse a manifest that is not as it was written; those of earlier versions have no seal.

    Raises:
        RunError: of kind ``damaged``.
    """
    # The name of that member may be what is damaged; a job of this version has written the others, too.
    sealed = SEAL in manifest or not {"begun", "generations"}.isdisjoint(manifest.get("scoring", {}))
    if sealed and manifest.get(SEAL) != _digest(_without(manifest, SEAL)):
        raise _damaged(path)


def _without(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != name}


def _digest(document: Mapping[str, Any]) -> str:
    """SHA-256 (half of it, hex) of a document as it reads back, whatever the order of its members."""
    plain = json.loads(json.dumps(document))
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]


def _facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _damaged(path: Path) -> RunError:
    return RunError(
        f"{path} is not as it was written: a disk has damaged it, or somebody has changed it. Run the command that "
        f"wrote it again. (What was changed on purpose is read without its members {GENERATION} and {FILES}, or "
        f"{SEAL}.)",
        kind="damaged",
    )


def _mixed(path: Path) -> RunError:
    return RunError(
        f"{path} and the files beside it are not of one scoring: a job that scored the run anew was stopped while it "
        f"wrote, or a disk has damaged the file. Run the same command again.",
        kind="mixed",
    )
