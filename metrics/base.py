"""What a metric is: a pure function of features, with a card that says what it can and cannot see."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from javisbench.errors import MetricError
from javisbench.metrics.distance import Distance, distance_error
from javisbench.stats import Estimate
from javisbench.tasks import ALL_TASKS, Task

__all__ = [
    "Distance",
    "Fault",
    "MetricCard",
    "SampleContext",
    "SampleMetric",
    "SampleScore",
    "SetMetric",
    "SetValue",
    "needed_features",
]

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipSpec
    from javisbench.metrics.encoders.base import Features, FeatureSpec
    from javisbench.protocol import Protocol
    from javisbench.suite import Sample
    from javisbench.transcripts import Heard


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
        formula: how the value follows from the features, in a line.
        group: a name by which `--metrics` asks for it together with others (``speech``), or empty.
        tasks: for which tasks of suites it says something of the model: a metric of the picture alone says nothing
            where the suite gives the picture.
        differentiable: in what its value has a gradient, for rewards: ``picture``, ``sound``, both or neither; what
            says one writes `SampleMetric.traced`.
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
    formula: str = ""
    group: str = ""
    tasks: frozenset[Task] = ALL_TASKS
    differentiable: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SampleContext:
    """What a per-sample metric may know besides features.

    Attributes:
        protocol: how numbers are made.
        setting: what clips should be, if the suite states it.
        sample: the row of the suite; None outside of a run. Metrics that ask for columns of it name them in
            `SampleMetric.needs_columns`.
        answers: of a judge, for metrics of `javisbench.metrics.judges` alone: question to answer, one entry a repeat.
        heard: what the user's own recogniser heard in the clip; None where nobody gave that.
    """

    protocol: Protocol
    setting: ClipSpec | None = None
    sample: Sample | None = None
    answers: Sequence[Mapping[str, int]] = ()
    heard: Heard | None = None


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


@dataclass(frozen=True)
class Fault:
    """What a check of clips counts: clips whose value lies outside a range.

    Attributes:
        word: what such clips are (``silent``).
        least: lowest value of a clip without the fault.
        most: highest.
    """

    word: str
    least: float = -math.inf
    most: float = math.inf

    def has(self, values: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which clips have the fault; NaN, no value, is none."""
        found: NDArray[np.bool_] = (values < self.least) | (values > self.most)
        return found

    def count(self, values: NDArray[np.floating]) -> int:
        """How many clips have it."""
        return int(self.has(values).sum())


class SampleMetric(ABC):
    """A metric with one value a sample.

    Attributes:
        fault: for a check of clips, which is counted and never tested or ranked: what is counted; None for a score.
        needs_columns: columns of the suite that it reads; it is not applicable to suites without them.
        needs_prompt: whether it reads the prompt itself, beside features; it is not applicable to suites without one.
        needs_setting: whether it compares clips with the suite's setting; it is not applicable where there is none.
        not_applicable: for a metric that does not apply to every clip: kinds of errors (of its own, or of its encoders)
            that are no failures, and what such clips are (``silent``). They are counted beside the mean, and models for
            which the shares of such clips differ significantly are not ranked.
        mean_range: what values are clipped to before they are averaged and compared; None where they are not.
        weighted_by: the detail that says how much each clip counts in a second mean, which stands beside the first one
            and its ranks; None for a metric without one.
        settings: for a metric of another package: a frozen dataclass of what changes its numbers, which
            ``protocol.mounted(id, MySettings)`` gives with the values of the protocol; None for none.
    """

    card: ClassVar[MetricCard]
    settings: ClassVar[type | None] = None
    needs_columns: ClassVar[tuple[str, ...]] = ()
    needs_prompt: ClassVar[bool] = False
    needs_setting: ClassVar[bool] = False
    fault: ClassVar[Fault | None] = None
    not_applicable: ClassVar[Mapping[str, str]] = {}
    mean_range: ClassVar[tuple[float, float] | None] = None
    weighted_by: ClassVar[str | None] = None

    @abstractmethod
    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """Role to feature; `score` gets the features under these roles."""

    @abstractmethod
    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The sample's score.

        Raises:
            MetricError: it has none; the message says why.
        """

    def lacking(self, protocol: Protocol) -> str | None:
        """What it lacks besides features and columns (a package, something to be given), as a sentence; None when
        nothing.
        """
        return None

    def traced(self, features: Mapping[str, Mapping[str, Tensor]], context: SampleContext) -> Tensor:
        """The sample's score as `score` has it, of tensors through which a gradient flows.

        Written by metrics whose card says that they are differentiable; it may take for granted that there is a score.

        Args:
            features: role to feature arrays, as tensors.
            context: as for `score`.

        Returns:
            float64, shape ``()``.

        Raises:
            NotImplementedError: the card says that it has a gradient, and nobody wrote it.
        """
        raise NotImplementedError(f"{type(self).__name__} says `differentiable` in its card and has no `traced`")

    def for_mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values as they are averaged and compared: within `mean_range`. NaN stays NaN."""
        return values if self.mean_range is None else values.clip(*self.mean_range)

    def facts(
        self,
        values: NDArray[np.float64],
        details: Sequence[Mapping[str, Sequence[float]]],
        prompts: NDArray[np.int64],
        seed: int,
    ) -> dict[str, float]:
        """What a set of clips shows besides the mean, by name; none for most metrics. Kept with the overall value.

        Args:
            values: finite scores, not clipped, shape ``(n,)``, n >= 1, in an order that depends on ids alone.
            details: of each.
            prompts: number of each one's prompt, shape ``(n,)``.
            seed: of anything that is drawn.
        """
        return {}

    def remark(self, facts: Mapping[str, float]) -> str | None:
        """These facts in words, for the notes of a table; None where there is nothing to say."""
        return None


class SetMetric(ABC):
    """A metric between a set of generated clips and a set of real ones.

    Whoever scores, compares, ranks, verifies or tables a set metric asks an object of its class; nothing else says what
    its distance is. Write `needs` and `distance`, and override what follows where it differs.

    Attributes:
        min_n: fewest samples of each side that have a value.
        needs_real: False for a metric of the generated clips alone: no reference is needed then, and `real` is `fake`.
        by_place: True for a metric that deals rows into parts by their places, so that their order, which is that of
            sample ids, has a part in the value.
        settings: as for `SampleMetric`.
    """

    card: ClassVar[MetricCard]
    settings: ClassVar[type | None] = None
    min_n: ClassVar[int] = 2
    needs_real: ClassVar[bool] = True
    by_place: ClassVar[bool] = False

    @abstractmethod
    def needs(self, protocol: Protocol) -> FeatureSpec:
        """The feature whose ``embedding`` array, shape ``(d,)`` (or ``(k, d)``: k rows), stands for the clip."""

    @abstractmethod
    def distance(self, fake: NDArray[np.float64], real: NDArray[np.float64], protocol: Protocol) -> Distance:
        """The distance of two sets, in the unit of tables, with the influence of each sample on it.

        Args:
            fake: float64 array ``(n, d)`` (or ``(n, k, d)``), finite, n at least `min_n`.
            real: of the same shape; row i belongs to row i of `fake`.
            protocol: for the settings that change the number.

        Raises:
            MetricError: these sets have none; the message says why.
        """

    def distances(
        self,
        fake: NDArray[np.float64],
        real: NDArray[np.float64],
        slices: Mapping[str, NDArray[np.intp]],
        protocol: Protocol,
    ) -> dict[str, Distance]:
        """Distances of several slices, each of at least `min_n` rows; overridden where one pass serves them all."""
        return {name: self._one(fake[rows], real[rows], protocol) for name, rows in slices.items()}

    def unpaired(self, fake: NDArray[np.float64], real: NDArray[np.float64], protocol: Protocol) -> float:
        """The distance alone, in the unit of tables, of sets whose rows need not correspond: what training loops ask.

        Override it where sets of unequal sizes have a distance; this one asks `distance`, which takes equal sizes.

        Args:
            fake: float64 array ``(n, d)``, finite, n at least `min_n`.
            real: float64 array ``(m, d)``, likewise.
            protocol: for the settings that change the number.

        Raises:
            MetricError: these sets have none; the message says why.
        """
        if len(fake) != len(real):
            raise MetricError(
                f"{self.card.title} compares sets of equal sizes; got {len(fake)} generated and {len(real)} real.",
                kind="shape",
            )
        found = self.distance(fake, real, protocol)
        if found.value is None:
            raise MetricError(found.note or f"{self.card.title} has no value for these sets.", kind="failed")
        return found.value

    def unbiased_from(self, width: int) -> int:
        """Fewest samples of `width` features whose value is not marked as biased; 0 when none ever is.

        Biased values have no interval and no rank.
        """
        return 0

    def ranks(self, found: Distance) -> bool:
        """Whether a distance may be tested against another, and so ranked."""
        return found.status == "ok" and found.value is not None and found.influences is not None

    def caveats(self, protocol: str) -> tuple[str, ...]:
        """What a table with its values says about them, as footnotes.

        Args:
            protocol: name of a protocol that the table has values under.
        """
        return ()

    def remark(self, fake: NDArray[np.floating], real: NDArray[np.floating], protocol: Protocol) -> str | None:
        """A further note on the value over all samples, or None."""
        return None

    def measure(
        self,
        fake: NDArray[np.floating],
        real: NDArray[np.floating],
        slices: Mapping[str, NDArray[np.integer]],
        protocol: Protocol,
    ) -> dict[str, Distance]:
        """Distances of all slices, by this metric's rules of small n and bias.

        Args:
            fake: float array ``(n, d)`` (or ``(n, k, d)``), one row a generated clip.
            real: of the same shape; row i belongs to row i of `fake`.
            slices: slice name to row indices, of both sides.
            protocol: for the settings that change the number.

        Returns:
            slice name to distance, in the order of `slices`; never raises for small slices.

        Raises:
            MetricError: NaN or infinite features, or sets that do not fit each other.
        """
        from javisbench.metrics.distances import paired_sets
        from javisbench.stats import checked_rows

        x, y = paired_sets(fake, real)
        parts = {name: checked_rows(rows, len(x), name) for name, rows in slices.items()}
        found = self.distances(x, y, {name: rows for name, rows in parts.items() if rows.size >= self.min_n}, protocol)
        return {
            name: self._ruled(found[name], x.shape[-1]) if name in found else self._too_few(rows.size)
            for name, rows in parts.items()
        }

    def compute(
        self,
        fake: NDArray[np.floating],
        real: NDArray[np.floating],
        slices: Mapping[str, NDArray[np.integer]],
        protocol: Protocol,
    ) -> dict[str, SetValue]:
        """What `measure` gives, as values with intervals; arguments and errors are the same."""
        found = self.measure(fake, real, slices, protocol)
        values = {name: self._value(distance) for name, distance in found.items()}
        whole = [
            name for name, distance in found.items() if distance.n_fake == len(fake) and distance.value is not None
        ]
        remark = self.remark(fake, real, protocol) if whole else None
        for name in whole if remark is not None else ():
            note = values[name].note
            values[name] = replace(values[name], note=remark if note is None else f"{note}; {remark}")
        return values

    def _one(self, fake: NDArray[np.float64], real: NDArray[np.float64], protocol: Protocol) -> Distance:
        from numpy.linalg import LinAlgError

        try:
            return self.distance(fake, real, protocol)
        except LinAlgError as error:
            # Finite features of absurd spread: no decomposition converges.
            note = f"no value: {error}"
            return Distance(None, n_fake=len(fake), n_real=len(real), width=fake.shape[-1], status="failed", note=note)

    def _ruled(self, found: Distance, width: int) -> Distance:
        least = self.unbiased_from(width)
        n = min(found.n_fake, found.n_real)
        if found.status != "ok" or n >= least:
            return found
        note = f"n = {n} is below {least}: biased"
        return replace(found, influences_fake=None, influences_real=None, status="biased", note=found.note or note)

    def _too_few(self, n: int) -> Distance:
        least = {2: "two"}.get(self.min_n, str(self.min_n))
        note = f"n = {n}: no value from fewer than {least} samples"
        return Distance(None, n_fake=n, n_real=n, status="small_n", note=note)

    def _value(self, found: Distance) -> SetValue:
        from javisbench.stats import t_interval

        spread = distance_error(found) if found.status == "ok" else None
        if found.value is None or spread is None:
            return SetValue(found.value, found.n_fake, status=found.status, note=found.note)
        low, high = t_interval(found.value, *spread, 0.95)
        least, most = self.card.value_range
        low = low if least is None else max(low, least)
        high = high if most is None else min(high, most)
        return SetValue(found.value, found.n_fake, low, high, note=found.note)


def needed_features(metric: SampleMetric | SetMetric, protocol: Protocol) -> list[FeatureSpec]:
    """The features that a metric of either kind needs under a protocol.

    Raises:
        TypeError: it says something else.
    """
    from javisbench.metrics.encoders.base import FeatureSpec

    specs = [metric.needs(protocol)] if isinstance(metric, SetMetric) else [*metric.needs(protocol).values()]
    if not specs or not all(isinstance(spec, FeatureSpec) for spec in specs):
        raise TypeError(f"it needs features, each as a FeatureSpec; it says {specs!r:.200}")
    return specs
