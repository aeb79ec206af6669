"""Deliberate damage to finished clips, so that metrics and boards can be seen to notice it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import Clip

Damage: TypeAlias = Literal[
    "none", "silent", "shuffled", "reversed", "clipped", "hiss", "frozen", "black", "noise", "blurred"
]

PIECES = 8


def shifted(audio: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Sound moved to `count` samples later (earlier if negative), silence where none is left."""
    moved = np.zeros_like(audio)
    if abs(count) < audio.shape[1]:
        if count >= 0:
            moved[:, count:] = audio[:, : audio.shape[1] - count]
        else:
            moved[:, :count] = audio[:, -count:]
    return moved


def damaged(clip: Clip, damage: Damage, rng: np.random.Generator) -> Clip:
    """The clip with its sound or picture spoiled.

    Sound: ``silent``; ``shuffled`` (eight pieces in another order), ``reversed``, ``clipped`` (12 dB too loud),
    ``hiss`` (white noise instead). Picture: ``frozen`` (the first frame), ``black``, ``noise`` (white noise instead),
    ``blurred``.
    """
    if damage in ("frozen", "black", "noise", "blurred"):
        return replace(clip, frames=_spoiled_picture(clip.frames, damage, rng))
    if damage == "none" or clip.audio is None:
        return clip
    return replace(clip, audio=_spoiled_sound(clip.audio, damage, rng))


def _spoiled_sound(audio: NDArray[np.float32], damage: Damage, rng: np.random.Generator) -> NDArray[np.float32]:
    if damage == "silent":
        return np.zeros_like(audio)
    if damage == "reversed":
        return np.ascontiguousarray(audio[:, ::-1])
    if damage == "clipped":
        return (audio * np.float32(4)).clip(-1, 1)
    if damage == "hiss":
        return (0.1 * rng.standard_normal(audio.shape)).clip(-1, 1).astype(np.float32)
    order = rng.permutation(PIECES)
    order = np.roll(order, 1) if (order == np.arange(PIECES)).all() else order
    pieces = np.array_split(audio, PIECES, axis=1)
    return np.concatenate([pieces[piece] for piece in order], axis=1)


def _spoiled_picture(frames: NDArray[np.uint8], damage: Damage, rng: np.random.Generator) -> NDArray[np.uint8]:
    if damage == "frozen":
        return np.repeat(frames[:1], len(frames), axis=0)
    if damage == "black":
        return np.zeros_like(frames)
    if damage == "noise":
        return rng.integers(0, 256, frames.shape, dtype=np.uint8)
    import cv2

    sigma = frames.shape[1] / 20
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])
