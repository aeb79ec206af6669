"""When things happen: irregular, with the shortest gap that a thing can keep, a little away from the clip's ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from javisbench.baselines.procedural.sync.scene import MARGIN_S, Setting

if TYPE_CHECKING:
    from javisbench.baselines.procedural.sync.scene import Times


def irregular(setting: Setting, rng: np.random.Generator, shortest_s: float, longest_s: float) -> Times:
    """Times over the whole scene with gaps between two bounds, at least one of them in the clip.

    Gaps are log-uniform in a range that differs from clip to clip, so some clips are slow and some are quick. Times
    closer than 50 to 300 ms (by clip) to either end of the clip are left out.
    """
    middle = shortest_s * (longest_s / shortest_s) ** rng.uniform(0.25, 0.75)
    low, high = max(shortest_s, middle / 1.8), min(longest_s, middle * 1.8)
    end = setting.duration_s
    near = min(float(rng.uniform(0.05, 0.3)), end / 8)
    count = int((end + 2 * MARGIN_S) / low) + 2
    times = -MARGIN_S + rng.uniform(0, low) + np.cumsum(low * (high / low) ** rng.uniform(size=count))
    times = times[times < end + MARGIN_S]
    times = times[(np.abs(times) > near) & (np.abs(times - end) > near)]
    if not ((times > 0) & (times < end)).any():
        lone = end * rng.uniform(0.3, 0.7)
        times = np.append(times[np.abs(times - lone) > shortest_s], lone)
    return np.sort(times)


def shift_off_ends(setting: Setting, times: Times) -> float:
    """By how many seconds to move `times` together so that none is closer than 40 ms to either end of the clip.

    The smallest shift in steps of 10 ms up to half a second; the one that comes nearest where none is enough.
    """
    near = min(0.04, setting.duration_s / 8)
    steps = sorted(range(-50, 51), key=abs)

    def room(step: int) -> float:
        return min(float(np.abs(times + step / 100 - end).min()) for end in (0.0, setting.duration_s))

    found = next((step for step in steps if room(step) >= near), None)
    return (max(steps, key=room) if found is None else found) / 100


def apart(times: Times, others: Times, gap_s: float) -> Times:
    """Those of `times` that are at least `gap_s` from every one of `others`."""
    if not others.size:
        return times
    kept: Times = times[np.abs(times[:, None] - others[None]).min(axis=1) >= gap_s]
    return kept


def strengths(rng: np.random.Generator, count: int) -> Times:
    """How strong each of several blows is, 0.35 to 1."""
    spread = rng.uniform(0.1, 0.65)
    drawn: Times = 1 - spread * rng.uniform(size=count)
    return drawn
