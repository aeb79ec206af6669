"""One file that lies elsewhere, as the small file that stands for it in the cache says it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from javisbench.durable import write_bytes
from javisbench.places.urls import shown

_MARK = b"javisbench remote 1\n"
_MOST_BYTES = 2**14


@dataclass(frozen=True)
class Remote:
    """Where the bytes of one file are.

    Attributes:
        url: of the object that holds them.
        size: bytes; None when unknown.
        version: what changes when the object does (an ETag, a time); empty when unknown.
        start: the first of the bytes in the object, for a member of a tar; None for the whole object.
        member: the file's name in a tar or table; empty for a whole object.
        cell: row group, row in it and column of a Parquet file; None for anything else.
    """

    url: str
    size: int | None = None
    version: str = ""
    start: int | None = None
    member: str = ""
    cell: tuple[int, int, str] | None = None

    @property
    def title(self) -> str:
        """How messages call the file."""
        return f"{shown(self.url)}: {self.member}" if self.member else shown(self.url)

    def to_bytes(self) -> bytes:
        """The content of the file that stands for it."""
        return _MARK + json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def read(cls, path: Path) -> Remote | None:
        """What the file `path` stands for; None when it is another file, or there is none."""
        try:
            with path.open("rb") as file:
                text = file.read(_MOST_BYTES)
            if not text.startswith(_MARK):
                return None
            facts = json.loads(text[len(_MARK) :])
            cell = facts.pop("cell")
            return cls(**facts, cell=None if cell is None else (cell[0], cell[1], cell[2]))
        except (OSError, ValueError, TypeError, KeyError, IndexError):
            return None

    def write(self, path: Path) -> None:
        """Let `path` stand for it, unless it does already."""
        if self.read(path) != self:
            write_bytes(path, self.to_bytes())


def version_of(info: dict[str, object]) -> str:
    """What a file system tells of an object that changes with its content."""
    for name in ("ETag", "etag", "md5Hash", "md5", "sha256", "blob_id", "LastModified", "mtime", "updated", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            value = value.timestamp()  # a listing may tell it as a number
        if value:
            return str(value).strip('"')
    return ""
