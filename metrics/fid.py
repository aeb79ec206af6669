"""FID: Fréchet distance between the Inception features of frames of generated and of real clips.

Every clip gives the same number of frames, evenly spaced over the clip with both ends (a protocol's ``fid_frames``),
and the Gaussians are those of all frames. Frames of one clip resemble each other, so all that counts samples counts
*clips*: n, the limit of 2d for the mark ``biased``, and the influences behind an interval, which are those of whole
clips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from javisbench.metrics.base import MetricCard
from javisbench.metrics.encoders.set_specs import inception_spec
from javisbench.metrics.frechet_metric import FrechetMetric
from javisbench.tasks import PICTURE_MADE

if TYPE_CHECKING:
    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.protocol import Protocol


class FIDMetric(FrechetMetric):
    """FID of generated against real frames, with influence-function intervals (see `javisbench.metrics.distances`)."""

    card: ClassVar[MetricCard] = MetricCard(
        id="fid",
        title="FID",
        higher_is_better=False,
        value_range=(0.0, None),
        kind="set",
        measures="How far single frames of generated videos as a set are from those of real ones, in Inception "
        "features; computed only when asked for.",
        blind_to="Motion, sound, prompts, single bad clips. Biased upward at every n, strongly below 4096 clips: "
        "values at different n cannot be compared.",
        formula=(
            "the Fréchet distance (as FVD) of 2048 pooled Inception outputs of 4 frames a clip, evenly "
            "spaced, both ends included; frames in RGB, [-1, 1], stretched to 299 x 299 (bilinear, no "
            "antialias). n and its limits count clips, not frames; an interval is over clips"
        ),
        source="Heusel et al. 2017 (arXiv:1706.08500), section 3, with the network of pytorch-fid",
        digits=2,
        by_default=False,
        tasks=PICTURE_MADE,
    )

    def needs(self, protocol: Protocol) -> FeatureSpec:
        """Pooled Inception features of frames."""
        return inception_spec(protocol)
