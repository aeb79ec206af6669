"""Trials of metrics whose sight is known: what they are said to see, and what a trial survives."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from javisbench.cli import run
from javisbench.clip import Clip, ClipSpec
from javisbench.damages import DAMAGES, DamageCard, TrialDamage
from javisbench.errors import SystemFaultError, UsageError
from javisbench.leaderboard.trial_page import write_trial_page
from javisbench.media import read_clip, write_clip
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.registry import METRICS
from javisbench.results.trial import Effect, MetricTrial, RecordedTrial, Trial, read_trial
from javisbench.run.scoring_job import ScoringOptions
from javisbench.run.trial.cases import default_cases, parse_cases
from javisbench.run.trial.job import Finished, TrialOptions, damage_trial, pair_trial
from javisbench.run.trial.material import generator_for, in_step
from javisbench.run.trial.pairs import read_av_syncbench, read_pairs
from javisbench.suite import Suite, load_suite

RATE, FPS, LENGTH_S = 8000, 25, 4
CLIPS = 16
OURS = ("offset", "offset_down", "chance", "constant", "colours")
MILD = "shift=160,640;shift_circular=160,640,1280;masked=40,80;volume=-6;mono"


@pytest.fixture
def flash_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metrics of flash_metrics.py, known by name."""
    know_flash_metrics(monkeypatch)


def know_flash_metrics(patch: pytest.MonkeyPatch) -> None:
    patch.syspath_prepend(Path(__file__).parent)
    names = dict(zip(OURS, ("Offset", "OffsetDown", "Chance", "Constant", "Colours"), strict=True))
    own = {name: f"flash_metrics:{cls}" for name, cls in names.items()}
    patch.setattr(METRICS, "_own", {**METRICS._own, **own})
    patch.setattr(ENCODERS, "_own", {**ENCODERS._own, "times": "flash_metrics:Times"})


def flash_clip(seed: int, *, late_s: float = 0.0) -> Clip:
    """A flash between 1.4 and 2.6 s, a click with it or later, on a ground and over a hum of the clip's own."""
    random = np.random.default_rng(seed)
    frames = np.repeat(random.integers(60, 100, (1, 32, 48, 3), dtype=np.uint8), FPS * LENGTH_S, axis=0)
    at = int(random.integers(35, 65))
    frames[at] = 250
    audio = 0.01 * np.sin(np.arange(RATE * LENGTH_S) * random.uniform(0.1, 0.3))
    audio[round((at / FPS + late_s) * RATE)] = 0.9
    return Clip(frames, Fraction(FPS), audio.astype(np.float32)[None], RATE, "sidecar")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 clips, one more without sound, one broken; the suite beside them names two more."""
    root = tmp_path_factory.mktemp("flashes")
    rows = [f"s{place:02d},flash {place},{place % 3}" for place in range(CLIPS + 4)]
    (root / "suite.csv").write_text("\n".join(["id,text,cat2_ind", *rows]) + "\n")
    for place in range(CLIPS):
        write_clip(flash_clip(place), root / "clips" / f"s{place:02d}.mp4")
    mute = flash_clip(CLIPS)
    write_clip(Clip(mute.frames, mute.fps, None, None), root / "clips" / "s16.mp4")
    (root / "clips" / "s17.mp4").write_bytes(b"no video")
    return root


def options(metrics: Sequence[str] = OURS, damages: str | None = MILD, **more: Any) -> TrialOptions:
    scoring = ScoringOptions(metrics=list(metrics), workers=2, device="cpu")
    return TrialOptions(damages, scoring, cost=more.pop("cost", False), **more)


def suite_of(root: Path, limit: int = CLIPS + 4) -> Suite:
    return load_suite(str(root / "suite.csv")).limited(limit)


def by_case(found: Finished, metric: str) -> dict[str, Effect]:
    tested = found.trial.of(metric)
    assert tested is not None
    return {effect.case: effect for effect in tested.effects}


@pytest.fixture(scope="module")
def finished(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One trial that several tests look at."""
    with pytest.MonkeyPatch.context() as patch:
        know_flash_metrics(patch)
        out = tmp_path_factory.mktemp("trial") / "out"
        return damage_trial(suite_of(clips), clips / "clips", options(out=out, cost=True))


def test_a_metric_that_is_the_true_shift_sees_every_shift(finished: Finished) -> None:
    for metric in ("offset", "offset_down"):
        found = by_case(finished, metric)
        for dose in ("shift=160", "shift=640", "shift_circular=160", "shift_circular=1280"):
            effect = found[dose]
            assert (effect.auroc, effect.auroc_low, effect.accuracy_strict, effect.verdict) == (1, 1, 1, "seen"), dose
            # Flash and click are told to half a frame.
            assert effect.effect == pytest.approx(effect.dose / 1000, abs=0.5 / FPS)  # type: ignore[operator]
        assert found["volume=-6"].verdict == "kept"
        sentence = finished.trial.of(metric).sentence()  # type: ignore[union-attr]
        assert sentence.startswith("sees shift from 160 ms, shift_circular from 160 ms")
    curve = finished.trial.of("offset").curves[1]  # type: ignore[union-attr]
    assert curve.damage == "shift_circular" and curve.monotony == 1.0


def test_a_random_metric_has_a_half_within_its_interval_and_a_constant_one_is_blind(finished: Finished) -> None:
    for case, effect in by_case(finished, "chance").items():
        if effect.kind == "harm":
            assert effect.auroc_low is not None and effect.auroc_high is not None
            assert effect.auroc_low < 0.5 < effect.auroc_high, case
            assert effect.verdict == "unseen"
    constant = finished.trial.of("constant")
    assert constant is not None and constant.sentence() == "blind: no damage changes its value"


def test_a_set_metric_is_told_by_the_growth_of_its_distance(finished: Finished) -> None:
    found = by_case(finished, "colours")
    assert found["shift=160"].verdict == "blind"
    assert found["masked=80"].verdict == "seen"
    assert found["masked=80"].effect > found["masked=40"].effect > 0  # type: ignore[operator]


def test_what_could_not_be_used_or_damaged_is_said(finished: Finished) -> None:
    trial = finished.trial
    assert trial.left_out.keys() == {"s16", "s17", "s18", "s19"}
    assert trial.left_out["s16"] == "the clip has no sound that could be damaged"
    assert trial.left_out["s18"] == "there is no clip"
    mono = by_case(finished, "offset")["mono"]
    assert (mono.pairs, mono.n, mono.without_value) == (CLIPS, 0, 1.0)
    assert mono.lacking == {"the sound is mono already": CLIPS}
    assert trial.material["clips"] == CLIPS


def test_a_trial_is_a_folder_that_reads_back(finished: Finished) -> None:
    assert read_trial(finished.folder) == finished.trial
    frame = pd.read_parquet(finished.folder / "trial.parquet")
    assert len(frame) == len(finished.trial.effects)
    assert set(finished.cost_s) == set(OURS)
    assert all(0 < seconds < 60 for seconds in finished.cost_s.values())
    assert not any("seconds" in line for line in (finished.folder / "trial.json").read_text().split())


def test_only_the_damaged_stream_is_another_file(finished: Finished) -> None:
    folder = finished.folder / "clips" / "s00"
    made = {path.name for path in folder.iterdir()}
    assert {"good.mp4", "good.wav", "window-700.mp4", "window-700.wav", "masked=40.mp4", "shift=160.wav"} < made
    assert not {"masked=40.wav", "shift=160.mp4", "mono.wav"} & made
    good, late = (read_clip(folder / "window-700.mp4", folder / name) for name in ("window-700.wav", "shift=640.wav"))
    assert good.audio is not None and late.audio is not None
    lag = np.argmax(np.abs(late.audio[0])) - np.argmax(np.abs(good.audio[0]))
    assert lag == 0.64 * RATE


def wait_for(found: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while not found():
        assert process.poll() is None and time.monotonic() < end, "the trial ended before it could be killed"
        time.sleep(0.02)


def test_a_trial_that_was_killed_goes_on_and_ends_with_the_same_bytes(clips: Path, tmp_path: Path) -> None:
    damages = "shift=160;masked=40;swapped"
    args = [
        "validate-metrics", "--clips", str(clips / "clips"), "--suite", str(clips / "suite.csv"), "--limit", "4",
        "--damages", damages, "--metrics", "health_silence,health_frozen", "--quiet", "--workers", "1",
        "--device", "cpu",
    ]  # fmt: skip
    assert run([*args, "--out", str(tmp_path / "whole")]) == 0
    killed = tmp_path / "killed"
    with subprocess.Popen([sys.executable, "-m", "javisbench", *args, "--out", str(killed)]) as process:
        wait_for(lambda: len(list(killed.glob("clips/*/copies.json"))) >= 2, process)
        process.kill()
    assert not (killed / "trial.json").exists()
    stamps = {path: path.stat().st_mtime_ns for path in (killed / "clips/s00").glob("*.mp4")}
    assert stamps
    assert run([*args, "--out", str(killed)]) == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}, "what was whole is not made again"
    for name in ("trial.json", "trial.parquet"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.usefixtures("flash_metrics")
def test_more_may_be_asked_of_the_same_clips(clips: Path, tmp_path: Path) -> None:
    suite, folder, out = suite_of(clips, 4), clips / "clips", tmp_path / "out"
    damage_trial(suite, folder, options(("offset",), "masked=40", out=out))
    more = damage_trial(suite_of(clips, 5), folder, options(("chance",), "masked=40,60", out=out))
    assert [(effect.case, effect.n) for effect in more.trial.effects] == [("masked=40", 5), ("masked=60", 5)]
    with pytest.raises(UsageError, match="other clips or another seed"):
        damage_trial(suite, folder, options(out=out, seed=3))


@pytest.mark.usefixtures("flash_metrics")
def test_copies_can_be_dropped_and_are_made_again_when_a_clip_has_changed(clips: Path, tmp_path: Path) -> None:
    root = tmp_path / "own"
    shutil.copytree(clips, root)
    suite = suite_of(root, 3)
    out = tmp_path / "out"
    first = damage_trial(suite, root / "clips", options(("offset",), "shift=160", out=out, keep_clips=False))
    assert not (out / "clips").exists() and (out / "trial.json").is_file()
    again = damage_trial(suite, root / "clips", options(("offset",), "shift=160", out=out))
    assert again.trial == first.trial
    write_clip(flash_clip(0, late_s=0.2), root / "clips" / "s00.mp4")
    changed = damage_trial(suite, root / "clips", options(("offset",), "shift=160", out=out))
    assert changed.trial != first.trial


@pytest.mark.usefixtures("flash_metrics")
def test_sounds_of_the_same_and_of_another_category(clips: Path, tmp_path: Path) -> None:
    found = damage_trial(
        suite_of(clips, 5), clips / "clips", options(("offset",), "swapped;swapped_same;swapped_other", out=tmp_path)
    )

    def heard(sample: str, name: str) -> Any:
        return read_clip(tmp_path / "clips" / sample / "good.mp4", tmp_path / "clips" / sample / f"{name}.wav").audio

    # Categories of sound go 0, 1, 2, 0, 1.
    np.testing.assert_array_equal(heard("s00", "swapped"), heard("s01", "good"))
    np.testing.assert_array_equal(heard("s00", "swapped_same"), heard("s03", "good"))
    np.testing.assert_array_equal(heard("s04", "swapped_other"), heard("s00", "good"))
    assert by_case(found, "offset")["swapped_same"].lacking == {"no other clip is of its category": 1}


@pytest.mark.usefixtures("flash_metrics")
def test_metrics_that_have_no_value_of_a_damage_do_not_end_the_trial(clips: Path, tmp_path: Path) -> None:
    found = damage_trial(
        suite_of(clips, 4), clips / "clips", options(("offset",), "black;silent;shift=160", out=tmp_path)
    )
    effects = by_case(found, "offset")
    assert effects["black"].lacking == {"The picture is dark.": 4}
    assert effects["silent"].lacking == {"Nothing is heard.": 4}, "to which it does not apply"
    assert (effects["black"].n, effects["black"].verdict, effects["shift=160"].n) == (0, "untested", 4)


@pytest.mark.usefixtures("flash_metrics")
def test_clips_too_short_for_a_shift_are_counted(clips: Path, tmp_path: Path) -> None:
    found = damage_trial(suite_of(clips, 3), clips / "clips", options(("offset",), "shift=1600,160", out=tmp_path))
    effects = by_case(found, "offset")
    assert list(effects) == ["shift=1600", "shift=160"], "in the order asked for, whatever could be made"
    assert list(effects["shift=1600"].lacking.values()) == [3]
    assert "too short for shift=1600" in next(iter(effects["shift=1600"].lacking))
    assert effects["shift=160"].n == 3


def test_nothing_is_done_for_what_cannot_be_tested(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAVISBENCH_WEIGHTS", raising=False)
    suite, out = suite_of(clips), tmp_path / "out"
    for metrics, damages, message in (
        (["av_algn"], "silent", "Did you mean 'av_align'"),
        (["av_align"], "silnt", "Did you mean 'silent'"),
        (["javis_score"], "silent", "weights fetch imagebind_huge"),
        (["health_loudness"], "silent", "neither direction is better"),
    ):
        with pytest.raises(UsageError, match=message):
            damage_trial(suite, clips / "clips", options(metrics, damages, out=out))
    assert not out.exists()
    with pytest.raises(UsageError, match=r"At least two clips with sound .* 1 of 1 could be used"):
        damage_trial(suite_of(clips, 1), clips / "clips", options(["av_align"], "silent", out=tmp_path / "one"))
    (tmp_path / "full/clips").mkdir(parents=True)
    with pytest.raises(UsageError, match="something else than a trial"):
        damage_trial(suite, clips / "clips", options(["av_align"], "silent", out=tmp_path / "full"))


def test_a_full_disk_is_foreseen(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 1000))  # type: ignore[attr-defined]
    with pytest.raises(SystemFaultError, match=r"no room for the copies: .* MiB a clip"):
        damage_trial(suite_of(clips, 3), clips / "clips", options(["av_align"], "silent", out=tmp_path))


class Broken(TrialDamage):
    """A damage of another package with a defect."""

    card = DamageCard("broken", "Broken", "picture", "Nothing good.")

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        raise ZeroDivisionError("oh")


@pytest.mark.usefixtures("flash_metrics")
def test_a_damage_with_a_defect_costs_its_own_column(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DAMAGES, "_own", {**DAMAGES._own, "broken": f"{__name__}:Broken"})
    with pytest.raises(ZeroDivisionError):
        damage_trial(suite_of(clips, 3), clips / "clips", options(("offset",), "broken", out=tmp_path))
    package = SimpleNamespace(label="someones-plugin 1.0")
    monkeypatch.setattr(DAMAGES, "plugin", lambda name: package if name == "broken" else None)
    found = damage_trial(suite_of(clips, 3), clips / "clips", options(("offset",), "broken;shift=160", out=tmp_path))
    effects = by_case(found, "offset")
    ((reason, count),) = effects["broken"].lacking.items()
    assert count == 3 and "'broken' of the package someones-plugin 1.0 failed in apply: ZeroDivisionError: oh" in reason
    assert effects["shift=160"].n == 3


def test_scenes_that_are_not_in_step_are_left_out() -> None:
    suite = load_suite("sync-scenes")
    kept = in_step(suite)
    families = [sample.extra["family"] for sample in kept]
    assert len(kept) == 8 * 14 and len(set(families)) == 8
    assert not {"rain", "still_picture", "music_over_cuts"} & set(families)
    assert len(set(families[:8])) == 8, "few clips are of many families"
    assert (generator_for(suite), generator_for(load_suite("demo"))) == ("procedural:sync", "procedural")
    assert in_step(load_suite("demo")) == load_suite("demo")


# Damages from text


def test_damages_are_read_as_they_are_meant() -> None:
    def names(text: str) -> list[str]:
        return [case.name for case in parse_cases(text)]

    assert names("shift=160,320; blurred=2;silent ;shift=160") == ["shift=160", "shift=320", "blurred=2", "silent"]
    assert names("late=0.25,swapped,early=1") == ["shift_cut=250", "swapped", "shift_cut=-1000"]
    assert names("masked") == ["masked=20", "masked=40", "masked=60", "masked=80"]
    assert names("all") == [case.name for case in default_cases()]
    assert {case.damage.card.id for case in default_cases()} == set(DAMAGES)
    for text, message in (
        ("", "at least one"),
        ("shift=soon", "'soon' is no dose of shift"),
        ("masked=120", "takes 0 to 100 %"),
        ("silent=3", "has no doses"),
        ("late", "needs seconds"),
        ("=3", "There is no damage ''"),
    ):
        with pytest.raises(UsageError, match=message):
            parse_cases(text)


# Judged pairs


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """Clips whose click is late by 0, 100 and 400 ms, of four prompts."""
    for prompt in range(4):
        for late in (0, 100, 400):
            write_clip(flash_clip(prompt, late_s=late / 1000), tmp_path / f"p{prompt}_{late}.mp4")
    return tmp_path


def write_pairs(folder: Path, header: str, *rows: str) -> Path:
    path = folder / "pairs.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.mark.usefixtures("flash_metrics")
def test_judged_pairs_with_ties_and_what_cannot_be_used(judged: Path, tmp_path: Path) -> None:
    rows = [f"p{p}_0.mp4,p{p}_{late}.mp4,a,shift,{late},g{p},sure" for p in range(3) for late in (100, 400)]
    path = write_pairs(
        judged, "clip_a,clip_b,better,damage,dose,group,rater", *rows,
        "p3_0.mp4,p3_100.mp4,b,shift,100,g3,wrong", "p3_0.mp4,p3_400.mp4,tie,shift,400,g3,", "p3_0.mp4,p3_400.mp4,,,,,",
        "p3_0.mp4,gone.mp4,a,shift,100,g3,", "p3_0.mp4,p3_0.mp4,a,,,,", "p3_0.mp4,p3_400.mp4,c,,,,",
        "p3_0.mp4,p3_400.mp4,a,shift,much,,",
    )  # fmt: skip
    pairs = read_pairs(path)
    assert pairs.notices == ["pairs.csv: not used: the columns rater"]
    assert pairs.left_out == {
        "row 9": "better is empty", "row 10": "there is no file gone.mp4", "row 11": "both clips are the same",
        "row 12": "better is 'c'; it is a, b or tie", "row 13": "dose is 'much', which is no number",
    }  # fmt: skip
    found = pair_trial(pairs, options(("offset", "constant", "colours"), out=tmp_path / "out"))
    effects = by_case(found, "offset")
    first, second = effects["shift=100"], effects["shift=400"]
    assert (first.pairs, first.n, first.ties, first.sources) == (4, 4, 0, 4)
    assert first.accuracy == first.accuracy_strict == 0.75
    assert first.tau == pytest.approx(0.5), "three prompts in agreement, one against"
    assert (second.n, second.ties, second.accuracy) == (4, 1, 1.0)
    assert second.kind == "judged" and second.unit == "ms"
    assert by_case(found, "constant")["shift=100"].verdict == "blind"
    assert found.trial.left_out == pairs.left_out
    assert "judged pairs" in found.trial.missing["colours"] or "real clips" in found.trial.missing["colours"]


@pytest.mark.parametrize("way", ["above", "absolute", "link", "sound", "sidecar"])
def test_pairs_lead_out_of_their_folder_where_that_is_allowed(judged: Path, way: str) -> None:
    folder = judged / "inside"
    folder.mkdir()
    for name in ("p0_0.mp4", "p0_100.mp4", "p0_100.wav"):
        shutil.copy(judged / name, folder)
    header, first, more = "clip_a,clip_b,better,audio_a", "../p1_0.mp4", ""
    if way == "absolute":
        first = str(judged / "p1_0.mp4")
    elif way == "link":
        first = "p1_0.mp4"
        (folder / first).symlink_to(judged / first)
    elif way == "sound":
        first, more = "p0_0.mp4", "../p1_0.wav"
    elif way == "sidecar":
        first = "p0_0.mp4"
        (folder / "p0_0.wav").symlink_to(judged / "p0_0.wav")
    path = write_pairs(folder, header, f"{first},p0_100.mp4,a,{more}", "p0_100.mp4,p0_0.mp4,b,p0_100.wav")
    left_out = read_pairs(path).left_out if way != "sidecar" else {"row 1": "allow it with --allow-outside"}
    assert set(left_out) == {"row 1"} and left_out["row 1"].endswith("allow it with --allow-outside")
    found = read_pairs(path, allow_outside=True)
    assert not found.left_out and len(found.pairs) == 2
    if way == "sidecar":
        with pytest.raises(UsageError, match=r"row 1 'p0_0\.wav' leaves the folder; allow it"):
            read_pairs(path)


def test_pairs_that_cannot_be_read_get_one_sentence(judged: Path) -> None:
    for header, rows, message in (
        ("clip_a,clip_b,beter", ["p0_0.mp4,p0_100.mp4,a"], "no column 'better'. Did you mean 'beter'"),
        ("clip_a,clip_b,better", [], "no pair that can be used: it has no rows"),
        ("clip_a,clip_b,better", ["x.mp4,y.mp4,a"], "no pair that can be used: row 1 there is no file x.mp4"),
        ("video,better", ["x.mp4,a"], "clip_a"),
    ):
        with pytest.raises(UsageError, match=message):
            read_pairs(write_pairs(judged, header, *rows))
    with pytest.raises(UsageError, match="no file of pairs"):
        read_pairs(judged / "none.csv")


@pytest.mark.usefixtures("flash_metrics")
def test_av_syncbench_is_read_as_it_is_published(judged: Path, tmp_path: Path) -> None:
    root = tmp_path / "bench" / "hf_temporal_challenge"
    for folder in ("original_video", "edited_audio"):
        (root / folder).mkdir(parents=True)
    rows = []
    for p in range(4):
        shutil.copy(judged / f"p{p}_0.mp4", root / "original_video" / f"{p}.mp4")
        for late in (100, 400):
            shutil.copy(judged / f"p{p}_{late}.wav", root / "edited_audio" / f"{p}_{late}.wav")
            row = {"sample_id": f"x{p}_{late}", "original_video": f"original_video/{p}.mp4", "category": "c",
                   "edited_audio": f"edited_audio/{p}_{late}.wav", "task_type": "temporal_alignment",
                   "edit_type": "time_shifted", "offset_ms": late, "direction": "delay"}  # fmt: skip
            rows.append(row)
    rows += [
        {**rows[0], "sample_id": "out", "edited_audio": "../p0_100.wav"},
        {**rows[0], "sample_id": "both", "edited_video": "original_video/0.mp4"},
        {**rows[0], "sample_id": "gone", "edited_audio": "edited_audio/gone.wav"},
    ]
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = read_av_syncbench(root.parent)
    assert {name: reason.split()[0] for name, reason in pairs.left_out.items()} == {
        "out": "'../p0_100.wav'", "both": "it", "gone": "there"
    }  # fmt: skip
    assert pairs.published == {"time_shifted=100": 0.541}
    assert len(read_av_syncbench(root, limit=2).pairs) == 4
    found = pair_trial(pairs, options(("offset",), out=tmp_path / "out"))
    effects = by_case(found, "offset")
    assert {case: effect.accuracy_strict for case, effect in effects.items()} == {
        "time_shifted=100": 1.0, "time_shifted=400": 1.0
    }  # fmt: skip
    assert found.trial.material["published"] == {"time_shifted=100": 0.541}
    with pytest.raises(UsageError, match=r"no metadata\.jsonl"):
        read_av_syncbench(judged)


# The command


@pytest.mark.usefixtures("flash_metrics")
def test_the_command_prints_one_line_a_metric_and_json(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [
        "validate-metrics", "--clips", str(clips / "clips"), "--suite", str(clips / "suite.csv"), "--limit", "8",
        "--damages", "shift=640;masked=80;volume=-6", "--metrics", "offset,constant", "--quiet", "--workers", "2",
        "--device", "cpu", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    assert run(args) == 0
    printed = capsys.readouterr().out
    lines = {line.split("  ")[0]: line for line in printed.splitlines() if line}
    assert "sees shift from 640 ms; not masked" in lines["offset"] or "blind to masked" in lines["offset"]
    assert "blind: no damage changes its value" in lines["constant"]
    assert run([*args, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((tmp_path / "out" / "trial.json").read_text())
    assert document["metrics"]["offset"]["curves"][0]["smallest_seen"] == "shift=640"
    page = tmp_path / "page" / "trial.html"
    assert run([*args, "--effects", "--html", str(page)]) == 0
    printed = capsys.readouterr()
    assert f"wrote {page}" in printed.err and "sees shift from 640 ms" in page.read_text()
    (row,) = (line for line in printed.out.splitlines() if "shift=640" in line and line.startswith("offset"))
    assert row.split()[2:5] == ["8", "1.00", "(1.00"] and row.rstrip().endswith(" seen")


@pytest.mark.usefixtures("flash_metrics")
def test_the_command_prints_what_judges_and_metrics_agree_on(
    judged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"p{p}_0.mp4,p{p}_400.mp4,a,g{p}" for p in range(4)]
    path = write_pairs(judged, "clip_a,clip_b,better,group", *rows, "p0_0.mp4,gone.mp4,a,g0")
    args = ["--pairs", str(path), "--metrics", "offset", "--quiet", "--workers", "1", "--device", "cpu"]
    assert run(["validate-metrics", *args, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "of judged pairs judged 100.0 % right (n = 4)" in printed
    (row,) = (line.split() for line in printed.splitlines() if line.startswith("offset  ") and "of judged" not in line)
    assert row[2] == "4" and row[-2:] == ["1.00", "seen"], "tau stands before the verdict"
    assert "left out row 5: there is no file gone.mp4" in printed


def test_metrics_show_tells_what_recorded_trials_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    effect = Effect("av_align", "shift", 160.0, "ms", 160.0, pairs=9, n=9, verdict="seen")
    trial = Trial({"clips": 9}, "p", False, 0, "0", (MetricTrial("av_align", (effect,)),), {"fvd": "no weights"})
    recorded = RecordedTrial("scenes", "2026-11-29", "abc1234", "javisbench", trial)
    monkeypatch.setattr("javisbench.results.trial.recorded_trials", lambda: [recorded])
    assert run(["metrics", "show", "av_align"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("trials scenes"))
    assert "sees shift from 160 ms (9 clips, 2026-11-29, abc1234)" in line
    assert run(["metrics", "show", "fvd", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["trials"]["scenes"]["sees"]
    assert told == "not run here: no weights (9 clips, 2026-11-29, abc1234)"


def test_the_command_lists_damages_and_refuses_what_does_not_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["validate-metrics", "--list-damages"]) == 0
    assert "40, 80, 160, 320, 640, 1280 ms" in capsys.readouterr().out
    assert run(["validate-metrics", "--list-damages", "--json"]) == 0
    assert [card["id"] for card in json.loads(capsys.readouterr().out)] == list(DAMAGES)
    for more, message in (
        (["--pairs", "x.csv", "--damages", "silent"], "leave out --damages"),
        (["--pairs", "x.csv", "--av-syncbench", "y"], "two trials"),
        (["--pairs", str(tmp_path / "x.csv")], "no file of pairs"),
        (["--metrics", "av_algn"], "Did you mean 'av_align'"),
        (["--damages", "silnt"], "Did you mean 'silent'"),
    ):
        assert run(["validate-metrics", *more, "--quiet", "--out", str(tmp_path / "never")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "never").exists()


def scenes(clips: int, length_s: float = 3.0) -> Suite:
    """Rendered scenes of the packaged prompts, small ones."""
    return replace(load_suite("demo"), setting=ClipSpec(128, 72, length_s, Fraction(12), 16000)).limited(clips)


def test_a_trial_of_rendered_scenes_and_five_damages(tmp_path: Path) -> None:
    asked = options(("av_align", "health_*"), "shift=320;swapped;silent;frozen;volume=-6", out=tmp_path)
    found = damage_trial(scenes(18), None, asked)
    effects = by_case(found, "av_align")
    assert effects["swapped"].verdict == effects["silent"].verdict == effects["frozen"].verdict == "seen"
    assert effects["volume=-6"].verdict == "kept" and effects["volume=-6"].relative_change == 0
    assert effects["shift=320"].auroc > 0.6  # type: ignore[operator]
    assert by_case(found, "health_frozen")["frozen"].auroc == 1.0
    sentence = found.trial.sentence_of(found.trial.of("health_frozen"))  # type: ignore[arg-type]
    assert "blind to all that changes the sound alone" in sentence


@pytest.mark.slow
def test_a_trial_of_all_damages(tmp_path: Path) -> None:
    found = damage_trial(scenes(24, 4.0), None, options(("av_align", "health_*"), None, out=tmp_path))
    effects = by_case(found, "av_align")
    assert list(effects) == [case.name for case in default_cases()]
    for name, effect in effects.items():
        assert effect.pairs == 24, name
        told = effect.n + sum(effect.lacking.values())
        assert told == 24, (name, effect.lacking)
    assert {name for name, effect in effects.items() if effect.n == 0} == {"mono"}
    write_trial_page(found.trial, tmp_path / "trial.html")
    assert read_trial(tmp_path) == found.trial


def test_rendered_scenes_are_the_default(tmp_path: Path, tiny_suite: Any) -> None:
    suite = tiny_suite("a dog barks", "a bell rings", "a hammer hits a nail")
    asked = options(("health_silence", "health_frozen", "health_loudness"), "silent;frozen", out=tmp_path / "a")
    found = damage_trial(suite, None, asked)
    assert found.trial.material["generator"] == "procedural"
    silence, frozen = (by_case(found, f"health_{name}") for name in ("silence", "frozen"))
    assert silence["silent"].accuracy_strict == frozen["frozen"].accuracy_strict == 1.0
    assert silence["frozen"].verdict == frozen["silent"].verdict == "blind"
    assert found.trial.missing == {"health_loudness": "neither direction is better"}
