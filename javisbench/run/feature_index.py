"""Which shard holds which feature, in a few bytes each: a large run has half a million of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# As `feature_key` makes them: 128 bits.
_KEY = re.compile(r"[0-9a-f]{32}", re.ASCII)
_HALF = 16
_LOOSE = 4096
_GONE = -1
Place = tuple[Path, tuple[str, ...]]
"""A shard, and the names of the arrays under one key."""


class FeatureIndex:
    """Key to shard and names of arrays; of a key that is set twice, the last counts.

    Keys that are hashes stand sorted in arrays, 20 bytes each; new ones wait in a dictionary until they are worth it.
    """

    def __init__(self) -> None:
        import numpy as np

        self._loose: dict[str, int] = {}
        self._high: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._low: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._numbers: NDArray[np.int32] = np.empty(0, np.int32)
        self._gone = 0
        self._places: list[Place] = []
        self._number_of: dict[Place, int] = {}

    def add(self, path: Path, names: Mapping[str, tuple[str, ...]]) -> None:
        """Take in the keys of a shard with the names of their arrays."""
        for key, members in names.items():
            place = (path, members)
            number = self._number_of.setdefault(place, len(self._places))
            if number == len(self._places):
                self._places.append(place)
            self.discard(key)
            self._loose[key] = number
        if len(self._loose) > max(_LOOSE, len(self._numbers) // 4):
            self._pack()

    def discard(self, key: str) -> None:
        """Forget a key, if it is there."""
        if self._loose.pop(key, None) is None and (row := self._row(key)) is not None:
            self._numbers[row] = _GONE
            self._gone += 1

    def find(self, key: str) -> Place | None:
        """Where a key's arrays are."""
        number = self._loose.get(key)
        if number is None and (row := self._row(key)) is not None:
            number = int(self._numbers[row])
        return None if number is None else self._places[number]

    def __contains__(self, key: str) -> bool:
        return key in self._loose or self._row(key) is not None

    def __len__(self) -> int:
        return len(self._loose) + len(self._numbers) - self._gone

    def __iter__(self) -> Iterator[str]:
        for high, low, number in zip(self._high, self._low, self._numbers, strict=True):
            if number != _GONE:
                yield f"{int(high):016x}{int(low):016x}"
        yield from self._loose

    def _row(self, key: str) -> int | None:
        import numpy as np

        if not len(self._numbers) or _KEY.fullmatch(key) is None:
            return None
        high, low = np.uint64(int(key[:_HALF], 16)), np.uint64(int(key[_HALF:], 16))
        row = int(np.searchsorted(self._high, high))
        while row < len(self._high) and self._high[row] == high:
            if self._low[row] == low:
                return None if self._numbers[row] == _GONE else row
            row += 1
        return None

    def _pack(self) -> None:
        """Sort what waits in among the rest."""
        import numpy as np

        packed = {key: number for key, number in self._loose.items() if _KEY.fullmatch(key) is not None}
        halves = np.frombuffer(bytes.fromhex("".join(packed)), ">u8").reshape(-1, 2).astype(np.uint64)
        kept = self._numbers != _GONE
        high = np.concatenate([self._high[kept], halves[:, 0]])
        low = np.concatenate([self._low[kept], halves[:, 1]])
        numbers = np.concatenate([self._numbers[kept], np.fromiter(packed.values(), np.int32, len(packed))])
        order = np.lexsort((low, high))
        self._high, self._low, self._numbers = high[order], low[order], numbers[order]
        self._gone = 0
        self._loose = {key: number for key, number in self._loose.items() if key not in packed}
