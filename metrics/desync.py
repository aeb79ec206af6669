"""DeSync: by how many seconds picture and sound are apart, as Synchformer guesses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.errors import MetricError
from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import Features, FeatureSpec

if TYPE_CHECKING:
    from javisbench.protocol import Protocol

#: Seconds that each of Synchformer's classes stands for.
OFFSETS_S = (np.arange(21) - 10) / 5


class DeSync(SampleMetric):
    """Mean over groups of 14 segments of ``|offset of the most probable class|``, in seconds.

    Details, one number a group: ``offset_s``, the signed offset of the most probable class; ``expected_offset_s`` and
    ``expected_absolute_offset_s``, means over the class probabilities, which do not jump by 0.2 s.
    """

    card: ClassVar[MetricCard] = MetricCard(
        id="desync",
        title="DeSync",
        higher_is_better=False,
        value_range=(0.0, 2.0),
        unit="s",
        kind="sample",
        measures="The absolute audio-video offset that Synchformer takes for the most probable one, in steps of 0.2 s.",
        blind_to=(
            "Offsets under 0.1 s or over 2 s, and everything after the first max_audio_len_s seconds (4 by default). "
            "A clip without events that can be seen and heard gets a guess all the same. 4-s clips fill 11 of the "
            "network's 14 segments; the first three are shown again."
        ),
        formula="mean over groups of 14 segments of |offset of the most probable of 21 classes|, -2.0 to 2.0 s",
        source=(
            "Iashin et al., Synchformer, ICASSP 2024; as a score of generated sound: Cheng et al., MMAudio, CVPR 2025, "
            "section 4"
        ),
    )

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """Logits over the offsets."""
        return {
            "offset": FeatureSpec.of(
                "synchformer",
                "offset_logits",
                fps_conversion=protocol.desync.fps_conversion,
                max_audio_len_s=protocol.max_audio_len_s,
            )
        }

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """Seconds, in [0, 2].

        Raises:
            MetricError: the logits are not finite.
        """
        logits = np.asarray(features["offset"]["logits"], dtype=np.float64)
        if not np.isfinite(logits).all():
            raise MetricError("Synchformer's output is not finite, so there is no offset.", kind="not_finite")
        likeliest = OFFSETS_S[logits.argmax(axis=1)]
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = weights / weights.sum(axis=1, keepdims=True)
        return SampleScore(
            float(np.abs(likeliest).mean()),
            {
                "offset_s": tuple(likeliest.tolist()),
                "expected_offset_s": tuple((probabilities @ OFFSETS_S).tolist()),
                "expected_absolute_offset_s": tuple((probabilities @ np.abs(OFFSETS_S)).tolist()),
            },
        )
