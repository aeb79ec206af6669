"""The ImageBind features that a protocol asks for; nothing in a spec that does not change its feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from javisbench.metrics.encoders.base import FeatureSpec, timed

if TYPE_CHECKING:
    from javisbench.protocol import Protocol


def video_spec(protocol: Protocol) -> FeatureSpec:
    """The clip's video: one array ``embedding``."""
    return timed(FeatureSpec.of("imagebind", "video_clips"), protocol)


def frames_spec() -> FeatureSpec:
    """Every frame as a still: ``embeddings``, the same under every protocol."""
    return FeatureSpec.of("imagebind", "frames")


def audio_spec(protocol: Protocol) -> FeatureSpec:
    """The clip's whole audio: one array ``embedding``."""
    settings = protocol.imagebind
    return FeatureSpec.of("imagebind", "audio", channels=settings.channels, mean_removal=settings.mean_removal)


def audio_windows_spec(protocol: Protocol) -> FeatureSpec:
    """JavisScore's audio windows and the frames that belong to them."""
    settings, javis = protocol.imagebind, protocol.javis_score
    spec = FeatureSpec.of(
        "imagebind",
        "audio_windows",
        channels=settings.channels,
        mean_removal=settings.mean_removal,
        overlap_s=float(javis.overlap_s),
        window_s=float(javis.window_s),
        windows=javis.windows,
    )
    return timed(spec, protocol)


def prompt_spec(protocol: Protocol, subject: Literal["text", "audio_text", "video_text"]) -> FeatureSpec:
    """A prompt: one array ``embedding``."""
    return FeatureSpec.of("imagebind", "text", subject=subject, long_prompts=protocol.imagebind.long_prompts)
