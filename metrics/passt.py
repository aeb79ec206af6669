"""How sets of sounds compare in the eyes of PaSST: a Fréchet distance and a divergence of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from javisbench.metrics.base import MetricCard, SetMetric
from javisbench.metrics.class_divergence import class_divergence
from javisbench.metrics.distance import Distance
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.frechet_metric import FrechetMetric
from javisbench.tasks import SOUND_MADE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.protocol import Protocol

_NETWORK = "Koutini et al., Interspeech 2022 (arXiv:2110.05069)"
_HEARD = (
    "the first 8 s at 32 kHz, mean taken off, silence up to 10 s (passt_windows=every_5_s: all of the sound, peak at "
    "-1 dB, the mean over windows of 10 s every 5 s)"
)
_DEAF = "Pictures, prompts, timing, single bad clips, and what the classes of AudioSet do not tell apart. "


def passt_spec(protocol: Protocol, feature: str) -> FeatureSpec:
    """Features or logits of PaSST."""
    settings = protocol.sound_sets
    if settings.passt_windows == "one":
        return FeatureSpec.of("passt", feature, windows="one", seconds=settings.passt_s)
    return FeatureSpec.of("passt", feature, windows=settings.passt_windows)


class FDPaSST(FrechetMetric):
    """FD on PaSST features."""

    card: ClassVar[MetricCard] = MetricCard(
        id="fd_passt",
        title="FD (PaSST)",
        higher_is_better=False,
        value_range=(0.0, None),
        kind="set",
        measures="How far generated sounds as a set are from real ones, in PaSST's features.",
        blind_to=_DEAF + "Biased upward at every n, strongly below 1536 clips.",
        formula=f"the Fréchet distance (as FVD) of 768 features of {_HEARD}",
        source=f"{_NETWORK}; as a distance: av-benchmark (FD_PaSST), MMAudio, CVPR 2025",
        digits=2,
        by_default=False,
        group="sound-sets",
        tasks=SOUND_MADE,
    )

    def needs(self, protocol: Protocol) -> FeatureSpec:
        """Features of PaSST."""
        return passt_spec(protocol, "features")


class KLPaSST(SetMetric):
    """KL on PaSST's classes: the mean over pairs of a generated and a real sound; intervals are those of a mean."""

    card: ClassVar[MetricCard] = MetricCard(
        id="kl_passt",
        title="KL (PaSST)",
        higher_is_better=False,
        value_range=(0.0, None),
        kind="set",
        measures="How much the classes that PaSST hears in a generated sound differ from those it hears in the real "
        "sound of the same sample.",
        blind_to=_DEAF + "Needs a real sound for each sample; says nothing where several sounds would be right. "
        "Verse-Bench's program adds 1e-6 to the generated sound's shares; nothing is added here.",
        formula=f"mean over pairs of sum_c r_c log(r_c / g_c), r and g the softmax of 527 logits of {_HEARD}",
        source=f"{_NETWORK}; as a score: Iashin and Rahtu, SpecVQGAN, BMVC 2021 (MKL); av-benchmark (KL_PaSST), "
        "Verse-Bench (KL)",
        digits=3,
        by_default=False,
        group="sound-sets",
        tasks=SOUND_MADE,
    )

    def needs(self, protocol: Protocol) -> FeatureSpec:
        """Logits of PaSST."""
        return passt_spec(protocol, "logits")

    def distance(self, fake: NDArray[np.float64], real: NDArray[np.float64], protocol: Protocol) -> Distance:
        """Mean over pairs of KL(real || generated)."""
        return class_divergence(fake, real)
