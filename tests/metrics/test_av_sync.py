"""AV-Sync stage by stage, what it tells apart, what it does not depend on, and when it does not apply."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from javisbench.clip import Clip
from javisbench.errors import FeatureError, JavisbenchError, MetricError, UsageError
from javisbench.metrics import AVSync
from javisbench.metrics.av_sync import (
    Agreement,
    AVSyncMetric,
    Motion,
    changes,
    has_events,
    on_clock,
    prepared,
    region,
    regions,
    repeats,
    weight,
    without_camera,
)
from javisbench.metrics.base import SampleContext, SampleScore
from javisbench.metrics.encoders.motion_acceleration import MotionAccelerationEncoder
from javisbench.metrics.encoders.sound_level import SoundLevelEncoder, band_power, sound_level, sound_rise
from javisbench.protocol import PROTOCOLS, V2

METRIC = AVSyncMetric()
FPS, RATE, SECONDS = 24, 16000, 4.0


def events(seed: int, seconds: float = SECONDS, first: float = 0.3) -> list[float]:
    random = np.random.default_rng(seed)
    times, at = [], first
    while at < seconds - 0.2:
        times.append(at)
        at += random.uniform(0.35, 0.9)
    return times


@cache
def background(height: int, width: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(3).uniform(0, 255, (height, width)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 40, 220, cv2.NORM_MINMAX).astype(np.uint8)


def bouncing(times_s: list[float], shown_s: NDArray[np.float64], pan: float = 0.0) -> NDArray[np.uint8]:
    """A ball that falls onto a table and is thrown up again at each of the times; `pan` pixels/s of camera."""
    frames = np.empty((len(shown_s), 90, 160, 3), np.uint8)
    edges = [times_s[0] - 0.8, *times_s, times_s[-1] + 0.8]
    for index, now in enumerate(shown_s.tolist()):
        left = round(100 + pan * now) % 200
        canvas = cv2.cvtColor(background(90, 400)[:, left : left + 160].copy(), cv2.COLOR_GRAY2RGB)
        k = int(np.clip(np.searchsorted(edges, now, side="right") - 1, 0, len(edges) - 2))
        share = np.clip((now - edges[k]) / (edges[k + 1] - edges[k]), 0, 1)
        cv2.circle(canvas, (60, int(70 - 160 * share * (1 - share))), 9, (250, 240, 20), -1)
        frames[index] = canvas
    return frames


def knocks(times_s: list[float], seconds: float = SECONDS) -> NDArray[np.float32]:
    random = np.random.default_rng(7)
    sound = 1e-3 * random.standard_normal(round(seconds * RATE))
    for at in times_s:
        start = round(at * RATE)
        length = min(4000, len(sound) - start)
        if start >= 0 and length > 0:
            decay = np.exp(-np.arange(length) / (0.05 * RATE))
            sound[start : start + length] += 0.3 * decay * random.standard_normal(length)
    return sound.astype(np.float32)[None]


def at_rate(seconds: float = SECONDS, fps: float = FPS) -> NDArray[np.float64]:
    return np.arange(round(seconds * fps)) / fps


def scored(frames: NDArray[np.uint8], audio: NDArray[np.float32] | None, **more: object) -> SampleScore:
    clip = Clip(frames, Fraction(FPS), audio, RATE if audio is not None else None, **more)  # type: ignore[arg-type]
    needs = METRIC.needs(V2)
    features = {}
    for role, encoder in (("motion", MotionAccelerationEncoder()), ("sound", SoundLevelEncoder())):
        made = encoder.encode([clip], [needs[role]])[0][needs[role]]
        if isinstance(made, JavisbenchError):
            raise made
        features[role] = made
    return METRIC.score(features, SampleContext(V2))


# Stages


def test_what_the_camera_does_is_taken_off() -> None:
    random = np.random.default_rng(0)
    cells = random.normal(0, 0.1, (5, 8, 8, 2))
    cells[2, 3, 4] += (3, -2)
    camera = random.normal(0, 5, (5, 1, 1, 2))
    np.testing.assert_allclose(without_camera(cells + camera), without_camera(cells), atol=1e-12)
    assert np.linalg.norm(without_camera(cells + camera)[2, 3, 4]) == pytest.approx(13**0.5, abs=0.6)


def test_regions_are_means_of_parts_by_rows() -> None:
    cells = np.random.default_rng(0).normal(size=(3, 8, 8, 2))
    found = regions(cells)
    assert found.shape == (85, 3, 2)
    np.testing.assert_allclose(found[0], cells.mean(axis=(1, 2)))
    np.testing.assert_allclose(found[2], cells[:, :4, 4:].mean(axis=(1, 2)))
    np.testing.assert_allclose(found[5 + 6], cells[:, 2:4, 4:6].mean(axis=(1, 2)))
    np.testing.assert_allclose(found[21 + 8 * 3 + 5], cells[:, 3, 5])
    assert [region(0), region(2), region(5 + 6), region(21 + 29)] == [(1, 0, 0), (2, 0, 1), (4, 1, 2), (8, 3, 5)]
    with pytest.raises(IndexError):
        region(85)


def test_changes_stand_at_their_frame_and_ends_take_their_neighbours_values() -> None:
    velocity = np.zeros((1, 6, 2))
    velocity[0, 3:] = (3.0, 4.0)  # moves from the step that ends at frame 3, so it starts at frame 2
    change, slowing = changes(velocity)
    assert change[0].tolist() == [0, 0, 5, 0, 0, 0] and not slowing.any()
    change, slowing = changes(velocity[:, ::-1])
    assert change[0].tolist() == [0, 0, 5, 0, 0, 0] and slowing[0].tolist() == [0, 0, 5, 0, 0, 0]
    noise = changes(np.random.default_rng(0).normal(size=(4, 9, 2)))
    for channel in noise:
        np.testing.assert_array_equal(channel[:, [0, -1]], channel[:, [1, -2]])
    assert not any(channel.any() for channel in changes(np.ones((1, 2, 2))))


def test_series_are_read_at_their_times() -> None:
    times = np.array([0.0, 0.1, 0.5])
    values = np.array([[0.0, 1.0, 5.0], [2.0, 2.0, 2.0]])
    found = on_clock(times, values, 31)
    np.testing.assert_allclose(found[0], np.minimum(np.arange(31) * 0.02 * 10, 5), atol=1e-12)
    np.testing.assert_allclose(found[1], 2.0)
    still = on_clock(np.array([0.0, 0.2, 0.2, 0.4]), np.array([1.0, 1.0, 3.0, 3.0]), 21)
    assert np.isfinite(still).all() and still[0] == 1 and still[-1] == 3


def test_prepared_series_have_no_level_no_scale_and_no_trend() -> None:
    random = np.random.default_rng(0)
    series = random.normal(size=(3, 400))
    made = prepared(series)
    np.testing.assert_allclose(made.mean(axis=-1), 0, atol=1e-9)
    np.testing.assert_allclose(made.std(axis=-1), 1, atol=1e-9)
    np.testing.assert_allclose(prepared(5 * series + 3), made, atol=1e-9)
    assert not prepared(np.full((1, 100), 7.0)).any()
    # A straight fade from end to end is no event, at the ends least of all.
    np.testing.assert_allclose(prepared(series + np.linspace(0, 50, 400)), made, atol=1e-6)


@pytest.mark.parametrize("lag", [-0.4, 0.0, 0.3])
def test_the_best_lag_is_that_of_the_sound(lag: float) -> None:
    random = np.random.default_rng(1)
    motion = np.abs(random.normal(size=(85, 200)))
    motion[40, [20, 61, 97, 150, 171]] += 12
    steps = round(lag / 0.02)
    rise = np.roll(motion[40], steps + 1)  # a sound is heard 20 ms after what is seen
    heard = {"rise": rise, "level": np.roll(rise, 1)}
    found = Agreement.of({"change": motion, "slowing": motion}, heard, np.ones(85))
    assert found.offset_s() == pytest.approx(lag, abs=0.021)
    assert found.score(found.offset_s()) > 5
    assert (found.score() > 5) == (lag == 0) and (found.p_value() < 0.05) == (lag == 0)
    if lag == 0:
        assert found.strongest_regions(1) == [region(40)]


def test_nothing_that_moves_or_sounds_agrees_with_nothing() -> None:
    seen = dict.fromkeys(("change", "slowing"), np.ones((85, 150)))
    flat = Agreement.of(seen, dict.fromkeys(("rise", "level"), np.ones(150)), np.ones(85))
    assert flat.score() == 0 and flat.p_value() == 1 and np.isfinite(flat.strength).all()


def test_regions_that_hardly_move_hardly_count() -> None:
    cells = np.zeros((48, 8, 8, 2))
    cells[::4, 2, 5] = (2.0, 0.0)
    motion = Motion.of(cells, np.arange(49) / 24)
    assert motion.weights.argmax() == 21 + 8 * 2 + 5 and motion.weights.max() == pytest.approx(48 / 68, abs=0.02)
    assert motion.weights[21] == 0


def test_frames_that_repeat_others_are_left_out() -> None:
    # 24 frames a second shown as 30: every fifth frame is the one before it.
    random = np.random.default_rng(0)
    cells = 1 + 0.2 * random.normal(size=(48, 8, 8, 2))
    shown = np.arange(60) * 24 // 30
    fresh = np.concatenate([[True], np.diff(shown) > 0])
    pulled = np.where(fresh[:, None, None, None], cells[shown], 0.0)
    pulled[~fresh] += 0.01 * random.normal(size=(12, 8, 8, 2))
    assert (repeats(pulled) == ~fresh).all() and not repeats(cells).any()
    found = Motion.of(pulled, np.arange(61) / 30)
    np.testing.assert_allclose(found.times_s, (np.arange(60) / 30)[fresh])
    np.testing.assert_allclose(found.change, Motion.of(cells, np.arange(49) / 24).change, rtol=0.05)
    still = cells.copy()
    still[20:24] = 0
    assert not repeats(still).any(), "a picture that stands still for some frames is no repeat"


def noise(exponent: float, seconds: float, rate: int) -> NDArray[np.float32]:
    """Soft noise whose power falls with frequency to the power of `exponent`."""
    random = np.random.default_rng(3)
    hz = np.fft.rfftfreq(round(seconds * rate), 1 / rate)
    spectrum = random.normal(size=len(hz)) + 1j * random.normal(size=len(hz))
    sound = np.fft.irfft(spectrum / np.maximum(hz, 20) ** (exponent / 2))
    return (0.01 * sound / sound.std()).astype(np.float32)


@pytest.mark.parametrize("exponent", [0, 1, 2])
@pytest.mark.parametrize("seconds", [2.0, 4.0, 10.0])
def test_noise_of_any_colour_has_no_events(exponent: float, seconds: float) -> None:
    power = band_power(noise(exponent, seconds, RATE), RATE)
    assert not has_events(sound_level(power), sound_rise(power))
    knock = band_power(knocks([0.7, 1.5], seconds)[0], RATE)
    assert has_events(sound_level(knock), sound_rise(knock))


def test_weights_grow_with_what_a_clip_can_tell() -> None:
    assert weight(2.0, 100.0) == 1 and weight(0.0, 0.0) == pytest.approx(0.005)
    assert weight(0.8, 20.0) == pytest.approx(0.5 * 0.5)


# Clips


def test_a_clip_in_step_scores_high_and_one_out_of_step_does_not() -> None:
    hits = events(2)
    frames = bouncing(hits, at_rate())
    in_step = scored(frames, knocks(hits))
    assert in_step.value > 4 and in_step.details["p"][0] < 0.02
    assert abs(in_step.details["offset_ms"][0]) <= 40 and in_step.details["offset_believed"] == (1.0,)
    assert in_step.details["informative"] == (1.0,) and in_step.details["weight"][0] > 0.5
    grid, column = in_step.details["region_grid"][0], in_step.details["region_column"][0]
    # Flow spreads into the next cell.
    assert column - 1 <= 60 / 160 * grid <= column + 2, "the ball is 60 pixels from the left"
    assert len(in_step.details["correlation"]) == 101
    late = scored(frames, knocks([t + 0.32 for t in hits]))
    assert late.value < 2 < in_step.value - 2
    assert late.details["offset_ms"][0] == pytest.approx(320, abs=60) and late.details["offset_believed"] == (1.0,)
    early = scored(frames, knocks([t - 0.32 for t in hits]))
    assert early.value < 2 and early.details["offset_ms"][0] == pytest.approx(-320, abs=60)


def test_a_moving_camera_does_not_hide_what_is_in_step() -> None:
    hits = events(2)
    assert scored(bouncing(hits, at_rate(), pan=24), knocks(hits)).value > 3


def test_frames_count_where_they_are_shown() -> None:
    hits = events(2)
    # Every second frame of the second half is left out: by index over rate, the picture would run away from the sound.
    shown = at_rate()
    shown = np.concatenate([shown[:48], shown[48::2]])
    frames, sound = bouncing(hits, shown), knocks(hits)
    by_time = scored(frames, sound, frame_times_s=shown, last_frame_s=1 / 12)
    # At 12 frames a second a change lies anywhere within 83 ms before its frame.
    assert by_time.value > 3 and abs(by_time.details["offset_ms"][0]) <= 100
    by_index = scored(frames, sound[:, : round(len(shown) / FPS * RATE)])
    assert by_index.value < by_time.value - 1


def test_sound_that_starts_and_stops_with_the_clip_is_no_agreement() -> None:
    values = []
    for seed in range(6):
        random = np.random.default_rng(100 + seed)
        shown = at_rate(5.0)
        frames = bouncing(sorted(random.uniform(0.2, 4.8, 7).tolist()), shown)
        noise = (
            0.05
            * random.standard_normal(5 * RATE)
            * (1 + np.interp(np.arange(5 * RATE), np.arange(0, 5 * RATE + 1, 4000), random.uniform(0, 3, 21)))
        )
        edge = np.minimum(1, np.minimum(np.arange(5 * RATE), np.arange(5 * RATE)[::-1]) / (0.03 * RATE))
        values.append(scored(frames, (noise * edge).astype(np.float32)[None]).value)
    # A deviation is about 1: the mean of 6 lies within 1 in 98 of 100 cases where it is 0.
    assert abs(np.mean(values)) < 1.0


def test_volume_channels_and_bars_do_not_matter() -> None:
    hits = events(4)
    frames, sound = bouncing(hits, at_rate()), knocks(hits)
    value = scored(frames, sound).value
    assert scored(frames, 0.1 * sound).value == pytest.approx(value, rel=0.01)
    assert scored(frames, np.repeat(sound, 2, axis=0)).value == pytest.approx(value, rel=0.01)
    assert scored(np.pad(frames, ((0, 0), (16, 16), (0, 0), (0, 0))), sound).value == pytest.approx(value, rel=0.01)


@pytest.mark.parametrize("kind", list(METRIC.not_applicable))
def test_clips_that_it_does_not_apply_to_have_a_reason(kind: str) -> None:
    hits = events(2)
    frames, sound = bouncing(hits, at_rate()), knocks(hits)
    if kind == "no_audio":
        with pytest.raises(FeatureError) as no_sound:
            scored(frames, None)
        assert no_sound.value.kind == kind
        return
    hiss = 0.02 * np.random.default_rng(0).standard_normal(sound.shape).astype(np.float32)
    still = np.repeat(frames[:1], len(frames), axis=0)
    grain = np.clip(still + np.random.default_rng(0).normal(0, 2, still.shape), 0, 255).astype(np.uint8)
    cases = {
        "too_short": [(frames[:40], sound), (frames, sound[:, : round(1.9 * RATE)])],
        "silent": [(frames, np.zeros_like(sound)), (frames, 1e-4 * sound)],
        "no_sound_events": [(frames, hiss)],
        "no_motion_events": [(still, sound), (grain, sound)],
    }
    for pictures, audio in cases[kind]:
        with pytest.raises(MetricError) as error:
            scored(pictures, audio)
        assert error.value.kind == kind


def test_in_a_training_loop_it_is_the_same_number_and_nan_where_it_does_not_apply() -> None:
    import torch

    hits = events(2)
    frames, sound = bouncing(hits, at_rate()), knocks(hits)
    expected, score = scored(frames, sound), AVSync()
    assert float(score(torch.from_numpy(frames), 24, torch.from_numpy(sound), RATE)) == pytest.approx(expected.value)
    batch = score([frames, frames], 24, [sound, 0 * sound], RATE)
    assert batch.shape == (2,) and batch.dtype == torch.float32
    assert batch[0].item() == pytest.approx(expected.value, rel=1e-6) and batch[1].isnan()
    told = score.detailed(frames, 24, 0 * sound, RATE)[0]
    assert isinstance(told, MetricError) and told.kind == "silent"
    with pytest.raises(UsageError, match="Rates are positive"):
        score(frames, 0, sound, RATE)


def test_it_is_a_headline_of_v2_and_no_part_of_v1() -> None:
    assert "av_sync" in PROTOCOLS["javisbench-v2"].headline and "av_sync" in PROTOCOLS["javisbench-v1"].without
    assert METRIC.card.higher_is_better and Motion.of(np.zeros((1, 8, 8, 2)), np.array([0.0, 0.1])).change.shape == (
        85,
        1,
    )


def test_clips_too_short_for_some_lags_are_pooled_at_those_they_have() -> None:
    bump = np.exp(-0.5 * ((np.arange(101) - 53) / 3) ** 2)
    rows = [bump[25:76] if clip % 2 else bump for clip in range(12)]
    details = [{"weight": (1.0,), "informative": (1.0,), "correlation": tuple(row)} for row in rows]
    found = METRIC.facts(np.ones(12), details, np.arange(12), 0)
    # Three steps of 20 ms after lag 0, the middle of long rows and of short ones.
    assert found["offset_ms"] == found["offset_ms_low"] == found["offset_ms_high"] == 60


def test_a_level_that_hardly_changes_has_no_events_whatever_its_rise() -> None:
    """Ticks far below a steady hum rise clearly, and are not heard."""
    rise = np.zeros(400)
    rise[::50] = 1.0
    assert has_events(1 + 0.2 * np.sin(np.arange(400) / 3), rise)
    assert not has_events(1 + 0.001 * np.sin(np.arange(400) / 3), rise)
