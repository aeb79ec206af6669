"""Two models on the same prompts: is one of them better, or is the difference chance?

    python examples/compare_models.py clips_a/ clips_b/ --suite my_prompts.csv --metrics av_align,av_sync

Clips of the same prompt are compared in pairs. A difference counts when its p-value (docs/statistics.md) is at most
0.05; where it does not, the last column says how large a difference these clips could have shown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import javisbench
from javisbench.results.compare import compare
from javisbench.results.run_folder import load_result


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare two folders of clips.")
    parser.add_argument("clips", type=Path, nargs=2)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--metrics", default="av_align,av_sync")
    parser.add_argument("--protocol", default="javisbench-v2")
    parser.add_argument("--out", type=Path, default=Path("runs/compared"))
    given = parser.parse_args()
    results = []
    for place, clips in zip("ab", given.clips, strict=True):
        run = javisbench.score(
            clips,
            suite=given.suite,
            metrics=given.metrics.split(","),
            protocols=[given.protocol],
            name=f"{place}: {clips.name}",
            out=given.out / place,
        )
        results.append(load_result(run.folder))
    found = compare(*results)
    print(f"{'metric':<12}{'a':>8}{'b':>8}{'a - b':>9}  95 % interval        better")
    for row in found.scores:
        if row.slice == "overall":
            told = row.difference
            low, high = (float("nan") if end is None else end for end in (told.ci_low, told.ci_high))
            could = "" if row.smallest is None else f"(could show {row.smallest:.3f})"
            values = "".join("       -" if value is None else f"{value:8.3f}" for value in (row.a, row.b))
            gap = "        -" if told.value is None else f"{told.value:+9.3f}"
            print(f"{row.metric:<12}{values}{gap}  {low:+.3f} to {high:+.3f}  {row.better or 'undecided'} {could}")


if __name__ == "__main__":
    main()
