"""Attention with separate query, key and value layers, and pooling by attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """Multi-head attention with separate query, key and value layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, tokens, width)`` to the same shape."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class AttentionPool(nn.Module):
    """One pre-norm transformer layer over a class token and a set of tokens, of which only the class token is kept.

    Args:
        width: of a token.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.linear1 = nn.Linear(width, 4 * width)
        self.linear2 = nn.Linear(4 * width, width)
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(sets, tokens, width)`` to ``(sets, width)``."""
        cls = self.cls_token.expand(tokens.shape[0], -1, -1)
        normed = self.norm1(torch.cat([cls, tokens], dim=1))
        # The other tokens' outputs would be thrown away: only the class token asks.
        cls = cls + self.self_attn(normed[:, :1], normed, normed, need_weights=False)[0]
        pooled: Tensor = cls + self.linear2(F.gelu(self.linear1(self.norm2(cls))))
        return pooled[:, 0]
