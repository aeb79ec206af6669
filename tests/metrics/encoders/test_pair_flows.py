"""Flow shared between a device and the threads that read clips; PyTorch on the CPU stands in for the GPU."""

from __future__ import annotations

import gc
import threading
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from javisbench.clip import Clip
from javisbench.errors import FeatureError
from javisbench.metrics.encoders import pair_flows
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.flow import FlowEncoder
from javisbench.metrics.encoders.motion_acceleration import MotionAccelerationEncoder
from javisbench.metrics.encoders.pair_flows import DevicePairFlows, FlowDevice, HostPairFlows, SharedFlowEncoder
from javisbench.metrics.encoders.preprocessing.farneback import Farneback

SPECS = {
    FlowEncoder: FeatureSpec.of("flow", "motion"),
    MotionAccelerationEncoder: FeatureSpec.of("motion_acceleration", "cells"),
}
BOTH = pytest.mark.parametrize("encoder", SPECS)


def frames(count: int = 7, height: int = 48, width: int = 80) -> NDArray[np.uint8]:
    noise = np.random.default_rng(4).uniform(0, 255, (height, width)).astype(np.float32)
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 40, 255, cv2.NORM_MINMAX).astype(np.uint8)
    moved = np.stack([np.roll(smooth, (index, 2 * index), (0, 1)) for index in range(count)])
    return np.repeat(moved[..., None], 3, axis=-1)


def clip(pixels: NDArray[np.uint8]) -> Clip:
    return Clip(pixels, Fraction(24), None, None)


def with_device(cls: type[SharedFlowEncoder], device: FlowDevice) -> SharedFlowEncoder:
    encoder = cls()
    encoder._device = device
    return encoder


def values(encoder: SharedFlowEncoder, pixels: NDArray[np.uint8]) -> NDArray[np.generic]:
    spec = SPECS[type(encoder)]
    made = encoder.encode([clip(pixels)], [spec])[0][spec]
    assert not isinstance(made, FeatureError), made
    return made["magnitude" if "magnitude" in made else "cells"]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pairs of each batch on the device."""
    batches: list[int] = []
    real = Farneback.of_frames

    def counting(self: Farneback, lumas: torch.Tensor) -> torch.Tensor:
        batches.append(len(lumas) - 1)
        return real(self, lumas)

    monkeypatch.setattr(Farneback, "of_frames", counting)
    return batches


@BOTH
def test_only_a_cuda_device_is_used_beside_the_cpu(encoder: type[SharedFlowEncoder]) -> None:
    made = encoder()
    for device, used in (("cpu", False), ("mps", False), ("cuda", True), ("cuda:1", True)):
        made.load(None, device)
        assert (made._device is not None) is used


@BOTH
def test_a_device_makes_the_same_features(encoder: type[SharedFlowEncoder], counted: list[int]) -> None:
    expected = values(encoder(), frames())
    assert counted == []
    found = values(with_device(encoder, FlowDevice("cpu")), frames())
    assert counted == [6]
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@BOTH
def test_batches_are_bounded_and_change_nothing(
    encoder: type[SharedFlowEncoder], counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = values(with_device(encoder, FlowDevice("cpu")), frames())
    one_picture = 48 * 80 if encoder is FlowEncoder else 96 * 160
    monkeypatch.setattr(pair_flows, "_PIXELS_AT_ONCE", 2 * one_picture)
    counted.clear()
    np.testing.assert_array_equal(values(with_device(encoder, FlowDevice("cpu")), frames()), whole)
    assert counted == [2, 2, 2]
    monkeypatch.setattr(pair_flows, "_PIXELS_AT_ONCE", 1)
    np.testing.assert_array_equal(values(with_device(encoder, FlowDevice("cpu")), frames()), whole)


def test_bars_that_are_found_late_begin_another_batch(counted: list[int]) -> None:
    """As long as all is black, all of it is picture; then pairs are of another size."""
    pixels = frames(12)
    pixels[:, :8] = 0
    pixels[:3] = 0
    expected = values(MotionAccelerationEncoder(), pixels)
    found = values(with_device(MotionAccelerationEncoder, FlowDevice("cpu")), pixels)
    assert len(counted) > 1 and sum(counted) == 11
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@BOTH
def test_clips_beyond_the_places_are_the_threads_own(encoder: type[SharedFlowEncoder]) -> None:
    shared = with_device(encoder, FlowDevice("cpu"))
    spec = [SPECS[encoder]]
    head = clip(frames()).head
    intakes = [shared.intake(head, spec) for _ in range(4)]
    assert [type(intake.flows) for intake in intakes] == [DevicePairFlows] * 2 + [HostPairFlows] * 2
    # One is finished, another given up: both places are free again.
    shared.features(intakes[:1])
    del intakes[1]
    gc.collect()
    again = [shared.intake(head, spec) for _ in range(3)]
    assert [type(intake.flows) for intake in again] == [DevicePairFlows] * 2 + [HostPairFlows]


def test_a_finished_clip_frees_its_place_once() -> None:
    device = FlowDevice("cpu")
    encoder = with_device(FlowEncoder, device)
    for _ in range(5):
        values(encoder, frames(2))
    gc.collect()
    assert [device.enter() for _ in range(3)] == [True, True, False]


def test_a_small_picture_is_opencvs() -> None:
    encoder = with_device(FlowEncoder, FlowDevice("cpu"))
    intake = encoder.intake(clip(frames(2, 9, 60)).head, [SPECS[FlowEncoder]])
    assert isinstance(intake.flows, HostPairFlows)
    np.testing.assert_array_equal(values(encoder, frames(3, 8, 8)), values(FlowEncoder(), frames(3, 8, 8)))


@BOTH
@pytest.mark.parametrize("fits", [2, 0])
def test_a_device_without_memory_takes_less_then_leaves_it(
    encoder: type[SharedFlowEncoder], fits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = values(encoder(), frames())
    real = Farneback.of_frames

    def small(self: Farneback, lumas: torch.Tensor) -> torch.Tensor:
        if len(lumas) - 1 > fits:
            raise torch.cuda.OutOfMemoryError("no memory")
        return real(self, lumas)

    monkeypatch.setattr(Farneback, "of_frames", small)
    found = values(with_device(encoder, FlowDevice("cpu")), frames())
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_one_frame_does_not_move() -> None:
    assert values(with_device(FlowEncoder, FlowDevice("cpu")), frames(1)).tolist() == [0.0]


def test_clips_of_many_threads_are_each_their_own(counted: list[int]) -> None:
    encoder = with_device(FlowEncoder, FlowDevice("cpu"))
    scenes = [np.roll(frames(5), 7 * number, axis=2) * np.uint8(1 + number % 2) for number in range(6)]
    found: dict[int, Any] = {}

    def work(number: int) -> None:
        found[number] = values(encoder, scenes[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, pixels in enumerate(scenes):
        np.testing.assert_allclose(found[number], values(FlowEncoder(), pixels), rtol=0, atol=2e-5)


def test_what_waits_for_the_device_is_counted() -> None:
    intake = with_device(FlowEncoder, FlowDevice("cpu")).intake(clip(frames()).head, [SPECS[FlowEncoder]])
    for index, frame in enumerate(frames()):
        intake.see(index, frame)
    assert intake.held_bytes == 7 * 48 * 80
