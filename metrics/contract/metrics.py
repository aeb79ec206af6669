"""Checks of a metric: its card, and that values depend on the features and the settings alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from javisbench.clip import ClipSpec
from javisbench.errors import FeatureError, JavisbenchError, MetricError
from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore, SetMetric, needed_features
from javisbench.metrics.contract.encoders import described_settings, loaded
from javisbench.metrics.contract.report import BrokenError, NotApplicableError, Report
from javisbench.metrics.contract.samples import FRAMES, HEIGHT, PROMPTS, SAMPLE_RATE, WIDTH, odd_clips, ordinary_clips
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.metrics.judges.metric import JudgeMetric
from javisbench.metrics.registry import METRICS
from javisbench.protocol import PROTOCOLS, V1
from javisbench.suite import Sample
from javisbench.transcripts import Heard

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import Clip
    from javisbench.protocol import Protocol
    from javisbench.weights import WeightStore

_SETTING = ClipSpec(width=WIDTH, height=HEIGHT, duration_s=FRAMES / 12, sample_rate=SAMPLE_RATE)
_SET_N, _SET_WIDTH = 40, 6
# Another order of the rows changes the rounding of sums, and a decomposition's last digits.
_SET_TOLERANCE = 1e-6
# A network's batches differ where a gradient is kept, in float32.
_TRACED_TOLERANCE = 1e-5


def needed(metric_id: str, protocol: Protocol) -> list[FeatureSpec]:
    """The features that the metric of an id needs under a protocol."""
    return needed_features(METRICS.get(metric_id)(), protocol)


def check_metric(report: Report, weights: WeightStore) -> None:
    """Run all checks of a metric.

    Args:
        report: takes the rows.
        weights: where weights of its encoders may lie.
    """
    cls = METRICS.get(report.id)
    with report.row("card"):
        _card(cls.card)
    with report.row("direction and range") as notes:
        notes.append(_direction(cls.card))
    with report.row("settings") as notes:
        notes.append(described_settings(cls.settings))
    with report.row("needs") as notes:
        notes += _needs(report.id)
    if issubclass(cls, SetMetric):
        _SetChecks(report, cls()).run()
    else:
        _SampleChecks(report, cls(), weights).run()


def _card(card: MetricCard) -> None:
    """Who reads a table must learn what is measured, and what is not."""
    for name in ("title", "measures", "blind_to", "source"):
        if not str(getattr(card, name)).strip():
            raise BrokenError(f"the card has no {name}")
    if type(card.digits) is not int or not 0 <= card.digits <= 12:
        raise BrokenError(f"digits is a whole number from 0 to 12, not {card.digits!r}")


def _direction(card: MetricCard) -> str:
    if card.higher_is_better not in (True, False, None):
        raise BrokenError(f"higher_is_better is True, False or None, not {card.higher_is_better!r}")
    low, high = card.value_range
    for end in (low, high):
        if end is not None and not math.isfinite(end):
            raise BrokenError(f"an open end of the range is None, not {end}")
    if low is not None and high is not None and not low < high:
        raise BrokenError(f"the range {low} to {high} is empty")
    better = {True: "higher is better", False: "lower is better", None: "neither is better"}[card.higher_is_better]
    return f"{better}, {'-inf' if low is None else low} to {'inf' if high is None else high}"


def _needs(metric_id: str) -> Iterator[str]:
    for protocol in PROTOCOLS.values():
        specs = needed(metric_id, protocol)
        for spec in specs:
            if list(spec.prep) != sorted(spec.prep):
                raise BrokenError(f"the settings of {spec.feature} are not sorted by name: write FeatureSpec.of(...)")
            if spec.encoder not in ENCODERS:
                raise BrokenError(f"no encoder {spec.encoder!r} is installed")
            hash(spec)
        if specs != needed(metric_id, protocol):
            raise BrokenError(f"other features at the second call under {protocol.name}")
    yield ", ".join(f"{spec.encoder}/{spec.feature}" for spec in needed(metric_id, V1))


def _judged(metric: JudgeMetric) -> SampleContext:
    """As if a judge had given the highest answers, to a question of the suite's own among others."""
    own = metric.questions.per_sample
    sample = Sample("checked", 0, PROMPTS[0], extra={} if own is None else {own.column: '["Is it there?"]'})
    answers = {question.id: question.scale[1] for question in metric.asked_of(sample, V1)}
    return SampleContext(V1, _SETTING, sample, (answers,))


def _spoken() -> SampleContext:
    """As if two speakers had been heard, one of them in part."""
    sample = Sample("checked", 0, PROMPTS[0], extra={"transcript": "[S1] Hello. [S2] Goodbye."})
    return SampleContext(V1, _SETTING, sample, heard=Heard((("a", "hello"), ("b", "good"))))


class _SampleChecks:
    """Scores of small clips."""

    def __init__(self, report: Report, metric: SampleMetric, weights: WeightStore) -> None:
        self._report = report
        self._metric = metric
        self._weights = weights
        self._context = SampleContext(V1, _SETTING)
        if isinstance(metric, JudgeMetric):
            self._context = _judged(metric)
        elif "transcript" in metric.needs_columns:
            self._context = _spoken()

    def run(self) -> None:
        self._clips: list[Mapping[str, Features]] = []
        row = self._report.row
        with row("features"):
            self._clips = self._features(list(ordinary_clips().values()))
        with row("pure"):
            self._applying(self._unchanged)
        with row("values in range") as notes:
            notes.append(", ".join(f"{value:.4g}" for value in self._applying(self._value)))
        with row("determinism"):
            self._applying(self._same_again)
        with row("NaN in features") as notes:
            notes += self._nan()
        with row("odd clips") as notes:
            notes += self._odd()
        with row("gradient") as notes:
            notes.append(self._gradient())

    def _have(self) -> list[Mapping[str, Features]]:
        if not self._clips:
            raise NotApplicableError("there are no features")
        return self._clips

    def _features(self, clips: Sequence[Clip]) -> list[Mapping[str, Features]]:
        specs = dict(self._metric.needs(V1))
        encoders = {name: loaded(name, self._weights) for name in sorted({spec.encoder for spec in specs.values()})}
        try:
            found: list[Mapping[str, Features]] = []
            for number, clip in enumerate(clips):
                roles: dict[str, Features] = {}
                for role, spec in specs.items():
                    item: list[Any] = [clip if spec.subject == "clip" else PROMPTS[number % len(PROMPTS)]]
                    made = encoders[spec.encoder].encode(item, [spec])[0][spec]
                    if isinstance(made, JavisbenchError):
                        raise made
                    roles[role] = made
                found.append(roles)
            return found
        finally:
            for encoder in encoders.values():
                encoder.close()

    def _value(self, features: Mapping[str, Features]) -> float:
        score = self._metric.score(features, self._context)
        if not isinstance(score, SampleScore):
            raise BrokenError(f"score gives a {type(score).__name__}, no SampleScore")
        value = float(score.value)
        for name, series in score.details.items():
            np.asarray(series, dtype=np.float64)
            if not isinstance(name, str):
                raise BrokenError("a name among the details is no text")
        if not math.isfinite(value):
            raise BrokenError(f"the value {value} is not finite; a MetricError would say why there is none")
        low, high = self._metric.card.value_range
        if (low is not None and value < low) or (high is not None and value > high):
            raise BrokenError(f"the value {value} lies outside the range {low} to {high} of the card")
        return value

    def _applying(self, check: Callable[[Mapping[str, Features]], float]) -> list[float]:
        """What `check` gives of each clip that the metric applies to.

        Raises:
            NotApplicableError: it applies to none of them.
        """
        found: list[float] = []
        told = ""
        for features in self._have():
            try:
                found.append(check(features))
            except MetricError as error:
                if error.kind not in self._metric.not_applicable:
                    raise
                told = error.message
        if not found:
            raise NotApplicableError(f"it does not apply to the small made clips: {told}")
        return found

    def _same_again(self, features: Mapping[str, Features]) -> float:
        value = self._value(features)
        if value != self._value(features):
            raise BrokenError("the same features give another value at the second call")
        return value

    def _unchanged(self, features: Mapping[str, Features]) -> float:
        before = {role: {name: array.copy() for name, array in made.items()} for role, made in features.items()}
        try:
            return self._value(features)
        finally:
            for role, made in before.items():
                for name, array in made.items():
                    if not np.array_equal(array, features[role][name], equal_nan=array.dtype.kind == "f"):
                        raise BrokenError(f"score changes the features {role}/{name}, which other metrics see too")

    def _nan(self) -> Iterator[str]:
        features = self._have()[0]
        told = set()
        for role, made in features.items():
            for name, array in made.items():
                if array.dtype.kind != "f":
                    continue
                broken = {**features, role: {**made, name: np.full_like(array, np.nan)}}
                try:
                    value = float(self._metric.score(broken, self._context).value)
                    told.add("no value" if not math.isfinite(value) else "a value from what is left")
                except (MetricError, FeatureError):
                    told.add("no value")
        if not told:
            raise NotApplicableError("its features are whole numbers")
        yield ", or ".join(sorted(told))

    def _odd(self) -> Iterator[str]:
        self._have()
        without = []
        for name, clip in odd_clips().items():
            try:
                (features,) = self._features([clip])
                self._value(features)
            except (MetricError, FeatureError):
                without.append(name)
        if without:
            yield f"no value {', '.join(without)}"

    def _gradient(self) -> str:
        """A traced score is the score, and a gradient reaches what the card says and nothing else."""
        import torch

        claimed = self._metric.card.differentiable
        if not claimed:
            raise NotApplicableError("the card claims none")
        known, clip = self._have()[0], next(iter(ordinary_clips().values()))
        pixels = (torch.from_numpy(clip.frames).float() / 255).requires_grad_()
        sound = torch.from_numpy(np.array(clip.audio)).requires_grad_()
        roles = {}
        for role, spec in self._metric.needs(V1).items():
            made = None
            if spec.subject == "clip":
                encoder = loaded(spec.encoder, self._weights)
                made = encoder.traced(clip, spec, pixels, sound)
                encoder.close()
            roles[role] = made or {name: torch.from_numpy(array.copy()) for name, array in known[role].items()}
        traced, value = self._metric.traced(roles, self._context), self._value(known)
        if not abs(float(traced.detach()) - value) <= _TRACED_TOLERANCE * max(1.0, abs(value)):
            raise BrokenError(f"with a gradient the score is {float(traced.detach()):.6g}, without {value:.6g}")
        if traced.requires_grad:
            traced.backward()  # type: ignore[no-untyped-call]
        asked = {"picture": pixels.grad, "sound": sound.grad}
        for name, grad in asked.items():
            if (grad is not None) != (name in claimed):
                told = "which the card claims" if name in claimed else "which the card does not claim"
                raise BrokenError(f"{'no' if grad is None else 'a'} gradient in the {name}, {told}")
            if grad is not None and not (torch.isfinite(grad).all() and grad.abs().max() > 0):
                raise BrokenError(f"the gradient in the {name} is 0 everywhere, or not finite")
        return f"in {' and '.join(sorted(claimed))}"


class _SetChecks:
    """Distances of seeded normal features; no encoder is needed."""

    def __init__(self, report: Report, metric: SetMetric) -> None:
        self._report = report
        self._metric = metric
        draw = np.random.default_rng(0)
        self._fake, self._real = (draw.normal(size=(_SET_N, _SET_WIDTH)) for _ in range(2))

    def run(self) -> None:
        row = self._report.row
        with row("pure"):
            self._pure()
        with row("values in range") as notes:
            notes.append(f"{self._value(self._fake, self._real):.4g}")
        with row("determinism"):
            if self._value(self._fake, self._real) != self._value(self._fake, self._real):
                raise BrokenError("the same sets give another value at the second call")
        with row("order of samples"):
            if self._metric.by_place:
                raise NotApplicableError("it says that rows count by their places")
            order = np.random.default_rng(1).permutation(_SET_N)
            again = self._value(self._fake[order], self._real[order])
            self._close(again, self._value(self._fake, self._real), "rows in another order")
        with row("slices"):
            self._slices()
        with row("closer sets") as notes:
            notes += self._closer()
        with row("influences"):
            self._influences()
        with row("NaN in features"):
            self._nan()
        with row("small sets") as notes:
            notes += self._small()

    def _measure(self, fake: NDArray[Any], real: NDArray[Any], rows: NDArray[Any] | None = None) -> Any:
        slices = {"all": np.arange(len(fake)) if rows is None else rows}
        return self._metric.measure(fake, real, slices, V1)["all"]

    def _value(self, fake: NDArray[Any], real: NDArray[Any]) -> float:
        found = self._measure(fake, real)
        if found.value is None or not math.isfinite(found.value):
            raise BrokenError(f"no finite value of two sets of {len(fake)}: {found.value} ({found.note})")
        low, high = self._metric.card.value_range
        if (low is not None and found.value < low) or (high is not None and found.value > high):
            raise BrokenError(f"the value {found.value} lies outside the range {low} to {high} of the card")
        return float(found.value)

    def _close(self, found: float, expected: float, what: str) -> None:
        if not math.isclose(found, expected, rel_tol=_SET_TOLERANCE, abs_tol=_SET_TOLERANCE):
            raise BrokenError(f"{what}: {found} instead of {expected}")

    def _pure(self) -> None:
        fake, real = self._fake.copy(), self._real.copy()
        self._value(fake, real)
        if not (np.array_equal(fake, self._fake) and np.array_equal(real, self._real)):
            raise BrokenError("distance changes the sets, which other metrics see too")

    def _slices(self) -> None:
        half = np.arange(0, _SET_N, 2)
        together = self._metric.measure(self._fake, self._real, {"all": np.arange(_SET_N), "half": half}, V1)
        alone = self._value(self._fake[half], self._real[half])
        if together["half"].n_fake != len(half):
            raise BrokenError(f"a slice of {len(half)} samples has n = {together['half'].n_fake}")
        value = together["half"].value
        if value is None:
            raise BrokenError("a slice beside the whole has no value")
        self._close(value, alone, "a slice beside the whole and by itself")

    def _closer(self) -> Iterator[str]:
        better = self._metric.card.higher_is_better
        if better is None:
            raise NotApplicableError("the card names no direction")
        if not self._metric.needs_real:
            raise NotApplicableError("it looks at generated clips alone")
        # Other mean and other spread: a distance of centred sets sees the spread alone.
        near, far = self._value(self._fake, self._real), self._value(self._fake, 3 + 3 * self._real)
        if near == far or (near > far) != better:
            told = f"sets that lie close have {near:.4g}, sets far apart {far:.4g}"
            raise BrokenError(f"{told}, which is not the card's direction")
        yield f"close {near:.4g}, far apart {far:.4g}"

    def _influences(self) -> None:
        found = self._measure(self._fake, self._real)
        parts = [part for part in (found.influences_fake, found.influences_real) if part is not None]
        if not parts:
            raise NotApplicableError("none: values have no interval and are never ranked")
        for part in parts:
            if part.shape != (_SET_N,) or not np.isfinite(part).all():
                raise BrokenError(
                    f"influences are {_SET_N} finite numbers, one a sample; these have the shape {part.shape}"
                )
            if abs(part.sum()) > 1e-6 * max(1.0, float(np.abs(part).sum())):
                raise BrokenError(f"influences sum to {part.sum():.3g}, not to 0")

    def _nan(self) -> None:
        broken = self._fake.copy()
        broken[3, 2] = np.nan
        try:
            found = self._measure(broken, self._real)
        except MetricError:
            return
        raise BrokenError(f"a NaN among the features gives {found.value}, no MetricError")

    def _small(self) -> Iterator[str]:
        for n in (0, 1, 2, 3):
            found = self._measure(self._fake, self._real, np.arange(n))
            if n < self._metric.min_n and (found.value is not None or found.status != "small_n"):
                raise BrokenError(
                    f"{n} samples give {found.value} ({found.status}), though min_n is {self._metric.min_n}"
                )
        yield f"no value from fewer than {self._metric.min_n}, unbiased from {self._metric.unbiased_from(_SET_WIDTH)}"
