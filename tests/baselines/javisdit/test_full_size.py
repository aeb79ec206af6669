"""Names and shapes of the full-size networks, on the meta device, against those of the reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from javisbench.baselines.javisdit.config import FactorisedNetworkConfig, JointNetworkConfig, TemporalVAEConfig
from javisbench.baselines.javisdit.sampler import Setting
from javisbench.baselines.javisdit.temporal_vae import ENCODER_TENSORS, TemporalDecoding
from javisbench.baselines.javisdit.v01_network import FactorisedDiT
from javisbench.baselines.javisdit.v10_network import JointDiT


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
    _, shapes = full("v01_temporal_vae")
    with torch.device("meta"):
        built = TemporalDecoding(TemporalVAEConfig())
    wanted = {name: shape for name, shape in shapes.items() if not f"temporal_vae.{name}".startswith(ENCODER_TENSORS)}
    assert {tensor: tuple(value.shape) for tensor, value in built.state_dict().items()} == wanted


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
