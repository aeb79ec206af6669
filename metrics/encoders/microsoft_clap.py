"""MS-CLAP 2023, a variant of the encoder ``clap``: what it hears and reads, and its network by `transformers`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from javisbench.errors import WeightsError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

SAMPLE_RATE = 44100
SAMPLES = 7 * SAMPLE_RATE
N_FFT, HOP, BINS = 1024, 320, 64
#: Tokens of a prompt, the one that ends it included.
LONGEST_PROMPT = 77
_POWER_FLOOR = 1e-10
_KERNEL_TOLERANCE = 1e-3  # of values up to 1; float32 tables differ by 1e-6
_END = "<|endoftext|>"


@dataclass(frozen=True)
class MicrosoftCLAPConfig:
    """Numbers of the network.

    Attributes:
        embed_dim: of an embedding.
        text_width: of the text part's tokens (GPT-2).
        text_layers: its layers.
        text_heads: its attention heads.
        vocabulary: token ids; the last one ends a prompt.
        patch_width: of the audio part's tokens in the first stage (HTSAT); each stage doubles it.
        audio_depths: blocks of the stages.
        audio_heads: attention heads of the stages.
    """

    embed_dim: int = 1024
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    vocabulary: int = 50257
    patch_width: int = 96
    audio_depths: tuple[int, ...] = (2, 2, 6, 2)
    audio_heads: tuple[int, ...] = (4, 8, 16, 32)


VARIANTS = {"msclap-2023": MicrosoftCLAPConfig()}


def windows(sound: NDArray[np.float32], *, repeat: bool) -> NDArray[np.float32]:
    """What the network hears of a sound, 7 s at a time: the first 7 s, and of longer sound the last 7 s too.

    The package `msclap` draws 7 s of longer sound at random, so that its numbers differ from call to call.

    Args:
        sound: at 44.1 kHz, at least one sample.
        repeat: shorter sound is repeated and cut at 7 s, as the package does; else zeros follow it.

    Returns:
        float32, shape ``(1 or 2, 308700)``.
    """
    if len(sound) > SAMPLES:
        return np.stack([sound[:SAMPLES], sound[-SAMPLES:]])
    return (np.resize(sound, SAMPLES) if repeat else np.pad(sound, (0, SAMPLES - len(sound))))[None]


def log_mel(sounds: NDArray[np.float32], filters: Tensor) -> Tensor:
    """Log-mel spectrograms, decibels from -100 up.

    Args:
        sounds: shape ``(n, samples)``.
        filters: the checkpoint's, shape ``(513, 64)``. The official ones are Slaney's from 50 Hz to 14 kHz for sound at
            32 kHz, whereas the network is shown sound at 44.1 kHz: it was trained so.

    Returns:
        float32, shape ``(n, 1, frames, 64)``, a frame every 320 samples.
    """
    import torch

    signal = torch.from_numpy(sounds).double()
    window = torch.hann_window(N_FFT, dtype=torch.float64)
    spectrum = torch.stft(signal, N_FFT, HOP, window=window, center=True, pad_mode="reflect", return_complex=True)
    mel = spectrum.abs().square().transpose(1, 2) @ filters.double()
    return (10 * torch.log10(mel.clamp(min=_POWER_FLOOR))).float()[:, None]


def tokens(tokenizer: Any, prompt: str) -> list[int]:
    """Token ids of a prompt as the network was trained on them: a space and GPT-2's end of text behind it.

    Prompts are cut to 77 tokens, the end of text remaining; the package refuses longer ones beside others.
    """
    ids: list[int] = tokenizer.encode(f"{prompt} ", add_special_tokens=False).ids
    return [*ids[: LONGEST_PROMPT - 1], tokenizer.token_to_id(_END)]


def check_tokenizer(tokenizer: Any, vocabulary: int, path: Path) -> None:
    """Refuse a tokenizer that is not GPT-2's, such as that of another CLAP.

    Raises:
        WeightsError: it numbers tokens otherwise.
    """
    if tokenizer.token_to_id("!") != 0 or tokenizer.token_to_id(_END) != vocabulary - 1:
        raise WeightsError(
            f"The tokenizer beside {path} is not GPT-2's, by which MS-CLAP reads prompts. Put tokenizer.json of "
            f"openai-community/gpt2 there, as {path.stem}.tokenizer.json."
        )


def build(config: MicrosoftCLAPConfig, transformers: Any) -> Any:
    """The network, its weights not yet loaded: ``embed_sounds`` and ``embed_prompts`` give ``(n, embed_dim)``.

    Args:
        config: its numbers.
        transformers: the package, of which HTSAT and GPT-2 are taken.

    Source: Elizalde et al., Natural Language Supervision for General-Purpose Audio Representations, ICASSP 2024
    (arXiv:2309.05767), section 2; the package msclap 1.3.4.
    """
    import torch
    from torch import nn
    from torch.nn.functional import gelu

    class Projection(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.linear1 = nn.Linear(width, config.embed_dim, bias=False)
            self.linear2 = nn.Linear(config.embed_dim, config.embed_dim, bias=False)
            self.layer_norm = nn.LayerNorm(config.embed_dim)

        def forward(self, pooled: Tensor) -> Tensor:
            first = self.linear1(pooled)
            made: Tensor = self.layer_norm(first + self.linear2(gelu(first)))
            return made

    hidden = config.patch_width * 2 ** (len(config.audio_depths) - 1)
    audio = transformers.ClapAudioConfig(
        hidden_size=hidden,
        patch_embeds_hidden_size=config.patch_width,
        depths=list(config.audio_depths),
        num_attention_heads=list(config.audio_heads),
        enable_fusion=False,
    )
    text = transformers.GPT2Config(
        vocab_size=config.vocabulary,
        n_embd=config.text_width,
        n_layer=config.text_layers,
        n_head=config.text_heads,
        use_cache=False,
    )

    class MicrosoftCLAP(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mel_filters", torch.empty(N_FFT // 2 + 1, BINS))
            self.audio_model = transformers.ClapAudioModel(audio)
            self.audio_projection = Projection(hidden)
            self.text_model = transformers.GPT2Model(text)
            self.text_projection = Projection(config.text_width)

        def embed_sounds(self, mels: Tensor) -> Tensor:
            made: Tensor = self.audio_projection(self.audio_model(input_features=mels).pooler_output)
            return made

        def embed_prompts(self, ids: Tensor, mask: Tensor) -> Tensor:
            states = self.text_model(input_ids=ids, attention_mask=mask).last_hidden_state
            # Padding has the id of "!", so that each "!" of a prompt moves what stands for it one token to the left.
            read = (ids != 0).sum(dim=-1) - 1
            made: Tensor = self.text_projection(states[torch.arange(len(ids), device=ids.device), read])
            return made

    with torch.random.fork_rng(devices=[]):  # construction draws weights that are replaced at once
        return MicrosoftCLAP()


_HTSAT, _GPT2 = "audio_encoder.base.htsat.", "caption_encoder.base."
_KERNELS = tuple(f"{_HTSAT}spectrogram_extractor.stft.conv_{part}.weight" for part in ("real", "imag"))
_FILTERS = f"{_HTSAT}logmel_extractor.melW"
# Of no use for embeddings: the temperature, heads for AudioSet's classes, and tables that the network computes (some
# versions of transformers stored GPT-2's).
_UNUSED = ("logit_scale", f"{_HTSAT}tscam_conv.", f"{_HTSAT}head.")
_TABLES = (".attn_mask", ".relative_position_index", ".attn.bias", ".attn.masked_bias")
# Tensor names: the checkpoint's to the left, transformers' to the right.
_MODULES = (
    ("bn0.", "batch_norm."),
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    (".attn.relative_position_bias_table", ".attention.self.relative_position_bias_table"),
    (".attn.proj.", ".attention.output.dense."),
    (".mlp.fc1.", ".intermediate.dense."),
    (".mlp.fc2.", ".output.dense."),
)
_PREFIXES = (
    (_GPT2, "text_model."),
    ("caption_encoder.projection.", "text_projection."),
    ("audio_encoder.projection.", "audio_projection."),
)


def load(network: nn.Module, path: Path, *, what: str) -> None:
    """Fill `network` from ``CLAP_weights_2023.pth``.

    Raises:
        WeightsError: the file does not hold this network, or its Fourier transform is not the one computed here.
    """
    from javisbench.metrics.encoders.checkpoint import load_checkpoint, load_strict

    checkpoint = load_checkpoint(path)
    _check_kernels(checkpoint, path, what)
    tables = {name: tensor for name, tensor in network.state_dict().items() if not tensor.is_floating_point()}
    load_strict(network, tables | state_of(checkpoint), what=what, path=path)


def state_of(checkpoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the checkpoint that run here, under the names of `build`; what is unknown keeps its name."""
    state: dict[str, Tensor] = {}
    for name, tensor in checkpoint.items():
        if name in _KERNELS or name.startswith(_UNUSED) or name.endswith(_TABLES):
            continue
        if name == _FILTERS:
            state["mel_filters"] = tensor
        elif name.startswith(_HTSAT):
            state |= _of_htsat(name.removeprefix(_HTSAT), tensor)
        else:
            state[_renamed(name, _PREFIXES)] = tensor
    return state


def _of_htsat(name: str, tensor: Tensor) -> dict[str, Tensor]:
    block, attention, part = name.partition(".attn.qkv.")
    if attention:
        thirds = zip(("query", "key", "value"), tensor.chunk(3), strict=False)
        named = {f"{block}.attention.self.{role}.{part}": third for role, third in thirds}
    else:
        named = {_renamed(name, _MODULES): tensor}
    return {f"audio_model.audio_encoder.{own}": value for own, value in named.items()}


def _renamed(name: str, names: tuple[tuple[str, str], ...]) -> str:
    return next((name.replace(old, new, 1) for old, new in names if old in name), name)


def _check_kernels(checkpoint: Mapping[str, Tensor], path: Path, what: str) -> None:
    """The checkpoint stores the transform and its window as two convolutions; `log_mel` computes it."""
    import torch

    turns = torch.outer(torch.arange(N_FFT // 2 + 1), torch.arange(N_FFT)) % N_FFT * (2 * math.pi / N_FFT)
    window = torch.hann_window(N_FFT)
    for name, expected in zip(_KERNELS, (turns.cos() * window, -turns.sin() * window), strict=True):
        found = checkpoint.get(name)
        # Not <=: what is not a number is refused too.
        if (
            found is None
            or found.shape != (N_FFT // 2 + 1, 1, N_FFT)
            or not ((found[:, 0].float() - expected).abs().max() < _KERNEL_TOLERANCE)
        ):
            raise WeightsError(
                f"{path} does not hold the weights of {what}: {name} is missing or is not the Fourier transform of "
                "1024 samples in Hann's window. Use CLAP_weights_2023.pth of microsoft/msclap."
            )
