"""Memory that a decoding process fills and its parent reads without a copy.

A memfd where the system has one, else an unlinked temporary file; never ``/dev/shm``, which is 64 MB in many
containers. Nothing of it outlives the two processes.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ALIGNMENT = 64


def create() -> int:
    """A new, empty, anonymous file; returns its descriptor, which the caller closes."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("javisbench-clip", os.MFD_CLOEXEC)
    descriptor, name = tempfile.mkstemp(prefix="javisbench-clip-")
    Path(name).unlink()
    return descriptor


def close(descriptor: int) -> None:
    """Give a buffer back; -1 stands for none."""
    if descriptor >= 0:
        os.close(descriptor)


def aligned(size: int) -> int:
    """The next multiple of 64, so that every array in a buffer starts aligned."""
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def append(descriptor: int, offset: int, array: NDArray[np.generic]) -> int:
    """Write an array at ``offset``; returns the offset behind it.

    Writing is twice as fast as filling a mapping: the pages need no faults and no zeroing.
    """
    import numpy as np

    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    written = 0
    while written < data.nbytes:
        written += os.pwrite(descriptor, data[written:], offset + written)
    return offset + written


def map_for_reading(descriptor: int) -> mmap.mmap:
    """Map a whole buffer privately: arrays over it may be written to, and nobody else sees that."""
    return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
