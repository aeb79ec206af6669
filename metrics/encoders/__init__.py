"""Encoders: what turns clips and prompts into the features that metrics are computed from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from javisbench.registry import Registry

if TYPE_CHECKING:
    from javisbench.metrics.encoders.base import Encoder

ENCODERS: Registry[type[Encoder]] = Registry(
    "encoder",
    "javisbench.encoders",
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
        "clip": "javisbench.metrics.encoders.clip:CLIPEncoder",
        "clap": "javisbench.metrics.encoders.clap:CLAPEncoder",
        "cavp": "javisbench.metrics.encoders.cavp:CAVPEncoder",
        "audiobox": "javisbench.metrics.encoders.audiobox:AudioboxEncoder",
        "videoreward": "javisbench.metrics.encoders.videoreward:VideoRewardEncoder",
    },
)
