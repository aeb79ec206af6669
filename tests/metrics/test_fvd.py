from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from javisbench.clip import Clip
from javisbench.errors import FeatureError, JavisbenchError, MetricError
from javisbench.metrics.embeddings import embed
from javisbench.metrics.encoders.base import Encoder, EncoderCard, Features, FeatureSpec
from javisbench.metrics.encoders.set_specs import i3d_spec
from javisbench.metrics.fvd import FVDMetric
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V1, V2


def suite_slices(golden: Path) -> dict[str, np.ndarray]:
    """Slice ``aspect/category`` (numbers of the suite file) to rows, and the whole set."""
    rows = list(csv.DictReader((golden / "suite.csv").read_text(encoding="utf-8").splitlines()))
    slices = {"overall": np.arange(len(rows))}
    for aspect, count in enumerate((5, 3, 5, 3, 3)):
        labels = [{int(label) for label in row[f"cat{aspect}_ind"].split(",")} for row in rows]
        for category in range(count):
            slices[f"{aspect}/{category}"] = np.flatnonzero([category in label for label in labels])
    return slices


def expected_value(targets: dict[str, Any], name: str) -> float:
    if name == "overall":
        return targets["overall"]
    aspect, category = name.split("/")
    return targets[aspect][int(category)]


def test_equals_the_reference_overall_and_in_every_slice(
    golden: Path, golden_json: Callable[[str], Any], golden_npz: Callable[[str], dict[str, np.ndarray]]
) -> None:
    # Reference evaluation, commit b505b37, stand-in weights seed 0, distances recomputed in float64: 1e-8 is the
    # agreement of two float64 routes on singular covariances.
    embeddings, targets = golden_npz("embeds_fvd_fad"), golden_json("evaluator_output_float64")["fvd"]
    slices = suite_slices(golden)
    found = FVDMetric().compute(embeddings["fake_video"], embeddings["real_video"], slices, V1)
    assert list(found) == list(slices) and len(found) == 20
    for name, cell in found.items():
        assert cell.value == pytest.approx(expected_value(targets, name), rel=1e-8), name
        assert (cell.status, cell.ci_low, cell.n) == ("biased", None, slices[name].size)


class StubEncoder(Encoder):
    card = EncoderCard("stub", "Stub", {"only": None})

    def encode(
        self, items: Sequence[Clip] | Sequence[str], specs: Sequence[FeatureSpec]
    ) -> list[dict[FeatureSpec, Features | JavisbenchError]]:
        made: list[dict[FeatureSpec, Features | JavisbenchError]] = []
        for clip in items:
            assert isinstance(clip, Clip)
            level = float(clip.frames.mean())
            broken = FeatureError("all black", kind="black")
            made.append({s: broken if level == 0 else {"embedding": np.full(4, level, np.float32)} for s in specs})
        return made


def clip(level: int, name: str) -> Clip:
    return Clip(np.full((2, 4, 4, 3), level, np.uint8), Fraction(24), None, None, name=name)


def test_features_are_one_row_a_clip_and_a_bad_clip_is_named() -> None:
    rows = embed(StubEncoder(), [clip(3, "a"), clip(5, "b")], i3d_spec(V1))
    assert rows.tolist() == [[3.0] * 4, [5.0] * 4]
    with pytest.raises(FeatureError, match="b: all black") as raised:
        embed(StubEncoder(), [clip(3, "a"), clip(0, "b")], i3d_spec(V1))
    assert raised.value.kind == "black"


def test_card_and_needs() -> None:
    assert METRICS.get("fvd") is FVDMetric
    card = FVDMetric.card
    assert (card.id, card.higher_is_better, card.kind) == ("fvd", False, "set")
    needs = FVDMetric().needs(V1)
    assert (needs.encoder, needs.feature) == ("i3d", "logits")
    assert needs != FVDMetric().needs(V2)


def test_whole_set_gets_an_interval_and_an_extrapolation() -> None:
    rng = np.random.default_rng(0)
    fake, real = 1.2 * rng.normal(size=(200, 10)), rng.normal(size=(200, 10))
    found = FVDMetric().compute(fake, real, {"overall": np.arange(200), "part": np.arange(30)}, V1)
    cell = found["overall"]
    assert cell.ci_low is not None and cell.ci_high is not None and cell.value is not None
    assert cell.ci_low < cell.value < cell.ci_high
    assert cell.note is not None and "infinite n" in cell.note
    assert found["part"].note is None and found["part"].ci_low is not None


def test_nan_features_are_refused() -> None:
    fake = np.ones((5, 3))
    fake[2, 1] = np.nan
    with pytest.raises(MetricError, match="row 2"):
        FVDMetric().compute(fake, np.ones((5, 3)), {"overall": np.arange(5)}, V1)
