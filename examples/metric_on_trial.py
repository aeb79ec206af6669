"""Put metrics on trial with clips of your own: which damage does each of them notice, from which dose on?

    python examples/metric_on_trial.py clips/ --suite my_prompts.csv --damages 'shift=160,320;swapped;silent'

Without clips, scenes are rendered whose sound and picture belong together. To try a metric of your own, register it
from a package (docs/extending.md); it is named like the others then.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from javisbench import ScoringOptions
from javisbench.leaderboard.trial_page import write_trial_page
from javisbench.run.trial.job import TrialOptions, damage_trial
from javisbench.run.trial.material import in_step
from javisbench.suite import load_suite


def main() -> None:
    parser = argparse.ArgumentParser(description="What a metric can see.")
    parser.add_argument("clips", type=Path, nargs="?")
    parser.add_argument("--suite", default="sync-scenes")
    parser.add_argument("--metrics", default="av_align")
    parser.add_argument("--damages", default="shift=160,320;swapped;silent")
    parser.add_argument("--limit", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("runs/trial"))
    given = parser.parse_args()
    suite = load_suite(given.suite)
    if given.clips is None:
        suite = in_step(suite)
    scoring = ScoringOptions(metrics=given.metrics.split(","), protocols=("javisbench-v2",))
    options = TrialOptions(given.damages, scoring, out=given.out, cost=False)
    found = damage_trial(suite.limited(given.limit), given.clips, options)
    for metric in found.trial.metrics:
        print(f"{metric.metric} sees: {found.trial.sentence_of(metric)}")
        for effect in metric.effects:
            told = f"pairs right {effect.accuracy}  p {effect.p_adjusted}  {effect.verdict}"
            print(f"  {effect.case:<20} n {effect.n:>3}  {told}")
    write_trial_page(found.trial, given.out / "trial.html")
    print(given.out / "trial.html")


if __name__ == "__main__":
    main()
