"""Intakes that several encoders share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from javisbench.metrics.encoders.base import FeatureSpec, Intake

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead, FrameRun


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

    def prepared(self) -> Tensor:
        """What was made of all chosen frames, in their order."""
        import torch

        if len(self._parts) > 1:
            self._parts = [torch.cat(self._parts)]
        return self._parts[0]

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where frames stand among the prepared ones."""
        return np.asarray(np.searchsorted(self._wanted, indices), dtype=np.int64)


def on_device(array: NDArray[np.generic], device: str) -> Tensor:
    """Frames or samples as a tensor on a device."""
    import torch

    # A caller's arrays may be read-only, of which torch makes no tensor without a warning.
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)
