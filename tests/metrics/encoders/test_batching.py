"""Batches that do not fit are halved; results keep their order."""

from __future__ import annotations

import pytest
import torch

from javisbench.errors import UsageError
from javisbench.metrics.encoders.batching import forward_in_batches


class Device:
    """Doubles its inputs; more than `capacity` of them at once run out of memory."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.batches: list[int] = []

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self.batches.append(batch.shape[0])
        if batch.shape[0] > self.capacity:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return 2 * batch


@pytest.mark.parametrize("count", [1, 3, 8, 17])
@pytest.mark.parametrize("capacity", [1, 3, 100])
def test_every_input_is_answered_in_order(count: int, capacity: int) -> None:
    inputs = torch.arange(count)[:, None]
    torch.testing.assert_close(forward_in_batches(Device(capacity), inputs, 8), 2 * inputs)


def test_the_smaller_size_is_kept_once_found() -> None:
    device = Device(capacity=2)
    forward_in_batches(device, torch.zeros(9, 1), 8)
    assert device.batches == [8, 4, 2, 2, 2, 2, 1]


def test_a_single_input_that_does_not_fit_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match="no memory left for a single input") as caught:
        forward_in_batches(Device(capacity=0), torch.zeros(4, 1), 4)
    assert caught.value.kind == "out_of_memory"


def test_other_errors_pass() -> None:
    def broken(batch: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shape")

    with pytest.raises(RuntimeError, match="shape"):
        forward_in_batches(broken, torch.zeros(2, 1), 2)
