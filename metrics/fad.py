"""FAD: Fréchet distance between the AudioCLIP features of generated and real sounds.

Three steps, each of which can be called alone: features (`fad_features`), statistics (`fad_statistics`), number
(`fad_from_statistics`). `FADMetric` goes from stored features to a value with an interval for every slice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from javisbench.metrics.base import MetricCard, SetMetric, SetValue
from javisbench.metrics.distance_slices import frechet_slices, note_extrapolation
from javisbench.metrics.distances import Moments, frechet_from_moments
from javisbench.metrics.embeddings import embed
from javisbench.metrics.encoders.set_specs import audioclip_spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.clip import Clip
    from javisbench.metrics.encoders.base import Encoder, FeatureSpec
    from javisbench.protocol import Protocol


def fad_features(encoder: Encoder, clips: Sequence[Clip], protocol: Protocol) -> NDArray[np.floating[Any]]:
    """AudioCLIP audio embedding of each clip, not normalised, shape ``(n, 1024)``.

    Args:
        encoder: a loaded `javisbench.metrics.encoders.audioclip.AudioCLIPEncoder`.
        clips: at least one.
        protocol: for sample rate, scale, length and precision.

    Raises:
        JavisbenchError: that of the first clip that has no features.
    """
    return embed(encoder, clips, audioclip_spec(protocol))


def fad_statistics(embeddings: NDArray[np.floating[Any]]) -> Moments:
    """Mean and covariance of a set of features, shape ``(n, 1024)``.

    Raises:
        MetricError: fewer than two rows, or NaN or infinite ones.
    """
    return Moments.of(embeddings)


def fad_from_statistics(fake: Moments, real: Moments, protocol: Protocol) -> float:
    """FAD, at least 0, times the protocol's ``fad_factor`` (10 000 in the reference evaluation).

    Raises:
        MetricError: statistics of different widths.
    """
    return protocol.fad.fad_factor * frechet_from_moments(fake, real)


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
        *,
        paired: bool = True,
        real_is_population: bool = False,
        clusters: NDArray[np.int64] | None = None,
    ) -> dict[str, SetValue]:
        """FAD of all slices.

        The slice that holds every clip also gets a note with the value extrapolated to infinite n, where n is at least
        four times the feature width.

        Args:
            fake: float array ``(n, d)``, one row a generated clip.
            real: float array ``(m, d)``; row i belongs to row i of `fake` when `paired`.
            slices: slice name to row indices, valid for both sides when `paired` (else for `fake` only).
            protocol: for ``fad_factor``.
            paired: whether the sets' rows correspond.
            real_is_population: whether `real` is taken as fixed.
            clusters: integer prompt of each fake row, so that repeats stay together; None when each has its own.

        Raises:
            MetricError: NaN or infinite features, or sets that do not fit each other.
        """
        factor = protocol.fad.fad_factor
        values = frechet_slices(
            fake, real, slices, factor=factor, paired=paired, real_is_population=real_is_population, clusters=clusters
        )
        return note_extrapolation(
            values, fake, real, factor=factor, paired=paired, real_is_population=real_is_population
        )
