"""Euler sampling of a rectified flow over video and audio together, with a resolution-dependent time schedule.

The flow is v = data - noise; time runs from 1000 (noise) to 0 (data). Video and audio share their times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from javisbench.errors import GenerationError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TIME_RANGE = 1000.0
"""Times are in [0, 1000]."""

MIN_FRAMES = 17
"""Fewer frames give a schedule of 0/0: the shift counts frames in whole groups of 17."""

_BASE_SIZE = 512
_LATENTS_PER_GROUP = 5

Velocity: TypeAlias = "Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]"


@dataclass(frozen=True)
class Setting:
    """What the schedule depends on: the size that was asked for, which may differ from what the VAE can make.

    Attributes:
        height: pixels.
        width: pixels.
        frames: number of frames, at least 17.
    """

    height: int
    width: int
    frames: int


def time_shift(setting: Setting, dtype: torch.dtype) -> Tensor:
    """The factor r that moves sampling times towards noise for large and long clips, 0-D, of `dtype`.

    r = sqrt(height * width / 512^2) * sqrt(5 * floor(frames / 17)), every step rounded to `dtype`.

    Raises:
        GenerationError: fewer than 17 frames, for which r is 0 and the schedule undefined.
    """
    import torch

    if setting.frames < MIN_FRAMES:
        raise GenerationError(
            f"JavisDiT's time schedule is undefined below {MIN_FRAMES} frames (0/0); {setting.frames} were asked for. "
            f"Ask for at least {MIN_FRAMES}, e.g. -M frames={MIN_FRAMES}."
        )
    height, width, frames = (
        torch.tensor(float(n), dtype=dtype) for n in (setting.height, setting.width, setting.frames)
    )
    groups = torch.div(frames, MIN_FRAMES, rounding_mode="floor")
    return _sqrt(height * width / _BASE_SIZE**2) * _sqrt(groups * _LATENTS_PER_GROUP)


def _sqrt(x: Tensor) -> Tensor:
    """Square root, rounded once. In single precision some of torch's vector units are a unit off, and two processors
    would sample at different times.
    """
    return x.double().sqrt().to(x.dtype)


def sampling_times(steps: int, setting: Setting, dtype: torch.dtype, scale: float = 1.0) -> Tensor:
    """The times at which the network is asked, from 1000 down, float32, shape ``(steps,)``.

    Args:
        steps: number of Euler steps, at least 1.
        setting: the size asked for.
        dtype: precision of the shift; the reference uses bfloat16 (r = 3.421875 instead of 3.42059 for 102 frames of
            426x240), which is kept by default.
        scale: further factor on the shift. 1 at inference in the reference, whose ``transform_scale = 5`` acts in
            training alone.

    Raises:
        GenerationError: fewer than 17 frames.
    """
    import torch

    shift = time_shift(setting, dtype) * scale
    even = torch.tensor([(1.0 - i / steps) * TIME_RANGE for i in range(steps)]) / TIME_RANGE
    return shift * even / (1 + (shift - 1) * even) * TIME_RANGE


def euler(velocity: Velocity, video: Tensor, audio: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Follow the flow from noise to data.

    Args:
        velocity: ``(video, audio, time) -> (video velocity, audio velocity)``, guidance included.
        video: noise, any shape, float32.
        audio: noise, any shape, float32.
        times: falling times in (0, 1000], from `sampling_times`.

    Returns:
        The video and audio latents at time 0.
    """
    ends = [*times.tolist()[1:], 0.0]
    for time, end in zip(times.tolist(), ends, strict=True):
        video_velocity, audio_velocity = velocity(video, audio, time)
        step = (time - end) / TIME_RANGE
        video = video + step * video_velocity.to(video.dtype)
        audio = audio + step * audio_velocity.to(audio.dtype)
    return video, audio


def guide(rows: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: null + scale * (conditional - null), for rows (conditional, null); keeps one row."""
    conditional, null = rows.chunk(2)
    return null + scale * (conditional - null)
