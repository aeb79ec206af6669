"""Shards, LoRA folders and strict loading."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from javisbench.baselines.javisdit.checkpoints import from_library, merge_lora, read_network
from javisbench.errors import WeightsError


@pytest.fixture
def state():
    draw = torch.Generator().manual_seed(1)
    return {f"blocks.{i}.q.weight": torch.randn(4, 4, generator=draw) for i in range(3)}


def write_lora(folder, state, rank=2, alpha=6.0, **settings):
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank, "lora_alpha": alpha, **settings}))
    save_file(state, folder / "adapter_model.safetensors")


def lora_pair(module="blocks.1.q", rank=2):
    draw = torch.Generator().manual_seed(2)
    prefix = f"base_model.model.{module}"
    return {
        f"{prefix}.lora_A.weight": torch.randn(rank, 4, generator=draw),
        f"{prefix}.lora_B.weight": torch.randn(4, rank, generator=draw),
    }


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", ["model.safetensors", "some_name.safetensors"])
def test_single_file(tmp_path, state, name):
    save_file(state, tmp_path / name)
    assert equal(read_network(tmp_path), state)
    assert equal(read_network(tmp_path / name), state)


def test_torch_file(tmp_path, state):
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert equal(read_network(tmp_path), state)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    torch.save({"a": Harmful()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="more than tensors"):
        read_network(tmp_path)
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_indexed_shards_in_a_model_folder(tmp_path, state, suffix):
    folder = tmp_path / "model"
    folder.mkdir()
    weight_map = {}
    for number, name in enumerate(state, start=1):
        weight_map[name] = f"pytorch_model-{number:05d}.{suffix}"
        save = save_file if suffix == "safetensors" else torch.save
        save({name: state[name]}, folder / weight_map[name])
    (folder / f"pytorch_model.{suffix}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert equal(read_network(tmp_path), state)
    (folder / f"pytorch_model-00002.{suffix}").unlink()
    with pytest.raises(WeightsError, match=f"lacks the shards pytorch_model-00002.{suffix}"):
        read_network(tmp_path)


def test_numbered_shards_without_an_index(tmp_path, state):
    for number, name in enumerate(state, start=1):
        save_file({name: state[name]}, tmp_path / f"model-{number:05d}-of-00003.safetensors")
    assert equal(read_network(tmp_path), state)


def test_an_index_cannot_point_out_of_its_folder(tmp_path, state):
    outside = tmp_path / "secret.safetensors"
    save_file(state, outside)
    folder = tmp_path / "shards"
    folder.mkdir()
    index = {"weight_map": dict.fromkeys(state, "../secret.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match=r"lacks the shards secret\.safetensors"):
        read_network(folder)


@pytest.mark.parametrize(
    ("files", "words"), [([], "no checkpoint"), (["a.pt", "b.pt"], "a.pt, b.pt"), (["m-00001.bin", "x.pt"], "x.pt")]
)
def test_unclear_folders_are_refused(tmp_path, state, files, words):
    for file in files:
        torch.save(state, tmp_path / file)
    with pytest.raises(WeightsError, match=words):
        read_network(tmp_path)


def test_repeated_tensors_are_refused(tmp_path, state):
    for number in (1, 2):
        save_file(state, tmp_path / f"model-{number:05d}-of-00002.safetensors")
    with pytest.raises(WeightsError, match=r"repeats tensors.*blocks\.0\.q\.weight"):
        read_network(tmp_path)


def test_lora_is_merged(tmp_path, state):
    (tmp_path / "model").mkdir()
    save_file(state, tmp_path / "model" / "model.safetensors")
    pair = lora_pair()
    write_lora(tmp_path / "lora", pair)
    merged = read_network(tmp_path)
    a, b = pair.values()
    torch.testing.assert_close(merged["blocks.1.q.weight"], state["blocks.1.q.weight"] + 3.0 * (b @ a))
    assert torch.equal(merged["blocks.0.q.weight"], state["blocks.0.q.weight"])


def test_lora_merging_equals_its_two_step_form(tmp_path, state):
    pair = lora_pair()
    write_lora(tmp_path / "lora", pair)
    x = torch.randn(5, 4)
    a, b = pair.values()
    expected = x @ state["blocks.1.q.weight"].T + 6.0 / 2 * (x @ a.T) @ b.T
    merge_lora(state, tmp_path / "lora")
    torch.testing.assert_close(x @ state["blocks.1.q.weight"].T, expected)


def test_lora_keeps_the_weight_s_precision(tmp_path, state):
    write_lora(tmp_path / "lora", lora_pair())
    half = {name: tensor.bfloat16() for name, tensor in state.items()}
    merge_lora(half, tmp_path / "lora")
    assert half["blocks.1.q.weight"].dtype == torch.bfloat16


def test_lora_of_another_network_is_refused_with_every_name(tmp_path, state):
    pair = lora_pair("blocks.7.q") | {"blocks.0.q.magnitude": torch.ones(1)}
    half = dict(list(lora_pair("blocks.2.q").items())[:1])
    write_lora(tmp_path / "lora", pair | half)
    with pytest.raises(WeightsError) as error:
        merge_lora(state, tmp_path / "lora")
    for words in ("blocks.7.q.lora_A", "blocks.7.q.lora_B", "blocks.0.q.magnitude", "blocks.2.q.weight (A alone)"):
        assert words in error.value.message


@pytest.mark.parametrize(
    ("settings", "words"), [({"use_dora": True}, "use_dora"), ({"rank_pattern": {"q": 4}}, "rank_pattern")]
)
def test_other_kinds_of_lora_are_refused(tmp_path, state, settings, words):
    write_lora(tmp_path / "lora", lora_pair(), **settings)
    with pytest.raises(WeightsError, match=words):
        merge_lora(state, tmp_path / "lora")


def test_lora_of_another_rank_than_it_says_is_refused(tmp_path, state):
    write_lora(tmp_path / "lora", lora_pair(rank=3))
    with pytest.raises(WeightsError, match="shape or rank"):
        merge_lora(state, tmp_path / "lora")


def test_lora_without_its_settings_is_refused(tmp_path, state):
    write_lora(tmp_path / "lora", lora_pair())
    (tmp_path / "lora" / "adapter_config.json").unlink()
    with pytest.raises(WeightsError, match="r and lora_alpha"):
        merge_lora(state, tmp_path / "lora")


@pytest.mark.parametrize(
    ("library", "name", "folder", "file"),
    [
        ("diffusers", "AutoencoderKL", "vae", "diffusion_pytorch_model.safetensors"),
        ("transformers", "SpeechT5HifiGan", "vocoder", "model.safetensors"),
    ],
)
def test_library_models_load_strictly(tiny, tmp_path, library, name, folder, file):
    copy = tmp_path / folder
    shutil.copytree(tiny / "audioldm2" / folder, copy)
    assert not any(p.requires_grad for p in from_library(library, name, copy, torch.float32).parameters())
    state = load_file(copy / file)
    gone = sorted(state)[0]
    changed = {key: value for key, value in state.items() if key != gone} | {"stranger": torch.ones(1)}
    save_file(changed, copy / file, metadata={"format": "pt"})
    with pytest.raises(WeightsError) as error:
        from_library(library, name, copy, torch.float32)
    assert gone in error.value.message
    assert "stranger" in error.value.message


def test_the_wrong_folder_is_named(tiny):
    with pytest.raises(WeightsError, match="AutoencoderKL, not AutoencoderKLWan"):
        from_library("diffusers", "AutoencoderKLWan", tiny / "audioldm2" / "vae", torch.float32)
    with pytest.raises(WeightsError, match="hifigan, not umt5"):
        from_library("transformers", "UMT5EncoderModel", tiny / "audioldm2" / "vocoder", torch.float32)
    with pytest.raises(WeightsError, match="cannot be read"):
        from_library("transformers", "UMT5EncoderModel", tiny, torch.float32)
