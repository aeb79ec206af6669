"""CLAP score: how well the sound is what the audio prompt says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.tasks import SOUND_MADE

if TYPE_CHECKING:
    from javisbench.protocol import Protocol


class CLAPScore(SampleMetric):
    """Cosine of the sound's and the audio prompt's embedding."""

    card: ClassVar[MetricCard] = MetricCard(
        id="clap_score",
        title="CLAP score",
        higher_is_better=True,
        value_range=(-1.0, 1.0),
        kind="sample",
        measures="The cosine of the sound with the audio prompt, in CLAP's space.",
        blind_to=(
            "The picture, when things are heard, sound after 10 s, differences between channels, and prompts' details "
            "that audio captions do not mention. javisbench-v1 fills sound under 10 s with silence, which the network "
            "was not trained on; javisbench-v2 repeats it."
        ),
        formula="cos(audio, audio prompt)",
        source="Wu et al., Large-Scale Contrastive Language-Audio Pretraining, ICASSP 2023",
        tasks=SOUND_MADE,
    )

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """Embeddings of the sound and of the audio prompt."""
        text = protocol.text
        return {
            "audio": FeatureSpec.of(
                "clap", "audio", clap_padding=text.clap_padding, clap_resampler=text.clap_resampler
            ),
            "prompt": FeatureSpec.of("clap", "text", subject="audio_text"),
        }

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """Cosine, in [-1, 1]."""
        audio = np.asarray(features["audio"]["embedding"], dtype=np.float64)
        prompt = np.asarray(features["prompt"]["embedding"], dtype=np.float64)
        return SampleScore(float(audio @ prompt / (np.linalg.norm(audio) * np.linalg.norm(prompt))))
