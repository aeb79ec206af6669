"""Code for GPUs on a machine that has none: tensors of a CUDA device with shapes and types, and without numbers.

Inside `fake_device`, torch's `FakeTensorMode` runs every operation as far as shape, type and device go. So an operation
between devices, `.numpy()` of a tensor on the device, a wrong type or shape is an error as on a GPU, and operations and
memory can be counted. Torch must be a build for CUDA: another cannot index tensors of a device that it does not have.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_map_only

DEVICE = "cuda"


class Memory(TorchDispatchMode):
    """Bytes of tensors on the device; what libraries reserve beside them is not known.

    Attributes:
        held: now.
        peak: the most at once since `restart`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = 0
        self._known: set[int] = set()

    def restart(self) -> None:
        """Forget the peak."""
        self.peak = self.held

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "conv" in func.overloadpacket.__name__ and len(args) > 1:
            _check_types(*args[:2])
        made = func(*args, **(kwargs or {}))
        tree_map_only(FakeTensor, self._see, made)
        return made

    def _see(self, tensor: FakeTensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if tensor.device.type != DEVICE or key in self._known:
            return
        self._known.add(key)
        self.held += size
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.held -= size


def _check_types(pixels: Tensor, weight: Tensor) -> None:
    """What a convolution demands of types, which its shape function does not look at."""
    if isinstance(weight, Tensor) and pixels.dtype != weight.dtype:
        raise RuntimeError(f"Input type ({pixels.dtype}) and weight type ({weight.dtype}) should be the same")


@contextmanager
def fake_device() -> Iterator[Memory]:
    """Inside, ``cuda`` is a device whose tensors hold no numbers; yields its memory.

    Numbers that are asked for are 0 (`item`, `tolist`, `numpy` of a tensor on the CPU), truth values are True.

    Raises:
        SystemExit: torch is built for CPUs alone.
    """
    if torch.version.cuda is None:
        raise SystemExit(f"torch {torch.__version__} is not built for CUDA: run make fake-gpu, which installs one.")
    with ExitStack() as stack:
        for patch in _patches():
            stack.enter_context(patch)
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        yield stack.enter_context(Memory())


def _patches() -> Iterator[Any]:
    """What torch asks of a real device, or of numbers."""
    yield mock.patch.object(fake_tensor, "init_gpu_context", lambda device: None)
    yield mock.patch.object(nn.Module, "_apply", _replace_tensors)
    yield mock.patch.object(
        functional, "scaled_dot_product_attention", _attention(functional.scaled_dot_product_attention)
    )
    # One kernel for a whole layer has no shapes; its parts have.
    yield mock.patch.object(torch.backends.mha, "get_fastpath_enabled", lambda: False)
    # Autocast is otherwise switched off, and types would not be those of a GPU.
    yield mock.patch.object(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    yield mock.patch.object(torch.cuda, "is_bf16_supported", lambda *_: True)
    yield mock.patch.object(torch.cuda, "get_device_name", lambda *_: "no device")
    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats", "max_memory_allocated"):
        yield mock.patch.object(torch.cuda, name, lambda *_: 0)
    # The real one copies memory, and there is none: it ends the process, here or later.
    yield mock.patch.object(Tensor, "__deepcopy__", _for_fakes(Tensor.__deepcopy__, _deep_copy))
    for name, instead in _OF_NUMBERS.items():
        yield mock.patch.object(Tensor, name, _for_fakes(getattr(Tensor, name), instead))


def _replace_tensors(module: nn.Module, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """`Module.to`, without swapping tensors in place, which fake ones do not allow."""
    for child in module.children():
        child._apply(fn)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            module._parameters[name] = nn.Parameter(fn(parameter), requires_grad=parameter.requires_grad)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = fn(buffer)
    return module


def _attention(real: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Attention by the kernels that a GPU would choose, which keep no matrix of scores."""

    def attend(
        query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *rest: Any, **named: Any
    ) -> Any:
        if query.device.type != DEVICE or rest or named.get("enable_gqa") or named.get("dropout_p"):
            return real(query, key, value, attn_mask, *rest, **named)
        if torch.is_autocast_enabled(DEVICE):
            query, key, value = (part.to(torch.get_autocast_dtype(DEVICE)) for part in (query, key, value))
        if not query.dtype == key.dtype == value.dtype:
            raise RuntimeError(
                f"Expected query, key and value of one dtype, not {query.dtype}, {key.dtype}, {value.dtype}"
            )
        causal, scale = bool(named.get("is_causal")), named.get("scale")
        if attn_mask is None and query.dtype != torch.float32:
            found = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, 0.0, causal, scale=scale)
        else:
            if attn_mask is not None:
                shape = (*query.shape[:-1], key.shape[-2])
                attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).expand(shape)
            found = torch.ops.aten._scaled_dot_product_efficient_attention(
                query, key, value, attn_mask, False, 0.0, causal, scale=scale
            )
        return found[0]

    return attend


def _for_fakes(real: Callable[..., Any], instead: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return instead(self, *args, **kwargs) if isinstance(self, FakeTensor) else real(self, *args, **kwargs)

    return method


def _deep_copy(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    if id(tensor) not in memo:
        made = tensor.detach().clone()
        memo[id(tensor)] = nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made
    copied: Tensor = memo[id(tensor)]
    return copied


def _zeros(tensor: Tensor) -> np.ndarray:
    with _disable_current_modes():
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device="cpu").numpy()


def _numpy(tensor: Tensor, *_: Any, **__: Any) -> np.ndarray:
    if tensor.device.type != "cpu":
        raise TypeError(f"can't convert {tensor.device} device type tensor to numpy. Use Tensor.cpu() first.")
    if tensor.dtype == torch.bfloat16:
        raise TypeError("Got unsupported ScalarType BFloat16")
    return _zeros(tensor)


_OF_NUMBERS: dict[str, Callable[..., Any]] = {
    "numpy": _numpy,
    "__array__": lambda tensor, dtype=None, **_: _numpy(tensor).astype(dtype) if dtype else _numpy(tensor),
    "item": lambda tensor: _zeros(tensor.float()).ravel()[0].item(),
    "tolist": lambda tensor: _zeros(tensor.float()).tolist() if tensor.is_floating_point() else _zeros(tensor).tolist(),
    "__bool__": lambda tensor: True,
    "__int__": lambda tensor: 0,
    "__float__": lambda tensor: 0.0,
}
