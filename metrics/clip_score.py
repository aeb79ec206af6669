"""CLIP score: how well the frames show what the prompt says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import Features, FeatureSpec, timed
from javisbench.tasks import PICTURE_MADE

if TYPE_CHECKING:
    from javisbench.protocol import Protocol


class CLIPScore(SampleMetric):
    """Mean over 48 frames of the cosine of frame and prompt embedding; not multiplied by 100 or 2.5, not clipped.

    Details: ``frame_cosine``, one number a frame.
    """

    card: ClassVar[MetricCard] = MetricCard(
        id="clip_score",
        title="CLIP score",
        higher_is_better=True,
        value_range=(-1.0, 1.0),
        kind="sample",
        measures="The mean cosine of frames evenly spaced over the clip with the prompt, in CLIP ViT-B/32's space.",
        blind_to=(
            "Motion, the order of frames, sound, whatever the centre square leaves out, and prompt text after 75 "
            "tokens. javisbench-v1 shows CLIP the frames with red and blue swapped, as published numbers had it."
        ),
        formula="mean over 48 frames of cos(frame, text)",
        source="Hessel et al., CLIPScore, EMNLP 2021, without its factor, averaged over frames",
        tasks=PICTURE_MADE,
    )

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """Frame embeddings of the clip and the prompt's embedding."""
        text = protocol.text
        frames = FeatureSpec.of(
            "clip", "frame_embeddings", clip_frames=text.clip_frames, channel_order=text.channel_order
        )
        return {
            "frames": timed(frames, protocol),
            "prompt": FeatureSpec.of("clip", "text_embedding", subject="text"),
        }

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """Mean cosine, in [-1, 1]."""
        frames = np.asarray(features["frames"]["embeddings"], dtype=np.float64)
        prompt = np.asarray(features["prompt"]["embedding"], dtype=np.float64)
        cosines = frames @ prompt / (np.linalg.norm(frames, axis=1) * np.linalg.norm(prompt))
        return SampleScore(float(cosines.mean()), {"frame_cosine": tuple(cosines.tolist())})
