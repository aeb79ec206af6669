"""How things move: strokes that gather speed until they land, wobbles of what was struck, wandering."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.baselines.procedural.sync.scene import Times

LONG_AGO_S = 1e3


def eased(share: Times) -> Times:
    """0 to 1 with soft start and end, for shares that are limited to 0 to 1."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)


def raised(
    times: Times,
    strokes: Times,
    lands: NDArray[np.bool_],
    strength: Times,
    rest: float,
    fall_s: float,
    power: float,
) -> Times:
    """How far a striking thing is drawn back at each of `times`: 0 in contact, 1 fully raised.

    Before each stroke it is drawn back, the further the stronger the stroke; then it falls with growing speed
    (distance ~ time ** `power`) and stops when it lands. A stroke that does not land is slowed down in the air. After
    a stroke it springs back to `rest`.

    Args:
        times: ``(T,)`` seconds.
        strokes: ``(N,)`` when strokes end, ascending.
        lands: ``(N,)`` whether each touches.
        strength: ``(N,)`` 0 to 1.
        rest: where it waits, 0 to 1.
        fall_s: seconds that a stroke takes from the top.
        power: 1 for steady, 2 for steady acceleration.
    """
    ends = np.concatenate([[times[0] - LONG_AGO_S], strokes, [times[-1] + LONG_AGO_S]])
    low = np.concatenate([[rest], np.where(lands, 0.0, 0.3), [rest]])
    top = np.concatenate([[1.0], 0.6 + 0.4 * strength, [1.0]])
    land = np.concatenate([[True], lands, [True]])
    after = np.searchsorted(ends, times, side="right")
    before = after - 1
    since, left, gap = times - ends[before], ends[after] - times, ends[after] - ends[before]
    back_s = np.minimum(0.4, 0.45 * gap)
    spring = 1 - (1 - np.clip(since / back_s, 0, 1)) ** 2
    height = low[before] + (rest - low[before]) * spring
    fall = np.minimum(fall_s, 0.3 * gap)
    lift = np.minimum(0.3, 0.25 * gap)
    height = height + (top[after] - rest) * eased((lift + fall - left) / lift)
    fallen = np.clip((fall - left) / fall, 0, 1)
    done = np.where(land[after], fallen**power, eased(fallen))
    drawn_back: Times = height + (low[after] - height) * done
    return drawn_back


def wobble(times: Times, hits: Times, strength: Times, hz: float, decay_s: float) -> Times:
    """What a struck thing does: it swings around its place and comes to rest, about 1 after a blow of strength 1."""
    since = times[:, None] - hits[None]
    after = np.maximum(since, 0)
    swings: Times = (strength * np.where(since >= 0, np.exp(-after / decay_s) * np.sin(2 * np.pi * hz * after), 0)).sum(
        axis=1
    )
    return swings


def wander(rng: np.random.Generator, times: Times, period_s: float) -> Times:
    """A smooth random path around 0, within -1 to 1, whose slowest part takes `period_s`."""
    path = np.zeros_like(times)
    for number in (1.0, 1.7, 2.9):
        phase = rng.uniform(0, 2 * np.pi)
        path += np.sin(2 * np.pi * times * number / period_s + phase) / number
    return path / (1 + 1 / 1.7 + 1 / 2.9)
