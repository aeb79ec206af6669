"""From a prompt and a seed to pixels and a waveform: what all models here share.

Two phases bound the memory: prompts (all of a run, or those of a batch) are encoded while the network waits in host
memory, the text encoder is freed, then clips are sampled one by one, each as a conditional and a null row. A clip's
numbers never depend on other clips or prompts.
"""

from __future__ import annotations

import gc
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
from javisbench.baselines.javisdit.checkpoints import read_network
from javisbench.baselines.javisdit.config import OpenSoraConfig, V01Config, V10Config
from javisbench.baselines.javisdit.material import NOTHING, Material
from javisbench.baselines.javisdit.options import Options
from javisbench.baselines.javisdit.planning import VAE_STRIDE, JavisDiTPlan
from javisbench.baselines.javisdit.sampler import Given, Streams, Velocity, euler, sampling_times
from javisbench.baselines.javisdit.sound import Sound
from javisbench.baselines.javisdit.text_encoder import Encoded, text_encoder
from javisbench.baselines.prompt_store import Encode, PromptStore
from javisbench.errors import GenerationError
from javisbench.metrics.encoders.checkpoint import load_strict

Config = TypeVar("Config", V10Config, V01Config, OpenSoraConfig)


@dataclass
class Cost:
    """What stages took, each in all of its turns.

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
            peak = torch.cuda.max_memory_allocated(device)
            self.peak_bytes[stage] = max(peak, self.peak_bytes.get(stage, 0))
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.monotonic() - started, 3)

    def __or__(self, other: Cost) -> Cost:
        """The stages of both."""
        return Cost(self.seconds | other.seconds, self.peak_bytes | other.peak_bytes)


@dataclass
class Made:
    """A clip as tensors.

    Attributes:
        frames: uint8 ``(T, H, W, 3)``, on the CPU; None where no picture is wanted.
        audio: float32 ``(1, samples)`` in [-1, 1], on the CPU; None where no sound is wanted or made.
        cost: of its stages.
        info: facts about its making.
    """

    frames: Tensor | None
    audio: Tensor | None
    cost: Cost
    info: dict[str, Any] = field(default_factory=dict)


class Pipeline(ABC, Generic[Config]):
    """What all models share.

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
    video_vae: nn.Module
    sound: Sound | None = None

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
        if options.compile:
            self.network.compile()
        self._load_decoders()

    @abstractmethod
    def _load_decoders(self) -> None:
        """Set `video_vae` and, for models with sound, `sound`."""

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
    def make(self, prompt: str, plan: JavisDiTPlan, seed: int, material: Material = NOTHING) -> Made:
        """Sample and decode one clip.

        Noise comes from one CPU generator in this order: video, audio, the prior (v0.1), what encoders of given frames
        and sounds draw, frames that become free later; then the same for each piece that continues the clip.

        Args:
            prompt: as given.
            plan: what to make.
            seed: of the noise.
            material: what is given of the clip.

        Raises:
            GenerationError: values that are not finite (kind ``non_finite``).
        """
        encoded = self._encoded(prompt)
        cost = Cost()
        frames, audio = self._make(prompt, plan, torch.Generator().manual_seed(seed), material, cost)
        info = {"prompt": self.text(prompt), "truncated_tokens": encoded.truncated}
        return Made(frames, audio, cost, info)

    def _make(
        self, prompt: str, plan: JavisDiTPlan, draw: torch.Generator, material: Material, cost: Cost
    ) -> tuple[Tensor | None, Tensor | None]:
        """Frames and waveform as in `Made`."""
        with cost.of("denoise", self.device):
            latents = self._sample(prompt, plan, draw, material)
        with cost.of("decode", self.device):
            frames = audio = None
            if material.makes_picture:
                frames = _to_uint8(_finite("picture", self._decode_video(latents[0], plan)[0].float()))
            if self.sound is not None and material.makes_sound:
                waveform = self.sound.decode(latents[1])[:, : plan.audio_samples]
                audio = _finite("sound", waveform.float()).clamp(-1, 1).cpu()
        return frames, audio

    def _sample(self, prompt: str, plan: JavisDiTPlan, draw: torch.Generator, material: Material) -> Streams:
        noise = tuple(torch.randn(1, *shape, generator=draw) for shape in self._latent_shapes(plan))
        velocity = self._velocity(prompt, plan, draw)
        noise = tuple(one.to(self.device) for one in noise)
        given = self._given(material, noise, draw)
        sampling = self.config.sampling
        times = sampling_times(
            self.options.steps or sampling.steps, plan.asked, self._schedule_dtype, self.options.transform_scale
        )
        return euler(velocity, noise, times, given, draw)

    def _given(self, material: Material, noise: Streams, draw: torch.Generator) -> tuple[Given, ...] | None:
        """What is given of each stream, as latents of the shapes of `noise`; None for nothing."""
        return None

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

    def _latent_shapes(self, plan: JavisDiTPlan) -> list[tuple[int, ...]]:
        """Of each stream, without the batch: the picture's first."""
        height, width = plan.height // VAE_STRIDE, plan.width // VAE_STRIDE
        shapes: list[tuple[int, ...]] = [
            (self.config.network.video_channels, self._latent_frames(plan.frames), height, width)
        ]
        if self.sound is not None:
            shapes.append(self.sound.latent_shape(plan.asked.frames / float(plan.fps)))
        return shapes

    @abstractmethod
    def _latent_frames(self, frames: int) -> int: ...

    @abstractmethod
    def _velocity(self, prompt: str, plan: JavisDiTPlan, draw: torch.Generator) -> Velocity: ...

    @abstractmethod
    def _decode_video(self, latent: Tensor, plan: JavisDiTPlan) -> Tensor:
        """Pixels ``(1, 3, T, H, W)`` in [-1, 1]."""

    def close(self) -> None:
        """Forget everything."""
        del self.network, self.video_vae
        self.sound = None
        _free(self.device)


def _finite(name: str, values: Tensor) -> Tensor:
    if not bool(torch.isfinite(values).all()):
        raise GenerationError(f"The {name} holds values that are not finite.", kind="non_finite")
    return values


def fill(network: nn.Module, path: Path, what: str, ignore: tuple[str, ...] = ()) -> None:
    """Read a network's tensors, strictly.

    Raises:
        WeightsError: the checkpoint does not hold the network; names that begin as in `ignore` may be there.
    """
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
