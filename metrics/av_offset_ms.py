"""Lip offset: by how much the voice is early or late."""

from __future__ import annotations

from typing import ClassVar

from javisbench.metrics.base import MetricCard
from javisbench.metrics.lip_sync import BLIND, CHAIN, FRAME_S, SOURCE, LipMetric, TrackSync


class AVOffsetMs(LipMetric):
    """The absolute offset at which SyncNet finds lips and voice nearest; the signed one is a detail (`LipMetric`)."""

    card: ClassVar[MetricCard] = MetricCard(
        id="av_offset_ms",
        title="Lip offset (SyncNet v2, 25 fps)",
        higher_is_better=False,
        value_range=(0.0, 600.0),
        unit="ms",
        kind="sample",
        measures="By how much the voice is early or late for the lips, in steps of 40 ms, over faces that S3FD finds.",
        blind_to=(
            BLIND
            + "The absolute offset is averaged: of signed ones, as Verse-Bench averages them, leads and lags cancel. "
            "A face whose lips fit nowhere gets the offset of some distance all the same, often at the edge of 600 ms "
            "(edge_offsets=dropped: such clips have no value, and bad clips then count for nothing). " + CHAIN
        ),
        formula="40 |offset| with the offset, -15 to 15 frames, of the smallest mean distance of SyncNet's embeddings",
        source=f"{SOURCE}; as a score of generated clips: AVGen-Bench (Lip), in frames",
        digits=0,
        by_default=False,
        group="lips",
    )

    def of_track(self, track: TrackSync) -> float:
        """Milliseconds, 0 to 600."""
        return 1000 * FRAME_S * abs(track.offset_frames)
