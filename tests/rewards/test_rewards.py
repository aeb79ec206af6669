"""Rewards are the metrics' numbers, turned so that higher is better; gradients are those of finite differences."""

from __future__ import annotations

import importlib.util
import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import javisbench
from javisbench.errors import UsageError
from javisbench.media import read_clip
from javisbench.metrics.av_sync import AVSyncMetric
from javisbench.metrics.base import SampleContext, SampleMetric
from javisbench.metrics.contract.samples import SAMPLE_RATE, ordinary_clips
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.imagebind import ImageBindEncoder
from javisbench.metrics.encoders.motion_acceleration import MotionAccelerationEncoder
from javisbench.metrics.encoders.sound_level import SoundLevelEncoder
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V1
from javisbench.results.trial import recorded_trials
from javisbench.rewards import Scale, combine, refusal, reward, reward_ids

PROMPTS = ["a dog barks", "rain on a roof"]
IMAGEBIND = ("tv_ib", "ta_ib", "av_ib", "avh_score", "javis_score")
WITHOUT_WEIGHTS = ("av_align", "av_sync", "health_silence", "health_frozen", "health_black", "health_clipping")


@dataclass(frozen=True)
class Scored:
    """Two clips that were scored as files, and what the files hold."""

    run: Path
    scores: pd.DataFrame
    weights: Path
    frames: list[torch.Tensor]
    audio: list[torch.Tensor]
    fps: float
    sample_rate: int

    def given(self, *, prompts: bool = True) -> tuple[Any, ...]:
        return self.frames, self.fps, self.audio, self.sample_rate, *([PROMPTS] if prompts else [])

    def made(self, metric: str, **more: Any) -> Any:
        return reward(metric, variants={"imagebind": "tiny"}, weights={"imagebind": self.weights}, **more)


@pytest.fixture(scope="module")
def scored(
    tmp_path_factory: pytest.TempPathFactory,
    clips_fake: Path,
    golden_json: Callable[[str], Any],
    seeded_weights: ModuleType,
) -> Scored:
    folder = tmp_path_factory.mktemp("rewards")
    for name in ("clips", "weights"):
        (folder / name).mkdir()
    for row, number in enumerate((4, 9)):
        for suffix in (".mp4", ".wav"):
            shutil.copy(clips_fake / f"sample_{number:04d}{suffix}", folder / "clips" / f"sample_{row:04d}{suffix}")
    (folder / "s.csv").write_text("text\n" + "".join(f"{prompt}\n" for prompt in PROMPTS))
    shapes = {name: entry[0] for name, entry in golden_json("statedict_imagebind_tiny")["tensors"].items()}
    state = seeded_weights.seeded_state_dict(shapes, "imagebind", 0)
    torch.save({n: torch.from_numpy(a) for n, a in state.items()}, folder / "weights/imagebind_tiny.pth")
    result = javisbench.score(
        folder / "clips", suite=str(folder / "s.csv"), out=folder / "run", metrics=[*IMAGEBIND, *WITHOUT_WEIGHTS],
        encoders={"imagebind": "tiny"}, weights_dirs=[folder / "weights"], workers=1,
    )  # fmt: skip
    clips = [
        read_clip(folder / f"clips/sample_{row:04d}.mp4", folder / f"clips/sample_{row:04d}.wav") for row in (0, 1)
    ]
    assert clips[0].fps == clips[1].fps and clips[0].sample_rate == clips[1].sample_rate
    return Scored(
        folder / "run",
        result.scores.set_index("sample_id"),
        folder / "weights/imagebind_tiny.pth",
        [torch.from_numpy(clip.frames) for clip in clips],
        [torch.from_numpy(clip.audio) for clip in clips],
        float(clips[0].fps),
        int(clips[0].sample_rate or 0),
    )


def test_every_metric_is_a_reward_or_says_why_it_is_none() -> None:
    rewards = set(reward_ids())
    assert set(IMAGEBIND) | set(WITHOUT_WEIGHTS) | {"desync", "clap_score", "dnsmos_ovrl", "wer"} <= rewards
    for name in METRICS:
        reason = refusal(name)
        assert (reason is None) == (name in rewards)
        if reason is not None:
            with pytest.raises(UsageError, match=f"{name} is no reward"):
                reward(name)
        else:
            assert issubclass(METRICS.get(name), SampleMetric) and METRICS.get(name).card.higher_is_better is not None
    assert "sets" in str(refusal("fvd")) and "direction" in str(refusal("health_loudness"))
    with pytest.raises(UsageError, match="Did you mean"):
        reward("desink")


@pytest.mark.parametrize("metric", [*IMAGEBIND, *WITHOUT_WEIGHTS])
def test_a_reward_is_what_scoring_the_file_gives(scored: Scored, metric: str) -> None:
    made = scored.made(metric).detailed(*scored.given())
    column = scored.scores[metric].to_numpy(np.float64) if metric in scored.scores else np.full(2, np.nan)
    # The same features; float32 at the end.
    np.testing.assert_allclose(made.scores[metric].numpy(), column, rtol=1e-6, atol=1e-6)
    sign = 1 if METRICS.get(metric).card.higher_is_better else -1
    np.testing.assert_allclose(made.values.numpy(), sign * column, rtol=1e-6, atol=1e-6)
    for row, reasons in enumerate(made.reasons):
        assert bool(reasons) == math.isnan(column[row])


def test_agreement_of_events_is_that_of_the_metric() -> None:
    """The golden clips above are too short for it."""
    clips = list(ordinary_clips().values())
    made = reward("av_sync")([clip.frames for clip in clips], 12, [clip.audio for clip in clips], SAMPLE_RATE)
    for value, clip in zip(made, clips, strict=True):
        motion, sound = MotionAccelerationEncoder(), SoundLevelEncoder()
        specs = AVSyncMetric().needs(V1)
        features = {
            "motion": motion.encode([clip], [specs["motion"]])[0][specs["motion"]],
            "sound": sound.encode([clip], [specs["sound"]])[0][specs["sound"]],
        }
        assert float(value) == pytest.approx(AVSyncMetric().score(features, SampleContext(V1)).value, abs=1e-5)


def test_one_clip_and_a_batch_of_tensors_have_one_meaning(scored: Scored) -> None:
    made = scored.made("av_ib")
    whole = made(*scored.given(prompts=False))
    alone = made(scored.frames[0], scored.fps, scored.audio[0], scored.sample_rate)
    assert whole.shape == (2,) and alone.shape == () and whole.dtype == torch.float32
    assert alone == pytest.approx(float(whole[0]), abs=1e-6)
    bright = scored.frames[0].float() / 255
    assert made(bright, scored.fps, scored.audio[0], scored.sample_rate) == pytest.approx(float(alone), abs=1e-6)


def test_scales_turn_and_weigh(scored: Scored) -> None:
    both = combine(
        {"av_ib": 0.25, "health_frozen": 0.75},
        scales={"av_ib": Scale(0.1, 0.5), "health_frozen": Scale(0.2, 2.0)},
        variants={"imagebind": "tiny"},
        weights={"imagebind": scored.weights},
    )
    made = both.detailed(*scored.given())
    by_hand = 0.25 * (made.scores["av_ib"] - 0.1) / 0.5 - 0.75 * (made.scores["health_frozen"] - 0.2) / 2.0
    np.testing.assert_allclose(made.values, by_hand, atol=1e-6)
    assert (
        both.settings["parts"]["av_ib"]["scale"]["deviation"] == 0.5
        and both.protocol.name == "javisbench-v1+imagebind=tiny"
    )


def test_a_run_gives_the_scale(scored: Scored) -> None:
    values = scored.made("av_ib", scale=scored.run)(*scored.given(prompts=False))
    # Two clips: one deviation of a sample of two apart from the mean, each on its side.
    np.testing.assert_allclose(np.sort(values), [-math.sqrt(0.5), math.sqrt(0.5)], atol=1e-4)
    with pytest.raises(UsageError, match=r"was scored under javisbench-v1\+imagebind=tiny, not under javisbench-v2"):
        scored.made("av_ib", scale=scored.run, protocol="javisbench-v2")
    with pytest.raises(UsageError, match="has 0 values of desync"):
        Scale.of_run(scored.run, METRICS.get("desync")(), "javisbench-v1+imagebind=tiny")


def test_a_clip_without_a_value_is_nan_and_says_why(scored: Scored) -> None:
    silent = [scored.audio[0], torch.zeros_like(scored.audio[1])]
    frames = [clip[:, ::4, ::4] for clip in scored.frames]  # motion is found sooner in fewer pixels
    made = combine({"av_sync": 1.0, "av_align": 1.0}).detailed(frames, scored.fps, silent, scored.sample_rate)
    assert math.isnan(made.values[1]) and made.reasons[1]["av_sync"].kind
    assert not math.isnan(made.scores["av_align"][0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: combine({}), "needs a metric"),
        (lambda: combine({"av_align": -1.0}), "Weights are positive"),
        (lambda: combine({"av_align": 1.0}, scales={"av_sync": Scale(0, 1)}), "no part of this reward"),
        (lambda: Scale(0.0, 0.0), "a positive deviation"),
        (lambda: reward("av_align")(np.zeros((2, 3, 8, 8, 3), np.uint8), 24, [np.zeros(9)], 16000), "2 clips"),
    ],
)
def test_mistakes_are_named(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        wrong()


def test_metrics_that_read_prompts_or_columns_ask_for_them(scored: Scored) -> None:
    with pytest.raises(UsageError, match="TV-IB compare clips with prompts"):
        scored.made("tv_ib")(*scored.given(prompts=False))
    with pytest.raises(UsageError, match="transcript has one cell for each of 2 clips"):
        reward("av_align")(*scored.given(), columns={"transcript": ["one"]})


# Gradients.


def test_cards_say_in_what_a_gradient_flows() -> None:
    assert {
        name: METRICS.get(name).card.differentiable for name in METRICS if METRICS.get(name).card.differentiable
    } == {
        "tv_ib": {"picture"},
        "ta_ib": {"sound"},
        "av_ib": {"picture", "sound"},
        "avh_score": {"sound"},
        "javis_score": {"sound"},
    }


@pytest.mark.parametrize("protocol", ["javisbench-v1", "javisbench-v2"])
@pytest.mark.parametrize("metric", IMAGEBIND)
def test_a_traced_reward_has_the_same_value_and_a_gradient_where_the_card_says(
    scored: Scored, metric: str, protocol: str
) -> None:
    made = scored.made(metric, protocol=protocol)
    frames = (scored.frames[0][:60].float() / 255).requires_grad_()
    audio = scored.audio[0][:, : 60 * scored.sample_rate // 24].clone().requires_grad_()
    rest = (scored.fps, audio, scored.sample_rate, PROMPTS[0])
    value = made(frames, *rest)
    with torch.no_grad():
        plain = made(frames, *rest)
    assert value.requires_grad and not plain.requires_grad
    # Crops are embedded in other batches, in float32.
    assert float(value.detach()) == pytest.approx(float(plain), abs=1e-5)
    value.backward()
    found = {name for name, given in (("picture", frames), ("sound", audio)) if given.grad is not None}
    assert found == made.parts[0].metric.card.differentiable
    for given in (frames, audio):
        assert given.grad is None or (torch.isfinite(given.grad).all() and given.grad.abs().max() > 0)


@pytest.mark.parametrize(("metric", "stream"), [("av_ib", "picture"), ("av_ib", "sound"), ("javis_score", "sound")])
def test_gradients_are_those_of_finite_differences(
    scored: Scored, metric: str, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Along the gradient, without the rounding of pixels to bytes, past which a straight-through gradient looks."""
    from javisbench.metrics.encoders.imagebind import traced

    monkeypatch.setattr(traced, "rounded", lambda pixels: pixels)
    made = scored.made(metric)
    pixels = scored.frames[0][:48].float() / 255
    # Noise everywhere: in silence a logarithm is curved too much for any step.
    noise = torch.randn(scored.audio[0].shape, generator=torch.Generator().manual_seed(0))
    sound = scored.audio[0] + 0.1 * noise

    def value(moved: torch.Tensor) -> torch.Tensor:
        moved.requires_grad_()
        frames, audio = (moved, sound) if stream == "picture" else (pixels, moved)
        result: torch.Tensor = made(frames, scored.fps, audio, scored.sample_rate)
        return result

    start = (pixels if stream == "picture" else sound).clone()
    value(start).backward()
    assert start.grad is not None
    direction, slope = start.grad / start.grad.norm(), float(start.grad.norm())
    # In float32 a step must be long enough to be seen, and short enough for the curve to be straight.
    step = 3e-4 / slope
    ahead, behind = (float(value(start.detach() + sign * step * direction).detach()) for sign in (1, -1))
    assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=0.02)


def test_metrics_without_a_gradient_are_constants(scored: Scored) -> None:
    frames = (scored.frames[0].float() / 255).requires_grad_()
    value = reward("av_align")(frames, scored.fps, scored.audio[0], scored.sample_rate)
    assert not value.requires_grad
    mixed = combine(
        {"av_align": 1.0, "av_ib": 1.0}, variants={"imagebind": "tiny"}, weights={"imagebind": scored.weights}
    )
    assert mixed(frames, scored.fps, scored.audio[0], scored.sample_rate).requires_grad


def test_what_metrics_share_is_traced_once(scored: Scored, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    traced = ImageBindEncoder.traced

    def noted(self: ImageBindEncoder, clip: Any, spec: FeatureSpec, pixels: Any, sound: Any) -> Any:
        made.append(spec.feature)
        return traced(self, clip, spec, pixels, sound)

    monkeypatch.setattr(ImageBindEncoder, "traced", noted)
    mixed = combine({"av_ib": 1.0, "ta_ib": 1.0}, variants={"imagebind": "tiny"}, weights={"imagebind": scored.weights})
    audio = scored.audio[0].clone().requires_grad_()
    mixed(scored.frames[0], scored.fps, audio, scored.sample_rate, PROMPTS[0]).backward()
    assert sorted(made) == ["audio", "video_clips"]
    assert audio.grad is not None and audio.grad.abs().max() > 0


# What the documentation says.


def test_figures_of_cheats_are_those_of_the_recorded_trial() -> None:
    trial = next(trial for trial in recorded_trials() if trial.name == "scenes")
    page = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `av_")}

    def auroc(metric: str, damage: str) -> str:
        effects = next(found.effects for found in trial.trial.metrics if found.metric == metric)
        return ", ".join(f"{effect.auroc:.2f}" for effect in effects if effect.damage == damage)

    told = {
        "av_sync": {"white_noise": "the sound", "blurred": "blur", "masked": "grey"},
        "av_align": {"shift": "ms", "swapped_same": "kind", "shuffled": "order", "white_noise": "the sound"},
    }
    for metric, damages in told.items():
        for damage, words in damages.items():
            assert f"{words} {auroc(metric, damage)}" in rows[metric], (metric, damage, auroc(metric, damage))


def test_the_example_learns_a_smaller_delay() -> None:
    path = Path(__file__).parents[2] / "examples/training/reward_offset.py"
    spec = importlib.util.spec_from_file_location("reward_offset", path)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = example
    spec.loader.exec_module(example)
    seen = example.train(example.Training(steps=4, clips=5))
    assert len(seen) == 4 and seen[-1][1] < seen[0][1] - 0.03
    assert seen[-1][0] > seen[0][0]
