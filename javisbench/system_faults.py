"""What is the system's fault, and not that of the clip at hand: one rule, which all that read and write ask.

A clip is bad when its bytes can be read and are no good. When they cannot be read, or there is no memory, descriptor or
process to read them with, that says nothing of the clip. Such a failure is met in three steps:

1. `fault_of` tells it from the error, `Places` from the folder that the file was listed in, and whoever runs a process
   from how it ended.
2. It is tried again after waits that grow (`waits_s`).
3. If it lasts, another file of the same folder decides that could be read before: where that can be read even now, the
   trouble is this one file's (a bad sector, one stale handle) and costs that file alone; else the job ends with a
   `SystemFaultError`, exit code 3, and the same command goes on later.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from javisbench.errors import SystemFaultError

log = logging.getLogger(__name__)
T = TypeVar("T")

# The file system, or the server or device behind it, has gone.
_GONE = ("ESTALE", "ENOTCONN", "ENODEV", "ENXIO", "ENOMEDIUM", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH",
         "ENETRESET", "ECONNABORTED", "ECONNRESET", "ESHUTDOWN", "ETIMEDOUT", "EREMOTEIO", "ENOLINK", "ECOMM",
         "EUCLEAN")  # fmt: skip
# The machine, or what this process may have of it, is used up. EAGAIN is how `fork` says so; reads never block here.
_USED_UP = ("EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EAGAIN", "ENOSPC", "EDQUOT")
# A disk that turned read-only after errors; and what a disk says of a bad sector, a mount of a dead server, or both.
_DISK = ("EROFS", "EIO")
SYSTEMS = frozenset(getattr(errno, name) for name in (*_GONE, *_USED_UP, *_DISK) if hasattr(errno, name))
"""Error numbers that no content of a file causes. ENOENT and EACCES are none: see `Places`."""
_TRIES_GROW_BY = 4
_TRIES = 4
_DEVICE_LOST = ("CUDA error", "HIP error")
_PROBE_BYTES = 2**16


@dataclass(frozen=True)
class Fault:
    """A failure that is not the clip's, as far as it can be told.

    Attributes:
        reason: in words.
        certain: False where a clip could be behind it after all: one that takes more memory than there is.
    """

    reason: str
    certain: bool = True


def errno_of(error: BaseException | None) -> int | None:
    """The error number of the system call behind an error.

    What FFmpeg calls an input/output error is left out: its demuxers say so of damaged files.
    """
    found = _system_call(error)
    return None if found is None else found.errno


def filename_of(error: BaseException | None) -> str:
    """The file that the system call behind an error was about; empty where that is not known."""
    found = _system_call(error)
    named = "" if found is None else found.filename
    return "" if named is None or isinstance(named, int) else os.fsdecode(named)


def _system_call(error: BaseException | None) -> OSError | None:
    while error is not None:
        if isinstance(error, OSError) and error.errno and not type(error).__module__.startswith("av."):
            return error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory of the device or of the machine ran out."""
    # By name, so that torch is not imported for it.
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def free_memory(error: BaseException | None = None) -> None:
    """Give back the memory of this process and its device that nothing uses any more.

    Args:
        error: what failed for lack of memory: what the calls that it came through still hold is let go of.
    """
    import gc
    import sys
    import traceback

    known: set[int] = set()
    while error is not None and id(error) not in known:
        known.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def fault_of(error: BaseException) -> Fault | None:
    """Whether an error is the system's fault, by itself; None where it is not, or cannot be told without `Places`."""
    code = errno_of(error)
    if code is not None and code in SYSTEMS:
        return Fault(os.strerror(code))
    cause: BaseException | None = error
    while cause is not None:
        if is_out_of_memory(cause):
            return Fault("out of memory", certain=False)
        if type(cause).__name__ == "AcceleratorError" or str(cause).startswith(_DEVICE_LOST):
            return Fault(str(cause).partition("\n")[0])
        cause = cause.__cause__
    return None


def raise_if_system(error: BaseException, path: object) -> None:
    """Called where a file that cannot be read would be called damaged, or an input wrong: not where the system failed.

    Args:
        error: what reading it ended with.
        path: how the message calls it.

    Raises:
        SystemFaultError: the error number is the system's.
    """
    code = errno_of(error)
    if code is not None and code in SYSTEMS:
        raise SystemFaultError(
            f"{path} cannot be read ({os.strerror(code)}). Run the same command again when the system has recovered."
        ) from error


class Places:
    """The folders that files were listed in, as they were then.

    A file that was listed and is not there any more was removed, or its whole folder was: unmounted, moved, expired
    credentials. The folder tells: it is another one now, or cannot be reached.
    """

    def __init__(self, files: Iterable[Path] = ()) -> None:
        # Of links alone, by their paths as text: most files are none, and there may be a hundred thousand.
        self._behind: dict[str, Path] = {}
        self._known: dict[Path, tuple[int, int] | None] = {}
        self._folders: dict[Path, Path] = {}
        self.add(files)

    def add(self, files: Iterable[Path]) -> None:
        """Note further files; those that are known stay as they were."""
        for file in files:
            if str(file) in self._behind:
                continue
            folder = file.parent
            if os.path.islink(file):  # noqa: PTH114 - no error where the file cannot be reached: reading it tells
                # A link may lead elsewhere, and what matters is what lies behind it.
                folder = Path(os.path.realpath(file)).parent
                self._behind[str(file)] = self._folders.setdefault(folder, folder)
            for place in (file.parent, folder):
                if place not in self._known:
                    self._known[place] = _identity(place)

    def folder(self, file: Path) -> Path:
        """The folder that a file lies in, links followed as they were when it was noted."""
        return self._behind.get(str(file), file.parent)

    def lost(self, file: Path) -> Fault | None:
        """Why a file's folder, or that of a link to it, is not there as it was; None while it is, or never was."""
        for folder in (self.folder(file), file.parent):
            before = self._known.get(folder)
            if before is not None and _identity(folder) != before:
                return Fault(f"the folder {folder} is not there any more")
        return None


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def waits_s(patience_s: float) -> Iterator[float]:
    """Seconds to wait before each further try, each four times as long as the one before; `patience_s` in all."""
    shares = [_TRIES_GROW_BY**number for number in range(_TRIES)]
    if patience_s > 0:
        yield from (patience_s * share / sum(shares) for share in shares)


def tried_again(
    failure: Exception,
    again: Callable[[], T | Exception],
    fault: Callable[[Exception], Fault | None],
    patience_s: float,
    name: object,
) -> tuple[T | Exception, Fault | None]:
    """What becomes of a failure in the end.

    Args:
        failure: of the first try.
        again: tries once more; returns what it gets, or its failure.
        fault: tells whether a failure is the system's.
        patience_s: seconds to wait in all.
        name: what it is about, for the log.

    Returns:
        the outcome or the last failure, and for a failure that is still the system's, the fault.
    """
    for wait_s in waits_s(patience_s):
        found = fault(failure)
        if found is None:
            return failure, None
        log.warning("%s: %s; tried again in %.3g s", name, found.reason, wait_s)
        time.sleep(wait_s)
        outcome = again()
        if not isinstance(outcome, Exception):
            return outcome, None
        failure = outcome
    return failure, fault(failure)


def read_failure(file: Path, most: int | None = None) -> int | None:
    """The error number that reading a file ends with, its first `most` bytes or all of it; None when it can be read.

    Read from the disk where the system lets go of what it remembers of it. What is no regular file is not opened.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return None
        with file.open("rb", buffering=0) as opened:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            left = most
            while left is None or left > 0:
                chunk = opened.read(_PROBE_BYTES if left is None else min(left, _PROBE_BYTES))
                if not chunk:
                    return None
                left = None if left is None else left - len(chunk)
    except OSError as error:
        return error.errno
    return None


def can_be_read(file: Path) -> bool:
    """Whether a file's beginning can be read now: the sign that the file system works."""
    return read_failure(file, _PROBE_BYTES) is None


def awake_s(asked_s: float, took_s: float) -> float:
    """What counts of a wait that was to end after `asked_s` at the latest and took `took_s`.

    A process that was stopped, or whose machine slept, comes back late; that time was nobody's to use.
    """
    return min(asked_s, took_s)
