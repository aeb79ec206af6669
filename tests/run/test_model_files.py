"""Clips belong to the content of the model's files: another checkpoint never goes on where the first one stopped."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import javisbench
from javisbench.api import merge
from javisbench.baselines.base import Generated, Generator, Plan, Request
from javisbench.baselines.fingerprint import content, deciding_files, difference, hash_files, library_files
from javisbench.baselines.registry import create_generator
from javisbench.clip import Clip, ClipSpec
from javisbench.durable import read_json, write_json
from javisbench.errors import MissingWeightsError, RunError
from javisbench.run.generate import GenerateSettings
from javisbench.suite import Suite
from javisbench.weights import WeightStore


class FromFile(Generator):
    """Pictures of the grey level that its checkpoint (in a weights folder) says."""

    card_id = "from-file"
    loads = 0

    def plan(self, spec: ClipSpec) -> Plan:
        return Plan(16, 16, 2, Fraction(8), 800, 8000)

    def files(self, weights: WeightStore) -> Mapping[str, tuple[Path, ...]]:
        folder = next((folder / "grey" for folder in weights.dirs if (folder / "grey").is_dir()), None)
        if folder is None:
            raise MissingWeightsError("The checkpoint is not here.")
        return {"network": library_files(folder)}

    def load(self, device: str, dtype: str, weights: WeightStore) -> None:
        type(self).loads += 1
        self.level = int(self.files(weights)["network"][0].read_text())

    def generate(self, batch: Sequence[Request]) -> Iterator[Generated]:
        for request in batch:
            frames = np.full((2, 16, 16, 3), self.level, np.uint8)
            yield Generated(request, Clip(frames, Fraction(8), np.full((1, 800), 0.1, np.float32), 8000))


MODEL = "python:grey_model:FromFile"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("grey_model")
    module.FromFile = FromFile  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "grey_model", module)
    monkeypatch.setattr(FromFile, "loads", 0)


@pytest.fixture
def suite(tiny_suite: Callable[..., Suite]) -> Suite:
    return tiny_suite("a", "b")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "weights", "40")


def checkpoint(folder: Path, level: str) -> Path:
    (folder / "grey").mkdir(parents=True, exist_ok=True)
    (folder / "grey/a.bin").write_text(level)
    (folder / "grey/config.json").write_text("{}")
    return folder


def make(suite: Suite, out: Path, *weights: Path, **settings: Any) -> Path:
    return javisbench.generate(MODEL, suite=suite, settings=GenerateSettings(**settings), out=out, weights_dirs=weights)


def test_hashes_stand_in_sidecars_and_manifest(suite: Suite, weights: Path, tmp_path: Path) -> None:
    run = make(suite, tmp_path / "run", weights)
    told = read_json(run / "run.json")["model"]["weights"]
    assert set(told) == {"network", "class"}
    assert set(told["network"]) == {"a.bin", "config.json"}
    assert told["network"]["a.bin"] == "d59eced1ded07f84c145592f65bdf854358e009c5cd705f5215bf18697fed103"
    assert read_json(run / "clips/sample_0001.json")["weights"] == told


def test_another_checkpoint_is_refused_by_name_and_made_with_overwrite(
    suite: Suite, weights: Path, tmp_path: Path
) -> None:
    run = make(suite, tmp_path / "run", weights)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name not in ("log.txt",)}
    checkpoint(weights, "41")
    with pytest.raises(
        RunError, match=r"2 clips .* other files of the model.*: network \(a\.bin\)\. .*--overwrite"
    ) as e:
        make(suite, run, weights)
    assert e.value.kind == "changed_weights"
    # Neither clips nor the manifest have changed by the refusal.
    assert {path: path.read_bytes() for path in before} == before
    assert FromFile.loads == 1
    make(suite, run, weights, overwrite=True)
    after = read_json(run / "run.json")["model"]["weights"]["network"]["a.bin"]
    assert after != read_json_bytes(before, run / "run.json")["model"]["weights"]["network"]["a.bin"]
    assert FromFile.loads == 2
    make(suite, run, weights)
    assert FromFile.loads == 2


def read_json_bytes(files: Mapping[Path, bytes], path: Path) -> Any:
    import json

    return json.loads(files[path])


def test_neither_place_nor_name_nor_neighbours_matter(suite: Suite, weights: Path, tmp_path: Path) -> None:
    run = make(suite, tmp_path / "run", weights)
    moved = tmp_path / "elsewhere/deeper"
    shutil.copytree(weights, moved)
    shutil.rmtree(weights)
    (moved / "grey/a.bin").rename(moved / "grey/b.bin")
    (moved / "grey/README.md").write_text("of the hub")
    (moved / "grey/.cache").mkdir()
    (moved / "grey/.cache/download.json").write_text("1")
    make(suite, run, moved)
    assert FromFile.loads == 1


def test_a_finished_run_needs_no_weights_and_an_unfinished_one_does(
    suite: Suite, weights: Path, tmp_path: Path
) -> None:
    run = make(suite, tmp_path / "run", weights)
    make(suite, run)
    assert read_json(run / "run.json")["model"]["weights"]["network"]
    (run / "clips/sample_0001.json").unlink()
    with pytest.raises(MissingWeightsError, match="not here"):
        make(suite, run)
    make(suite, run, weights)
    assert (run / "clips/sample_0001.json").exists()


def test_a_killed_run_goes_on_with_its_own_checkpoint_alone(suite: Suite, weights: Path, tmp_path: Path) -> None:
    run = make(suite, tmp_path / "run", weights)
    (run / "clips/sample_0001.json").unlink()
    checkpoint(weights, "90")
    with pytest.raises(RunError, match=r"1 clips .*sample_0000.*a\.bin"):
        make(suite, run, weights)
    checkpoint(weights, "40")
    make(suite, run, weights)


def test_clips_that_do_not_tell_their_checkpoint_are_refused(suite: Suite, weights: Path, tmp_path: Path) -> None:
    run = make(suite, tmp_path / "run", weights)
    for sidecar in run.glob("clips/*.json"):
        facts = read_json(sidecar)
        del facts["weights"]
        write_json(sidecar, facts)
    # The key holds the hashes: to take them away, or to write others, is another setting.
    with pytest.raises(RunError, match="other settings"):
        make(suite, run, weights)


def test_merge_refuses_shards_of_two_checkpoints(suite: Suite, weights: Path, tmp_path: Path) -> None:
    parts = [make(suite, tmp_path / "one.shard-0-of-2", weights, shard=(0, 2))]
    checkpoint(weights, "41")
    parts.append(make(suite, tmp_path / "one.shard-1-of-2", weights, shard=(1, 2)))
    with pytest.raises(RunError, match=r"other files of the model: network \(a\.bin\)"):
        merge(parts, out=tmp_path / "merged")
    checkpoint(weights, "40")
    make(suite, parts[1], weights, shard=(1, 2), overwrite=True)
    merge(parts, out=tmp_path / "merged")
    assert read_json(tmp_path / "merged/run.json")["model"]["weights"]["network"]["a.bin"].startswith("d59e")


def test_another_dtype_is_another_clip(suite: Suite, weights: Path, tmp_path: Path) -> None:
    run = make(suite, tmp_path / "run", weights)
    with pytest.raises(RunError, match="other settings"):
        make(suite, run, weights, dtype="bfloat16")


def test_scripts_of_programs_are_hashed_and_programs_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adapter.py").write_text("print()")
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o755)

    def files(command: str) -> Mapping[str, tuple[Path, ...]]:
        return deciding_files(create_generator(f"command:{command}"), WeightStore())

    assert files(f"{sys.executable} adapter.py --log out.txt") == {"script": (Path("adapter.py"),)}
    assert files("./run --fast") == {"script": (Path("run"),)}
    assert files(f"{sys.executable} -c pass") == {}


def test_differences_name_components_and_files() -> None:
    old = {"network": {"a": "1", "b": "2"}, "vae": {"v": "3"}, "gone": {"g": "4"}}
    new = {"network": {"a": "1", "b": "9"}, "vae": {"renamed": "3"}, "new": {"n": "5"}}
    assert difference(old, old) == []
    assert difference(old, new) == ["network (b)", "new (not recorded)", "gone (no longer used)"]
    assert difference({"n": {"a": "1", "b": "1"}}, {"n": {"a": "1"}}) == ["n (another number of equal files)"]
    assert content(old)["network"] == ["1", "2"]


def test_names_are_those_below_the_shared_folder(tmp_path: Path) -> None:
    for name in ("w/model/x.bin", "w/lora/y.bin"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(name)
    files = {"network": (tmp_path / "w/model/x.bin", tmp_path / "w/lora/y.bin")}
    assert set(hash_files(files, WeightStore())["network"]) == {"model/x.bin", "lora/y.bin"}
