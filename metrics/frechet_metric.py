"""What the Fréchet distances share: the rules of small n, intervals, and the extrapolation to infinite n.

Intervals describe sampling noise at the given n. The Fréchet distance is biased upward at every n, so its interval is
for the value *expected at that n*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from javisbench.errors import MetricError
from javisbench.metrics.base import Distance, SetMetric
from javisbench.metrics.distances import frechet, frechet_distance, frechet_from_moments, paired_sets, two_sets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.metrics.distances import Moments
    from javisbench.protocol import Protocol

_EXTRAPOLATION_SIZES = 8


@dataclass(frozen=True)
class Extrapolation:
    """A distance extrapolated to infinite n by a line in 1/n (Chong and Forsyth, 2020, section 3).

    Attributes:
        value: intercept of the line.
        r_squared: share of the variance of the points that the line explains, in [0, 1].
        sizes: subset sizes.
        values: mean distance at each size.
    """

    value: float
    r_squared: float
    sizes: tuple[int, ...]
    values: tuple[float, ...]


class FrechetMetric(SetMetric):
    """A Fréchet distance between the Gaussians of two sets of features.

    Fewer samples than twice the feature width make a value ``biased``: no interval, no rank. The slice of every clip
    also gets a note with the value extrapolated to infinite n, where n is at least four times the feature width.
    """

    def factor(self, protocol: Protocol) -> float:
        """What the distance is multiplied by."""
        return 1.0

    def distance(self, fake: NDArray[np.float64], real: NDArray[np.float64], protocol: Protocol) -> Distance:
        """See `javisbench.metrics.distances.frechet`."""
        return frechet(fake, real, with_excess=True).scaled(self.factor(protocol))

    def unpaired(self, fake: NDArray[np.float64], real: NDArray[np.float64], protocol: Protocol) -> float:
        """See `javisbench.metrics.distances.frechet_distance`; sets of any sizes."""
        return self.factor(protocol) * frechet_distance(fake, real)

    def from_moments(self, fake: Moments, real: Moments, protocol: Protocol) -> float:
        """The same value from stored means and covariances, as training loops keep them."""
        return self.factor(protocol) * frechet_from_moments(fake, real)

    def unbiased_from(self, width: int) -> int:
        """Twice the feature width."""
        return 2 * width

    def caveats(self, protocol: str) -> tuple[str, ...]:
        """The bias at every n."""
        return ("Fréchet distances are biased upward at every n; values at unequal n are not compared.",)

    def remark(
        self, fake: NDArray[np.floating[Any]], real: NDArray[np.floating[Any]], protocol: Protocol
    ) -> str | None:
        """The value at infinite n with the line's R²; None below 4d samples, where `extrapolate_frechet` refuses."""
        if len(fake) < 4 * np.shape(fake)[-1]:
            return None
        found = extrapolate_frechet(fake, real)
        value = self.factor(protocol) * found.value
        return f"extrapolated to infinite n: {value:.4g} (R² {found.r_squared:.3f})"


def extrapolate_frechet(
    fake: NDArray[np.floating[Any]],
    real: NDArray[np.floating[Any]],
    *,
    seed: int = 0,
) -> Extrapolation:
    """The Fréchet distance extrapolated to infinite n.

    Eight subset sizes, evenly spaced in 1/n from n down to 2d; at each size the samples, shuffled once, are cut into
    as many disjoint subsets of pairs as fit, and their distances averaged.

    Args:
        fake: float array ``(n, d)``, or ``(n, k, d)``.
        real: of the same shape; row i belongs to row i of `fake`.
        seed: of the shuffle.

    Raises:
        MetricError: fewer than 4d samples, from which a line to infinity would be a guess (``kind="small_n"``), or
            unusable features.
    """
    x, y = two_sets(*paired_sets(fake, real), grouped=True)
    n = len(x)
    smallest = 2 * x.shape[-1]
    if n < 2 * smallest:
        raise MetricError(
            f"Extrapolation needs at least 4d = {2 * smallest} samples, so that subsets of 2d = {smallest} and more "
            f"differ in size; got {n}.",
            kind="small_n",
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    sizes = [round(1 / s) for s in np.linspace(1 / n, 1 / smallest, _EXTRAPOLATION_SIZES)]

    def mean_distance(size: int) -> float:
        parts = [order[start : start + size] for start in range(0, n - size + 1, size)]
        return float(np.mean([frechet_distance(x[part], y[part]) for part in parts]))

    values = np.array([mean_distance(size) for size in sizes])
    inverse = 1 / np.array(sizes, dtype=np.float64)
    slope, intercept = np.polyfit(inverse, values, 1)
    residual = values - (intercept + slope * inverse)
    total = float(((values - values.mean()) ** 2).sum())
    r_squared = 1.0 if total == 0 else max(0.0, 1 - float(residual @ residual) / total)
    return Extrapolation(float(intercept), r_squared, tuple(sizes), tuple(values.tolist()))
