"""The five ImageBind scores of `javisbench-v1` against a second, plain computation of them.

The reference's numbers cover 11 clips. This covers what those leave out, among it bounds of clips that hang on
rounding, a centre crop whose offset is rounded up, and a video shorter than one window under longer sound. Everything
here is written from the definitions again: Pillow, NumPy in float64, and torch's own functions in place of
javisbench's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from javisbench.clip import Clip
from javisbench.metrics.av_ib import AVIB
from javisbench.metrics.avh_score import AVHScore
from javisbench.metrics.base import SampleContext
from javisbench.metrics.encoders.imagebind import ImageBindEncoder
from javisbench.metrics.javis_score import JavisScoreMetric
from javisbench.metrics.ta_ib import TAIB
from javisbench.metrics.tv_ib import TVIB
from javisbench.protocol import V1

State = dict[str, torch.Tensor]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


# The network, by torch's functions


def trunk(state: State, name: str, tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    width, x = tokens.shape[-1], tokens.transpose(0, 1)
    for number in range(2):
        p = {
            n.split(f"blocks.{number}.")[1]: t
            for n, t in state.items()
            if n.startswith(f"modality_trunks.{name}.blocks.{number}.")
        }
        y = F.layer_norm(x, (width,), p["norm_1.weight"], p["norm_1.bias"], 1e-6)
        x = x + F.multi_head_attention_forward(
            y, y, y, width, 4, p["attn.in_proj_weight"], p["attn.in_proj_bias"], p.get("attn.bias_k"),
            p.get("attn.bias_v"), False, 0.0, p["attn.out_proj.weight"], p["attn.out_proj.bias"], training=False,
            need_weights=False, attn_mask=mask,
        )[0]  # fmt: skip
        y = F.layer_norm(x, (width,), p["norm_2.weight"], p["norm_2.bias"], 1e-6)
        y = F.gelu(F.linear(y, p["mlp.fc1.weight"], p["mlp.fc1.bias"]))
        x = x + F.linear(y, p["mlp.fc2.weight"], p["mlp.fc2.bias"])
    return x.transpose(0, 1)


def embed(state: State, name: str, patches: torch.Tensor) -> torch.Tensor:
    pre, head = f"modality_preprocessors.{name}.", f"modality_heads.{name}."
    cls = state[pre + "cls_token"].expand(len(patches), -1, -1)
    tokens = torch.cat([cls, patches], 1) + state[pre + "pos_embedding_helper.pos_embed"]
    width = tokens.shape[-1]
    if name == "vision":
        norm = "modality_trunks.vision.pre_transformer_layer.0."
        tokens = F.layer_norm(tokens, (width,), state[norm + "weight"], state[norm + "bias"], 1e-6)
    first = F.layer_norm(trunk(state, name, tokens), (width,), state[head + "0.weight"], state[head + "0.bias"], 1e-6)
    return F.normalize(first[:, 0] @ state[head + "2.weight"].T, dim=-1)


def vision(state: State, frames: torch.Tensor) -> torch.Tensor:
    """Normalised ``(B, 3, 2, 224, 224)``."""
    weight = state["modality_preprocessors.vision.rgbt_stem.proj.1.weight"]
    return embed(state, "vision", F.conv3d(frames, weight, stride=(2, 14, 14)).flatten(2).mT)


def audio(state: State, mels: torch.Tensor) -> torch.Tensor:
    """``(B, 1, 128, 204)``; of length 1, where the network's own are of length 20."""
    stem = "modality_preprocessors.audio.rgbt_stem."
    patches = F.conv2d(mels, state[stem + "proj.weight"], stride=10).flatten(2).mT
    norm = state[stem + "norm_layer.weight"], state[stem + "norm_layer.bias"]
    return embed(state, "audio", F.layer_norm(patches, patches.shape[-1:], *norm, 1e-5))


def text(state: State, ids: list[int]) -> np.ndarray:
    padded = torch.tensor(ids)
    pre, head = "modality_preprocessors.text.", "modality_heads.text.proj."
    tokens = (state[pre + "token_embedding.weight"][padded] + state[pre + "pos_embed"][0])[None]
    x = trunk(state, "text", tokens, torch.full((77, 77), -math.inf).triu(1))[0, padded.argmax()]
    x = F.layer_norm(x, x.shape, state[head + "0.weight"], state[head + "0.bias"], 1e-6)
    return (state[head + "1.weight"] @ x).numpy()


# Input


def mel(samples: np.ndarray) -> torch.Tensor:
    """``(1, 128, 204)`` of up to 2 s at 16 kHz, in float64."""
    count = 1 + (len(samples) - 400) // 160
    frames = np.stack([samples[160 * i : 160 * i + 400] for i in range(count)]).astype(np.float64)
    frames -= frames.mean(1, keepdims=True)
    frames -= 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], 1)
    power = np.abs(np.fft.rfft(frames * np.hanning(400), 512)[:, :256]) ** 2
    scale = [1127 * math.log(1 + hertz / 700) for hertz in np.arange(256) * 16000 / 512]
    low, high = 1127 * math.log(1 + 20 / 700), 1127 * math.log(1 + 8000 / 700)
    edges = np.linspace(low, high, 130)
    up = (np.array(scale) - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - np.array(scale)) / (edges[2:] - edges[1:-1])[:, None]
    logs = np.log(np.maximum(power @ np.maximum(0, np.minimum(up, down)).T, 2.0**-23)).T
    filled = np.zeros((128, 204))
    filled[:, : min(count, 204)] = logs[:, :204]
    return torch.tensor((filled + 4.268) / 9.138, dtype=torch.float32)[None]


def three_sounds(waveform: np.ndarray) -> torch.Tensor:
    """Takes each clip's mean out of `waveform` itself."""
    latest = max(Fraction(waveform.shape[1] / 16000) - 2, Fraction(0))
    mels = []
    for start in (0, latest / 2, latest):
        piece = waveform[:, math.trunc(start * 16000) : math.trunc((start + 2) * 16000)]
        piece -= piece.mean()
        mels.append(mel(piece[0]))
    return torch.stack(mels)


def crops(clip: Clip) -> torch.Tensor:
    rate, count = float(clip.fps), len(clip.frames)
    latest = max(Fraction(count / rate) - 2, Fraction(0))
    height, width = clip.frames.shape[1:3]
    tall, wide = (math.floor(height / width * 224), 224) if height > width else (224, math.floor(width / height * 224))
    made = []
    for k in range(5):
        start = k * latest / 4
        inside = range(math.ceil(rate * start), min(math.ceil(rate * (start + 2)), count))
        pixels = torch.from_numpy(clip.frames[[inside[0], inside[-1]]]).permute(0, 3, 1, 2) / 255
        pixels = F.interpolate(pixels, (tall, wide), mode="bilinear", align_corners=False)
        pixels = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        for share in (0.0, 0.5, 1.0):
            top, left = math.ceil((tall - 224) * share), math.ceil((wide - 224) * share)
            made.append(pixels[:, :, top : top + 224, left : left + 224].transpose(0, 1))
    return torch.stack(made)


def stills(clip: Clip) -> torch.Tensor:
    height, width = clip.frames.shape[1:3]
    tall, wide = (224 * height // width, 224) if height > width else (224, 224 * width // height)
    top, left = round((tall - 224) / 2), round((wide - 224) / 2)
    made = []
    for frame in clip.frames:
        # Horizontally first, as Pillow did when the reference's numbers were made.
        image = Image.fromarray(frame).resize((wide, height), Image.Resampling.BICUBIC)
        image = image.resize((wide, tall), Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224))
        pixels = (np.asarray(image, dtype=np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
        made.append(torch.tensor(pixels).permute(2, 0, 1))
    return torch.stack(made)[:, :, None].repeat(1, 1, 2, 1, 1)


def resampled(clip: Clip) -> np.ndarray:
    """At 16 kHz, all channels, by the definition of a Hann-windowed sinc in float32."""
    assert clip.audio is not None and clip.sample_rate is not None
    common = math.gcd(clip.sample_rate, 16000)
    old, new = clip.sample_rate // common, 16000 // common
    if old == new:
        return clip.audio.copy()
    base = 0.99 * min(old, new)
    half = math.ceil(6 * old / base)
    taps = torch.arange(-half, half + old, dtype=torch.float32)[None] / old
    t = ((taps - torch.arange(new, dtype=torch.float32)[:, None] / new) * base).clamp(-6, 6)
    kernel = torch.sinc(t) * torch.cos(math.pi * t / 12) ** 2 * base / old
    padded = F.pad(torch.from_numpy(clip.audio)[:, None], (half, half + old))
    made = F.conv1d(padded, kernel[:, None], stride=old).mT.flatten(1)
    return made[:, : math.ceil(new * clip.audio.shape[1] / old)].numpy()


def slide(length: int, window: int, step: int) -> list[tuple[int, int]]:
    spans = []
    for start in range(0, length, step):
        first = min(start, length - window)
        spans.append((first, first + window))
        if first + window >= length:
            return spans
    return spans


def cos(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(a @ b / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b)))


def expected(state: State, clip: Clip, tokens: list[list[int]]) -> dict[str, float]:
    waveform, rate, count = resampled(clip), float(clip.fps), len(clip.frames)
    video = vision(state, crops(clip)).mean(0).numpy()
    whole = audio(state, three_sounds(waveform.copy())).mean(0).numpy()
    frames = vision(state, stills(clip)).numpy()
    samples, window = waveform.shape[1], math.trunc(2 * rate)
    if count <= window or samples <= 32000:
        pairs = [((0, count), (0, samples))]
    else:
        video_windows = slide(count, window, window - math.trunc(1.5 * rate))
        pairs = list(zip(video_windows, slide(samples, 32000, 8000), strict=False))
    values = []
    for (first, end), (low, high) in pairs:
        heard = audio(state, three_sounds(waveform[:, low:high])).mean(0).numpy()
        similar = np.sort(cos(frames[first:end], heard))
        values.append(similar[: max(1, math.trunc(0.4 * len(similar)))].mean())
    return {
        "tv_ib": float(cos(text(state, tokens[0]), video)),
        "ta_ib": float(cos(text(state, tokens[1]), whole)),
        "av_ib": float(cos(whole, video)),
        "avh_score": float(cos(frames, whole).mean()),
        "javis_score": float(np.mean(values)),
    }


# The comparison


@pytest.fixture(scope="module")
def weights(golden_json: Callable[[str], Any], seeded_weights: ModuleType, tmp_path_factory: Any) -> Path:
    shapes = {n: shape for n, (shape, _) in golden_json("statedict_imagebind_tiny")["tensors"].items()}
    state = seeded_weights.seeded_state_dict(shapes, "imagebind", 5)
    path: Path = tmp_path_factory.mktemp("weights") / "imagebind_tiny.pth"
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def encoder(weights: Path) -> ImageBindEncoder:
    encoder = ImageBindEncoder("tiny")
    encoder.load(weights, "cpu")
    return encoder


def made_by(encoder: ImageBindEncoder, clip: Clip, prompts: dict[str, str]) -> dict[str, float]:
    values = {}
    for metric in (TVIB(), TAIB(), AVIB(), AVHScore(), JavisScoreMetric()):
        features = {}
        for role, spec in metric.needs(V1).items():
            item: Any = clip if spec.subject == "clip" else prompts[spec.subject]
            features[role] = encoder.encode([item], [spec])[0][spec]
        values[metric.card.id] = metric.score(features, SampleContext(V1)).value
    return values


# Frames, rate, height and width; seconds of sound, its rate and channels.
CASES = {
    "clip bounds that rounding decides, 16 fps": (65, 16, 24, 40, Fraction(65, 16), 16000, 1),
    "clip bounds that rounding decides, 24 fps": (97, 24, 24, 40, Fraction(97, 24), 16000, 1),
    "an odd number of samples": (70, 16, 24, 40, Fraction(50001, 16000), 16000, 1),
    "an offset that is rounded up, and 3 s of sound over a short video": (7, 24, 480, 848, Fraction(3), 16000, 1),
    "portrait, its offset rounded up": (7, 24, 848, 480, Fraction(1), 16000, 1),
    "video longer than sound": (80, 16, 24, 40, Fraction(5, 2), 16000, 2),
    "sound longer than video, 29.97 fps": (70, Fraction(30000, 1001), 24, 40, Fraction(4), 16000, 1),
    "one frame": (1, 24, 24, 40, Fraction(4), 16000, 1),
    "0.4 s of sound": (60, 24, 24, 40, Fraction(2, 5), 16000, 1),
    "60 fps, 8 kHz": (125, 60, 24, 40, Fraction(5, 2), 8000, 1),
    "5.1 at 22.05 kHz": (70, 24, 24, 40, Fraction(3), 22050, 6),
}


@pytest.mark.parametrize("case", CASES)
def test_scores_equal_a_plain_computation(
    encoder: ImageBindEncoder, weights: Path, golden_json: Callable[[str], Any], case: str
) -> None:
    count, fps, height, width, seconds, rate, channels = CASES[case]
    rng = np.random.default_rng(sorted(CASES).index(case))
    frames = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    samples = rng.normal(scale=0.1, size=(channels, int(seconds * rate))) + 0.05  # an offset, for means to remove
    clip = Clip(frames, Fraction(fps), samples.astype(np.float32), rate, "sidecar", name=case)
    state = torch.load(weights, weights_only=True)
    tokens = golden_json("imagebind")["clips"][0]["text_tokens"]  # of the first prompts, as the reference has them
    ours, plain = made_by(encoder, clip, golden_json("prompts")[0]), expected(state, clip, tokens)
    # Float32 sums in another order; and equal sounds of a window, of which the mean is taken out three times there.
    assert ours == pytest.approx(plain, abs=2e-6)


def test_the_cases_hang_on_what_they_say() -> None:
    """Exact arithmetic and plain rounding would take other frames and another offset."""
    for count, fps, first in ((65, 16, [0, 9, 17, 25, 33]), (97, 24, [0, 13, 25, 37, 50])):
        exact = [math.ceil(k * (Fraction(count, fps) - 2) / 4 * fps) for k in range(5)]
        latest = Fraction(count / fps) - 2
        assert [math.ceil(float(fps) * (k * latest / 4)) for k in range(5)] == first
        assert (first != exact) == (count == 97)
    surplus = 224 * 848 // 480 - 224
    assert round(surplus / 2) == 86 == surplus // 2 + 1
