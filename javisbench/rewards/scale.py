"""What a metric's values are measured in when rewards are added up: the mean and spread of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from javisbench.errors import UsageError

if TYPE_CHECKING:
    from javisbench.metrics.base import SampleMetric


@dataclass(frozen=True)
class Scale:
    """A reward is ``(value - mean) / deviation``, and the negative of that for metrics whose lower values are better.

    Attributes:
        mean: in the metric's own unit and direction.
        deviation: standard deviation, in the metric's unit; positive.
        source: where they come from.
    """

    mean: float
    deviation: float
    source: str = "given"

    def __post_init__(self) -> None:
        numbers = all(isinstance(value, Real) and math.isfinite(value) for value in (self.mean, self.deviation))
        if not (numbers and self.deviation > 0):
            raise UsageError(
                f"A scale has a finite mean and a positive deviation; got {self.mean} and {self.deviation} "
                f"({self.source})."
            )

    @classmethod
    def of_run(cls, run: str | Path, metric: SampleMetric, protocol: str) -> Scale:
        """Mean and standard deviation (n - 1) of a run's clips, within the range in which the metric is averaged.

        Args:
            run: a run folder that was scored.
            metric: which column.
            protocol: under which the reward is computed; the run must have been scored under it.

        Raises:
            RunError: there is no result.
            UsageError: the run has fewer than two values of the metric under the protocol, or equal ones.
        """
        from javisbench.results.run_folder import load_results

        name, results = metric.card.id, load_results(run)
        found = next((result for result in results if result.protocol == protocol), None)
        if found is None:
            known = ", ".join(result.protocol for result in results)
            raise UsageError(f"{run} was scored under {known}, not under {protocol}: score it under that first.")
        scores = found.scores()
        column = np.zeros(0) if scores is None or name not in scores else scores[name].to_numpy(np.float64)
        values = metric.for_mean(column[np.isfinite(column)])
        if len(values) < 2:
            raise UsageError(f"{run} has {len(values)} values of {name} under {protocol}; a scale needs two at least.")
        return cls(float(values.mean()), float(values.std(ddof=1)), f"{run}, n = {len(values)}")
