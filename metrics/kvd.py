"""KVD: kernel distance (squared MMD) between the I3D features of generated and real videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from javisbench.metrics.base import Distance, MetricCard, SetMetric
from javisbench.metrics.distances import (
    kernel_distance,
    kernel_distances,
    polynomial_mmd,
    two_sets,
    with_kernel_excess,
)
from javisbench.metrics.encoders.set_specs import i3d_spec
from javisbench.tasks import PICTURE_MADE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.protocol import Protocol

KERNEL_FEW = 40
"""Below this many samples the jackknife interval of the MMD has not been shown to hold; tables say so."""


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
        formula=(
            "mean over i ≠ j of k(x_i, x_j) + mean over i ≠ j of k(y_i, y_j) - 2 mean of k(x_i, y_j), with "
            "k(a, b) = (a·b/400 + 1)³ on the logits of FVD"
        ),
        source="Unterthiner et al. 2018 (arXiv:1812.01717), section 3; kernel of Binkowski et al. 2018 "
        "(arXiv:1801.01401), section 4; JavisDiT (arXiv:2503.23377), section 4",
        digits=4,
        tasks=PICTURE_MADE,
    )

    def needs(self, protocol: Protocol) -> FeatureSpec:
        """I3D logits."""
        return i3d_spec(protocol)

    def distance(self, fake: NDArray[np.float64], real: NDArray[np.float64], protocol: Protocol) -> Distance:
        """See `javisbench.metrics.distances.kernel_distance`; centred by ``kvd_centred``."""
        return _noted(kernel_distance(fake, real, centred=protocol.fvd.kvd_centred, with_excess=True))

    def unpaired(self, fake: NDArray[np.float64], real: NDArray[np.float64], protocol: Protocol) -> float:
        """See `javisbench.metrics.distances.polynomial_mmd`; sets of any sizes, centred by ``kvd_centred``."""
        return polynomial_mmd(fake, real, centred=protocol.fvd.kvd_centred)

    def distances(
        self,
        fake: NDArray[np.float64],
        real: NDArray[np.float64],
        slices: Mapping[str, NDArray[np.intp]],
        protocol: Protocol,
    ) -> dict[str, Distance]:
        """Uncentred, the kernel is evaluated once, in tiles, for all slices together.

        Centred, every slice has its own means and so its own kernel, and is a pass of its own: about three times the
        work for the JavisBench taxonomy.
        """
        if protocol.fvd.kvd_centred:
            return super().distances(fake, real, slices, protocol)
        found = kernel_distances(*two_sets(fake, real), {name: (rows, rows) for name, rows in slices.items()})
        return {
            name: _noted(with_kernel_excess(found[name], fake[rows], real[rows], centred=False))
            for name, rows in slices.items()
        }


def _noted(found: Distance) -> Distance:
    if found.note is not None or found.n_fake >= KERNEL_FEW:
        return found
    return replace(found, note=f"n = {found.n_fake} is below {KERNEL_FEW}: rough interval")
