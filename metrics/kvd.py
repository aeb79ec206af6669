"""KVD: kernel distance (squared MMD) between the I3D features of generated and real videos.

Three steps, each of which can be called alone: features (`kvd_features`, those of FVD), statistics (`kvd_statistics`;
a kernel has no shorter summary than the rows themselves), number (`kvd_from_statistics`). `KVDMetric` goes from stored
features to a value with an interval for every slice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from javisbench.metrics.base import MetricCard, SetMetric, SetValue
from javisbench.metrics.distance_slices import kernel_slices
from javisbench.metrics.distances import checked_features, polynomial_mmd
from javisbench.metrics.embeddings import embed
from javisbench.metrics.encoders.set_specs import i3d_spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.clip import Clip
    from javisbench.metrics.encoders.base import Encoder, FeatureSpec
    from javisbench.protocol import Protocol


def kvd_features(encoder: Encoder, clips: Sequence[Clip], protocol: Protocol) -> NDArray[np.floating[Any]]:
    """I3D logits of each clip, shape ``(n, 400)``; see `javisbench.metrics.fvd.fvd_features`."""
    return embed(encoder, clips, i3d_spec(protocol))


def kvd_statistics(embeddings: NDArray[np.floating[Any]], protocol: Protocol) -> NDArray[np.float64]:
    """The rows in float64, less their mean where the protocol centres each set.

    Raises:
        MetricError: NaN or infinite features.
    """
    rows = checked_features(embeddings, "The set")
    return rows - rows.mean(axis=0) if protocol.fvd.kvd_centred else rows


def kvd_from_statistics(fake: NDArray[np.float64], real: NDArray[np.float64]) -> float:
    """Unbiased squared MMD with the kernel ``(x.y/d + 1)^3``; no scale factor; may be negative.

    Raises:
        MetricError: fewer than two rows on a side, or different widths.
    """
    return polynomial_mmd(fake, real)


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
        *,
        paired: bool = True,
        real_is_population: bool = False,
        clusters: NDArray[np.int64] | None = None,
    ) -> dict[str, SetValue]:
        """KVD of all slices.

        Args:
            fake: float array ``(n, d)``, one row a generated clip.
            real: float array ``(m, d)``; row i belongs to row i of `fake` when `paired`.
            slices: slice name to row indices, valid for both sides when `paired` (else for `fake` only).
            protocol: for ``kvd_centred``.
            paired: whether the sets' rows correspond.
            real_is_population: whether `real` is taken as fixed.
            clusters: integer prompt of each fake row, so that repeats stay together; None when each has its own.

        Raises:
            MetricError: NaN or infinite features, or sets that do not fit each other.
        """
        return kernel_slices(
            fake,
            real,
            slices,
            centred=protocol.fvd.kvd_centred,
            paired=paired,
            real_is_population=real_is_population,
            clusters=clusters,
        )
