"""v0.1's HiST-Sypo prior estimator: from a prompt to spatial and temporal prior tokens.

ImageBind's text states go through a small encoder-decoder transformer, whose learned queries become the means and
log-variances of prior tokens; one random draw of them says where and when something sounds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from javisbench.baselines.javisdit.config import PriorConfig, PriorTextConfig
from javisbench.metrics.encoders.imagebind.config import TowerConfig
from javisbench.metrics.encoders.imagebind.network import TextPreprocessor, Trunk


class PriorText(nn.Module):
    """ImageBind's text tower without its head, under the tensor names of ``imagebind_huge.pth``.

    Args:
        config: its numbers.
    """

    def __init__(self, config: PriorTextConfig) -> None:
        super().__init__()
        tower = TowerConfig(width=config.dim, blocks=config.layers, heads=config.heads)
        self.modality_preprocessors = nn.ModuleDict({"text": TextPreprocessor(config.dim)})
        self.modality_trunks = nn.ModuleDict({"text": Trunk(tower)})

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids ``(B, 77)`` to hidden states ``(B, 77, dim)``, before the head's norm."""
        embed = self.modality_preprocessors["text"]
        return self.modality_trunks["text"](embed(tokens), embed.mask)  # type: ignore[no-any-return]


class PriorEstimator(nn.Module):
    """The transformer that reads text states and fills in prior tokens.

    Args:
        config: its numbers.
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.spatial_priors = config.spatial_priors
        self.in_proj = nn.Linear(config.text_dim, config.dim)
        self.spatial_query_emb = nn.Parameter(torch.zeros(1, config.spatial_priors, config.dim))
        self.temporal_query_emb = nn.Parameter(torch.zeros(1, config.temporal_priors, config.dim))
        self.prior_extractor = _encoder_decoder(config)
        self.out_proj = nn.Linear(config.dim, 2 * config.prior_dim)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the prior tokens, spatial ones first.

        Args:
            states: the prompt's text states ``(B, 77, text_dim)``.

        Returns:
            Two tensors ``(B, spatial + temporal, prior_dim)``.
        """
        queries = torch.cat([self.spatial_query_emb, self.temporal_query_emb], dim=1).expand(len(states), -1, -1)
        mean, log_variance = self.out_proj(self.prior_extractor(self.in_proj(states), queries)).chunk(2, dim=-1)
        return mean, log_variance

    def draw(self, states: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """One draw of the spatial and of the temporal prior; `noise` is standard normal, of the mean's shape."""
        mean, log_variance = self(states)
        tokens = mean + (log_variance / 2).exp() * noise
        return tokens[:, : self.spatial_priors], tokens[:, self.spatial_priors :]


def _encoder_decoder(config: PriorConfig) -> nn.Transformer:
    """Pre-norm, as in the reference: GELU where the text is read, ReLU where the queries are filled in."""
    shape = (config.dim, config.heads, config.ffn_ratio * config.dim)
    reader = nn.TransformerEncoderLayer(*shape, activation="gelu", norm_first=True, batch_first=True)
    filler = nn.TransformerDecoderLayer(*shape, activation="relu", norm_first=True, batch_first=True)
    return nn.Transformer(
        config.dim,
        config.heads,
        custom_encoder=nn.TransformerEncoder(
            reader, config.encoder_layers, norm=nn.LayerNorm(config.dim), enable_nested_tensor=False
        ),
        custom_decoder=nn.TransformerDecoder(filler, config.decoder_layers, norm=nn.LayerNorm(config.dim)),
        batch_first=True,
    )
