"""What a request gives besides its prompt, fitted to what v0.1 makes: frames and sound that stand at a clip's start."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from javisbench.baselines.javisdit.planning import JavisDiTPlan
from javisbench.baselines.javisdit.sampler import MIN_FRAMES, Setting
from javisbench.errors import GenerationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.baselines.base import Request
    from javisbench.clip import Clip

# Containers round times: a clip of 4 s may be told as 3.9996 s or 4.0004 s.
_SLACK_FRAMES = 0.02


@dataclass(frozen=True, eq=False)
class Material:
    """What is given of a clip, from its start on.

    Attributes:
        frames: uint8 ``(n, H, W, 3)`` of the plan's size, one each 1 / fps seconds; None for none.
        samples: float32 ``(n,)`` in [-1, 1] at the plan's rate; None for none.
        makes_picture: whether the picture is wanted; where it is not, `frames` are the whole picture.
        makes_sound: whether the sound is wanted; where it is not, `samples` are the whole sound.
    """

    frames: NDArray[np.uint8] | None = None
    samples: NDArray[np.float32] | None = None
    makes_picture: bool = True
    makes_sound: bool = True


NOTHING = Material()
"""Of a clip that is made from its prompt alone."""


def material_of(request: Request, plan: JavisDiTPlan) -> tuple[Material, JavisDiTPlan]:
    """What a request gives for its task, and the plan as long as that.

    A video or a sound that is longer than the plan is cut; one that is shorter makes the clip shorter.

    Raises:
        GenerationError: nothing is given (kind ``no_condition``), or less than 17 frames' time (``too_short``).
        MediaError: what is given cannot be read.
    """
    if request.task == "t2av":
        return NOTHING, plan
    if request.task == "i2av":
        image = request.conditions.still()
        if image is None:
            raise _nothing("an image")
        return Material(frames=covering_frames(image[None], plan.width, plan.height)), plan
    if plan.extensions:
        raise GenerationError(
            f"extend makes longer clips from text or from an image; {request.task} is as long as what is given. Leave "
            f"-M extend out.",
            kind="unsupported",
        )
    if request.task == "v2a":
        return _of_video(request.conditions.picture(), plan)
    return _of_sound(request.conditions.sound(), plan)


def _nothing(what: str) -> GenerationError:
    return GenerationError(f"The task needs {what}, and none is given.", kind="no_condition")


def _of_video(clip: Clip | None, plan: JavisDiTPlan) -> tuple[Material, JavisDiTPlan]:
    if clip is None:
        raise _nothing("a video")
    plan = _as_long(plan, clip.duration_s)
    shown = [clip.timeline.frame_at(Fraction(index) / plan.fps) for index in range(plan.frames)]
    return Material(frames=covering_frames(clip.frames[shown], plan.width, plan.height), makes_picture=False), plan


def _of_sound(given: tuple[NDArray[np.float32], int] | None, plan: JavisDiTPlan) -> tuple[Material, JavisDiTPlan]:
    from javisbench.baselines.javisdit.sound import gain_of, mono_at

    if given is None:
        raise _nothing("a sound")
    audio, rate = given
    plan = _as_long(plan, audio.shape[1] / rate)
    longest = math.ceil(float(plan.frames / plan.fps + 1) * rate)
    samples = mono_at(audio[:, :longest], rate, plan.sample_rate)
    return Material(samples=(samples * gain_of(samples)).astype(samples.dtype), makes_sound=False), plan


def _as_long(plan: JavisDiTPlan, seconds: float) -> JavisDiTPlan:
    """The plan for `seconds` of given material, cut to what was planned."""
    frames = min(plan.frames, math.ceil(seconds * plan.fps - _SLACK_FRAMES))
    if frames < MIN_FRAMES:
        raise GenerationError(
            f"{seconds:.3g} s are given; the model makes at least {MIN_FRAMES} frames, "
            f"{float(MIN_FRAMES / plan.fps):.3g} s at {float(plan.fps):g} fps.",
            kind="too_short",
        )
    samples = round(min(float(frames / plan.fps), seconds) * plan.sample_rate)
    asked = Setting(plan.asked.height, plan.asked.width, frames)
    return replace(plan, frames=frames, audio_samples=samples, asked=asked)


def covering_frames(frames: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Frames ``(T, H, W, 3)`` resized to cover the size with their aspect kept, and cut around the centre."""
    import cv2
    import numpy as np

    old_height, old_width = frames.shape[1:3]
    if (old_height, old_width) == (height, width):
        return frames
    scale = max(width / old_width, height / old_height)
    covers = max(width, round(old_width * scale)), max(height, round(old_height * scale))
    left, top = (covers[0] - width) // 2, (covers[1] - height) // 2
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = (cv2.resize(frame, covers, interpolation=method) for frame in frames)
    return np.stack([frame[top : top + height, left : left + width] for frame in resized]).astype(np.uint8)
