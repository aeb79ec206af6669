"""Visual and motion quality from VideoReward's two ratings."""

from __future__ import annotations

import numpy as np

from javisbench.metrics.base import SampleContext
from javisbench.metrics.motion_quality import MotionQuality
from javisbench.metrics.registry import METRICS
from javisbench.metrics.visual_quality import VisualQuality
from javisbench.protocol import V1, V2


def test_each_takes_its_own_head() -> None:
    features = {"video": {"rewards": np.array([0.25, -1.5])}}
    assert VisualQuality().score(features, SampleContext(V1)).value == 0.25
    assert MotionQuality().score(features, SampleContext(V1)).value == -1.5


def test_both_share_one_feature_under_every_protocol() -> None:
    assert METRICS.get("visual_quality") is VisualQuality
    assert METRICS.get("motion_quality") is MotionQuality
    assert VisualQuality().needs(V1) == MotionQuality().needs(V1) == VisualQuality().needs(V2)
