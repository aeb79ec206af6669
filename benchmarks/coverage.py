"""Do the intervals hold what they say? Simulation of coverage, of false findings, and of power.

    OMP_NUM_THREADS=1 nice python benchmarks/coverage.py --out benchmarks/results/coverage.json   # hours
    python benchmarks/coverage.py --repeats 50                                                     # a look
    python benchmarks/coverage.py --table benchmarks/results/coverage.json                         # as in the docs

Every row draws `repeats` independent data sets, computes the estimate and its nominal 95 % interval with the library's
own functions, and counts how often the interval holds the mean of the estimates: the value expected at that n.
`population` is the exact distance between the distributions, `bias` how far the expected value is from it.
`false_differences` is how often two models of equal quality, compared on the same prompts, are told apart at 5 %.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from javisbench.metrics.distance import Distance, distance_error
from javisbench.metrics.distances import frechet, kernel_distance
from javisbench.stats import (
    paired_difference,
    pairwise_p_values,
    rank_intervals,
    slice_means,
    standard_error,
    t_interval,
    t_test,
)


@dataclass(frozen=True)
class Scenario:
    """Two distributions of independent or heavy-tailed coordinates whose standard deviations run from 0.5 to 1.5.

    Attributes:
        name: in the result.
        noise: ``gauss``; ``heavy``: multivariate Student t with 8 degrees of freedom; ``skew``: gamma(2), standardised.
        shift: added to every feature of the generated side.
        scale: factor on the spread of the generated side.
        shared: correlation between clips of one prompt, real and generated.
    """

    name: str
    noise: str = "gauss"
    shift: float = 0.0
    scale: float = 1.0
    shared: float = 0.0


SCENARIOS = (
    Scenario("equal"),
    Scenario("nearly equal", shift=0.1, scale=1.05),
    Scenario("different", shift=0.3, scale=1.3),
    Scenario("far apart", shift=1.0),
    Scenario("different, heavy tails", noise="heavy", shift=0.3, scale=1.3),
    Scenario("different, skewed", noise="skew", shift=0.3, scale=1.3),
    Scenario("different, prompts shared", shift=0.3, scale=1.3, shared=0.5),
)


def draw(scenario: Scenario, n: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Real clips, and those of two equally good models, for the same n prompts."""
    spread = np.linspace(0.5, 1.5, width)
    prompt = noise(scenario.noise, n, width, rng)

    def clips() -> np.ndarray:
        own = noise(scenario.noise, n, width, rng)
        return spread * (np.sqrt(scenario.shared) * prompt + np.sqrt(1 - scenario.shared) * own)

    real = clips()
    return real, *(scenario.scale * clips() + scenario.shift for _ in range(2))


def noise(kind: str, n: int, width: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "skew":
        return (rng.gamma(2.0, size=(n, width)) - 2) / np.sqrt(2)
    gauss = rng.standard_normal((n, width))
    return gauss / np.sqrt(rng.chisquare(8, (n, 1)) / 8) if kind == "heavy" else gauss


def population_frechet(scenario: Scenario, width: int) -> float:
    variance = 8 / 6 if scenario.noise == "heavy" else 1.0
    spread = np.linspace(0.5, 1.5, width)
    return float(width * scenario.shift**2 + variance * (spread**2).sum() * (scenario.scale - 1) ** 2)


def population_mmd(scenario: Scenario, width: int, centred: bool) -> float:
    """Exact: a cubic kernel sees moments up to the third only."""
    second = 8 / 6 if scenario.noise == "heavy" else 1.0
    third = np.sqrt(2.0) if scenario.noise == "skew" else 0.0
    spread = np.linspace(0.5, 1.5, width)

    def moments(shift: float, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        deviation = scale * spread
        variance = second * deviation**2
        first = np.full(width, shift)
        return first, variance + shift**2, third * deviation**3 + 3 * shift * variance + shift**3

    def kernel(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...]) -> float:
        # Cumulants of a sum of independent products add up.
        one, two, three = (p * q for p, q in zip(a, b, strict=True))
        k1 = one.sum()
        k2 = (two - one**2).sum()
        k3 = (three - 3 * two * one + 2 * one**3).sum()
        raw2, raw3 = k2 + k1**2, k3 + 3 * k2 * k1 + k1**3
        return float(1 + 3 * k1 / width + 3 * raw2 / width**2 + raw3 / width**3)

    real, fake = moments(0.0, 1.0), moments(0.0 if centred else scenario.shift, scenario.scale)
    return kernel(fake, fake) + kernel(real, real) - 2 * kernel(fake, real)


def set_row(
    scenario: Scenario,
    n: int,
    width: int,
    repeats: int,
    measure: Callable[[np.ndarray, np.ndarray], Distance],
) -> dict[str, float]:
    """Coverage of the intervals of a set distance in one scenario.

    ``first_order_coverage`` is that of intervals that keep the second-order noise twice.
    """
    rng = np.random.default_rng([n, width, len(scenario.name)])
    values, errors, first_order = [], [], []
    for _ in range(repeats):
        real, first, _ = draw(scenario, n, width, rng)
        a = measure(first, real)
        values.append(a.value)
        errors.append(distance_error(a)[0])
        first_order.append(standard_error(a.influences_fake + a.influences_real)[0])
    expected = float(np.mean(values))

    def covered(spread: list[float]) -> float:
        low, high = t_interval(np.array(values), np.array(spread), n - 1)
        return float(np.mean((low <= expected) & (expected <= high)))

    return {
        "expected": expected,
        "coverage": covered(errors),
        "first_order_coverage": covered(first_order),
        "error_over_truth": float(np.sqrt(np.mean(np.square(errors))) / np.std(values)),
        "first_order_error_over_truth": float(np.sqrt(np.mean(np.square(first_order))) / np.std(values)),
    }


def told_apart_row(
    scenario: Scenario, n: int, width: int, repeats: int, measure: Callable[[np.ndarray, np.ndarray], Distance]
) -> dict[str, float]:
    """How often two equally good models, on the same prompts, differ at 5 %."""
    rng = np.random.default_rng([n, width, len(scenario.name)])
    found = 0
    for _ in range(repeats):
        real, first, second = draw(scenario, n, width, rng)
        a, b = measure(first, real), measure(second, real)
        influence = a.influences_fake + a.influences_real - b.influences_fake - b.influences_real
        found += t_test(a.value - b.value, *standard_error(influence)) <= 0.05
    return {"false_differences": found / repeats}


MEASURES: dict[str, Callable[..., Distance]] = {
    "frechet": frechet,
    "mmd": partial(kernel_distance, centred=False),
    "mmd, centred": partial(kernel_distance, centred=True),
}
CASES = [
    *(("frechet", n, width) for width in (16, 32) for n in (2 * width, 4 * width, 16 * width)),
    *((name, n, 32) for name in ("mmd", "mmd, centred") for n in (40, 100, 400)),
]


def distances(repeats: int, cases: Iterable[tuple[str, int, int]] = CASES) -> list[dict[str, Any]]:
    rows = []
    for name, n, width in cases:
        for scenario in SCENARIOS:
            row = set_row(scenario, n, width, repeats, partial(MEASURES[name], with_excess=True))
            rows.append(described(name, scenario, n, width, row))
    return rows


def equal_models(repeats: int, cases: Iterable[tuple[str, int, int]] = CASES) -> list[dict[str, Any]]:
    rows = []
    for name, n, width in cases:
        for scenario in SCENARIOS:
            found = told_apart_row(scenario, n, width, repeats, MEASURES[name])
            rows.append({"distance": name, "scenario": scenario.name, "n": n, "d": width, **found})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def wide(repeats: int) -> list[dict[str, Any]]:
    """As wide as FVD's features, at the smallest n that has an interval."""
    rows = []
    for scenario in SCENARIOS[:3]:
        row = set_row(scenario, 800, 400, repeats, partial(frechet, with_excess=True))
        rows.append(described("frechet", scenario, 800, 400, row))
    return rows


def described(distance: str, scenario: Scenario, n: int, width: int, row: dict[str, float]) -> dict[str, Any]:
    if distance == "frechet":
        population = population_frechet(scenario, width)
    else:
        population = population_mmd(scenario, width, distance == "mmd, centred")
    result = {"distance": distance, "scenario": scenario.name, "n": n, "d": width, **row}
    result |= {"population": population, "bias": row["expected"] - population}
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in result.items()}), flush=True)
    return result


def means(repeats: int) -> list[dict[str, Any]]:
    """Coverage of the bootstrap over prompts: skewed scores, three repeats a prompt, prompts of unequal difficulty."""
    rows = []
    for prompts in (10, 20, 50, 200):
        rng = np.random.default_rng(prompts)
        hits = 0
        for seed in range(repeats):
            difficulty = rng.exponential(size=(prompts, 1))
            scores = (difficulty + 0.5 * rng.standard_normal((prompts, 3))).ravel()
            clusters = np.repeat(np.arange(prompts), 3)
            estimate = slice_means(scores, clusters, {"overall": np.arange(scores.size)}, seed=seed)["overall"]
            hits += estimate.ci_low <= 1.0 <= estimate.ci_high
        rows.append({"prompts": prompts, "repeats_a_prompt": 3, "coverage": hits / repeats})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def ranks(repeats: int) -> list[dict[str, Any]]:
    """How often a table of equally good models has any rank interval short of 1 to M."""
    rows = []
    for models, n in ((5, 60), (10, 60), (10, 500)):
        rng = np.random.default_rng([models, n])
        wrong = 0
        for _ in range(repeats):
            prompt = rng.exponential(size=(n, 1))
            scores = prompt + rng.exponential(size=(n, models)) ** 1.5
            estimates = scores.mean(axis=0)
            wrong += told_apart(estimates, pairwise_p_values(estimates, scores))
        rows.append({"metric": "per sample, skewed", "models": models, "n": n, "family_wise_error": wrong / repeats})
        print(json.dumps(rows[-1]), flush=True)
    for n in (32, 256):
        rng = np.random.default_rng(n)
        wrong = 0
        scenario = SCENARIOS[2]
        for _ in range(repeats):
            real, *_ = draw(scenario, n, 16, rng)
            found = [frechet(draw(scenario, n, 16, rng)[1], real) for _ in range(5)]
            influences = np.stack([f.influences_fake + f.influences_real for f in found], axis=1)
            estimates = np.array([f.value for f in found])
            wrong += told_apart(estimates, pairwise_p_values(estimates, influences))
        rows.append({"metric": "frechet, d = 16", "models": 5, "n": n, "family_wise_error": wrong / repeats})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def told_apart(estimates: np.ndarray, p_values: np.ndarray) -> bool:
    intervals = rank_intervals(estimates, p_values, higher_is_better=True)
    return any(interval != (1, len(estimates)) for interval in intervals)


def power(repeats: int) -> list[dict[str, Any]]:
    """How often a true difference is found, against the power of the noncentral t distribution."""
    from scipy.stats import nct, t

    rows = []
    for n, effect in ((50, 0.3), (200, 0.2), (1000, 0.1)):
        rng = np.random.default_rng(n)
        found = 0
        for _ in range(repeats):
            prompt = rng.standard_normal(n)
            a, b = (prompt + rng.standard_normal(n) / np.sqrt(2) + gain for gain in (effect, 0.0))
            p = paired_difference(a, b, np.arange(n)).p_value
            found += p <= 0.05
        reach, shift = t.ppf(0.975, n - 1), effect * np.sqrt(n)
        theory = float(nct.sf(reach, n - 1, shift) + nct.cdf(-reach, n - 1, shift))
        rows.append({"n": n, "effect_in_sd": effect, "power": theory, "found": found / repeats})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def table(result: dict[str, Any]) -> str:
    """The distances' rows as a Markdown table."""
    told = {key(row): row["false_differences"] for row in result["equal_models"]}
    lines = [
        "| distance | d | n | scenario | population | bias at n | first order | coverage | SE / true SD | false "
        "differences |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in [*result["distances"], *result["wide"]]:
        found = told.get(key(row))
        lines.append(
            f"| {row['distance']} | {row['d']} | {row['n']} | {row['scenario']} | {row['population']:.3f} "
            f"| {row['bias']:+.3f} | {100 * row['first_order_coverage']:.1f} % | {100 * row['coverage']:.1f} % "
            f"| {row['error_over_truth']:.2f} | {'' if found is None else f'{100 * found:.1f} %'} |"
        )
    return "\n".join(lines)


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["distance"], row["scenario"], row["n"], row["d"]


def replaced(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The old rows in their order, with the new ones in place of those of the same case."""
    by_key = {key(row): row for row in new}
    return [by_key.pop(key(row), row) for row in old] + list(by_key.values())


BY_CASE = {"distances": distances, "equal_models": equal_models}
PARTS = {
    "ranks": ranks,
    "power": power,
    "means": means,
    **BY_CASE,
    "wide": wide,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument(
        "--parts", default=",".join(PARTS), help="some of %(default)s; the others keep their rows in --out"
    )
    parser.add_argument(
        "--distance", choices=sorted(MEASURES), help="of this one alone; the others keep their rows in --out"
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--table", type=Path, help="print the table of an earlier result and stop")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.table.read_text(encoding="utf-8"))))
        return
    start = time.perf_counter()
    result: dict[str, Any] = {}
    if options.out and options.out.exists():
        result = json.loads(options.out.read_text(encoding="utf-8"))
    result |= {"nominal": 0.95, "scenarios": [asdict(scenario) for scenario in SCENARIOS]}
    for part in options.parts.split(","):
        if options.distance and part in BY_CASE:
            cases = [case for case in CASES if case[0] == options.distance]
            result[part] = replaced(result.get(part, []), BY_CASE[part](options.repeats, cases))
        else:
            result[part] = PARTS[part](options.repeats)
        result.setdefault("repeats", {})[part] = options.repeats
    print(f"{time.perf_counter() - start:.0f} s")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
