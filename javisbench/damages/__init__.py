"""Damages: what a trial does to good clips, so that one sees which metrics notice.

Each is one small class that a registry knows by name; other packages add theirs through the entry point group
``javisbench.damages``. A damage takes a decoded clip, gives another one, and does not know who stores or scores it.
"""

from __future__ import annotations

from javisbench.damages.base import DamageCard, TrialDamage
from javisbench.registry import Registry

__all__ = ["DAMAGES", "DamageCard", "TrialDamage"]


def _wrong(name: str, found: object) -> str | None:
    """What keeps an object of another package from being the damage `name`; None for a damage."""
    if not (isinstance(found, type) and issubclass(found, TrialDamage)):
        return "is no subclass of TrialDamage"
    card = getattr(found, "card", None)
    if not isinstance(card, DamageCard):
        return "has no DamageCard as `card`"
    if bool(card.unit) != bool(card.doses):
        return "has doses without a unit, or a unit without doses, on its card"
    return None if card.id == name else f"has the id {card.id!r} on its card, which must be that of its entry point"


_PICTURE, _SOUND, _OTHER = (f"javisbench.damages.{room}:" for room in ("picture", "sound", "other"))

DAMAGES: Registry[type[TrialDamage]] = Registry(
    "damage",
    "javisbench.damages",
    {
        "shift": _SOUND + "Shift",
        "shift_cut": _SOUND + "ShiftCut",
        "shift_circular": _SOUND + "ShiftCircular",
        "gap": _SOUND + "Gap",
        "repeated": _SOUND + "Repeated",
        "middle_speed": _SOUND + "MiddleSpeed",
        "shuffled": _SOUND + "Shuffled",
        "reversed": _SOUND + "Reversed",
        "removed": _SOUND + "Removed",
        "silent": _SOUND + "Silent",
        "hiss": _SOUND + "Hiss",
        "white_noise": _SOUND + "WhiteNoise",
        "clipped": _SOUND + "Clipped",
        "low_pass": _SOUND + "LowPass",
        "high_pass": _SOUND + "HighPass",
        "swapped": _OTHER + "Swapped",
        "swapped_same": _OTHER + "SwappedSame",
        "swapped_other": _OTHER + "SwappedOther",
        "added": _OTHER + "Added",
        "other_prompt": _OTHER + "OtherPrompt",
        "cyclic": _PICTURE + "Cyclic",
        "paused": _PICTURE + "Paused",
        "played": _PICTURE + "Played",
        "dropped": _PICTURE + "Dropped",
        "frozen": _PICTURE + "Frozen",
        "masked": _PICTURE + "Masked",
        "intruder": _PICTURE + "Intruder",
        "noise": _PICTURE + "Noise",
        "blurred": _PICTURE + "Blurred",
        "compressed": _PICTURE + "Compressed",
        "black": _PICTURE + "Black",
        "volume": _SOUND + "Volume",
        "stereo": _SOUND + "Stereo",
        "mono": _SOUND + "Mono",
        "resampled": _SOUND + "Resampled",
        "recoded_sound": _SOUND + "Recoded",
        "bars": _PICTURE + "Bars",
        "resized": _PICTURE + "Resized",
        "frame_rate": _PICTURE + "FrameRate",
        "recoded": _PICTURE + "Recoded",
    },
    _wrong,
)
