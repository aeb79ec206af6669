"""JavisScore: how well sound and picture fit in every moment, judged where they fit least.

`JavisScoreMetric` works on stored features; `JavisScore` is the same number for tensors in a training loop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np

from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.cosine import cosines, traced_cosines
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.metrics.encoders.imagebind.specs import audio_windows_spec, frames_spec
from javisbench.metrics.tensor_inputs import Given, as_clips, is_batch
from javisbench.metrics.tensor_scorer import TensorScorer, present

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.protocol import Protocol

Rounding: TypeAlias = Literal["floor", "ceil"]


def least_similar_count(frames: int, top_k: float, rounding: Rounding) -> int:
    """How many of a window's frames are averaged: ``top_k * frames``, rounded, at least 1.

    Args:
        frames: frames of the window.
        top_k: share in (0, 1].
        rounding: ``floor`` of the float64 product, as the reference computes it, or ``ceil`` of the exact one.
    """
    if rounding == "floor":
        return max(1, int(top_k * frames))
    return max(1, math.ceil(Fraction(str(top_k)) * frames))


def window_scores(
    frames: NDArray[np.generic],
    window_audio: NDArray[np.generic],
    video_windows: NDArray[np.generic],
    *,
    top_k: float = 0.4,
    k_rounding: Rounding = "floor",
) -> NDArray[np.float64]:
    """Score of each window: the mean cosine of its sound with those k of its frames that are least similar to it.

    Args:
        frames: embeddings of all frames of the clip, shape ``(T, d)``.
        window_audio: embedding of each window's sound, shape ``(W, d)``.
        video_windows: each window's first frame and the one past its last, shape ``(W, 2)``.
        top_k: share of a window's frames that is averaged, in (0, 1].
        k_rounding: see `least_similar_count`.

    Returns:
        float64, shape ``(W,)``, in [-1, 1].
    """
    scores = np.empty(len(video_windows))
    spans = np.asarray(video_windows, dtype=np.int64).tolist()
    for index, (audio, (first, end)) in enumerate(zip(window_audio, spans, strict=True)):
        similarity = cosines(frames[first:end], audio)
        k = least_similar_count(len(similarity), top_k, k_rounding)
        scores[index] = np.partition(similarity, k - 1)[:k].mean()
    return scores


class JavisScoreMetric(SampleMetric):
    """Mean over sliding windows of the mean cosine of the window's sound with its least similar 40 % of frames.

    Windows are 2 s long and share 1.5 s; a clip of at most 2 s is one window. ::

        JavisScore = 1/W sum_w 1/k_w sum_{j in the k_w smallest of window w} cos(frame_j, audio_w)

    Details: ``windows``, the score of each; ``window_times_s`` and ``window_end_times_s``, when its frames start and
    end.
    """

    card: ClassVar[MetricCard] = MetricCard(
        id="javis_score",
        title="JavisScore",
        higher_is_better=True,
        value_range=(-1.0, 1.0),
        kind="sample",
        measures="The cosine of frames and sound in ImageBind's space, in the worst 40 % of frames of 2-s windows.",
        blind_to=(
            "Offsets well below the window of 2 s, whatever the centre square leaves out, sound above 8 kHz. "
            "javisbench-v1 hears the left channel only, and pairs windows of different times where video and audio "
            "differ in length."
        ),
        formula=("mean over windows of 2 s (every 0.5 s) of the mean of the 40 % smallest cos(frame, window's audio)"),
        source="Liu et al., JavisDiT, arXiv:2503.23377, section 4",
        differentiable=frozenset(("sound",)),
    )

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """The embeddings of every frame and of every window's sound."""
        return {"frames": frames_spec(), "windows": audio_windows_spec(protocol)}

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The mean window score, in [-1, 1]."""
        settings, windows = context.protocol.javis_score, features["windows"]
        scores = window_scores(
            features["frames"]["embeddings"],
            windows["embeddings"],
            windows["video_windows"],
            top_k=settings.top_k,
            k_rounding=settings.k_rounding,
        )
        starts, ends = windows["window_times_s"].T
        details = {"windows": scores, "window_times_s": starts, "window_end_times_s": ends}
        return SampleScore(float(scores.mean()), {name: tuple(v.tolist()) for name, v in details.items()})

    def traced(self, features: Mapping[str, Mapping[str, Tensor]], context: SampleContext) -> Tensor:
        """The mean window score of tensors."""
        settings, windows = context.protocol.javis_score, features["windows"]
        spans = windows["video_windows"].tolist()
        scores = []
        for audio, (first, end) in zip(windows["embeddings"], spans, strict=True):
            similarity = traced_cosines(features["frames"]["embeddings"][first:end], audio)
            k = least_similar_count(len(similarity), settings.top_k, settings.k_rounding)
            scores.append(similarity.topk(k, largest=False).values.mean())
        return sum(scores[1:], scores[0]) / len(scores)


class JavisScore:
    """JavisScore of tensors, for validation and rewards in a training loop.

    The number is that of `JavisScoreMetric` for the same pixels and samples. No gradient flows through it. The network
    runs in float32 whatever autocast the caller is in.

    Args:
        weights: ImageBind's checkpoint (``imagebind_huge.pth``); None looks for it where `javisbench weights` keeps it.
        variant: ``huge``, or ``tiny`` for stand-in weights.
        device: where the network runs.
        protocol: name of the protocol, overrides included (``javisbench-v2+top_k=0.5``), or the protocol.

    Raises:
        MissingWeightsError: no weights were given and none are on this machine.
        WeightsError: the file does not hold ImageBind.

    Example:
        >>> score = JavisScore(device="cuda")  # doctest: +SKIP
        >>> score(frames, 24, audio, 16000)  # doctest: +SKIP
        tensor(0.1532, device='cuda:0')
    """

    def __init__(
        self,
        weights: Path | None = None,
        variant: str = "huge",
        device: str = "cpu",
        protocol: str | Protocol = "javisbench-v1",
    ) -> None:
        self._scorer = TensorScorer(
            [JavisScoreMetric()], protocol, device,
            variants={"imagebind": variant}, weights={} if weights is None else {"imagebind": weights},
        )  # fmt: skip
        self.protocol, self.device = self._scorer.protocol, device

    def __call__(self, frames: Any, fps: Any, audio: Any, sample_rate: Any) -> Tensor:
        """Score one clip, or each clip of a batch.

        Args:
            frames: uint8 ``(T, H, W, 3)``, or float in [0, 1] ``(T, 3, H, W)`` (rounded to bytes); tensor or array. A
                batch is a list of such, or one more axis in front.
            fps: frames per second, int, float or Fraction; for a batch one for all, or one each.
            audio: float in [-1, 1], ``(samples,)`` or ``(channels, samples)``; a batch is a list of such, or a tensor
                ``(B, channels, samples)``.
            sample_rate: Hz; for a batch one for all, or one each.

        Returns:
            float32 on the network's device: shape ``()`` for one clip, ``(B,)`` for a batch.

        Raises:
            UsageError: shapes, types, ranges, rates or lengths that do not fit; of a batch, which clip.
            FeatureError: a clip without a score (less than 25 ms of sound); a batch's message names it.
        """
        return self._scorer.tensor(self.detailed(frames, fps, audio, sample_rate), batch=is_batch(frames))

    def detailed(self, frames: Any, fps: Any, audio: Any, sample_rate: Any) -> list[SampleScore]:
        """Like calling the object, but with window scores and times; one entry a clip."""
        clips = [Given(clip) for clip in as_clips(frames, fps, audio, sample_rate)]
        return [present(one.scores["javis_score"]) for one in self._scorer.score(clips, {})]
