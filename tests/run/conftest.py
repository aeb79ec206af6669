"""A fast generator that can be told to fail, and a suite at a tiny setting, for tests of whole runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from javisbench.clip import ClipSpec
from javisbench.suite import Suite, load_suite

TINY = ClipSpec(width=64, height=48, duration_s=1.0, fps=Fraction(8), sample_rate=8000)

GENERATOR = '''
import numpy as np

from javisbench.baselines.base import Failed, Generated, Generator, Plan
from javisbench.clip import Clip


class Noise(Generator):
    """Moving noise with clicks; prompts choose how it fails."""

    card_id = "noise"
    max_batch = 4
    calls = 0

    def plan(self, spec):
        frames, samples = round(spec.duration_s * spec.fps), round(spec.duration_s * spec.sample_rate)
        return Plan(spec.width, spec.height, frames, spec.fps, samples, spec.sample_rate)

    def generate(self, batch):
        type(self).calls += 1
        for request in batch:
            text = request.prompts["text"]
            if "refuse" in text:
                yield Failed(request, "generate", "refused", "no " + text, retryable=False)
            elif "raise" in text:
                raise RuntimeError("defect for " + text)
            else:
                yield Generated(request, self.clip(request), {"seed": request.seed})

    def clip(self, request):
        plan, random = request.plan, np.random.default_rng(request.seed)
        still = random.integers(0, 256, (plan.height, plan.width, 3)).astype(np.uint8)
        steps = np.cumsum(random.integers(0, 5, plan.frames))
        audio = 0.01 * random.standard_normal(plan.audio_samples).astype(np.float32)
        audio[:: plan.audio_samples // 4] = 0.9
        frames = np.stack([np.roll(still, step, 1) for step in steps])
        return Clip(frames, plan.fps, audio[None], plan.sample_rate, "sidecar")
'''


@pytest.fixture
def noise(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """The generator's specification; its module is importable here."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "tiny_noise.py").write_text(GENERATOR)
    monkeypatch.syspath_prepend(folder)
    return "python:tiny_noise:Noise"


@pytest.fixture
def tiny_suite(tmp_path: Path) -> Callable[..., Suite]:
    """A suite of the given prompts, with categories, at the tiny setting."""

    def make(*prompts: str) -> Suite:
        rows = [f"{prompt},{number % 2}" for number, prompt in enumerate(prompts)]
        (tmp_path / "tiny.csv").write_text("\n".join(["text,cat0_ind", *rows]) + "\n")
        return replace(load_suite(str(tmp_path / "tiny.csv")), setting=TINY)

    return make
