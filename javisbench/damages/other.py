"""Damages that take something from another clip: its sound, or its prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.damages.base import DamageCard, TrialDamage, sound_of
from javisbench.damages.sound import at_rate, fitted, mixed

if TYPE_CHECKING:
    from javisbench.clip import Clip


class Swapped(TrialDamage):
    """The sound of the next clip."""

    card: ClassVar[DamageCard] = DamageCard(
        "swapped", "Another clip's sound", "sound",
        "The sound of the next clip, repeated or cut to this one's length.", partner="any",
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """The other clip's samples, at its rate."""
        assert other is not None
        audio, rate = sound_of(other)
        count = max(1, round(clip.audio_duration_s * rate))
        return replace(clip, audio=fitted(audio, count), sample_rate=rate)


class SwappedSame(Swapped):
    """The sound of a clip of the same kind."""

    card: ClassVar[DamageCard] = replace(
        Swapped.card, id="swapped_same", title="Sound of the same category", partner="same",
        does="The sound of the next clip that shares a category of sound (or the group) with this one.",
    )  # fmt: skip


class SwappedOther(Swapped):
    """The sound of a clip of another kind."""

    card: ClassVar[DamageCard] = replace(
        Swapped.card, id="swapped_other", title="Sound of another category", partner="different",
        does="The sound of the next clip that shares no category of sound (nor the group) with this one.",
    )  # fmt: skip


class Added(TrialDamage):
    """Another source beside the own."""

    card: ClassVar[DamageCard] = DamageCard(
        "added", "Added source", "sound",
        "The next clip's sound is added; the dose is the ratio of the own sound to it.",
        unit="dB SNR", doses=(10, 0, -10), least=-60, most=80, partner="any",
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Both sounds, the other one in every channel."""
        assert other is not None
        audio, rate = sound_of(clip)
        foreign, foreign_rate = sound_of(other)
        foreign = at_rate(foreign.mean(axis=0, keepdims=True), foreign_rate, rate)
        return replace(clip, audio=mixed(audio, np.repeat(fitted(foreign, audio.shape[1]), len(audio), 0), dose))


class OtherPrompt(TrialDamage):
    """The prompt of the next clip: nothing in the clip changes."""

    card: ClassVar[DamageCard] = DamageCard(
        "other_prompt", "Another prompt", "prompt", "The clip is scored with the prompts of the next one.",
        partner="any",
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """The clip itself."""
        return clip
