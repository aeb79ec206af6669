"""`reward` and `combine`: objects that give one number a clip, higher for better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import FeatureError, JavisbenchError, UsageError
from javisbench.metrics.base import SampleMetric, SampleScore
from javisbench.metrics.judges.metric import JudgeMetric
from javisbench.metrics.registry import METRICS
from javisbench.rewards.scale import Scale

if TYPE_CHECKING:
    from torch import Tensor

    from javisbench.clip import ClipSpec
    from javisbench.metrics.tensor_scorer import Scored
    from javisbench.protocol import Protocol
    from javisbench.reference.wanted import EncoderChoice
    from javisbench.suite import Sample

_OF_FILES = ("health_timing", "health_damaged")
_OF_TRANSCRIPTS = ("cpcer",)


@dataclass(frozen=True)
class Part:
    """One metric of a reward.

    Attributes:
        metric: its object.
        weight: what it counts.
        scale: what it is measured in; None for its own unit.
    """

    metric: SampleMetric
    weight: float = 1.0
    scale: Scale | None = None

    @property
    def id(self) -> str:
        """The metric's id."""
        return self.metric.card.id

    def valued(self, value: Tensor) -> Tensor:
        """A score as this part of the reward: in its direction, within its range for means and in its scale."""
        sign = 1.0 if self.metric.card.higher_is_better else -1.0
        if self.scale is not None:
            if self.metric.mean_range is not None:
                value = value.clamp(*self.metric.mean_range)
            value = (value - self.scale.mean) / self.scale.deviation
        return sign * self.weight * value


@dataclass(frozen=True)
class Rewarded:
    """Rewards with what is behind them.

    Attributes:
        values: float32 ``(B,)``; NaN for a clip that any of the metrics has no value for.
        scores: metric id to its own values (its unit, its direction), float32 ``(B,)``; NaN where it has none.
            Gradients of several go through common tensors: take them of a sum, or keep the graph
            (``retain_graph=True``).
        reasons: of each clip, metric id to why it has none; empty where all have.
    """

    values: Tensor
    scores: Mapping[str, Tensor]
    reasons: tuple[Mapping[str, JavisbenchError], ...]


class Reward:
    """One or several per-sample metrics as one number a clip, higher for better.

    Without scales the value of a single metric is the metric's own, and its negative where lower is better. Networks
    run in float32 on `device`; clips are prepared as files are, so that a reward is the number that scoring the same
    pixels and samples gives. Where pixels or sound ask for a gradient and the metric has one in them
    (`MetricCard.differentiable`; `javisbench metrics show`), it flows through; for all other metrics a reward is a
    constant, for policy gradients, preference pairs and best-of-n.

    Made by `reward` and `combine`.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        protocol: Protocol,
        device: str,
        encoders: Sequence[EncoderChoice],
        setting: ClipSpec | None,
    ) -> None:
        from javisbench.metrics.tensor_scorer import TensorScorer

        self.parts = tuple(parts)
        self._scorer = TensorScorer(
            [part.metric for part in parts],
            protocol,
            device,
            variants={choice.name: choice.variant for choice in encoders},
            weights={choice.name: choice.weights.path for choice in encoders if choice.weights},
        )
        self._setting = setting
        self.protocol, self.device = self._scorer.protocol, device

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the numbers, for the training run's own log."""
        return {
            "protocol": self.protocol.name,
            "parts": {
                part.id: {
                    "weight": part.weight,
                    "higher_is_better": part.metric.card.higher_is_better,
                    "scale": None if part.scale is None else vars(part.scale),
                }
                for part in self.parts
            },
        }

    def __repr__(self) -> str:
        return f"Reward({self.settings})"

    def __call__(
        self,
        frames: Any,
        fps: Any,
        audio: Any,
        sample_rate: Any,
        prompts: str | Sequence[str] | None = None,
        *,
        audio_prompts: str | Sequence[str] | None = None,
        video_prompts: str | Sequence[str] | None = None,
        columns: Mapping[str, Sequence[str]] | None = None,
    ) -> Tensor:
        """The reward of each clip.

        Args:
            frames: uint8 ``(B, T, H, W, 3)``, or float in [0, 1] ``(B, T, 3, H, W)`` or ``(B, T, H, W, 3)`` (rounded to
                bytes); tensor or array. Clips of different lengths come as a list; a single clip has no first axis.
            fps: frames per second, int, float or Fraction; one for all, or one each.
            audio: float in [-1, 1], ``(B, channels, samples)``; or a list of ``(channels, samples)`` or ``(samples,)``.
            sample_rate: Hz; one for all, or one each.
            prompts: one each, for metrics that compare with prompts.
            audio_prompts: of the sound alone; None takes `prompts`.
            video_prompts: of the picture alone; None takes `prompts`.
            columns: of a suite, for metrics that read them (``transcript``, ``language`` for ``wer``); one cell a clip.

        Returns:
            float32 ``(B,)`` on the device of `frames` (the CPU for arrays); NaN for a clip without a value, or that
            holds NaN or infinity (`detailed` says why); ``()`` for a single clip.

        Raises:
            UsageError: shapes, types, ranges, rates, lengths, prompts or columns that do not fit; which clip's.
        """
        from javisbench.metrics.tensor_inputs import is_batch

        made = self.detailed(
            frames, fps, audio, sample_rate, prompts,
            audio_prompts=audio_prompts, video_prompts=video_prompts, columns=columns,
        )  # fmt: skip
        return made.values if is_batch(frames) else made.values[0]

    def detailed(
        self,
        frames: Any,
        fps: Any,
        audio: Any,
        sample_rate: Any,
        prompts: str | Sequence[str] | None = None,
        *,
        audio_prompts: str | Sequence[str] | None = None,
        video_prompts: str | Sequence[str] | None = None,
        columns: Mapping[str, Sequence[str]] | None = None,
    ) -> Rewarded:
        """Like calling the object, with each metric's own values, and the reasons where there are none."""
        import torch

        from javisbench.metrics.tensor_inputs import given, prompts_for, without_nan

        device = _device_of(frames)
        frames, audio, broken = without_nan(frames, audio)
        clips = given(frames, fps, audio, sample_rate)
        texts = {"text": prompts, "audio_text": audio_prompts, "video_text": video_prompts}
        each = {name: prompts_for(len(clips), name, text) for name, text in texts.items() if text is not None}
        found = self._scorer.score(clips, each, _rows(each, columns or {}, len(clips)), self._setting)
        scored = [self._without(what) if what else one for one, what in zip(found, broken, strict=True)]

        def together(values: list[Tensor]) -> Tensor:
            return torch.stack(values).to(device) if values else torch.zeros(0, device=device)

        return Rewarded(
            together([self._value(one) for one in scored]),
            {part.id: together([_score(one, part.id) for one in scored]) for part in self.parts},
            tuple(
                {name: found for name, found in one.scores.items() if isinstance(found, JavisbenchError)}
                for one in scored
            ),
        )

    def _without(self, what: str) -> Scored:
        """What is said of a clip that holds NaN: a generator that went astray is no mistake of whoever asks."""
        from javisbench.metrics.tensor_scorer import Scored

        reason = FeatureError(f"NaN or infinity in {what.replace('its', 'the')}", kind="not_finite")
        return Scored({part.id: reason for part in self.parts}, {})

    def _value(self, one: Scored) -> Tensor:
        parts = [part.valued(_score(one, part.id)) for part in self.parts]
        return sum(parts[1:], parts[0])


def _score(one: Scored, name: str) -> Tensor:
    import torch

    if name in one.traced:
        return one.traced[name].cpu()
    found = one.scores[name]
    return torch.tensor(found.value if isinstance(found, SampleScore) else float("nan"), dtype=torch.float32)


def _device_of(frames: Any) -> Any:
    first = frames[0] if isinstance(frames, list | tuple) and frames else frames
    return getattr(first, "device", "cpu") if hasattr(first, "requires_grad") else "cpu"


def _rows(
    prompts: Mapping[str, Sequence[str]], columns: Mapping[str, Sequence[str]], count: int
) -> list[Sample | None]:
    """Rows of a suite as metrics that read columns see them."""
    from javisbench.suite import Sample

    if not isinstance(columns, Mapping):
        raise UsageError(f"columns is a dict of lists, one cell a clip; got {type(columns).__name__}.")
    wrong = next((name for name, cells in columns.items() if not _is_column(cells, count)), None)
    if wrong is not None:
        raise UsageError(f"The column {wrong} has one cell for each of {count} clips; got {columns[wrong]!r:.80}.")
    if not columns:
        return [None] * count
    texts = prompts.get("text") or [""] * count
    return [
        Sample(f"sample_{row:04d}", row, texts[row], extra={name: str(cells[row]) for name, cells in columns.items()})
        for row in range(count)
    ]


def _is_column(cells: Any, count: int) -> bool:
    return hasattr(cells, "__len__") and not isinstance(cells, str) and len(cells) == count


def reward(
    metric: str,
    *,
    scale: Scale | str | Path | None = None,
    protocol: str | Protocol | None = None,
    device: str = "cpu",
    variants: Mapping[str, str] | None = None,
    weights: Mapping[str, Path] | None = None,
    setting: ClipSpec | None = None,
) -> Reward:
    """A per-sample metric as a reward.

    Args:
        metric: its id (``av_sync``, ``desync``, ``javis_score``, ...); `reward_ids` lists them.
        scale: a `Scale`, or a scored run whose mean and deviation are taken; None leaves values in the metric's unit.
        protocol: name of the protocol, overrides included, or the protocol; None takes javisbench-v1, and where that
            lacks a metric (``av_sync``) javisbench-v2.
        device: where networks run.
        variants: encoder to variant, as `--encoder` takes them (``{"imagebind": "tiny"}``).
        weights: encoder to its checkpoint; where none is named, it is looked for as `javisbench weights` keeps it.
        setting: what clips should be, for metrics that compare with it.

    Raises:
        UsageError: no such metric, one that is no reward (`refusal` says why), or one that the protocol lacks; an
            encoder, variant, package or device that is not there.
        MissingWeightsError: weights are not given, and not on this machine.
    """
    scales = {metric: scale} if isinstance(scale, Scale) else scale
    return combine(
        {metric: 1.0}, scales=scales, protocol=protocol, device=device, variants=variants, weights=weights,
        setting=setting,
    )  # fmt: skip


def combine(
    weighted: Mapping[str, float],
    *,
    scales: Mapping[str, Scale] | str | Path | None = None,
    protocol: str | Protocol | None = None,
    device: str = "cpu",
    variants: Mapping[str, str] | None = None,
    weights: Mapping[str, Path] | None = None,
    setting: ClipSpec | None = None,
) -> Reward:
    """A weighted sum of metrics, each turned so that higher is better; networks that several need are loaded once.

    A clip that any of them has no value for has none.

    Args:
        weighted: metric id to weight, positive.
        scales: metric id to `Scale`; or a scored run whose means and deviations are taken for all. Metrics have
            different units: a sum without scales is rarely what is meant.
        protocol: and all others as for `reward`.
        device: where networks run.
        variants: encoder to variant.
        weights: encoder to its checkpoint.
        setting: what clips should be.

    Raises:
        UsageError: as `reward`; or no metric, a weight that is not positive, a scale of something else.
        MissingWeightsError: as `reward`.
    """
    from javisbench.reference.wanted import named_after
    from javisbench.run.device import pick_device

    if not weighted or not isinstance(weighted, Mapping) or not all(isinstance(name, str) for name in weighted):
        raise UsageError("A reward needs metrics with weights: combine({'av_ib': 0.5, 'desync': 0.5}).")
    wrong = {name: weight for name, weight in weighted.items() if not (_is_number(weight) and weight > 0)}
    if wrong:
        raise UsageError(f"Weights are positive; got {wrong}. Directions are the metrics' own: lower DeSync is better.")
    metrics = {name: _metric(name) for name in weighted}
    known = _protocol(protocol, metrics)
    encoders = _encoders(known, metrics.values(), variants or {}, weights or {})
    known = named_after(known, encoders)
    if isinstance(scales, str | Path):
        run = scales
        scales = {name: Scale.of_run(run, metric, known.name) for name, metric in metrics.items()}
    scales = scales or {}
    if not isinstance(scales, Mapping):
        raise UsageError(f"Scales are a dict of Scale, or a run's folder; got {scales!r:.80}.")
    for name, scale in scales.items():
        if not isinstance(scale, Scale):
            raise UsageError(f"The scale of {name} is Scale(mean, deviation); got {scale!r:.80}.")
        if name not in metrics:
            raise UsageError(f"There is a scale for {name}, which is no part of this reward: {', '.join(metrics)}.")
    parts = [Part(metric, weighted[name], scales.get(name)) for name, metric in metrics.items()]
    return Reward(parts, known, pick_device(str(device)), encoders, setting)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _protocol(asked: str | Protocol | None, metrics: Iterable[str]) -> Protocol:
    from javisbench.protocol import V1, parse_protocol
    from javisbench.run.plan import having

    if asked is None:
        return parse_protocol(next((having(name) for name in metrics if name in V1.without), V1.name))
    protocol = parse_protocol(asked) if isinstance(asked, str) else asked
    for name in metrics:
        if name in protocol.without:
            raise UsageError(f"{protocol.base} has no {name}: protocol={having(name)!r} has.")
    return protocol


def _encoders(
    protocol: Protocol,
    metrics: Iterable[SampleMetric],
    variants: Mapping[str, str],
    weights: Mapping[str, Path],
) -> list[EncoderChoice]:
    """The encoders that metrics need, with their weights; and those named besides, for the protocol's name."""
    from javisbench.metrics.encoders import ENCODERS, lacking
    from javisbench.reference.wanted import EncoderChoice
    from javisbench.run.plan import check_variant
    from javisbench.weights import WeightStore

    used = {spec.encoder for metric in metrics for spec in metric.needs(protocol).values()}
    store, found = WeightStore(), []
    for name in sorted({*used, *variants, *weights}):
        card = ENCODERS.get(name).card
        variant = variants.get(name, card.default_variant)
        check_variant(name, variant)
        lacks = lacking(name) if name in used else None
        if lacks is not None:
            raise UsageError(lacks, kind="missing_extra")
        entry, located = card.variants[variant], None
        if name in weights:
            located = store.located(_of_file(name, entry), _existing(name, weights[name]))
        elif entry is not None and name in used:
            located = store.locate(entry)
        found.append(EncoderChoice(name, variant, ENCODERS.get(name), located))
    return found


def _of_file(name: str, entry: str | None) -> str:
    if entry is None:
        raise UsageError(f"The encoder {name} takes no weights: leave it out of `weights`.")
    return entry


def _existing(name: str, path: Path) -> Path:
    if not Path(path).exists():
        raise UsageError(f"The weights of {name} are not at {path}.")
    return Path(path)


def _metric(name: str) -> SampleMetric:
    cls = METRICS.get(name)
    reason = refusal(name)
    if reason is not None:
        raise UsageError(f"{name} is no reward: {reason}.")
    made = cls()
    assert isinstance(made, SampleMetric)
    return made


def refusal(metric: str) -> str | None:
    """Why a metric is no reward; None for one that is.

    Raises:
        UsageError: no such metric.
    """
    cls = METRICS.get(metric)
    if not issubclass(cls, SampleMetric):
        return "it compares sets of clips and says nothing of one (javisbench.metrics.FVD and the like follow training)"
    if cls.card.higher_is_better is None:
        return "neither direction of it is better"
    if metric in _OF_FILES:
        return "it tells what is wrong with a file, and tensors are none"
    if metric in _OF_TRANSCRIPTS:
        return "it needs what a recogniser of your own heard, which tensors do not bring; score a run with it instead"
    if issubclass(cls, JudgeMetric):
        return "a judge answers over a network, at a price a clip; score a run with it instead"
    return None


def reward_ids() -> Iterator[str]:
    """Ids of the metrics that are rewards, in the order of tables."""
    return (name for name in METRICS if refusal(name) is None)
