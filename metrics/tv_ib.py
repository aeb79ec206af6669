"""TV-IB: how well the picture shows what the prompt says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.cosine import cosines, traced_cosines
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.metrics.encoders.imagebind.specs import prompt_spec, video_spec
from javisbench.tasks import PICTURE_MADE

if TYPE_CHECKING:
    from torch import Tensor

    from javisbench.protocol import Protocol


class TVIB(SampleMetric):
    """Cosine of the prompt's and the video's ImageBind embedding.

    The video's embedding is the mean of the unit embeddings of 15 crops (five 2-s clips of two frames, in three squares
    each); the prompt's is that of ``text``, or of ``video_text`` where the protocol says so (``tv_prompt``).
    """

    card: ClassVar[MetricCard] = MetricCard(
        id="tv_ib",
        title="TV-IB",
        higher_is_better=True,
        value_range=(-1.0, 1.0),
        kind="sample",
        measures="The cosine of prompt and video in ImageBind's space.",
        blind_to=(
            "Sound, and motion but for the first and last frame of five 2-s clips. "
            "Prompt text after the 75th token; under javisbench-v1 a longer prompt is not seen at all: all such "
            "prompts share one embedding."
        ),
        formula=(
            "cos(text, video); video is the mean over 15 crops: five 2-s clips of two frames; left, centre and right"
        ),
        source="Girdhar et al., ImageBind, CVPR 2023; as a score: Liu et al., JavisDiT, arXiv:2503.23377, section 4",
        tasks=PICTURE_MADE,
        differentiable=frozenset(("picture",)),
    )

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """The embeddings of prompt and video."""
        return {"text": prompt_spec(protocol, protocol.imagebind.tv_prompt), "video": video_spec(protocol)}

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The cosine, in [-1, 1]."""
        return SampleScore(float(cosines(features["text"]["embedding"], features["video"]["embedding"])))

    def traced(self, features: Mapping[str, Mapping[str, Tensor]], context: SampleContext) -> Tensor:
        """The score of tensors."""
        return traced_cosines(features["text"]["embedding"], features["video"]["embedding"])
