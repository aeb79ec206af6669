"""Which frames and samples go into which clip and window; exact arithmetic, no tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

from javisbench.metrics.encoders.imagebind.config import AUDIO_RATE

if TYPE_CHECKING:
    from javisbench.clip import Timeline

Span: TypeAlias = tuple[int, int]  # first, and one past the last

CLIP_S = 2
VIDEO_CLIPS = 5
AUDIO_CLIPS = 3


def video_clip_spans(timeline: Timeline) -> list[Span]:
    """Frames of five 2-second clips, evenly spread; the whole video five times when it is no longer than 2 s.

    At a constant rate starts are exact fractions of the float64 duration and meet the rate in a float64 product, as in
    the reference: where a start falls on a frame, rounding decides which frame is first. Otherwise a clip holds the
    frames that appear within its 2 seconds. One in which no frame appears takes the one that is shown.

    Args:
        timeline: when the frames are shown.
    """
    if not timeline.is_regular:
        return _clips_in_time(timeline)
    frames, rate = len(timeline), float(timeline.fps)
    latest = max(Fraction(frames / rate) - CLIP_S, Fraction(0))
    spans = []
    for index in range(VIDEO_CLIPS):
        start = latest * index / (VIDEO_CLIPS - 1)
        first = min(math.ceil(rate * float(start)), frames - 1)
        end = min(math.ceil(rate * float(start + CLIP_S)), frames)
        spans.append((first, max(end, first + 1)))
    return spans


def _clips_in_time(timeline: Timeline) -> list[Span]:
    latest = max(Fraction(timeline.duration_s) - CLIP_S, Fraction(0))
    spans = []
    for index in range(VIDEO_CLIPS):
        start = latest * index / (VIDEO_CLIPS - 1)
        first, end = timeline.frames_before(start), timeline.frames_before(start + CLIP_S)
        spans.append((first, end) if first < end else (shown := timeline.frame_at(start), shown + 1))
    return spans


def audio_clip_spans(samples: int) -> list[Span]:
    """Samples of three 2-second clips at 16 kHz, evenly spread; all samples three times when they are no more."""
    duration = Fraction(samples / AUDIO_RATE)
    latest = max(duration - CLIP_S, Fraction(0))
    starts = [latest * index / (AUDIO_CLIPS - 1) for index in range(AUDIO_CLIPS)]
    return [(int(start * AUDIO_RATE), min(int((start + CLIP_S) * AUDIO_RATE), samples)) for start in starts]


@dataclass(frozen=True)
class Windows:
    """JavisScore's windows: frame spans and the sample spans (at 16 kHz) that are compared with them."""

    video: tuple[Span, ...]
    audio: tuple[Span, ...]


def separate_windows(timeline: Timeline, samples: int, window_s: float, overlap_s: float) -> Windows:
    """Windows of video and audio laid and clamped each on their own, and paired by position (the reference's way).

    When either side is no longer than one window, there is one window of all frames and all samples. A window has at
    least one frame and one sample, and so has a step.

    Args:
        timeline: of the video; only its number of frames and its rate count.
        samples: samples of the audio at 16 kHz.
        window_s: seconds of a window.
        overlap_s: seconds shared by neighbours.
    """
    frames, rate = len(timeline), float(timeline.fps)
    frame_window, sample_window = max(int(window_s * rate), 1), max(int(window_s * AUDIO_RATE), 1)
    if frames <= frame_window or samples <= sample_window:
        return Windows(((0, frames),), ((0, samples),))
    video = _slide(frames, frame_window, frame_window - int(overlap_s * rate))
    audio = _slide(samples, sample_window, sample_window - int(overlap_s * AUDIO_RATE))
    count = min(len(video), len(audio))
    return Windows(tuple(video[:count]), tuple(audio[:count]))


def common_windows(timeline: Timeline, samples: int, window_s: float, overlap_s: float) -> Windows:
    """Windows in seconds on the common duration of video and audio.

    Starts are 0, step, 2 step, ... (step = window - overlap); the last window is moved back to end with the common
    duration. A frame or sample belongs to a window when the middle of its time lies in it; a window shorter than a
    frame takes the frame shown in its middle. Arguments as in `separate_windows`.
    """
    window, overlap = Fraction(str(window_s)), Fraction(str(overlap_s))
    video_s = len(timeline) / timeline.fps if timeline.is_regular else Fraction(timeline.duration_s)
    duration = min(video_s, Fraction(samples, AUDIO_RATE))
    starts = [Fraction(0)]
    while starts[-1] + window < duration:
        starts.append(min(starts[-1] + window - overlap, duration - window))
    ends = [min(start + window, duration) for start in starts]
    bounds = list(zip(starts, ends, strict=True))
    return Windows(
        tuple(_shown(start, end, timeline) for start, end in bounds),
        tuple(_covered(start, end, Fraction(AUDIO_RATE), samples) for start, end in bounds),
    )


def _slide(length: int, window: int, step: int) -> list[Span]:
    spans: list[Span] = []
    start = 0
    while not spans or spans[-1][1] < length:
        first = min(start, length - window)
        spans.append((first, first + window))
        start += max(step, 1)
    return spans


def _shown(start: Fraction, end: Fraction, timeline: Timeline) -> Span:
    """Frames whose middle lies within start and end; where there is none, the one shown halfway."""
    first, past = timeline.centred_before(start), timeline.centred_before(end)
    if first >= past:
        first = timeline.frame_at((start + end) / 2)
        past = first + 1
    return first, past


def _covered(start: Fraction, end: Fraction, rate: Fraction, length: int) -> Span:
    """Indices i with start <= (i + 1/2) / rate < end; where there is none, the one in the middle."""
    half = Fraction(1, 2)
    first, past = math.ceil(start * rate - half), min(math.ceil(end * rate - half), length)
    if first >= past:
        first = min(math.floor((start + end) / 2 * rate), length - 1)
        past = first + 1
    return first, past
