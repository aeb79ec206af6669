"""UMT5-XXL as Wan2.1's authors publish it: one bfloat16 file of half the size, with names of their own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from javisbench.baselines.javisdit.checkpoints import library_module
from javisbench.errors import WeightsError
from javisbench.metrics.encoders.checkpoint import load_checkpoint, load_strict, without_values

_BLOCK = re.compile(r"^blocks\.(\d+)\.(.+)$")
# A block's tensor in the file, and in transformers' encoder behind ``encoder.block.N.layer.``.
_IN_BLOCK = {
    "norm1.weight": "0.layer_norm.weight",
    **{f"attn.{name}.weight": f"0.SelfAttention.{name}.weight" for name in "qkvo"},
    "pos_embedding.embedding.weight": "0.SelfAttention.relative_attention_bias.weight",
    "norm2.weight": "1.layer_norm.weight",
    "ffn.gate.0.weight": "1.DenseReluDense.wi_0.weight",
    "ffn.fc1.weight": "1.DenseReluDense.wi_1.weight",
    "ffn.fc2.weight": "1.DenseReluDense.wo.weight",
}
_OUTSIDE = {"token_embedding.weight": "shared.weight", "norm.weight": "encoder.final_layer_norm.weight"}


def wan_text_encoder(path: Path, dtype: torch.dtype) -> Any:
    """transformers' ``UMT5EncoderModel`` from the file; its numbers are those of the tensors' shapes.

    Args:
        path: ``models_t5_umt5-xxl-enc-bf16.pth``.
        dtype: to hold it in.

    Raises:
        WeightsError: the file holds another network.
        GenerationError: transformers is not installed.
    """
    state = renamed(load_checkpoint(path))
    library = library_module("transformers")
    try:
        config = library.UMT5Config(**_numbers(state))
    except KeyError as error:
        raise WeightsError(f"{path} does not hold Wan2.1's text encoder: {error.args[0]} lacks.") from error
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise WeightsError(f"{path} does not hold Wan2.1's text encoder: its tensors have other shapes.") from error
    with without_values():
        model = library.UMT5EncoderModel(config).to(dtype)
    # The embedding is one tensor under two names.
    state["encoder.embed_tokens.weight"] = state["shared.weight"]
    load_strict(model, state, what="Wan2.1's text encoder", path=path)
    model.tie_weights()
    return model.eval().requires_grad_(False)


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under transformers' names; what has none there keeps its own."""
    return {_name(name): tensor for name, tensor in state.items()}


def _name(name: str) -> str:
    block = _BLOCK.match(name)
    if block is not None and block[2] in _IN_BLOCK:
        return f"encoder.block.{block[1]}.layer.{_IN_BLOCK[block[2]]}"
    return _OUTSIDE.get(name, name)


def _numbers(state: dict[str, Tensor]) -> dict[str, int]:
    first = "encoder.block.0.layer."
    vocabulary, width = state["shared.weight"].shape
    buckets, heads = state[f"{first}0.SelfAttention.relative_attention_bias.weight"].shape
    layers = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("encoder.block."))
    if layers > len(state):
        # A name can promise any number of layers, and each would be built.
        raise KeyError(f"a layer of {layers:,}")
    return {
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": state[f"{first}0.SelfAttention.q.weight"].shape[0] // heads,
        "d_ff": state[f"{first}1.DenseReluDense.wi_1.weight"].shape[0],
        "num_heads": heads,
        "num_layers": layers,
        "relative_attention_num_buckets": buckets,
    }
