from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from javisbench.metrics.fvd import FVDMetric
from javisbench.metrics.kvd import KVDMetric
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V1, V2, FVDSettings, Protocol


def suite_slices(golden: Path) -> dict[str, np.ndarray]:
    rows = list(csv.DictReader((golden / "suite.csv").read_text(encoding="utf-8").splitlines()))
    slices = {"overall": np.arange(len(rows))}
    for aspect, count in enumerate((5, 3, 5, 3, 3)):
        for category in range(count):
            members = [category in map(int, row[f"cat{aspect}_ind"].split(",")) for row in rows]
            slices[f"{aspect}/{category}"] = np.flatnonzero(members)
    return slices


@pytest.mark.parametrize(("protocol", "key"), [(V1, "kvd_centred"), (V2, "kvd_uncentred")], ids=["v1", "v2"])
def test_equals_the_reference_overall_and_in_every_slice(
    protocol: Protocol,
    key: str,
    golden: Path,
    golden_json: Callable[[str], Any],
    golden_npz: Callable[[str], dict[str, np.ndarray]],
) -> None:
    # Reference evaluation, commit b505b37, stand-in weights seed 0, distances recomputed in float64. The kernel's
    # values are around 1, so 1e-8 relative on values of 5e-4 asks for 5e-12 absolute: float64 has room for it.
    embeddings, targets = golden_npz("embeds_fvd_fad"), golden_json("evaluator_output_float64")[key]
    slices = suite_slices(golden)
    found = KVDMetric().compute(embeddings["fake_video"], embeddings["real_video"], slices, protocol)
    assert list(found) == list(slices) and len(found) == 20
    for name, cell in found.items():
        aspect, _, category = name.partition("/")
        expected = targets[aspect][int(category)] if category else targets["overall"]
        assert cell.value == pytest.approx(expected, rel=1e-8), name
        assert cell.status == "ok" and cell.n == slices[name].size
        assert (cell.ci_low is not None) == (cell.n >= 3)


def test_centring_is_the_only_setting_that_counts(golden_npz: Callable[[str], dict[str, np.ndarray]]) -> None:
    embeddings, whole = golden_npz("embeds_fvd_fad"), {"overall": np.arange(11)}
    sets = embeddings["fake_video"], embeddings["real_video"]
    uncentred = replace(V1, fvd=FVDSettings(kvd_centred=False))
    v1, v2, changed = (KVDMetric().compute(*sets, whole, p)["overall"] for p in (V1, V2, uncentred))
    assert changed == v2
    assert changed.value != pytest.approx(v1.value, rel=0.1)


def test_a_shift_is_seen_by_v2_alone() -> None:
    # The reference evaluation adds 5 to every generated feature and finds an unchanged KVD.
    rng = np.random.default_rng(0)
    fake, real = rng.normal(size=(50, 20)), rng.normal(size=(50, 20))
    whole = {"overall": np.arange(50)}
    for protocol, moved in ((V1, False), (V2, True)):
        before, after = (KVDMetric().compute(f, real, whole, protocol)["overall"].value for f in (fake, fake + 5))
        assert before is not None and after is not None
        assert (abs(after - before) > 100) is moved


def test_card_and_needs() -> None:
    assert METRICS.get("kvd") is KVDMetric
    assert (KVDMetric.card.id, KVDMetric.card.higher_is_better, KVDMetric.card.kind) == ("kvd", False, "set")
    # The same features as FVD: encoded once.
    assert KVDMetric().needs(V1) == FVDMetric().needs(V1)


def test_small_sets_have_rough_intervals() -> None:
    rng = np.random.default_rng(0)
    fake, real = rng.normal(size=(50, 5)), rng.normal(size=(50, 5))
    found = KVDMetric().compute(fake, real, {"39": np.arange(39), "40": np.arange(40)}, V2)
    assert found["39"].note is not None and "rough" in found["39"].note
    assert found["40"].note is None
