"""Time schedules against the reference's, full size, and what the sampler refuses."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from javisbench.baselines.javisdit.sampler import Setting, euler, guide, sampling_times, time_shift
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
