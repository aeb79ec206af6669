"""Intakes that several encoders share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from javisbench.errors import FeatureError
from javisbench.metrics.encoders.base import FeatureSpec, Intake
from javisbench.metrics.encoders.batching import on_the_host

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead, Damage, FrameRun


class ChosenFrames(Intake):
    """Keeps what an encoder's preparation makes of chosen frames.

    Args:
        head: the clip.
        specs: the features to make.
        wanted: indices of frames, in any order, possibly repeated.
        prepare: maps uint8 frames ``(n, H, W, 3)`` to a tensor ``(n, ...)``, each frame by itself.
    """

    def __init__(
        self,
        head: ClipHead,
        specs: Sequence[FeatureSpec],
        wanted: NDArray[np.int64],
        prepare: Callable[[NDArray[np.uint8]], Tensor],
    ) -> None:
        super().__init__(head, specs)
        self._wanted = np.unique(wanted)
        self._prepare = prepare
        self._parts: list[Tensor] = []

    @property
    def wanted(self) -> NDArray[np.int64]:
        """The chosen frames, ascending, each once."""
        return self._wanted

    def take(self, run: FrameRun) -> None:
        """Prepare some of them."""
        self._parts.append(self._prepare(run.frames))

    @property
    def held_bytes(self) -> int:
        """Bytes of what was prepared."""
        return sum(part.nbytes for part in self._parts)

    @property
    def inputs(self) -> int:
        """Chosen frames."""
        return len(self._wanted)

    def prepared(self) -> Tensor:
        """What was made of all chosen frames, in their order."""
        import torch

        if len(self._parts) > 1:
            self._parts = [torch.cat(self._parts)]
        return self._parts[0]

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where frames stand among the prepared ones."""
        return np.asarray(np.searchsorted(self._wanted, indices), dtype=np.int64)


class PreparedSounds(Intake):
    """What an encoder's preparation makes of a clip's sound for each spec, made by the thread that reads the clip.

    Args:
        head: the clip.
        specs: the features to make.
        prepare: maps the clip to the network's input for one spec.

    Attributes:
        sounds: spec to input, after `end`.
        errors: spec to the reason why it has none.
    """

    def __init__(
        self, head: ClipHead, specs: Sequence[FeatureSpec], prepare: Callable[[ClipHead, FeatureSpec], Tensor]
    ) -> None:
        super().__init__(head, specs)
        self._prepare = prepare
        self.sounds: dict[FeatureSpec, Tensor] = {}
        self.errors: dict[FeatureSpec, FeatureError] = {}

    @property
    def wanted(self) -> NDArray[np.int64]:
        """No frames."""
        return np.zeros(0, np.int64)

    def take(self, run: FrameRun) -> None:
        """Never called."""
        raise AssertionError("no frames were asked for")

    def end(self, damage: tuple[Damage, ...]) -> None:
        """Prepare the sound."""
        with on_the_host():
            for spec in self.specs:
                try:
                    self.sounds[spec] = self._prepare(self.head, spec)
                except FeatureError as error:
                    self.errors[spec] = error

    @property
    def held_bytes(self) -> int:
        """Bytes of what was prepared."""
        return sum(sound.nbytes for sound in self.sounds.values())

    @property
    def inputs(self) -> int:
        """Sounds."""
        return len(self.sounds)
