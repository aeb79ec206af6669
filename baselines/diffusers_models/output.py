"""From what a pipeline returns to clips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from javisbench.clip import Clip
from javisbench.errors import GenerationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.baselines.base import Plan
    from javisbench.baselines.diffusers_models.rules import Rules

_PICTURES = ("frames", "video", "videos", "images")
_SOUNDS = ("audio", "audios", "sound")


def clip_of(rules: Rules, output: Any, place: int, plan: Plan) -> tuple[Clip, list[str]]:
    """One clip of a call, and what is worth a warning.

    Args:
        rules: of the pipeline.
        output: what the call returned: pictures as floats in [0, 1], sound in [-1, 1].
        place: of the prompt in the call.
        plan: of the clip.

    Raises:
        GenerationError: values that are not finite, or not of a clip's shape, or nothing where something was due.
    """
    import numpy as np

    frames, audio, warnings = np.zeros((0, 0, 0, 3), np.uint8), None, []
    if rules.family != "t2a":
        pictures = _finite(_one(rules, output, _PICTURES, place))
        if pictures.ndim != 4 or pictures.shape[3] != 3 or 0 in pictures.shape:
            raise GenerationError(f"{rules.name} gave pictures of shape {pictures.shape}.", kind="shape")
        frames = np.rint(np.clip(pictures, 0, 1) * 255).astype(np.uint8)
    if rules.family != "t2v":
        audio = np.atleast_2d(_finite(_one(rules, output, _SOUNDS, place)))
        if audio.ndim != 2 or 0 in audio.shape:
            raise GenerationError(f"{rules.name} gave sound of shape {audio.shape}.", kind="shape")
        if np.abs(audio).max(initial=0) > 1:
            warnings.append(f"{np.mean(np.abs(audio) > 1):.4%} of the sound's samples were clipped to [-1, 1]")
        audio = np.clip(audio, -1, 1)
    return Clip(frames, plan.fps, audio, plan.sample_rate if audio is not None else None, name=rules.name), warnings


def _one(rules: Rules, output: Any, names: tuple[str, ...], place: int) -> NDArray[np.float32]:
    import numpy as np

    values = next((found for name in names if (found := getattr(output, name, None)) is not None), None)
    if values is None:
        raise GenerationError(f"{rules.name} gave no {names[0]}.", kind="shape", details=())
    value = values[place] if rules.known.batched else values
    return np.asarray(value.float().cpu() if hasattr(value, "cpu") else value, dtype=np.float32)


def _finite(array: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    if not np.isfinite(array).all():
        raise GenerationError("The pipeline's output holds values that are not finite.", kind="non_finite")
    return array
