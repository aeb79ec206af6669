"""The memory in which clips travel between processes."""

from __future__ import annotations

import os

import numpy as np
import pytest

from javisbench.isolated import buffers


@pytest.mark.parametrize("memfd", [True, False])
def test_arrays_go_in_and_come_out(monkeypatch: pytest.MonkeyPatch, memfd: bool) -> None:
    """With and without the system call that only Linux has."""
    if not memfd:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    pictures = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)[::-1, ::-1]  # not contiguous, as after a turn
    samples = np.linspace(-1, 1, 7, dtype=np.float32)
    descriptor = buffers.create()
    try:
        behind = buffers.aligned(buffers.append(descriptor, 0, pictures))
        buffers.append(descriptor, behind, samples)
        mapping = buffers.map_for_reading(descriptor)
        again = buffers.map_for_reading(descriptor)
    finally:
        os.close(descriptor)

    assert behind == 64
    first = np.frombuffer(mapping, np.uint8, 60).reshape(5, 4, 3)
    assert np.array_equal(first, pictures)
    assert np.array_equal(np.frombuffer(mapping, np.float32, 7, behind), samples)
    first[:] = 0
    assert np.array_equal(np.frombuffer(again, np.uint8, 60).reshape(5, 4, 3), pictures)
