"""Synchformer's audio part: a spectrogram transformer over 0.64-second segments.

Sources: Iashin et al., Synchformer, ICASSP 2024, section 2; Gong et al., AST: Audio Spectrogram Transformer,
Interspeech 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from javisbench.metrics.encoders.synchformer.attention import AttentionPool, SelfAttention

EPS = 1e-12


class PatchProjection(nn.Module):
    """Overlapping 16 x 16 patches every 10 bins and frames."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(1, width, kernel_size=16, stride=10)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 1, bins, frames)`` to ``(n, tokens, width)``, tokens ordered by frequency, then time."""
        patches: Tensor = self.projection(x)
        return patches.flatten(2).transpose(1, 2)


class Embeddings(nn.Module):
    """Patches behind a class and a distillation token, with learned positions.

    Args:
        tokens: patches of a segment.
        width: of a token.
    """

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.distillation_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, tokens + 2, width))
        self.patch_embeddings = PatchProjection(width)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 1, bins, frames)`` to ``(n, 2 + tokens, width)``."""
        leading = torch.cat([self.cls_token, self.distillation_token], dim=1).expand(x.shape[0], -1, -1)
        return torch.cat([leading, self.patch_embeddings(x)], dim=1) + self.position_embeddings


class Dense(nn.Module):
    """A linear layer under the name ``dense``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., inputs)`` to ``(..., outputs)``."""
        mapped: Tensor = self.dense(x)
        return mapped


class Attention(nn.Module):
    """Self-attention and its output layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.output = Dense(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, tokens, width)`` to the same shape."""
        mapped: Tensor = self.output(self.attention(x))
        return mapped


class Layer(nn.Module):
    """Pre-norm attention and MLP, each added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.intermediate = Dense(width, 4 * width)
        self.output = Dense(4 * width, width)
        self.layernorm_before = nn.LayerNorm(width, eps=EPS)
        self.layernorm_after = nn.LayerNorm(width, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, tokens, width)`` to the same shape."""
        x = x + self.attention(self.layernorm_before(x))
        out: Tensor = x + self.output(F.gelu(self.intermediate(self.layernorm_after(x))))
        return out


class Layers(nn.Module):
    """A stack of layers under the name ``layer``."""

    def __init__(self, depth: int, width: int, heads: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(width, heads) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, tokens, width)`` to the same shape."""
        for layer in self.layer:
            x = layer(x)
        return x


class SpectrogramTransformer(nn.Module):
    """Embeddings, layers and a final norm."""

    def __init__(self, tokens: int, depth: int, width: int, heads: int) -> None:
        super().__init__()
        self.embeddings = Embeddings(tokens, width)
        self.encoder = Layers(depth, width, heads)
        self.layernorm = nn.LayerNorm(width, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 1, bins, frames)`` to the patch tokens, ``(n, tokens, width)``."""
        normed: Tensor = self.layernorm(self.encoder(self.embeddings(x)))
        return normed[:, 2:]


class AudioExtractor(nn.Module):
    """Six vectors a 0.64-second segment, each of one column of patches.

    Args:
        depth: layers.
        width: of a token.
        heads: attention heads.
    """

    bands = 12  # 128 mel bins in patches of 16 every 10
    columns = 6  # 66 frames in patches of 16 every 10

    def __init__(self, depth: int, width: int, heads: int) -> None:
        super().__init__()
        self.ast = SpectrogramTransformer(self.bands * self.columns, depth, width, heads)
        self.freq_attn_agg = AttentionPool(width, heads)

    def forward(self, mel: Tensor) -> Tensor:
        """Normalised log-mel segments, ``(n, 128, 66)``, to ``(n, 6, width)``."""
        tokens: Tensor = self.ast(mel.unsqueeze(1))
        width = tokens.shape[-1]
        grid = tokens.reshape(-1, self.bands, self.columns, width)
        pooled: Tensor = self.freq_attn_agg(grid.transpose(1, 2).flatten(0, 1))
        return pooled.reshape(-1, self.columns, width)
