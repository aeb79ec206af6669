"""The pipelines of v0.1 and of OpenSora 1.2, which share text encoder, picture and video VAE."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from javisbench.baselines.base import Json
from javisbench.baselines.javisdit.checkpoints import read_network
from javisbench.baselines.javisdit.config import OpenSoraConfig, PriorConfig, V01Config
from javisbench.baselines.javisdit.material import Material
from javisbench.baselines.javisdit.options import Options
from javisbench.baselines.javisdit.pipeline import Cost, Pipeline, fill
from javisbench.baselines.javisdit.planning import OVERLAP_FRAMES, JavisDiTPlan
from javisbench.baselines.javisdit.prior import PriorEstimator, PriorText
from javisbench.baselines.javisdit.sampler import Given, Setting, Streams, Velocity, guide
from javisbench.baselines.javisdit.sound import Sound, gain_of
from javisbench.baselines.javisdit.stdit import VideoBranch, VideoDiT
from javisbench.baselines.javisdit.temporal_vae import (
    DECODER_TENSORS,
    ENCODER_TENSORS,
    VideoDecoder,
    VideoEncoder,
    latent_frames,
)
from javisbench.baselines.javisdit.text import prepare_v01
from javisbench.baselines.javisdit.text_encoder import Encoded
from javisbench.baselines.javisdit.v01_network import FactorisedDiT
from javisbench.baselines.prompt_store import Encode, PromptStore
from javisbench.metrics.encoders.checkpoint import load_checkpoint, load_strict, without_values
from javisbench.metrics.encoders.preprocessing.clip_tokenizer import clip_tokenizer

log = logging.getLogger(__name__)
Config = TypeVar("Config", V01Config, OpenSoraConfig)

_VAE = "OpenSora's video VAE 1.2"
_OTHER_MODALITIES = tuple(
    f"modality_{part}.{name}"
    for part in ("preprocessors", "trunks")
    for name in ("vision", "audio", "depth", "thermal", "imu")
)
_IMAGEBIND_UNUSED = (*_OTHER_MODALITIES, "modality_heads.", "modality_postprocessors.")


class STDiTPipeline(Pipeline[Config]):
    """What both share: text, video VAE, given frames, and clips that continue."""

    text_encoder = "T5EncoderModel"
    network: VideoBranch
    video_vae: Any
    _video_encoder: VideoEncoder | None = None

    def _load_decoders(self) -> None:
        with without_values():
            self.video_vae = VideoDecoder(self.config.temporal_vae, self.config.spatial_vae)
        fill(self.video_vae, self.paths["video_vae"], _VAE, ignore=ENCODER_TENSORS)
        self.video_vae.to(self.device)

    def text(self, prompt: str) -> str:
        """With the score suffix, cleaned twice."""
        return prepare_v01(prompt, self.options.score_suffix)

    def _latent_frames(self, frames: int) -> int:
        return latent_frames(frames)

    def _setting(self, plan: JavisDiTPlan) -> Setting:
        asked = plan.asked
        return Setting(int(self._rounded(asked.height)), int(self._rounded(asked.width)), asked.frames)

    def _text_rows(self, prompt: Encoded) -> tuple[Tensor, Tensor | None]:
        """The prompt's states and the learned null text, and which of them each row may see (None: all)."""
        null = self.network.y_embedder.y_embedding.to(self.device)
        tokens = len(prompt.states)
        if self.options.null_mask == "conditional":
            return torch.stack([prompt.states.to(null), null[:tokens]]), None
        mask = torch.ones(2, len(null), dtype=torch.bool, device=self.device)
        mask[0, tokens:] = False
        return torch.stack([prompt.padded(len(null)).to(null), null]), mask

    def _decode_video(self, latent: Tensor, plan: JavisDiTPlan) -> Tensor:
        video: Tensor = self.video_vae.decode(latent, plan.frames)
        return video

    # Given frames

    def _given(self, material: Material, noise: Streams, draw: torch.Generator) -> tuple[Given, ...] | None:
        if material.frames is None and material.samples is None:
            return None
        return tuple(self._given_streams(material, noise, draw))

    def _given_streams(self, material: Material, noise: Streams, draw: torch.Generator) -> list[Given]:
        frames = material.frames
        return [
            self._as_given(noise[0], None if frames is None else self._encode_frames(torch.from_numpy(frames), draw))
        ]

    def _as_given(self, noise: Tensor, start: Tensor | None) -> Given:
        """A stream of the shape of `noise` of which the latents `start` are given at the beginning."""
        latent, mask = torch.zeros_like(noise), torch.ones(noise.shape[2], device=noise.device)
        if start is not None:
            latent[:, :, : start.shape[2]] = start
            mask[: start.shape[2]] = self.options.edit_ratio
        return Given(latent, mask)

    def _encode_frames(self, frames: Tensor, draw: torch.Generator) -> Tensor:
        """Latents of uint8 frames ``(T, H, W, 3)``."""
        if self._video_encoder is None:
            with without_values():
                encoder = VideoEncoder(self.config.temporal_vae, self.config.spatial_vae)
            fill(encoder, self.paths["video_vae"], _VAE, ignore=DECODER_TENSORS)
            self._video_encoder = encoder.to(self.device)
        pixels = frames.permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        return self._video_encoder.encode(pixels.to(self.device), draw)

    # Clips that continue

    def _make(
        self, prompt: str, plan: JavisDiTPlan, draw: torch.Generator, material: Material, cost: Cost
    ) -> tuple[Tensor | None, Tensor | None]:
        """One piece, then those that continue it: each keeps the last 17 frames of the one before, and their sound."""
        frames, sound = self._piece(prompt, plan.piece, draw, material, cost)
        start = plan.overlap_samples
        for _ in range(plan.extensions):
            assert frames is not None
            kept, gain = None, 1.0
            if sound is not None:
                kept = sound[0, -start:].numpy()
                gain = gain_of(kept)
                kept = kept * np.float32(gain)
            following = Material(frames[-OVERLAP_FRAMES:].numpy(), kept)
            more, more_sound = self._piece(prompt, plan.piece, draw, following, cost)
            assert more is not None
            frames = torch.cat([frames, more[OVERLAP_FRAMES:]])
            if sound is not None and more_sound is not None:
                sound = torch.cat([sound, (more_sound[:, start:] / gain).clamp(-1, 1)], dim=1)
        return frames, sound

    def _piece(
        self, prompt: str, plan: JavisDiTPlan, draw: torch.Generator, material: Material, cost: Cost
    ) -> tuple[Tensor | None, Tensor | None]:
        """A clip of which what is given comes back unchanged: decoding would change it."""
        frames, sound = super()._make(prompt, plan, draw, material, cost)
        kept = self.options.edit_ratio == 0
        if kept and frames is not None and material.frames is not None:
            frames[: len(material.frames)] = torch.from_numpy(material.frames)
        return frames, sound


class OpenSoraPipeline(STDiTPipeline[OpenSoraConfig]):
    """OpenSora 1.2: pictures without sound."""

    network: VideoDiT

    def _load_network(self) -> VideoDiT:
        with without_values():
            network = VideoDiT(self.config.network).to(self.dtype)
        fill(network, self.paths["network"], "OpenSora 1.2 (STDiT3)")
        return network

    def _velocity(self, prompt: str, plan: JavisDiTPlan, draw: torch.Generator) -> Velocity:
        text, mask = self._text_rows(self._encoded(prompt))
        setting = self._setting(plan)

        def velocity(latents: Streams, value: float, free: Streams | None) -> Streams:
            out = self.network(
                latents[0].expand(2, -1, -1, -1, -1),
                text,
                mask,
                self._times(value),
                fps=float(plan.fps),
                setting=setting,
                sampled=None if free is None else free[0].expand(2, -1),
            )
            return (guide(out, self._guidance),)

        return velocity


class V01Pipeline(STDiTPipeline[V01Config]):
    """v0.1."""

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
        fill(network, self.paths["network"], "JavisDiT v0.1")
        return network

    def _load_decoders(self) -> None:
        super()._load_decoders()
        self.sound = Sound(self.config.audio, self.config.network.audio_channels, self.paths, self.device)

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

    def _velocity(self, prompt: str, plan: JavisDiTPlan, draw: torch.Generator) -> Velocity:
        text, mask = self._text_rows(self._encoded(prompt))
        spatial, temporal = self._prior_rows(prompt, draw)
        setting, pool = self._setting(plan), self.options.prior_attention == "pooled"

        def velocity(latents: Streams, value: float, free: Streams | None) -> Streams:
            video, audio = latents
            frames = None if free is None else (free[0].expand(2, -1), free[1].expand(2, -1))
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
                sampled=frames,
            )
            return guide(out[0], self._guidance), guide(out[1], self._guidance)

        return velocity

    def _given_streams(self, material: Material, noise: Streams, draw: torch.Generator) -> list[Given]:
        [video] = super()._given_streams(material, noise, draw)
        audio = self._as_given(
            noise[1], None if material.samples is None else self._encode_sound(material, noise[1], draw)
        )
        return [video, audio]

    def _encode_sound(self, material: Material, noise: Tensor, draw: torch.Generator) -> Tensor:
        """Latents of given samples: of whole tokens at a clip's start, or of the whole sound."""
        assert self.sound is not None and material.samples is not None
        token = self.config.network.audio_patch[0]
        steps = noise.shape[2]
        if material.makes_sound:
            steps = min(steps, len(material.samples) // self.sound.samples_a_step // token * token)
        return self.sound.encode(torch.from_numpy(material.samples), steps, draw)

    def _prior_rows(self, prompt: str, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        numbers = self.config.prior
        tokens = numbers.spatial_priors + numbers.temporal_priors
        noise = torch.randn(1, tokens, numbers.prior_dim, generator=draw).to(self.device)
        states = self._read(self._prior_states, prompt)["states"]
        spatial, temporal = self.prior.draw(states[None].to(self.device), noise)
        null = self.network.st_prior_embedder.y_embedding.to(spatial)[None]
        return (
            torch.cat([spatial, null[:, : numbers.spatial_priors]]),
            torch.cat([temporal, null[:, numbers.spatial_priors :]]),
        )


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
