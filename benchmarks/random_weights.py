"""Networks of encoders and of JavisDiT with random weights, made where they are to compute.

Random weights cost what trained ones cost, and need no file. Functions that take networks do not look at their tensors:
those of `fake_device` serve as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from unittest import mock

import javisdit
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from javisbench.baselines.javisdit import pipeline, sound, stdit_pipeline, text_encoder, v10_pipeline
from javisbench.baselines.javisdit.options import Version
from javisbench.metrics.encoders import clap, clip
from javisbench.metrics.encoders.base import Encoder
from javisbench.metrics.encoders.network_encoder import NetworkEncoder
from javisbench.weights import WeightStore

# Where a checkpoint's names for a network begin with more than the network's own do.
_PREFIXES = {"audioclip": "audio."}


def network_of(encoder: Encoder, device: str | torch.device) -> nn.Module:
    """The network of an encoder's variant on a device, as its constructor leaves it."""
    with torch.device(device):
        if encoder.card.name == "clip":
            return clip.build_clip(clip.VARIANTS[encoder.variant])
        if encoder.card.name == "clap":
            return clap.build_clap(clap.VARIANTS[encoder.variant])
        assert isinstance(encoder, NetworkEncoder)
        return encoder._build()


@torch.no_grad()
def fill(network: nn.Module) -> nn.Module:
    """Random numbers that keep activations in range; tables of positions and running means stay as they are."""
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if name.endswith("text.mask"):
            tensor.copy_(torch.full_like(tensor, float("-inf")).triu(1))
        elif not isinstance(tensor, nn.Parameter) or name.endswith("rope.freqs"):
            continue
        elif tensor.ndim >= 2:
            tensor.normal_(std=max(1, tensor[0].numel()) ** -0.5)
        elif "fbsp" not in name:
            tensor.fill_(1.0 if name.endswith("weight") else 0.0)
    return network.eval().requires_grad_(False)


def checkpoint_of(encoder: Encoder, network: nn.Module) -> dict[str, Tensor]:
    """The network's tensors under the names of its checkpoint."""
    prefix = _PREFIXES.get(encoder.card.name, "")
    return {prefix + name: tensor for name, tensor in network.state_dict().items()}


def write_tokenizer(path: Path) -> None:
    """One token a character, as many as CLAP's vocabulary has room for."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({chr(code): code for code in range(32, 127)}, unk_token=" "))
    words.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    words.save(str(path))


def write_checkpoint(encoder: Encoder, path: Path, device: str) -> None:
    """A checkpoint of random numbers for the encoder's variant; of CLAP with a tokenizer beside it.

    Args:
        encoder: its variant decides.
        path: file (``.safetensors`` is written as such, all else as torch writes it).
        device: where the numbers are drawn.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    network = fill(network_of(encoder, device))
    state = {name: tensor.cpu().contiguous() for name, tensor in checkpoint_of(encoder, network).items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    if encoder.card.name == "clap":
        write_tokenizer(path.with_name("tokenizer.json"))


@contextmanager
def javisdit_without_files(
    version: Version, networks: Mapping[str, Callable[[], nn.Module]], folder: Path
) -> Iterator[WeightStore]:
    """Weights of JavisDiT that are taken from `networks` in place of files while inside; tokenizers alone are written.

    Args:
        version: of JavisDiT.
        networks: what gives the networks when they are read, by their places in the checkpoint folder, as
            `javisdit.networks` names them.
        folder: an empty one.
    """
    for name in networks:
        place = folder / name
        if place.suffix == ".safetensors":
            place.touch()
        else:
            place.mkdir(parents=True)
    javisdit.write_tokenizer(folder, version)

    def network_at(path: Path) -> nn.Module:
        name = str(path.relative_to(folder))
        return networks[name if name in networks else f"{name}/model"]()

    def read(path: Path) -> dict[str, Tensor]:
        return dict(network_at(path).state_dict())

    def from_library(library: str, name: str, path: Path, dtype: torch.dtype) -> nn.Module:
        network = network_at(path)
        assert type(network).__name__ == name
        return network.to(dtype).eval().requires_grad_(False)

    replaced: tuple[tuple[ModuleType, str, Callable[..., object]], ...] = (
        *((module, "from_library", from_library) for module in (sound, text_encoder, v10_pipeline)),
        *((module, "read_network", read) for module in (pipeline, stdit_pipeline)),
        (stdit_pipeline, "load_checkpoint", read),
    )
    with ExitStack() as stack:
        for module, name, function in replaced:
            stack.enter_context(mock.patch.object(module, name, function))
        yield WeightStore([folder], offline=True)
