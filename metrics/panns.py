"""How sets of sounds compare in the eyes of PANNs: a Fréchet distance, a divergence of classes, an Inception Score."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.errors import MetricError
from javisbench.metrics.base import MetricCard, SetMetric
from javisbench.metrics.class_divergence import class_divergence, log_softmax
from javisbench.metrics.distance import Distance
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.frechet_metric import FrechetMetric
from javisbench.tasks import SOUND_MADE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.protocol import Protocol

IS_SPLITS, IS_SEED = 10, 2020
_LEAST_SHARE = 1e-8
_HEARD = {16: "the first 8 s at 16 kHz, mean taken off, not filled", 32: "10 s at 32 kHz, filled with silence"}
_NETWORK = "Kong et al., PANNs, IEEE/ACM TASLP 28, 2020"
_DEAF = "Pictures, prompts, timing, single bad clips, and what the classes of AudioSet do not tell apart. "


def panns_spec(protocol: Protocol, feature: str, rate_khz: int) -> FeatureSpec:
    """Features or logits of CNN14, of sound as the evaluations hear it that report the 16 or the 32 kHz network."""
    settings = protocol.sound_sets
    if rate_khz == 16:
        return FeatureSpec.of("panns_16k", feature, seconds=settings.panns_16k_s, fill=False, centred=True)
    return FeatureSpec.of("panns_32k", feature, seconds=settings.panns_32k_s, fill=True, centred=False)


def clamped_log_odds(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logits whose sigmoid is kept within [1e-8, 1 - 1e-8]: in float64, where 1 - 1e-8 is not 1."""
    limit = float(np.log((1 - _LEAST_SHARE) / _LEAST_SHARE))
    return np.clip(np.asarray(logits, np.float64), -limit, limit)


def inception_score(log_shares: NDArray[np.float64], splits: int) -> Distance:
    """Mean over splits of exp(mean KL(p || mean p)), with the influence of each row on it.

    Rows are dealt into splits by ``RandomState(2020).permutation``; split k has the places k n // splits to
    (k + 1) n // splits. The mean of p moves K = mean KL(p || mean p) in no first order, so that a row's influence on K
    is its own KL less K.

    Args:
        log_shares: float64 ``(n, classes)``, n >= `splits`.
        splits: sets that are looked at each by itself.

    Source: Salimans et al., Improved Techniques for Training GANs, NeurIPS 2016, section 4.
    """
    n = len(log_shares)
    order = np.random.RandomState(IS_SEED).permutation(n) if splits > 1 else np.arange(n)
    scores, influences = [], np.zeros(n)
    for k in range(splits):
        rows = order[k * n // splits : (k + 1) * n // splits]
        shares = np.exp(log_shares[rows])
        gains = (shares * (log_shares[rows] - np.log(shares.mean(axis=0)))).sum(axis=1)
        score = float(np.exp(gains.mean()))
        scores.append(score)
        influences[rows] = n / (splits * len(rows)) * score * (gains - gains.mean())
    return Distance(float(np.mean(scores)), influences, None, n, n, log_shares.shape[1])


class _FDPANNs(FrechetMetric):
    rate_khz: ClassVar[int] = 16

    def needs(self, protocol: Protocol) -> FeatureSpec:
        """Features of CNN14."""
        return panns_spec(protocol, "features", self.rate_khz)


class _KLPANNs(SetMetric):
    """Mean over pairs of a generated and a real sound; intervals are those of a mean."""

    rate_khz: ClassVar[int] = 16

    def needs(self, protocol: Protocol) -> FeatureSpec:
        """Logits of CNN14."""
        return panns_spec(protocol, "logits", self.rate_khz)

    def distance(self, fake: NDArray[np.float64], real: NDArray[np.float64], protocol: Protocol) -> Distance:
        """Mean over pairs of KL(real || generated)."""
        return class_divergence(fake, real)


class _ISPANNs(SetMetric):
    needs_real: ClassVar[bool] = False
    min_n: ClassVar[int] = IS_SPLITS
    rate_khz: ClassVar[int] = 16

    def needs(self, protocol: Protocol) -> FeatureSpec:
        """Logits of CNN14."""
        return panns_spec(protocol, "logits", self.rate_khz)

    def distance(self, fake: NDArray[np.float64], real: NDArray[np.float64], protocol: Protocol) -> Distance:
        """Inception Score of the generated sounds; `real` is not looked at."""
        if self.rate_khz == 16:
            return inception_score(log_softmax(fake), IS_SPLITS)
        return inception_score(log_softmax(clamped_log_odds(fake)), 1)

    def unpaired(self, fake: NDArray[np.float64], real: NDArray[np.float64], protocol: Protocol) -> float:
        """The same value.

        Raises:
            MetricError: fewer than ten sounds.
        """
        if len(fake) < self.min_n:
            raise MetricError(f"{self.card.title} needs {self.min_n} sounds; got {len(fake)}.", kind="small_n")
        found = self.distance(fake, real, protocol).value
        assert found is not None
        return found

    def caveats(self, protocol: str) -> tuple[str, ...]:
        """The bias at every n."""
        return ("Inception Scores are biased downward at every n; values at unequal n are not compared.",)


def _fd_card(metric_id: str, title: str, rate_khz: int) -> MetricCard:
    return MetricCard(
        id=metric_id,
        title=title,
        higher_is_better=False,
        value_range=(0.0, None),
        kind="set",
        measures="How far generated sounds as a set are from real ones, in features of PANNs' CNN14 at "
        f"{rate_khz} kHz.",
        blind_to=_DEAF + "Biased upward at every n, strongly below 4096 clips. Published programs take the square root "
        "of the singular product by scipy, which is up to 0.003 below the exact value, and print -1 on an error.",
        formula=f"the Fréchet distance (as FVD) of 2048 features of {_HEARD[rate_khz]}",
        source=f"{_NETWORK}; as a distance: av-benchmark (FD_PANNs), MMAudio, CVPR 2025",
        digits=2,
        by_default=False,
        group="sound-sets",
        tasks=SOUND_MADE,
    )


def _kl_card(metric_id: str, title: str, rate_khz: int) -> MetricCard:
    return MetricCard(
        id=metric_id,
        title=title,
        higher_is_better=False,
        value_range=(0.0, None),
        kind="set",
        measures="How much the classes that PANNs hears in a generated sound differ from those it hears in the real "
        f"sound of the same sample, at {rate_khz} kHz.",
        blind_to=_DEAF + "Needs a real sound for each sample; says nothing where several sounds would be right.",
        formula=f"mean over pairs of sum_c r_c log(r_c / g_c), r and g the softmax of 527 logits of {_HEARD[rate_khz]}",
        source=f"{_NETWORK}; as a score: Iashin and Rahtu, SpecVQGAN, BMVC 2021 (MKL); av-benchmark (KL_PANNs-softmax)",
        digits=3,
        by_default=False,
        group="sound-sets",
        tasks=SOUND_MADE,
    )


def _is_card(metric_id: str, title: str, rate_khz: int) -> MetricCard:
    how = (
        "mean over ten splits (seed 2020) of exp(mean KL(p || mean p)), p the softmax of 527 logits"
        if rate_khz == 16
        else "exp(mean KL(p || mean p)), p the softmax of the log odds of 527 sigmoids within [1e-8, 1 - 1e-8]"
    )
    return MetricCard(
        id=metric_id,
        title=title,
        higher_is_better=True,
        value_range=(1.0, None),
        kind="set",
        measures="How clear and how varied the classes are that PANNs hears in the generated sounds, at "
        f"{rate_khz} kHz; no real sounds are needed.",
        blind_to=_DEAF + "Whether sounds fit anything: a shuffled set scores the same. Depends on n, and has no value "
        "below ten sounds (published programs print NaN).",
        formula=f"{how}, of {_HEARD[rate_khz]}",
        source=f"Salimans et al., NeurIPS 2016, section 4, with {_NETWORK}",
        digits=3,
        by_default=False,
        group="sound-sets",
        tasks=SOUND_MADE,
    )


class FDPANNs(_FDPANNs):
    """FD on PANNs features at 16 kHz."""

    card: ClassVar[MetricCard] = _fd_card("fd_panns", "FD (PANNs)", 16)


class KLPANNs(_KLPANNs):
    """KL on PANNs classes at 16 kHz."""

    card: ClassVar[MetricCard] = _kl_card("kl_panns", "KL (PANNs)", 16)


class ISPANNs(_ISPANNs):
    """Inception Score on PANNs classes at 16 kHz, ten splits."""

    by_place: ClassVar[bool] = True
    card: ClassVar[MetricCard] = _is_card("is_panns", "IS (PANNs)", 16)


class FDPANNs32k(_FDPANNs):
    """FD on PANNs features at 32 kHz."""

    rate_khz: ClassVar[int] = 32
    card: ClassVar[MetricCard] = _fd_card("fd_panns_32k", "FD (PANNs 32 kHz)", 32)


class KLPANNs32k(_KLPANNs):
    """KL on PANNs classes at 32 kHz."""

    rate_khz: ClassVar[int] = 32
    card: ClassVar[MetricCard] = _kl_card("kl_panns_32k", "KL (PANNs 32 kHz)", 32)


class ISPANNs32k(_ISPANNs):
    """Inception Score on PANNs classes at 32 kHz, one split, as MOVA's tables have it."""

    rate_khz: ClassVar[int] = 32
    card: ClassVar[MetricCard] = _is_card("is_panns_32k", "IS (PANNs 32 kHz)", 32)
