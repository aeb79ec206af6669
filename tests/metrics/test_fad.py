from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from javisbench.metrics.fad import FADMetric
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V1, V2, FADSettings


def suite_slices(golden: Path) -> dict[str, np.ndarray]:
    rows = list(csv.DictReader((golden / "suite.csv").read_text(encoding="utf-8").splitlines()))
    slices = {"overall": np.arange(len(rows))}
    for aspect, count in enumerate((5, 3, 5, 3, 3)):
        for category in range(count):
            members = [category in map(int, row[f"cat{aspect}_ind"].split(",")) for row in rows]
            slices[f"{aspect}/{category}"] = np.flatnonzero(members)
    return slices


def test_equals_the_reference_overall_and_in_every_slice(
    golden: Path, golden_json: Callable[[str], Any], golden_npz: Callable[[str], dict[str, np.ndarray]]
) -> None:
    # Reference evaluation, commit b505b37, stand-in weights seed 0, distances recomputed in float64, factor included.
    embeddings, targets = golden_npz("embeds_fvd_fad"), golden_json("evaluator_output_float64")["fad"]
    slices = suite_slices(golden)
    found = FADMetric().compute(embeddings["fake_audio"], embeddings["real_audio"], slices, V1)
    assert list(found) == list(slices) and len(found) == 20
    for name, cell in found.items():
        aspect, _, category = name.partition("/")
        expected = targets[aspect][int(category)] if category else targets["overall"]
        assert cell.value == pytest.approx(expected, rel=1e-8), name
        assert (cell.status, cell.ci_low, cell.n) == ("biased", None, slices[name].size)


def test_factor_multiplies_value_interval_and_extrapolation() -> None:
    rng = np.random.default_rng(0)
    fake, real, whole = 1.2 * rng.normal(size=(100, 8)), rng.normal(size=(100, 8)), {"overall": np.arange(100)}
    plain = replace(V1, fad=FADSettings(fad_factor=1.0))
    scaled, unscaled = (FADMetric().compute(fake, real, whole, p)["overall"] for p in (V1, plain))
    for end in ("value", "ci_low", "ci_high"):
        assert getattr(scaled, end) == pytest.approx(10_000 * getattr(unscaled, end), rel=1e-12)
    assert scaled.note is not None and unscaled.note is not None
    infinite = [float(note.split(": ")[1].split(" ")[0]) for note in (scaled.note, unscaled.note)]
    assert infinite[0] == pytest.approx(10_000 * infinite[1], rel=1e-3)


def test_card_and_needs() -> None:
    assert METRICS.get("fad") is FADMetric
    assert (FADMetric.card.id, FADMetric.card.higher_is_better, FADMetric.card.kind) == ("fad", False, "set")
    needs = FADMetric().needs(V1)
    assert (needs.encoder, needs.feature) == ("audioclip", "embedding")
    assert needs != FADMetric().needs(V2)
