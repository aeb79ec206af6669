"""Cosine similarity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from javisbench.metrics.cosine import cosines

VECTORS = arrays(np.float32, (4, 6), elements=st.floats(-100, 100, width=32))


@given(VECTORS)
def test_equals_torch(values: np.ndarray) -> None:
    rows, vector = values[:3], values[3]
    expected = torch.nn.functional.cosine_similarity(
        torch.from_numpy(rows).double(), torch.from_numpy(vector).double()[None], eps=1e-12
    ).numpy()
    # torch bounds the product of the lengths and not each, which shows below 1e-6 only.
    long = np.linalg.norm(values.astype(np.float64), axis=1) > 1e-5
    keep = long[:3] & long[3]
    np.testing.assert_allclose(cosines(rows, vector)[keep], expected[keep], rtol=0, atol=1e-9)


@given(VECTORS)
def test_range_symmetry_and_scale(values: np.ndarray) -> None:
    similar = cosines(values[:3], values[3])
    assert similar.dtype == np.float64 and (np.abs(similar) <= 1).all()
    np.testing.assert_allclose([cosines(values[3], row) for row in values[:3]], similar, atol=1e-12)
    if np.linalg.norm(values, axis=1).min() > 1e-3:
        np.testing.assert_allclose(cosines(7 * values[:3].astype(float), values[3]), similar, atol=1e-12)


def test_known_values() -> None:
    assert cosines(np.array([1.0, 0]), np.array([1.0, 1.0])) == pytest.approx(0.5**0.5)
    np.testing.assert_allclose(cosines(np.array([[2.0, 0], [0, 3.0], [-1.0, 0]]), np.array([5.0, 0])), [1, 0, -1])
    assert cosines(np.zeros(3), np.ones(3)) == 0
