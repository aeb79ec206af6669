"""Hashes of what a clip's picture and its sound are decoded from, each alone.

A shifted sound, another sound track or a sidecar of its own leaves the picture's hash as it is, so that what was made
from the picture is found again.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

    from javisbench.clip import Timeline
    from javisbench.media.crop import Crop
    from javisbench.media.sound import Sound

_PICTURE = b"javisbench picture 1"
_SOUND = b"javisbench sound 1"


class PictureHash:
    """SHA-256 of a video track's packets, and of all else that decides on the frames that come out of it.

    Two equal hashes mean equal frames at equal times; equal frames in another container may have two.
    """

    def __init__(self, stream: VideoStream) -> None:
        context = stream.codec_context
        self._hash = hashlib.sha256(_PICTURE)
        self._known = True
        self._add(
            context.name,
            context.width,
            context.height,
            context.pix_fmt,
            *(getattr(context, name, None) for name in ("color_range", "colorspace", "color_primaries", "color_trc")),
        )
        self._hash.update(context.extradata or b"")

    def add(self, packet: Packet[Any]) -> None:
        """Take note of a packet, in the order stored."""
        side_data = getattr(packet, "iter_sidedata", None)
        if side_data is None:  # a PyAV that does not show all that its decoder gets
            self._known = False
            return
        self._add(packet.size, packet.is_discard)
        self._hash.update(bytes(packet))
        for part in side_data():
            self._add(str(part.data_type), part.data_size)
            self._hash.update(bytes(part))

    def digest(self, timeline: Timeline, matrix: tuple[int, ...] | None, crop: Crop, *, by_slot: bool) -> str:
        """The hash (hex) of frames laid out so; an empty string where it cannot be told."""
        if not self._known:
            return ""
        result = self._hash.copy()
        layout = (timeline.last_frame_s, timeline.fps, timeline.declared_fps, matrix, crop, by_slot)
        result.update(repr(layout).encode())
        result.update(np.ascontiguousarray(timeline.times_s, np.float64).data)
        return result.hexdigest()

    def _add(self, *facts: object) -> None:
        self._hash.update(repr(facts).encode())


def sound_hash(sound: Sound | None) -> str:
    """SHA-256 (hex) of the samples and their rate; of no sound, too."""
    result = hashlib.sha256(_SOUND)
    if sound is not None:
        result.update(repr((sound.rate, sound.samples.shape)).encode())
        result.update(np.ascontiguousarray(sound.samples).data)
    return result.hexdigest()
