"""Audio quality from ratings."""

from __future__ import annotations

import numpy as np
import pytest

from javisbench.errors import MetricError
from javisbench.metrics.audio_quality import AudioQuality
from javisbench.metrics.base import SampleContext, SampleScore
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V1, V2


def score(ratings: list[float]) -> SampleScore:
    return AudioQuality().score({"sound": {"ratings": np.array(ratings)}}, SampleContext(V1))


def test_the_mean_and_the_ratings_apart() -> None:
    found = score([5.0, 6.0, 2.0, 7.0])
    assert found.value == 5.0
    assert found.details == {
        "content_enjoyment": (5.0,),
        "content_usefulness": (6.0,),
        "production_complexity": (2.0,),
        "production_quality": (7.0,),
    }


def test_no_mean_of_what_is_not_a_number() -> None:
    with pytest.raises(MetricError, match="not finite"):
        score([5.0, np.nan, 2.0, 7.0])


def test_what_it_asks_for() -> None:
    assert METRICS.get("audio_quality") is AudioQuality
    (first,), (second,) = AudioQuality().needs(V1).values(), AudioQuality().needs(V2).values()
    assert first.settings == {"max_audio_len_s": 4.0, "quality_resampling": "gain"}
    assert second.settings["quality_resampling"] == "resample"
