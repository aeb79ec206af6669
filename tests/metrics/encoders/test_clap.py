"""CLAP against the reference evaluation (commit b505b37, stand-in weights, seed 0) and its own rules."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from javisbench.clip import Clip
from javisbench.errors import FeatureError, UsageError, WeightsError
from javisbench.metrics.base import SampleContext
from javisbench.metrics.clap_score import CLAPScore
from javisbench.metrics.encoders import ENCODERS, clap
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.clap import CLAPEncoder
from javisbench.protocol import V1, V2

PROMPT = FeatureSpec.of("clap", "text", subject="audio_text")
PAD = FeatureSpec.of("clap", "audio", clap_padding="pad", clap_resampler="kaiser_best")
REPEAT = FeatureSpec.of("clap", "audio", clap_padding="repeatpad", clap_resampler="kaiser_best")


def seeded_state(seeded: ModuleType, golden_json: Callable[[str], Any], seed: int) -> dict[str, torch.Tensor]:
    tensors = golden_json("statedict_clap_small")["tensors"]
    integers = [name for name, (_, dtype) in tensors.items() if dtype == "int64"]
    shapes = {name: shape for name, (shape, _) in tensors.items()}
    arrays = seeded.seeded_state_dict(shapes, "clap", seed, integer_names=integers)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def loaded(path: Path) -> CLAPEncoder:
    encoder = CLAPEncoder("small")
    encoder.load(path, "cpu")
    return encoder


@pytest.fixture(scope="module")
def encoder(
    seeded_weights: ModuleType,
    golden_json: Callable[[str], Any],
    tmp_path_factory: pytest.TempPathFactory,
    save_stand_in_tokenizer: Callable[[Path], None],
) -> CLAPEncoder:
    folder = tmp_path_factory.mktemp("weights")
    torch.save(seeded_state(seeded_weights, golden_json, 0), folder / "clap_small.pt")
    save_stand_in_tokenizer(folder / "clap_small.tokenizer.json")
    return loaded(folder / "clap_small.pt")


@pytest.fixture(scope="module")
def other_seed(
    seeded_weights: ModuleType,
    golden_json: Callable[[str], Any],
    tmp_path_factory: pytest.TempPathFactory,
    save_stand_in_tokenizer: Callable[[Path], None],
) -> CLAPEncoder:
    """Another seed, as a folder, without the tables that the network computes."""
    folder = tmp_path_factory.mktemp("clap-small")
    state = seeded_state(seeded_weights, golden_json, 1)
    save_file(
        {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}, folder / "model.safetensors"
    )
    save_stand_in_tokenizer(folder / "tokenizer.json")
    return loaded(folder)


def embedding(result: dict[FeatureSpec, Any], spec: FeatureSpec) -> np.ndarray:
    return np.asarray(result[spec]["embedding"])


def test_every_reference_clip(
    encoder: CLAPEncoder,
    golden_json: Callable[[str], Any],
    golden_npz: Callable[[str], dict[str, np.ndarray]],
    fake_clip: Callable[[int], Clip],
) -> None:
    stored, arrays = golden_json("clap_score"), golden_npz("clap_embeds")
    prompts = encoder.encode([row["audio_text"] for row in golden_json("prompts")], [PROMPT])
    for index, prompt in enumerate(prompts):
        (sound,) = encoder.encode([fake_clip(index)], [PAD, REPEAT])
        # 7e-8 measured on scores; float32 sums
        for kind, array in (("text", embedding(prompt, PROMPT)), ("audio", embedding(sound, PAD))):
            np.testing.assert_allclose(array, arrays[f"sample_{index:04d}/{kind}"][0], rtol=0, atol=5e-6)
        for protocol, spec, key in ((V1, PAD, "clap_score"), (V2, REPEAT, "repeatpad_variant")):
            assert CLAPScore().needs(protocol)["audio"] == spec
            roles = {"audio": sound[spec], "prompt": prompt[PROMPT]}
            score = CLAPScore().score(roles, SampleContext(protocol))  # type: ignore[arg-type]
            assert score.value == pytest.approx(stored[key][index], abs=2e-6)


@pytest.mark.parametrize("index", [0, 4, 5, 6])
def test_waveform_and_mel(
    index: int,
    golden_json: Callable[[str], Any],
    fake_clip: Callable[[int], Clip],
    assert_fingerprint: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import resampy

    stored = golden_json("clap_score")["clips"][index]
    clip = fake_clip(index)
    sound = clap.resampled(clip)
    assert_fingerprint(sound[None], stored["audio"], 1e-6)  # resampy sums in float32, we in float64
    assert clip.audio is not None and clip.sample_rate is not None
    # Rounding of those sums shows in bins at -90 dB, so that the mel is compared behind resampy itself. Its ufunc sums
    # in float64 once anything in the process has called it so; the loop inside it goes by the signal's own type.
    monkeypatch.setattr(resampy.core, "resample_f_s", resampy.interpn._resample_loop_s)
    reference = resampy.resample(clip.audio.mean(axis=0), clip.sample_rate, 48000, filter="kaiser_best")
    reference = np.pad(reference, (0, len(sound) - len(reference)))
    for repeat, key in ((False, "mel"), (True, "mel_repeatpad")):
        mel = clap.log_mel(clap.ten_seconds(reference, repeat=repeat))[None]
        assert_fingerprint(mel, stored[key], 1e-5)  # decibels; the reference holds the spectrum in complex64


def test_names_are_the_official_ones(golden_json: Callable[[str], Any]) -> None:
    official = {name: shape for name, (shape, _) in golden_json("statedict_clap_small")["tensors"].items()}
    own = clap.build_clap(clap.VARIANTS["small"]).state_dict()
    assert {name: list(tensor.shape) for name, tensor in own.items()} == official
    assert ENCODERS.get("clap") is CLAPEncoder


def test_the_official_numbers_are_transformers_own() -> None:
    from transformers import ClapConfig, ClapModel

    with torch.device("meta"):
        ours = clap.build_clap(clap.VARIANTS["htsat-unfused"])
        theirs = ClapModel(ClapConfig())
    shapes = [{name: tensor.shape for name, tensor in model.state_dict().items()} for model in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert ours.config.audio_config.num_attention_heads == list(clap.VARIANTS["htsat-unfused"].audio_heads)


def test_the_fused_network_is_shown_the_whole_as_its_own_preparation_shows_short_sounds(
    noise_clip: Callable[..., Clip],
    tmp_path: Path,
    save_stand_in_tokenizer: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Against transformers' preparation and model of sounds under 10 s, of which it calls none longer."""
    from transformers import ClapFeatureExtractor

    config = dataclasses.replace(clap.VARIANTS["small"], fused=True)
    monkeypatch.setitem(clap.VARIANTS, "630k-audioset-fusion", config)
    model = clap.build_clap(config).eval()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    save_stand_in_tokenizer(tmp_path / "tokenizer.json")
    encoder = CLAPEncoder("630k-audioset-fusion")
    encoder.load(tmp_path, "cpu")
    clips = [noise_clip(seconds, seed, size=(2, 2)) for seed, seconds in enumerate((1, 4))]
    found = [embedding(result, REPEAT) for result in encoder.encode(clips, [REPEAT])]
    prepare = ClapFeatureExtractor(truncation="fusion", padding="repeatpad", frequency_min=50)
    for clip, ours in zip(clips, found, strict=True):
        made = prepare(clap.resampled(clip), sampling_rate=48000, return_tensors="pt")
        assert made["input_features"].shape == (1, 4, 1001, 64)
        with torch.inference_mode():
            pooled = model.audio_model(
                input_features=made["input_features"], is_longer=torch.zeros(1, 1, dtype=torch.bool)
            ).pooler_output
            theirs = torch.nn.functional.normalize(model.audio_projection(pooled), dim=-1)[0]
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-5)


def test_batches_do_not_mix_and_vectors_have_length_one(
    other_seed: CLAPEncoder, noise_clip: Callable[..., Clip]
) -> None:
    clips = [noise_clip(seconds, seed) for seed, seconds in enumerate((1, 4, 11))]
    together = other_seed.encode(clips, [PAD, REPEAT])
    for clip, result in zip(clips, together, strict=True):
        for spec in (PAD, REPEAT):
            alone = embedding(other_seed.encode([clip], [spec])[0], spec)
            np.testing.assert_allclose(embedding(result, spec), alone, rtol=0, atol=1e-5)
            assert np.linalg.norm(alone) == pytest.approx(1.0, abs=1e-5)
    assert np.abs(embedding(together[0], PAD) - embedding(together[0], REPEAT)).max() > 1e-4
    np.testing.assert_array_equal(embedding(together[2], PAD), embedding(together[2], REPEAT))
    prompts = ["a dog barks", "", "rain " * 200]
    texts = [embedding(result, PROMPT) for result in other_seed.encode(prompts, [PROMPT])]
    for prompt, text in zip(prompts, texts, strict=True):
        np.testing.assert_allclose(text, embedding(other_seed.encode([prompt], [PROMPT])[0], PROMPT), rtol=0, atol=1e-5)
    assert np.abs(texts[0] - texts[1]).max() > 1e-3


def test_sound_after_ten_seconds_is_cut_never_at_random(
    other_seed: CLAPEncoder, noise_clip: Callable[..., Clip]
) -> None:
    long = noise_clip(60, 3, size=(2, 2))
    assert long.audio is not None
    first = dataclasses.replace(long, audio=long.audio[:, : 10 * 16000 + 4800])  # the resampler looks a little ahead
    one, again, cut = (embedding(other_seed.encode([clip], [PAD])[0], PAD) for clip in (long, long, first))
    np.testing.assert_array_equal(one, again)
    np.testing.assert_allclose(cut, one, rtol=0, atol=1e-6)


def test_edge_cases_have_values_or_reasons(other_seed: CLAPEncoder, noise_clip: Callable[..., Clip]) -> None:
    usual = noise_clip(1, 6)
    silent = dataclasses.replace(usual, audio=np.zeros((2, 16000), np.float32))
    click = dataclasses.replace(usual, audio=np.full((1, 1), 0.5, np.float32), sample_rate=44100)
    mute = noise_clip(1, 7, sound=False)
    empty = dataclasses.replace(usual, audio=np.zeros((1, 0), np.float32))
    results = other_seed.encode([silent, mute, click, empty, usual], [PAD, REPEAT])
    for index in (0, 2, 4):
        assert all(np.isfinite(embedding(results[index], spec)).all() for spec in (PAD, REPEAT))
    for index in (1, 3):
        for error in results[index].values():
            assert isinstance(error, FeatureError) and error.kind == "no_audio"
    np.testing.assert_allclose(
        embedding(results[4], PAD), embedding(other_seed.encode([usual], [PAD])[0], PAD), rtol=0, atol=1e-5
    )


def test_whole_repetitions_then_zeros() -> None:
    sound = np.arange(1, 200001, dtype=np.float32)
    filled = clap.ten_seconds(sound, repeat=True)
    np.testing.assert_array_equal(filled[200000:400000], sound)
    assert (filled[400000:] == 0).all() and len(filled) == 480000
    padded = clap.ten_seconds(sound, repeat=False)
    np.testing.assert_array_equal(padded[:200000], sound)
    assert (padded[200000:] == 0).all() and len(padded) == 480000


def test_prompts_are_cut_to_the_positions_there_are(
    tmp_path: Path, save_stand_in_tokenizer: Callable[[Path], None]
) -> None:
    save_stand_in_tokenizer(tmp_path / "tokenizer.json")
    ids = clap.load_tokenizer(tmp_path / "model.safetensors", 10).encode("é" * 30).ids
    assert ids == [0, *[0xC3 + 4, 0xA9 + 4] * 4, 2]
    whole = clap.load_tokenizer(tmp_path / "model.safetensors", 512).encode("ab c").ids
    assert whole == [0, *(byte + 4 for byte in b"ab c"), 2]


def test_of_a_folder_that_file_is_read_whose_hash_is_known(
    seeded_weights: ModuleType,
    golden_json: Callable[[str], Any],
    tmp_path: Path,
    save_stand_in_tokenizer: Callable[[Path], None],
) -> None:
    torch.save(seeded_state(seeded_weights, golden_json, 0), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").write_bytes(b"another form, of unknown hash")
    save_stand_in_tokenizer(tmp_path / "tokenizer.json")
    assert loaded(tmp_path).encode(["a prompt"], [PROMPT])


def test_wrong_weights_and_misuse_are_said(
    seeded_weights: ModuleType, golden_json: Callable[[str], Any], tmp_path: Path
) -> None:
    state = seeded_state(seeded_weights, golden_json, 0)
    torch.save(state, tmp_path / "alone.pt")
    with pytest.raises(WeightsError, match=r"alone\.tokenizer\.json"):
        loaded(tmp_path / "alone.pt")
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(WeightsError, match="no tokenizer file"):
        loaded(tmp_path / "alone.pt")
    state["stranger"] = state.pop("audio_projection.linear1.bias")
    torch.save(state, tmp_path / "wrong.pt")
    with pytest.raises(WeightsError, match=r"audio_projection\.linear1\.bias(.|\n)*stranger"):
        loaded(tmp_path / "wrong.pt")
    with pytest.raises(WeightsError, match="needs its weights"):
        CLAPEncoder().load(None, "cpu")
    with pytest.raises(UsageError, match="load before encode"):
        CLAPEncoder().encode(["a"], [PROMPT])


def test_an_unknown_feature_is_said(encoder: CLAPEncoder, noise_clip: Callable[..., Clip]) -> None:
    with pytest.raises(UsageError, match="'text' of 'clip'"):
        encoder.encode([noise_clip(1)], [FeatureSpec.of("clap", "text")])


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"pip install 'javisbench\[clap\]'"):
        CLAPEncoder().load(tmp_path / "any.pt", "cpu")
