"""The four ratings of Audiobox Aesthetics, each by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.errors import MetricError
from javisbench.metrics.audio_quality import AudioQuality
from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.tasks import SOUND_MADE

if TYPE_CHECKING:
    from javisbench.protocol import Protocol


def _card(metric_id: str, axis: str, measures: str, higher: bool | None, blind_to: str = "") -> MetricCard:
    return MetricCard(
        id=metric_id,
        title=f"AudioBox {axis}",
        higher_is_better=higher,
        value_range=(None, None),
        kind="sample",
        measures=measures,
        blind_to=(
            f"{blind_to}The picture, the prompt, and sound after max_audio_len_s seconds. javisbench-v1 takes samples "
            "at other rates than 16 kHz for samples at 16 kHz, so that such sound plays too slowly or too fast."
        ),
        formula=f"the {axis} output of the network, on a scale meant to run from 1 to 10",
        source="Tjandra et al., Meta Audiobox Aesthetics, arXiv:2502.05139",
        by_default=False,
        group="sound-quality",
        tasks=SOUND_MADE,
    )


class _AudioAxis(SampleMetric):
    """One rating of Audiobox Aesthetics."""

    place: ClassVar[int]

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """The ratings that `audio_quality` averages."""
        return AudioQuality().needs(protocol)

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The rating.

        Raises:
            MetricError: it is not finite.
        """
        rating = float(np.asarray(features["sound"]["ratings"], dtype=np.float64)[self.place])
        if not np.isfinite(rating):
            raise MetricError("The rating of the sound is not finite.", kind="not_finite")
        return SampleScore(rating)


class ContentEnjoyment(_AudioAxis):
    """Content enjoyment (CE)."""

    place: ClassVar[int] = 0
    card: ClassVar[MetricCard] = _card(
        "audio_ce", "CE", "Content enjoyment: how much listeners would enjoy the sound, about 1 to 10.", True
    )


class ContentUsefulness(_AudioAxis):
    """Content usefulness (CU)."""

    place: ClassVar[int] = 1
    card: ClassVar[MetricCard] = _card(
        "audio_cu", "CU", "Content usefulness: how likely one would use the sound in a work, about 1 to 10.", True
    )


class ProductionComplexity(_AudioAxis):
    """Production complexity (PC)."""

    place: ClassVar[int] = 2
    card: ClassVar[MetricCard] = _card(
        "audio_pc",
        "PC",
        "Production complexity: how many things sound together, about 1 to 10.",
        None,
        "Whether complexity is wanted: papers disagree on its direction, so it has none here. ",
    )


class ProductionQuality(_AudioAxis):
    """Production quality (PQ)."""

    place: ClassVar[int] = 3
    card: ClassVar[MetricCard] = _card(
        "audio_pq", "PQ", "Production quality: how cleanly the sound is recorded or made, about 1 to 10.", True
    )
