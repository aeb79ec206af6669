"""Do intervals of strengths from votes hold what they say? Simulation of voters; and how often equal models are ranked.

    OMP_NUM_THREADS=1 nice python benchmarks/votes.py --out benchmarks/results/votes.json   # minutes
    python benchmarks/votes.py --repeats 50                                                 # a look

Every row draws `repeats` sets of votes and computes strengths and nominal 95 % intervals with the library's own
functions. `coverage` is how often the interval of one model's strength holds the truth, over models and draws. The
truth is what endless voters would make of these models: where voters have tastes of their own (`taste`, a standard
deviation for each voter and model), the average over tastes is fitted. `false_ranks` is how often, of equal models, any
is said to be better than another.

Rows with `prompts` are those of few voters: intervals are over prompts, on which clips come out better or worse
(`taste`, for each prompt and model). The voters, who have tastes of their own too (`voters_taste`), are drawn anew in
each set; the truth is what they would make of endless prompts.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from javisbench.bradley_terry import TIE, intervals, strengths
from javisbench.results.verdicts import judge_estimates

TIES = -0.6


@dataclass(frozen=True)
class Scenario:
    """Voters and what they vote on.

    Attributes:
        truth: strength of each model on average.
        voters: their number.
        each: votes of a voter.
        taste: standard deviation of a voter's own liking of each model; of a prompt's where there are `prompts`.
        uneven: standard deviation of the logarithm of how much voters vote; `each` is the mean.
        prompts: where intervals are over prompts, their number; every voter votes `each` times on each.
        voters_taste: as `taste`, of the voters, where intervals are over prompts.
    """

    truth: tuple[float, ...]
    voters: int
    each: int
    taste: float = 0.0
    uneven: float = 0.0
    prompts: int = 0
    voters_taste: float = 0.0


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
    Scenario(FOUR, 10, 30, uneven=0.8),
    Scenario(FOUR, 10, 30, taste=0.5, uneven=0.8),
    Scenario(FOUR, 20, 20, taste=1.0, uneven=0.8),
    Scenario(FOUR, 10, 6, taste=0.5),
    Scenario(FOUR, 3, 1, taste=0.5, prompts=60),
    Scenario(FOUR, 3, 2, taste=0.5, prompts=20, voters_taste=0.5),
    Scenario(FOUR, 5, 2, taste=0.5, prompts=10),
    Scenario((0.0, 0.0, 0.0, 0.0), 3, 2, taste=0.5, prompts=40),
)


def shares(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Chances of the three outcomes for the liking of both models."""
    odds = np.stack([first, second, TIES + (first + second) / 2], axis=-1)
    odds = np.exp(odds - odds.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def draw(
    scenario: Scenario, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Models, outcomes and groups of one set of votes, and the truth that intervals are of."""
    models = len(scenario.truth)
    truth, tastes = np.array(scenario.truth), np.zeros((1, models))
    if scenario.prompts:
        tastes = scenario.voters_taste * rng.standard_normal((scenario.voters, models))
        voters = np.tile(np.repeat(np.arange(scenario.voters), scenario.each), scenario.prompts)
        groups = np.repeat(np.arange(scenario.prompts), scenario.voters * scenario.each)
    else:
        share = rng.lognormal(-(scenario.uneven**2) / 2, scenario.uneven, scenario.voters)
        sizes = np.maximum(2, np.rint(scenario.each * share)).astype(int)
        groups, voters = np.repeat(np.arange(scenario.voters), sizes), np.zeros(sizes.sum(), dtype=int)
    n = len(groups)
    liking = truth + tastes[voters] + (scenario.taste * rng.standard_normal((groups[-1] + 1, models)))[groups]
    first = rng.integers(0, models, n)
    second = (first + rng.integers(1, models, n)) % models
    chances = shares(liking[np.arange(n), first], liking[np.arange(n), second])
    outcomes = (rng.random(n)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    return first, second, outcomes, groups, truth_of(truth + tastes, scenario.taste)


def truth_of(liking: np.ndarray, taste: float) -> np.ndarray:
    """The strengths that fit the chances averaged over tastes and over the rows of `liking` best."""
    if not taste and len(liking) == 1:
        return np.array(liking[0] - liking[0].mean())
    return _averaged(tuple(map(tuple, liking.tolist())), taste)


@cache
def _averaged(liking: tuple[tuple[float, ...], ...], taste: float) -> np.ndarray:
    """Of votes in proportion to the chances, averaged over 200 quantiles of the difference of two tastes."""
    from scipy.stats import norm

    of = np.array(liking)
    gaps = taste * np.sqrt(2) * norm.ppf((np.arange(200) + 0.5) / 200)
    rows = []
    for i in range(of.shape[1]):
        for j in range(i):
            apart = (of[:, i] - of[:, j])[:, None] + gaps
            counts = np.rint(5_000 * shares(apart, np.zeros_like(apart)).mean(axis=(0, 1))).astype(int)
            rows += [np.tile((i, j, outcome), (count, 1)) for outcome, count in enumerate(counts)]
    return strengths(*np.concatenate(rows).T, of.shape[1]).values


def measure(scenario: Scenario, repeats: int) -> dict[str, object]:
    """One row."""
    rng, models = np.random.default_rng(0), len(scenario.truth)
    equal = len(set(scenario.truth)) == 1
    held, widths, errors, ranked, begun = [], [], [], 0, time.perf_counter()
    for _ in range(repeats):
        first, second, outcomes, groups, truth = draw(scenario, rng)
        ends = intervals(first, second, outcomes, groups, models)
        known = np.isfinite(ends).all(axis=1)
        held.append(np.where(known, (ends[:, 0] <= truth) & (truth <= ends[:, 1]), np.nan))
        widths.append(ends[:, 1] - ends[:, 0])
        found = strengths(first, second, outcomes, models)
        errors.append(found.values - truth)
        ranks = judge_estimates("people", "overall", found.values, found.influences, groups).ranks
        ranked += any(rank != (1, models) for rank in ranks)
    return {
        **asdict(scenario),
        "ties": round(float((outcomes == TIE).mean()), 3),
        "repeats": repeats,
        "coverage": round(float(np.nanmean(held)), 4),
        "without_interval": round(float(np.isnan(held).mean()), 4),
        "least_model": round(float(np.nanmean(held, axis=0).min()), 4),
        "most_model": round(float(np.nanmean(held, axis=0).max()), 4),
        "width": round(float(np.nanmean(widths)), 3),
        "bias": round(float(np.abs(np.mean(errors, axis=0)).max()), 4),
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
