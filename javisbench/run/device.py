"""Where networks run."""

from __future__ import annotations

from javisbench.errors import UsageError


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
