from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from javisbench.clip import Clip
from javisbench.errors import FeatureError
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.onsets import OnsetEncoder, onset_envelope, pick_onsets

SPEC = FeatureSpec.of("onsets", "onsets")


def clip(audio: NDArray[np.float32] | None, rate: int | None = 16000) -> Clip:
    return Clip(np.zeros((2, 8, 8, 3), np.uint8), Fraction(24), audio, rate)


def clicks(rate: int, times: list[float], seconds: float = 2.0) -> NDArray[np.float32]:
    samples = np.zeros(int(rate * seconds), np.float32)
    decay = np.exp(-np.arange(rate // 20) / (rate / 200)).astype(np.float32)
    for time in times:
        start = int(time * rate)
        samples[start : start + decay.size] += decay[: samples.size - start]
    return samples


def signals(rate: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(rate)
    t = np.arange(int(1.7 * rate)) / rate
    return {
        "noise": rng.normal(0, 0.1, t.size).astype(np.float32),
        "clicks": clicks(rate, [0.2, 0.5, 0.53, 1.4]),
        "vibrato": (0.5 * np.sin(2 * np.pi * 440 * t + 8 * np.sin(2 * np.pi * 5 * t))).astype(np.float32),
        "beat": (np.sin(2 * np.pi * 300 * t) * (np.sin(2 * np.pi * 3 * t) > 0) * 0.3).astype(np.float32),
        "loud start": (rng.normal(0, 1, t.size) * np.exp(-t * 9)).astype(np.float32),
        "faint": (1e-6 * rng.normal(0, 1, t.size)).astype(np.float32),
        "short": rng.normal(0, 0.1, 700).astype(np.float32),
        "one sample": np.ones(1, np.float32),
    }


RATES = (8000, 16000, 22050, 44100, 48000)
# The envelope is tens of dB; float32 rounding in another FFT and matrix product.
ENVELOPE_DB = 5e-5


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.filterwarnings("ignore:Empty filters detected")
def test_onsets_equal_librosa(rate: int, golden_npz: Callable[[str], dict[str, np.ndarray]]) -> None:
    """librosa's values are stored: it compiles for 20 s before the first of them."""
    expected = golden_npz("onsets_librosa")
    for name, samples in signals(rate).items():
        envelope = onset_envelope(samples, rate)
        np.testing.assert_allclose(envelope, expected[f"{rate}/{name}/envelope"], atol=ENVELOPE_DB, err_msg=name)
        onsets = pick_onsets(envelope, rate) * 512 / rate
        assert onsets.tolist() == expected[f"{rate}/{name}/times_s"].tolist(), name


@pytest.mark.slow
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.filterwarnings("ignore:n_fft=2048 is too large")
@pytest.mark.filterwarnings("ignore:Empty filters detected")
def test_what_is_stored_is_librosas(rate: int, golden_npz: Callable[[str], dict[str, np.ndarray]]) -> None:
    import librosa

    stored = golden_npz("onsets_librosa")
    for name, samples in signals(rate).items():
        envelope = librosa.onset.onset_strength(y=samples, sr=rate)
        np.testing.assert_allclose(stored[f"{rate}/{name}/envelope"], envelope, atol=ENVELOPE_DB, err_msg=name)
        onsets = librosa.onset.onset_detect(y=samples, sr=rate, units="time")
        assert stored[f"{rate}/{name}/times_s"].tolist() == onsets.tolist(), name


def test_clicks_are_found_within_two_hops() -> None:
    wanted = [0.25, 0.75, 1.5]
    features = OnsetEncoder().encode([clip(clicks(16000, wanted)[None])], [SPEC])[0][SPEC]
    assert not isinstance(features, FeatureError)
    found = features["times_s"]
    assert all(np.abs(found - time).min() <= 2 * 512 / 16000 for time in wanted)
    assert features["envelope"].dtype == np.float32


def test_channels_are_mixed() -> None:
    sound = clicks(16000, [0.5])
    stereo = np.stack([sound, np.zeros_like(sound)])
    mono = OnsetEncoder().encode([clip(sound[None] / 2)], [SPEC])[0][SPEC]
    mixed = OnsetEncoder().encode([clip(stereo)], [SPEC])[0][SPEC]
    assert not isinstance(mono, FeatureError) and not isinstance(mixed, FeatureError)
    np.testing.assert_array_equal(mixed["envelope"], mono["envelope"])


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_a_constant_envelope_has_no_onsets(level: float) -> None:
    assert pick_onsets(np.full(50, level, np.float32), 16000).tolist() == []


def test_silence_has_no_onsets() -> None:
    features = OnsetEncoder().encode([clip(np.zeros((1, 64000), np.float32))], [SPEC])[0][SPEC]
    assert not isinstance(features, FeatureError)
    assert features["times_s"].shape == (0,)
    assert features["envelope"].shape == (126,)


@pytest.mark.parametrize(
    ("audio", "rate", "kind"),
    [
        (None, None, "no_audio"),
        (np.zeros((1, 0), np.float32), 16000, "no_audio"),
        (np.array([[0.0, np.nan, 0.1]], np.float32), 16000, "non_finite"),
    ],
)
def test_a_bad_sound_is_that_clips_failure_alone(
    audio: NDArray[np.float32] | None, rate: int | None, kind: str
) -> None:
    good = clip(clicks(16000, [0.5])[None])
    bad, fine = OnsetEncoder().encode([clip(audio, rate), good], [SPEC])
    error = bad[SPEC]
    assert isinstance(error, FeatureError) and error.kind == kind and "clip" in error.message
    assert not isinstance(fine[SPEC], FeatureError)


def test_it_is_registered_as_a_host_encoder() -> None:
    assert ENCODERS.get("onsets") is OnsetEncoder
    assert OnsetEncoder.card.host and OnsetEncoder().variant == "default"
