"""Reading a pipeline's components with diffusers and transformers, and sentences for what goes wrong there."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.baselines.diffusers_models.signature import installed
from javisbench.baselines.libraries import without_progress_bars
from javisbench.errors import GenerationError, WeightsError

if TYPE_CHECKING:
    from javisbench.baselines.diffusers_models.rules import Rules

# The first that was tried; some before it ignore the argument `dtype`.
MIN_DIFFUSERS = (0, 42)
_SHOWN = 5


def load_pipeline(rules: Rules, folder: Path, types: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """The pipeline in a folder.

    Args:
        rules: of its class.
        folder: with ``model_index.json``.
        types: see `component_types`.
        given: further arguments of ``from_pretrained``.

    Raises:
        WeightsError: a component cannot be read.
        GenerationError: diffusers does not import, or knows no such class.
    """
    kind = _pipeline_type(rules.name)
    try:
        with without_progress_bars("diffusers", "transformers"):
            pipeline = kind.from_pretrained(
                folder,
                dtype=types,
                local_files_only=True,
                **_replacements(rules, folder, types["default"]),
                **dict.fromkeys(rules.known.plain_tokenizers),
                **given,
            )
            # They are not of the class that the pipeline names, so it takes them only afterwards.
            pipeline.register_modules(**_plain_tokenizers(rules, folder))
    except ImportError as error:
        raise _import_trouble(error) from error
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RuntimeError) as error:
        if "torchvision" in str(error):
            raise _import_trouble(error) from error
        raise WeightsError(f"The pipeline in {folder} cannot be read: {error}") from error
    _check_whole(pipeline, folder)
    return pipeline


def _check_whole(pipeline: Any, folder: Path) -> None:
    """Refuse components that were made from too few tensors: the libraries warn, and fill what lacks with noise.

    diffusers leaves what lacks without values. transformers draws it: there a file is refused when not one of its names
    ends like one of the network's; what stands before may be called otherwise by another version.

    Raises:
        WeightsError: the first such component, with names.
    """
    import torch

    for name, part in pipeline.components.items():
        if not isinstance(part, torch.nn.Module):
            continue
        lacking = [key for key, tensor in part.named_parameters() if tensor.is_meta]
        stored = _stored(folder / name)
        if not lacking and stored and not {_ending(key) for key in part.state_dict()} & set(map(_ending, stored)):
            lacking = list(part.state_dict())
        if lacking:
            more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
            raise WeightsError(
                f"{folder / name} does not hold the weights of a {type(part).__name__}: it lacks "
                f"{', '.join(lacking[:_SHOWN])}{more}. Fetch it again; if it is of another model, put the right one "
                f"there."
            )


def _stored(folder: Path) -> set[str]:
    """Names of the tensors in a folder's files, as far as they are safetensors."""
    from safetensors import safe_open

    names: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            names |= set(file.keys())
    return names


def _ending(name: str) -> str:
    return ".".join(name.split(".")[-2:])


def _pipeline_type(name: str) -> Any:
    try:
        diffusers = importlib.import_module("diffusers")
        if tuple(map(int, installed().split(".")[:2])) < MIN_DIFFUSERS:
            raise GenerationError(
                f"diffusers {installed()} is too old: pip install -U 'diffusers>=0.42'.", kind="import"
            )
        return getattr(diffusers, name)
    except AttributeError as error:
        raise GenerationError(f"The installed diffusers has no {name}. Update it: pip install -U diffusers.") from error
    except (ImportError, RuntimeError) as error:
        raise _import_trouble(error) from error


def _import_trouble(error: Exception) -> GenerationError:
    if "torchvision" in str(error):
        message = (
            "diffusers does not import, because the installed torchvision was built for another torch. Remove it (pip "
            "uninstall torchvision; nothing here needs it), or install the one that belongs to your torch."
        )
    elif isinstance(error, ModuleNotFoundError) and error.name in ("diffusers", "transformers"):
        message = f"The package {error.name} is not installed: pip install 'javisbench[baselines]'."
    else:
        message = f"The pipeline needs something that does not import: {' '.join(str(error).split())}"
    return GenerationError(message, kind="import")


def component_types(rules: Rules, name: str, device: str) -> dict[str, Any]:
    """Component to the type that it computes in; ``default`` for those not listed. `name` may be ``auto``."""
    import torch

    if name == "auto":
        name = rules.known.cuda_dtype if device.startswith("cuda") else "float32"
    return {"default": getattr(torch, name), **dict.fromkeys(rules.known.float32_parts, torch.float32)}


def _replacements(rules: Rules, folder: Path, dtype: Any) -> dict[str, Any]:
    if not rules.known.replaced:
        return {}
    transformers = importlib.import_module("transformers")
    return {
        component: getattr(transformers, kind).from_pretrained(folder / component, dtype=dtype, local_files_only=True)
        for component, kind in rules.known.replaced.items()
    }


def _plain_tokenizers(rules: Rules, folder: Path) -> dict[str, Any]:
    if not rules.known.plain_tokenizers:
        return {}
    loader = importlib.import_module("transformers").AutoTokenizer
    return {name: loader.from_pretrained(folder / name, local_files_only=True) for name in rules.known.plain_tokenizers}
