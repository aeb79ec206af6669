"""SenseVoiceSmall, with a module in funasr's place that has its interface (funasr 1.4.16)."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from javisbench.cli import run as cli
from javisbench.clip import Clip
from javisbench.errors import UsageError, WeightsError
from javisbench.media import write_clip
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.recogniser import SAMPLE_RATE
from javisbench.metrics.encoders.sensevoice import _FILES, SenseVoiceEncoder, stretches
from javisbench.metrics.speech_errors import WER
from javisbench.protocol import parse_protocol

PANGRAM = Path(__file__).parents[1] / "speech" / "pangram.flac"
PROTOCOL = "javisbench-v1+recogniser=sensevoice"
SPEC = FeatureSpec.of("sensevoice", "transcript", vad_threshold=0.5, vad_least_ms=100)
S = SAMPLE_RATE


class SenseVoiceSmall(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))


class AutoModel:
    """As funasr's: it reads what fits and says nothing of the rest."""

    asked: list[dict[str, Any]] = []  # noqa: RUF012 - emptied by the fixture
    said = "<|en|><|NEUTRAL|><|Speech|><|withitn|>The quick brown fox. <|en|><|HAPPY|>Jumps."
    network: type[nn.Module] = SenseVoiceSmall

    def __init__(self, **given: Any) -> None:
        print("funasr version: 1.4.16.")
        assert given["disable_update"] and not given["trust_remote_code"] and Path(given["model"]).is_dir()
        torch.manual_seed(0)
        self.model = self.network()

    def generate(self, input: list[np.ndarray], language: str, use_itn: bool, cache: Any) -> list[dict[str, str]]:
        assert (language, use_itn) == ("auto", True) and input[0].dtype == np.float32
        self.asked.append({"samples": len(input[0])})
        return [{"key": "rand_key", "text": self.said}]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("funasr", "kaldi_native_fbank"):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["funasr"].AutoModel = AutoModel  # type: ignore[attr-defined]
    AutoModel.asked.clear()
    made = tmp_path / "weights" / "SenseVoiceSmall"
    made.mkdir(parents=True)
    for name in _FILES:
        (made / name).write_text("{}")
    torch.save({"weight": torch.ones(3)}, made / "model.pt")
    return made


@pytest.mark.parametrize(
    ("seconds", "spans", "wanted"),
    [
        (30, [(1, 2)], [(0, 30)]),
        (31, [(1, 2)], [(1, 2)]),
        (90, [(1, 2), (10, 30), (31, 32), (40, 60)], [(1, 30), (31, 60)]),
        (90, [(0, 70), (71, 72)], [(0, 30), (30, 60), (60, 72)]),
    ],
)
def test_long_sounds_are_heard_in_stretches_of_speech(
    seconds: int, spans: list[tuple[int, int]], wanted: list[tuple[int, int]]
) -> None:
    found = stretches(seconds * S, [(start * S, end * S) for start, end in spans])
    assert [(start / S, end / S) for start, end in found] == wanted


def test_tags_are_no_words_and_silence_is_not_asked_about(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = SenseVoiceEncoder()
    before = torch.random.get_rng_state()
    encoder.load(folder, "cpu")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert capsys.readouterr().out == ""  # results go there
    speech, rate = soundfile.read(PANGRAM, dtype="float32")
    frames = np.zeros((1, 8, 8, 3), np.uint8)
    clips = [Clip(frames, Fraction(24), sound[None], rate) for sound in (speech, np.zeros(16000, np.float32))]
    said, silent = (found[SPEC] for found in encoder.encode(clips, [SPEC]))
    assert isinstance(said, dict) and isinstance(silent, dict)
    assert bytes(said["text"]).decode() == "The quick brown fox. Jumps." and bytes(said["language"]) == b"en"
    assert silent["text"].size == 0 and float(silent["speech_s"]) == 0
    assert [asked["samples"] for asked in AutoModel.asked] == [len(speech) * S // rate]
    encoder.close()
    with pytest.raises(UsageError, match="load before encode"):
        encoder.encode(clips, [SPEC])


def test_what_the_package_would_pass_over_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"other": torch.ones(3)}, folder / "model.pt")
    with pytest.raises(WeightsError) as caught:
        SenseVoiceEncoder().load(folder, "cpu")
    assert "missing (1): weight" in str(caught.value.details)
    monkeypatch.setattr(AutoModel, "network", nn.Identity)
    with pytest.raises(WeightsError, match="holds a Identity, not a SenseVoiceSmall"):
        SenseVoiceEncoder().load(folder, "cpu")
    monkeypatch.setattr(AutoModel, "network", lambda self: 1 / 0)
    with pytest.raises(WeightsError, match="cannot be read as SenseVoiceSmall: division by zero"):
        SenseVoiceEncoder().load(folder, "cpu")
    (folder / "am.mvn").unlink()
    with pytest.raises(WeightsError, match=r"lacks am\.mvn"):
        SenseVoiceEncoder().load(folder, "cpu")


def test_the_recogniser_is_a_setting(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert WER().needs(parse_protocol(PROTOCOL))["heard"] == SPEC
    (tmp_path / "clips").mkdir()
    frames = np.random.default_rng(0).integers(0, 255, (4, 32, 48, 3), dtype=np.uint8)
    write_clip(Clip(frames, Fraction(4), None, None), tmp_path / "clips/a.mp4")
    speech, rate = soundfile.read(PANGRAM, dtype="float32")
    soundfile.write(tmp_path / "clips/a.wav", speech, rate)
    (tmp_path / "s.csv").write_text("id,text,transcript,language\na,b,the quick brown fox jumps high,en\n")
    asked = ["score", str(tmp_path / "clips"), "--suite", str(tmp_path / "s.csv"), "--protocol", PROTOCOL]
    asked += ["--metrics", "wer,cpcer", "--weights-dir", str(folder.parent), "--workers", "1", "--json"]
    assert cli([*asked, "--out", str(tmp_path / "run")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["metrics"]["wer"]["overall"]["value"] == pytest.approx(1 / 6)
    assert told["metrics"]["cpcer"]["overall"]["value"] is None
    assert told["run"]["encoders"]["sensevoice"]["variant"] == "small"
    monkeypatch.setitem(sys.modules, "kaldi_native_fbank", None)
    monkeypatch.delitem(sys.modules, "kaldi_native_fbank")
    assert "kaldi_native_fbank, which is not installed: pip install 'javisbench[sensevoice]'" in (
        SenseVoiceEncoder.lacking() or ""
    )
