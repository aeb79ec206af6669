"""Reading the official checkpoints: files, shards, LoRA folders, folders of diffusers and transformers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from javisbench.baselines.javisdit.checkpoint_files import LORA_SETTINGS, checkpoint_files, inner_folder, lora_folder
from javisbench.baselines.libraries import without_progress_bars
from javisbench.errors import GenerationError, WeightsError
from javisbench.metrics.encoders.checkpoint import load_checkpoint

_LORA_KEY = re.compile(r"^(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])(?:\.[^.]+)?\.weight$")
_UNSUPPORTED_LORA = ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save", "fan_in_fan_out")


def read_network(path: Path) -> dict[str, Tensor]:
    """The tensors of a network: of a file, of a folder's only checkpoint, or of its shards.

    A ``model`` folder inside is entered; shards are found through their index (``*.index.json``, as transformers,
    diffusers and ColossalAI write it), or by their numbers. A ``lora`` folder beside ``model`` is merged.

    Args:
        path: a checkpoint file, or a folder.

    Raises:
        WeightsError: nothing there, several candidates, shards missing, or a damaged file.
    """
    if path.is_file():
        return load_checkpoint(path)
    inner, lora = inner_folder(path), lora_folder(path)
    state: dict[str, Tensor] = {}
    for file in checkpoint_files(inner):
        tensors = load_checkpoint(file)
        twice = sorted(state.keys() & tensors.keys())
        if twice:
            raise WeightsError(f"{file} repeats tensors of another shard: {', '.join(twice)}. Fetch {inner} again.")
        state |= tensors
    if lora is not None:
        merge_lora(state, lora)
    return state


def merge_lora(state: dict[str, Tensor], folder: Path) -> None:
    """Add a LoRA to the weights in place: W += alpha / r * B A (Hu et al., "LoRA", 2021).

    Args:
        state: the network's tensors.
        folder: holds ``adapter_config.json`` (``r``, ``lora_alpha``) and the adapter's tensors, as peft writes them.

    Raises:
        WeightsError: settings that change the formula, or tensors that the network does not have or that lack their
            other half; all of them are listed.
    """
    rank, alpha = _lora_numbers(folder / LORA_SETTINGS)
    pairs: dict[str, dict[str, Tensor]] = {}
    wrong: list[str] = []
    for file in checkpoint_files(folder):
        for name, tensor in load_checkpoint(file).items():
            match = _LORA_KEY.match(name)
            if match is None or f"{match['module']}.weight" not in state:
                wrong.append(name)
            else:
                pairs.setdefault(f"{match['module']}.weight", {})[match["side"]] = tensor
    wrong += [f"{name} ({'A' if 'A' in pair else 'B'} alone)" for name, pair in pairs.items() if len(pair) == 1]
    if wrong:
        raise WeightsError(f"The LoRA in {folder} does not fit the network: {', '.join(sorted(wrong))}.")
    for name, pair in pairs.items():
        weight = state[name]
        change = alpha / rank * (pair["B"].float() @ pair["A"].float())
        if change.shape != weight.shape or pair["A"].shape[0] != rank:
            raise WeightsError(f"The LoRA in {folder} has another shape or rank than {name} needs.")
        state[name] = (weight.float() + change).to(weight.dtype)


def _lora_numbers(path: Path) -> tuple[int, float]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path} does not say the LoRA's r and lora_alpha ({error!r}). Fetch it again.") from error
    used = [name for name in _UNSUPPORTED_LORA if config.get(name)]
    if used:
        raise WeightsError(f"{path} uses {', '.join(used)}, which javisbench does not merge. Merge it with peft first.")
    return rank, alpha


def from_library(library: Literal["diffusers", "transformers"], name: str, folder: Path, dtype: torch.dtype) -> Any:
    """A model of diffusers or transformers from its folder, strictly, without any connection.

    Args:
        library: where the class is.
        name: the class.
        folder: with ``config.json`` and weights.
        dtype: to load it in.

    Raises:
        WeightsError: the folder holds another model, or tensors are missing or unexpected; all are listed.
        GenerationError: the library is not installed.
    """
    cls = getattr(library_module(library), name)
    if library == "diffusers":
        _check_kind(folder, "_class_name", name)
    else:
        _check_kind(folder, "model_type", cls.config_class.model_type)
    argument = "dtype" if library == "transformers" else "torch_dtype"
    try:
        with without_progress_bars(library):
            model, report = cls.from_pretrained(
                folder, local_files_only=True, output_loading_info=True, **{argument: dtype}
            )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise WeightsError(f"{folder} does not load as {name}: {error}") from error
    _check_report(report, name, folder)
    assert isinstance(model, nn.Module)
    return model.eval().requires_grad_(False)


def library_module(library: str) -> Any:
    """diffusers or transformers, with one sentence when it is missing."""
    try:
        return import_module(library)
    except (ImportError, RuntimeError) as error:
        raise GenerationError(
            f"JavisDiT needs {library}, which does not import: {error}. Install javisbench[baselines]; a torchvision "
            f"built for another torch must be removed or replaced.",
            kind="missing_extra",
        ) from error


def _check_kind(folder: Path, key: str, wanted: str) -> None:
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get(key)
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(f"{path} cannot be read: {error}. The folder must hold a model of kind {wanted}.") from error
    if found != wanted:
        raise WeightsError(f"{folder} holds a model of kind {found}, not {wanted}. Give the right folder.")


def _check_report(report: Mapping[str, Any], name: str, folder: Path) -> None:
    parts = (("missing", "missing_keys"), ("unexpected", "unexpected_keys"), ("wrong shape", "mismatched_keys"))
    found = [
        f"{title} ({len(report[key])}): {', '.join(sorted(map(str, report[key])))}"
        for title, key in parts
        if report.get(key)
    ]
    if found:
        raise WeightsError(f"{folder} does not hold the weights of {name}:", details=found)
