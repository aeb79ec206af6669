"""What judges see and hear of a clip."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from javisbench.clip import Clip, Timeline
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.judge_view import JudgeViewEncoder, shown_frames


def clip_of(frames: int, width: int = 64, height: int = 32) -> Clip:
    """Frame i has the brightness 8 i; a tone of 440 Hz at 44.1 kHz on two channels."""
    shades = np.broadcast_to((8 * np.arange(frames, dtype=np.uint8))[:, None, None, None], (frames, height, width, 3))
    sound = 0.5 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    return Clip(shades.copy(), Fraction(8), np.stack([sound, 0 * sound]).astype(np.float32), 44100, "container")


def spec(**settings: float) -> FeatureSpec:
    return FeatureSpec.of("judge_view", "view", **{"frames": 4, "frame_px": 32, "sound_s": 30.0, **settings})


def pictures(view: dict[str, np.ndarray]) -> list[np.ndarray]:
    ends = np.cumsum(view["lengths"])
    data = view["pictures"].tobytes()
    return [np.asarray(Image.open(io.BytesIO(data[e - n : e]))) for e, n in zip(ends, view["lengths"], strict=True)]


def test_frames_from_the_middle_of_equal_parts_within_their_size_and_sound_as_one_channel() -> None:
    (made,) = JudgeViewEncoder().encode([clip_of(16)], [spec()])
    view = made[spec()]
    shown = pictures(view)
    assert [picture.shape for picture in shown] == [(16, 32, 3)] * 4
    # JPEG of one colour is within 2 of it.
    assert [float(picture.mean()) for picture in shown] == pytest.approx([8 * 2, 8 * 6, 8 * 10, 8 * 14], abs=2)
    assert view["times_s"].tolist() == [0.25, 0.75, 1.25, 1.75] and float(view["duration_s"]) == 2.0
    sound = view["sound"]
    assert sound.dtype == np.int16 and len(sound) == 16000
    spectrum = np.abs(np.fft.rfft(sound[:16000].astype(float)))
    assert int(spectrum.argmax()) == 440
    # The mean of a tone of 0.5 and silence.
    assert np.abs(sound[2000:-2000]).max() / 32768 == pytest.approx(0.25, abs=0.005)


def test_short_sizes_stay_sound_is_cut_and_may_be_missing() -> None:
    small, cut, none = spec(frame_px=256), spec(sound_s=0.5), spec(sound_s=0.0)
    (made,) = JudgeViewEncoder().encode([clip_of(16)], [small, cut, none])
    assert [picture.shape for picture in pictures(made[small])] == [(32, 64, 3)] * 4
    assert len(made[cut]["sound"]) == 8000 and len(made[none]["sound"]) == 0
    (silent,) = JudgeViewEncoder().encode([replace(clip_of(16), audio=None, sample_rate=None)], [spec()])
    assert len(silent[spec()]["sound"]) == 0 and len(silent[spec()]["lengths"]) == 4


def test_a_frame_that_is_shown_for_long_is_sent_once() -> None:
    assert shown_frames(Timeline.at_rate(2, Fraction(1)), 8).tolist() == [0, 1]
    uneven = Timeline(np.array([0.0, 0.1, 0.2]), 9.8, Fraction(20), Fraction(20))
    assert shown_frames(uneven, 4).tolist() == [2]
    (made,) = JudgeViewEncoder().encode([clip_of(1)], [spec()])
    assert len(pictures(made[spec()])) == 1
