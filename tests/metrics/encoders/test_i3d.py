"""I3D against the reference evaluation (commit b505b37, stand-in weights, seed 0) and its own rules."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from javisbench.clip import Clip
from javisbench.errors import UsageError, WeightsError
from javisbench.media import read_clip
from javisbench.metrics.distances import frechet_distance, polynomial_mmd
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.i3d import I3DEncoder
from javisbench.metrics.encoders.i3d import preparation as prep
from javisbench.metrics.encoders.i3d.encoder import sampled_frames
from javisbench.metrics.encoders.i3d.network import I3D, I3DConfig, MixedWidths, SamePool, pad_same
from javisbench.metrics.encoders.set_specs import i3d_spec
from javisbench.protocol import V1, V2

V1_SPEC = i3d_spec(V1)
V2_SPEC = i3d_spec(V2)
# The fewest frames that I3D takes: a third of the usual cost.
QUICK = i3d_spec(replace(V2, fvd=replace(V2.fvd, max_frames=9)))

# A few channels; only numbers differ from the official network.
FEW = MixedWidths(4, 4, 4, 4, 4, 4)
TINY = I3DConfig(stem=4, stem_out=8, mixed_3=(FEW,) * 2, mixed_4=(FEW,) * 5, mixed_5=(FEW,) * 2, classes=10)

ClipOf = Callable[[int], Clip]


def seeded_state(seeded: ModuleType, seed: int, config: I3DConfig | None = None) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        shapes = {name: list(tensor.shape) for name, tensor in I3D(config).state_dict().items()}
    arrays = seeded.seeded_state_dict(shapes, "i3d", seed)
    return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}


def save_weights(path: Path, seeded: ModuleType) -> Path:
    torch.save(seeded_state(seeded, 0), path)
    return path


@pytest.fixture(scope="module")
def encoder(seeded_weights: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> I3DEncoder:
    made = I3DEncoder()
    made.load(save_weights(tmp_path_factory.mktemp("weights") / "i3d.pt", seeded_weights), "cpu")
    return made


@pytest.fixture(scope="module")
def fresh_seed() -> int:
    """Drawn anew in every run; pytest shows it in the failing test's values."""
    return secrets.randbelow(2**31)


@pytest.fixture(scope="module")
def other(seeded_weights: ModuleType, fresh_seed: int) -> I3DEncoder:
    """A small network with weights of another seed."""
    network = I3D(TINY)
    network.load_state_dict(seeded_state(seeded_weights, fresh_seed, TINY))
    made = I3DEncoder()
    made._network = network.eval()
    return made


def logits(encoder: I3DEncoder, clips: list[Clip], spec: FeatureSpec) -> np.ndarray:
    encoded = [result[spec] for result in encoder.encode(clips, [spec])]
    return np.stack([features["embedding"] for features in encoded])  # type: ignore[index]


def relative(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def grey(levels: list[int], size: tuple[int, int] = (224, 224), fps: int = 24) -> Clip:
    """One frame a level."""
    frames = np.stack([np.full((*size, 3), level, dtype=np.uint8) for level in levels])
    return Clip(frames, Fraction(fps), None, None)


# --- against the reference evaluation ---


def test_names_and_shapes_are_the_official_ones(golden_json: Callable[[str], Any]) -> None:
    with torch.device("meta"):
        network = I3D()
    own = {name: [list(t.shape), str(t.dtype).split(".")[1]] for name, t in network.state_dict().items()}
    assert own == golden_json("statedict_i3d")["tensors"]


@pytest.mark.parametrize("index", range(11))
def test_each_preprocessing_stage_meets_the_reference(
    index: int, golden_json: Callable[[str], Any], fake_clip: ClipOf, assert_fingerprint: Callable[..., None]
) -> None:
    stored = golden_json("fvd_kvd_fad")["clips"][index]
    clip = fake_clip(index)
    frames = clip.frames[sampled_frames(clip.timeline, V1_SPEC)]
    pixels = prep.pad_to_square(torch.from_numpy(frames), 224)
    quantised = prep.quantise(pixels, "signed")
    # All are bit-identical where this was written; another CPU may round the last bit of a resized pixel.
    assert_fingerprint(frames, stored["raw_rgb_uint8"], atol=1e-9)
    assert_fingerprint(pixels, stored["resized_padded_01"], atol=2e-7)
    assert_fingerprint(quantised, stored["uint8_fed"], atol=1e-4)
    assert_fingerprint(prep.network_input(quantised[None]), stored["i3d_input"], atol=1e-6)


# FVD of all clips by the command line (tests/run/test_golden_cli.py) has the network's outputs behind it.
@pytest.mark.parametrize("index", [4, *(pytest.param(index, marks=pytest.mark.slow) for index in (0, 7))])
def test_each_network_stage_and_the_logits_meet_the_reference(
    index: int,
    encoder: I3DEncoder,
    golden_json: Callable[[str], Any],
    golden_npz: Callable[[str], dict[str, np.ndarray]],
    fake_clip: ClipOf,
    assert_fingerprint: Callable[..., None],
) -> None:
    network = encoder._network
    assert network is not None
    stages: dict[str, torch.Tensor] = {}
    handles = [
        module.register_forward_hook(lambda _m, _i, output, name=name: stages.__setitem__(name, output.clone()))
        for name, module in network.named_children()
    ]
    found = logits(encoder, [fake_clip(index)], V1_SPEC)[0]
    for handle in handles:
        handle.remove()
    stages["logits_pre_mean"] = stages.pop("logits")

    stored = golden_json("fvd_kvd_fad")["clips"][index]
    assert stages.keys() == stored["i3d_stages"].keys()
    for name, fingerprint in stored["i3d_stages"].items():
        # float32 sums in another order; 1.4e-6 seen, on values up to about 10.
        assert_fingerprint(stages[name], fingerprint, atol=3e-6)
    np.testing.assert_allclose(found[:8], stored["logits_head"], rtol=0, atol=5e-6)
    # 4.7e-7 seen: float32 sums in another order.
    assert relative(found, golden_npz("embeds_fvd_fad")["fake_video"][index]) < 1e-6


@pytest.mark.slow
def test_every_clip_fvd_and_kvd_meet_the_reference(
    encoder: I3DEncoder,
    golden_json: Callable[[str], Any],
    golden_npz: Callable[[str], dict[str, np.ndarray]],
    clips_fake: Path,
    clips_real: Path,
) -> None:
    found = {}
    for side, folder in (("fake", clips_fake), ("real", clips_real)):
        clips = [read_clip(folder / f"sample_{index:04d}.mp4") for index in range(11)]
        found[side] = logits(encoder, clips, V1_SPEC)
        for actual, expected in zip(found[side], golden_npz("embeds_fvd_fad")[f"{side}_video"], strict=True):
            assert relative(actual, expected) < 1e-6  # as above
    stored = golden_json("fvd_kvd_fad")["float64"]
    # Differences of the features, 5e-7, carried over.
    assert frechet_distance(found["fake"], found["real"]) == pytest.approx(stored["fvd"], rel=2e-6)
    assert polynomial_mmd(found["fake"], found["real"], centred=True) == pytest.approx(stored["kvd_centred"], abs=1e-6)
    assert polynomial_mmd(found["fake"], found["real"]) == pytest.approx(stored["kvd_uncentred"], abs=1e-6)


# --- what v2 changes ---


def test_v2_feeds_black_as_minus_one_and_white_as_one(encoder: I3DEncoder) -> None:
    seen: list[torch.Tensor] = []
    assert encoder._network is not None
    handle = encoder._network.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    clip = grey([0] * 5 + [255] * 4)
    v1_quick = i3d_spec(replace(V1, fvd=replace(V1.fvd, max_frames=9)))
    encoder.encode([clip], [QUICK, v1_quick])
    handle.remove()
    v2, v1 = seen
    assert v2.min() == -1.0 and v2.max() == 1.0
    # The reference evaluation: black is 127 of 255.
    assert v1.min() == pytest.approx(2 * (127 / 255 - 0.5)) and v1.max() == 1.0


def test_v2_keeps_every_grey_level() -> None:
    clip = grey(list(range(256)), size=(8, 8))
    pixels = prep.pad_to_square(torch.from_numpy(clip.frames), 8)
    np.testing.assert_array_equal(prep.quantise(pixels, "unit").numpy()[:, 0, 0, 0], np.arange(256))
    assert prep.quantise(pixels, "signed").unique().numel() == 129


def test_v2_pads_with_black_and_v1_with_grey() -> None:
    pixels = prep.pad_to_square(torch.full((1, 10, 20, 3), 255, dtype=torch.uint8), 20)
    assert prep.quantise(pixels, "unit")[0, :, :5].unique().tolist() == [0]
    assert prep.quantise(pixels, "signed")[0, :, :5].unique().tolist() == [127]


def test_v2_sees_the_first_seconds_and_v1_the_whole_clip() -> None:
    clip = grey([0] * 240, size=(8, 8))
    assert sampled_frames(clip.timeline, V2_SPEC)[-1] == 95
    assert sampled_frames(clip.timeline, V1_SPEC)[-1] == 239
    assert dict(V2_SPEC.prep)["max_audio_len_s"] == 4.0
    assert "max_audio_len_s" not in dict(V1_SPEC.prep)


# --- shapes ---


@pytest.mark.parametrize(
    ("height", "width", "top", "left", "new_height", "new_width"),
    [
        (240, 426, 49, 0, 126, 224),
        (330, 186, 0, 49, 224, 126),
        (100, 101, 1, 0, 221, 224),  # 3 rows to fill: 1 above, 2 below
        (2, 1000, 111, 0, 1, 224),  # a sliver keeps a row
        (224, 224, 0, 0, 224, 224),
    ],
)
def test_where_the_picture_lies(height: int, width: int, top: int, left: int, new_height: int, new_width: int) -> None:
    white = torch.full((1, height, width, 3), 255, dtype=torch.uint8)
    lit = prep.pad_to_square(white, 224)[0, 0] > 0.5
    expected = torch.zeros(224, 224, dtype=torch.bool)
    expected[top : top + new_height, left : left + new_width] = True
    assert torch.equal(lit, expected)


def test_black_bars_that_are_part_of_the_clip_change_nothing(other: I3DEncoder) -> None:
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (9, 112, 224, 3), dtype=np.uint8)
    square = np.pad(wide, ((0, 0), (56, 56), (0, 0), (0, 0)))
    clips = [Clip(frames, Fraction(24), None, None) for frames in (wide, square)]
    first, second = logits(other, clips, QUICK)
    # Equal inputs in one batch; the convolution may treat its two ends differently.
    assert relative(second, first) < 1e-6


def test_another_image_size_still_gives_224_pixels() -> None:
    quantised = torch.full((2, 9, 3, 100, 100), 255, dtype=torch.uint8)
    assert prep.network_input(quantised).shape == (2, 3, 9, 224, 224)
    # Weights of a bilinear sum need not add up to 1 to the last bit.
    torch.testing.assert_close(prep.network_input(quantised), torch.ones(2, 3, 9, 224, 224), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("size", "expected"), [(24, 12), (9, 5), (1, 1)])
def test_same_padding_rounds_the_number_of_positions_up(size: int, expected: int) -> None:
    padded = pad_same(torch.ones(1, 1, size, size, size), (7, 3, 2), (2, 2, 2))
    for axis, kernel in zip((2, 3, 4), (7, 3, 2), strict=True):
        assert (padded.shape[axis] - kernel) // 2 + 1 == expected


def test_same_padding_puts_the_smaller_half_in_front() -> None:
    padded = pad_same(torch.ones(1, 1, 4, 1, 1), (7, 1, 1), (2, 1, 1))[0, 0, :, 0, 0]
    assert padded.tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0]


# --- rules that hold for any weights ---


def test_features_do_not_depend_on_the_batch(
    other: I3DEncoder, fresh_seed: int, noise_clip: Callable[..., Clip]
) -> None:
    # The last one is shorter than nine frames and repeats some.
    clips = [noise_clip(1.0, seed=1), noise_clip(2.0, seed=2, size=(40, 24)), noise_clip(0.2, seed=3)]
    together = logits(other, clips, QUICK)
    assert together.shape == (3, 10) and together.dtype == np.float32
    alone = np.stack([logits(other, [clip], QUICK)[0] for clip in clips])
    turned = logits(other, clips[::-1], QUICK)[::-1]
    for row in range(3):
        assert relative(together[row], alone[row]) < 1e-5, fresh_seed
        assert relative(turned[row], alone[row]) < 1e-5, fresh_seed
    assert relative(together[0], together[1]) > 1e-3, fresh_seed


def test_frames_after_the_span_do_not_count(other: I3DEncoder) -> None:
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    long, cut = (Clip(some, Fraction(6), None, None) for some in (frames, frames[:24]))
    np.testing.assert_array_equal(*(sampled_frames(clip.timeline, V2_SPEC) for clip in (long, cut)))
    np.testing.assert_array_equal(*(logits(other, [clip], QUICK) for clip in (long, cut)))


def test_no_clips_give_no_features(encoder: I3DEncoder) -> None:
    assert encoder.encode([], [V1_SPEC]) == []


# --- errors ---


def test_a_checkpoint_with_wrong_names_lists_them(seeded_weights: ModuleType, tmp_path: Path) -> None:
    path = save_weights(tmp_path / "i3d.pt", seeded_weights)
    state = torch.load(path, weights_only=True)
    state["Mixed_9z.weight"] = state.pop("logits.conv3d.bias")
    state["logits.conv3d.weight"] = state["logits.conv3d.weight"][:100]
    torch.save(state, path)
    with pytest.raises(WeightsError) as caught:
        I3DEncoder().load(path, "cpu")
    for part in ("Mixed_9z.weight", "logits.conv3d.bias", "100x1024x1x1x1", str(path)):
        assert part in caught.value.message


def test_use_without_weights_is_refused() -> None:
    with pytest.raises(WeightsError, match="needs its weights"):
        I3DEncoder().load(None, "cpu")
    with pytest.raises(UsageError, match="load before encode"):
        I3DEncoder().encode([grey([0])], [V1_SPEC])


def test_an_unknown_feature_is_refused(encoder: I3DEncoder) -> None:
    with pytest.raises(UsageError, match="'logits'"):
        encoder.encode([grey([0])], [FeatureSpec.of("i3d", "pool")])


def test_registered_under_its_name() -> None:
    assert ENCODERS.get("i3d") is I3DEncoder
    assert I3DEncoder.card.default_variant == "kinetics400"


@pytest.mark.parametrize(
    ("kernel", "stride"),
    [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (1, 1, 1)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2))],
)
@pytest.mark.parametrize("size", [(9, 14, 14), (2, 7, 15)])
def test_a_pool_is_torchs(
    kernel: tuple[int, int, int], stride: tuple[int, int, int], size: tuple[int, int, int]
) -> None:
    x = torch.randn(2, 3, *size).relu()
    expected = torch.nn.functional.max_pool3d(pad_same(x, kernel, stride), kernel, stride)
    assert torch.equal(SamePool(kernel, stride)(x), expected)
