"""Synthetic runs, written as the run folder's contract says; loaded by the fixture `synthetic_runs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from javisbench.metrics.base import MetricCard
from javisbench.metrics.registry import METRICS
from javisbench.protocol import PROTOCOLS
from javisbench.taxonomy import TAXONOMY

# (title, higher is better, kind, unit, digits)
FACTS: dict[str, tuple[str, bool | None, Any, str, int]] = {
    "fvd": ("FVD", False, "set", "", 1),
    "kvd": ("KVD", False, "set", "", 2),
    "fad": ("FAD", False, "set", "", 1),
    "visual_quality": ("Visual quality", True, "sample", "", 3),
    "motion_quality": ("Motion quality", True, "sample", "", 3),
    "audio_quality": ("Audio quality", True, "sample", "", 3),
    "tv_ib": ("TV-IB", True, "sample", "", 3),
    "ta_ib": ("TA-IB", True, "sample", "", 3),
    "av_ib": ("AV-IB", True, "sample", "", 3),
    "clip_score": ("CLIP score", True, "sample", "", 3),
    "clap_score": ("CLAP score", True, "sample", "", 3),
    "cavp_score": ("CAVP score", True, "sample", "", 3),
    "av_align": ("AV-Align", True, "sample", "", 3),
    "avh_score": ("AVHScore", True, "sample", "", 3),
    "javis_score": ("JavisScore", True, "sample", "", 3),
    "desync": ("DeSync", False, "sample", "s", 3),
    "health_silence": ("Silence", False, "sample", "share", 3),
    "health_loudness": ("Loudness", None, "sample", "LUFS", 1),
}


@contextmanager
def fixed_cards() -> Iterator[None]:
    """Cards with fixed titles, directions and digits, so that tables are tested and not the cards."""
    module = ModuleType("leaderboard_test_metrics")
    targets = {}
    for metric, (title, higher, kind, unit, digits) in FACTS.items():
        card = MetricCard(metric, title, higher, (None, None), kind, "Measures.", "Blind.", "Source.", unit, digits)
        bases = (METRICS.get(metric),) if kind == "set" or metric.startswith("health_") else ()
        setattr(module, metric, type(metric, bases, {"card": card}))
        targets[metric] = f"leaderboard_test_metrics:{metric}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "leaderboard_test_metrics", module)
        patch.setattr(METRICS, "_own", targets)
        yield


def cell(values: np.ndarray, *, ok: str = "ok") -> dict[str, Any]:
    """A cell of summary.json from per-sample values (normal interval: enough for a test)."""
    values = values[np.isfinite(values)]
    n = len(values)
    if n < 2:
        return {"value": None, "n": n, "ci_low": None, "ci_high": None, "status": "small_n"}
    mean, side = float(values.mean()), float(1.96 * values.std(ddof=1) / np.sqrt(n))
    return {"value": mean, "n": n, "ci_low": mean - side, "ci_high": mean + side, "status": ok}


def categories_of(n: int) -> dict[tuple[str, str], np.ndarray]:
    """Row indices of every category: sample i is in category i modulo their number, every seventh also in the next."""
    rows = np.arange(n)
    found = {}
    for aspect in TAXONOMY:
        size = len(aspect.categories)
        for k, category in enumerate(aspect.categories):
            found[aspect.id, category.id] = rows[(rows % size == k) | ((rows % 7 == 0) & ((rows + 1) % size == k))]
    return found


class RunWriter:
    """Writes run folders by the contract of summary.json, scores.parquet and details.parquet."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(
        self,
        model: str = "Alpha",
        *,
        n: int = 60,
        shift: float = 0.0,
        metrics: tuple[str, ...] = ("fvd", "tv_ib", "av_align", "javis_score", "desync"),
        suite: str = "demo",
        protocol: str = "javisbench-v1",
        revision: int | None = None,
        stand_in: bool = False,
        card: dict[str, Any] | None = None,
        failures: list[dict[str, Any]] | None = None,
        prompts: Callable[[int], str] | None = None,
        details: bool = True,
        seed: int = 0,
        folder: str | None = None,
        cells: dict[str, dict[str, Any]] | None = None,
        aspects: tuple[str, ...] = tuple(aspect.id for aspect in TAXONOMY),
    ) -> Path:
        slug = "".join(c if c.isalnum() else "-" for c in model.lower()).strip("-") or "model"
        path = self.root / (folder or f"{slug}-{seed:08x}/{suite}")
        path.mkdir(parents=True, exist_ok=True)
        ids = [f"sample_{i:04d}" for i in range(n)]
        difficulty = np.random.default_rng(7).normal(0, 0.05, n)  # of the prompts: the same for every model
        rng = np.random.default_rng([seed, len(model), sum(map(ord, model))])
        columns: dict[str, Any] = {"sample_id": ids, "repeat": np.zeros(n, dtype=np.int64)}
        summary: dict[str, Any] = {}
        for metric in metrics:
            _, higher, kind, _, _ = FACTS.get(metric, (metric, True, "sample", "", 3))
            values = 0.3 + difficulty + rng.normal(0, 0.03, n) + (shift if higher is not False else -shift)
            if kind == "sample":
                columns[metric] = values
            summary[metric] = self._slices(values, n, aspects, scale=100.0 if kind == "set" else 1.0)
        summary |= cells or {}
        run = {
            "model": model,
            "slug": slug,
            "suite": suite,
            "suite_hash": f"hash-of-{suite}",
            "samples": n,
            "protocol": protocol,
            "protocol_settings": {"revision": revision or PROTOCOLS[protocol.partition("+")[0]].revision},
            "stand_in": stand_in,
            "audio": {"sidecar": n, "container": 0, "none": 0},
            "versions": {"javisbench": "0.1.0", "torch": "2.13.0"},
            "card": card,
        }
        document = {"schema": 1, "run": run, "metrics": summary, "failures": failures or []}
        (path / "summary.json").write_text(json.dumps(document), encoding="utf-8")
        pd.DataFrame(columns).to_parquet(path / "scores.parquet")
        if details:
            self._details(ids, rng, metrics).to_parquet(path / "details.parquet")
        texts = [prompts(i) if prompts else f"Prompt {i}" for i in range(n)]
        members = categories_of(n)
        categories = [[f"{a}/{c}" for (a, c), rows in members.items() if i in rows] for i in range(n)]
        samples = {"sample_id": ids, "text": texts, "categories": categories}
        pd.DataFrame(samples).to_parquet(path / "samples.parquet")
        return path

    @staticmethod
    def _slices(values: np.ndarray, n: int, aspects: tuple[str, ...], scale: float) -> dict[str, Any]:
        slices: dict[str, Any] = {"overall": cell(values * scale)}
        for (aspect, category), rows in categories_of(n).items():
            if aspect in aspects:
                slices.setdefault(aspect, {})[category] = cell(values[rows] * scale)
        return slices

    @staticmethod
    def _details(ids: list[str], rng: np.random.Generator, metrics: tuple[str, ...]) -> pd.DataFrame:
        rows = []
        for sample in ids:
            if "javis_score" in metrics:
                rows += [
                    (sample, 0, "javis_score", "windows", list(rng.uniform(0.1, 0.4, 5))),
                    (sample, 0, "javis_score", "window_times_s", [0.0, 0.5, 1.0, 1.5, 2.0]),
                ]
            if "av_align" in metrics:
                rows += [
                    (sample, 0, "av_align", "onset_times_s", sorted(rng.uniform(0, 4, 3))),
                    (sample, 0, "av_align", "peak_times_s", sorted(rng.uniform(0, 4, 4))),
                ]
        return pd.DataFrame(rows, columns=["sample_id", "repeat", "metric", "name", "values"])
