"""AudioCLIP's audio branch against the reference evaluation (commit b505b37, stand-in weights, seed 0), and its rules.

Digital silence is rounding noise in the reference evaluation. Clips 1, 2 and 10 hold none: they are compared stage by
stage; the others up to the transform and, coarsely, at the end.
"""

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
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.clip import Clip
from javisbench.errors import FeatureError, UsageError, WeightsError
from javisbench.metrics.distances import frechet_distance
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.encoders.audioclip import AudioCLIPEncoder
from javisbench.metrics.encoders.audioclip.encoder import prepare_waveform
from javisbench.metrics.encoders.audioclip.fbsp import FBSP, decibels, windowed_frames
from javisbench.metrics.encoders.audioclip.network import ESResNeXt, ESResNeXtConfig, rescale
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.set_specs import audioclip_spec
from javisbench.protocol import V1, V2

V1_SPEC = audioclip_spec(V1)
V2_SPEC = audioclip_spec(V2)
WITHOUT_SILENCE = (1, 2, 10)

# A few channels and short frames; only numbers differ from the official network.
TINY = ESResNeXtConfig(n_fft=64, window_length=50, hop=20, blocks=(1, 1, 1, 1), stem=8, groups=2, embed=12)


def seeded_state(seeded: ModuleType, seed: int, config: ESResNeXtConfig | None = None) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        shapes = {f"audio.{name}": list(t.shape) for name, t in ESResNeXt(config).state_dict().items()}
    arrays = seeded.seeded_state_dict(shapes, "audioclip", seed)
    return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}


@pytest.fixture(scope="module")
def encoder(seeded_weights: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> AudioCLIPEncoder:
    path = tmp_path_factory.mktemp("weights") / "audioclip.pt"
    # The official file holds the other branches too.
    torch.save(seeded_state(seeded_weights, 0) | {"visual.proj": torch.zeros(2), "logit_scale": torch.zeros(1)}, path)
    made = AudioCLIPEncoder()
    made.load(path, "cpu")
    return made


@pytest.fixture(scope="module")
def fresh_seed() -> int:
    """Drawn anew in every run; pytest shows it in the failing test's values."""
    return secrets.randbelow(2**31)


@pytest.fixture(scope="module")
def other(seeded_weights: ModuleType, fresh_seed: int) -> AudioCLIPEncoder:
    """A small network with weights of another seed."""
    state = seeded_state(seeded_weights, fresh_seed, TINY)
    network = ESResNeXt(TINY)
    network.load_state_dict({name.removeprefix("audio."): tensor for name, tensor in state.items()})
    made = AudioCLIPEncoder()
    made._network = network.eval()
    return made


@pytest.fixture(scope="session")
def sound(golden: Path) -> Callable[..., Clip]:
    """``sound(i, side="fake")``: the sound of a reference clip."""

    def read(index: int, side: str = "fake") -> Clip:
        samples, rate = soundfile.read(
            golden / "clips" / side / f"sample_{index:04d}.wav", dtype="float32", always_2d=True
        )
        return clip_of(np.ascontiguousarray(samples.T), rate)

    return read


def clip_of(audio: np.ndarray | None, rate: int | None = 16000) -> Clip:
    return Clip(np.zeros((1, 2, 2, 3), dtype=np.uint8), Fraction(24), audio, rate)


def noise(seconds: float, seed: int = 0, rate: int = 16000, channels: int = 1) -> np.ndarray:
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, round(seconds * rate)))
    return samples.astype(np.float32)


def embeddings(encoder: AudioCLIPEncoder, clips: list[Clip], spec: FeatureSpec) -> np.ndarray:
    encoded = [result[spec] for result in encoder.encode(clips, [spec])]
    return np.stack([features["embedding"] for features in encoded])  # type: ignore[index]


def relative(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


# --- against the reference evaluation ---


def test_names_and_shapes_are_the_official_ones(golden_json: Callable[[str], Any]) -> None:
    with torch.device("meta"):
        network = ESResNeXt()
    own = {f"audio.{name}": [list(t.shape), str(t.dtype).split(".")[1]] for name, t in network.state_dict().items()}
    assert own == golden_json("statedict_audioclip")["audio"]


def test_fbsp_weights_meet_the_reference(
    encoder: AudioCLIPEncoder, golden_json: Callable[[str], Any], assert_fingerprint: Callable[..., None]
) -> None:
    assert encoder._network is not None
    stored = golden_json("fvd_kvd_fad")["clips"][0]["audioclip_stages"]["fbsp_weights"]
    # 2.8e-9 seen: three float32 steps at 0.013, from other versions of sin and pow.
    assert_fingerprint(encoder._network.fbsp.weights(torch.float32), stored, atol=4e-9)


@pytest.mark.parametrize("index", range(11))
def test_the_signal_and_its_transform_meet_the_reference(
    index: int,
    encoder: AudioCLIPEncoder,
    golden_json: Callable[[str], Any],
    sound: Callable[..., Clip],
    assert_fingerprint: Callable[..., None],
) -> None:
    stored = golden_json("fvd_kvd_fad")["clips"][index]
    network = encoder._network
    assert network is not None
    waveform = prepare_waveform(sound(index), V1_SPEC)
    scaled = rescale(torch.from_numpy(waveform)[None])
    frames = windowed_frames(scaled, network.window, network.config.hop, network.config.n_fft)
    # Clip 6 is resampled: its last bit may fall on the neighbouring step of the rescaled signal's grid, 1.2e-7.
    resampled = index == 6
    assert_fingerprint(waveform[None], stored["audio"], atol=1e-6 if resampled else 1e-12)
    assert_fingerprint(scaled[None], stored["scaled_signal"], atol=1.3e-7 if resampled else 1e-15)
    assert_fingerprint(frames, stored["audioclip_stages"]["frames"], atol=1.3e-7 if resampled else 1e-15)
    assert_fingerprint(network.fbsp(frames, torch.float32), stored["audioclip_stages"]["fbsp"], atol=3e-10)


@pytest.mark.parametrize("index", WITHOUT_SILENCE)
def test_each_network_stage_meets_the_reference(
    index: int,
    encoder: AudioCLIPEncoder,
    golden_json: Callable[[str], Any],
    sound: Callable[..., Clip],
    assert_fingerprint: Callable[..., None],
) -> None:
    stages: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            stages[f"{name}_in"], stages[name] = inputs[0].clone(), output.clone()

        return hook

    assert encoder._network is not None
    handles = [module.register_forward_hook(keep(name)) for name, module in encoder._network.named_children()]
    embeddings(encoder, [sound(index)], V1_SPEC)
    for handle in handles:
        handle.remove()
    stages["x_db"] = stages["conv1_in"]

    stored = golden_json("fvd_kvd_fad")["clips"][index]["audioclip_stages"]
    for name in ("x_db", "conv1", "layer1", "layer2", "layer4", "fc_in"):
        # Quiet bins amplify float32 rounding; 9e-4 seen, on values of 10 to 200.
        assert_fingerprint(stages[name], stored[name], atol=3e-3)
    for name in ("att1", "att4", "att5"):
        assert_fingerprint(stages[name], stored[name], atol=2e-3)  # 8e-4 seen, on values in (0, 1)


def test_embeddings_meet_the_reference(
    encoder: AudioCLIPEncoder, golden_npz: Callable[[str], dict[str, np.ndarray]], sound: Callable[..., Clip]
) -> None:
    found = embeddings(encoder, [sound(index) for index in range(11)], V1_SPEC)
    assert found.shape == (11, 1024) and found.dtype == np.float32
    for index, expected in enumerate(golden_npz("embeds_fvd_fad")["fake_audio"]):
        # 7e-5 seen without silence. Silence is rounding noise: 0.06 seen.
        tolerance = 1e-4 if index in WITHOUT_SILENCE else 0.1
        assert relative(found[index], expected) < tolerance, index


def test_with_a_float64_transform_the_reference_value_of_fad_is_met(
    encoder: AudioCLIPEncoder, golden_json: Callable[[str], Any], sound: Callable[..., Clip]
) -> None:
    spec = audioclip_spec(replace(V1, fad=replace(V1.fad, fbsp_dtype="float64")))
    rows = golden_json("fvd_kvd_fad")["subset"]["indices"]
    fake, real = (embeddings(encoder, [sound(row, side) for row in rows], spec) for side in ("fake", "real"))
    # tests/golden/README.md; repeatable to 1e-5.
    assert 1e4 * frechet_distance(fake, real) == pytest.approx(1.286608e8, rel=1e-5)


# --- v2, and what holds across batches and threads ---


def test_v2_hears_16_bit_scale_at_44_khz(sound: Callable[..., Clip]) -> None:
    waveform = prepare_waveform(sound(6), V2_SPEC)  # a 44.1 kHz file: no resampling
    stereo = sound(6).audio
    assert stereo is not None and waveform.shape == (176400,)
    np.testing.assert_array_equal(waveform, (stereo.mean(axis=0) * np.float32(32768))[:176400])
    assert rescale(torch.from_numpy(waveform)).std() > 0.05
    assert rescale(torch.from_numpy(prepare_waveform(sound(6), V1_SPEC))).std() < 1e-5


def test_v2_does_not_depend_on_batch_size_or_threads(encoder: AudioCLIPEncoder, sound: Callable[..., Clip]) -> None:
    clips = [sound(3), sound(9)]  # silent, padded with silence
    together = embeddings(encoder, clips, V2_SPEC)
    alone = np.concatenate([embeddings(encoder, [clip], V2_SPEC) for clip in clips])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        (threaded,) = embeddings(encoder, clips[1:2], V2_SPEC)
    finally:
        torch.set_num_threads(threads)
    for row in range(2):
        assert relative(alone[row], together[row]) < 1e-5
    assert relative(threaded, together[1]) < 1e-5


def test_v1_repeats_in_any_batch_even_in_silence(encoder: AudioCLIPEncoder, sound: Callable[..., Clip]) -> None:
    clips = [sound(3), sound(0)]
    together = embeddings(encoder, clips, V1_SPEC)
    alone = np.concatenate([embeddings(encoder, [clip], V1_SPEC) for clip in clips])
    for row in range(2):
        assert relative(alone[row], together[row]) < 1e-5


def test_features_do_not_depend_on_the_batch(other: AudioCLIPEncoder, fresh_seed: int) -> None:
    clips = [clip_of(noise(1.0, seed)) for seed in range(9)]
    together = embeddings(other, clips, V1_SPEC)
    assert together.shape == (9, 12)
    alone = np.concatenate([embeddings(other, [clip], V1_SPEC) for clip in clips])
    turned = embeddings(other, clips[::-1], V1_SPEC)[::-1]
    for row in range(9):
        assert relative(together[row], alone[row]) < 1e-5, fresh_seed
        assert relative(turned[row], alone[row]) < 1e-5, fresh_seed


# --- the waveform ---


def test_short_audio_is_filled_with_zeros_and_long_audio_cut() -> None:
    audio = noise(10.0)
    short = prepare_waveform(clip_of(audio[:, :100]), V1_SPEC)
    assert short.shape == (64000,) and not short[100:].any()
    np.testing.assert_array_equal(short[:100], audio[0, :100])
    np.testing.assert_array_equal(prepare_waveform(clip_of(audio), V1_SPEC), audio[0, :64000])


def test_channels_are_averaged() -> None:
    audio = noise(4.0, channels=3)
    np.testing.assert_array_equal(prepare_waveform(clip_of(audio), V1_SPEC), audio.mean(axis=0))


@pytest.mark.parametrize("audio", [None, np.zeros((1, 0), dtype=np.float32)])
def test_a_clip_without_audio_is_set_aside_and_the_others_go_on(
    other: AudioCLIPEncoder, audio: np.ndarray | None
) -> None:
    clips = [clip_of(noise(1.0)), clip_of(audio, 16000 if audio is not None else None), clip_of(noise(1.0, 1))]
    first, missing, last = (result[V1_SPEC] for result in other.encode(clips, [V1_SPEC]))
    assert isinstance(missing, FeatureError) and missing.kind == "no_audio"
    expected = embeddings(other, [clips[0], clips[2]], V1_SPEC)
    np.testing.assert_array_equal([first["embedding"], last["embedding"]], expected)  # type: ignore[index]


def test_samples_that_are_no_numbers_are_a_failure(other: AudioCLIPEncoder) -> None:
    audio = noise(1.0)
    audio[0, 5] = np.nan
    (result,) = other.encode([clip_of(audio)], [V1_SPEC])
    error = result[V1_SPEC]
    assert isinstance(error, FeatureError) and error.kind == "bad_audio"


# --- the transform ---


def test_fbsp_weights_are_the_wavelets_of_the_paper() -> None:
    fbsp = FBSP(64)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        fbsp.m.copy_(1 + 0.5 * torch.rand(33, generator=generator))
        fbsp.fb.copy_(1 + torch.rand(33, generator=generator))
    m, fb, fc = (p.detach().double().numpy()[:, None] for p in (fbsp.m, fbsp.fb, fbsp.fc))
    t = np.linspace(-np.pi, np.pi, 64)
    window = np.sinc(fb * t / m / np.pi).astype(np.complex128) ** m  # a complex power where sinc is negative
    expected = np.sqrt(fb) * window * np.exp(-1j * fc * t) / 8
    found = fbsp.weights(torch.float64).numpy()
    # t is float32 and shifted by 1e-8; bins multiply its rounding by up to 32.
    np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], expected, atol=1e-5, rtol=0)


@settings(deadline=None)
@given(length=st.integers(1, 200), width=st.integers(1, 40), hop=st.integers(1, 40))
def test_frames_cover_the_padded_signal(length: int, width: int, hop: int) -> None:
    signal = torch.arange(1.0, length + 1)[None]
    frames = windowed_frames(signal, torch.ones(width), hop, width + 3)[0]
    count = 1 if length <= width else 1 - (-(length - width) // hop)
    assert frames.shape == (count, width + 3)
    total = (count - 1) * hop + width
    front = (total - length) // 2
    padded = np.concatenate([np.zeros(front), signal[0].numpy(), np.zeros(total - length - front)])
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(frame[1 : 1 + width], padded[index * hop : index * hop + width])
        assert not frame[0] and not frame[1 + width :].any()


def test_decibels_of_nothing_have_a_floor() -> None:
    levels = decibels(torch.tensor([[0.0, 0.0], [3.0, 4.0], [1e-12, 0.0]], dtype=torch.float64))
    np.testing.assert_allclose(levels, [-180.0, 10 * np.log10(25), -240.0])


# --- errors ---


def test_a_checkpoint_with_wrong_names_lists_them(seeded_weights: ModuleType, tmp_path: Path) -> None:
    state = seeded_state(seeded_weights, 0)
    state["audio.extra"] = state.pop("audio.fc.bias")
    path = tmp_path / "audioclip.pt"
    torch.save(state, path)
    with pytest.raises(WeightsError) as caught:
        AudioCLIPEncoder().load(path, "cpu")
    for part in ("extra", "fc.bias", str(path)):
        assert part in caught.value.message


def test_use_without_weights_is_refused() -> None:
    with pytest.raises(WeightsError, match="needs its weights"):
        AudioCLIPEncoder().load(None, "cpu")
    with pytest.raises(UsageError, match="load before encode"):
        AudioCLIPEncoder().encode([clip_of(noise(1.0))], [V1_SPEC])


def test_an_unknown_feature_is_refused(other: AudioCLIPEncoder) -> None:
    spec = FeatureSpec("audioclip", "tokens", V1_SPEC.prep)
    with pytest.raises(UsageError, match="'embedding'"):
        other.encode([clip_of(noise(1.0))], [spec])


def test_registered_under_its_name() -> None:
    assert ENCODERS.get("audioclip") is AudioCLIPEncoder
    assert AudioCLIPEncoder.card.default_variant == "full"
