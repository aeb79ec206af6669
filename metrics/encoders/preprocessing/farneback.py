"""Farnebäck's optical flow: of one pair of pictures by OpenCV, of many pairs at once by PyTorch on a GPU.

A picture is a quadratic polynomial around each pixel, f(x) ~ x'Ax + b'x + c, fitted under a Gaussian weight. A
displacement d leaves A as it is and moves b by -2Ad, so that A d = (b1 - b2) / 2; d is the least-squares solution of
these equations over a square window. That is repeated with A and b2 taken where the last d points to, and from coarse
pictures to fine ones.

What OpenCV does beyond the paper, as its results show:

* Each level is the picture itself, smoothed with a Gaussian and brought to its size bilinearly; no side falls below
  32 pixels.
* Pixels beyond the edge are those of the edge (mirrored, where pictures are smoothed).
* Where d points out of the picture, A is the first picture's, and b2 is 0. Equations of the five outermost rows and
  columns count less.
* The window's weights are all alike. The determinant of the equations is taken to be 0.001 larger than it is, so that
  a flat picture does not move.

Source:
    Farnebäck, "Two-frame motion estimation based on polynomial expansion", SCIA 2003, sections 2 to 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

SCALE = 0.5
LEVELS = 3
RADIUS = 5
SIGMA = 1.2
#: Sides, in pixels, from which on `Farneback.of_frames` does as OpenCV, which weighs smaller pictures otherwise.
LEAST_SIDE = 10
_LEAST_LEVEL = 32
_RUN, _SHORT_RUN = 8, 4
_EDGE = (0.14, 0.14, 0.4472, 0.4472, 0.4472)
_MORE_DETERMINANT = 1e-3


@dataclass(frozen=True)
class Farneback:
    """Settings of the flow; the others are alike wherever it is used (pyramid 0.5 with 3 levels, polynomial 5, 1.2).

    Attributes:
        window: side of the square over which equations are averaged, odd, in pixels.
        iterations: on each level.
    """

    window: int
    iterations: int

    def of_pair(self, earlier: NDArray[np.uint8], later: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Flow of one pair of lumas ``(H, W)`` by OpenCV: pixels to the right and down, ``(H, W, 2)``.

        Raises:
            cv2.error: OpenCV does not take pictures of this size.
        """
        import cv2

        flow = cv2.calcOpticalFlowFarneback(
            earlier,
            later,
            None,  # type: ignore[call-overload,unused-ignore]
            pyr_scale=SCALE,
            levels=LEVELS,
            winsize=self.window,
            iterations=self.iterations,
            poly_n=RADIUS,
            poly_sigma=SIGMA,
            flags=0,
        )
        return cast("NDArray[np.float32]", flow)

    def of_frames(self, frames: Tensor) -> Tensor:
        """Flow from each picture to the next, all pairs at once, on the device that holds the pictures.

        Args:
            frames: lumas, uint8, shape ``(T, H, W)``, T >= 2, sides of at least 10 pixels. A pair takes about 200 bytes
                a pixel.

        Returns:
            float32 ``(T - 1, 2, H, W)``, pixels to the right, then down. Operations are rounded as OpenCV 5 rounds them
            on a processor with fused products, so that most pixels are equal to the bit; where another rounds
            otherwise, means over a picture differ by up to 2e-5.
        """
        import torch

        with torch.inference_mode():
            pictures = frames.float()[:, None]
            flow: Tensor | None = None
            for level in range(_levels(*frames.shape[1:]), -1, -1):
                height, width = (round(side * SCALE**level) for side in frames.shape[1:])
                polynomials = _polynomials(_resized(_smoothed(pictures, level), height, width))
                if flow is None:
                    flow = pictures.new_zeros(len(frames) - 1, 2, height, width)
                else:
                    flow = _resized(flow, height, width) / SCALE
                for _ in range(self.iterations):
                    flow = _solved(_averaged(_equations(polynomials, flow), self.window))
            assert flow is not None
            return flow


def _levels(height: int, width: int) -> int:
    """How often a picture is halved."""
    for level in range(1, LEVELS + 1):
        if min(height, width) * SCALE**level < _LEAST_LEVEL:
            return level - 1
    return LEVELS


def _smoothed(pictures: Tensor, level: int) -> Tensor:
    """``(N, 1, H, W)`` under the Gaussian of a level, in OpenCV's order.

    Products are added unrounded, but for the columns that are left over from runs of eight: from top to bottom in the
    next four, if there are as many, and in both directions in the rest.
    """
    import torch

    half = _smoothing(level)
    radius, rest = len(half) - 1, pictures.shape[-1] % _RUN
    if radius == 1:
        before, centre, behind = _around(pictures, -1, radius)
        across = torch.add((before[0] + behind[0]) * half[1], centre, alpha=half[0])
        return _smoothed_down(across, half, fused=True)
    across = _smoothed_across(pictures, half, fused=True)
    smooth = _smoothed_down(across, half, fused=True)
    if rest:
        smooth[..., -rest:] = _smoothed_down(across[..., -rest:], half, fused=False)
    if single := rest % _SHORT_RUN:
        last = pictures[..., -(single + 2 * radius) :]
        plain = _smoothed_down(_smoothed_across(last, half, fused=False), half, fused=False)
        smooth[..., -single:] = plain[..., -single:]
    return smooth


def _smoothed_across(maps: Tensor, half: tuple[float, ...], *, fused: bool) -> Tensor:
    before, centre, behind = _around(maps, -1, len(half) - 1)
    across = before[-1] * half[-1]
    for pixel, weight in zip((*before[-2::-1], centre, *behind), (*half[-2:0:-1], *half), strict=True):
        across = across.add_(pixel, alpha=weight) if fused else across.add_(pixel * weight)
    return across


def _smoothed_down(maps: Tensor, half: tuple[float, ...], *, fused: bool) -> Tensor:
    before, centre, behind = _around(maps, -2, len(half) - 1)
    smooth = centre * half[0]
    for one, other, weight in zip(before, behind, half[1:], strict=True):
        smooth = smooth.add_(one + other, alpha=weight) if fused else smooth.add_((one + other) * weight)
    return smooth


def _around(maps: Tensor, axis: int, radius: int) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """Each pixel's neighbours before it (the nearest first), itself, and those behind it, as shifted maps."""
    length = maps.shape[axis]
    padded = maps.index_select(axis, _mirrored(length, radius).to(maps.device))
    shifted = [padded.narrow(axis, step, length) for step in range(2 * radius + 1)]
    return shifted[radius - 1 :: -1], shifted[radius], shifted[radius + 1 :]


def _mirrored(length: int, radius: int) -> Tensor:
    """Indices of an axis with `radius` more on each side, mirrored at the outermost pixels, as often as it takes."""
    import torch

    period = max(1, 2 * (length - 1))
    place = torch.arange(-radius, length + radius).remainder(period)
    return torch.minimum(place, period - place)


@lru_cache(maxsize=LEVELS + 1)
def _smoothing(level: int) -> tuple[float, ...]:
    """A Gaussian from its centre outwards: sigma 0.5, 1.5 and 3.5 pixels for levels 1 to 3, binomial for level 0."""
    sigma = (SCALE**-level - 1) / 2
    size = max(3, round(5 * sigma) | 1)
    if sigma == 0:
        return 0.5, 0.25
    weights = np.exp(-(np.arange(size // 2 + 1) ** 2) / (2 * sigma**2))
    weights /= weights[0] + 2 * weights[1:].sum()
    return tuple(weights.astype(np.float32).tolist())


def _resized(maps: Tensor, height: int, width: int) -> Tensor:
    """``(N, C, H, W)`` brought bilinearly to another size: pixel centres on pixel centres, without antialiasing.

    Pictures, of one channel, are rounded once an axis; for flows, of two, places and products are float32 too.
    """
    import torch

    picture = maps.shape[1] == 1
    for axis, size in ((-1, width), (-2, height)):
        length = maps.shape[axis]
        if length == size:
            continue
        place = ((torch.arange(size, dtype=torch.float64) + 0.5) * (length / size) - 0.5).clamp(0, length - 1)
        place = place if picture else place.float()
        first = place.floor()
        share = (place - first).float().to(maps.device)
        share = share if axis == -1 else share[:, None]
        one = maps.index_select(axis, first.long().to(maps.device))
        other = maps.index_select(axis, (first.long() + 1).clamp(max=length - 1).to(maps.device))
        if picture:
            maps = ((other - one).double() * share.double() + one).float()
        else:
            maps = one * (1 - share) + other * share
    return maps


def _polynomials(pictures: Tensor) -> Tensor:
    """Coefficients of y, x, yy, xx and xy of the polynomial around each pixel of ``(N, 1, H, W)``: ``(N, 5, H, W)``."""
    import torch

    slope, constant, curve, mixed = _dual_basis()
    one, y, yy = _moments(pictures, -2, torch.float32, torch.float32)
    # Sums are twice as precise from here on, for what is common to `one`, `xx` and `yy` cancels.
    one, x, xx = _moments(one, -1, torch.float64, torch.float64)
    made = [(x * slope).float(), (one * constant + xx * curve).float()]
    y, xy, _ = _moments(y, -1, torch.float64, torch.float32)
    yy, _, _ = _moments(yy, -1, torch.float64, torch.float32)
    found = [(y * slope).float(), made[0], (one * constant + yy * curve).float(), made[1], (xy * mixed).float()]
    return torch.cat(found, dim=1)


@lru_cache(maxsize=1)
def _weights() -> NDArray[np.float32]:
    """The Gaussian of the fit, from its centre outwards, times the distance to the power 0, 1 and 2.

    Of sum 1, and rounded: a fit that takes the rounding into account leaves nothing of a flat picture.
    """
    places = np.arange(RADIUS + 1)
    weights = np.exp(-(places**2) / (2 * SIGMA**2)).astype(np.float32).astype(np.float64)
    weights = (weights / (weights[0] + 2 * weights[1:].sum())).astype(np.float32).astype(np.float64)
    return np.stack([weights * places**power for power in range(3)]).astype(np.float32)


@lru_cache(maxsize=1)
def _dual_basis() -> tuple[float, float, float, float]:
    """From moments to coefficients: of x from x, of xx from 1 and from xx, of xy from xy.

    The paper's inverse of the basis' Gram matrix. Under a weight that is the same in both directions 1 is coupled with
    xx and yy alone, and these two with each other through it.
    """
    half = _weights()[0]
    weights = np.concatenate([half[:0:-1], half])
    square = weights[:, None] * weights
    x = np.arange(-RADIUS, RADIUS + 1, dtype=np.float32)
    y = x[:, None]
    one, second, fourth, mixed = (
        float(moment.sum(dtype=np.float64))
        for moment in (square, square * x * x, square * x * x * x * x, square * x * x * y * y)
    )
    inverse = np.linalg.inv([[one, second, second], [second, fourth, mixed], [second, mixed, fourth]])
    return 1 / second, float(inverse[0, 1]), float(inverse[1, 1]), 1 / mixed


def _moments(
    maps: Tensor, axis: int, sums_dtype: torch.dtype, products_dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of the neighbours along an axis under the Gaussian, times their distance to the power 0, 1 and 2.

    Products with distances to the power 1 are rounded to float32.
    """
    length = maps.shape[axis]
    padded = _edged(maps, axis, RADIUS)
    plain, distance, square = _weights().tolist()
    sums = (maps * plain[0]).to(sums_dtype)
    slopes, squares = sums.new_zeros(sums.shape), sums.new_zeros(sums.shape)
    for step in range(1, RADIUS + 1):
        before, behind = (padded.narrow(axis, RADIUS + sign * step, length) for sign in (-1, 1))
        both = (behind + before).to(products_dtype)
        sums += both * plain[step]
        squares += both * square[step]
        slopes += (behind - before) * distance[step]
    return sums, slopes, squares


def _edged(maps: Tensor, axis: int, radius: int) -> Tensor:
    """`radius` more pixels on each side of an axis, those of the edge."""
    from torch.nn.functional import pad

    around = (radius, radius, 0, 0) if axis == -1 else (0, 0, radius, radius)
    return pad(maps, around, mode="replicate")


def _equations(polynomials: Tensor, flow: Tensor) -> Tensor:
    """The normal equations of each pixel of each pair, under the flow so far.

    Args:
        polynomials: of all pictures, ``(T, 5, H, W)``.
        flow: ``(T - 1, 2, H, W)``.

    Returns:
        ``(T - 1, 5, H, W)``: yy, yx and xx of A'A, then y and x of A'b.
    """
    import torch

    earlier = polynomials[:-1]
    later, inside = _moved(polynomials[1:], flow)
    half = torch.tensor([1.0, 1.0, 0.5], device=flow.device).view(3, 1, 1)
    # Of the polynomial's xy, A holds one half at two places.
    curve = torch.where(inside, (earlier[:, 2:] + later[:, 2:]) / 2, earlier[:, 2:]) * half
    slope = (earlier[:, :2] - torch.where(inside, later[:, :2], 0.0)) / 2
    del later
    yy, xx, yx = curve.chunk(3, dim=1)
    right, down = flow.chunk(2, dim=1)
    trust = _trust(*flow.shape[-2:]).to(flow.device)
    y = (slope[:, :1] + (yy * down + yx * right)) * trust
    x = (slope[:, 1:] + (yx * down + xx * right)) * trust
    yy, xx, yx = yy * trust, xx * trust, yx * trust
    return torch.cat([yy * yy + yx * yx, (yy + xx) * yx, xx * xx + yx * yx, yy * y + yx * x, yx * y + xx * x], dim=1)


def _moved(maps: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """``(N, C, H, W)`` where the flow of each pixel leads, between pixels bilinearly; and whether that is inside."""
    import torch

    channels, height, width = maps.shape[1:]
    # A flow of any size, or none, leads to a place outside that can be counted.
    right = (torch.arange(width, device=flow.device) + flow[:, 0]).nan_to_num(-2.0).clamp(-2, width + 1)
    down = (torch.arange(height, device=flow.device)[:, None] + flow[:, 1]).nan_to_num(-2.0).clamp(-2, height + 1)
    column, row = right.floor(), down.floor()
    inside = (column >= 0) & (column < width - 1) & (row >= 0) & (row < height - 1)
    share_right, share_down = (right - column)[:, None], (down - row)[:, None]
    first = torch.where(inside, row.long() * width + column.long(), 0).flatten(1)[:, None].expand(-1, channels, -1)
    flat = maps.flatten(2)

    def at(offset: int) -> Tensor:
        return flat.gather(2, first + offset).view(maps.shape)

    found = at(0) * ((1 - share_right) * (1 - share_down))
    found += at(1) * (share_right * (1 - share_down))
    found += at(width) * ((1 - share_right) * share_down)
    found += at(width + 1) * (share_right * share_down)
    return found, inside[:, None]


@lru_cache(maxsize=32)
def _trust(height: int, width: int) -> Tensor:
    """How much the equations of each pixel count, ``(H, W)``: less near the edges, where pixels are made up."""
    import torch

    sides = []
    for length in (height, width):
        side = torch.ones(length)
        for place, share in enumerate(_EDGE[:length]):
            side[place] *= share
            side[length - 1 - place] *= share
        sides.append(side)
    return sides[0][:, None] * sides[1]


def _averaged(maps: Tensor, window: int) -> Tensor:
    """Means over a square around each pixel, float64, of float32 ``(N, C, H, W)``."""
    radius = window // 2
    down = _running_sums(maps, radius)
    return _running_sums(down.transpose(-2, -1), radius).transpose(-2, -1) * (1 / (2 * radius + 1) ** 2)


def _running_sums(maps: Tensor, radius: int) -> Tensor:
    """Sums of each pixel and the `radius` ones above and below it, float64.

    From one row to the next, the difference of the row that comes and the row that goes is added, in the precision of
    `maps`. Its rounding adds up from top to bottom. Where equations are nearly singular it shows, down to the last bit:
    the sign of a displacement of 1e-12 pixels decides whether a pixel of the first row points out of the picture. So
    sums are made in OpenCV's order. (Along an axis that is not the last one CUDA, too, adds one after the other.)
    """
    from torch.nn.functional import pad

    height = maps.shape[-2]
    padded = pad(maps, (0, 0, radius + 1, radius), mode="replicate")
    first = (padded[..., 0, :] * (radius + 2)).double()
    for row in range(1, radius):
        first += padded[..., radius + 1 + row, :]
    steps = (padded.narrow(-2, 2 * radius + 1, height) - padded.narrow(-2, 0, height)).double()
    steps[..., 0, :] += first
    return steps.cumsum(dim=-2)


def _solved(equations: Tensor) -> Tensor:
    """The displacement that solves each pixel's equations, right and down, float32 ``(N, 2, H, W)``."""
    import torch

    yy, yx, xx, y, x = equations.chunk(5, dim=1)
    scale = 1 / (yy * xx - yx * yx + _MORE_DETERMINANT)
    return torch.cat([(yy * x - yx * y) * scale, (xx * y - yx * x) * scale], dim=1).float()
