"""The pipeline of v1.0 (JavisDiT++)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from javisbench.baselines.javisdit.checkpoints import from_library
from javisbench.baselines.javisdit.config import V10Config
from javisbench.baselines.javisdit.pipeline import Pipeline, fill
from javisbench.baselines.javisdit.planning import JavisDiTPlan
from javisbench.baselines.javisdit.sampler import Streams, Velocity, guide
from javisbench.baselines.javisdit.sound import Sound
from javisbench.baselines.javisdit.text import prepare_v10
from javisbench.baselines.javisdit.v10_network import JointDiT
from javisbench.metrics.encoders.checkpoint import without_values


class V10Pipeline(Pipeline[V10Config]):
    """v1.0 (JavisDiT++)."""

    text_encoder = "UMT5EncoderModel"
    network: JointDiT
    video_vae: Any

    def _load_network(self) -> JointDiT:
        with without_values():
            network = JointDiT(self.config.network).set_dtype(self.dtype)
        fill(network, self.paths["network"], "JavisDiT v1.0")
        return network

    def _load_decoders(self) -> None:
        self.sound = Sound(self.config.audio, self.config.network.audio_channels, self.paths, self.device)
        self.video_vae = from_library("diffusers", "AutoencoderKLWan", self.paths["video_vae"], torch.float32)
        self.video_vae.to(self.device)

    def text(self, prompt: str) -> str:
        """White space collapsed, broken characters mended."""
        return prepare_v10(prompt)

    def _always_encoded(self) -> tuple[str, ...]:
        return (self.options.negative_prompt,)

    def _latent_frames(self, frames: int) -> int:
        return (frames - 1) // 4 + 1

    def _velocity(self, prompt: str, plan: JavisDiTPlan, draw: torch.Generator) -> Velocity:
        length = self.config.network.text_length
        rows = [self._encoded(p).padded(length) for p in (prompt, self.options.negative_prompt)]
        text = torch.stack(rows).to(self.device)

        def velocity(latents: Streams, value: float, free: Streams | None) -> Streams:
            video, audio = latents
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
