"""Inputs go to the device and results come back whole, whoever else uses it."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
import torch

from javisbench.metrics.encoders.transfer import Transfer


def test_on_a_cpu_nothing_moves() -> None:
    values = np.arange(6, dtype=np.float32)
    up = Transfer("cpu").up(values)
    assert up.data_ptr() == values.ctypes.data
    assert Transfer("cpu").up(up) is up
    assert np.shares_memory(Transfer("cpu").down(up).array(), values)


def test_arrays_that_may_not_be_written_to_are_copied_without_a_warning() -> None:
    values = np.arange(6, dtype=np.uint8)
    values.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        up = Transfer("cpu").up(values)
    up.add_(1)
    assert values.tolist() == list(range(6))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_comes_back_as_float32(dtype: torch.dtype) -> None:
    made = Transfer("cpu").down(torch.tensor([0.5, -2.0], dtype=dtype)).array()
    assert made.dtype == np.float32 and made.tolist() == [0.5, -2.0]


@pytest.mark.gpu
def test_many_threads_share_a_busy_gpu() -> None:
    """Memory of an upload that is still read must not go to the next one."""
    transfer, wrong = Transfer("cuda"), []
    square = torch.rand(4096, 4096, device="cuda")

    def send(seed: int) -> None:
        for number in range(30):
            values = np.full((512, 1024), 100 * seed + number, np.float32)
            busy = square @ square
            up = transfer.up(values)
            back = transfer.down(up * 2 + 0 * busy[0, 0])
            del up
            if not np.array_equal(back.array(), 2 * values):
                wrong.append((seed, number))

    threads = [threading.Thread(target=send, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
