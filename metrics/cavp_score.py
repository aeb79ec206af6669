"""CAVP score: whether sound and picture of the same quarter second belong together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import Features, FeatureSpec, timed

if TYPE_CHECKING:
    from javisbench.protocol import Protocol


class CAVPScore(SampleMetric):
    """Mean over quarter seconds of the cosine of video and audio embedding.

    Details: ``cosine``, one number a quarter second.
    """

    card: ClassVar[MetricCard] = MetricCard(
        id="cavp_score",
        title="CAVP score",
        higher_is_better=True,
        value_range=(-1.0, 1.0),
        kind="sample",
        measures="The mean cosine of picture and sound, four times a second, in the space of CAVP (Diff-Foley).",
        blind_to=(
            "The prompt, whatever comes after the last whole second of video, motion faster than 4 frames a second, "
            "and the frame's aspect ratio. Clips under one second have no score. The reference evaluation re-encodes "
            "the video before it looks, which moves scores by up to 1.5e-5; here the frames are taken as they are."
        ),
        formula="mean over quarter seconds of cos(picture, sound)",
        source="Luo et al., Diff-Foley, NeurIPS 2023, section 4.1; as a score: JavisBench's reference evaluation",
    )

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """Embeddings of picture and sound."""
        return {role: timed(FeatureSpec.of("cavp", role), protocol) for role in ("video", "audio")}

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """Mean cosine, in [-1, 1]."""
        video = np.asarray(features["video"]["embeddings"], dtype=np.float64)
        audio = np.asarray(features["audio"]["embeddings"], dtype=np.float64)
        cosines = (video * audio).sum(axis=1) / (np.linalg.norm(video, axis=1) * np.linalg.norm(audio, axis=1))
        return SampleScore(float(cosines.mean()), {"cosine": tuple(cosines.tolist())})
