"""Visual quality: how clear, pleasing and sound the frames look, to a model of human preference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.tasks import PICTURE_MADE

if TYPE_CHECKING:
    from javisbench.protocol import Protocol


class VisualQuality(SampleMetric):
    """Raw output of VideoReward's VQ head; its zero and scale have no meaning of their own."""

    card: ClassVar[MetricCard] = MetricCard(
        id="visual_quality",
        title="Visual quality",
        higher_is_better=True,
        value_range=(None, None),
        kind="sample",
        measures="Clearness, aesthetics and soundness of the frames, as VideoReward's VQ head rates them.",
        blind_to=(
            "Sound and prompt. The model reads a few frames a second at a reduced size. It runs outside javisbench, by "
            "a command of the user's, whose version is not part of the protocol: compare numbers of one set-up only."
        ),
        formula="output of the VQ head, as it is",
        source="Liu et al., Improving Video Generation with Human Feedback, arXiv:2501.13918",
        tasks=PICTURE_MADE,
    )

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """VideoReward's two ratings."""
        return {"video": FeatureSpec.of("videoreward", "rewards")}

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The rating, not normalised."""
        return SampleScore(float(features["video"]["rewards"][0]))
