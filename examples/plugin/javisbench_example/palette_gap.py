"""A set metric with a distance of its own."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from javisbench.metrics.base import Distance, MetricCard, SetMetric
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.protocol import Protocol


class PaletteGap(SetMetric):
    """Squared distance of the mean embeddings of generated and real clips.

    With m and k the means of n rows x and n rows y, |m - k|^2; the influence of a row x is 2 (x - m)'(m - k), that of y
    2 (y - k)'(k - m). From them come the interval, and the test of two models.
    """

    card: ClassVar[MetricCard] = MetricCard(
        id="palette_gap",
        title="Palette gap",
        higher_is_better=False,
        value_range=(0.0, None),
        kind="set",
        measures="How far the colours of generated clips as a set are from those of real ones.",
        blind_to="Sound, motion, prompts, and how colours are arranged in the picture.",
        source="an example",
    )

    def needs(self, protocol: Protocol) -> FeatureSpec:
        return FeatureSpec.of("palette", "palette")

    def distance(self, fake: NDArray[np.float64], real: NDArray[np.float64], protocol: Protocol) -> Distance:
        gap = fake.mean(axis=0) - real.mean(axis=0)
        return Distance(
            value=float(gap @ gap),
            influences_fake=2 * (fake - fake.mean(axis=0)) @ gap,
            influences_real=-2 * (real - real.mean(axis=0)) @ gap,
            n_fake=len(fake),
            n_real=len(real),
            width=fake.shape[1],
        )
