"""Synchformer's visual part: a video transformer with divided space-time attention.

Sources: Iashin et al., Synchformer, ICASSP 2024, section 2; Patrick et al., Keeping Your Eye on the Ball
(Motionformer), NeurIPS 2021; Bertasius et al., Is Space-Time Attention All You Need?, ICML 2021, section 3 (divided
attention).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from javisbench.metrics.encoders.synchformer.attention import AttentionPool


class PatchEmbedding(nn.Module):
    """Non-overlapping patches of an image or a video, each mapped to a token.

    Args:
        projection: a convolution whose stride is its kernel.
    """

    def __init__(self, projection: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        self.proj = projection

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, ...)`` to ``(n, tokens, width)``, tokens in C order of the patch grid."""
        patches: Tensor = self.proj(x)
        return patches.flatten(2).transpose(1, 2)


class DividedAttention(nn.Module):
    """Attention in which the class token sees every token, and a patch token its own group and the class token.

    Args:
        width: of a token.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, frames: int, *, over_time: bool) -> Tensor:
        """Attend within groups.

        Args:
            x: class token and patches, ``(n, 1 + frames * patches, width)``, patches ordered by frame.
            frames: time positions.
            over_time: whether a group is one place at all times, or all places of one frame.

        Returns:
            of the shape of `x`.
        """
        n, length, width = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        cls = F.scaled_dot_product_attention(q[:, :, :1], k, v)
        # Heads and groups share one axis: the fast kernels take four axes only.
        patches = F.scaled_dot_product_attention(
            _groups(q[:, :, 1:], frames, over_time).flatten(1, 2),
            _with_class(k, frames, over_time).flatten(1, 2),
            _with_class(v, frames, over_time).flatten(1, 2),
        )
        patches = _ungrouped(patches, self.heads, over_time)
        attended = torch.cat([cls, patches], dim=2).transpose(1, 2).reshape(n, length, width)
        projected: Tensor = self.proj(attended)
        return projected


def _groups(patches: Tensor, frames: int, over_time: bool) -> Tensor:
    """``(n, heads, frames * places, d)`` to ``(n, heads, groups, members, d)``."""
    n, heads, _, d = patches.shape
    grid = patches.reshape(n, heads, frames, -1, d)
    return grid.transpose(2, 3) if over_time else grid


def _ungrouped(patches: Tensor, heads: int, over_time: bool) -> Tensor:
    """``(n, heads * groups, members, d)`` to ``(n, heads, frames * places, d)``."""
    n, _, members, d = patches.shape
    grid = patches.reshape(n, heads, -1, members, d)
    return (grid.transpose(2, 3) if over_time else grid).flatten(2, 3)


def _with_class(tokens: Tensor, frames: int, over_time: bool) -> Tensor:
    """The groups of the patches, each with the class token in front."""
    groups = _groups(tokens[:, :, 1:], frames, over_time)
    cls = tokens[:, :, None, :1].expand(-1, -1, groups.shape[2], -1, -1)
    return torch.cat([cls, groups], dim=3)


class Mlp(nn.Module):
    """Linear, exact GELU, linear, with four times the width between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape of `x`."""
        mapped: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return mapped


class DividedBlock(nn.Module):
    """Attention over time, then over space, then an MLP, each after a norm and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = DividedAttention(width, heads)
        self.timeattn = DividedAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)
        self.norm3 = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """``(n, 1 + frames * patches, width)`` to the same shape."""
        x = x + self.timeattn(self.norm3(x), frames, over_time=True)
        x = x + self.attn(self.norm1(x), frames, over_time=False)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class VisualExtractor(nn.Module):
    """One vector every second frame of a 16-frame segment at 25 fps.

    Args:
        depth: blocks.
        width: of a token.
        heads: attention heads.
    """

    frames = 8  # time positions: 16 frames in patches of 2
    places = 14 * 14  # 224 pixels in patches of 16

    def __init__(self, depth: int, width: int, heads: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.places, width))
        self.temp_embed = nn.Parameter(torch.zeros(1, self.frames, width))
        # In the official file, though videos only pass through patch_embed_3d.
        self.patch_embed = PatchEmbedding(nn.Conv2d(3, width, 16, stride=16))
        self.patch_embed_3d = PatchEmbedding(nn.Conv3d(3, width, (2, 16, 16), stride=(2, 16, 16)))
        self.blocks = nn.ModuleList(DividedBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.spatial_attn_agg = AttentionPool(width, heads)

    def forward(self, segments: Tensor) -> Tensor:
        """Float pixels in [-1, 1], ``(n, 3, 16, 224, 224)``, to ``(n, 8, width)``."""
        x = torch.cat([self.cls_token.expand(segments.shape[0], -1, -1), self.patch_embed_3d(segments)], dim=1)
        x = x + self._positions()
        for block in self.blocks:
            x = block(x, self.frames)
        width = x.shape[-1]
        pooled: Tensor = self.spatial_attn_agg(self.norm(x[:, 1:]).reshape(-1, self.places, width))
        return pooled.reshape(-1, self.frames, width)

    def _positions(self) -> Tensor:
        places = self.pos_embed[:, 1:].repeat(1, self.frames, 1)
        times = self.temp_embed.repeat_interleave(self.places, dim=1)
        return torch.cat([self.pos_embed[:, :1], places + times], dim=1)
