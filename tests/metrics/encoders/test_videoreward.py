"""The adapter of VideoReward, with a stand-in scorer that speaks its lines of JSON."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from javisbench.clip import Clip
from javisbench.errors import FeatureError, MissingWeightsError, UsageError, WeightsError
from javisbench.metrics.encoders import ENCODERS, videoreward
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.videoreward import COMMAND, VideoRewardEncoder

SPEC = FeatureSpec.of("videoreward", "rewards")

SCORER = """
import json, sys, time
import numpy as np

mode = sys.argv[1]
hello = json.loads(sys.stdin.readline())
assert hello["device"] == "cpu" and hello["weights"].endswith("VideoReward"), hello
if mode == "refuse":
    sys.exit(3)
print("loading a model ...")
print(json.dumps({"ready": mode != "unready"}), flush=True)
for line in sys.stdin:
    question = json.loads(line)
    frames = np.load(question["frames"])
    assert frames.dtype == np.uint8 and frames.ndim == 4
    answer = {"id": question["id"], "VQ": float(frames.mean()), "MQ": question["fps"]}
    if len(frames) == 1:
        answer = {"id": question["id"], "error": "one frame has no motion"}
    if mode == "nan":
        answer["VQ"] = float("nan")
    if mode == "late":
        answer["id"] -= 1
    if mode == "die" and question["id"] == 1:
        sys.exit(7)
    if mode == "hang" and question["id"] == 1:
        time.sleep(60)
    print("3.5")
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], VideoRewardEncoder]]:
    script, weights = tmp_path / "my scorer.py", tmp_path / "VideoReward"
    script.write_text(SCORER, encoding="utf-8")
    weights.mkdir()
    encoders: list[VideoRewardEncoder] = []

    def begin(mode: str) -> VideoRewardEncoder:
        monkeypatch.setenv(COMMAND, shlex.join([sys.executable, str(script), mode]))
        encoders.append(VideoRewardEncoder())
        encoders[-1].load(weights, "cpu")
        return encoders[-1]

    yield begin
    for encoder in encoders:
        encoder.close()


def test_ratings_are_the_scorers(start: Callable[[str], VideoRewardEncoder], noise_clip: Callable[..., Clip]) -> None:
    encoder = start("fine")
    clips = [noise_clip(0.5, 1), noise_clip(0.5, 2, fps=30)]
    for _ in range(2):
        results = [result[SPEC]["rewards"] for result in encoder.encode(clips, [SPEC])]  # type: ignore[index]
        for clip, rewards in zip(clips, results, strict=True):
            np.testing.assert_allclose(rewards, [clip.frames.mean(), float(clip.fps)])
    assert ENCODERS.get("videoreward") is VideoRewardEncoder


def test_what_the_scorer_cannot_rate_has_its_reason(
    start: Callable[[str], VideoRewardEncoder], noise_clip: Callable[..., Clip]
) -> None:
    one, other = (result[SPEC] for result in start("fine").encode([noise_clip(0.01), noise_clip(1)], [SPEC]))
    assert isinstance(one, FeatureError) and "one frame has no motion" in one.message and one.kind == "scorer"
    assert not isinstance(other, FeatureError)


@pytest.mark.parametrize("mode", ["nan", "late"])
def test_answers_that_are_no_ratings_are_refused(
    mode: str, start: Callable[[str], VideoRewardEncoder], noise_clip: Callable[..., Clip]
) -> None:
    (result,) = start(mode).encode([noise_clip(0.2)], [SPEC])
    assert isinstance(result[SPEC], FeatureError) and "it answered" in result[SPEC].message


@pytest.mark.parametrize(("mode", "reason"), [("die", "status 7"), ("hang", "did not answer in 2 s")])
def test_a_scorer_that_ends_or_hangs_is_said(
    mode: str,
    reason: str,
    start: Callable[[str], VideoRewardEncoder],
    noise_clip: Callable[..., Clip],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = start(mode)
    monkeypatch.setattr(videoreward, "_CLIP_LIMIT_S", 2.0)
    first, second, third = (result[SPEC] for result in encoder.encode([noise_clip(0.2)] * 3, [SPEC]))
    assert not isinstance(first, FeatureError)
    assert isinstance(second, FeatureError) and reason in second.message
    assert isinstance(third, FeatureError) and "has ended" in third.message


@pytest.mark.parametrize(("mode", "reason"), [("refuse", "status 3"), ("unready", "in place of")])
def test_a_scorer_that_does_not_get_ready_is_said(
    mode: str, reason: str, start: Callable[[str], VideoRewardEncoder]
) -> None:
    with pytest.raises(WeightsError, match=reason):
        start(mode)


def test_without_command_or_weights_nothing_is_made_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(COMMAND, raising=False)
    with pytest.raises(MissingWeightsError, match=COMMAND):
        VideoRewardEncoder().load(tmp_path, "cpu")
    monkeypatch.setenv(COMMAND, "no-such-program-here --please")
    with pytest.raises(MissingWeightsError, match="not at None"):
        VideoRewardEncoder().load(None, "cpu")
    with pytest.raises(WeightsError, match="cannot be started"):
        VideoRewardEncoder().load(tmp_path, "cpu")
    monkeypatch.setenv(COMMAND, "'unclosed")
    with pytest.raises(WeightsError, match="cannot be started"):
        VideoRewardEncoder().load(tmp_path, "cpu")


def test_misuse_is_said(start: Callable[[str], VideoRewardEncoder]) -> None:
    with pytest.raises(UsageError, match="load before encode"):
        VideoRewardEncoder().encode([], [SPEC])
    with pytest.raises(UsageError, match="'text'"):
        start("fine").encode([], [FeatureSpec.of("videoreward", "text")])
