"""What was measured of how much a difference moves a metric: settings of protocols, and damages of recorded trials.

Both ship with javisbench: ``data_cards/effects/protocol_settings.json`` (written by `benchmarks/protocol_effects.py`)
and ``data_cards/trials/``. Networks are seeded stand-ins there: an effect is an order of size, no prediction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from javisbench.cards import CARDS

_CLIPS = {"reference_clips": "reference clips", "real_clips": "real clips"}
_DAMAGES: Mapping[str, tuple[str, ...]] = {
    "frame_rate": ("fps", "frame_rate"),
    "resized": ("width", "height", "size", "resolution"),
    "recoded_sound": ("sound",),
    "resampled": ("sample_rate",),
}
"""Damages of trials to the last parts of names of facts that differ as the damage does."""


@dataclass(frozen=True)
class Measured:
    """One measured effect on one metric.

    Attributes:
        what: the setting, or the damage with its dose.
        metric: id.
        relative: size of the change as a share of the value; None where it is `absolute`.
        absolute: size of the change in the metric's unit.
        clips: which, and how many.
    """

    what: str
    metric: str
    relative: float | None
    absolute: float | None
    clips: str

    def size(self, value: float) -> float:
        """The size that the effect would have on a value, in its unit."""
        return abs(value) * self.relative if self.relative is not None else self.absolute or 0.0

    @property
    def sentence(self) -> str:
        """``channels moved ta_ib by 0.001 (12 real clips)``."""
        moved = f"{100 * self.relative:.2g} %" if self.relative is not None else f"{self.absolute:.2g}"
        return f"{self.what} moved {self.metric} by {moved} ({self.clips})"


def measured(name: str, metric: str) -> tuple[Measured, ...]:
    """What was measured of a difference in the fact `name`, the largest effect on `metric`; empty where nothing was."""
    last = name.rpartition(".")[2]
    of_settings = _settings(last, metric) if name.startswith("protocol_settings.") else ()
    return tuple(of_settings) or tuple(_damages(last, metric))


@cache
def _card() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((CARDS / "effects" / "protocol_settings.json").read_text(encoding="utf-8"))
    return found


def _settings(setting: str, metric: str) -> Iterator[Measured]:
    from javisbench.metrics.registry import set_metric

    card = _card()
    effects = []
    for clips, effect in card["effects"].get(setting, {}).get(metric, {}).items():
        told = f"{card['clips'][clips]} {_CLIPS[clips]}, stand-in weights"
        size, before = abs(effect["overall"]), abs(effect["v1"])
        # A distance of stand-ins has another scale than that of the official network; a similarity has not.
        if set_metric(metric) is not None:
            effects.append(Measured(setting, metric, size / before if before else 0.0, None, told))
        else:
            effects.append(Measured(setting, metric, None, size, told))
    if effects:
        yield max(effects, key=lambda effect: effect.size(1.0))


def _damages(last: str, metric: str) -> Iterator[Measured]:
    wanted = {damage for damage, names in _DAMAGES.items() if last in names}
    found = [
        effect for effect in _trial_effects() if effect.what.partition("=")[0] in wanted and effect.metric == metric
    ]
    if found:
        yield max(found, key=lambda effect: effect.relative or 0.0)


@cache
def _trial_effects() -> tuple[Measured, ...]:
    from javisbench.results.trial import recorded_trials

    return tuple(
        Measured(effect.case, effect.metric, effect.relative_change, None, f"trial {record.name}, n = {effect.n}")
        for record in recorded_trials()
        for effect in record.trial.effects
        if effect.relative_change is not None and effect.damage in _DAMAGES
    )
