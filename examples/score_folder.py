"""Score a folder of clips, and look at what came out.

    python examples/score_folder.py clips/ --suite my_prompts.csv

`clips/` holds ID.mp4 (and ID.wav) for each row of the suite; without --suite, ID.txt beside a clip holds its prompt.
The metrics here need no weights; add others once these are fetched (`javisbench weights fetch imagebind_huge`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import javisbench


def main() -> None:
    parser = argparse.ArgumentParser(description="Score a folder of clips.")
    parser.add_argument("clips", type=Path)
    parser.add_argument("--suite", help="name, CSV or JSONL file")
    parser.add_argument("--metrics", default="av_align,av_sync,health_*")
    parser.add_argument("--protocol", default="javisbench-v2")
    parser.add_argument("--out", type=Path, help="run folder; the same one again goes on")
    given = parser.parse_args()
    result = javisbench.score(
        given.clips,
        suite=given.suite,
        metrics=given.metrics.split(","),
        protocols=[given.protocol],
        out=given.out,
    )
    overall = result.table[result.table["aspect"] == "overall"]
    print(overall[["metric", "value", "ci_low", "ci_high", "n", "status"]].to_string(index=False))

    # One row a clip: the three in which picture and sound agree the least.
    if "av_align" in result.scores:
        worst = result.scores.dropna(subset=["av_align"]).nsmallest(3, "av_align")
        print("\nLowest AV-Align:", ", ".join(f"{row.sample_id} ({row.av_align:.3f})" for row in worst.itertuples()))

    # What has no value is never scored 0; it is listed with its reason.
    for row in result.failures.itertuples():
        print(f"{row.sample_id}: {row.metric or 'all metrics'}: {row.kind}: {row.message}")
    print(f"\n{result.folder}")


if __name__ == "__main__":
    main()
