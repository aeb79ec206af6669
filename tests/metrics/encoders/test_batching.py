"""Batches that do not fit are halved, jobs share a CPU's cores; results keep their order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import torch

from javisbench.errors import UsageError
from javisbench.metrics.encoders.batching import Batches, on_cores


class Device:
    """Doubles its inputs; more than `capacity` of them at once run out of memory."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.batches: list[int] = []

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self.batches.append(batch.shape[0])
        if batch.shape[0] > self.capacity:
            raise torch.OutOfMemoryError("out of memory")
        return 2 * batch


@pytest.mark.parametrize("count", [1, 3, 8, 17])
@pytest.mark.parametrize("capacity", [1, 3, 100])
def test_every_input_is_answered_in_order(count: int, capacity: int) -> None:
    inputs = torch.arange(count)[:, None]
    torch.testing.assert_close(Batches(8)(Device(capacity), inputs), 2 * inputs)


def test_the_smaller_size_is_kept_once_found() -> None:
    device, batches = Device(capacity=2), Batches(8)
    batches(device, torch.zeros(9, 1))
    assert device.batches == [8, 4, 2, 2, 2, 2, 1]
    batches(device, torch.zeros(3, 1))
    assert device.batches[7:] == [2, 1] and batches.size == 2


def test_a_network_may_have_a_bound_of_its_own() -> None:
    device, batches = Device(capacity=100), Batches(8)
    batches(device, torch.zeros(7, 1), at_most=3)
    batches(device, torch.zeros(9, 1), at_most=30)
    assert device.batches == [3, 3, 1, 8, 1]


def test_a_single_input_that_does_not_fit_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match="no memory left for a single input") as caught:
        Batches(4)(Device(capacity=0), torch.zeros(4, 1))
    assert caught.value.kind == "out_of_memory"


def test_other_errors_pass() -> None:
    def broken(batch: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shape")

    with pytest.raises(RuntimeError, match="shape"):
        Batches(2)(broken, torch.zeros(2, 1))


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def test_jobs_run_at_the_same_time_and_answer_in_order() -> None:
    meet = threading.Barrier(3, timeout=30)

    def job(number: int) -> tuple[int, int]:
        meet.wait()  # raises unless three are here at once
        return number, torch.get_num_threads()

    with torch_threads(7):
        answers = on_cores([partial(job, number) for number in range(3)], "cpu")
        assert torch.get_num_threads() == 7
    assert answers == [(0, 2), (1, 2), (2, 2)]


@pytest.mark.parametrize(("threads", "device"), [(1, "cpu"), (4, "cuda")])
def test_one_after_another_with_one_thread_or_on_a_gpu(threads: int, device: str) -> None:
    with torch_threads(threads):
        answers = on_cores([threading.get_ident, threading.get_ident], device)
    assert answers == [threading.get_ident()] * 2


def test_jobs_run_in_the_callers_modes() -> None:
    def modes() -> tuple[bool, torch.dtype]:
        return torch.is_inference_mode_enabled(), (torch.ones(2, 2) @ torch.ones(2, 2)).dtype

    with torch_threads(2):
        assert on_cores([modes, modes], "cpu") == [(False, torch.float32)] * 2
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            assert on_cores([modes, modes], "cpu") == [(True, torch.bfloat16)] * 2


def test_an_error_ends_the_jobs_and_leaves_the_threads_as_they_were() -> None:
    begun = []

    def job(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise ValueError("broken")
        time.sleep(0.05)

    with torch_threads(2):
        with pytest.raises(ValueError, match="broken"):
            on_cores([partial(job, number) for number in range(200)], "cpu")
        assert torch.get_num_threads() == 2
    assert len(begun) < 100
