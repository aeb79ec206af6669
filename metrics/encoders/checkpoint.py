"""Reading checkpoints: tensors only, nothing executed, every wrong name said at once."""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn


_SMALL_BYTES = 2**16
# What torch's readers raise for damaged files, in their unpickler for the most part.
_UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)


@contextmanager
def without_values() -> Iterator[None]:
    """Networks built inside have names, shapes and types, but no values: `load_strict` fills them.

    Drawing initial values is skipped as well. Even on the meta device that takes PyTorch's compiler, whose import alone
    takes longer than many a network.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class NotDrawn(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            kwargs = kwargs or {}
            if getattr(func, "__module__", None) == "torch.nn.init":
                return kwargs["tensor"] if "tensor" in kwargs else args[0]
            return func(*args, **kwargs)

    with torch.device("meta"), NotDrawn():
        yield


def load_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, on the CPU, mapped from the file where its format allows.

    ``.safetensors`` files are read as such, all others as PyTorch files with ``weights_only``, so that a file cannot
    run code. Of a training checkpoint with an entry ``state_dict`` or ``model``, that entry is returned.

    Args:
        path: the file.

    Returns:
        tensor name to tensor; entries that are no tensors are left out.

    Raises:
        WeightsError: the file is missing, damaged, of another format, or holds more than tensors and plain values.
    """
    import torch

    if not path.is_file():
        raise WeightsError(f"There is no weights file at {path}. Check the path, or fetch the file again.")
    try:
        loaded = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than tensors{_named_code(error)}, or is no checkpoint, and was not opened. Use the "
            "official file, or save its state dict alone with torch.save."
        ) from error
    except KeyError as error:
        raise WeightsError(f"{path} is no checkpoint: fetch it again, or check what lies there.") from error
    except _UNREADABLE as error:
        raise WeightsError(
            f"{path} cannot be read as a checkpoint ({first_line(error)}). It may be cut short: fetch it again."
        ) from error
    for entry in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(entry), Mapping):
            loaded = loaded[entry]
            break
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path} holds a {type(loaded).__name__}, not a state dict. Use the official file.")
    return {str(name): value for name, value in loaded.items() if isinstance(value, torch.Tensor)}


def load_strict(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    what: str,
    path: Path,
    ignore: Collection[str] = (),
) -> None:
    """Copy `state` into `module`, every tensor of it, or say what does not fit.

    Args:
        module: the network; parameters on the meta device are replaced by the file's tensors, others filled.
        state: names and tensors of the file.
        what: the network's name, for messages (``ImageBind huge``).
        path: where `state` came from, for messages.
        ignore: beginnings of names that the file may hold and the module does not.

    Raises:
        WeightsError: names are missing or unexpected, shapes or kinds of number differ, or parameters are not finite;
            all of them are listed.
    """
    wanted = module.state_dict()
    skipped = tuple(ignore)
    missing = sorted(wanted.keys() - state.keys())
    unexpected = sorted(name for name in state.keys() - wanted.keys() if not name.startswith(skipped))
    shapes = [
        f"{name} is {_shape(state[name])}, not {_shape(tensor)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    kinds = [
        f"{name} is {state[name].dtype}, not {tensor.dtype}"
        for name, tensor in wanted.items()
        if name in state and _kind(state[name]) != _kind(tensor)
    ]
    broken = [name for name, _ in module.named_parameters() if name in state and not _is_finite(state[name])]
    if missing or unexpected or shapes or kinds or broken:
        parts = (
            ("missing", missing),
            ("unexpected", unexpected),
            ("wrong shape", shapes),
            ("wrong type", kinds),
            ("not finite", broken),
        )
        found = [f"{title} ({len(names)}): {', '.join(names)}" for title, names in parts if names]
        raise WeightsError(
            f"{path} does not hold the weights of {what}. Use the file made for {what}. It differs:", details=found
        )
    on_meta = any(tensor.is_meta for tensor in wanted.values())
    fitting = {name: state[name].to(tensor.dtype) for name, tensor in wanted.items()}
    module.load_state_dict(fitting, strict=True, assign=on_meta)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path, device="cpu"))
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _read_torch(path: Path) -> object:
    import torch

    # Only zip files (torch >= 1.6) can be mapped; older official files are plain pickles.
    mapped = zipfile.is_zipfile(path)
    if mapped:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                # Mapped tensors would be made of the compressed bytes, and unpacked ones may have any size.
                raise ValueError("its parts are compressed, which torch.save does not do")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected pickle protocol")
        if mapped:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        with _WithinFile(io.FileIO(path)) as file:
            return torch.load(file, map_location="cpu", weights_only=True)


class _WithinFile(io.BufferedReader):
    """A file that is never asked for more than it has: a damaged pickle may call for a text of 4 GiB, and Python would
    set that much memory aside."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _SMALL_BYTES:
            size = min(size, max(0, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


def _named_code(error: pickle.UnpicklingError) -> str:
    """What a refused pickle wanted to import; torch's own message advises to run it."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f" ({found[1]})" if found else ""


def _kind(tensor: Tensor) -> str:
    return "complex" if tensor.is_complex() else "float" if tensor.is_floating_point() else "int"


def _is_finite(tensor: Tensor) -> bool:
    """The sum settles it in one pass, unless it overflows by itself."""
    return not tensor.is_floating_point() or bool(tensor.sum().isfinite() or tensor.isfinite().all())


def first_line(error: BaseException) -> str:
    """The first line of an error's text, at most 300 characters, or what kind of error it is."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _shape(tensor: Tensor) -> str:
    return "x".join(str(n) for n in tensor.shape) or "scalar"
