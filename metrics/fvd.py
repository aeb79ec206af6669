"""FVD: Fréchet distance between the I3D features of generated and real videos."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from javisbench.metrics.base import MetricCard
from javisbench.metrics.encoders.set_specs import i3d_spec
from javisbench.metrics.frechet_metric import FrechetMetric
from javisbench.tasks import PICTURE_MADE

if TYPE_CHECKING:
    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.protocol import Protocol


class FVDMetric(FrechetMetric):
    """FVD of generated against real clips, with influence-function intervals (see `javisbench.metrics.distances`)."""

    card: ClassVar[MetricCard] = MetricCard(
        id="fvd",
        title="FVD",
        higher_is_better=False,
        value_range=(0.0, None),
        kind="set",
        measures="How far generated videos as a set are from real ones, in I3D features of 24 frames.",
        blind_to="Sound, prompts, single bad clips, what I3D's action classes do not need. Biased upward at any n: "
        "values at different n cannot be compared.",
        formula=(
            "|m_x - m_y|² + tr(S_x + S_y) - 2 tr (S_x^½ S_y S_x^½)^½, with means m and covariances S (divided"
            " by n-1) of 400 I3D logits of 24 frames, evenly spaced, both ends included, in a padded square "
            "of 224 pixels"
        ),
        source="Unterthiner et al. 2018 (arXiv:1812.01717), section 3; JavisDiT (arXiv:2503.23377), section 4",
        digits=2,
        tasks=PICTURE_MADE,
    )

    def needs(self, protocol: Protocol) -> FeatureSpec:
        """I3D logits."""
        return i3d_spec(protocol)
