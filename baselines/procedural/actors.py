"""What sounding things look like at one moment.

All drawings stand on y = 0, about 1 high and 1 wide, in the painter's local coordinates. Motion follows one rule, so
that sound and picture can be compared: things move **fastest right after the moment of an event** (`Pose.kick` jumps to
1 and fades), and nothing else in the picture speeds up and slows down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from javisbench.baselines.procedural.painting import Color, mixed

if TYPE_CHECKING:
    from javisbench.baselines.procedural.painting import Painter

DARK: Color = (0.13, 0.12, 0.15)
WHITE: Color = (0.96, 0.95, 0.92)
STEEL: Color = (0.62, 0.65, 0.70)
WOOD: Color = (0.58, 0.38, 0.20)
SKIN: tuple[Color, ...] = ((0.96, 0.80, 0.68), (0.82, 0.60, 0.44), (0.50, 0.33, 0.23))


@dataclass(frozen=True)
class Pose:
    """A subject at one moment.

    Attributes:
        time_s: now.
        hits_s: times of all its events, ascending.
        color: of its body.
        look: 0, 1, 2 ...: which of several subjects of the kind it is.
    """

    time_s: float
    hits_s: tuple[float, ...]
    color: Color
    look: int

    @property
    def count(self) -> int:
        """Events so far."""
        return sum(hit <= self.time_s for hit in self.hits_s)

    @property
    def since(self) -> float:
        """Seconds since the latest event; infinite before the first."""
        return min((self.time_s - hit for hit in self.hits_s if hit <= self.time_s), default=math.inf)

    @property
    def until(self) -> float:
        """Seconds until the next event; infinite after the last."""
        return min((hit - self.time_s for hit in self.hits_s if hit > self.time_s), default=math.inf)

    def kick(self, fade_s: float) -> float:
        """1 at an event, fading from there; 0 before the first."""
        return math.exp(-self.since / fade_s)

    @property
    def raised(self) -> float:
        """How far a striking thing is drawn back, 0 to 1: it snaps down at each event, then rises ever more slowly."""
        return 1 - self.kick(0.35)

    def travelled(self, settle_s: float) -> float:
        """Distance after one push of length 1 at each event so far."""
        return sum(1 - math.exp(-(self.time_s - hit) / settle_s) for hit in self.hits_s if hit <= self.time_s)


def _burst(p: Painter, pose: Pose, x: float, y: float, reach: float, color: Color, rays: int = 8) -> None:
    """Short rays around a point that appear at an event and shrink."""
    left = pose.kick(0.12)
    if left < 0.04:
        return
    inner, outer = reach * (0.95 - 0.4 * left), reach * 0.95
    for ray in range(rays):
        angle = math.pi * (0.08 + 0.84 * ray / (rays - 1))
        dx, dy = math.cos(angle), math.sin(angle)
        p.line([(x + inner * dx, y + inner * dy), (x + outer * dx, y + outer * dy)], 0.03, color, left)


def ball(p: Painter, pose: Pose) -> None:
    """A ball that bounces on its events."""
    radius = 0.2
    gap = pose.since + pose.until
    if math.isinf(gap):
        height = 0.12 * pose.kick(0.1)
        if math.isinf(pose.since):
            gravity, top = 4.0, 0.5
            height = top - gravity / 2 * max(0.0, math.sqrt(2 * top / gravity) - pose.until) ** 2
    else:
        height = min(6.0, 4.0 / gap**2) / 2 * pose.since * pose.until
    squash = 0.25 * pose.kick(0.03)
    p.shadow(0, 0, 0.3 - 0.1 * min(1, height), 0.5 - 0.25 * min(1.0, height))
    _burst(p, pose, 0, 0.02, 0.5, mixed(WHITE, pose.color, 0.2))
    wide, high = radius * (1 + squash), radius * (1 - squash)
    middle = height + high
    p.ellipse((0, middle), (wide, high), pose.color)
    turn = 1.9 * pose.travelled(0.4) + pose.look
    stripe = mixed(pose.color, WHITE, 0.75)
    for side in (-1, 1):
        p.ellipse(
            (side * wide * 0.52 * math.cos(turn), middle + side * high * 0.52 * math.sin(turn)),
            (wide * 0.2, high * 0.34),
            stripe,
            turn,
        )
    p.flush()


def bell(p: Painter, pose: Pose) -> None:
    """A hanging bell, struck by a mallet from the right."""
    p.shadow(0, 0, 0.5)
    for x in (-0.55, 0.55):
        p.box(x - 0.04, 0, x + 0.04, 1.05, WOOD)
    p.box(-0.65, 1.0, 0.65, 1.1, mixed(WOOD, DARK, 0.2))
    p.flush()
    swing = -0.42 * pose.kick(0.3)
    top = (0.0, 1.0)

    def turned(x: float, y: float) -> tuple[float, float]:
        return top[0] + x * math.cos(swing) - y * math.sin(swing), top[1] + x * math.sin(swing) + y * math.cos(swing)

    outline = [(-0.05, 0), (0.05, 0), (0.14, -0.07), (0.19, -0.22), (0.22, -0.42), (0.33, -0.58), (0.33, -0.63)]
    shape = outline + [(-x, y) for x, y in reversed(outline)]
    p.circle(turned(0, -0.66), 0.07, mixed(pose.color, DARK, 0.5))
    p.polygon([turned(x, y) for x, y in shape], pose.color)
    p.line([turned(-0.25, -0.47), turned(0.25, -0.47)], 0.03, mixed(pose.color, DARK, 0.35))
    p.flush()
    back = 0.9 * pose.raised
    hinge = (0.86, 0.2)
    angle = math.pi - 0.85 - back
    head = (hinge[0] + 0.42 * math.cos(angle), hinge[1] + 0.42 * math.sin(angle))
    p.line([hinge, head], 0.04, WOOD)
    p.circle(head, 0.075, STEEL)
    p.flush()


def car(p: Painter, pose: Pose) -> None:
    """A car that leaps forward when it is given gas."""
    total = max(1, len(pose.hits_s))
    x = -0.35 + 0.7 * pose.travelled(0.35) / total
    lift = 0.06 * pose.kick(0.2)
    p.shadow(x, 0.02, 0.75)
    for puff in range(3):
        if pose.since < 0.7:
            drift = 0.14 * puff + 0.35 * (1 - math.exp(-pose.since / 0.25))
            p.circle((x - 0.68 - drift, 0.16 + 0.05 * puff), 0.05 + 0.03 * puff, mixed(WHITE, STEEL, 0.5))
    p.flush()
    body = [(-0.65, 0.13), (0.66, 0.13), (0.68, 0.3), (0.6, 0.36), (0.36, 0.4), (0.2, 0.6), (-0.3, 0.6), (-0.48, 0.4)]
    body = [*body, (-0.66, 0.37)]
    p.polygon([(x + bx, by + lift * (0.5 + bx)) for bx, by in body], pose.color)
    glass = mixed((0.55, 0.75, 0.88), WHITE, 0.15)
    p.polygon(
        [(x + bx, by + lift * (0.5 + bx)) for bx, by in [(-0.38, 0.4), (-0.26, 0.55), (-0.06, 0.55), (-0.06, 0.4)]],
        glass,
    )
    p.polygon(
        [(x + bx, by + lift * (0.5 + bx)) for bx, by in [(-0.01, 0.4), (-0.01, 0.55), (0.17, 0.55), (0.28, 0.4)]], glass
    )
    p.circle((x + 0.62, 0.29 + lift), 0.035, (1.0, 0.93, 0.6))
    p.flush()
    spin = -5 * x
    for wheel in (-0.4, 0.4):
        p.circle((x + wheel, 0.13), 0.13, DARK)
        p.circle((x + wheel, 0.13), 0.07, STEEL)
        p.line(
            [
                (x + wheel - 0.1 * math.cos(spin), 0.13 - 0.1 * math.sin(spin)),
                (x + wheel + 0.1 * math.cos(spin), 0.13 + 0.1 * math.sin(spin)),
            ],
            0.025,
            DARK,
        )
    p.flush()


def press(p: Painter, pose: Pose) -> None:
    """A machine whose ram slams onto its bed."""
    shake = 0.02 * pose.kick(0.12)
    p.shadow(0, 0, 0.6)
    p.box(-0.5, 0, 0.5, 0.22, mixed(pose.color, DARK, 0.45))
    for x in (-0.42, 0.42):
        p.box(x - 0.06, 0.2, x + 0.06, 1.0, mixed(pose.color, DARK, 0.2))
    p.box(-0.55, 0.92 + shake, 0.55, 1.14 + shake, pose.color)
    for stripe in range(5):
        left = -0.48 + 0.2 * stripe
        p.polygon([(left, 0.03), (left + 0.08, 0.03), (left + 0.15, 0.15), (left + 0.07, 0.15)], (0.95, 0.75, 0.12))
    p.flush()
    low = 0.3 + 0.38 * pose.raised
    p.box(-0.07, low + 0.12, 0.07, 0.95, STEEL)
    p.box(-0.3, low, 0.3, low + 0.16, mixed(STEEL, DARK, 0.25))
    p.box(-0.2, 0.22, 0.2, 0.3 - 0.04 * pose.kick(0.1), (0.85, 0.45, 0.2))
    lamp = mixed((0.3, 0.75, 0.35), (0.95, 0.25, 0.2), pose.kick(0.3))
    p.circle((0.4, 1.03 + shake), 0.045, lamp)
    p.flush()
    _burst(p, pose, 0, 0.28, 0.55, (1.0, 0.85, 0.35), 10)
    p.flush()


def hammer(p: Painter, pose: Pose) -> None:
    """A hammer that drives a nail into a block."""
    p.shadow(0, 0, 0.5)
    p.box(-0.5, 0, 0.35, 0.3, WOOD)
    for line in (0.08, 0.17, 0.24):
        p.line([(-0.46, line), (0.31, line + 0.01)], 0.012, mixed(WOOD, DARK, 0.35))
    p.flush()
    done = pose.count / max(1, len(pose.hits_s))
    nail = 0.5 - 0.14 * done - 0.03 * pose.kick(0.08)
    _burst(p, pose, -0.17, nail, 0.4, (1.0, 0.92, 0.6))
    p.flush()
    p.box(-0.185, 0.3, -0.155, nail, STEEL)
    p.box(-0.23, nail - 0.015, -0.11, nail + 0.015, STEEL)
    p.flush()
    angle = -1.15 * pose.raised
    hinge = (0.62, nail + 0.06)

    def turned(x: float, y: float) -> tuple[float, float]:
        return (
            hinge[0] + x * math.cos(angle) - y * math.sin(angle),
            hinge[1] + x * math.sin(angle) + y * math.cos(angle),
        )

    p.line([turned(0.1, 0), turned(-0.75, 0)], 0.07, mixed(WOOD, WHITE, 0.2))
    p.polygon([turned(x, y) for x, y in [(-0.9, -0.05), (-0.68, -0.05), (-0.68, 0.2), (-0.9, 0.2)]], pose.color)
    p.circle(turned(0.12, 0), 0.11, SKIN[pose.look % 3])
    p.flush()


def rain(p: Painter, pose: Pose) -> None:
    """A cloud that lets down bursts of rain."""
    strength = min(1.0, 1.2 * pose.kick(0.55)) if pose.since < 1.6 else 0.0
    blue = mixed((0.62, 0.74, 0.90), WHITE, 0.15)
    for streak in range(int(46 * strength)):
        x = -0.62 + 1.24 * ((streak * 0.618034) % 1)
        fallen = (pose.time_s * 1.9 + streak * 0.754877) % 1
        y = 0.78 - 0.82 * fallen
        p.line([(x, y), (x - 0.012, y - 0.09)], 0.013, blue)
        if fallen > 0.86:
            p.ellipse((x, 0.0), (0.05 * (fallen - 0.8) / 0.2, 0.012), WHITE)
    p.flush()
    swell = 1 + 0.12 * pose.kick(0.35)
    gray = mixed(STEEL, pose.color, 0.15)
    for x, y, radius in ((-0.45, 0.86, 0.2), (0.45, 0.86, 0.2), (-0.2, 0.96, 0.25), (0.2, 0.94, 0.24), (0, 0.85, 0.24)):
        p.ellipse((x * swell, y), (radius * swell, radius * 0.8 * swell), gray)
    p.flush()


def tree(p: Painter, pose: Pose) -> None:
    """A tree that a gust bends, with leaves that fly off."""
    bend = 0.34 * pose.kick(0.5)
    p.shadow(0, 0, 0.4)
    trunk = [(bend * (y / 1.0) ** 2, y) for y in (0.0, 0.2, 0.4, 0.6)]
    p.line(trunk, 0.09, mixed(WOOD, DARK, 0.25))
    p.flush()
    leaf = mixed((0.22, 0.52, 0.24), pose.color, 0.2)
    for x, y, radius, tone in (
        (-0.22, 0.68, 0.2, 0.25),
        (0.22, 0.7, 0.21, 0.1),
        (0.0, 0.62, 0.22, 0.2),
        (-0.1, 0.92, 0.22, 0.0),
        (0.14, 0.9, 0.2, -0.15),
    ):
        shift = bend * (y / 0.8) ** 2 * 0.8
        p.circle(
            (x + shift, y - 0.15 * bend), radius, mixed(leaf, DARK, tone) if tone > 0 else mixed(leaf, WHITE, -tone)
        )
    p.flush()
    if pose.since < 1.0:
        for number in range(7):
            far = 0.75 * (1 - math.exp(-pose.since / 0.3)) * (0.6 + 0.1 * number)
            y = 0.95 - 0.1 * number - 0.25 * pose.since
            start = 0.25 * math.sin(2.4 * number)
            p.ellipse((start + far, y), (0.04, 0.02), mixed(leaf, (0.85, 0.6, 0.15), 0.6), 5 * far + number)
        p.flush(plain=True)


def lightning(p: Painter, pose: Pose) -> None:
    """A dark cloud; a bolt at each event."""
    flash = pose.kick(0.12)
    if flash > 0.05:
        p.glow((0, 0.7), 1.4, (0.95, 0.95, 1.0), 0.65 * flash)
    if pose.since < 0.3:
        side = -1 if pose.count % 2 else 1
        bolt = [(0.05, 0.85), (-0.08, 0.6), (0.04, 0.58), (-0.1, 0.3), (0.02, 0.3), (-0.06, 0.0)]
        p.line([(side * x, y) for x, y in bolt], 0.02 + 0.05 * flash, (1.0, 0.97, 0.75))
    p.flush()
    gray = mixed((0.32, 0.33, 0.40), pose.color, 0.1)
    for x, y, radius in ((-0.5, 0.9, 0.18), (0.5, 0.9, 0.18), (-0.22, 1.0, 0.25), (0.22, 0.98, 0.25), (0, 0.88, 0.24)):
        p.ellipse((x, y + 0.05 * flash), (radius, radius * 0.8), mixed(gray, WHITE, 0.5 * flash))
    p.flush()


def tap(p: Painter, pose: Pose) -> None:
    """A tap whose hanging drop splashes into a basin."""
    water = (0.35, 0.62, 0.85)
    p.shadow(0, 0, 0.55)
    p.polygon([(-0.5, 0.32), (0.5, 0.32), (0.4, 0), (-0.4, 0)], mixed(pose.color, WHITE, 0.5))
    p.ellipse((0, 0.32), (0.5, 0.09), mixed(pose.color, DARK, 0.3))
    p.ellipse((0, 0.315), (0.45, 0.075), water)
    if pose.since < 0.9:
        spread = 1 - math.exp(-(pose.since + 0.02) / 0.16)
        p.ellipse((0, 0.315), (0.42 * spread, 0.07 * spread), mixed(water, WHITE, 0.75 * pose.kick(0.3)))
        p.ellipse((0, 0.315), (0.3 * spread, 0.05 * spread), water)
        crown = 0.28 * pose.kick(0.09)
        for x in (-0.12, 0.0, 0.12):
            p.line([(x * 0.6, 0.32), (x, 0.33 + crown)], 0.035, mixed(water, WHITE, 0.5))
    p.flush()
    p.line([(-0.4, 0.32), (-0.4, 1.0), (0.0, 1.0), (0.0, 0.88)], 0.09, STEEL)
    p.box(-0.26, 1.03, -0.14, 1.13, pose.color)
    p.flush()
    size = 1.0 - pose.kick(0.4)
    p.ellipse((0, 0.88 - 0.05 * size), (0.035 * size, 0.055 * size), mixed(water, WHITE, 0.3))
    p.flush()


def bird(p: Painter, pose: Pose) -> None:
    """A bird on a branch that starts up and opens its beak to chirp."""
    p.line([(-0.7, 0.28), (-0.1, 0.3), (0.7, 0.36)], 0.06, mixed(WOOD, DARK, 0.2))
    p.line([(0.25, 0.33), (0.5, 0.5)], 0.035, mixed(WOOD, DARK, 0.2))
    for x, y in ((0.5, 0.52), (-0.5, 0.36), (0.62, 0.42)):
        p.ellipse((x, y), (0.08, 0.04), (0.35, 0.6, 0.28), 0.6)
    p.flush()
    hop = 0.09 * pose.kick(0.16)
    gape = 0.16 * pose.kick(0.13)
    y = 0.55 + hop
    p.line([(-0.05, 0.32), (-0.04, y - 0.1)], 0.02, (0.85, 0.55, 0.2))
    p.line([(0.08, 0.32), (0.07, y - 0.1)], 0.02, (0.85, 0.55, 0.2))
    p.polygon([(-0.15, y), (-0.52, y - 0.14 + 0.9 * hop), (-0.48, y - 0.02 + 0.9 * hop)], mixed(pose.color, DARK, 0.35))
    p.ellipse((0, y), (0.26, 0.19), pose.color, 0.25)
    p.ellipse((0.06, y - 0.06), (0.17, 0.11), mixed(pose.color, WHITE, 0.6), 0.25)
    head = (0.22, y + 0.2 + 0.4 * hop)
    p.circle(head, 0.13, pose.color)
    p.polygon(
        [(head[0] + 0.1, head[1] + 0.03), (head[0] + 0.3, head[1] + gape), (head[0] + 0.11, head[1] - 0.01)],
        (0.95, 0.68, 0.18),
    )
    p.polygon(
        [(head[0] + 0.1, head[1] - 0.04), (head[0] + 0.27, head[1] - gape), (head[0] + 0.11, head[1])],
        (0.88, 0.56, 0.12),
    )
    p.circle((head[0] + 0.04, head[1] + 0.04), 0.032, WHITE)
    p.circle((head[0] + 0.05, head[1] + 0.04), 0.018, DARK)
    lift = 0.5 * pose.kick(0.16)
    p.ellipse((-0.08, y + 0.03 + 0.12 * lift), (0.19, 0.09), mixed(pose.color, DARK, 0.25), 0.3 - lift)
    p.flush()


def dog(p: Painter, pose: Pose) -> None:
    """A four-legged animal that throws its head up to call."""
    jerk = pose.kick(0.16)
    dark = mixed(pose.color, DARK, 0.3)
    p.shadow(-0.05, 0, 0.5)
    for x in (-0.36, -0.22, 0.16, 0.3):
        p.line([(x, 0.35), (x, 0.03)], 0.09, dark if x in (-0.22, 0.16) else pose.color)
    p.line([(-0.42, 0.48), (-0.6, 0.68 + 0.12 * jerk), (-0.62, 0.76 + 0.15 * jerk)], 0.06, dark)
    p.ellipse((-0.04, 0.43), (0.42, 0.19), pose.color)
    p.flush()
    x, y, tilt = 0.42 + 0.05 * jerk, 0.68 + 0.08 * jerk, 0.55 * jerk
    p.line([(0.24, 0.48), (x, y)], 0.2, pose.color)
    p.circle((x, y), 0.17, pose.color)
    muzzle = mixed(pose.color, WHITE, 0.35)
    p.ellipse((x + 0.17, y - 0.08 - 0.12 * jerk), (0.13, 0.045), mixed(muzzle, DARK, 0.2), tilt - 0.9 * jerk)
    p.ellipse((x + 0.19, y - 0.02 + 0.06 * jerk), (0.15, 0.065), muzzle, tilt)
    p.circle((x + 0.32, y + 0.01 + 0.14 * jerk), 0.04, DARK)
    p.circle((x + 0.06, y + 0.07), 0.028, DARK)
    p.polygon([(x - 0.14, y + 0.02), (x - 0.02, y + 0.12), (x - 0.08, y + 0.3 - 0.25 * (pose.look % 2))], dark)
    p.flush()


def walker(p: Painter, pose: Pose) -> None:
    """A person who walks step by step."""
    total = max(1, len(pose.hits_s))
    x = -0.35 + 0.7 * pose.travelled(0.13) / total
    stride = (1 - 2 * (pose.count % 2)) * (1 - 2 * pose.kick(0.13)) if pose.count else 1.0
    bob = -0.03 * pose.kick(0.12)
    trousers, skin = mixed(pose.color, DARK, 0.6), SKIN[pose.look % 3]
    p.shadow(x, 0, 0.25)
    hip, neck = (x, 0.48 + bob), (x + 0.02, 0.82 + bob)
    for side, tone in ((-1, 0.35), (1, 0.0)):
        foot = (x + 0.17 * side * stride, 0.04)
        knee = (x + 0.08 * side * stride + 0.04, 0.26)
        p.line([hip, knee, foot], 0.085, mixed(trousers, DARK, tone))
        p.ellipse((foot[0] + 0.04, 0.035), (0.075, 0.035), DARK)
    hand = (x - 0.15 * stride, 0.52 + bob)
    p.line([neck, (x - 0.1 * stride, 0.66 + bob), hand], 0.06, mixed(pose.color, DARK, 0.3))
    p.polygon([(x - 0.1, 0.46 + bob), (x + 0.1, 0.46 + bob), (x + 0.12, 0.84 + bob), (x - 0.1, 0.84 + bob)], pose.color)
    other = (x + 0.16 * stride, 0.52 + bob)
    p.line([neck, (x + 0.11 * stride, 0.66 + bob), other], 0.06, mixed(pose.color, WHITE, 0.15))
    p.circle(other, 0.035, skin)
    p.circle((x + 0.03, 0.97 + bob), 0.11, skin)
    p.ellipse((x + 0.0, 1.03 + bob), (0.12, 0.07), mixed(WOOD, DARK, 0.5), 0.2)
    p.flush()
    if pose.since < 0.35:
        far = 0.14 * (1 - math.exp(-pose.since / 0.08))
        dust = mixed(WHITE, WOOD, 0.25)
        for side in (-1, 1):
            p.ellipse((x + 0.17 + side * (0.05 + far), 0.03), (0.05 * pose.kick(0.2) + 0.01, 0.03), dust)
        p.flush()


def hands(p: Painter, pose: Pose) -> None:
    """Two hands that meet."""
    skin = SKIN[pose.look % 3]
    apart = 0.07 + 0.34 * pose.raised
    _burst(p, pose, 0, 0.75, 0.5, (1.0, 0.95, 0.7), 9)
    p.flush(plain=True)
    for side in (-1, 1):
        palm = (side * apart, 0.6)
        p.line([(side * 0.72, 0.02), (side * (apart + 0.13), 0.48)], 0.22, pose.color)
        p.line([(side * (apart + 0.16), 0.45), palm], 0.13, skin)
        p.ellipse(palm, (0.085, 0.15), skin, side * 0.2)
        for finger in range(3):
            root = (side * (apart - 0.045 + 0.05 * finger), 0.68)
            tip = (side * (apart - 0.075 + 0.055 * finger), 1.0 - 0.03 * finger)
            p.line([root, tip], 0.05, mixed(skin, DARK, 0.05 * finger))
        p.line([(side * (apart + 0.04), 0.62), (side * (apart + 0.17), 0.8)], 0.05, mixed(skin, DARK, 0.08))
        p.flush()


def face(p: Painter, pose: Pose) -> None:
    """A person who speaks to the viewer."""
    _person(p, pose, mouth=pose.kick(0.1), turn=0.03 * pose.kick(0.1))


def listener(p: Painter, pose: Pose) -> None:
    """A person who starts when something sounds elsewhere."""
    _person(p, pose, mouth=0.0, turn=0.14 * pose.kick(0.3))


def _person(p: Painter, pose: Pose, mouth: float, turn: float) -> None:
    skin = SKIN[pose.look % 3]
    hair = ((0.72, 0.52, 0.25), (0.25, 0.16, 0.1), (0.1, 0.09, 0.1))[pose.look % 3]
    nod = 0.05 * mouth
    p.ellipse((0, 0.0), (0.5, 0.36), pose.color)
    p.box(-0.5, -0.5, 0.5, 0.0, pose.color)
    p.flush()
    p.box(-0.1, 0.25, 0.1, 0.5, mixed(skin, DARK, 0.15))
    x, y = turn, 0.68 + nod
    p.ellipse((x * 0.6, y + 0.08), (0.31, 0.36), hair)
    for side in (-1, 1):
        p.ellipse((x * 0.5 + side * 0.28, y - 0.02), (0.05, 0.075), mixed(skin, DARK, 0.1))
    p.ellipse((x, y), (0.27, 0.34), skin)
    p.ellipse((x * 0.8, y + 0.3), (0.26, 0.12), hair)
    p.flush()
    for side in (-1, 1):
        eye = (x * 1.6 + side * 0.11, y + 0.08)
        p.ellipse(eye, (0.05, 0.035), WHITE)
        p.circle((eye[0] + 0.3 * turn, eye[1]), 0.022, DARK)
        p.line([(eye[0] - 0.05, eye[1] + 0.07 + nod), (eye[0] + 0.05, eye[1] + 0.075 + nod)], 0.02, hair)
    p.line([(x * 1.8, y + 0.05), (x * 1.8 + 0.03, y - 0.05), (x * 1.8 - 0.01, y - 0.06)], 0.014, mixed(skin, DARK, 0.3))
    p.ellipse((x * 1.6, y - 0.17), (0.09 - 0.02 * mouth, 0.018 + 0.075 * mouth), (0.72, 0.32, 0.3))
    p.ellipse((x * 1.6, y - 0.17), (0.07 - 0.02 * mouth, 0.006 + 0.055 * mouth), (0.3, 0.07, 0.08))
    p.flush(plain=True)


def keys(p: Painter, pose: Pose) -> None:
    """A row of coloured bars that a mallet plays."""
    bars = 6
    p.shadow(0, 0.05, 0.7)
    p.polygon([(-0.72, 0.1), (0.72, 0.1), (0.6, 0.36), (-0.6, 0.36)], mixed(WOOD, DARK, 0.3))
    p.flush()
    played = (pose.count * 5 + 3 * pose.look + pose.count * pose.count) % bars
    for bar in range(bars):
        hue = (
            (0.85, 0.3, 0.3),
            (0.9, 0.6, 0.2),
            (0.85, 0.8, 0.25),
            (0.3, 0.7, 0.4),
            (0.25, 0.5, 0.85),
            (0.6, 0.35, 0.8),
        )
        x, sink = -0.54 + 0.216 * bar, 0.05 * pose.kick(0.15) if bar == played and pose.count else 0.0
        size = 0.3 - 0.02 * bar
        p.polygon(
            [
                (x - 0.085, 0.23 - size / 2 - sink),
                (x + 0.085, 0.23 - size / 2 - sink),
                (x + 0.075, 0.23 + size / 2 - sink),
                (x - 0.075, 0.23 + size / 2 - sink),
            ],
            mixed(hue[bar], WHITE, 0.6 * pose.kick(0.15) if bar == played and pose.count else 0.0),
        )
    p.flush()
    here = -0.54 + 0.216 * played
    ahead = -0.54 + 0.216 * (((pose.count + 1) * 5 + 3 * pose.look + (pose.count + 1) ** 2) % bars)
    if pose.count == 0:
        here = ahead
    x = ahead if math.isinf(pose.since) else here + (ahead - here) * (1 - math.exp(-pose.since / 0.12))
    if math.isinf(pose.until):
        x = here
    y = 0.3 + 0.3 * pose.raised
    p.line([(x, y), (x + 0.22, y + 0.42)], 0.03, mixed(WOOD, WHITE, 0.3))
    p.circle((x, y), 0.06, pose.color)
    p.flush()
    if pose.count and pose.since < 1.0:
        rise = 0.35 * (1 - math.exp(-pose.since / 0.15))
        p.ellipse((here, 0.5 + rise), (0.06, 0.045), DARK, 0.4)
        p.line([(here + 0.05, 0.51 + rise), (here + 0.05, 0.74 + rise), (here + 0.14, 0.67 + rise)], 0.022, DARK)
        p.flush()


def drum(p: Painter, pose: Pose) -> None:
    """A drum and two sticks that take turns."""
    dent = 0.03 * pose.kick(0.1)
    p.shadow(0, 0, 0.5)
    p.polygon([(-0.42, 0.5), (0.42, 0.5), (0.38, 0.08), (-0.38, 0.08)], pose.color)
    p.ellipse((0, 0.08), (0.38, 0.08), pose.color)
    for zig in range(6):
        x = -0.4 + 0.8 * zig / 6
        p.line([(x, 0.47), (x + 0.067, 0.06), (x + 0.133, 0.47)], 0.016, (0.92, 0.85, 0.6))
    p.ellipse((0, 0.5), (0.43, 0.11), mixed(pose.color, DARK, 0.45))
    p.ellipse((0, 0.5 - dent), (0.39, 0.09 + dent), WHITE)
    p.flush()
    ring = 1 - math.exp(-(pose.since + 0.02) / 0.1)
    if pose.since < 0.5:
        p.ellipse((0, 0.5 - dent), (0.36 * ring, 0.08 * ring), mixed(WHITE, pose.color, 0.5 * pose.kick(0.2)))
        p.ellipse((0, 0.5 - dent), (0.29 * ring, 0.06 * ring), WHITE)
    p.flush()
    for side in (-1, 1):
        plays = (side > 0) == (pose.count % 2 == 0)
        struck = (side > 0) != (pose.count % 2 == 0)
        up = pose.raised if plays or (struck and pose.since < 0.5) else 0.8
        tip = (side * 0.1, 0.52 + 0.4 * up)
        p.line([(side * 0.62, 0.72 + 0.15 * up), tip], 0.04, mixed(WOOD, WHITE, 0.35))
        p.circle(tip, 0.035, mixed(WOOD, WHITE, 0.5))
    p.flush()


def ship(p: Painter, pose: Pose) -> None:
    """A flying saucer that fires downwards at a target."""
    recoil = 0.1 * pose.kick(0.18)
    y = 0.85 + recoil
    p.shadow(0, 0, 0.35, 0.35)
    beam = pose.kick(0.1)
    ray = mixed((0.4, 1.0, 0.75), WHITE, 0.3)
    if beam > 0.04:
        _burst(p, pose, 0, 0.08, 0.5, ray, 8)
        p.flush()
        p.line([(0, y - 0.1), (0, 0.1)], 0.015 + 0.1 * beam, ray)
    p.flush()
    hurt = pose.kick(0.15)
    rock = mixed((0.45, 0.36, 0.5), (1.0, 0.8, 0.4), 0.8 * hurt)
    p.polygon(
        [(-0.2 - 0.08 * hurt, 0), (0.2 + 0.08 * hurt, 0), (0.13, 0.1 + 0.06 * hurt), (-0.1, 0.13 + 0.06 * hurt)], rock
    )
    p.flush()
    p.ellipse((0, y + 0.1), (0.2, 0.18), (0.65, 0.88, 0.95))
    p.ellipse((0, y), (0.48, 0.13), pose.color)
    p.ellipse((0, y - 0.05), (0.25, 0.06), mixed(pose.color, DARK, 0.4))
    for lamp in range(5):
        lit = (lamp + pose.count) % 5 < 2
        p.circle((-0.34 + 0.17 * lamp, y - 0.02 * (2 - abs(lamp - 2))), 0.03, (1.0, 0.9, 0.4) if lit else DARK)
    p.flush()
