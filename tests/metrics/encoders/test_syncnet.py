"""SyncNet and S3FD against their authors' code (tests/golden/field), and the rules of shots, tracks and crops.

Reference numbers: joonson/syncnet_python 6efbb1c on lossless frames and samples, stand-in weights seed 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from javisbench.clip import Clip, FrameRun
from javisbench.errors import FeatureError, UsageError, WeightsError
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.metrics.encoders.syncnet import SyncNetEncoder, encoder, s3fd, tracks
from javisbench.metrics.encoders.syncnet.mfcc import mfcc
from javisbench.metrics.encoders.syncnet.network import SyncNet
from javisbench.metrics.encoders.syncnet.shots import Cuts
from javisbench.metrics.encoders.syncnet.tracks import Tracker, cut_out

LIPS = FeatureSpec.of("syncnet", "lips", frame_times="shown")
DECLARED = FeatureSpec.of("syncnet", "lips")
VOICE = FeatureSpec.of("syncnet", "voice")
# Float32 sums in another order; 2e-5 to 5e-5 measured, on values up to 30.
EMBEDDING = 2e-4


@pytest.fixture(scope="module")
def small(
    lip_inputs: ModuleType,
    seeded_weights: ModuleType,
    golden_json: Callable[[str], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> SyncNetEncoder:
    """Narrow networks; S3FD finds one face in every picture."""
    folder = tmp_path_factory.mktemp("weights")
    stored = golden_json("field/syncnet")
    lip_inputs.save_weights(folder, "small", stored, seeded_weights, 3, lip_inputs.one_face("small"))
    made = SyncNetEncoder("small")
    made.load(folder, "cpu")
    return made


def features(encoder: SyncNetEncoder, clip: Clip, spec: FeatureSpec) -> Features:
    made = encoder.encode([clip], [spec])[0][spec]
    assert not isinstance(made, Exception), made
    return made


# The networks


@pytest.mark.parametrize(("file", "cls"), [("syncnet", SyncNet), ("s3fd", s3fd.S3FD)])
def test_names_and_shapes_are_the_official_ones(
    file: str, cls: type[torch.nn.Module], golden_json: Callable[[str], Any]
) -> None:
    with torch.device("meta"):
        found = {name: [list(t.shape), str(t.dtype).removeprefix("torch.")] for name, t in cls().state_dict().items()}
    assert found == golden_json(f"field/{file}")["tensors"]


def test_s3fd_meets_its_authors_stage_by_stage(
    lip_inputs: ModuleType,
    seeded_weights: ModuleType,
    golden_json: Callable[[str], Any],
    assert_fingerprint: Callable[..., None],
) -> None:
    stored = golden_json("field/s3fd")
    network = s3fd.S3FD()
    network.load_state_dict(lip_inputs.seeded(network, stored, seeded_weights, 0))
    image = np.full((256, 320, 3), 17, np.uint8)
    image[8:232, 40:264] = lip_inputs.reference_frames(0, 1)[0]
    assert_fingerprint(image, stored["image_fp"], 1e-9)
    for scale, run in stored["runs"].items():
        small = cv2.resize(image, (0, 0), fx=float(scale), fy=float(scale), interpolation=cv2.INTER_LINEAR)
        pixels = s3fd.network_input(small[None], "cpu")
        assert_fingerprint(pixels, run["input"], 1e-5)  # a mean in float32
        with torch.inference_mode():
            maps = network.maps(pixels)
            offsets, shares = network(pixels)
        for name, found in zip(("L2Norm3_3", "L2Norm4_3", "L2Norm5_3"), maps, strict=False):
            assert_fingerprint(found, run["L2Norm"][name], 2e-5)
        priors = s3fd.anchors(*small.shape[:2])
        assert_fingerprint(priors, run["priors"], 1e-7)
        assert_fingerprint(offsets, run["loc"], 5e-5)  # 1.1e-5 seen
        assert_fingerprint(shares, run["conf_softmax"], 5e-6)
        boxes = s3fd.boxes(offsets[0].numpy(), shares[0, :, 1].numpy(), priors, run["conf_th"])
        boxes = s3fd.distinct(boxes * np.array([320, 256, 320, 256, 1], np.float32))
        # In pixels; 6e-4 seen.
        np.testing.assert_allclose(boxes, run["boxes_head"], rtol=0, atol=3e-3)


def full_syncnet(lip_inputs: ModuleType, seeded_weights: ModuleType, stored: Any) -> SyncNet:
    network = SyncNet()
    network.load_state_dict(lip_inputs.seeded(network, stored, seeded_weights, 0))
    return network.eval()


def test_syncnet_meets_its_authors_stage_by_stage(
    lip_inputs: ModuleType,
    seeded_weights: ModuleType,
    golden_json: Callable[[str], Any],
    assert_fingerprint: Callable[..., None],
) -> None:
    """Sound of a whole clip; of the picture, whose windows cost a second, two around window 10."""
    whole = golden_json("field/syncnet")
    stored = whole["clips"]["clip1"]
    network = full_syncnet(lip_inputs, seeded_weights, whole)
    seen: dict[str, torch.Tensor] = {}
    for part, layers in (("netcnnlip", (3, 7, 16, 19)), ("netcnnaud", (3, 7, 17, 20))):
        for layer in layers:
            module = network.get_submodule(f"{part}.{layer}")
            module.register_forward_hook(lambda _, __, out, name=f"{part}.{layer}": seen.setdefault(name, out))
    rows = mfcc(lip_inputs.reference_sound(1))[0]
    windows = torch.from_numpy(rows[4 * np.arange(66)[:, None] + np.arange(20)]).float().transpose(1, 2)[:, None]
    crops = torch.from_numpy(lip_inputs.reference_frames(1, 6, first=9)).flip(-1).permute(3, 0, 1, 2).float()[None]
    with torch.inference_mode():
        heard, looked = network.sound(windows), network.lips(crops)[0]
    for name, fingerprint in stored["stages_window_10"].items():
        # Window 10 is the second of two of the picture, along time.
        stage = seen[name][:, :, 1:2] if name.startswith("netcnnlip") else seen[name][10:11]
        assert_fingerprint(stage, fingerprint, 1e-4)
    assert_fingerprint(heard, stored["aud_embedding"], EMBEDDING)
    np.testing.assert_allclose(looked[1, :8], stored["lip_embedding_window_10_head"], rtol=0, atol=EMBEDDING)


@pytest.mark.parametrize("clip", [0, 1])
def test_the_reference_clips_and_their_coefficients(
    clip: int, lip_inputs: ModuleType, golden_json: Callable[[str], Any], assert_fingerprint: Callable[..., None]
) -> None:
    stored = golden_json("field/syncnet")["clips"][f"clip{clip}"]
    sound = lip_inputs.reference_sound(clip)
    assert_fingerprint(sound, stored["sound_fp"], 1e-9)
    assert_fingerprint(mfcc(sound)[0], stored["mfcc"], 1e-9)  # 4e-15 seen


@pytest.mark.parametrize("first", [1, 3, 40])
def test_coefficients_of_a_sound_that_begins_later_differ_in_one_row(first: int, lip_inputs: ModuleType) -> None:
    sound = lip_inputs.reference_sound(0)[:16000]
    going_on, begun = mfcc(sound)
    cut = mfcc(sound[160 * first :])[0]
    np.testing.assert_allclose(cut[1:], going_on[first + 1 :], rtol=0, atol=1e-12)
    np.testing.assert_allclose(cut[0], begun[first], rtol=0, atol=1e-12)
    assert np.abs(cut[0] - going_on[first]).max() > 1e-6


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 401, 560, 561])
def test_coefficients_of_silence_are_finite(samples: int) -> None:
    found = mfcc(np.zeros(samples, np.int16))
    assert found.shape == (2, 1 + max(0, -(-(samples - 400) // 160)), 13) and np.isfinite(found).all()


@pytest.mark.parametrize("size", [(28, 28), (29, 57), (60, 106), (61, 107), (33, 131)])
def test_there_is_an_anchor_for_each_answer(size: tuple[int, int]) -> None:
    with torch.inference_mode():
        offsets, shares = s3fd.S3FD(64)(torch.zeros(1, 3, *size))
    priors = s3fd.anchors(*size)
    assert offsets.shape[1:] == priors.shape and shares.shape[1] == len(priors)


BOX = st.tuples(*[st.floats(0, 60, width=32)] * 2, *[st.floats(2, 40, width=32)] * 2)


@settings(max_examples=60)
@given(st.lists(BOX, max_size=12), st.sampled_from([(0.3, 0.0), (0.1, 1.0)]))
def test_no_box_that_is_kept_overlaps_a_better_one(corners: list[Any], rule: tuple[float, float]) -> None:
    overlap, longer = rule
    found = np.array([[x, y, x + w, y + h, 0] for x, y, w, h in corners], np.float32).reshape(-1, 5)

    def share(one: np.ndarray, other: np.ndarray) -> float:
        width, height = (
            max(0.0, float(min(one[k + 2], other[k + 2]) - max(one[k], other[k]) + longer)) for k in (0, 1)
        )
        areas = [float((box[2] - box[0] + longer) * (box[3] - box[1] + longer)) for box in (one, other)]
        return width * height / (sum(areas) - width * height)

    expected: list[int] = []
    for place, box in enumerate(found):
        if all(share(found[earlier], box) <= overlap + 1e-9 for earlier in expected):
            expected.append(place)
    close = any(abs(share(a, b) - overlap) < 1e-5 for i, a in enumerate(found) for b in found[:i])
    assert close or s3fd._kept(found, overlap, longer) == expected


# Shots, tracks, crops


def test_a_cut_is_a_change_of_thirty_and_not_soon_after_another() -> None:
    def plain(*colour: int) -> np.ndarray:
        return np.full((8, 8, 3), colour, np.uint8)

    # Value alone changes: 89 levels are 29.67 over hue, saturation and value, 90 are 30.
    for level, expected in ((89, False), (90, True)):
        cuts = Cuts()
        assert not cuts.is_cut(0, plain(0, 0, 0)) and cuts.is_cut(1, plain(level, level, level)) is expected
    cuts = Cuts()
    shown = [plain(0, 0, 0) if (position // 5) % 2 else plain(200, 200, 200) for position in range(60)]
    assert [position for position, frame in enumerate(shown) if cuts.is_cut(position, frame)] == [5, 20, 35, 50]
    assert cuts.found == [5, 20, 35, 50]


def test_wide_pictures_are_compared_on_a_grid() -> None:
    cuts = Cuts()
    frame = np.zeros((4, 1300, 3), np.uint8)
    cuts.is_cut(0, frame)
    frame[:, 1::3] = 255  # every third column, none of which is looked at
    assert cuts.change(frame) == 0.0


def follow(
    boxes: dict[int, list[Sequence[float]]], frames: int, cuts: Sequence[int] = (), size: tuple[int, int] = (40, 60)
) -> Tracker:
    """Tracks of boxes by frame; crops of 224 x 224 are not embedded but by their first pixel."""
    made = Tracker(lambda pieces: [np.zeros((len(piece) - 4, 1024), np.float32) for piece in pieces])
    for position in range(frames):
        frame = np.full((*size, 3), position % 251, np.uint8)
        made.see(position, frame, np.array(boxes.get(position, []), np.float64).reshape(-1, 4), cut=position in cuts)
    made.end()
    return made


FACE = (0.0, 0.0, 120.0, 130.0)


def test_a_gap_of_25_frames_is_bridged_and_one_of_26_is_not() -> None:
    at = {position: [FACE] for position in range(10)}
    moved = (10.0, 20.0, 130.0, 150.0)
    bridged = follow({**at, **{34 + k: [moved] for k in range(10)}}, 60).done
    assert [(track.first, track.frames, track.detections) for track in bridged] == [(0, 44, 20)]
    np.testing.assert_allclose(bridged[0].boxes[9 + 10], np.array(FACE) + np.array([10, 20, 10, 20]) * 10 / 25)
    apart = follow({**at, **{35 + k: [moved] for k in range(10)}}, 60).done
    assert [(track.first, track.frames) for track in apart] == [(0, 10), (35, 10)]


def test_a_face_elsewhere_begins_another_track_and_the_older_track_chooses_first() -> None:
    left, near, right = FACE, (8.0, 0.0, 128.0, 130.0), (300.0, 0.0, 420.0, 130.0)
    found = follow({k: [right, left] if k % 2 else [left, right] for k in range(12)}, 12).done
    assert [(track.first, track.detections, track.boxes[-1][0]) for track in found] == [(0, 12, 0.0), (0, 12, 300.0)]
    # Two faces on nearly the same spot from the second frame on: the one that began first takes the first of them.
    found = follow({0: [left], **{k: [near, left] for k in range(1, 12)}}, 12).done
    assert [(track.first, track.detections) for track in found] == [(0, 12), (1, 11)]


def test_tracks_end_with_their_shot_and_small_or_short_ones_do_not_count() -> None:
    always = {k: [FACE] for k in range(40)}
    assert [(t.first, t.frames) for t in follow(always, 40, cuts=(15,)).done] == [(0, 15), (15, 25)]
    assert [t.frames for t in follow({k: [FACE] for k in range(7)}, 40).done] == [7]
    assert not follow({k: [FACE] for k in range(6)}, 40).done
    for side, counts in ((100.0, False), (100.5, True)):
        assert bool(follow({k: [(0.0, 0.0, 60.0, side)] for k in range(9)}, 9).done) is counts


def test_crops_follow_the_median_of_13_frames_with_zeros_beyond_the_ends() -> None:
    from scipy.signal import medfilt

    rng = np.random.default_rng(0)
    boxes = np.array(FACE) + np.cumsum(rng.uniform(-3, 5, (40, 4)), axis=0)
    seen: list[tuple[float, float, float]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracks, "cut_out", lambda frame, *place: seen.append(place) or np.zeros((1, 1, 3), np.uint8))
        follow({k: [box] for k, box in enumerate(boxes)}, 40)
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) / 2
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2).T
    np.testing.assert_allclose(seen, np.transpose([medfilt(values, 13) for values in (half, x, y)]))


def padded_crop(frame: np.ndarray, half: float, x: float, y: float) -> np.ndarray:
    """The crop as its authors describe it: the whole picture padded with grey."""
    pad = int(1.8 * half)
    grey = np.pad(frame, ((pad, pad), (pad, pad), (0, 0)), constant_values=110)
    x, y = x + pad, y + pad
    region = grey[int(y - half) : int(y + 1.8 * half), int(x - 1.4 * half) : int(x + 1.4 * half)]
    return cv2.resize(region, (224, 224))


@settings(max_examples=60)
@given(st.floats(4, 150), st.floats(0, 90), st.floats(0, 70))
@example(69.99999999999999, 0.0, 70.0)
def test_a_crop_equals_that_of_the_padded_picture(half: float, x: float, y: float) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    np.testing.assert_array_equal(tracks._at_size(cut_out(frame, half, x, y)), padded_crop(frame, half, x, y))


def test_a_crop_of_a_place_outside_the_picture_is_grey() -> None:
    frame = np.zeros((20, 20, 3), np.uint8)
    for x, y in ((-500.0, 5.0), (5.0, 900.0), (-500.0, -500.0)):
        assert (cut_out(frame, 30.0, x, y) == 110).all()


def test_of_a_region_far_beyond_the_picture_only_what_is_seen_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    expected = [cut_out(frame, half, x, y) for half, x, y in ((150.0, 40.0, 30.0), (400.0, -100.0, 90.0))]
    monkeypatch.setattr(tracks, "MOST_REGION_PX", 224)
    found = [cut_out(frame, half, x, y) for half, x, y in ((150.0, 40.0, 30.0), (400.0, -100.0, 90.0))]
    for made, whole in zip(found, expected, strict=True):
        assert np.abs(made.astype(int) - whole.astype(int)).max() <= 1  # OpenCV's weights have 11 bits
        assert (made != 110).any()
    assert cut_out(frame, 1e6, 40.0, 30.0).shape == (224, 224, 3)


def test_a_long_clip_keeps_few_frames_and_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracks, "WAITING_BYTES", 40 * 224 * 224 * 3)
    made = Tracker(lambda pieces: [np.zeros((len(piece) - 4, 1024), np.float32) for piece in pieces])
    most = 0
    for position in range(400):
        found = [] if position % 30 > 8 else [(0.0, 0.0, 300.0, 300.0)]  # long gaps
        made.see(position, np.zeros((300, 300, 3), np.uint8), np.array(found).reshape(-1, 4), cut=False)
        most = max(most, made.held_bytes)
    made.end()
    # Crops of 40 + 24 frames, 32 frames, and what is embedded.
    assert most < 65 * 224 * 224 * 3 + 33 * 300 * 300 * 3 + 400 * 4096
    assert made.done[0].frames == 399 and made.waiting_bytes < 65 * 224 * 224 * 3
    monkeypatch.setattr(tracks, "MOST_WINDOWS", 100)
    with pytest.raises(FeatureError, match="shorter clips"):
        follow({k: [FACE] for k in range(400)}, 400, size=(240, 240))


# The encoder


def test_what_is_made_of_a_clip(small: SyncNetEncoder, lip_inputs: ModuleType) -> None:
    clip = lip_inputs.clip_of(lip_inputs.reference_frames(0, 30), lip_inputs.reference_sound(0)[:19300])
    lips, voice = features(small, clip, LIPS), features(small, clip, VOICE)
    for name, expected in (("first_frame", 0), ("frames", 30), ("detections", 30), ("frame_count", 30)):
        assert lips[name].tolist() == [expected], name
    assert lips["embeddings"].shape == (25, 1024) and voice["embeddings"].shape == (25, 1024)
    np.testing.assert_allclose(lips["faces"][7, 1:5], lip_inputs.WHOLE, atol=1e-3)
    assert lips["faces"][:, 0].tolist() == list(range(30)) and lips["cuts"].size == 0
    assert lips["size_px"][0] == pytest.approx(160.2, abs=1e-3)
    # The crop of that face is the whole picture.
    pixels = torch.from_numpy(clip.frames[:24]).flip(-1).permute(3, 0, 1, 2).float()[None]
    with torch.inference_mode():
        expected = small._loaded().sync.lips(pixels)[0].numpy()
    np.testing.assert_allclose(lips["embeddings"][:20], expected, rtol=0, atol=1e-4)
    assert voice["frame_count"].tolist() == [30]
    assert voice["rms"][0] == pytest.approx(np.sqrt(np.mean((clip.audio[0]) ** 2)), rel=1e-6)
    np.testing.assert_array_equal(voice["embeddings"][0], voice["first_embeddings"][0])
    later = lip_inputs.clip_of(clip.frames, lip_inputs.reference_sound(0)[640 * 4 : 19300])
    np.testing.assert_allclose(
        features(small, later, VOICE)["embeddings"][0], voice["first_embeddings"][4], rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("waiting_bytes", [0, tracks.WAITING_BYTES])
def test_runs_of_any_length_give_the_features_of_the_whole_clip(
    waiting_bytes: int, small: SyncNetEncoder, lip_inputs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = lip_inputs.clip_of(lip_inputs.reference_frames(0, 28), lip_inputs.reference_sound(0)[:12000], fps=24)
    clip = replace(clip, frame_times_s=clip.frame_times_s, declared_fps=clip.fps * 2)
    specs = [LIPS, DECLARED, VOICE]
    (whole,) = small.encode([clip], specs)
    assert whole[LIPS]["frame_count"] == [29] and whole[DECLARED]["frame_count"] == [15]  # type: ignore[index]
    monkeypatch.setattr(tracks, "WAITING_BYTES", waiting_bytes)
    for size in (1, 9) if waiting_bytes else (9,):
        intake = small.intake(clip.head, specs)
        for start in range(0, 28, size):
            run = FrameRun(np.arange(start, min(start + size, 28)), clip.frames[start : start + size])
            run = run.only(intake.wanted)
            if len(run.indices):
                intake.take(run)
        intake.end(())
        (made,) = small.features([intake])
        for spec in specs:
            for name, array in whole[spec].items():  # type: ignore[union-attr]
                np.testing.assert_array_equal(made[spec][name], array, err_msg=f"{spec} {name}")  # type: ignore[index]


def test_each_feature_is_of_its_stream_alone(small: SyncNetEncoder, lip_inputs: ModuleType) -> None:
    frames, sound = lip_inputs.reference_frames(0, 12), lip_inputs.reference_sound(0)[:9000]
    clip = lip_inputs.clip_of(frames, sound)
    assert SyncNetEncoder.stream(LIPS) == "picture" and SyncNetEncoder.stream(VOICE) == "sound"
    assert len(small.intake(clip.head, [VOICE]).wanted) == 0  # type: ignore[arg-type]
    for spec, other in ((LIPS, lip_inputs.clip_of(frames, None)), (VOICE, lip_inputs.clip_of(frames[:1], sound))):
        for name, array in features(small, clip, spec).items():
            np.testing.assert_array_equal(features(small, other, spec)[name], array)


def test_bad_input_has_a_reason_or_no_faces(small: SyncNetEncoder, lip_inputs: ModuleType) -> None:
    frames, sound = lip_inputs.reference_frames(0, 8), lip_inputs.reference_sound(0)[:5120]
    mute = small.encode([lip_inputs.clip_of(frames, None)], [VOICE])[0][VOICE]
    assert isinstance(mute, FeatureError) and mute.kind == "no_audio"
    broken = lip_inputs.clip_of(frames, sound)
    assert broken.audio is not None
    broken.audio[0, 5] = np.nan
    found = small.encode([broken], [LIPS, VOICE])[0]
    assert isinstance(found[VOICE], FeatureError) and found[VOICE].kind == "non_finite"
    assert found[LIPS]["frames"].tolist() == [8]  # type: ignore[index]
    for size in ((1, 1), (3, 500), (108, 110)):
        tiny = features(small, lip_inputs.clip_of(np.zeros((9, *size, 3), np.uint8), sound), LIPS)
        assert tiny["frames"].shape == (0,) and tiny["embeddings"].shape == (0, 1024) and tiny["faces"].shape == (0, 6)
    short = features(small, lip_inputs.clip_of(frames, sound[:100]), VOICE)
    assert short["embeddings"].shape == (0, 1024) and short["frame_count"].tolist() == [0]
    endless = lip_inputs.clip_of(frames, sound)
    endless = replace(endless, frame_times_s=np.array([0, *np.full(7, 1e7)]))
    refused = small.encode([endless], [LIPS])[0][LIPS]
    assert isinstance(refused, FeatureError) and refused.kind == "too_large" and "30 minutes" in refused.message


def test_boxes_that_no_picture_can_hold_are_no_faces() -> None:
    boxes = [[0.1, 0.1, 0.9, 0.9, 0.99], [-9e9, -9, 9, 9, 0.98], [0, 0, np.inf, 1, 0.97], [0.5, 0.5, 0.5, 0.9, 0.96]]
    found = encoder._in_pixels(np.array(boxes, np.float32), 100, 200)
    np.testing.assert_allclose(found, [[20, 10, 180, 90, 0.99]], rtol=1e-6)


def test_weights_are_two_files_of_one_folder(
    lip_inputs: ModuleType, seeded_weights: ModuleType, golden_json: Callable[[str], Any], tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match="needs its weights"):
        SyncNetEncoder().load(None, "cpu")
    with pytest.raises(WeightsError, match=r"There is no syncnet_v2\.model in .* and sfd_face\.pth"):
        SyncNetEncoder().load(tmp_path, "cpu")
    stored = golden_json("field/syncnet")
    lip_inputs.save_weights(tmp_path, "small", stored, seeded_weights, 0, lip_inputs.one_face("small"))
    state = torch.load(tmp_path / "syncnet_small.pth", weights_only=True)
    counters = [name for name in state if name.endswith("num_batches_tracked")]
    torch.save({n: t for n, t in state.items() if n not in counters}, tmp_path / "syncnet_small.pth")
    SyncNetEncoder("small").load(tmp_path, "cpu")
    state["stranger"] = state.pop("netfcaud.0.bias")
    torch.save(state, tmp_path / "syncnet_small.pth")
    with pytest.raises(WeightsError, match=r"SyncNet v2(.|\n)*netfcaud\.0\.bias(.|\n)*stranger"):
        SyncNetEncoder("small").load(tmp_path, "cpu")


def test_misuse_is_said(lip_inputs: ModuleType) -> None:
    clip = lip_inputs.clip_of(lip_inputs.reference_frames(0, 2), None)
    with pytest.raises(UsageError, match="load before encode"):
        SyncNetEncoder().encode([clip], [LIPS])
    with pytest.raises(UsageError, match="'lips' and 'voice'"):
        SyncNetEncoder().encode([clip], [FeatureSpec.of("syncnet", "faces")])
