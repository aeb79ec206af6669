"""Deliberate damage to rendered clips, so that boards can be seen to notice it.

The damages are those of `javisbench.damages`; here they have names of their own, each at one dose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from javisbench.damages import DAMAGES

if TYPE_CHECKING:
    import numpy as np

    from javisbench.clip import Clip

# Name of this generator's parameter to a damage and its dose.
_KNOWN: dict[str, tuple[str, float]] = {
    "silent": ("silent", 0.0),
    "shuffled": ("shuffled", 0.0),
    "reversed": ("reversed", 0.0),
    "clipped": ("clipped", 12.0),
    "hiss": ("hiss", 0.0),
    "frozen": ("frozen", 0.0),
    "black": ("black", 0.0),
    "noise": ("noise", 100.0),
    "blurred": ("blurred", 5.0),
}
NAMES = ("none", *_KNOWN)


def damaged(clip: Clip, name: str, rng: np.random.Generator) -> Clip:
    """The clip with its sound or picture spoiled.

    Args:
        clip: the good one.
        name: one of `NAMES`; ``none`` leaves it as it is.
        rng: what chance decides.
    """
    if name == "none":
        return clip
    damage, dose = _KNOWN[name]
    return DAMAGES.get(damage)().apply(clip, dose, rng, None)
