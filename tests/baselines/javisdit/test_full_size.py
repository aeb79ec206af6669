"""Names and shapes of the full-size networks, on the meta device, against those of the reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from javisbench.baselines.javisdit.config import (
    FactorisedNetworkConfig,
    JointNetworkConfig,
    SpatialVAEConfig,
    TemporalVAEConfig,
    VideoNetworkConfig,
)
from javisbench.baselines.javisdit.sampler import Setting
from javisbench.baselines.javisdit.stdit import VideoDiT
from javisbench.baselines.javisdit.temporal_vae import (
    DECODER_TENSORS,
    ENCODER_TENSORS,
    SpatialVAE,
    TemporalDecoding,
    TemporalEncoding,
)
from javisbench.baselines.javisdit.v01_network import FactorisedDiT
from javisbench.baselines.javisdit.v10_network import JointDiT
from javisbench.cards import read_cards


@pytest.fixture
def full(spec):
    def expanded(name):
        entry = spec("full_shapes")[name]
        return entry, {
            tensor.replace("{i}", str(layer)): tuple(shape)
            for tensor, shape in entry["state"].items()
            for layer in range(entry["depth"])
        }

    return expanded


@pytest.fixture(scope="module")
def networks():
    with torch.device("meta"):
        return {
            "v10_wan_t2av": JointDiT(JointNetworkConfig()),
            "v01_vastdit3_xl2": FactorisedDiT(FactorisedNetworkConfig()),
        }


@pytest.mark.parametrize("name", ["v10_wan_t2av", "v01_vastdit3_xl2"])
def test_networks(full, networks, name):
    entry, shapes = full(name)
    built = networks[name]
    assert {tensor: tuple(value.shape) for tensor, value in built.state_dict().items()} == shapes
    assert len(shapes) == entry["tensors"]
    assert sum(p.numel() for p in built.parameters()) == entry["params"]


def test_temporal_vae(full):
    """Both halves together are the official file's tensors, and neither has one of the other's."""
    entry, shapes = full("v01_temporal_vae")
    with torch.device("meta"):
        halves = TemporalEncoding(TemporalVAEConfig()), TemporalDecoding(TemporalVAEConfig())
    states = [{name: tuple(tensor.shape) for name, tensor in half.state_dict().items()} for half in halves]
    assert states[0] | states[1] == shapes
    assert len(states[0]) + len(states[1]) == entry["tensors"]
    for state, others in zip(states, (DECODER_TENSORS, ENCODER_TENSORS), strict=True):
        left = {name for name in shapes if not f"temporal_vae.{name}".startswith(others)}
        assert left == state.keys()


def test_the_image_vae_s_halves_are_those_of_the_one_file():
    """diffusers' class at official size: halves and wholes have the same names and shapes."""
    from diffusers import AutoencoderKL

    config = SpatialVAEConfig()
    levels = len(config.widths)
    with torch.device("meta"):
        whole = AutoencoderKL(
            block_out_channels=config.widths,
            layers_per_block=config.blocks,
            latent_channels=config.channels,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
        )
        halves = SpatialVAE(config, "encoder"), SpatialVAE(config, "decoder")
    found = {name: tensor.shape for half in halves for name, tensor in half.module.state_dict().items()}
    assert found == {name: tensor.shape for name, tensor in whole.state_dict().items()}


def test_opensora_has_the_names_of_v01_s_video_branch(full, networks):
    _, shapes = full("v01_vastdit3_xl2")
    with torch.device("meta"):
        built = VideoDiT(VideoNetworkConfig())
    own = {name: tuple(tensor.shape) for name, tensor in built.state_dict().items()}
    # What v0.1 added: the sound, priors and what joins them.
    added = ("a", "st_t_block.", "st_prior_embedder.", "video_st_prior_blocks.", "va_cross_blocks.")
    assert own == {name: shape for name, shape in shapes.items() if not name.startswith(added)}
    assert sum(p.numel() for p in built.parameters()) == read_cards("models")["opensora"]["parameters"]


def test_official_latents_pass_through_full_width():
    """Shapes of the published 240p settings, without computing: 6,885 + 416 tokens; 30 x 405 and 28 x 16 tokens."""
    with torch.device("meta"):
        joint = JointDiT(replace(JointNetworkConfig(), layers=1))
        factorised = FactorisedDiT(replace(FactorisedNetworkConfig(), layers=1))
        video, audio = torch.empty(2, 16, 17, 30, 54), torch.empty(2, 8, 104, 16)
        out = joint(video, audio, torch.empty(2, 512, 4096), torch.empty(2))
        assert (out[0].shape, out[1].shape) == (video.shape, audio.shape)
        video, audio = torch.empty(2, 4, 30, 30, 53), torch.empty(2, 8, 112, 16)
        priors = torch.empty(2, 32, 128), torch.empty(2, 32, 128)
        out = factorised(
            video,
            audio,
            torch.empty(2, 40, 4096),
            None,
            *priors,
            torch.empty(2),
            fps=24.0,
            setting=Setting(240, 426, 102),
        )
        assert (out[0].shape, out[1].shape) == (video.shape, audio.shape)
