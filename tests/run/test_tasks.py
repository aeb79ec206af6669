"""Suites that give a picture or a sound, from end to end: making, scoring, tables, archives, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import pickle
import re
import shutil
import struct
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

import javisbench
from javisbench.api import Result
from javisbench.baselines.base import Conditions, Failed, Generated, Generator, Plan, Request
from javisbench.baselines.registry import create_generator
from javisbench.cards import card_files
from javisbench.cli import run as cli
from javisbench.clip import Clip, ClipSpec
from javisbench.durable import read_json, read_jsonl
from javisbench.errors import GenerationError, MediaError, RunError, SuiteError, UsageError
from javisbench.leaderboard.clips import copied_clip
from javisbench.media import ClipJoiner, read_clip, write_clip
from javisbench.media.process import Worker
from javisbench.media.source import DecodeLimits
from javisbench.metrics.base import Distance, SetMetric, needed_features
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.encoders.base import Encoder, EncoderCard, FeatureSpec, StreamEncoder
from javisbench.metrics.encoders.flow import FlowEncoder
from javisbench.metrics.encoders.onsets import OnsetEncoder
from javisbench.metrics.fad import FADMetric
from javisbench.metrics.registry import METRICS, card_of
from javisbench.protocol import V2, Protocol
from javisbench.publish.archive import unpack
from javisbench.publish.verify import Finding, verify_folder
from javisbench.results.compare import compare
from javisbench.results.rankability import comparison
from javisbench.results.run_folder import load_result
from javisbench.run.generate import GenerateSettings, MadeFiles
from javisbench.run.given import given_problems
from javisbench.run.making import Maker, Making
from javisbench.suite import Suite, load_suite, read_suite
from javisbench.suite_statement import statement_of
from javisbench.tasks import ALL_TASKS, BOTH_MADE

SETTING = '[setting]\nwidth = 64\nheight = 48\nduration_s = 1.5\nfps = "16"\nsample_rate = 16000\n'
PROMPTS = ("a drum is struck", "a dog barks", "a hammer hits")


class Taker(Generator):
    """Notes what it is given; makes a grey picture and a steady tone where these are wanted."""

    card_id = "taker"
    tasks = frozenset({"v2a", "a2v", "i2av"})
    seen: ClassVar[list[tuple[str, Conditions]]] = []
    answers: ClassVar[dict[str, Any]] = {}

    def plan(self, spec: ClipSpec) -> Plan:
        frames, samples = round(spec.duration_s * spec.fps), round(spec.duration_s * spec.sample_rate)
        return Plan(spec.width, spec.height, frames, spec.fps, samples, spec.sample_rate)

    def generate(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        for request in batch:
            type(self).seen.append((request.task, request.conditions))
            plan = request.plan
            frames = np.full((plan.frames, plan.height, plan.width, 3), 128, np.uint8)
            frames[::4] = 90
            audio = 0.1 * np.sin(np.arange(plan.audio_samples) / 5, dtype=np.float32)[None]
            clip = Clip(frames, plan.fps, audio, plan.sample_rate)
            yield Generated(request, self.answers.get(request.sample.id, clip))


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVISBENCH_CACHE_DIR", str(tmp_path / "cache"))
    Taker.seen, Taker.answers = [], {}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Procedural clips with their prompts and seeds, and a suite that gives their pictures alone."""
    folder = tmp_path_factory.mktemp("tasks")
    write_table(folder / "prompts.csv", ("id", "text"), [(f"c{i}", prompt) for i, prompt in enumerate(PROMPTS)])
    (folder / "prompts.toml").write_text(SETTING)
    run = javisbench.generate("procedural", suite=str(folder / "prompts.csv"), out=folder / "made")
    (folder / "suite/videos").mkdir(parents=True)
    rows = []
    for sample in load_suite(str(folder / "prompts.csv")):
        made = run / "clips" / sample.id
        shutil.copy(made.with_suffix(".mp4"), folder / "suite/videos")
        rows.append((sample.id, sample.text, f"videos/{sample.id}.mp4", read_json(made.with_suffix(".json"))["seed"]))
    write_table(folder / "suite/dubbing.csv", ("id", "text", "video", "seed"), rows)
    (folder / "suite/dubbing.toml").write_text(f'task = "v2a"\n{SETTING}')
    return folder


@pytest.fixture
def dubbing(pictures: Path, tmp_path: Path) -> Path:
    """The suite of pictures, in a folder of its own."""
    return shutil.copytree(pictures / "suite", tmp_path / "suite") / "dubbing.csv"


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def own_suite(folder: Path, task: str, column: str, files: Mapping[str, str]) -> Path:
    """A suite of some files by sample id."""
    (folder / "own.toml").write_text(f'task = "{task}"\n{SETTING}')
    return write_table(folder / "own.csv", ("id", "text", column), [(i, "a thing", f) for i, f in files.items()])


def beginnings(encoder: type[StreamEncoder], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The clips that an encoder begins from now on."""
    begun: list[str] = []
    original = encoder.intake

    def counted(self: StreamEncoder, head: Any, specs: Any) -> Any:
        begun.append(Path(head.name).stem)
        return original(self, head, specs)

    monkeypatch.setattr(encoder, "intake", counted)
    return begun


def taken(suite: Path | Suite, out: Path, **settings: Any) -> Path:
    return javisbench.generate(f"python:{__name__}:Taker", suite=suite, out=out, settings=GenerateSettings(**settings))


# Video to sound, from end to end


@dataclass(frozen=True)
class Two:
    """Two models over one folder of pictures: the true sounds, and the same ones late; and what was begun for each."""

    true: Result
    late: Result
    flows: tuple[list[str], list[str]]
    onsets: tuple[list[str], list[str]]


@pytest.fixture(scope="module")
def two(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Two:
    out = tmp_path_factory.mktemp("two")
    results: list[Result] = []
    flows: tuple[list[str], list[str]] = ([], [])
    onsets: tuple[list[str], list[str]] = ([], [])
    for place, (name, late_s) in enumerate((("true", "0"), ("late", "0.4"))):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("JAVISBENCH_CACHE_DIR", str(out / "cache"))
            begun, heard = beginnings(FlowEncoder, patch), beginnings(OnsetEncoder, patch)
            suite, params = pictures / "suite/dubbing.csv", {"offset_s": late_s}
            results.append(javisbench.evaluate("procedural", suite=suite, out=out / name, name=name, params=params))
            flows[place][:], onsets[place][:] = begun, heard
    return Two(*results, flows, onsets)


def test_two_models_of_sound_over_one_folder_of_pictures(two: Two, pictures: Path, tmp_path: Path) -> None:
    true, late = two.true, two.late
    assert (sorted(two.flows[0]), len(two.onsets[0])) == (["c0", "c1", "c2"], 3)
    assert two.flows[1] == [], "another model's sounds cost no picture"
    assert len(two.onsets[1]) == 3
    # The sound is the very one that was made with the picture, and only the sound is kept.
    for name in ("c0", "c1", "c2"):
        made, again = (read_clip_sound(folder / f"clips/{name}.wav") for folder in (pictures / "made", true.folder))
        assert np.array_equal(made, again)
    assert sorted(path.name for path in (true.folder / "clips").iterdir()) == sorted(
        f"c{i}{suffix}" for i in range(3) for suffix in (".json", ".wav")
    )
    # What is scored is this sound with the suite's picture: as the clips that it came from.
    prompts = pictures / "prompts.csv"
    whole = javisbench.score(pictures / "made/clips", suite=prompts, out=tmp_path / "whole", metrics=["av_align"])
    assert list(true.scores["av_align"]) == list(whole.scores["av_align"])
    assert true.scores["av_align"].mean() > late.scores["av_align"].mean() + 0.2
    of_picture = {"fvd", "kvd", "tv_ib", "clip_score", "visual_quality", "health_frozen", "health_size"}
    assert not of_picture & true.summary["metrics"].keys()
    assert {"fad", "av_align", "health_silence", "health_rate"} <= true.summary["metrics"].keys()
    first, second = (load_result(result.folder) for result in (true, late))
    assert (first.task, comparison(first) == comparison(second)) == ("v2a", True)


def test_archives_and_boards_hold_with_sounds_alone(two: Two, dubbing: Path, tmp_path: Path) -> None:
    runs = [str(result.folder) for result in (two.true, two.late)]
    assert cli(["submit", "pack", runs[0], "--out", str(tmp_path / "a.zip")]) == 0
    assert cli(["submit", "verify", str(tmp_path / "a.zip")]) == 0
    assert found_in(tmp_path / "a.zip", tmp_path / "as_packed", lambda table: table) == []
    # The suite's hash is made anew, with where the given files lie in it.
    (moved,) = found_in(
        tmp_path / "a.zip", tmp_path / "moved", lambda t: t.assign(given=t["given"].str.replace("videos", "other"))
    )
    assert (moved.kind, moved.refuses, "names of given files" in moved.message) == ("suite", True, True)
    (older,) = found_in(tmp_path / "a.zip", tmp_path / "older", lambda table: table.drop(columns="given"))
    assert (older.kind, older.refuses, "was not made anew" in older.message) == ("suite", False, True)
    site = ["leaderboard", "build", *runs, "--out", str(tmp_path / "site"), "--clips", "all"]
    assert cli([*site, "--given", str(dubbing)]) == 0
    board = (tmp_path / "site/index.html").read_text()
    assert board.count("The picture is the suite&#39;s (video to sound): the models made the sound alone.") == 1
    assert 'data-metric="av_align"' in board and 'data-metric="fvd"' not in board
    # Each sound is shown with the suite's picture.
    assert not list((tmp_path / "site").rglob("*.wav"))
    shown = next(path for path in (tmp_path / "site").rglob("c0.mp4") if "true" in path.parts[-3])
    clip, picture = read_clip(shown), read_clip(dubbing.parent / "videos/c0.mp4")
    made, rate = soundfile.read(two.true.folder / "clips/c0.wav", dtype="float32")
    assert np.array_equal(clip.frames, picture.frames)
    assert clip.audio is not None and clip.sample_rate == rate
    assert np.abs(clip.audio[0] - made[: clip.audio.shape[1]]).max() < 1e-4, "16 bits"


def test_sounds_are_shown_with_the_suites_pictures(
    two: Two, dubbing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = ["votes", "page", str(two.true.folder), str(two.late.folder), "--out", str(tmp_path / "page")]
    assert cli(page) == 2
    assert "--given SUITE" in capsys.readouterr().err
    assert cli([*page, "--given", str(dubbing)]) == 0
    assert {path.suffix for path in (tmp_path / "page/clips").iterdir()} == {".mp4"}
    # What cannot be joined is published as the model made it: the suite's own sound is not taken for it.
    made = two.true.folder / "clips/c0.wav"
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with ClipJoiner() as joiner:
        whole = {"video": broken, "audio": made}
        (copy,) = copied_clip(joiner, {"audio": made}, tmp_path / "copies", "c0", whole)
    assert copy == ("audio", tmp_path / "copies/c0.wav") and copy[1].read_bytes() == made.read_bytes()
    # Files that are not those that were scored are not shown.
    shutil.copy(dubbing.parent / "videos/c1.mp4", dubbing.parent / "videos/c0.mp4")
    assert cli([*page, "--given", str(dubbing)]) == 2
    assert "other files than the suite dubbing gives now" in capsys.readouterr().err
    assert cli([*page, "--given", "demo"]) == 2
    assert "gives no picture or sound of a clip" in capsys.readouterr().err


def found_in(archive: Path, folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> list[Finding]:
    """What is found in an archive with other rows of samples."""
    folder.mkdir()
    manifest = unpack(archive, folder)
    change(pd.read_parquet(folder / "samples.parquet")).to_parquet(folder / "samples.parquet")
    return verify_folder(folder, manifest)


def read_clip_sound(path: Path) -> np.ndarray:
    return np.asarray(soundfile.read(path)[0])


def test_sounds_of_others_are_scored_with_the_suites_videos(
    two: Two, dubbing: Path, pictures: Path, tmp_path: Path
) -> None:
    """Nothing is muxed by the user; a video's own sound counts where that is what there is."""
    values = {}
    for kind in ("flac", "mp4"):
        folder = tmp_path / kind
        folder.mkdir()
        for name in ("c0", "c1", "c2"):
            samples, rate = soundfile.read(pictures / f"made/clips/{name}.wav")
            if kind == "mp4":
                shutil.copy(pictures / f"made/clips/{name}.mp4", folder)
            else:
                soundfile.write(folder / f"{name}.{kind}", samples, rate)
        result = javisbench.score(folder, suite=dubbing, out=tmp_path / f"run-{kind}", metrics=["av_align"])
        assert result.failed_samples == 0
        values[kind] = list(result.scores["av_align"])
    assert values["flac"] == list(two.true.scores["av_align"])
    # AAC moves onsets a little.
    assert np.mean(values["mp4"]) > two.late.scores["av_align"].mean() + 0.1


class MeanLevel(Encoder):
    """A cheap stand-in for AudioCLIP."""

    card = EncoderCard("audioclip", "level", {"full": None}, host=True)
    seen: ClassVar[list[str]] = []

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Any:
        return "sound"

    def encode(self, items: Any, specs: Sequence[FeatureSpec]) -> list[dict[FeatureSpec, Any]]:
        type(self).seen += [clip.name for clip in items]
        levels = [np.zeros(1) if clip.audio is None else np.abs(clip.audio).mean(keepdims=True)[0] for clip in items]
        return [{spec: {"embedding": level.astype(np.float32)} for spec in specs} for level in levels]


class LevelDistance(SetMetric):
    """How far mean levels are apart."""

    card = replace(FADMetric.card)

    def needs(self, protocol: Protocol) -> FeatureSpec:
        return FeatureSpec.of("audioclip", "embedding")

    def distance(self, fake: Any, real: Any, protocol: Protocol) -> Distance:
        gap = float(np.abs(fake - real).sum())
        return Distance(gap, n_fake=len(fake), n_real=len(real), width=fake.shape[1])


@pytest.fixture
def _cheap_fad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("javisbench.metrics.encoders.audioclip.AudioCLIPEncoder", MeanLevel)
    monkeypatch.setattr("javisbench.metrics.fad.FADMetric", LevelDistance)


@pytest.mark.usefixtures("_cheap_fad")
@pytest.mark.parametrize("where", ["audio_path", "video", "nowhere"])
def test_set_metrics_compare_with_the_suites_own_sounds(
    where: str, dubbing: Path, pictures: Path, tmp_path: Path
) -> None:
    """Those of the column audio_path, else what sounds in the videos; else there is nothing to compare with."""
    rows = list(csv.reader(dubbing.open()))
    if where == "audio_path":
        rows = [[*row, "audio_path" if i == 0 else f"real/{row[0]}.wav"] for i, row in enumerate(rows)]
        (dubbing.parent / "real").mkdir()
        for file in (pictures / "made/clips").glob("*.wav"):
            shutil.copy(file, dubbing.parent / "real")
    if where != "video":
        for video in (dubbing.parent / "videos").iterdir():
            write_clip(replace(read_clip(video), audio=None, sample_rate=None), video)
    write_table(dubbing, rows[0], rows[1:])
    result = javisbench.score(pictures / "made/clips", suite=dubbing, out=tmp_path / "run", metrics=["fad"])
    found = result.summary["metrics"]["fad"]["overall"]
    if where == "nowhere":
        assert (found["value"], found["status"]) == (None, "missing_reference")
        return
    # The very sounds lie in the column; those in the videos went through AAC.
    assert (found["n"], found["value"]) == (3, pytest.approx(0, abs=0.05 if where == "video" else 1e-9))
    assert result.summary["run"]["reference"]["origin"] == "the suite's own clips"
    MeanLevel.seen = []
    again = javisbench.score(pictures / "made/clips", suite=dubbing, out=tmp_path / "again", metrics=["fad"])
    assert again.summary["metrics"]["fad"]["overall"]["value"] == found["value"]
    # The real sounds are encoded once for all models; here those of the column are the model's own.
    assert len(MeanLevel.seen) == (3 if where == "video" else 0)


# Sound to video, image to sounding video


@pytest.fixture
def sounds(pictures: Path, tmp_path: Path) -> Path:
    """A suite of sounds."""
    folder = tmp_path / "sounds"
    (folder / "given").mkdir(parents=True)
    for name in ("c0", "c1"):
        shutil.copy(pictures / f"made/clips/{name}.wav", folder / "given")
    return own_suite(folder, "a2v", "audio", {name: f"given/{name}.wav" for name in ("c0", "c1")})


def test_a_model_makes_pictures_for_the_suites_sounds(sounds: Path, pictures: Path, tmp_path: Path) -> None:
    result = javisbench.evaluate(f"python:{__name__}:Taker", suite=sounds, out=tmp_path / "run", name="taker")
    assert [task for task, _ in Taker.seen] == ["a2v", "a2v"]
    samples, rate = next(given.sound() for _, given in Taker.seen) or (None, 0)
    assert samples is not None
    assert (rate, samples.shape, samples.dtype) == (16000, (1, 24000), np.float32)
    assert np.allclose(samples[0], read_clip_sound(pictures / "made/clips/c0.wav"), atol=1e-6)
    # The model's own sound is not kept, and the suite's is what is scored.
    assert sorted(path.name for path in (result.folder / "clips").glob("c0*")) == ["c0.json", "c0.mp4"]
    assert read_clip(result.folder / "clips/c0.mp4").audio is None
    assert result.summary["run"]["audio"] == {"sidecar": 2, "container": 0, "none": 0}
    there = result.summary["metrics"].keys()
    assert {"health_frozen", "av_align"} <= there and not {"health_silence", "health_rate", "ta_ib", "fad"} & there
    again = javisbench.score(result.folder / "clips", suite=sounds, out=tmp_path / "again", metrics=["av_align"])
    assert list(again.scores["av_align"]) == list(result.scores["av_align"])


def test_a_model_continues_an_image(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    result = javisbench.evaluate(
        f"python:{__name__}:Taker", suite=own_suite(tmp_path, "i2av", "image", {"a": "a.png"}), out=tmp_path / "run"
    )
    ((task, given),) = Taker.seen
    assert (task, given.files) == ("i2av", {"image": tmp_path / "a.png"})
    assert np.array_equal(given.still(), picture)
    assert given.picture() is None and given.sound() is None
    # What was given is a condition alone: both streams are the model's.
    assert {"fvd", "fad", "tv_ib", "health_silence", "health_frozen"} <= result.summary["metrics"].keys()
    assert read_json(result.folder / "clips/a.json")["given"]["image"]["name"] == "a.png"


# What decides a clip


def test_other_contents_of_a_given_file_are_another_clip(dubbing: Path, tmp_path: Path) -> None:
    taken(dubbing, tmp_path / "run")
    made = len(Taker.seen)
    taken(dubbing, tmp_path / "run")
    assert len(Taker.seen) == made, "nothing is made twice"
    first = load_suite(str(dubbing)).samples[0].video
    assert first is not None
    clip = read_clip(first)
    write_clip(clip.with_frames(255 - clip.frames), first, sidecar=False)
    with pytest.raises(RunError, match=r"1 clips .*c0.* were made with other settings or"):
        taken(dubbing, tmp_path / "run")
    taken(dubbing, tmp_path / "run", overwrite=True)
    assert len(Taker.seen) == made + 1


def test_results_over_other_files_are_not_compared(dubbing: Path, pictures: Path, tmp_path: Path) -> None:
    clips = pictures / "made/clips"
    before = javisbench.score(clips, suite=dubbing, out=tmp_path / "before", metrics=["health_silence"])
    first = load_suite(str(dubbing)).samples[0].video
    assert first is not None
    clip = read_clip(first)
    write_clip(clip.with_frames(255 - clip.frames), first, sidecar=False)
    after = javisbench.score(clips, suite=dubbing, out=tmp_path / "after", metrics=["health_silence"])
    one, other = load_result(before.folder), load_result(after.folder)
    assert comparison(one) != comparison(other)
    with pytest.raises(UsageError, match=r"What dubbing gives had other contents for"):
        compare(one, other)
    assert load_suite(str(dubbing)).hash == before.summary["run"]["suite_hash"]


# What is refused


def test_a_model_that_does_not_take_the_task_is_refused_by_name(dubbing: Path, tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match=r"javisdit takes t2av .*dubbing is a suite of v2a .*mmaudio"):
        javisbench.generate("javisdit", suite=dubbing, out=tmp_path / "run")
    with pytest.raises(GenerationError, match=r"taker takes v2a .*a2v .*demo is a suite of t2av .*prompts alone"):
        taken(load_suite("demo"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_sample_whose_file_is_missing_fails_with_its_reason(dubbing: Path, tmp_path: Path) -> None:
    (dubbing.parent / "videos/c1.mp4").unlink()
    result = javisbench.evaluate(f"python:{__name__}:Taker", suite=dubbing, out=tmp_path / "run", metrics=["av_align"])
    assert len(Taker.seen) == 2
    (row,) = read_jsonl(result.folder / "failures.jsonl")
    assert (row["sample_id"], row["stage"], row["kind"]) == ("c1", "generate", "bad_condition")
    assert "c1.mp4" in row["message"]
    for video in (dubbing.parent / "videos").iterdir():
        video.unlink()
    for job in (lambda: taken(dubbing, tmp_path / "other"), lambda: javisbench.score(tmp_path, suite=dubbing)):
        with pytest.raises(SuiteError, match=r"None of the 3 video files of dubbing .*such as that of c0"):
            job()


def test_what_the_model_does_not_make_is_a_failure_by_sample(dubbing: Path, sounds: Path, tmp_path: Path) -> None:
    grey = np.zeros((4, 48, 64, 3), np.uint8)
    Taker.answers = {"c0": Clip(grey, Fraction(8), None, None)}
    run = taken(dubbing, tmp_path / "v2a")
    assert [(row["sample_id"], row["kind"]) for row in read_jsonl(run / "failures.jsonl")] == [("c0", "no_sound")]
    Taker.answers = {"c0": Clip(grey[:0, :0, :0], Fraction(8), np.zeros((1, 8000), np.float32), 8000)}
    run = taken(sounds, tmp_path / "a2v")
    assert [(row["sample_id"], row["kind"]) for row in read_jsonl(run / "failures.jsonl")] == [("c0", "shape")]


def test_procedural_knows_the_sound_of_its_own_pictures_alone(dubbing: Path, tmp_path: Path) -> None:
    rows = [row[:3] for row in csv.reader(dubbing.open())]
    run = javisbench.generate("procedural", suite=write_table(dubbing, rows[0], rows[1:]), out=tmp_path / "run")
    assert {row["kind"] for row in read_jsonl(run / "failures.jsonl")} == {"no_seed"}


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("", r"row 1, column video: empty; v2a needs a video in every row"),
        ("../made/clips/c0.mp4", r"row 1, column video: .* leaves the suite's folder"),
        ("videos/link.mp4", r"row 1, column video: .* leaves the suite's folder"),
        ("videos/c0.txt", r"row 1, column video: 'c0.txt' is no video by its name"),
        ("https://example.org/c0.mp4", r"row 1, column video: .* is a URL"),
        ("videos/c\x070.mp4", r"row 1, column video: .* control characters"),
    ],
)
def test_a_hostile_row_is_refused_by_row_and_column(cell: str, reason: str, dubbing: Path, pictures: Path) -> None:
    (dubbing.parent / "videos/link.mp4").symlink_to(pictures / "made/clips/c0.mp4")
    rows = list(csv.reader(dubbing.open()))
    rows[1][2] = cell
    suite, problems = read_suite(str(write_table(dubbing, rows[0], rows[1:])))
    assert suite is None
    (problem,) = problems
    assert str(problem).startswith("dubbing.csv: ")
    assert re.search(reason, str(problem))


def test_a_table_without_the_column_of_its_task_is_one_problem(dubbing: Path) -> None:
    write_table(dubbing, ("id", "text"), [("a", "x"), ("b", "y")])
    suite, (problem,) = read_suite(str(dubbing))
    assert suite is None
    assert (
        str(problem) == "dubbing.csv: file, column video: there is no such column, and v2a needs it (it has id, text)"
    )


def test_accents_that_a_file_system_takes_apart_are_the_same_file(dubbing: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "videos/\u00e9.mp4") for form in ("NFC", "NFD"))
    hashes = []
    for there, named in ((composed, composed), (apart, composed), (composed, apart), (apart, apart)):
        shutil.copy(dubbing.parent / "videos/c0.mp4", dubbing.parent / there)
        write_table(dubbing, ("id", "text", "video"), [("a", "x", named)])
        suite = load_suite(str(dubbing))
        assert suite.samples[0].video == dubbing.parent / there
        hashes.append(suite.hash)
        (dubbing.parent / there).unlink()
    assert len(set(hashes)) == 1


def test_validate_reads_what_is_given(dubbing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["suites", "validate", str(dubbing)]) == 0
    assert cli(["suites", "show", str(dubbing)]) == 0
    assert "task v2a, video to sound: each row gives its column video" in capsys.readouterr().out
    (dubbing.parent / "videos/c0.mp4").write_bytes(b"#EXTM3U\nfile:///etc/passwd\n")
    (dubbing.parent / "videos/c2.mp4").unlink()
    assert cli(["suites", "validate", str(dubbing), "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert [(row["row"], row["column"]) for row in told["problems"]] == [(1, "video"), (3, "video")]
    assert "there is no such file" in told["problems"][1]["reason"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('task = "v2x"', "'v2x' is none of t2av, v2a, a2v, i2av"),
        ('taks = "v2a"', "'taks' is not known. Did you mean 'task'"),
        ("[setting]\nwidth = -4", "setting.width is a number above 0"),
        ('[setting]\nfps = "1/0"', "setting.fps is a number"),
        ("task = ", "dubbing.toml"),
    ],
)
def test_what_a_suite_says_of_itself_is_checked(text: str, reason: str, dubbing: Path) -> None:
    dubbing.with_suffix(".toml").write_text(text)
    with pytest.raises(SuiteError) as caught:
        load_suite(str(dubbing))
    assert reason in " ".join([caught.value.message, *caught.value.details])


def test_a_card_beside_its_table_is_read(dubbing: Path) -> None:
    for file in card_files("suites").values():
        shutil.copy(file.path, dubbing.with_suffix(".toml"))
        assert statement_of(dubbing).task == file.card.get("task", "t2av")


def test_a_folder_of_videos_is_a_suite_without_a_table(pictures: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(pictures / "suite/videos", tmp_path / "night")
    (folder / "c1.txt").write_text("a dog barks")
    (folder / "suite.toml").write_text('task = "v2a"')
    suite = load_suite(str(folder))
    assert [(s.id, s.text, s.video) for s in suite] == [
        ("c0", "", folder / "c0.mp4"),
        ("c1", "a dog barks", folder / "c1.mp4"),
        ("c2", "", folder / "c2.mp4"),
    ]
    (folder / "c3.mp4").symlink_to(pictures / "made/clips/c0.mp4")
    with pytest.raises(SuiteError) as caught:
        load_suite(str(folder))
    assert re.search("^c3: .*column video: 'c3.mp4' leaves the suite's folder", caught.value.details[0])


def test_conditions_in_a_suite_of_prompts_are_told_and_not_given(dubbing: Path) -> None:
    dubbing.with_suffix(".toml").unlink()
    suite = load_suite(str(dubbing))
    assert (suite.task, Conditions.of(suite.samples[0], suite.task).files) == ("t2av", {})
    assert any("column video: not given to models" in warning for warning in suite.warnings)


def test_doctor_and_dry_runs_know_what_is_made(dubbing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["eval", "--suite", str(dubbing), "--model", "procedural", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "each: sound at 16000 Hz for the suite's videos, as long as these" in told
    assert "pictures" not in told and "fvd" not in told
    assert cli(["doctor", str(dubbing), "--sample", "0"]) == 0
    assert "video to sound: all video files are there" in capsys.readouterr().out
    (dubbing.parent / "videos/c1.mp4").unlink()
    cli(["doctor", str(dubbing), "--sample", "0"])
    assert "1 of 3 video files cannot be given (not_found): c1" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_validate_reads_images_and_sounds(kind: str, pictures: Path, tmp_path: Path) -> None:
    sound = (pictures / "made/clips/c0.wav").read_bytes()
    (tmp_path / "good.wav").write_bytes(sound)
    (tmp_path / "bad.wav").write_bytes(sound[: len(sound) // 2])
    small = io.BytesIO()
    Image.new("RGB", (64, 64)).save(small, "PNG")
    (tmp_path / "good.png").write_bytes(small.getvalue())
    (tmp_path / "bad.png").write_bytes(small.getvalue()[:60])
    task, suffix = {"image": ("i2av", "png"), "audio": ("a2v", "wav")}[kind]
    suite = own_suite(tmp_path, task, kind, {"a": f"good.{suffix}", "b": f"bad.{suffix}"})
    (problem,) = given_problems(load_suite(str(suite)))
    assert (problem.row, problem.column) == (2, kind)
    assert "bad" in problem.reason


def test_machines_of_a_cluster_make_sounds_alone(dubbing: Path) -> None:
    """What an actor does with its requests; tests/run/test_ray.py runs a cluster."""
    suite = load_suite(str(dubbing))
    maker = Maker(Making("procedural", {}, (), None, "cpu", "auto", "native", suite.setting_to_make, None))
    plan = create_generator("procedural").plan(suite.setting_to_make)
    sample = suite.samples[0]
    request = Request(sample, 0, 0, 1, plan, sample.prompts, Conditions.of(sample, "v2a"), "v2a")
    (made,) = maker(pickle.loads(pickle.dumps([request])))  # noqa: S301 - as Ray sends it
    assert isinstance(made, MadeFiles)
    assert list(made.files) == [".wav"]


# The files themselves


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    one = Worker(DecodeLimits())
    yield one
    one.end()


def test_images_are_read_as_they_are_shown(worker: Worker, tmp_path: Path) -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:10, :10] = (200, 50, 0)
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned clockwise by a quarter
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=turned)
    assert np.array_equal(worker.image(tmp_path / "turned.png"), np.rot90(picture, -1))
    clear = np.dstack([picture, np.full((20, 30), 0, np.uint8)])
    Image.fromarray(clear).save(tmp_path / "clear.webp", lossless=True)
    assert (worker.image(tmp_path / "clear.webp") == 255).all()
    Image.fromarray(picture).convert("L").save(tmp_path / "grey.jpg")
    assert worker.image(tmp_path / "grey.jpg").shape == (20, 30, 3)


def test_images_that_are_none_are_refused(worker: Worker, tmp_path: Path) -> None:
    small = io.BytesIO()
    Image.new("RGB", (4, 4)).save(small, "PNG")
    huge = bytearray(small.getvalue())
    huge[16:24] = struct.pack(">II", 60_000, 60_000)
    huge[29:33] = struct.pack(">I", zlib.crc32(bytes(huge[12:29])))
    moving = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(moving, "PNG", save_all=True, append_images=frames[1:])
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    noisy = io.BytesIO()
    Image.fromarray(np.random.default_rng(2).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(noisy, "JPEG")
    for data, kind in (
        (bytes(huge), "too_large"),
        (moving.getvalue(), "unsupported_format"),
        (svg, "unsupported_format"),
        (b"GIF89a" + bytes(40), "unsupported_format"),
        (noisy.getvalue()[:-900], "decode_error"),
        # A part that claims to be 2 GiB long.
        (small.getvalue()[:33] + b"\x7f\xff\xff\xfftEXtx", "decode_error"),
        (b"", "empty_file"),
    ):
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(MediaError) as caught:
            worker.image(tmp_path / "a.png")
        assert caught.value.kind == kind
    with pytest.raises(MediaError, match="no such file"):
        worker.image(tmp_path / "b.png")


def test_metric_cards_say_for_which_tasks_they_mean_something() -> None:
    cards = {metric_id: card for metric_id in METRICS if (card := card_of(metric_id)) is not None}
    both = {name for name, card in cards.items() if card.tasks == ALL_TASKS}
    assert {
        "desync",
        "av_sync",
        "av_align",
        "av_ib",
        "javis_score",
        "avh_score",
        "cavp_score",
        "lse_c",
        "lse_d",
    } <= both
    for name, card in cards.items():
        assert card.tasks >= BOTH_MADE, name
        streams = {
            ENCODERS.get(s.encoder).stream(s) for s in needed_features(METRICS.get(name)(), V2) if s.subject == "clip"
        }
        # What looks at one stream alone says nothing where that is given.
        if streams == {"picture"}:
            assert "v2a" not in card.tasks, name
        if streams == {"sound"}:
            assert "a2v" not in card.tasks, name
        if streams == {"picture", "sound"}:
            assert card.tasks == ALL_TASKS, name
