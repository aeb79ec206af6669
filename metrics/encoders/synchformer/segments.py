"""The segments of a batch of clips, each different one once, in pieces that fit the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from javisbench.metrics.encoders.synchformer import preparation as prep

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.metrics.encoders.intakes import ChosenFrames
    from javisbench.metrics.encoders.transfer import Transfer


class VideoSegments:
    """Video segments of many clips. Equal ones (black ones, or those that two settings share) are kept once.

    Args:
        transfer: leads to the device, to which each picture is sent once.
    """

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._pictures: list[Tensor] = []
        self._segments: list[tuple[int, tuple[int, ...]]] = []

    def add(self, clip: ChosenFrames, sources: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
        """Take the segments of one clip.

        Args:
            clip: gives the pictures, resized and cropped.
            sources: for each setting the source frame of each segment's frames, shape ``(segments, 16)``.

        Returns:
            for each setting the rows of its segments among all segments taken so far, shape ``(segments,)``.
        """
        used = np.unique(np.concatenate([setting.ravel() for setting in sources]))
        pictures = torch.zeros(len(used), 3, prep.SIZE, prep.SIZE, dtype=torch.uint8)
        real = used != prep.BLACK
        pictures[torch.from_numpy(real)] = clip.prepared()[clip.rows(used[real])]
        rows_by_setting = []
        known: dict[tuple[int, ...], int] = {}
        for setting in sources:
            places = np.searchsorted(used, setting).tolist()
            rows_by_setting.append(np.array([self._row(tuple(place), known) for place in places], dtype=np.int64))
        self._pictures.append(self._transfer.up(pictures))
        return rows_by_setting

    def _row(self, places: tuple[int, ...], known: dict[tuple[int, ...], int]) -> int:
        if places not in known:
            known[places] = len(self._segments)
            self._segments.append((len(self._pictures), places))
        return known[places]

    def chunks(self, size: int) -> Iterator[Tensor]:
        """All segments in order, `size` at a time: uint8, shape ``(n, 3, 16, 224, 224)``."""
        for start in range(0, len(self._segments), size):
            some = self._segments[start : start + size]
            chosen = [self._pictures[clip][self._transfer.up(torch.tensor(places))] for clip, places in some]
            yield torch.stack(chosen).transpose(1, 2)


class MelSegments:
    """Log-mel segments of many clips.

    Args:
        transfer: leads to the device.
    """

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._mels: list[Tensor] = []
        self._count = 0

    def add(self, mel: Tensor) -> NDArray[np.int64]:
        """Take normalised segments ``(segments, 128, 66)``; returns their rows among all taken so far."""
        self._mels.append(mel)
        self._count += len(mel)
        return np.arange(self._count - len(mel), self._count)

    def chunks(self, size: int) -> Iterator[Tensor]:
        """All segments in order, `size` at a time: float32, shape ``(n, 128, 66)``."""
        mels = self._transfer.up(torch.cat(self._mels))
        for start in range(0, len(mels), size):
            yield mels[start : start + size]
