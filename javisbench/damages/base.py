"""What a damage is: a card that says what it does, and a function from clip to clip."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from javisbench.errors import DamageError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.clip import Clip

Stream: TypeAlias = Literal["picture", "sound", "both", "prompt"]
Partner: TypeAlias = Literal["any", "same", "different"]

WINDOW_MARGIN_S = 1.0
SHORT_MARGIN_S = 0.7
SHORT_CLIP_S = 5.0
LEAST_WINDOW_S = 1.0


@dataclass(frozen=True)
class DamageCard:
    """Facts about a damage, for tables, pages and docs.

    Attributes:
        id: name on the command line and in files (``shift``).
        title: for tables.
        stream: what of the clip it changes; the other stream stays the same file.
        does: what it does, in a sentence.
        unit: of the dose (``ms``, ``%``, ``dB``), or empty for a damage without doses.
        doses: those of a trial that names none, the mildest first; empty for a damage without doses.
        least: smallest dose that means anything.
        most: largest.
        harms: whether a metric should notice; False where its value should not change.
        partner: which other clip it takes something from: any, one that shares a category, one that shares none.
        signed: whether negative doses are the same harm the other way: early instead of late.
        windowed: whether good and damaged clip are both cut to a window, so that nothing is lost or filled in.
    """

    id: str
    title: str
    stream: Stream
    does: str
    unit: str = ""
    doses: tuple[float, ...] = ()
    least: float = -math.inf
    most: float = math.inf
    harms: bool = True
    partner: Partner | None = None
    signed: bool = False
    windowed: bool = False

    def severity(self, dose: float | None) -> float:
        """Grows with the harm: the dose, its size where it is signed, or minus it where less is worse (SNR)."""
        if dose is None:
            return 0.0
        if self.signed:
            return abs(dose)
        descending = len(self.doses) > 1 and self.doses[0] > self.doses[-1]
        return -dose if descending else dose

    def check(self, dose: float | None) -> None:
        """Refuse a dose that this damage does not have.

        Raises:
            UsageError: none where one is needed, one where there is none, or outside of `least` to `most`.
        """
        if dose is None and self.unit:
            raise UsageError(f"The damage {self.id} needs a dose in {self.unit}, such as {self.id}={self.doses[0]:g}.")
        if dose is not None and not self.unit:
            raise UsageError(f"The damage {self.id} has no doses; name it as {self.id}.")
        if dose is not None and not (math.isfinite(dose) and self.least <= dose <= self.most):
            raise UsageError(f"The damage {self.id} takes {self.least:g} to {self.most:g} {self.unit}; got {dose:g}.")


class TrialDamage(ABC):
    """One kind of damage.

    Attributes:
        card: what it is.
    """

    card: ClassVar[DamageCard]

    @abstractmethod
    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """The damaged clip.

        Args:
            clip: the good one. A damage of the sound alone may get a clip of which only the first frame is there.
            dose: in the card's unit; 0.0 for a damage without doses.
            rng: of this damage, dose and clip alone.
            other: the clip that `DamageCard.partner` asks for, its sound alone; None when none is asked for.

        Raises:
            DamageError: this clip cannot take this dose; the message says why.
        """

    def margin_s(self, clip: Clip, dose: float) -> float:
        """Seconds that a windowed damage leaves out at either end of the good clip and the damaged one.

        Raises:
            DamageError: too little of the clip is left.
        """
        length_s = min(clip.duration_s, clip.audio_duration_s)
        margin_s = SHORT_MARGIN_S if length_s < SHORT_CLIP_S else WINDOW_MARGIN_S
        margin_s = max(margin_s, self.reach_s(dose))
        if length_s - 2 * margin_s < LEAST_WINDOW_S:
            raise DamageError(
                f"{length_s:.2f} s are too short for {self.card.id}={dose:g}: a window of {LEAST_WINDOW_S:g} s needs "
                f"{2 * margin_s + LEAST_WINDOW_S:.2f} s"
            )
        return margin_s

    def reach_s(self, dose: float) -> float:
        """Seconds of sound that a windowed damage takes from outside of the window."""
        return 0.0


def sound_of(clip: Clip) -> tuple[NDArray[np.float32], int]:
    """The clip's samples, float32 ``(channels, samples)``, and their rate in Hz.

    Raises:
        DamageError: it has none.
    """
    if clip.audio is None or not clip.sample_rate or not clip.audio.size:
        raise DamageError("the clip has no sound")
    return clip.audio, clip.sample_rate


def window_of(clip: Clip, margin_s: float, late_s: float = 0.0) -> Clip:
    """Picture and sound from `margin_s` after the start to `margin_s` before the end.

    Args:
        clip: the whole one.
        margin_s: seconds left out at either end.
        late_s: seconds by which the sound is late in the window, at most `margin_s`; negative: early.

    Returns:
        a clip whose first frame is the first one shown at `margin_s` or later, and the sound of that time.
    """
    audio, rate = sound_of(clip)
    frames, start_s, end_s = _window_frames(clip, margin_s)
    first, last = round((start_s - late_s) * rate), round((end_s - late_s) * rate)
    times = None if clip.timeline.is_regular else clip.frame_times_s[frames]
    return replace(
        clip,
        frames=clip.frames[frames],
        audio=audio[:, max(0, first) : last].copy(),
        frame_times_s=times,  # type: ignore[arg-type]
    )


def _window_frames(clip: Clip, margin_s: float) -> tuple[slice, float, float]:
    """The frames of a window, and its first and last second by the picture's clock."""
    from fractions import Fraction

    line = clip.timeline
    length_s = min(clip.duration_s, clip.audio_duration_s)
    first = line.frames_before(Fraction(margin_s).limit_denominator(10**6))
    last = line.frames_before(Fraction(length_s - margin_s).limit_denominator(10**6))
    # The last frame must have ended too, or a sound that is early would run out before it.
    last = max(first + 1, last - (line.start_of(last) > length_s - margin_s + 1e-6))
    return slice(first, last), line.start_of(first), line.start_of(last)


def seconds_in_samples(milliseconds: float, rate: int) -> int:
    """Milliseconds as a number of samples, rounded."""
    return round(milliseconds / 1000 * rate)
