"""FID: Fréchet distance between the Inception features of frames of generated and of real clips.

Three steps, each of which can be called alone: features (`fid_features`), statistics (`fid_statistics`), number
(`fid_from_statistics`). `FIDMetric` goes from stored features to a value with an interval for every slice.

Every clip gives the same number of frames, evenly spaced over the clip with both ends (a protocol's ``fid_frames``),
and the Gaussians are those of all frames. Frames of one clip resemble each other, so all that counts samples counts
*clips*: n, the limit of 2d for the mark ``biased``, and the influences behind an interval, which are those of whole
clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from javisbench.metrics.base import MetricCard, SetMetric, SetValue
from javisbench.metrics.distance_slices import frechet_slices, note_extrapolation
from javisbench.metrics.distances import Moments, frechet_from_moments
from javisbench.metrics.embeddings import embed
from javisbench.metrics.encoders.set_specs import inception_spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.clip import Clip
    from javisbench.metrics.encoders.base import Encoder, FeatureSpec
    from javisbench.protocol import Protocol


def fid_features(encoder: Encoder, clips: Sequence[Clip], protocol: Protocol) -> NDArray[np.floating[Any]]:
    """Pooled Inception features of the sampled frames of each clip, shape ``(n, frames, 2048)``.

    Args:
        encoder: a loaded `javisbench.metrics.encoders.inception.InceptionEncoder`.
        clips: at least one.
        protocol: for frame sampling.

    Raises:
        JavisbenchError: that of the first clip that has no features.
    """
    return embed(encoder, clips, inception_spec(protocol))


def fid_statistics(embeddings: NDArray[np.floating[Any]]) -> Moments:
    """Mean and covariance over all frames of a set, shape ``(n, frames, 2048)``.

    Raises:
        MetricError: fewer than two frames, or NaN or infinite features.
    """
    return Moments.of(embeddings.reshape(-1, embeddings.shape[-1]))


def fid_from_statistics(fake: Moments, real: Moments) -> float:
    """FID, at least 0; no scale factor.

    Raises:
        MetricError: statistics of different widths.
    """
    return frechet_from_moments(fake, real)


class FIDMetric(SetMetric):
    """FID of generated against real frames, with influence-function intervals (see `javisbench.metrics.distances`)."""

    card: ClassVar[MetricCard] = MetricCard(
        id="fid",
        title="FID",
        higher_is_better=False,
        value_range=(0.0, None),
        kind="set",
        measures="How far single frames of generated videos as a set are from those of real ones, in Inception "
        "features; computed only when asked for.",
        blind_to="Motion, sound, prompts, single bad clips. Biased upward at every n, strongly below 4096 clips: "
        "values at different n cannot be compared.",
        source="Heusel et al. 2017 (arXiv:1706.08500), section 3, with the network of pytorch-fid",
        digits=2,
        by_default=False,
    )

    def needs(self, protocol: Protocol) -> FeatureSpec:
        """Pooled Inception features of frames."""
        return inception_spec(protocol)

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
        """FID of all slices; the slice of every clip also gets the extrapolated value, as FVD.

        Args:
            fake: float array ``(n, frames, d)``.
            real: float array ``(m, frames, d)``; clip i belongs to clip i of `fake` when `paired`.
            slices: slice name to clip indices, valid for both sides when `paired` (else for `fake` only).
            protocol: unused: the features carry its settings.
            paired: whether the sets' clips correspond.
            real_is_population: whether `real` is taken as fixed.
            clusters: integer prompt of each generated clip, so that repeats stay together; None when each has its own.

        Raises:
            MetricError: NaN or infinite features, or sets that do not fit each other.
        """
        values = frechet_slices(
            fake, real, slices, paired=paired, real_is_population=real_is_population, clusters=clusters
        )
        return note_extrapolation(values, fake, real, paired=paired, real_is_population=real_is_population)
