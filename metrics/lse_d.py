"""LSE-D: how far lips and voice are apart where they fit best."""

from __future__ import annotations

from typing import ClassVar

from javisbench.metrics.base import MetricCard
from javisbench.metrics.lip_sync import BLIND, CHAIN, SOURCE, LipMetric, TrackSync


class LSED(LipMetric):
    """SyncNet's distance: the smallest of the mean distances over 31 offsets; details: see `LipMetric`."""

    card: ClassVar[MetricCard] = MetricCard(
        id="lse_d",
        title="LSE-D (SyncNet v2, 25 fps)",
        higher_is_better=False,
        value_range=(0.0, None),
        kind="sample",
        measures=(
            "How far lips and voice are apart at the offset that fits best, in SyncNet's space, over faces that S3FD "
            "finds."
        ),
        blind_to=(
            f"{BLIND}The distance has no unit. A clip that is late by 0.4 s throughout scores as well as one in step "
            f"(see av_offset_ms). {CHAIN}"
        ),
        formula=(
            "min over offsets of -15 to 15 frames of the mean distance of SyncNet's embeddings of lips and sound, "
            "windows of 0.2 s"
        ),
        source=f"{SOURCE}; as a score: Prajwal et al., Wav2Lip, ACM MM 2020, section 4",
        by_default=False,
        group="lips",
    )

    def of_track(self, track: TrackSync) -> float:
        """Not negative."""
        return track.distance
