"""Fuzz all readers of strangers' files: ``python -m tests.fuzz --count 10000 --seed 0``, or ``make fuzz``.

python -m tests.fuzz --target "suite csv" --count 1000     one reader
python -m tests.fuzz --target clip --keep 123 bad.mp4      write input 123 of it, to look at
python -m tests.fuzz --count 10000 --out counts.json       keep the counts
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path

from tests.fuzz.harness import OUTCOMES, Report, fuzz, good_files, made
from tests.fuzz.targets import TARGETS


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=2000, help="inputs in all, more for readers that cost little")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--target", action="append", choices=list(TARGETS), help="these alone, COUNT each")
    options.add_argument("--keep", nargs=2, metavar=("NUMBER", "FILE"), help="write one input of the one target")
    options.add_argument("--out", type=Path, help="JSON file for the counts")
    given = options.parse_args()
    if given.keep:
        (target,) = (TARGETS[name] for name in given.target)
        Path(given.keep[1]).write_bytes(made(target, good_files(target), given.seed, int(given.keep[0]))[1])
        return 0
    reports: dict[str, Report] = {}
    for name, count in shares(given.target, given.count).items():
        # Each in a process of its own, which has a peak of its own.
        report = fuzz({name: range(count)}, given.seed)[name]
        reports[name] = report
        told = ", ".join(f"{report.counts[word]} {word}" for word in OUTCOMES if report.counts[word])
        print(f"{name}: {told} ({report.seconds:.0f} s)", flush=True)
        for number, what in report.findings[:10]:
            print(f"  input {number}: {what}", flush=True)
    if given.out:
        given.out.write_text(json.dumps(document(reports, given.seed), indent=1) + "\n", encoding="utf-8")
    return 1 if any(report.bad for report in reports.values()) else 0


def shares(chosen: list[str] | None, count: int) -> dict[str, int]:
    """Inputs of each target: as many for each that is named, else in proportion to how little they cost."""
    if chosen:
        return dict.fromkeys(chosen, count)
    parts = {name: target.cost**-0.5 for name, target in TARGETS.items()}
    return {name: -(-int(count * part * 1000) // int(sum(parts.values()) * 1000)) for name, part in parts.items()}


def document(reports: dict[str, Report], seed: int) -> dict[str, object]:
    """The counts, as they are kept in benchmarks/results."""
    from javisbench.run.manifest import versions

    return {
        "seed": seed,
        "machine": platform.platform(),
        "versions": versions(),
        "inputs": sum(report.counts.total() for report in reports.values()),
        "bad": sum(report.bad for report in reports.values()),
        "targets": {
            name: {
                **{word: report.counts[word] for word in OUTCOMES},
                "limit_mib": TARGETS[name].memory_bytes >> 20,
                "peak_mib": report.peak_bytes >> 20,
            }
            for name, report in reports.items()
        },
    }


if __name__ == "__main__":
    sys.exit(main())
