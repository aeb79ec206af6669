"""All five ImageBind scores of tensors, from one pass over each clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import UsageError
from javisbench.metrics.av_ib import AVIB
from javisbench.metrics.avh_score import AVHScore
from javisbench.metrics.base import SampleMetric
from javisbench.metrics.javis_score import JavisScoreMetric
from javisbench.metrics.ta_ib import TAIB
from javisbench.metrics.tensor_inputs import Given, as_clips, is_batch, prompts_for
from javisbench.metrics.tensor_scorer import TensorScorer, present
from javisbench.metrics.tv_ib import TVIB

if TYPE_CHECKING:
    from torch import Tensor

    from javisbench.protocol import Protocol


class ImageBindScores:
    """TV-IB, TA-IB, AV-IB, AVHScore and JavisScore of tensors, for validation in a training loop.

    The numbers are those of the metrics of these names (`TVIB` and so on) for the same pixels, samples and prompts. No
    gradient flows through them.

    Args:
        weights: ImageBind's checkpoint (``imagebind_huge.pth``); None looks for it where `javisbench weights` keeps it.
        variant: ``huge``, or ``tiny`` for stand-in weights.
        device: where the network runs.
        protocol: name of the protocol, overrides included, or the protocol.
        prompts: whether prompts are given, and with them TV-IB and TA-IB.

    Raises:
        MissingWeightsError: no weights were given and none are on this machine.
        WeightsError: the file does not hold ImageBind.
    """

    def __init__(
        self,
        weights: Path | None = None,
        variant: str = "huge",
        device: str = "cpu",
        protocol: str | Protocol = "javisbench-v1",
        *,
        prompts: bool = True,
    ) -> None:
        metrics: list[SampleMetric] = [AVIB(), AVHScore(), JavisScoreMetric()]
        self._prompts = prompts
        self._scorer = TensorScorer(
            [TVIB(), TAIB(), *metrics] if prompts else metrics, protocol, device,
            variants={"imagebind": variant}, weights={} if weights is None else {"imagebind": weights},
        )  # fmt: skip
        self.protocol, self.device = self._scorer.protocol, device

    def __call__(
        self,
        frames: Any,
        fps: Any,
        audio: Any,
        sample_rate: Any,
        text: str | Sequence[str] | None = None,
        audio_text: str | Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """Score one clip, or each clip of a batch.

        Args:
            frames: as `JavisScore` takes them, and so `fps`, `audio` and `sample_rate`.
            fps: frames a second.
            audio: samples in [-1, 1].
            sample_rate: Hz.
            text: the prompt; one each for a batch.
            audio_text: the prompt of the sound; None takes `text`.

        Returns:
            metric id (``tv_ib``, ``ta_ib``, ``av_ib``, ``avh_score``, ``javis_score``) to float32 on the network's
            device, in [-1, 1]: shape ``()`` for one clip, ``(B,)`` for a batch.

        Raises:
            UsageError: shapes, types, ranges, rates, lengths or prompts that do not fit.
            FeatureError: a clip without a score (less than 25 ms of sound); a batch's message names it.
        """
        clips = [Given(clip) for clip in as_clips(frames, fps, audio, sample_rate)]
        prompts = {}
        if self._prompts:
            if text is None:
                raise UsageError(
                    "TV-IB and TA-IB need text=PROMPT; without prompts, use ImageBindScores(prompts=False)."
                )
            prompts["text"] = prompts_for(len(clips), "text", text)
            if audio_text is not None:
                prompts["audio_text"] = prompts_for(len(clips), "audio_text", audio_text)
        scores = self._scorer.score(clips, prompts)
        ids = [metric.card.id for metric in self._scorer.metrics]
        batch = is_batch(frames)
        return {name: self._scorer.tensor([present(one.scores[name]) for one in scores], batch=batch) for name in ids}
