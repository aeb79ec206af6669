"""TV-IB, TA-IB, AV-IB and AVHScore as functions of embeddings.

Embeddings and scores: reference evaluation, commit b505b37, stand-in weights, seed 0.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from javisbench.errors import UsageError
from javisbench.media import read_clip
from javisbench.metrics.av_ib import AVIB
from javisbench.metrics.avh_score import AVHScore
from javisbench.metrics.base import SampleContext, SampleMetric
from javisbench.metrics.imagebind_scores import ImageBindScores
from javisbench.metrics.registry import METRICS
from javisbench.metrics.ta_ib import TAIB
from javisbench.metrics.tv_ib import TVIB
from javisbench.protocol import AIST_LANDSCAPE, V1, V2

Json = Callable[[str], Any]
Npz = Callable[[str], dict[str, np.ndarray]]
NAMES = [f"sample_{index:04d}" for index in range(11)]
# The reference computes cosines in float32 (1e-7), we in float64 from the same embeddings.
SCORE = 2e-7


def score(metric: SampleMetric, **features: Any) -> float:
    return metric.score(features, SampleContext(V1)).value


def embedding(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"embedding": values.reshape(-1)}


def test_reference_scores(golden_json: Json, golden_npz: Npz) -> None:
    stored, scores = golden_npz("imagebind_embeds"), golden_json("imagebind")
    for index, name in enumerate(NAMES):
        text, audio_text = (embedding(row) for row in stored[f"{name}/text"])
        video, audio = embedding(stored[f"{name}/vision"]), embedding(stored[f"{name}/audio"])
        assert score(TVIB(), text=text, video=video) == pytest.approx(scores["ib_tv"][index], abs=SCORE)
        assert score(TAIB(), text=audio_text, audio=audio) == pytest.approx(scores["ib_ta"][index], abs=SCORE)
        assert score(AVIB(), audio=audio, video=video) == pytest.approx(scores["ib_av"][index], abs=SCORE)


def test_reference_avh_scores(golden_json: Json, golden_npz: Npz) -> None:
    stored, scores = golden_npz("av_score_embeds"), golden_json("av_score")
    for index, name in enumerate(NAMES):
        features = {"frames": {"embeddings": stored[f"{name}/frames"]}, "audio": embedding(stored[f"{name}/audio"])}
        made = AVHScore().score(features, SampleContext(V1))
        assert made.value == pytest.approx(scores["avh_score"][index], abs=SCORE)
        np.testing.assert_allclose(made.details["frame_cosine"], scores["clips"][index]["frame_cos"], atol=SCORE)


def test_avh_score_is_a_mean_over_frames() -> None:
    frames = {"embeddings": np.array([[1.0, 0], [0, 1.0], [-1.0, 0], [2.0, 0]])}
    assert score(AVHScore(), frames=frames, audio=embedding(np.array([20.0, 0]))) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("metric", "roles"),
    [
        ("tv_ib", {"text": ("text", "text"), "video": ("video_clips", "clip")}),
        ("ta_ib", {"text": ("text", "audio_text"), "audio": ("audio", "clip")}),
        ("av_ib", {"audio": ("audio", "clip"), "video": ("video_clips", "clip")}),
        ("avh_score", {"frames": ("frames", "clip"), "audio": ("audio", "clip")}),
    ],
)
def test_what_they_ask_for(metric: str, roles: dict[str, tuple[str, str]]) -> None:
    cls: Any = METRICS.get(metric)
    assert cls.card.id == metric and cls.card.higher_is_better
    for protocol in (V1, V2, AIST_LANDSCAPE):
        needs = cls().needs(protocol)
        assert {role: (spec.feature, spec.subject) for role, spec in needs.items()} == roles
        assert {spec.encoder for spec in needs.values()} == {"imagebind"}


def test_settings_that_reach_the_features() -> None:
    first, second = TAIB().needs(V1), TAIB().needs(V2)
    assert first["text"].settings == {"long_prompts": "cut"}
    assert second["text"].settings == {"long_prompts": "keep_end"}
    assert first["audio"].settings == {"channels": "left", "mean_removal": "in_place"}
    assert second["audio"].settings == {"channels": "mean", "mean_removal": "per_clip"}
    assert TVIB().needs(V1)["video"].settings == {}
    for protocol in (V2, AIST_LANDSCAPE):
        assert TVIB().needs(protocol)["video"].settings == {"frame_times": "shown"}
    assert AVHScore().needs(V1)["frames"] == AVHScore().needs(V2)["frames"]


# As an object


@pytest.fixture(scope="module")
def weights(golden_json: Json, seeded_weights: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    shapes = {name: entry[0] for name, entry in golden_json("statedict_imagebind_tiny")["tensors"].items()}
    state = seeded_weights.seeded_state_dict(shapes, "imagebind", 0)
    path: Path = tmp_path_factory.mktemp("weights") / "imagebind_tiny.pth"
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, path)
    return path


def test_the_object_meets_the_reference(golden_json: Json, clips_fake: Path, weights: Path) -> None:
    """A short clip and a stereo one of another rate, in one batch."""
    numbers, prompts = [4, 6], golden_json("prompts")
    clips = [read_clip(clips_fake / f"sample_{number:04d}.mp4") for number in numbers]
    made = ImageBindScores(weights, "tiny")(
        [clip.frames for clip in clips],
        [clip.fps for clip in clips],
        [torch.from_numpy(clip.audio) for clip in clips],
        [clip.sample_rate for clip in clips],
        text=[prompts[number]["text"] for number in numbers],
        audio_text=[prompts[number]["audio_text"] for number in numbers],
    )
    stored = golden_json("imagebind") | golden_json("av_score")
    names = {"tv_ib": "ib_tv", "ta_ib": "ib_ta", "av_ib": "ib_av"}
    assert list(made) == ["tv_ib", "ta_ib", "av_ib", "avh_score", "javis_score"]
    for name, values in made.items():
        assert values.dtype == torch.float32
        expected = [stored[names.get(name, name)][number] for number in numbers]
        assert values.tolist() == pytest.approx(expected, abs=1e-6), name


def test_prompts_of_the_object(weights: Path) -> None:
    frames, audio = torch.randint(256, (2, 6, 24, 32, 3), dtype=torch.uint8), torch.rand(2, 1, 8000)
    scores = ImageBindScores(weights, "tiny")
    one = scores(frames[0], 8, audio[0], 8000, "rain")
    assert all(value.shape == () for value in one.values())
    both = scores(frames, 8, audio, 8000, ["rain", "wind"], ["rain", "rain"])
    assert both["ta_ib"][0].item() == pytest.approx(one["ta_ib"].item(), abs=1e-5)
    assert set(ImageBindScores(weights, "tiny", prompts=False)(frames, 8, audio, 8000)) == set(one) - {"tv_ib", "ta_ib"}
    for text, told in ((None, "need text=PROMPT"), ("rain", "2 clips; got 1"), ([1, 2], "2 clips; got 2")):
        with pytest.raises(UsageError, match=told):
            scores(frames, 8, audio, 8000, text)
