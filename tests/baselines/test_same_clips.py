"""Through the command line: a clip's bytes depend on its prompt and seed, not on batches or shards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from javisbench.cli import run
from tests.baselines import tiny_pipelines
from tests.baselines.javisdit import tiny_checkpoint

PROMPTS = ("Bouncing ball", "Rain on a tin roof", "A gong is struck", "Rain on a tin roof", "Footsteps")

Options = list[str]


def _javisdit(version: str, model: str) -> Callable[[Path], Options]:
    def options(folder: Path) -> Options:
        config = tiny_checkpoint.write_tiny(folder, version)
        return ["--model", model, "-M", f"config={config}", "-M", "steps=1", "--weights-dir", str(folder)]

    return options


def _diffusers(kind: str) -> Callable[[Path], Options]:
    def options(folder: Path) -> Options:
        small = ("steps=1", "width=64", "height=48", "frames=5")
        pipeline = tiny_pipelines.build(kind, folder / kind)
        return ["--model", f"diffusers:{pipeline}", *(word for value in small for word in ("-M", value))]

    return options


MODELS: dict[str, Callable[[Path], Options]] = {
    "procedural": lambda folder: ["--model", "procedural"],
    "procedural:sync": lambda folder: ["--model", "procedural:sync"],
    "javisdit:v1.0": _javisdit("v1.0", "javisdit"),
    "javisdit:v0.1": _javisdit("v0.1", "javisdit:v0.1"),
    "opensora:v1.2": _javisdit("opensora", "opensora:v1.2"),
    "diffusers:Wan": _diffusers("WanPipeline"),
    "diffusers:LTX2": _diffusers("LTX2Pipeline"),
}
QUICK = ("opensora:v1.2",)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in MODELS])
def test_batches_and_shards_make_the_same_bytes(name: str, tmp_path: Path) -> None:
    suite = tmp_path / "five.csv"
    suite.write_text("\n".join(["text", *PROMPTS]))
    (tmp_path / "five.toml").write_text("[setting]\nduration_s = 2\nwidth = 64\nheight = 48\n")
    model = MODELS[name](tmp_path / "weights")

    def made(folder: str, *options: str) -> dict[str, bytes]:
        out = tmp_path / folder
        assert run(["generate", *model, "--suite", str(suite), "--device", "cpu", "--out", str(out), *options]) == 0
        return {path.name: path.read_bytes() for path in out.glob("clips/*") if path.suffix != ".json"}

    one = made("one", "--batch", "1")
    assert {f"sample_000{n}.mp4" for n in range(5)} <= one.keys()
    assert one["sample_0001.mp4"] != one["sample_0003.mp4"], "equal prompts have seeds of their own"
    assert made("three", "--batch", "3") == one
    shards = [made(f"shard-{k}", "--shard", f"{k}/2", "--batch", "3") for k in range(2)]
    assert shards[0] | shards[1] == one
    assert not shards[0].keys() & shards[1].keys()
