"""Where networks run."""

from __future__ import annotations

import logging
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from javisbench.errors import RunError, UsageError

log = logging.getLogger(__name__)
EngineName: TypeAlias = Literal["local", "ray"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)


def check_engine(name: str, address: str | None, device: str | None) -> None:
    """Refuse an engine that there is not.

    Raises:
        UsageError: there is none of this name, it is not installed, it has no address, or no such device.
    """
    if name not in ENGINES:
        raise UsageError(f"The engine is one of {', '.join(ENGINES)}; got {name!r}.")
    if address is not None and name != "ray":
        raise UsageError("--engine-address goes with --engine ray.")
    if name == "ray" and device not in (None, "cpu", "cuda"):
        raise UsageError(
            f"With --engine ray, --device is cpu or cuda (each actor has a GPU of its own); got {device!r}."
        )
    if name == "ray" and find_spec("ray") is None:
        raise UsageError("--engine ray needs Ray Data: pip install 'javisbench[ray]'", kind="missing_extra")


def pick_device(name: str | None) -> str:
    """The torch device to use where there is work for one: the first of `pick_devices`."""
    return pick_devices(name)[0]


def pick_devices(name: str | None) -> tuple[str, ...]:
    """The torch devices to use, each with a process of its own where there are several.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:N``, or several with commas between. None takes every GPU that this process
            sees, or the CPU where there is none; ``cuda`` takes every GPU.

    Raises:
        UsageError: a device does not exist here, or is none that this package computes on.
    """
    if name == "cpu":  # there always is one; without networks, torch's two seconds are saved
        return ("cpu",)
    import torch

    if name is None:
        if not torch.cuda.is_available():
            _tell_of_other_devices()
            return ("cpu",)
        name = "cuda"
    devices = tuple(_checked(part.strip()) for part in name.split(","))
    if devices == ("cuda",) and torch.cuda.device_count() > 1:
        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    return devices


def gpu_index(device: str) -> int:
    """The number of a GPU, which some of torch's functions insist on; that of ``cuda`` is 0."""
    import torch

    return torch.device(device).index or 0


def device_kind(name: str) -> str:
    """What a torch device is: ``cpu``, or the name of the GPU. Clips of two kinds may differ by rounding."""
    if not name.startswith("cuda"):
        return name.partition(":")[0]
    import torch

    return torch.cuda.get_device_name(name)


def check_compiler(device: str) -> None:
    """Refuse what ``torch.compile`` cannot do here.

    Raises:
        UsageError: it has no compiler.
    """
    named = os.environ.get("CXX")
    if not any(map(shutil.which, [named] if named else ["g++", "clang++"])):
        raise UsageError(
            f"--compile needs a C++ compiler: {named + ' ($CXX)' if named else 'g++ or clang++'} is not here. Install "
            f"one, or leave the option out: it changes no number beyond rounding.",
            kind="no_compiler",
        )
    if device.startswith("cuda") and find_spec("triton") is None:
        raise UsageError(
            "--compile on a GPU needs triton, which this build of torch came without. Leave the option out: it changes "
            "no number beyond rounding.",
            kind="no_compiler",
        )


def memory_available() -> int:
    """Bytes of memory that can be had without swapping; all memory where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        facts = dict(line.split(":", 1) for line in lines)
        return int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def keep_back(device: str, most_bytes: int) -> None:
    """Take no more than so much of a device that others use too; on a CPU that is only looked at, once.

    Raises:
        RunError: less is free.
    """
    if device == "cpu":
        free = memory_available()
    else:
        import torch

        free, total = torch.cuda.mem_get_info(device)
        torch.cuda.set_per_process_memory_fraction(min(1.0, most_bytes / total), gpu_index(device))
    if free < most_bytes:
        raise RunError(
            f"{free / 1e9:.1f} GB of {device} are free beside the model, and the networks may take "
            f"{most_bytes / 1e9:.1f} GB."
        )


def _checked(name: str) -> str:
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device is cpu, cuda or cuda:N; got {name!r}.") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError(
            f"Networks run on cpu and cuda; their numbers were never checked on {device.type}. Use --device cpu."
        )
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UsageError(f"There is no {name} here: torch sees {torch.cuda.device_count()} GPUs. Use --device cpu.")
    return name


def _tell_of_other_devices() -> None:
    import torch

    other = torch.accelerator.current_accelerator(check_available=True)
    if other is not None:
        log.warning("This machine's %s is not used: networks run on cpu and cuda.", other.type)
