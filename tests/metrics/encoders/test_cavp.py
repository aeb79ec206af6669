"""CAVP against the reference evaluation (commit b505b37, stand-in weights, seed 0) and its own rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from javisbench.clip import Clip
from javisbench.errors import FeatureError, UsageError, WeightsError
from javisbench.metrics.base import SampleContext
from javisbench.metrics.cavp_score import CAVPScore
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.cavp import CAVPEncoder, network, preparation
from javisbench.metrics.encoders.preprocessing.mel_filters import slaney_mel_filters
from javisbench.protocol import V1

VIDEO, AUDIO = FeatureSpec.of("cavp", "video"), FeatureSpec.of("cavp", "audio")
# Widths that a core can do quickly; only numbers differ from the official network.
TINY = network.CAVPConfig(video_width=2, video_depths=(1, 2, 1, 1), audio_width=2, embed_dim=16)


def shapes_of(config: network.CAVPConfig) -> dict[str, list[int]]:
    with torch.device("meta"):
        return {name: list(tensor.shape) for name, tensor in network.CAVP(config).state_dict().items()}


def save_weights(path: Path, seeded: ModuleType, config: network.CAVPConfig, seed: int) -> Path:
    """A checkpoint as the official one is laid out, another part of the training included."""
    arrays = seeded.seeded_state_dict(shapes_of(config), "cavp", seed)
    state = {f"module.{name}": torch.from_numpy(array) for name, array in arrays.items()}
    torch.save({"state_dict": {**state, "module.momentum_head.weight": torch.zeros(2)}, "epoch": 66}, path)
    return path


@pytest.fixture(scope="module")
def full(seeded_weights: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> CAVPEncoder:
    encoder = CAVPEncoder()
    path = tmp_path_factory.mktemp("weights") / "cavp_epoch66.ckpt"
    encoder.load(save_weights(path, seeded_weights, network.VARIANTS["full"], 0), "cpu")
    return encoder


@pytest.fixture(scope="module")
def tiny(seeded_weights: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> CAVPEncoder:
    """Another seed, a few channels."""
    path = tmp_path_factory.mktemp("weights") / "tiny.ckpt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(network.VARIANTS, "tiny", TINY)
        encoder = CAVPEncoder("tiny")
        encoder.load(save_weights(path, seeded_weights, TINY, 1), "cpu")
    return encoder


def embeddings(encoder: CAVPEncoder, clips: list[Clip], spec: FeatureSpec) -> list[np.ndarray]:
    return [np.asarray(result[spec]["embeddings"]) for result in encoder.encode(clips, [spec])]  # type: ignore[index]


def test_names_and_shapes_are_the_official_ones(golden_json: Callable[[str], Any]) -> None:
    official = {name: shape for name, (shape, _) in golden_json("statedict_cavp")["tensors"].items()}
    assert shapes_of(network.VARIANTS["full"]) == official
    assert ENCODERS.get("cavp") is CAVPEncoder


@pytest.mark.parametrize("index", range(11))
def test_spectrogram_of_every_reference_clip(
    index: int,
    golden_json: Callable[[str], Any],
    fake_clip: Callable[[int], Clip],
    assert_fingerprint: Callable[..., None],
) -> None:
    stored = golden_json("cavp_score")["clips"][index]
    clip = fake_clip(index)
    assert preparation.whole_seconds(clip.head, clip.timeline) == stored["seconds"]
    assert len(preparation.frame_indices(clip.head, clip.timeline)) == 4 * stored["seconds"]
    # float32 sums in another order, seen through a logarithm: 3e-6 measured
    assert_fingerprint(preparation.prepare_audio(clip.head, clip.timeline), stored["spectrogram"], 1e-5)


def check_clips(
    indices: Iterable[int],
    encoder: CAVPEncoder,
    golden: Path,
    stored: dict[str, Any],
    arrays: dict[str, np.ndarray],
    fake_clip: Callable[[int], Clip],
) -> None:
    """With the files that the reference's FFmpeg made, everything is equal; with the clips' own frames, nearly."""
    for index in indices:
        name = f"sample_{index:04d}"
        clip = fake_clip(index)
        with av.open(str(golden / "clips" / "cavp_4fps" / f"{name}.mp4")) as container:
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        encoded = clip.with_frames(frames, Fraction(4))
        as_reference, direct = encoder.encode([encoded, clip], [VIDEO, AUDIO])
        for spec, kind in ((VIDEO, "video"), (AUDIO, "audio")):
            # 1e-7 measured
            np.testing.assert_allclose(as_reference[spec]["embeddings"], arrays[f"{name}/{kind}"], rtol=0, atol=2e-6)  # type: ignore[index, arg-type]
        for features, tolerance in ((as_reference, 1e-6), (direct, 5e-5)):  # 1.5e-5 seen from the lossy encoding
            roles = {"video": features[VIDEO], "audio": features[AUDIO]}
            score = CAVPScore().score(roles, SampleContext(V1))  # type: ignore[arg-type]
            assert score.value == pytest.approx(stored["cavp_score"][index], abs=tolerance)


def test_features_and_score_of_a_short_clip(
    full: CAVPEncoder,
    golden: Path,
    golden_json: Callable[[str], Any],
    golden_npz: Callable[[str], dict[str, np.ndarray]],
    fake_clip: Callable[[int], Clip],
) -> None:
    check_clips([4], full, golden, golden_json("cavp_score"), golden_npz("cavp_embeds"), fake_clip)


@pytest.mark.slow
def test_features_and_scores_of_the_other_clips(
    full: CAVPEncoder,
    golden: Path,
    golden_json: Callable[[str], Any],
    golden_npz: Callable[[str], dict[str, np.ndarray]],
    fake_clip: Callable[[int], Clip],
) -> None:
    others = [index for index in range(11) if index != 4]
    check_clips(others, full, golden, golden_json("cavp_score"), golden_npz("cavp_embeds"), fake_clip)


def test_frames_are_the_last_ones_due(fake_clip: Callable[[int], Clip]) -> None:
    short = fake_clip(4)
    assert preparation.frame_indices(short.head, short.timeline).tolist() == [2, 8, 14, 20]
    clip = Clip(np.zeros((3, 1, 1, 3), np.uint8), Fraction(2), None, None)
    assert preparation.frame_indices(clip.head, clip.timeline).tolist() == [0, 0, 1, 1]
    late = dataclasses.replace(clip, frame_times_s=np.array([5.0, 5.5, 6.0]))
    assert preparation.frame_indices(late.head, late.timeline).tolist() == [0, 0, 1, 1]


def test_frames_are_squeezed_as_pillow_does(noise_clip: Callable[..., Clip]) -> None:
    clip = noise_clip(1, 2, size=(180, 320))
    picked = clip.frames[preparation.frame_indices(clip.head, clip.timeline)[1]]
    prepared = preparation.prepare_frames(picked[None])
    expected = np.asarray(Image.fromarray(picked).resize((224, 224), Image.Resampling.BILINEAR))
    difference = np.abs(prepared[0].permute(1, 2, 0).numpy().astype(int) - expected)
    assert difference.max() <= 1  # Pillow 13 may choose the other order of passes


def test_the_spectrogram_of_a_tone_is_one_bright_line() -> None:
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(15999) / 16000)
    columns = preparation.spectrogram(tone)
    assert columns.shape == (128, 64)
    assert columns.min() >= 0 and columns.max() <= 1
    bright = slaney_mel_filters(16000, 1024, 128, 125, 7600)[:, 64].argmax()  # bin 64 of 1024 is 1 kHz
    assert (columns[:, 8:-8].argmax(dim=0) == bright).all()
    assert (preparation.spectrogram(torch.zeros(15999)) == 0).all()


def test_batches_do_not_mix_and_vectors_have_length_one(tiny: CAVPEncoder, noise_clip: Callable[..., Clip]) -> None:
    clips = [noise_clip(seconds, seed) for seed, seconds in enumerate((1, 2.5, 2, 12))]
    for spec in (VIDEO, AUDIO):
        together = embeddings(tiny, clips, spec)
        assert [found.shape for found in together] == [(4, 16), (8, 16), (8, 16), (48, 16)]
        assert np.abs(together[1] - together[2]).max() > 1e-3
        for single, found in zip(clips, together, strict=True):
            np.testing.assert_allclose(found, embeddings(tiny, [single], spec)[0], rtol=0, atol=1e-5)
            np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


def test_forty_frames_do_not_see_the_next_forty(tiny: CAVPEncoder, noise_clip: Callable[..., Clip]) -> None:
    clip = noise_clip(12, 5, fps=4)
    first = clip.with_frames(clip.frames[:40])
    whole, part = embeddings(tiny, [clip, first], VIDEO)
    np.testing.assert_allclose(whole[:40], part, rtol=0, atol=1e-6)
    shorter = clip.with_frames(clip.frames[:36])
    assert np.abs(embeddings(tiny, [shorter], VIDEO)[0][35] - part[35]).max() > 1e-4  # within forty, neighbours count


def test_edge_cases_have_values_or_reasons(tiny: CAVPEncoder, noise_clip: Callable[..., Clip]) -> None:
    usual = noise_clip(1, 6)
    silent = dataclasses.replace(usual, audio=np.zeros((2, 16000), np.float32))
    click = dataclasses.replace(usual, audio=np.full((1, 10), 0.5, np.float32), sample_rate=44100)
    mute = noise_clip(1, 7, sound=False)
    empty = dataclasses.replace(usual, audio=np.zeros((1, 0), np.float32))
    results = tiny.encode([silent, click, mute, empty, noise_clip(0.5, 8), noise_clip(0.01, 9)], [VIDEO, AUDIO])
    for result in results[:2]:
        assert np.isfinite(result[AUDIO]["embeddings"]).all()  # type: ignore[index, call-overload]
    for result in results[2:4]:
        assert isinstance(result[AUDIO], FeatureError) and result[AUDIO].kind == "no_audio"
        assert result[VIDEO]["embeddings"].shape == (4, 16)  # type: ignore[index, union-attr]
    for result in results[4:]:
        for error in result.values():
            assert isinstance(error, FeatureError) and error.kind == "too_short"


def test_wrong_weights_and_misuse_are_said(
    seeded_weights: ModuleType, noise_clip: Callable[..., Clip], tmp_path: Path
) -> None:
    path = save_weights(tmp_path / "w.ckpt", seeded_weights, TINY, 0)
    state = torch.load(path, weights_only=True)["state_dict"]
    state["module.spec_encoder.stranger"] = state.pop("module.spec_encoder.fc1.bias")
    torch.save(state, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(network.VARIANTS, "tiny", TINY)
        with pytest.raises(WeightsError, match=r"spec_encoder\.fc1\.bias(.|\n)*spec_encoder\.stranger"):
            CAVPEncoder("tiny").load(path, "cpu")
    with pytest.raises(WeightsError, match="needs its weights"):
        CAVPEncoder().load(None, "cpu")
    with pytest.raises(UsageError, match="load before encode"):
        CAVPEncoder().encode([noise_clip(1)], [VIDEO])


def test_an_unknown_feature_is_said(tiny: CAVPEncoder, noise_clip: Callable[..., Clip]) -> None:
    with pytest.raises(UsageError, match="'text'"):
        tiny.encode([noise_clip(1)], [FeatureSpec.of("cavp", "text")])
