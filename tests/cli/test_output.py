"""What reaches stdout, stderr and a run's files when names are hostile and streams are poor."""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import javisbench.cli
from javisbench.cli import output, run
from javisbench.clip import Clip
from javisbench.errors import SuiteError, UsageError

HOSTILE = "a\x1b]0;owned\x07\nfake: all is well\u202e[red]x\udce9"
SHOWN = r"a\x1b]0;owned\x07\nfake: all is well\u202e[red]x\udce9"
STEERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
POOR = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def is_harmless(text: str) -> bool:
    text = text.replace("\r", "")  # bars of libraries
    return not STEERS.search(text) and not re.search("^fake:", text, re.M) and "Traceback" not in text


def call(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "javisbench", *args]
    return subprocess.run(command, capture_output=True, encoding="utf-8", env={**os.environ, **env}, timeout=120)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a hostile name that holds one good clip, a bad one, and one that belongs to no sample."""
    from javisbench.media import write_clip

    folder = tmp_path_factory.mktemp("clips") / HOSTILE
    folder.mkdir()
    frames = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3)).astype(np.uint8)
    write_clip(Clip(frames, Fraction(8), np.zeros((1, 4000), np.float32), 8000, "container"), folder / "one.mp4")
    (folder / "two.mp4").write_bytes(b"")
    (folder / f"{HOSTILE}.mp4").write_bytes(b"")
    (folder / "s.csv").write_text('id,text\none,"a\x1b[2J\nfake: prompt [/]"\ntwo,b\n', encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def scored(clips: Path) -> Path:
    from javisbench.api import ScoringOptions, score

    run_folder = clips / "run"
    options = ScoringOptions(metrics=["health_*"], workers=1)
    # Earlier tests may have asked for the log, which pytest then sends between its processes, as UTF-8.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("javisbench.run.log"), "disabled", True)
        score(clips, suite=str(clips / "s.csv"), out=run_folder, name=HOSTILE, options=options)
    return run_folder


def test_only_one_file_of_the_command_line_writes() -> None:
    """So that what `output` promises holds for every command."""
    folder = Path(javisbench.cli.__file__).parent
    writers = ("echo", "secho", "print", "Console", "dumps")
    for file in set(folder.glob("*.py")) - {folder / "output.py"}:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                by_console = name.endswith(("console.print", "console().print"))
                assert by_console or name.rpartition(".")[2] not in writers, f"{file.name}: {name}"


def test_every_command_that_tells_of_a_run_shows_its_name_as_text(
    scored: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clips, archive = scored.parent, tmp_path / f"{HOSTILE}.zip"
    for args, code in (
        (["report", scored], 0),
        (["report", scored, "--json"], 0),
        (["report", scored, "--format", "csv"], 0),
        (["report", scored, scored, "--write", tmp_path / HOSTILE], 0),
        (["compare", scored, scored, "--explain", "--all"], 0),
        (["suites", "show", clips / "s.csv"], 0),
        (["suites", "validate", clips / "s.csv"], 0),
        (["submit", "pack", scored, "--out", archive], 0),
        (["submit", "verify", archive], 0),
        (["leaderboard", "build", scored, "--out", tmp_path / "site"], 0),
        (["leaderboard", "build", scored, "--out", clips], 2),
        (["leaderboard", "push", scored, "--to", tmp_path / f"{HOSTILE}data"], 0),
        (["merge", scored, clips, "--out", tmp_path / "merged"], 2),
        (["doctor", scored], 0),
        (["score", clips / HOSTILE, "--suite", "demo"], 2),
        (["score", clips, "--suite", HOSTILE], 2),
        (["inspect", clips / f"{HOSTILE}.mp4"], 2),
        (["models", "show", HOSTILE], 2),
        (["generate", "--model", HOSTILE, "--suite", "demo"], 2),
        (["weights", "path", HOSTILE], 2),
        (["reference", "show", clips / "two.mp4"], 2),
        (["validate-metrics", "--clips", clips / HOSTILE], 2),
        ([HOSTILE], 2),
        (["suites", "show", "demo", HOSTILE], 2),
    ):
        assert run(list(map(str, args))) == code, args
        shown = capfd.readouterr()
        assert is_harmless(shown.out) and is_harmless(shown.err), args
        assert shown.out or shown.err


def test_scoring_names_what_it_found(clips: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    args = ["score", str(clips), "--suite", str(clips / "s.csv"), "--metrics", "health_silence", "--out", str(tmp_path)]
    assert run([*args, "--strict"]) == 1
    shown = capfd.readouterr()
    assert is_harmless(shown.out + shown.err)
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert is_harmless(log) and SHOWN in log
    assert all(re.match(r"\d{4}-\d\d-\d\dT", line) for line in log.splitlines())


def test_files_of_a_run_hold_hostile_names(scored: Path) -> None:
    import pandas as pd

    rows = [json.loads(line) for line in (scored / "failures.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["sample_id"] for row in rows] == ["two"] and SHOWN in rows[0]["message"]
    # A path in a manifest is read back to be opened: it is stored as it is, by JSON's own escapes.
    text = (scored / "run.json").read_text(encoding="utf-8")
    assert is_harmless(text) and Path(json.loads(text)["matching"]["clips"]) == scored.parent
    samples = pd.read_parquet(io.BytesIO((scored / "samples.parquet").read_bytes()))
    assert list(samples["text"]) == ["a\x1b[2J\nfake: prompt [/]", "b"]
    assert list(pd.read_parquet(io.BytesIO((scored / "scores.parquet").read_bytes()))["sample_id"]) == ["one", "two"]


def test_prompts_that_are_no_text_are_stored_as_escapes() -> None:
    from javisbench.matching import Item
    from javisbench.run.tables import Details, details_tables, samples_tables
    from javisbench.suite import Sample

    items = [Item(Sample("one", 0, "a \udce9", audio_text="\ud800"), 0, None)]
    row = next(samples_tables(items)).to_pylist()[0]
    assert (row["text"], row["audio_text"], row["video_text"]) == (r"a \udce9", r"\ud800", None)
    details = Details()
    details.add(0, {"\udce9": (1.0,)})
    assert next(details_tables(items, {"m": details}))["name"].to_pylist() == [r"\udce9"]


@pytest.mark.parametrize("env", [POOR, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1:strict"}])
def test_a_poor_encoding_escapes_letters(scored: Path, env: dict[str, str]) -> None:
    told = call("report", str(scored), COLUMNS="20", **env)
    assert (told.returncode, told.stderr) == (0, "")
    assert is_harmless(told.stdout) and "owned" in told.stdout


def test_json_stays_json_in_a_poor_encoding(clips: Path, tmp_path: Path) -> None:
    suite = tmp_path / "日本é.csv"
    suite.write_text("text,pred_video_path\na,../x.mp4\n", encoding="utf-8")
    told = call("suites", "validate", str(suite), "--json", **POOR)
    assert told.returncode == 2 and told.stdout.isascii()
    assert json.loads(told.stdout)["problems"][0]["file"].encode("utf-8", "surrogateescape").decode() == suite.name


def _to_closed_pipe(*args: str, redirect: str) -> subprocess.CompletedProcess[str]:
    """Run with stdout or stderr a pipe whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, redirect: writer}
    try:
        return subprocess.run([sys.executable, "-m", "javisbench", *args], text=True, timeout=120, **streams)
    finally:
        os.close(writer)


def test_a_reader_that_leaves_changes_no_exit_code(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("id,text\n../x,a\n")
    for redirect in ("stdout", "stderr"):
        for args, code in ((("suites", "validate", str(tmp_path / "s.csv")), 2), (("weights", "list"), 0)):
            told = _to_closed_pipe(*args, redirect=redirect)
            assert told.returncode == code, (redirect, args, told)
            assert not told.stderr
    assert not _to_closed_pipe("--help", redirect="stdout").stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_stored_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        told = subprocess.run(
            [sys.executable, "-m", "javisbench", "suites", "list"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (told.returncode, told.stderr) == (2, "Error: The output cannot be written (No space left on device).\n")


def test_a_closed_stdout_is_nothing_to_fail_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert run(["suites", "list"]) == 0
    assert run(["weights", "list"]) == 0


@pytest.fixture
def package_logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("javisbench")
    handlers, propagate = list(logger.handlers), logger.propagate
    yield logger
    logger.handlers[:], logger.propagate = handlers, propagate


def test_a_log_record_is_a_line(package_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    from javisbench.cli.options import setup_logging

    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    setup_logging(False, False)
    package_logger.warning("cannot read %s", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        package_logger.exception("a defect")
    first, second, *trace = stream.getvalue().splitlines()
    assert (first, second) == (f"cannot read {SHOWN}", "a defect")
    assert all(line.startswith("  ") for line in trace) and is_harmless("\n".join(trace).replace("Traceback", ""))


def test_tables_take_names_literally(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table

    table = Table(box=None)
    table.add_column("[b]name[/b]")
    table.add_row("[red]x[/red].mp4 :smile: [/] \x1b[1m")
    console = output.console()
    console.print(table)
    console.print("[/red] a\nb")
    shown = capsys.readouterr().out
    assert [line.strip() for line in shown.splitlines()] == [
        "[b]name[/b]",
        r"[red]x[/red].mp4 :smile: [/] \x1b[1m",
        r"[/red] a\nb",
    ]


def test_a_defect_shows_its_traceback_without_what_steers(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        output.defect(type(error), error, error.__traceback__)
    assert not STEERS.search(told := capsys.readouterr().err) and told.startswith("Traceback")


def test_an_error_is_a_sentence_and_its_details() -> None:
    error = SuiteError(f"{HOSTILE} is bad:", details=[HOSTILE, "b"])
    assert error.message == f"{SHOWN} is bad:\n  {SHOWN}\n  b" == str(error)
    assert UsageError(HOSTILE).message == SHOWN


@pytest.mark.parametrize(("columns", "width"), [("80", 80), ("5", 40), ("", 160), ("wide", 160), (None, 160)])
def test_a_pipe_gets_the_columns_that_are_asked_for(
    columns: str | None, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert output.console().width == width


@pytest.mark.parametrize(
    ("given", "metrics"),
    [([], None), (["--metrics", "a,health_*"], "a,health_*"), (["--metrics", "a", "--metrics", "b,c"], "a,b,c")],
)
def test_a_list_may_be_given_in_parts(given: list[str], metrics: str | None) -> None:
    from javisbench.cli.score import command

    assert command.make_context("score", ["clips", *given]).params["metrics"] == metrics
