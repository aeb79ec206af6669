"""Ranks from stored scores and features: what is clustered, filtered and compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from javisbench.metrics.distances import kernel_distance
from javisbench.results.ranking import Ranker
from javisbench.results.run_folder import StoredResult, load_result
from javisbench.results.set_features import SetRows, write_set_features
from javisbench.stats import pairwise_p_values, rank_intervals

TIE, CLEAR = [(1, 2), (1, 2)], [(2, 2), (1, 1)]
Ranks = list[tuple[int, int] | None]


def scored(folder: Path, values: np.ndarray, repeats: int = 1) -> StoredResult:
    """The run with these scores of JavisScore, one a prompt, the same for all of its repeats."""
    ids = [f"sample_{i:04d}" for i in range(len(values))]
    frame = pd.DataFrame({"sample_id": np.repeat(ids, repeats), "repeat": np.tile(np.arange(repeats), len(values))})
    frame["javis_score"] = np.repeat(values, repeats)
    frame.to_parquet(folder / "scores.parquet")
    return load_result(folder)


def ranks(results: list[StoredResult], category: str | None = None, metric: str = "javis_score") -> Ranks:
    return list(Ranker()(results, metric, None if category is None else "event_scenario", category))


def test_repeats_of_a_prompt_are_no_new_prompts(write_run: Callable[..., Path]) -> None:
    rng = np.random.default_rng(7)
    base, gain = rng.normal(size=12), rng.normal(0.4, 1, size=12)
    once = [scored(write_run(name, n=12), values) for name, values in (("A", base), ("B", base + gain))]
    assert ranks(once) == TIE
    often = [scored(write_run(f"{name}9", n=12), values, 9) for name, values in (("A", base), ("B", base + gain))]
    assert ranks(often) == TIE
    clusters = np.repeat(np.arange(12), 9)
    scores = np.stack([np.repeat(base, 9), np.repeat(base + gain, 9)], axis=1)
    # As new prompts they would tell the two apart.
    assert pairwise_p_values(scores.mean(axis=0), scores)[0, 1] < 0.05
    assert pairwise_p_values(scores.mean(axis=0), scores, clusters)[0, 1] > 0.05


def test_a_category_is_ranked_by_its_own_samples(write_run: Callable[..., Path]) -> None:
    paths = [write_run(name, n=60) for name in "AB"]
    members = {name for name, info in load_result(paths[0]).samples_by_id().items()
               if "event_scenario/urban_scenario" in info.categories}  # fmt: skip
    inside = np.array([f"sample_{i:04d}" in members for i in range(60)])
    rng = np.random.default_rng(1)
    base = rng.normal(size=60)
    results = [scored(paths[0], base), scored(paths[1], base + np.where(inside, 1, -0.8) + rng.normal(0, 0.01, 60))]
    assert ranks(results, "urban_scenario") == CLEAR
    assert ranks(results, "natural_scenario") == [(1, 1), (2, 2)]


def test_nine_samples_are_not_ranked_and_ten_are(write_run: Callable[..., Path]) -> None:
    for n, expected in ((9, [None, None]), (10, CLEAR)):
        values = np.arange(n, dtype=float)
        results = [scored(write_run(f"{name}{n}", n=n), values + gain) for name, gain in (("A", 0), ("B", 1))]
        assert ranks(results) == expected


def featured(folder: Path, fake: np.ndarray, real: np.ndarray, metric: str, order: Any = None) -> StoredResult:
    """The run with these rows of a set metric."""
    order = np.arange(len(fake)) if order is None else order
    ids = tuple(f"sample_{i:04d}" for i in order)
    write_set_features(
        folder, {"i3d": SetRows("i3d", (metric,), ids, fake[order].astype("f4"), real[order].astype("f4"))}
    )
    return load_result(folder)


def kvd_ranks(fakes: list[np.ndarray], real: np.ndarray, *, with_real: bool, centred: bool = True) -> Ranks:
    """By hand, from the distances' influences."""
    found = [kernel_distance(fake.astype("f4"), real.astype("f4"), centred=centred) for fake in fakes]
    parts = [f.influences_fake + (f.influences_real if with_real else 0) for f in found]  # type: ignore[operator]
    values = np.array([f.value for f in found])
    p_values = pairwise_p_values(values, np.stack(parts, axis=1))
    return rank_intervals(values, p_values, higher_is_better=False)


def test_ranks_of_a_set_metric_are_those_of_both_sides(write_run: Callable[..., Path]) -> None:
    rng = np.random.default_rng(85)
    real = rng.normal(size=(60, 3)).astype("f4")
    # Generated clips resemble their real ones: with the generated side alone the two would not be told apart.
    fakes = [scale * real + rng.normal(0, 0.3, (60, 3)) for scale in (1.25, 1.4)]
    results = [
        featured(write_run(name, metrics=("kvd",)), fake, real, "kvd") for name, fake in zip("AB", fakes, strict=True)
    ]
    assert kvd_ranks(fakes, real, with_real=True) != kvd_ranks(fakes, real, with_real=False)
    assert ranks(results, metric="kvd") == kvd_ranks(fakes, real, with_real=True)


def test_kvd_is_centred_where_the_protocol_centres(write_run: Callable[..., Path]) -> None:
    rng = np.random.default_rng(2)
    real = rng.normal(size=(80, 3))
    fakes = [real + rng.normal(0, 0.2, (80, 3)) + shift for shift in (2.0, 0.0)]
    results = [
        featured(write_run(name, metrics=("kvd",)), fake, real, "kvd") for name, fake in zip("AB", fakes, strict=True)
    ]
    # A shift is not seen once both sets are centred.
    assert ranks(results, metric="kvd") == TIE
    assert kvd_ranks(fakes, real, with_real=True, centred=False) == CLEAR


def test_set_metrics_are_ranked_on_common_samples_and_order_does_not_matter(write_run: Callable[..., Path]) -> None:
    rng = np.random.default_rng(3)
    real = rng.normal(size=(50, 3))
    fakes = [real + rng.normal(0, 0.1, (50, 3)), 2 * real]
    paths = [write_run(name, metrics=("fvd",)) for name in "AB"]
    shuffled = featured(paths[0], fakes[0], real, "fvd", rng.permutation(50))
    assert ranks([shuffled, featured(paths[1], fakes[1], real, "fvd")], metric="fvd") == [(1, 1), (2, 2)]
    fewer = featured(paths[1], fakes[1], real, "fvd", np.arange(1, 50))
    assert ranks([shuffled, fewer], metric="fvd") == [(1, 1), (2, 2)]
    none = featured(paths[1], fakes[1][:9], real[:9], "fvd")
    assert ranks([shuffled, none], metric="fvd") == [None, None]


def test_set_metrics_against_other_real_clips_are_not_ranked(write_run: Callable[..., Path]) -> None:
    rng = np.random.default_rng(4)
    real = rng.normal(5, 1, size=(50, 3))
    fakes = [real + rng.normal(0, 0.1, (50, 3)), 2 * real]
    paths = [write_run(name, metrics=("fvd",)) for name in "AB"]
    first = featured(paths[0], fakes[0], real, "fvd")
    assert ranks([first, featured(paths[1], fakes[1], real, "fvd")], metric="fvd") == [(1, 1), (2, 2)]
    assert ranks([first, featured(paths[1], fakes[1], real + 1, "fvd")], metric="fvd") == [None, None]
