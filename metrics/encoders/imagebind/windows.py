"""Which frames and samples go into which clip and window; exact arithmetic, no tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from javisbench.metrics.encoders.imagebind.config import AUDIO_RATE

Span: TypeAlias = tuple[int, int]  # first, and one past the last

CLIP_S = 2
VIDEO_CLIPS = 5
AUDIO_CLIPS = 3


def video_clip_spans(frames: int, fps: Fraction) -> list[Span]:
    """Frames of five 2-second clips, evenly spread; the whole video five times when it is no longer than 2 s.

    Starts are exact fractions of the float64 duration and meet the rate in a float64 product, as in the reference:
    where a start falls on a frame, rounding decides which frame is first. Below half a frame a second a clip could
    hold no frame; it then takes the nearest one.

    Args:
        frames: frames of the video, at least 1.
        fps: its frame rate.
    """
    rate = float(fps)
    latest = max(Fraction(frames / rate) - CLIP_S, Fraction(0))
    spans = []
    for index in range(VIDEO_CLIPS):
        start = latest * index / (VIDEO_CLIPS - 1)
        first = min(math.ceil(rate * float(start)), frames - 1)
        end = min(math.ceil(rate * float(start + CLIP_S)), frames)
        spans.append((first, max(end, first + 1)))
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


def separate_windows(frames: int, fps: Fraction, samples: int, window_s: float, overlap_s: float) -> Windows:
    """Windows of video and audio laid and clamped each on their own, and paired by position (the reference's way).

    When either side is no longer than one window, there is one window of all frames and all samples. A window has at
    least one frame and one sample, and so has a step.

    Args:
        frames: frames of the video.
        fps: its frame rate.
        samples: samples of the audio at 16 kHz.
        window_s: seconds of a window.
        overlap_s: seconds shared by neighbours.
    """
    rate = float(fps)
    frame_window, sample_window = max(int(window_s * rate), 1), max(int(window_s * AUDIO_RATE), 1)
    if frames <= frame_window or samples <= sample_window:
        return Windows(((0, frames),), ((0, samples),))
    video = _slide(frames, frame_window, frame_window - int(overlap_s * rate))
    audio = _slide(samples, sample_window, sample_window - int(overlap_s * AUDIO_RATE))
    count = min(len(video), len(audio))
    return Windows(tuple(video[:count]), tuple(audio[:count]))


def common_windows(frames: int, fps: Fraction, samples: int, window_s: float, overlap_s: float) -> Windows:
    """Windows in seconds on the common duration of video and audio.

    Starts are 0, step, 2 step, ... (step = window - overlap); the last window is moved back to end with the common
    duration. A frame or sample belongs to a window when the middle of its time lies in it; a window shorter than a
    frame takes the frame shown in its middle. Arguments as in `separate_windows`.
    """
    window, overlap = Fraction(str(window_s)), Fraction(str(overlap_s))
    duration = min(frames / fps, Fraction(samples, AUDIO_RATE))
    starts = [Fraction(0)]
    while starts[-1] + window < duration:
        starts.append(min(starts[-1] + window - overlap, duration - window))
    ends = [min(start + window, duration) for start in starts]
    bounds = list(zip(starts, ends, strict=True))
    return Windows(
        tuple(_covered(start, end, fps, frames) for start, end in bounds),
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


def _covered(start: Fraction, end: Fraction, rate: Fraction, length: int) -> Span:
    """Indices i with start <= (i + 1/2) / rate < end; where there is none, the one in the middle."""
    half = Fraction(1, 2)
    first, past = math.ceil(start * rate - half), min(math.ceil(end * rate - half), length)
    if first >= past:
        first = min(math.floor((start + end) / 2 * rate), length - 1)
        past = first + 1
    return first, past
