"""``--conform exact``: bring a clip to the suite's setting."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from javisbench.clip import Clip, ClipSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray


def conform_clip(clip: Clip, setting: ClipSpec) -> Clip:
    """Resize (area average or bicubic), pick nearest frames, resample (polyphase) and trim or pad to the setting.

    A clip that is too short repeats its last frame and is padded with silence. The aspect ratio is not kept.

    Args:
        clip: any size, rate and length.
        setting: what is wanted.

    Returns:
        round(duration * fps) frames of the setting's size, and audio of exactly duration * sample_rate samples.
    """
    import numpy as np

    sound = None if clip.audio is None or clip.sample_rate is None else _audio(clip.audio, clip.sample_rate, setting)
    rate = None if sound is None else setting.sample_rate
    if not len(clip.frames):  # the suite's picture, which stays as it is
        return replace(clip, audio=sound, sample_rate=rate)
    count = round(setting.duration_s * float(setting.fps))
    times = np.arange(count) / float(setting.fps)
    # The frame whose time is nearest: the boundary lies halfway between two.
    shown = clip.timeline.times_s
    picked = np.searchsorted((shown[1:] + shown[:-1]) / 2, times, side="right")
    frames = _resized(clip.frames[picked], setting.width, setting.height)
    return replace(clip.with_frames(frames, setting.fps), audio=sound, sample_rate=rate)


def _resized(frames: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    import cv2
    import numpy as np

    if frames.shape[1:3] == (height, width):
        return frames
    shrinks = frames.shape[1] * frames.shape[2] > width * height
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, (width, height), interpolation=method) for frame in frames])


def _audio(audio: NDArray[Any], rate: int, setting: ClipSpec) -> NDArray[Any]:
    import math

    import numpy as np
    from scipy.signal import resample_poly

    if rate != setting.sample_rate:
        common = math.gcd(rate, setting.sample_rate)
        audio = resample_poly(audio, setting.sample_rate // common, rate // common, axis=1)
    wanted = round(setting.duration_s * setting.sample_rate)
    audio = audio[:, :wanted]
    padded: NDArray[Any] = np.pad(audio, ((0, 0), (0, wanted - audio.shape[1])))
    return padded.clip(-1.0, 1.0).astype(np.float32)
