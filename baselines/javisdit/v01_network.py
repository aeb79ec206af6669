"""The network of v0.1: video and audio streams with spatial and temporal attention, joined in every layer.

A layer holds self-attention blocks (spatial, then temporal, for each stream), prior blocks (cross-attention to the
HiST-Sypo spatio-temporal prior) and MM-BiCrossAttn, bidirectional attention between the streams.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from javisbench.baselines.javisdit.config import FactorisedNetworkConfig
from javisbench.baselines.javisdit.sampler import Setting
from javisbench.baselines.javisdit.stdit import (
    MLP,
    AttentionBlock,
    CrossAttention,
    FinalLayer,
    Modulation,
    Projected,
    Stream,
    Times,
    TokenEmbedder,
    VideoBranch,
    axis_positions,
    layer_norm,
    per_token,
    unpatch,
)


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
            x = x + gate * attention(layer_norm(x) * (1 + scale) + shift, context)
        shift, scale, gate = rows[6:]
        return x + gate * self.mlp(layer_norm(x) * (1 + scale) + shift)  # type: ignore[no-any-return]


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
        to_video, to_audio = self.cross_attn(layer_norm(video), layer_norm(audio))
        return video + self.gamma_m1 * to_video, audio + self.gamma_m2 * to_audio


class FactorisedDiT(VideoBranch):
    """v0.1's velocity network, with the tensor names of the official checkpoint.

    Args:
        config: its numbers.
    """

    config: FactorisedNetworkConfig

    def __init__(self, config: FactorisedNetworkConfig) -> None:
        super().__init__(config)
        dim = config.dim

        def stack(block: type[nn.Module]) -> nn.ModuleList:
            return nn.ModuleList(block(config) for _ in range(config.layers))

        self.ax_embedder = Projected.patches(
            nn.Conv2d(config.audio_channels, dim, config.audio_patch, stride=config.audio_patch)
        )
        self.st_t_block = nn.Sequential(nn.SiLU(), nn.Linear(dim, 9 * dim))
        self.audio_y_embedder = TokenEmbedder(config.text_dim, dim, config.text_length)
        priors = config.spatial_priors + config.temporal_priors
        self.st_prior_embedder = TokenEmbedder(config.prior_dim, dim, priors)
        self.audio_spatial_blocks, self.audio_temporal_blocks = stack(AttentionBlock), stack(AttentionBlock)
        self.video_st_prior_blocks, self.audio_st_prior_blocks = stack(PriorBlock), stack(PriorBlock)
        self.va_cross_blocks = stack(BiCrossBlock)
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
        x = self.video_stream(video, text, setting)
        y = self._audio_stream(audio, text)
        x_times = self.modulation(time, fps, per_token(frames, x.grid))
        y_times = self.modulation(time, fps, per_token(steps, y.grid))
        priors = self._embed_priors(spatial_prior, temporal_prior, pool_priors)
        x_tokens, y_tokens = self._layers(x, y, x_times, y_times, text_mask, priors)
        video_out = self.final_layer(x_tokens, x_times.final)
        audio_out = self.audio_final_layer(y_tokens, y_times.final)
        return (
            unpatch(video_out, x.patches, self.config.video_patch, video.shape),
            unpatch(audio_out, y.patches, self.config.audio_patch, audio.shape),
        )

    def _layers(
        self,
        x: Stream,
        y: Stream,
        x_times: Modulation,
        y_times: Modulation,
        mask: Tensor | None,
        priors: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        video, audio = x.tokens, y.tokens
        x_attention, y_attention = (times.rows(self.t_block, 6) for times in (x_times, y_times))
        x_prior, y_prior = (times.rows(self.st_t_block, 9) for times in (x_times, y_times))
        for layer in range(self.config.layers):
            video = self.spatial_blocks[layer](video, x.text, mask, x_attention, x.grid, None)
            video = self.temporal_blocks[layer](video, x.text, mask, x_attention, x.grid, self.rope)
            audio = self.audio_spatial_blocks[layer](audio, y.text, mask, y_attention, y.grid, None)
            audio = self.audio_temporal_blocks[layer](audio, y.text, mask, y_attention, y.grid, self.rope)
            video = self.video_st_prior_blocks[layer](video, *priors, x_prior)
            audio = self.audio_st_prior_blocks[layer](audio, *priors, y_prior)
            video, audio = self.va_cross_blocks[layer](video, audio)
        return video, audio

    def _audio_stream(self, audio: Tensor, text: Tensor) -> Stream:
        patches = self.ax_embedder.proj(audio.to(self.dtype))
        steps, mels = patches.shape[2:]
        positions = axis_positions(torch.arange(mels), self.config.dim).to(patches)
        tokens = patches.flatten(2).transpose(1, 2) + positions.repeat(steps, 1)
        return Stream(tokens, patches.shape[2:], (steps, mels), self.audio_y_embedder(text.to(self.dtype)))

    def _embed_priors(self, spatial: Tensor, temporal: Tensor, pool: bool) -> tuple[Tensor, Tensor]:
        tokens = self.st_prior_embedder(torch.cat([spatial, temporal], dim=1).to(self.dtype))
        batch = tokens.shape[0]
        parts = tokens.split([spatial.shape[1], temporal.shape[1]], dim=1)
        if pool:
            parts = tuple(part.flatten(0, 1).expand(batch, -1, -1) for part in parts)
        return parts[0], parts[1]
