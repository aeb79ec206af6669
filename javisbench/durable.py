"""Writes that survive being killed: temporary name, fsync, rename; and a lock that names its holder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import re
import secrets
import shutil
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

from javisbench.errors import RunError, SystemFaultError
from javisbench.system_faults import SYSTEMS, errno_of, raise_if_system, waits_s
from javisbench.text import json_text

log = logging.getLogger(__name__)
T = TypeVar("T")
_TEMPORARY = ".tmp-"
# The second pattern is that of clips, whose temporaries keep their suffix for the encoder.
_STALE = (f"{_TEMPORARY}*", ".*.tmp.*")


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that replaces it, whole or not at all, when the block ends well.

    Raises:
        SystemFaultError: no space, no permission, a file system that is read-only or gone; `target` is as it was.
    """
    temporary = target.with_name(f"{_TEMPORARY}{_host()}-{os.getpid()}-{secrets.token_hex(4)}-{target.name}")
    try:
        with _explained(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _sync(temporary)
            temporary.replace(target)
            _sync(target.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        trouble = disk_trouble(error, target)
        if trouble is None:
            raise
        raise trouble from error


def disk_trouble(error: BaseException | None, target: Path) -> RunError | None:
    """What to tell the user when `error` says that `target` cannot be written, for a reason that is not its content.

    Returns:
        a `SystemFaultError` of kind ``no_space``, ``not_writable`` or ``system``; None for any other error.
    """
    code: int | None = getattr(error, "errno", None)
    if code is None:
        return None
    if code in (errno.ENOSPC, errno.EDQUOT):
        return SystemFaultError(
            f"No space left to write {target}. Nothing written so far is lost: free space and run the same command "
            f"again.",
            kind="no_space",
        )
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SystemFaultError(
            f"{target} cannot be written ({os.strerror(code)}). Nothing written so far is lost: make the folder "
            f"writable, or choose another with --out, and run the same command again.",
            kind="not_writable",
        )
    if code in SYSTEMS:
        return SystemFaultError(
            f"{target} cannot be written ({os.strerror(code)}). Nothing written so far is lost: run the same command "
            f"again when the system has recovered."
        )
    return None


def patiently(write: Callable[[], T], patience_s: float) -> T:
    """Write, and again after waits that grow while the system fails in a way that passes by itself.

    A file system that went stale or a disk that answers with errors is waited for. A full disk or quota, and what may
    not be written, need somebody: there the first try is the only one.

    Args:
        write: writes whole or not at all, and can do so again: from what is in memory, beginning with a new file. (To
            synchronise a file again would not do: after an error, the system may have forgotten what it had to write.)
        patience_s: seconds to wait in all.

    Raises:
        SystemFaultError: it did not recover.
    """
    for wait_s in waits_s(patience_s):
        try:
            return write()
        except SystemFaultError as error:
            if error.kind != "system":
                raise
            log.warning("%s Tried again in %.3g s.", error.sentence, wait_s)
        time.sleep(wait_s)
    return write()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot sync a folder.
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.EOPNOTSUPP)):
            raise
    finally:
        os.close(descriptor)


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def sweep_earlier(target: Path) -> None:
    """Remove what processes of this machine that are gone left of writing `target`, in a folder that has no lock."""
    mine = re.compile(rf"{re.escape(_TEMPORARY)}{_host()}-([0-9]+)-[0-9a-f]{{8}}-{re.escape(target.name)}")
    with contextlib.suppress(OSError):
        for path in target.parent.iterdir():
            if (found := mine.fullmatch(path.name)) and not _runs(int(found[1])):
                path.unlink()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def write_bytes(target: Path, data: bytes) -> None:
    """Write `data` to `target`, whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8 (lone surrogates as escapes), whole or not at all."""
    write_bytes(target, text.encode("utf-8", "backslashreplace"))


def write_json(target: Path, value: Any) -> None:
    """Write `value` as JSON (NaN is refused), whole or not at all."""
    write_text(target, json_text(value, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file of a run.

    Raises:
        RunError: it is missing or damaged.
        SystemFaultError: the system cannot read it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing; is {path.parent} a run folder?", kind="not_a_run") from error
    except (OSError, ValueError, RecursionError) as error:
        raise_if_system(error, path)
        raise RunError(
            f"{path} cannot be read: {error}. Remove it and run the command again.", kind="damaged"
        ) from error


def read_jsonl(path: Path, most: int | None = None) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; lines that are no JSON (torn, of a process that was killed) are skipped.

    Args:
        path: the file; a missing one has no lines.
        most: objects that are read; None for all.
    """
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = []
    # By bytes: messages may hold the other line breaks of Unicode.
    with path.open("rb") as file:
        for line in file:
            if most is not None and len(rows) >= most:
                break
            with contextlib.suppress(ValueError, RecursionError):
                row = json.loads(line.decode("utf-8", "replace"))
                if isinstance(row, dict):
                    rows.append(row)
    return rows


def write_jsonl(target: Path, rows: list[dict[str, Any]]) -> None:
    """Write objects as JSON lines, whole or not at all."""
    write_text(target, "".join(json_text(row) + "\n" for row in rows))


def append_jsonl(path: Path, row: dict[str, Any]) -> None:
    """Add one line; a torn line before it is closed first, so that it cannot swallow this one.

    Raises:
        SystemFaultError: the disk is full or cannot be written. Then the line is not there, as far as it can be undone.
    """
    line = json_text(row).encode() + b"\n"
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: what a full disk refuses must not come back when the file is closed.
        with path.open("ab+", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            if end > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = b"\n" + line
            try:
                written = 0
                while written < len(line):
                    written += file.write(line[written:])
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(end)
                raise


def sweep_temporaries(folder: Path) -> int:
    """Remove temporary files that processes killed earlier left below `folder`; returns how many.

    Only under the folder's lock: then nobody else writes here.
    """
    swept = 0
    for path in stale_files(folder):
        with contextlib.suppress(OSError):
            path.unlink()
            swept += 1
    return swept


def stale_files(folder: Path) -> list[Path]:
    """Temporary files below `folder`: those of a job at work, or of killed ones."""
    return [path for pattern in _STALE for path in folder.rglob(pattern)]


@contextlib.contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """A new, empty folder that takes the place of `target`, with all that is in it, when the block ends well.

    The two change places in one step where the system can (Linux): whoever looks sees the old folder or the new one.
    What a killed process left of an earlier try is removed.

    Raises:
        RunError: another process is about to replace it.
        SystemFaultError: the disk is full or cannot be written.
    """
    work = target.with_name(f".{target.name}.new")
    mine = False
    try:
        with locked(work), _explained(target):
            mine = True
            for left in work.iterdir():
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left)
                elif left.name != ".lock":
                    left.unlink()
            fresh = work / "fresh"
            fresh.mkdir()
            try:
                yield fresh
                _exchange(fresh, target)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
    finally:
        if mine:
            with contextlib.suppress(OSError):
                (work / ".lock").unlink()
                work.rmdir()


def _exchange(fresh: Path, target: Path) -> None:
    if not target.exists():
        fresh.rename(target)
    elif not _renameat2(fresh, target):
        earlier = fresh.with_name("earlier")
        target.rename(earlier)
        fresh.rename(target)
        shutil.rmtree(earlier, ignore_errors=True)
    _sync(target.parent)


def _renameat2(one: Path, other: Path) -> bool:
    """Let two names change places; False where the system or the file system cannot."""
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def is_temporary(path: Path, name: str) -> bool:
    """Whether a file is what a killed process left of writing `name`."""
    return path.name.startswith(_TEMPORARY) and path.name.endswith(f"-{name}")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the operating system frees it when this process goes, however it goes.

    Raises:
        RunError: another process holds it; the message says which, where and since when. Or it cannot be written to.
        SystemFaultError: at the end, the folder is not the one that was locked: its file system is gone.
    """
    try:
        with _explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what a full disk refuses must not come back when the file is closed.
            file = (folder / ".lock").open("ab+", buffering=0)
    except SystemFaultError as error:
        worked_here = errno_of(error) == errno.EROFS and (folder / ".lock").exists()
        if error.kind != "not_writable" or worked_here:
            raise
        # Before anything was ever done here, it is the choice of the folder that is wrong.
        raise RunError(error.sentence, kind=error.kind) from error
    except OSError as error:
        raise RunError(f"{folder} cannot be a folder to write to ({error.strerror}). Choose another.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
                log.warning("%s is on a file system without locks; see to it that no two processes use it", folder)
            elif error.errno in (errno.EAGAIN, errno.EACCES):
                raise RunError(
                    f"{folder} is in use by {_holder(file)}. Wait for it, stop it, or choose another folder with "
                    f"--out.",
                    kind="locked",
                ) from error
            else:
                raise
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        with _explained(folder):
            file.truncate(0)
            file.write(json.dumps(holder).encode())
        try:
            yield
        except (OSError, RunError) as error:
            _check_still_there(folder, file, error)
            raise
        else:
            _check_still_there(folder, file, None)
        finally:
            with contextlib.suppress(OSError):
                file.truncate(0)


def _check_still_there(folder: Path, file: IO[bytes], error: Exception | None) -> None:
    """Nothing must be taken for done that went to where the folder's file system was mounted before it vanished."""
    with contextlib.suppress(OSError):
        if os.path.samestat((folder / ".lock").stat(), os.fstat(file.fileno())):
            return
    raise SystemFaultError(
        f"{folder} is not the folder any more that this process began to work in: its file system is gone, or it was "
        f"moved. Run the same command again when it is back."
    ) from error


def _holder(file: IO[bytes]) -> str:
    file.seek(0)
    try:
        holder = json.loads(file.read())
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
