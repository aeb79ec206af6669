"""What a run wants of the real side, and stored features must match: feature, protocol, encoder, weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from javisbench.metrics.encoders.base import Encoder, FeatureSpec
    from javisbench.protocol import Protocol
    from javisbench.weights import Located


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder in one variant with its weights (None: needs none)."""

    name: str
    variant: str
    cls: type[Encoder]
    weights: Located | None

    @property
    def label(self) -> str:
        """``imagebind=huge``: part of every feature's key."""
        return f"{self.name}={self.variant}"

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the weights, or empty."""
        return self.weights.sha256 if self.weights else ""


@dataclass(frozen=True)
class Wanted:
    """One feature that a set metric needs of every real clip."""

    spec: FeatureSpec
    protocol: Protocol
    encoder: EncoderChoice
