"""Prompts of a run for pipelines whose text encoder can be used by itself: encoded once, then the encoder is freed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.baselines.diffusers_models.loading import load_pipeline
from javisbench.baselines.prompt_store import Encode, PromptStore

if TYPE_CHECKING:
    from torch import Tensor

    from javisbench.baselines.diffusers_models.rules import Rules

log = logging.getLogger(__name__)

ENCODERS = "text_encoder"
TEXT_PARTS = (ENCODERS, "tokenizer")
_LENGTH = "_length"


def is_text_part(component: str) -> bool:
    """Whether a component reads prompts."""
    return component.startswith(TEXT_PARTS)


@dataclass(frozen=True)
class EncodedPrompts:
    """What a pipeline's text encoder makes of prompts, kept in a store.

    Attributes:
        rules: of the pipeline; `PipelineClass.encoded` names what its ``encode_prompt`` gives.
        folder: of the pipeline.
        types: see `component_types`.
        device: torch device of the encoder.
        arguments: of every call (``max_sequence_length`` of them is the encoder's, too).
        store: where encoded prompts are kept.
    """

    rules: Rules
    folder: Path
    types: Mapping[str, Any]
    device: str
    arguments: Mapping[str, Any]
    store: PromptStore

    def fill(self, texts: Sequence[str], negative: str | None) -> int:
        """Encode what the store lacks of `texts` and of the negative prompt (None: nothing is guided); how many."""
        return self.store.fill([*texts, *([] if negative is None else [negative])], self._encoder)

    def of(self, texts: Sequence[str], negative: str | None) -> dict[str, Any]:
        """The arguments of a call that stand for prompts and negative prompt."""
        import torch

        given: dict[str, Any] = {"prompt": None}
        wanted = {"": texts, **({} if negative is None else {"negative_": [negative] * len(texts)})}
        for prefix, lines in wanted.items():
            found = [self._read(text) for text in lines]
            for name in self.rules.known.encoded:
                given[f"{prefix}{name}"] = torch.cat([arrays[name] for arrays in found]).to(self.device)
        return given

    def _read(self, text: str) -> dict[str, Tensor]:
        arrays = self.store.read(text)
        if arrays is None:
            self.store.fill([text], self._encoder)
            arrays = self.store.read(text)
        assert arrays is not None, "what was just stored is there"
        return {name: _whole(arrays, name) for name in self.rules.known.encoded}

    def _encoder(self) -> Encode:
        parts = [name for name in self.rules.signature.parts if not is_text_part(name)]
        without = {name: None for name in parts if not self.rules.is_setting(name)}
        log.info("reading the text encoder of %s", self.folder)
        pipeline = load_pipeline(self.rules, self.folder, self.types, without)
        pipeline.to(self.device)
        length = self.arguments.get("max_sequence_length")
        if length is None and "max_sequence_length" in self.rules.signature.call:
            length = self.rules.signature.call["max_sequence_length"].default
        given = {} if length is None else {"max_sequence_length": length}

        def encode(text: str) -> dict[str, Tensor]:
            import torch

            with torch.no_grad():
                found = pipeline.encode_prompt(
                    prompt=[text], do_classifier_free_guidance=False, device=torch.device(self.device), **given
                )
            # Positive parts come first.
            return {
                key: tensor
                for name, whole in zip(self.rules.known.encoded, found, strict=False)
                for key, tensor in _trimmed(name, whole).items()
            }

        return encode


def _trimmed(name: str, whole: Tensor) -> dict[str, Tensor]:
    """Without the rows of zeros behind a prompt, which are most of what a file would hold."""
    import torch

    rows = whole[0].reshape(whole.shape[1], -1).ne(0).any(1).nonzero()
    used = 1 + int(rows.max()) if len(rows) else 0
    return {name: whole[:, :used].clone(), f"{name}{_LENGTH}": torch.tensor([whole.shape[1]])}


def _whole(arrays: Mapping[str, Tensor], name: str) -> Tensor:
    used = arrays[name]
    lacking = int(arrays[f"{name}{_LENGTH}"]) - used.shape[1]
    return used if not lacking else _with_zeros(used, lacking)


def _with_zeros(used: Tensor, rows: int) -> Tensor:
    import torch

    return torch.cat([used, used.new_zeros((1, rows, *used.shape[2:]))], 1)
