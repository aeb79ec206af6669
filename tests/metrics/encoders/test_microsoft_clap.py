"""MS-CLAP 2023: its rules on a small network of random numbers, and (slow) the network of the package msclap."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from javisbench.clip import Clip
from javisbench.errors import UsageError, WeightsError
from javisbench.metrics.encoders import clap, microsoft_clap
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.clap import CLAPEncoder
from javisbench.metrics.encoders.microsoft_clap import MicrosoftCLAPConfig
from javisbench.metrics.encoders.preprocessing.mel_filters import slaney_mel_filters
from javisbench.weights import WeightStore

PROMPT = FeatureSpec.of("clap", "text", subject="audio_text")
PAD = FeatureSpec.of("clap", "audio", clap_padding="pad", clap_resampler="kaiser_best")
REPEAT = FeatureSpec.of("clap", "audio", clap_padding="repeatpad", clap_resampler="kaiser_best")
SMALL = MicrosoftCLAPConfig(
    embed_dim=24,
    text_width=32,
    text_layers=2,
    text_heads=2,
    vocabulary=257,
    patch_width=16,
    audio_depths=(1, 1, 1, 1),
    audio_heads=(1, 2, 4, 8),
)
HTSAT = "audio_encoder.base.htsat."


def save_tokenizer(path: Path, words: int) -> None:
    """GPT-2's letters and numbers for bytes ("!" is 0) without its merges; the last of `words` ends a text."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)} | {"<|endoftext|>": words - 1}
    vocabulary |= {f"<{number}>": number for number in range(256, words - 1)}  # never made, for want of merges
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(path))


def official(network: Any) -> dict[str, torch.Tensor]:
    """The network's tensors under the names of CLAP_weights_2023.pth, with what else that holds."""
    turns = torch.outer(torch.arange(513.0, dtype=torch.float64), torch.arange(1024.0, dtype=torch.float64))
    wave = torch.polar(torch.hann_window(1024, dtype=torch.float64).expand(513, -1), -2 * torch.pi * turns / 1024)
    named = {
        "logit_scale": torch.tensor(2.0),
        f"{HTSAT}spectrogram_extractor.stft.conv_real.weight": wave.real[:, None].float(),
        f"{HTSAT}spectrogram_extractor.stft.conv_imag.weight": wave.imag[:, None].float(),
        f"{HTSAT}head.weight": torch.zeros(3, 3),
        f"{HTSAT}layers.0.blocks.0.attn.relative_position_index": torch.zeros(4, 4, dtype=torch.int64),
        "caption_encoder.base.h.0.attn.bias": torch.ones(1, 1, 4, 4),
    }
    for name, tensor in network.state_dict().items():
        if name == "mel_filters":
            named[f"{HTSAT}logmel_extractor.melW"] = tensor
        elif name.startswith("audio_model.audio_encoder."):
            own = name.removeprefix("audio_model.audio_encoder.")
            for new, old in (
                ("batch_norm.", "bn0."),
                ("attention.self.relative", "attn.relative"),
                ("attention.output.dense", "attn.proj"),
                ("intermediate.dense", "mlp.fc1"),
                ("output.dense", "mlp.fc2"),
                ("layernorm_before", "norm1"),
                ("layernorm_after", "norm2"),
                ("attention.self.query", "attn.qkv"),
            ):
                own = own.replace(new, old)
            if own.endswith("relative_position_index") or ".self." in own:
                continue
            if ".attn.qkv." in own:
                tensor = torch.cat([network.state_dict()[name.replace("query", r)] for r in ("query", "key", "value")])
            named[HTSAT + own] = tensor
        else:
            for new, old in (
                ("text_model.", "caption_encoder.base."),
                ("text_projection.", "caption_encoder.projection."),
                ("audio_projection.", "audio_encoder.projection."),
            ):
                if name.startswith(new):
                    named[old + name.removeprefix(new)] = tensor
    return named


def filled(network: Any) -> Any:
    """Random numbers that make prompts and sounds differ, and the filters that the package makes."""
    draw = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.detach().add_(0.1 * torch.randn(parameter.shape, generator=draw))
    network.mel_filters.copy_(torch.from_numpy(slaney_mel_filters(32000, 1024, 64, 50.0, 14000.0).T))
    return network.eval()


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(microsoft_clap.VARIANTS, "msclap-2023", SMALL)
        yield


@pytest.fixture(scope="module")
def network(small: None) -> Any:
    import transformers

    return filled(microsoft_clap.build(SMALL, transformers))


@pytest.fixture(scope="module")
def weights(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "CLAP_weights_2023.pth"
    torch.save({"model": official(network)}, path)
    save_tokenizer(path.with_name("tokenizer.json"), SMALL.vocabulary)
    return path


@pytest.fixture(scope="module")
def encoder(weights: Path) -> CLAPEncoder:
    return loaded(weights)


def loaded(path: Path) -> CLAPEncoder:
    encoder = CLAPEncoder("msclap-2023")
    encoder.load(path, "cpu")
    return encoder


def embedding(encoder: CLAPEncoder, item: Any, spec: FeatureSpec) -> np.ndarray:
    return np.asarray(encoder.encode([item], [spec])[0][spec]["embedding"])


def test_sound_over_seven_seconds_is_the_mean_of_its_first_and_last_seven(
    encoder: CLAPEncoder, network: Any, noise_clip: Callable[..., Clip]
) -> None:
    long = noise_clip(12, 0, size=(2, 2))
    sound = clap.resampled(long, 44100)
    assert len(sound) == 441000
    mels = microsoft_clap.log_mel(np.stack([sound[:308700], sound[132300:]]), network.mel_filters)
    with torch.inference_mode():
        ends = torch.nn.functional.normalize(network.embed_sounds(mels), dim=-1).numpy()
    assert mels.shape == (2, 1, 965, 64) and np.abs(ends[0] - ends[1]).max() > 1e-3
    mean = ends.mean(axis=0)
    found = embedding(encoder, long, PAD)
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), rtol=0, atol=1e-5)  # float32 sums in another order
    short = noise_clip(1, 1, size=(2, 2))
    both = encoder.encode([long, short], [PAD, REPEAT])
    np.testing.assert_allclose(both[0][REPEAT]["embedding"], found, rtol=0, atol=1e-5)
    assert np.abs(np.asarray(both[1][PAD]["embedding"]) - np.asarray(both[1][REPEAT]["embedding"])).max() > 1e-3


def test_shorter_sound_is_repeated_and_cut_or_followed_by_silence() -> None:
    sound = np.arange(1, 200001, dtype=np.float32)
    (repeated,), (padded,) = (microsoft_clap.windows(sound, repeat=repeat) for repeat in (True, False))
    np.testing.assert_array_equal(repeated, np.concatenate([sound, sound[:108700]]))
    np.testing.assert_array_equal(padded, np.concatenate([sound, np.zeros(108700, np.float32)]))
    assert microsoft_clap.windows(np.ones(308700, np.float32), repeat=True).shape == (1, 308700)


def test_prompts_end_with_end_of_text_also_where_they_are_cut(encoder: CLAPEncoder, network: Any) -> None:
    space = encoder._tokenizer.token_to_id("Ġ")
    assert microsoft_clap.tokens(encoder._tokenizer, "!a") == [0, 64, space, 256]
    assert microsoft_clap.tokens(encoder._tokenizer, "a" * 200) == [64] * 76 + [256]
    prompts = ["a dog", "", "a" * 200, "Stop!! Now!"]
    together = [row[PROMPT]["embedding"] for row in encoder.encode(prompts, [PROMPT])]
    for prompt, found in zip(prompts, together, strict=True):
        ids = torch.tensor([microsoft_clap.tokens(encoder._tokenizer, prompt)])
        with (
            torch.inference_mode()
        ):  # "!" is padding to it: what stands for "Stop!! Now!" is three tokens before the end
            states = network.text_model(input_ids=ids).last_hidden_state[0, -1 - prompt.count("!")]
            expected = torch.nn.functional.normalize(network.text_projection(states), dim=-1)
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-5)
    assert np.abs(np.asarray(together[0]) - np.asarray(together[1])).max() > 1e-3


def test_what_does_not_fit_is_refused(
    weights: Path, tmp_path: Path, save_stand_in_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def refused(named: dict[str, torch.Tensor], match: str) -> None:
        torch.save({"model": named}, tmp_path / "CLAP_weights_2023.pth")
        with pytest.raises(WeightsError, match=match):
            loaded(tmp_path)

    state = torch.load(weights, weights_only=True)["model"]
    kernel = f"{HTSAT}spectrogram_extractor.stft.conv_imag.weight"
    refused(state | {kernel: -state[kernel]}, "conv_imag.weight is missing or is not the Fourier transform")
    refused({name: tensor for name, tensor in state.items() if "melW" not in name}, "does not hold the weights")
    refused(state | {"caption_encoder.other": torch.ones(1)}, "does not hold the weights")
    refused(state, "javisbench weights fetch gpt2_tokenizer")
    save_stand_in_tokenizer(tmp_path / "tokenizer.json")
    refused(state, "is not GPT-2's")
    (tmp_path / "tokenizer.json").unlink()
    fetched = WeightStore().cache / "gpt2_tokenizer"
    fetched.mkdir(parents=True)
    save_tokenizer(fetched / "gpt2_tokenizer.json", SMALL.vocabulary)
    assert WeightStore().find("gpt2_tokenizer").parent == fetched
    loaded(tmp_path)
    with pytest.raises(UsageError, match="load"):
        CLAPEncoder("msclap-2023").encode(["a"], [PROMPT])


# The package's own network, at official size


def the_package(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of msclap with its wrapper; torchaudio, which it imports for reading files, need not be there."""
    if importlib.util.find_spec("msclap") is None or importlib.util.find_spec("torchlibrosa") is None:
        pytest.skip("needs the packages msclap and torchlibrosa")
    if importlib.util.find_spec("torchaudio") is None:
        for name in ("torchaudio", "torchaudio.transforms"):
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    from msclap import CLAPWrapper

    return CLAPWrapper


@pytest.mark.slow
def test_it_is_the_network_of_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, noise_clip: Callable[..., Clip]
) -> None:
    """Sound of up to 7 s at 44.1 kHz and prompts of up to 77 tokens: of longer sound it hears a part at random."""
    import transformers

    package = the_package(monkeypatch)
    monkeypatch.setitem(microsoft_clap.VARIANTS, "msclap-2023", MicrosoftCLAPConfig())
    from msclap.models import clap as their

    monkeypatch.setattr(
        their.AutoModel, "from_pretrained", lambda name: transformers.GPT2Model(transformers.GPT2Config())
    )
    save_tokenizer(tmp_path / "tokenizer.json", 50257)
    theirs = object.__new__(package.CLAPWrapper)
    theirs.config_as_str = (Path(package.__file__).parent / "configs" / "config_2023.yml").read_text()
    theirs.args = theirs.read_config_as_args(theirs.config_as_str, is_config_str=True)
    theirs.token_keys, theirs.use_cuda = ["input_ids", "attention_mask"], False
    theirs.np_str_obj_array_pattern = None
    theirs.tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"), model_input_names=["input_ids", "attention_mask"]
    )  # as GPT-2's own class
    theirs.tokenizer.add_special_tokens({"pad_token": "!"})
    if not hasattr(theirs.tokenizer, "encode_plus"):  # transformers 5 has none
        monkeypatch.setattr(type(theirs.tokenizer), "encode_plus", lambda self, **kw: self(**kw), raising=False)
    args = theirs.args
    torch.manual_seed(0)
    theirs.clap = their.CLAP(
        args.audioenc_name, args.sampling_rate, args.window_size, args.hop_size, args.mel_bins, args.fmin, args.fmax,
        args.num_classes, args.out_emb, args.text_model, args.transformer_embed_dim, args.d_proj,
    )  # fmt: skip
    for name, tensor in theirs.clap.state_dict().items():
        if tensor.is_floating_point() and "extractor" not in name and "attn_mask" not in name:
            noise = 0.03 * torch.randn(tensor.shape)
            tensor.add_(noise.abs() if name.endswith("running_var") else noise)
    theirs.clap.eval()
    torch.save({"model": theirs.clap.state_dict()}, tmp_path / "CLAP_weights_2023.pth")
    encoder = loaded(tmp_path / "CLAP_weights_2023.pth")

    prompts = ["a dog barks", "", "Stop! Now!", "rain on a tin roof, then thunder far away"]
    with torch.inference_mode():
        their_texts = torch.nn.functional.normalize(theirs.get_text_embeddings(prompts), dim=-1).numpy()
    our_texts = [row[PROMPT]["embedding"] for row in encoder.encode(prompts, [PROMPT])]
    # 8e-8 measured, of sounds 4e-8; float32 sums
    np.testing.assert_allclose(our_texts, their_texts, rtol=0, atol=1e-5)
    assert np.abs(their_texts[0] - their_texts[1]).max() > 1e-3

    clips = [dataclasses.replace(noise_clip(1, seed, size=(2, 2)), sample_rate=44100) for seed in range(3)]
    rng = np.random.default_rng(0)
    for place, (clip, seconds) in enumerate(zip(clips, (2, 7, 5), strict=True)):
        tone = np.sin(2 * np.pi * (300 + 700 * place) * np.arange(seconds * 44100) / 44100)
        noise = rng.standard_normal(seconds * 44100)
        clips[place] = dataclasses.replace(clip, audio=(0.3 * tone + 0.01 * noise)[None].astype(np.float32))
    heard = iter([torch.from_numpy(clip.audio) for clip in clips])
    monkeypatch.setattr(package.CLAPWrapper, "read_audio", lambda self, path, resample: (next(heard), 44100))
    monkeypatch.setattr(package.CLAPWrapper, "default_collate", lambda self, batch: torch.stack(batch))
    with torch.inference_mode():
        their_sounds = torch.nn.functional.normalize(theirs.get_audio_embeddings(["a", "b", "c"]), dim=-1).numpy()
    our_sounds = [row[REPEAT]["embedding"] for row in encoder.encode(clips, [REPEAT])]
    np.testing.assert_allclose(our_sounds, their_sounds, rtol=0, atol=1e-5)
    assert np.abs(their_sounds[0] - their_sounds[1]).max() > 1e-2
