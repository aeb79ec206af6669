"""Encoders: what turns clips and prompts into the features that metrics are computed from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from javisbench.registry import Registry

if TYPE_CHECKING:
    from javisbench.metrics.encoders.base import Encoder


def _wrong(name: str, found: object) -> str | None:
    """What keeps an object of another package from being the encoder `name`; None for an encoder."""
    from javisbench.metrics.encoders.base import Encoder, EncoderCard

    if not (isinstance(found, type) and issubclass(found, Encoder)):
        return "is no subclass of Encoder"
    card = getattr(found, "card", None)
    if not isinstance(card, EncoderCard) or not card.variants:
        return "has no EncoderCard with variants as `card`"
    return None if card.name == name else f"has the name {card.name!r} on its card, which must be its entry point's"


ENCODERS: Registry[type[Encoder]] = Registry(
    "encoder",
    "javisbench.encoders",
    {
        "onsets": "javisbench.metrics.encoders.onsets:OnsetEncoder",
        "flow": "javisbench.metrics.encoders.flow:FlowEncoder",
        "health": "javisbench.metrics.encoders.health:HealthEncoder",
        "imagebind": "javisbench.metrics.encoders.imagebind:ImageBindEncoder",
        "i3d": "javisbench.metrics.encoders.i3d:I3DEncoder",
        "inception": "javisbench.metrics.encoders.inception:InceptionEncoder",
        "audioclip": "javisbench.metrics.encoders.audioclip:AudioCLIPEncoder",
        "synchformer": "javisbench.metrics.encoders.synchformer:SynchformerEncoder",
        "clip": "javisbench.metrics.encoders.clip:CLIPEncoder",
        "clap": "javisbench.metrics.encoders.clap:CLAPEncoder",
        "cavp": "javisbench.metrics.encoders.cavp:CAVPEncoder",
        "audiobox": "javisbench.metrics.encoders.audiobox:AudioboxEncoder",
        "videoreward": "javisbench.metrics.encoders.videoreward:VideoRewardEncoder",
    },
    _wrong,
)
