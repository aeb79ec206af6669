"""AV-Sync: whether motion changes when the sound does, against the same clip with its sound moved. Needs no weights.

`AVSyncMetric` works on stored features; `AVSync` is the same number for tensors in a training loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from javisbench.errors import JavisbenchError, MetricError
from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.metrics.encoders.sound_level import STEP_S as SOUND_STEP_S
from javisbench.metrics.tensor_inputs import Given, as_clips, is_batch
from javisbench.metrics.tensor_scorer import TensorScorer

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.protocol import Protocol

STEP_S = 0.02
EXPONENT = 0.25
SMOOTHING_S = 0.03
TREND_S = 0.8
NEAR_S = 0.06
NULL_FROM_S = 0.12
REACH_S = 1.0
#: Pairs of a motion channel and a sound, with weight and how late the sound is where they belong together.
PAIRS = (("change", "rise", 1.0, 0.02), ("slowing", "rise", 0.5, 0.02), ("change", "level", 0.7, 0.04))
GRIDS = (1, 2, 4, 8)

LEAST_S = 2.0
SILENT_RMS = 1e-4
LEVEL_TREND_S = 1.2
LEVEL_ENDS_S = 0.2
LEAST_LEVEL_CHANGE = 0.03
# Noise whose power lies in few bands wavers by up to 6 % in level, but rises as evenly as any.
WAVERING = 0.08
LEAST_RISE_SPREAD = 0.28
LEAST_CHANGE = 10.0
REPEAT = 0.1
EVENT_QUANTILE = 0.98
CLEAR_CHANGE = 20.0
LEAST_FRAMES = 4
CLEAR_RISE = 0.8
CLEAR_SLOWING = 20.0
BELIEVED = 5.0
RESAMPLES = 1000
LEAST_PROMPTS = 10
CLEAR_OFFSET_MS = 400.0
IN_STEP_MS = 40.0


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion of the picture without the camera's.

    Attributes:
        times_s: when each frame is shown, but for those that repeat the one before, float64 ``(T,)``.
        change: by how much the velocity of a region changes at each frame, pixels/s (of 160 on the long side), float64
            ``(85, T)``: the whole picture, then its 2 x 2, 4 x 4 and 8 x 8 parts, row by row.
        slowing: by how much its speed falls, not negative, of the same shape.
    """

    times_s: NDArray[np.float64]
    change: NDArray[np.float64]
    slowing: NDArray[np.float64]

    @classmethod
    def of(cls, cells: NDArray[np.generic], times_s: NDArray[np.generic]) -> Motion:
        """From the feature ``cells`` of the encoder ``motion_acceleration``: ``(T, 8, 8, 2)`` and ``(T + 1,)``."""
        moved = _float64(cells)
        new = ~repeats(moved)
        times, moved = _float64(times_s)[: len(moved)][new], moved[new]
        span = times[-1] - times[0]
        rate = (len(times) - 1) / span if span > 0 else 0.0
        velocity = regions(without_camera(moved)) * rate
        return cls(times, *changes(velocity))

    @property
    def weights(self) -> NDArray[np.float64]:
        """How much each region counts, in [0, 1], ``(85,)``: q / (q + 20), q its 98 % quantile of `change` in pixels/s.

        What hardly moves can tell nothing, but its noise would have a vote.
        """
        fast = np.quantile(self.change, EVENT_QUANTILE, axis=-1)
        return fast / (fast + CLEAR_CHANGE)

    @property
    def cells_change(self) -> NDArray[np.float64]:
        """Of the 64 smallest regions."""
        return self.change[-(GRIDS[-1] ** 2) :]

    @property
    def cells_slowing(self) -> NDArray[np.float64]:
        """Of the 64 smallest regions."""
        return self.slowing[-(GRIDS[-1] ** 2) :]


def repeats(cells: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which frames of cells ``(T, 8, 8, 2)`` repeat the one before while all else moves on.

    As where 24 frames a second are shown as 30: motion would stop and start again, several times a second. A single
    frame that moves less than a tenth of each of its neighbours; two in a row are a picture that stands still.
    """
    speed = np.abs(cells).mean(axis=(1, 2, 3))
    found = np.zeros(len(speed), dtype=np.bool_)
    found[1:-1] = speed[1:-1] < REPEAT * np.minimum(speed[:-2], speed[2:])
    return found


def without_camera(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Flow of cells ``(T, 8, 8, 2)`` less its median over the cells of each frame, which is the camera's part."""
    return cells - np.median(cells, axis=(1, 2), keepdims=True)


def regions(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of cells ``(T, 8, 8, 2)`` over the parts of grids of 1, 2, 4 and 8 a side: ``(85, T, 2)``."""
    frames, side = cells.shape[:2]
    parts = []
    for grid in GRIDS:
        means = cells.reshape(frames, grid, side // grid, grid, side // grid, 2).mean(axis=(2, 4))
        parts.append(means.reshape(frames, grid * grid, 2))
    return np.concatenate(parts, axis=1).transpose(1, 0, 2)


def region(index: int) -> tuple[int, int, int]:
    """Grid (1, 2, 4 or 8 a side), row and column of one of the 85 regions."""
    for grid in GRIDS:
        if index < grid * grid:
            return grid, index // grid, index % grid
        index -= grid * grid
    raise IndexError(f"There are {sum(grid * grid for grid in GRIDS)} regions.")


def region_index(grid: int, row: int, column: int) -> int:
    """Which of the 85 regions it is; the reverse of `region`."""
    return sum(coarser * coarser for coarser in GRIDS if coarser < grid) + grid * row + column


def changes(velocity: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How velocities change, and how speeds fall, at each frame.

    Args:
        velocity: of the step that ends at each frame, shape ``(regions, T, 2)``.

    Returns:
        |v_{i+1} - v_i| and max(0, |v_i| - |v_{i+1}|), shape ``(regions, T)``. The first frame and the last have no step
        on one side and take their neighbour's values: a 0 there would be an event exactly where sound starts and
        stops, in every clip.
    """
    shape = velocity.shape[:2]
    change, slowing = np.zeros(shape), np.zeros(shape)
    if shape[1] > 2:
        change[:, 1:-1] = np.linalg.norm(velocity[:, 2:] - velocity[:, 1:-1], axis=-1)
        speed = np.linalg.norm(velocity, axis=-1)
        slowing[:, 1:-1] = np.maximum(0.0, speed[:, 1:-1] - speed[:, 2:])
        for channel in (change, slowing):
            channel[:, 0], channel[:, -1] = channel[:, 1], channel[:, -2]
    return change, slowing


def on_clock(times_s: NDArray[np.float64], values: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Series ``(..., n)`` at `times_s` on the clock of 50 Hz from 0, on lines between its values: ``(..., steps)``."""
    clock = np.arange(steps) * STEP_S
    after = np.clip(np.searchsorted(times_s, clock, side="right"), 1, len(times_s) - 1)
    before = after - 1
    gap = times_s[after] - times_s[before]
    share = np.clip((clock - times_s[before]) / np.where(gap > 0, gap, 1.0), 0.0, 1.0)
    return values[..., before] * (1 - share) + values[..., after] * share


def prepared(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Series ``(..., steps)`` as they are correlated: less their trend, smoothed by a Gaussian of 30 ms, of mean 0 and
    deviation 1; a constant one is 0.

    The trend at each moment is the straight line that fits best around it, weighted by a Gaussian of 0.8 s. A mean in
    its place would leave the slope at the ends: an event where a sound fades in or out with its clip.
    """
    return _standard(_weighted_mean(series - _line(series, TREND_S), SMOOTHING_S))


def _weighted_mean(series: NDArray[np.float64], sigma_s: float, step_s: float = STEP_S) -> NDArray[np.float64]:
    """Means weighted by a Gaussian over what there is: at the ends over less."""
    from scipy.ndimage import gaussian_filter1d

    weights = gaussian_filter1d(np.ones(series.shape[-1]), sigma_s / step_s, mode="constant")
    return cast("NDArray[np.float64]", gaussian_filter1d(series, sigma_s / step_s, axis=-1, mode="constant") / weights)


def _line(series: NDArray[np.float64], sigma_s: float) -> NDArray[np.float64]:
    """At each step the value of the line through the series that fits best by weights of a Gaussian around it."""
    times = _float64(np.arange(series.shape[-1])) * STEP_S
    middle, mean = _weighted_mean(times, sigma_s), _weighted_mean(series, sigma_s)
    spread = _weighted_mean(times * times, sigma_s) - middle**2
    slope = (_weighted_mean(series * times, sigma_s) - mean * middle) / spread
    return mean + slope * (times - middle)


def _standard(series: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = series - series.mean(axis=-1, keepdims=True)
    deviation = centred.std(axis=-1, keepdims=True)
    return cast("NDArray[np.float64]", centred / np.where(deviation > 1e-9, deviation, np.inf))


@dataclass(frozen=True, eq=False)
class Agreement:
    """How well picture and sound agree at every lag of the sound, in steps of 20 ms, circular.

    Attributes:
        lags_s: lags, ascending, float64 ``(steps,)``: positive where the sound is late.
        strength: S of each lag, of mean 0 and deviation 1.
        best: M, the largest S within 60 ms of each lag.
        by_region: what each of the 85 regions adds to S, ``(85, steps)``.
    """

    lags_s: NDArray[np.float64]
    strength: NDArray[np.float64]
    best: NDArray[np.float64]
    by_region: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        motion: Mapping[str, NDArray[np.float64]],
        sound: Mapping[str, NDArray[np.float64]],
        weights: NDArray[np.float64],
    ) -> Agreement:
        """Of channels of motion ``(regions, steps)`` and of sound ``(steps,)`` on one clock, by name.

        Args:
            motion: ``change`` and ``slowing``.
            sound: ``rise`` and ``level``.
            weights: of the regions, not negative, not all 0, ``(regions,)``.
        """
        from scipy.ndimage import maximum_filter1d

        steps = next(iter(sound.values())).shape[-1]
        pictures = {name: np.fft.rfft(prepared(series)).conj() for name, series in motion.items()}
        sounds = {name: np.fft.rfft(prepared(series)) for name, series in sound.items()}
        by_region = np.zeros((next(iter(motion.values())).shape[0], steps))
        for channel, heard, weight, late_s in PAIRS:
            z = _standard(np.fft.irfft(pictures[channel] * sounds[heard], n=steps))
            excess = np.maximum(0.0, z) ** 3 * (weights / weights.mean())[:, None]
            spread = float(excess.mean(axis=0).std())
            if spread > 0:
                by_region += weight / spread * np.roll(excess, -round(late_s / STEP_S), axis=1)
        strength = _standard(by_region.mean(axis=0))
        best = maximum_filter1d(strength, 2 * round(NEAR_S / STEP_S) + 1, mode="wrap")
        # Lag 0 in the middle.
        half = steps // 2
        lags = (np.arange(steps) - half) * STEP_S
        return cls(lags, *(np.roll(part, half, axis=-1) for part in (strength, best, by_region)))

    def score(self, lag_s: float = 0.0) -> float:
        """(M(lag) - mean) / deviation, both over lags more than 120 ms from it; 0 where all are equal."""
        null = self.null(lag_s)
        spread = float(null.std())
        return float((self.best[self._place(lag_s)] - null.mean()) / spread) if spread > 0 else 0.0

    def p_value(self) -> float:
        """(1 + lags of the null with M at least that of lag 0) / (1 + lags of the null)."""
        null = self.null(0.0)
        return float((1 + (null >= self.best[self._place(0.0)]).sum()) / (1 + len(null)))

    def null(self, lag_s: float) -> NDArray[np.float64]:
        """M at lags more than 120 ms from one, around the circle."""
        steps = len(self.lags_s)
        away = np.abs(np.arange(steps) - self._place(lag_s))
        beyond = np.minimum(away, steps - away) > round(NULL_FROM_S / STEP_S)
        return cast("NDArray[np.float64]", self.best[beyond])

    def within(self, reach_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lags up to `reach_s`, and S there."""
        near = np.abs(self.lags_s) < reach_s + STEP_S / 2
        return self.lags_s[near], self.strength[near]

    def offset_s(self) -> float:
        """The lag within 1 s at which S is largest; positive when the sound is late."""
        lags, strength = self.within(REACH_S)
        return float(lags[strength.argmax()])

    def strongest_regions(self, count: int = 3) -> list[tuple[int, int, int]]:
        """Grid, row and column of the regions that add most to S where it is largest within 60 ms of lag 0."""
        lags, strength = self.within(NEAR_S)
        added = self.by_region[:, self._place(float(lags[strength.argmax()]))]
        return [region(int(index)) for index in np.argsort(-added, kind="stable")[:count]]

    def _place(self, lag_s: float) -> int:
        return len(self.lags_s) // 2 + round(lag_s / STEP_S)


def level_change(level: NDArray[np.float64], step_s: float) -> float:
    """Deviation of a sound's level from its trend of 1.2 s, over its mean; 200 ms at both ends are left out."""
    ends = round(LEVEL_ENDS_S / step_s)
    moving = (level - _weighted_mean(level, LEVEL_TREND_S, step_s))[ends : len(level) - ends]
    mean = float(level.mean())
    return float(moving.std()) / mean if mean > 0 and moving.size else 0.0


def rise_spread(rise: NDArray[np.float64]) -> float:
    """Deviation over mean of how a sound rises: large where it has few, clear beginnings."""
    mean = float(rise.mean())
    return float(rise.std()) / mean if mean > 0 else 0.0


def has_events(level: NDArray[np.float64], rise: NDArray[np.float64]) -> bool:
    """Whether anything happens in a sound, by `sound_level` and `sound_rise` of the encoder; noise of any colour has
    no events.
    """
    changing = level_change(level, SOUND_STEP_S)
    if changing < LEAST_LEVEL_CHANGE:
        return False
    return changing >= WAVERING or rise_spread(rise) >= LEAST_RISE_SPREAD


def strongest(cells: NDArray[np.float64]) -> float:
    """Of the largest 98 % quantile over cells ``(64, T)``: pixels/s."""
    return float(np.quantile(cells, EVENT_QUANTILE, axis=-1).max())


@dataclass(frozen=True, eq=False)
class Streams:
    """What is compared, on the clock of 50 Hz over the time that has both picture and sound.

    Attributes:
        motion: of the picture, at its frames.
        seen: ``change`` and ``slowing`` of the 85 regions to the power 0.25, ``(85, steps)``.
        heard: ``rise`` and ``level`` of the sound, ``(steps,)``.
    """

    motion: Motion
    seen: Mapping[str, NDArray[np.float64]]
    heard: Mapping[str, NDArray[np.float64]]

    @classmethod
    def of(cls, motion: Features, sound: Features) -> Streams:
        """From the features ``cells`` of the encoder ``motion_acceleration`` and ``level`` of ``sound_level``.

        Raises:
            MetricError: picture and sound share less than 2 s (``too_short``).
        """
        seconds = min(float(motion["times_s"][-1]), float(sound["duration_s"][0]))
        if seconds < LEAST_S - 1e-6 or len(motion["cells"]) < LEAST_FRAMES:
            raise MetricError(f"Picture and sound share {seconds:.2f} s, and 2 s are needed.", kind="too_short")
        steps = int(seconds / STEP_S + 1e-6)
        moving = Motion.of(motion["cells"], motion["times_s"])
        seen = {"change": moving.change, "slowing": moving.slowing}
        moments = _float64(np.arange(len(sound["level"]))) * SOUND_STEP_S
        return cls(
            moving,
            {name: on_clock(moving.times_s, values**EXPONENT, steps) for name, values in seen.items()},
            {name: on_clock(moments, _float64(sound[name]), steps) for name in ("rise", "level")},
        )


def _float64(values: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


class AVSyncMetric(SampleMetric):
    """How far the agreement of picture and sound as they are stands out from that at all other lags of the sound.

    Picture: optical flow of 8 x 8 cells without the camera's part, as means over 85 regions (1 x 1 to 8 x 8); how much
    the velocity of each changes and how much its speed falls, to the power 0.25. Sound: how much 24 bands rise, and how
    loud they are together. All on a clock of 50 Hz, smoothed by 30 ms, without the trend of 0.8 s, standardised. Each
    region is correlated with the sound at all lags, circularly, and standardised over them to z. ::

        S(lag) = standardised sum over change-rise, 0.5 slowing-rise and 0.7 change-level of the weighted mean over
                 regions of max(0, z(lag))^3, each of deviation 1 over lags; a region in which the fastest 2 % of
                 changes are q pixels/s or more weighs q / (q + 20)
        M(lag) = largest S within 60 ms
        score  = (M(0) - mean) / deviation, both of M over lags beyond 120 ms

    So 0 is what unrelated sound has on average, and a unit is its deviation. Tails are heavy: scores are clipped to
    [-2, 6] before they are averaged.

    Details: ``p``, (1 + lags beyond 120 ms with M at least M(0)) / (1 + lags beyond 120 ms); ``offset_ms``, the lag
    within 1 s at which S is largest, positive when the sound is late; ``offset_score``, the score of that lag in place
    of 0; ``offset_believed``, 1 where that is at least 5, else 0: below, the offset says nothing; ``informative``, 1 or
    0, and ``weight``, 0.005 to 1, how much picture and sound, each by itself, could tell; ``region_grid``,
    ``region_row`` and ``region_column`` of the three regions that agree most around lag 0 (row 2 of a grid of 4 is the
    third quarter from the top); ``correlation``, S at the lags from -1 to 1 s in steps of 20 ms.

    A clip that is too short, silent, or without events in sound or picture has no value: see `not_applicable`.
    """

    card: ClassVar[MetricCard] = MetricCard(
        id="av_sync",
        title="AV-Sync",
        higher_is_better=True,
        value_range=(None, None),
        kind="sample",
        measures=(
            "How much better changes of motion and rises of sound agree as they are than with the sound moved, in "
            "deviations of the agreement over all moves; 0 for unrelated sound."
        ),
        blind_to=(
            "Offsets below 160 ms, and on a single real clip 160 ms too; periodic events (a shift by whole periods); "
            "smooth motion, mostly; what sounds and what moves; preference: it measures timing alone. One clip "
            "is weak evidence: use sets. Compare only at equal frame rate and codec: half the rate moves scores by "
            "a third to a half. Silence and still pictures have no value, neither good nor bad, so that a model could "
            "gain by making only what is easy to time: the shares of clips that it does not apply to and that are "
            "informative stand beside the mean, a second mean weights clips by how informative they are, and models "
            "whose shares of clips without a value differ significantly are not ranked."
        ),
        formula=(
            "(M(0) - mean) / deviation of M over the lags beyond 120 ms, with M(lag) the largest S within 60 "
            "ms, and S the weighted mean over 85 regions of max(0, z)³ of the circular correlation of motion "
            "changes with rises of sound, standardised over lags to z. Scores are clipped to [-2, 6] before "
            "they are averaged"
        ),
        source="javisbench",
        digits=2,
    )
    not_applicable: ClassVar[Mapping[str, str]] = {
        "no_audio": "without sound",
        "too_short": "shorter than 2 s",
        "silent": "silent",
        "no_sound_events": "sound without events",
        "no_motion_events": "picture without events",
    }
    mean_range: ClassVar[tuple[float, float] | None] = (-2.0, 6.0)
    weighted_by: ClassVar[str | None] = "weight"

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """Motion of cells and level of sound; frames are where they are shown under every protocol."""
        return {
            "motion": FeatureSpec.of("motion_acceleration", "cells"),
            "sound": FeatureSpec.of("sound_level", "level"),
        }

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The score, any number.

        Raises:
            MetricError: of a kind in `not_applicable`, or ``non_finite`` for features that are no numbers.
        """
        if not all(np.isfinite(array).all() for made in features.values() for array in made.values()):
            raise MetricError("The features of this clip are NaN or infinite.", kind="non_finite")
        sound = features["sound"]
        streams = Streams.of(features["motion"], sound)
        _check_events(streams.motion, sound)
        found = Agreement.of(streams.seen, streams.heard, streams.motion.weights)
        offset_s = found.offset_s()
        offset_score = found.score(offset_s)
        spread = rise_spread(_float64(sound["rise"]))
        slowing = strongest(streams.motion.cells_slowing)
        places = found.strongest_regions()
        details = {
            "p": (found.p_value(),),
            "offset_ms": (1000 * offset_s,),
            "offset_score": (offset_score,),
            "offset_believed": (float(offset_score >= BELIEVED),),
            "informative": (float(spread >= CLEAR_RISE and slowing >= CLEAR_SLOWING),),
            "weight": (weight(spread, slowing),),
            "region_grid": tuple(float(grid) for grid, _, _ in places),
            "region_row": tuple(float(row) for _, row, _ in places),
            "region_column": tuple(float(column) for _, _, column in places),
            "correlation": tuple(found.within(REACH_S)[1].tolist()),
        }
        return SampleScore(found.score(), details)

    def facts(
        self,
        values: NDArray[np.float64],
        details: Sequence[Mapping[str, Sequence[float]]],
        prompts: NDArray[np.int64],
        seed: int,
    ) -> dict[str, float]:
        """What a set of clips shows besides the mean of its clipped scores.

        Returns:
            ``informative``, the share of informative clips; ``weighted_mean``, the mean of clipped scores weighted by
            `weight`, of two prompts or more with ``weighted_mean_low`` and ``_high``; and of ten or more ``offset_ms``,
            the lag that all clips agree on best (the largest S, averaged with those weights and smoothed by 30 ms;
            positive when the sound is late), with ``offset_ms_low`` and ``offset_ms_high``. Intervals are of 95 %, by
            the bootstrap over prompts. Where clips have no offset in common, its interval is wide: up to 2 s.
        """
        if not all({"weight", "informative", "correlation"} <= told.keys() for told in details):
            return {}
        weights = np.array([told["weight"][0] for told in details])
        found = {"informative": float(np.mean([told["informative"][0] for told in details]))}
        strength = _aligned([told["correlation"] for told in details])
        rows = np.column_stack([weights, weights * self.for_mean(values), weights[:, None] * strength])
        _, codes = np.unique(prompts, return_inverse=True)
        sums = np.zeros((codes.max() + 1, rows.shape[1]))
        np.add.at(sums, codes, rows)
        mean, offset_ms = _pooled(sums.sum(axis=0, keepdims=True))
        found["weighted_mean"] = float(mean[0])
        if len(sums) < 2:
            return found
        equal = np.full(len(sums), 1 / len(sums))
        draws = _float64(np.random.default_rng(seed).multinomial(len(sums), equal, size=RESAMPLES))
        drawn_mean, drawn_offset_ms = _pooled(draws @ sums)
        found |= _with_interval("weighted_mean", mean, drawn_mean)
        if len(sums) >= LEAST_PROMPTS:
            found |= _with_interval("offset_ms", offset_ms, drawn_offset_ms)
        return found

    def remark(self, facts: Mapping[str, float]) -> str | None:
        """Share of informative clips, the weighted mean, and the offset that clips have in common."""
        if "informative" not in facts:
            return None
        told = f"{100 * facts['informative']:.0f} % of clips informative; mean weighted by that "
        told += f"{facts['weighted_mean']:.2f}"
        if "weighted_mean_low" in facts:
            told += f" [{facts['weighted_mean_low']:.2f}, {facts['weighted_mean_high']:.2f}]"
        if "offset_ms_low" not in facts:
            return told
        low, high, offset_ms = facts["offset_ms_low"], facts["offset_ms_high"], facts["offset_ms"]
        if high - low > CLEAR_OFFSET_MS:
            return f"{told}; no offset that the clips have in common"
        if low <= IN_STEP_MS and high >= -IN_STEP_MS:
            return f"{told}; in step ({offset_ms:+.0f} ms [{low:+.0f}, {high:+.0f}])"
        way = "late" if offset_ms > 0 else "early"
        return f"{told}; the sound is {abs(offset_ms):.0f} ms {way} ({offset_ms:+.0f} ms [{low:+.0f}, {high:+.0f}])"


def _with_interval(name: str, whole: NDArray[np.float64], drawn: NDArray[np.float64]) -> dict[str, float]:
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {name: float(whole[0]), f"{name}_low": float(low), f"{name}_high": float(high)}


def _aligned(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """S of each clip, lag 0 in the middle; 0 at lags that a clip is too short for: it says nothing of them."""
    found = np.zeros((len(rows), max(map(len, rows), default=0)))
    for place, row in enumerate(rows):
        start = (found.shape[1] - len(row)) // 2
        found[place, start : start + len(row)] = row
    return found


def _pooled(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted means, and offsets in ms, of sums ``(k, 2 + lags)`` over clips of weight, weighted score and S."""
    from scipy.ndimage import gaussian_filter1d

    strength = gaussian_filter1d(sums[:, 2:], SMOOTHING_S / STEP_S, axis=1, mode="nearest")
    middle = (strength.shape[1] - 1) // 2
    return sums[:, 1] / sums[:, 0], 1000 * STEP_S * (strength.argmax(axis=1) - middle)


def weight(spread: float, slowing: float) -> float:
    """How much a clip could tell, from each stream alone.

    clip((spread - 0.4) / 0.8, 0.05, 1) clip(slowing / 40, 0.1, 1), in [0.005, 1].

    Args:
        spread: of the sound, as `rise_spread` gives it.
        slowing: of the picture, pixels/s, as `strongest` gives it.
    """
    return float(np.clip((spread - 0.4) / 0.8, 0.05, 1.0) * np.clip(slowing / 40.0, 0.1, 1.0))


def _check_events(motion: Motion, sound: Features) -> None:
    rms = float(sound["rms"][0])
    if rms < SILENT_RMS:
        raise MetricError(f"The sound is silent (root mean square {rms:.2g}).", kind="silent")
    level, rise = _float64(sound["level"]), _float64(sound["rise"])
    if not has_events(level, rise):
        raise MetricError(
            f"The sound hardly changes (its level by {100 * level_change(level, SOUND_STEP_S):.1f} % of its mean): "
            "nothing in it happens at any moment.",
            kind="no_sound_events",
        )
    fastest = strongest(motion.cells_change)
    if fastest < LEAST_CHANGE:
        raise MetricError(
            f"Motion hardly changes (by {fastest:.1f} pixels/s of 160 pixels): nothing in the picture happens at any "
            "moment.",
            kind="no_motion_events",
        )


class AVSync:
    """AV-Sync of tensors, for validation and rewards in a training loop. It computes on the CPU and needs no weights.

    The number is that of `AVSyncMetric` for the same pixels and samples; frames are evenly spaced at their rate. No
    gradient flows through it. Tails are heavy: clip scores to [-2, 6] before averaging them.

    Args:
        protocol: name of the protocol, overrides included, or the protocol. It has no setting that changes this metric.

    Example:
        >>> score = AVSync()
        >>> score(frames, 24, audio, 16000)  # doctest: +SKIP
        tensor(3.1416)
    """

    def __init__(self, protocol: str | Protocol = "javisbench-v2") -> None:
        self._metric = AVSyncMetric()
        self._scorer = TensorScorer([self._metric], protocol)
        self.protocol = self._scorer.protocol

    def __call__(self, frames: Any, fps: Any, audio: Any, sample_rate: Any) -> Tensor:
        """Score one clip, or each clip of a batch.

        Args:
            frames: uint8 ``(T, H, W, 3)``, or float in [0, 1] ``(T, 3, H, W)`` (rounded to bytes); tensor or array. A
                batch is a list of such, or one more axis in front.
            fps: frames per second, int, float or Fraction; for a batch one for all, or one each.
            audio: float in [-1, 1], ``(samples,)`` or ``(channels, samples)``; a batch is a list of such, or a tensor
                ``(B, channels, samples)``.
            sample_rate: Hz; for a batch one for all, or one each.

        Returns:
            float32: shape ``()`` for one clip, ``(B,)`` for a batch; NaN where it does not apply (`detailed` says why).

        Raises:
            UsageError: shapes, types, ranges, rates or lengths that do not fit; of a batch, which clip.
            FeatureError: no optical flow can be computed (pictures of a few pixels).
        """
        import torch

        found = self.detailed(frames, fps, audio, sample_rate)
        values = torch.tensor([told.value if isinstance(told, SampleScore) else float("nan") for told in found])
        return values if is_batch(frames) else values[0]

    def detailed(self, frames: Any, fps: Any, audio: Any, sample_rate: Any) -> list[SampleScore | JavisbenchError]:
        """Like calling the object, but with the details of `AVSyncMetric`; one entry a clip.

        A clip that it does not apply to has the error that says why, with a kind of `AVSyncMetric.not_applicable`.
        """
        clips = [Given(clip) for clip in as_clips(frames, fps, audio, sample_rate)]
        return [self._told(one.scores["av_sync"]) for one in self._scorer.score(clips, {})]

    def _told(self, found: SampleScore | JavisbenchError) -> SampleScore | JavisbenchError:
        if isinstance(found, JavisbenchError) and found.kind not in self._metric.not_applicable:
            raise found
        return found
