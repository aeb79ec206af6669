"""CNN14 of PANNs and what is computed from it, against numbers of av-benchmark and of PANNs' own program.

`tests/golden/field/cnn14.json` says how they were made: seeded weights of official size on eight synthetic sounds.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from javisbench.clip import Clip
from javisbench.errors import FeatureError, MetricError, WeightsError
from javisbench.metrics import panns as metrics
from javisbench.metrics.class_divergence import log_softmax
from javisbench.metrics.encoders import panns
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.panns import Cnn14Config, PANNs16kEncoder, PANNs32kEncoder, build
from javisbench.metrics.encoders.preprocessing.mel_filters import slaney_mel_filters
from javisbench.protocol import V1, V2, parse_protocol

FRONT = ("spectrogram_extractor", "logmel_extractor")
TINY = Cnn14Config(width=2)


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parents[2] / "golden/field/cnn14.json").read_text())
    return found


def sounds(rate: int) -> np.ndarray:
    """Eight sounds of 4 s, float32 ``(8, 4 rate)``."""
    made = []
    for k in range(8):
        i = np.arange(4 * rate)
        noise = np.random.RandomState(400 + k).randint(-1000, 1001, size=4 * rate)
        saw = (i % ((37, 80, 160, 53, 200, 97, 64, 29)[k] * (rate // 16000))) * 2000
        saw = saw // ((37, 80, 160, 53, 200, 97, 64, 29)[k] * (rate // 16000)) - 1000
        gate = 1 + (i // (rate // (2, 3, 4, 5, 6, 8, 10, 16)[k])) % 4
        value = saw * gate * (1, 2, 4, 8, 8, 4, 2, 1)[k] + noise * (6, 0, 1, 3, 0, 8, 2, 4)[k]
        made.append(np.clip(value, -32768, 32767) / 32768)
    return np.stack(made).astype(np.float32)


def front_end(config: Cnn14Config) -> dict[str, torch.Tensor]:
    """The part of a checkpoint that is computed and not learned: a Fourier transform with its window, and mel bands."""
    n = np.arange(config.n_fft)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / config.n_fft)
    turns = -2j * np.pi * np.outer(np.arange(config.n_fft // 2 + 1), n) / config.n_fft
    waves = np.exp(turns) * window
    bands = slaney_mel_filters(config.sample_rate, config.n_fft, config.mels, config.lowest_hz, config.highest_hz)
    arrays = {
        "spectrogram_extractor.stft.conv_real.weight": waves.real[:, None],
        "spectrogram_extractor.stft.conv_imag.weight": waves.imag[:, None],
        "logmel_extractor.melW": bands.T,
    }
    return {name: torch.from_numpy(np.ascontiguousarray(array)).float() for name, array in arrays.items()}


def save(path: Path, seeded: ModuleType, config: Cnn14Config, seed: int, **more: Any) -> Path:
    """A checkpoint as the official ones are laid out."""
    with torch.device("meta"):
        shapes = {name: list(t.shape) for name, t in build(config).state_dict().items() if not name.startswith(FRONT)}
    arrays = seeded.seeded_state_dict(shapes, "cavp", seed)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()} | front_end(config) | more
    torch.save({"model": state, "iteration": 1}, path)
    return path


def spec(rate_khz: int, feature: str) -> FeatureSpec:
    return metrics.panns_spec(V2, feature, rate_khz)


def embed(encoder: Any, clip: Clip, rate_khz: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and logits of the eight sounds."""
    rate = 1000 * rate_khz
    clips = [dataclasses.replace(clip, audio=wave[None], sample_rate=rate) for wave in sounds(rate)]
    wanted = [spec(rate_khz, "features"), spec(rate_khz, "logits")]
    found = encoder.encode(clips, wanted)
    features, logits = (np.stack([result[one]["embedding"] for result in found]) for one in wanted)
    return features, logits


@pytest.mark.parametrize(("name", "rate"), [("panns_16k", "16k"), ("panns_32k", "32k")])
def test_names_and_shapes_are_those_of_the_official_files(golden: dict[str, Any], name: str, rate: str) -> None:
    config = panns.VARIANTS[name]["cnn14"]
    with torch.device("meta"):
        made = {key: list(tensor.shape) for key, tensor in build(config).state_dict().items()}
    wanted = golden["tensors"] | (golden["tensors_16k_front_end"] if rate == "16k" else {})
    assert made == {key: shape for key, (shape, _) in wanted.items()}
    for key, tensor in front_end(config).items():
        stored = golden["front_end_fp"][f"{rate}/{key}"]
        np.testing.assert_allclose(tensor.numpy().reshape(-1)[stored["idx"]], stored["val"], rtol=0, atol=2e-6)


def test_numbers_of_av_benchmark_at_16_khz(
    golden: dict[str, Any],
    noise_clip: Callable[..., Clip],
    assert_fingerprint: Callable[..., None],
    seeded_weights: ModuleType,
    tmp_path: Path,
) -> None:
    encoder = PANNs16kEncoder()
    encoder.load(save(tmp_path / "w.pth", seeded_weights, panns.VARIANTS["panns_16k"]["cnn14"], 0), "cpu")
    stored = golden["av_benchmark_16k"]
    features, logits = embed(encoder, noise_clip(0.1), 16)
    # 2e-4: convolutions of 2048 channels in single precision, in other orders of summation.
    assert_fingerprint(features, stored["embedding_2048"], 2e-4)
    assert_fingerprint(logits, stored["logits"], 2e-4)
    kl = metrics.KLPANNs().distance(logits[:4], logits[4:], V2)
    assert kl.value == pytest.approx(stored["kl_softmax"], abs=1e-5)
    assert kl.influences is not None
    assert kl.influences + kl.value == pytest.approx(np.array(stored["kl_softmax_per_pair_float64"]), abs=1e-4)
    found = metrics.FDPANNs().distance(features[:4].astype(float), features[4:].astype(float), V2)
    assert found.value == pytest.approx(stored["fd_2048_float64"], abs=1e-2)
    for splits in (1, 2):
        score = metrics.inception_score(log_softmax(logits), splits).value
        wanted = stored["inception_score_by_splits_all_8"][str(splits)]["inception_score_mean"]
        assert score == pytest.approx(wanted, abs=1e-5)


@pytest.mark.slow
def test_numbers_of_the_32_khz_network(
    golden: dict[str, Any],
    noise_clip: Callable[..., Clip],
    assert_fingerprint: Callable[..., None],
    seeded_weights: ModuleType,
    tmp_path: Path,
) -> None:
    path = save(tmp_path / "w.pth", seeded_weights, panns.VARIANTS["panns_32k"]["cnn14"], 0)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["model"]["fc_audioset.weight"] *= 0.1  # as the numbers were made: else a class is as good as certain
    torch.save(checkpoint, path)
    encoder = PANNs32kEncoder()
    encoder.load(path, "cpu")
    stored = golden["mova_32k"]
    features, logits = embed(encoder, noise_clip(0.1), 32)
    assert_fingerprint(features, stored["embedding_2048"], 1e-3)  # up to 85
    assert_fingerprint(1 / (1 + np.exp(-logits.astype(float))), stored["clipwise_output"], 1e-5)
    score = metrics.inception_score(log_softmax(metrics.clamped_log_odds(logits)), 1).value
    assert score == pytest.approx(stored["inception_score_all_8"], abs=1e-6)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, seeded_weights: ModuleType, tmp_path: Path) -> PANNs16kEncoder:
    """A few channels, a seed drawn now."""
    monkeypatch.setitem(panns.VARIANTS["panns_16k"], "tiny", TINY)
    encoder = PANNs16kEncoder("tiny")
    seed = int(np.random.default_rng().integers(1, 2**31))
    encoder.load(save(tmp_path / "tiny.pth", seeded_weights, TINY, seed), "cpu")
    return encoder


def test_clips_do_not_touch_one_another(tiny: PANNs16kEncoder, noise_clip: Callable[..., Clip]) -> None:
    wanted = [spec(16, "features"), spec(16, "logits")]
    clips = [noise_clip(seconds, seed) for seed, seconds in enumerate((2, 0.2, 3, 2))]
    clips += [noise_clip(1, 9, sound=False), dataclasses.replace(clips[0], audio=np.full((1, 32000), np.inf, "f4"))]
    together = tiny.encode(clips, wanted)
    kinds = [found[wanted[0]].kind if isinstance(found[wanted[0]], FeatureError) else None for found in together]
    assert kinds == [None, "too_short", None, None, "no_audio", "non_finite"]
    for place in (0, 2, 3):
        (alone,) = tiny.encode([clips[place]], wanted)
        for one in wanted:
            a, b = (found[one]["embedding"] for found in (alone, together[place]))  # type: ignore[index]
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    assert together[0][wanted[0]]["embedding"].shape == (64,)  # type: ignore[index]


def test_only_its_own_seconds_are_heard(tiny: PANNs16kEncoder, noise_clip: Callable[..., Clip]) -> None:
    long = noise_clip(9, 1)
    assert long.audio is not None
    changed = long.audio.copy()
    changed[:, 8 * 16000 + 1 :] = 0
    # The mean is taken off before the cut, so that the end is not quite without effect.
    shorter = parse_protocol("javisbench-v2+panns_16k_s=2")
    both = []
    for audio in (long.audio, changed):
        wanted = metrics.panns_spec(shorter, "features", 16)
        (found,) = tiny.encode([dataclasses.replace(long, audio=audio - audio.mean())], [wanted])
        both.append(found[wanted]["embedding"])  # type: ignore[index]
    np.testing.assert_allclose(both[0], both[1], rtol=0, atol=1e-3)


def test_other_weights_are_told(seeded_weights: ModuleType, tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", seeded_weights, TINY, 0, more=torch.zeros(1))
    with pytest.raises(WeightsError) as caught:
        PANNs16kEncoder().load(path, "cpu")
    assert "unexpected (1): more" in str(caught.value.details) and "wrong shape" in str(caught.value.details)


class TestInceptionScore:
    def test_known_answers(self) -> None:
        sure = log_softmax(40.0 * np.eye(10)[np.arange(20) % 10])
        assert metrics.inception_score(sure, 1).value == pytest.approx(10, rel=1e-9)
        assert metrics.inception_score(np.log(np.full((20, 5), 0.2)), 10).value == pytest.approx(1)

    def test_fewer_than_ten_have_no_value(self) -> None:
        logits = np.random.default_rng(0).normal(size=(12, 8))
        slices = {"all": np.arange(12), "few": np.arange(9)}
        found = metrics.ISPANNs().compute(logits, logits, slices, V1)
        assert found["few"].value is None and found["few"].status == "small_n"
        assert found["all"].value is not None and found["all"].value >= 1
        with pytest.raises(MetricError, match="needs 10 sounds; got 9"):
            metrics.ISPANNs().unpaired(logits[:9], logits[:9], V1)

    def test_a_sigmoid_of_one_is_no_nan(self) -> None:
        logits = np.full((10, 4), 50.0)
        logits[:, 1] = -50.0
        assert metrics.ISPANNs32k().unpaired(logits, logits, V1) == pytest.approx(1)

    @pytest.mark.parametrize("splits", [1, 3])
    def test_influences_are_derivatives(self, splits: int) -> None:
        rng = np.random.default_rng(1)
        rows = log_softmax(3 * rng.normal(size=(30, 6)))
        found = metrics.inception_score(rows, splits)
        assert found.influences is not None and found.value is not None
        assert found.influences.sum() == pytest.approx(0, abs=1e-9)

        # Weighing row i by (1 + h): the derivative of the value is influence / n.
        order = np.random.RandomState(2020).permutation(30) if splits > 1 else np.arange(30)

        def weighted(i: int, h: float) -> float:
            scores = []
            for k in range(splits):
                part = order[k * 30 // splits : (k + 1) * 30 // splits]
                w = np.where(part == i, 1 + h, 1.0)
                w = w / w.sum()
                p = np.exp(rows[part])
                scores.append(np.exp(w @ (p * (rows[part] - np.log(w @ p))).sum(axis=1)))
            return float(np.mean(scores))

        for i in (0, 7, 29):
            slope = (weighted(i, 1e-5) - weighted(i, -1e-5)) / 2e-5
            assert slope == pytest.approx(found.influences[i] / 30, abs=1e-6)


class TestDivergence:
    def test_known_answers(self) -> None:
        logits = np.random.default_rng(0).normal(size=(5, 7))
        same = metrics.KLPANNs().distance(logits, logits + 3, V1)
        assert same.value == pytest.approx(0, abs=1e-12)
        made, true = np.log([[0.5, 0.5]] * 2), np.log([[0.25, 0.75], [0.5, 0.5]])
        wanted = (0.25 * np.log(0.5) + 0.75 * np.log(1.5)) / 2
        assert metrics.KLPANNs().distance(made, true, V1).value == pytest.approx(wanted)
