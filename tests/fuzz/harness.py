"""Running targets: in processes of their own, with little memory, watched by a parent that counts how they end.

The process says which input it begins, and how it ended. One that dies within an input has crashed on it; one that says
nothing for long hangs; one that asks for more address space than the target may have gets a `MemoryError`.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np

from javisbench.errors import JavisbenchError
from javisbench.isolated.process import machine_load
from tests.fuzz.targets import TARGETS, Read, Target

ROOT = Path(__file__).parents[2]
_START_S = 240.0
OUTCOMES = ("read", "refused", "contained", "defect", "memory", "crash", "hang")
"""``contained``: a process that only reads such files died or took too long, and was replaced. The last four are bad.
"""

BAD = ("defect", "memory", "crash", "hang")


@dataclass
class Report:
    """How a target's inputs ended.

    Attributes:
        counts: outcome to number.
        findings: number of the input and what happened, of the bad ones.
        peak_bytes: resident memory of the process; those that it starts have limits of their own.
        seconds: in all.
    """

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[int, str]] = field(default_factory=list)
    peak_bytes: int = 0
    seconds: float = 0.0

    @property
    def bad(self) -> int:
        """Inputs that did what none may do."""
        return sum(self.counts[name] for name in BAD)


def rng_of(target: Target, seed: int, number: int) -> np.random.Generator:
    """The chance that makes input `number`: the same for the same seed, whatever else is run."""
    return np.random.default_rng([seed, zlib.crc32(target.name.encode()), number])


def made(target: Target, good: Sequence[tuple[str, bytes]], seed: int, number: int) -> tuple[str, bytes]:
    """Name and content of input `number`; the first ones are the good files."""
    name, data = good[number % len(good)]
    return name, (data if number < len(good) else target.mutator(data, rng_of(target, seed, number)))


def good_files(target: Target) -> list[tuple[str, bytes]]:
    """What a target's inputs are made from."""
    with tempfile.TemporaryDirectory(prefix="javisbench-fuzz-") as folder:
        return sorted(target.files(Path(folder)).items())


def fuzz(jobs: Mapping[str, range], seed: int = 0, module: str = "tests.fuzz.harness") -> dict[str, Report]:
    """Run inputs of targets, all in one process; one that is lost is replaced, and goes on behind the input that it was
    lost at.

    Args:
        jobs: target to the numbers of its inputs.
        seed: of all chance.
        module: that is started: one whose `main` knows the targets.
    """
    reports = {name: Report() for name in jobs}
    left = dict(jobs)
    while left:
        _watch(left, seed, module, reports)
    return reports


def _watch(left: dict[str, range], seed: int, module: str, reports: Mapping[str, Report]) -> None:
    """Run inputs until all are done or the process is lost; takes what is done out of `left`."""
    jobs = [f"{name}:{numbers.start}:{numbers.stop}" for name, numbers in left.items()]
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **single, "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))}
    name, within = next(iter(left)), False
    with tempfile.TemporaryFile() as errors, subprocess.Popen(
        [sys.executable, "-m", module, str(seed), *jobs], stdout=subprocess.PIPE, stderr=errors, env=environment
    ) as process:  # fmt: skip
        for line in _lines(process, left):
            word, _, rest = line.partition(" ")
            report = reports[name]
            if word == "begin":
                name, _, number = rest.rpartition(":")
                left[name], within = range(int(number), left[name].stop), True
            elif word == "done":
                peak, milliseconds = map(int, rest.split())
                report.peak_bytes = max(report.peak_bytes, peak)
                report.seconds += milliseconds / 1000
                del left[name]
                name, within = next(iter(left), ""), False
            elif within:
                report.counts[word] += 1
                if word in BAD:
                    report.findings.append((left[name].start, rest))
                left[name] = range(left[name].start + 1, left[name].stop)
                within = False
        hung = process.poll() is None
        process.kill()
        process.wait()
        if not left:
            return
        errors.seek(0)
        told = errors.read()[-2000:].decode("utf-8", "replace")
        if not within:
            raise RuntimeError(f"{name} could not be run: {told or 'no answer'}")
        what = "hang" if hung else "crash"
        reports[name].counts[what] += 1
        reports[name].findings.append(
            (left[name].start, "no answer" if hung else f"{process.returncode}: {told[-300:]}")
        )
        left[name] = range(left[name].start + 1, left[name].stop)


def _lines(process: subprocess.Popen[bytes], left: Mapping[str, range]) -> Iterator[str]:
    """What the process says, until it ends or says nothing for too long."""
    assert process.stdout is not None
    descriptor, waiting, patience_s = process.stdout.fileno(), b"", _START_S
    while True:
        if not select.select([descriptor], [], [], patience_s * machine_load())[0]:
            return
        data = os.read(descriptor, 1 << 16)
        if not data:
            process.wait()
            return
        *lines, waiting = (waiting + data).split(b"\n")
        for line in lines:
            # Good files are made, and modules imported, before the first input of each target.
            begun = re.match(rb"begin (.*):\d+$", line)
            patience_s = _patience_s(begun[1].decode()) if begun else patience_s if line[:4] != b"done" else _START_S
            yield line.decode("utf-8", "replace")


def _patience_s(name: str) -> float:
    return TARGETS[name].patience_s if name in TARGETS else 3.0


def main(arguments: Sequence[str], targets: Mapping[str, Target] = TARGETS) -> None:
    """The process: reads inputs, and says how each ended."""
    seed = int(arguments[0])
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for job in arguments[1:]:
        name, start, stop = job.rsplit(":", 2)
        begun = time.monotonic()
        _one(targets[name], range(int(start), int(stop)), seed, out)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print("done", peak, round(1000 * (time.monotonic() - begun)), file=out)
    out.flush()
    os._exit(0)  # what is left is not waited for


def _one(target: Target, numbers: range, seed: int, out: TextIO) -> None:
    good = good_files(target)
    with tempfile.TemporaryDirectory(prefix="javisbench-fuzz-") as scratch:
        own = Path(scratch) / "own"
        own.mkdir()
        read = target.reader(own)
        for file, data in good:  # also what is imported and started when first needed
            _run(read, Path(scratch), file, data)
        _limit(target.memory_bytes)
        for number in numbers:
            file, data = made(target, good, seed, number)
            print(f"begin {target.name}:{number}", file=out)
            print(_run(read, Path(scratch), file, data), file=out)
        _limit(None)


def _limit(more: int | None) -> None:
    """Address space: what there is, and so much more; None for no limit. Linux alone says how much there is."""
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = resource.RLIM_INFINITY if more is None else pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def _run(read: Read, scratch: Path, name: str, data: bytes) -> str:
    folder = scratch / "input"
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(data)
    try:
        read(path)
    except JavisbenchError as error:
        text = error.message
        if error.kind in ("worker_died", "timeout") or re.search("process that reads tables|was not read within", text):
            return f"contained {_flat(text)}"
        return "refused"
    except MemoryError:
        return f"memory {_flat(traceback.format_exc())}"
    except BaseException:  # noqa: BLE001 - that nothing else comes is what is tested
        return f"defect {_flat(traceback.format_exc())}"
    finally:
        for left in folder.iterdir():
            left.unlink()
    return "read"


def _flat(text: str) -> str:
    return " | ".join(text.strip().splitlines())[-1500:].encode("ascii", "backslashreplace").decode()


if __name__ == "__main__":
    main(sys.argv[1:])
