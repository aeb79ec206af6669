"""Which frames and samples go into ImageBind's clips and JavisScore's windows."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from javisbench.clip import Timeline
from javisbench.metrics.encoders.imagebind.windows import (
    audio_clip_spans,
    common_windows,
    separate_windows,
    video_clip_spans,
)

NTSC = Fraction(30000, 1001)
RATES = st.one_of(
    st.sampled_from([Fraction(24), Fraction(25), NTSC, Fraction(30), Fraction(60), Fraction(8)]),
    st.fractions(Fraction(1, 10), 120, max_denominator=1001),
)


# Starts measured with the reference evaluation (commit b505b37); rounding decides where a start falls on a frame.
@pytest.mark.parametrize(
    ("frames", "fps", "starts"),
    [
        (97, 24, [0, 13, 25, 37, 50]),
        (100, 30, [0, 11, 21, 30, 41]),
        (95, 24, [0, 12, 24, 36, 47]),
        (121, 24, [0, 19, 37, 55, 73]),
        (102, 24, [0, 14, 27, 41, 54]),
        (65, 16, [0, 9, 17, 25, 33]),
        (36, 24, [0, 0, 0, 0, 0]),
        (1, 24, [0, 0, 0, 0, 0]),
    ],
)
def test_video_clip_starts(frames: int, fps: int, starts: list[int]) -> None:
    assert [first for first, _ in video_clip_spans(Timeline.at_rate(frames, fps))] == starts


@given(st.integers(1, 5000), RATES)
def test_video_clips_lie_in_the_video(frames: int, fps: Fraction) -> None:
    spans = video_clip_spans(Timeline.at_rate(frames, fps))
    assert len(spans) == 5 and spans[0][0] == 0
    assert all(0 <= first < end <= frames for first, end in spans)
    assert spans == sorted(spans)
    assert all(end - first <= 2 * fps + 1 for first, end in spans)


@given(st.integers(400, 2_000_000))
def test_audio_clips_lie_in_the_audio(samples: int) -> None:
    spans = audio_clip_spans(samples)
    assert len(spans) == 3 and spans[0][0] == 0
    assert all(end <= samples for _, end in spans)
    if samples <= 32000:
        assert spans == [(0, samples)] * 3
    else:
        # The last one ends with the audio but for a sample of rounding.
        assert samples - spans[2][1] <= 1 and all(end - first in (31999, 32000) for first, end in spans)


def test_four_seconds() -> None:
    windows = separate_windows(Timeline.at_rate(96, 24), 64000, 2.0, 1.5)
    assert windows.video == ((0, 48), (12, 60), (24, 72), (36, 84), (48, 96))
    assert windows.audio == tuple((s, s + 32000) for s in range(0, 32001, 8000))
    assert common_windows(Timeline.at_rate(96, 24), 64000, 2.0, 1.5) == windows


@pytest.mark.parametrize(("frames", "samples"), [(48, 64000), (96, 32000), (1, 16000), (20, 6400)])
def test_short_clips_are_one_window(frames: int, samples: int) -> None:
    windows = separate_windows(Timeline.at_rate(frames, 24), samples, 2.0, 1.5)
    assert (windows.video, windows.audio) == (((0, frames),), ((0, samples),))


def test_separate_windows_drift_and_common_ones_do_not() -> None:
    """3.2 s of video at 29.97 fps, 4 s of audio."""

    def apart(windows: object) -> list[float]:
        pairs = zip(windows.video, windows.audio, strict=True)  # type: ignore[attr-defined]
        return [abs(float(video[0] / NTSC) - audio[0] / 16000) for video, audio in pairs]

    v1 = separate_windows(Timeline.at_rate(96, NTSC), 64000, 2.0, 1.5)
    assert v1.video == ((0, 59), (15, 74), (30, 89), (37, 96))
    assert max(apart(v1)) == pytest.approx(0.265, abs=1e-3)
    v2 = common_windows(Timeline.at_rate(96, NTSC), 64000, 2.0, 1.5)
    assert max(apart(v2)) < 0.02
    assert v2.audio[-1] == (19251, 51251) and v2.video[-1] == (36, 96)


def test_common_windows_use_what_both_have() -> None:
    windows = common_windows(Timeline.at_rate(96, 24), 27200, 2.0, 1.5)  # 1.7 s of sound under 4 s of video
    assert (windows.video, windows.audio) == (((0, 41),), ((0, 27200),))
    windows = common_windows(Timeline.at_rate(24, 24), 64000, 2.0, 1.5)  # 1 s of video over 4 s of sound
    assert (windows.video, windows.audio) == (((0, 24),), ((0, 16000),))
    assert common_windows(Timeline.at_rate(1, 24), 64000, 2.0, 1.5).audio == ((0, 667),)


@given(
    frames=st.integers(1, 2000),
    fps=RATES,
    samples=st.integers(1, 600_000),
    window_s=st.sampled_from([0.1, 0.5, 1.0, 2.0, 3.7]),
    share=st.sampled_from([0.0, 0.25, 0.75, 0.9]),
)
def test_windows_always_hold_something(frames: int, fps: Fraction, samples: int, window_s: float, share: float) -> None:
    overlap_s = window_s * share
    for lay in (separate_windows, common_windows):
        windows = lay(Timeline.at_rate(frames, fps), samples, window_s, overlap_s)
        assert len(windows.video) == len(windows.audio) >= 1
        for spans, length in ((windows.video, frames), (windows.audio, samples)):
            assert all(0 <= first < end <= length for first, end in spans)
            assert list(spans) == sorted(spans)


@given(frames=st.integers(1, 2000), fps=RATES, samples=st.integers(400, 600_000))
def test_common_windows_are_of_the_same_time(frames: int, fps: Fraction, samples: int) -> None:
    windows = common_windows(Timeline.at_rate(frames, fps), samples, 2.0, 1.5)
    frame_s, shorter = float(1 / fps), min(frames / float(fps), samples / 16000)
    for video, audio in zip(windows.video, windows.audio, strict=True):
        for side in (0, 1):
            # Half a frame of rounding; a window shorter than a frame takes a whole one.
            assert abs(video[side] * frame_s - audio[side] / 16000) <= frame_s + 1 / 16000
        assert audio[1] / 16000 <= shorter + 1 / 16000
    covered = windows.audio[-1][1] - windows.audio[0][0]
    assert covered == pytest.approx(shorter * 16000, abs=1)
