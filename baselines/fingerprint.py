"""What the files of a generator hold: hashes that decide, with its parameters, whether two clips are of one model."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from javisbench.baselines.base import Generator
    from javisbench.weights import WeightStore

Hashes: TypeAlias = Mapping[str, Mapping[str, str]]
"""Component to its files (relative names) to their SHA-256."""

_READ_BY_LIBRARIES = (".safetensors", ".bin", ".pt", ".pth", ".json", ".model", ".txt")


def library_files(folder: Path) -> tuple[Path, ...]:
    """The files that diffusers or transformers may read in a component's folder: weights, settings and vocabularies.

    What a download leaves beside them (licences, pictures, records in hidden folders) is not among them. Empty where
    there is no such folder: what needs it says so when it is read.
    """
    if not folder.is_dir():
        return ()
    found = (path for path in folder.iterdir() if path.suffix in _READ_BY_LIBRARIES and not path.name.startswith("."))
    return tuple(sorted(path for path in found if path.is_file()))


def deciding_files(generator: Generator, weights: WeightStore) -> dict[str, tuple[Path, ...]]:
    """`Generator.files`, and for a class from outside this package the file that it stands in.

    Raises:
        MissingWeightsError: the weights are not on this machine.
    """
    files = dict(generator.files(weights))
    module = type(generator).__module__
    source = getattr(sys.modules.get(module), "__file__", None)
    if source is not None and module.partition(".")[0] != "javisbench" and Path(source).is_file():
        files["class"] = (Path(source),)
    return files


def hash_files(files: Mapping[str, Sequence[Path]], weights: WeightStore) -> dict[str, dict[str, str]]:
    """The hashes of every component's files, which are named from the folder that they share."""
    return {component: _hashes(paths, weights) for component, paths in files.items()}


def unread_bytes(files: Mapping[str, Sequence[Path]], weights: WeightStore) -> int:
    """Bytes that `hash_files` has to read because nobody hashed them before."""
    paths = {path for component in files.values() for path in component}
    return sum(path.stat().st_size for path in paths if not weights.hashes.knows(path))


def content(hashes: Hashes) -> dict[str, list[str]]:
    """Component to the hashes of its files in order, whatever the files are called and wherever they lie."""
    return {component: sorted(files.values()) for component, files in sorted(hashes.items())}


def difference(recorded: Hashes, found: Hashes) -> list[str]:
    """The components whose content is not the same, with the files that differ: ``network (model.safetensors)``."""
    before, now = content(recorded), content(found)
    return [
        f"{component} ({_differing(recorded.get(component, {}), found.get(component, {}))})"
        for component in {**now, **before}
        if before.get(component) != now.get(component)
    ]


def _differing(recorded: Mapping[str, str], found: Mapping[str, str]) -> str:
    if not recorded:
        return "not recorded"
    if not found:
        return "no longer used"
    names = [name for name, digest in found.items() if digest not in recorded.values()]
    gone = [name for name, digest in recorded.items() if digest not in found.values() and name not in names]
    told = [*names, *(f"{name}, which is gone" for name in gone if name not in found)]
    return ", ".join(told) or "another number of equal files"


def _hashes(paths: Sequence[Path], weights: WeightStore) -> dict[str, str]:
    base = _shared_folder(paths)
    return {path.relative_to(base).as_posix(): weights.sha256(path) for path in paths}


def _shared_folder(paths: Sequence[Path]) -> Path:
    base = paths[0].parent
    while not all(path.is_relative_to(base) for path in paths):
        base = base.parent
    return base
