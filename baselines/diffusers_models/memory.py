"""How many prompts one call of a pipeline takes, by the memory that is free."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)

_SHARE = 0.8
"""Of the free memory: what allocators and libraries take beside the activations that were measured."""


def fitting(free_bytes: int, each_bytes: int, most: int) -> int:
    """How many clips fit into `free_bytes` when one takes `each_bytes`; at least 1, at most `most`."""
    if each_bytes <= 0:
        return most
    return max(1, min(most, int(free_bytes * _SHARE / each_bytes)))


class Batches:
    """Sizes of calls: measured on the first clip, halved for good when memory runs out.

    Args:
        device: torch device.
        wanted: prompts a call as the user said; None for as many as the device's free memory takes.
        most: prompts a call, at most.
    """

    def __init__(self, device: str, wanted: int | None, most: int) -> None:
        self._device, self._limit = device, most if wanted is None else min(wanted, most)
        self._on_gpu = device.startswith("cuda")
        self._told = wanted is not None
        self._each: int | None = None

    def size(self) -> int:
        """Prompts of the next call."""
        if self._told or self._limit == 1:
            return self._limit
        if not self._on_gpu or self._each is None:
            # A CPU gains nothing from batches; on a GPU one clip shows what a clip takes.
            return 1
        import torch

        free, _ = torch.cuda.mem_get_info(self._device)
        held = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return fitting(free + held, self._each, self._limit)

    @contextmanager
    def measured(self, clips: int) -> Iterator[None]:
        """Measure what a call of `clips` prompts takes."""
        if not self._on_gpu:
            yield
            return
        import torch

        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        yield
        taken = torch.cuda.max_memory_allocated(self._device) - before
        self._each = max(self._each or 0, -(-taken // clips))

    def halve(self, size: int) -> bool:
        """Never again call with `size` prompts; False when there was one alone."""
        if size < 2:
            return False
        self._limit = size // 2
        log.warning("out of memory with %d clips a call; from here on %d", size, self._limit)
        return True


def decode_in_tiles(pipeline: Any) -> bool:
    """Let the pipeline's VAE decode a clip in tiles; False when it cannot."""
    vae: Any = getattr(pipeline, "vae", None)
    if not hasattr(vae, "enable_tiling"):
        return False
    vae.enable_tiling()
    return True


def decode_one_by_one(pipeline: Any) -> None:
    """Let the pipeline's VAE decode the clips of a call one after the other, where it can."""
    vae: Any = getattr(pipeline, "vae", None)
    if hasattr(vae, "enable_slicing"):
        vae.enable_slicing()
