"""JavisScore as a function of embeddings, and as an object for training loops."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from javisbench.clip import Clip
from javisbench.errors import FeatureError, UsageError, WeightsError
from javisbench.metrics.base import SampleContext
from javisbench.metrics.encoders.imagebind import ImageBindEncoder
from javisbench.metrics.javis_score import JavisScore, JavisScoreMetric, least_similar_count, window_scores
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V1, V2, parse_protocol

Json = Callable[[str], Any]
Npz = Callable[[str], dict[str, np.ndarray]]


# The number


def test_reference_scores(golden_json: Json, golden_npz: Npz) -> None:
    """Reference evaluation, commit b505b37, stand-in weights, seed 0."""
    stored, scores = golden_npz("av_score_embeds"), golden_json("av_score")
    for index, clip in enumerate(scores["clips"]):
        name = clip["id"]
        windows = {
            "embeddings": stored[f"{name}/window_audio"],
            "video_windows": np.array(clip["windows"]),
            "window_times_s": np.array(clip["windows"]) / 24,
        }
        features = {"frames": {"embeddings": stored[f"{name}/frames"]}, "windows": windows}
        made = JavisScoreMetric().score(features, SampleContext(V1))
        # The reference computes cosines in float32 (1e-7), we in float64 from the same embeddings.
        assert made.value == pytest.approx(scores["javis_score"][index], abs=2e-7)
        np.testing.assert_allclose(made.details["windows"], clip["window_scores"], rtol=0, atol=2e-7)
        assert made.details["window_times_s"] == tuple(first / 24 for first, _ in clip["windows"])
        assert made.details["window_end_times_s"] == tuple(end / 24 for _, end in clip["windows"])
        first, end = clip["windows"][0]
        assert least_similar_count(end - first, 0.4, "floor") == clip["k"]


def test_share_of_frames() -> None:
    assert [least_similar_count(n, 0.4, "floor") for n in (1, 2, 3, 5, 48, 240)] == [1, 1, 1, 2, 19, 96]
    assert [least_similar_count(n, 0.4, "ceil") for n in (1, 2, 3, 5, 48, 240)] == [1, 1, 2, 2, 20, 96]
    # 0.07 * 100 is 7.000000000000001 in float64; a share of exactly seven frames is not eight.
    assert least_similar_count(100, 0.07, "ceil") == 7


@given(st.integers(1, 5000), st.floats(0.001, 1.0))
def test_share_is_between_one_frame_and_all(frames: int, top_k: float) -> None:
    low, high = (least_similar_count(frames, top_k, rounding) for rounding in ("floor", "ceil"))  # type: ignore[arg-type]
    assert 1 <= low <= high <= frames and high - low <= 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(0.05, 1.0))
def test_least_similar_frames_are_averaged(seed: int, frames: int, top_k: float) -> None:
    rng = np.random.default_rng(seed)
    embeddings, audio = rng.normal(size=(frames, 5)), rng.normal(size=(1, 5))
    ours = window_scores(embeddings, audio, np.array([[0, frames]]), top_k=top_k)[0]
    cosine = embeddings @ audio[0] / np.linalg.norm(embeddings, axis=1) / np.linalg.norm(audio)
    assert ours == pytest.approx(np.sort(cosine)[: max(1, int(top_k * frames))].mean(), abs=1e-12)
    everything = window_scores(embeddings, audio, np.array([[0, frames]]), top_k=1.0)[0]
    assert everything == pytest.approx(cosine.mean(), abs=1e-12) and ours <= everything + 1e-12
    shuffled = window_scores(rng.permutation(embeddings), audio, np.array([[0, frames]]), top_k=top_k)[0]
    assert shuffled == pytest.approx(ours, abs=1e-12)


def test_settings() -> None:
    assert METRICS.get("javis_score") is JavisScoreMetric
    metric = JavisScoreMetric()
    # The share needs no new features, and no setting of the windows other frames.
    share = parse_protocol("javisbench-v1+top_k=0.5")
    assert metric.needs(share) == metric.needs(V1)
    assert metric.needs(V2)["frames"] == metric.needs(V1)["frames"]
    assert metric.needs(V2)["windows"].settings == {
        "channels": "mean",
        "frame_times": "shown",
        "mean_removal": "per_clip",
        "overlap_s": 1.5,
        "window_s": 2.0,
        "windows": "common",
    }
    longer = parse_protocol("javisbench-v1+window_s=3")
    assert metric.needs(longer)["windows"] == metric.needs(parse_protocol("javisbench-v1+window_s=3.0"))["windows"]
    assert metric.needs(longer)["windows"] != metric.needs(V1)["windows"]


def test_rounding_of_the_share_follows_the_protocol() -> None:
    rng = np.random.default_rng(0)
    windows = {"embeddings": rng.normal(size=(1, 4)), "video_windows": np.array([[0, 48]])}
    features = {"frames": {"embeddings": rng.normal(size=(48, 4))}}
    features["windows"] = windows | {"window_times_s": np.array([[0.0, 2.0]])}
    first, second = (JavisScoreMetric().score(features, SampleContext(p)).value for p in (V1, V2))
    expected = [
        window_scores(features["frames"]["embeddings"], windows["embeddings"], windows["video_windows"], top_k=k / 48)
        for k in (19, 20)
    ]
    assert [first, second] == pytest.approx([e[0] for e in expected], abs=1e-12)
    assert first < second


# The object


@pytest.fixture(scope="module")
def weights(golden_json: Json, seeded_weights: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    shapes = {n: shape for n, (shape, _) in golden_json("statedict_imagebind_tiny")["tensors"].items()}
    state = seeded_weights.seeded_state_dict(shapes, "imagebind", 0)
    path: Path = tmp_path_factory.mktemp("weights") / "imagebind_tiny.pth"
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def javis(weights: Path) -> JavisScore:
    return JavisScore(weights, variant="tiny")


def noise(seconds: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (round(8 * seconds), 24, 32, 3), dtype=np.uint8)
    return frames, rng.normal(scale=0.2, size=(2, round(22050 * seconds))).astype(np.float32)


def test_equals_the_metric(javis: JavisScore, weights: Path) -> None:
    frames, audio = noise(3.0, 0)
    clip = Clip(frames, Fraction(8), audio, 22050, "sidecar")
    encoder = ImageBindEncoder("tiny")
    encoder.load(weights, "cpu")
    for protocol in (V1, V2):
        needs = JavisScoreMetric().needs(protocol)
        made = encoder.encode([clip], list(needs.values()))[0]
        features: dict[str, Any] = {role: made[spec] for role, spec in needs.items()}
        expected = JavisScoreMetric().score(features, SampleContext(protocol))
        ours = JavisScore(weights, "tiny", protocol=protocol.name)
        value = ours(frames, 8, audio, 22050)
        assert value.shape == () and value.dtype == torch.float32
        assert value.item() == pytest.approx(expected.value, abs=1e-6)
        assert ours.detailed(frames, 8, audio, 22050)[0].details == expected.details


def test_kinds_of_input(javis: JavisScore) -> None:
    frames, audio = noise(2.5, 1)
    expected = javis(frames, 8, audio, 22050).item()
    as_floats = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    for given_frames, fps, given_audio in [
        (torch.from_numpy(frames), 8.0, torch.from_numpy(audio)),
        (as_floats, Fraction(8), audio.astype(np.float64)),
        (as_floats.requires_grad_(), 8, torch.from_numpy(audio).requires_grad_()),
    ]:
        assert javis(given_frames, fps, given_audio, 22050).item() == pytest.approx(expected, abs=1e-6)
    mono = javis(frames, 8, audio[0], 22050)
    assert mono.item() == javis(frames, 8, audio[:1], 22050).item()
    overshoot = torch.where(as_floats == 1, 1.1, torch.where(as_floats == 0, -0.1, as_floats)).detach()
    assert javis(overshoot, 8, audio, 22050).item() == pytest.approx(expected, abs=1e-6)
    half = javis(as_floats.detach().half(), 8, torch.from_numpy(audio), 22050).item()
    assert half == pytest.approx(expected, abs=1e-2)


def test_batches(javis: JavisScore) -> None:
    clips = [noise(2.5, seed) for seed in (2, 3)]
    alone = [javis(frames, 8, audio, 22050).item() for frames, audio in clips]
    frames, audio = (list(side) for side in zip(*clips, strict=True))
    as_list = javis(frames, 8, audio, 22050)
    assert as_list.shape == (2,)
    assert as_list.tolist() == pytest.approx(alone, abs=1e-5)
    stacked = javis(torch.from_numpy(np.stack(frames)), [8, 8], torch.from_numpy(np.stack(audio)), [22050, 22050])
    assert stacked.tolist() == pytest.approx(alone, abs=1e-5)
    assert javis(frames[:1], 8, audio[:1], 22050).shape == (1,)
    mixed = javis([frames[0], frames[1][:6]], torch.tensor([8.0, 12.0]), [audio[0], audio[1][0]], (22050, 16000))
    assert mixed[0].item() == pytest.approx(alone[0], abs=1e-5)


def test_autocast_does_not_reach_it(javis: JavisScore) -> None:
    frames, audio = noise(2.1, 4)
    expected = javis(frames, 8, audio, 22050)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(javis(frames, 8, audio, 22050), expected)


def test_overrides(weights: Path) -> None:
    frames, audio = noise(2.1, 5)
    low, high = (
        JavisScore(weights, "tiny", protocol=f"javisbench-v2+top_k={k}")(frames, 8, audio, 22050) for k in (0.1, 1.0)
    )
    assert low < high
    protocol = dataclasses.replace(V2, javis_score=dataclasses.replace(V2.javis_score, top_k=0.1))
    assert JavisScore(weights, "tiny", protocol=protocol)(frames, 8, audio, 22050) == low


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": np.zeros((4, 24, 32), np.uint8)}, "frames as .T, H, W, 3."),
        ({"frames": np.zeros((4, 24, 32, 3), np.int64)}, "frames as .T, H, W, 3."),
        ({"frames": np.zeros((0, 24, 32, 3), np.uint8)}, "frames as .T, H, W, 3."),
        ({"audio": np.zeros((1, 2, 8000))}, "audio as float"),
        ({"audio": np.zeros(8000, np.int16)}, "audio as float"),
        ({"fps": 0}, "Rates are positive"),
        ({"sample_rate": -1}, "Rates are positive"),
        ({"fps": math.nan}, "Rates are positive"),
        ({"fps": "24 fps"}, "Rates are positive"),
        ({"sample_rate": math.inf}, "Rates are positive"),
        ({"sample_rate": 7999.5}, "whole number of Hz"),
        ({"frames": np.full((4, 3, 24, 32), -1.0)}, r"in \[0, 1\]; the clip has -1 to -1"),
        ({"frames": np.full((4, 3, 24, 32), 255.0)}, r"in \[0, 1\]; the clip has 255 to 255"),
        ({"frames": np.full((4, 3, 24, 32), math.nan)}, r"in \[0, 1\]; the clip has nan"),
        ({"audio": np.full(8000, 20000.0)}, r"in \[-1, 1\]; the clip has 2e\+04"),
        ({"audio": np.full(8000, math.inf)}, r"in \[-1, 1\]; the clip has inf"),
    ],
)
def test_wrong_input(javis: JavisScore, change: dict[str, Any], message: str) -> None:
    given_input = {"frames": np.zeros((4, 24, 32, 3), np.uint8), "fps": 8, "audio": np.zeros(8000), "sample_rate": 8000}
    with pytest.raises(UsageError, match=message):
        javis(**(given_input | change))


def test_clips_without_a_score_are_named(javis: JavisScore) -> None:
    frames, audio = noise(0.5, 6)
    with pytest.raises(FeatureError, match="clip 1 of the batch") as caught:
        javis([frames, frames], 8, [audio, audio[:, :100]], 22050)
    assert caught.value.kind == "audio_too_short"
    with pytest.raises(UsageError, match="2 clips of frames, but 1 of audio"):
        javis([frames, frames], 8, [audio], 22050)


def test_weights_are_looked_for(
    weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, javis: JavisScore
) -> None:
    monkeypatch.setenv("JAVISBENCH_WEIGHTS", str(weights.parent))
    frames, audio = noise(0.5, 7)
    assert torch.equal(JavisScore(variant="tiny")(frames, 8, audio, 22050), javis(frames, 8, audio, 22050))
    monkeypatch.setenv("JAVISBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="javisbench weights fetch imagebind_huge"):
        JavisScore()
