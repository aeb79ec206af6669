"""The network of v0.1: video and audio streams with spatial and temporal attention, joined in every layer.

A layer holds self-attention blocks (spatial, then temporal, for each stream), prior blocks (cross-attention to the
HiST-Sypo spatio-temporal prior) and MM-BiCrossAttn, bidirectional attention between the streams.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from javisbench.baselines.javisdit.config import FactorisedNetworkConfig
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


def _norm(x: Tensor) -> Tensor:
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

    def __init__(self, config: FactorisedNetworkConfig) -> None:
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
        hidden = _norm(x) * (1 + scale) + shift
        x = x + gate * self._attend(hidden, grid, rope)
        x = x + self.cross_attn(x, text, mask)
        return x + gate_mlp * self.mlp(_norm(x) * (1 + scale_mlp) + shift_mlp)  # type: ignore[no-any-return]

    def _attend(self, x: Tensor, grid: tuple[int, int], rope: Rope | None) -> Tensor:
        x = torch.unflatten(x, 1, grid)
        if rope is not None:
            x = x.transpose(1, 2)
        outer = x.shape[:2]
        x = torch.unflatten(self.attn(x.flatten(0, 1), rope), 0, outer)
        if rope is not None:
            x = x.transpose(1, 2)
        return x.flatten(1, 2)


class PriorBlock(nn.Module):
    """Cross-attention to the spatial prior, to the temporal prior, MLP; each modulated and gated."""

    def __init__(self, config: FactorisedNetworkConfig) -> None:
        super().__init__()
        dim = config.dim
        self.scale_shift_table = nn.Parameter(torch.zeros(9, dim))
        self.spatial_cross_attn = CrossAttention(dim, config.heads)
        self.temporal_cross_attn = CrossAttention(dim, config.heads)
        self.mlp = MLP(dim, config.mlp_ratio * dim, dim)

    def forward(self, x: Tensor, spatial: Tensor, temporal: Tensor, times: Times) -> Tensor:
        """`x` ``(B, L, dim)``, priors ``(B, K, dim)``, 9 modulation rows."""
        rows = times.rows(self.scale_shift_table)
        for index, context in enumerate((spatial, temporal)):
            attention = (self.spatial_cross_attn, self.temporal_cross_attn)[index]
            shift, scale, gate = rows[3 * index : 3 * index + 3]
            x = x + gate * attention(_norm(x) * (1 + scale) + shift, context)
        shift, scale, gate = rows[6:]
        return x + gate * self.mlp(_norm(x) * (1 + scale) + shift)  # type: ignore[no-any-return]


class BiCrossAttention(nn.Module):
    """One similarity matrix, read both ways: each modality's projection is query one way and key the other."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        inner = dim // 2
        self.heads = heads // 2
        self.m1_proj, self.m2_proj = nn.Linear(dim, inner), nn.Linear(dim, inner)
        self.values_m1_proj, self.values_m2_proj = nn.Linear(dim, inner), nn.Linear(dim, inner)
        self.out_m1_proj, self.out_m2_proj = nn.Linear(inner, dim), nn.Linear(inner, dim)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """What each of ``(B, L1, dim)`` and ``(B, L2, dim)`` reads from the other."""
        a, b, a_value, b_value = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection, x in (
                (self.m1_proj, first),
                (self.m2_proj, second),
                (self.values_m1_proj, first),
                (self.values_m2_proj, second),
            )
        )
        to_first = F.scaled_dot_product_attention(a, b, b_value)
        to_second = F.scaled_dot_product_attention(b, a, a_value)
        return (
            self.out_m1_proj(to_first.transpose(1, 2).flatten(2)),
            self.out_m2_proj(to_second.transpose(1, 2).flatten(2)),
        )


class BiCrossBlock(nn.Module):
    """MM-BiCrossAttn: bidirectional attention between video and audio, scaled per channel."""

    def __init__(self, config: FactorisedNetworkConfig) -> None:
        super().__init__()
        self.cross_attn = BiCrossAttention(config.dim, config.heads)
        self.gamma_m1 = nn.Parameter(torch.zeros(config.dim))
        self.gamma_m2 = nn.Parameter(torch.zeros(config.dim))

    def forward(self, video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Both streams after exchanging what they know."""
        to_video, to_audio = self.cross_attn(_norm(video), _norm(audio))
        return video + self.gamma_m1 * to_video, audio + self.gamma_m2 * to_audio


class FinalLayer(nn.Module):
    """Norm, two rows of modulation, linear to the channels of a patch."""

    def __init__(self, dim: int, channels: int) -> None:
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.zeros(2, dim))
        self.linear = nn.Linear(dim, channels)

    def forward(self, x: Tensor, times: Times) -> Tensor:
        """``(B, L, dim)`` to ``(B, L, channels)``."""
        shift, scale = times.rows(self.scale_shift_table)
        return self.linear(_norm(x) * (1 + scale) + shift)  # type: ignore[no-any-return]


class _Projected(nn.Module):
    """A convolution, or an MLP over a sinusoid, under the name that the checkpoint gives it."""

    proj: nn.Module
    mlp: nn.Module

    @classmethod
    def patches(cls, convolution: nn.Module) -> _Projected:
        module = cls()
        module.proj = convolution
        return module

    @classmethod
    def sinusoid(cls, freq_dim: int, dim: int) -> _Projected:
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


class FactorisedDiT(nn.Module):
    """v0.1's velocity network, with the tensor names of the official checkpoint.

    Args:
        config: its numbers.
    """

    def __init__(self, config: FactorisedNetworkConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim

        def stack(block: type[nn.Module]) -> nn.ModuleList:
            return nn.ModuleList(block(config) for _ in range(config.layers))

        self.rope = Rope(dim // config.heads)
        self.x_embedder = _Projected.patches(
            nn.Conv3d(config.video_channels, dim, config.video_patch, stride=config.video_patch)
        )
        self.ax_embedder = _Projected.patches(
            nn.Conv2d(config.audio_channels, dim, config.audio_patch, stride=config.audio_patch)
        )
        self.t_embedder = _Projected.sinusoid(config.freq_dim, dim)
        self.fps_embedder = _Projected.sinusoid(config.freq_dim, dim)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.st_t_block = nn.Sequential(nn.SiLU(), nn.Linear(dim, 9 * dim))
        self.y_embedder = TokenEmbedder(config.text_dim, dim, config.text_length)
        self.audio_y_embedder = TokenEmbedder(config.text_dim, dim, config.text_length)
        priors = config.spatial_priors + config.temporal_priors
        self.st_prior_embedder = TokenEmbedder(config.prior_dim, dim, priors)
        self.spatial_blocks, self.temporal_blocks = stack(AttentionBlock), stack(AttentionBlock)
        self.audio_spatial_blocks, self.audio_temporal_blocks = stack(AttentionBlock), stack(AttentionBlock)
        self.video_st_prior_blocks, self.audio_st_prior_blocks = stack(PriorBlock), stack(PriorBlock)
        self.va_cross_blocks = stack(BiCrossBlock)
        # Twice the channels: the second half, a variance, is not used in sampling.
        self.final_layer = FinalLayer(dim, math.prod(config.video_patch) * 2 * config.video_channels)
        self.audio_final_layer = FinalLayer(dim, math.prod(config.audio_patch) * 2 * config.audio_channels)

    def forward(
        self,
        video: Tensor,
        audio: Tensor,
        text: Tensor,
        text_mask: Tensor | None,
        spatial_prior: Tensor,
        temporal_prior: Tensor,
        time: Tensor,
        *,
        fps: float,
        setting: Setting,
        pool_priors: bool = True,
        sampled: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Velocities of a batch; the channels that hold variances are left out.

        Args:
            video: latent ``(B, channels, T, H, W)``; zeros fill it up to multiples of the patch.
            audio: latent ``(B, channels, steps, mels)``, multiples of the patch.
            text: encoder states ``(B, K, text_dim)``.
            text_mask: which of them a row may see, bool ``(B, K)``; None: all.
            spatial_prior: ``(B, K, prior_dim)``.
            temporal_prior: ``(B, K, prior_dim)``.
            time: in [0, 1000], ``(B,)``.
            fps: frames per second.
            setting: the size asked for, in pixels.
            pool_priors: every row sees the priors of all rows, as in the reference, whose prior attention does not
                separate a batch; False gives each row its own.
            sampled: which latent frames and audio tokens' time steps are sampled, bool ``(B, T)`` and
                ``(B, steps)``; the others are given, and modulated as at time 0. None: all are sampled.

        Returns:
            Velocities of the inputs' shapes, of the network's dtype.
        """
        frames, steps = sampled or (None, None)
        x = self._video_stream(video, text, setting)
        y = self._audio_stream(audio, text)
        x_times = self._modulation(time, fps, _per_token(frames, x.grid))
        y_times = self._modulation(time, fps, _per_token(steps, y.grid))
        priors = self._embed_priors(spatial_prior, temporal_prior, pool_priors)
        x_tokens, y_tokens = self._layers(x, y, x_times, y_times, text_mask, priors)
        video_out = self.final_layer(x_tokens, x_times.final)
        audio_out = self.audio_final_layer(y_tokens, y_times.final)
        return (
            _unpatch(video_out, x.patches, self.config.video_patch, video.shape),
            _unpatch(audio_out, y.patches, self.config.audio_patch, audio.shape),
        )

    @property
    def dtype(self) -> torch.dtype:
        """Precision of its weights."""
        return self.rope.freqs.dtype

    def _layers(
        self,
        x: _Stream,
        y: _Stream,
        x_times: _Modulation,
        y_times: _Modulation,
        mask: Tensor | None,
        priors: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        video, audio = x.tokens, y.tokens
        for layer in range(self.config.layers):
            video = self.spatial_blocks[layer](video, x.text, mask, x_times.attention, x.grid, None)
            video = self.temporal_blocks[layer](video, x.text, mask, x_times.attention, x.grid, self.rope)
            audio = self.audio_spatial_blocks[layer](audio, y.text, mask, y_times.attention, y.grid, None)
            audio = self.audio_temporal_blocks[layer](audio, y.text, mask, y_times.attention, y.grid, self.rope)
            video = self.video_st_prior_blocks[layer](video, *priors, x_times.prior)
            audio = self.audio_st_prior_blocks[layer](audio, *priors, y_times.prior)
            video, audio = self.va_cross_blocks[layer](video, audio)
        return video, audio

    def _video_stream(self, video: Tensor, text: Tensor, setting: Setting) -> _Stream:
        missing = [-n % p for n, p in zip(video.shape[2:], self.config.video_patch, strict=True)]
        padding = [0, missing[2], 0, missing[1], 0, missing[0]]
        patches = self.x_embedder.proj(F.pad(video.to(self.dtype), padding))
        frames, rows, columns = patches.shape[2:]
        scale = math.sqrt(setting.height * setting.width) / self.config.base_size
        positions = picture_positions(rows, columns, self.config.dim, scale).to(patches)
        tokens = patches.flatten(2).transpose(1, 2) + positions.repeat(frames, 1)
        return _Stream(tokens, patches.shape[2:], (frames, rows * columns), self.y_embedder(text.to(self.dtype)))

    def _audio_stream(self, audio: Tensor, text: Tensor) -> _Stream:
        patches = self.ax_embedder.proj(audio.to(self.dtype))
        steps, mels = patches.shape[2:]
        positions = axis_positions(torch.arange(mels), self.config.dim).to(patches)
        tokens = patches.flatten(2).transpose(1, 2) + positions.repeat(steps, 1)
        return _Stream(tokens, patches.shape[2:], (steps, mels), self.audio_y_embedder(text.to(self.dtype)))

    def _modulation(self, time: Tensor, fps: float, sampled: Tensor | None) -> _Modulation:
        now = self._embed_time(time, fps)
        start = self._embed_time(torch.zeros_like(time), fps)
        return _Modulation(
            attention=Times(_rows(self.t_block(now), 6), _rows(self.t_block(start), 6), sampled),
            prior=Times(_rows(self.st_t_block(now), 9), _rows(self.st_t_block(start), 9), sampled),
            final=Times(now[:, None], start[:, None], sampled),
        )

    def _embed_time(self, time: Tensor, fps: float) -> Tensor:
        rate = torch.full_like(time, fps)
        freq_dim = self.config.freq_dim
        time_embedding = self.t_embedder.mlp(sinusoid(time, freq_dim).to(self.dtype))
        return time_embedding + self.fps_embedder.mlp(sinusoid(rate, freq_dim).to(self.dtype))  # type: ignore[no-any-return]

    def _embed_priors(self, spatial: Tensor, temporal: Tensor, pool: bool) -> tuple[Tensor, Tensor]:
        tokens = self.st_prior_embedder(torch.cat([spatial, temporal], dim=1).to(self.dtype))
        batch = tokens.shape[0]
        parts = tokens.split([spatial.shape[1], temporal.shape[1]], dim=1)
        if pool:
            parts = tuple(part.flatten(0, 1).expand(batch, -1, -1) for part in parts)
        return parts[0], parts[1]


@dataclass(frozen=True)
class _Stream:
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
class _Modulation:
    attention: Times
    prior: Times
    final: Times


def _rows(x: Tensor, count: int) -> Tensor:
    return torch.unflatten(x, 1, (count, -1))


def _per_token(sampled: Tensor | None, grid: tuple[int, int]) -> Tensor | None:
    """A flag for each latent step ``(B, n)`` as one for each token ``(B, T*S)``; a token has its first step's."""
    if sampled is None:
        return None
    steps, places = grid
    return sampled[:, :: sampled.shape[1] // steps].repeat_interleave(places, dim=1)


def _unpatch(tokens: Tensor, patches: tuple[int, ...], patch: tuple[int, ...], shape: torch.Size) -> Tensor:
    """``(B, L, patch axes * 2 C)`` to a latent of `shape` ``(B, C, ...)``; variances and filled-up ends are cut."""
    axes = len(patch)
    x = torch.unflatten(torch.unflatten(tokens, 2, (*patch, -1)), 1, patches)
    pairs = chain.from_iterable((1 + i, 1 + axes + i) for i in range(axes))
    x = x.permute(0, 1 + 2 * axes, *pairs)
    x = x.reshape(*x.shape[:2], *(n * p for n, p in zip(patches, patch, strict=True)))
    return x[tuple(slice(n) for n in shape)]
