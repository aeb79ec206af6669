"""Encoders without a network, which compute while a clip's frames come."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from javisbench.errors import FeatureError
from javisbench.metrics.encoders.base import Encoded, Features, FeatureSpec, Intake, Stream, StreamEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import ClipHead, Damage, FrameRun


class HostIntake(Intake):
    """One clip on its way through a `HostEncoder`. Write `make`, and `see` for what is kept of each frame.

    Attributes:
        sees: False for features of the sound alone: no frame is then asked for.
        damage: what the file should have held besides; known in `make`.
    """

    sees: ClassVar[bool] = True

    def __init__(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> None:
        super().__init__(head, specs)
        self.damage: tuple[Damage, ...] = ()

    @property
    def wanted(self) -> NDArray[np.int64] | None:
        """Every frame, or none."""
        return None if self.sees else np.zeros(0, np.int64)

    def see(self, index: int, frame: NDArray[np.uint8]) -> None:
        """The clip's frame `index`, uint8 RGB of shape ``(H, W, 3)``; frames come in the order shown, each once.

        Raises:
            FeatureError: it makes the features impossible; no more frames come then.
        """
        raise NotImplementedError(f"{type(self).__name__} says what it keeps of a frame in `see`, or sets sees = False")

    @abstractmethod
    def make(self, spec: FeatureSpec) -> Features:
        """One of the features, when all frames have been seen.

        Raises:
            FeatureError: this clip has none; the message says why.
        """

    def sound(self) -> NDArray[np.float32] | None:
        """The clip's sound, float32 ``(channels, samples)``, samples >= 1; None where there is none.

        Raises:
            FeatureError: it holds NaN or infinite values.
        """
        audio = self.head.audio
        if audio is None or not self.head.sample_rate or audio.shape[1] == 0:
            return None
        if not np.isfinite(audio).all():
            raise FeatureError(f"The sound of {self.head.name} holds values that are not numbers.", kind="non_finite")
        return audio

    def take(self, run: FrameRun) -> None:
        """See some frames."""
        for index, frame in zip(run.indices.tolist(), run.frames, strict=True):
            self.see(index, frame)

    def end(self, damage: tuple[Damage, ...]) -> None:
        """All frames have been seen."""
        self.damage = damage

    def encoded(self) -> Encoded:
        """All features of the clip, each with its reason where there is none."""
        found: Encoded = {}
        for spec in self.specs:
            try:
                found[spec] = self.make(spec)
            except FeatureError as error:
                found[spec] = error
        return found


class HostEncoder(StreamEncoder):
    """Base of encoders without a network: each clip by itself, on the CPU, in the thread that reads it.

    Its card says ``host=True``. A subclass names its `HostIntake` and writes nothing else.

    Attributes:
        intake_type: what sees a clip.
    """

    intake_type: ClassVar[type[HostIntake]]

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Stream:
        """The sound alone for intakes that see no frame; those that do may need both."""
        return "both" if cls.intake_type.sees else "sound"

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        """Begin a clip."""
        return self.intake_type(head, specs)

    def features(self, intakes: Sequence[Intake]) -> list[Encoded]:
        """Features of clips of which all frames have been seen."""
        return [cast("HostIntake", intake).encoded() for intake in intakes]
