"""The one channel that networks for sound hear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from javisbench.errors import FeatureError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import ClipHead


def mono(clip: ClipHead, nothing: str, *, longest_s: float | None = None) -> tuple[NDArray[np.float32], int]:
    """The mean of a clip's channels, float32 in [-1, 1], shape ``(samples,)``, at least one sample; and its rate in Hz.

    Args:
        clip: with its sound.
        nothing: what a clip without sound has none of, for the message (``nothing is said``).
        longest_s: seconds of sound that are taken; None for any.

    Raises:
        FeatureError: the clip has no sound (``no_audio``), more of it than `longest_s` (``too_large``), or values that
            are not numbers (``non_finite``).
    """
    if clip.audio is None or not clip.sample_rate or clip.audio.shape[1] == 0:
        raise FeatureError(f"{clip.name} has no sound, so {nothing}.", kind="no_audio")
    if longest_s is not None and clip.audio.shape[1] > longest_s * clip.sample_rate:
        raise FeatureError(f"The sound of {clip.name} is longer than {longest_s:g} s.", kind="too_large")
    samples: NDArray[np.float32] = clip.audio.mean(axis=0, dtype=np.float32)
    if not np.isfinite(samples).all():
        raise FeatureError(f"The sound of {clip.name} holds values that are not numbers.", kind="non_finite")
    return samples, clip.sample_rate
