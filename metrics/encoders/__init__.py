"""Encoders: what turns clips and prompts into the features that metrics are computed from."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from javisbench.errors import UsageError
from javisbench.registry import ENCODER_GROUP, Registry

if TYPE_CHECKING:
    from javisbench.metrics.encoders.base import Encoder, EncoderCard


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
    ENCODER_GROUP,
    {
        "onsets": "javisbench.metrics.encoders.onsets:OnsetEncoder",
        "flow": "javisbench.metrics.encoders.flow:FlowEncoder",
        "sound_level": "javisbench.metrics.encoders.sound_level:SoundLevelEncoder",
        "motion_acceleration": "javisbench.metrics.encoders.motion_acceleration:MotionAccelerationEncoder",
        "health": "javisbench.metrics.encoders.health:HealthEncoder",
        "imagebind": "javisbench.metrics.encoders.imagebind:ImageBindEncoder",
        "i3d": "javisbench.metrics.encoders.i3d:I3DEncoder",
        "inception": "javisbench.metrics.encoders.inception:InceptionEncoder",
        "audioclip": "javisbench.metrics.encoders.audioclip:AudioCLIPEncoder",
        "synchformer": "javisbench.metrics.encoders.synchformer:SynchformerEncoder",
        "syncnet": "javisbench.metrics.encoders.syncnet:SyncNetEncoder",
        "clip": "javisbench.metrics.encoders.clip:CLIPEncoder",
        "clap": "javisbench.metrics.encoders.clap:CLAPEncoder",
        "cavp": "javisbench.metrics.encoders.cavp:CAVPEncoder",
        "audiobox": "javisbench.metrics.encoders.audiobox:AudioboxEncoder",
        "panns_16k": "javisbench.metrics.encoders.panns:PANNs16kEncoder",
        "panns_32k": "javisbench.metrics.encoders.panns:PANNs32kEncoder",
        "passt": "javisbench.metrics.encoders.passt:PaSSTEncoder",
        "sensevoice": "javisbench.metrics.encoders.sensevoice:SenseVoiceEncoder",
        "vggish": "javisbench.metrics.encoders.vggish:VGGishEncoder",
        "whisper": "javisbench.metrics.encoders.whisper:WhisperEncoder",
        "dnsmos": "javisbench.metrics.encoders.dnsmos:DNSMOSEncoder",
        "videoreward": "javisbench.metrics.encoders.videoreward:VideoRewardEncoder",
        "judge_view": "javisbench.metrics.encoders.judge_view:JudgeViewEncoder",
    },
    _wrong,
)


def encoder_card(name: str) -> EncoderCard | None:
    """The encoder's card; None for one that is not installed here, or whose package does not import."""
    try:
        return ENCODERS.get(name).card
    except UsageError:
        return None


def lacking(name: str) -> str | None:
    """What this machine lacks for an encoder besides weights (the module of its extra, a program), as a sentence.

    Raises:
        UsageError: there is no such encoder, or its package has a defect.
    """
    cls, plugin = ENCODERS.get(name), ENCODERS.plugin(name)
    card = cls.card
    with ENCODERS.guarded(name, "lacking"):
        if card.module and importlib.util.find_spec(card.module) is None:
            package = plugin.package if plugin else "javisbench"
            what = f"'{package}[{card.extra}]'" if card.extra else package
            return f"{card.title} needs the module {card.module}, which is not installed: pip install {what}"
        return cls.lacking()
