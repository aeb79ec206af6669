"""FAD as it was first defined: the Fréchet distance between VGGish features of generated and real sounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from javisbench.metrics.base import MetricCard
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.frechet_metric import FrechetMetric
from javisbench.tasks import SOUND_MADE

if TYPE_CHECKING:
    from javisbench.protocol import Protocol


class FADVGGish(FrechetMetric):
    """FAD on VGGish; n counts clips, of which each has as many windows."""

    card: ClassVar[MetricCard] = MetricCard(
        id="fad_vggish",
        title="FAD (VGGish)",
        higher_is_better=False,
        value_range=(0.0, None),
        kind="set",
        measures="How far generated sounds as a set are from real ones, in VGGish features of each 0.96 s.",
        blind_to="Pictures, prompts, single bad clips, what happens after the first 4 s, everything above 7.5 kHz, and "
        "order within a clip; biased upward at every n, strongly below 256 clips. Published programs differ in the "
        "seconds that they hear, in resampling, and in whether the last activation is kept (here it is not, as in "
        "the package frechet-audio-distance): values of other programs do not stand beside these.",
        formula="the Fréchet distance (as FVD) of the 128 VGGish outputs, before the activation, of each 0.96 s of the "
        "first 4 s at 16 kHz, filled with silence; not multiplied",
        source="Kilgour et al. 2019 (arXiv:1812.08466), section 2, with VGGish (arXiv:1609.09430)",
        digits=3,
        by_default=False,
        group="sound-sets",
        tasks=SOUND_MADE,
    )

    def needs(self, protocol: Protocol) -> FeatureSpec:
        """Embeddings of VGGish."""
        return FeatureSpec.of("vggish", "windows", seconds=protocol.sound_sets.vggish_s)
