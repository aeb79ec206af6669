"""Things that are struck, and what strikes them.

All drawings stand on y = 0, about 1 high and 1 wide, and follow a `Blow`: the striking part touches at ``raised`` 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from javisbench.baselines.procedural import sounds
from javisbench.baselines.procedural.actors import DARK, SKIN, STEEL, WHITE, WOOD
from javisbench.baselines.procedural.painting import Color, Painter, Point, mixed

if TYPE_CHECKING:
    import numpy as np

    from javisbench.baselines.procedural.kinds import Synthesis


@dataclass(frozen=True)
class Blow:
    """A striking thing at one moment.

    Attributes:
        raised: 0 in contact to 1 fully drawn back.
        wobble: of what was struck, about -1 to 1.
        count: blows so far.
        reach: radians, or units, between contact and fully raised; differs by clip.
        color: of what is struck.
        second: another colour.
        skin: of a hand.
        size: of the striking part, about 1.
        along: where among several it strikes, 0 to 1.
    """

    raised: float
    wobble: float
    count: int
    reach: float
    color: Color
    second: Color
    skin: Color
    size: float
    along: float


@dataclass(frozen=True)
class Tool:
    """A thing that is struck.

    Attributes:
        draw: draws it.
        sound: makes one blow's sound.
        level: loudness beside the others.
        wobble_hz: how fast it swings when struck.
        decay_s: how soon it is at rest again.
        slow: how much longer than the shortest gap it needs between two blows, as a factor.
    """

    draw: Callable[[Painter, Blow], None]
    sound: Synthesis
    level: float
    wobble_hz: float
    decay_s: float
    slow: float = 1.0


def any_skin(rng: np.random.Generator) -> Color:
    """A colour between those of people."""
    dark, share = int(rng.integers(2)), float(rng.uniform())
    return mixed(SKIN[dark], SKIN[dark + 1], share)


def _turned(hinge: Point, angle: float, along: float, across: float = 0.0) -> Point:
    """The point `along` an arm that leaves its hinge at `angle`, and `across` it to the left."""
    return (
        hinge[0] + along * math.cos(angle) - across * math.sin(angle),
        hinge[1] + along * math.sin(angle) + across * math.cos(angle),
    )


def _grip(p: Painter, blow: Blow, hinge: Point, elbow: Point) -> None:
    """A hand at the hinge and its sleeve."""
    p.line([hinge, elbow], 0.13, blow.second)
    p.circle(hinge, 0.075, blow.skin)


def _hammer(p: Painter, blow: Blow, top: float) -> None:
    """A hammer from the right whose head lands on a surface at height `top`."""
    hinge, half = (0.55, top + 0.1), 0.07 * blow.size
    angle = math.pi - blow.reach * blow.raised
    p.line([_turned(hinge, angle, -0.06), _turned(hinge, angle, 0.68)], 0.05, mixed(WOOD, WHITE, 0.25))
    corners = [(0.68 - half, -0.1), (0.68 + half, -0.1), (0.68 + half, 0.1), (0.68 - half, 0.1)]
    # Across points down when the arm points to the left: the face is the head's lower end.
    p.polygon([_turned(hinge, angle, a, b) for a, b in corners], mixed(STEEL, DARK, 0.25))
    _grip(p, blow, hinge, (1.0, top - 0.15))
    p.flush()


def anvil(p: Painter, blow: Blow) -> None:
    """A hammer on an anvil."""
    dip = 0.015 * blow.wobble
    p.shadow(-0.1, 0, 0.5)
    p.polygon([(-0.4, 0), (0.2, 0), (0.1, 0.12), (0.08, 0.24), (-0.28, 0.24), (-0.3, 0.12)], mixed(STEEL, DARK, 0.6))
    p.polygon([(-0.62, 0.36 - dip), (0.2, 0.4 - dip), (0.2, 0.22 - dip), (-0.3, 0.22 - dip)], mixed(STEEL, DARK, 0.45))
    p.box(-0.26, 0.37 - dip, 0.0, 0.4 - dip, mixed((1.0, 0.55, 0.2), blow.color, 0.3))
    p.flush()
    _hammer(p, blow, 0.4)


def nail(p: Painter, blow: Blow) -> None:
    """A hammer that drives a nail into a block of wood."""
    top = 0.44 - 0.012 * min(blow.count, 12)
    p.shadow(-0.05, 0, 0.5)
    block = mixed(WOOD, blow.color, 0.25)
    p.box(-0.55, 0, 0.35, 0.28, block)
    for line in (0.07, 0.15, 0.22):
        p.line([(-0.5, line), (0.3, line + 0.012)], 0.012, mixed(block, DARK, 0.35))
    p.flush()
    p.box(-0.14, 0.27, -0.11, top, STEEL)
    p.box(-0.17, top - 0.02, -0.08, top, STEEL)
    p.flush()
    _hammer(p, blow, top)


def drum(p: Painter, blow: Blow) -> None:
    """Sticks on a drum, in turn."""
    dent = 0.03 * blow.wobble
    p.shadow(0, 0, 0.5)
    p.polygon([(-0.42, 0.5), (0.42, 0.5), (0.38, 0.08), (-0.38, 0.08)], blow.color)
    p.ellipse((0, 0.08), (0.38, 0.08), blow.color)
    for zig in range(5):
        x = -0.4 + 0.16 * zig
        p.line([(x, 0.47), (x + 0.08, 0.05), (x + 0.16, 0.47)], 0.016, blow.second)
    p.ellipse((0, 0.5), (0.43, 0.11), mixed(blow.color, DARK, 0.45))
    p.ellipse((0, 0.5 - dent), (0.39, 0.09 + dent), mixed(WHITE, blow.second, 0.15))
    p.flush()
    for side in (-1, 1):
        # The stick that strikes next; the other waits halfway.
        plays = (side > 0) == (blow.count % 2 == 0)
        up = blow.raised if plays else 0.5 + 0.5 * min(1.0, 2 * blow.raised)
        hinge = (side * 0.62, 0.86)
        angle = (-math.pi / 2 - side * 1.0) + side * blow.reach * 0.75 * up
        tip = _turned(hinge, angle, 0.62)
        p.line([hinge, tip], 0.035 * blow.size, mixed(WOOD, WHITE, 0.35))
        p.circle(tip, 0.035, mixed(WOOD, WHITE, 0.5))
        p.circle(hinge, 0.07, blow.skin)
    p.flush()


def bell(p: Painter, blow: Blow) -> None:
    """A hanging bell and a mallet."""
    p.shadow(0, 0, 0.5)
    for x in (-0.5, 0.5):
        p.box(x - 0.035, 0, x + 0.035, 1.05, mixed(WOOD, DARK, 0.1))
    p.box(-0.6, 1.0, 0.6, 1.09, mixed(WOOD, DARK, 0.3))
    p.flush()
    swing = -0.3 * blow.wobble
    outline = [(-0.05, 0), (0.05, 0), (0.14, -0.07), (0.19, -0.22), (0.22, -0.42), (0.31, -0.58), (0.31, -0.63)]
    shape = [*outline, *((-x, y) for x, y in reversed(outline))]
    p.circle(_turned((0, 1.0), swing, 0, -0.66), 0.06, DARK)
    p.polygon([_turned((0, 1.0), swing, x, y) for x, y in shape], mixed((0.78, 0.58, 0.22), blow.color, 0.3))
    p.flush()
    hinge = (0.78, 0.12)
    angle = math.pi - 0.72 - 0.9 * blow.reach * blow.raised
    head = _turned(hinge, angle, 0.52)
    p.line([hinge, head], 0.04, WOOD)
    p.circle(head, 0.075 * blow.size, blow.second)
    p.circle(hinge, 0.07, blow.skin)
    p.flush()


def gong(p: Painter, blow: Blow) -> None:
    """A large gong, seen from the side of the mallet."""
    p.shadow(-0.1, 0, 0.55)
    p.line([(-0.62, 0), (-0.58, 1.1), (0.38, 1.1), (0.42, 0)], 0.06, mixed(WOOD, DARK, 0.35))
    p.flush()
    brass = mixed((0.72, 0.52, 0.2), blow.color, 0.25)
    sway, thin = -0.05 * blow.wobble, 0.36 * (1 - 0.12 * abs(blow.wobble))
    p.line([(-0.3, 1.08), (-0.3 + sway, 0.85)], 0.014, DARK)
    p.line([(0.1, 1.08), (0.1 + sway, 0.85)], 0.014, DARK)
    p.ellipse((-0.1 + sway, 0.57), (thin, 0.38), brass)
    p.ellipse((-0.1 + sway, 0.57), (0.8 * thin, 0.3), mixed(brass, DARK, 0.15))
    p.ellipse((-0.1 + sway, 0.57), (0.35 * thin, 0.13), mixed(brass, WHITE, 0.25))
    p.flush()
    hinge = (0.72, 0.25)
    angle = math.pi - 0.4 - 0.9 * blow.reach * blow.raised
    head = _turned(hinge, angle, 0.74)
    p.line([hinge, head], 0.04, mixed(WOOD, WHITE, 0.2))
    p.circle(head, 0.1 * blow.size, blow.second)
    _grip(p, blow, hinge, (1.05, -0.05))
    p.flush()


def bars(p: Painter, blow: Blow) -> None:
    """A row of tuned bars and a mallet that moves along."""
    number = 7
    p.shadow(0, 0.05, 0.7)
    p.polygon([(-0.75, 0.12), (0.75, 0.12), (0.62, 0.4), (-0.62, 0.4)], mixed(WOOD, DARK, 0.35))
    p.flush()
    x = -0.57 + 0.19 * (number - 1) * blow.along
    for bar in range(number):
        left, size = -0.57 + 0.19 * bar, 0.34 - 0.022 * bar
        sink = 0.03 * blow.wobble if abs(left - x) < 0.095 else 0.0
        color = mixed(mixed(blow.color, blow.second, bar / (number - 1)), WHITE, 0.15)
        low, high = 0.26 - size / 2 - sink, 0.26 + size / 2 - sink
        p.polygon([(left - 0.08, low), (left + 0.08, low), (left + 0.07, high), (left - 0.07, high)], color)
    p.flush()
    hinge = (x + 0.42, 0.52)
    angle = math.pi + 0.5 - blow.reach * 0.8 * blow.raised
    head = _turned(hinge, angle, 0.46)
    p.line([hinge, head], 0.03, mixed(WOOD, WHITE, 0.4))
    p.circle(head, 0.055 * blow.size, mixed(DARK, blow.second, 0.3))
    _grip(p, blow, hinge, (hinge[0] + 0.3, 0.2))
    p.flush()


def door(p: Painter, blow: Blow) -> None:
    """Knuckles on a door, seen from the side."""
    shift = -0.012 * blow.wobble
    leaf = mixed(WOOD, blow.color, 0.5)
    p.box(-0.55, 0, 0.08, 1.3, mixed(leaf, DARK, 0.45))
    p.box(-0.5 + shift, 0, 0.03 + shift, 1.25, leaf)
    for low in (0.12, 0.7):
        p.box(-0.4 + shift, low, -0.08 + shift, low + 0.42, mixed(leaf, DARK, 0.2))
    p.circle((-0.03 + shift, 0.58), 0.03, (0.85, 0.7, 0.3))
    p.flush()
    elbow = (0.62, 0.3)
    angle = math.pi - 0.75 - 0.55 * blow.reach * blow.raised
    fist = _turned(elbow, angle, 0.62)
    p.line([(0.95, 0.05), elbow, _turned(elbow, angle, 0.42)], 0.15, blow.second)
    p.line([_turned(elbow, angle, 0.4), fist], 0.1, blow.skin)
    p.ellipse(fist, (0.105, 0.09), blow.skin, angle)
    p.flush()


def hands(p: Painter, blow: Blow) -> None:
    """Two hands that clap."""
    apart = 0.075 + 0.26 * blow.reach * blow.raised
    for side in (-1, 1):
        palm = (side * apart, 0.62)
        p.line([(side * 0.75, 0.02), (side * (apart + 0.14), 0.48)], 0.2, blow.color)
        p.line([(side * (apart + 0.17), 0.44), palm], 0.12, blow.skin)
        p.ellipse(palm, (0.08, 0.15), blow.skin, side * 0.2)
        for finger in range(3):
            root = (side * (apart - 0.04 + 0.05 * finger), 0.68)
            tip = (side * (apart - 0.065 + 0.055 * finger), 0.98 - 0.03 * finger)
            p.line([root, tip], 0.05, mixed(blow.skin, DARK, 0.05 * finger))
        p.line([(side * (apart + 0.04), 0.62), (side * (apart + 0.17), 0.8)], 0.05, mixed(blow.skin, DARK, 0.08))
        p.flush()


def knife(p: Painter, blow: Blow) -> None:
    """A knife that cuts a vegetable on a board."""
    p.shadow(-0.05, 0, 0.65)
    p.box(-0.7, 0, 0.6, 0.1, mixed(WOOD, WHITE, 0.2))
    p.flush()
    left = 0.55 - 0.035 * min(blow.count, 12)
    p.ellipse((-0.08 - left / 2, 0.21 + 0.008 * blow.wobble), (left / 2 + 0.06, 0.1), blow.color)
    for slice_ in range(min(blow.count, 9)):
        p.ellipse((0.06 + 0.05 * slice_, 0.15 + 0.02 * (slice_ % 2)), (0.035, 0.06), mixed(blow.color, WHITE, 0.4), 0.5)
    p.flush()
    hinge = (0.5, 0.2)
    angle = math.pi - 0.55 * blow.reach * blow.raised
    edge = [(0.05, 0.1), (0.75, 0.1), (0.62, -0.08), (0.05, -0.08)]
    p.polygon([_turned(hinge, angle, a, b) for a, b in edge], mixed(STEEL, WHITE, 0.3))
    p.line([_turned(hinge, angle, 0.08), _turned(hinge, angle, -0.18)], 0.07, mixed(WOOD, DARK, 0.5))
    _grip(p, blow, _turned(hinge, angle, -0.1), (0.98, 0.42))
    p.flush()


def press(p: Painter, blow: Blow) -> None:
    """A machine whose ram comes down on its bed."""
    shake = 0.006 * blow.wobble
    p.shadow(0, 0, 0.6)
    p.box(-0.5, 0, 0.5, 0.22, mixed(blow.color, DARK, 0.45))
    for x in (-0.42, 0.42):
        p.box(x - 0.06, 0.2, x + 0.06, 1.0, mixed(blow.color, DARK, 0.2))
    p.box(-0.55, 0.92 + shake, 0.55, 1.14 + shake, blow.color)
    p.flush()
    low = 0.3 + 0.3 * blow.reach * blow.raised
    p.box(-0.07, low + 0.12, 0.07, 0.95, STEEL)
    p.box(-0.3, low, 0.3, low + 0.16, mixed(STEEL, DARK, 0.25))
    p.box(-0.2, 0.22, 0.2, 0.3, blow.second)
    p.flush()


TOOLS: dict[str, Tool] = {
    "anvil": Tool(anvil, sounds.clank, 0.9, 11, 0.08),
    "nail": Tool(nail, sounds.knock, 0.9, 14, 0.06),
    "drum": Tool(drum, sounds.drum, 0.9, 9, 0.08, 0.8),
    "bell": Tool(bell, sounds.bell, 0.8, 1.6, 0.6, 1.8),
    "gong": Tool(gong, sounds.bell, 0.9, 2.2, 0.5, 2.0),
    "xylophone": Tool(bars, sounds.note, 0.8, 8, 0.1, 0.8),
    "door": Tool(door, sounds.knock, 0.9, 16, 0.06, 0.8),
    "hand": Tool(hands, sounds.clap, 0.9, 10, 0.05),
    "knife": Tool(knife, sounds.knock, 0.7, 12, 0.06, 0.8),
    "press": Tool(press, sounds.clank, 0.9, 12, 0.1, 1.3),
}
"""By the word that a prompt has for it."""
