"""Transcripts of a recogniser of the user's own: files that are read, files that are refused, and scores by them."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from javisbench.cli import run as cli
from javisbench.clip import Clip
from javisbench.errors import MetricError, UsageError
from javisbench.media import write_clip
from javisbench.metrics.base import SampleContext
from javisbench.metrics.speech_errors import CER, WER, CpCER
from javisbench.protocol import parse_protocol
from javisbench.suite import Sample
from javisbench.transcripts import MAX_SPEAKERS, Heard, check_recogniser, read_transcripts

MINE = parse_protocol("javisbench-v2+recogniser=mine")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_of_a_clip_are_its_turns_in_order(tmp_path: Path) -> None:
    table = "id,repeat,speaker,start_s,text\na,,B,2.5,bye\na,,A,0,hello\na,,B,4,again\na,1,,,once more\nb,,,,\n"
    rows = [
        {"id": "a", "speaker": "B", "start_s": 2.5, "text": "bye"},
        {"id": "a", "speaker": "A", "start_s": 0, "text": "hello"},
        {"id": "a", "speaker": "B", "start_s": 4, "text": "again"},
        {"id": "a", "repeat": 1, "text": "once more"},
        {"id": "b", "text": ""},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    files = [write(tmp_path / "t.csv", table), write(tmp_path / "t.jsonl", lines)]
    for found in (read_transcripts("mine", file) for file in files):
        first = found.of("a", 0)
        assert first is not None and first.text == "hello bye again"
        assert first.tagged == "[S1] hello [S2] bye [S2] again"
        assert found.of("a", 1) == Heard((("", "once more"),))
        assert found.of("b", 0) == Heard((("", ""),)) and found.of("c", 0) is None
    assert read_transcripts("mine", files[0]).sha256 != read_transcripts("mine", files[1]).sha256
    # A time is missing: the order of the file.
    part = read_transcripts("mine", write(tmp_path / "p.csv", "id,start_s,text\na,5,one\na,,two\n")).of("a", 0)
    assert part is not None and part.text == "one two"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,text\na,b\n", "have the columns id and text"),
        ("id,text\n,b\n", "row 1, column id: is empty"),
        ("id,text,repeat\na,b,-1\n", "row 1, column repeat: is no number"),
        ("id,text,start_s\na,b,nan\n", "row 1, column start_s: is no number of seconds"),
        ("id,text,start_s\na,b,soon\n", "row 1, column start_s: is no number of seconds"),
        ("id,text,speaker\na,[S1] b,me\n", "row 1, column text: has tags"),
        ("id,text\n" + f"a,{'b' * 100_000}\n" * 2, "row 2, column text: more than 131,072 characters of one clip"),
        ("id,text\n" + ",b\n" * 9, "and more"),
        ("", "file"),
    ],
)
def test_files_that_cannot_be_used_are_refused_with_the_row(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_transcripts("mine", write(tmp_path / "t.csv", text))
    assert told in "\n".join(caught.value.details)


@pytest.mark.parametrize("row", ['{"id": "a", "text": ["b"]}', '{"id": true, "text": "b"}', '{"id": "a", "text": 1.5}'])
def test_cells_of_other_kinds_are_refused(tmp_path: Path, row: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_transcripts("mine", write(tmp_path / "t.jsonl", row + "\n"))
    assert "is no text" in "\n".join(caught.value.details)
    with pytest.raises(UsageError) as caught:
        read_transcripts("mine", tmp_path / "none.csv")
    assert "there is no such file" in "\n".join(caught.value.details)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ('{"id": "a"}', "column text: is missing"),
        ('{"id": "a", "text": null}', "column text: is missing"),
        (r'{"id": "a", "text": "\ud800"}', "half of a surrogate pair"),
        (r'{"id": "a", "text": "b", "speaker": "\u0000"}', "column speaker: a NUL character"),
    ],
)
def test_a_gap_is_not_silence_and_what_is_no_text_is_refused(tmp_path: Path, row: str, told: str) -> None:
    lines = '{"id": "b", "text": ""}\n' + row + "\n"
    with pytest.raises(UsageError) as caught:
        read_transcripts("mine", write(tmp_path / "t.jsonl", lines))
    assert told in "\n".join(caught.value.details) and "row 1" not in "\n".join(caught.value.details)


def test_the_recogniser_is_part_of_the_protocol() -> None:
    plain = parse_protocol("javisbench-v1")
    assert check_recogniser(plain, None) is plain
    named = check_recogniser(plain, "mine")
    assert named.name == "javisbench-v1+recogniser=mine" and check_recogniser(named, "mine") == named
    assert named.settings()["speech"]["recogniser"] == "mine"
    with pytest.raises(UsageError, match="--speech-transcripts mine=FILE"):
        check_recogniser(named, None)
    with pytest.raises(UsageError, match="'other' is given"):
        check_recogniser(named, "other")
    for name in ("whisper", "SenseVoice", "two words", ""):
        with pytest.raises(UsageError, match="Transcripts need the name"):
            check_recogniser(plain, name)


def context(reference: str, *turns: tuple[str, str]) -> SampleContext:
    sample = Sample("a", 0, "prompt", extra={"transcript": reference, "language": "en"})
    return SampleContext(MINE, None, sample, heard=Heard(turns) if turns else None)


def test_speakers_are_paired_and_their_names_are_nobodys_business() -> None:
    said = "[S1] hello [S2] bye"
    assert CpCER().score({}, context(said, ("Ann", "bye"), ("Bob", "hello"))).value == 0
    assert CpCER().score({}, context(said, ("Ann", "hello"), ("Ann", "bye"))).value == pytest.approx(6 / 8)
    assert CpCER().score({}, context(said, ("", ""))).value == 1  # nothing was heard
    assert CpCER().score({}, context(said, ("", "[S2] hello [S1] bye"))).value == 0
    assert WER().score({}, context(said, ("Ann", "hello"), ("Bob", "bye"))).value == 0
    assert CER().score({}, context(said, ("", "[S1] hello [S2] by"))).value == pytest.approx(1 / 8)


def test_what_has_no_number_has_a_reason() -> None:
    cases = [
        (CpCER(), context("hello", ("A", "hello")), "no_speakers"),
        (CpCER(), context("[S1] ?!", ("A", "hello")), "no_transcript"),
        (CpCER(), context("[S1] hello", ("", "hello")), "speakers_unknown"),
        (CpCER(), context("[S1] hello"), "not_transcribed"),
        (CpCER(), context("[S1] hello", *((f"{k}", "a") for k in range(MAX_SPEAKERS + 1))), "too_many_speakers"),
        (WER(), context("hello"), "not_transcribed"),
    ]
    for metric, given, kind in cases:
        with pytest.raises(MetricError) as caught:
            metric.score({}, given)
        assert caught.value.kind == kind
    assert set(CpCER.not_applicable) == {"no_speakers", "no_transcript"}


def spoken(tmp_path: Path) -> tuple[list[str], list[str], Path]:
    """A command that scores four clips, what gives it transcripts, and their file."""
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("two", "one", "gone", "mute"):
        frames = np.random.default_rng(list(name.encode())).integers(0, 255, (4, 32, 48, 3), dtype=np.uint8)
        write_clip(Clip(frames, Fraction(4), None, None), clips / f"{name}.mp4")
        if name != "mute":
            soundfile.write(clips / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 8000)
    suite = [
        "id,text,transcript,language",
        "two,a,[S1] hello [S2] bye,en",
        "one,b,你好世界,zh",
        "gone,c,hi,en",
        "mute,d,hi,en",
    ]
    write(tmp_path / "suite.csv", "\n".join(suite) + "\n")
    heard = write(tmp_path / "heard.csv", "id,text,speaker\ntwo,bye,Ann\ntwo,hello,Bob\none,你好时间,\nmute,hi,\n")
    common = ["score", str(clips), "--suite", str(tmp_path / "suite.csv"), "--metrics", "wer,cer,cpcer"]
    common += ["--workers", "1", "--quiet"]
    return common, ["--speech-transcripts", f"mine={heard}"], heard


def test_a_table_of_one_s_own_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common, given, heard = spoken(tmp_path)
    assert cli([*common, *given, "--out", str(tmp_path / "run")]) == 0
    assert "over all units together" in capsys.readouterr().out
    scores = pd.read_parquet(tmp_path / "run/scores.parquet").set_index("sample_id")
    assert scores.loc["two", ["wer", "cpcer"]].tolist() == [1.0, 0.0]
    assert scores.loc["one", ["wer", "cer"]].tolist() == [0.5, 0.5] and np.isnan(scores.loc["one", "cpcer"])
    assert scores.loc[["gone", "mute"], ["wer", "cer", "cpcer"]].isna().to_numpy().all()
    rows = [json.loads(line) for line in (tmp_path / "run/failures.jsonl").read_text().splitlines()]
    kinds = {(row["sample_id"], row["metric"]): (row["kind"], row["stage"]) for row in rows}
    assert kinds["gone", "wer"] == ("not_transcribed", "metric") and kinds["mute", "wer"] == ("no_audio", "encode")
    assert kinds["one", "cpcer"] == ("no_speakers", "not_applicable")
    told = json.loads((tmp_path / "run/summary.json").read_text())["run"]
    assert told["protocol"] == "javisbench-v1+recogniser=mine"
    assert told["speech_transcripts"] == read_transcripts("mine", heard).facts
    assert cli(["report", str(tmp_path / "run")]) == 0
    assert "cpCER" in capsys.readouterr().out

    # Without them, by Whisper: nothing says who speaks, and the way out is named.
    capsys.readouterr()
    assert cli([*common, "--metrics", "cpcer", "--out", str(tmp_path / "plain")]) == 0
    cell = json.loads((tmp_path / "plain/summary.json").read_text())["metrics"]["cpcer"]["overall"]
    assert cell["value"] is None and "--speech-transcripts NAME=FILE" in cell["note"]
    assert cli([*common, "--protocol", "javisbench-v2+recogniser=mine", "--out", str(tmp_path / "x")]) == 2
    assert cli([*common, "--speech-transcripts", f"mine={tmp_path / 'suite.csv'}2", "--out", str(tmp_path / "x")]) == 2
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_shards_that_are_joined_are_the_whole_run(tmp_path: Path) -> None:
    common, given, _ = spoken(tmp_path)
    parts = [str(tmp_path / f"part{shard}") for shard in (0, 1)]
    for shard, part in enumerate(parts):
        assert cli([*common, *given, "--shard", f"{shard}/2", "--out", part]) == 0
    assert cli([*common, *given, "--out", str(tmp_path / "run")]) == 0
    assert cli(["merge", *parts, "--out", str(tmp_path / "whole"), "--quiet"]) == 0
    for name in ("scores.parquet", "summary.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


@pytest.mark.slow
def test_transcripts_are_joined_by_what_they_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common, _, heard = spoken(tmp_path)
    copy = write(tmp_path / "copy.csv", heard.read_text(encoding="utf-8"))
    parts = [str(tmp_path / f"part{shard}") for shard in (0, 1)]
    for shard, file in enumerate((heard, copy)):
        given = ["--speech-transcripts", f"mine={file}", "--shard", f"{shard}/2", "--out", parts[shard]]
        assert cli([*common, *given]) == 0
    merge = ["merge", *parts, "--out", str(tmp_path / "whole"), "--quiet"]
    heard.unlink()
    assert cli(merge) == 2
    assert "--speech-transcripts mine=FILE" in capsys.readouterr().err
    write(heard, "id,text\ntwo,other\n")
    assert cli(merge) == 2 and "is not what the parts were scored by" in capsys.readouterr().err
    assert cli([*merge, "--speech-transcripts", f"mine={copy}"]) == 0
    assert pd.read_parquet(tmp_path / "whole/scores.parquet").set_index("sample_id").loc["two", "wer"] == 1.0

    # The same command over another file is another scoring of that part.
    again = ["--speech-transcripts", f"mine={heard}", "--shard", "0/2", "--out", parts[0]]
    assert cli([*common, *again]) == 0
    capsys.readouterr()
    assert cli(merge) == 2
    told = capsys.readouterr().err
    assert "what a recogniser heard (--speech-transcripts) differs" in told and "sha256" in told
