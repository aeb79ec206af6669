"""Tiny pipelines of diffusers, saved once a session, and a tiny suite."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import pytest

from javisbench.clip import ClipSpec
from javisbench.suite import Suite, load_suite

TINY = ClipSpec(width=64, height=48, duration_s=0.5, fps=Fraction(8), sample_rate=8000)


@pytest.fixture(scope="session")
def tiny_pipelines() -> ModuleType:
    from tests.baselines import tiny_pipelines

    return tiny_pipelines


@pytest.fixture(scope="session")
def _built(tiny_pipelines: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    folder = tmp_path_factory.mktemp("pipelines")

    def get(name: str, seed: int) -> Path:
        target = folder / f"{name}-{seed}"
        return target if target.exists() else tiny_pipelines.build(name, target, seed)

    return get


@pytest.fixture
def tiny_pipeline(_built: Callable[[str, int], Path], tmp_path: Path) -> Callable[..., Path]:
    """A copy of the folder of a tiny pipeline, by class and weight seed."""

    def get(name: str, seed: int = 0, into: str | None = None) -> Path:
        target = tmp_path / (into or f"{name}-{seed}")
        shutil.copytree(_built(name, seed), target)
        return target

    return get


@pytest.fixture
def tiny_suite(tmp_path: Path) -> Suite:
    """Two prompts at the tiny setting, one of them with a prompt for each stream."""
    (tmp_path / "tiny.csv").write_text("text,audio_text,video_text\na cat,a meow,a cat in grass\na dog,,\n")
    return replace(load_suite(str(tmp_path / "tiny.csv")), setting=TINY)
