"""`javisbench reproduce` on the command line, with recipes and results from everywhere, and one job from end to end."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import javisbench
from javisbench.cli import run as cli
from javisbench.clip import Clip
from javisbench.media import write_clip
from javisbench.publish.archive import pack
from javisbench.results.recipes import known_recipes, read_recipe


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert cli(["reproduce", *words]) == code
    captured = capsys.readouterr()
    return captured.err if code == 2 else captured.out


def test_list_and_show_tell_what_can_be_done_and_what_is_doubtful(capsys: pytest.CaptureFixture[str]) -> None:
    out = told(capsys, "list")
    assert all(name in out for name in known_recipes()) and "checked only" in out
    listed = json.loads(told(capsys, "list", "--json"))
    assert {entry["id"]: entry["kind"] for entry in listed}["universe-1"] == "check"
    out = told(capsys, "show", "javisdit-v1.0-65-frames")
    for part in (
        "neither is preferred",
        "--model javisdit",
        "141.5",
        "10,140",
        "Table 1",
        "Doubtful:",
        "one seed a process",
    ):
        assert part in out, part
    assert json.loads(told(capsys, "show", "omniforcing", "--json"))["expected"][0]["value"] == 137.2
    assert "Did you mean" in told(capsys, "show", "omniforcin", code=2)


def test_a_dry_run_prints_a_command_and_does_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = told(capsys, "run", "javisdit-v0.1", "--dry-run", "--limit", "10")
    assert out.startswith("javisbench eval --model javisdit:v0.1 -M steps=30 ") and out.rstrip().endswith("--limit 10")
    words = json.loads(told(capsys, "run", "avgen-bench-ovi", "--clips", "there", "--dry-run", "--json"))["command"]
    assert words[:3] == ["javisbench", "score", "there"]
    out = told(capsys, "run", "synchformer-av-syncbench", "--clips", "there", "--dry-run")
    assert "validate-metrics --av-syncbench there" in out
    assert not list(tmp_path.iterdir())
    out = told(capsys, "run", "mmaudio-small-16k-vggsound", "--dry-run", "--data-root", str(tmp_path))
    assert f"--suite vggsound:{tmp_path} " in out
    assert "goes with one of" in told(capsys, "run", "javisdit-v0.1", "--data-root", str(tmp_path), code=2)
    assert "checked only" in told(capsys, "run", "universe-1", code=2)


def test_a_result_is_checked_from_wherever_it_lies(
    write_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder, a summary alone, and the reference evaluation's file; of a run's protocols, the recipe's."""
    run = write_run("Alpha", metrics=("av_align",), protocol="javisbench-v2")
    write_run("Alpha", metrics=("av_align",), shift=0.2, folder="alpha-00000000/demo/protocols/javisbench-v1")
    recipe = tmp_path / "mine.toml"
    told(capsys, "new", str(run), "--protocol", "javisbench-v1", "--out", str(recipe), "--source", "A paper, Table 3")
    assert read_recipe(recipe).expected[0].source == "A paper, Table 3"
    document = json.loads(told(capsys, "check", str(run), str(recipe), "--json", "--strict"))
    assert document["verdict"] == "equal" and "javisbench-v1" in document["result"]
    out = told(capsys, "check", str(run), str(recipe), "--protocol", "javisbench-v2", "--strict", code=1)
    assert "1 differs." in out and "1. Protocol" in out
    out = told(capsys, "check", str(run / "protocols/javisbench-v1/summary.json"), str(recipe))
    assert "1 equal." in out
    assert "it has javisbench-v2, javisbench-v1" in told(
        capsys, "check", str(run), str(recipe), "--protocol", "x", code=2
    )
    theirs = tmp_path / "theirs.json"
    theirs.write_text('{"av_align": {"overall": 0.9, "all": [0.8, 1.0]}, "fvd": NaN}')
    out = told(capsys, "check", str(theirs), str(recipe))
    assert "1 cannot tell." in out and "Protocol" not in out
    theirs.write_text('{"something": 1}')
    assert "has schema None" in told(capsys, "check", str(theirs), str(recipe), code=2)


def clips(folder: Path, n: int = 12) -> None:
    """Something flashes and beeps."""
    folder.mkdir()
    for number in range(n):
        rng = np.random.default_rng(number)
        frames = rng.integers(0, 40, (12, 36, 64, 3)).astype(np.uint8)
        audio = 0.001 * rng.standard_normal((1, 16000)).astype(np.float32)
        for frame in range(3 + number % 4, 12, 4):
            frames[frame, 8:28, 8:40] = 230
            audio[:, frame * 1333 : frame * 1333 + 400] += 0.5
        write_clip(Clip(frames, Fraction(12), audio, 16000, "sidecar"), folder / f"sample_{number:04d}.mp4")


def test_an_author_ships_a_recipe_and_a_reader_repeats_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From clips to a recipe, an archive, and a second scoring of the same clips by the recipe: the same numbers."""
    clips(tmp_path / "clips")
    suite = tmp_path / "mine.csv"
    suite.write_text("text\n" + "".join(f"Number {n} flashes\n" for n in range(12)), encoding="utf-8")
    run = tmp_path / "run"
    javisbench.score(
        tmp_path / "clips", suite=str(suite), metrics=["av_align", "health_*"], name="Mine", out=run, workers=1,
        device="cpu",
    )  # fmt: skip
    recipe = tmp_path / "paper.toml"
    told(capsys, "new", str(run), "--out", str(recipe))
    assert read_recipe(recipe).kind == "score" and read_recipe(recipe).sound == "sidecar"
    archive = pack(run, tmp_path / "run.zip")
    assert json.loads(told(capsys, "check", str(archive), str(recipe), "--json"))["verdict"] == "equal"
    asked = ["--clips", str(tmp_path / "clips"), "--suite", str(suite), "--out", str(tmp_path / "again")]
    out = told(capsys, "run", str(recipe), *asked, "--workers", "1", "--device", "cpu", "--json", "-q")
    again = json.loads(out)
    assert again["verdict"] == "equal" and all(row["deviation"] == 0 for row in again["rows"])
    assert again["causes"] == []
    # The sound of the mp4 in place of the wav: another number, and the cause named first.
    for path in (tmp_path / "clips").glob("*.wav"):
        path.unlink()
    shutil.rmtree(tmp_path / "again")
    changed = javisbench.reproduce(recipe, tmp_path / "clips", suite=suite, out=tmp_path / "again", device="cpu")
    assert changed.causes[0].topic == "sound"
    assert "sound: tracks in the clips / files beside the clips" in [d.line for d in changed.causes[0].differences]


@pytest.mark.slow
def test_known_changes_of_made_runs_are_named_first(tmp_path: Path) -> None:
    """Clips that are really made and scored: another protocol, length, size, seed, and the sound of the mp4."""
    from dataclasses import replace

    from javisbench.results.reproduction import check, recipe_of
    from javisbench.results.run_folder import load_protocol, load_result
    from javisbench.run.generate import GenerateSettings
    from javisbench.suite import load_suite

    setting = javisbench.ClipSpec(width=64, height=36, duration_s=2.0, fps=Fraction(12), sample_rate=16000)

    def made(name: str, seed: int = 0, protocols: tuple[str, ...] = ("javisbench-v1",), **changes: Any) -> Path:
        suite = replace(load_suite("demo"), setting=replace(setting, **changes))
        javisbench.evaluate(
            "procedural", suite=suite, limit=24, out=tmp_path / name, metrics=["av_align", "health_*"], workers=1,
            protocols=protocols, device="cpu", settings=GenerateSettings(seed=seed),
        )  # fmt: skip
        return tmp_path / name

    base = made("base", protocols=("javisbench-v1", "javisbench-v2"))
    recipe = recipe_of(load_result(base), "base")
    assert check(load_result(base), recipe).verdict == "equal"
    found = {
        "protocol": check(load_protocol(base, "javisbench-v2"), recipe),
        "frames": check(load_result(made("short", duration_s=1.0)), recipe),
        "resolution": check(load_result(made("small", width=32, height=18)), recipe),
        "seed": check(load_result(made("seed", seed=1)), recipe),
    }
    (tmp_path / "tracks").mkdir()
    for clip in (base / "clips").glob("*.mp4"):
        shutil.copy(clip, tmp_path / "tracks")
    suite = replace(load_suite("demo"), setting=setting)
    javisbench.score(
        tmp_path / "tracks", suite=suite, limit=24, out=tmp_path / "sound", metrics=["av_align", "health_*"],
        workers=1, device="cpu",
    )  # fmt: skip
    found["sound"] = check(load_result(tmp_path / "sound"), recipe)
    assert {topic: reproduction.causes[0].topic for topic, reproduction in found.items()} == {t: t for t in found}
    assert all(reproduction.rows[0].deviation for topic, reproduction in found.items() if topic != "resolution")
    # So few clips have a wide margin; where it is none, two protocols differ.
    none = replace(
        recipe, expected=tuple(replace(v, tolerance=0.0, ci_low=v.value, ci_high=v.value) for v in recipe.expected)
    )
    assert check(load_protocol(base, "javisbench-v2"), none).verdict == "differs"


def test_a_metric_that_nobody_has_is_not_asked_for(
    write_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, recipe = write_run("Alpha", metrics=("tv_ib",)), tmp_path / "paper.toml"
    told(capsys, "new", str(run), "--out", str(recipe))
    recipe.write_text(recipe.read_text().replace('metric = "tv_ib"', 'metric = "tv_id"'))
    out = told(capsys, "check", str(run), str(recipe))
    assert "no metric of javisbench or of an installed package is called tv_id" in out and "javisbench score" not in out
    assert "Give --out" in told(capsys, "new", str(run), "--out", str(tmp_path / "paper.csv"), code=2)
    assert not (tmp_path / "paper.csv").exists()


def test_what_was_not_computed_is_one_command(write_run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run("Alpha", suite="javisbench", metrics=("tv_ib", "desync"))
    out = told(capsys, "check", str(run), "javisdit-v1.0-65-frames")
    (line,) = [line for line in out.splitlines() if "not computed in this run" in line]
    assert line.endswith("--metrics fvd,fad,ta_ib,clip_score,clap_score,av_ib,avh_score,javis_score")
    assert "8 not run." in out
    (row,) = [line.split() for line in out.splitlines() if line.startswith("fvd ")]
    assert row == ["fvd", "141.5", "-", "-", "-", "-", "±3.5", "not", "run"]


@pytest.mark.slow
def test_a_metric_on_trial_is_run_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder laid out as AV-SyncBench is, and a recipe that expects what its three pairs show."""
    clips(tmp_path / "original_video", 3)
    (tmp_path / "edited_audio").mkdir()
    rows = []
    for path in sorted((tmp_path / "original_video").glob("*.mp4")):
        shutil.copy(path.with_suffix(".wav"), tmp_path / "edited_audio")
        row = {"sample_id": path.stem, "original_video": f"original_video/{path.name}", "edit_type": "time_shifted",
               "edited_audio": f"edited_audio/{path.stem}.wav", "offset_ms": 500, "direction": "delay"}  # fmt: skip
        rows.append(json.dumps(row))
    (tmp_path / "metadata.jsonl").write_text("\n".join(rows), encoding="utf-8")
    recipe = tmp_path / "trial.toml"
    recipe.write_text(
        'schema = 1\ntitle = "A trial"\nkind = "trial"\nsource = "x"\n[suite]\nname = "av-syncbench"\n'
        '[model]\nname = "AV-Align"\n[scoring]\nmetrics = ["av_align"]\n'
        '[[expected]]\nmetric = "av_align"\nslice = "time_shifted=500"\nvalue = 0.0\ntolerance = 0.1\n'
        'tolerance_from = "equal sounds are ties, which are wrong"\n',
        encoding="utf-8",
    )
    asked = ["run", str(recipe), "--clips", str(tmp_path), "--out", str(tmp_path / "out"), "--device", "cpu", "--json"]
    document = json.loads(told(capsys, *asked, "-q"))
    (row,) = document["rows"]
    assert row["value"] == 0.0 and row["n"] == 3 and row["verdict"] == "equal"
    out = told(capsys, "check", str(tmp_path / "out"), str(recipe))
    assert "1 equal." in out
