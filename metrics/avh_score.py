"""AVHScore: how well the sound fits each frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.cosine import cosines, traced_cosines
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.metrics.encoders.imagebind.specs import audio_spec, frames_spec

if TYPE_CHECKING:
    from torch import Tensor

    from javisbench.protocol import Protocol


class AVHScore(SampleMetric):
    """Mean over all frames of the cosine of the frame's and the whole audio's ImageBind embedding.

    Frames are embedded as stills, each by itself; the audio's embedding is the mean of those of three 2-s clips.
    Details: ``frame_cosine``, one number a frame.
    """

    card: ClassVar[MetricCard] = MetricCard(
        id="avh_score",
        title="AVHScore",
        higher_is_better=True,
        value_range=(-1.0, 1.0),
        kind="sample",
        measures="The mean cosine of every frame with the whole audio in ImageBind's space.",
        blind_to=(
            "The moment, the order of frames, whatever the centre square leaves out, sound above 8 kHz. javisbench-v1 "
            "hears the left channel only."
        ),
        formula="mean over all frames of cos(frame, whole audio)",
        source="Mao et al., TAVGBench, ACM MM 2024 (arXiv:2404.14381); Liu et al., JavisDiT, arXiv:2503.23377",
        differentiable=frozenset(("sound",)),
    )

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """The embeddings of every frame and of the whole audio."""
        return {"frames": frames_spec(), "audio": audio_spec(protocol)}

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The mean cosine, in [-1, 1]."""
        values = cosines(features["frames"]["embeddings"], features["audio"]["embedding"])
        return SampleScore(float(values.mean()), {"frame_cosine": tuple(values.tolist())})

    def traced(self, features: Mapping[str, Mapping[str, Tensor]], context: SampleContext) -> Tensor:
        """The score of tensors."""
        return traced_cosines(features["frames"]["embeddings"], features["audio"]["embedding"]).mean()
