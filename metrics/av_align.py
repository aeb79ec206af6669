"""AV-Align: whether sounds begin when the picture moves."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import Features, FeatureSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.protocol import Protocol

EPSILON = 1e-6


def motion_peaks(magnitude: NDArray[np.floating]) -> NDArray[np.int64]:
    """Frames at which motion is strongest: strict local maxima of a trajectory.

    Args:
        magnitude: motion of each frame, shape ``(T,)``.

    Returns:
        Indices, int64, ascending; the first and last frames are never peaks.
    """
    inner = magnitude[1:-1]
    return 1 + np.flatnonzero((inner > magnitude[:-2]) & (inner > magnitude[2:]))


def peak_windows(
    peaks: NDArray[np.int64], motion: Features, frame_times: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """When peaks are, and how much earlier and later an onset still belongs to each: one frame.

    Args:
        peaks: indices of frames.
        motion: the feature ``motion`` of the encoder ``flow``.
        frame_times: ``declared``: frame i is at i / fps by the file's header, and a frame lasts 1 / fps. ``shown``: a
            frame is where it is shown; the frame before it says how much earlier, its own time how much later.

    Returns:
        times, and what is allowed before and after, in seconds, float64, each of the shape of `peaks`.
    """
    if frame_times == "declared":
        fps = np.float64(motion["declared_fps"][0])
        frame = np.full(len(peaks), 1.0 / fps)
        return peaks / fps, frame, frame
    times = motion["times_s"].astype(np.float64)
    return times[peaks], times[peaks] - times[peaks - 1], times[peaks + 1] - times[peaks]


def count_near(onsets_s: NDArray[np.float64], first_s: NDArray[np.float64], last_s: NDArray[np.float64]) -> int:
    """Number of onsets a within some window, first < a < last; a window may serve several onsets."""
    near = (first_s[None] < onsets_s[:, None]) & (onsets_s[:, None] < last_s[None])
    return int(near.any(axis=1).sum())


def count_matched(onsets_s: NDArray[np.float64], first_s: NDArray[np.float64], last_s: NDArray[np.float64]) -> int:
    """Largest number of pairs of onset a and window, first < a < last, each in one pair at most.

    Giving each onset, in order, the window around it that ends first is a maximum matching (Glover, Maximum matching
    in a convex bipartite graph, 1967).

    Args:
        onsets_s: seconds, ascending.
        first_s: where windows begin, in seconds, ascending.
        last_s: where they end.
    """
    matched, begun = 0, 0
    ends: list[float] = []
    for onset in onsets_s.tolist():
        while begun < len(first_s) and first_s[begun] < onset:
            heapq.heappush(ends, float(last_s[begun]))
            begun += 1
        while ends and ends[0] <= onset:
            heapq.heappop(ends)
        if ends:
            heapq.heappop(ends)
            matched += 1
    return matched


class AVAlign(SampleMetric):
    """Overlap of audio onsets and motion peaks, within one frame's duration.

    With A onsets and V peaks:

    * ``many_to_one``: I onsets have a peak less than a frame away; score = I / (A + V - I + 1e-6). Several onsets may
      claim one peak, so the score may exceed 1.
    * ``one_to_one``: I is the size of the largest set of pairs less than a frame apart in which no onset and no peak
      stands twice; score = I / (A + V - I), within [0, 1].

    A frame is 1 / fps by the header where the protocol goes by that (`javisbench-v1`), else the time since the frame
    before the peak, and to the one behind it.

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
        formula=(
            "I / (A + V - I), with A sound onsets, V peaks of mean optical flow, and I onsets less than one "
            "frame from a peak"
        ),
        source="Yariv et al., TempoTokens, AAAI 2024 (arXiv:2309.16429), section 4, with one-frame tolerance",
    )

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """Onset times and the motion trajectory; no setting changes them."""
        return {"onsets": FeatureSpec.of("onsets", "onsets"), "motion": FeatureSpec.of("flow", "motion")}

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The score, with the onset and peak times in seconds as details."""
        motion, onsets = features["motion"], features["onsets"]["times_s"].astype(np.float64)
        peaks = motion_peaks(motion["magnitude"].astype(np.float64))
        times, before, after = peak_windows(peaks, motion, context.protocol.frame_times)
        if context.protocol.av_align.matching == "many_to_one":
            hits = count_near(onsets, times - before, times + after)
            value = hits / (len(onsets) + len(peaks) - hits + EPSILON)
        else:
            hits = count_matched(onsets, times - before, times + after)
            value = hits / max(1, len(onsets) + len(peaks) - hits)
        return SampleScore(value, {"onset_times_s": tuple(onsets.tolist()), "peak_times_s": tuple(times.tolist())})
