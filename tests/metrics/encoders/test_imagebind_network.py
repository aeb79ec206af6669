"""ImageBind's networks: names, shapes, a full-size forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from javisbench.metrics.encoders.imagebind.config import CONFIGS
from javisbench.metrics.encoders.imagebind.network import ImageBindNetwork
from javisbench.metrics.encoders.imagebind.preprocessing import normalise


@pytest.mark.parametrize("variant", ["huge", "tiny"])
def test_names_and_shapes_of_the_checkpoint(golden_json: Callable[[str], Any], variant: str) -> None:
    stored = golden_json(f"statedict_imagebind_{variant}")["tensors"]
    with torch.device("meta"):
        state = ImageBindNetwork(CONFIGS[variant]).state_dict()
    ours = {name: [list(tensor.shape), str(tensor.dtype).removeprefix("torch.")] for name, tensor in state.items()}
    assert ours == stored


@pytest.mark.parametrize("variant", ["huge", "tiny"])
def test_sizes_are_all_that_differs(golden_json: Callable[[str], Any], variant: str) -> None:
    stored, config = golden_json(f"statedict_imagebind_{variant}")["config"], CONFIGS[variant]
    assert config.embedding == stored["out_embed_dim"]
    for name in ("vision", "audio", "text", "depth", "thermal", "imu"):
        tower = getattr(config, name)
        assert tower.width == stored[f"{name}_embed_dim"]
        assert tower.blocks == stored[f"{name}_num_blocks"]
        assert tower.heads == stored[f"{name}_num_heads"]
        assert tower.width % tower.heads == 0


def fill(module: torch.nn.Module, seed: int) -> None:
    noise = torch.empty(2**20).uniform_(-1, 1, generator=torch.Generator().manual_seed(seed))
    for name, tensor in module.state_dict().items():
        if name.endswith("text.mask"):
            tensor.copy_(torch.full_like(tensor, -math.inf).triu(1))
        elif tensor.ndim > 1:
            # The same million numbers over and over: drawing 700 million takes longer than the forward pass.
            for part in tensor.view(-1).split(len(noise)):
                part.copy_(noise[: len(part)]).mul_(math.sqrt(3 / tensor[0].numel()))
        else:
            tensor.fill_(1.0 if name.endswith("weight") else 0.0)


@pytest.mark.slow
def test_huge_runs_on_a_frame_and_a_mel() -> None:
    with torch.device("meta"):
        network = ImageBindNetwork(CONFIGS["huge"])
    network.drop_unused()
    for part in network.children():
        del part["text"]  # type: ignore[operator]  # 1.2 GB that neither input needs
    network.to_empty(device="cpu").eval()
    with torch.inference_mode():
        fill(network, 0)
        frame, mel = torch.randint(256, (1, 3, 224, 224), dtype=torch.uint8), torch.randn(1, 1, 128, 204)
        vision, audio = network.embed_vision(frame), network.embed_audio(mel)
    assert vision.shape == audio.shape == (1, 1024)
    assert vision.norm().item() == pytest.approx(1.0, abs=1e-5)
    assert audio.isfinite().all() and audio.std() > 0


@pytest.fixture(scope="module")
def tiny() -> ImageBindNetwork:
    network = ImageBindNetwork(CONFIGS["tiny"]).eval().requires_grad_(False)
    network.drop_unused()
    fill(network, 1)
    return network


def test_a_still_is_a_clip_of_two_equal_frames(tiny: ImageBindNetwork) -> None:
    pixels = torch.randint(256, (3, 3, 224, 224), dtype=torch.uint8)
    frames = normalise(pixels / 255)
    twice = torch.stack([frames, frames], dim=2)
    torch.testing.assert_close(tiny.embed_vision(pixels), tiny.embed_vision(twice), rtol=0, atol=1e-6)
    moved = torch.stack([frames, frames.roll(9, -1)], dim=2)
    assert (tiny.embed_vision(twice) - tiny.embed_vision(moved)).abs().max() > 1e-3


def test_text_after_the_pooled_position_is_not_seen(tiny: ImageBindNetwork) -> None:
    ids = torch.zeros(2, 77, dtype=torch.int64)
    ids[:, :4] = torch.tensor([49406, 500, 600, 49407])
    ids[1, 4:] = 77
    first, second = tiny.embed_text(ids)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-5)
    ids[1, 2] = 601
    assert (tiny.embed_text(ids)[1] - first).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["vision", "audio"])
def test_the_last_block_may_leave_out_what_nobody_reads(tiny: ImageBindNetwork, name: str) -> None:
    trunk = tiny.modality_trunks[name]
    tokens = torch.randn(3, 20, getattr(CONFIGS["tiny"], name).width)
    whole, first = trunk(tokens), trunk(tokens, first_only=True)
    assert first.shape[1] == 1
    torch.testing.assert_close(first[:, 0], whole[:, 0], rtol=0, atol=1e-5)


def test_unused_towers_go(tiny: ImageBindNetwork) -> None:
    assert {name.split(".")[1] for name in tiny.state_dict()} == {"vision", "audio", "text"}
