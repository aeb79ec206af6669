"""DNSMOS: speech quality as listeners would rate it, without a clean recording to compare with."""

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

_BLIND = (
    "The picture, the prompt, words, who speaks, and whether anybody speaks at all: music and noises get numbers too. "
    "Trained on speech in noise. Sound above 8 kHz. The last part of a sound that fills no window of 9.01 s. Silent "
    "clips have no value."
)
_P835 = "Reddy, Gopal and Cutler, DNSMOS P.835, ICASSP 2022"


def _card(metric_id: str, title: str, measures: str, formula: str, source: str) -> MetricCard:
    return MetricCard(
        id=metric_id,
        title=title,
        higher_is_better=True,
        value_range=(None, None),
        kind="sample",
        measures=measures,
        blind_to=_BLIND,
        formula=formula,
        source=source,
        digits=2,
        by_default=False,
        group="speech",
        tasks=SOUND_MADE,
    )


def _fitted(name: str, place: str) -> str:
    return (
        f"mean over windows of 9.01 s, one a second, of a quadratic of the network's {place} output, {name}; sound at "
        "16 kHz, doubled until it fills a window"
    )


class _DNSMOSMetric(SampleMetric):
    """One rating of DNSMOS. Details: ``windows``, the rating of each window of 9.01 s."""

    not_applicable: ClassVar[Mapping[str, str]] = {"no_audio": "without sound", "silent": "silent"}
    feature: ClassVar[str] = "p835"
    place: ClassVar[int] = 0

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """The ratings of the sound."""
        return {"sound": FeatureSpec.of("dnsmos", self.feature, windows=protocol.speech.dnsmos_windows)}

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The mean rating.

        Raises:
            MetricError: a rating is not finite.
        """
        rated = np.asarray(features["sound"]["windows"], dtype=np.float64)[:, self.place]
        if not np.isfinite(rated).all():
            raise MetricError("A rating of the sound is not finite, so there is no mean.", kind="not_finite")
        return SampleScore(float(rated.mean()), {"windows": tuple(rated.tolist())})


class DNSMOSSig(_DNSMOSMetric):
    """Quality of the speech itself (P.835 SIG)."""

    card: ClassVar[MetricCard] = _card(
        "dnsmos_sig",
        "DNSMOS SIG",
        "How undistorted the speech is, as listeners would rate it from about 1 to 5.",
        _fitted("SIG", "first"),
        _P835,
    )


class DNSMOSBak(_DNSMOSMetric):
    """How little the background intrudes (P.835 BAK)."""

    place: ClassVar[int] = 1
    card: ClassVar[MetricCard] = _card(
        "dnsmos_bak",
        "DNSMOS BAK",
        "How little the background intrudes, as listeners would rate it from about 1 to 5.",
        _fitted("BAK", "second"),
        _P835,
    )


class DNSMOSOvrl(_DNSMOSMetric):
    """Overall quality (P.835 OVRL)."""

    place: ClassVar[int] = 2
    card: ClassVar[MetricCard] = _card(
        "dnsmos_ovrl",
        "DNSMOS OVRL",
        "How good the speech sounds overall, as listeners would rate it from about 1 to 5.",
        _fitted("OVRL", "third"),
        _P835,
    )


class DNSMOSP808(_DNSMOSMetric):
    """Overall quality on the older scale (P.808), what MOVA's tables call DNSMOS."""

    feature: ClassVar[str] = "p808"
    card: ClassVar[MetricCard] = _card(
        "dnsmos_p808",
        "DNSMOS P.808",
        "How good the speech sounds overall on the older scale (P.808), about 1 to 5; tables that say DNSMOS without "
        "more often mean this one.",
        "mean over windows of 9.01 s, one a second, of the network's output on 120 log-mels of the first 9 s; sound at "
        "16 kHz, doubled until it fills a window",
        "Reddy, Gopal and Cutler, DNSMOS, ICASSP 2021 (arXiv:2010.15258)",
    )
