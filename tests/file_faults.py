"""Errors of the system at everything that commands do with files: each opening, folder, renaming and synchronising.

    python tests/file_faults.py [--most 8] [--seed 0] [--only score,merge] [--json FILE]

What a command does is counted undisturbed. Then one of these operations fails, and all that follow it, as on a disk
that is full or turned read-only, or on a file system that went stale; one number of error after the other. The job may
end well with the right result, or stop with exit code 3; then the same command runs undisturbed, and must end as it
does without the fault, with nothing set aside. Operations are seen through Python's audit events, so that nothing has
to be preloaded, and commands need not know.

Where mounts are allowed (root), each command also writes to a real file system that is too small for what it makes, by
different amounts; the same command goes on when the file system has been enlarged.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from faults import may_mount, mount, unmount
from kills import Command, attempt, commands, ended, kill, leftovers, server, to_the_end, warm

BAD_USAGE, STOPPED_BY_SYSTEM = 2, 3
KINDS = ("writing", "reading", "full")
WRITING = ("ENOSPC", "EDQUOT", "EROFS", "EIO", "ESTALE", "ENOTCONN")
READING = ("EIO", "ESTALE", "ENOTCONN", "EMFILE")
# Removing something needs no space.
_REMOVING = {"os.remove", "os.rmdir"}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_CHANGING = {"os.rename", "os.mkdir", "os.link", "os.symlink", "os.truncate", *_REMOVING}
_LISTING = {"os.listdir", "os.scandir"}


@dataclass
class Outcome:
    """What came of a command's faults.

    Attributes:
        operations: what it does with files when nobody disturbs it.
        times: one of them failed.
        codes: exit codes of the disturbed jobs, and how often.
        lost: things done before and made again.
        wrong: ends unlike the undisturbed one, results that are none, other exit codes, and things set aside.
        told: what was wrong, for whoever mends it.
    """

    operations: int = 0
    times: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    wrong: int = 0
    told: list[str] = field(default_factory=list)


class Failing:
    """Fails operations on files below a folder, from one on; `install` is called in the process that is disturbed.

    Args:
        below: the folder.
        writing: operations that change something; else those that read.
        code: the error number; None counts alone, in the size of `counter`.
        first: the first operation that fails, from 0 on.
        counter: a file that grows by one byte for each operation.
    """

    def __init__(self, below: Path, *, writing: bool, code: int | None, first: int, counter: Path) -> None:
        self._below = str(below)
        self._writing = writing
        self._code = code
        self._left = first
        self._counter = counter
        self._descriptor = -1

    def install(self) -> None:
        """From now on, in this process."""
        self._descriptor = os.open(self._counter, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if self._writing:
            synced = os.fsync

            def fsync(descriptor: int) -> None:
                # A name of what was removed ends otherwise, and is of no interest.
                self._meet("os.fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink()))
                synced(descriptor)

            os.fsync = fsync
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = args
            if isinstance(path, int):
                return
            changes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) if flags is not None else "r" not in mode
            if changes == self._writing:
                self._meet(event, path)
        elif event in (_CHANGING if self._writing else _LISTING):
            self._meet(event, args[0])

    def _meet(self, event: str, path: Any) -> None:
        if path is None or isinstance(path, int) or not str(Path(os.fsdecode(path)).absolute()).startswith(self._below):
            return
        if self._code is None:
            os.write(self._descriptor, b".")
        elif event not in _REMOVING or self._code not in _NO_SPACE:
            self._left -= 1
            if self._left < 0:
                raise OSError(self._code, os.strerror(self._code), os.fsdecode(path))


def impatient(command: Command) -> list[str]:
    """Options that let a command stop as soon as it knows that the system is at fault."""
    takes = ("score", "score again", "eval", "judge", "hosted", "generate")
    return ["--patience", "0"] if command.name in takes else []


def spread(count: int, most: int, rng: random.Random) -> list[int]:
    """At most so many numbers below `count`, in even steps; all of them where they are few."""
    if count <= most:
        return list(range(count))
    step = count / most
    return sorted({min(count - 1, int((place + rng.random()) * step)) for place in range(most)})


@dataclass
class Trial:
    """One command, whose files fail.

    Attributes:
        command: as `kills` has it.
        work: a folder of its own, with ``place`` in it.
        reads: below it lies what the command reads.
        most: operations that are tried.
        rng: which ones.
    """

    command: Command
    work: Path
    reads: Path
    most: int
    rng: random.Random

    @property
    def _place(self) -> Path:
        return self.work / "disk/place"

    def run_full(self) -> Outcome:
        """Let a file system be too small."""
        command, place, outcome, disk = self.command, self._place, Outcome(), self._place.parent
        mount(disk)
        try:
            self._fresh()
            before = command.state(place)
            fresh_bytes = _used(disk)
            to_the_end(command.argv(place))
            expected, whole_bytes = command.state(place), _used(disk)
            for turn in range(self.most):
                self._fresh()
                share = (turn + self.rng.random()) / self.most
                size = _used(disk) + int(share * max(2**14, whole_bytes - fresh_bytes))
                _resize(disk, size)
                told = f"{share:.0%} of {whole_bytes - fresh_bytes:,} bytes"
                self._once(outcome, lambda: None, told, before, expected, mend=lambda: _resize(disk, 2**26))
        finally:
            unmount(disk)
        return outcome

    def run(self, *, writing: bool) -> Outcome:
        """Let operations fail, one job each."""
        command, place, outcome = self.command, self._place, Outcome()
        below, counter = (place if writing else self.reads), self.work / "counter"
        self._fresh()
        before = command.state(place)
        counting = Failing(below, writing=writing, code=None, first=0, counter=counter)
        code = ended(attempt(command.argv(place), counting.install), 600)
        assert code == 0, f"{command.name} ended with exit code {code}"
        expected = command.state(place)
        outcome.operations = counter.stat().st_size
        names = WRITING if writing else READING
        for turn, first in enumerate(spread(outcome.operations, self.most, self.rng)):
            name = names[turn % len(names)]
            failing = Failing(below, writing=writing, code=getattr(errno, name), first=first, counter=counter)
            self._fresh()
            self._once(outcome, failing.install, f"{name} at operation {first}", before, expected)
        return outcome

    def _fresh(self) -> None:
        place = self._place
        place.parent.mkdir(exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        for beside in leftovers(place):
            shutil.rmtree(beside) if beside.is_dir() else beside.unlink()
        self.command.fresh(place)

    def _once(
        self,
        outcome: Outcome,
        before: Callable[[], None],
        told: str,
        earlier: Any,
        expected: Any,
        mend: Callable[[], None] = lambda: None,
    ) -> None:
        """One fault in a fresh place."""
        command, place = self.command, self._place
        said = self.work / "said"

        def disturbed() -> None:
            nowhere = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(nowhere, 2)
            before()

        child = attempt([*command.argv(place), *impatient(command)], disturbed)
        code = ended(child, 300)
        if code is None:
            kill(child)
            code = -1
        outcome.times += 1
        outcome.codes[code] += 1
        wrong = []
        found = command.state(place)
        # Of a folder that was never written to, being read-only is no fault of the system.
        another = code == BAD_USAGE and "choose another with --out" in said.read_text(errors="replace")
        if code not in (0, STOPPED_BY_SYSTEM) and not another:
            wrong.append(f"exit code {code}: {' '.join(said.read_text(errors='replace').split())[-400:]}")
        if found not in ((expected,) if code == 0 else (None, earlier, expected)):
            wrong.append("a result that is none")
        done = command.done(place)
        mend()
        to_the_end(command.argv(place))
        after = command.done(place)
        outcome.lost += sum(after.get(name) != value for name, value in done.items())
        if command.state(place) != expected:
            wrong.append("another end")
        left = [path.name for path in (*leftovers(place), *place.rglob("*.damaged"))]
        if left:
            wrong.append(f"left {', '.join(left)}")
        outcome.wrong += bool(wrong)
        outcome.told += [f"{told}: {what}" for what in wrong]


def _used(disk: Path) -> int:
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def _resize(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={max(size, 4096)}", str(disk)], check=True, capture_output=True)


def run_file_faults(
    most: int, seed: int, only: Sequence[str], say: Callable[[str], None], kinds: Sequence[str] = KINDS
) -> Iterator[tuple[str, Outcome]]:
    """Faults of some kinds, of all commands or of those of `only`."""
    warm()
    with tempfile.TemporaryDirectory(prefix="javisbench-file-faults-") as folder, server() as url:
        base = Path(folder).resolve()
        if "full" in kinds and not may_mount(base):
            say("full: left out, may not mount here")
            kinds = [kind for kind in kinds if kind != "full"]
        for name, command in commands(base, url).items():
            if only and name not in only:
                continue
            for kind in kinds:
                work = base / f"work-{kind}" / name.replace(" ", "-")
                work.mkdir(parents=True)
                rng = random.Random(f"{seed} {name} {kind}")
                trial = Trial(command, work, base, most, rng)
                outcome = trial.run_full() if kind == "full" else trial.run(writing=kind == "writing")
                say(f"{name}, {kind}: {outcome}")
                yield f"{name}, {kind}", outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--most", type=int, default=8, help="operations that fail, for each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="names of commands, by commas")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    only = [name for name in args.only.split(",") if name]
    found = dict(
        run_file_faults(args.most, args.seed, only, lambda line: print(line, flush=True), args.kinds.split(","))
    )
    if args.json:
        args.json.write_text(json.dumps({name: vars(outcome) for name, outcome in found.items()}, indent=1) + "\n")
    sys.exit(any(outcome.lost or outcome.wrong for outcome in found.values()))


if __name__ == "__main__":
    main()
