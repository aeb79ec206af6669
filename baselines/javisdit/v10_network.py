"""The network of v1.0 (JavisDiT++): a Wan2.1 transformer over one sequence of video and audio tokens.

Both modalities share attention (with TA-RoPE, which places audio on the video's time axis) and have feed-forward
experts of their own (MS-MoE). The time embedding, modulation and output heads compute in float32.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from javisbench.baselines.javisdit.config import JointNetworkConfig

_ROPE_THETA = 10000.0


def time_sinusoid(time: Tensor, dim: int) -> Tensor:
    """Cosines, then sines of `time` ``(B,)`` at `dim` / 2 frequencies from 1 to 1/10000; float32 ``(B, dim)``."""
    half = dim // 2
    exponents = torch.arange(half, dtype=torch.float64, device=time.device) / half
    angles = time.double()[:, None] * 10000.0**-exponents
    return torch.cat([angles.cos(), angles.sin()], dim=1).float()


def video_positions(frames: int, rows: int, columns: int) -> Tensor:
    """Frame, row and column of each video token, in the order of the sequence; int64 ``(frames*rows*columns, 3)``."""
    return torch.cartesian_prod(*(torch.arange(n, device="cpu") for n in (frames, rows, columns)))


def audio_positions(steps: int, mels: int, frames: int, rows: int, columns: int) -> Tensor:
    """TA-RoPE positions of audio tokens ``(steps*mels, 3)``: on the video's time axis, off its picture plane.

    The first axis is the video frame that sounds at the same time (rounded up), the others continue beyond the video's
    `rows` and `columns`, so that no audio token shares a position with a video token.
    """
    time = torch.linspace(0, frames - 1, steps, device="cpu").ceil().long()
    step = torch.arange(steps, device="cpu") + rows
    mel = torch.arange(mels, device="cpu") + columns
    return torch.stack(
        [time.repeat_interleave(mels), step.repeat_interleave(mels), mel.repeat(steps)],
        dim=1,
    )


def rope_rotations(positions: Tensor, head_dim: int) -> Tensor:
    """Unit complex numbers ``(tokens, head_dim / 2)`` in double precision, for 3-axis positions ``(tokens, 3)``.

    The first axis gets what is left when rows and columns have taken 2 * (head_dim // 6) channels each.
    """
    side = 2 * (head_dim // 6)
    angles = []
    for axis, channels in enumerate((head_dim - 2 * side, side, side)):
        exponents = torch.arange(0, channels, 2, dtype=torch.float64, device=positions.device) / channels
        angles.append(positions[:, axis, None].double() * _ROPE_THETA**-exponents)
    phase = torch.cat(angles, dim=1)
    return torch.polar(torch.ones_like(phase), phase)


def rotate(x: Tensor, rotations: Tensor) -> Tensor:
    """Turn neighbouring channel pairs of ``(B, tokens, heads, head_dim)`` by `rotations`."""
    pairs = torch.view_as_complex(torch.unflatten(x.double(), -1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * rotations[:, None]).flatten(-2).to(x.dtype)


def _modulated(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x.float(), x.shape[-1:], eps=eps) * (1 + scale) + shift


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last axis."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise in float32, keep the dtype."""
        rms = x.float().pow(2).mean(-1, keepdim=True).add(self.eps).rsqrt()
        return (x.float() * rms).to(x.dtype) * self.weight


class Attention(nn.Module):
    """Multi-head attention with queries and keys normalised over their full width."""

    def __init__(self, config: JointNetworkConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads = config.heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = RMSNorm(dim, config.eps), RMSNorm(dim, config.eps)

    def forward(self, x: Tensor, context: Tensor, rotations: Tensor | None = None) -> Tensor:
        """Attend from `x` ``(B, L, dim)`` to `context` ``(B, K, dim)``; `rotations` turn both (self-attention)."""
        query, key, value = (
            torch.unflatten(y, -1, (self.heads, -1))
            for y in (self.norm_q(self.q(x)), self.norm_k(self.k(context)), self.v(context))
        )
        if rotations is not None:
            query, key = rotate(query, rotations), rotate(key, rotations)
        out = F.scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
        return self.o(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class AudioModulation(nn.Module):
    """A block's own table of shift, scale and gate for the audio expert."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.param = nn.Parameter(torch.zeros(1, 3, dim))


def _expert(config: JointNetworkConfig) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(config.dim, config.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(config.ffn_dim, config.dim)
    )


class Block(nn.Module):
    """Joint self-attention, cross-attention to text, then one feed-forward expert a modality (MS-MoE)."""

    def __init__(self, config: JointNetworkConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.modulation = nn.Parameter(torch.zeros(1, 6, config.dim))
        self.audio_modulation = AudioModulation(config.dim)
        self.self_attn = Attention(config)
        self.norm3 = nn.LayerNorm(config.dim, eps=config.eps)
        self.cross_attn = Attention(config)
        self.ffn = _expert(config)
        self.audio_ffn = _expert(config)

    def forward(
        self, x: Tensor, text: Tensor, time: Tensor, audio_time: Tensor, rotations: Tensor, video_tokens: int
    ) -> Tensor:
        """One block over the sequence `x` ``(B, video + audio tokens, dim)``.

        `time` ``(B, 6, dim)`` and `audio_time` ``(B, 3, dim)`` are added to the block's own tables.
        """
        dtype = text.dtype
        rows = (self.modulation + time).chunk(6, dim=1)
        shift, scale, gate, video_rows = rows[0], rows[1], rows[2], rows[3:]
        hidden = _modulated(x, shift, scale, self.eps).to(dtype)
        x = x + self.self_attn(hidden, hidden, rotations) * gate
        x = x + self.cross_attn(self.norm3(x.to(dtype)), text)
        audio_rows = (self.audio_modulation.param + audio_time).chunk(3, dim=1)
        video, audio = x[:, :video_tokens], x[:, video_tokens:]
        return torch.cat(
            [self._expert(self.ffn, video, video_rows, dtype), self._expert(self.audio_ffn, audio, audio_rows, dtype)],
            dim=1,
        )

    def _expert(self, expert: nn.Module, x: Tensor, rows: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        shift, scale, gate = rows
        out: Tensor = x + expert(_modulated(x, shift, scale, self.eps).to(dtype)) * gate
        return out


class Head(nn.Module):
    """Final norm, two rows of modulation, linear to the channels of a patch."""

    def __init__(self, config: JointNetworkConfig, channels: int) -> None:
        super().__init__()
        self.eps = config.eps
        self.head = nn.Linear(config.dim, channels)
        self.modulation = nn.Parameter(torch.zeros(1, 2, config.dim))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """`x` ``(B, tokens, dim)``, `time` ``(B, dim)`` -> float32 ``(B, tokens, channels)``."""
        shift, scale = (self.modulation + time[:, None]).chunk(2, dim=1)
        return self.head(_modulated(x, shift, scale, self.eps))  # type: ignore[no-any-return]


class JointDiT(nn.Module):
    """v1.0's velocity network, with the tensor names of the official checkpoint.

    Args:
        config: its numbers.
    """

    def __init__(self, config: JointNetworkConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        video_patch, audio_patch = config.video_patch, config.audio_patch
        self.patch_embedding = nn.Conv3d(config.video_channels, dim, video_patch, stride=video_patch)
        self.audio_patch_embedding = nn.Conv2d(config.audio_channels, dim, audio_patch, stride=audio_patch)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.audio_time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 3 * dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head = Head(config, config.video_channels * video_patch[0] * video_patch[1] * video_patch[2])
        self.audio_head = Head(config, config.audio_channels * audio_patch[0] * audio_patch[1])

    def set_dtype(self, dtype: torch.dtype) -> JointDiT:
        """Blocks and embeddings to `dtype`; time embedding, modulation tables and heads to float32."""
        self.to(dtype)
        in_float32 = (self.time_embedding, self.time_projection, self.audio_time_projection, self.head, self.audio_head)
        for module in in_float32:
            module.float()
        tables = chain.from_iterable((b.modulation, b.audio_modulation.param) for b in self._blocks())
        for table in tables:
            table.data = table.data.float()
        return self

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def forward(self, video: Tensor, audio: Tensor, text: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Velocities of a batch.

        Args:
            video: latent ``(B, channels, T, H, W)``, multiples of the patch.
            audio: latent ``(B, channels, steps, mels)``, multiples of the patch.
            text: encoder states ``(B, L, text_dim)`` with zeros at padded positions, which are attended like others.
            time: in [0, 1000], ``(B,)``.

        Returns:
            Velocities of the inputs' shapes, float32.
        """
        dtype = self.patch_embedding.weight.dtype
        video_grid = self.patch_embedding(video.to(dtype))
        audio_grid = self.audio_patch_embedding(audio.to(dtype))
        embedded = self.time_embedding(time_sinusoid(time, self.config.freq_dim))
        rows = torch.unflatten(self.time_projection(embedded), 1, (6, -1))
        audio_rows = torch.unflatten(self.audio_time_projection(embedded), 1, (3, -1))
        context = self.text_embedding(text.to(dtype))
        head_dim = self.config.dim // self.config.heads
        grids = tuple(video_grid.shape[2:]), tuple(audio_grid.shape[2:])
        rotations = sequence_rotations(*grids, head_dim).to(video_grid.device)
        x = torch.cat([video_grid.flatten(2), audio_grid.flatten(2)], dim=2).transpose(1, 2).float()
        video_tokens = video_grid[0, 0].numel()
        for block in self.blocks:
            x = block(x, context, rows, audio_rows, rotations, video_tokens)
        video_out = self.head(x[:, :video_tokens], embedded)
        audio_out = self.audio_head(x[:, video_tokens:], embedded)
        # The network was trained on noise - data; the sampler follows data - noise.
        return (
            -_unpatch(video_out, video_grid.shape[2:], self.config.video_patch),
            -_unpatch(audio_out, audio_grid.shape[2:], self.config.audio_patch),
        )


@lru_cache(maxsize=4)
def sequence_rotations(video_grid: tuple[int, ...], audio_grid: tuple[int, ...], head_dim: int) -> Tensor:
    """`rope_rotations` of a whole sequence, video tokens first; the same in every step of a sampling.

    Args:
        video_grid: frames, rows, columns of the video tokens.
        audio_grid: steps, mels of the audio tokens.
        head_dim: channels of a head.
    """
    positions = [video_positions(*video_grid), audio_positions(*audio_grid, *video_grid)]
    return rope_rotations(torch.cat(positions), head_dim)


def _unpatch(tokens: Tensor, grid: torch.Size, patch: tuple[int, ...]) -> Tensor:
    """``(B, tokens, patch axes * channels)`` to ``(B, channels, *grid * patch)``; patch axes come first."""
    axes = len(patch)
    x = torch.unflatten(torch.unflatten(tokens, 2, (*patch, -1)), 1, grid)
    pairs = chain.from_iterable((1 + i, 1 + axes + i) for i in range(axes))
    x = x.permute(0, 1 + 2 * axes, *pairs)
    return x.reshape(x.shape[0], x.shape[1], *(n * p for n, p in zip(grid, patch, strict=True)))
