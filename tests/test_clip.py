"""The clock of a clip: which frame is shown when, against exact arithmetic and plain definitions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from javisbench.clip import Clip, ClipHead, Damage, FrameRun, Timeline
from javisbench.errors import UsageError

# What containers round times to: MP4 as most write it and MPEG, Matroska, or not at all.
TICKS = st.sampled_from([Fraction(1, 90000), Fraction(1, 1000), None])
# 120 fps: 1 ms is then 0.12 frames, and rounding to it moves a frame by at most half of that.
RATES = st.one_of(
    st.sampled_from([Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(60), Fraction(120)]),
    st.fractions(Fraction(1, 10), 120, max_denominator=1001),
)
SECONDS = st.fractions(-1, 30, max_denominator=1920)


@st.composite
def constant(draw: st.DrawFn) -> Timeline:
    """Frames at a rate, their times rounded to the container's ticks."""
    frames, fps, tick = draw(st.integers(1, 300)), draw(RATES), draw(TICKS)
    exact = [frame / fps for frame in range(frames)]
    rounded = exact if tick is None else [round(time / tick) * tick for time in exact]
    last = 1 / fps if tick is None else round(1 / fps / tick) * tick
    return Timeline(np.array([float(time) for time in rounded]), float(last), fps, fps)


@st.composite
def irregular(draw: st.DrawFn) -> Timeline:
    """Frames at any whole milliseconds, one after another."""
    gaps = draw(st.lists(st.integers(1, 900), min_size=2, max_size=40))
    ticks = np.concatenate([[0], np.cumsum(gaps)])
    fps = Fraction(1000 * len(gaps), int(ticks[-1]))
    line = Timeline(ticks / 1000, draw(st.integers(1, 900)) / 1000, fps, draw(st.sampled_from([fps, Fraction(25)])))
    assume(not line.is_regular)
    return line


# At a constant rate, however the container rounds


@given(constant(), SECONDS)
def test_at_a_constant_rate_places_are_exact(line: Timeline, seconds: Fraction) -> None:
    assert line.is_regular and not line.is_mistimed and line.declared is line
    begins = [frame / line.fps for frame in range(len(line))]
    assert line.frames_before(seconds) == sum(begin < seconds for begin in begins)
    assert line.frame_at(seconds) == max([frame for frame, begin in enumerate(begins) if begin <= seconds], default=0)
    assert line.centred_before(seconds) == sum(begin + 1 / line.fps / 2 < seconds for begin in begins)


@given(constant())
def test_where_frames_fall_due_exactly_no_rounding_decides(line: Timeline) -> None:
    for frame in {0, len(line) // 2, len(line) - 1}:
        due = frame / line.fps
        assert (line.frames_before(due), line.frame_at(due)) == (frame, frame)
        assert line.centred_before(due + 1 / line.fps / 2) == frame


@given(constant())
def test_at_a_constant_rate_times_are_those_of_the_rate(line: Timeline) -> None:
    fps = float(line.fps)
    assert [line.start_of(frame) for frame in range(len(line) + 1)] == [f / fps for f in range(len(line) + 1)]
    # A last frame that lasts as long as the others, but for the container's rounding.
    assert line.duration_s == len(line) / fps


@given(constant(), st.data())
def test_at_a_constant_rate_the_nearest_frame_is_rounding(line: Timeline, data: st.DataObject) -> None:
    frames = data.draw(st.integers(1, len(line)))
    positions = np.array(data.draw(st.lists(st.floats(0, frames - 1), max_size=20)))
    found = line.nearest(positions, frames)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, np.rint(positions))


def test_a_last_frame_that_is_held_lengthens_the_clip() -> None:
    held = Timeline(np.arange(4) / 2, 3.0, Fraction(2), Fraction(2))
    assert (held.duration_s, held.frames_before(Fraction(9)), held.frame_at(Fraction(9))) == (4.5, 4, 3)


# At any times


@given(irregular(), SECONDS)
def test_at_any_times_places_are_what_the_words_say(line: Timeline, seconds: Fraction) -> None:
    begins, at = line.times_s.tolist(), float(seconds)
    ends = [*begins[1:], begins[-1] + line.last_frame_s]
    assert line.frames_before(seconds) == sum(begin < at for begin in begins)
    assert line.frame_at(seconds) == max([frame for frame, begin in enumerate(begins) if begin <= at], default=0)
    middles = [(begin + end) / 2 for begin, end in zip(begins, ends, strict=True)]
    assert line.centred_before(seconds) == sum(middle < at for middle in middles)
    assert line.duration_s == ends[-1]
    assert [line.start_of(frame) for frame in range(len(line) + 1)] == [*begins, ends[-1]]


@given(irregular(), st.data())
def test_at_any_times_the_nearest_frame_is_nearest_in_time(line: Timeline, data: st.DataObject) -> None:
    frames = data.draw(st.integers(2, len(line)))
    positions = np.array(data.draw(st.lists(st.floats(0, frames - 1), min_size=1, max_size=20)))
    times = line.times_s[:frames]
    wanted = positions / (frames - 1) * times[-1]
    # The first of equally near ones.
    expected = np.abs(times[None] - wanted[:, None]).argmin(axis=1)
    np.testing.assert_array_equal(line.nearest(positions, frames), expected)
    ends = line.nearest(np.array([0.0, frames - 1.0]), frames)
    assert ends.tolist() == [0, frames - 1]


@given(irregular())
def test_the_declared_times_are_indices_over_the_declared_rate(line: Timeline) -> None:
    declared, rate = line.declared, float(line.declared_fps)
    assert (len(declared), declared.fps, declared.declared_fps) == (len(line), line.declared_fps, line.declared_fps)
    assert declared.is_regular and declared.declared is declared and not declared.is_mistimed
    np.testing.assert_array_equal(declared.times_s, np.arange(len(line)) / rate)
    off = max(abs(time - frame / rate) for frame, time in enumerate(line.times_s)) * float(line.fps)
    assert line.timing_fault_frames == pytest.approx(off, rel=1e-12)
    assert line.is_mistimed == (line.timing_fault_frames > 0.5)


@pytest.mark.parametrize(("late", "mistimed"), [(0.05, False), (0.4, False), (0.6, True), (-0.6, True)])
def test_one_frame_over_half_a_frame_from_its_place_is_enough(late: float, mistimed: bool) -> None:
    times = np.arange(96) / 24
    times[40] += late / 24
    line = Timeline(times, 1 / 24, Fraction(24), Fraction(24))
    assert (line.is_mistimed, line.is_regular) == (mistimed, abs(late) < 0.1)
    assert line.is_regular or line.timing_fault_frames == pytest.approx(abs(late))


def test_a_wrong_rate_in_the_header_is_a_fault_once_it_adds_up_to_half_a_frame() -> None:
    for frames, mistimed in ((13, False), (14, True), (96, True)):  # index 13: 0.52 frames apart
        line = Timeline(np.arange(frames) / 24, 1 / 24, Fraction(24), Fraction(25))
        assert line.is_regular and line.is_mistimed == mistimed
    assert line.timing_fault_frames == pytest.approx(95 / 25)
    assert (line.duration_s, line.declared.duration_s) == (4.0, 96 / 25)


@given(st.integers(1, 50), RATES)
def test_frames_at_a_rate(frames: int, fps: Fraction) -> None:
    line = Timeline.at_rate(frames, fps)
    assert (len(line), line.fps, line.declared_fps) == (frames, fps, fps)
    assert line.is_regular and line.duration_s == frames / float(fps)
    assert line.times_s[0] == 0 and line.last_frame_s == float(1 / fps)


# Clips


def clip(frames: int = 6, times: list[float] | None = None) -> Clip:
    pixels = np.arange(frames, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 4, 3), np.uint8)
    stamps = None if times is None else np.array(times)
    return Clip(pixels, Fraction(4), np.zeros((2, 800), np.float32), 800, "sidecar", stamps, "a clip")


def test_times_begin_with_the_first_frame() -> None:
    late = clip(3, [5.0, 5.25, 6.0])
    assert late.frame_times_s.tolist() == [0.0, 0.25, 1.0]
    assert (late.declared_fps, late.last_frame_s, late.duration_s) == (4, 0.25, 1.25)
    assert not late.timeline.is_regular


def test_without_times_frames_follow_each_other_at_the_rate() -> None:
    plain = clip(6)
    assert plain.frame_times_s.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    assert (plain.declared_fps, plain.last_frame_s, plain.duration_s, plain.audio_duration_s) == (4, 0.25, 1.5, 1.0)
    assert plain.timeline.is_regular and not plain.timeline.is_mistimed


def test_other_frames_under_the_same_sound() -> None:
    late = clip(3, [0.0, 0.25, 9.0])
    cut = late.with_frames(late.frames[:2])
    assert (cut.fps, cut.duration_s) == (4, 0.5)
    assert cut.audio is late.audio and (cut.sample_rate, cut.audio_source, cut.name) == (800, "sidecar", "a clip")
    faster = late.with_frames(late.frames, Fraction(30))
    assert (faster.fps, faster.declared_fps, faster.duration_s) == (30, 30, 0.1)
    assert late.frame_times_s.tolist() == [0.0, 0.25, 9.0]


def test_a_clip_is_its_head_and_its_frames() -> None:
    late, lost = clip(3, [0.0, 0.25, 9.0]), Damage("a frame is missing", frames=1)
    head = late.head
    assert (head.height, head.width, head.frame_bytes, head.name) == (2, 4, 24, "a clip")
    assert (head.duration_s, head.audio_duration_s) == (late.duration_s, 1.0)
    again = Clip.of(head, late.frames, [lost])
    assert again.timeline.times_s is late.timeline.times_s and again.damage == (lost,) and again.audio is late.audio
    assert ClipHead(head.timeline, 2, 4, None, None).audio_duration_s == 0.0


def test_a_run_gives_those_of_its_frames_that_are_wanted() -> None:
    whole = FrameRun(np.array([3, 5, 7]), clip(3).frames)
    assert whole.only(None) is whole and whole.only(np.array([1, 3, 5, 7, 9])) is whole
    some = whole.only(np.array([0, 5, 6, 7]))
    assert some.indices.tolist() == [5, 7] and some.frames[:, 0, 0, 0].tolist() == [1, 2]
    assert len(whole.only(np.zeros(0, np.int64)).frames) == 0


@pytest.mark.parametrize(
    "times", [[0.0, 0.1], [0.0, 0.1, 0.2, 0.3], [0.0, 0.2, 0.1], [0.0, np.nan, 0.2], [[0.0, 0.1, 0.2]]]
)
def test_times_that_fit_no_frames_are_refused(times: list[float]) -> None:
    with pytest.raises(UsageError, match="frame_times_s"):
        Clip(np.zeros((3, 2, 2, 3), np.uint8), Fraction(10), None, None, frame_times_s=np.array(times))
