"""AV-IB: how well sound and picture are of the same thing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.cosine import cosines, traced_cosines
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.metrics.encoders.imagebind.specs import audio_spec, video_spec

if TYPE_CHECKING:
    from torch import Tensor

    from javisbench.protocol import Protocol


class AVIB(SampleMetric):
    """Cosine of the audio's and the video's ImageBind embedding.

    Both are means: the audio's over three 2-s clips, the video's over 15 crops of five 2-s clips.
    """

    card: ClassVar[MetricCard] = MetricCard(
        id="av_ib",
        title="AV-IB",
        higher_is_better=True,
        value_range=(-1.0, 1.0),
        kind="sample",
        measures="The cosine of audio and video in ImageBind's space.",
        blind_to=(
            "The moment: shifting the sound against the picture hardly changes it. The quality of the picture: noise "
            "alone can raise it. Sound above 8 kHz. javisbench-v1 hears the left channel only."
        ),
        formula="cos(audio, video), of the audio of ta_ib and the video of tv_ib",
        source="Girdhar et al., ImageBind, CVPR 2023; as a score: Liu et al., JavisDiT, arXiv:2503.23377, section 4",
        differentiable=frozenset(("picture", "sound")),
    )

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """The embeddings of audio and video."""
        return {"audio": audio_spec(protocol), "video": video_spec(protocol)}

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The cosine, in [-1, 1]."""
        return SampleScore(float(cosines(features["audio"]["embedding"], features["video"]["embedding"])))

    def traced(self, features: Mapping[str, Mapping[str, Tensor]], context: SampleContext) -> Tensor:
        """The score of tensors."""
        return traced_cosines(features["audio"]["embedding"], features["video"]["embedding"])
