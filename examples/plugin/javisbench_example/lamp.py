"""A generator: a lamp that glows while it hums."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from javisbench.baselines.base import Failed, Generated, Generator, Plan, Request
from javisbench.clip import Clip, ClipSpec
from javisbench.errors import UsageError


class Lamp(Generator):
    """Light and sound of one envelope, drawn from the seed; `delay_s` lets the sound come later than the light."""

    card_id: ClassVar[str] = "lamp"

    def __init__(self, variant: str | None = None, params: Mapping[str, str] | None = None) -> None:
        super().__init__(variant, params)
        unknown = sorted(self.params.keys() - {"delay_s"})
        if unknown:
            raise UsageError(f"lamp has no parameter {unknown[0]!r}; it has delay_s.")
        self._delay_s = float(self.params.get("delay_s", 0.0))

    def plan(self, spec: ClipSpec) -> Plan:
        frames, samples = round(spec.duration_s * spec.fps), round(spec.duration_s * spec.sample_rate)
        return Plan(spec.width, spec.height, frames, spec.fps, samples, spec.sample_rate)

    def resolved(self) -> Mapping[str, object]:
        return {"delay_s": self._delay_s}

    def generate(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        for request in batch:
            plan = request.plan
            draw = np.random.default_rng(request.seed)
            knots = draw.uniform(0, 1, 9)
            colour = draw.uniform(0.5, 1, 3)
            frame_s = (np.arange(plan.frames) + 0.5) / float(plan.fps)  # the middle of each frame's time
            sample_s = np.arange(plan.audio_samples) / plan.sample_rate - self._delay_s
            places = np.linspace(0, plan.frames / float(plan.fps), len(knots))
            light, loud = np.interp(frame_s, places, knots), np.interp(sample_s, places, knots)
            frames = np.broadcast_to(
                (255 * light[:, None] * colour).round().astype(np.uint8)[:, None, None],
                (plan.frames, plan.height, plan.width, 3),
            )
            audio = (0.5 * loud * np.sin(2 * np.pi * 220 * sample_s)).astype(np.float32)[None]
            yield Generated(request, Clip(np.ascontiguousarray(frames), plan.fps, audio, plan.sample_rate))
