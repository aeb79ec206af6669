"""The command line as a user meets it: help, mistakes, exit codes, pipes."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from javisbench.cli import COMMANDS, cli, run
from javisbench.cli.options import Target
from javisbench.errors import RunError, SystemFaultError

HEAVY = ("numpy", "torch", "pandas", "av", "cv2", "scipy", "PIL", "transformers", "datasets", "rich.table")


def call(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "javisbench", *args], cwd=cwd, capture_output=True, text=True, timeout=300
    )


# Each command's help in a fork of one bare interpreter.
_PROBE = """
import os, sys
from javisbench.cli import run
for command in {commands}:
    sys.stdout.flush()
    child = os.fork()
    if not child:
        print("===", command)
        code = run([*filter(None, [command]), "--help"])
        print("CODE", code, "LOADED", [name for name in {heavy} if name in sys.modules])
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_help_imports_nothing_heavy() -> None:
    commands = ["", *COMMANDS]
    probe = _PROBE.format(heavy=HEAVY, commands=commands)
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and not result.stderr, result.stderr
    helps = dict(part.split("\n", 1) for part in result.stdout.split("=== ")[1:])
    assert list(helps) == commands
    for command, text in helps.items():
        assert "Usage:" in text, command
        assert text.endswith("CODE 0 LOADED []\n"), (command, text[-80:])


def test_the_overview_names_every_command_and_gives_examples() -> None:
    text = call("--help").stdout
    assert all(name in text for name in COMMANDS)
    assert "Examples:" in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["scor"], "Did you mean 'score'"),
        (["score", "--suit", "x"], "--suite"),
        (["score", "nowhere", "--suite", "demo"], "is not a folder"),
        (["score", ".", "--suite", "demmo"], "Did you mean 'demo'"),
        (["eval", "--model", "procedual", "--suite", "demo"], "Did you mean 'procedural'"),
        (["eval", "--model", "procedural", "--suite", "demo", "-M", "steps"], "KEY=VALUE"),
        (["eval", "--model", "procedural", "--suite", "demo", "--metrics", "javiscore"], "Did you mean 'javis_score'"),
        (["eval", "--model", "procedural", "--suite", "demo", "--protocol", "v1"], "There is no protocol"),
        (["eval", "--model", "procedural", "--suite", "demo", "--shard", "2/2"], "I/N"),
        (["eval", "--model", "procedural", "--suite", "demo", "--encoder", "imagebind=hug"], "Did you mean 'huge'"),
        (["eval", "--model", "procedural", "--suite", "demo", "--device", "cuda:7"], "There is no cuda:7"),
        (["eval", "--model", "procedural", "--suite", "landscape"], "has none"),
        (["eval", "--model", "python:nowhere:Thing", "--suite", "demo"], "does not import"),
        (["eval", "--model", "python:json:JSONDecoder_", "--suite", "demo"], "Did you mean 'JSONDecoder'"),
        (["generate", "--model", "folder:clips", "--suite", "demo"], "javisbench score clips"),
        (["eval", "--model", "procedural", "--suite", "demo", "--max-failures", "1.5"], "a count, or a share below 1"),
        (["report", "."], "run.json|summary.json"),
        (["metrics", "show", "fvdd"], "Did you mean 'fvd'"),
        (["suites", "show", "nothing"], "no suite"),
    ],
)
def test_mistakes_exit_with_2_and_say_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(args) == 2
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    assert any(part in shown.err for part in message.split("|")), shown.err
    assert shown.out == ""


def _commands(group: click.Group) -> Iterator[click.Command]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield from _commands(found) if isinstance(found, click.Group) else (found,)


WRITTEN = {"--out", "--html", "--png", "--plot", "--write"}


def test_where_every_command_writes_is_looked_at_before_it_works() -> None:
    places = [param for one in _commands(cli) for param in one.params if WRITTEN & set(param.opts)]
    assert len(places) > 15 and all(isinstance(param.type, Target) for param in places)


@pytest.mark.parametrize("within", ["file/site", "file", "n" * 300 + "/site"])
def test_a_place_that_cannot_be_is_refused_before_any_work(
    tmp_path: Path, within: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run(["votes", "page", str(tmp_path), "--out", str(tmp_path / within)]) == 2
    assert "--out" in capsys.readouterr().err and [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_mistake_ends_the_process_with_2(tmp_path: Path) -> None:
    result = call("scor", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Did you mean 'score'" in result.stderr and "Traceback" not in result.stderr


def test_an_error_inside_a_run_is_told_once(tmp_path: Path) -> None:
    result = call("eval", "--model", "javisdit", "--suite", "demo", "--limit", "1", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.count("javisbench weights fetch javisdit-v1.0-network") == 1
    assert "licence" in result.stderr
    # Nothing was made, so nothing is left.
    assert not any(tmp_path.iterdir())


def test_validate_lists_problems_and_exits_with_2(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("text,cat0_ind\n,7\n")
    result = call("suites", "validate", "bad.csv", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout.count("bad.csv: row 1") == 2
    as_json = json.loads(call("suites", "validate", "bad.csv", "--json", cwd=tmp_path).stdout)
    assert as_json["valid"] is False
    assert {problem["column"] for problem in as_json["problems"]} == {"text", "cat0_ind"}


def test_suites_show_counts_all_categories() -> None:
    facts = json.loads(call("suites", "show", "demo", "--json").stdout)
    counts = [n for categories in facts["categories"].values() for n in categories.values()]
    assert len(counts) == 19
    assert min(counts) >= 5
    assert facts["samples"] >= 60


def test_version_and_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert "javisbench" in capsys.readouterr().out

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("javisbench.suite.known_suites", interrupted)
    assert run(["suites", "list"]) == 130
    assert "go on" in capsys.readouterr().err


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def defect() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("javisbench.suite.known_suites", defect)
    with pytest.raises(ZeroDivisionError):
        run(["suites", "list"])


def because(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ESTALE, "stale", "/mnt/x"), "Stopped by the system: Stale file handle (/mnt/x). Run the same"),
        (MemoryError(), "Stopped by the system: out of memory"),
        (SystemFaultError("a.mp4 cannot be read: Stale file handle."), "a.mp4 cannot be read"),
        (
            because(RunError("/mnt/x is damaged."), OSError(errno.EIO, "bad", "/mnt/x")),
            "Stopped by the system: Input/output error (/mnt/x). Run the same",
        ),
    ],
)
def test_what_the_system_fails_at_exits_with_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, message: str
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("javisbench.api.score", failing)
    assert run(["score", "clips"]) == 3
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        because(RunError("/mnt/x is in use by another process.", kind="locked"), OSError(errno.EAGAIN, "again")),
        because(RunError("/mnt/x is damaged."), OSError(errno.ENOENT, "no such file")),
    ],
)
def test_what_the_user_has_to_mend_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("javisbench.api.score", failing)
    assert run(["score", "clips"]) == 2
    assert str(error) in capsys.readouterr().err


def test_a_defect_is_no_fault_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "no such file")

    monkeypatch.setattr("javisbench.api.score", failing)
    with pytest.raises(FileNotFoundError):
        run(["score", "clips"])
