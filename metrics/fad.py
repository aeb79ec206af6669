"""FAD: Fréchet distance between the AudioCLIP features of generated and real sounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from javisbench.metrics.base import MetricCard
from javisbench.metrics.encoders.set_specs import audioclip_spec
from javisbench.metrics.frechet_metric import FrechetMetric
from javisbench.tasks import SOUND_MADE

if TYPE_CHECKING:
    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.protocol import Protocol


class FADMetric(FrechetMetric):
    """FAD of generated against real clips, with influence-function intervals (see `javisbench.metrics.distances`)."""

    card: ClassVar[MetricCard] = MetricCard(
        id="fad",
        title="FAD",
        higher_is_better=False,
        value_range=(0.0, None),
        kind="set",
        measures="How far generated sounds as a set are from real ones, in AudioCLIP features; times 10 000.",
        blind_to="Pictures, prompts, single bad clips, and what happens after the first 4 s; biased upward at every n, "
        "strongly below 2048 clips. In javisbench-v1, digital silence adds rounding noise of 2 to 8 %.",
        formula=(
            "10 000 times the Fréchet distance (as FVD) of 1024 AudioCLIP outputs, not normalised, for the first 4 s"
        ),
        source="Kilgour et al. 2019 (arXiv:1812.08466), section 2, with AudioCLIP (arXiv:2106.13043) in place of "
        "VGGish; JavisDiT (arXiv:2503.23377), section 4",
        digits=2,
        tasks=SOUND_MADE,
    )

    def needs(self, protocol: Protocol) -> FeatureSpec:
        """AudioCLIP's audio embedding."""
        return audioclip_spec(protocol)

    def factor(self, protocol: Protocol) -> float:
        """``fad_factor``."""
        return protocol.fad.fad_factor

    def caveats(self, protocol: str) -> tuple[str, ...]:
        """The bias, and the noise of digital silence under the reference evaluation's protocol."""
        noise = (
            "FAD under javisbench-v1 varies by about 2 % (8 % in slices) with threads and batch size where clips are "
            "digitally silent.",
        )
        return (*super().caveats(protocol), *(noise if protocol.startswith("javisbench-v1") else ()))
