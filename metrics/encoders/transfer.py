"""Moving inputs to a device and results back, without the device and its host waiting for each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class Transfer:
    """The way between the memory of this machine and one device.

    On a GPU inputs go up from pinned memory on a stream of their own, beside what the device computes; whoever uses
    them on the calling thread's stream comes after them. Results come down into pinned memory, and only asking for
    their array waits for them. On a CPU nothing moves and nothing waits.

    Args:
        device: torch device.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self._stream: Any = None

    def up(self, values: NDArray[np.generic] | Tensor) -> Tensor:
        """An array or tensor on the device; on a CPU with the same memory where that can be written to."""
        import torch

        if isinstance(values, torch.Tensor):
            tensor = values
        else:
            # A caller's arrays may be read-only, of which torch makes no tensor without a warning.
            tensor = torch.from_numpy(values if values.flags.writeable else values.copy())
        if tensor.device.type != "cpu" or not self._has_streams():
            return tensor.to(self.device)
        if self._stream is None:
            self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call,unused-ignore]
        try:
            return self._sent(tensor.pin_memory())
        except torch.OutOfMemoryError:
            # What the device has finished with may only wait to be given back.
            torch.cuda.synchronize(self.device)
            torch.cuda.empty_cache()
            return self._sent(tensor.pin_memory())

    def _sent(self, pinned: Tensor) -> Tensor:
        import torch

        here = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self._stream):
            moved = pinned.to(self.device, non_blocking=True)
        here.wait_stream(self._stream)
        moved.record_stream(here)  # or its memory could be given to the next upload while it is still read
        return moved

    def down(self, values: Tensor) -> Returned:
        """Begin to fetch what the device makes; half precision comes as float32."""
        import torch

        if values.dtype in (torch.bfloat16, torch.float16):
            values = values.float()
        if values.device.type == "cpu" or not self._has_streams():
            return Returned(values.cpu(), None)
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call,unused-ignore]
        done.record(torch.cuda.current_stream(values.device))
        return Returned(host, done)

    def _has_streams(self) -> bool:
        """Not even every CUDA tensor has streams: those that only stand for one, to check code without a GPU."""
        import torch

        return torch.device(self.device).type == "cuda" and torch.cuda.is_available()


class Returned:
    """Results on their way from a device."""

    def __init__(self, host: Tensor, done: Any) -> None:
        self._host = host
        self._done = done

    def array(self) -> NDArray[Any]:
        """The values, when they are here. The array is the caller's."""
        if self._done is None:
            return self._host.numpy()
        self._done.synchronize()
        return self._host.numpy().copy()  # pinned memory is scarce
