"""Weights: where they come from, where they lie, and whether they are what they claim.

Each entry of ``data_cards/weights/*.toml`` (or of another package's folder of cards) names a checkpoint: its source,
files, sizes, SHA-256 where known, licence. Local folders (``--weights-dir``, ``$JAVISBENCH_WEIGHTS``) are looked
through first, then the cache that ``javisbench weights fetch`` fills. Nothing is ever downloaded behind the user's
back.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from javisbench.cards import card_files, card_problems
from javisbench.errors import MissingWeightsError, UsageError
from javisbench.registry import did_you_mean
from javisbench.weights.hashes import SHA256, HashCache

_HUB = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class WeightsFile:
    """One file of an entry. `bytes` and `sha256` are None where not known."""

    path: str
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class WeightsEntry:
    """A checkpoint of the registry.

    Attributes:
        id: name in the registry.
        title: in prose.
        source: hub repository id, or URL of the file.
        revision: of the hub repository, or None.
        files: what is fetched.
        local_names: file or folder names looked for in local folders, best first.
        licence: of the weights.
        licence_url: its text.
        noncommercial: whether it forbids commercial use.
        stand_in: True for seeded weights that are no trained model's: results with them are never ranked.
        estimated_bytes: about how much is fetched, where exact sizes are not known.
        accepted: other files of the same weights that count as official where they lie; they are not fetched.
        package: that the entry comes with, where it is not javisbench.
    """

    id: str
    title: str
    source: str
    files: tuple[WeightsFile, ...]
    local_names: tuple[str, ...]
    licence: str
    revision: str | None = None
    licence_url: str = ""
    noncommercial: bool = False
    stand_in: bool = False
    estimated_bytes: int | None = None
    accepted: tuple[WeightsFile, ...] = ()
    package: str = ""

    @property
    def hashed(self) -> tuple[WeightsFile, ...]:
        """The files whose official SHA-256 is known."""
        return tuple(file for file in (*self.files, *self.accepted) if file.sha256)

    def root(self, path: Path) -> Path:
        """The folder that stands for the source's repository: `path`, or what it lies in for a part (``repo/vae``)."""
        for parts in (Path(name).parts for name in self.local_names):
            if len(parts) > 1 and path.parts[-len(parts) :] == parts:
                return path.parents[len(parts) - 2]
        return path

    def lacking(self, path: Path) -> list[str]:
        """The named files that the local folder `path` does not hold."""
        named = (file.path for file in self.files if "*" not in file.path)
        return [name for name in named if not (self.root(path) / name).is_file()]

    @property
    def loose(self) -> bool:
        """Whether it is several files that no repository holds together: they may lie among others."""
        return len(self.files) > 1 and not _HUB.fullmatch(self.source) and not any("*" in f.path for f in self.files)

    @property
    def wanted_names(self) -> str:
        """What to put into a folder, for messages."""
        if self.loose:
            return " and ".join(file.path for file in self.files)
        return " or ".join(self.local_names)

    @property
    def total_bytes(self) -> int | None:
        """Bytes to fetch, or None when a size is not known."""
        sizes = [file.bytes for file in self.files]
        return None if any(size is None for size in sizes) or not sizes else sum(size or 0 for size in sizes)

    @property
    def size_text(self) -> str:
        """The size in words, for messages."""
        size, about = self.total_bytes, ""
        if size is None:
            size, about = self.estimated_bytes, "about "
        if size is None:
            return "size not recorded"
        return about + (f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB")

    @property
    def is_url(self) -> bool:
        """Whether the source is the address of the file itself, or of the folder that holds several."""
        return self.source.startswith(("https://", "http://"))

    @property
    def fetchable(self) -> bool:
        """Whether `javisbench weights fetch` can get it: from an address, or from a hub repository ``owner/name``."""
        return not self.stand_in and (self.is_url or _HUB.fullmatch(self.source) is not None)

    @property
    def fetch_command(self) -> str:
        """What the user types to get it."""
        return f"javisbench weights fetch {self.id}"


@dataclass(frozen=True)
class Located:
    """Weights found on this machine.

    Attributes:
        entry: what they are.
        path: file or folder.
        sha256: of the file (of all files' hashes for a folder).
        official: True when the hashes are the registry's, False when one differs, None when the registry knows none.
        difference: what differs, for messages; empty where nothing does.
    """

    entry: WeightsEntry
    path: Path
    sha256: str
    official: bool | None
    difference: str = ""

    @property
    def hashes_told(self) -> str:
        """The SHA-256 that the file (or folder) has, and the ones that it should have, in a sentence."""
        known = [str(file.sha256) for file in self.entry.hashed]
        if not known:
            return f"Its SHA-256 is {self.sha256}; none is recorded for {self.entry.title}."
        if self.path.is_dir():
            return f"{self.difference or 'All its recorded files are as they should be'}."
        if self.sha256 in known:
            return f"Its SHA-256 is {self.sha256}, as it should be."
        return (
            f"Its SHA-256 is {self.sha256}; that of {self.entry.title} is {' or '.join(known)}: "
            f"{self.entry.fetch_command}"
        )


def weights_registry() -> dict[str, WeightsEntry]:
    """All entries by id: this package's, and those of other packages whose cards hold (`weights_problems`)."""
    return _registry()[0]


def weights_problems() -> list[str]:
    """What is wrong with the weights cards of other packages, a sentence each."""
    return [*card_problems("weights"), *_registry()[1]]


def _registry() -> tuple[dict[str, WeightsEntry], list[str]]:
    entries: dict[str, WeightsEntry] = {}
    problems = []
    for name, file in card_files("weights").items():
        try:
            entries[name] = _entry(name, file.card)
        except (TypeError, KeyError, AttributeError) as error:
            if file.plugin is None:
                raise
            told = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            problems.append(
                f"The card weights/{file.path.name} of the package {file.plugin.label} is left out: {told}."
            )
    return entries, problems


def _entry(name: str, card: Mapping[str, Any]) -> WeightsEntry:
    files, accepted = (tuple(WeightsFile(**file) for file in card.get(key, ())) for key in ("files", "accepted"))
    for file in (*files, *accepted):
        if file.sha256 is not None and not SHA256.fullmatch(file.sha256):
            raise TypeError(f"{file.sha256!r} is no SHA-256")
    needed = {key: card[key] for key in ("title", "source", "licence")}
    fields = ("revision", "licence_url", "noncommercial", "stand_in", "estimated_bytes", "package")
    known = {key: card[key] for key in fields if key in card}
    local = tuple(card.get("local_names", ())) or tuple(Path(file.path).name for file in files[:1])
    if not local:
        raise TypeError("it names neither files nor local_names")
    return WeightsEntry(id=name, files=files, local_names=local, accepted=accepted, **needed, **known)


def default_cache() -> Path:
    """Where fetched weights lie: ``$XDG_CACHE_HOME/javisbench/weights`` or ``~/.cache/javisbench/weights``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "javisbench" / "weights"


class WeightStore:
    """Finds weights on this machine.

    Args:
        dirs: local folders, searched in order, before ``$JAVISBENCH_WEIGHTS`` and the cache.
        offline: never connect; also set by ``HF_HUB_OFFLINE=1``.

    Attributes:
        hashes: of files, kept beside what was fetched.
    """

    def __init__(self, dirs: Iterable[Path] = (), *, offline: bool | None = None) -> None:
        environment = os.environ.get("JAVISBENCH_WEIGHTS", "")
        self.dirs = (*dirs, *(Path(part) for part in environment.split(os.pathsep) if part))
        for folder in self.dirs:
            if not folder.is_dir():
                raise UsageError(f"The weights folder {folder} does not exist (--weights-dir or $JAVISBENCH_WEIGHTS).")
        self.cache = default_cache()
        self.offline = offline if offline is not None else os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")
        self._entries = weights_registry()
        self.hashes = HashCache(self.cache / "hashes.json")

    def entry(self, entry_id: str) -> WeightsEntry:
        """The registry's entry.

        Raises:
            UsageError: no such entry.
        """
        if entry_id not in self._entries:
            raise UsageError(
                f"There are no weights {entry_id!r} in the registry.{did_you_mean(entry_id, self._entries)} "
                f"`javisbench weights list` shows all.",
                details=weights_problems(),
            )
        return self._entries[entry_id]

    def find(self, entry_id: str) -> Path:
        """The local file or folder of an entry.

        Raises:
            MissingWeightsError: it is not on this machine; the message says how to get it.
        """
        entry = self.entry(entry_id)
        for folder in (*self.dirs, self.cache / entry_id):
            for path in (folder / name for name in entry.local_names):
                # A fetch that ended early leaves a folder that lacks files.
                trusted = folder in self.dirs and not entry.loose
                if path.exists() and (trusted or path.is_file() or not entry.lacking(path)):
                    return path
            if entry.loose and not entry.lacking(folder):
                return folder
        by_hand = f"put {entry.wanted_names} into a folder and give it with --weights-dir"
        if not entry.fetchable:
            raise MissingWeightsError(
                f"The weights of {entry.title} are not on this machine and cannot be fetched (source: {entry.source}): "
                f"{by_hand}."
            )
        raise MissingWeightsError(
            f"The weights of {entry.title} are not on this machine. Fetch them: {entry.fetch_command} (from "
            f"{entry.source}, {entry.size_text}, licence {entry.licence}); or {by_hand}."
        )

    def locate(self, entry_id: str) -> Located:
        """Like `find`, with the hashes compared to the registry's.

        A folder is official when it holds files whose SHA-256 the registry knows, and all of these agree. Of a folder
        that holds an entry's one file, that file is meant.
        """
        return self.located(entry_id, self.find(entry_id))

    def located(self, entry_id: str, path: Path) -> Located:
        """The entry at a path that somebody named, with the hashes compared."""
        entry = self.entry(entry_id)
        if len(entry.files) == 1 and (path / entry.files[0].path).is_file():
            path = path / entry.files[0].path
        difference = self._difference(entry, path) if entry.hashed else ""
        digest = self._of_files(entry, path) if entry.loose else self.sha256(path)
        return Located(entry, path, digest, not difference if entry.hashed else None, difference)

    def _of_files(self, entry: WeightsEntry, folder: Path) -> str:
        """SHA-256 over the names and hashes of an entry's files, whatever lies beside them."""
        digest = hashlib.sha256()
        for file in sorted(file.path for file in entry.files):
            digest.update(f"{file}:{self.sha256(folder / file)}\n".encode())
        return digest.hexdigest()

    def _difference(self, entry: WeightsEntry, path: Path) -> str:
        """How the local `path` differs from what the registry knows, or an empty text."""
        if path.is_file():
            found, known = self.sha256(path), [str(file.sha256) for file in entry.hashed]
            return "" if found in known else f"its SHA-256 is {_short(found)}, not {' or '.join(map(_short, known))}"
        root = entry.root(path)
        here = [file for file in entry.hashed if (root / file.path).is_file()]
        for file in here:
            if (found := self.sha256(root / file.path)) != file.sha256:
                return f"the SHA-256 of {file.path} is {_short(found)}, not {_short(str(file.sha256))}"
        return "" if here else f"it holds none of {', '.join(file.path for file in entry.hashed)}"

    def sha256(self, path: Path) -> str:
        """SHA-256 of a file; of a folder, over the names and hashes of its files."""
        if path.is_dir():
            digest = hashlib.sha256()
            for file in content_files(path):
                digest.update(f"{file.relative_to(path)}:{self.sha256(file)}\n".encode())
            return digest.hexdigest()
        return self.hashes.sha256(path)


def content_files(folder: Path) -> list[Path]:
    """The files below `folder`, without the hub's notes on its downloads (hidden) and what is for readers (``.md``)."""
    shown = (path for path in folder.rglob("[!.]*") if path.suffix != ".md" and path.is_file())
    return sorted(path for path in shown if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _short(digest: str) -> str:
    return f"{digest[:8]}..."
