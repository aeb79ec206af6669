"""Spatial and temporal attention over a picture's tokens: OpenSora 1.2's network (STDiT3), and what v0.1 shares.

A layer holds a block that attends within each latent frame and one that attends over time at each place; both read the
prompt by cross-attention. Some frames may be given rather than sampled; those are modulated as at time 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from javisbench.baselines.javisdit.config import VideoNetworkConfig
from javisbench.baselines.javisdit.sampler import Setting

_EPS = 1e-6
_THETA = 10000.0


def sinusoid(values: Tensor, dim: int) -> Tensor:
    """Cosines, then sines of `values` ``(B,)`` at `dim` / 2 frequencies from 1 to 1/10000; float32 ``(B, dim)``."""
    half = dim // 2
    steps = torch.arange(half, dtype=torch.float32, device=values.device)
    frequencies = torch.exp(-math.log(_THETA) * steps / half)
    angles = values.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def axis_positions(coordinates: Tensor, dim: int) -> Tensor:
    """Sines, then cosines of `coordinates` ``(n,)`` at `dim` / 2 frequencies; ``(n, dim)``."""
    frequencies = _THETA ** -(torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    angles = coordinates[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def picture_positions(rows: int, columns: int, dim: int, scale: float) -> Tensor:
    """Position embedding of a frame's tokens ``(rows*columns, dim)``: half for the column, half for the row.

    Coordinates are index / scale * base / length, where base = round(sqrt(rows * columns)), so that trained positions
    serve other sizes and shapes.
    """
    base = round(math.sqrt(rows * columns))
    down = axis_positions(torch.arange(rows) / scale * base / rows, dim // 2)
    across = axis_positions(torch.arange(columns) / scale * base / columns, dim // 2)
    return torch.cat([across.repeat(rows, 1), down.repeat_interleave(columns, dim=0)], dim=1)


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last axis."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise in float32, keep the dtype."""
        rms = x.float().pow(2).mean(-1, keepdim=True).add(_EPS).rsqrt()
        return self.weight * (x.float() * rms).to(x.dtype)


class Rope(nn.Module):
    """Rotary positions along one axis; the frequencies are stored in the checkpoint."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.freqs = nn.Parameter(_THETA ** -(torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Turn neighbouring channel pairs of ``(..., positions, head_dim)``."""
        angles = torch.arange(x.shape[-2], device=x.device)[:, None] * self.freqs.float()
        cos, sin = angles.cos(), angles.sin()
        even, odd = torch.unflatten(x.float(), -1, (-1, 2)).unbind(-1)
        return torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2).to(x.dtype)


class MLP(nn.Module):
    """Two linear layers with tanh GELU between."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., inputs)`` to ``(..., outputs)``."""
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """Multi-head self-attention with queries and keys normalised per head."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.q_norm, self.k_norm = RMSNorm(dim // heads), RMSNorm(dim // heads)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rope: Rope | None) -> Tensor:
        """Attention within the second axis of `x` ``(B, L, dim)``."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key = self.q_norm(query), self.k_norm(key)
        if rope is not None:
            query, key = rope(query), rope(key)
        out = F.scaled_dot_product_attention(query, key, value)
        return self.proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Multi-head attention to a context, nothing normalised."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_linear = nn.Linear(dim, dim)
        self.kv_linear = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """From `x` ``(B, L, dim)`` to `context` ``(B, K, dim)`` where bool `mask` ``(B, K)`` is true."""
        query = self.q_linear(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = self.kv_linear(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        allowed = None if mask is None else mask[:, None, None]
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return self.proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def layer_norm(x: Tensor) -> Tensor:
    """Over the last axis, without weights."""
    return F.layer_norm(x, x.shape[-1:], eps=_EPS)


class Times:
    """Modulation rows of one forward: of the sample's time and, for given frames, of time 0.

    Args:
        now: rows at the sample's time ``(B, rows, dim)``.
        start: rows at time 0 ``(B, rows, dim)``, for tokens that are given rather than sampled.
        sampled: bool ``(B, tokens)``, true where a token is sampled; None when all are.
    """

    def __init__(self, now: Tensor, start: Tensor, sampled: Tensor | None) -> None:
        self._now, self._start, self._sampled = now, start, sampled

    def rows(self, table: Tensor) -> list[Tensor]:
        """`table` ``(rows, dim)`` plus the time's rows, each ``(B, 1 or tokens, dim)``."""
        now = (table + self._now)[:, :, None].unbind(1)
        if self._sampled is None:
            return list(now)
        start = (table + self._start)[:, :, None].unbind(1)
        where = self._sampled[..., None]
        return [torch.where(where, a, b) for a, b in zip(now, start, strict=True)]


class AttentionBlock(nn.Module):
    """Self-attention over space or over time, cross-attention to the text, MLP."""

    def __init__(self, config: VideoNetworkConfig) -> None:
        super().__init__()
        dim = config.dim
        self.scale_shift_table = nn.Parameter(torch.zeros(6, dim))
        self.attn = SelfAttention(dim, config.heads)
        self.cross_attn = CrossAttention(dim, config.heads)
        self.mlp = MLP(dim, config.mlp_ratio * dim, dim)

    def forward(
        self, x: Tensor, text: Tensor, mask: Tensor | None, times: Times, grid: tuple[int, int], rope: Rope | None
    ) -> Tensor:
        """One block.

        Args:
            x: ``(B, T*S, dim)``.
            text: ``(B, K, dim)``.
            mask: which text tokens a row may see, bool ``(B, K)``; None: all.
            times: 6 modulation rows.
            grid: (T, S), time steps and places.
            rope: given for temporal blocks, which attend over time at each place; None attends within a time step.
        """
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = times.rows(self.scale_shift_table)
        hidden = layer_norm(x) * (1 + scale) + shift
        x = x + gate * self._attend(hidden, grid, rope)
        x = x + self.cross_attn(x, text, mask)
        return x + gate_mlp * self.mlp(layer_norm(x) * (1 + scale_mlp) + shift_mlp)  # type: ignore[no-any-return]

    def _attend(self, x: Tensor, grid: tuple[int, int], rope: Rope | None) -> Tensor:
        x = torch.unflatten(x, 1, grid)
        if rope is not None:
            x = x.transpose(1, 2)
        outer = x.shape[:2]
        x = torch.unflatten(self.attn(x.flatten(0, 1), rope), 0, outer)
        if rope is not None:
            x = x.transpose(1, 2)
        return x.flatten(1, 2)


class FinalLayer(nn.Module):
    """Norm, two rows of modulation, linear to the channels of a patch."""

    def __init__(self, dim: int, channels: int) -> None:
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.zeros(2, dim))
        self.linear = nn.Linear(dim, channels)

    def forward(self, x: Tensor, times: Times) -> Tensor:
        """``(B, L, dim)`` to ``(B, L, channels)``."""
        shift, scale = times.rows(self.scale_shift_table)
        return self.linear(layer_norm(x) * (1 + scale) + shift)  # type: ignore[no-any-return]


class Projected(nn.Module):
    """A convolution, or an MLP over a sinusoid, under the name that the checkpoint gives it."""

    proj: nn.Module
    mlp: nn.Module

    @classmethod
    def patches(cls, convolution: nn.Module) -> Projected:
        """A convolution that makes tokens of patches."""
        module = cls()
        module.proj = convolution
        return module

    @classmethod
    def sinusoid(cls, freq_dim: int, dim: int) -> Projected:
        """An MLP over a sinusoid."""
        module = cls()
        module.mlp = nn.Sequential(nn.Linear(freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        return module


class TokenEmbedder(nn.Module):
    """An MLP over text or prior tokens, and the null tokens that stand for "no condition" in guidance."""

    def __init__(self, inputs: int, dim: int, length: int) -> None:
        super().__init__()
        self.y_proj = MLP(inputs, dim, dim)
        self.y_embedding = nn.Buffer(torch.zeros(length, inputs))

    def forward(self, tokens: Tensor) -> Tensor:
        """``(B, K, inputs)`` to ``(B, K, dim)``."""
        return self.y_proj(tokens)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Stream:
    """One modality on its way into the layers.

    Attributes:
        tokens: ``(B, T*S, dim)``.
        patches: number of patches along each axis of the latent.
        grid: (T, S), time steps and places within one.
        text: the prompt as this modality reads it ``(B, K, dim)``.
    """

    tokens: Tensor
    patches: tuple[int, ...]
    grid: tuple[int, int]
    text: Tensor


@dataclass(frozen=True)
class Modulation:
    """What modulates a stream's tokens.

    Attributes:
        now: embedding of the sample's time and rate ``(B, dim)``.
        start: that of time 0.
        sampled: which tokens are sampled, bool ``(B, tokens)``; None: all.
    """

    now: Tensor
    start: Tensor
    sampled: Tensor | None

    def rows(self, block: nn.Module, count: int) -> Times:
        """`count` rows by a block's linear layer."""
        now, start = (torch.unflatten(block(x), 1, (count, -1)) for x in (self.now, self.start))
        return Times(now, start, self.sampled)

    @property
    def final(self) -> Times:
        """The one row of the heads, which add it to their own."""
        return Times(self.now[:, None], self.start[:, None], self.sampled)


class VideoBranch(nn.Module):
    """The picture's half of a network: embeddings, blocks and head, with the tensor names of the official checkpoints.

    Args:
        config: its numbers.
    """

    def __init__(self, config: VideoNetworkConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.rope = Rope(dim // config.heads)
        self.x_embedder = Projected.patches(
            nn.Conv3d(config.video_channels, dim, config.video_patch, stride=config.video_patch)
        )
        self.t_embedder = Projected.sinusoid(config.freq_dim, dim)
        self.fps_embedder = Projected.sinusoid(config.freq_dim, dim)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.y_embedder = TokenEmbedder(config.text_dim, dim, config.text_length)
        self.spatial_blocks = nn.ModuleList(AttentionBlock(config) for _ in range(config.layers))
        self.temporal_blocks = nn.ModuleList(AttentionBlock(config) for _ in range(config.layers))
        # Twice the channels: the second half, a variance, is not used in sampling.
        self.final_layer = FinalLayer(dim, math.prod(config.video_patch) * 2 * config.video_channels)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of its weights."""
        return self.rope.freqs.dtype

    def video_stream(self, video: Tensor, text: Tensor, setting: Setting) -> Stream:
        """A latent ``(B, channels, T, H, W)`` as tokens; zeros fill it up to multiples of the patch."""
        missing = [-n % p for n, p in zip(video.shape[2:], self.config.video_patch, strict=True)]
        padding = [0, missing[2], 0, missing[1], 0, missing[0]]
        patches = self.x_embedder.proj(F.pad(video.to(self.dtype), padding))
        frames, rows, columns = patches.shape[2:]
        scale = math.sqrt(setting.height * setting.width) / self.config.base_size
        positions = picture_positions(rows, columns, self.config.dim, scale).to(patches)
        tokens = patches.flatten(2).transpose(1, 2) + positions.repeat(frames, 1)
        return Stream(tokens, patches.shape[2:], (frames, rows * columns), self.y_embedder(text.to(self.dtype)))

    def modulation(self, time: Tensor, fps: float, sampled: Tensor | None) -> Modulation:
        """Modulation rows of times ``(B,)``; `sampled` says which tokens are sampled ``(B, tokens)``, None: all."""
        now = self._embed_time(time, fps)
        start = self._embed_time(torch.zeros_like(time), fps)
        return Modulation(now, start, sampled)

    def _embed_time(self, time: Tensor, fps: float) -> Tensor:
        rate = torch.full_like(time, fps)
        freq_dim = self.config.freq_dim
        time_embedding = self.t_embedder.mlp(sinusoid(time, freq_dim).to(self.dtype))
        return time_embedding + self.fps_embedder.mlp(sinusoid(rate, freq_dim).to(self.dtype))  # type: ignore[no-any-return]


class VideoDiT(VideoBranch):
    """OpenSora 1.2's velocity network (STDiT3), with the tensor names of the official checkpoint."""

    def forward(
        self,
        video: Tensor,
        text: Tensor,
        text_mask: Tensor | None,
        time: Tensor,
        *,
        fps: float,
        setting: Setting,
        sampled: Tensor | None = None,
    ) -> Tensor:
        """Velocity of a batch; the channels that hold variances are left out.

        Args:
            video: latent ``(B, channels, T, H, W)``.
            text: encoder states ``(B, K, text_dim)``.
            text_mask: which of them a row may see, bool ``(B, K)``; None: all.
            time: in [0, 1000], ``(B,)``.
            fps: frames per second.
            setting: the size asked for, in pixels.
            sampled: which latent frames are sampled, bool ``(B, T)``; the others are given. None: all are sampled.

        Returns:
            A velocity of the input's shape, of the network's dtype.
        """
        stream = self.video_stream(video, text, setting)
        times = self.modulation(time, fps, per_token(sampled, stream.grid))
        attention = times.rows(self.t_block, 6)
        tokens = stream.tokens
        for spatial, temporal in zip(self.spatial_blocks, self.temporal_blocks, strict=True):
            tokens = spatial(tokens, stream.text, text_mask, attention, stream.grid, None)
            tokens = temporal(tokens, stream.text, text_mask, attention, stream.grid, self.rope)
        return unpatch(self.final_layer(tokens, times.final), stream.patches, self.config.video_patch, video.shape)


def per_token(sampled: Tensor | None, grid: tuple[int, int]) -> Tensor | None:
    """A flag for each latent step ``(B, n)`` as one for each token ``(B, T*S)``; a token has its first step's."""
    if sampled is None:
        return None
    steps, places = grid
    return sampled[:, :: sampled.shape[1] // steps].repeat_interleave(places, dim=1)


def unpatch(tokens: Tensor, patches: tuple[int, ...], patch: tuple[int, ...], shape: torch.Size) -> Tensor:
    """``(B, L, patch axes * 2 C)`` to a latent of `shape` ``(B, C, ...)``; variances and filled-up ends are cut."""
    axes = len(patch)
    x = torch.unflatten(torch.unflatten(tokens, 2, (*patch, -1)), 1, patches)
    pairs = chain.from_iterable((1 + i, 1 + axes + i) for i in range(axes))
    x = x.permute(0, 1 + 2 * axes, *pairs)
    x = x.reshape(*x.shape[:2], *(n * p for n, p in zip(patches, patch, strict=True)))
    return x[tuple(slice(n) for n in shape)]
