"""Reading and writing clips.

Reading happens in worker processes, under limits (`DecodeLimits`), from real media files only; see
`javisbench.media.errors` for the reasons that a clip can be refused for.

    clip = read_clip("sample_0000.mp4")                 # one clip, sound beside it or inside it
    with ClipReader(workers=4) as reader:               # many clips, in order
        for source, clip_or_error in reader.read(sources):
            ...
    write_clip(clip, "out/sample_0000.mp4")             # H.264 + AAC, and out/sample_0000.wav

Importing this package costs nothing: PyAV, numpy and soundfile come in with what uses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from javisbench.media.pool import ClipJoiner, ClipReader, probe, read_clip, stream_clip
    from javisbench.media.source import ClipSource, DecodeLimits, MediaInfo, content_hash, sidecar_for
    from javisbench.media.write import write_clip, write_sound

_LAZY = {
    "ClipJoiner": "javisbench.media.pool",
    "ClipReader": "javisbench.media.pool",
    "ClipSource": "javisbench.media.source",
    "DecodeLimits": "javisbench.media.source",
    "MediaInfo": "javisbench.media.source",
    "content_hash": "javisbench.media.source",
    "probe": "javisbench.media.pool",
    "read_clip": "javisbench.media.pool",
    "sidecar_for": "javisbench.media.source",
    "stream_clip": "javisbench.media.pool",
    "write_clip": "javisbench.media.write",
    "write_sound": "javisbench.media.write",
}

__all__ = [
    "ClipJoiner",
    "ClipReader",
    "ClipSource",
    "DecodeLimits",
    "MediaInfo",
    "content_hash",
    "probe",
    "read_clip",
    "sidecar_for",
    "stream_clip",
    "write_clip",
    "write_sound",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'javisbench.media' has no attribute {name!r}")
