"""Time and peak memory of FVD, KVD and FAD over the whole benchmark, 19 categories and intervals included.

    python benchmarks/set_metrics.py [--json FILE] [--samples 10140]

Features are random: the cost does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from javisbench.metrics.base import SetValue
from javisbench.metrics.distances import frechet_slices, kernel_slices

SHARES = (
    (0.28, 0.20, 0.35, 0.13, 0.04),
    (0.75, 0.15, 0.10),
    (0.45, 0.25, 0.35, 0.20, 0.15),
    (0.15, 0.28, 0.57),
    (0.45, 0.35, 0.20),
)
"""Rough shares of the categories of each aspect; sound types overlap."""


def slices_of(samples: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    rows = {"overall": np.arange(samples)}
    for a, shares in enumerate(SHARES):
        for c, share in enumerate(shares):
            rows[f"{a}/{c}"] = np.flatnonzero(rng.random(samples) < share)
    return rows


def features(samples: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    mixing = rng.standard_normal((width, width)).astype(np.float32) / np.sqrt(width)
    fake = rng.standard_normal((samples, width), dtype=np.float32) @ mixing
    real = rng.standard_normal((samples, width), dtype=np.float32) @ mixing
    return fake * np.float32(1.1) + np.float32(0.1), real


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10140)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = slices_of(options.samples, rng)
    video = features(options.samples, 400, rng)
    audio = features(options.samples, 1024, rng)
    steps: dict[str, Callable[[], dict[str, SetValue]]] = {
        "fvd (d=400)": lambda: frechet_slices(*video, rows),
        "kvd centred (d=400)": lambda: kernel_slices(*video, rows, centred=True),
        "kvd (d=400)": lambda: kernel_slices(*video, rows),
        "fad (d=1024)": lambda: frechet_slices(*audio, rows),
    }
    result: dict[str, object] = {
        "samples": options.samples,
        "slices": len(rows),
        "rows in all slices": sum(len(r) for r in rows.values()),
        "machine": platform.machine(),
    }
    seconds: dict[str, float] = {}
    for name, step in steps.items():
        start = time.perf_counter()
        values = step()
        seconds[name] = round(time.perf_counter() - start, 2)
        with_interval = sum(value.ci_low is not None for value in values.values())
        print(f"{name:22} {seconds[name]:7.2f} s   {with_interval} of {len(values)} slices with intervals")
    result["seconds"] = seconds
    result["seconds_v1"] = round(sum(v for k, v in seconds.items() if k != "kvd (d=400)"), 2)
    result["peak_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(f"javisbench-v1 in all {result['seconds_v1']} s, peak memory {result['peak_mib']} MiB")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
