"""Good clips against damaged copies: which metric notices what, and that nothing but the damage differs."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.api import ScoringOptions
from javisbench.cli import run
from javisbench.clip import Clip
from javisbench.errors import UsageError
from javisbench.media import read_clip, write_clip
from javisbench.metrics.registry import METRICS
from javisbench.run.trial import Validation, _pair_test, auroc, check_damages, validate_metrics
from javisbench.suite import Suite, load_suite

FEW = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=8)


# The first call imports scipy, which takes longer than hypothesis allows an example.
@settings(deadline=None)
@given(FEW, FEW)
def test_auroc_is_the_chance_that_a_good_value_wins(good: list[float], bad: list[float]) -> None:
    wins = [(g > b) + 0.5 * (g == b) for g in good for b in bad]
    assert auroc(np.array(good), np.array(bad)) == pytest.approx(np.mean(wins), abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=9))
def test_pairs_count_in_the_direction_of_the_metric(pairs: list[tuple[int, int]]) -> None:
    values = pd.DataFrame(pairs, columns=["good", "late=1"], dtype=float)
    up = _pair_test(METRICS.get("av_align").card, "late=1", values)
    down = _pair_test(METRICS.get("health_silence").card, "late=1", values)
    assert up is not None
    assert down is not None
    better, worse = np.mean([g > b for g, b in pairs]), np.mean([g < b for g, b in pairs])
    assert (up.accuracy_strict, up.accuracy_relaxed) == pytest.approx((better, 1 - worse))
    assert (down.accuracy_strict, down.accuracy_relaxed) == pytest.approx((worse, 1 - better))
    assert up.auroc == pytest.approx(1 - down.auroc)
    assert up.difference.value == pytest.approx(-down.difference.value)
    assert up.changed == any(g != b for g, b in pairs)
    assert not (up.noticed and down.noticed)


def test_clips_without_a_value_are_not_counted() -> None:
    values = pd.DataFrame({"good": [1.0, 2.0, np.nan, 4.0], "silent": [0.0, np.nan, 0.0, 1.0]})
    test = _pair_test(METRICS.get("av_align").card, "silent", values)
    assert test is not None
    assert (test.n, test.difference.value) == (2, 2.0)
    assert _pair_test(METRICS.get("av_align").card, "silent", values[:2]) is None


def test_unknown_damages_are_refused() -> None:
    assert check_damages(["late=0.5", "swapped", "late=0.5"]) == ["late=0.5", "swapped"]
    for bad, message in (
        (["silnt"], "Did you mean 'silent'"),
        (["late"], "late=SECONDS"),
        (["late=-1"], "late"),
        ([], "at least one"),
    ):
        with pytest.raises(UsageError, match=message):
            check_damages(bad)


def validated(suite: Suite, *damages: str, **more: Any) -> Validation:
    options = ScoringOptions(metrics=["av_align", "health_*"], workers=1, device="cpu")
    return validate_metrics(suite=suite, damages=damages, options=options, **more)


def test_metrics_notice_what_they_look_at(tiny_suite: Callable[..., Suite], tmp_path: Path) -> None:
    suite = tiny_suite("a dog barks", "a bell rings", "a hammer hits a nail")
    found = validated(suite, "silent", "frozen", "black", out=tmp_path / "kept")
    tests = {(test.metric, test.damage): test for test in found.tests}
    assert found.clips == 3
    assert not found.stand_in
    for metric, damage in (("health_silence", "silent"), ("health_frozen", "frozen"), ("health_black", "black")):
        assert tests[metric, damage].accuracy_strict == tests[metric, damage].auroc == 1.0
    assert not tests["health_silence", "frozen"].changed
    assert not tests["health_black", "silent"].changed
    # Loudness has no better direction, and FVD no value of one clip.
    assert {"health_loudness", "fvd"}.isdisjoint(test.metric for test in found.tests)
    good = tmp_path / "kept/clips/good"
    clip, silent = (read_clip(folder / f"{suite.samples[0].id}.mp4") for folder in (good, good.parent / "silent"))
    np.testing.assert_array_equal(clip.frames, silent.frames)
    assert not silent.audio.any()
    again = validated(suite, "silent", "frozen", "black")
    assert again.to_json() == found.to_json()


@pytest.fixture
def good_clips(tmp_path: Path) -> tuple[Path, Path]:
    """Three clips with a tone each and one without sound; the suite names one more."""
    folder, suite = tmp_path / "clips", tmp_path / "tones.csv"
    suite.write_text("\n".join(["id,text", *(f"s{i},tone {i}" for i in range(5))]) + "\n")
    random = np.random.default_rng(1)
    for number in range(4):
        still = random.integers(0, 256, (32, 48, 3), dtype=np.uint8)
        tone = 0.1 * (number + 1) * np.sin(np.arange(8000 + 400 * number) * 0.2).astype(np.float32)[None]
        frames = np.stack([np.roll(still, 3 * k, 1) for k in range(8)])
        write_clip(Clip(frames, Fraction(8), tone if number < 3 else None, 8000), folder / f"s{number}.mp4")
    return folder, suite


def test_given_clips_are_damaged_and_scored(
    good_clips: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, suite = good_clips
    args = [
        "validate-metrics", "--clips", str(folder), "--suite", str(suite), "--damage", "late=0.25,swapped", "--quiet",
        "--metrics", "av_align,health_silence", "--workers", "1", "--device", "cpu", "--out", str(tmp_path / "kept"),
    ]  # fmt: skip
    assert run([*args, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["clips"] == 3
    assert set(printed["left_out"]) == {"s3", "s4"}
    tests = {(row["metric"], row["damage"]): row for row in printed["tests"]}
    # A quarter of a second of silence moved into about one second of tone; the tones have no other silence.
    assert tests["health_silence", "late=0.25"]["difference"] == pytest.approx(0.24, abs=0.02)
    assert tests["health_silence", "swapped"]["auroc"] == 0.5
    kept = tmp_path / "kept/clips"
    sounds = [read_clip(kept / "good" / f"s{i}.mp4").audio for i in range(3)]
    swapped = [read_clip(kept / "swapped" / f"s{i}.mp4").audio for i in range(3)]
    for own, other, following in zip(sounds, swapped, [*sounds[1:], sounds[0]], strict=True):
        count = min(own.shape[1], following.shape[1])
        assert other.shape == own.shape
        np.testing.assert_array_equal(other[:, :count], following[:, :count])
    late = read_clip(kept / "late=0.25" / "s0.mp4").audio
    np.testing.assert_array_equal(late[:, 2000:], sounds[0][:, :-2000])
    assert not late[:, :2000].any()


def test_too_few_clips_or_no_metric_to_test(
    good_clips: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAVISBENCH_WEIGHTS", raising=False)
    folder, path = good_clips
    suite = load_suite(str(path))
    with pytest.raises(UsageError, match="At least two clips"):
        validated(suite.limited(1), "silent", clips=folder)
    options = ScoringOptions(metrics=["javis_score"], workers=1, device="cpu")
    with pytest.raises(UsageError, match="weights fetch imagebind_huge"):
        validate_metrics(suite=suite, clips=folder, damages=["silent"], options=options)
