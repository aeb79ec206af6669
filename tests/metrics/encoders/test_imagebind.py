"""`ImageBindEncoder`: what must hold whatever the weights, protocols' differences, edge cases, failures."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from javisbench.clip import Clip
from javisbench.errors import FeatureError, UsageError, WeightsError
from javisbench.metrics.base import SampleContext
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.imagebind import ImageBindEncoder
from javisbench.metrics.encoders.imagebind.specs import (
    audio_spec,
    audio_windows_spec,
    frames_spec,
    prompt_spec,
    video_spec,
)
from javisbench.metrics.javis_score import JavisScoreMetric
from javisbench.protocol import V1, V2, Protocol

Make = Callable[..., Clip]
LONG = "a long sentence that goes on and on about rain, wind and thunder " * 10
OTHER_LONG = "many dogs bark while the old red train passes by the station again " * 10


def write_weights(folder: Path, seed: int, golden_json: Callable[[str], Any], seeded_weights: ModuleType) -> Path:
    shapes = {n: shape for n, (shape, _) in golden_json("statedict_imagebind_tiny")["tensors"].items()}
    state = seeded_weights.seeded_state_dict(shapes, "imagebind", seed)
    path = folder / f"imagebind_tiny_{seed}.pth"
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, path)
    return path


def loaded(path: Path) -> ImageBindEncoder:
    encoder = ImageBindEncoder("tiny")
    encoder.load(path, "cpu")
    return encoder


@pytest.fixture(scope="module")
def weights(golden_json: Callable[[str], Any], seeded_weights: ModuleType, tmp_path_factory: Any) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"), 0, golden_json, seeded_weights)


@pytest.fixture(scope="module")
def encoder(weights: Path) -> ImageBindEncoder:
    return loaded(weights)


def clip_specs(*protocols: Protocol) -> list[FeatureSpec]:
    of_each = [spec for p in protocols for spec in (video_spec(p), audio_spec(p), audio_windows_spec(p))]
    return [frames_spec(), *of_each]


def one(encoder: ImageBindEncoder, item: Any, spec: FeatureSpec) -> Any:
    made = encoder.encode([item], [spec])[0][spec]
    if isinstance(made, Exception):
        raise made
    return made


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def with_audio(clip: Clip, audio: np.ndarray, rate: int = 16000) -> Clip:
    return dataclasses.replace(clip, audio=audio.astype(np.float32), sample_rate=rate)


def javis(made: Any, protocol: Protocol) -> float:
    metric = JavisScoreMetric()
    features = {role: made[spec] for role, spec in metric.needs(protocol).items()}
    return metric.score(features, SampleContext(protocol=protocol)).value


# Whatever the weights


def test_a_second_seed(
    golden_json: Callable[[str], Any], seeded_weights: ModuleType, tmp_path: Path, fake_clip: Any, encoder: Any
) -> None:
    seed = int.from_bytes(os.urandom(3), "big") + 1
    other, clip = loaded(write_weights(tmp_path, seed, golden_json, seeded_weights)), fake_clip(4)
    specs = clip_specs(V1)
    made, reference = other.encode([clip], specs)[0], encoder.encode([clip], specs)[0]
    frames = made[frames_spec()]["embeddings"]
    np.testing.assert_allclose(np.linalg.norm(frames, axis=1), 1.0, atol=1e-5, err_msg=f"seed {seed}")
    video, audio = made[video_spec(V1)]["embedding"], made[audio_spec(V1)]["embedding"]
    assert 0 < np.linalg.norm(video) <= 1 + 1e-5, f"seed {seed}"
    # The clip has 1.5 s: its three audio clips are one, and so is its window.
    np.testing.assert_allclose(np.linalg.norm(audio), 20.0, rtol=1e-5, err_msg=f"seed {seed}")
    windows = made[audio_windows_spec(V1)]["embeddings"]
    assert windows.shape == (1, 48)
    np.testing.assert_allclose(windows[0], audio, atol=1e-5, err_msg=f"seed {seed}")
    short, long = prompt_spec(V1, "text"), prompt_spec(V2, "text")
    text = other.encode(["rain", LONG, OTHER_LONG], [short, long])
    np.testing.assert_array_equal(text[1][short]["embedding"], text[2][short]["embedding"])
    assert np.abs(text[1][long]["embedding"] - text[2][long]["embedding"]).max() > 1e-3, f"seed {seed}"
    np.testing.assert_array_equal(text[0][short]["embedding"], text[0][long]["embedding"])
    for spec in specs:
        key = "embeddings" if "embeddings" in made[spec] else "embedding"
        assert np.abs(made[spec][key] - reference[spec][key]).max() > 1e-2, f"seed {seed}: weights change nothing"
        assert made[spec][key].shape == reference[spec][key].shape


def test_batches_change_rounding_only(encoder: ImageBindEncoder, noise_clip: Make) -> None:
    clips = [noise_clip(2.5, 1), noise_clip(0.9, 2, fps=30), noise_clip(2.1, 3, size=(40, 30))]
    specs = clip_specs(V1, V2)
    together = encoder.encode(clips, specs)
    for clip, batch in zip(clips, together, strict=True):
        alone = encoder.encode([clip], specs)[0]
        assert alone.keys() == batch.keys() == set(specs)
        for spec in specs:
            for name, values in alone[spec].items():
                np.testing.assert_allclose(batch[spec][name], values, rtol=0, atol=1e-5)
    again = encoder.encode(clips, specs)
    for first, second in zip(together, again, strict=True):
        for spec in specs:
            assert all(np.array_equal(first[spec][name], second[spec][name]) for name in first[spec])


def test_batch_size_and_splitting_of_frames(weights: Path, noise_clip: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [noise_clip(1.0, 4), noise_clip(0.5, 5)]
    small, whole = loaded(weights), loaded(weights)
    small._batches.size, whole._batches.size = 5, 1000
    spec = frames_spec()
    for ours, expected in zip(small.encode(clips, [spec]), whole.encode(clips, [spec]), strict=True):
        np.testing.assert_allclose(ours[spec]["embeddings"], expected[spec]["embeddings"], rtol=0, atol=1e-5)


class Counting:
    """Counts the inputs of each tower."""

    def __init__(self, encoder: ImageBindEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts = {"vision": 0, "audio": 0, "text": 0}
        network = encoder._loaded()
        for name in self.counts:
            monkeypatch.setattr(network, f"embed_{name}", self.counted(name, getattr(network, f"embed_{name}")))

    def counted(self, name: str, forward: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        def call(inputs: torch.Tensor) -> torch.Tensor:
            self.counts[name] += len(inputs)
            return forward(inputs)

        return call


def test_cores_change_nothing(encoder: ImageBindEncoder, noise_clip: Make) -> None:
    """Whole batches run beside one another, each as it would alone."""
    clips = [noise_clip(2.0, 1), noise_clip(0.5, 2)]
    specs = clip_specs(V1, V2)
    before, made = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            made.append(encoder.encode(clips, specs))
    finally:
        torch.set_num_threads(before)
    for alone, together in zip(*made, strict=True):
        assert alone.keys() == together.keys() == set(specs)
        for spec in specs:
            np.testing.assert_equal(alone[spec], together[spec])


def test_equal_inputs_run_once(weights: Path, noise_clip: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = loaded(weights)
    count = Counting(encoder, monkeypatch).counts
    short, square = noise_clip(1.0, 6), noise_clip(4.0, 7, fps=6, size=(32, 32))
    encoder.encode([short], [video_spec(V1)])
    assert count["vision"] == 3  # five equal clips, three squares
    encoder.encode([square], [video_spec(V1)])
    assert count["vision"] == 3 + 5  # three equal squares
    encoder.encode([short], [frames_spec()])
    assert count["vision"] == 8 + 24
    encoder.encode([short], [audio_spec(V1), audio_windows_spec(V1)])
    assert count["audio"] == 1
    # Whole clip: 0-2, 1-3, 2-4 s. Windows: 0-2, .5-2.5, 1-3, 1.5-3.5, 2-4 s.
    encoder.encode([square], [audio_spec(V2), audio_windows_spec(V2)])
    assert count["audio"] == 1 + 5
    # With means removed in place only the first of them is the same.
    encoder.encode([square], [audio_spec(V1), audio_windows_spec(V1)])
    assert count["audio"] == 6 + 7
    specs = [prompt_spec(V1, "text"), prompt_spec(V2, "text"), prompt_spec(V1, "audio_text")]
    encoder.encode(["rain", "rain", " RAIN", "wind"], specs)
    assert count["text"] == 2


def test_out_of_memory_halves_the_batch(weights: Path, noise_clip: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, clip, spec = loaded(weights), noise_clip(1.0, 8), frames_spec()
    expected = encoder.encode([clip], [spec])[0][spec]["embeddings"]
    network, sizes = encoder._loaded(), []

    def limited(forward: Any) -> Any:
        def call(frames: torch.Tensor) -> torch.Tensor:
            sizes.append(len(frames))
            if len(frames) > 3:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return forward(frames)

        return call

    monkeypatch.setattr(network, "embed_vision", limited(network.embed_vision))
    made = encoder.encode([clip], [spec])[0][spec]["embeddings"]
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-5)
    assert sizes[0] == 16 and min(sizes) == 2


def test_autocast_reaches_the_network_alone(
    encoder: ImageBindEncoder, noise_clip: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, specs = noise_clip(2.5, 17, fps=8), clip_specs(V1, V2)
    clip = with_audio(clip, np.random.default_rng(17).normal(scale=0.1, size=(2, 55125)), 22050)
    prompts = [prompt_spec(V1, "text")]
    expected, text = encoder.encode([clip], specs)[0], encoder.encode(["rain"], prompts)[0]
    inputs: list[torch.Tensor] = []
    network = encoder._loaded()
    for name in ("vision", "audio"):
        forward = getattr(network, f"embed_{name}")
        monkeypatch.setattr(network, f"embed_{name}", lambda x, forward=forward: (inputs.append(x), forward(x))[1])
    encoder.encode([clip], specs)
    full, inputs[:] = list(inputs), []
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made, half_text = encoder.encode([clip], specs)[0], encoder.encode(["rain"], prompts)[0]
    assert all(torch.equal(a, b) for a, b in zip(full, inputs, strict=True))
    pairs = [(made[spec], expected[spec]) for spec in specs] + [(half_text[s], text[s]) for s in prompts]
    for ours, reference in pairs:
        key = "embeddings" if "embeddings" in reference else "embedding"
        assert ours[key].dtype == np.float32
        a, b = np.atleast_2d(ours[key]), np.atleast_2d(reference[key])
        similarity = [cosine(*pair) for pair in zip(a, b, strict=True)]
        assert min(similarity) > 0.999 and not np.array_equal(a, b)


# What javisbench-v2 corrects; each test would fail under javisbench-v1


def test_long_prompts_differ(encoder: ImageBindEncoder) -> None:
    for protocol, equal in ((V1, True), (V2, False)):
        spec = prompt_spec(protocol, "text")
        first, second = (made[spec]["embedding"] for made in encoder.encode([LONG, OTHER_LONG], [spec]))
        assert np.array_equal(first, second) == equal


def test_stereo_is_heard_as_its_mix(encoder: ImageBindEncoder, noise_clip: Make) -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(scale=0.2, size=(2, 44100 * 3))
    right[:60000] = 0
    clip = noise_clip(3.0, 9, fps=8)
    stereo = with_audio(clip, np.stack([left, right]), 44100)
    mono = with_audio(clip, (np.stack([left, right]).astype(np.float32)).mean(0, keepdims=True), 44100)
    for spec in (audio_spec, audio_windows_spec):
        for protocol, equal in ((V1, False), (V2, True)):
            first, second = one(encoder, stereo, spec(protocol)), one(encoder, mono, spec(protocol))
            key = "embedding" if spec is audio_spec else "embeddings"
            assert (np.abs(first[key] - second[key]).max() < 1e-4) == equal, (spec, protocol.name)


def test_swapped_channels_are_the_same_mix(encoder: ImageBindEncoder, noise_clip: Make) -> None:
    rng = np.random.default_rng(1)
    channels = rng.normal(scale=0.2, size=(6, 32000)) * np.arange(6)[:, None]
    clip = noise_clip(2.0, 10, fps=8)
    first = one(encoder, with_audio(clip, channels), audio_spec(V2))["embedding"]
    second = one(encoder, with_audio(clip, channels[::-1].copy()), audio_spec(V2))["embedding"]
    np.testing.assert_allclose(first, second, atol=1e-4)
    left = one(encoder, with_audio(clip, channels), audio_spec(V1))["embedding"]
    assert np.abs(first - left).max() > 1e-2


def test_windows_do_not_change_each_other(encoder: ImageBindEncoder, noise_clip: Make) -> None:
    """With a drifting offset, each window must sound as it does when cut out by itself."""
    rng = np.random.default_rng(2)
    drift = rng.normal(scale=0.02, size=64000) + 0.2 * np.sin(np.arange(64000) / 9000)
    clip = with_audio(noise_clip(4.0, 11, fps=8), drift[None])
    for protocol, equal in ((V1, False), (V2, True)):
        made = one(encoder, clip, audio_windows_spec(protocol))
        assert len(made["embeddings"]) == 5
        alone = [
            one(encoder, with_audio(clip, drift[None, first:end]), audio_spec(protocol))["embedding"]
            for first, end in made["audio_windows"]
        ]
        difference = np.abs(made["embeddings"] - np.stack(alone)).max()
        assert (difference < 1e-4) == equal, (protocol.name, difference)


def test_a_shifted_clip_has_the_windows_of_its_time(encoder: ImageBindEncoder, noise_clip: Make) -> None:
    """Cutting half a second off the start drops the first window and keeps the others."""
    rng = np.random.default_rng(3)
    sound = rng.normal(scale=0.05, size=64000) + 0.1 * np.sin(np.arange(64000) / 5000)
    clip = with_audio(noise_clip(4.0, 12, fps=8), sound[None])
    later = dataclasses.replace(clip.with_frames(clip.frames[4:]), audio=clip.audio[:, 8000:])
    for protocol, equal in ((V1, False), (V2, True)):
        whole, cut = (one(encoder, c, audio_windows_spec(protocol)) for c in (clip, later))
        np.testing.assert_array_equal(cut["video_windows"], whole["video_windows"][1:] - 4)
        np.testing.assert_array_equal(cut["audio_windows"], whole["audio_windows"][1:] - 8000)
        difference = np.abs(cut["embeddings"] - whole["embeddings"][1:]).max()
        assert (difference < 1e-5) == equal, (protocol.name, difference)


def test_sound_after_the_picture_is_not_compared_with_it(encoder: ImageBindEncoder, fake_clip: Any) -> None:
    """Clip 10 has 3.2 s of video and 4 s of audio: its score must not depend on what comes after 3.2 s."""
    clip = fake_clip(10)
    end = round(clip.duration_s * 16000)
    cut = dataclasses.replace(clip, audio=clip.audio[:, :end])
    specs = [frames_spec(), audio_windows_spec(V1), audio_windows_spec(V2)]
    whole, short = encoder.encode([clip], specs)[0], encoder.encode([cut], specs)[0]
    assert javis(short, V2) == pytest.approx(javis(whole, V2), abs=1e-6)
    assert abs(javis(short, V1) - javis(whole, V1)) > 1e-3


# Edge cases


def assert_finite(encoder: ImageBindEncoder, clip: Clip, frames: int, windows: dict[str, int]) -> None:
    made = encoder.encode([clip], clip_specs(V1, V2))[0]
    for spec, features in made.items():
        assert not isinstance(features, Exception), (spec, features)
        assert all(np.isfinite(values).all() for values in features.values())
    assert made[frames_spec()]["embeddings"].shape == (frames, 48)
    for protocol in (V1, V2):
        assert len(made[audio_windows_spec(protocol)]["embeddings"]) == windows[protocol.name]
        assert -1 <= javis(made, protocol) <= 1


@pytest.mark.parametrize(
    ("case", "make", "frames", "windows"),
    [
        ("one frame", {"seconds": 1 / 24}, 1, (1, 1)),
        ("one frame, 4 s of sound", {"seconds": 1 / 24, "sound_s": 4.0}, 1, (1, 1)),
        ("1.5 s", {"seconds": 1.5}, 36, (1, 1)),
        ("audio 0.4 s", {"seconds": 3.0, "fps": 8, "sound_s": 0.4}, 24, (1, 1)),
        ("60 s", {"seconds": 60.0, "fps": 2}, 120, (117, 117)),
        ("60 fps", {"seconds": 2.5, "fps": 60}, 150, (2, 2)),
        ("8 kHz", {"seconds": 2.5, "fps": 8, "rate": 8000}, 20, (2, 2)),
        ("5.1", {"seconds": 2.5, "fps": 8, "channels": 6}, 20, (2, 2)),
        ("silent", {"seconds": 2.5, "fps": 8, "gain": 0.0}, 20, (2, 2)),
        ("one frame in ten seconds", {"seconds": 30.0, "fps": Fraction(1, 10)}, 3, (3, 57)),
    ],
)
def test_edge_cases(encoder: ImageBindEncoder, case: str, make: Any, frames: int, windows: tuple[int, int]) -> None:
    rng = np.random.default_rng(len(case))
    fps, rate = Fraction(make.get("fps", 24)), make.get("rate", 16000)
    samples = round(make.get("sound_s", make["seconds"]) * rate)
    audio = make.get("gain", 0.2) * rng.normal(size=(make.get("channels", 1), samples))
    pixels = rng.integers(0, 256, (round(make["seconds"] * fps), 18, 32, 3), dtype=np.uint8)
    clip = Clip(pixels, fps, audio.astype(np.float32), rate, "sidecar", name=case)
    assert_finite(encoder, clip, frames, dict(zip((V1.name, V2.name), windows, strict=True)))


def test_read_only_frames_are_left_alone(encoder: ImageBindEncoder, noise_clip: Make, recwarn: Any) -> None:
    clip = noise_clip(2.5, 13, fps=8)
    before = clip.audio.copy()
    clip.frames.flags.writeable = clip.audio.flags.writeable = False
    encoder.encode([clip], clip_specs(V1, V2))
    np.testing.assert_array_equal(clip.audio, before)
    assert not [warning for warning in recwarn if "writ" in str(warning.message)]


@pytest.mark.parametrize(("samples", "kind"), [(None, "no_audio"), (0, "audio_too_short"), (399, "audio_too_short")])
def test_without_enough_sound(encoder: ImageBindEncoder, noise_clip: Make, samples: int | None, kind: str) -> None:
    clip = dataclasses.replace(noise_clip(0.5, 14, sound=False), name="mute.mp4")
    if samples is not None:
        clip = with_audio(clip, np.zeros((1, samples)))
    whole = noise_clip(0.5, 15)
    broken, good = encoder.encode([clip, whole], clip_specs(V1))
    for spec in (audio_spec(V1), audio_windows_spec(V1)):
        assert isinstance(broken[spec], FeatureError) and broken[spec].kind == kind
        assert "mute.mp4" in broken[spec].message
        assert not isinstance(good[spec], FeatureError)
    assert broken[frames_spec()]["embeddings"].shape == (12, 48)
    assert broken[video_spec(V1)]["embedding"].shape == (48,)


def test_a_common_duration_under_25_ms_has_no_windows(encoder: ImageBindEncoder, noise_clip: Make) -> None:
    clip = with_audio(noise_clip(1 / 60, 16, fps=60), np.zeros((1, 16000)))
    made = encoder.encode([clip], clip_specs(V1, V2))[0]
    assert isinstance(made[audio_windows_spec(V2)], FeatureError)
    assert made[audio_windows_spec(V2)].kind == "audio_too_short"
    assert len(made[audio_windows_spec(V1)]["embeddings"]) == 1


def test_nothing_to_do(encoder: ImageBindEncoder, noise_clip: Make) -> None:
    assert encoder.encode([], [frames_spec()]) == []
    assert encoder.encode([], [prompt_spec(V1, "text")]) == []
    assert encoder.encode([noise_clip(0.1)], []) == [{}]


# Protocols share what they can


def test_what_protocols_share() -> None:
    v1, v2 = set(clip_specs(V1)), set(clip_specs(V2))
    assert {spec.feature for spec in v1 & v2} == {"frames"}
    for settings in (spec.settings for spec in v1 | v2):
        assert "top_k" not in settings and "k_rounding" not in settings
    assert prompt_spec(V1, "text") != prompt_spec(V2, "text")


# Use and misuse


def test_registered() -> None:
    assert ENCODERS.get("imagebind") is ImageBindEncoder
    assert ImageBindEncoder.card.default_variant == "huge" == ImageBindEncoder().variant
    with pytest.raises(UsageError, match="Did you mean 'huge'"):
        ImageBindEncoder("hugee")


def test_weights_must_fit(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="needs its weights"):
        ImageBindEncoder("tiny").load(None, "cpu")
    state = torch.load(weights, weights_only=True)
    del state["modality_heads.imu.3.weight"], state["modality_heads.vision.2.weight"]
    state["modality_heads.smell.0.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(WeightsError) as caught:
        ImageBindEncoder("tiny").load(tmp_path / "bad.pth", "cpu")
    for part in ("missing (2)", "imu.3.weight", "vision.2.weight", "unexpected (1)", "smell", "ImageBind (tiny)"):
        assert part in caught.value.message
    with pytest.raises(WeightsError, match=r"ImageBind \(huge\)"):
        ImageBindEncoder("huge").load(weights, "cpu")


def test_unknown_features_and_missing_load(encoder: ImageBindEncoder, noise_clip: Make, weights: Path) -> None:
    clip = noise_clip(0.1)
    with pytest.raises(UsageError, match="Did you mean 'frames'"):
        encoder.encode([clip], [FeatureSpec.of("imagebind", "frame")])
    with pytest.raises(UsageError, match="'text' of prompts only"):
        encoder.encode(["rain"], [FeatureSpec.of("imagebind", "frames", subject="text")])
    with pytest.raises(UsageError, match="load before encode"):
        ImageBindEncoder("tiny").encode([clip], [frames_spec()])
    closed = loaded(weights)
    closed.close()
    with pytest.raises(UsageError, match="load before encode"):
        closed.encode(["rain"], [prompt_spec(V1, "text")])


@pytest.mark.gpu
def test_gpu_agrees_with_cpu(weights: Path, encoder: ImageBindEncoder, fake_clip: Any) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    on_gpu = ImageBindEncoder("tiny")
    on_gpu.load(weights, "cuda")
    clip, specs = fake_clip(6), clip_specs(V1, V2)
    ours, expected = on_gpu.encode([clip], specs)[0], encoder.encode([clip], specs)[0]
    for spec in specs:
        key = "embeddings" if "embeddings" in expected[spec] else "embedding"
        # Embeddings of audio have length 20; a GPU's FFT rounds differently near silence.
        np.testing.assert_allclose(ours[spec][key], expected[spec][key], rtol=0, atol=1e-3)
