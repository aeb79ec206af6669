"""Folders of diffusers pipelines: where they lie, which class they are of, and what they may not contain."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.baselines.diffusers_models.signature import class_names, signature
from javisbench.baselines.diffusers_models.table import REPOSITORIES, Checkpoint
from javisbench.errors import GenerationError, UsageError, WeightsError
from javisbench.registry import did_you_mean

if TYPE_CHECKING:
    from javisbench.baselines.diffusers_models.rules import Rules

INDEX = "model_index.json"
# Where the rate of a sound stands, the last that shapes it first.
_SOUND_PARTS = ("vocoder", "audio_vae", "sound_tokenizer", "vae")
_RATE_KEYS = ("output_sampling_rate", "sampling_rate", "sample_rate")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Source:
    """Where a pipeline comes from: a local folder, or a hub repository at a revision."""

    folder: Path | None
    repository: str
    revision: str | None

    @classmethod
    def parse(cls, text: str | None) -> Source:
        """Read ``REPO_OR_FOLDER[@REVISION]``.

        Raises:
            UsageError: neither a folder with a pipeline nor a repository's name.
        """
        if not text:
            raise UsageError("Say which pipeline: --model diffusers:OWNER/NAME[@REVISION] or diffusers:FOLDER.")
        folder = Path(text).expanduser()
        if folder.is_dir():
            if not (folder / INDEX).is_file():
                raise UsageError(f"diffusers:{text} is no pipeline: there is no {INDEX} in that folder.")
            return cls(folder, str(folder), None)
        repository, _, revision = text.partition("@")
        if not _REPOSITORY.fullmatch(repository) or repository.endswith("/.."):
            raise UsageError(f"diffusers:{text}: there is no such folder, and a hub repository is named OWNER/NAME.")
        return cls(None, repository, revision or None)


def read_index(folder: Path) -> str:
    """The class of the pipeline in a folder, which may hold no code.

    Raises:
        WeightsError: its ``model_index.json`` is none.
        GenerationError: diffusers has no such class, or the pipeline brings code of its own.
    """
    name = _read_json(folder / INDEX).get("_class_name")
    if isinstance(name, list) or list(folder.glob("*.py")) or list(folder.glob("*/*.py")):
        raise GenerationError(f"The pipeline in {folder} brings code of its own, which is never run here.")
    if not isinstance(name, str):
        raise WeightsError(f"{folder / INDEX} names no class of pipelines.")
    names = class_names()
    if name not in names:
        raise GenerationError(
            f"The installed diffusers has no pipeline class {name!r:.80}, which {folder} is of."
            f"{did_you_mean(name, names)} Update it (pip install -U diffusers). Any other model runs as a "
            "program: --model command:..."
        )
    # Networks that only one family of pipelines has are named by its module; several share one safety checker.
    allowed = ("diffusers", "transformers", "stable_diffusion", *signature(name).module.split("/")[:-1])
    for component, (library, kind) in components(folder).items():
        if not component.isidentifier():
            raise WeightsError(f"{folder / INDEX} names a component {component!r:.80}, which is no name of a folder.")
        if library not in allowed:
            raise GenerationError(
                f"The component {component} in {folder} is a {kind} of {library!r}, which is code of its own or of "
                f"another library; components come from {', '.join(allowed)}."
            )
    return name


def components(folder: Path) -> dict[str, tuple[str, str]]:
    """Component to (library, class); those left out are not listed."""
    index = _read_json(folder / INDEX)
    return {
        name: (str(value[0]), str(value[1]))
        for name, value in index.items()
        if not name.startswith("_") and isinstance(value, list) and len(value) == 2 and value[0] is not None
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} is no JSON object.")
    return content


def cached_index(source: Source) -> Path | None:
    """The folder in the hub's cache that holds the pipeline's index, however much else is there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.repository, INDEX, revision=source.revision)
    return Path(found).parent if isinstance(found, str) else None


def snapshot(source: Source) -> Path | None:
    """The repository's folder in the hub's cache, or None when it is not there whole."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(source.repository, revision=source.revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return folder if (folder / INDEX).is_file() else None


def in_folders(source: Source, folders: Sequence[Path]) -> Path | None:
    """A folder called like the repository that holds a pipeline, or None."""
    names = (source.repository, Path(source.repository).name, source.repository.replace("/", "--"))
    places = (folder / name for folder in folders for name in names)
    return next((place for place in places if (place / INDEX).is_file()), None)


def sample_rate(rules: Rules, folder: Path | None) -> int:
    """Hz of the pipeline's sound: as its folder says, else that of the published checkpoints; 0 for a silent one.

    Raises:
        WeightsError: the folder's value is no rate.
        GenerationError: neither is known.
    """
    if rules.family == "t2v":
        return 0
    paths = [] if folder is None else [folder / component / "config.json" for component in _SOUND_PARTS]
    for path in paths:
        content = _read_json(path) if path.is_file() else {}
        key = next((key for key in _RATE_KEYS if key in content), None)
        if key is None:
            continue
        value = content[key]
        if not isinstance(value, int) or value <= 0:
            raise WeightsError(f"{path}: {key} is a sampling rate in Hz; got {value!r}.")
        return value
    if rules.known.sample_rate is None:
        raise GenerationError(
            f"{rules.name} makes sound, and no configuration of {', '.join(_SOUND_PARTS)} tells its sampling rate."
        )
    return rules.known.sample_rate


def named_like(folder: Path, kind: str) -> tuple[str, Checkpoint] | None:
    """The published repository of class `kind` whose copy a folder is by its name, or None."""
    return next(
        (
            (name, known)
            for name, known in REPOSITORIES.items()
            if known.kind == kind and Path(name).name == folder.name
        ),
        None,
    )
