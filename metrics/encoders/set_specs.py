"""The features that FVD, KVD, FID and FAD are computed from, as a protocol asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from javisbench.metrics.encoders.base import FeatureSpec, Setting, timed

if TYPE_CHECKING:
    from javisbench.protocol import Protocol


def i3d_spec(protocol: Protocol) -> FeatureSpec:
    """I3D logits for FVD and KVD: one array ``embedding`` of shape ``(400,)`` a clip."""
    fvd = protocol.fvd
    prep: dict[str, Setting] = {
        "image_size": fvd.image_size,
        "max_frames": fvd.max_frames,
        "video_range": fvd.video_range,
        "video_span": fvd.video_span,
    }
    if fvd.video_span == "audio_span":
        prep["max_audio_len_s"] = protocol.max_audio_len_s
    return timed(FeatureSpec("i3d", "logits", tuple(sorted(prep.items()))), protocol)


def inception_spec(protocol: Protocol) -> FeatureSpec:
    """Pooled Inception features for FID: one array ``embedding`` of shape ``(fid_frames, 2048)`` a clip."""
    fvd = protocol.fvd
    prep: dict[str, Setting] = {
        "frames": fvd.fid_frames,
        "video_span": fvd.video_span,
    }
    if fvd.video_span == "audio_span":
        prep["max_audio_len_s"] = protocol.max_audio_len_s
    return timed(FeatureSpec("inception", "pool3", tuple(sorted(prep.items()))), protocol)


def audioclip_spec(protocol: Protocol) -> FeatureSpec:
    """AudioCLIP audio embedding for FAD: one array ``embedding`` of shape ``(1024,)`` a clip."""
    fad = protocol.fad
    return FeatureSpec.of(
        "audioclip",
        "embedding",
        sample_rate=fad.fad_sample_rate,
        scale=fad.fad_scale,
        resampler=fad.fad_resampler,
        fbsp_dtype=fad.fbsp_dtype,
        max_audio_len_s=protocol.max_audio_len_s,
    )
