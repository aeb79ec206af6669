"""Networks with the reference's stand-in weights, and golden arrays as tensors."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from javisbench.baselines.javisdit.config import FactorisedNetworkConfig, JointNetworkConfig
from javisbench.baselines.javisdit.v01_network import FactorisedDiT
from javisbench.baselines.javisdit.v10_network import JointDiT


@pytest.fixture(autouse=True)
def _no_gradients() -> Any:
    with torch.no_grad():
        yield


@pytest.fixture
def tensors(golden_npz: Callable[[str], dict[str, np.ndarray]]) -> Callable[[str], dict[str, Tensor]]:
    return lambda name: {key: torch.from_numpy(value) for key, value in golden_npz(f"javisdit/{name}").items()}


@pytest.fixture
def spec(golden_json: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda name: golden_json(f"javisdit/{name}")


@pytest.fixture
def fill(javisdit_seeded: ModuleType) -> Callable[..., nn.Module]:
    """Load the stand-in weights of a golden spec, strictly, or those of another seed."""

    def load(
        network: nn.Module, spec: Mapping[str, Any], kept: Mapping[str, Tensor], seed: int | None = None
    ) -> nn.Module:
        given = dict(spec) if seed is None else {**spec, "weight_seed": seed}
        state = {name: torch.from_numpy(array) for name, array in javisdit_seeded.seeded(given).items()}
        network.load_state_dict({**state, **kept}, strict=True)
        return network.eval()

    return load


def joint_config(numbers: Mapping[str, Any]) -> JointNetworkConfig:
    return JointNetworkConfig(
        dim=numbers["dim"],
        ffn_dim=numbers["ffn_dim"],
        heads=numbers["num_heads"],
        layers=numbers["num_layers"],
        freq_dim=numbers["freq_dim"],
        text_dim=numbers["text_dim"],
    )


def factorised_config(numbers: Mapping[str, Any]) -> FactorisedNetworkConfig:
    return FactorisedNetworkConfig(
        dim=numbers["hidden_size"],
        heads=numbers["num_heads"],
        layers=numbers["depth"],
        text_dim=numbers["caption_channels"],
        text_length=numbers["model_max_length"],
        spatial_priors=numbers["spatial_prior_len"],
        temporal_priors=numbers["temporal_prior_len"],
        prior_dim=numbers["st_prior_channel"],
    )


@pytest.fixture
def joint(spec: Callable[[str], Any], fill: Callable[..., JointDiT]) -> Callable[..., JointDiT]:
    """v1.0's network with the golden weights (or another seed's)."""
    golden = spec("v10_wan_t2av")
    return lambda seed=None: fill(JointDiT(joint_config(golden["config"])), golden, {}, seed)


@pytest.fixture
def factorised(
    spec: Callable[[str], Any], fill: Callable[..., FactorisedDiT], tensors: Callable[[str], dict[str, Tensor]]
) -> Callable[..., FactorisedDiT]:
    """v0.1's network with the golden weights (or another seed's)."""
    golden = spec("v01_vastdit3")
    kept = {"rope.freqs": tensors("v01_vastdit3")["state.rope.freqs"]}
    return lambda seed=None: fill(FactorisedDiT(factorised_config(golden["config"])), golden, kept, seed)


@pytest.fixture
def difference() -> Callable[[Tensor, Tensor], float]:
    """Largest absolute difference of two tensors of one shape."""

    def largest(a: Tensor, b: Tensor) -> float:
        assert a.shape == b.shape
        return float((a.double() - b.double()).abs().max())

    return largest


@pytest.fixture
def module_outputs() -> Callable[[nn.Module], dict[str, Any]]:
    """Record the first output of every submodule of a network, by name."""

    def record(network: nn.Module) -> dict[str, Any]:
        outputs: dict[str, Any] = {}
        for name, module in network.named_modules():

            def hook(_module: nn.Module, _inputs: Any, output: Any, name: str = name) -> None:
                outputs.setdefault(name, output)

            module.register_forward_hook(hook)
        return outputs

    return record


@pytest.fixture(scope="session")
def write_tiny() -> Callable[..., Path]:
    """Write a tiny seeded checkpoint folder: ``write_tiny(folder, version)`` gives its configuration's path."""
    path = Path(__file__).parent / "tiny_checkpoint.py"
    found = importlib.util.spec_from_file_location("tiny_checkpoint", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    write: Callable[..., Path] = module.write_tiny
    return write


@pytest.fixture(scope="session")
def tiny(write_tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder with tiny checkpoints of both versions and of OpenSora."""
    folder = tmp_path_factory.mktemp("weights")
    for version in ("v1.0", "v0.1", "opensora"):
        write_tiny(folder, version)
    return folder
