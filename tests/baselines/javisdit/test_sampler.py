"""Time schedules against the reference's, full size, and what the sampler refuses."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from javisbench.baselines.javisdit.sampler import Given, Setting, euler, guide, sampling_times, time_shift
from javisbench.errors import GenerationError

SCHEDULES = {
    "ts_v01_240p4s": (30, Setting(240, 426, 102)),
    "ts_v10_240p65": (50, Setting(240, 426, 65)),
    "ts_v10_480p81": (50, Setting(480, 854, 81)),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("suffix", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_full_size_schedules_equal_the_reference(tensors, name, suffix, dtype):
    steps, setting = SCHEDULES[name]
    times = sampling_times(steps, setting, dtype)
    # One float32 unit at 1000; the same operations in the same order give 0.
    torch.testing.assert_close(times, tensors("v01_sampler")[f"{name}_{suffix}"], atol=6.2e-5, rtol=0)


def test_the_tiny_schedule_equals_the_reference(tensors):
    times = sampling_times(4, Setting(56, 48, 17), torch.float32)
    torch.testing.assert_close(times, tensors("v01_sampler")["timesteps_tiny"], atol=0, rtol=0)


@pytest.mark.parametrize(
    ("setting", "shift"),
    [(Setting(240, 426, 102), 3.4206), (Setting(240, 426, 65), 2.4187), (Setting(480, 854, 81), 5.5924)],
)
def test_shift_of_the_published_settings(setting, shift):
    assert float(time_shift(setting, torch.float32)) == pytest.approx(shift, abs=5e-5)


def test_transform_scale_moves_times_towards_noise():
    setting = Setting(240, 426, 65)
    plain, scaled = (sampling_times(10, setting, torch.float32, scale) for scale in (1.0, 5.0))
    assert scaled[0] == pytest.approx(1000, abs=1e-3)
    assert (scaled[1:] > plain[1:]).all()


@pytest.mark.parametrize("frames", [1, 16])
def test_fewer_than_17_frames_are_refused(frames):
    with pytest.raises(GenerationError, match="at least 17"):
        sampling_times(4, Setting(240, 426, frames), torch.bfloat16)


@given(st.integers(1, 60), st.integers(17, 500), st.integers(8, 1080), st.integers(8, 1920))
def test_times_fall_from_1000_and_stay_positive(steps, frames, height, width):
    times = sampling_times(steps, Setting(height, width, frames), torch.float32)
    assert times.shape == (steps,)
    assert times[0] == pytest.approx(1000, rel=1e-6)
    assert (times.diff() < 0).all()
    assert (times > 0).all()


def test_a_straight_flow_is_followed_exactly():
    noise, data = torch.randn(2, 1, 3, generator=torch.Generator().manual_seed(0)).unbind()
    asked = []

    def velocity(latents, time, free):
        assert free is None
        asked.append(time)
        return data - noise, noise - data

    video, audio = euler(velocity, (noise, data), sampling_times(7, Setting(240, 426, 17), torch.float32))
    torch.testing.assert_close(video, data)
    torch.testing.assert_close(audio, noise)
    assert len(asked) == 7


def test_guidance_interpolates_between_null_and_conditional():
    rows = torch.tensor([[3.0], [1.0]])
    assert guide(rows, 0.0).item() == 1.0
    assert guide(rows, 1.0).item() == 3.0
    assert guide(rows, 2.0).item() == 5.0


# Given frames


def noise_and_reference(frames=5):
    draw = torch.Generator().manual_seed(1)
    return torch.randn(1, 2, frames, 3, 4, generator=draw), torch.randn(1, 2, frames, 3, 4, generator=draw)


TIMES = sampling_times(6, Setting(240, 426, 17), torch.float32)


def test_kept_frames_come_back_and_the_others_are_as_without():
    noise, reference = noise_and_reference()
    mask = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0])
    told = []

    def velocity(latents, time, free):
        told.append(None if free is None else free[0].tolist())
        return (-latents[0],)

    [kept] = euler(velocity, (noise,), TIMES, [Given(reference, mask)])
    [alone] = euler(velocity, (noise,), TIMES)
    assert torch.equal(kept[:, :, :2], reference[:, :, :2])
    assert torch.equal(kept[:, :, 2:], alone[:, :, 2:])
    assert told == 6 * [[False, False, True, True, True]] + 6 * [None]


def test_nothing_kept_is_the_same_as_nothing_given():
    noise, reference = noise_and_reference()
    velocity = lambda latents, time, free: (-latents[0],)  # noqa: E731
    [masked] = euler(velocity, (noise,), TIMES, [Given(reference, torch.ones(5))])
    assert torch.equal(masked, euler(velocity, (noise,), TIMES)[0])


def test_a_frame_between_becomes_free_once_with_noise_of_that_time():
    noise, reference = noise_and_reference(1)
    mask = torch.tensor([0.7])
    seen = []

    def velocity(latents, time, free):
        seen.append((time, bool(free[0]), latents[0].clone()))
        return (torch.zeros_like(latents[0]),)

    draw = torch.Generator().manual_seed(9)
    [made] = euler(velocity, (noise,), TIMES, [Given(reference, mask)], draw)
    assert [free for _, free, _ in seen] == [time <= 700 for time, _, _ in seen]
    first = next(index for index, (_, free, _) in enumerate(seen) if free)
    assert first > 0
    assert all(torch.equal(z, reference) for _, _, z in seen[:first])
    time = seen[first][0] / 1000
    fresh = torch.randn(noise.shape, generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(seen[first][2], (1 - time) * reference + time * fresh)
    # Drawn once: with a velocity of 0 nothing changes after that.
    assert torch.equal(made, seen[first][2])
