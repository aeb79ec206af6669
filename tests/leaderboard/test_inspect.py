"""One clip under the lens: numbers equal the scores of runs, pictures and pages hold all of it, bad clips say why."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from javisbench.api import ScoringOptions
from javisbench.cli import run
from javisbench.clip import Clip
from javisbench.errors import MediaError, UsageError
from javisbench.leaderboard.inspect import Inspection, inspect_clip
from javisbench.leaderboard.inspect_plot import draw_png, log_mel, region_words, write_html
from javisbench.media import write_clip

CHEAP = ["av_align", "health_*"]


# The tables' tests replace the metrics' cards; here real ones are computed.
@pytest.fixture(autouse=True)
def _metric_cards() -> Iterator[None]:
    yield


def inspected(video: Path, **more: Any) -> Inspection:
    options = {"metrics": CHEAP, "workers": 1, "device": "cpu", **more.pop("options", {})}
    return inspect_clip(video, more.pop("audio", None), options=ScoringOptions(**options), **more)


def png_size(data: bytes) -> tuple[int, int]:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.size


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """One second of moving noise, 64x48, with two clicks; its name is no friend of markup or formulas."""
    random = np.random.default_rng(3)
    still = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    audio = np.zeros((1, 8000), np.float32)
    audio[0, [2000, 6000]] = 0.9
    path = tmp_path / "a<b>$x^$&.mp4"
    write_clip(Clip(np.stack([np.roll(still, k, 1) for k in range(12)]), Fraction(12), audio, 8000), path)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, golden_json: Any, seeded_weights: ModuleType) -> Path:
    import torch

    folder = tmp_path_factory.mktemp("weights")
    shapes = {name: entry[0] for name, entry in golden_json("statedict_imagebind_tiny")["tensors"].items()}
    state = seeded_weights.seeded_state_dict(shapes, "imagebind", 0)
    torch.save({n: torch.from_numpy(a) for n, a in state.items()}, folder / "imagebind_tiny.pth")
    return folder


def test_scores_and_series_are_those_of_a_run(
    clips_fake: Path, golden_json: Callable[[str], Any], weights: Path
) -> None:
    metrics = ["av_align", "javis_score", "avh_score", "tv_ib", "fvd"]
    options = {"metrics": metrics, "encoders": {"imagebind": "tiny"}, "weights_dirs": [weights]}
    found = inspected(clips_fake / "sample_0009.mp4", prompt=golden_json("prompts")[9]["text"], options=options)
    reference = golden_json("evaluator_output")
    for metric, name in {"av_align": "av_align", "javis_score": "javis_score", "avh_score": "avh_score"}.items():
        # Reference evaluation, commit b505b37, stand-in weights seed 0: float32 sums in another order.
        assert found.scores[metric] == pytest.approx(reference[name]["all"][9], abs=1e-6)
    assert found.series["javis_score"]["windows"].mean() == pytest.approx(found.scores["javis_score"], abs=1e-9)
    assert len(found.series["avh_score"]["frame_cosine"]) == len(found.head.timeline) == len(found.motion)
    assert found.stand_in
    assert "imagebind=tiny" in found.protocol
    # A distance between sets says nothing of one clip, so that it has no value is no news.
    assert list(found.scores) == ["tv_ib", "av_align", "avh_score", "javis_score"]
    assert not found.missing
    width, height = png_size(draw_png(found))
    assert width > height > 600


def test_peaks_lie_on_the_motion_curve(short: Path) -> None:
    found = inspected(short)
    at = np.round(found.series["av_align"]["peak_times_s"] * 12).astype(int)
    assert (found.motion[at] > found.motion[at - 1]).all()


def test_without_a_prompt_its_metrics_say_what_they_need(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAVISBENCH_WEIGHTS", raising=False)
    found = inspected(short, options={"metrics": ["av_align", "tv_ib", "javis_score"]})
    reasons = {metric: entry for entry in found.missing for metric in entry.metrics}
    assert reasons["tv_ib"].note == "needs a prompt: --text"
    assert reasons["javis_score"].status == "missing_weights"
    assert "javisbench weights fetch imagebind_huge" in reasons["javis_score"].note


def test_sound_is_the_one_given_else_the_one_beside_the_clip(short: Path, tmp_path: Path, clips_fake: Path) -> None:
    assert inspected(short).head.audio_source == "sidecar"
    other = inspected(short, audio=clips_fake / "sample_0000.wav")
    assert other.head.sample_rate == 16000
    assert "health_rate" not in other.scores, "one clip has no suite that asks for a rate"
    shutil.copy(short, tmp_path / "alone.mp4")
    assert inspected(tmp_path / "alone.mp4").head.audio_source == "container"


def test_a_clip_without_sound_and_of_one_frame_is_drawn(tmp_path: Path) -> None:
    write_clip(Clip(np.zeros((1, 32, 32, 3), np.uint8), Fraction(8), None, None), tmp_path / "still.mp4")
    found = inspected(tmp_path / "still.mp4")
    assert found.scores["health_frozen"] == 1.0
    assert {metric for entry in found.missing for metric in entry.metrics} >= {"av_align", "health_loudness"}
    assert found.to_json()["media"]["audio_source"] == "none"
    assert png_size(draw_png(found))[1] < 500


def test_the_spectrogram_stands_at_the_time_and_pitch_of_the_sound() -> None:
    rate = 16000
    tone = np.zeros(2 * rate)
    tone[rate:] = np.sin(2 * np.pi * 1500 * np.arange(rate) / rate)
    levels, centres_hz, (start, end) = log_mel(tone, rate)
    times = start + (np.arange(levels.shape[1]) + 0.5) * (end - start) / levels.shape[1]
    assert centres_hz[levels[:, np.searchsorted(times, 1.5)].argmax()] == pytest.approx(1500, rel=0.05)
    loud = levels.max(axis=0) > levels.max() - 6
    # At the tone's beginning the window is half full, which costs 6 dB.
    assert times[loud.argmax()] == pytest.approx(1.0, abs=0.01)


def test_the_page_holds_everything_and_runs_nothing(short: Path, tmp_path: Path) -> None:
    found = inspected(short, prompt='<script>alert("x")</script> {{ 7 * 7 }}')
    write_html(found, tmp_path / "clip.html")
    page = (tmp_path / "clip.html").read_text(encoding="utf-8")
    assert str(short.parent) not in page and f"<td>{escape(short.name)}</td>" in page, "which file, and not where"
    assert "<script" not in page
    assert "a<b>" not in page
    assert "{{ 7 * 7 }}" in page
    assert page.count("<video ") == page.count("<audio ") == 1
    assert all(link.startswith("data:") for link in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert "url(" not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    style = re.search(r"<style>(.*)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy[1]
    assert "default-src 'none'" in policy[1]
    video = re.search(r'<video [^>]*src="data:video/mp4;base64,([^"]*)"', page)
    assert base64.b64decode(video[1]) == short.read_bytes()


def test_large_clips_are_not_put_into_the_page(short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("javisbench.leaderboard.inspect_plot.MAX_EMBEDDED_BYTES", 100)
    write_html(inspected(short), tmp_path / "clip.html")
    page = (tmp_path / "clip.html").read_text(encoding="utf-8")
    assert "<video" not in page
    assert "data:image/png" in page


def test_the_command_prints_json_and_draws(short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["inspect", str(short), "--metrics", "av_align,health_*", "--device", "cpu"]
    assert run([*args, "--json", "--png", str(tmp_path / "clip.png")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["scores"] == inspected(short).to_json()["scores"]
    assert printed["media"]["frames"] == len(printed["motion"]) == 12
    assert png_size((tmp_path / "clip.png").read_bytes())[0] > 1000
    assert run(args) == 0
    assert "AV-Align" in capsys.readouterr().out


def test_bad_clips_and_useless_requests_say_why(
    short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(MediaError):
        inspected(tmp_path / "text.mp4")
    with pytest.raises(UsageError, match="one clip"):
        inspected(short, options={"metrics": ["fvd"]})
    assert run(["inspect", str(tmp_path / "gone.mp4"), "--png", str(tmp_path / "clip.png")]) == 2
    assert "there is no such file" in capsys.readouterr().err
    assert run(["inspect", str(short), "--audio", str(tmp_path / "gone.wav")]) == 2
    assert not (tmp_path / "clip.png").exists()


def knocking(silent: bool = False) -> Clip:
    """2.5 s of a box that jumps with knocks, 96x64."""
    random = np.random.default_rng(0)
    frames = np.full((30, 64, 96, 3), 60, np.uint8)
    frames[:, ::7, ::5] = 180
    sound = 1e-3 * random.standard_normal(40_000)
    for number, at in enumerate((0.4, 0.9, 1.2, 1.8, 2.1)):
        start = round(at * 16_000)
        sound[start : start + 1600] += 0.4 * random.standard_normal(1600) * np.exp(-np.arange(1600) / 400)
        frames[round(at * 12) :, 20:40, 10:70] = 60
        frames[round(at * 12) :, 20:40, 20 + 24 * (number % 2) : 40 + 24 * (number % 2)] = 240
    return Clip(
        frames, Fraction(12), 0 * sound.astype(np.float32)[None] if silent else sound.astype(np.float32)[None], 16_000
    )


def test_what_av_sync_compares_is_drawn_with_its_agreement_over_lags(tmp_path: Path) -> None:
    options = {"metrics": ["av_sync"], "protocols": ["javisbench-v2"]}
    write_clip(knocking(), tmp_path / "a.mp4")
    found = inspected(tmp_path / "a.mp4", options=options)
    sync = found.sync
    assert (
        sync is not None and sync.times_s[-1] == pytest.approx(2.48) and len(sync.lags_s) == len(sync.agreement) == 101
    )
    assert sync.lags_s[[0, 50, 100]] == pytest.approx([-1, 0, 1])
    # Each knock is a rise of the sound and a change of motion at the same moment.
    for series in (sync.rise, sync.change):
        assert abs(sync.times_s[series.argmax()] - np.array([0.4, 0.9, 1.2, 1.8, 2.1])).min() < 0.1
    silent_path = tmp_path / "b.mp4"
    write_clip(knocking(silent=True), silent_path)
    silent = inspected(silent_path, options=options)
    assert silent.sync is not None and not len(silent.sync.agreement) and "av_sync" not in silent.scores
    assert [(m.metrics, m.status) for m in silent.missing] == [(("av_sync",), "not_applicable")]
    assert "silent" in silent.missing[0].note
    heights = [png_size(draw_png(one))[1] for one in (found, silent)]
    assert heights[0] > heights[1] > 0, "without a score there are no lags to draw"
    assert region_words(1, 0, 0) == "whole picture" and region_words(4, 1, 0) == "row 2, column 1 of 4 x 4"
