"""A cheap stand-in for I3D and FVD with the same plumbing, loaded by the fixture `cheap_set_metrics`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from javisbench.metrics.base import Distance, MetricCard, SetMetric
from javisbench.metrics.encoders.base import Encoder, EncoderCard, FeatureSpec
from javisbench.protocol import Protocol


class MeanColour(Encoder):
    """A cheap stand-in for I3D: the mean colour, scaled differently by the two protocols."""

    card: ClassVar[EncoderCard] = EncoderCard("i3d", "mean colour", {"kinetics400": None}, host=True)

    def encode(self, items: Any, specs: Sequence[FeatureSpec]) -> list[dict[FeatureSpec, Any]]:
        rows = [np.asarray(clip.frames.mean((0, 1, 2)), dtype=np.float32) for clip in items]
        return [{spec: {"embedding": row} for spec in specs} for row in rows]


class ColourDistance(SetMetric):
    """Distance of mean colours."""

    card: ClassVar[MetricCard] = MetricCard("fvd", "FVD", False, (0.0, None), "set", "colour", "all else", "a test")

    def needs(self, protocol: Protocol) -> FeatureSpec:
        return FeatureSpec.of("i3d", "logits", video_range=protocol.fvd.video_range)

    def distance(self, fake: Any, real: Any, protocol: Protocol) -> Distance:
        return Distance(float(np.abs(fake - real).sum()), n_fake=len(fake), n_real=len(real), width=fake.shape[1])
