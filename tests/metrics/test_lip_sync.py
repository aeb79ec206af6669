"""LSE-C, LSE-D and the lip offset from stored embeddings: the reference's numbers, known shifts, and who counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.errors import MetricError, UsageError
from javisbench.metrics.av_offset_ms import AVOffsetMs
from javisbench.metrics.base import SampleContext, SampleScore
from javisbench.metrics.lip_sync import LipMetric, TrackSync, counting, mean_distances
from javisbench.metrics.lse_c import LSEC
from javisbench.metrics.lse_d import LSED
from javisbench.metrics.registry import METRICS
from javisbench.protocol import PROTOCOLS, V1, V2, LipSettings, parse_protocol, protocol_at
from javisbench.run.plan import select_metrics

ALL: dict[str, LipMetric] = {"lse_c": LSEC(), "lse_d": LSED(), "av_offset_ms": AVOffsetMs()}


def made(*tracks: tuple[int, np.ndarray], sound: np.ndarray, frames: int = 100, rms: float = 0.1) -> dict[str, Any]:
    """Features of tracks, each given by its first frame and its windows; of a sound its windows."""
    return {
        "lips": {
            "embeddings": np.concatenate([windows for _, windows in tracks] or [np.zeros((0, 1024), np.float32)]),
            "first_frame": np.array([first for first, _ in tracks], np.int64),
            "frames": np.array([len(windows) + 5 for _, windows in tracks], np.int64),
            "detections": np.array([len(windows) + 5 for _, windows in tracks], np.int64),
            "size_px": np.full(len(tracks), 120.0),
            "faces": np.zeros((0, 6), np.float32),
            "cuts": np.zeros(0, np.int64),
            "frame_count": np.array([frames]),
        },
        "voice": {
            "embeddings": sound,
            "first_embeddings": sound,
            "frame_count": np.array([len(sound) + 5]),
            "rms": np.array([rms]),
        },
    }


def scored(metric: str, features: dict[str, Any], **changed: Any) -> SampleScore:
    protocol = replace(V2, lips=LipSettings(**changed))
    return ALL[metric].score(features, SampleContext(protocol))


def reason(features: dict[str, Any], **changed: Any) -> str:
    """The kind of the error that all three have."""
    kinds = set()
    for metric in ALL:
        with pytest.raises(MetricError) as caught:
            scored(metric, features, **changed)
        kinds.add(caught.value.kind)
    (kind,) = kinds
    assert kind in LipMetric.not_applicable or kind == "non_finite"
    return str(kind)


def random(windows: int, seed: int, width: int = 1024) -> np.ndarray:
    return np.random.default_rng(seed).normal(5, 5, (windows, width)).astype(np.float32)


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(0, 2**31))
def test_distances_are_those_of_a_plain_loop(windows: int, seed: int) -> None:
    lips, sound = random(windows, seed, 12).astype(np.float64), random(windows, seed + 1, 12).astype(np.float64)
    expected = np.zeros((windows, 31))
    for i in range(windows):
        for j in range(31):
            heard = sound[i + j - 15] if 0 <= i + j - 15 < windows else np.zeros(12)
            expected[i, j] = np.sqrt(np.sum((lips[i] - heard + 1e-6) ** 2))
    np.testing.assert_allclose(mean_distances(lips, sound), expected.mean(axis=0), rtol=1e-12)


def test_long_clips_are_compared_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    lips, sound = random(70, 1, 8), random(70, 2, 8)
    whole = mean_distances(lips, sound)
    monkeypatch.setattr("javisbench.metrics.lip_sync._WINDOWS_AT_ONCE", 16)
    np.testing.assert_allclose(mean_distances(lips, sound), whole, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(-15, 15), st.integers(0, 2**31))
def test_sound_that_is_moved_moves_the_offset_by_as_much(late_frames: int, seed: int) -> None:
    """A face whose windows fit one place of the sound each; the sound then comes `late_frames` later."""
    spoken = random(150, seed, 64)
    lips = np.pad(spoken[20:100], ((0, 0), (0, 960)))
    sound = np.pad(spoken[20 - late_frames : 100 - late_frames], ((0, 0), (0, 960)))
    features = made((0, lips), sound=sound)
    found = scored("av_offset_ms", features)
    assert found.value == pytest.approx(40 * abs(late_frames))
    assert found.details["offset_ms"] == pytest.approx((40.0 * late_frames,)), "positive when the sound is late"
    assert found.details["offset_frames"] == (-float(late_frames),)
    distances = found.details["mean_distances"]
    assert np.argmin(distances) == 15 + late_frames
    assert scored("lse_d", features).value == pytest.approx(min(distances))
    assert scored("lse_c", features).value == pytest.approx(np.median(distances) - min(distances))


def track(confidence: float, distance: float, offset_frames: int = 0) -> TrackSync:
    distances = np.full(31, distance + confidence)
    distances[15 - offset_frames] = distance
    return TrackSync(0, 50, 50, distances)


def test_of_several_faces_the_one_that_fits_best_counts_or_all_do() -> None:
    faces = [track(2.0, 9.0), track(5.0, 10.0, 2), track(3.0, 9.5)]  # confidence less distance: -7, -5, -6.5
    assert counting(faces, LipSettings()) == [faces[1]]
    assert counting(faces, LipSettings(several_faces="mean")) == faces
    speaker, silent, sound = random(60, 1), random(60, 2), random(60, 1)
    features = made((0, silent), (0, speaker), sound=sound)
    alone = scored("lse_d", made((0, speaker), sound=sound)).value
    other = scored("lse_d", made((0, silent), sound=sound)).value
    assert scored("lse_d", features).value == alone < other
    assert scored("lse_d", features).details["counts"] == (0.0, 1.0)
    assert scored("lse_d", features, several_faces="mean").value == pytest.approx((alone + other) / 2)


def test_absolute_offsets_are_averaged_so_that_leads_and_lags_do_not_cancel() -> None:
    spoken = random(120, 4)
    early, late = spoken[10:70], spoken[18:78]
    features = made((0, early), (0, late), sound=spoken[14:74])
    found = scored("av_offset_ms", features, several_faces="mean")
    assert found.value == pytest.approx(160.0)
    assert sorted(found.details["offset_ms"]) == pytest.approx([-160.0, 160.0])


@pytest.mark.parametrize(("frames", "dropped"), [(13, False), (14, True), (-14, True), (15, True)])
def test_offsets_at_the_edge_are_kept_or_dropped(frames: int, dropped: bool) -> None:
    spoken = random(150, 5)
    features = made((0, spoken[30:100]), sound=spoken[30 - frames : 100 - frames])
    assert scored("av_offset_ms", features).value == pytest.approx(40 * abs(frames))
    if dropped:
        assert reason(features, edge_offsets="dropped") == "edge_offset"
    else:
        assert scored("av_offset_ms", features, edge_offsets="dropped").value == pytest.approx(520)


def test_faces_with_little_confidence_count_where_they_are_asked_for() -> None:
    faces = [track(2.0, 9.0), track(5.0, 10.0, 2), track(3.0, 9.5)]
    assert counting(faces, LipSettings(several_faces="mean", least_confidence=3.0)) == faces[1:]
    assert counting(faces, LipSettings(least_confidence=3.0)) == [faces[1]]
    with pytest.raises(MetricError, match=r"confidence of 6 .*; the largest is 5.00") as caught:
        counting(faces, LipSettings(least_confidence=6.0))
    assert caught.value.kind in LSEC.not_applicable
    # What the suite's own programs pass; earlier results stay readable, under their revision.
    today, before = PROTOCOLS["avgen-bench"], protocol_at("avgen-bench", 1)
    assert before is not None and (before.lips.least_confidence, today.lips.least_confidence) == (0.0, 1.0)


def test_sound_is_cut_where_a_face_appears_and_ends() -> None:
    sound, first, lips = random(100, 6), random(100, 7), random(40, 8)
    features = made((30, lips), sound=sound)
    features["voice"]["first_embeddings"] = first
    cut = np.concatenate([first[30:31], sound[31:70]])
    np.testing.assert_allclose(scored("lse_d", features).details["mean_distances"], mean_distances(lips, cut))
    # The sound ends 20 windows after the face appears: no more of the face counts.
    features = made((80, lips), sound=sound)
    np.testing.assert_allclose(
        scored("lse_d", features).details["mean_distances"], mean_distances(lips[:20], sound[80:])
    )


def test_what_has_no_number_has_a_reason() -> None:
    lips, sound = random(60, 9), random(60, 10)
    assert reason(made(sound=sound)) == "no_face"
    assert reason(made((0, lips[:15]), sound=sound)) == "no_face", "found in 20 frames, and more are asked for"
    assert scored("lse_c", made((0, lips[:16]), sound=sound)).value >= 0
    assert scored("lse_c", made((0, lips[:15]), sound=sound), min_track_frames=19).value >= 0
    assert reason(made((0, lips), sound=sound), min_track_frames=65) == "no_face"
    assert reason(made((0, lips[:10]), sound=sound, frames=20)) == "too_short"
    assert reason(made((0, lips), sound=sound[:0])) == "too_short"
    assert reason(made((70, lips), sound=sound)) == "too_short", "the sound ends before"
    assert reason(made((0, lips), sound=sound, rms=0.0)) == "silent"
    broken = made((0, lips), sound=sound)
    broken["lips"]["embeddings"][3, 3] = np.nan
    assert reason(broken) == "non_finite"


def test_they_come_when_asked_for_by_name() -> None:
    assert not set(ALL) & set(select_metrics(None, V1)) and not set(ALL) & set(select_metrics(None, V2))
    assert select_metrics([*ALL], V1) == [*ALL]
    for name in ALL:
        assert METRICS.get(name).card.id == name
    assert dict(LSEC().needs(V1)["lips"].prep) == {} and dict(LSEC().needs(V2)["lips"].prep) == {"frame_times": "shown"}
    assert {LSED().needs(V1)["voice"], AVOffsetMs().needs(V2)["voice"]} == {LSEC().needs(V1)["voice"]}


@pytest.mark.parametrize("value", ["5", "0", "45001", "many"])
def test_an_impossible_shortest_track_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="min_track_frames"):
        parse_protocol(f"javisbench-v1+min_track_frames={value}")


def test_settings_are_part_of_a_protocol() -> None:
    protocol = parse_protocol("javisbench-v2+min_track_frames=100+several_faces=mean+edge_offsets=dropped")
    assert protocol.lips == LipSettings(100, "mean", "dropped")
    assert protocol.settings()["lips"] == {
        "min_track_frames": 100, "several_faces": "mean", "edge_offsets": "dropped", "least_confidence": 0.0
    }  # fmt: skip


def test_distances_of_the_reference_clips(golden_json: Callable[[str], Any]) -> None:
    """The three numbers from the reference's own distances; from its embeddings: tests/run/test_lips_cli.py."""
    for stored in golden_json("field/syncnet")["clips"].values():
        distances: Sequence[float] = stored["mean_distance_per_offset_float64"]
        found = TrackSync(0, stored["min_length"], stored["min_length"], np.array(distances))
        assert found.distance == pytest.approx(stored["LSE-D_float64"], abs=1e-9)
        assert found.confidence == pytest.approx(stored["LSE-C_float64"], abs=1e-9)
        assert found.offset_frames == stored["offset"]
