"""AV-Align: whether sounds begin when the picture moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import Features, FeatureSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.protocol import Protocol

EPSILON = 1e-6


def motion_peaks(magnitude: NDArray[np.floating], fps: float) -> NDArray[np.float64]:
    """Times at which motion is strongest: strict local maxima i of a trajectory, at i / fps.

    Args:
        magnitude: motion of each frame, shape ``(T,)``.
        fps: frames per second.

    Returns:
        Seconds, float64, ascending; the first and last frames are never peaks.
    """
    inner = magnitude[1:-1]
    peaks = 1 + np.flatnonzero((inner > magnitude[:-2]) & (inner > magnitude[2:]))
    return peaks / np.float64(fps)


def count_near(onsets_s: Sequence[float], peaks_s: Sequence[float], tolerance_s: float) -> int:
    """Number of onsets a with some peak v, v - tolerance < a < v + tolerance; a peak may serve several onsets."""
    onsets, peaks = np.asarray(onsets_s, dtype=np.float64), np.asarray(peaks_s, dtype=np.float64)
    near = (peaks[None] - tolerance_s < onsets[:, None]) & (onsets[:, None] < peaks[None] + tolerance_s)
    return int(near.any(axis=1).sum())


def count_matched(onsets_s: Sequence[float], peaks_s: Sequence[float], tolerance_s: float) -> int:
    """Largest number of pairs of onset a and peak v, v - tolerance < a < v + tolerance, each in one pair at most.

    All windows have the same width, so giving each peak the earliest onset left in its window is a maximum matching.

    Args:
        onsets_s: seconds, ascending.
        peaks_s: seconds, ascending.
        tolerance_s: seconds.
    """
    matched = 0
    remaining = iter(onsets_s)
    onset = next(remaining, None)
    for peak in peaks_s:
        while onset is not None and onset <= peak - tolerance_s:
            onset = next(remaining, None)
        if onset is None:
            break
        if onset < peak + tolerance_s:
            matched += 1
            onset = next(remaining, None)
    return matched


class AVAlign(SampleMetric):
    """Overlap of audio onsets and motion peaks, within one frame's duration.

    With A onsets, V peaks and d = 1 / fps seconds:

    * ``many_to_one``: I onsets have a peak less than d away; score = I / (A + V - I + 1e-6). Several onsets may claim
      one peak, so the score may exceed 1.
    * ``one_to_one``: I is the size of the largest set of pairs less than d apart in which no onset and no peak
      stands twice; score = I / (A + V - I), within [0, 1].

    Silence has no onsets and a still picture no peaks: the score is 0 (also where there are neither).

    Raises:
        FeatureError: (by the encoders) the clip has no sound.
    """

    card: ClassVar[MetricCard] = MetricCard(
        id="av_align",
        title="AV-Align",
        higher_is_better=True,
        value_range=(0.0, None),
        kind="sample",
        measures="Share of audio onsets and motion peaks that coincide within one frame.",
        blind_to=(
            "What sounds and what moves; continuous sounds; motion peaks have no minimum strength, so noise and "
            "camera shake count. Each onset is a window of the file's own sample rate (512 samples)."
        ),
        source="Yariv et al., TempoTokens, AAAI 2024 (arXiv:2309.16429), section 4, with one-frame tolerance",
    )

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """Onset times and the motion trajectory; no setting changes them."""
        return {"onsets": FeatureSpec.of("onsets", "onsets"), "motion": FeatureSpec.of("flow", "motion")}

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The score, with the onset and peak times in seconds as details."""
        fps = float(features["motion"]["fps"][0])
        onsets: list[float] = features["onsets"]["times_s"].tolist()
        peaks: list[float] = motion_peaks(features["motion"]["magnitude"].astype(np.float64), fps).tolist()
        if context.protocol.av_align.matching == "many_to_one":
            hits = count_near(onsets, peaks, 1.0 / fps)
            value = hits / (len(onsets) + len(peaks) - hits + EPSILON)
        else:
            hits = count_matched(onsets, peaks, 1.0 / fps)
            value = hits / max(1, len(onsets) + len(peaks) - hits)
        return SampleScore(value, {"onset_times_s": tuple(onsets), "peak_times_s": tuple(peaks)})
