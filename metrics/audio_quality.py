"""Audio quality: how listeners would rate the sound by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.errors import MetricError
from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.tasks import SOUND_MADE

if TYPE_CHECKING:
    from javisbench.protocol import Protocol


class AudioQuality(SampleMetric):
    """Mean of the four ratings of Audiobox Aesthetics.

    Details: the ratings by themselves: ``content_enjoyment``, ``content_usefulness``, ``production_complexity``,
    ``production_quality``.
    """

    card: ClassVar[MetricCard] = MetricCard(
        id="audio_quality",
        title="Audio quality",
        higher_is_better=True,
        value_range=(None, None),
        kind="sample",
        measures="The mean of four predicted ratings (enjoyment, usefulness, complexity, quality), each about 1 to 10.",
        blind_to=(
            "The picture, the prompt, and sound after max_audio_len_s seconds. Complexity is no quality, but counts as "
            "if more were better; look at the four ratings. javisbench-v1 takes samples at other rates than 16 kHz "
            "for samples at 16 kHz, so that such sound plays too slowly or too fast."
        ),
        formula="(enjoyment + usefulness + complexity + quality) / 4",
        source=(
            "Tjandra et al., Meta Audiobox Aesthetics, arXiv:2502.05139; their mean: JavisBench's reference evaluation"
        ),
        tasks=SOUND_MADE,
    )

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """The ratings of the sound."""
        return {
            "sound": FeatureSpec.of(
                "audiobox",
                "axes",
                max_audio_len_s=protocol.max_audio_len_s,
                quality_resampling=protocol.audio_quality.quality_resampling,
            )
        }

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """Mean rating.

        Raises:
            MetricError: a rating is not finite.
        """
        ratings = np.asarray(features["sound"]["ratings"], dtype=np.float64)
        if not np.isfinite(ratings).all():
            raise MetricError("A rating of the sound is not finite, so there is no mean.", kind="not_finite")
        enjoyment, usefulness, complexity, quality = ratings.tolist()
        return SampleScore(
            float(ratings.mean()),
            {
                "content_enjoyment": (enjoyment,),
                "content_usefulness": (usefulness,),
                "production_complexity": (complexity,),
                "production_quality": (quality,),
            },
        )
