"""A set metric of another package, whose distance is no Fréchet distance, and encoders that need no weights.

Loaded by tests/publish/test_set_metrics.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from javisbench.metrics.base import Distance, MetricCard, SetMetric
from javisbench.metrics.encoders.base import Encoder, EncoderCard, FeatureSpec
from javisbench.protocol import Protocol


class Colours(Encoder):
    """Mean colour of a clip."""

    card: ClassVar[EncoderCard] = EncoderCard("colours", "mean colour", {"plain": None}, host=True)

    def encode(self, items: Any, specs: Sequence[FeatureSpec]) -> list[dict[FeatureSpec, Any]]:
        rows = [np.asarray(clip.frames.mean((0, 1, 2)), dtype=np.float32) for clip in items]
        return [{spec: {"embedding": row * spec.settings.get("scale", 1)} for spec in specs} for row in rows]


class FrameColours(Encoder):
    """Mean colours of the first and the last frame, in place of Inception features."""

    card: ClassVar[EncoderCard] = EncoderCard("inception", "colours of frames", {"plain": None}, host=True)

    def encode(self, items: Any, specs: Sequence[FeatureSpec]) -> list[dict[FeatureSpec, Any]]:
        rows = [np.asarray(clip.frames[[0, -1]].mean((1, 2)), dtype=np.float32) for clip in items]
        return [{spec: {"embedding": row} for spec in specs} for row in rows]


def mean_gap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(a[:, None] - b[None], axis=-1).mean(axis=1))


def energy(x: np.ndarray, y: np.ndarray) -> float:
    """Energy distance (Szekely and Rizzo, 2013) of two sets."""
    return float(2 * mean_gap(x, y).mean() - mean_gap(x, x).mean() - mean_gap(y, y).mean())


class Energy(SetMetric):
    """Energy distance of mean colours, in thousandths."""

    card: ClassVar[MetricCard] = MetricCard(
        "energy", "Energy", False, (0.0, None), "set", "colour", "all else", "a test", digits=5
    )
    scale: ClassVar[float] = 1.0
    min_n: ClassVar[int] = 3

    def needs(self, protocol: Protocol) -> FeatureSpec:
        return FeatureSpec.of("colours", "mean", scale=self.scale)

    def unbiased_from(self, width: int) -> int:
        return 4

    def caveats(self, protocol: str) -> tuple[str, ...]:
        return ("Energy is no Fréchet distance.",)

    def distance(self, fake: Any, real: Any, protocol: Protocol) -> Distance:
        ours = 2 * (mean_gap(fake, real) - mean_gap(fake, fake))
        theirs = 2 * (mean_gap(real, fake) - mean_gap(real, real))
        value = 1000 * energy(fake, real)
        parts = (1000 * (part - part.mean()) for part in (ours, theirs))
        return Distance(value, *parts, len(fake), len(real), fake.shape[1])


class DoubledEnergy(Energy):
    """The same of another feature of the same encoder."""

    card: ClassVar[MetricCard] = MetricCard(
        "energy_doubled", "Doubled", False, (0.0, None), "set", "colour", "all else", "a test", digits=5
    )
    scale: ClassVar[float] = 2.0
