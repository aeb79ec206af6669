"""The HiST-Sypo prior estimator and its text tower against the reference (stand-in weights, seed 7)."""

from __future__ import annotations

import pytest
import torch

from javisbench.baselines.javisdit.config import PriorConfig, PriorTextConfig
from javisbench.baselines.javisdit.prior import PriorEstimator, PriorText
from javisbench.metrics.encoders.checkpoint import load_strict

# The prototype agreed exactly; room for other processors' kernels.
CLOSE = 1e-5


@pytest.fixture
def state(spec, javisdit_seeded):
    arrays = javisdit_seeded.seeded(spec("v01_prior"))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.fixture
def text_tower(spec, state, tmp_path):
    numbers = spec("v01_prior")["imagebind_text"]
    tower = PriorText(PriorTextConfig(dim=numbers["width"], layers=numbers["layers"], heads=numbers["heads"]))
    causal = torch.full((77, 77), float("-inf")).triu(1)
    part = "text_encoder."
    text = {name.removeprefix(part): tensor for name, tensor in state.items() if name.startswith(part)}
    text["modality_preprocessors.text.mask"] = causal
    ignored = ("modality_heads.", "modality_postprocessors.")
    load_strict(tower, text, what="the text tower", path=tmp_path, ignore=ignored)
    return tower.eval()


@pytest.fixture
def estimator(spec, state, tmp_path):
    numbers = spec("v01_prior")["config"]
    module = PriorEstimator(
        PriorConfig(
            text_dim=numbers["text_emb_dim"],
            dim=numbers["hidden_size"],
            prior_dim=numbers["out_dim"],
            heads=numbers["nhead"],
            encoder_layers=numbers["num_encoder_layers"],
            decoder_layers=numbers["num_decoder_layers"],
            ffn_ratio=numbers["feedforward_scale"],
            spatial_priors=numbers["spatial_token_num"],
            temporal_priors=numbers["temporal_token_num"],
        )
    )
    load_strict(module, state, what="the prior", path=tmp_path, ignore=("text_encoder.",))
    return module.eval()


def test_text_states_equal_the_reference(tensors, text_tower, difference):
    golden = tensors("v01_prior")
    assert difference(text_tower(golden["tokens"]), golden["text_hidden"]) < CLOSE


def test_prior_equals_the_reference(tensors, estimator, difference):
    golden = tensors("v01_prior")
    mean, log_variance = estimator(golden["text_hidden"])
    assert difference(mean, golden["mean"]) < CLOSE
    assert difference(log_variance, golden["logvar"]) < CLOSE
    spatial, temporal = estimator.draw(golden["text_hidden"], golden["noise"])
    assert difference(spatial, golden["spatial_prior"]) < CLOSE
    assert difference(temporal, golden["temporal_prior"]) < CLOSE


def test_no_noise_gives_the_mean(tensors, estimator, difference):
    golden = tensors("v01_prior")
    spatial, temporal = estimator.draw(golden["text_hidden"], torch.zeros_like(golden["noise"]))
    assert difference(torch.cat([spatial, temporal], dim=1), golden["mean"]) < CLOSE
    assert spatial.shape[1] == 4
    assert temporal.shape[1] == 3


def test_full_size_numbers():
    with torch.device("meta"):
        estimator = PriorEstimator(PriorConfig())
    assert sum(p.numel() for p in estimator.prior_extractor.parameters()) == pytest.approx(29e6, rel=0.02)
    assert sum(p.numel() for p in estimator.parameters()) == 30_116_608
