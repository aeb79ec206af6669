"""Euler sampling of a rectified flow, of one stream or of video and audio together, with times that depend on the size.

The flow is v = data - noise; time runs from 1000 (noise) to 0 (data). Streams share their times. Latent frames may be
given instead of sampled (`Given`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

Streams: TypeAlias = "tuple[Tensor, ...]"
"""A tensor a stream: the video latent ``(B, channels, T, H, W)``, then the audio latent ``(B, channels, T, mels)``."""

Velocity: TypeAlias = "Callable[[Streams, float, Streams | None], Streams]"
"""``(latents, time, free) -> velocities``, guidance included; `free` says which latent frames are sampled at that time,
bool ``(T,)`` a stream, None when nothing is given."""


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


@dataclass(frozen=True)
class Given:
    """Latent frames of a stream that are given rather than sampled.

    Attributes:
        latent: of the stream's shape; what it holds where the mask is 1 does not matter.
        mask: ``(T,)`` in [0, 1]: 1 where a frame is sampled, 0 where it is kept; between, a frame is kept until the
            time falls below 1000 times that, and sampled from there on (an edit ratio).
    """

    latent: Tensor
    mask: Tensor


def euler(
    velocity: Velocity,
    noise: Streams,
    times: Tensor,
    given: Sequence[Given] | None = None,
    draw: torch.Generator | None = None,
) -> Streams:
    """Follow the flow from noise to data.

    Before each step a frame is free where mask * 1000 >= time. One that becomes free later than at the start begins as
    its reference with noise of that time; one that is not free is put back to its reference after the step.

    Args:
        velocity: see `Velocity`.
        noise: a tensor a stream, float32.
        times: falling times in (0, 1000], from `sampling_times`.
        given: what is given of each stream; None for nothing.
        draw: where noise for frames that become free later comes from, stream by stream.

    Returns:
        The latents at time 0, of the shapes of `noise`.
    """
    latents = noise if given is None else tuple(map(_start, noise, given))
    earlier = None if given is None else tuple(one.mask == 1 for one in given)
    ends = [*times.tolist()[1:], 0.0]
    for time, end in zip(times.tolist(), ends, strict=True):
        free = None if given is None else tuple(one.mask * TIME_RANGE >= time for one in given)
        if free is not None and earlier is not None:
            late = tuple(now & ~before for now, before in zip(free, earlier, strict=True))
            latents = tuple(_noised(z, frames, time, draw) for z, frames in zip(latents, late, strict=True))
            earlier = free
        step = (time - end) / TIME_RANGE
        velocities = velocity(latents, time, free)
        moved = tuple(z + step * v.to(z.dtype) for z, v in zip(latents, velocities, strict=True))
        latents = moved if free is None else tuple(map(_chosen, free, moved, latents))
    return latents


def _start(noise: Tensor, given: Given) -> Tensor:
    return _chosen(given.mask == 1, noise, given.latent)


def _noised(z: Tensor, frames: Tensor, time: float, draw: torch.Generator | None) -> Tensor:
    """`z` with noise of `time` in some frames."""
    if not bool(frames.any()):
        return z
    import torch

    noise = torch.randn(z.shape, generator=draw).to(z)
    share = time / TIME_RANGE
    return _chosen(frames, (1 - share) * z + share * noise, z)


def _chosen(frames: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """`inside` in the latent frames that bool `frames` ``(T,)`` names, `outside` elsewhere."""
    import torch

    return torch.where(frames.view(1, 1, -1, *[1] * (inside.ndim - 3)), inside, outside)


def guide(rows: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: null + scale * (conditional - null), for rows (conditional, null); keeps one row."""
    conditional, null = rows.chunk(2)
    return null + scale * (conditional - null)
