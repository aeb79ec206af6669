"""`PromptStore`: what text encoders make of a run's prompts, encoded once and kept.

Text encoders are the largest networks of many models and the least used. With a store a model encodes all prompts of a
run before its first clip (`Generator.prepare`), frees the encoder, and goes on from the stored arrays: after a kill
nothing is encoded again, and a clip's numbers do not depend on which prompts were encoded beside its own.

    store = PromptStore(self.prompt_folder, {"encoder": "T5", "files": hashes, "dtype": "bfloat16"})
    store.fill(texts, load_encoder)   # load_encoder() -> function of one text -> {name: tensor}; called if any lacks
    arrays = store.read(text)         # {name: tensor}, on the CPU
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from javisbench.durable import atomic_path

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

Arrays: TypeAlias = "Mapping[str, Tensor]"
Encode: TypeAlias = Callable[[str], Arrays]

_PROMPTS_A_FILE = 64
_KEPT_IN_MEMORY = 1024
_SUFFIX = ".safetensors"


class PromptStore:
    """Named tensors by prompt, in files of a folder or, without one, in memory.

    Several stores may share a folder: an entry is keyed by `identity` and text together. Files hold up to 64 prompts
    and are written whole or not at all; a damaged entry counts as lacking.

    Args:
        folder: made when first written to; None keeps the latest 1,024 prompts in memory.
        identity: JSON-able facts that decide what a text is encoded to: hashes of the encoder's and the tokenizer's
            files, precision, length.
    """

    def __init__(self, folder: Path | None, identity: Any) -> None:
        self._folder = folder
        self._identity = json.dumps(identity, sort_keys=True, default=str)
        self._memory: dict[str, dict[str, Tensor]] = {}
        self._files: dict[str, Path] = {}
        if folder is not None and folder.is_dir():
            # The newest last: it may hold anew what is damaged in an older one.
            for path in sorted(folder.glob(f"*{_SUFFIX}"), key=lambda file: (file.stat().st_mtime_ns, file.name)):
                self._note(path)

    def lacking(self, texts: Iterable[str]) -> list[str]:
        """Those of `texts` that are not stored, each once, in their order."""
        known = self._memory if self._folder is None else self._files
        return [text for text in dict.fromkeys(texts) if self._key(text) not in known]

    def read(self, text: str) -> dict[str, Tensor] | None:
        """What a text was encoded to, on the CPU, in the precision it was written in; None when it lacks."""
        key = self._key(text)
        if self._folder is None:
            return self._memory.get(key)
        path = self._files.get(key)
        arrays = None if path is None else _read(path, key)
        if path is not None and arrays is None:
            log.warning("%s: a stored prompt is damaged and is encoded again", path)
            del self._files[key]
        return arrays

    def write(self, encoded: Mapping[str, Arrays]) -> None:
        """Store what texts were encoded to.

        Raises:
            RunError: the folder cannot be written.
        """
        arrays = {
            self._key(text): {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
            for text, named in encoded.items()
        }
        if self._folder is None:
            if len(self._memory) + len(arrays) > _KEPT_IN_MEMORY:
                self._memory.clear()
            self._memory.update(arrays)
        elif arrays:
            path = self._folder / f"{hashlib.sha256(''.join(sorted(arrays)).encode()).hexdigest()[:32]}{_SUFFIX}"
            _write(path, arrays)
            self._files.update(dict.fromkeys(arrays, path))

    def fill(self, texts: Iterable[str], encoder: Callable[[], Encode]) -> int:
        """Encode and store what lacks, text by text.

        Args:
            texts: as the encoder reads them.
            encoder: loads it; called only when a text lacks, and what it gives is let go of before this returns.

        Returns:
            How many texts were encoded.
        """
        new = self.lacking(texts)
        if not new:
            return 0
        encode = encoder()
        for start in range(0, len(new), _PROMPTS_A_FILE):
            self.write({text: encode(text) for text in new[start : start + _PROMPTS_A_FILE]})
            log.info("%d of %d prompts are encoded", min(start + _PROMPTS_A_FILE, len(new)), len(new))
        return len(new)

    def _key(self, text: str) -> str:
        return hashlib.sha256(f"{self._identity}\n{text}".encode()).hexdigest()[:32]

    def _note(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                self._files.update(dict.fromkeys(file.metadata() or {}, path))
        except (OSError, SafetensorError) as error:
            log.warning("%s holds no prompts that can be read (%s); they are encoded again", path, error)


def _write(path: Path, arrays: Mapping[str, Mapping[str, Tensor]]) -> None:
    from safetensors.torch import save_file

    tensors = {f"{key}.{name}": tensor for key, named in arrays.items() for name, tensor in named.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={key: _digest(named) for key, named in arrays.items()})


def _read(path: Path, key: str) -> dict[str, Tensor] | None:
    """One prompt's tensors; None when the file is damaged or another than was written."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            digest = (file.metadata() or {}).get(key)
            names = [name for name in file.keys() if name.partition(".")[0] == key]  # noqa: SIM118 - it is no mapping
            arrays = {name.partition(".")[2]: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError):
        return None
    return arrays if digest == _digest(arrays) else None


def _digest(arrays: Mapping[str, Tensor]) -> str:
    import torch

    content = hashlib.sha256()
    for name, tensor in sorted(arrays.items()):
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        content.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return content.hexdigest()
