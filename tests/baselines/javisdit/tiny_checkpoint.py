"""Writes a complete checkpoint folder of tiny, seeded networks, and the configuration that fits it.

    python tests/baselines/javisdit/tiny_checkpoint.py W --version v1.0
    javisbench eval --model javisdit -M config=W/v1.0.toml --weights-dir W --suite demo --limit 4

Folders, files and tensor names are those of the official checkpoints; only numbers differ. Clips are noise.
"""

from __future__ import annotations

import argparse
import json
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

TEXT_DIM = 32
TEXT_LENGTH = 40

NETWORK_V10 = {"dim": 48, "ffn_dim": 96, "heads": 4, "layers": 2, "freq_dim": 32}
NETWORK_V01 = {"dim": 48, "heads": 4, "layers": 2, "spatial_priors": 4, "temporal_priors": 3, "prior_dim": 16}
PRIOR = {
    "text_dim": 32,
    "dim": 24,
    "prior_dim": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "spatial_priors": 4,
    "temporal_priors": 3,
}
PRIOR_TEXT = {"dim": 32, "layers": 2, "heads": 4}
TEMPORAL_VAE = {"filters": 16, "residual_blocks": 1, "groups": 8}
SPATIAL_VAE = {"widths": [8, 8, 16, 16], "blocks": 1, "groups": 4}
LORA_RANK, LORA_ALPHA = 2, 4


def seeded(module: nn.Module, seed: int) -> dict[str, Tensor]:
    """A state dict in which every tensor depends on its name, shape and the seed alone."""
    state = {}
    for name, tensor in module.state_dict().items():
        draw = torch.Generator().manual_seed(zlib.crc32(name.encode()) ^ seed)
        noise = torch.randn(tensor.shape, generator=draw)
        if tensor.ndim >= 2:
            state[name] = noise / max(1, tensor[0].numel()) ** 0.5
        else:
            state[name] = 0.1 * noise + (1.0 if name.endswith("weight") else 0.0)
    return state


def write_tiny(folder: Path, version: str, *, seed: int = 0, frames: int = 17, lora: bool = True) -> Path:
    """Write the checkpoints of a version into `folder`; the path of the configuration that fits them."""
    folder.mkdir(parents=True, exist_ok=True)
    if version != "opensora":
        _write_audio(folder / "audioldm2", seed)
    writers = {"v1.0": lambda: _write_v10(folder, seed, lora), "v0.1": lambda: _write_v01(folder, seed)}
    tables = writers.get(version, lambda: _write_opensora(folder, seed))()
    tables["sampling"] = {"steps": 2, "frames": frames, "height": 48, "width": 64}
    config = folder / f"{version}.toml"
    config.write_text("\n".join(_toml(name, table) for name, table in tables.items()), encoding="utf-8")
    return config


def _toml(name: str, table: dict[str, Any]) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""])


def _write_v10(folder: Path, seed: int, lora: bool) -> dict[str, dict[str, Any]]:
    from diffusers import AutoencoderKLWan
    from transformers import UMT5Config, UMT5EncoderModel

    from javisbench.baselines.javisdit.config import JointNetworkConfig
    from javisbench.baselines.javisdit.v10_network import JointDiT

    numbers = {**NETWORK_V10, "text_dim": TEXT_DIM, "text_length": TEXT_LENGTH}
    network = seeded(JointDiT(JointNetworkConfig(**numbers)), seed)
    _write_shards(network, folder / "JavisDiT-v1.0-jav" / "model")
    if lora:
        _write_lora(folder / "JavisDiT-v1.0-jav" / "lora", "blocks.0.self_attn.q", numbers["dim"], seed)
    wan = folder / "Wan2.1-T2V-1.3B-Diffusers"
    _save(AutoencoderKLWan(base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1), wan / "vae", seed)
    encoder = UMT5Config(vocab_size=128, d_model=TEXT_DIM, d_kv=8, d_ff=32, num_layers=2, num_heads=4)
    _save(UMT5EncoderModel(encoder), wan / "text_encoder", seed)
    _write_tokenizer(wan / "tokenizer")
    return {"network": numbers}


def _write_v01(folder: Path, seed: int) -> dict[str, dict[str, Any]]:
    from javisbench.baselines.javisdit import config as configs
    from javisbench.baselines.javisdit.prior import PriorEstimator, PriorText
    from javisbench.baselines.javisdit.v01_network import FactorisedDiT

    numbers = {**NETWORK_V01, "text_dim": TEXT_DIM, "text_length": TEXT_LENGTH}
    network = FactorisedDiT(configs.FactorisedNetworkConfig(**numbers))
    state = {**seeded(network, seed), "rope.freqs": network.rope.freqs.detach()}
    _write_single(state, folder / "JavisDiT-v0.1-jav-240p4s")
    _write_single(seeded(PriorEstimator(configs.PriorConfig(**PRIOR)), seed), folder / "JavisDiT-v0.1-prior")
    text = seeded(PriorText(configs.PriorTextConfig(**PRIOR_TEXT)), seed)
    text["modality_preprocessors.text.mask"] = torch.full((77, 77), float("-inf")).triu(1)
    save_file(text, folder / "javisdit-v0.1-prior-text.safetensors")
    return {"network": numbers, "prior": PRIOR, "prior_text": PRIOR_TEXT, **_write_shared(folder, seed)}


def _write_opensora(folder: Path, seed: int) -> dict[str, dict[str, Any]]:
    from javisbench.baselines.javisdit.config import VideoNetworkConfig
    from javisbench.baselines.javisdit.stdit import VideoDiT

    numbers = {name: NETWORK_V01[name] for name in ("dim", "heads", "layers")}
    numbers |= {"text_dim": TEXT_DIM, "text_length": TEXT_LENGTH}
    network = VideoDiT(VideoNetworkConfig(**numbers))
    _write_single({**seeded(network, seed), "rope.freqs": network.rope.freqs.detach()}, folder / "OpenSora-STDiT-v3")
    return {"network": numbers, **_write_shared(folder, seed)}


def _write_shared(folder: Path, seed: int) -> dict[str, dict[str, Any]]:
    """Video VAE and text encoder of v0.1 and OpenSora."""
    from transformers import T5Config, T5EncoderModel

    from javisbench.baselines.javisdit import config as configs
    from javisbench.baselines.javisdit.temporal_vae import VideoDecoder, VideoEncoder

    vae = (
        configs.TemporalVAEConfig(**TEMPORAL_VAE),
        configs.SpatialVAEConfig(**{**SPATIAL_VAE, "widths": tuple(SPATIAL_VAE["widths"])}),
    )
    halves = seeded(VideoEncoder(*vae), seed) | seeded(VideoDecoder(*vae), seed)
    _write_single(halves, folder / "OpenSora-VAE-v1.2")
    encoder = T5Config(
        vocab_size=128, d_model=TEXT_DIM, d_kv=8, d_ff=32, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    _save(T5EncoderModel(encoder), folder / "t5-v1_1-xxl", seed)
    _write_tokenizer(folder / "t5-v1_1-xxl")
    return {"temporal_vae": TEMPORAL_VAE, "spatial_vae": SPATIAL_VAE}


def _write_audio(folder: Path, seed: int) -> None:
    from diffusers import AutoencoderKL
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    vae = AutoencoderKL(
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=8,
        scaling_factor=0.4110932946,
    )
    _save(vae, folder / "vae", seed)
    vocoder = SpeechT5HifiGanConfig(
        model_in_dim=64,
        sampling_rate=16000,
        upsample_initial_channel=32,
        upsample_rates=[5, 4, 2, 2, 2],
        upsample_kernel_sizes=[16, 16, 8, 4, 4],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1]],
        normalize_before=False,
    )
    _save(SpeechT5HifiGan(vocoder), folder / "vocoder", seed)


def _save(model: Any, folder: Path, seed: int) -> None:
    model.load_state_dict(seeded(model, seed), strict=False)
    model.save_pretrained(folder)


def _write_single(state: dict[str, Tensor], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors")


def _write_shards(state: dict[str, Tensor], folder: Path) -> None:
    """Two shards and their index, as ColossalAI and transformers write them."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(state)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: state[name].contiguous() for name in part}, folder / file)
    weight_map = {name: file for file, part in shards.items() for name in part}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8")


def _write_lora(folder: Path, module: str, dim: int, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    draw = torch.Generator().manual_seed(seed)
    prefix = f"base_model.model.{module}"
    pair = {
        f"{prefix}.lora_A.weight": torch.randn(LORA_RANK, dim, generator=draw),
        f"{prefix}.lora_B.weight": torch.randn(dim, LORA_RANK, generator=draw),
    }
    save_file(pair, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": LORA_RANK, "lora_alpha": LORA_ALPHA, "target_modules": ["q"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")


def _write_tokenizer(folder: Path) -> None:
    """A tokenizer of single characters."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = [chr(code) for code in range(32, 127)]
    vocabulary = {token: index for index, token in enumerate(["<pad>", "</s>", "<unk>", *letters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", padding_side="right"
    )
    fast.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version", choices=["v1.0", "v0.1", "opensora"], default="v1.0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=33)
    given = parser.parse_args()
    print(write_tiny(given.folder, given.version, seed=given.seed, frames=given.frames))


if __name__ == "__main__":
    main()
