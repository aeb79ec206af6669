"""Backgrounds: where procedural scenes take place, in the three visual styles. They do not move."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np

from javisbench.baselines.procedural.actors import DARK, STEEL, WHITE, WOOD
from javisbench.baselines.procedural.painting import Color, Painter, Style, mixed, smooth_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Random = np.random.Generator

GROUND = 0.2
"""Height at which subjects stand, as a share of the picture's height."""


def surface_texture(rng: Random, height: int, width: int, style: Style) -> NDArray[np.uint8]:
    """Brightness of surfaces, uint8 ``(height, width)``, 128 for unchanged: grain and stains in camera style."""
    if style != "camera_shooting":
        return np.full((height, width), 128, dtype=np.uint8)
    stains = 2.5 * smooth_noise(rng, height, width, max(4, height // 12)) + 1.5 * smooth_noise(rng, height, width, 3)
    noise = stains + 2.0 * rng.standard_normal((height, width))
    return np.clip(128 + noise, 90, 160).astype(np.uint8)


def paint_place(rng: Random, scenario: str, p: Painter) -> None:
    """Fill the painter's canvas with a place of the scenario (an id of the aspect ``event_scenario``)."""
    PLACES[scenario](rng, p)
    p.flush()
    if p.style == "camera_shooting":
        _photograph(rng, p.canvas)


def _photograph(rng: Random, canvas: NDArray[np.uint8]) -> None:
    """What a lens does: texture, soft focus behind the subjects, darker corners, grain."""
    height, width = canvas.shape[:2]
    picture = cv2.GaussianBlur(canvas, (0, 0), max(0.6, height / 150)).astype(np.float32)
    uneven = 1 + 0.018 * smooth_noise(rng, height, width, max(4, height // 6))
    uneven += 0.012 * smooth_noise(rng, height, width, max(3, height // 40))
    across = np.linspace(-1, 1, width, dtype=np.float32)
    down = np.linspace(-1, 1, height, dtype=np.float32)
    corners = 1 - 0.16 * (across[None] ** 2 + down[:, None] ** 2)
    grain = 3.0 * rng.standard_normal((height, width)).astype(np.float32)
    developed = picture * (uneven * corners)[..., None] + grain[..., None]
    canvas[...] = np.clip(developed, 0, 255).astype(np.uint8)


def _gradient(p: Painter, top: Color, bottom: Color, above: float, below: float) -> None:
    """Fill the rows between two heights (shares of the picture, from below): banded in 2-D style, else smooth."""
    first, last = round((1 - above) * p.height), round((1 - below) * p.height)
    if last <= first:
        return
    share = np.linspace(0, 1, last - first)
    if p.style == "2d_animate":
        share = np.floor(share * 3) / 3
    rows = np.asarray(top) + share[:, None] * (np.asarray(bottom) - np.asarray(top))
    p.canvas[first:last] = np.clip(rows * 255, 0, 255).astype(np.uint8)[:, None]


def _in_picture(p: Painter) -> float:
    """Local units: 1 is the picture's height, the origin its lower left corner. Returns its width."""
    p.place(0, p.height, p.height)
    return float(p.width / p.height)


def _ridge(rng: Random, p: Painter, level: float, rough: float, color: Color) -> None:
    """A line of hills across the picture."""
    wide = _in_picture(p)
    x = np.linspace(0, wide, 48)
    phase = rng.uniform(0, 6.28, 4)
    y = level + rough * sum(
        np.sin(x * 2.1 * (number + 1) / wide * 1.7 + phase[number]) / (number + 1) for number in range(4)
    )
    points = [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
    p.polygon([*points, (wide, 0.0), (0.0, 0.0)], color)
    p.flush(plain=p.style != "2d_animate")


def _natural(rng: Random, p: Painter) -> None:
    wide = _in_picture(p)
    evening = rng.uniform() < 0.4
    top, low = ((0.32, 0.45, 0.72), (0.96, 0.75, 0.58)) if evening else ((0.33, 0.58, 0.88), (0.83, 0.91, 0.95))
    _gradient(p, top, low, 1.0, 0.3)
    sun = (rng.uniform(0.15, 0.85) * wide, rng.uniform(0.7, 0.88))
    p.glow(sun, 0.3, (1.0, 0.95, 0.8), 0.7)
    p.circle(sun, 0.05, (1.0, 0.96, 0.82))
    p.flush(plain=True)
    far = mixed((0.38, 0.52, 0.55), low, 0.35)
    _ridge(rng, p, 0.46, 0.05, far)
    _ridge(rng, p, 0.38, 0.035, mixed((0.27, 0.45, 0.3), far, 0.35))
    _in_picture(p)
    for _ in range(int(rng.integers(5, 10))):
        x, size = rng.uniform(0, wide), rng.uniform(0.06, 0.11)
        green = mixed((0.16, 0.36, 0.2), (0.3, 0.5, 0.25), rng.uniform())
        for layer in range(3):
            y = 0.33 + size * 0.55 * layer
            half = size * (0.5 - 0.12 * layer)
            p.polygon([(x - half, y), (x + half, y), (x, y + size * 0.9)], green)
    p.flush(plain=p.style == "3d_animate")
    _gradient(p, (0.42, 0.60, 0.30), (0.24, 0.42, 0.2), 0.34, 0.0)
    for _ in range(90):
        x, y = rng.uniform(0, wide), rng.uniform(0.0, 0.3)
        size = 0.035 * (1.2 - 2.5 * y)
        blade = mixed((0.2, 0.4, 0.16), (0.62, 0.76, 0.4), rng.uniform())
        p.line([(x, y), (x + rng.uniform(-0.3, 0.3) * size, y + size)], 0.005, blade)
    p.flush(plain=True)


def _urban(rng: Random, p: Painter) -> None:
    wide = _in_picture(p)
    night = rng.uniform() < 0.35
    top, low = ((0.08, 0.1, 0.22), (0.32, 0.28, 0.42)) if night else ((0.5, 0.67, 0.86), (0.88, 0.9, 0.92))
    _gradient(p, top, low, 1.0, 0.3)
    x = -0.05
    while x < wide:
        breadth, high = rng.uniform(0.16, 0.3), rng.uniform(0.5, 0.86)
        wall = mixed((0.55, 0.5, 0.5), (0.75, 0.6, 0.5), rng.uniform())
        wall = mixed(wall, (0.12, 0.13, 0.22), 0.7 if night else rng.uniform(0, 0.3))
        p.box(x, 0.3, x + breadth - 0.02, high, wall)
        p.flush()
        for row in np.arange(0.36, high - 0.05, 0.075):
            for column in np.arange(x + 0.025, x + breadth - 0.06, 0.055):
                lit = rng.uniform() < (0.5 if night else 0.12)
                glass = (1.0, 0.86, 0.5) if lit else mixed(wall, (0.25, 0.33, 0.42), 0.7)
                p.box(float(column), float(row), float(column) + 0.03, float(row) + 0.045, glass)
        p.flush(plain=True)
        x += breadth
    _gradient(p, (0.62, 0.61, 0.6), (0.55, 0.54, 0.53), 0.32, 0.24)
    asphalt = (0.2, 0.2, 0.22) if night else (0.33, 0.34, 0.36)
    _gradient(p, asphalt, mixed(asphalt, DARK, 0.3), 0.26, 0.0)
    p.box(0, 0.25, wide, 0.262, (0.78, 0.77, 0.74))
    for dash in np.arange(rng.uniform(-0.2, 0.0), wide, 0.42):
        left = float(dash)
        p.polygon([(left, 0.065), (left + 0.2, 0.065), (left + 0.22, 0.085), (left + 0.02, 0.085)], (0.9, 0.88, 0.78))
    p.flush()


def _living(rng: Random, p: Painter) -> None:
    wide = _in_picture(p)
    wall = ((0.86, 0.79, 0.68), (0.70, 0.79, 0.80), (0.87, 0.74, 0.70), (0.76, 0.80, 0.68))[int(rng.integers(4))]
    _gradient(p, mixed(wall, WHITE, 0.25), mixed(wall, DARK, 0.12), 1.0, 0.28)
    if rng.uniform() < 0.5:
        for stripe in np.arange(0, wide, 0.14):
            p.box(float(stripe), 0.3, float(stripe) + 0.05, 1.0, mixed(wall, WHITE, 0.22))
        p.flush(plain=True)
    left = rng.uniform(0.05, 0.25) * wide
    p.box(left - 0.03, 0.5, left + 0.43, 0.95, WHITE)
    p.flush()
    p.box(left, 0.53, left + 0.4, 0.92, (0.62, 0.82, 0.95))
    p.box(left, 0.53, left + 0.4, 0.62, (0.5, 0.7, 0.45))
    p.flush()
    p.box(left + 0.19, 0.53, left + 0.21, 0.92, WHITE)
    p.box(left, 0.71, left + 0.4, 0.73, WHITE)
    p.flush()
    right = rng.uniform(0.62, 0.8) * wide
    p.box(right, 0.6, right + 0.26, 0.9, mixed(WOOD, DARK, 0.2))
    p.flush()
    p.box(right + 0.025, 0.625, right + 0.235, 0.875, mixed((0.3, 0.45, 0.6), WHITE, 0.3))
    p.polygon(
        [
            (right + 0.025, 0.625),
            (right + 0.1, 0.76),
            (right + 0.17, 0.68),
            (right + 0.235, 0.74),
            (right + 0.235, 0.625),
        ],
        (0.36, 0.5, 0.36),
    )
    p.flush()
    floor = mixed(WOOD, WHITE, 0.25)
    _gradient(p, floor, mixed(floor, DARK, 0.3), 0.3, 0.0)
    p.box(0, 0.285, wide, 0.325, mixed(WHITE, wall, 0.25))
    p.flush()
    for board in range(-6, 14):
        x = wide * (0.5 + 0.12 * (board - 4))
        p.line([(x + (x - wide / 2) * 0.9, 0), (x, 0.285)], 0.004, mixed(floor, DARK, 0.35))
    p.flush(plain=True)


def _industrial(rng: Random, p: Painter) -> None:
    wide = _in_picture(p)
    wall = mixed((0.42, 0.45, 0.47), (0.5, 0.4, 0.36), rng.uniform())
    _gradient(p, mixed(wall, DARK, 0.45), wall, 1.0, 0.28)
    for row, y in enumerate(np.arange(0.33, 1.0, 0.07)):
        p.line([(0, float(y)), (wide, float(y))], 0.004, mixed(wall, DARK, 0.4))
        for x in np.arange(0.09 * (row % 2), wide, 0.18):
            p.line([(float(x), float(y)), (float(x), float(y) + 0.07)], 0.004, mixed(wall, DARK, 0.4))
    p.flush(plain=True)
    for _ in range(3):
        y = rng.uniform(0.6, 0.92)
        pipe = mixed(STEEL, (0.72, 0.42, 0.25), rng.uniform(0, 0.8))
        p.box(0, y, wide, y + 0.04, pipe)
        p.flush()
        x = rng.uniform(0.1, 0.9) * wide
        p.box(x, 0.28, x + 0.045, y + 0.04, pipe)
        p.box(x - 0.015, y - 0.01, x + 0.06, y + 0.05, mixed(pipe, DARK, 0.3))
        p.flush()
    for x in (0.25, 0.75):
        p.glow((x * wide, 0.97), 0.35, (1.0, 0.9, 0.65), 0.55)
        p.box(x * wide - 0.07, 0.95, x * wide + 0.07, 0.99, (1.0, 0.95, 0.8))
    p.flush()
    _gradient(p, (0.45, 0.45, 0.45), (0.28, 0.28, 0.3), 0.3, 0.0)
    for number, x in enumerate(np.arange(0, wide, 0.06)):
        tone = (0.9, 0.72, 0.12) if number % 2 else DARK
        left = float(x)
        p.polygon([(left, 0.275), (left + 0.06, 0.275), (left + 0.08, 0.3), (left + 0.02, 0.3)], tone)
    p.flush(plain=True)


def _virtual(rng: Random, p: Painter) -> None:
    wide = _in_picture(p)
    tint = mixed((0.22, 0.06, 0.36), (0.03, 0.2, 0.36), rng.uniform())
    _gradient(p, (0.03, 0.02, 0.1), tint, 1.0, 0.3)
    for _ in range(70):
        star = rng.uniform(0.5, 1.0)
        p.circle((rng.uniform(0, wide), rng.uniform(0.34, 1.0)), rng.uniform(0.001, 0.005), (star, star, 1.0))
    p.flush(plain=True)
    x, y, size = rng.uniform(0.15, 0.85) * wide, rng.uniform(0.65, 0.85), rng.uniform(0.09, 0.16)
    planet = mixed((0.95, 0.5, 0.35), (0.4, 0.8, 0.85), rng.uniform())
    p.glow((x, y), size * 1.8, planet, 0.4)
    p.circle((x, y), size, planet)
    p.flush()
    p.line([(x - 1.6 * size, y - 0.3 * size), (x + 1.6 * size, y + 0.3 * size)], 0.012, mixed(planet, WHITE, 0.5))
    p.flush()
    _gradient(p, mixed(tint, DARK, 0.3), (0.02, 0.01, 0.06), 0.32, 0.0)
    neon = mixed((0.95, 0.25, 0.75), (0.2, 0.9, 0.95), rng.uniform())
    for number in range(9):
        y = 0.315 * (1 - (number / 9) ** 0.55)
        p.line([(0, y), (wide, y)], 0.005, mixed(neon, DARK, 0.25))
    for number in range(-9, 10):
        x = wide / 2 + 0.1 * number
        p.line([(x, 0.315), (wide / 2 + 0.42 * number, 0)], 0.004, mixed(neon, DARK, 0.25))
    p.flush(plain=True)


PLACES: dict[str, Callable[[np.random.Generator, Painter], None]] = {
    "natural_scenario": _natural,
    "urban_scenario": _urban,
    "living_scenario": _living,
    "industrial_scenario": _industrial,
    "virtual_scenario": _virtual,
}
