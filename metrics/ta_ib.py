"""TA-IB: how well the sound is what the audio prompt says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.cosine import cosines, traced_cosines
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.metrics.encoders.imagebind.specs import audio_spec, prompt_spec
from javisbench.tasks import SOUND_MADE

if TYPE_CHECKING:
    from torch import Tensor

    from javisbench.protocol import Protocol


class TAIB(SampleMetric):
    """Cosine of the audio prompt's and the audio's ImageBind embedding.

    The audio's embedding is the mean of those of three 2-s clips; the prompt's is that of ``audio_text`` (of ``text``
    where a suite has no audio prompts).
    """

    card: ClassVar[MetricCard] = MetricCard(
        id="ta_ib",
        title="TA-IB",
        higher_is_better=True,
        value_range=(-1.0, 1.0),
        kind="sample",
        measures="The cosine of audio prompt and audio in ImageBind's space.",
        blind_to=(
            "The picture; sound above 8 kHz; when in a 2-s clip something sounds. "
            "javisbench-v1 hears the left channel only. "
            "Prompt text after the 75th token; under javisbench-v1 a longer prompt is not seen at all: all such "
            "prompts share one embedding."
        ),
        formula="cos(audio prompt, audio); audio is the mean over three 2-s clips",
        source="Girdhar et al., ImageBind, CVPR 2023; as a score: Liu et al., JavisDiT, arXiv:2503.23377, section 4",
        tasks=SOUND_MADE,
        differentiable=frozenset(("sound",)),
    )

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """The embeddings of audio prompt and audio."""
        return {"text": prompt_spec(protocol, "audio_text"), "audio": audio_spec(protocol)}

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The cosine, in [-1, 1]."""
        return SampleScore(float(cosines(features["text"]["embedding"], features["audio"]["embedding"])))

    def traced(self, features: Mapping[str, Mapping[str, Tensor]], context: SampleContext) -> Tensor:
        """The score of tensors."""
        return traced_cosines(features["text"]["embedding"], features["audio"]["embedding"])
