"""``run.json``: what a run was made from and with."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from javisbench import __version__
from javisbench.durable import patiently, write_json
from javisbench.errors import RunError
from javisbench.results.run_folder import MANIFEST_SCHEMA, read_manifest
from javisbench.results.seal import sealed_manifest

log = logging.getLogger(__name__)
DAMAGED = "run.json.damaged"
_PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "av",
    "soundfile",
    "opencv-python-headless",
    "pillow",
    "transformers",
    "diffusers",
)


def slug(name: str) -> str:
    """`name` as part of a folder name: lower case letters, digits, ``.``, ``_`` and ``-``, at most 60 characters."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.")[:60] or "model"


def hash8(value: Any) -> str:
    """Eight hexadecimal digits over a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def default_run_folder(name: str, identity: Any, suite: str, shard: tuple[int, int]) -> Path:
    """``runs/<model-slug>-<hash8>/<suite>``, and ``.shard-I-of-N`` behind it where there are several."""
    index, count = shard
    ending = f".shard-{index}-of-{count}" if count > 1 else ""
    return Path("runs") / f"{slug(name)}-{hash8(identity)}" / f"{slug(suite)}{ending}"


def versions() -> dict[str, str]:
    """Versions of this package, Python and what computes numbers; packages that are absent are left out."""
    found = {"javisbench": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "av" in found:
        import av

        # The decoder itself; PyAV can be built against any.
        found["ffmpeg"] = str(av.ffmpeg_version_info)
    return found


def hardware(devices: Sequence[str]) -> dict[str, Any]:
    """The machine: processor, cores, memory in bytes, and the first GPU and their number where `devices` are some."""
    facts: dict[str, Any] = {"machine": platform.machine(), "system": platform.platform(), "cores": os.cpu_count()}
    if hasattr(os, "sysconf"):
        facts["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if devices[0].startswith("cuda"):
        import torch

        facts |= {"gpu": torch.cuda.get_device_name(devices[0]), "gpus": len(devices)}
    return facts


def update_manifest(run: Path, changes: Mapping[str, Any], patience_s: float = 0.0) -> dict[str, Any]:
    """Merge `changes` into the run's manifest and write it; `patience_s` as for `javisbench.durable.patiently`."""
    manifest = sealed_manifest({"schema": MANIFEST_SCHEMA, **read_manifest(run), **changes})
    patiently(lambda: write_json(run / "run.json", manifest), patience_s)
    return manifest


def set_aside_if_damaged(run: Path) -> None:
    """Move a manifest that a disk has damaged out of the way of a job that writes it anew, and say so.

    Raises:
        RunError: it is whole, and of a newer version of javisbench.
    """
    try:
        read_manifest(run)
    except RunError as error:
        if error.kind != "damaged":
            raise
        kept = run / DAMAGED
        (run / "run.json").replace(kept)
        log.warning("%s It is made anew; the damaged one is kept as %s.", error.sentence, kept.name)


def now_text() -> str:
    """The time in UTC, as run manifests hold it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
