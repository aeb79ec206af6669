"""Folders of diffusers pipelines: where they lie, which class they are of, and what they may not contain."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from javisbench.baselines.diffusers_table import PIPELINES, PipelineClass, known_classes
from javisbench.errors import GenerationError, UsageError, WeightsError
from javisbench.registry import did_you_mean

INDEX = "model_index.json"
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


def read_index(folder: Path) -> PipelineClass:
    """The known class of the pipeline in a folder.

    Raises:
        WeightsError: its ``model_index.json`` is none.
        GenerationError: the class is not known here, or the pipeline brings code of its own.
    """
    index = _read_json(folder / INDEX)
    name = index.get("_class_name")
    if isinstance(name, list) or list(folder.glob("*.py")) or list(folder.glob("*/*.py")):
        raise GenerationError(f"The pipeline in {folder} brings code of its own, which is never run here.")
    if not isinstance(name, str) or name not in PIPELINES:
        raise GenerationError(
            f"The pipeline class {name!r:.80} in {folder} is none that can be driven."
            f"{did_you_mean(str(name), PIPELINES)} Known: {known_classes()}. Any other model runs as a program: "
            "--model command:..."
        )
    rules = PIPELINES[name]
    allowed = ("diffusers", "transformers", *rules.own_modules)
    for component, (library, kind) in components(folder).items():
        if not component.isidentifier():
            raise WeightsError(f"{folder / INDEX} names a component {component!r:.80}, which is no name of a folder.")
        if library not in allowed:
            raise GenerationError(
                f"The component {component} in {folder} is a {kind} of {library!r}, which is code of its own or of "
                f"another library; components come from {', '.join(allowed)}."
            )
    return rules


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


def sample_rate(rules: PipelineClass, folder: Path | None) -> int:
    """Hz of the pipeline's sound: as its folder says, else that of the published checkpoints; 0 for a silent one.

    Raises:
        WeightsError: the folder's value is no rate.
    """
    if rules.rate is None:
        return 0
    path = None if folder is None else folder / rules.rate.path
    if path is None or not path.is_file():
        return rules.rate.usual
    value = _read_json(path).get(rules.rate.key, rules.rate.usual)
    if not isinstance(value, int) or value <= 0:
        raise WeightsError(f"{path}: {rules.rate.key} is a sampling rate in Hz; got {value!r}.")
    return value
