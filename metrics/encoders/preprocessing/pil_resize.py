"""Pillow's bicubic resize, exact to the bit, on the device that holds the frames.

Pillow works in fixed point: coefficients rounded to 22 bits, a horizontal pass rounded to bytes, then a vertical one.
Products of such coefficients with bytes are exact in float64, so that two matrix products give the same bytes. The
order of the passes is that of Pillow 10, which published numbers were made with; Pillow 13 chooses it by size, which
moves a few values by one level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_COEFFICIENT_BITS = 22
_SUPPORT = 2.0
_BLOCK = 28  # outputs a product: they share their few inputs, and the rest of the matrix is zero
_CPU_FRAMES = 4  # what stays in a core's cache
_DEVICE_FRAMES = 64


def shorter_side(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width scaled so that the shorter one is `size`, the longer one cut to whole pixels."""
    if height <= width:
        return size, max(size, int(size * width / height))
    return max(size, int(size * height / width)), size


def centre_offset(length: int, size: int) -> int:
    """First pixel of the centre crop: half the surplus, .5 rounded to the even neighbour."""
    return round((length - size) / 2)


def bicubic_centre_crop(frames: Tensor, size: int) -> Tensor:
    """Scale the shorter side to `size` with Pillow's antialiased bicubic filter, then crop the centre square.

    Args:
        frames: uint8, shape ``(T, H, W, 3)``.
        size: pixels of the square.

    Returns:
        uint8, shape ``(T, 3, size, size)``, equal to Pillow's ``resize(..., BICUBIC)`` and a crop at `centre_offset`.
    """
    height, width = int(frames.shape[1]), int(frames.shape[2])
    tall, wide = shorter_side(height, width, size)
    rows = _bands(height, tall, centre_offset(tall, size), size)
    columns = _bands(width, wide, centre_offset(wide, size), size)
    return _resize(frames, rows, columns, (size, size))


def bicubic_resize(frames: Tensor, height: int, width: int) -> Tensor:
    """Resize to `height` x `width`; shapes as in `bicubic_centre_crop`."""
    rows = _bands(int(frames.shape[1]), height, 0, height)
    columns = _bands(int(frames.shape[2]), width, 0, width)
    return _resize(frames, rows, columns, (height, width))


@dataclass(frozen=True, eq=False)
class _Band:
    """Some neighbouring outputs, the inputs they are made of, and the coefficients ``(outputs, inputs)``."""

    outputs: slice
    inputs: slice
    coefficients: NDArray[np.float64]


def _resize(frames: Tensor, rows: tuple[_Band, ...], columns: tuple[_Band, ...], size: tuple[int, int]) -> Tensor:
    import torch

    at_once = _CPU_FRAMES if frames.device.type == "cpu" else _DEVICE_FRAMES
    row_matrices = [torch.from_numpy(band.coefficients).to(frames.device) for band in rows]
    column_matrices = [torch.from_numpy(band.coefficients).to(frames.device) for band in columns]
    out = torch.empty((frames.shape[0], 3, *size), dtype=torch.uint8, device=frames.device)
    for start in range(0, int(frames.shape[0]), at_once):
        part = frames[start : start + at_once]
        across = torch.empty((3, *part.shape[:2], size[1]), dtype=torch.float64, device=frames.device)
        for band, matrix in zip(columns, column_matrices, strict=True):
            pixels = part[:, :, band.inputs].permute(3, 0, 1, 2).to(torch.float64)
            across[..., band.outputs] = _to_bytes(pixels.contiguous() @ matrix.T)
        for band, matrix in zip(rows, row_matrices, strict=True):
            down = _to_bytes(matrix @ across[:, :, band.inputs])
            out[start : start + at_once, :, band.outputs] = down.to(torch.uint8).transpose(0, 1)
    return out


def _to_bytes(sums: Tensor) -> Tensor:
    return sums.add_(0.5).floor_().clamp_(0, 255)


@lru_cache(maxsize=64)
def _bands(old: int, new: int, first: int, count: int) -> tuple[_Band, ...]:
    """Coefficients of outputs `first` to ``first + count`` of a resize from `old` to `new` pixels."""
    windows = [_coefficients(old, new, index) for index in range(first, first + count)]
    bands = []
    for start in range(0, count, _BLOCK):
        block = windows[start : start + _BLOCK]
        low = min(lowest for lowest, _ in block)
        high = max(lowest + len(weights) for lowest, weights in block)
        matrix = np.zeros((len(block), high - low))
        for row, (lowest, weights) in zip(matrix, block, strict=True):
            row[lowest - low : lowest - low + len(weights)] = weights
        bands.append(_Band(slice(start, start + len(block)), slice(low, high), matrix))
    return tuple(bands)


def _coefficients(old: int, new: int, index: int) -> tuple[int, NDArray[np.float64]]:
    """The first input pixel of output `index` and its coefficients, multiples of 2**-22."""
    scale = old / new
    stretch = max(scale, 1.0)  # antialiasing: the filter widens with the pixels that it merges
    centre = (index + 0.5) * scale
    low = max(math.floor(centre - _SUPPORT * stretch + 0.5), 0)
    high = min(math.floor(centre + _SUPPORT * stretch + 0.5), old)
    weights = _bicubic((np.arange(low, high, dtype=np.float64) - centre + 0.5) * (1.0 / stretch))
    weights /= weights.sum()
    one = float(2**_COEFFICIENT_BITS)
    return low, np.copysign(np.floor(np.abs(weights) * one + 0.5), weights) / one


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic with a = -0.5."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))
