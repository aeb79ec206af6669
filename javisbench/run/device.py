"""Where networks run."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from javisbench.errors import UsageError

EngineName: TypeAlias = Literal["local", "ray"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)


def check_engine(name: str, address: str | None, device: str | None) -> None:
    """Refuse an engine that there is not.

    Raises:
        UsageError: there is none of this name, it has no address, or no such device.
    """
    if name not in ENGINES:
        raise UsageError(f"The engine is one of {', '.join(ENGINES)}; got {name!r}.")
    if address is not None and name != "ray":
        raise UsageError("--engine-address goes with --engine ray.")
    if name == "ray" and device not in (None, "cpu", "cuda"):
        raise UsageError(
            f"With --engine ray, --device is cpu or cuda (each actor has a GPU of its own); got {device!r}."
        )


def pick_device(name: str | None) -> str:
    """The torch device to use.

    Raises:
        UsageError: it does not exist here.
    """
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device is cpu, cuda or cuda:N; got {name!r}.") from error
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UsageError(f"There is no {name} here: torch sees {torch.cuda.device_count()} GPUs. Use --device cpu.")
    return name
