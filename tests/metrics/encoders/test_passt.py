"""PaSST: what it hears of a sound, and what is made of it, with a small network but where a test says otherwise."""

from __future__ import annotations

import dataclasses
import sys
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from javisbench.clip import Clip
from javisbench.errors import FeatureError, UsageError, WeightsError
from javisbench.metrics.encoders.passt import STEP, WINDOW, PaSSTEncoder, log_mel, windows
from javisbench.metrics.passt import FDPaSST, KLPaSST
from javisbench.protocol import V1, parse_protocol

EVERY = parse_protocol("javisbench-v1+passt_windows=every_5_s")
CLIP = Clip(np.zeros((1, 8, 8, 3), np.uint8), Fraction(24), None, None)


def sounding(audio: np.ndarray, rate: int = 32000) -> Clip:
    return dataclasses.replace(CLIP, audio=np.atleast_2d(audio).astype(np.float32), sample_rate=rate)


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(32000 * seconds)).clip(-1, 1)


def test_the_spectrogram_is_that_of_the_package() -> None:
    # Made by hear21passt 0.0.26's AugmentMelSTFT (get_basic_model's arguments, eval) with the mel banks of torchaudio
    # 2.11.1's compliance.kaldi. Columns 998 and 999, which no patch reaches, are left out here.
    t = np.arange(WINDOW) / 32000
    sound = 0.5 * np.sin(2 * np.pi * (200 + 300 * t) * t) + 0.05 * np.sin(2 * np.pi * 7001 * t)
    sound[5 * 32000 : 200000] = 0
    made = log_mel(torch.from_numpy(sound).float()[None])[0]
    assert made.shape == (128, 998)
    wanted = {
        (0, 0): 0.44298,
        (5, 3): -0.209346,
        (10, 250): -1.402581,
        (40, 480): -1.402255,
        (64, 499): 0.267306,
        (64, 550): -1.402585,
        (100, 700): -0.387946,
        (20, 997): -1.402583,
    }
    # Transforms of other libraries round otherwise; the quietest bands are logarithms of what is left after that.
    assert [made[place].item() for place in wanted] == pytest.approx(list(wanted.values()), abs=2e-4)


def test_one_window_is_the_beginning_without_its_mean() -> None:
    spec = KLPaSST().needs(V1)
    heard = windows(sounding(noise(9) + 0.2).head, spec)
    assert heard.shape == (1, WINDOW) and not heard[0, 8 * 32000 :].any()
    np.testing.assert_allclose(heard[0, : 8 * 32000].mean(), 0, atol=2e-3)
    # Two channels at another rate are one sound at PaSST's.
    assert windows(sounding(np.ones((2, 44100)), 44100).head, spec).shape == (1, WINDOW)
    shorter = KLPaSST().needs(parse_protocol("javisbench-v1+passt_s=2"))
    assert not windows(sounding(noise(9)).head, shorter)[0, 2 * 32000 :].any()


@pytest.mark.parametrize(("seconds", "count"), [(0.01, 1), (4, 1), (10, 1), (10.1, 2), (15, 2), (15.1, 3), (20, 3)])
def test_windows_begin_every_five_seconds_while_there_is_new_sound(seconds: float, count: int) -> None:
    sound = noise(seconds)
    heard = windows(sounding(sound).head, FDPaSST().needs(EVERY))
    assert heard.shape == (count, WINDOW)
    assert heard.abs().max().item() == pytest.approx(10 ** (-1 / 20))
    for number, window in enumerate(heard):
        part = sound[number * STEP :][:WINDOW]
        loudest = np.abs(sound.astype(np.float32)).max()
        np.testing.assert_allclose(window[: len(part)], part * 10 ** (-1 / 20) / loudest, atol=1e-6)
        assert not window[len(part) :].any()
    assert not windows(sounding(np.zeros(100)).head, FDPaSST().needs(EVERY)).any()


def test_what_is_made_of_windows_is_averaged(
    sound_packages: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    encoder = PaSSTEncoder()
    encoder.load(sound_packages.install_passt(monkeypatch, tmp_path), "cpu")
    features, logits = FDPaSST().needs(EVERY), KLPaSST().needs(EVERY)
    broken = sounding(np.full(100, np.nan))
    found = encoder.encode([sounding(noise(12, 1)), CLIP, broken, sounding(noise(3, 2))], [features, logits])
    for place, kind in ((1, "no_audio"), (2, "non_finite")):
        error = found[place][features]
        assert isinstance(error, FeatureError) and error.kind == kind
    for place, (seconds, seed, count) in {0: (12, 1, 2), 3: (3, 2, 1)}.items():
        heard = windows(sounding(noise(seconds, seed)).head, features)
        with torch.inference_mode():
            wanted = encoder._loaded()(log_mel(heard)[:, None])
        assert len(heard) == count
        for spec, each in ((logits, wanted[0]), (features, wanted[1])):
            made = found[place][spec]
            assert isinstance(made, dict) and made["embedding"].shape == each.shape[1:]
            np.testing.assert_allclose(made["embedding"], each.numpy().mean(axis=0), atol=1e-5)
    with pytest.raises(WeightsError) as caught:
        torch.save({"other": torch.zeros(1)}, tmp_path / "w.pt")
        PaSSTEncoder().load(tmp_path / "w.pt", "cpu")
    assert "unexpected (1): other" in str(caught.value.details)


def test_settings_say_what_is_heard() -> None:
    assert FDPaSST().needs(V1).settings == {"windows": "one", "seconds": 8.0}
    # What is not used is in no feature's key.
    assert FDPaSST().needs(EVERY).settings == {"windows": "every_5_s"}
    with pytest.raises(UsageError, match="passt_s is seconds between"):
        parse_protocol("javisbench-v1+passt_s=11")


def test_the_divergence_goes_from_the_real_sound_to_the_generated_one() -> None:
    real, fake = np.log([[0.5, 0.25, 0.25]]), np.log([[0.25, 0.25, 0.5]])
    value = 0.5 * np.log(0.5 / 0.25) + 0.25 * np.log(0.25 / 0.5)
    found = KLPaSST().distance(np.repeat(fake, 3, 0) + 7, np.repeat(real, 3, 0), V1)
    assert found.value == pytest.approx(value, abs=1e-12)
    other = np.log([[0.7, 0.2, 0.1]])
    one_way, other_way = (KLPaSST().distance(*pair, V1).value for pair in ((fake, other), (other, fake)))
    assert one_way != pytest.approx(other_way, abs=1e-3)


def test_a_package_that_does_not_import_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hear21passt", None)
    monkeypatch.delitem(sys.modules, "hear21passt.models", raising=False)
    assert "pip install 'javisbench[passt]', together with a torchvision" in (PaSSTEncoder.lacking() or "")


@pytest.mark.slow
def test_the_package_s_network_is_loaded_and_asked(tmp_path: Path) -> None:
    pytest.importorskip("hear21passt")
    if lacks := PaSSTEncoder.lacking():
        pytest.skip(lacks)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = PaSSTEncoder()._build().eval()
    torch.save(network.state_dict(), tmp_path / "w.pt")
    encoder = PaSSTEncoder()
    before = torch.random.get_rng_state()
    encoder.load(tmp_path / "w.pt", "cpu")
    assert torch.equal(before, torch.random.get_rng_state())
    spec = KLPaSST().needs(V1)
    made = encoder.encode([sounding(noise(4))], [spec])[0][spec]
    with torch.inference_mode():
        wanted = network(log_mel(windows(sounding(noise(4)).head, spec))[:, None])[0]
    assert isinstance(made, dict)
    np.testing.assert_allclose(made["embedding"], wanted[0], atol=1e-5)
