"""SHA-256 of files, those of large ones remembered on disk: checkpoints of many gigabytes are read once."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import time
from pathlib import Path
from typing import Any, TypeAlias

from javisbench.durable import read_json, write_json
from javisbench.errors import RunError

log = logging.getLogger(__name__)
LARGE_BYTES = 64 * 2**20
"""Smaller files are read anew by every process."""

SHA256 = re.compile(r"[0-9a-f]{64}")
"""A SHA-256 as text."""

_SETTLED_S = 2.0
Stamp: TypeAlias = "tuple[int, int, int, int]"


class HashCache:
    """Hashes of files by their path and stamp: size, times of the last change of content and inode, and inode number.

    A stamp does not change without a change of the file's time of inode change, which programs cannot set.

    Args:
        path: JSON file that holds the hashes of large files; made when the first is known. A file that cannot be read
            or written costs time and nothing else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[Path, tuple[Stamp, str]] = {}

    def sha256(self, file: Path) -> str:
        """SHA-256 of `file`, which is read unless its hash is known."""
        file = file.resolve()
        stamp = _stamp(file)
        found = self._known.get(file) or (self._stored().get(file) if stamp[0] >= LARGE_BYTES else None)
        if found is None or found[0] != stamp:
            started = time.time()
            found = stamp, file_sha256(file)
            # A file that changed just now may change again within the resolution of its times.
            if stamp[0] >= LARGE_BYTES and started - max(stamp[1], stamp[2]) / 1e9 > _SETTLED_S:
                self._store(file, found)
        self._known[file] = found
        return found[1]

    def knows(self, file: Path) -> bool:
        """Whether `sha256` would answer without reading a large file."""
        file = file.resolve()
        stamp = _stamp(file)
        found = self._known.get(file) or self._stored().get(file)
        return stamp[0] < LARGE_BYTES or (found is not None and found[0] == stamp)

    def _stored(self) -> dict[Path, tuple[Stamp, str]]:
        try:
            content: dict[str, Any] = read_json(self.path)
            return {Path(name): (_as_stamp(entry[:-1]), str(entry[-1])) for name, entry in content.items()}
        except (OSError, RunError, AttributeError, TypeError, ValueError, IndexError):
            return {}

    def _store(self, file: Path, found: tuple[Stamp, str]) -> None:
        # Read again, because other processes write it too; who comes last wins, at the cost of hashing once more.
        known = {name: entry for name, entry in self._stored().items() if name.exists()}
        known[file] = found
        with contextlib.suppress(OSError, RunError):
            write_json(self.path, {str(name): [*stamp, digest] for name, (stamp, digest) in known.items()})
            return
        log.debug("the hash of %s cannot be kept in %s", file, self.path)


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's content, read now."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _stamp(file: Path) -> Stamp:
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _as_stamp(values: list[Any]) -> Stamp:
    size, modified, changed, inode = map(int, values)
    return size, modified, changed, inode
