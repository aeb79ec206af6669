"""LSE-C: how clearly lips and voice fit at one offset better than at others."""

from __future__ import annotations

from typing import ClassVar

from javisbench.metrics.base import MetricCard
from javisbench.metrics.lip_sync import BLIND, CHAIN, SOURCE, LipMetric, TrackSync


class LSEC(LipMetric):
    """SyncNet's confidence: median less minimum of the mean distances over 31 offsets; details: see `LipMetric`."""

    card: ClassVar[MetricCard] = MetricCard(
        id="lse_c",
        title="LSE-C (SyncNet v2, 25 fps)",
        higher_is_better=True,
        value_range=(0.0, None),
        kind="sample",
        measures=(
            "How much nearer lips and voice are at the offset that fits best than at a middling one: SyncNet's "
            "confidence, over faces that S3FD finds."
        ),
        blind_to=(
            f"{BLIND}It says that some offset fits, not that it is 0: a clip that is late by 0.4 s throughout "
            f"scores as well as one in step (see av_offset_ms). {CHAIN}"
        ),
        formula=(
            "median - min over offsets of -15 to 15 frames of the mean distance of SyncNet's embeddings of lips and "
            "sound, windows of 0.2 s"
        ),
        source=f"{SOURCE}; as a score: Prajwal et al., Wav2Lip, ACM MM 2020, section 4",
        by_default=False,
        group="lips",
    )

    def of_track(self, track: TrackSync) -> float:
        """Not negative."""
        return track.confidence
