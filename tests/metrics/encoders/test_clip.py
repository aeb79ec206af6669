"""CLIP against the reference evaluation (commit b505b37, stand-in weights, seed 0) and its own rules."""

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
from javisbench.errors import UsageError, WeightsError
from javisbench.metrics.base import SampleContext
from javisbench.metrics.clip_score import CLIPScore
from javisbench.metrics.encoders import ENCODERS, clip
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.clip import CLIPEncoder
from javisbench.metrics.encoders.preprocessing.pil_resize import bicubic_centre_crop
from javisbench.protocol import V1, V2

PROMPT = FeatureSpec.of("clip", "text_embedding", subject="text")


def frames_spec(count: int = 48, order: str = "rgb") -> FeatureSpec:
    return FeatureSpec.of("clip", "frame_embeddings", clip_frames=count, channel_order=order)


def seeded_state(seeded: ModuleType, seed: int) -> dict[str, torch.Tensor]:
    """Stand-in weights of the small configuration under OpenAI's names."""
    names = clip.to_openai_names(clip.build_clip(clip.VARIANTS["small"]).state_dict())
    arrays = seeded.seeded_state_dict({name: tensor.shape for name, tensor in names.items()}, "clip", seed)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def loaded(path: Path) -> CLIPEncoder:
    encoder = CLIPEncoder("small")
    encoder.load(path, "cpu")
    return encoder


@pytest.fixture(scope="module")
def encoder(seeded_weights: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> CLIPEncoder:
    path = tmp_path_factory.mktemp("weights") / "clip_small.pt"
    torch.save(seeded_state(seeded_weights, 0), path)
    return loaded(path)


@pytest.fixture(scope="module")
def other_seed(seeded_weights: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> CLIPEncoder:
    path = tmp_path_factory.mktemp("weights") / "clip_small.pt"
    torch.save(seeded_state(seeded_weights, 1), path)
    return loaded(path)


def embeddings(encoder: CLIPEncoder, clips: list[Clip], spec: FeatureSpec) -> list[np.ndarray]:
    return [np.asarray(result[spec]["embeddings"]) for result in encoder.encode(clips, [spec])]  # type: ignore[index]


def test_scores_embeddings_and_frames_of_every_reference_clip(
    encoder: CLIPEncoder,
    golden_json: Callable[[str], Any],
    golden_npz: Callable[[str], dict[str, np.ndarray]],
    fake_clip: Callable[[int], Clip],
) -> None:
    stored, arrays = golden_json("clip_score"), golden_npz("clip_embeds")
    metric = CLIPScore()
    needs = {protocol.name: metric.needs(protocol) for protocol in (V1, V2)}
    prompts = encoder.encode([row["text"] for row in golden_json("prompts")], [PROMPT])
    for index, prompt in enumerate(prompts):
        name = f"sample_{index:04d}"
        (frames,) = encoder.encode([fake_clip(index)], [needs[p.name]["frames"] for p in (V1, V2)])
        for protocol, key in ((V1, "clip_score"), (V2, "rgb_order_fixed")):
            roles = needs[protocol.name]
            features = {"frames": frames[roles["frames"]], "prompt": prompt[roles["prompt"]]}
            score = metric.score(features, SampleContext(protocol))  # type: ignore[arg-type]
            # 1e-7 measured: pixels are equal, float32 sums are not
            assert score.value == pytest.approx(stored[key][index], abs=2e-6)
            if protocol is V1:
                cosines = stored["clips"][index]["per_frame"]
                np.testing.assert_allclose(score.details["frame_cosine"], cosines, rtol=0, atol=2e-6)
                for role, found, kind in (("frames", "embeddings", "image"), ("prompt", "embedding", "text")):
                    array = np.atleast_2d(features[role][found])  # type: ignore[index]
                    np.testing.assert_allclose(array, arrays[f"{name}/{kind}"], rtol=0, atol=2e-6)


@pytest.mark.parametrize("index", [0, 6, 7])
def test_pixels_that_clip_sees(
    index: int,
    golden_json: Callable[[str], Any],
    fake_clip: Callable[[int], Clip],
    assert_fingerprint: Callable[..., None],
) -> None:
    shown, spec = fake_clip(index), CLIPScore().needs(V1)["frames"]
    chosen = shown.frames[clip.sampled_frames(shown.timeline, spec)]
    pixels = clip.normalise(bicubic_centre_crop(torch.from_numpy(chosen), 224).flip(1))
    assert_fingerprint(pixels, golden_json("clip_score")["clips"][index]["frames_fed"], 1e-6)  # equal but for float32


def test_official_names_and_size() -> None:
    with torch.device("meta"):
        network = clip.build_clip(clip.VARIANTS["vit-b-32"])
    names = clip.to_openai_names(network.state_dict())
    assert sum(tensor.numel() for tensor in names.values()) == 151_277_313  # of OpenAI's ViT-B/32
    assert tuple(names["visual.transformer.resblocks.11.attn.in_proj_weight"].shape) == (2304, 768)
    assert tuple(names["transformer.resblocks.11.attn.in_proj_bias"].shape) == (1536,)
    assert tuple(names["visual.proj"].shape) == (768, 512)
    assert tuple(names["text_projection"].shape) == (512, 512)
    assert tuple(names["visual.positional_embedding"].shape) == (50, 768)
    assert not any("_model" in name or "self_attn" in name for name in names)
    assert ENCODERS.get("clip") is CLIPEncoder


def test_names_go_both_ways(seeded_weights: ModuleType) -> None:
    state = seeded_state(seeded_weights, 2)
    back = clip.to_openai_names(clip.from_openai_names(state))
    assert back.keys() == state.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(back[name], tensor, rtol=0, atol=0)


def test_a_transformers_folder_holds_the_same_network(
    encoder: CLIPEncoder, seeded_weights: ModuleType, noise_clip: Callable[..., Clip], tmp_path: Path
) -> None:
    state = clip.from_openai_names(seeded_state(seeded_weights, 0))
    state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(state, tmp_path / "model.safetensors")
    found = embeddings(loaded(tmp_path), [noise_clip(1)], frames_spec(3))[0]
    np.testing.assert_array_equal(found, embeddings(encoder, [noise_clip(1)], frames_spec(3))[0])


def test_half_precision_files_with_openais_extra_numbers_load(
    encoder: CLIPEncoder, seeded_weights: ModuleType, noise_clip: Callable[..., Clip], tmp_path: Path
) -> None:
    state = {name: tensor.half() for name, tensor in seeded_state(seeded_weights, 0).items()}
    torch.save({**state, "input_resolution": torch.tensor(224)}, tmp_path / "half.pt")
    found = embeddings(loaded(tmp_path / "half.pt"), [noise_clip(1)], frames_spec(3))[0]
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, embeddings(encoder, [noise_clip(1)], frames_spec(3))[0], atol=5e-3
    )  # 11-bit weights


def test_batches_do_not_mix(other_seed: CLIPEncoder, noise_clip: Callable[..., Clip]) -> None:
    clips = [noise_clip(seconds, seed) for seed, seconds in enumerate((1, 3, 0.01))]
    spec = frames_spec(5)
    together = embeddings(other_seed, clips, spec)
    assert np.abs(together[0] - together[1]).max() > 1e-3
    for single, found in zip(clips, together, strict=True):
        np.testing.assert_allclose(found, embeddings(other_seed, [single], spec)[0], rtol=0, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)
    prompts = ["a dog", "a cat that sings " * 60, "a cat that sings " * 59 + "badly", ""]
    texts = [result[PROMPT]["embedding"] for result in other_seed.encode(prompts, [PROMPT])]  # type: ignore[index]
    alone = other_seed.encode(prompts[1:2], [PROMPT])[0][PROMPT]["embedding"]  # type: ignore[index]
    np.testing.assert_allclose(texts[1], alone, rtol=0, atol=1e-6)
    assert np.abs(texts[0] - texts[3]).max() > 1e-3


def test_time_reversed_and_still_and_grey_clips(other_seed: CLIPEncoder, noise_clip: Callable[..., Clip]) -> None:
    clip_ = noise_clip(1, 4)
    reverse = dataclasses.replace(clip_, frames=clip_.frames[::-1].copy())
    forward, backward = embeddings(other_seed, [clip_, reverse], frames_spec(4))
    np.testing.assert_allclose(backward, forward[::-1], rtol=0, atol=1e-6)
    still = clip_.with_frames(clip_.frames[:1])
    found = embeddings(other_seed, [still], frames_spec(4))[0]
    assert found.shape == (4, 48)
    np.testing.assert_array_equal(found, np.repeat(found[:1], 4, axis=0))
    grey = dataclasses.replace(clip_, frames=np.repeat(clip_.frames[..., :1], 3, axis=-1))
    both = other_seed.encode([grey, clip_], [frames_spec(4), frames_spec(4, "bgr")])
    arrays = [[result[frames_spec(4, order)]["embeddings"] for order in ("rgb", "bgr")] for result in both]  # type: ignore[index]
    np.testing.assert_allclose(arrays[0][0], arrays[0][1], rtol=0, atol=1e-6)
    assert np.abs(arrays[1][0] - arrays[1][1]).max() > 1e-3


def test_wrong_weights_and_misuse_are_said(seeded_weights: ModuleType, tmp_path: Path) -> None:
    state = seeded_state(seeded_weights, 0)
    state["stranger"] = state.pop("visual.ln_post.bias")
    torch.save(state, tmp_path / "wrong.pt")
    with pytest.raises(WeightsError, match=r"vision_model\.post_layernorm\.bias(.|\n)*stranger"):
        loaded(tmp_path / "wrong.pt")
    with pytest.raises(WeightsError, match=r"neither model\.safetensors"):
        loaded(tmp_path)
    with pytest.raises(WeightsError, match="needs its weights"):
        CLIPEncoder().load(None, "cpu")
    with pytest.raises(UsageError, match="load before encode"):
        CLIPEncoder().encode(["a"], [PROMPT])


def test_an_unknown_feature_is_said(encoder: CLIPEncoder, noise_clip: Callable[..., Clip]) -> None:
    with pytest.raises(UsageError, match="frame_embeddings"):
        encoder.encode([noise_clip(1)], [FeatureSpec.of("clip", "embedding")])
    with pytest.raises(UsageError, match="frame_embeddings"):
        encoder.encode([noise_clip(1)], [FeatureSpec.of("clip", "text_embedding")])
    with pytest.raises(UsageError, match="text_embedding"):
        encoder.encode(["a"], [FeatureSpec.of("clip", "frame_embeddings", subject="text")])


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"pip install 'javisbench\[clip\]'"):
        CLIPEncoder().load(tmp_path / "any.pt", "cpu")
