"""Where a scene takes place and how it is filmed: the place, a camera that is never quite still, grain."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, get_args

import cv2
import numpy as np

from javisbench.baselines.procedural.painting import Color, Painter, Style, smooth_noise
from javisbench.baselines.procedural.places import PLACES, paint_place, surface_texture
from javisbench.baselines.procedural.sync.motion import wander

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.baselines.procedural.sync.scene import Setting, Times

GRAIN_FIELDS = 5


def any_color(rng: np.random.Generator) -> Color:
    """A colour with some body: no grey, neither black nor white."""
    hue, strong, light = rng.uniform(), rng.uniform(0.45, 0.9), rng.uniform(0.4, 0.9)
    pure = [min(1.0, max(0.0, abs((hue * 6 + shift) % 6 - 3) - 1)) for shift in (0, 4, 2)]
    red, green, blue = (light * (1 - strong * (1 - part)) for part in pure)
    return red, green, blue


def look_of(setting: Setting, purpose: str = "stage") -> tuple[str, Style]:
    """Where a stage is and how it is drawn: what the setting says, else what the seed chooses."""
    rng = setting.random(f"{purpose} look")
    scenario, style = list(PLACES)[int(rng.integers(len(PLACES)))], get_args(Style)[int(rng.integers(3))]
    return setting.scenario or scenario, setting.style or style


class Stage:
    """A place with a camera in front of it.

    The canvas is larger than the picture by a margin for the camera's movements.

    Args:
        setting: of the scene.
        wide: the canvas' width in widths of the picture, for cameras that pan.
        purpose: which of several stages of a scene this is.

    Attributes:
        width: of the canvas in pixels, margins left out.
        height: of the picture in pixels.
        ground: pixels from the top at which things stand.
        style: how it is drawn.
    """

    def __init__(self, setting: Setting, wide: float = 1.0, purpose: str = "stage") -> None:
        self._setting = setting
        self._rng = rng = setting.random(purpose)
        self.width, self.height = round(wide * setting.width), setting.height
        self._margin = math.ceil(0.04 * setting.height) + 1
        scenario, self.style = look_of(setting, purpose)
        self._painter, self._backdrop = self._paint(rng, scenario)
        self.ground = self.height * rng.uniform(0.78, 0.88)
        self._shake = rng.uniform(0, 0.9) * setting.height / 144 if rng.uniform() < 0.75 else 0.0
        self._grain = rng.uniform(0.5, 4.0) if rng.uniform() < 0.8 else 0.0

    def _paint(self, rng: np.random.Generator, scenario: str) -> tuple[Painter, NDArray[np.uint8]]:
        high, wide = self.height + 2 * self._margin, self.width + 2 * self._margin
        texture = surface_texture(rng, high, wide, self.style)
        canvas = np.zeros((high, wide, 3), dtype=np.uint8)
        painter = Painter(canvas, self.style, texture)
        paint_place(rng, scenario, painter)
        tint = np.asarray(rng.uniform(0.75, 1.1) * rng.uniform(0.9, 1.1, 3), dtype=np.float32)
        pattern = 1 + np.float32(rng.uniform(0, 0.06)) * smooth_noise(rng, high, wide, int(rng.integers(4, 20)))
        canvas[...] = np.clip(canvas * tint * pattern[..., None], 0, 255).astype(np.uint8)
        return painter, canvas

    def place(self, p: Painter, x: float, unit: float, above: float = 0.0, mirrored: bool = False) -> None:
        """Put the painter's origin `x` pixels from the left, `above` pixels above the ground."""
        p.place(self._margin + x, self._margin + self.ground - above, unit, mirrored)

    def still(self, draw: Callable[[Painter, int], None]) -> NDArray[np.uint8]:
        """The first frame, grain included, over and over: uint8 RGB ``(T, H, W, 3)``."""
        frames = self.film(draw, numbers=np.zeros(1, dtype=np.intp))
        return np.repeat(frames, self._setting.frames, axis=0)

    def film(
        self, draw: Callable[[Painter, int], None], pan: Times | None = None, numbers: NDArray[np.intp] | None = None
    ) -> NDArray[np.uint8]:
        """Frames, uint8 RGB ``(N, H, W, 3)``.

        Args:
            draw: draws what is on the stage in the frame of a number.
            pan: pixels by which the camera is moved to the right, ``(T,)``.
            numbers: which frames, ``(N,)``; all by default.
        """
        setting, painter = self._setting, self._painter
        times = setting.frame_times_s
        rng = setting.random("camera")
        move_x = wander(rng, times, rng.uniform(0.8, 3)) * self._shake
        move_y = wander(rng, times, rng.uniform(0.8, 3)) * self._shake
        move_x = move_x + self._margin + (0 if pan is None else pan)
        move_y = move_y + self._margin
        grain, drawn = self._grain_fields(rng), 0
        numbers = np.arange(times.size) if numbers is None else numbers
        frames = np.empty((numbers.size, setting.height, setting.width, 3), dtype=np.uint8)
        canvas = np.empty_like(self._backdrop)
        painter.canvas = canvas
        for row, number in enumerate(numbers.tolist()):
            canvas[...] = self._backdrop
            draw(painter, number)
            seen = np.array([[1, 0, -move_x[number]], [0, 1, -move_y[number]]])
            frame = cv2.warpAffine(canvas, seen, (setting.width, setting.height), flags=cv2.INTER_LINEAR)
            if grain:
                # Never the same twice in a row: no frame may look frozen.
                drawn = (drawn + int(rng.integers(1, len(grain)))) % len(grain)
                frame = cv2.add(frame, grain[drawn], dtype=cv2.CV_8U)
            frames[row] = frame
        return frames

    def _grain_fields(self, rng: np.random.Generator) -> list[NDArray[np.int16]]:
        if self._grain == 0:
            return []
        shape = (GRAIN_FIELDS, self.height, self._setting.width, 1)
        noise = np.round(self._grain * rng.standard_normal(shape, dtype=np.float32)).astype(np.int16)
        return [np.repeat(field, 3, axis=2) for field in noise]
