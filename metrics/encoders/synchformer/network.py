"""Synchformer: how many seconds the sound of a video is early or late, as one of 21 classes.

Tensor names and shapes are those of the official ``synchformer_state_dict.pth``.

Source: Iashin et al., Synchformer: Efficient Synchronization from Sparse Cues, ICASSP 2024.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from javisbench.metrics.encoders.synchformer.attention import SelfAttention
from javisbench.metrics.encoders.synchformer.audio import AudioExtractor
from javisbench.metrics.encoders.synchformer.visual import VisualExtractor

CLASSES = 21
SEGMENTS = 14  # in one input of the synchronisation part


@dataclass(frozen=True)
class SynchformerConfig:
    """Numbers of the network.

    Attributes:
        visual_depth: blocks of the visual part.
        audio_depth: layers of the audio part.
        sync_depth: blocks of the synchronisation part.
        width: of a token, everywhere.
        heads: attention heads of the visual and the audio part.
        sync_heads: attention heads of the synchronisation part.
    """

    visual_depth: int = 12
    audio_depth: int = 12
    sync_depth: int = 3
    width: int = 768
    heads: int = 12
    sync_heads: int = 8


class SyncAttention(SelfAttention):
    """Self-attention with an output layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, tokens, width)`` to the same shape."""
        projected: Tensor = self.proj(super().forward(x))
        return projected


class SyncBlock(nn.Module):
    """Pre-norm attention and MLP, each added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(width)
        self.ln2 = nn.LayerNorm(width)
        self.attn = SyncAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, tokens, width)`` to the same shape."""
        x = x + self.attn(self.ln1(x))
        out: Tensor = x + self.mlp(self.ln2(x))
        return out


class Positions(nn.Module):
    """Learned positions under the name ``pos_emb``."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.pos_emb = nn.Parameter(torch.zeros(1, tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, tokens, width)`` to the same shape."""
        return x + self.pos_emb


class SyncTransformer(nn.Module):
    """Classifies the offset from the tokens of 14 segments of both modalities.

    Args:
        config: numbers of the network.
    """

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        width = config.width
        tokens = 2 + SEGMENTS * (VisualExtractor.frames + AudioExtractor.columns)
        self.OFF_tok = nn.Parameter(torch.zeros(1, 1, width))
        self.MOD_tok = nn.Parameter(torch.zeros(1, 1, width))
        self.vis_in_lnorm = nn.LayerNorm(width)
        self.aud_in_lnorm = nn.LayerNorm(width)
        self.pos_emb_cfg = Positions(tokens, width)
        self.blocks = nn.Sequential(*(SyncBlock(width, config.sync_heads) for _ in range(config.sync_depth)))
        self.ln_f = nn.LayerNorm(width)
        self.off_head = nn.Linear(width, CLASSES)

    def forward(self, visual: Tensor, audio: Tensor) -> Tensor:
        """``(n, 112, width)`` and ``(n, 84, width)`` to logits ``(n, 21)``."""
        n = visual.shape[0]
        sequence = [
            self.OFF_tok.expand(n, -1, -1),
            self.vis_in_lnorm(visual),
            self.MOD_tok.expand(n, -1, -1),
            self.aud_in_lnorm(audio),
        ]
        x = self.blocks(self.pos_emb_cfg(torch.cat(sequence, dim=1)))
        logits: Tensor = self.off_head(self.ln_f(x)[:, 0])
        return logits


class Synchformer(nn.Module):
    """The whole network, in three calls, so that segments shared by groups are looked at once.

    Args:
        config: numbers of the network; the official ones by default.
    """

    def __init__(self, config: SynchformerConfig | None = None) -> None:
        super().__init__()
        config = config or SynchformerConfig()
        self.vfeat_extractor = VisualExtractor(config.visual_depth, config.width, config.heads)
        self.afeat_extractor = AudioExtractor(config.audio_depth, config.width, config.heads)
        self.vproj = nn.Linear(config.width, config.width)
        self.aproj = nn.Linear(config.width, config.width)
        self.transformer = SyncTransformer(config)

    def visual_features(self, segments: Tensor) -> Tensor:
        """Float pixels in [-1, 1], ``(n, 3, 16, 224, 224)``, to ``(n, 8, width)``."""
        features: Tensor = self.vfeat_extractor(segments)
        return features

    def audio_features(self, mel: Tensor) -> Tensor:
        """Normalised log-mel segments, ``(n, 128, 66)``, to ``(n, 6, width)``."""
        features: Tensor = self.afeat_extractor(mel)
        return features

    def offset_logits(self, visual: Tensor, audio: Tensor) -> Tensor:
        """Features of groups of 14 segments to logits.

        Args:
            visual: ``(groups, 14, 8, width)``.
            audio: ``(groups, 14, 6, width)``.

        Returns:
            ``(groups, 21)``; class c stands for an offset of ``-2 + 0.2 c`` seconds.
        """
        logits: Tensor = self.transformer(self.vproj(visual.flatten(1, 2)), self.aproj(audio.flatten(1, 2)))
        return logits


VARIANTS = {
    "full": SynchformerConfig(),
    "small": SynchformerConfig(visual_depth=2, audio_depth=2, sync_depth=1),
}
