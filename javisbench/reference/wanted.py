"""What a run wants of the real side, and stored features must match: feature, protocol, encoder, weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from javisbench.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    def other_weights(self) -> str:
        """What weights that are not the official ones add to a protocol's name: the first digits of their hash."""
        return f"weights={self.weights.sha256[:8]}" if self.weights and self.weights.official is False else ""

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the weights, or empty."""
        return self.weights.sha256 if self.weights else ""

    def load(self, device: str) -> Encoder:
        """The encoder, with its weights, on `device`.

        Raises:
            WeightsError: the weights are damaged or another network's; the message has the SHA-256 that the file has,
                and the one that it should have. What an encoder of another package raises passes through.
        """
        encoder = self.cls(self.variant)
        if self.weights is None:
            encoder.load(None, device)
            return encoder
        try:
            encoder.load(self.weights.path, device)
        except WeightsError as error:
            hashes = self.weights.hashes_told
            if error.details:
                raise WeightsError(error.sentence, kind=error.kind, details=(*error.details, hashes)) from error
            raise WeightsError(f"{error.sentence} {hashes}", kind=error.kind) from error
        return encoder


def named_after(protocol: Protocol, encoders: Iterable[EncoderChoice]) -> Protocol:
    """The protocol under a name that tells of each encoder that is not the official one, in order of names."""
    for choice in sorted(encoders, key=lambda choice: choice.name):
        if choice.variant != choice.cls.card.default_variant:
            protocol = protocol.derived(choice.label)
        if choice.other_weights:
            protocol = protocol.derived(choice.other_weights)
    return protocol


@dataclass(frozen=True)
class Wanted:
    """One feature that a set metric needs of every real clip."""

    spec: FeatureSpec
    protocol: Protocol
    encoder: EncoderChoice
