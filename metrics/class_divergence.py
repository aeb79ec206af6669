"""How far the classes that a network hears in generated sounds are from those it hears in the real ones beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from javisbench.metrics.distance import Distance

if TYPE_CHECKING:
    from numpy.typing import NDArray


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logarithms of the classes' shares, float64, of rows of logits."""
    shifted: NDArray[np.float64] = np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True)
    shares: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shares


def class_divergence(fake: NDArray[np.floating], real: NDArray[np.floating]) -> Distance:
    """Mean over pairs of KL(real || generated) of the softmax over classes.

    Args:
        fake: logits of the generated sounds, ``(n, classes)``.
        real: of the real sound of each one's sample, of the same shape.

    Source: Iashin and Rahtu, Taming Visually Guided Sound Generation, BMVC 2021, section 4 (MKL).
    """
    made, true = log_softmax(fake), log_softmax(real)
    each = (np.exp(true) * (true - made)).sum(axis=1)
    value = float(each.mean())
    return Distance(value, each - value, np.zeros(len(real)), len(fake), len(real), fake.shape[1])
