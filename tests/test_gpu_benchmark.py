"""benchmarks/gpu.py without a GPU: what it makes of times, and that a phase costs no more than itself.

All phases run at tiny size in `make rehearse`.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.registry import METRICS
from javisbench.run.progress import ENCODING

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def gpu() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import gpu

        yield gpu
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_all_phases_fit_into_eight_minutes(gpu: Any) -> None:
    assert set(gpu.Size().limits_s) == set(gpu.PHASES) == set(gpu.TINY.limits_s)
    assert sum(gpu.Size().limits_s.values()) <= 480
    for size in (gpu.Size(), gpu.TINY):
        assert set(size.metrics) <= set(METRICS.own)
        for name, variant in size.variants.items():
            assert variant in ENCODERS.get(name).card.variants
    assert set(gpu.ENCODERS) <= set(ENCODERS.own)


SCRIPT = """
import sys, time
phase = sys.argv[sys.argv.index("--run-phase") + 1]
open(sys.argv[sys.argv.index("--out") + 1], "a").write('{"phase": "%s", "what": "result"}\\n' % phase)
if phase == "hangs":
    time.sleep(600)
sys.exit(3 if phase == "fails" else 0)
"""


def test_a_phase_that_hangs_or_fails_costs_its_own_results_alone(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "phases.py"
    script.write_text(SCRIPT, encoding="utf-8")
    monkeypatch.setattr(gpu, "__file__", str(script))
    size = gpu.Size(limits_s={"hangs": 1.0, "fails": 300.0, "runs": 300.0})
    out = tmp_path / "gpu.jsonl"
    good = gpu.run_phases(("hangs", "fails", "runs"), size, Namespace(out=out, device="cpu", rehearse=False))
    assert not good
    told = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    # The one that hangs may not even have begun within its second.
    assert [line["phase"] for line in told if line["what"] == "result"][-2:] == ["fails", "runs"]
    assert [line["status"] for line in told if line["what"] == "phase"] == [
        "stopped after 1 s",
        "failed with status 3",
        "done",
    ]
    assert gpu.run_phases(("runs",), size, Namespace(out=out, device="cpu", rehearse=False))


def test_the_pace_is_that_of_the_second_half_of_encoding(gpu: Any) -> None:
    clock = gpu.Clock()
    clock.seconds = 100.0
    trial = {"title": ENCODING, "total": 4, "begun_s": 0.0, "advances_s": [5.0, 9.0, 9.5, 10.0], "ended_s": 10.0}
    # Ten clips; the first half is slow, as networks are loaded and kernels chosen.
    times = [30.0, 31.0, 32.0, 33.0, 40.0, 40.5, 41.0, 41.5, 42.0, 42.5]
    clock.stages = [trial, {"title": ENCODING, "total": 10, "begun_s": 12.0, "advances_s": times, "ended_s": 43.0}]
    told = clock.report(10)
    assert told["clips_per_s"] == 2.0
    assert told["extrapolated"] == {"clips": 10140, "minutes": round((100 + 10130 / 2) / 60, 1)}
    assert told["stages_s"] == [[ENCODING, 4, 10.0], [ENCODING, 10, 31.0]]


class _Network(nn.Module):
    def __init__(self, fits: int) -> None:
        super().__init__()
        self.fits = fits
        self.seen: list[tuple[int, ...]] = []

    def forward(self, video: Tensor, text: Tensor, *, fps: float, mask: None) -> Tensor:
        self.seen.append((len(video), len(text)))
        if len(video) > self.fits:
            raise torch.cuda.OutOfMemoryError("no memory")
        return video


def test_a_step_of_several_clips_has_two_rows_of_each(gpu: Any) -> None:
    network = _Network(fits=4)
    call = (torch.zeros(2, 3), torch.zeros(2, 5, 4)), {"fps": 24.0, "mask": None}
    for clips in (1, 2):
        told = gpu.step_of(network, *call, clips, "cpu")
        assert told["clips"] == clips and told["seconds_per_clip"] >= 0
    assert set(network.seen) == {(2, 2), (4, 4)}
    assert gpu.step_of(network, *call, 4, "cpu") == {"clips": 4, "error": "out of memory"}


def test_utilisation_is_a_share_of_all_cores(gpu: Any) -> None:
    if not Path("/proc/stat").exists():
        pytest.skip("needs /proc")
    busy, everything = gpu.cpu_ticks()
    assert 0 < busy <= everything


def test_without_a_gpu_the_rehearsal_is_named(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="--rehearse"):
        gpu.default_device(rehearse=False)
    assert gpu.default_device(rehearse=True) == "cpu"


def test_clips_are_distinct_and_have_prompts(gpu: Any, tmp_path: Path) -> None:
    for number in (1, 2):
        gpu.write_one(tmp_path, number, 0.25)
    files = sorted(tmp_path.glob("*.mp4"))
    assert len(files) == 2 and files[0].read_bytes() != files[1].read_bytes()
    assert all(file.with_suffix(".txt").read_text(encoding="utf-8") for file in files)
