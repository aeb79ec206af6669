"""The real side of set metrics: clips, statistics files, the reference evaluation's cache."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import javisbench
from javisbench.cli import run as cli
from javisbench.clip import Clip
from javisbench.errors import MetricError, ReferenceFeaturesError, UsageError
from javisbench.media import write_clip
from javisbench.protocol import V1, V2, Protocol
from javisbench.reference.real_side import ReferenceCache, default_reference, open_reference
from javisbench.reference.stored import StoredReference
from javisbench.reference.wanted import Wanted
from javisbench.suite import load_suite


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `fake` and `real` of three small clips each."""
    root, random = tmp_path_factory.mktemp("clips"), np.random.default_rng(7)
    for folder in ("fake", "real"):
        for row in range(3):
            frames = random.integers(0, random.integers(64, 256), (8, 32, 48, 3), dtype=np.uint8)
            write_clip(Clip(frames, Fraction(8), None, None), root / folder / f"sample_{row:04d}.mp4")
    return root


@pytest.fixture
def world(tmp_path: Path, clips: Path) -> Path:
    """Folders `fake` and `real` of three clips each, and a suite of four rows."""
    shutil.copytree(clips, tmp_path, dirs_exist_ok=True)
    (tmp_path / "s.csv").write_text("text,path\n" + "".join(f"p{i},real/sample_000{i}.mp4\n" for i in range(4)))
    return tmp_path


def fvd(world: Path, reference: Path | str | None, out: str, **more: Any) -> dict[str, Any]:
    result = javisbench.score(
        world / "fake", suite=str(world / "s.csv"), out=world / out, metrics=["fvd"], workers=1,
        reference=None if reference is None else str(reference), **more,
    )  # fmt: skip
    cell: dict[str, Any] = result.summary["metrics"]["fvd"]["overall"]
    return cell


@pytest.mark.usefixtures("cheap_set_metrics")
def test_a_folder_the_suite_and_a_built_file_give_the_same(world: Path) -> None:
    folder = fvd(world, world / "real", "a")
    assert folder["n"] == 3
    assert folder["value"] > 0
    file = world / "real.safetensors"
    assert cli(["reference", "build", "--suite", str(world / "s.csv"), "--out", str(file), "--quiet"]) == 0
    assert fvd(world, "suite", "b")["value"] == folder["value"]
    assert fvd(world, file, "c")["value"] == folder["value"]
    stored = StoredReference.load(file)
    assert stored.features[0].sample_ids == ("sample_0000", "sample_0001", "sample_0002")
    assert stored.facts["suite_hash"] == load_suite(str(world / "s.csv")).hash


@pytest.mark.usefixtures("cheap_set_metrics")
def test_a_missing_real_clip_leaves_its_pair_out(world: Path) -> None:
    (world / "real/sample_0001.mp4").unlink()
    result = javisbench.score(
        world / "fake", suite=str(world / "s.csv"), out=world / "a", metrics=["fvd"], reference=str(world / "real")
    )
    assert result.summary["metrics"]["fvd"]["overall"]["n"] == 2
    assert "missing_reference_clip" in set(result.failures["kind"])


@pytest.mark.usefixtures("cheap_set_metrics")
def test_statistics_of_another_protocol_or_suite_are_refused_by_name(world: Path) -> None:
    file = world / "real.safetensors"
    assert cli(["reference", "build", "--suite", str(world / "s.csv"), "--out", str(file), "--quiet"]) == 0
    with pytest.raises(ReferenceFeaturesError, match=r"made under javisbench-v1.*javisbench-v2"):
        fvd(world, file, "a", protocol="javisbench-v2")
    both = javisbench.score(
        world / "fake", suite=str(world / "s.csv"), out=world / "b", metrics=["fvd"], reference=str(file),
        protocol=["javisbench-v1", "javisbench-v2"],
    )  # fmt: skip
    other = javisbench.Result(both.folder, "javisbench-v2").summary["metrics"]["fvd"]["overall"]
    assert other["status"] == "missing_reference"
    assert both.summary["metrics"]["fvd"]["overall"]["status"] != "missing_reference"
    (world / "s.csv").write_text((world / "s.csv").read_text().replace("p1", "another prompt"))
    with pytest.raises(ReferenceFeaturesError, match="another sample set"):
        fvd(world, file, "c")


@pytest.mark.usefixtures("cheap_set_metrics")
def test_verify_names_every_changed_clip(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, suite = world / "real.safetensors", str(world / "s.csv")
    assert cli(["reference", "build", "--suite", suite, "--out", str(file), "--quiet"]) == 0
    assert cli(["reference", "verify", str(file), "--suite", suite]) == 0
    shutil.copy(world / "fake/sample_0000.mp4", world / "real/sample_0000.mp4")
    shutil.copy(world / "fake/sample_0000.mp4", world / "real/sample_0003.mp4")
    (world / "real/sample_0002.mp4").unlink()
    capsys.readouterr()
    assert cli(["reference", "verify", str(file), "--suite", suite]) == 2
    shown = capsys.readouterr().out
    assert "sample_0000: the clip has changed" in shown
    assert "sample_0003: a clip is here" in shown
    assert "sample_0002" in shown


def test_build_says_what_it_leaves_out_and_what_needs_no_reference(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = ["reference", "build", "--suite", str(world / "s.csv"), "--out", str(world / "a.safetensors")]
    assert cli([*build, "--metrics", "fvd,av_align"]) == 2
    assert "av_align score clip by clip" in capsys.readouterr().err
    assert cli([*build, "--metrics", "fad"]) == 2
    assert "javisbench weights fetch audioclip" in capsys.readouterr().err


def test_a_damaged_or_foreign_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ReferenceFeaturesError, match="no statistics file"):
        StoredReference.load(tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="none of these"):
        open_reference(str(tmp_path / "nothing"), load_suite("demo"))


def write_cache(path: Path, rows: int) -> None:
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    video = torch.arange(rows).float()[:, None].expand(rows, 400).clone()
    torch.save({"video": video, "audio": video[:, :1].expand(rows, 1024).clone()}, path)


def wanted(protocol: Protocol) -> Wanted:
    from javisbench.metrics.encoders.i3d import I3DEncoder
    from javisbench.metrics.encoders.set_specs import i3d_spec

    class Choice:
        cls = I3DEncoder
        weights = None

    return Wanted(i3d_spec(protocol), protocol, Choice())  # type: ignore[arg-type]


def test_the_cache_gives_a_part_of_the_suite_its_own_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"prompt {i},clips/{i}.mp4" for i in range(20)]
    (tmp_path / "JavisBench.csv").write_text("\n".join(["text,path", *rows]) + "\n")
    (tmp_path / "JavisBench-mini.csv").write_text("\n".join(["text,path", rows[7], rows[3], rows[19]]) + "\n")
    write_cache(tmp_path / "cache/fvd_fad/JavisBench-vanilla-max4s.pt", 20)
    monkeypatch.setenv("JAVISBENCH_SUITES", str(tmp_path))
    mini = load_suite("javisbench-mini")
    named = default_reference(mini, V1)
    assert named is not None
    assert default_reference(mini, V2) is None
    cache = ReferenceCache.load(Path(named))
    cache.check(mini, wanted(V1))
    found = cache.rows(mini, wanted(V1), lambda source: pytest.fail("nothing to encode"))
    assert [float(np.asarray(found[s.id])[0]) for s in mini] == [7.0, 3.0, 19.0]
    whole = load_suite("javisbench").limited(2)
    assert [float(np.asarray(r)[0]) for r in cache.rows(whole, wanted(V1), lambda s: pytest.fail("no")).values()] == [
        0,
        1,
    ]
    with pytest.raises(ReferenceFeaturesError, match="needs the real clips"):
        cache.check(mini, wanted(V2))
    write_cache(tmp_path / "other.pt", 5)
    with pytest.raises(ReferenceFeaturesError, match="belongs to another suite"):
        ReferenceCache.load(tmp_path / "other.pt").check(mini, wanted(V1))


def test_rows_are_never_taken_for_those_of_a_clip_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ["one,a/0.mp4", "two,b/0.mp4", "three,b/1.mp4", "three,b/2.mp4"]
    (tmp_path / "JavisBench.csv").write_text("\n".join(["text,path", *rows]) + "\n")
    (tmp_path / "JavisBench-mini.csv").write_text("\n".join(["text,path", rows[1], rows[3]]) + "\n")
    monkeypatch.setenv("JAVISBENCH_SUITES", str(tmp_path))
    write_cache(tmp_path / "cache.pt", 4)
    mini = load_suite("javisbench-mini")
    found = ReferenceCache.load(tmp_path / "cache.pt").rows(mini, wanted(V1), lambda source: pytest.fail("no"))
    assert [float(np.asarray(found[s.id])[0]) for s in mini] == [1.0, 3.0]
    (tmp_path / "JavisBench-mini.csv").write_text("text,path\nthree,c/0.mp4\n")
    with pytest.raises(ReferenceFeaturesError, match="no row for"):
        ReferenceCache.load(tmp_path / "cache.pt").check(load_suite("javisbench-mini"), wanted(V1))


def test_the_cache_has_nothing_for_other_encoders(tmp_path: Path) -> None:
    from javisbench.metrics.encoders.inception import InceptionEncoder
    from javisbench.metrics.encoders.set_specs import inception_spec

    class Choice:
        cls = InceptionEncoder
        weights = None

    write_cache(tmp_path / "cache.pt", 72)
    with pytest.raises(ReferenceFeaturesError, match=r"I3D and AudioCLIP alone, none of Inception v3 \(FID\)"):
        ReferenceCache.load(tmp_path / "cache.pt").check(
            load_suite("demo"),
            Wanted(inception_spec(V1), V1, Choice()),  # type: ignore[arg-type]
        )


@pytest.mark.usefixtures("cheap_set_metrics")
@pytest.mark.parametrize("side", ["fake", "real"])
def test_features_that_are_no_numbers_leave_their_pair_out(
    world: Path, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import javisbench.metrics.encoders.i3d as i3d
    from javisbench.media import read_clip

    encode, spoilt = i3d.I3DEncoder.encode, read_clip(world / side / "sample_0001.mp4").frames.mean()

    def spoil(self: Any, items: Any, specs: Any) -> Any:
        made = encode(self, items, specs)
        for clip, features in zip(items, made, strict=True):
            if clip.frames.mean() == spoilt:
                features.update({spec: {"embedding": np.full(3, np.nan, np.float32)} for spec in specs})
        return made

    monkeypatch.setattr(i3d.I3DEncoder, "encode", spoil)
    result = javisbench.score(
        world / "fake", suite=str(world / "s.csv"), out=world / "a", metrics=["fvd"], reference=str(world / "real")
    )
    assert result.summary["metrics"]["fvd"]["overall"]["n"] == 2
    failures = result.failures[result.failures["kind"] == "non_finite"]
    assert list(failures["sample_id"]) == ["sample_0001"]
    assert list(failures["stage"]) == ["encode" if side == "fake" else "reference"]


@pytest.mark.usefixtures("cheap_set_metrics")
def test_a_set_metric_that_refuses_is_a_cell_and_the_others_go_on(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import javisbench.metrics.fvd as fvd_module

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise MetricError("The sets cannot be compared.")

    monkeypatch.setattr(fvd_module.FVDMetric, "compute", refuse)
    result = javisbench.score(
        world / "fake", suite=str(world / "s.csv"), out=world / "a", metrics=["fvd", "health_black"],
        reference=str(world / "real"),
    )  # fmt: skip
    cell = result.summary["metrics"]["fvd"]["overall"]
    assert (cell["value"], cell["status"], cell["note"]) == (None, "failed", "The sets cannot be compared.")
    assert result.summary["metrics"]["health_black"]["overall"]["n"] == 3


def test_a_cache_of_something_else_is_refused(tmp_path: Path) -> None:
    import torch

    torch.save({"video": torch.zeros(3, 400), "audio": torch.zeros(2, 1024)}, tmp_path / "b.pt")
    with pytest.raises(ReferenceFeaturesError, match="`video` has 3 rows and `audio` 2"):
        ReferenceCache.load(tmp_path / "b.pt")

    torch.save({"video": torch.zeros(3, 10)}, tmp_path / "a.pt")
    with pytest.raises(ReferenceFeaturesError, match="must hold"):
        ReferenceCache.load(tmp_path / "a.pt")


@pytest.mark.usefixtures("cheap_set_metrics")
def test_a_set_has_the_first_clip_of_each_prompt_and_no_order_of_its_own(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import javisbench.metrics.fvd as fvd_module
    from javisbench.metrics.kvd import KVDMetric
    from javisbench.results.set_features import read_set_features

    # Three clips are too few for an interval of FVD, and enough for one of KVD.
    monkeypatch.setattr(fvd_module.FVDMetric, "compute", lambda _, *sets: KVDMetric().compute(*sets))
    once = fvd(world, world / "real", "once")
    assert once["n"] == 3 and once["ci_low"] is not None
    shutil.copy(world / "fake/sample_0001.mp4", world / "fake/sample_0000-1.mp4")
    shutil.copy(world / "fake/sample_0001.mp4", world / "fake/sample_0003-1.mp4")  # whose first clip is missing
    rows = [f"sample_000{i},p{i},real/sample_000{i}.mp4\n" for i in range(4)]
    (world / "s.csv").write_text("id,text,path\n" + "".join(reversed(rows)))
    assert fvd(world, "suite", "again") == once
    assert read_set_features(world / "again")["i3d"].sample_ids == ("sample_0000", "sample_0001", "sample_0002")
