"""SHA-256 of the files of a result's clips: whether two results are of the same clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

from javisbench.media.source import SIDECAR_SUFFIXES, VIDEO_SUFFIXES
from javisbench.places import held
from javisbench.results.checked_json import Checker
from javisbench.weights.hashes import SHA256, file_sha256

if TYPE_CHECKING:
    from javisbench.results.run_folder import StoredResult

PACKED = "clips.json"
"""Where an archive keeps them."""


def clip_hashes(result: StoredResult) -> dict[str, str]:
    """Name to SHA-256 of every clip file that lies with a result, or of those that its archive tells; else empty.

    Raises:
        RunError: the archive's list is none.
    """
    hashes: dict[str, str] = {}
    if result.clips is not None and result.clips.is_dir():
        for path in sorted(result.clips.iterdir()):
            if path.is_file() and path.suffix.lower() in (*VIDEO_SUFFIXES, *SIDECAR_SUFFIXES):
                with held(path) as here:
                    hashes[path.name] = file_sha256(here)
    elif result.folder is not None and (result.folder / PACKED).is_file():
        check = Checker(str(result.folder / PACKED))
        for name, digest in check.read(result.folder / PACKED).items():
            if not SHA256.fullmatch(check.string(digest, name[:80], 64)):
                check.fail(name[:80], "is no SHA-256")
            hashes[name] = digest
    return hashes
