"""JavisDiT at full size with random weights: seconds and peak memory of every stage, on the device at hand.

    python benchmarks/javisdit.py write W --version v1.0          random checkpoints under the official names
    python benchmarks/javisdit.py run W --version v1.0 --device cuda [--clips 3] [--steps 50] [--out FILE.json]

``write`` needs disk and no GPU: about 15 GB for v1.0 and 19 GB for v0.1 (bfloat16). ``run`` goes the way of
``javisbench generate --model javisdit``: prompts are encoded, the text encoder is freed, then clips are sampled one by
one. The clips are noise; random weights cost what trained ones cost. Times of the first clip hold what is done once
(kernels chosen, memory reserved); the medians are over the others, or over the only one.

Peak memory is what torch had allocated on the GPU at once during a stage; a CPU has none to report. The papers give
10 s (v1.0) and 30 s (v0.1) a clip on an H100.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from javisbench.baselines.base import Generated, Request
from javisbench.baselines.javisdit import JavisDiT
from javisbench.baselines.javisdit.config import V01Config, V10Config
from javisbench.baselines.javisdit.options import Version
from javisbench.clip import ClipSpec
from javisbench.run.manifest import versions
from javisbench.suite import Sample
from javisbench.weights import WeightStore

SHARD_BYTES = 4 * 2**30
SETTING = ClipSpec(width=426, height=240, duration_s=4.0, fps=Fraction(24), sample_rate=16000)
PROMPTS = ("A dog barks twice at a passing train", "Rain falls on a tin roof at night", "A bell rings in a tower")


@dataclass(frozen=True)
class Sizes:
    """Numbers of the networks that diffusers and transformers build; the others stand in the version's configuration.

    Attributes:
        v10: of v1.0's own network.
        v01: of v0.1's own networks.
        text: of UMT5 (v1.0) and T5 (v0.1).
        wan: of v1.0's video VAE.
        audio_vae: of both versions.
        vocoder: of both versions.
    """

    v10: V10Config = field(default_factory=V10Config)
    v01: V01Config = field(default_factory=V01Config)
    text: Mapping[Version, Mapping[str, Any]] = field(
        default_factory=lambda: {version: {**_XXL, "vocab_size": words} for version, words in _VOCABULARIES.items()}
    )
    wan: Mapping[str, Any] = field(default_factory=dict)
    audio_vae: Mapping[str, Any] = field(
        default_factory=lambda: {"block_out_channels": (128, 256, 512), "layers_per_block": 2, "norm_num_groups": 32}
    )
    vocoder: Mapping[str, Any] = field(
        default_factory=lambda: {"upsample_initial_channel": 1024, "resblock_kernel_sizes": [3, 7, 11]}
    )


_VOCABULARIES: Mapping[Version, int] = {"v1.0": 256384, "v0.1": 32128}
_XXL = {
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}


def networks(version: Version, sizes: Sizes, device: str = "meta") -> dict[str, nn.Module]:
    """Every network of a version on a device, by its place in the checkpoint folder."""
    with torch.device(device):
        return {**_sound(sizes), **(_v10(sizes) if version == "v1.0" else _v01(sizes))}


def _sound(sizes: Sizes) -> dict[str, nn.Module]:
    from diffusers import AutoencoderKL
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    levels = len(sizes.audio_vae["block_out_channels"])
    vae = AutoencoderKL(
        in_channels=1,
        out_channels=1,
        latent_channels=8,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        scaling_factor=0.4110932946,
        **sizes.audio_vae,
    )
    vocoder = SpeechT5HifiGanConfig(
        model_in_dim=64,
        sampling_rate=16000,
        upsample_rates=[5, 4, 2, 2, 2],
        upsample_kernel_sizes=[16, 16, 8, 4, 4],
        normalize_before=False,
        **sizes.vocoder,
    )
    return {"audioldm2/vae": vae, "audioldm2/vocoder": SpeechT5HifiGan(vocoder)}


def _v10(sizes: Sizes) -> dict[str, nn.Module]:
    from diffusers import AutoencoderKLWan
    from transformers import UMT5Config, UMT5EncoderModel

    from javisbench.baselines.javisdit.v10_network import JointDiT

    return {
        "JavisDiT-v1.0-jav/model": JointDiT(sizes.v10.network),
        "Wan2.1-T2V-1.3B-Diffusers/text_encoder": UMT5EncoderModel(UMT5Config(**sizes.text["v1.0"])),
        "Wan2.1-T2V-1.3B-Diffusers/vae": AutoencoderKLWan(**sizes.wan),
    }


def _v01(sizes: Sizes) -> dict[str, nn.Module]:
    from transformers import T5Config, T5EncoderModel

    from javisbench.baselines.javisdit.prior import PriorEstimator, PriorText
    from javisbench.baselines.javisdit.temporal_vae import VideoDecoder
    from javisbench.baselines.javisdit.v01_network import FactorisedDiT

    numbers = sizes.v01
    return {
        "JavisDiT-v0.1-jav-240p4s": FactorisedDiT(numbers.network),
        "JavisDiT-v0.1-prior": PriorEstimator(numbers.prior),
        "javisdit-v0.1-prior-text.safetensors": PriorText(numbers.prior_text),
        "OpenSora-VAE-v1.2": VideoDecoder(numbers.temporal_vae, numbers.spatial_vae),
        "t5-v1_1-xxl": T5EncoderModel(T5Config(**sizes.text["v0.1"])),
    }


def write(folder: Path, version: Version, sizes: Sizes | None = None) -> int:
    """Write random checkpoints of a version; the bytes that they take."""
    sizes = sizes or Sizes()
    for name, network in networks(version, sizes).items():
        place = folder / name
        tensors = _tensors(network)
        if place.suffix == ".safetensors":
            save_file(dict(tensors), place)
        else:
            _write_shards(tensors, place)
        if hasattr(network, "save_config"):
            network.save_config(place)
        elif hasattr(getattr(network, "config", None), "save_pretrained"):
            network.config.save_pretrained(place)
            _name_architecture(place / "config.json", type(network).__name__)
    write_tokenizer(folder, version)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Random tensors one by one, so that no network has to fit into memory."""
    tied = set(getattr(network, "_tied_weights_keys", None) or ())
    for name, tensor in network.state_dict().items():
        if name not in tied:
            yield name, _random(name, tensor)


def _random(name: str, tensor: Tensor) -> Tensor:
    if name == "rope.freqs":
        # Stored in the checkpoint, and no random numbers: 10000^(-2i/d).
        return 10000.0 ** -(torch.arange(tensor.numel()) / tensor.numel())
    draw = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    noise = torch.randn(tensor.shape, generator=draw, dtype=torch.bfloat16)
    if tensor.ndim >= 2:
        return noise / max(1, tensor[0].numel()) ** 0.5
    return 0.1 * noise + (1.0 if name.endswith("weight") else 0.0)


def _write_shards(tensors: Iterator[tuple[str, Tensor]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shard: dict[str, Tensor] = {}
    where: dict[str, str] = {}
    number, size = 1, 0

    def flush() -> None:
        file = f"model-{number:05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        where.update(dict.fromkeys(shard, file))
        shard.clear()

    for name, tensor in tensors:
        shard[name] = tensor.contiguous()
        size += tensor.numel() * tensor.element_size()
        if size >= SHARD_BYTES:
            flush()
            number, size = number + 1, 0
    if shard:
        flush()
    index = {"metadata": {}, "weight_map": where}
    for name in ("model.safetensors.index.json", "diffusion_pytorch_model.safetensors.index.json"):
        (folder / name).write_text(json.dumps(index), encoding="utf-8")


def _name_architecture(path: Path, name: str) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "architectures": [name]}), encoding="utf-8")


def write_tokenizer(folder: Path, version: Version) -> None:
    """A tokenizer of single characters in a version's checkpoint folder: what the prompts say does not matter here."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = ["<pad>", "</s>", "<unk>", *map(chr, range(32, 127))]
    words = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", padding_side="right"
    ).save_pretrained(folder / ("Wan2.1-T2V-1.3B-Diffusers/tokenizer" if version == "v1.0" else "t5-v1_1-xxl"))


def run(folder: Path, version: Version, device: str, clips: int, params: Mapping[str, str]) -> dict[str, Any]:
    """Generate clips from a checkpoint folder and tell what each stage took."""
    generator = JavisDiT(version, params)
    plan = generator.plan(SETTING)
    started = time.monotonic()
    generator.load(device, "auto", WeightStore([folder]))
    load_s = time.monotonic() - started
    infos = generated(generator, clips)
    generator.close()
    return {
        "version": version,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else f"CPU ({platform.machine()})",
        "made": f"{plan.frames} frames of {plan.width}x{plan.height} at {plan.fps} fps, {plan.audio_samples} samples",
        "parameters": dict(generator.resolved()),
        "clips": clips,
        "load_s": round(load_s, 3),
        "stages": {stage: _stage(infos, stage) for stage in ("encode_batch", "denoise", "decode")},
        "versions": versions(),
    }


def generated(generator: JavisDiT, clips: int) -> list[Mapping[str, Any]]:
    """Facts about some clips that a loaded generator makes.

    Raises:
        SystemExit: one could not be made.
    """
    plan = generator.plan(SETTING)
    prompts = [PROMPTS[number % len(PROMPTS)] for number in range(clips)]
    requests = [
        Request(Sample(f"clip-{number}", number, prompt), number, 0, number, plan, {"text": prompt})
        for number, prompt in enumerate(prompts)
    ]
    infos = []
    for answer in generator.generate(requests):
        if not isinstance(answer, Generated):
            raise SystemExit(f"No clip was made: {answer.message}")
        infos.append(answer.info)
    return infos


def _stage(infos: list[Mapping[str, Any]], stage: str) -> dict[str, Any]:
    seconds = [info["seconds"][stage] for info in infos]
    peaks = [info["peak_bytes"][stage] for info in infos if stage in info["peak_bytes"]]
    return {
        "first_s": seconds[0],
        "median_s": round(statistics.median(seconds[1:] or seconds), 3),
        "peak_bytes": max(peaks, default=None),
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["write", "run"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version", choices=["v1.0", "v0.1"], default="v1.0")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--clips", type=int, default=3)
    parser.add_argument("--config", help="configuration of other networks than the official ones")
    parser.add_argument("--steps", help="Euler steps, instead of the version's own")
    parser.add_argument("--out", type=Path, help="file for the JSON, otherwise it is printed")
    given = parser.parse_args()
    if given.what == "write":
        print(f"{write(given.folder, given.version) / 1e9:.1f} GB in {given.folder}")
        return
    params = {name: value for name, value in (("config", given.config), ("steps", given.steps)) if value}
    text = json.dumps(run(given.folder, given.version, given.device, given.clips, params), indent=1)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
