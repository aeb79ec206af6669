"""Cosine similarity of embeddings, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

EPSILON = 1e-6


def cosines(rows: NDArray[np.generic], vector: NDArray[np.generic]) -> NDArray[np.float64]:
    """Cosine of each row with one vector: ``a.b / (max(|a|, 1e-6) max(|b|, 1e-6))``.

    Args:
        rows: shape ``(n, d)``, or ``(d,)`` for a single one.
        vector: shape ``(d,)``.

    Returns:
        float64, shape ``(n,)`` (or ``()``), in [-1, 1]; 0 for a vector of zeros.
    """
    a, b = np.asarray(rows, dtype=np.float64), np.asarray(vector, dtype=np.float64)
    lengths = np.maximum(np.linalg.norm(a, axis=-1), EPSILON) * max(float(np.linalg.norm(b)), EPSILON)
    return np.asarray(np.clip(a @ b / lengths, -1.0, 1.0), dtype=np.float64)


def traced_cosines(rows: Tensor, vector: Tensor) -> Tensor:
    """`cosines` of tensors, through which a gradient flows; a cosine beyond 1 by rounding stays so.

    Args:
        rows: shape ``(n, d)`` or ``(d,)``.
        vector: shape ``(d,)``.

    Returns:
        float64 in [-1, 1] but for rounding, shape ``(n,)`` or ``()``.
    """
    a, b = rows.double(), vector.double()
    lengths = a.norm(dim=-1).clamp(min=EPSILON) * b.norm().clamp(min=EPSILON)
    similar: Tensor = (a @ b) / lengths
    return similar
