"""Prompts of a run with pipelines of diffusers: encoded once, by a text encoder that is read once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import javisbench
from javisbench.baselines.base import Generated, Request
from javisbench.baselines.diffusers_models import DiffusersPipeline
from javisbench.baselines.diffusers_models.table import PIPELINES
from javisbench.clip import ClipSpec
from javisbench.durable import read_json, read_jsonl
from javisbench.errors import RunError
from javisbench.suite import Sample
from javisbench.weights import WeightStore

SPEC = ClipSpec(width=64, height=48, duration_s=0.5, sample_rate=8000)
SMALL = {"steps": "2", "width": "64", "height": "48", "frames": "5"}
TEXTS = ("a cat", "rain on a tin roof and a dog that barks")
STORED = [name for name, known in PIPELINES.items() if known.encoded]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The classes of text encoders that were read, one an item."""
    import transformers

    found: list[str] = []
    read = transformers.PreTrainedModel.from_pretrained.__func__

    def watched(cls: Any, *args: Any, **kwargs: Any) -> Any:
        found.append(cls.__name__)
        return read(cls, *args, **kwargs)

    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", classmethod(watched))
    return found


def made(folder: Path, store: Path | None, prepared: bool = True, **params: str) -> list[np.ndarray]:
    generator = DiffusersPipeline(str(folder), {**SMALL, **params})
    generator.part_of_cascade = True
    generator.prompt_folder = store
    plan = generator.plan(SPEC)
    generator.load("cpu", "float32", WeightStore())
    asked = [Request(Sample(text, 0, text), 0, 0, 5, plan, {"text": text}) for text in TEXTS]
    if prepared:
        generator.prepare(asked)
    answers = list(generator.generate(asked))
    generator.close()
    assert all(isinstance(answer, Generated) for answer in answers), answers
    return [answer.clip.frames for answer in answers if isinstance(answer, Generated)]


@pytest.mark.parametrize(
    "name", [name if name == "WanPipeline" else pytest.param(name, marks=pytest.mark.slow) for name in STORED]
)
def test_stored_prompts_make_the_clips_of_prompts(
    name: str, tiny_pipeline: Callable[..., Path], tmp_path: Path, reads: list[str]
) -> None:
    folder = tiny_pipeline(name)
    plain = made(folder, None)
    reads.clear()
    for prepared in (True, False):
        stored = made(folder, tmp_path / f"prompts-{prepared}", prepared)
        assert all(np.array_equal(one, other) for one, other in zip(plain, stored, strict=True))
    assert len(reads) == 2
    reads.clear()
    again = made(folder, tmp_path / "prompts-True", batch="2")
    assert reads == []
    # Two rows a call round otherwise.
    assert max(np.abs(one.astype(int) - other).max() for one, other in zip(plain, again, strict=True)) <= 1
    unguided = made(folder, tmp_path / "prompts-True", guidance="1"), made(folder, None, guidance="1")
    assert all(np.array_equal(one, other) for one, other in zip(*unguided, strict=True))


def test_a_run_reads_the_text_encoder_once_and_after_a_kill_not_again(
    tiny_pipeline: Callable[..., Path], tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_pipeline("WanPipeline")
    (tmp_path / "many.csv").write_text("text\n" + "".join(f"scene number {n}\n" for n in range(6)))
    run = {"model": f"diffusers:{folder}", "suite": str(tmp_path / "many.csv"), "params": {**SMALL, "steps": "1"}}
    whole = javisbench.generate(**run, out=tmp_path / "whole")
    assert reads == ["UMT5EncoderModel"]
    assert not (whole / "prompts").exists()
    calls = 0
    make = DiffusersPipeline._make

    def killed(self: DiffusersPipeline, *given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RunError("killed")
        return make(self, *given)

    monkeypatch.setattr(DiffusersPipeline, "_make", killed)
    reads.clear()
    with pytest.raises(RunError, match="killed"):
        javisbench.generate(**run, out=tmp_path / "cut")
    javisbench.generate(**run, out=tmp_path / "cut")
    assert reads == ["UMT5EncoderModel"]
    same_clips(whole, tmp_path / "cut", 6)


def same_clips(one: Path, other: Path, count: int) -> None:
    names = sorted(path.name for path in (one / "clips").glob("*.mp4"))
    assert len(names) == count
    assert [path.name for path in sorted((other / "clips").glob("*.mp4"))] == names
    assert read_jsonl(one / "failures.jsonl") == read_jsonl(other / "failures.jsonl") == []
    for name in names:
        assert (one / "clips" / name).read_bytes() == (other / "clips" / name).read_bytes(), name
        keys = [read_json(run / "clips" / f"{Path(name).stem}.json")["key"] for run in (one, other)]
        assert keys[0] == keys[1]


PROMPTS = int(os.environ.get("JAVISBENCH_PROMPTS", "10140"))
KILLS = 6


@pytest.mark.slow
def test_ten_thousand_prompts_survive_kills(tiny_pipeline: Callable[..., Path], tmp_path: Path) -> None:
    """As many prompts as JavisBench has: whole at once, and killed again and again; equal bytes, one read each."""
    folder = tiny_pipeline("WanPipeline")
    suite = tmp_path / "many.csv"
    suite.write_text("text\n" + "".join(f"scene number {n}\n" for n in range(PROMPTS)))
    script = tmp_path / "make.py"
    script.write_text(
        "import sys, transformers, javisbench\n"
        "read = transformers.PreTrainedModel.from_pretrained.__func__\n"
        "def watched(cls, *args, **kwargs):\n"
        f"    open({str(tmp_path / 'reads')!r} + sys.argv[1], 'a').write(cls.__name__ + '\\n')\n"
        "    return read(cls, *args, **kwargs)\n"
        "transformers.PreTrainedModel.from_pretrained = classmethod(watched)\n"
        f"javisbench.generate('diffusers:{folder}', suite={str(suite)!r}, out={str(tmp_path)!r} + '/' + sys.argv[1],\n"
        "    params={'steps': '1', 'width': '16', 'height': '16', 'frames': '1', 'guidance': '1',\n"
        "            'pipeline.max_sequence_length': '16'})\n"
    )
    subprocess.run([sys.executable, script, "whole"], check=True)
    clips = tmp_path / "cut/clips"
    for kill in range(KILLS):
        child = subprocess.Popen([sys.executable, script, "cut"])
        wanted = PROMPTS * (kill + 1) // (KILLS + 2) + kill
        while child.poll() is None and (not clips.is_dir() or len(list(clips.glob("*.json"))) < wanted):
            time.sleep(1)
        assert child.poll() is None, "it ended before it was to be killed"
        child.send_signal(signal.SIGKILL)
        child.wait()
    subprocess.run([sys.executable, script, "cut"], check=True)
    assert (tmp_path / "readswhole").read_text() == "UMT5EncoderModel\n"
    assert (tmp_path / "readscut").read_text() == "UMT5EncoderModel\n"
    same_clips(tmp_path / "whole", tmp_path / "cut", PROMPTS)
