"""Metrics whose sight is known, for trials of trials; made known by the fixture `flash_metrics` of test_trial.py.

Clips show a white flash where a click is heard: picture and sound have one time each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from javisbench.errors import FeatureError, MetricError
from javisbench.metrics.base import Distance, MetricCard, SampleContext, SampleMetric, SampleScore, SetMetric
from javisbench.metrics.encoders.base import Encoder, EncoderCard, FeatureSpec
from javisbench.protocol import Protocol


def card(name: str, **more: Any) -> MetricCard:
    return MetricCard(name, name.replace("_", " "), more.pop("up", True), (None, None), more.pop("kind", "sample"),
                      "a test", "all else", "a test")  # fmt: skip


class Times(Encoder):
    """When it flashes and clicks, in seconds, and a number that is drawn for the clip's content."""

    card: ClassVar[EncoderCard] = EncoderCard("times", "flash and click", {"only": None}, host=True)

    def encode(self, items: Any, specs: Sequence[FeatureSpec]) -> list[dict[FeatureSpec, Any]]:
        return [dict.fromkeys(specs, self._one(clip)) for clip in items]

    def _one(self, clip: Any) -> Any:
        light = clip.frames.mean(axis=(1, 2, 3))
        if light.max() < 60:
            return FeatureError("The picture is dark.", kind="dark")
        flash = clip.frame_times_s[int(np.argmax(light))]
        click = int(np.argmax(np.abs(clip.audio[0]))) / clip.sample_rate
        digest = hashlib.sha256(clip.frames.tobytes() + clip.audio.tobytes()).digest()
        return {
            "flash": np.array(flash), "click": np.array(click), "chance": np.array(digest[0] + digest[1] / 256),
            "loud": np.array(np.abs(clip.audio).max() > 0),
            "embedding": clip.frames.mean(axis=(0, 1, 2)).astype(np.float32),
        }  # fmt: skip


class Offset(SampleMetric):
    card = card("offset")
    not_applicable: ClassVar[Mapping[str, str]] = {"silent": "silent"}

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        return {"times": FeatureSpec.of("times", "all")}

    def score(self, features: Mapping[str, Any], context: SampleContext) -> SampleScore:
        if not features["times"]["loud"]:
            raise MetricError("Nothing is heard.", kind="silent")
        return SampleScore(self.value(features["times"]))

    def value(self, times: Mapping[str, Any]) -> float:
        return -abs(float(times["flash"]) - float(times["click"]))


class OffsetDown(Offset):
    card = card("offset_down", up=False)

    def value(self, times: Mapping[str, Any]) -> float:
        return -super().value(times)


class Chance(Offset):
    card = card("chance")

    def value(self, times: Mapping[str, Any]) -> float:
        return float(times["chance"])


class Constant(Offset):
    card = card("constant")

    def value(self, times: Mapping[str, Any]) -> float:
        return 1.0


class Colours(SetMetric):
    """Distance of mean colours."""

    card = card("colours", kind="set", up=False)

    def needs(self, protocol: Protocol) -> FeatureSpec:
        return FeatureSpec.of("times", "all")

    def distance(self, fake: Any, real: Any, protocol: Protocol) -> Distance:
        return Distance(float(np.abs(fake.mean(0) - real.mean(0)).sum()), n_fake=len(fake), n_real=len(real), width=3)
