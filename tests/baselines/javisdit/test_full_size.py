"""Names and shapes of the full-size networks, on the meta device, against those of the reference."""

from __future__ import annotations

import pytest
import torch

from javisbench.baselines.javisdit.config import FactorisedNetworkConfig, JointNetworkConfig, TemporalVAEConfig
from javisbench.baselines.javisdit.temporal_vae import UNUSED_TENSORS, TemporalVAE
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


@pytest.mark.parametrize(
    ("name", "network", "config"),
    [
        ("v10_wan_t2av", JointDiT, JointNetworkConfig),
        ("v01_vastdit3_xl2", FactorisedDiT, FactorisedNetworkConfig),
    ],
)
def test_networks(full, name, network, config):
    entry, shapes = full(name)
    with torch.device("meta"):
        built = network(config())
    assert {tensor: tuple(value.shape) for tensor, value in built.state_dict().items()} == shapes
    assert len(shapes) == entry["tensors"]
    assert sum(p.numel() for p in built.parameters()) == entry["params"]


def test_temporal_vae(full):
    _, shapes = full("v01_temporal_vae")
    with torch.device("meta"):
        built = TemporalVAE(TemporalVAEConfig())
    wanted = {name: shape for name, shape in shapes.items() if not f"temporal_vae.{name}".startswith(UNUSED_TENSORS)}
    assert {tensor: tuple(value.shape) for tensor, value in built.state_dict().items()} == wanted
