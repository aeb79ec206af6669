"""Faults of the system, injected into `javisbench score`: full disks, mounts that vanish, stops, lost processes.

    python tests/faults.py [--seed 0] [--only mounts,stops] [--json FILE]

Each fault comes at a random moment. Then the same command runs undisturbed, and must end as it does without the fault;
no clip may be listed as bad for it. Faults of mounts need the right to mount (root); without it they are left out, and
said to be.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from kills import METRICS, attempt, ended, kill, run_done, run_state, to_the_end, warm, write_clips

STOPPED_BY_SYSTEM = 3


@dataclass
class Outcome:
    """What came of a fault.

    Attributes:
        times: it was injected.
        codes: exit codes of the disturbed jobs, and how often.
        lost: things done before and made again.
        wrong: ends unlike the undisturbed one; disturbed jobs that ended well with another result, or with another exit
            code than may be.
    """

    times: int = 0
    codes: dict[int, int] = field(default_factory=dict)
    lost: int = 0
    wrong: int = 0


@dataclass
class Bench:
    """A folder of clips, and what scoring it gives.

    Attributes:
        base: all of it.
        clips: the folder.
        run: where jobs write.
        expected: state of an undisturbed run.
        lasts_s: how long it takes.
        rng: of the moments.
    """

    base: Path
    clips: Path
    run: Path
    rng: random.Random
    expected: Any = None
    lasts_s: float = 0.0

    def argv(self, *more: str) -> list[str]:
        return ["score", str(self.clips), "--metrics", METRICS, "--workers", "1", "-q", *more, "--out", str(self.run)]

    def measure(self) -> None:
        """Run undisturbed."""
        self.lasts_s = to_the_end(self.argv())
        self.expected = run_state(self.run)
        assert self.expected is not None
        self.clear()

    def clear(self) -> None:
        """Forget the run."""
        for path in self.run.iterdir() if self.run.exists() else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def moment(self) -> None:
        """Wait for a random moment of a job's life."""
        time.sleep(self.rng.uniform(0.1, 0.9) * self.lasts_s)

    def try_once(
        self,
        outcome: Outcome,
        disturb: Callable[[int], None],
        *,
        before: Callable[[], None] = lambda: None,
        mend: Callable[[], None] = lambda: None,
        codes: Sequence[int] = (0, STOPPED_BY_SYSTEM),
        options: Sequence[str] = ("--patience", "0.2"),
    ) -> None:
        """One fault: `disturb` a job, `mend`, run it again, and compare."""
        child = attempt(self.argv(*options), before)
        disturb(child)
        code = ended(child, 300)
        if code is None:
            kill(child)
            code = -1
        outcome.times += 1
        outcome.codes[code] = outcome.codes.get(code, 0) + 1
        outcome.wrong += code not in codes
        mend()
        if code == 0:
            outcome.wrong += run_state(self.run) != self.expected
        done = run_done(self.run)
        to_the_end(self.argv())
        outcome.lost += sum(run_done(self.run).get(name) != value for name, value in done.items())
        outcome.wrong += run_state(self.run) != self.expected
        self.clear()


@contextmanager
def bench(base: Path, seed: str, clips: Path | None = None, run: Path | None = None) -> Iterator[Bench]:
    made = Bench(base, clips or base / "clips", run or base / "run", random.Random(seed))
    if not made.clips.exists():
        write_clips(made.clips, 6)
    made.measure()
    yield made


def mount(folder: Path, size: str = "64m") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True, capture_output=True
    )


def bind(folder: Path, at: Path) -> None:
    """Mount a folder at another place, with all that is in it, in one step."""
    at.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", str(folder), str(at)], check=True, capture_output=True)


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], capture_output=True)


def may_mount(base: Path) -> bool:
    try:
        mount(base / "probe")
    except (subprocess.CalledProcessError, FileNotFoundError):
        return False
    unmount(base / "probe")
    return True


Faults = Iterator[tuple[str, Outcome]]


def mounts(base: Path, seed: str) -> Faults:
    """Full, read-only and vanishing file systems."""
    if not may_mount(base):
        print("mounts: left out, may not mount here", flush=True)
        return
    disk = base / "disk"
    mount(disk)
    try:
        with bench(base / "writes", seed, run=disk / "run") as b:
            full, gone = Outcome(), Outcome()
            filler = disk / "filler"

            def fill(_: int) -> None:
                b.moment()
                with suppress(OSError), filler.open("wb") as file:
                    while True:
                        file.write(bytes(2**16))

            for _ in range(8):
                b.try_once(full, fill, mend=filler.unlink)
            yield "disk full", full

            saved = base / "saved"

            def take_away(_: int) -> None:
                b.moment()
                # What has arrived on the disk is on it when it comes back.
                shutil.copytree(disk, saved, symlinks=True, dirs_exist_ok=True, copy_function=_copied)
                unmount(disk)

            def bring_back() -> None:
                mount(disk)
                shutil.copytree(saved, disk, dirs_exist_ok=True)
                shutil.rmtree(saved)

            for _ in range(8):
                b.try_once(gone, take_away, mend=bring_back)
            yield "file system of the run folder vanishes", gone
    finally:
        unmount(disk)
    share, kept = base / "share", base / "kept"
    write_clips(kept, 6)
    bind(kept, share)
    try:
        with bench(base / "reads", seed, clips=share, run=base / "reads/run") as b:
            gone, back = Outcome(), Outcome()

            def away(_: int) -> None:
                b.moment()
                unmount(share)

            def again() -> None:
                bind(kept, share)

            for _ in range(8):
                b.try_once(gone, away, mend=again)
            yield "file system of the clips vanishes", gone

            def blink(child: int) -> None:
                away(child)
                time.sleep(0.5)
                again()

            for _ in range(8):
                b.try_once(back, blink, codes=(0,), options=("--patience", "60"))
            yield "... and comes back within --patience", back
    finally:
        unmount(share)


def _copied(source: str, target: str) -> None:
    with suppress(FileNotFoundError):  # a temporary that has been renamed meanwhile
        shutil.copy2(source, target)


def stops(base: Path, seed: str) -> Faults:
    """A job that is stopped for longer than deadlines last, as by a suspend; and one that is told to end."""
    with bench(base, seed) as b:
        stopped, told = Outcome(), Outcome()

        def stop(child: int) -> None:
            b.moment()
            os.killpg(child, signal.SIGSTOP)
            _signal_children(child, signal.SIGSTOP)
            time.sleep(2.5)
            _signal_children(child, signal.SIGCONT)
            os.killpg(child, signal.SIGCONT)

        for _ in range(12):
            b.try_once(stopped, stop, codes=(0,), options=("--clip-deadline", "1"))
        yield "stopped for longer than the deadline (SIGSTOP, SIGCONT)", stopped

        def end(child: int) -> None:
            b.moment()
            os.killpg(child, b.rng.choice([signal.SIGTERM, signal.SIGHUP, signal.SIGINT]))

        from javisbench.cli.signals import end_in_order

        def listen() -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            end_in_order()

        for _ in range(12):
            b.try_once(told, end, before=listen, codes=(0, 129, 130, 143))
        yield "told to end (SIGTERM, SIGHUP, SIGINT)", told


def _children(child: int) -> list[int]:
    """Decoding processes of a job: they are in its session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[3]) == child and int(entry.parent.name) != child:
                found.append(int(entry.parent.name))
    return found


def _signal_children(child: int, number: signal.Signals) -> None:
    for pid in _children(child):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def processes(base: Path, seed: str) -> Faults:
    """Decoding processes killed, as when memory is short; and no descriptors or processes to be had."""
    with bench(base, seed) as b:
        killed, descriptors, threads = Outcome(), Outcome(), Outcome()

        def shortage(child: int) -> None:
            b.moment()
            for _ in range(3):
                _signal_children(child, signal.SIGKILL)
                time.sleep(0.1)

        for _ in range(12):
            b.try_once(killed, shortage, options=("--patience", "20"), codes=(0,))
        yield "decoding processes killed, also while they start", killed

        def few() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (b.rng.randrange(8, 24), 4096))

        for _ in range(8):
            b.rng.random()
            b.try_once(descriptors, lambda _: None, before=few)
        yield "too few file descriptors", descriptors

        def nobody(left: int) -> None:
            from javisbench.media import process

            real = subprocess.Popen

            def refused(*given: Any, **more: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
                return real(*given, **more)

            process.subprocess.Popen = refused  # type: ignore[assignment, misc]

        for left in (0, 0, 1, 1):
            # One that has been started reads all clips; the result is read back by a process of its own.
            b.try_once(threads, lambda _: None, before=partial(nobody, left), codes=(STOPPED_BY_SYSTEM,))
        yield "no further process (EAGAIN)", threads


@dataclass
class Group:
    """Processes that together may have so much memory and no more (cgroups, version 1 or 2).

    Attributes:
        folder: of the group.
        names: files that hold the limit, the most that was used, and the processes.
    """

    folder: Path
    names: tuple[str, str, str]

    @classmethod
    def made(cls, name: str) -> Group | None:
        """A new group; None where none may be made."""
        ways = (
            (Path("/sys/fs/cgroup/memory"), ("memory.limit_in_bytes", "memory.max_usage_in_bytes", "cgroup.procs")),
            (Path("/sys/fs/cgroup"), ("memory.max", "memory.peak", "cgroup.procs")),
        )
        for root, names in ways:
            with suppress(OSError):
                (root / name).mkdir()
                if (root / name / names[0]).exists():
                    return cls(root / name, names)
                (root / name).rmdir()
        return None

    @property
    def peak(self) -> int:
        """Most bytes that were used."""
        return int((self.folder / self.names[1]).read_text())

    def limit(self, size: int) -> None:
        """Allow so many bytes."""
        (self.folder / self.names[0]).write_text(str(size))

    def end(self) -> None:
        """Kill what is left in it, and remove it."""
        until = time.monotonic() + 60
        while self.folder.exists() and time.monotonic() < until:
            for pid in (self.folder / self.names[2]).read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            with suppress(OSError):
                self.folder.rmdir()
            time.sleep(0.01)

    def join(self) -> None:
        """Put this process, and all that it starts, into the group."""
        (self.folder / self.names[2]).write_text(str(os.getpid()))


def memory(base: Path, seed: str) -> Faults:
    """Less memory than a job needs: the kernel kills a process of it, a decoding one or the job itself."""
    name = f"javisbench-faults-{os.getpid()}"
    group = Group.made(name)
    if group is None:
        print("memory: left out, may make no group of processes here", flush=True)
        return

    def begin(argv: Sequence[str]) -> None:
        # A process of its own: a fork's memory was charged to its parent, and the kernel goes by all that it has.
        group.join()
        os.execv(sys.executable, [sys.executable, "-m", "javisbench", *argv])

    with bench(base, seed) as b:
        short = Outcome()
        try:
            assert ended(attempt([], lambda: begin(b.argv())), 300) == 0
            peak = group.peak
        finally:
            group.end()
        b.clear()
        for turn in range(12):
            group = Group.made(f"{name}-{turn}")
            assert group is not None
            try:
                # Near what it takes, the decoding processes go, and are started again; far below, the job itself does.
                group.limit(int(b.rng.uniform(*((0.3, 0.7) if turn % 3 == 0 else (0.7, 0.95))) * peak))
                # A process that the kernel killed has no exit code.
                b.try_once(
                    short, lambda _: None, before=partial(begin, b.argv("--patience", "2")), mend=group.end,
                    codes=(0, STOPPED_BY_SYSTEM, -signal.SIGKILL),
                )  # fmt: skip
            finally:
                group.end()
        yield "memory is short (a limit of cgroups; the kernel kills)", short


# A decoding process whose reads of clips fail, from a random one on, for a number of times.
FAILING = """
import os
real, state = os.open, {{"left": {left}, "often": {often}}}
def failing(path, *given, **more):
    if str(path).endswith(".mp4"):
        state["left"] -= 1
        if state["left"] < 0 and state["often"] > 0:
            state["often"] -= 1
            raise OSError({code}, os.strerror({code}), str(path))
    return real(path, *given, **more)
os.open = failing
from javisbench.media.worker import main
main()
"""


def errors(base: Path, seed: str) -> Faults:
    """Errors of reading and writing that mounts cannot make here, by injected error numbers."""
    with bench(base, seed) as b:
        for name in ("EIO", "ESTALE", "ENOTCONN"):
            code, passing, lasting = getattr(errno, name), Outcome(), Outcome()

            def failing(often: int, code: int = code) -> Callable[[], None]:
                left = b.rng.randrange(6)

                def before() -> None:
                    from javisbench.media import process

                    (b.base / "module").mkdir(exist_ok=True)
                    text = FAILING.format(left=left, often=often, code=code)
                    (b.base / "module/failing_reads.py").write_text(text)
                    sys.path.insert(0, str(b.base / "module"))
                    process._MODULE = "failing_reads"

                return before

            for _ in range(4):
                b.try_once(passing, lambda _: None, before=failing(b.rng.randrange(1, 4)), codes=(0,))
            yield f"reading fails for a moment ({name})", passing
            for _ in range(4):
                b.try_once(lasting, lambda _: None, before=failing(10**6))
            yield f"reading fails from some moment on ({name})", lasting
        for name, title in (("EDQUOT", "quota exceeded"), ("EROFS", "disk turns read-only"), ("EIO", "writing fails")):
            writing = Outcome()

            def over(code: int = getattr(errno, name)) -> None:
                left, real = b.rng.randrange(9), Path.replace

                def refused(self: Path, target: Any) -> Any:
                    nonlocal left
                    left -= 1
                    if left < 0:
                        raise OSError(code, os.strerror(code))
                    return real(self, target)

                Path.replace = refused  # type: ignore[method-assign]

            for _ in range(6):
                b.rng.random()
                b.try_once(writing, lambda _: None, before=over)
            yield f"{title} ({name})", writing


def rot(base: Path, seed: str) -> Faults:
    """One bit of a finished run's files turned over: either readers name it, or the next job puts it right unasked."""
    from javisbench.errors import RunError
    from javisbench.results.run_folder import load_results

    with bench(base, seed) as b:
        kinds = {
            "run.json": (0, "run.json"),
            "summary.json": (0, "summary.json"),
            "a table of scores": (0, "*.parquet"),
            "a shard of features": (1, "features/shard-*.safetensors"),
        }
        to_the_end(b.argv())
        summary = b.run / "summary.json"
        expected = json.loads(summary.read_text())
        for kind, (unnamed, pattern) in kinds.items():
            outcome = Outcome()
            for _ in range(8):
                path = b.rng.choice(sorted(b.run.glob(pattern)))
                data = bytearray(path.read_bytes())
                data[b.rng.randrange(len(data))] ^= 1 << b.rng.randrange(8)
                path.write_bytes(data)
                outcome.times += 1
                try:
                    load_results(b.run)
                    # A bit may change nothing: 1e-05 is 1E-05.
                    outcome.wrong += not unnamed and json.loads(summary.read_text()) != expected
                except RunError:
                    outcome.wrong += unnamed
                to_the_end(b.argv())
                outcome.wrong += run_state(b.run) != b.expected
                load_results(b.run)
            yield f"a bit of {kind} turns over", outcome


GROUPS: dict[str, Callable[[Path, str], Faults]] = {
    "mounts": mounts,
    "stops": stops,
    "processes": processes,
    "memory": memory,
    "errors": errors,
    "rot": rot,
}


def run_faults(seed: int, only: Sequence[str], say: Callable[[str], None]) -> dict[str, Outcome]:
    """All faults, or those of some groups."""
    warm()
    found = {}
    with tempfile.TemporaryDirectory(prefix="javisbench-faults-") as folder:
        for name, group in GROUPS.items():
            if only and name not in only:
                continue
            base = Path(folder) / name
            base.mkdir()
            for title, outcome in group(base, f"{seed} {name}"):
                found[title] = outcome
                say(f"{title}: {outcome}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="groups, by commas")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    only = [name for name in args.only.split(",") if name]
    found = run_faults(args.seed, only, lambda line: print(line, flush=True))
    if args.json:
        args.json.write_text(json.dumps({name: vars(outcome) for name, outcome in found.items()}, indent=1) + "\n")
    sys.exit(any(outcome.lost or outcome.wrong for outcome in found.values()))


if __name__ == "__main__":
    main()
