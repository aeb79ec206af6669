"""Pillow's bicubic resize, exact to the bit, on the device that holds the frames.

Pillow works in fixed point: coefficients rounded to 22 bits, a horizontal pass rounded to bytes, then a vertical one.
On a CPU sparse int32 products do the same arithmetic, on no more pixels than the crop needs; on a GPU two float64
matrix products, in which such coefficients times bytes are exact too. The order of the passes is that of Pillow 10,
which published numbers were made with; Pillow 13 chooses it by size, which moves a few values by one level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from javisbench.metrics.encoders.batching import on_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix
    from torch import Tensor

_COEFFICIENT_BITS = 22
_SUPPORT = 2.0
_BLOCK = 28  # outputs a product: they share their few inputs, and the rest of the matrix is zero
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
    rows = _Axis(height, tall, centre_offset(tall, size), size)
    return _resize(frames, rows, _Axis(width, wide, centre_offset(wide, size), size))


def bicubic_resize(frames: Tensor, height: int, width: int) -> Tensor:
    """Resize to `height` x `width`; shapes as in `bicubic_centre_crop`."""
    rows = _Axis(int(frames.shape[1]), height, 0, height)
    return _resize(frames, rows, _Axis(int(frames.shape[2]), width, 0, width))


@dataclass(frozen=True)
class _Axis:
    """A resize from `old` to `new` pixels, of which the outputs `first` to ``first + count`` are kept."""

    old: int
    new: int
    first: int
    count: int


def _resize(frames: Tensor, rows: _Axis, columns: _Axis) -> Tensor:
    import torch

    if frames.device.type != "cpu":
        return _by_products(frames, rows, columns)
    return torch.from_numpy(_by_taps(frames.numpy(), rows, columns)).permute(0, 3, 1, 2)


# On a CPU


def _by_taps(frames: NDArray[np.uint8], rows: _Axis, columns: _Axis) -> NDArray[np.uint8]:
    """``(T, H, W, 3)`` to ``(T, rows.count, columns.count, 3)``."""
    out = np.empty((len(frames), rows.count, columns.count, 3), dtype=np.uint8)

    def resize(index: int) -> None:
        out[index] = _resize_frame(frames[index], _taps(rows), _taps(columns))

    on_cores([partial(resize, index) for index in range(len(frames))], "cpu")
    return out


def _resize_frame(frame: NDArray[np.uint8], rows: _Taps, columns: _Taps) -> NDArray[np.uint8]:
    """Products run over the leading axis, where neighbours in memory are independent sums: hence the turns."""
    import cv2

    turned = cv2.transpose(frame[rows.inputs, columns.inputs])
    across = cv2.transpose(columns.apply(turned))
    return rows.apply(across)


@dataclass(frozen=True, eq=False)
class _Taps:
    """The inputs that an axis needs, and the coefficients of its outputs on them in units of 2**-22."""

    inputs: slice
    coefficients: csr_matrix

    def apply(self, pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
        """``(inputs, n, 3)`` to ``(outputs, n, 3)``. Sums stay below 1.25 * 255 * 2**22, within int32."""
        import torch

        sums = torch.from_numpy(self.coefficients @ pixels.reshape(pixels.shape[0], -1).astype(np.int32))
        # In torch, which does each of these in a third of NumPy's time.
        sums.add_(1 << (_COEFFICIENT_BITS - 1)).bitwise_right_shift_(_COEFFICIENT_BITS).clamp_(0, 255)
        return sums.to(torch.uint8).numpy().reshape(-1, *pixels.shape[1:])


@lru_cache(maxsize=64)
def _taps(axis: _Axis) -> _Taps:
    from scipy.sparse import csr_matrix

    inputs, matrix = _dense(_windows(axis))
    return _Taps(inputs, csr_matrix((matrix * 2.0**_COEFFICIENT_BITS).astype(np.int32)))


# On a GPU


def _by_products(frames: Tensor, rows: _Axis, columns: _Axis) -> Tensor:
    """uint8, ``(T, 3, rows.count, columns.count)``."""
    import torch

    row_bands, column_bands = _bands(rows), _bands(columns)
    row_matrices = [torch.from_numpy(band.coefficients).to(frames.device) for band in row_bands]
    column_matrices = [torch.from_numpy(band.coefficients).to(frames.device) for band in column_bands]
    size = rows.count, columns.count
    out = torch.empty((frames.shape[0], 3, *size), dtype=torch.uint8, device=frames.device)
    for start in range(0, int(frames.shape[0]), _DEVICE_FRAMES):
        part = frames[start : start + _DEVICE_FRAMES]
        across = torch.empty((3, *part.shape[:2], size[1]), dtype=torch.float64, device=frames.device)
        for band, matrix in zip(column_bands, column_matrices, strict=True):
            pixels = part[:, :, band.inputs].permute(3, 0, 1, 2).to(torch.float64)
            across[..., band.outputs] = _to_bytes(pixels.contiguous() @ matrix.T)
        for band, matrix in zip(row_bands, row_matrices, strict=True):
            down = _to_bytes(matrix @ across[:, :, band.inputs])
            out[start : start + _DEVICE_FRAMES, :, band.outputs] = down.to(torch.uint8).transpose(0, 1)
    return out


def _to_bytes(sums: Tensor) -> Tensor:
    return sums.add_(0.5).floor_().clamp_(0, 255)


@dataclass(frozen=True, eq=False)
class _Band:
    """Some neighbouring outputs, the inputs they are made of, and the coefficients ``(outputs, inputs)``."""

    outputs: slice
    inputs: slice
    coefficients: NDArray[np.float64]


@lru_cache(maxsize=64)
def _bands(axis: _Axis) -> tuple[_Band, ...]:
    windows = _windows(axis)
    bands = []
    for start in range(0, axis.count, _BLOCK):
        inputs, matrix = _dense(windows[start : start + _BLOCK])
        bands.append(_Band(slice(start, start + len(matrix)), inputs, matrix))
    return tuple(bands)


# Coefficients


_Window: TypeAlias = "tuple[int, NDArray[np.float64]]"  # the first input pixel of an output, and its coefficients


def _windows(axis: _Axis) -> list[_Window]:
    return [_coefficients(axis.old, axis.new, axis.first + index) for index in range(axis.count)]


def _dense(windows: Sequence[_Window]) -> tuple[slice, NDArray[np.float64]]:
    """The inputs that some outputs need, and their coefficients as a matrix ``(outputs, inputs)``."""
    low = min(lowest for lowest, _ in windows)
    high = max(lowest + len(weights) for lowest, weights in windows)
    matrix = np.zeros((len(windows), high - low))
    for row, (lowest, weights) in zip(matrix, windows, strict=True):
        row[lowest - low : lowest - low + len(weights)] = weights
    return slice(low, high), matrix


def _coefficients(old: int, new: int, index: int) -> _Window:
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
