"""DNSMOS with the published networks, which come with the package `speechmos`.

Reference numbers: that package's own program on the sounds that are made again here (onnxruntime 1.32, librosa 0.11).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from javisbench.clip import Clip
from javisbench.errors import FeatureError, UsageError, WeightsError
from javisbench.metrics.encoders import dnsmos
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.dnsmos import WINDOW, DNSMOSEncoder, windows

P835 = FeatureSpec.of("dnsmos", "p835", windows="all")
P808 = FeatureSpec.of("dnsmos", "p808", windows="all")
PANGRAM = Path(__file__).parents[1] / "speech" / "pangram.flac"

# SIG, BAK, OVRL, P.808; then SIG, BAK, OVRL of the personalized network.
GOLDEN = {
    "noise": ((1.1679880598, 1.1011447455, 1.1343268138, 2.0865294933), (2.6393845976, 1.4867290337, 1.5296947214)),
    "bursts": ((1.5754059569, 1.6581128806, 1.2757518019, 2.4683837891), (2.8399283825, 2.1385422554, 1.9038471582)),
    "steps": ((1.2394635742, 1.2345993891, 1.2291451527, 2.1438467503), (2.7952114924, 1.7750675417, 1.8152845150)),
}


def sounds() -> dict[str, np.ndarray]:
    """Int16 at 16 kHz: 2.5 s (doubled until it fills a window), 10 s (one window), 13 s (four windows)."""

    def noise(k: int, n: int) -> np.ndarray:
        return np.random.RandomState(300 + k).randint(-1000, 1001, size=n)

    i, j = np.arange(160000), np.arange(208000)
    period = 100 + 7 * (j // 16000)
    return {
        "noise": noise(0, 40000) * 8,
        "bursts": ((i % 128) * 2000 // 128 - 1000) * (i // 4000 % 5) * 2 + noise(1, 160000) // 10,
        "steps": ((j % period) * 16000 // period - 8000) // 2 + noise(2, 208000) // 50,
    }


@pytest.fixture(scope="module")
def encoder() -> Iterator[DNSMOSEncoder]:
    made = DNSMOSEncoder()
    made.load(None, "cpu")
    yield made
    made.close()


def rate(encoder: DNSMOSEncoder, clip: Clip, samples: np.ndarray, rate: int = 16000) -> list[float]:
    """SIG, BAK, OVRL, P.808."""
    clip = dataclasses.replace(clip, audio=np.atleast_2d(samples).astype(np.float32), sample_rate=rate)
    (found,) = encoder.encode([clip], [P835, P808])
    return [float(x) for spec in (P835, P808) for x in found[spec]["ratings"]]  # type: ignore[index]


@pytest.mark.parametrize("name", GOLDEN)
def test_numbers_are_those_of_the_published_program(
    encoder: DNSMOSEncoder, noise_clip: Callable[..., Clip], name: str
) -> None:
    # 2e-6: single precision in onnxruntime, whose kernels differ between processors.
    assert rate(encoder, noise_clip(0.1), sounds()[name] / 32768) == pytest.approx(GOLDEN[name][0], abs=2e-6)


def test_the_personalized_network_has_its_own_fit(noise_clip: Callable[..., Clip]) -> None:
    encoder = DNSMOSEncoder("personalized")
    encoder.load(None, "cpu")
    found = rate(encoder, noise_clip(0.1), sounds()["noise"] / 32768)
    assert found[:3] == pytest.approx(GOLDEN["noise"][1], abs=2e-6)


def test_speech_is_rated_by_what_spoils_it(encoder: DNSMOSEncoder, noise_clip: Callable[..., Clip]) -> None:
    clean, sample_rate = soundfile.read(PANGRAM, dtype="float32")
    assert sample_rate == 16000
    clean = np.resize(clean, WINDOW)  # said again until it fills one window
    level = float(np.sqrt(np.square(clean).mean()))
    noise = np.random.default_rng(0).normal(0, level, clean.shape)
    clip = noise_clip(0.1)
    good, soft, loud = (rate(encoder, clip, clean + share * noise) for share in (0, 0.1, 0.56))
    clipped = rate(encoder, clip, np.clip(20 * clean, -0.5, 0.5))
    for axis in (1, 2, 3):  # background, overall, P.808; SIG is meant to ignore noise
        assert good[axis] > soft[axis] + 0.2 > loud[axis] + 0.4
        assert good[axis] > clipped[axis] + 0.2
    stereo = rate(encoder, clip, np.stack([clean, clean]))
    assert stereo == pytest.approx(good, abs=1e-6)


@pytest.mark.parametrize(
    ("seconds", "kept", "rounded"),
    [(0.1, 3, 3), (9.0, 9, 7), (9.01, 1, 1), (10.0, 1, 1), (11.0, 2, 2), (17.0, 8, 7), (20.0, 11, 7), (40.0, 31, 14)],
)
def test_windows_begin_every_second(seconds: float, kept: int, rounded: int) -> None:
    sound = np.arange(round(seconds * 16000), dtype=np.float32)
    every = windows(sound, "all")
    assert {len(window) for window in every} == {WINDOW} and len(every) == kept
    whole = sound
    while len(whole) < WINDOW:
        whole = np.concatenate([whole, whole])
    for k, window in enumerate(every):
        assert np.array_equal(window, whole[16000 * k : 16000 * k + WINDOW])
    fewer = windows(sound, "rounded")
    assert {len(window) for window in fewer} == {WINDOW} and len(fewer) == rounded


def test_what_has_no_speech_has_no_number(encoder: DNSMOSEncoder, noise_clip: Callable[..., Clip]) -> None:
    good = noise_clip(0.5, 1)
    good = dataclasses.replace(good, audio=np.resize(good.audio, (1, WINDOW)))  # one window
    without = {
        "no_audio": [None, np.zeros((1, 0), np.float32)],
        "silent": [np.zeros((2, 32000), np.float32), np.full((1, 32000), 1e-4, np.float32)],
        "non_finite": [np.full((1, 100), np.nan, np.float32)],
    }
    cases = [(kind, audio) for kind, sounds in without.items() for audio in sounds]
    mute = [dataclasses.replace(good, audio=audio, sample_rate=None if audio is None else 16000) for _, audio in cases]
    *found, last = encoder.encode([*mute, good], [P835])
    for (kind, _), result in zip(cases, found, strict=True):
        error = result[P835]
        assert isinstance(error, FeatureError) and error.kind == kind
    assert last[P835]["ratings"].shape == (3,)  # type: ignore[index]


def test_another_network_than_the_published_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    name, _ = dnsmos.FILES["p808"]
    monkeypatch.setitem(dnsmos.FILES, "p808", (name, "0" * 64))
    with pytest.raises(WeightsError, match=r"model_v8\.onnx is not the published network"):
        DNSMOSEncoder().load(None, "cpu")
    with pytest.raises(UsageError, match="Call DNSMOSEncoder"):
        DNSMOSEncoder().encode_sounds([], [P835])
