"""The video VAE of v0.1 and OpenSora 1.2: a causal temporal VAE on top of an image VAE.

Its halves are networks of their own, because few tasks encode: each reads its tensors of the one checkpoint and leaves
out the other's (`ENCODER_TENSORS`, `DECODER_TENSORS`).
"""

from __future__ import annotations

from importlib import import_module
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from javisbench.baselines.javisdit.config import SpatialVAEConfig, TemporalVAEConfig

FRAMES_PER_CHUNK = 17
LATENTS_PER_CHUNK = 5
TIME_FACTOR = 4

ENCODER_TENSORS = (
    "temporal_vae.encoder.",
    "temporal_vae.quant_conv.",
    "spatial_vae.module.encoder.",
    "spatial_vae.module.quant_conv.",
)
"""Beginnings of the names of a checkpoint's tensors that only encoding needs."""

DECODER_TENSORS = (
    "temporal_vae.decoder.",
    "temporal_vae.post_quant_conv.",
    "spatial_vae.module.decoder.",
    "spatial_vae.module.post_quant_conv.",
)
"""Beginnings of the names of a checkpoint's tensors that only decoding needs."""


def latent_frames(frames: int) -> int:
    """Latent frames of `frames` frames: 5 for every 17, and a quarter, rounded up, of the remainder."""
    chunks, rest = divmod(frames, FRAMES_PER_CHUNK)
    return chunks * LATENTS_PER_CHUNK + -(-rest // TIME_FACTOR)


class CausalConv3d(nn.Module):
    """A convolution that sees no later frames: zeros before the first frame, and around the picture.

    With `stride` 2 it makes one frame of every two, and sees them and the one before.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, bias: bool = True, stride: int = 1) -> None:
        super().__init__()
        side = kernel // 2
        self.padding = (side, side, side, side, kernel - stride, 0)
        self.conv = nn.Conv3d(inputs, outputs, kernel, bias=bias, stride=(stride, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, T, H, W)`` to ``(B, outputs, T / stride, H, W)``."""
        return self.conv(F.pad(x, self.padding))  # type: ignore[no-any-return]


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolution, twice; the shortcut has a convolution where the width changes."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs)
        self.conv1 = CausalConv3d(inputs, outputs, 3, bias=False)
        self.norm2 = nn.GroupNorm(groups, outputs)
        self.conv2 = CausalConv3d(outputs, outputs, 3, bias=False)
        if inputs != outputs:
            self.conv3 = CausalConv3d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, T, H, W)`` to ``(B, outputs, T, H, W)``."""
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        shortcut = self.conv3(x) if hasattr(self, "conv3") else x
        return y + shortcut  # type: ignore[no-any-return]


def _blocks(inputs: int, outputs: int, config: TemporalVAEConfig) -> nn.ModuleList:
    sizes = [inputs, *[outputs] * config.residual_blocks]
    return nn.ModuleList(ResidualBlock(a, b, config.groups) for a, b in pairwise(sizes))


class TemporalEncoder(nn.Module):
    """From frames of the image VAE's latent to a quarter as many, with means and log-variances."""

    def __init__(self, config: TemporalVAEConfig) -> None:
        super().__init__()
        widths = [config.filters * m for m in config.multipliers]
        self.conv_in = CausalConv3d(config.channels, widths[0], 3, bias=False)
        self.block_res_blocks = nn.ModuleList(
            _blocks(widths[max(level - 1, 0)], width, config) for level, width in enumerate(widths)
        )
        self.conv_blocks = nn.ModuleList(
            CausalConv3d(width, width, 3, stride=2) if halves else nn.Identity()
            for width, halves in zip(widths, config.downsample, strict=False)
        )
        self.res_blocks = _blocks(widths[-1], widths[-1], config)
        self.norm1 = nn.GroupNorm(config.groups, widths[-1])
        self.conv2 = CausalConv3d(widths[-1], 2 * config.channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, T, H, W)``, T a multiple of 4, to ``(B, 2 channels, T / 4, H, W)``."""
        x = self.conv_in(x)
        for level, blocks in enumerate(self.block_res_blocks):
            for block in blocks.children():
                x = block(x)
            if level < len(self.conv_blocks):
                x = self.conv_blocks[level](x)
        for block in self.res_blocks:
            x = block(x)
        return self.conv2(F.silu(self.norm1(x)))  # type: ignore[no-any-return]


class TemporalDecoder(nn.Module):
    """From latent frames to 4 times as many frames of the image VAE's latent."""

    def __init__(self, config: TemporalVAEConfig) -> None:
        super().__init__()
        widths = [config.filters * m for m in config.multipliers]
        top = len(widths) - 1
        self.downsample = config.downsample
        self.conv1 = CausalConv3d(config.channels, widths[top], 3)
        self.res_blocks = _blocks(widths[top], widths[top], config)
        self.block_res_blocks = nn.ModuleList(
            _blocks(widths[min(level + 1, top)], widths[level], config) for level in range(top + 1)
        )
        self.conv_blocks = nn.ModuleList(
            CausalConv3d(widths[level + 1], 2 * widths[level + 1], 3) if doubles else nn.Identity()
            for level, doubles in enumerate(config.downsample)
        )
        self.norm1 = nn.GroupNorm(config.groups, widths[0])
        self.conv_out = CausalConv3d(widths[0], config.channels, 3)

    def forward(self, z: Tensor) -> Tensor:
        """``(B, channels, T, H, W)`` to ``(B, channels, 4 T, H, W)``."""
        x = self.conv1(z)
        for block in self.res_blocks:
            x = block(x)
        for level in reversed(range(len(self.block_res_blocks))):
            for block in self.block_res_blocks[level].children():
                x = block(x)
            if level > 0 and self.downsample[level - 1]:
                x = _interleave_time(self.conv_blocks[level - 1](x))
        return self.conv_out(F.silu(self.norm1(x)))  # type: ignore[no-any-return]


def _interleave_time(x: Tensor) -> Tensor:
    """``(B, 2 C, T, H, W)`` to ``(B, C, 2 T, H, W)``; channel 2c + s becomes frame 2t + s."""
    return torch.unflatten(x, 1, (-1, 2)).movedim(2, 3).flatten(2, 3)


class TemporalEncoding(nn.Module):
    """The temporal VAE's encoding half.

    Args:
        config: its numbers.
    """

    def __init__(self, config: TemporalVAEConfig) -> None:
        super().__init__()
        self.encoder = TemporalEncoder(config)
        self.quant_conv = CausalConv3d(2 * config.channels, 2 * config.channels, 1)

    def encode(self, x: Tensor, noise: torch.Generator | None) -> Tensor:
        """One draw of the latent of `x` ``(B, channels, T, H, W)``, T / 4 frames, rounded up; the mean without noise.

        A count that is no multiple of 4 is filled up with zeros in front.
        """
        x = F.pad(x, (0, 0, 0, 0, -x.shape[2] % TIME_FACTOR, 0))
        mean, log_variance = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return _drawn(mean, log_variance, noise)


def _drawn(mean: Tensor, log_variance: Tensor, noise: torch.Generator | None) -> Tensor:
    if noise is None:
        return mean
    deviation = (log_variance.clamp(-30, 20) / 2).exp()
    return mean + deviation * torch.randn(mean.shape, generator=noise).to(mean)


class TemporalDecoding(nn.Module):
    """The temporal VAE's decoding half.

    Args:
        config: its numbers.
    """

    def __init__(self, config: TemporalVAEConfig) -> None:
        super().__init__()
        self.post_quant_conv = CausalConv3d(config.channels, config.channels, 1)
        self.decoder = TemporalDecoder(config)

    def decode(self, z: Tensor, frames: int) -> Tensor:
        """The last `frames` of the frames that `z` ``(B, channels, T, H, W)`` decodes to.

        A count that is no multiple of 4 was padded in front when it was encoded.
        """
        x: Tensor = self.decoder(self.post_quant_conv(z))
        return x[:, :, -frames % TIME_FACTOR :]


class SpatialVAE(nn.Module):
    """Holds a half of the image VAE under the name that the checkpoint gives it."""

    module: Any

    def __init__(self, config: SpatialVAEConfig, half: Literal["encoder", "decoder"]) -> None:
        super().__init__()
        self.module = _half_of_image_vae(config, half)


class _Half(nn.Module):
    """What both halves share: the constants between the temporal VAE's latent and that which the network sees."""

    def __init__(self, temporal: TemporalVAEConfig, spatial: SpatialVAEConfig) -> None:
        super().__init__()
        self.config = spatial
        self.scale = nn.Buffer(torch.ones(1, temporal.channels, 1, 1, 1))
        self.shift = nn.Buffer(torch.zeros(1, temporal.channels, 1, 1, 1))


class VideoEncoder(_Half):
    """The video VAE's encoding half: spatial, then temporal.

    Args:
        temporal: numbers of the temporal part.
        spatial: numbers of the image VAE.
    """

    def __init__(self, temporal: TemporalVAEConfig, spatial: SpatialVAEConfig) -> None:
        super().__init__(temporal, spatial)
        self.temporal_vae = TemporalEncoding(temporal)
        self.spatial_vae = SpatialVAE(spatial, "encoder")

    def encode(self, video: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """One draw of the latent of a video; its mean without `noise`.

        Args:
            video: ``(B, 3, T, H, W)`` in [-1, 1].
            noise: a CPU generator; the image VAE's draws come first, then the temporal VAE's, 17 frames at a time.

        Returns:
            ``(B, channels, latent_frames(T), H / 8, W / 8)``, for the official image VAE.
        """
        images = self._encode_images(video, noise)
        chunks = [self.temporal_vae.encode(chunk, noise) for chunk in torch.split(images, FRAMES_PER_CHUNK, dim=2)]
        return (torch.cat(chunks, dim=2) - self.shift) / self.scale

    def _encode_images(self, video: Tensor, noise: torch.Generator | None) -> Tensor:
        batch = video.shape[0]
        latents = []
        for part in torch.split(video.transpose(1, 2).flatten(0, 1), self.config.frames_at_once):
            moments = self.spatial_vae.module.encode(part).latent_dist
            latents.append(_drawn(moments.mean, moments.logvar, noise) * self.config.scaling)
        return torch.unflatten(torch.cat(latents), 0, (batch, -1)).transpose(1, 2)


class VideoDecoder(_Half):
    """The video VAE's decoding half: temporal, then spatial.

    Args:
        temporal: numbers of the temporal part.
        spatial: numbers of the image VAE.
    """

    def __init__(self, temporal: TemporalVAEConfig, spatial: SpatialVAEConfig) -> None:
        super().__init__(temporal, spatial)
        self.temporal_vae = TemporalDecoding(temporal)
        self.spatial_vae = SpatialVAE(spatial, "decoder")

    def decode(self, z: Tensor, frames: int) -> Tensor:
        """Pixels of a latent.

        Args:
            z: ``(B, channels, latent_frames(frames), H, W)``.
            frames: frames to make.

        Returns:
            ``(B, 3, frames, 8 H, 8 W)`` in about [-1, 1], for the official image VAE.
        """
        z = z * self.scale + self.shift
        chunks = []
        for chunk in torch.split(z, LATENTS_PER_CHUNK, dim=2):
            chunks.append(self.temporal_vae.decode(chunk, min(frames, FRAMES_PER_CHUNK)))
            frames -= FRAMES_PER_CHUNK
        return self._decode_images(torch.cat(chunks, dim=2))

    def _decode_images(self, z: Tensor) -> Tensor:
        batch = z.shape[0]
        images = z.transpose(1, 2).flatten(0, 1) / self.config.scaling
        parts = torch.split(images, self.config.frames_at_once)
        decoded = torch.cat([self.spatial_vae.module.decode(part).sample for part in parts])
        return torch.unflatten(decoded, 0, (batch, -1)).transpose(1, 2)


def _half_of_image_vae(config: SpatialVAEConfig, half: Literal["encoder", "decoder"]) -> nn.Module:
    """diffusers' image VAE without its other half."""
    levels = len(config.widths)
    vae: Any = import_module("diffusers").AutoencoderKL(
        block_out_channels=config.widths,
        layers_per_block=config.blocks,
        norm_num_groups=config.groups,
        latent_channels=config.channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
    )
    if half == "decoder":
        vae.encoder = vae.quant_conv = None
    else:
        vae.decoder = vae.post_quant_conv = None
    return vae  # type: ignore[no-any-return]
