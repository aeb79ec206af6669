"""Rewards are the metrics' numbers, turned so that higher is better; gradients are those of finite differences."""

from __future__ import annotations

import importlib.util
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from javisbench.errors import MissingWeightsError, UsageError
from javisbench.metrics.base import SampleMetric
from javisbench.metrics.contract import check
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.imagebind import ImageBindEncoder
from javisbench.metrics.registry import METRICS
from javisbench.results.trial import recorded_trials
from javisbench.rewards import Scale, combine, refusal, reward, reward_ids
from javisbench.weights import WeightStore

FRAMES = np.zeros((2, 3, 8, 8, 3), np.uint8)
IMAGEBIND = ("tv_ib", "ta_ib", "av_ib", "avh_score", "javis_score")


def test_every_metric_is_a_reward_or_says_why_it_is_none() -> None:
    rewards = set(reward_ids())
    assert set(IMAGEBIND) | {"av_align", "av_sync", "desync", "clap_score", "dnsmos_ovrl", "wer"} <= rewards
    for name in METRICS:
        reason = refusal(name)
        assert (reason is None) == (name in rewards)
        if reason is not None:
            with pytest.raises(UsageError, match=f"{name} is no reward"):
                reward(name)
        else:
            assert issubclass(METRICS.get(name), SampleMetric) and METRICS.get(name).card.higher_is_better is not None
    assert "recogniser" in str(refusal("cpcer"))
    assert "sets" in str(refusal("fvd")) and "direction" in str(refusal("health_loudness"))
    with pytest.raises(UsageError, match="Did you mean"):
        reward("desink")


@pytest.mark.parametrize(
    "metric", [pytest.param(name, marks=pytest.mark.slow if "dnsmos" in name else ()) for name in reward_ids()]
)
def test_a_reward_is_what_scoring_the_file_gives(scored: Any, metric: str) -> None:
    """Every metric that is a reward; networks are seeded and small (conftest.py)."""
    made, column = scored.rewarded(metric), scored.column(metric)
    assert np.isfinite(column).any()
    # The same features; networks see batches of other sizes, in float32.
    np.testing.assert_allclose(made.scores[metric].numpy(), column, rtol=1e-5, atol=1e-5)
    for row, reasons in enumerate(made.reasons):
        assert (metric in reasons) == math.isnan(column[row])
    signed = [(1 if METRICS.get(name).card.higher_is_better else -1) * score for name, score in made.scores.items()]
    np.testing.assert_allclose(made.values, torch.stack(signed).sum(dim=0), rtol=1e-6, atol=1e-6)


def test_one_clip_and_a_batch_of_tensors_have_one_meaning(scored: Any) -> None:
    made = scored.made("av_ib")
    whole = made(*scored.given(prompts=False))
    alone = made(scored.frames[0], scored.fps[0], scored.audio[0], scored.sample_rate)
    assert whole.shape == (2,) and alone.shape == () and whole.dtype == torch.float32
    assert alone == pytest.approx(float(whole[0]), abs=1e-6)
    bright = scored.frames[0].float() / 255
    assert made(bright, scored.fps[0], scored.audio[0], scored.sample_rate) == pytest.approx(float(alone), abs=1e-6)


def test_scales_turn_and_weigh(scored: Any) -> None:
    both = combine(
        {"av_ib": 0.25, "health_frozen": 0.75},
        scales={"av_ib": Scale(0.1, 0.5), "health_frozen": Scale(0.2, 2.0)},
        variants={"imagebind": "tiny"},
    )
    made = both.detailed(*scored.given())
    by_hand = 0.25 * (made.scores["av_ib"] - 0.1) / 0.5 - 0.75 * (made.scores["health_frozen"] - 0.2) / 2.0
    np.testing.assert_allclose(made.values, by_hand, atol=1e-6)
    assert (
        both.settings["parts"]["av_ib"]["scale"]["deviation"] == 0.5
        and both.protocol.name == "javisbench-v1+imagebind=tiny"
    )


def test_a_run_gives_the_scale(scored: Any) -> None:
    # As the run was scored, whose networks were not all the official ones.
    files = {"audiobox": "audiobox_aesthetics.pt", "cavp": "cavp_epoch66.ckpt"}
    weights = {name: scored.run.parent / "weights" / file for name, file in files.items()}
    alike = {"scale": scored.run, "variants": scored.variants, "weights": weights}
    values = reward("av_ib", **alike)(*scored.given(prompts=False))
    # Two clips: one deviation of a sample of two apart from the mean, each on its side.
    np.testing.assert_allclose(np.sort(values), [-math.sqrt(0.5), math.sqrt(0.5)], atol=1e-4)
    with pytest.raises(UsageError, match=r"was scored under javisbench-v1\+weights=.*, not under javisbench-v2"):
        scored.made("av_ib", scales=scored.run, protocol="javisbench-v2")
    with pytest.raises(UsageError, match="has 1 values of lse_c"):
        reward("lse_c", **alike)


def test_a_reward_is_of_a_protocol_that_has_the_metric(scored: Any) -> None:
    assert reward("av_align").protocol.name == "javisbench-v1"
    assert combine({"av_align": 1.0, "av_sync": 1.0}).protocol.name == "javisbench-v2"
    with pytest.raises(UsageError, match="javisbench-v1 has no av_sync: protocol='javisbench-v2' has"):
        reward("av_sync", protocol="javisbench-v1")


def test_encoders_and_weights_that_are_not_there_are_named(
    scored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"no encoder 'imagebin'.*Did you mean 'imagebind'"):
        reward("av_ib", variants={"imagebin": "tiny"})
    with pytest.raises(UsageError, match="no encoder 'imagebin'"):
        reward("av_ib", weights={"imagebin": tmp_path})
    with pytest.raises(UsageError, match=r"imagebind has no variant 'tinny'.*Did you mean 'tiny'"):
        reward("av_ib", variants={"imagebind": "tinny"})
    with pytest.raises(UsageError, match=r"weights of imagebind are not at .*gone\.pth"):
        reward("av_ib", weights={"imagebind": tmp_path / "gone.pth"})
    with pytest.raises(UsageError, match="flow takes no weights"):
        reward("av_align", weights={"flow": tmp_path})
    with pytest.raises(MissingWeightsError, match="javisbench weights fetch imagebind_huge"):
        reward("av_ib")


def test_a_clip_without_a_value_is_nan_and_says_why(scored: Any) -> None:
    silent = [scored.audio[0], torch.zeros_like(scored.audio[1])]
    frames = [clip[:, ::4, ::4] for clip in scored.frames]  # motion is found sooner in fewer pixels
    made = combine({"av_sync": 1.0, "av_align": 1.0}).detailed(frames, scored.fps, silent, scored.sample_rate)
    assert math.isnan(made.values[1]) and made.reasons[1]["av_sync"].kind
    assert not math.isnan(made.scores["av_align"][0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: combine({}), "needs metrics"),
        (lambda: combine({"av_align": -1.0}), "Weights are positive"),
        (lambda: combine({"av_align": 1.0}, scales={"av_sync": Scale(0, 1)}), "no part of this reward"),
        (lambda: Scale(0.0, 0.0), "a positive deviation"),
        (lambda: reward("av_align")(FRAMES, 24, [np.zeros(9)], 16000), "2 clips"),
        (lambda: reward("av_align")(FRAMES, 24, None, 16000), "a sound for each clip"),
        (lambda: reward("av_align")(FRAMES, 24, np.zeros((2, 1, 9)), 16000, 5), "one prompt for each of 2 clips"),
        (lambda: reward("av_align")(FRAMES, 24, np.zeros((2, 1, 9)), 16000, columns=["a"]), "a dict of lists"),
        (lambda: combine(["av_align"]), "metrics with weights"),  # type: ignore[arg-type]
        (lambda: combine({"av_align": "1"}), "Weights are positive"),  # type: ignore[dict-item]
        (lambda: combine({"av_align": 1}, scales={"av_align": (0, 1)}), r"Scale\(mean, deviation\)"),  # type: ignore[dict-item]
        (lambda: reward("av_align", scale=(0, 1)), "a dict of Scale"),  # type: ignore[arg-type]
        (lambda: reward("av_align", device="banana"), "cpu, cuda or cuda:N"),
        (lambda: Scale("0", 1.0), "finite mean"),  # type: ignore[arg-type]
    ],
)
def test_mistakes_are_named(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        wrong()


def test_a_batch_may_be_empty() -> None:
    made = combine({"av_align": 1.0, "health_black": 1.0}).detailed([], 24, [], 16000)
    assert made.values.shape == (0,) and made.scores["av_align"].shape == (0,) and made.reasons == ()
    assert reward("health_black")(FRAMES[:0], 24, np.zeros((0, 1, 9)), 16000).shape == (0,)


def test_a_clip_that_holds_nan_costs_its_own_value() -> None:
    """A generator that went astray for one clip of a batch."""
    black = reward("health_black")
    frames, audio = torch.zeros(3, 4, 8, 8, 3), torch.zeros(3, 1, 800)
    audio[1, 0, 5], frames[2, 0, 0, 0, 0] = torch.nan, torch.inf
    made = black.detailed(frames, 24, audio, 16000)
    assert made.values.isnan().tolist() == [False, True, True] and made.values[0] == -1
    assert [reason.get("health_black") and reason["health_black"].kind for reason in made.reasons] == [
        None, "not_finite", "not_finite"
    ]  # fmt: skip
    assert "the sound" in str(made.reasons[1]["health_black"]) and "the frames" in str(made.reasons[2]["health_black"])
    assert math.isnan(black(frames[2].numpy(), 24, audio[2].numpy(), 16000))
    with pytest.raises(UsageError, match="Float frames are in"):
        black(frames[:1] + 9, 24, audio[:1], 16000)


def test_metrics_that_read_prompts_or_columns_ask_for_them(scored: Any) -> None:
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
    scored: Any, metric: str, protocol: str
) -> None:
    made = scored.made(metric, protocol=protocol)
    frames = (scored.frames[0].float() / 255).requires_grad_()
    audio = scored.audio[0].clone().requires_grad_()
    rest = (scored.fps[0], audio, scored.sample_rate, scored.prompts[0])
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


@pytest.mark.parametrize("metric", ["av_ib", "javis_score"])
def test_the_contract_looks_at_gradients(scored: Any, metric: str) -> None:
    (row,) = [row for row in check("metric", metric, WeightStore()).rows if row.name == "gradient"]
    assert (row.status, row.note) == ("ok", f"in {' and '.join(sorted(METRICS.get(metric).card.differentiable))}")


@pytest.mark.parametrize(
    ("metric", "stream"),
    [(name, stream) for name in METRICS for stream in sorted(METRICS.get(name).card.differentiable)],
)
def test_gradients_are_those_of_finite_differences(
    scored: Any, metric: str, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Along the gradient, without the rounding of pixels to bytes, past which a straight-through gradient looks."""
    from javisbench.metrics.encoders.imagebind import traced

    monkeypatch.setattr(traced, "rounded", lambda pixels: pixels)
    made = scored.made(metric)
    pixels = scored.frames[0].float() / 255
    # Noise everywhere: in silence a logarithm is curved too much for any step.
    noise = torch.randn(scored.audio[0].shape, generator=torch.Generator().manual_seed(0))
    sound = scored.audio[0] + 0.1 * noise

    def value(moved: torch.Tensor) -> torch.Tensor:
        moved.requires_grad_()
        frames, audio = (moved, sound) if stream == "picture" else (pixels, moved)
        result: torch.Tensor = made(frames, scored.fps[0], audio, scored.sample_rate, scored.prompts[0])
        return result

    start = (pixels if stream == "picture" else sound).clone()
    value(start).backward()
    assert start.grad is not None
    direction, slope = start.grad / start.grad.norm(), float(start.grad.norm())
    # In float32 a step must be long enough to be seen, and short enough for the curve to be straight.
    step = 3e-4 / slope
    ahead, behind = (float(value(start.detach() + sign * step * direction).detach()) for sign in (1, -1))
    assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=0.02)


def test_metrics_without_a_gradient_are_constants(scored: Any) -> None:
    frames = (scored.frames[0].float() / 255).requires_grad_()
    value = reward("av_align")(frames, scored.fps[0], scored.audio[0], scored.sample_rate)
    assert not value.requires_grad
    mixed = combine({"av_align": 1.0, "av_ib": 1.0}, variants={"imagebind": "tiny"})
    assert mixed(frames, scored.fps[0], scored.audio[0], scored.sample_rate).requires_grad


def test_what_metrics_share_is_traced_once(scored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    traced = ImageBindEncoder.traced

    def noted(self: ImageBindEncoder, clip: Any, spec: FeatureSpec, pixels: Any, sound: Any) -> Any:
        made.append(spec.feature)
        return traced(self, clip, spec, pixels, sound)

    monkeypatch.setattr(ImageBindEncoder, "traced", noted)
    mixed = combine({"av_ib": 1.0, "ta_ib": 1.0}, variants={"imagebind": "tiny"})
    audio = scored.audio[0].clone().requires_grad_()
    mixed(scored.frames[0], scored.fps[0], audio, scored.sample_rate, scored.prompts[0]).backward()
    assert sorted(made) == ["audio", "video_clips"]
    assert audio.grad is not None and audio.grad.abs().max() > 0


# What the documentation says.


def test_figures_of_cheats_are_those_of_the_recorded_trial() -> None:
    trial = next(trial for trial in recorded_trials() if trial.name == "scenes").trial
    page = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
    section = page.partition("### What each can be cheated with")[2].partition("\n## ")[0]
    assert f"on {trial.material['clips']} drawn scenes" in section
    told = {
        "av_sync": {"white_noise": "the sound", "blurred": "blur", "masked": "grey"},
        "av_align": {"shift": "ms", "swapped_same": "kind", "shuffled": "order", "white_noise": "the sound",
                     "frame_rate": "half the frame rate"},
        "health_silence": {"white_noise": "the sound"},
    }  # fmt: skip
    rows = {line.split("`")[1]: line for line in section.splitlines() if line.startswith("| `")}
    assert {name for name, row in rows.items() if re.search(r"\d\.\d\d", row)} == told.keys(), "all are checked"
    for found in trial.metrics:
        areas: dict[str, list[float]] = {}
        for effect in found.effects:
            if effect.auroc is not None:
                areas.setdefault(effect.damage, []).append(effect.auroc)
        for damage, words in told.get(found.metric, {}).items():
            figures = ", ".join(f"{area:.2f}" for area in areas.pop(damage))
            assert f"{words} {figures}" in rows[found.metric], (found.metric, damage, figures)
        if found.metric in told:
            assert min(area for left in areas.values() for area in left) > 0.46, "what is preferred by far is told"
    assert rows["av_sync"].count("0.") == 3 and rows["av_align"].count("0.") == 8


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
