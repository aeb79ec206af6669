"""Let a judge look at a folder of clips: with questions of one's own, at an endpoint, for a known price.

    python examples/judge/judge_folder.py clips/ --suite my_prompts.csv          # a rehearsal, for nothing
    JAVISBENCH_JUDGE_KEY=... python examples/judge/judge_folder.py clips/ --suite my_prompts.csv \
        --url https://api.example.org/v1 --budget 5

Needs `pip install 'javisbench[judge]'`. Without --url a stand-in on this machine answers, whose marks mean nothing
(stand_in.py). The same command again pays nothing twice: answers are kept in the run's folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import javisbench

HERE = Path(__file__).parent


@contextmanager
def endpoint(url: str | None) -> Iterator[str]:
    """The URL that was given, else that of the stand-in."""
    if url is not None:
        yield url
        return
    sys.path.insert(0, str(HERE))
    from stand_in import stand_in

    with stand_in() as own:
        yield own


def main() -> None:
    parser = argparse.ArgumentParser(description="Let a judge look at a folder of clips.")
    parser.add_argument("clips", type=Path)
    parser.add_argument("--suite", help="name, CSV or JSONL file")
    parser.add_argument("--questions", type=Path, default=HERE / "questions.toml")
    parser.add_argument("--url", help="of an OpenAI-compatible endpoint, up to /v1")
    parser.add_argument("--budget", type=float, default=1.0, help="US dollars that this command may spend")
    parser.add_argument("--out", type=Path, help="run folder; the same one again goes on")
    given = parser.parse_args()
    with endpoint(given.url) as url:
        result = javisbench.score(
            given.clips,
            suite=given.suite,
            metrics=[f"judge:{given.questions}"],
            protocols=["javisbench-v2"],
            judge=javisbench.JudgeOptions(url=url, budget=given.budget),
            out=given.out,
        )
    overall = result.table[result.table["aspect"] == "overall"]
    print(overall[["metric", "value", "ci_low", "ci_high", "n", "status"]].to_string(index=False))
    for row in result.failures.itertuples():
        print(f"{row.sample_id}: {row.metric or 'all metrics'}: {row.kind}: {row.message}")

    # Every answer as it came. Read those of the clips that surprise you before you believe their marks.
    lines = (result.folder / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line) for line in lines]
    tokens = sum(answer.get("input_tokens", 0) + answer.get("output_tokens", 0) for answer in answers)
    print(f"\n{len(answers)} answers, {tokens:,} tokens")
    (metric,) = overall["metric"]
    lowest = result.scores.nsmallest(1, metric).iloc[0]
    words = next(answer["text"] for answer in answers if answer["sample_id"] == lowest["sample_id"])
    print(f"The lowest: {lowest['sample_id']} ({lowest[metric]:.2f}): {words}\n{result.folder}")


if __name__ == "__main__":
    main()
