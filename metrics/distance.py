"""A distance between two sets, with all that must be known of it to tell, test and rank it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from javisbench.stats import Status, standard_error

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Distance:
    """A distance with what each sample contributes to it.

    `influences` passed to `javisbench.stats.standard_error` gives the standard error; subtracting those of two models
    on the same prompts gives that of their difference.

    Attributes:
        value: the distance; None when it cannot be had.
        influences_fake: of each generated sample, summing to zero, shape ``(n_fake,)``; None when there is no interval.
        influences_real: of each real sample, shape ``(n_real,)``; None when there is no interval, or when the real side
            is no sample of anything.
        n_fake: generated samples.
        n_real: real samples.
        width: features of a sample.
        status: ``ok``, ``small_n``, ``biased`` or ``failed``.
        note: a sentence for a table, or None: why there is no value or no interval, or what is wrong with it.
        excess: the variance that the squared influences count twice; 0 where it is not known.
    """

    value: float | None
    influences_fake: NDArray[np.float64] | None = None
    influences_real: NDArray[np.float64] | None = None
    n_fake: int = 0
    n_real: int = 0
    width: int = 0
    status: Status = "ok"
    note: str | None = None
    excess: float = 0.0

    @property
    def influences(self) -> NDArray[np.float64] | None:
        """Of each pair of a generated and a real sample, shape ``(n,)``; None when there is no interval."""
        if self.influences_fake is None or self.influences_real is None:
            return self.influences_fake
        if self.influences_fake.shape != self.influences_real.shape:
            return None
        return self.influences_fake + self.influences_real

    def scaled(self, factor: float) -> Distance:
        """The same distance in another unit: value and influences times `factor`."""

        def times(part: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
            return None if part is None else factor * part

        return replace(
            self,
            value=None if self.value is None else factor * self.value,
            influences_fake=times(self.influences_fake),
            influences_real=times(self.influences_real),
            excess=factor**2 * self.excess,
        )


def distance_error(found: Distance) -> tuple[float, int] | None:
    """Standard error of a distance, less what its squared influences count twice, and degrees of freedom.

    Args:
        found: with its excess; of sets whose rows correspond, or of a sampled set and a fixed one.

    Returns:
        None where the distance has no influences.
    """
    influences = found.influences
    spread = None if influences is None else standard_error(influences)
    if spread is None:
        return None
    error, freedom = spread
    # Nothing but second-order noise comes exactly twice, so that more than half is never taken off.
    return float(np.sqrt(max(error**2 - found.excess, error**2 / 2))), freedom
