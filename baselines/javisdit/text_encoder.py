"""Prompts to text states: T5-XXL (v0.1) and UMT5-XXL (v1.0) from transformers, one prompt at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from javisbench.baselines.javisdit.checkpoints import from_library, library_module
from javisbench.baselines.javisdit.wan_text_encoder import wan_text_encoder
from javisbench.errors import WeightsError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Encoded:
    """A prompt as the network reads it.

    Attributes:
        states: of the prompt's tokens alone, without padding, on the CPU ``(tokens, dim)``.
        truncated: tokens of the prompt that did not fit.
    """

    states: Tensor
    truncated: int

    @classmethod
    def of(cls, arrays: Mapping[str, Tensor]) -> Encoded:
        """From `arrays`."""
        return cls(arrays["states"], int(arrays["truncated"]))

    @property
    def arrays(self) -> dict[str, Tensor]:
        """As named tensors, for a `PromptStore`."""
        return {"states": self.states, "truncated": torch.tensor(self.truncated)}

    def padded(self, length: int) -> Tensor:
        """The states with zeros behind, ``(length, dim)``."""
        return torch.nn.functional.pad(self.states, (0, 0, 0, length - len(self.states)))


def text_encoder(
    name: str, encoder: Path, tokenizer: Path, length: int, device: str, dtype: torch.dtype
) -> Callable[[str], Encoded]:
    """Load a text encoder; what is returned encodes one prompt, and holds the encoder as long as it lives.

    Prompts go through one by one, padded to `length` with the padding masked, so that no prompt's states depend on
    the others.

    Args:
        name: the encoder's class in transformers.
        encoder: its folder; or Wan2.1's one file of it.
        tokenizer: the tokenizer's folder.
        length: tokens of a prompt, the end token included.
        device: to compute on.
        dtype: to compute in.
    """
    words = _tokenizer(tokenizer)
    if encoder.is_file():
        model = wan_text_encoder(encoder, dtype).to(device)
    else:
        model = from_library("transformers", name, encoder, dtype).to(device)
    return lambda prompt: _encode(prompt, words, model, length, device)


def _encode(prompt: str, tokenizer: PreTrainedTokenizerBase, model: Any, length: int, device: str) -> Encoded:
    tokens = tokenizer(prompt, max_length=length, padding="max_length", truncation=True, return_tensors="pt")
    ids, mask = tokens["input_ids"].to(device), tokens["attention_mask"].to(device)
    with torch.no_grad():
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state[0]
    whole = len(tokenizer(prompt, truncation=False)["input_ids"])
    return Encoded(states[: int(mask.sum())].cpu(), max(0, whole - length))


def _tokenizer(folder: Path) -> Any:
    try:
        return library_module("transformers").AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise WeightsError(
            f"The tokenizer in {folder} does not load: {error}. A folder with spiece.model alone needs the packages "
            f"sentencepiece and protobuf."
        ) from error
