"""Folders at URLs that are worked on: a folder of the cache, brought up to date first and written back as it grows.

What is in the bucket wins over what lies here, unless this machine wrote both: then what a killed job had no time to
write back is written back now. Objects are written whole, one by one; what makes others count (a clip's facts, a
summary) comes after them. Buckets have no locks, so an object names whose hands the folder is in, and is written anew
as a sign of life.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from javisbench.durable import atomic_path, write_json
from javisbench.errors import RunError
from javisbench.places.cache import Cache
from javisbench.places.remote import Remote, version_of
from javisbench.places.urls import PlaceError, explained, file_system, is_url, joined, scheme_of, shown

log = logging.getLogger(__name__)
LEASE = ".lease.json"
_CLIPS = "clips/"
_FILES = (".json", ".zip", ".safetensors")
_SKIPPED_PARTS = ("staging", ".lock", LEASE)
_TEMPORARY = (".tmp-",)
_WITH_FOLDERS = ("sftp", "ssh", "smb", "ftp", "webdav", "hdfs")
_LAST = ("summary.json", "run.json")
Facts = tuple[str, int | None, int, int]
"""Version and size of an object, then time (ns) and size of the file that it is equal to."""


@dataclass(frozen=True)
class Pace:
    """Seconds of a mirror.

    Attributes:
        write_s: between one writing back and the next, which is a sign of life too.
        silence_s: after so long without a sign of life a folder is nobody's.
    """

    write_s: float = 15.0
    silence_s: float = 60.0


@contextmanager
def worked_on(place: str | Path, *, media: bool = False, pace: Pace | None = None) -> Iterator[Path]:
    """A folder to work in: `place` itself, or for a URL one that is written back to it until the block ends.

    Args:
        place: path or URL of a run or a site.
        media: whether clips are brought too; else they are names, whose bytes come when they are read.
        pace: seconds between writings.

    Raises:
        PlaceError: it cannot be reached, read or written.
        RunError: another process works on it.
    """
    if (folder := _on_this_machine(place)) is not None:
        yield folder
        return
    mirror = _Mirror(str(place).rstrip("/"), Cache.from_environment(), pace or Pace())
    mirror.take()
    try:
        mirror.pull(media=media)
        with mirror.writing_back():
            yield mirror.folder
    finally:
        mirror.release()


def fetched(place: str | Path, *, media: bool = False) -> Path:
    """A folder (or archive, or summary) to read: `place` itself, or for a URL its files here.

    Args:
        place: path or URL.
        media: whether clips are brought too; else they are names, whose bytes come when they are read.

    Raises:
        PlaceError: nothing is there, or it cannot be read.
    """
    if (folder := _on_this_machine(place)) is not None:
        return folder
    if str(place).endswith(_FILES):
        return Cache.from_environment().file(str(place))
    mirror = _Mirror(str(place).rstrip("/"), Cache.from_environment(), Pace())
    # A job at work on this machine has newer files here than there.
    if not mirror.is_worked_on_here() and not mirror.pull(media=media):
        raise PlaceError(f"{shown(str(place))}: there is nothing there.", kind="not_found")
    return mirror.folder


def looked_at(place: str | Path) -> Path:
    """The folder that `worked_on` would give: for a URL with what is there, if anything is; clips are names.

    Raises:
        PlaceError: it cannot be reached or read.
    """
    try:
        return fetched(place)
    except PlaceError as error:
        if error.kind != "not_found":
            raise
        return Cache.from_environment().path_of(str(place).rstrip("/"))


def _on_this_machine(place: str | Path) -> Path | None:
    if not is_url(place):
        return Path(place)
    return Path(str(place).partition("://")[2]) if scheme_of(str(place)) == "file" else None


def is_run(url: str) -> bool:
    """Whether a URL names a run, and not a folder of clips.

    Raises:
        PlaceError: its place cannot be reached.
    """
    system, path = file_system(joined(url, "run.json"))
    with explained(url, "read"):
        system.invalidate_cache()
        return bool(system.exists(path))


@dataclass
class _Mirror:
    url: str
    cache: Cache
    pace: Pace
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    _known: dict[str, Facts] = field(default_factory=dict)
    _lost: bool = False

    def __post_init__(self) -> None:
        self.folder = self.cache.path_of(self.url)
        self._system, self._path = file_system(self.url)
        name = self.folder.relative_to(self.cache.root)
        self._record = self.cache.folder / "mirrors" / name.with_name(f"{name.name}.json")
        with suppress(OSError, ValueError, TypeError):
            self._known = {rel: (f[0], f[1], f[2], f[3]) for rel, f in json.loads(self._record.read_text()).items()}

    # Whose hands it is in

    def take(self) -> None:
        """Take the folder, after a silence if somebody seems to work on it."""
        holder = self._holder()
        if holder is not None and not _is_gone(holder):
            log.warning("%s was in the hands of %s; waiting whether it still works", shown(self.url), _told(holder))
            end = time.monotonic() + self.pace.silence_s
            while (now := self._holder()) is not None and time.monotonic() < end:
                if now != holder:
                    raise RunError(
                        f"{shown(self.url)} is in use by {_told(now)}. Wait for it, stop it, or choose another place "
                        f"with --out.",
                        kind="locked",
                    )
                time.sleep(min(1.0, self.pace.silence_s / 10))
        self._show_life()

    def is_worked_on_here(self) -> bool:
        """Whether a process of this machine has the folder in its hands."""
        holder = self._holder()
        return holder is not None and holder.get("host") == socket.gethostname() and not _is_gone(holder)

    def _holder(self) -> dict[str, Any] | None:
        with explained(self.url, "read"):
            self._system.invalidate_cache()
            try:
                found = json.loads(self._system.cat_file(f"{self._path}/{LEASE}"))
            except FileNotFoundError:
                return None
            except ValueError:
                return {}
        return found if isinstance(found, dict) else {}

    def _show_life(self) -> None:
        life = {"token": self.token, "host": socket.gethostname(), "pid": os.getpid(), "beat": time.time_ns()}
        with explained(self.url, "written"):
            self._make_folder(self._path)
            self._system.pipe_file(f"{self._path}/{LEASE}", json.dumps(life).encode())

    def _make_folder(self, path: str) -> None:
        # Of a bucket that would make the bucket itself, also one that a slip of the pen names.
        if scheme_of(self.url) in _WITH_FOLDERS:
            self._system.makedirs(path, exist_ok=True)

    def release(self) -> None:
        """Give the folder back, if it is still this process's."""
        with suppress(PlaceError):
            if (self._holder() or {}).get("token") == self.token:
                with explained(self.url, "written"):
                    self._system.rm_file(f"{self._path}/{LEASE}")

    # From there to here

    def pull(self, *, media: bool) -> int:
        """Bring the files here up to date; returns how many there are."""
        there = self._there()
        for rel, info in there.items():
            target = self.folder / rel
            if _is_media(rel) and not media and (not target.exists() or Remote.read(target) is not None):
                Remote(joined(self.url, rel), info.get("size"), version_of(info)).write(target)
            elif not self._is_current(rel, info, target):
                self._bring(rel, info, target)
        for rel, path in _files(self.folder):
            gone = rel not in there and (rel in self._known or Remote.read(path) is not None)
            if gone:
                path.unlink(missing_ok=True)
                self._known.pop(rel, None)
        self._keep_record()
        return len(there)

    def _there(self) -> dict[str, dict[str, Any]]:
        """The objects by the paths of their files here."""
        with explained(self.url, "listed"):
            self._system.invalidate_cache()
            try:
                found: Mapping[str, dict[str, Any]] = self._system.find(self._path, detail=True)
            except FileNotFoundError:
                return {}
        inside = self._path.rstrip("/") + "/"
        there = {}
        for name, info in found.items():
            rest = name.removeprefix(inside)
            if name.startswith(inside) and rest:
                rel = self.cache.path_of(joined(self.url, rest)).relative_to(self.folder).as_posix()
                if not _is_skipped(rel):
                    there[rel] = info
        return there

    def _is_current(self, rel: str, info: dict[str, Any], target: Path) -> bool:
        known = self._known.get(rel)
        if known is None or not target.is_file() or Remote.read(target) is not None:
            return False
        # What is here may be newer: written by a job that was killed before it could write back.
        return known[:2] == (version_of(info), info.get("size"))

    def _bring(self, rel: str, info: dict[str, Any], target: Path) -> None:
        with atomic_path(target) as temporary, explained(joined(self.url, rel), "read"):
            self._system.get_file(self._remote_path(rel), str(temporary))
        status = target.stat()
        self._known[rel] = (version_of(info), info.get("size"), status.st_mtime_ns, status.st_size)

    def _remote_path(self, rel: str) -> str:
        url = self.cache.url_of(self.folder / rel)
        assert url is not None
        return f"{self._path}/{url[len(self.url) :].lstrip('/')}"

    # From here to there

    @contextmanager
    def writing_back(self) -> Iterator[None]:
        """Write back every few seconds, and once more in the end."""
        done = threading.Event()
        writer = threading.Thread(target=self._write_on, args=(done.wait,), name="javisbench-mirror", daemon=True)
        writer.start()
        try:
            yield
        except BaseException:
            done.set()
            writer.join()
            try:
                self.push()
            except (PlaceError, RunError) as error:
                log.warning("%s Until then it is kept in %s.", error.message, self.folder)
            raise
        done.set()
        writer.join()
        self.push()

    def _write_on(self, wait: Callable[[float], bool]) -> None:
        told = False
        while not wait(self.pace.write_s):
            try:
                self.push()
                told = False
            except (PlaceError, RunError) as error:
                if not told:
                    log.warning("%s The work goes on, and is written back when that is possible.", error.message)
                told = True

    def push(self) -> None:
        """Write back what is new, and remove what is gone.

        Raises:
            PlaceError: that cannot be done.
            RunError: the folder is in other hands by now.
        """
        self._check_hands()
        self._show_life()
        # A clip's facts that were there before the clips were listed have their clip in the list.
        before = {rel for rel, _ in _files(self.folder)}
        files = {rel: path for rel, path in _files(self.folder) if rel in before or not rel.endswith(".json")}
        try:
            for rel in sorted(files, key=_order):
                self._write(rel, files[rel])
            for rel in [rel for rel in self._known if not (self.folder / rel).exists()]:
                with explained(joined(self.url, rel), "removed"), suppress(FileNotFoundError):
                    self._system.rm_file(self._remote_path(rel))
                del self._known[rel]
        finally:
            self._keep_record()

    def _check_hands(self) -> None:
        holder = self._holder()
        self._lost = self._lost or (holder is not None and holder.get("token") != self.token)
        if self._lost:
            raise RunError(
                f"{shown(self.url)} is in other hands by now ({_told(holder or {})}). What was made here stays in "
                f"{self.folder}.",
                kind="locked",
            )

    def _write(self, rel: str, path: Path) -> None:
        try:
            status = path.stat()
        except FileNotFoundError:
            return
        known = self._known.get(rel)
        if known is not None and known[2:] == (status.st_mtime_ns, status.st_size):
            return
        if _is_media(rel) and Remote.read(path) is not None:
            return
        there = self._remote_path(rel)
        with explained(joined(self.url, rel), "written"):
            try:
                self._make_folder(there.rpartition("/")[0])
                self._system.put_file(str(path), there)
            except FileNotFoundError:
                if path.exists():
                    raise
                return
            self._system.invalidate_cache()
            info = self._system.info(there)
        self._known[rel] = (version_of(info), info.get("size"), status.st_mtime_ns, status.st_size)

    def _keep_record(self) -> None:
        write_json(self._record, self._known)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a folder that belong to it, with their paths in it."""
    for path in folder.rglob("*"):
        rel = path.relative_to(folder).as_posix()
        if not _is_skipped(rel) and not path.is_symlink() and path.is_file():
            yield rel, path


def _is_skipped(rel: str) -> bool:
    parts = rel.split("/")
    name = parts[-1]
    return (
        any(part in _SKIPPED_PARTS for part in parts)
        or name.startswith(_TEMPORARY)
        or (name.startswith(".") and ".tmp." in name)
    )


def _is_media(rel: str) -> bool:
    return rel.startswith(_CLIPS) and not rel.endswith((".json", ".txt"))


def _order(rel: str) -> tuple[int, str]:
    """Clips, what says of them that they are whole, features, scores; last what says that there are scores."""
    name = rel.rpartition("/")[2]
    if name in _LAST:
        return 4 + _LAST.index(name), rel
    if rel.startswith(_CLIPS):
        return int(name.endswith(".json")), rel
    return (2 if rel.startswith("features/") else 3), rel


def _is_gone(holder: Mapping[str, Any]) -> bool:
    """Whether a holder was a process of this machine that has ended."""
    pid = holder.get("pid")
    if holder.get("host") != socket.gethostname() or not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _told(holder: Mapping[str, Any]) -> str:
    if "pid" in holder and "host" in holder:
        return f"process {holder['pid']} on {holder['host']}"
    return "another process"
