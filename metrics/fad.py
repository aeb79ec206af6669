"""FAD: Fréchet distance between the AudioCLIP features of generated and real sounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from javisbench.metrics.base import MetricCard, SetMetric, SetValue
from javisbench.metrics.distance_slices import frechet_slices, note_extrapolation
from javisbench.metrics.encoders.set_specs import audioclip_spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.protocol import Protocol


class FADMetric(SetMetric):
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
        source="Kilgour et al. 2019 (arXiv:1812.08466), section 2, with AudioCLIP (arXiv:2106.13043) in place of "
        "VGGish; JavisDiT (arXiv:2503.23377), section 4",
        digits=2,
    )

    def needs(self, protocol: Protocol) -> FeatureSpec:
        """AudioCLIP's audio embedding."""
        return audioclip_spec(protocol)

    def compute(
        self,
        fake: NDArray[np.floating[Any]],
        real: NDArray[np.floating[Any]],
        slices: Mapping[str, NDArray[np.int64]],
        protocol: Protocol,
    ) -> dict[str, SetValue]:
        """FAD of all slices.

        The slice that holds every clip also gets a note with the value extrapolated to infinite n, where n is at least
        four times the feature width.

        Args:
            fake: float array ``(n, d)``, one row a generated clip.
            real: of the same shape; row i belongs to row i of `fake`.
            slices: slice name to row indices, of both sides.
            protocol: for ``fad_factor``.

        Raises:
            MetricError: NaN or infinite features, or sets that do not fit each other.
        """
        factor = protocol.fad.fad_factor
        return note_extrapolation(frechet_slices(fake, real, slices, factor=factor), fake, real, factor=factor)
