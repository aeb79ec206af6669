"""Which files of a folder hold a network: one checkpoint, or shards, and a LoRA beside them. Needs no torch."""

from __future__ import annotations

import json
import re
from pathlib import Path

from javisbench.errors import WeightsError

LORA_SETTINGS = "adapter_config.json"

_SINGLE = ("model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin")
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_SHARD = re.compile(r"-\d{5}(-of-\d{5})?\.\w+$")


def network_files(path: Path) -> tuple[Path, ...]:
    """Every file that decides a network's tensors: its checkpoint or shards, and those of its LoRA.

    Args:
        path: a checkpoint file, or a folder.

    Raises:
        WeightsError: nothing there, several candidates, or shards missing.
    """
    if path.is_file():
        return (path,)
    files = checkpoint_files(inner_folder(path))
    lora = lora_folder(path)
    if lora is not None:
        files += [file for file in (lora / LORA_SETTINGS,) if file.is_file()] + checkpoint_files(lora)
    return tuple(files)


def inner_folder(path: Path) -> Path:
    """The folder that holds the network's own tensors: ``model`` inside `path` when there is one."""
    return path / "model" if (path / "model").is_dir() else path


def lora_folder(path: Path) -> Path | None:
    """The folder ``lora`` inside `path`, or None."""
    return path / "lora" if (path / "lora").is_dir() else None


def checkpoint_files(folder: Path) -> list[Path]:
    """A folder's only checkpoint, or its shards: those of its index (``*.index.json``), or those with numbers.

    Raises:
        WeightsError: nothing there, several candidates, or shards missing.
    """
    indexes = sorted(folder.glob("*.index.json"))
    if indexes:
        return _indexed(indexes[0])
    for name in _SINGLE:
        if (folder / name).is_file():
            return [folder / name]
    found = sorted(file for file in folder.glob("*") if file.suffix in _SUFFIXES)
    shards = [file for file in found if _SHARD.search(file.name)]
    if len(found) == 1 or (found and shards == found):
        return found
    what = ", ".join(file.name for file in found) or "no checkpoint"
    raise WeightsError(f"{folder} holds {what}; expected one checkpoint, or shards with their *.index.json.")


def _indexed(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError) as error:
        raise WeightsError(f"{index} is no index of shards ({error}). Fetch it again.") from error
    # Names are taken as file names alone, so that an index cannot point out of its folder.
    files = [index.parent / Path(name).name for name in names]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise WeightsError(f"{index.parent} lacks the shards {', '.join(missing)}. Fetch them.")
    return files
