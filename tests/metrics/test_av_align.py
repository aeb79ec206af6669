from __future__ import annotations

from collections.abc import Callable, Sequence
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


def features_of(
    onsets: list[float], magnitude: list[float], fps: float = 24.0, shown_s: Sequence[float] | None = None
) -> dict[str, Features]:
    """`shown_s`: when each frame is shown and the last one ends; at `fps`, which the header declares, when left out."""
    return {
        "onsets": {"times_s": np.array(onsets, dtype=np.float64), "envelope": np.zeros(9, np.float32)},
        "motion": {
            "magnitude": np.array(magnitude, dtype=np.float64),
            "times_s": np.arange(len(magnitude) + 1) / fps if shown_s is None else np.array(shown_s),
            "declared_fps": np.array([fps]),
        },
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
    first, last = np.array([2.0]), np.array([4.0])
    edges, inside = np.array([2.0, 4.0]), np.array([2.001, 3.999])
    assert count_near(edges, first, last) == count_matched(edges, first, last) == 0
    assert count_near(inside, first, last) == 2
    assert count_matched(inside, first, last) == 1


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
    assert motion_peaks(magnitude).tolist() == [2, 7]


times = st.lists(st.integers(0, 400), max_size=12).map(lambda ticks: sorted(tick / 100 for tick in ticks))


def largest_matching(onsets: np.ndarray, first: np.ndarray, last: np.ndarray) -> int:
    near = (first[None] < onsets[:, None]) & (onsets[:, None] < last[None])
    if not near.size:
        return 0
    return int((maximum_bipartite_matching(csr_array(near.astype(np.int8)), perm_type="column") >= 0).sum())


@given(onsets=times, peaks=times, tolerance=st.sampled_from([0.011, 0.0333, 0.0417, 0.3]))
def test_one_to_one_matching_is_maximum(onsets: list[float], peaks: list[float], tolerance: float) -> None:
    at, first, last = np.array(onsets), np.array(peaks) - tolerance, np.array(peaks) + tolerance
    assert count_matched(at, first, last) == largest_matching(at, first, last)
    assert count_matched(at, first, last) <= count_near(at, first, last) <= len(onsets)


@given(onsets=times, windows=st.lists(st.tuples(st.integers(-30, 400), st.integers(1, 120)), max_size=12))
def test_matching_is_maximum_for_windows_of_unequal_width(onsets: list[float], windows: list[tuple[int, int]]) -> None:
    """Windows may begin together, and lie within one another."""
    windows = sorted(windows)
    first = np.array([begin / 100 for begin, _ in windows])
    last = np.array([(begin + width) / 100 for begin, width in windows])
    at = np.array(onsets)
    assert count_matched(at, first, last) == largest_matching(at, first, last)
    assert count_near(at, first, last) == sum(any(a < o < b for a, b in zip(first, last, strict=True)) for o in onsets)


def test_a_wide_window_leaves_an_onset_to_a_narrow_one_that_begins_later() -> None:
    first, last = np.array([0.0, 0.5]), np.array([3.0, 1.0])
    assert count_matched(np.array([0.75, 2.0]), first, last) == 2


# Frames at times of their own


TWO_RATES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.2]  # 10 fps, then 5


def test_v2_finds_peaks_where_frames_are_shown_and_v1_where_the_header_puts_them() -> None:
    features = features_of([0.2, 0.8], [0, 0, 1, 0, 0, 0, 1, 0], fps=20.0, shown_s=TWO_RATES)
    shown, declared = score(features, V2), score(features, V1)
    assert shown.details["peak_times_s"] == (0.2, 0.8) and shown.value == 1.0
    assert declared.details["peak_times_s"] == (0.1, 0.3)
    assert declared.value == 0.0


@pytest.mark.parametrize(("onset", "near"), [(0.31, True), (0.29, False), (0.59, True), (0.61, False)])
def test_a_frame_is_as_long_as_the_one_before_and_as_its_own_time(onset: float, near: bool) -> None:
    """A peak at 0.4 s, where the rate changes: 0.1 s before it still count, and 0.2 s after it."""
    features = features_of([onset], [0, 0, 0, 0, 1, 0, 0, 0], fps=20.0, shown_s=TWO_RATES)
    assert score(features, V2).value == float(near)


def test_a_held_frame_keeps_its_peak_while_it_is_shown() -> None:
    """Three frames at 10 fps, the fourth held for two seconds, then three more."""
    shown_s = [0.0, 0.1, 0.2, 0.3, 2.3, 2.4, 2.5, 2.6]
    held = features_of([1.5], [0, 0, 0, 1, 0, 0, 0], fps=10.0, shown_s=shown_s)
    assert score(held, V2).details["peak_times_s"] == (0.3,)
    assert (score(held, V2).value, score(held, V1).value) == (1.0, 0.0)
    # The first frame after it: its window reaches back over the held one, and so it may be the one that is heard.
    after = features_of([1.5], [0, 0, 0, 0, 1, 0, 0], fps=10.0, shown_s=shown_s)
    assert score(after, V2).details["peak_times_s"] == (2.3,) and score(after, V2).value == 1.0
    both = features_of([0.25, 2.35], [0, 0, 0, 1, 0, 1, 0], fps=10.0, shown_s=shown_s)
    assert score(both, V2).value == 1.0


@given(onsets=times, magnitude=st.lists(st.floats(0, 50), min_size=1, max_size=60), data=st.data())
def test_at_any_times_v2_stays_between_zero_and_one(
    onsets: list[float], magnitude: list[float], data: st.DataObject
) -> None:
    gaps = data.draw(st.lists(st.integers(1, 50), min_size=len(magnitude), max_size=len(magnitude)))
    shown_s = [0.0, *(np.cumsum(gaps) / 100).tolist()]
    found = score(features_of(onsets, magnitude, shown_s=shown_s), V2)
    assert 0 <= found.value <= 1
    assert set(found.details["peak_times_s"]) <= set(shown_s[1:-1])


@given(onsets=times, magnitude=st.lists(st.floats(0, 50), min_size=1, max_size=60))
def test_v2_stays_between_zero_and_one_and_v1_is_not_below_it(onsets: list[float], magnitude: list[float]) -> None:
    features = features_of(onsets, magnitude)
    corrected = score(features, V2).value
    assert 0 <= corrected <= 1
    assert score(features, V1).value >= corrected - 1e-5


def test_the_protocols_share_their_features() -> None:
    assert AVAlign().needs(V1) == AVAlign().needs(V2)
    assert METRICS.get("av_align") is AVAlign
