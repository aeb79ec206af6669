"""ImageBind's sizes: all that tells the huge network from the tiny one."""

from __future__ import annotations

from dataclasses import dataclass

IMAGE_SIZE = 224
PATCH = 14
CLIP_FRAMES = 2
PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)
AUDIO_RATE = 16000
MEL_BINS = 128
MEL_FRAMES = 204
AUDIO_PATCH = 16
AUDIO_STRIDE = 10
CONTEXT = 77
VOCABULARY = 49408
MAX_LOGIT_SCALE = 100.0


@dataclass(frozen=True)
class TowerConfig:
    """One modality's transformer.

    Attributes:
        width: channels of a token.
        blocks: transformer blocks.
        heads: attention heads; they divide `width`.
    """

    width: int
    blocks: int
    heads: int


@dataclass(frozen=True)
class ImageBindConfig:
    """The towers and the width that they share.

    Depth, thermal and IMU towers are in the official file and never run.

    Attributes:
        embedding: channels of the joint embedding.
    """

    embedding: int
    vision: TowerConfig
    audio: TowerConfig
    text: TowerConfig
    depth: TowerConfig
    thermal: TowerConfig
    imu: TowerConfig


CONFIGS = {
    "huge": ImageBindConfig(
        embedding=1024,
        vision=TowerConfig(width=1280, blocks=32, heads=16),
        audio=TowerConfig(width=768, blocks=12, heads=12),
        text=TowerConfig(width=1024, blocks=24, heads=16),
        depth=TowerConfig(width=384, blocks=12, heads=8),
        thermal=TowerConfig(width=768, blocks=12, heads=12),
        imu=TowerConfig(width=512, blocks=6, heads=8),
    ),
    "tiny": ImageBindConfig(
        embedding=48,
        vision=TowerConfig(width=64, blocks=2, heads=4),
        audio=TowerConfig(width=48, blocks=2, heads=4),
        text=TowerConfig(width=32, blocks=2, heads=4),
        depth=TowerConfig(width=16, blocks=2, heads=2),
        thermal=TowerConfig(width=16, blocks=2, heads=2),
        imu=TowerConfig(width=16, blocks=2, heads=2),
    ),
}
