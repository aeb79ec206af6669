"""The cache folder: paths for URLs, and the bytes of clips, brought when needed and removed when it is full."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from javisbench.durable import atomic_path
from javisbench.errors import UsageError
from javisbench.places.remote import Remote
from javisbench.places.tables import bring_row_group
from javisbench.places.urls import PlaceError, explained, file_system, scheme_of, shown

CACHE_DIR = "JAVISBENCH_CACHE_DIR"
CACHE_SIZE = "JAVISBENCH_CACHE_SIZE"
DEFAULT_GIB = 20.0
_BLOCK = 2**23
_TRIES = 3
_CHECKED_EVERY = 32
_MOST_NAME = 200
_GIB = 2**30


@dataclass(frozen=True)
class Cache:
    """A folder that holds what lies elsewhere.

    Attributes:
        folder: absolute, without links in it.
        max_bytes: most bytes of clips, give or take some dozens; what was not read for longest goes first. A clip that
            is read right now stays.
    """

    folder: Path
    max_bytes: int = int(DEFAULT_GIB * _GIB)

    @classmethod
    def from_environment(cls) -> Cache:
        """``$JAVISBENCH_CACHE_DIR`` (else ``~/.cache/javisbench``), ``$JAVISBENCH_CACHE_SIZE`` in GiB (else 20).

        Raises:
            UsageError: the size is no number above 0.
        """
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        folder = os.environ.get(CACHE_DIR) or f"{base}/javisbench"
        text = os.environ.get(CACHE_SIZE) or str(DEFAULT_GIB)
        try:
            size = float(text) * _GIB
        except ValueError:
            size = 0
        if not 0 < size < float("inf"):
            raise UsageError(f"{CACHE_SIZE} (--cache-size) is a number of GiB above 0; got {text!r}.")
        return cls(Path(os.path.realpath(Path(folder).expanduser())), max(1, int(size)))

    @classmethod
    def of(cls, path: Path) -> Cache | None:
        """The cache of the environment, if `path` stands for something elsewhere in it."""
        cache = cls.from_environment()
        return cache if path.is_relative_to(cache.root) else None

    @property
    def root(self) -> Path:
        """Below it are the paths of URLs."""
        return self.folder / "at"

    def path_of(self, url: str) -> Path:
        """Where what a URL names has its path; equal for equal URLs, whether anything is there or not.

        What is asked of a web server (``?signature=...``) is no part of it.

        Raises:
            UsageError: a part of it is too long to name a file.
        """
        rest = url.partition("://")[2]
        rest = (rest.partition("?")[0] if scheme_of(url).startswith("http") else rest).rstrip("/")
        parts = [_to_name(part) for part in rest.split("/")]
        if any(len(os.fsencode(part)) > _MOST_NAME for part in parts):
            raise UsageError(f"{shown(url)[:200]}: a part of this URL is longer than {_MOST_NAME} bytes.")
        return self.root.joinpath(scheme_of(url), *parts)

    def url_of(self, path: Path) -> str | None:
        """The URL of a path; None for a path outside."""
        if not path.is_relative_to(self.root) or path == self.root:
            return None
        scheme, *parts = path.relative_to(self.root).parts
        return f"{scheme}://" + "/".join(map(_from_name, parts))

    def remote(self, path: Path) -> Remote | None:
        """What a path stands for; None for a file that is here as it is, or has no URL."""
        found = Remote.read(path)
        if found is not None or path.exists():
            return found if path.is_relative_to(self.root) else None
        url = self.url_of(path)
        return None if url is None else Remote(url)

    def title(self, path: Path) -> str:
        """How messages call a path: by its URL, where it has one."""
        found = self.remote(path)
        if found is not None:
            return found.title
        url = self.url_of(path)
        return str(path) if url is None else shown(url)

    def file(self, url: str) -> Path:
        """Bring one file whole to its path, always anew: a suite, a table.

        Raises:
            PlaceError: it is not there, or cannot be read.
        """
        target = self.path_of(url)
        with atomic_path(target) as temporary:
            _fetch(Remote(url), temporary, self.max_bytes)
        return target

    @contextmanager
    def held(self, path: Path) -> Iterator[Path]:
        """A file with the bytes that `path` stands for; it stays where it is until the block ends.

        Raises:
            PlaceError: they cannot be had; ``kind`` says why.
        """
        remote = self.remote(path)
        if remote is None:
            yield path
            return
        place = self._place(remote)
        descriptor = self._locked(place)
        if descriptor is None:
            descriptor = self._bring(remote, place)
        try:
            yield place
        finally:
            os.close(descriptor)

    def _place(self, remote: Remote) -> Path:
        # Of an object without a version nobody knows whether it has changed, so its bytes serve one job alone.
        version = remote.version or f"process {os.getpid()}"
        key = hashlib.sha256(remote.to_bytes() + version.encode()).hexdigest()[:40]
        suffix = Path(remote.member or remote.url.partition("?")[0]).suffix.lower()
        known = suffix if suffix[1:].isalnum() and len(suffix) < 8 else ""
        return self.folder / "clips" / key[:2] / f"{key}{known}"

    def _locked(self, place: Path) -> int | None:
        """A descriptor whose lock keeps the file; None when it is not there."""
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        with suppress(OSError):  # a file system without locks: then a full cache could take a clip that is read
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        with suppress(OSError):
            if place.stat().st_ino == os.fstat(descriptor).st_ino:
                os.utime(place)
                return descriptor
        os.close(descriptor)
        return None

    def _bring(self, remote: Remote, place: Path) -> int:
        # Rows of one group come together, and nothing comes twice because two threads or processes want it.
        what = place.name if remote.cell is None else f"{remote.url} {remote.version} {remote.cell[0]}"
        with self._turn(hashlib.sha256(what.encode()).hexdigest()[:3]):
            descriptor = self._locked(place)
            if descriptor is None:
                self._bring_now(remote, place)
                descriptor = self._locked(place)
        if descriptor is None:
            raise PlaceError(f"{remote.title}: what was brought is gone from {place}; the cache is too small.")
        # Looking through the cache takes a while, so small files have it done for their neighbours too.
        share = max(1 / _CHECKED_EVERY, place.stat().st_size * _CHECKED_EVERY / self.max_bytes)
        if int(place.name[:8], 16) / 2**32 < share:
            self._make_room()
        return descriptor

    @contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        """One after the other, over all processes of this machine."""
        path = self.folder / "turns" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            with suppress(OSError):  # a file system without locks: then some things come twice
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _bring_now(self, remote: Remote, place: Path) -> None:
        for attempt in range(_TRIES):
            try:
                if remote.cell is not None:
                    bring_row_group(remote, lambda other: _written(self._place(other)))
                else:
                    with atomic_path(place) as temporary:
                        _fetch(remote, temporary, self.max_bytes)
                return
            except PlaceError as error:
                if error.kind != "unreachable" or attempt == _TRIES - 1:
                    raise
                time.sleep(2.0**attempt)

    def _make_room(self) -> None:
        """Remove what was not read for longest, until the rest fits; files in use stay."""
        files = []
        for path in (self.folder / "clips").glob("*/*"):
            with suppress(OSError):
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        left = sum(size for _, size, _ in files) - self.max_bytes
        for _, size, path in sorted(files):
            if left <= 0:
                return
            if _removed(path):
                left -= size


@contextmanager
def held(path: Path) -> Iterator[Path]:
    """A file with the bytes of `path`, whether it is here or stands for one elsewhere, until the block ends.

    Raises:
        PlaceError: they cannot be had.
    """
    cache = Cache.of(path)
    if cache is None:
        yield path
        return
    with cache.held(path) as here:
        yield here


def named(path: Path) -> str:
    """How messages call a file or folder: by its URL where it stands for something elsewhere.

    A file of this machine that was opened as a place (a tar) is called by its path.
    """
    return str(path) if Cache.of(path) is None else located(path).removeprefix("file://")


def located(path: Path) -> str:
    """The URL of what `path` stands for, as records may hold it, or `path` as text, absolute and without links."""
    cache = Cache.of(path)
    url = None if cache is None else cache.url_of(path)
    return str(path.resolve()) if url is None else shown(url)


@contextmanager
def _written(place: Path) -> Iterator[Path | None]:
    """Where to write a file of the cache; None when it is there."""
    if place.exists():
        yield None
    else:
        with atomic_path(place) as temporary:
            yield temporary


def _removed(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _fetch(remote: Remote, target: Path, most_bytes: int) -> None:
    """Write the bytes of `remote` into `target`.

    Raises:
        PlaceError: they cannot be had, or are more than `most_bytes`.
    """
    system, path = file_system(remote.url)
    with explained(remote.url, "read"):
        if remote.start is not None:
            assert remote.size is not None
            data = system.cat_file(path, start=remote.start, end=remote.start + remote.size)
            target.write_bytes(data)
            got = len(data)
        else:
            got = 0
            with system.open(path, "rb", block_size=_BLOCK) as source, target.open("wb") as file:
                while block := source.read(_BLOCK):
                    got += len(block)
                    if got > most_bytes:
                        raise PlaceError(
                            f"{remote.title}: larger than the whole cache ({most_bytes / _GIB:.3g} GiB); raise "
                            f"--cache-size.",
                            kind="too_large",
                        )
                    file.write(block)
    if remote.size is not None and got != remote.size:
        raise PlaceError(
            f"{remote.title}: {got:,} bytes came, not {remote.size:,}; it changed, or the connection broke. Run the "
            f"same command again.",
            kind="unreachable",
        )


def _to_name(part: str) -> str:
    """A part of a URL as the name of a file."""
    if not part:
        return "%"
    if part in (".", "..") or part.startswith(".tmp-"):
        return part.replace(".", "%2E")
    return quote(part, safe="") if "%" in part or "\0" in part else part


def _from_name(name: str) -> str:
    return "" if name == "%" else unquote(name)
