"""Wan2.1's own file of its text encoder: the same states as transformers' folder gives."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file

from javisbench.baselines.javisdit import JavisDiT
from javisbench.baselines.javisdit.checkpoints import from_library
from javisbench.baselines.javisdit.wan_text_encoder import renamed, wan_text_encoder
from javisbench.errors import WeightsError
from javisbench.weights import WeightStore

FILE = "models_t5_umt5-xxl-enc-bf16.pth"


@pytest.fixture
def folder(tiny):
    return tiny / "Wan2.1-T2V-1.3B-Diffusers/text_encoder"


@pytest.fixture
def state(folder):
    """The folder's tensors under the file's names."""
    names = {"shared.weight": "token_embedding.weight", "encoder.final_layer_norm.weight": "norm.weight"}
    inside = {
        "0.layer_norm": "norm1",
        **{f"0.SelfAttention.{name}": f"attn.{name}" for name in "qkvo"},
        "0.SelfAttention.relative_attention_bias": "pos_embedding.embedding",
        "1.layer_norm": "norm2",
        "1.DenseReluDense.wi_0": "ffn.gate.0",
        "1.DenseReluDense.wi_1": "ffn.fc1",
        "1.DenseReluDense.wo": "ffn.fc2",
    }
    found = load_file(folder / "model.safetensors")
    for layer in range(2):
        for theirs, own in inside.items():
            names[f"encoder.block.{layer}.layer.{theirs}.weight"] = f"blocks.{layer}.{own}.weight"
    return {names[name]: tensor for name, tensor in found.items() if name in names}


def test_the_file_gives_the_states_of_the_folder(folder, state, tmp_path):
    # Two tensors and ten a block, as the official file's 242 for 24 blocks.
    assert len(state) == 2 + 2 * 10
    torch.save(state, tmp_path / FILE)
    read = wan_text_encoder(tmp_path / FILE, torch.float32)
    expected = from_library("transformers", "UMT5EncoderModel", folder, torch.float32)
    ids = torch.randint(0, 128, (2, 12), generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[1] * 12, [1] * 7 + [0] * 5])
    states = [model(input_ids=ids, attention_mask=mask).last_hidden_state for model in (read, expected)]
    assert torch.equal(*states)


def test_v10_reads_the_one_file_where_it_lies(tiny, state, tmp_path):
    shutil.copytree(tiny, tmp_path / "w")
    shutil.rmtree(tmp_path / "w/Wan2.1-T2V-1.3B-Diffusers/text_encoder")
    torch.save({name: tensor.bfloat16() for name, tensor in state.items()}, tmp_path / "w" / FILE)
    model = JavisDiT(None, {"config": str(tmp_path / "w/v1.0.toml")})
    store = WeightStore([tmp_path / "w"])
    assert [path.name for path in model.files(store)["text_encoder"]] == [FILE]
    model.load("cpu", "float32", store)
    model._loaded().encode(["A gong"])
    model.close()


def test_another_file_is_refused_with_its_names(state, tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / FILE)
    with pytest.raises(WeightsError, match=r"shared\.weight lacks"):
        wan_text_encoder(tmp_path / FILE, torch.float32)
    del state["blocks.1.norm2.weight"]
    torch.save({**state, "blocks.1.stranger": torch.ones(1)}, tmp_path / FILE)
    with pytest.raises(WeightsError) as error:
        wan_text_encoder(tmp_path / FILE, torch.float32)
    assert "encoder.block.1.layer.1.layer_norm.weight" in error.value.message
    assert "blocks.1.stranger" in error.value.message


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("token_embedding.weight", torch.ones(3)),
        ("blocks.0.pos_embedding.embedding.weight", torch.ones(2, 2, 2)),
        ("blocks.0.pos_embedding.embedding.weight", torch.ones(4, 0)),
        ("blocks.0.attn.q.weight", torch.tensor(1.0)),
        ("blocks.99999999.norm1.weight", torch.ones(3)),
    ],
)
def test_a_file_of_other_shapes_is_refused_in_a_sentence(state, tmp_path, name, tensor):
    torch.save({**state, name: tensor}, tmp_path / FILE)
    with pytest.raises(WeightsError, match=r"does not hold Wan2\.1's text encoder"):
        wan_text_encoder(tmp_path / FILE, torch.float32)


def test_names_without_a_place_stay():
    assert renamed({"blocks.3.other": torch.ones(1)}).keys() == {"blocks.3.other"}
