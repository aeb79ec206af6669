"""KVD: kernel distance (squared MMD) between the I3D features of generated and real videos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from javisbench.metrics.base import MetricCard, SetMetric, SetValue
from javisbench.metrics.distance_slices import kernel_slices
from javisbench.metrics.encoders.set_specs import i3d_spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.protocol import Protocol


class KVDMetric(SetMetric):
    """KVD of generated against real clips, with jackknife intervals (see `javisbench.metrics.distances`)."""

    card: ClassVar[MetricCard] = MetricCard(
        id="kvd",
        title="KVD",
        higher_is_better=False,
        value_range=(None, None),
        kind="set",
        measures="How far generated videos as a set are from real ones, by a polynomial kernel on I3D features; "
        "without FVD's upward bias, so also for small sets.",
        blind_to="Sound, prompts and single bad clips. In javisbench-v1 each set is centred first: a shift of all "
        "features is not seen, and small sets are biased downward.",
        source="Unterthiner et al. 2018 (arXiv:1812.01717), section 3; kernel of Binkowski et al. 2018 "
        "(arXiv:1801.01401), section 4; JavisDiT (arXiv:2503.23377), section 4",
        digits=4,
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
        """KVD of all slices.

        Args:
            fake: float array ``(n, d)``, one row a generated clip.
            real: of the same shape; row i belongs to row i of `fake`.
            slices: slice name to row indices, of both sides.
            protocol: for ``kvd_centred``.

        Raises:
            MetricError: NaN or infinite features, or sets that do not fit each other.
        """
        return kernel_slices(fake, real, slices, centred=protocol.fvd.kvd_centred)
