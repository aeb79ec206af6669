"""ImageBind (Girdhar et al., CVPR 2023) in plain torch, under the tensor names of ``imagebind_huge.pth``.

Three towers run: vision, audio, text. Depth, thermal and IMU towers are declared, because the official file holds
them and a strict load must know every name, and are dropped after loading.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from javisbench.metrics.encoders.imagebind.config import (
    AUDIO_PATCH,
    AUDIO_STRIDE,
    CLIP_FRAMES,
    CONTEXT,
    IMAGE_SIZE,
    MAX_LOGIT_SCALE,
    MEL_BINS,
    MEL_FRAMES,
    PATCH,
    PIXEL_MEAN,
    PIXEL_STD,
    VOCABULARY,
    ImageBindConfig,
    TowerConfig,
)

USED = ("vision", "audio", "text")
_TRUNK_EPS = 1e-6
_STEM_EPS = 1e-5
_SIDE = IMAGE_SIZE // PATCH
_DEPTH_PATCHES = 14 * 14
_IMU_STEPS, _IMU_VALUES = 250, 48


class Attention(nn.Module):
    """Multi-head self-attention; `extra_token` appends a learned key and value."""

    def __init__(self, width: int, heads: int, *, extra_token: bool) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.bias_k = nn.Parameter(torch.empty(1, 1, width)) if extra_token else None
        self.bias_v = nn.Parameter(torch.empty(1, 1, width)) if extra_token else None
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None, *, first_only: bool = False) -> Tensor:
        """``(B, L, width)`` to the same, or to ``(B, 1, width)``; `mask` ``(L, L)`` is added to the scores."""
        if first_only:
            width = x.shape[-1]
            query = F.linear(x[:, :1], self.in_proj_weight[:width], self.in_proj_bias[:width])
            key, value = F.linear(x, self.in_proj_weight[width:], self.in_proj_bias[width:]).chunk(2, dim=-1)
        else:
            query, key, value = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        if self.bias_k is not None and self.bias_v is not None:
            key = torch.cat([key, self.bias_k.to(key.dtype).expand(len(x), -1, -1)], dim=1)
            value = torch.cat([value, self.bias_v.to(value.dtype).expand(len(x), -1, -1)], dim=1)
        attended = F.scaled_dot_product_attention(
            self._split(query),
            self._split(key),
            self._split(value),
            attn_mask=None if mask is None else mask.to(query.dtype),
        )
        joined: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return joined

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class MLP(nn.Module):
    """Two linear layers with an exact GELU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., width)`` to the same."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, tower: TowerConfig, *, extra_token: bool) -> None:
        super().__init__()
        self.attn = Attention(tower.width, tower.heads, extra_token=extra_token)
        self.norm_1 = nn.LayerNorm(tower.width, eps=_TRUNK_EPS)
        self.mlp = MLP(tower.width)
        self.norm_2 = nn.LayerNorm(tower.width, eps=_TRUNK_EPS)

    def forward(self, x: Tensor, mask: Tensor | None, *, first_only: bool = False) -> Tensor:
        """``(B, L, width)`` to the same, or to the first token's ``(B, 1, width)`` alone."""
        attended = self.attn(self.norm_1(x), mask, first_only=first_only)
        x = (x[:, :1] if first_only else x) + attended
        out: Tensor = x + self.mlp(self.norm_2(x))
        return out


class Trunk(nn.Module):
    """A tower's blocks; the vision tower has a LayerNorm before them."""

    def __init__(self, tower: TowerConfig, *, extra_token: bool = False, norm_first: bool = False) -> None:
        super().__init__()
        self.pre_transformer_layer = nn.Sequential(
            nn.LayerNorm(tower.width, eps=_TRUNK_EPS) if norm_first else nn.Identity()
        )
        self.blocks = nn.ModuleList(Block(tower, extra_token=extra_token) for _ in range(tower.blocks))

    def forward(self, tokens: Tensor, mask: Tensor | None = None, *, first_only: bool = False) -> Tensor:
        """``(B, L, width)`` to the same.

        With `first_only` to ``(B, 1, width)``: the last block then works on the first token alone, which is all that
        a head reads of vision and audio.
        """
        tokens = self.pre_transformer_layer(tokens)
        last = len(self.blocks) - 1
        for number, block in enumerate(self.blocks):
            tokens = block(tokens, mask, first_only=first_only and number == last)
        return tokens


class PositionalEmbedding(nn.Module):
    """Learned positions."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.empty(1, tokens, width))


class PatchStem(nn.Module):
    """A patch projection without bias, then a LayerNorm."""

    def __init__(self, projection: nn.Conv2d | nn.Linear, width: int) -> None:
        super().__init__()
        self.proj = projection
        self.norm_layer = nn.LayerNorm(width, eps=_STEM_EPS)

    def forward(self, patches: Tensor) -> Tensor:
        """``(B, patches, values)`` to ``(B, patches, width)``."""
        out: Tensor = self.norm_layer(F.linear(patches, self.proj.weight.flatten(1)))
        return out


class VideoStem(nn.Module):
    """Patches of two frames. Index 0 of ``proj`` pads stills to two frames in time and has no parameters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        size = (CLIP_FRAMES, PATCH, PATCH)
        self.proj = nn.Sequential(nn.Identity(), nn.Conv3d(3, width, size, stride=size, bias=False))

    def forward(self, frames: Tensor) -> Tensor:
        """Normalised ``(B, 3, 2, 224, 224)``, or pixels of stills, uint8 ``(B, 3, 224, 224)``: ``(B, 256, width)``."""
        weight: Tensor = self.get_parameter("proj.1.weight")
        if frames.dtype == torch.uint8:
            return self._stills(frames, weight.sum(dim=2))
        # Strides equal the kernel, so that the convolution is one matrix product over patches.
        grid = frames.reshape(*frames.shape[:3], _SIDE, PATCH, _SIDE, PATCH)
        patches = grid.permute(0, 3, 5, 1, 2, 4, 6).flatten(3).flatten(1, 2)
        return F.linear(patches, weight.flatten(1))

    def _stills(self, pixels: Tensor, weight: Tensor) -> Tensor:
        """Stills shown twice, normalised by the projection itself: bytes are a quarter of what floats take to move.

        128 is taken off first: a sum of small numbers of both signs keeps more digits, and bfloat16 holds all of them.
        """
        std = torch.tensor(PIXEL_STD, device=weight.device).view(3, 1, 1)
        weight = weight / std
        offset = 128 / 255 - torch.tensor(PIXEL_MEAN, device=weight.device)
        bias = (weight.sum(dim=(2, 3)) * offset).sum(dim=1)
        grid = pixels.reshape(*pixels.shape[:2], _SIDE, PATCH, _SIDE, PATCH)
        patches = grid.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        # 128 less, still in bytes: flipping the highest bit does it, in a quarter of the memory that floats take.
        patches = patches.bitwise_xor(128).view(torch.int8).to(torch.float32)
        return F.linear(patches, (weight / 255).permute(0, 2, 3, 1).flatten(1), bias)


class VisionPreprocessor(nn.Module):
    """Frames to tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.rgbt_stem = VideoStem(width)
        self.pos_embedding_helper = PositionalEmbedding(_SIDE**2 + 1, width)

    def forward(self, frames: Tensor) -> Tensor:
        """As `VideoStem`, with the class token in front: ``(B, 257, width)``."""
        return _with_cls(self.cls_token, self.rgbt_stem(frames), self.pos_embedding_helper.pos_embed)


class AudioPreprocessor(nn.Module):
    """Log-mel spectrograms to tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        convolution = nn.Conv2d(1, width, AUDIO_PATCH, stride=AUDIO_STRIDE, bias=False)
        self.rgbt_stem = PatchStem(convolution, width)
        patches = _steps(MEL_BINS) * _steps(MEL_FRAMES)
        self.pos_embedding_helper = PositionalEmbedding(patches + 1, width)

    def forward(self, mels: Tensor) -> Tensor:
        """``(B, 1, 128, 204)`` to ``(B, 229, width)``."""
        tiles = mels[:, 0].unfold(1, AUDIO_PATCH, AUDIO_STRIDE).unfold(2, AUDIO_PATCH, AUDIO_STRIDE)
        patches = self.rgbt_stem(tiles.flatten(3).flatten(1, 2))
        return _with_cls(self.cls_token, patches, self.pos_embedding_helper.pos_embed)


class TextPreprocessor(nn.Module):
    """Token ids to tokens; `mask` keeps each from seeing those after it."""

    mask: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.empty(1, CONTEXT, width))
        self.register_buffer("mask", torch.empty(CONTEXT, CONTEXT))
        self.token_embedding = nn.Embedding(VOCABULARY, width)

    def forward(self, ids: Tensor) -> Tensor:
        """``(B, 77)`` to ``(B, 77, width)``."""
        tokens: Tensor = self.token_embedding(ids) + self.pos_embed
        return tokens


class UnusedPreprocessor(nn.Module):
    """Shapes of a modality that is not run, under the official names."""

    def __init__(self, width: int, stem_name: str) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        convolution = nn.Conv2d(1, width, AUDIO_PATCH, stride=AUDIO_PATCH, bias=False)
        self.add_module(stem_name, PatchStem(convolution, width))
        self.pos_embedding_helper = PositionalEmbedding(_DEPTH_PATCHES + 1, width)


class UnusedIMUPreprocessor(nn.Module):
    """Shapes of the IMU modality, which is not run."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.empty(1, _IMU_STEPS + 1, width))
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.imu_stem = PatchStem(nn.Linear(_IMU_VALUES, width, bias=False), width)


class FirstToken(nn.Module):
    """The first token of each sequence."""

    def forward(self, tokens: Tensor) -> Tensor:
        """``(B, L, width)`` to ``(B, width)``."""
        return tokens[:, 0]


class TextHead(nn.Module):
    """Norm and projection of the token at each prompt's pooled position."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.LayerNorm(width, eps=_TRUNK_EPS), nn.Linear(width, embedding, bias=False))

    def forward(self, tokens: Tensor, ids: Tensor) -> Tensor:
        """``(B, 77, width)`` and ids ``(B, 77)`` to ``(B, embedding)``."""
        # The end token has the largest id; without it the start token does (and has seen nothing else).
        pooled = tokens[torch.arange(len(ids), device=ids.device), ids.argmax(dim=-1)]
        out: Tensor = self.proj(pooled)
        return out


class Normalise(nn.Module):
    """Unit length."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, d)`` to float32 of the same shape."""
        return F.normalize(x.float(), dim=-1)


class LogitScale(nn.Module):
    """Times the stored factor, at most 100."""

    def __init__(self) -> None:
        super().__init__()
        self.log_logit_scale = nn.Parameter(torch.empty(()))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, d)`` to the same."""
        return x * self.log_logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)


class ImageBindNetwork(nn.Module):
    """All towers. Parameters are empty until a checkpoint is loaded."""

    def __init__(self, config: ImageBindConfig) -> None:
        super().__init__()
        towers = {name: getattr(config, name) for name in ("vision", "audio", "text", "depth", "thermal", "imu")}
        self.modality_preprocessors = nn.ModuleDict(
            {
                "vision": VisionPreprocessor(config.vision.width),
                "audio": AudioPreprocessor(config.audio.width),
                "text": TextPreprocessor(config.text.width),
                "depth": UnusedPreprocessor(config.depth.width, "depth_stem"),
                "thermal": UnusedPreprocessor(config.thermal.width, "rgbt_stem"),
                "imu": UnusedIMUPreprocessor(config.imu.width),
            }
        )
        self.modality_trunks = nn.ModuleDict(
            {
                name: Trunk(tower, extra_token=name not in ("vision", "text"), norm_first=name == "vision")
                for name, tower in towers.items()
            }
        )
        self.modality_heads = nn.ModuleDict(
            {name: _head(name, tower.width, config.embedding) for name, tower in towers.items()}
        )
        self.modality_postprocessors = nn.ModuleDict(
            {name: nn.Sequential(Normalise(), *([] if name == "vision" else [LogitScale()])) for name in towers}
        )

    def drop_unused(self) -> None:
        """Forget the towers that never run."""
        for part in (
            self.modality_preprocessors,
            self.modality_trunks,
            self.modality_heads,
            self.modality_postprocessors,
        ):
            for name in set(part) - set(USED):
                del part[name]

    def embed_vision(self, frames: Tensor) -> Tensor:
        """Unit embeddings of two-frame clips, or of stills.

        Args:
            frames: normalised float32, ``(B, 3, 2, 224, 224)``; uint8 ``(B, 3, 224, 224)`` are the pixels of stills,
                which are normalised and shown twice.

        Returns:
            float32, ``(B, embedding)``.
        """
        tokens = self.modality_trunks["vision"](self.modality_preprocessors["vision"](frames), first_only=True)
        return self._finish("vision", self.modality_heads["vision"](tokens))

    def embed_audio(self, mels: Tensor) -> Tensor:
        """Embeddings of normalised log-mels ``(B, 1, 128, 204)``, of length 20: float32, ``(B, embedding)``."""
        tokens = self.modality_trunks["audio"](self.modality_preprocessors["audio"](mels), first_only=True)
        return self._finish("audio", self.modality_heads["audio"](tokens))

    def embed_text(self, ids: Tensor) -> Tensor:
        """Embeddings of token ids ``(B, 77)``, of the learned length: float32, ``(B, embedding)``."""
        preprocessor = self.modality_preprocessors["text"]
        tokens = self.modality_trunks["text"](preprocessor(ids), preprocessor.mask)
        return self._finish("text", self.modality_heads["text"](tokens, ids))

    def _finish(self, name: str, projected: Tensor) -> Tensor:
        out: Tensor = self.modality_postprocessors[name](projected)
        return out


def _head(name: str, width: int, embedding: int) -> nn.Module:
    if name == "text":
        return TextHead(width, embedding)
    projection = nn.Linear(width, embedding, bias=False)
    between = [FirstToken(), nn.Dropout()] if name == "imu" else [FirstToken()]
    return nn.Sequential(nn.LayerNorm(width, eps=_TRUNK_EPS), *between, projection)


def _with_cls(cls_token: Tensor, patches: Tensor, positions: Tensor) -> Tensor:
    first = cls_token.to(patches.dtype).expand(len(patches), -1, -1)
    return torch.cat([first, patches], dim=1) + positions


def _steps(length: int) -> int:
    return (length - AUDIO_PATCH) // AUDIO_STRIDE + 1
