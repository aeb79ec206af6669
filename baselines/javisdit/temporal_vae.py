"""Decoder of v0.1's video VAE (OpenSora 1.2): a causal temporal VAE on top of an image VAE.

Only decoding is written; a checkpoint's encoder tensors are known and left out (`UNUSED_TENSORS`).
"""

from __future__ import annotations

from importlib import import_module
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from javisbench.baselines.javisdit.config import SpatialVAEConfig, TemporalVAEConfig

FRAMES_PER_CHUNK = 17
LATENTS_PER_CHUNK = 5
TIME_FACTOR = 4

UNUSED_TENSORS = (
    "temporal_vae.encoder.",
    "temporal_vae.quant_conv.",
    "spatial_vae.module.encoder.",
    "spatial_vae.module.quant_conv.",
)
"""Beginnings of the names of a checkpoint's encoder tensors."""


def latent_frames(frames: int) -> int:
    """Latent frames of `frames` frames: 5 for every 17, and a quarter, rounded up, of the remainder."""
    chunks, rest = divmod(frames, FRAMES_PER_CHUNK)
    return chunks * LATENTS_PER_CHUNK + -(-rest // TIME_FACTOR)


class CausalConv3d(nn.Module):
    """A convolution that sees no later frames: zeros before the first frame, and around the picture."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__()
        side = kernel // 2
        self.padding = (side, side, side, side, kernel - 1, 0)
        self.conv = nn.Conv3d(inputs, outputs, kernel, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, T, H, W)`` to ``(B, outputs, T, H, W)``."""
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


class TemporalDecoder(nn.Module):
    """From latent frames to 4 times as many frames of the image VAE's latent."""

    def __init__(self, config: TemporalVAEConfig) -> None:
        super().__init__()
        widths = [config.filters * m for m in config.multipliers]
        top = len(widths) - 1

        def blocks(inputs: int, outputs: int) -> nn.ModuleList:
            sizes = [inputs, *[outputs] * config.residual_blocks]
            return nn.ModuleList(ResidualBlock(a, b, config.groups) for a, b in pairwise(sizes))

        self.downsample = config.downsample
        self.conv1 = CausalConv3d(config.channels, widths[top], 3)
        self.res_blocks = blocks(widths[top], widths[top])
        self.block_res_blocks = nn.ModuleList(
            blocks(widths[min(level + 1, top)], widths[level]) for level in range(top + 1)
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


class TemporalVAE(nn.Module):
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
    """Holds the image VAE under the name that the checkpoint gives it."""

    module: Any

    def __init__(self, config: SpatialVAEConfig) -> None:
        super().__init__()
        self.module = _decoder_of_image_vae(config)


class VideoVAE(nn.Module):
    """v0.1's video VAE, decoding half: temporal, then spatial.

    Args:
        temporal: numbers of the temporal part.
        spatial: numbers of the image VAE.
    """

    def __init__(self, temporal: TemporalVAEConfig, spatial: SpatialVAEConfig) -> None:
        super().__init__()
        self.config = spatial
        self.temporal_vae = TemporalVAE(temporal)
        self.spatial_vae = SpatialVAE(spatial)
        self.scale = nn.Buffer(torch.ones(1, temporal.channels, 1, 1, 1))
        self.shift = nn.Buffer(torch.zeros(1, temporal.channels, 1, 1, 1))

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


def _decoder_of_image_vae(config: SpatialVAEConfig) -> nn.Module:
    """diffusers' image VAE without its encoder, which decoding does not need."""
    levels = len(config.widths)
    vae: Any = import_module("diffusers").AutoencoderKL(
        block_out_channels=config.widths,
        layers_per_block=config.blocks,
        norm_num_groups=config.groups,
        latent_channels=config.channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
    )
    vae.encoder = None
    vae.quant_conv = None
    return vae  # type: ignore[no-any-return]
