"""What encoders say of the memory of one input is what the tensors of a forward pass take, at official size."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from javisbench.metrics.encoders import clap, clip
from javisbench.metrics.encoders.audioclip import AudioCLIPEncoder
from javisbench.metrics.encoders.audioclip.network import ESResNeXt
from javisbench.metrics.encoders.batching import ACTIVATION_BYTES, inputs_within_bound
from javisbench.metrics.encoders.cavp import CAVPEncoder
from javisbench.metrics.encoders.cavp import network as cavp
from javisbench.metrics.encoders.i3d import I3DEncoder
from javisbench.metrics.encoders.i3d.network import I3D
from javisbench.metrics.encoders.i3d.preparation import network_input
from javisbench.metrics.encoders.imagebind import ImageBindEncoder
from javisbench.metrics.encoders.imagebind.config import CONFIGS
from javisbench.metrics.encoders.imagebind.network import ImageBindNetwork
from javisbench.metrics.encoders.synchformer import SynchformerEncoder
from javisbench.metrics.encoders.synchformer import network as synchformer

META = torch.device("meta")


class Peak(TorchDispatchMode):
    """The most bytes that tensors made inside hold at once; no numbers are computed."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in self._known:
                storage = tensor.untyped_storage()
                self._live[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._live = {place: held for place, held in self._live.items() if not held[0].expired()}
        self.bytes = max(self.bytes, sum(size for _, size in self._live.values()))
        return out


def pixels(*shape: int) -> Callable[[int], Tensor]:
    return lambda count: torch.empty(count, *shape, dtype=torch.uint8, device=META)


def numbers(*shape: int) -> Callable[[int], Tensor]:
    return lambda count: torch.empty(count, *shape, device=META)


def audioclip_network() -> nn.Module:
    network = ESResNeXt()
    network.fbsp._weights[torch.float64] = torch.empty(1025, 2048, 2, dtype=torch.float64, device=META)
    return network


def hear(network: Any, sounds: Tensor) -> Any:
    with mock.patch.object(torch, "autocast", lambda *_, **__: nullcontext()):  # which knows no such device
        return network(sounds, torch.float64)


def clip_image(network: Any, frames: Tensor) -> Any:
    return network.visual_projection(network.vision_model(pixel_values=clip.normalise(frames)).pooler_output)


def clap_sound(network: Any, mels: Tensor) -> Any:
    return network.audio_projection(network.audio_model(input_features=mels).pooler_output)


def huge() -> nn.Module:
    return ImageBindNetwork(CONFIGS["huge"])


def synchronous() -> nn.Module:
    return synchformer.Synchformer(synchformer.VARIANTS["full"])


def htsat() -> nn.Module:
    return clap.build_clap(clap.VARIANTS["htsat-unfused"])


def cavp_network() -> nn.Module:
    return cavp.CAVP(cavp.VARIANTS["full"])


CASES: dict[str, tuple[Any, Callable[[], Any], Callable[[Any, Tensor], Any], Callable[[int], Tensor]]] = {
    "imagebind crops": (ImageBindEncoder, huge, lambda n, x: n.embed_vision(x), numbers(3, 2, 224, 224)),
    "imagebind frames": (ImageBindEncoder, huge, lambda n, x: n.embed_vision(x), pixels(3, 224, 224)),
    "imagebind sounds": (ImageBindEncoder, huge, lambda n, x: n.embed_audio(x), numbers(1, 128, 204)),
    "i3d": (I3DEncoder, I3D, lambda n, x: n(network_input(x)), pixels(24, 3, 224, 224)),
    "audioclip": (AudioCLIPEncoder, audioclip_network, hear, numbers(4 * 44100)),
    "synchformer picture": (
        SynchformerEncoder, synchronous, lambda n, x: n.visual_features(x), numbers(3, 16, 224, 224),
    ),
    "synchformer sound": (SynchformerEncoder, synchronous, lambda n, x: n.audio_features(x), numbers(128, 66)),
    "clip": (clip.CLIPEncoder, lambda: clip.build_clip(clip.VARIANTS["vit-b-32"]), clip_image, pixels(3, 224, 224)),
    "clap": (clap.CLAPEncoder, htsat, clap_sound, numbers(1, 1001, 64)),
    "cavp picture": (CAVPEncoder, cavp_network, lambda n, x: n.embed_video(x), numbers(3, 40, 224, 224)),
    "cavp sound": (CAVPEncoder, cavp_network, lambda n, x: n.embed_audio(x), numbers(128, 256)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_an_input_takes_no_more_than_its_encoder_says(name: str) -> None:
    encoder, build, forward, inputs = CASES[name]
    with META:
        network = build().eval()
    taken = []
    for count in (1, 3):
        batch = inputs(count)
        with torch.inference_mode(), Peak([*network.parameters(), *network.buffers()]) as peak:
            forward(network, batch)
        taken.append(peak.bytes / count)
    assert max(taken) <= encoder.input_bytes
    if "sound" not in name and "frames" not in name:
        assert max(taken) > 0.9 * encoder.input_bytes, "what the largest network takes, no more"


def test_batches_fill_the_bound_and_hold_at_least_one_input() -> None:
    assert inputs_within_bound(ACTIVATION_BYTES // 3) == 3
    assert inputs_within_bound(2 * ACTIVATION_BYTES) == 1
