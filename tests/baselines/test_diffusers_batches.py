"""Calls of several prompts: the clips of single ones, sizes by free memory, and what happens when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from javisbench.baselines.base import Generated, Request
from javisbench.baselines.diffusers_models import DiffusersPipeline
from javisbench.baselines.diffusers_models.memory import Batches, fitting
from javisbench.baselines.diffusers_models.rules import rules_of
from javisbench.baselines.diffusers_models.table import PIPELINES
from javisbench.clip import Clip, ClipSpec
from javisbench.suite import Sample
from javisbench.weights import WeightStore

SPEC = ClipSpec(width=64, height=48, duration_s=0.5, sample_rate=8000)
SMALL = {"steps": "2", "width": "64", "height": "48", "frames": "5"}
PROMPTS = {"a cat": 5, "rain on a tin roof and a dog that barks": 6, "a": 7}


def loaded(folder: Path, kind: str, **params: str) -> DiffusersPipeline:
    small = {"steps": "2"} if rules_of(kind).family == "t2a" else SMALL
    generator = DiffusersPipeline(str(folder), {**small, **params})
    generator.part_of_cascade = True
    generator.load("cpu", "float32", WeightStore())
    return generator


def made(generator: DiffusersPipeline, prompts: Sequence[str]) -> dict[str, Clip]:
    plan = generator.plan(SPEC)
    asked = [Request(Sample(p, 0, p), 0, 0, PROMPTS[p], plan, {"text": p}) for p in prompts]
    answers = list(generator.generate(asked))
    assert all(isinstance(answer, Generated) for answer in answers), answers
    return {answer.request.sample.id: answer.clip for answer in answers if isinstance(answer, Generated)}


TOGETHER = [name for name, known in PIPELINES.items() if known.together]


@pytest.mark.parametrize(
    "kind", [pytest.param(name, marks=pytest.mark.slow) if name == "LTX2Pipeline" else name for name in TOGETHER]
)
def test_clips_do_not_depend_on_the_size_of_a_call(kind: str, tiny_pipeline: Callable[..., Path]) -> None:
    folder = tiny_pipeline(kind)
    alone = made(loaded(folder, kind), list(PROMPTS))
    together = loaded(folder, kind, batch="3")
    calls = counted(together)
    # Sums of a matrix product run in another order with more rows: 1e-5 of the range, which a step of a pixel may show.
    for order in (list(PROMPTS), list(PROMPTS)[::-1]):
        for prompt, clip in made(together, order).items():
            apart = np.abs(clip.frames.astype(int) - alone[prompt].frames.astype(int))
            assert apart.max(initial=0) <= 1
            assert apart.mean() < 1e-3 if apart.size else True
            if clip.audio is not None and alone[prompt].audio is not None:
                np.testing.assert_allclose(clip.audio, alone[prompt].audio, atol=1e-5)
    assert calls == [3, 3]


def counted(generator: DiffusersPipeline) -> list[int]:
    """The numbers of prompts of calls still to come."""
    calls: list[int] = []
    pipeline = generator._pipeline

    def watch(**arguments: Any) -> Any:
        calls.append(len(arguments["prompt"]) if isinstance(arguments["prompt"], list) else 1)
        return pipeline(**arguments)

    generator._pipeline = watch
    return calls


class OutOfMemoryError(RuntimeError):
    """Called as torch calls its own."""


@pytest.fixture
def wan(tiny_pipeline: Callable[..., Path]) -> DiffusersPipeline:
    return loaded(tiny_pipeline("WanPipeline"), "WanPipeline", batch="3")


def test_memory_that_runs_out_halves_calls_for_good(wan: DiffusersPipeline) -> None:
    pipeline, calls = wan._pipeline, []

    def short(**arguments: Any) -> Any:
        calls.append(len(arguments["prompt"]) if isinstance(arguments["prompt"], list) else 1)
        if calls[-1] > 1:
            raise OutOfMemoryError("CUDA out of memory")
        return pipeline(**arguments)

    wan._pipeline = short
    assert len(made(wan, list(PROMPTS))) == 3
    assert len(made(wan, list(PROMPTS))) == 3
    assert calls == [3, 1, 1, 1, 1, 1, 1]


def test_memory_that_runs_out_with_one_clip_makes_tiles_once(wan: DiffusersPipeline) -> None:
    pipeline = wan._pipeline
    pipeline.vae.use_tiling = False

    class Short:
        vae = pipeline.vae

        def __call__(self, **arguments: Any) -> Any:
            if not self.vae.use_tiling:
                raise OutOfMemoryError("CUDA out of memory")
            return pipeline(**arguments)

    wan._pipeline = Short()
    plan = wan.plan(SPEC)
    answers = list(wan.generate([Request(Sample("a", 0, "a"), 0, 0, 1, plan, {"text": "a"})]))
    assert [answer.info["vae"] for answer in answers if isinstance(answer, Generated)] == ["tiled"]

    def never(**arguments: Any) -> Any:
        raise OutOfMemoryError("CUDA out of memory")

    wan._pipeline = never
    with pytest.raises(OutOfMemoryError):
        list(wan.generate([Request(Sample("a", 0, "a"), 0, 0, 1, plan, {"text": "a"})]))


def test_a_vae_that_is_to_be_whole_stays_whole(tiny_pipeline: Callable[..., Path]) -> None:
    generator = loaded(tiny_pipeline("WanPipeline"), "WanPipeline", vae="whole")
    tiled = loaded(tiny_pipeline("WanPipeline", into="other"), "WanPipeline", vae="tiled")
    assert (generator._pipeline.vae.use_tiling, tiled._pipeline.vae.use_tiling) == (False, True)
    assert not generator._use_tiles()


def test_the_denoising_network_is_compiled_on_request(
    tiny_pipeline: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    compiled: list[str] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    folder = tiny_pipeline("WanPipeline")
    assert loaded(folder, "WanPipeline").resolved() == loaded(folder, "WanPipeline", compile="true").resolved()
    assert compiled == ["WanTransformer3DModel"]


@pytest.mark.slow
def test_a_compiled_network_makes_the_clip_of_one_that_is_not(tiny_pipeline: Callable[..., Path]) -> None:
    folder = tiny_pipeline("WanPipeline")
    plain, compiled = (
        made(loaded(folder, "WanPipeline", compile=told), ["a cat"])["a cat"].frames.astype(int)
        for told in ("false", "true")
    )
    # Fused kernels round otherwise.
    assert np.abs(plain - compiled).max() <= 1


@given(st.integers(0, 10**12), st.integers(1, 10**11), st.integers(1, 64))
def test_sizes_fit_the_memory(free: int, each: int, most: int) -> None:
    size = fitting(free, each, most)
    assert 1 <= size <= most
    assert size == 1 or size * each <= free
    assert size == most or (size + 1) * each > 0.8 * free


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A GPU of 100 bytes, 20 of them taken by the networks."""
    import torch

    state = {"free": 80, "reserved": 20, "allocated": 20, "peak": 20}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (state["free"], 100))
    for name in ("reserved", "allocated"):
        monkeypatch.setattr(torch.cuda, f"memory_{name}", lambda device, name=name: state[name])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: state["peak"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    return state


@contextmanager
def taking(batches: Batches, state: dict[str, int], clips: int, each: int) -> Iterator[None]:
    with batches.measured(clips):
        state["peak"] = state["allocated"] + clips * each
        yield


def test_the_first_clip_shows_how_many_fit(gpu: dict[str, int]) -> None:
    batches = Batches("cuda", None, 16)
    assert batches.size() == 1
    with taking(batches, gpu, 1, 10):
        pass
    # 80 bytes are free, of which 0.8 are used.
    assert batches.size() == 6
    with taking(batches, gpu, 6, 16):
        pass
    assert batches.size() == 4
    assert batches.halve(4)
    assert batches.size() == 2
    assert batches.halve(2)
    assert not batches.halve(1)
    assert batches.size() == 1


def test_what_the_user_says_wins_and_a_cpu_takes_one(gpu: dict[str, int]) -> None:
    assert Batches("cuda", 5, 16).size() == 5
    assert Batches("cuda", 5, 1).size() == 1
    assert Batches("cpu", None, 16).size() == 1
