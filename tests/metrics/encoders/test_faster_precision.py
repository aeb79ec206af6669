"""Every network runs in half precision, and what it gives is float32 near what it gives in float32."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from javisbench.clip import Clip
from javisbench.metrics.base import SampleMetric
from javisbench.metrics.encoders import audioclip, cavp, clap, clip, synchformer
from javisbench.metrics.encoders.audioclip.network import ESResNeXt, ESResNeXtConfig
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.cavp.network import CAVP, CAVPConfig
from javisbench.metrics.encoders.i3d import I3DEncoder
from javisbench.metrics.encoders.i3d.network import I3D, I3DConfig, MixedWidths
from javisbench.metrics.encoders.synchformer.network import Synchformer, SynchformerConfig
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V2

FEW = MixedWidths(4, 4, 4, 4, 4, 4)
TINY_I3D = I3DConfig(stem=4, stem_out=8, mixed_3=(FEW,) * 2, mixed_4=(FEW,) * 5, mixed_5=(FEW,) * 2, classes=10)
TINY_AUDIO = ESResNeXtConfig(blocks=(1, 1, 1, 1), stem=8, groups=2, embed=16)
TINY_CAVP = CAVPConfig(video_width=2, video_depths=(1, 2, 1, 1), audio_width=2, embed_dim=16)
TINY_SYNC = SynchformerConfig(visual_depth=1, audio_depth=1, sync_depth=1, width=24, heads=2, sync_heads=2)

NETWORKS: dict[str, Callable[[], tuple[Any, torch.nn.Module]]] = {
    "i3d": lambda: (I3DEncoder(), I3D(TINY_I3D)),
    "audioclip": lambda: (audioclip.AudioCLIPEncoder(), ESResNeXt(TINY_AUDIO)),
    "synchformer": lambda: (synchformer.SynchformerEncoder("small"), Synchformer(TINY_SYNC)),
    "clip": lambda: (clip.CLIPEncoder("small"), clip.build_clip(clip.VARIANTS["small"])),
    "clap": lambda: (clap.CLAPEncoder("small"), clap.build_clap(clap.VARIANTS["small"])),
    "cavp": lambda: (cavp.CAVPEncoder(), CAVP(TINY_CAVP)),
}


def specs_of(name: str) -> list[FeatureSpec]:
    found = set()
    for metric in (METRICS.get(known)() for known in METRICS):
        needs = metric.needs(V2)
        found |= set(needs.values()) if isinstance(metric, SampleMetric) else {needs}
    return sorted((spec for spec in found if spec.encoder == name and spec.subject == "clip"), key=repr)


@pytest.mark.parametrize("name", NETWORKS)
def test_features_are_float32_and_near(name: str) -> None:
    """Within what eight bits of a number leave after a few layers; equal would mean that nothing was rounded."""
    encoder, network = NETWORKS[name]()
    draw = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            torch.nn.init.xavier_normal_(parameter, generator=draw)
    encoder._network = network.eval().requires_grad_(False)
    rng = np.random.default_rng(0)
    shown = Clip(
        rng.integers(0, 256, (24, 48, 64, 3), dtype=np.uint8),
        Fraction(24),
        rng.normal(0, 0.1, (1, 16000)).astype(np.float32),
        16000,
    )
    specs = specs_of(name)
    (exact,) = encoder.encode([shown], specs)
    with torch.autocast("cpu", torch.bfloat16):
        (fast,) = encoder.encode([shown], specs)
    for spec in specs:
        for key, expected in exact[spec].items():
            made = fast[spec][key]
            assert made.dtype == expected.dtype == np.float32
            gap = np.linalg.norm(made - expected) / np.linalg.norm(expected)
            assert 0 < gap < 0.1, (spec, key, gap)
