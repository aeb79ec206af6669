"""Per-sample metrics of clips that are in memory: each network loaded once, each feature made once, no files.

Where a tensor asks for its gradient and a metric has one (`MetricCard.differentiable`), the score carries it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import FeatureError, JavisbenchError, MetricError, UsageError
from javisbench.metrics.base import SampleContext, SampleMetric, SampleScore
from javisbench.metrics.tensor_inputs import Given

if TYPE_CHECKING:
    from torch import Tensor

    from javisbench.clip import ClipSpec
    from javisbench.metrics.encoders.base import Encoder, Features, FeatureSpec
    from javisbench.protocol import Protocol
    from javisbench.suite import Sample


@dataclass(frozen=True)
class Scored:
    """What the metrics say of one clip.

    Attributes:
        scores: metric id to score, or to the reason why there is none.
        traced: metric id to the same value as float32 ``()`` with its gradient, where the clip asks for one that
            the metric has.
    """

    scores: Mapping[str, SampleScore | JavisbenchError]
    traced: Mapping[str, Tensor]


class TensorScorer:
    """Per-sample metrics for clips that are in memory already.

    Networks run in float32 whatever autocast the caller is in. Features that several metrics need are made once.

    Args:
        metrics: what is computed.
        protocol: name of the protocol, overrides included (``javisbench-v2+top_k=0.5``), or the protocol.
        device: where networks run.
        variants: encoder to variant, as `--encoder` takes them; the official one where none is named.
        weights: encoder to its checkpoint; where none is named, it is looked for as `javisbench weights` keeps it.

    Raises:
        MissingWeightsError: weights are not given, and not on this machine.
        WeightsError: a file does not hold its network.
        UsageError: a variant or package that is not there.
    """

    def __init__(
        self,
        metrics: Sequence[SampleMetric],
        protocol: str | Protocol,
        device: str = "cpu",
        *,
        variants: Mapping[str, str] | None = None,
        weights: Mapping[str, Path] | None = None,
    ) -> None:
        from javisbench.protocol import parse_protocol

        self.metrics = tuple(metrics)
        self.device = device
        self.protocol = parse_protocol(protocol) if isinstance(protocol, str) else protocol
        self._needs = {metric.card.id: metric.needs(self.protocol) for metric in self.metrics}
        self._specs = {spec for roles in self._needs.values() for spec in roles.values()}
        names = sorted({spec.encoder for spec in self._specs})
        self._encoders = {name: _loaded(name, device, variants or {}, weights or {}) for name in names}

    def score(
        self,
        clips: Sequence[Given],
        prompts: Mapping[str, Sequence[str]],
        samples: Sequence[Sample | None] | None = None,
        setting: ClipSpec | None = None,
    ) -> list[Scored]:
        """The scores of each clip.

        Args:
            clips: pixels and sound.
            prompts: ``text``, ``audio_text`` and ``video_text`` to a prompt for each clip, as far as the metrics need
                them; ``text`` stands for others.
            samples: rows of a suite, for metrics that read columns.
            setting: what clips should be, for metrics that ask for it.

        Raises:
            UsageError: a metric needs prompts, and there are none.
        """
        import torch

        contexts = [SampleContext(self.protocol, setting, sample) for sample in samples or [None] * len(clips)]
        with torch.autocast(torch.device(self.device).type, enabled=False):
            known = self._features(clips, prompts)
            return [self._scored(*one) for one in zip(clips, known, contexts, strict=True)]

    def _features(
        self, clips: Sequence[Given], prompts: Mapping[str, Sequence[str]]
    ) -> list[dict[FeatureSpec, Features | JavisbenchError]]:
        known: list[dict[FeatureSpec, Features | JavisbenchError]] = [{} for _ in clips]
        for encoder, subject in sorted({(spec.encoder, spec.subject) for spec in self._specs}):
            wanted = sorted((s for s in self._specs if (s.encoder, s.subject) == (encoder, subject)), key=repr)
            texts = prompts.get(subject) or prompts.get("text")
            if subject != "clip" and texts is None:
                raise UsageError(f"{' and '.join(self._asking(wanted))} compare clips with prompts: give one for each.")
            items: Sequence[Any] = [clip.clip for clip in clips] if subject == "clip" else texts or ()
            for features, made in zip(known, self._encoders[encoder].encode(items, wanted), strict=True):
                features.update(made)
        return known

    def _asking(self, specs: Sequence[FeatureSpec]) -> list[str]:
        """Titles of the metrics that need one of these features."""
        return [m.card.title for m in self.metrics if set(specs) & set(self._needs[m.card.id].values())]

    def _scored(
        self, clip: Given, features: Mapping[FeatureSpec, Features | JavisbenchError], context: SampleContext
    ) -> Scored:
        scores = {metric.card.id: self._one(metric, features, context) for metric in self.metrics}
        made: dict[FeatureSpec, Mapping[str, Tensor]] = {}
        traced = {
            metric.card.id: self._traced(metric, clip, features, context, made)
            for metric in self.metrics
            if isinstance(scores[metric.card.id], SampleScore) and metric.card.differentiable & clip.traced
        }
        return Scored(scores, traced)

    def _one(
        self,
        metric: SampleMetric,
        features: Mapping[FeatureSpec, Features | JavisbenchError],
        context: SampleContext,
    ) -> SampleScore | JavisbenchError:
        roles: dict[str, Features] = {}
        for role, spec in self._needs[metric.card.id].items():
            made = features[spec]
            if isinstance(made, JavisbenchError):
                return made
            roles[role] = made
        try:
            return metric.score(roles, context)
        except (FeatureError, MetricError) as error:
            return error

    def _traced(
        self,
        metric: SampleMetric,
        clip: Given,
        features: Mapping[FeatureSpec, Features | JavisbenchError],
        context: SampleContext,
        made: dict[FeatureSpec, Mapping[str, Tensor]],
    ) -> Tensor:
        """The metric's score with its gradient; `made` keeps features for the clip's other metrics."""
        roles = self._needs[metric.card.id]
        for spec in roles.values():
            if spec not in made:
                made[spec] = self._tensors(clip, spec, features[spec])
        return metric.traced({role: made[spec] for role, spec in roles.items()}, context).float()

    def _tensors(self, clip: Given, spec: FeatureSpec, known: Features | JavisbenchError) -> Mapping[str, Tensor]:
        """A feature with its gradient where it has one, else what is known of it."""
        import torch

        if spec.subject == "clip":
            traced = self._encoders[spec.encoder].traced(clip.clip, spec, clip.pixels, clip.sound)
            if traced is not None:
                return traced
        assert not isinstance(known, JavisbenchError), "a clip with a score has its features"
        return {name: torch.as_tensor(array, device=self.device) for name, array in known.items()}

    def tensor(self, scores: Sequence[SampleScore], *, batch: bool) -> Tensor:
        """float32 on the networks' device: shape ``(B,)``, or ``()`` for one clip."""
        import torch

        values = torch.tensor([score.value for score in scores], dtype=torch.float32, device=self.device)
        return values if batch else values[0]


def present(scored: SampleScore | JavisbenchError) -> SampleScore:
    """The score.

    Raises:
        JavisbenchError: there is none; it says why.
    """
    if isinstance(scored, JavisbenchError):
        raise scored
    return scored


def _loaded(name: str, device: str, variants: Mapping[str, str], weights: Mapping[str, Path]) -> Encoder:
    from javisbench.metrics.encoders import ENCODERS
    from javisbench.weights import WeightStore

    cls = ENCODERS.get(name)
    encoder = cls(variants.get(name))
    known = cls.card.variants
    if encoder.variant not in known:
        raise UsageError(f"{cls.card.title} has no variant {encoder.variant!r}: {', '.join(known)}.")
    weights_id = known[encoder.variant]
    path = weights.get(name)
    if path is None and weights_id is not None:
        path = WeightStore().find(weights_id)
    encoder.load(path, device)
    return encoder
