from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from javisbench.clip import Clip
from javisbench.metrics.av_align import AVAlign, count_matched, count_near, motion_peaks
from javisbench.metrics.base import SampleContext, SampleScore
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.encoders.base import Features
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V1, V2, Protocol

# OpenCV 4.10 to 5.0 differ by up to 2e-6 pixels in the mean flow; peaks and scores do not move.
FLOW_TOLERANCE = 1e-5
# Rounding of the spectrum in another FFT and matrix library, on an envelope of up to 45 dB.
ENVELOPE_TOLERANCE = 2e-5


def read(video: Path) -> Clip:
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
        fps = stream.average_rate
    audio, rate = soundfile.read(video.with_suffix(".wav"), dtype="float32", always_2d=True)
    return Clip(frames, Fraction(fps), np.ascontiguousarray(audio.T), rate)


def encode(clip: Clip) -> dict[str, Features]:
    features: dict[str, Features] = {}
    for role, spec in AVAlign().needs(V1).items():
        made = ENCODERS.get(spec.encoder)().encode([clip], [spec])[0][spec]
        assert not isinstance(made, Exception)
        features[role] = made
    return features


def score(features: dict[str, Features], protocol: Protocol) -> SampleScore:
    return AVAlign().score(features, SampleContext(protocol))


def features_of(onsets: list[float], magnitude: list[float], fps: float = 24.0) -> dict[str, Features]:
    return {
        "onsets": {"times_s": np.array(onsets, dtype=np.float64), "envelope": np.zeros(9, np.float32)},
        "motion": {"magnitude": np.array(magnitude, dtype=np.float64), "fps": np.array([fps])},
    }


# Scores of all clips are compared through the command line (test_golden_cli.py); stages of the others are slow tests.
@pytest.mark.parametrize(
    "row", [0, 4, 7, *(pytest.param(row, marks=pytest.mark.slow) for row in (1, 2, 3, 5, 6, 8, 9, 10))]
)
def test_v1_equals_the_reference_evaluation(row: int, golden_json: Callable[[str], Any], clips_fake: Path) -> None:
    reference = golden_json("av_align")
    expected = reference["clips"][row]
    features = encode(read(clips_fake / f"{expected['id']}.mp4"))

    assert features["onsets"]["times_s"].tolist() == expected["onset_times"]
    envelope = expected["onset_envelope"]
    assert features["onsets"]["envelope"].shape == tuple(envelope["shape"])
    np.testing.assert_allclose(
        features["onsets"]["envelope"][envelope["idx"]], envelope["val"], rtol=0, atol=ENVELOPE_TOLERANCE
    )
    np.testing.assert_allclose(
        features["motion"]["magnitude"], expected["flow_trajectory"], rtol=0, atol=FLOW_TOLERANCE
    )
    result = score(features, V1)
    assert result.value == pytest.approx(reference["av_align"][row], abs=1e-12)
    assert list(result.details["peak_times_s"]) == expected["video_peaks"]
    assert list(result.details["onset_times_s"]) == expected["onset_times"]
    assert 0 <= score(features, V2).value <= result.value + 1e-6


def test_two_onsets_at_one_peak_count_twice_in_v1_and_once_in_v2() -> None:
    features = features_of([1.00, 1.02], [0, 1, 0], fps=1 / 1.01)
    assert score(features, V1).value == pytest.approx(2.0, abs=1e-5)
    assert score(features, V2).value == 0.5


def test_the_windows_are_open() -> None:
    assert count_near([2.0, 4.0], [3.0], 1.0) == count_matched([2.0, 4.0], [3.0], 1.0) == 0
    assert count_near([2.001, 3.999], [3.0], 1.0) == 2
    assert count_matched([2.001, 3.999], [3.0], 1.0) == 1


@pytest.mark.parametrize("protocol", [V1, V2])
@pytest.mark.parametrize(
    ("onsets", "magnitude"),
    [
        pytest.param([], [0.0] * 9, id="silence over a still picture"),
        pytest.param([], [0, 1, 0, 2, 0], id="silence"),
        pytest.param([0.1, 0.2], [1.0] * 9, id="a still picture"),
        pytest.param([0.0], [0.0], id="one frame"),
        pytest.param([0.04], [0.0, 5.0], id="two frames"),
    ],
)
def test_nothing_to_align_scores_zero(protocol: Protocol, onsets: list[float], magnitude: list[float]) -> None:
    assert score(features_of(onsets, magnitude), protocol).value == 0.0


def test_perfect_alignment_scores_one_in_v2() -> None:
    features = features_of([1 / 24, 3 / 24], [0, 1, 0, 1, 0])
    assert score(features, V2).value == 1.0
    assert score(features, V1).value == pytest.approx(1.0, abs=1e-6)


def test_peaks_are_strict_local_maxima_inside() -> None:
    magnitude = np.array([9.0, 1, 2, 1, 3, 3, 1, 4, 0, 9])
    assert motion_peaks(magnitude, 10.0).tolist() == [0.2, 0.7]


times = st.lists(st.integers(0, 400), max_size=12).map(lambda ticks: sorted(tick / 100 for tick in ticks))


@given(onsets=times, peaks=times, tolerance=st.sampled_from([0.011, 0.0333, 0.0417, 0.3]))
def test_one_to_one_matching_is_maximum(onsets: list[float], peaks: list[float], tolerance: float) -> None:
    near = np.array([[v - tolerance < a < v + tolerance for v in peaks] for a in onsets], dtype=np.int8)
    expected = 0
    if near.size:
        expected = int((maximum_bipartite_matching(csr_array(near), perm_type="column") >= 0).sum())
    assert count_matched(onsets, peaks, tolerance) == expected
    assert count_matched(onsets, peaks, tolerance) <= count_near(onsets, peaks, tolerance) <= len(onsets)


@given(onsets=times, magnitude=st.lists(st.floats(0, 50), min_size=1, max_size=60))
def test_v2_stays_between_zero_and_one_and_v1_is_not_below_it(onsets: list[float], magnitude: list[float]) -> None:
    features = features_of(onsets, magnitude)
    corrected = score(features, V2).value
    assert 0 <= corrected <= 1
    assert score(features, V1).value >= corrected - 1e-5


def test_the_protocols_share_their_features() -> None:
    assert AVAlign().needs(V1) == AVAlign().needs(V2)
    assert METRICS.get("av_align") is AVAlign
