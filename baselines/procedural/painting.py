"""A small painter: anti-aliased shapes on a canvas, finished in one of three visual styles.

Shapes go to a layer first; `Painter.flush` gives the layer its style (outline, shading or texture) and lays it over the
canvas. Coordinates are local: `Painter.place` sets the origin, x grows to the right, y grows **upwards**, and 1 is
the unit given there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Style: TypeAlias = Literal["camera_shooting", "2d_animate", "3d_animate"]
Color: TypeAlias = tuple[float, float, float]
Point: TypeAlias = tuple[float, float]

_SHIFT = 4
_LIGHT = (-0.5, -0.85)


def mixed(first: Color, second: Color, share: float) -> Color:
    """`first` with `share` of it replaced by `second`."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def smooth_noise(rng: np.random.Generator, height: int, width: int, cell: int) -> NDArray[np.float32]:
    """Noise with features of about `cell` pixels, float32 ``(height, width)``, mean near 0, standard deviation 1."""
    small = rng.standard_normal((height // cell + 3, width // cell + 3)).astype(np.float32)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return large / np.float32(max(float(large.std()), 1e-6))


class Painter:
    """Draws on one canvas.

    Args:
        canvas: uint8 RGB, shape ``(H, W, 3)``; changed in place.
        style: what finished layers look like.
        texture: uint8 ``(H, W)``, brightness of surfaces in camera style, 128 for unchanged.
    """

    def __init__(self, canvas: NDArray[np.uint8], style: Style, texture: NDArray[np.uint8]) -> None:
        self.canvas = canvas
        self.style = style
        self._texture = texture
        self.height, self.width = canvas.shape[:2]
        self._layer = np.zeros((self.height, self.width, 4), dtype=np.uint8)
        self._box: tuple[float, float, float, float] | None = None
        self._origin: Point = (0.0, 0.0)
        self._unit = 1.0
        self._side = 1

    def place(self, x: float, y: float, unit: float, mirrored: bool = False) -> None:
        """Put the origin at pixel (x, y), counted from the top left, and make 1 equal to `unit` pixels.

        When it is `mirrored`, x grows to the left.
        """
        self._origin, self._unit, self._side = (x, y), unit, -1 if mirrored else 1

    def _pixel(self, point: Point) -> Point:
        return self._origin[0] + self._side * point[0] * self._unit, self._origin[1] - point[1] * self._unit

    def _cover(self, left: float, top: float, right: float, bottom: float) -> None:
        if self._box is not None:
            left, top = min(left, self._box[0]), min(top, self._box[1])
            right, bottom = max(right, self._box[2]), max(bottom, self._box[3])
        self._box = (left, top, right, bottom)

    def _fixed(self, points: Sequence[Point], margin: float) -> NDArray[np.int32]:
        pixels = np.asarray([self._pixel(point) for point in points])
        (left, top), (right, bottom) = pixels.min(axis=0), pixels.max(axis=0)
        self._cover(left - margin, top - margin, right + margin, bottom + margin)
        fixed: NDArray[np.int32] = np.round(pixels * 2**_SHIFT).astype(np.int32)
        return fixed

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        """A filled polygon."""
        cv2.fillPoly(self._layer, [self._fixed(points, 1)], _ink(color), cv2.LINE_AA, _SHIFT)

    def line(self, points: Sequence[Point], width: float, color: Color, opacity: float = 1.0) -> None:
        """A line through `points` with round ends, `width` local units wide."""
        pixels = max(1, round(width * self._unit))
        fixed = self._fixed(points, pixels)
        cv2.polylines(self._layer, [fixed], False, _ink(color, opacity), pixels, cv2.LINE_AA, _SHIFT)

    def ellipse(self, center: Point, radii: Point, color: Color, angle: float = 0.0) -> None:
        """A filled ellipse, turned by `angle` radians, anti-clockwise."""
        x, y = self._pixel(center)
        wide, high = (max(0.3, abs(radius) * self._unit) for radius in radii)
        reach = max(wide, high) + 1
        self._cover(x - reach, y - reach, x + reach, y + reach)
        scale = 2**_SHIFT
        cv2.ellipse(
            self._layer,
            (round(x * scale), round(y * scale)),
            (round(wide * scale), round(high * scale)),
            -self._side * math.degrees(angle),
            0,
            360,
            _ink(color),
            -1,
            cv2.LINE_AA,
            _SHIFT,
        )

    def circle(self, center: Point, radius: float, color: Color) -> None:
        """A filled circle."""
        self.ellipse(center, (radius, radius), color)

    def box(self, left: float, bottom: float, right: float, top: float, color: Color) -> None:
        """A filled upright rectangle."""
        self.polygon([(left, bottom), (right, bottom), (right, top), (left, top)], color)

    def shadow(self, x: float, y: float, width: float, strength: float = 0.45) -> None:
        """A soft shadow on the ground, straight on the canvas: call it before the layer that casts it."""
        cx, cy = self._pixel((x, y))
        rx, ry = max(2.0, width * self._unit), max(1.5, 0.22 * width * self._unit)
        left, top, right, bottom = self._clip(cx - rx, cy - ry, cx + rx, cy + ry)
        if right <= left or bottom <= top:
            return
        across = (np.arange(left, right, dtype=np.float32) - np.float32(cx)) / np.float32(rx)
        down = (np.arange(top, bottom, dtype=np.float32) - np.float32(cy)) / np.float32(ry)
        near = np.maximum(0, 1 - across[None] ** 2 - down[:, None] ** 2)
        if self.style == "2d_animate":
            near = np.minimum(1, near * 8) * 0.6
        region = self.canvas[top:bottom, left:right]
        region[...] = region * (1 - np.float32(strength) * near)[..., None]

    def glow(self, center: Point, radius: float, color: Color, strength: float) -> None:
        """Light around a point, straight on the canvas."""
        cx, cy = self._pixel(center)
        reach = radius * self._unit
        left, top, right, bottom = self._clip(cx - reach, cy - reach, cx + reach, cy + reach)
        if right <= left or bottom <= top:
            return
        across = (np.arange(left, right, dtype=np.float32) - np.float32(cx)) / np.float32(reach)
        down = (np.arange(top, bottom, dtype=np.float32) - np.float32(cy)) / np.float32(reach)
        near = np.maximum(0, 1 - across[None] ** 2 - down[:, None] ** 2) ** 2 * np.float32(strength)
        region = self.canvas[top:bottom, left:right]
        region[...] = region + near[..., None] * (np.asarray(color, np.float32) * 255 - region)

    def _clip(self, left: float, top: float, right: float, bottom: float) -> tuple[int, int, int, int]:
        return (
            max(0, math.floor(left)),
            max(0, math.floor(top)),
            min(self.width, math.ceil(right) + 1),
            min(self.height, math.ceil(bottom) + 1),
        )

    def flush(self, plain: bool = False) -> None:
        """Finish the layer in the painter's style, lay it over the canvas and begin a new one.

        Args:
            plain: leave out outline and shading (small details, lights, distant things).
        """
        if self._box is None:
            return
        margin = 3 + self.height / 60
        left, top, right, bottom = self._box
        left, top, right, bottom = self._clip(left - margin, top - margin, right + margin, bottom + margin)
        self._box = None
        if right <= left or bottom <= top:
            return
        layer = self._layer[top:bottom, left:right]
        region = self.canvas[top:bottom, left:right]
        if plain:
            colors = layer[..., :3]
        elif self.style == "2d_animate":
            self._outline(layer, region)
            colors = layer[..., :3]
        elif self.style == "3d_animate":
            colors = self._shaded(layer, 1.0, 0.55)
        else:
            surface = cv2.merge([self._texture[top:bottom, left:right]] * 3)
            colors = _u8(cv2.multiply(self._shaded(layer, 0.55, 0.12), surface, scale=1 / 128))
        keep = cv2.merge([255 - layer[..., 3]] * 3)
        region[...] = cv2.add(cv2.multiply(region, keep, scale=1 / 255), np.ascontiguousarray(colors))
        layer[...] = 0

    def _outline(self, layer: NDArray[np.uint8], region: NDArray[np.uint8]) -> None:
        size = 2 * max(1, round(self.height / 160)) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        around = cv2.GaussianBlur(cv2.dilate(layer[..., 3], kernel), (3, 3), 0)
        keep = cv2.merge([255 - around] * 3)
        region[...] = cv2.add(
            cv2.multiply(region, keep, scale=1 / 255), cv2.merge([around // 9, around // 10, around // 6])
        )

    def _shaded(self, layer: NDArray[np.uint8], depth: float, gloss: float) -> NDArray[np.uint8]:
        """The layer's colours lit from the upper left, as if its silhouette were blown up to a body."""
        size = max(3, round(self.height / 14))
        body = cv2.blur(cv2.blur(layer[..., 3], (size, size)), (size, size)).astype(np.float32)
        slope_x = cv2.Sobel(body, cv2.CV_32F, 1, 0, ksize=3)
        slope_y = cv2.Sobel(body, cv2.CV_32F, 0, 1, ksize=3)
        # A rise of the body towards the light darkens, a fall away from it brightens.
        facing = (slope_x * -_LIGHT[0] + slope_y * -_LIGHT[1]) * np.float32(size / 1000)
        shade = np.clip(np.float32(0.82) + np.float32(0.32 * depth) * facing, 0.25, 1.25)
        shine = np.clip(facing - np.float32(0.55), 0, 1) * np.float32(255 * gloss) * (layer[..., 3] / np.float32(255))
        colors = layer[..., :3] * shade[..., None] + shine[..., None]
        return _u8(np.clip(colors, 0, 255))


def _u8(values: NDArray[Any]) -> NDArray[np.uint8]:
    return values.astype(np.uint8, copy=False)


def _ink(color: Color, opacity: float = 1.0) -> tuple[float, float, float, float]:
    """A colour as layers hold it: 0 to 255, multiplied by the opacity, which comes last."""
    red, green, blue = (min(255.0, max(0.0, round(255 * opacity * value))) for value in color)
    return red, green, blue, round(255.0 * opacity)
