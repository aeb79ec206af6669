"""Running a network over many inputs, a few at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from javisbench.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


def forward_in_batches(forward: Callable[[Tensor], Tensor], inputs: Tensor, batch_size: int) -> Tensor:
    """Apply `forward` to `inputs` along the first axis; a batch that does not fit into GPU memory is halved.

    Args:
        forward: maps ``(B, ...)`` to ``(B, ...)``.
        inputs: all inputs, at least one.
        batch_size: inputs to a call, at least 1.

    Returns:
        the outputs, concatenated.

    Raises:
        UsageError: a single input does not fit.
    """
    import torch

    outputs: list[Tensor] = []
    start = 0
    while start < inputs.shape[0]:
        output = _try(forward, inputs[start : start + batch_size])
        if output is not None:
            outputs.append(output)
            start += batch_size
        elif batch_size > 1:
            batch_size //= 2
            torch.cuda.empty_cache()
        else:
            raise UsageError(
                f"The device {inputs.device} has no memory left for a single input of shape {tuple(inputs.shape[1:])}. "
                "Free memory on it, or choose another one with --device.",
                kind="out_of_memory",
            )
    return torch.cat(outputs)


def _try(forward: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor | None:
    """The output, or None when memory ran out; leaving this function frees what the attempt held."""
    import torch

    try:
        return forward(batch)
    except torch.cuda.OutOfMemoryError:
        return None
