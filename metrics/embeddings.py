"""First step of the set metrics: from clips to one row each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from javisbench.errors import JavisbenchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import Clip
    from javisbench.metrics.encoders.base import Encoder, FeatureSpec


def embed(encoder: Encoder, clips: Sequence[Clip], spec: FeatureSpec) -> NDArray[np.floating[Any]]:
    """The array ``embedding`` of each clip, stacked to shape ``(n, d)``.

    Args:
        encoder: loaded, and the one that `spec` names.
        clips: at least one.
        spec: what to ask of it.

    Raises:
        JavisbenchError: that of the first clip that has no embedding; a set is not made smaller in silence.
    """
    rows = []
    for clip, made in zip(clips, encoder.encode(clips, [spec]), strict=True):
        features = made[spec]
        if isinstance(features, JavisbenchError):
            raise type(features)(f"{clip.name}: {features.message}", kind=features.kind) from features
        rows.append(np.asarray(features["embedding"]))
    return np.stack(rows)
