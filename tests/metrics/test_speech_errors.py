"""Error rates of speech, and Whisper with small random weights."""

from __future__ import annotations

import dataclasses
import json
import shutil
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from javisbench.cli import run as cli
from javisbench.clip import Clip
from javisbench.errors import FeatureError, MetricError, UsageError, WeightsError
from javisbench.media import write_clip
from javisbench.metrics import speech_text
from javisbench.metrics.base import SampleContext
from javisbench.metrics.encoders import whisper
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.whisper import SIZES, WhisperEncoder
from javisbench.metrics.speech_errors import CER, WER
from javisbench.protocol import V2
from javisbench.suite import Sample

PANGRAM = Path(__file__).parent / "speech" / "pangram.flac"

# Transcript, heard, language, word errors (S, D, I, units), character errors: counted by hand.
PAIRS = [
    ("Hello, world!", "hello world", "en", (0, 0, 0, 2), (0, 0, 0, 10)),
    ("Hello, world!", "hello word", "en", (1, 0, 0, 2), (0, 1, 0, 10)),
    ("Hello, world!", "", "en", (0, 2, 0, 2), (0, 10, 0, 10)),
    ("Hello", "hello hello hello", "en", (0, 0, 2, 1), (0, 0, 10, 5)),
    ("the cat sat", "the cat sat down", "en", (0, 0, 1, 3), (0, 0, 4, 9)),
    ("the cat sat", "the sat", "en", (0, 1, 0, 3), (0, 3, 0, 9)),
    ("the cat sat", "a cat sat", "en", (1, 0, 0, 3), (1, 2, 0, 9)),
    ("Don't stop", "dont stop", "en", (1, 0, 0, 2), (0, 1, 0, 9)),
    ("Don\u2019t stop", "don't stop", "en", (0, 0, 0, 2), (0, 0, 0, 9)),
    ("It costs $5.", "it costs 5", "en", (0, 0, 0, 3), (0, 0, 0, 8)),
    ("state-of-the-art", "state of the art", "en", (0, 0, 0, 4), (0, 0, 0, 13)),
    ("A B C D", "A C D E", "en", (0, 1, 1, 4), (0, 1, 1, 4)),
    ("one two", "two one", "en", (0, 1, 1, 2), (0, 3, 3, 6)),
    ("\uff21\uff22\uff23", "abc", "en", (0, 0, 0, 1), (0, 0, 0, 3)),
    ("yes", "no", "en", (1, 0, 0, 1), (2, 1, 0, 3)),
    ("你好，世界。", "你好世界", "zh", (0, 0, 0, 4), (0, 0, 0, 4)),
    ("你好，世界。", "你好时间", "zh", (2, 0, 0, 4), (2, 0, 0, 4)),
    ("你好世界", "你 好 世 界", "zh", (0, 0, 0, 4), (0, 0, 0, 4)),
    ("你好世界", "好世界", "zh-CN", (0, 1, 0, 4), (0, 1, 0, 4)),
    ("你好世界", "你好新世界", "", (0, 0, 1, 4), (0, 0, 1, 4)),
    ("我爱你", "", "zh", (0, 3, 0, 3), (0, 3, 0, 3)),
    ("今天天气很好", "今天天气不好", "zh", (1, 0, 0, 6), (1, 0, 0, 6)),
    ("こんにちは。", "こんにちわ", "ja", (1, 0, 0, 5), (1, 0, 0, 5)),
    ("Ça va bien ?", "ça va bien", "fr", (0, 0, 0, 3), (0, 0, 0, 8)),
    ("Ça va bien ?", "ca va bien", "fr", (1, 0, 0, 3), (1, 0, 0, 8)),
    ("l'été, déjà", "l'été deja", "fr", (1, 0, 0, 2), (2, 0, 0, 9)),
    ("aujourd\u2019hui", "aujourd'hui", "fr", (0, 0, 0, 1), (0, 0, 0, 11)),
    ("Straße", "strasse", "de", (1, 0, 0, 1), (1, 0, 1, 6)),
    ("Guten Tag!", "guten   tag", "de", (0, 0, 0, 2), (0, 0, 0, 8)),
    ("Привет, мир", "привет мир", "ru", (0, 0, 0, 2), (0, 0, 0, 9)),
    ("[S1] Who is it? [S2] Me.", "who is it me", "en", (0, 0, 0, 4), (0, 0, 0, 9)),
    ("[S1]你好[S2]世界", "你好世界", "", (0, 0, 0, 4), (0, 0, 0, 4)),
]


def of(text: str, language: str = "", heard: str = "") -> tuple[SampleContext, dict[str, Any]]:
    sample = Sample("a", 0, "prompt", extra={"transcript": text, "language": language})
    coded = np.frombuffer(heard.encode(), np.uint8)
    return SampleContext(V2, None, sample), {"heard": {"text": coded, "speech_s": np.array(1.0)}}


@pytest.mark.parametrize(("text", "heard", "language", "words", "characters"), PAIRS)
def test_errors_are_those_that_one_counts_by_hand(
    text: str, heard: str, language: str, words: tuple[int, ...], characters: tuple[int, ...]
) -> None:
    context, features = of(text, language, heard)
    for metric, counts in ((WER(), words), (CER(), characters)):
        found = metric.score(features, context)
        names = ("substituted", "deleted", "inserted", "units")
        assert sum(found.details[name][0] for name in names[:3]) == sum(counts[:3])
        assert found.details["units"] == (counts[3],)
        assert found.value == sum(counts[:3]) / counts[3]


def test_nothing_to_say_has_no_rate() -> None:
    for text in ("", "  ", "?!", "[S1] [S2]"):
        with pytest.raises(MetricError) as caught:
            WER().score(of(text)[1], of(text)[0])
        assert caught.value.kind == "no_transcript"
    with pytest.raises(MetricError):
        CER().score(of("")[1], SampleContext(V2))


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=8), st.lists(st.sampled_from("abc"), max_size=8))
def test_edits_are_a_distance(reference: list[str], heard: list[str]) -> None:
    found = speech_text.errors(reference, heard)
    edits = found.substituted + found.deleted + found.inserted
    table = np.zeros((len(reference) + 1, len(heard) + 1), int)
    table[:, 0], table[0] = np.arange(len(reference) + 1), np.arange(len(heard) + 1)
    for i, a in enumerate(reference, 1):
        for j, b in enumerate(heard, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a != b))
    assert edits == table[-1, -1]
    assert found.deleted - found.inserted == len(reference) - len(heard)


@pytest.mark.parametrize(
    ("reference", "heard", "rate"),
    [
        ("[S1] hello [S2] bye", "[S1] hello [S2] bye", 0),
        ("[S1] hello [S2] bye", "[S2] hello [S1] bye", 0),
        ("[S1] hello [S2] bye", "hello bye", 1),
        ("[S1] hello [S2] bye", "[S1] hello", 3 / 8),
        ("[S1] hello", "[S1] hello [S2] bye", 3 / 5),
        ("[S1] he [S2] bye [S1] llo", "[S1] bye [S2] hello", 0),
        ("[S1] 你好。[S2] 再见", "[S1] 再见 [S2] 你号", 1 / 4),
        ("before [S1] hello", "[S1] hello", 0),
    ],
)
def test_speakers_are_paired_so_that_errors_are_fewest(reference: str, heard: str, rate: float) -> None:
    assert speech_text.cpcer(reference, heard).rate == pytest.approx(rate)


def test_a_reference_without_speakers_is_refused() -> None:
    with pytest.raises(UsageError, match="needs tags"):
        speech_text.cpcer("hello", "[S1] hello")


def test_raw_text_keeps_its_commas() -> None:
    assert speech_text.words_of("Well, yes", rule="raw") == ["well,", "yes"]


def test_the_rate_of_all_clips_together() -> None:
    metric = WER()
    scored = [metric.score(*of(t, "en", h)[::-1]) for t, h in (("a b c d", "a b c d"), ("a", "b c"))]
    facts = metric.facts(np.array([s.value for s in scored]), [s.details for s in scored], np.arange(2), 0)
    assert facts == {"pooled": 2 / 5, "without_speech": 0.0}
    assert metric.remark(facts) == "0.400 over all units together; no speech was heard in 0 % of the clips"


# Whisper

SPEC = FeatureSpec.of("whisper", "transcript", vad_threshold=0.5, vad_least_ms=100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_whisper: ModuleType) -> Path:
    path = tmp_path_factory.mktemp("whisper")
    tiny_whisper.save_tiny_whisper(path, int(np.random.default_rng().integers(2**31)))
    return path


@pytest.fixture
def encoder(folder: Path, tiny_whisper: ModuleType, monkeypatch: pytest.MonkeyPatch) -> WhisperEncoder:
    monkeypatch.setitem(whisper.SIZES, "tiny", tiny_whisper.SIZE)
    made = WhisperEncoder("tiny")
    made.load(folder, "cpu")
    return made


def test_speech_is_heard_and_silence_is_not_asked_about(
    encoder: WhisperEncoder,
) -> None:
    speech, rate = soundfile.read(PANGRAM, dtype="float32")
    noise = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
    clip = Clip(np.zeros((1, 8, 8, 3), np.uint8), Fraction(24), None, None)
    sounds = [speech, noise, np.zeros(16000, np.float32)]
    clips = [dataclasses.replace(clip, audio=sound[None], sample_rate=rate) for sound in sounds]
    clips.append(dataclasses.replace(clip, audio=None, sample_rate=None))
    said, noisy, silent, mute = (found[SPEC] for found in encoder.encode(clips, [SPEC]))
    assert isinstance(said, dict) and isinstance(noisy, dict) and isinstance(silent, dict)
    assert 4 < float(said["speech_s"]) < 6
    assert bytes(said["language"]).decode() in ("en", "de")
    for quiet in (noisy, silent):
        assert float(quiet["speech_s"]) == 0 and quiet["text"].size == 0
    assert isinstance(mute, FeatureError) and mute.kind == "no_audio"
    again = encoder.encode(clips[:1], [SPEC])[0][SPEC]
    assert np.array_equal(again["text"], said["text"])  # type: ignore[index, call-overload]


def test_another_size_or_half_a_folder_is_refused(folder: Path, encoder: WhisperEncoder, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="another Whisper than small"):
        WhisperEncoder("small").load(folder, "cpu")
    with pytest.raises(WeightsError, match=r"lacks model\.safetensors"):
        WhisperEncoder("tiny").load(tmp_path, "cpu")
    from safetensors.numpy import load_file, save_file

    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop("model.encoder.conv1.weight")
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError) as caught:
        WhisperEncoder("tiny").load(tmp_path, "cpu")
    assert "missing (1): model.encoder.conv1.weight" in str(caught.value.details)
    assert set(SIZES) == set(WhisperEncoder.card.variants)


def test_a_suite_with_transcripts_from_the_command_line(
    folder: Path,
    tiny_whisper: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(whisper.SIZES, "large-v3", tiny_whisper.SIZE)
    shutil.copytree(folder, tmp_path / "weights" / "whisper-large-v3")
    clips = tmp_path / "clips"
    clips.mkdir()
    speech, rate = soundfile.read(PANGRAM, dtype="float32")
    sounds = {"said": speech, "noise": np.random.default_rng(0).normal(0, 0.1, 32000), "wordless": speech}
    for name, sound in sounds.items():
        frames = np.random.default_rng(list(name.encode())).integers(0, 255, (4, 32, 48, 3), dtype=np.uint8)
        write_clip(Clip(frames, Fraction(4), None, None), clips / f"{name}.mp4")
        soundfile.write(clips / f"{name}.wav", sound, rate)
    rows = ["id,text,transcript,language,place", "said,a,the quick brown fox,en,room", "noise,b,你好世界,zh,street"]
    rows.append("wordless,c,,,street")
    (tmp_path / "suite.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "plain.csv").write_text("id,text\nsaid,a\nnoise,b\n")
    common = ["--metrics", "wer,cer", "--weights-dir", str(tmp_path / "weights"), "--workers", "1", "--quiet"]
    run = tmp_path / "run"
    suite = ["--suite", str(tmp_path / "suite.csv"), "--slice-by", "place"]
    assert cli(["score", str(clips), *suite, *common, "--out", str(run)]) == 0
    scores = pd.read_parquet(run / "scores.parquet").set_index("sample_id")
    assert scores.loc["noise", ["wer", "cer"]].tolist() == [1.0, 1.0]  # nothing is said: every word is missing
    assert scores.loc["said", "wer"] > 0 and np.isnan(scores.loc["wordless", "wer"])
    failures = [json.loads(line) for line in (run / "failures.jsonl").read_text().splitlines()]
    assert {(row["sample_id"], row["kind"], row["stage"]) for row in failures} == {
        ("wordless", "no_transcript", "not_applicable")
    }
    summary = json.loads((run / "summary.json").read_text())["metrics"]
    assert summary["wer"]["overall"]["n"] == 2
    assert "no speech was heard in 50 % of the clips" in capsys.readouterr().out
    places = summary["wer"]["place"]
    assert places["street"]["n"] == 1 and places["street"]["value"] == 1.0
    assert places["room"]["n"] == 1 and places["room"]["value"] == scores.loc["said", "wer"]

    assert cli(["report", str(run), "--format", "csv"]) == 0
    assert "street" in capsys.readouterr().out
    assert cli(["leaderboard", "build", str(run), "--out", str(tmp_path / "board")]) == 0
    assert "WER" in (tmp_path / "board/index.html").read_text(encoding="utf-8")
    assert cli(["submit", "pack", str(run), "--out", str(tmp_path / "run.zip")]) == 0
    assert cli(["submit", "verify", str(tmp_path / "run.zip")]) == 0

    assert cli(["score", str(clips), "--suite", str(tmp_path / "plain.csv"), *common, "--out", str(run) + "2"]) == 0
    told = json.loads((tmp_path / "run2/summary.json").read_text())["metrics"]["wer"]["overall"]
    assert told["status"] == "not_applicable" and told["note"] == "plain has no column transcript"
