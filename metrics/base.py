"""What a metric is: a pure function of features, with a card that says what it can and cannot see."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from javisbench.stats import Estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.clip import ClipSpec
    from javisbench.metrics.encoders.base import Features, FeatureSpec
    from javisbench.protocol import Protocol


@dataclass(frozen=True)
class MetricCard:
    """Facts about a metric, for tables, `javisbench metrics show` and docs.

    Attributes:
        id: name in files and on the command line (``javis_score``).
        title: the field's name (``JavisScore``).
        higher_is_better: None when neither direction is better.
        value_range: lowest and highest possible value; None for unbounded.
        unit: of the value (``s``, ``LUFS``, ``share``), or empty.
        kind: one value a sample, or one a set of clips.
        measures: what it looks at, in a sentence.
        blind_to: what it cannot see, in a sentence.
        source: paper and section of the formula.
        digits: digits after the point in tables.
        by_default: False for metrics that are computed only when asked for by name.
    """

    id: str
    title: str
    higher_is_better: bool | None
    value_range: tuple[float | None, float | None]
    kind: Literal["sample", "set"]
    measures: str
    blind_to: str
    source: str
    unit: str = ""
    digits: int = 3
    by_default: bool = True


@dataclass(frozen=True)
class SampleContext:
    """What a per-sample metric may know besides features: the protocol, and the suite's setting if it states one."""

    protocol: Protocol
    setting: ClipSpec | None = None


@dataclass(frozen=True)
class SampleScore:
    """Value of one sample.

    Attributes:
        value: the score, finite.
        details: named series behind it (window scores, onset times in seconds, ...), kept for plots.
    """

    value: float
    details: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class SetValue(Estimate):
    """Value of one set of clips, or of one slice of it.

    Attributes:
        value: None when it cannot be had.
        n: clips on the generated side.
        ci_low: lower end of the 95 % interval, or None.
        ci_high: upper end, or None.
        status: ``ok``, ``small_n`` (n < 2), ``biased`` (n < 2d) or ``failed``.
        note: a sentence, or None.
    """


class SampleMetric(ABC):
    """A metric with one value a sample.

    Attributes:
        needs_setting: whether it compares clips with the suite's setting; it is not applicable where there is none.
    """

    card: ClassVar[MetricCard]
    needs_setting: ClassVar[bool] = False

    @abstractmethod
    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """Role to feature; `score` gets the features under these roles."""

    @abstractmethod
    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The sample's score.

        Raises:
            MetricError: it has none; the message says why.
        """


class SetMetric(ABC):
    """A metric between a set of generated clips and a set of real ones."""

    card: ClassVar[MetricCard]

    @abstractmethod
    def needs(self, protocol: Protocol) -> FeatureSpec:
        """The feature whose ``embedding`` array, shape ``(d,)`` (or ``(k, d)``: k rows), stands for the clip."""

    @abstractmethod
    def compute(
        self,
        fake: NDArray[np.floating],
        real: NDArray[np.floating],
        slices: Mapping[str, NDArray[np.int64]],
        protocol: Protocol,
    ) -> dict[str, SetValue]:
        """Distances of all slices in one pass.

        Args:
            fake: float array ``(n, d)``, one row a generated clip.
            real: of the same shape; row i belongs to row i of `fake`.
            slices: slice name to row indices, of both sides.
            protocol: for the settings that change the number.

        Returns:
            slice name to value; never raises for small slices.
        """
