"""FVD: Fréchet distance between the I3D features of generated and real videos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from javisbench.metrics.base import MetricCard, SetMetric, SetValue
from javisbench.metrics.distance_slices import frechet_slices, note_extrapolation
from javisbench.metrics.encoders.set_specs import i3d_spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.protocol import Protocol


class FVDMetric(SetMetric):
    """FVD of generated against real clips, with influence-function intervals (see `javisbench.metrics.distances`)."""

    card: ClassVar[MetricCard] = MetricCard(
        id="fvd",
        title="FVD",
        higher_is_better=False,
        value_range=(0.0, None),
        kind="set",
        measures="How far generated videos as a set are from real ones, in I3D features of 24 frames.",
        blind_to="Sound, prompts, single bad clips, what I3D's action classes do not need. Biased upward at any n: "
        "values at different n cannot be compared.",
        source="Unterthiner et al. 2018 (arXiv:1812.01717), section 3; JavisDiT (arXiv:2503.23377), section 4",
        digits=2,
    )

    def needs(self, protocol: Protocol) -> FeatureSpec:
        """I3D logits."""
        return i3d_spec(protocol)

    def compute(
        self,
        fake: NDArray[np.floating[Any]],
        real: NDArray[np.floating[Any]],
        slices: Mapping[str, NDArray[np.int64]],
        protocol: Protocol,
    ) -> dict[str, SetValue]:
        """FVD of all slices.

        The slice that holds every clip also gets a note with the value extrapolated to infinite n, where n is at least
        four times the feature width.

        Args:
            fake: float array ``(n, d)``, one row a generated clip.
            real: of the same shape; row i belongs to row i of `fake`.
            slices: slice name to row indices, of both sides.
            protocol: unused: the features carry its settings.

        Raises:
            MetricError: NaN or infinite features, or sets that do not fit each other.
        """
        return note_extrapolation(frechet_slices(fake, real, slices), fake, real)
