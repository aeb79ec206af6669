"""FVD: Fréchet distance between the I3D features of generated and real videos.

Three steps, each of which can be called alone: features (`fvd_features`), statistics (`fvd_statistics`), number
(`fvd_from_statistics`). `FVDMetric` goes from stored features to a value with an interval for every slice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from javisbench.metrics.base import MetricCard, SetMetric, SetValue
from javisbench.metrics.distance_slices import frechet_slices, note_extrapolation
from javisbench.metrics.distances import Moments, frechet_from_moments
from javisbench.metrics.embeddings import embed
from javisbench.metrics.encoders.set_specs import i3d_spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.clip import Clip
    from javisbench.metrics.encoders.base import Encoder, FeatureSpec
    from javisbench.protocol import Protocol


def fvd_features(encoder: Encoder, clips: Sequence[Clip], protocol: Protocol) -> NDArray[np.floating[Any]]:
    """I3D logits of each clip, shape ``(n, 400)``.

    Args:
        encoder: a loaded `javisbench.metrics.encoders.i3d.I3DEncoder`.
        clips: at least one.
        protocol: for frame sampling and pixel range.

    Raises:
        JavisbenchError: that of the first clip that has no features.
    """
    return embed(encoder, clips, i3d_spec(protocol))


def fvd_statistics(embeddings: NDArray[np.floating[Any]]) -> Moments:
    """Mean and covariance of a set of features, shape ``(n, 400)``.

    Raises:
        MetricError: fewer than two rows, or NaN or infinite ones.
    """
    return Moments.of(embeddings)


def fvd_from_statistics(fake: Moments, real: Moments) -> float:
    """FVD, at least 0; no scale factor.

    Raises:
        MetricError: statistics of different widths.
    """
    return frechet_from_moments(fake, real)


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
        *,
        paired: bool = True,
        real_is_population: bool = False,
        clusters: NDArray[np.int64] | None = None,
    ) -> dict[str, SetValue]:
        """FVD of all slices.

        The slice that holds every clip also gets a note with the value extrapolated to infinite n, where n is at least
        four times the feature width.

        Args:
            fake: float array ``(n, d)``, one row a generated clip.
            real: float array ``(m, d)``; row i belongs to row i of `fake` when `paired`.
            slices: slice name to row indices, valid for both sides when `paired` (else for `fake` only).
            protocol: unused: the features carry its settings.
            paired: whether the sets' rows correspond.
            real_is_population: whether `real` is taken as fixed.
            clusters: integer prompt of each fake row, so that repeats stay together; None when each has its own.

        Raises:
            MetricError: NaN or infinite features, or sets that do not fit each other.
        """
        values = frechet_slices(
            fake, real, slices, paired=paired, real_is_population=real_is_population, clusters=clusters
        )
        return note_extrapolation(values, fake, real, paired=paired, real_is_population=real_is_population)
