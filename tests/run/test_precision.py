"""A faster precision keeps the protocol's name only when the run's own clips show no difference."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import javisbench
from javisbench.api import Result
from javisbench.errors import UsageError
from javisbench.matching import Item, Matched
from javisbench.media import ClipSource, read_clip, write_clip
from javisbench.metrics.encoders.clip import CLIPEncoder
from javisbench.metrics.encoders.i3d import I3DEncoder
from javisbench.metrics.encoders.onsets import OnsetEncoder
from javisbench.metrics.fvd import FVDMetric
from javisbench.protocol import V1
from javisbench.reference.wanted import EncoderChoice
from javisbench.results.run_folder import load_results
from javisbench.results.table import run_table
from javisbench.run.content_index import hash_sources
from javisbench.run.device import check_compiler
from javisbench.run.encode_session import EncodeSession, Precision, ways_of
from javisbench.run.features import FeatureStore
from javisbench.run.plan import ScorePlan
from javisbench.run.precision import _Rows
from javisbench.run.progress import Silent
from javisbench.run.score import ScoreSettings
from javisbench.suite import Sample


@pytest.fixture(scope="module")
def score(
    tmp_path_factory: pytest.TempPathFactory,
    clips_fake: Path,
    golden_json: Callable[[str], Any],
    seeded_weights: ModuleType,
) -> Callable[..., Result]:
    """Score sounds of two short golden clips with the stand-in ImageBind, beside text; the same way is gone once.

    Beside a sixteenth of the pixels, in which motion is found quickly.
    """
    import torch

    folder = tmp_path_factory.mktemp("precision")
    for name in ("clips", "weights"):
        (folder / name).mkdir()
    for row, number in enumerate((4, 9)):
        clip = read_clip(clips_fake / f"sample_{number:04d}.mp4")
        frames = np.ascontiguousarray(clip.frames[:, :240:4, :424:4])
        small = replace(clip, frames=frames, audio=None, sample_rate=None)
        write_clip(small, folder / "clips" / f"sample_{row:04d}.mp4", sidecar=False)
        shutil.copy(clips_fake / f"sample_{number:04d}.wav", folder / "clips" / f"sample_{row:04d}.wav")
    (folder / "s.csv").write_text("text\na\nb\n")
    shapes = {name: entry[0] for name, entry in golden_json("statedict_imagebind_tiny")["tensors"].items()}
    state = seeded_weights.seeded_state_dict(shapes, "imagebind", 0)
    torch.save({n: torch.from_numpy(a) for n, a in state.items()}, folder / "weights/imagebind_tiny.pth")

    @cache
    def run(precision: str, tolerance: float | None = None, *, compile: bool = False) -> Result:
        protocol = V1.name if tolerance is None else f"{V1.name}+precision_tolerance={tolerance}"
        out = folder / f"{precision}{f'-compiled-{tolerance}' if compile else ''}"
        return javisbench.score(
            folder / "clips", suite=str(folder / "s.csv"), out=out, metrics=["ta_ib", "av_align"],
            encoders={"imagebind": "tiny"}, weights_dirs=[folder / "weights"], workers=1, precision=precision,
            protocol=protocol, compile=compile,
        )  # fmt: skip

    return run


def test_bf16_is_recorded_and_named_by_what_it_moved(score: Callable[..., Result]) -> None:
    slow, fast = score("fp32"), score("bf16")
    assert slow.summary["run"]["precision"][slow.protocol] == {"precision": "fp32"}
    record = fast.summary["run"]["precision"][fast.protocol]
    moved = (slow.scores["ta_ib"] - fast.scores["ta_ib"]).abs().max()
    assert moved > 0, "bf16 must really have been used"
    assert record["largest_deviation"] == {"ta_ib": pytest.approx(moved, abs=1e-12)}
    assert record["clips_tried"] == 2
    assert fast.protocol.endswith("+bf16") == (moved > V1.precision_tolerance)
    assert slow.scores["av_align"].equals(fast.scores["av_align"])


def test_fp16_is_finer(score: Callable[..., Result]) -> None:
    exact, coarse, fine = (score(precision).scores["ta_ib"] for precision in ("fp32", "bf16", "fp16"))
    assert 0 < (fine - exact).abs().max() < 0.5 * (coarse - exact).abs().max()
    with pytest.raises(UsageError, match="fp32, tf32, bf16, fp16"):
        score("fp8")


def test_a_wide_tolerance_keeps_the_name_and_a_narrow_one_does_not(score: Callable[..., Result]) -> None:
    wide, narrow = score("bf16", tolerance=1.0), score("bf16", tolerance=1e-12)
    assert not wide.protocol.endswith("+bf16")
    assert narrow.protocol.endswith("+bf16")
    # Where the protocol's name does not say it, the table does.
    notes = {result.protocol: " ".join(run_table(result).notes) for result in load_results(wide.folder)}
    assert "networks in bf16. On the first 2 clips nothing moved by more than 1.0 from" in notes[wide.protocol]
    assert "bf16" not in notes[narrow.protocol]


def test_nothing_is_said_of_networks_where_none_took_part(score: Callable[..., Result]) -> None:
    wide = score("bf16", tolerance=1.0)
    (stored,) = [result for result in load_results(wide.folder) if result.protocol == wide.protocol]
    record = {**stored.run["precision"][wide.protocol], "largest_deviation": {}}
    run = {**stored.run, "precision": {wide.protocol: record}}
    without = replace(stored, document={**stored.document, "run": run})
    assert "networks" in " ".join(run_table(stored).notes)
    assert "networks" not in " ".join(run_table(without).notes)


def test_tf32_is_no_mode_of_a_cpu(score: Callable[..., Result]) -> None:
    with pytest.raises(UsageError, match="tf32 is a mode of NVIDIA's GPUs"):
        score("tf32")


def test_compiled_networks_are_tried_and_kept_apart(
    score: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def bent(module: torch.nn.Module) -> None:
        """As a compiler would that moves numbers; what it bends is bent in the same way at each call."""
        module.register_forward_hook(lambda _, __, out: out + 0.05 * torch.linspace(-1, 1, out.shape[-1]))

    monkeypatch.setattr(torch.nn.Module, "compile", bent)
    slow, fast = score("fp32"), score("fp32", tolerance=1.0, compile=True)
    record = fast.summary["run"]["precision"][fast.protocol]
    moved = (slow.scores["ta_ib"] - fast.scores["ta_ib"]).abs().max()
    assert moved > 1e-4, "the bent networks must really have been used"
    assert record["precision"] == "compiled"
    assert record["largest_deviation"] == {"ta_ib": pytest.approx(moved, abs=1e-12)}
    assert slow.scores["av_align"].equals(fast.scores["av_align"])
    assert "networks compiled. On the first 2 clips" in " ".join(run_table(load_results(fast.folder)[0]).notes)


@pytest.mark.slow  # 60 s of compiling
def test_compiled_networks_give_the_same_values(score: Callable[..., Result]) -> None:
    slow, fast = score("fp32"), score("fp32", compile=True)
    assert fast.protocol == slow.protocol
    np.testing.assert_allclose(fast.scores["ta_ib"], slow.scores["ta_ib"], rtol=0, atol=1e-5)


def test_ways_are_part_of_a_features_key_where_they_matter() -> None:
    ways = [ways_of(cls, "bf16", compiled=True) for cls in (I3DEncoder, OnsetEncoder, CLIPEncoder)]
    assert ways == ["bf16+compiled", "", "bf16"]
    assert ways_of(I3DEncoder, "fp32", compiled=False) == ""


def test_without_a_compiler_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UsageError, match="--compile needs a C\\+\\+ compiler: g\\+\\+ or clang"):
        check_compiler("cpu")
    monkeypatch.setenv("CXX", "/no/such/compiler")
    with pytest.raises(UsageError, match=r"/no/such/compiler \(\$CXX\) is not here"):
        check_compiler("cpu")


def test_features_of_set_metrics_are_compared_clip_by_clip(tmp_path: Path, clips_fake: Path) -> None:
    """One moves by a thousandth of its length, one is missing in both precisions, or in one."""
    sources = [
        ClipSource(f"{i}", path, path.with_suffix(".wav"))
        for i, path in enumerate(sorted(clips_fake.glob("*.mp4"))[:3])
    ]
    items = tuple(Item(Sample(source.sample_id, place, "a"), 0, source) for place, source in enumerate(sources))
    plan = ScorePlan([], {"i3d": EncoderChoice("i3d", "kinetics400", I3DEncoder, None)})
    spec = FVDMetric().needs(V1)
    contents = list(hash_sources(sources, 1, Silent()).hashes.values())
    row = np.random.default_rng(0).normal(size=400).astype(np.float32)

    def keep(content: str, precision: Precision, features: NDArray[Any]) -> None:
        store = FeatureStore(tmp_path / "features")
        session = EncodeSession(plan.encoders, store, "cpu", 1, 1, precision=precision)
        session.keep(content, {spec: {"embedding": features}})
        store.flush()

    def deviation() -> float:
        tried = Matched(items, (), "name")
        return _Rows(tmp_path, tried, plan, ScoreSettings(precision="bf16")).largest_deviation(spec)

    assert deviation() == 0.0
    keep(contents[0], "fp32", row)
    keep(contents[0], "bf16", row * np.float32(1.001))
    assert deviation() == pytest.approx(1e-3, rel=1e-3)
    keep(contents[1], "fp32", row)
    assert deviation() == 1.0
