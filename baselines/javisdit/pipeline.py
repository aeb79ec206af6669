"""From a prompt and a seed to pixels and a waveform, for both versions.

Two phases bound the memory: prompts (all of a run, or those of a batch) are encoded while the network waits in host
memory, the text encoder is freed, then clips are sampled one by one, each as a conditional and a null row. A clip's
numbers never depend on other clips or prompts.
"""

from __future__ import annotations

import gc
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from javisbench.baselines.base import Json
from javisbench.baselines.javisdit.checkpoints import from_library, read_network
from javisbench.baselines.javisdit.config import PriorConfig, V01Config, V10Config
from javisbench.baselines.javisdit.options import Options
from javisbench.baselines.javisdit.planning import VAE_STRIDE, JavisDiTPlan
from javisbench.baselines.javisdit.prior import PriorEstimator, PriorText
from javisbench.baselines.javisdit.sampler import Setting, Velocity, euler, guide, sampling_times
from javisbench.baselines.javisdit.temporal_vae import UNUSED_TENSORS, VideoVAE, latent_frames
from javisbench.baselines.javisdit.text import prepare_v01, prepare_v10
from javisbench.baselines.javisdit.text_encoder import Encoded, text_encoder
from javisbench.baselines.javisdit.v01_network import FactorisedDiT
from javisbench.baselines.javisdit.v10_network import JointDiT
from javisbench.baselines.prompt_store import Encode, PromptStore
from javisbench.errors import GenerationError
from javisbench.metrics.encoders.checkpoint import load_checkpoint, load_strict, without_values
from javisbench.metrics.encoders.preprocessing.clip_tokenizer import clip_tokenizer

log = logging.getLogger(__name__)
Config = TypeVar("Config", V10Config, V01Config)

_OTHER_MODALITIES = tuple(
    f"modality_{part}.{name}"
    for part in ("preprocessors", "trunks")
    for name in ("vision", "audio", "depth", "thermal", "imu")
)
_IMAGEBIND_UNUSED = (*_OTHER_MODALITIES, "modality_heads.", "modality_postprocessors.")


@dataclass
class Cost:
    """What stages took.

    Attributes:
        seconds: by stage.
        peak_bytes: by stage, the most that torch had allocated on the GPU at once; empty on a CPU.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def of(self, stage: str, device: str) -> Iterator[None]:
        """Measure what happens inside."""
        on_gpu = device.startswith("cuda")
        if on_gpu:
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
        started = time.monotonic()
        yield
        if on_gpu:
            torch.cuda.synchronize(device)
            self.peak_bytes[stage] = torch.cuda.max_memory_allocated(device)
        self.seconds[stage] = round(time.monotonic() - started, 3)

    def __or__(self, other: Cost) -> Cost:
        """The stages of both."""
        return Cost(self.seconds | other.seconds, self.peak_bytes | other.peak_bytes)


@dataclass
class Made:
    """A clip as tensors.

    Attributes:
        frames: uint8 ``(T, H, W, 3)``, on the CPU.
        audio: float32 ``(1, samples)`` in [-1, 1], on the CPU.
        cost: of its stages.
        info: facts about its making.
    """

    frames: Tensor
    audio: Tensor
    cost: Cost
    info: dict[str, Any] = field(default_factory=dict)


class Pipeline(ABC, Generic[Config]):
    """What both versions share.

    Args:
        config: all numbers.
        options: the user's parameters.
        paths: local checkpoint of each component.
        device: torch device.
        dtype: of the network and the text encoder; decoders compute in float32.
        store: makes the `PromptStore` of a text encoder, given what names the encoder.

    Raises:
        WeightsError: a checkpoint does not hold its network.
    """

    text_encoder: str
    network: nn.Module

    def __init__(
        self,
        config: Config,
        options: Options,
        paths: Mapping[str, Path],
        device: str,
        dtype: torch.dtype,
        store: Callable[[Json], PromptStore],
    ) -> None:
        self.config: Config = config
        self.options, self.paths, self.device, self.dtype = options, paths, device, dtype
        self._states = store([self.text_encoder, config.network.text_length, str(dtype)])
        self.network = self._load_network()
        self._load_decoders()

    def _load_decoders(self) -> None:
        self.audio_vae = from_library("diffusers", "AutoencoderKL", self.paths["audio_vae"], torch.float32)
        self.vocoder = from_library("transformers", "SpeechT5HifiGan", self.paths["vocoder"], torch.float32)
        self.audio_vae.to(self.device)
        self.vocoder.to(self.device)

    @abstractmethod
    def _load_network(self) -> nn.Module: ...

    @abstractmethod
    def text(self, prompt: str) -> str:
        """The prompt as the text encoder reads it."""

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Cost:
        """Make sure that every prompt's states are known; what it took."""
        cost = Cost()
        texts = list(dict.fromkeys(map(self.text, (*prompts, *self._always_encoded()))))
        with cost.of("encode_batch", self.device):
            if self._lacking(texts):
                self.network.to("cpu")
                _free(self.device)
                self._encode(texts)
                _free(self.device)
            self.network.to(self.device)
        return cost

    def _always_encoded(self) -> tuple[str, ...]:
        return ()

    def _lacking(self, texts: Sequence[str]) -> bool:
        return bool(self._states.lacking(texts))

    def _encode(self, texts: Sequence[str]) -> None:
        self._states.fill(texts, self._load_text_encoder)

    def _load_text_encoder(self) -> Encode:
        encode = text_encoder(
            self.text_encoder,
            self.paths["text_encoder"],
            self.paths["tokenizer"],
            self.config.network.text_length,
            self.device,
            self.dtype,
        )
        return lambda text: encode(text).arrays

    def _read(self, store: PromptStore, prompt: str) -> dict[str, Tensor]:
        """What a prompt was encoded to; a damaged entry is made again."""
        arrays = store.read(self.text(prompt))
        if arrays is None:
            self.encode([prompt])
            arrays = store.read(self.text(prompt))
        assert arrays is not None
        return arrays

    def _encoded(self, prompt: str) -> Encoded:
        return Encoded.of(self._read(self._states, prompt))

    @torch.no_grad()
    def make(self, prompt: str, plan: JavisDiTPlan, seed: int) -> Made:
        """Sample and decode one clip; `encode` must have seen the prompt.

        Noise comes from one CPU generator in this order: video, audio, and for v0.1 the prior.

        Raises:
            GenerationError: values that are not finite (kind ``non_finite``).
        """
        encoded = self._encoded(prompt)
        cost = Cost()
        with cost.of("denoise", self.device):
            video, audio = self._sample(prompt, plan, torch.Generator().manual_seed(seed))
        with cost.of("decode", self.device):
            pixels = self._decode_video(video, plan)[0].float()
            waveform = self._decode_audio(audio)[:, : plan.audio_samples].float()
        for name, values in (("picture", pixels), ("sound", waveform)):
            if not bool(torch.isfinite(values).all()):
                raise GenerationError(f"The {name} holds values that are not finite.", kind="non_finite")
        info = {"prompt": self.text(prompt), "truncated_tokens": encoded.truncated}
        return Made(_to_uint8(pixels), waveform.clamp(-1, 1).cpu(), cost, info)

    def _sample(self, prompt: str, plan: JavisDiTPlan, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        size = (self._latent_frames(plan.frames), plan.height // VAE_STRIDE, plan.width // VAE_STRIDE)
        network, audio_config = self.config.network, self.config.audio
        steps, mels = audio_config.latent_shape(plan.asked.frames / float(plan.fps))
        video = torch.randn(1, network.video_channels, *size, generator=noise)
        audio = torch.randn(1, network.audio_channels, steps, mels, generator=noise)
        velocity = self._velocity(prompt, plan, noise)
        sampling = self.config.sampling
        times = sampling_times(
            self.options.steps or sampling.steps, plan.asked, self._schedule_dtype, self.options.transform_scale
        )
        return euler(velocity, video.to(self.device), audio.to(self.device), times)

    @property
    def _guidance(self) -> float:
        return self.config.sampling.guidance if self.options.cfg is None else self.options.cfg

    @property
    def _schedule_dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.options.schedule == "bfloat16" else torch.float32

    def _rounded(self, value: float) -> float:
        return float(torch.tensor(value, dtype=self._schedule_dtype))

    def _times(self, value: float) -> Tensor:
        """`value` for both rows, rounded as the schedule is."""
        return torch.full((2,), self._rounded(value), device=self.device)

    @abstractmethod
    def _latent_frames(self, frames: int) -> int: ...

    @abstractmethod
    def _velocity(self, prompt: str, plan: JavisDiTPlan, noise: torch.Generator) -> Velocity: ...

    @abstractmethod
    def _decode_video(self, latent: Tensor, plan: JavisDiTPlan) -> Tensor:
        """Pixels ``(1, 3, T, H, W)`` in [-1, 1]."""

    def _decode_audio(self, latent: Tensor) -> Tensor:
        mel = self.audio_vae.decode(latent / self.audio_vae.config.scaling_factor).sample
        waveform: Tensor = self.vocoder(mel[:, 0])
        return waveform.view(1, -1)

    def close(self) -> None:
        """Forget everything."""
        del self.network, self.audio_vae, self.vocoder
        _free(self.device)


class V10Pipeline(Pipeline[V10Config]):
    """v1.0 (JavisDiT++)."""

    text_encoder = "UMT5EncoderModel"
    network: JointDiT

    def _load_network(self) -> JointDiT:
        with without_values():
            network = JointDiT(self.config.network).set_dtype(self.dtype)
        _fill(network, self.paths["network"], "JavisDiT v1.0")
        return network

    def _load_decoders(self) -> None:
        super()._load_decoders()
        self.video_vae = from_library("diffusers", "AutoencoderKLWan", self.paths["video_vae"], torch.float32)
        self.video_vae.to(self.device)

    def text(self, prompt: str) -> str:
        """White space collapsed, broken characters mended."""
        return prepare_v10(prompt)

    def _always_encoded(self) -> tuple[str, ...]:
        return (self.options.negative_prompt,)

    def _latent_frames(self, frames: int) -> int:
        return (frames - 1) // 4 + 1

    def _velocity(self, prompt: str, plan: JavisDiTPlan, noise: torch.Generator) -> Velocity:
        length = self.config.network.text_length
        rows = [self._encoded(p).padded(length) for p in (prompt, self.options.negative_prompt)]
        text = torch.stack(rows).to(self.device)

        def velocity(video: Tensor, audio: Tensor, value: float) -> tuple[Tensor, Tensor]:
            out = self.network(video.expand(2, -1, -1, -1, -1), audio.expand(2, -1, -1, -1), text, self._times(value))
            return guide(out[0], self._guidance), guide(out[1], self._guidance)

        return velocity

    def _decode_video(self, latent: Tensor, plan: JavisDiTPlan) -> Tensor:
        mean, std = (
            torch.tensor(values, device=latent.device).view(1, -1, 1, 1, 1)
            for values in (self.video_vae.config.latents_mean, self.video_vae.config.latents_std)
        )
        video: Tensor = self.video_vae.decode(latent * std + mean).sample
        return video


class V01Pipeline(Pipeline[V01Config]):
    """v0.1."""

    text_encoder = "T5EncoderModel"
    network: FactorisedDiT

    def __init__(
        self,
        config: V01Config,
        options: Options,
        paths: Mapping[str, Path],
        device: str,
        dtype: torch.dtype,
        store: Callable[[Json], PromptStore],
    ) -> None:
        super().__init__(config, options, paths, device, dtype, store)
        self._prior_states = store("ImageBind")
        self.prior = _prior_of(config.prior, paths["prior"]).to(device)

    def _load_network(self) -> FactorisedDiT:
        with without_values():
            network = FactorisedDiT(self.config.network).to(self.dtype)
        _fill(network, self.paths["network"], "JavisDiT v0.1")
        return network

    def _load_decoders(self) -> None:
        super()._load_decoders()
        with without_values():
            self.video_vae = VideoVAE(self.config.temporal_vae, self.config.spatial_vae)
        _fill(self.video_vae, self.paths["video_vae"], "OpenSora's video VAE 1.2", ignore=UNUSED_TENSORS)
        self.video_vae.to(self.device)

    def text(self, prompt: str) -> str:
        """With the score suffix, cleaned twice."""
        return prepare_v01(prompt, self.options.score_suffix)

    def _lacking(self, texts: Sequence[str]) -> bool:
        return super()._lacking(texts) or bool(self._prior_states.lacking(texts))

    def _encode(self, texts: Sequence[str]) -> None:
        super()._encode(texts)
        # The prior reads what the denoiser reads: cleaned, with the score.
        self._prior_states.fill(texts, self._load_prior_text)

    def _load_prior_text(self) -> Encode:
        with without_values():
            tower = PriorText(self.config.prior_text)
        path = self.paths["prior_text"]
        load_strict(tower, load_checkpoint(path), what="ImageBind's text tower", path=path, ignore=_IMAGEBIND_UNUSED)
        tower.to(self.device).eval()

        def encode(text: str) -> dict[str, Tensor]:
            ids = torch.tensor([clip_tokenizer().encode(text, keep_end=False)], device=self.device)
            return {"states": tower(ids)[0].cpu()}

        return encode

    def _latent_frames(self, frames: int) -> int:
        return latent_frames(frames)

    def _velocity(self, prompt: str, plan: JavisDiTPlan, noise: torch.Generator) -> Velocity:
        text, mask = self._text_rows(self._encoded(prompt))
        spatial, temporal = self._prior_rows(prompt, noise)
        asked = plan.asked
        setting = Setting(int(self._rounded(asked.height)), int(self._rounded(asked.width)), asked.frames)
        pool = self.options.prior_attention == "pooled"

        def velocity(video: Tensor, audio: Tensor, value: float) -> tuple[Tensor, Tensor]:
            out = self.network(
                video.expand(2, -1, -1, -1, -1),
                audio.expand(2, -1, -1, -1),
                text,
                mask,
                spatial,
                temporal,
                self._times(value),
                fps=float(plan.fps),
                setting=setting,
                pool_priors=pool,
            )
            return guide(out[0], self._guidance), guide(out[1], self._guidance)

        return velocity

    def _text_rows(self, prompt: Encoded) -> tuple[Tensor, Tensor | None]:
        """The prompt's states and the learned null text, and which of them each row may see (None: all)."""
        null = self.network.y_embedder.y_embedding.to(self.device)
        tokens = len(prompt.states)
        if self.options.null_mask == "conditional":
            return torch.stack([prompt.states.to(null), null[:tokens]]), None
        mask = torch.ones(2, len(null), dtype=torch.bool, device=self.device)
        mask[0, tokens:] = False
        return torch.stack([prompt.padded(len(null)).to(null), null]), mask

    def _prior_rows(self, prompt: str, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        numbers = self.config.prior
        tokens = numbers.spatial_priors + numbers.temporal_priors
        draw = torch.randn(1, tokens, numbers.prior_dim, generator=noise).to(self.device)
        states = self._read(self._prior_states, prompt)["states"]
        spatial, temporal = self.prior.draw(states[None].to(self.device), draw)
        null = self.network.st_prior_embedder.y_embedding.to(spatial)[None]
        return (
            torch.cat([spatial, null[:, : numbers.spatial_priors]]),
            torch.cat([temporal, null[:, numbers.spatial_priors :]]),
        )

    def _decode_video(self, latent: Tensor, plan: JavisDiTPlan) -> Tensor:
        return self.video_vae.decode(latent, plan.frames)


def _prior_of(config: PriorConfig, path: Path) -> PriorEstimator:
    """The prior estimator from its file, whose other tensors are named in the log.

    The released file is a training checkpoint: it may hold a copy of ImageBind's text tower (read here from ImageBind's
    own file) and parts that serve the training losses alone. What belongs to the estimator is taken strictly.
    """
    with without_values():
        prior = PriorEstimator(config)
    state = read_network(path)
    parts = {name.partition(".")[0] for name in prior.state_dict()}
    others = sorted(name for name in state if name.partition(".")[0] not in parts)
    if others:
        log.info("%s: %d tensors are not the estimator's and are left out: %s", path, len(others), ", ".join(others))
    load_strict(prior, state, what="JavisDiT v0.1's prior estimator", path=path, ignore=others)
    return prior.eval().requires_grad_(False)


def _fill(network: nn.Module, path: Path, what: str, ignore: tuple[str, ...] = ()) -> None:
    load_strict(network, read_network(path), what=what, path=path, ignore=ignore)
    network.eval().requires_grad_(False)


def _to_uint8(pixels: Tensor) -> Tensor:
    """``(3, T, H, W)`` in [-1, 1] to uint8 ``(T, H, W, 3)`` on the CPU, rounded to the nearest."""
    scaled = (pixels.clamp(-1, 1) + 1) / 2 * 255
    return scaled.round().to(torch.uint8).permute(1, 2, 3, 0).contiguous().cpu()


def _free(device: str) -> None:
    if device.startswith("cuda"):
        gc.collect()
        torch.cuda.empty_cache()
