"""Running a network over many inputs, as many at a time as memory allows, and a CPU's cores at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from javisbench.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

R = TypeVar("R")


#: What the tensors of one forward pass may take of a GPU's memory, beside weights and what waits. With all weights and
#: what is prepared ahead a run then fits a card of 24 GB.
ACTIVATION_BYTES = 4 * 2**30


def inputs_within_bound(input_bytes: int) -> int:
    """Inputs of a forward pass on a GPU, at least 1, when one of them takes `input_bytes` at the peak."""
    return max(1, ACTIVATION_BYTES // input_bytes)


class Batches:
    """Applies networks to many inputs; a batch that does not fit into memory is halved, and so are all after it.

    Attributes:
        size: inputs of a forward pass, at least 1.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, forward: Callable[[Tensor], Tensor], inputs: Tensor, at_most: int | None = None) -> Tensor:
        """Apply `forward` to `inputs` along the first axis.

        Args:
            forward: maps ``(B, ...)`` to ``(B, ...)``.
            inputs: all inputs, at least one.
            at_most: inputs of a pass where this network has a bound of its own.

        Returns:
            the outputs, concatenated.

        Raises:
            UsageError: a single input does not fit.
        """
        import torch

        outputs: list[Tensor] = []
        start = 0
        while start < inputs.shape[0]:
            size = min(self.size, at_most or self.size)
            output = _try(forward, inputs[start : start + size])
            if output is not None:
                outputs.append(output)
                start += size
            elif size > 1:
                self.size = size // 2
                torch.cuda.empty_cache()
            else:
                raise UsageError(
                    f"The device {inputs.device} has no memory left for a single input of shape "
                    f"{tuple(inputs.shape[1:])}. Free memory on it, or choose another one with --device.",
                    kind="out_of_memory",
                )
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _try(forward: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor | None:
    """The output, or None when memory ran out; leaving this function frees what the attempt held."""
    import torch

    try:
        return forward(batch)
    except torch.OutOfMemoryError:
        return None


def on_cores(jobs: Sequence[Callable[[], R]], device: str) -> list[R]:
    """What each job returns, in order.

    On a CPU as many jobs run at once as PyTorch has threads, which they share: the operations on a small batch are too
    short to be worth cutting up, whole batches are not. On any other device one runs after another.

    Args:
        jobs: must not depend on one another. They run under the caller's inference mode and autocast.
        device: where they run.

    Raises:
        what the first job that fails raises; jobs that have not begun by then never do.
    """
    import torch

    threads = torch.get_num_threads()
    at_once = min(threads, len(jobs)) if device == "cpu" else 1
    if at_once <= 1:
        return [job() for job in jobs]
    modes = torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def run(job: Callable[[], R]) -> R:
        inference, autocast, dtype = modes  # PyTorch keeps them by thread
        with torch.inference_mode(inference), torch.autocast("cpu", dtype=dtype, enabled=autocast):
            return job()

    pool = ThreadPoolExecutor(at_once, initializer=torch.set_num_threads, initargs=(threads // at_once,))
    try:
        return list(pool.map(run, jobs))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # threads of others that start later take over what was set last


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, PyTorch computes with one CPU thread, for what rounds otherwise with several (bilinear interpolation).

    Holds for the calling thread.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def on_the_host() -> Iterator[None]:
    """Inside, the calling thread prepares inputs on the CPU, alike on every machine and in every precision of networks.

    With one CPU thread (others would round otherwise), and outside a caller's autocast, which is meant for the network.
    """
    import torch

    with one_thread(), torch.autocast("cpu", enabled=False):
        yield
