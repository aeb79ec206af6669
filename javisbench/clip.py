"""`Clip`, the only media type in the house, and `ClipSpec`, the setting a suite asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AudioSource = Literal["sidecar", "container", "none"]


@dataclass(frozen=True)
class ClipSpec:
    """The setting that a suite asks of its clips (JavisBench: 240p, 24 fps, 4 s, 16 kHz).

    Attributes:
        width: pixels.
        height: pixels.
        duration_s: seconds.
        fps: frames per second.
        sample_rate: Hz.
    """

    width: int = 426
    height: int = 240
    duration_s: float = 4.0
    fps: Fraction = Fraction(24)
    sample_rate: int = 16000


@dataclass(frozen=True, eq=False)
class Clip:
    """A decoded sounding video.

    Attributes:
        frames: uint8 RGB, shape ``(T, H, W, 3)``, T >= 1, after rotation by the container's display matrix.
        fps: the container's average frame rate, exact.
        audio: float32 in [-1, 1], shape ``(channels, samples)``, or None when there is no audio at all.
        sample_rate: Hz of ``audio``; None when there is no audio.
        audio_source: whether the sound came from a file beside the video, from its container, or from nowhere.
        frame_times_s: presentation time of each frame in seconds, float64, shape ``(T,)``, as the container
            says (first frame not necessarily 0; unequal steps for variable frame rates).
        name: where it came from, for messages.
    """

    frames: NDArray[np.uint8]
    fps: Fraction
    audio: NDArray[np.float32] | None
    sample_rate: int | None
    audio_source: AudioSource = "none"
    frame_times_s: NDArray[np.float64] | None = field(default=None, repr=False)
    name: str = "clip"

    @property
    def duration_s(self) -> float:
        """Seconds of video: frames / fps, in float64 (so 96 frames at 30000/1001 fps give 3.2032)."""
        return int(self.frames.shape[0]) / float(self.fps)

    @property
    def audio_duration_s(self) -> float:
        """Seconds of audio; 0.0 without audio."""
        if self.audio is None or not self.sample_rate:
            return 0.0
        return float(self.audio.shape[1] / self.sample_rate)
