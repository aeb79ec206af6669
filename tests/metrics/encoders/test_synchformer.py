"""Synchformer against the reference evaluation (commit b505b37, stand-in weights, seed 0) and its own rules."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.clip import Clip
from javisbench.errors import FeatureError, UsageError, WeightsError
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.preprocessing.frame_rate import frames_at_rate
from javisbench.metrics.encoders.synchformer import SynchformerEncoder, network
from javisbench.metrics.encoders.synchformer import preparation as prep
from javisbench.metrics.encoders.synchformer.visual import DividedAttention

# Widths that a core can do quickly; only numbers differ from the official network.
TINY = network.SynchformerConfig(visual_depth=1, audio_depth=1, sync_depth=1, width=24, heads=2, sync_heads=2)


def spec(seconds: float = 4.0, conversion: str = "drop_last") -> FeatureSpec:
    return FeatureSpec.of("synchformer", "offset_logits", fps_conversion=conversion, max_audio_len_s=seconds)


def shapes_of(config: network.SynchformerConfig) -> dict[str, list[int]]:
    with torch.device("meta"):
        return {name: list(tensor.shape) for name, tensor in network.Synchformer(config).state_dict().items()}


def save_weights(path: Path, seeded: ModuleType, shapes: dict[str, list[int]], seed: int) -> Path:
    arrays = seeded.seeded_state_dict(shapes, "synchformer", seed)
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    return path


@pytest.fixture(scope="module")
def small(seeded_weights: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> SynchformerEncoder:
    """The reference numbers' small configuration, full width."""
    path = tmp_path_factory.mktemp("weights") / "synchformer_small.pth"
    encoder = SynchformerEncoder("small")
    encoder.load(save_weights(path, seeded_weights, shapes_of(network.VARIANTS["small"]), 0), "cpu")
    return encoder


@pytest.fixture(scope="module")
def tiny(seeded_weights: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> SynchformerEncoder:
    """Another seed, a few channels."""
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(network.VARIANTS, "tiny", TINY)
        encoder = SynchformerEncoder("tiny")
        encoder.load(save_weights(path, seeded_weights, shapes_of(TINY), 1), "cpu")
    return encoder


def logits(encoder: SynchformerEncoder, clips: Sequence[Clip], wanted: FeatureSpec) -> list[np.ndarray]:
    results = [features[wanted] for features in encoder.encode(clips, [wanted])]
    assert not any(isinstance(result, FeatureError) for result in results)
    return [np.asarray(result["logits"]) for result in results]  # type: ignore[index]


@pytest.mark.parametrize(("variant", "file"), [("full", "synchformer"), ("small", "synchformer_small")])
def test_names_and_shapes_are_the_official_ones(variant: str, file: str, golden_json: Callable[[str], Any]) -> None:
    official = {name: shape for name, (shape, _) in golden_json(f"statedict_{file}")["tensors"].items()}
    assert shapes_of(network.VARIANTS[variant]) == official


def test_it_is_registered() -> None:
    assert ENCODERS.get("synchformer") is SynchformerEncoder
    assert SynchformerEncoder().variant == "full"


@pytest.mark.parametrize("index", range(11))
def test_input_of_every_reference_clip(
    index: int,
    golden_json: Callable[[str], Any],
    fake_clip: Callable[[int], Clip],
    assert_fingerprint: Callable[..., None],
) -> None:
    stored = golden_json("desync_small")["clips"][index]
    clip = fake_clip(index)
    indices = frames_at_rate(clip.timeline, 25, 100, keep_last=False)
    assert len(indices) == stored["decoded_25fps_frames"]
    if "decoded_25fps_frame_means" in stored:
        means = clip.frames[indices].mean(axis=(1, 2, 3))
        np.testing.assert_allclose(means, stored["decoded_25fps_frame_means"], rtol=0, atol=2e-5)  # float32 means
    video = torch.zeros(100, 3, 224, 224, dtype=torch.uint8)
    video[: len(indices)] = prep.resize_and_crop(clip.frames[indices])
    assert_fingerprint(prep.normalise_pixels(video), stored["video_input"], 5e-7)  # float32 of the same integers
    audio = prep.prepare_audio(clip.head, 4.0)
    assert_fingerprint(audio, stored["audio_input"], 1e-6)  # 0 but where resampled
    log_mel = prep.log_mel_segments(audio, 11)
    assert_fingerprint(log_mel[0], stored["segment0_logmel"], 1e-4)  # order of float32 sums; 5e-5 where resampled
    assert_fingerprint(prep.normalise_mel(log_mel)[:1], stored["segment0_fed"], 2e-5)


def check_network(
    indices: Sequence[int],
    stored: list[dict[str, Any]],
    encoder: SynchformerEncoder,
    fake_clip: Callable[[int], Clip],
) -> None:
    for index, found in zip(indices, logits(encoder, [fake_clip(i) for i in indices], spec()), strict=True):
        # 8e-6 measured; what is left is the order of float32 sums
        np.testing.assert_allclose(found, stored[index]["logits"], rtol=0, atol=5e-5, err_msg=stored[index]["id"])
        assert found.argmax(axis=1).tolist() == stored[index]["argmax"]


def test_logits_of_a_short_clip(
    small: SynchformerEncoder, golden_json: Callable[[str], Any], fake_clip: Callable[[int], Clip]
) -> None:
    check_network([4], golden_json("desync_small")["clips"], small, fake_clip)


@pytest.mark.slow
def test_logits_of_all_clips_in_one_batch(
    small: SynchformerEncoder, golden_json: Callable[[str], Any], fake_clip: Callable[[int], Clip]
) -> None:
    check_network(range(11), golden_json("desync_small")["clips"], small, fake_clip)


@pytest.mark.slow
def test_features_of_the_parts(
    small: SynchformerEncoder,
    golden_json: Callable[[str], Any],
    fake_clip: Callable[[int], Clip],
    assert_fingerprint: Callable[..., None],
) -> None:
    stored = golden_json("desync_small")["clips"][0]
    clip = fake_clip(0)
    sources = prep.segment_sources(clip.timeline, 4.0, keep_last=False)
    pictures = prep.resize_and_crop(clip.frames)
    segments = prep.normalise_pixels(pictures[torch.from_numpy(sources)]).transpose(1, 2)
    mel = prep.normalise_mel(prep.log_mel_segments(prep.prepare_audio(clip.head, 4.0), 11))
    groups = prep.segment_groups(11)
    assert small._network is not None
    with torch.inference_mode():
        assert_fingerprint(small._network.visual_features(segments)[groups], stored["vfeats"], 2e-5)
        assert_fingerprint(small._network.audio_features(mel)[groups], stored["afeats"], 2e-5)


@pytest.mark.slow
def test_eight_seconds_in_a_batch_are_eight_seconds_alone(
    small: SynchformerEncoder, golden_json: Callable[[str], Any], fake_clip: Callable[[int], Clip]
) -> None:
    stored = golden_json("desync_small")["at_8s"]
    clips = [fake_clip(int(name.removeprefix("sample_"))) for name in stored["clips"]]
    classes = [found.argmax(axis=1).tolist() for found in logits(small, clips, spec(8.0))]
    assert np.transpose(classes).tolist() == stored["argmax"]
    scores = [float(np.mean(np.abs(np.array(found) - 10)) / 5) for found in classes]
    np.testing.assert_allclose(scores, stored["one_by_one"], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_the_full_network(
    seeded_weights: ModuleType,
    golden_json: Callable[[str], Any],
    fake_clip: Callable[[int], Clip],
    tmp_path: Path,
) -> None:
    path = save_weights(tmp_path / "full.pth", seeded_weights, shapes_of(network.VARIANTS["full"]), 0)
    encoder = SynchformerEncoder()
    encoder.load(path, "cpu")
    check_network([0], golden_json("desync_full")["clips"], encoder, fake_clip)


def test_clips_of_a_batch_keep_their_values(tiny: SynchformerEncoder, noise_clip: Callable[..., Clip]) -> None:
    clips = [noise_clip(seconds, seed) for seed, seconds in enumerate((2, 3, 4))]
    wanted = spec(4.0)
    alone = [logits(tiny, [clip], wanted)[0] for clip in clips]
    assert [found.shape for found in alone] == [(1, 21)] * 3
    for one, other in itertools.combinations(alone, 2):
        assert np.abs(one - other).max() > 1e-3
    order = [2, 0, 1]
    for index, found in zip(order, logits(tiny, [clips[i] for i in order], wanted), strict=True):
        np.testing.assert_allclose(found, alone[index], rtol=0, atol=1e-5)


def test_two_settings_at_once_equal_each_alone(tiny: SynchformerEncoder, noise_clip: Callable[..., Clip]) -> None:
    clips = [noise_clip(1.5, 3), noise_clip(4, 4)]
    wanted = [spec(4.0), spec(4.0, "round_up"), spec(6.0)]
    together = tiny.encode(clips, wanted)
    for each in wanted:
        for both, alone in zip(together, logits(tiny, clips, each), strict=True):
            np.testing.assert_allclose(both[each]["logits"], alone, rtol=0, atol=1e-5)  # type: ignore[index, arg-type]
    short = together[0]
    assert np.abs(short[wanted[0]]["logits"] - short[wanted[1]]["logits"]).max() > 1e-4  # type: ignore[index]


def test_sound_moves_the_logits(tiny: SynchformerEncoder, noise_clip: Callable[..., Clip]) -> None:
    clip = noise_clip(4, 5)
    assert clip.audio is not None
    later = dataclasses.replace(clip, audio=np.roll(clip.audio, 8000, axis=1) * np.linspace(0, 1, 64000, dtype="f4"))
    one, other = logits(tiny, [clip, later], spec())
    assert np.abs(one - other).max() > 1e-4


def test_edge_cases_have_values_or_reasons(tiny: SynchformerEncoder, noise_clip: Callable[..., Clip]) -> None:
    usual = noise_clip(4, 6)
    silent = dataclasses.replace(usual, audio=np.zeros((2, 64000), np.float32))
    click = dataclasses.replace(usual, audio=np.ones((1, 10), np.float32))
    cases = [noise_clip(0.01, 7), silent, click, noise_clip(60, 8, size=(8, 8)), noise_clip(4, 9, sound=False)]
    empty = dataclasses.replace(usual, audio=np.zeros((1, 0), np.float32))
    results = [result[spec()] for result in tiny.encode([*cases, empty, usual], [spec()])]
    for index in (0, 1, 2, 3, 6):
        assert np.isfinite(results[index]["logits"]).all()  # type: ignore[index, call-overload]
        assert results[index]["logits"].shape == (1, 21)  # type: ignore[index, call-overload]
    for index in (4, 5):
        assert isinstance(results[index], FeatureError) and results[index].kind == "no_audio"
    np.testing.assert_allclose(results[6]["logits"], logits(tiny, [usual], spec())[0], atol=1e-5)  # type: ignore[index, arg-type]


def test_sixty_seconds_have_fourteen_groups(noise_clip: Callable[..., Clip]) -> None:
    assert prep.segment_groups(len(prep.segment_sources(noise_clip(1, 1).timeline, 60.0, keep_last=True))).shape == (
        14,
        14,
    )


def test_less_than_a_segment_is_a_reason(tiny: SynchformerEncoder, noise_clip: Callable[..., Clip]) -> None:
    result = tiny.encode([noise_clip(4)], [spec(0.5)])[0][spec(0.5)]
    assert isinstance(result, FeatureError)
    assert "0.64" in result.message


def test_wrong_weights_are_refused(seeded_weights: ModuleType, tmp_path: Path) -> None:
    state = torch.load(save_weights(tmp_path / "w.pth", seeded_weights, shapes_of(TINY), 0), weights_only=True)
    state["stranger"] = state.pop("vproj.bias")
    state["aproj.bias"] = torch.zeros(7)
    torch.save(state, tmp_path / "wrong.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(network.VARIANTS, "tiny", TINY)
        with pytest.raises(WeightsError, match=r"vproj\.bias(.|\n)*stranger(.|\n)*aproj\.bias is 7, not 24"):
            SynchformerEncoder("tiny").load(tmp_path / "wrong.pth", "cpu")
    with pytest.raises(WeightsError, match="needs its weights"):
        SynchformerEncoder().load(None, "cpu")


def test_misuse_is_said(noise_clip: Callable[..., Clip]) -> None:
    with pytest.raises(UsageError, match="load before encode"):
        SynchformerEncoder().encode([noise_clip(1)], [spec()])
    with pytest.raises(UsageError, match="'embedding'"):
        SynchformerEncoder().encode([noise_clip(1)], [FeatureSpec.of("synchformer", "embedding")])


def clip_at(times: Sequence[float], fps: Fraction, *, stamps: bool) -> Clip:
    frames = np.zeros((len(times), 1, 1, 3), np.uint8)
    return Clip(frames, fps, None, None, frame_times_s=np.array(times, np.float64) if stamps else None)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 200),
    fps=st.sampled_from([Fraction(n) for n in (10, 12, 15, 24, 25, 30, 48, 50, 60)] + [Fraction(30000, 1001)]),
    keep_last=st.booleans(),
    stamps=st.booleans(),
)
def test_25_fps_follow_the_rule_in_exact_numbers(count: int, fps: Fraction, keep_last: bool, stamps: bool) -> None:
    due = [(25 * k / fps + Fraction(1, 2)).__floor__() for k in range(count)]
    end = due[-1]
    if keep_last:
        end = max(end + 1, (25 * count / fps + Fraction(1, 2)).__floor__())
    expected = [max(k for k in range(count) if due[k] <= j) for j in range(max(end, 1))][:150]
    clip = clip_at([float(k / fps) for k in range(count)], fps, stamps=stamps)
    assert frames_at_rate(clip.timeline, 25, 150, keep_last=keep_last).tolist() == expected
    if keep_last and len(expected) < 150:
        assert expected[-1] == count - 1


def test_four_seconds_lose_a_frame_unless_rounded_up() -> None:
    clip = clip_at([k / 24 for k in range(96)], Fraction(24), stamps=True)
    assert len(frames_at_rate(clip.timeline, 25, 100, keep_last=False)) == 99
    kept = frames_at_rate(clip.timeline, 25, 200, keep_last=True)
    assert len(kept) == 100 and kept[-1] == 95


def test_time_stamps_win_over_the_average_rate() -> None:
    late = clip_at([1.0, 1.04, 1.08, 2.0, 2.04], Fraction(5), stamps=True)
    expected = [0, 1, *([2] * 23), 3]
    assert frames_at_rate(late.timeline, 25, 100, keep_last=False).tolist() == expected
    hostile = clip_at([0.0, 1e9], Fraction(24), stamps=True)
    assert frames_at_rate(hostile.timeline, 25, 100, keep_last=False).tolist() == [0] * 100


def test_groups_of_fourteen() -> None:
    assert prep.segment_groups(11).tolist() == [[*range(11), 0, 1, 2]]
    assert prep.segment_groups(1).tolist() == [[0] * 14]
    assert prep.segment_groups(14).tolist() == [list(range(14))]
    assert prep.segment_groups(24).tolist() == [list(range(14)), list(range(10, 24))]
    assert prep.segment_groups(28).tolist() == [list(range(14)), list(range(14, 28))]


def test_segments_start_every_eight_frames_and_end_in_black(noise_clip: Callable[..., Clip]) -> None:
    sources = prep.segment_sources(noise_clip(1, 1, fps=25).timeline, 4.0, keep_last=True)
    assert sources.shape == (11, 16)
    assert sources[1].tolist() == list(range(8, 24))
    assert sources[2].tolist() == [*range(16, 25), *[prep.BLACK] * 7]
    assert (sources[4:] == prep.BLACK).all()


@pytest.mark.parametrize("over_time", [True, False])
def test_divided_attention_is_masked_full_attention(over_time: bool) -> None:
    torch.manual_seed(0)
    frames, places, width, heads = 3, 5, 16, 4
    module = DividedAttention(width, heads)
    x = torch.randn(2, 1 + frames * places, width)
    time, place = np.divmod(np.arange(frames * places), places)
    group = place if over_time else time
    allowed = torch.ones(1 + frames * places, 1 + frames * places, dtype=torch.bool)
    allowed[1:, 1:] = torch.from_numpy(group[:, None] == group[None])
    q, k, v = module.qkv(x).view(2, -1, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    scores = (q @ k.transpose(-1, -2) * (width // heads) ** -0.5).masked_fill(~allowed, -torch.inf)
    expected = module.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(2, -1, width))
    torch.testing.assert_close(module(x, frames, over_time=over_time), expected, rtol=0, atol=1e-6)
