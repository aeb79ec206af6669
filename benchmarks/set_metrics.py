"""Time and peak memory of FVD, KVD and FAD over the whole benchmark: 19 categories, intervals, extrapolation.

    OMP_NUM_THREADS=2 python benchmarks/set_metrics.py [--json FILE] [--samples 10140]

Features are random: the cost does not depend on them. On a machine that others use, one thread can be faster than two.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from javisbench.metrics.base import SetValue
from javisbench.metrics.fad import FADMetric
from javisbench.metrics.fvd import FVDMetric
from javisbench.metrics.kvd import KVDMetric
from javisbench.protocol import V1, V2

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
        "fvd (d=400)": lambda: FVDMetric().compute(*video, rows, V1),
        "kvd centred (d=400)": lambda: KVDMetric().compute(*video, rows, V1),
        "kvd (d=400)": lambda: KVDMetric().compute(*video, rows, V2),
        "fad (d=1024)": lambda: FADMetric().compute(*audio, rows, V1),
    }
    result: dict[str, object] = {
        "samples": options.samples,
        "slices": len(rows),
        "rows in all slices": sum(len(r) for r in rows.values()),
        "threads": os.environ.get("OMP_NUM_THREADS", f"unset ({os.cpu_count()} cores)"),
    }
    seconds: dict[str, float] = {}
    cpu_seconds: dict[str, float] = {}
    for name, step in steps.items():
        start, cpu_start = time.perf_counter(), time.process_time()
        values = step()
        seconds[name] = round(time.perf_counter() - start, 2)
        cpu_seconds[name] = round(time.process_time() - cpu_start, 2)
        with_interval = sum(value.ci_low is not None for value in values.values())
        cost = f"{seconds[name]:7.2f} s {cpu_seconds[name]:7.2f} s of CPU"
        print(f"{name:22} {cost}   {with_interval} of {len(values)} slices with intervals")
    result |= {"seconds": seconds, "cpu_seconds": cpu_seconds}
    result["seconds_v1"] = round(sum(v for k, v in seconds.items() if k != "kvd (d=400)"), 2)
    result["load_average"] = round(os.getloadavg()[0], 1)
    result["peak_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(f"javisbench-v1 in all {result['seconds_v1']} s, peak memory {result['peak_mib']} MiB")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
