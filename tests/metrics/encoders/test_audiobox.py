"""The adapter of Audiobox Aesthetics, with a stand-in for the package's predictor.

The package needs torchaudio, whose releases do not import beside current torch; so what is tested here is what the
predictor is given, and what becomes of its answers.
"""

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

from javisbench.clip import Clip
from javisbench.errors import FeatureError, UsageError, WeightsError
from javisbench.metrics.encoders import ENCODERS, audiobox
from javisbench.metrics.encoders.audiobox import AudioboxEncoder
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.preprocessing.windowed_sinc import resample


class StandInPredictor:
    """Rates a sound by numbers that a test can compute from what it was given."""

    def __init__(self, checkpoint: str) -> None:
        if Path(checkpoint).read_bytes() != b"aes":
            raise RuntimeError("not a checkpoint")
        self.model = torch.nn.Linear(1, 1)
        self.device: Any = "cuda"
        self.batches: list[int] = []

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, float]]:
        self.batches.append(len(batch))
        assert all(item["sample_rate"] == 16000 for item in batch)
        sounds = [item["path"][0] for item in batch]
        return [{"PQ": 4.0, "PC": float(x.std()), "CE": float(len(x)), "CU": float(x[:100].sum())} for x in sounds]


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AudioboxEncoder:
    module = ModuleType("audiobox_aesthetics.infer")
    module.initialize_predictor = StandInPredictor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "audiobox_aesthetics", ModuleType("audiobox_aesthetics"))
    monkeypatch.setitem(sys.modules, "audiobox_aesthetics.infer", module)
    (tmp_path / "checkpoint.pt").write_bytes(b"aes")
    encoder = AudioboxEncoder()
    encoder.load(tmp_path, "cpu")
    return encoder


def spec(resampling: str = "gain", seconds: float = 4.0) -> FeatureSpec:
    return FeatureSpec.of("audiobox", "axes", max_audio_len_s=seconds, quality_resampling=resampling)


def ratings(encoder: AudioboxEncoder, clip: Clip, wanted: FeatureSpec) -> list[float]:
    return list(encoder.encode([clip], [wanted])[0][wanted]["ratings"])  # type: ignore[index, arg-type]


def test_axes_come_in_their_order(encoder: AudioboxEncoder, noise_clip: Callable[..., Clip]) -> None:
    clip = noise_clip(4, 1)
    assert clip.audio is not None
    ce, cu, pc, pq = ratings(encoder, clip, spec())
    assert (ce, pq) == (64000.0, 4.0)
    assert cu == pytest.approx(clip.audio[0, :100].sum(), abs=1e-4)
    assert pc == pytest.approx(clip.audio.std(), rel=1e-4)
    assert ENCODERS.get("audiobox") is AudioboxEncoder
    assert encoder._predictor.device == torch.device("cpu")


def test_the_reference_scales_where_it_should_resample(fake_clip: Callable[[int], Clip]) -> None:
    clip = fake_clip(6)  # 44.1 kHz
    # standard deviations noted beside the reference's description, three digits
    assert float(audiobox.waveform(clip, spec("gain")).std()) == pytest.approx(0.0282, abs=5e-5)
    assert float(audiobox.waveform(clip, spec("resample")).std()) == pytest.approx(0.0643, abs=5e-5)
    same = fake_clip(0)  # 16 kHz
    torch.testing.assert_close(audiobox.waveform(same, spec("gain")), audiobox.waveform(same, spec("resample")))


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_the_gain_is_what_resampling_one_sample_gives(rate: int, noise_clip: Callable[..., Clip]) -> None:
    clip = dataclasses.replace(noise_clip(1), audio=np.ones((1, 4), np.float32), sample_rate=rate)
    one = resample(torch.ones(1), rate, 16000)[0]
    torch.testing.assert_close(audiobox.waveform(clip, spec())[0, 0], one, rtol=0, atol=1e-6)


def test_length_is_cut_or_filled(noise_clip: Callable[..., Clip]) -> None:
    for seconds in (1, 4, 60):
        sound = audiobox.waveform(noise_clip(seconds, size=(2, 2)), spec("resample", 2.5))
        assert sound.shape == (1, 40000)
    assert (audiobox.waveform(noise_clip(1), spec())[0, 16000:] == 0).all()


def test_a_mute_clip_does_not_spoil_the_others(encoder: AudioboxEncoder, noise_clip: Callable[..., Clip]) -> None:
    clips = [noise_clip(1, 1), noise_clip(1, 2, sound=False), noise_clip(1, 3)]
    silent = dataclasses.replace(clips[0], audio=np.zeros((1, 16000), np.float32))
    results = [result[spec()] for result in encoder.encode([*clips, silent], [spec()])]
    assert isinstance(results[1], FeatureError) and results[1].kind == "no_audio"
    assert list(results[2]["ratings"]) == ratings(encoder, clips[2], spec())  # type: ignore[index, call-overload]
    assert results[3]["ratings"][2] == 0.0  # type: ignore[index, call-overload]


def test_many_sounds_go_in_pieces(encoder: AudioboxEncoder, noise_clip: Callable[..., Clip]) -> None:
    results = encoder.encode([noise_clip(0.1, seed) for seed in range(20)], [spec(seconds=0.2)])
    assert encoder._predictor.batches == [16, 4]
    assert len({tuple(result[spec(seconds=0.2)]["ratings"]) for result in results}) == 20  # type: ignore[index, arg-type]


def test_what_cannot_be_loaded_is_said(
    encoder: AudioboxEncoder, noise_clip: Callable[..., Clip], tmp_path: Path
) -> None:
    (tmp_path / "other.pt").write_bytes(b"no")
    with pytest.raises(WeightsError, match=r"no checkpoint of Audiobox Aesthetics \(not a checkpoint\)"):
        AudioboxEncoder().load(tmp_path / "other.pt", "cpu")
    with pytest.raises(WeightsError, match=r"missing\.pt"):
        AudioboxEncoder().load(tmp_path / "missing.pt", "cpu")
    with pytest.raises(WeightsError, match="needs its weights"):
        AudioboxEncoder().load(None, "cpu")
    with pytest.raises(UsageError, match="load before encode"):
        AudioboxEncoder().encode([noise_clip(1)], [spec()])
    with pytest.raises(UsageError, match="'embedding'"):
        encoder.encode([noise_clip(1)], [FeatureSpec.of("audiobox", "embedding")])


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "audiobox_aesthetics", None)
    (tmp_path / "checkpoint.pt").write_bytes(b"aes")
    with pytest.raises(UsageError, match=r"javisbench\[audio-quality\].*torchaudio built for the installed torch"):
        AudioboxEncoder().load(tmp_path, "cpu")
