"""Do intervals of strengths from votes hold what they say? Simulation of voters; and how often equal models are ranked.

    OMP_NUM_THREADS=1 nice python benchmarks/votes.py --out benchmarks/results/votes.json   # minutes
    python benchmarks/votes.py --repeats 50                                                 # a look

Every row draws `repeats` sets of votes and computes strengths and nominal 95 % intervals with the library's own
functions. `coverage` is how often the interval of one model's strength holds the truth, over models and draws. The
truth is what endless voters would make of these models: where voters have tastes of their own (`taste`, a standard
deviation for each voter and model), the average over tastes is fitted. `false_ranks` is how often, of equal models, any
is said to be better than another.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from javisbench.bradley_terry import TIE, bootstrap_intervals, strengths
from javisbench.results.verdicts import judge_estimates

TIES = -0.6


@dataclass(frozen=True)
class Scenario:
    """Voters and what they vote on.

    Attributes:
        truth: strength of each model on average.
        voters: their number.
        each: votes of a voter.
        taste: standard deviation of a voter's own liking of each model.
    """

    truth: tuple[float, ...]
    voters: int
    each: int
    taste: float = 0.0


FOUR = (-0.5, 0.0, 0.1, 0.4)
SCENARIOS = (
    Scenario(FOUR, 10, 30),
    Scenario(FOUR, 20, 30),
    Scenario(FOUR, 40, 20),
    Scenario(FOUR, 100, 20),
    Scenario((-1.5, -0.5, 0.5, 1.5), 40, 20),
    Scenario(tuple(np.linspace(-1, 1, 10).tolist()), 40, 40),
    Scenario(FOUR, 20, 30, taste=0.5),
    Scenario(FOUR, 40, 20, taste=0.5),
    Scenario(FOUR, 40, 20, taste=1.0),
    Scenario((0.0, 0.0, 0.0, 0.0), 40, 20),
    Scenario((0.0, 0.0, 0.0, 0.0), 12, 30),
    Scenario((0.0, 0.0, 0.0, 0.0), 40, 20, taste=0.5),
)


def shares(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Chances of the three outcomes for the liking of both models."""
    odds = np.stack([first, second, TIES + (first + second) / 2], axis=-1)
    odds = np.exp(odds - odds.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def draw(scenario: Scenario, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Models, outcomes and voters of one set of votes."""
    models, n = len(scenario.truth), scenario.voters * scenario.each
    voters = np.repeat(np.arange(scenario.voters), scenario.each)
    liking = np.array(scenario.truth) + scenario.taste * rng.standard_normal((scenario.voters, models))
    first = rng.integers(0, models, n)
    second = (first + rng.integers(1, models, n)) % models
    chances = shares(liking[voters, first], liking[voters, second])
    return first, second, (rng.random(n)[:, None] > chances.cumsum(axis=1)).sum(axis=1), voters


def truth_of(scenario: Scenario) -> np.ndarray:
    """The strengths that fit the chances averaged over tastes best: exact without tastes."""
    truth = np.array(scenario.truth)
    if not scenario.taste:
        return truth - truth.mean()
    # Votes in proportion to the chances, averaged over 200 quantiles of the difference of two tastes.
    from scipy.stats import norm

    gaps = scenario.taste * np.sqrt(2) * norm.ppf((np.arange(200) + 0.5) / 200)
    rows: list[tuple[int, int, int]] = []
    for i in range(len(truth)):
        for j in range(i):
            counts = np.rint(20_000 * shares(truth[i] - truth[j] + gaps, np.zeros(200)).mean(axis=0)).astype(int)
            for outcome, count in enumerate(counts.tolist()):
                rows += [(i, j, outcome)] * count
    first, second, outcomes = np.array(rows).T
    return strengths(first, second, outcomes, len(truth)).values


def measure(scenario: Scenario, repeats: int) -> dict[str, object]:
    """One row."""
    rng, truth = np.random.default_rng(0), truth_of(scenario)
    equal = len(set(scenario.truth)) == 1
    held, widths, estimates, ranked, begun = [], [], [], 0, time.perf_counter()
    for _ in range(repeats):
        first, second, outcomes, voters = draw(scenario, rng)
        ends = bootstrap_intervals(first, second, outcomes, voters, len(truth), seed=int(rng.integers(2**31)))
        held.append((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
        widths.append(ends[:, 1] - ends[:, 0])
        found = strengths(first, second, outcomes, len(truth))
        estimates.append(found.values)
        ranks = judge_estimates("people", "overall", found.values, found.influences, voters).ranks
        ranked += any(rank != (1, len(truth)) for rank in ranks)
    return {
        **asdict(scenario),
        "ties": round(float((outcomes == TIE).mean()), 3),
        "repeats": repeats,
        "coverage": round(float(np.mean(held)), 4),
        "least_model": round(float(np.mean(held, axis=0).min()), 4),
        "most_model": round(float(np.mean(held, axis=0).max()), 4),
        "width": round(float(np.mean(widths)), 3),
        "bias": round(float(np.abs(np.mean(estimates, axis=0) - truth).max()), 4),
        "false_ranks": round(ranked / repeats, 4) if equal else None,
        "seconds": round(time.perf_counter() - begun, 1),
    }


def main() -> None:
    """Print or write all rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = []
    for scenario in SCENARIOS:
        rows.append(measure(scenario, given.repeats))
        print(json.dumps(rows[-1]), flush=True)
    if given.out:
        given.out.write_text(json.dumps({"benchmark": "votes", "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
