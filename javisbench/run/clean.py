"""What a run folder holds besides its results, and how to be rid of it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from javisbench.durable import locked, stale_files
from javisbench.errors import UsageError
from javisbench.run.features import shard_is_readable
from javisbench.run.manifest import DAMAGED

FEATURES = "features"
STAGING = "staging"
PROMPTS = "prompts"
"""Where models keep encoded prompts until every clip is made."""


@dataclass(frozen=True)
class Usage:
    """Bytes on disk of the parts of a run folder.

    Attributes:
        run: the folder.
        clips: its clips and their records; 0 for a folder that scores clips that lie elsewhere.
        features: what networks made of clips and prompts; scoring again needs them, results do not.
        leftovers: temporary files and encoded prompts of killed jobs, feature shards that cannot be read, a manifest
            that was set aside.
        results: everything else: scores, tables, manifest, log.
    """

    run: Path
    clips: int
    features: int
    leftovers: int
    results: int


def usage(run: Path) -> Usage:
    """What the parts of a run folder take.

    Raises:
        UsageError: it is no run folder.
    """
    _refuse_other_folders(run)
    leftovers = set(_leftovers(run))
    sizes = {"clips": 0, FEATURES: 0, "leftovers": 0, "results": 0}
    for path in run.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        part = path.relative_to(run).parts[0]
        kind = "leftovers" if path in leftovers else part if part in ("clips", FEATURES) else "results"
        with contextlib.suppress(OSError):
            sizes[kind] += path.stat().st_size
    return Usage(run, **sizes)


def clean(run: Path, *, features: bool) -> int:
    """Remove leftovers, and features where asked; returns the bytes that are free now.

    Raises:
        UsageError: it is no run folder.
        RunError: another process works in it.
    """
    before = usage(run)
    with locked(run):
        for path in _leftovers(run):
            path.unlink(missing_ok=True)
        for name in (STAGING, PROMPTS):
            shutil.rmtree(run / name, ignore_errors=True)
        if features:
            shutil.rmtree(run / FEATURES, ignore_errors=True)
    after = usage(run)
    return before.leftovers + before.features - after.leftovers - after.features


def _refuse_other_folders(run: Path) -> None:
    if not (run / "run.json").is_file():
        raise UsageError(f"{run} is no run folder: it has no run.json.")


def _leftovers(run: Path) -> Iterable[Path]:
    yield from stale_files(run)
    for name in (STAGING, PROMPTS):
        yield from (path for path in (run / name).rglob("*") if path.is_file())
    yield from (path for path in (run / DAMAGED,) if path.is_file())
    for shard in (run / FEATURES).glob("shard-*.safetensors"):
        if not shard_is_readable(shard):
            yield shard
