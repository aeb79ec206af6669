"""The machine and the installation."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from javisbench.errors import UsageError
from javisbench.run.device import memory_available
from javisbench.run.doctor.colours import check_colours
from javisbench.run.doctor.findings import Report
from javisbench.run.manifest import versions

_MIN_TORCH = (2, 10)
_LITTLE_DISK = 2**30
_GIB = 2**30


def check_machine(report: Report, out: Path, device: str | None) -> None:
    """Versions, memory, disk and GPU."""
    found = versions()
    report.add("ok", "machine", ", ".join(f"{name} {version}" for name, version in found.items()))
    torch = tuple(int(part) for part in found.get("torch", "0").split("+")[0].split(".")[:2])
    if torch < _MIN_TORCH:
        report.add(
            "problem", "machine", f"torch {_MIN_TORCH[0]}.{_MIN_TORCH[1]} or newer is needed: pip install -U torch"
        )
    report.add("ok", "machine", f"{os.cpu_count()} cores, {memory_available() / _GIB:.1f} GiB of memory available")
    check_colours(report)
    _check_disk(report, out)
    _check_disk(report, Path(tempfile.gettempdir()))
    _check_device(report, device)


def disk_free(path: Path) -> int:
    """Bytes free where `path` is, or would be."""
    return shutil.disk_usage(_existing(path)).free


def _existing(path: Path) -> Path:
    path = path.resolve()
    while not path.exists():
        path = path.parent
    return path


def _check_disk(report: Report, folder: Path) -> None:
    place = _existing(folder)
    if not os.access(place, os.W_OK):
        report.add("problem", "machine", f"{place} cannot be written to; choose another folder with --out or $TMPDIR")
        return
    free = disk_free(folder)
    report.add("warning" if free < _LITTLE_DISK else "ok", "machine", f"{free / _GIB:.1f} GiB free for {folder}")


def _check_device(report: Report, device: str | None) -> None:
    from javisbench.run.device import pick_device

    try:
        picked = pick_device(device)
    except UsageError as error:
        report.add("problem", "machine", error.message)
        return
    if not picked.startswith("cuda"):
        report.add("ok", "machine", "networks run on the CPU")
        return
    import torch

    free, total = torch.cuda.mem_get_info(picked)
    name = torch.cuda.get_device_name(picked)
    report.add("ok", "machine", f"{picked}: {name}, {free / _GIB:.1f} of {total / _GIB:.1f} GiB free")
