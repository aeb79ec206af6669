"""ImageBind's embeddings of a clip's tensors, through which a gradient flows.

What the network sees is what `ImageBindEncoder` shows it: pixels are rounded to bytes, and the gradient passes the
rounding as if there were none (a straight-through estimate, Bengio et al., arXiv:1308.3432). Stills are resized byte by
byte as PIL does, which has no gradient: `video_clips`, `audio` and `audio_windows` have one, `frames` has not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from javisbench.metrics.encoders.base import FeatureSpec, timeline_for
from javisbench.metrics.encoders.imagebind.preprocessing import (
    AudioSegments,
    clip_pairs,
    crop_places,
    normalise,
    prepare_waveform,
    scale_shorter_side,
    square,
)
from javisbench.metrics.encoders.imagebind.sounds import sound_windows

if TYPE_CHECKING:
    from javisbench.clip import Clip
    from javisbench.metrics.encoders.imagebind.network import ImageBindNetwork


def traced_video(network: ImageBindNetwork, clip: Clip, spec: FeatureSpec, pixels: Tensor) -> dict[str, Tensor]:
    """``embedding`` ``(d,)`` of ``video_clips``.

    Args:
        network: ImageBind.
        clip: which says when frames are shown.
        spec: the feature.
        pixels: ``(T, H, W, 3)`` in [0, 1].
    """
    pairs = clip_pairs(timeline_for(clip.head.timeline, spec))
    shown = sorted({frame for pair in pairs for frame in pair})
    device = next(network.parameters()).device
    scaled = scaled_pixels(rounded(pixels[shown].to(device)))
    rows = {frame: row for row, frame in enumerate(shown)}
    places = crop_places(scaled, [(rows[first], rows[last]) for first, last in pairs])
    distinct = list(dict.fromkeys(places))
    crops = torch.stack([
        torch.stack([square(scaled[row], top, left) for row in (first, last)], dim=1)
        for first, last, top, left in distinct
    ])  # fmt: skip
    embeddings = network.embed_vision(crops)
    return {"embedding": embeddings[[distinct.index(place) for place in places]].mean(dim=0)}


def traced_sound(network: ImageBindNetwork, clip: Clip, spec: FeatureSpec, sound: Tensor) -> dict[str, Tensor]:
    """``embedding`` ``(d,)`` of ``audio``; ``embeddings`` ``(W, d)`` and ``video_windows`` of ``audio_windows``.

    Args:
        network: ImageBind.
        clip: which says when frames are shown, and at what rate samples come.
        spec: the feature.
        sound: float32 ``(channels, samples)``.
    """
    assert clip.sample_rate is not None, "a clip with a score has sound"
    settings, segments = spec.settings, AudioSegments()
    device = next(network.parameters()).device
    waveform = prepare_waveform(sound.to(device), clip.sample_rate, str(settings["channels"]))
    samples = int(waveform.shape[1])
    windows = sound_windows(clip.head, samples, spec) if spec.feature == "audio_windows" else None
    spans = [(0, samples)] if windows is None else list(windows.audio)
    rows = segments.cut("sound", waveform, spans, in_place=settings["mean_removal"] == "in_place")
    embeddings = network.embed_audio(segments.mels())[rows]
    means = embeddings.reshape(len(spans), 3, -1).mean(dim=1)
    if windows is None:
        return {"embedding": means[0]}
    return {"embeddings": means, "video_windows": torch.tensor(windows.video)}


def rounded(pixels: Tensor) -> Tensor:
    """Pixels in [0, 1] as the bytes next to them have them; the gradient is that of the identity."""
    return pixels + (torch.round(pixels * 255.0) / 255.0 - pixels).detach()


def scaled_pixels(pixels: Tensor) -> Tensor:
    """Float frames ``(n, H, W, 3)`` in [0, 1] as `preprocessing.scaled_frames` makes them of bytes."""
    return normalise(scale_shorter_side(pixels.permute(0, 3, 1, 2).contiguous()))
