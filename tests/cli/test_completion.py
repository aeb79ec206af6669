"""What a shell completes, and where its script goes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from javisbench.cli import run
from javisbench.cli.completion import SHELLS, completion_script, script_path


def completed(words: str) -> set[str]:
    """What bash would offer for a line, the last word begun."""
    from click.shell_completion import ShellComplete

    from javisbench.cli import cli

    *done, begun = words.split(" ")
    found = ShellComplete(cli, {}, "javisbench", "_JAVISBENCH_COMPLETE").get_completions(done, begun)
    return {item.value for item in found if item.type == "plain"}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("sc", {"score"}),
        ("score --suite dem", {"demo"}),
        ("score --metrics av_al", {"av_align"}),
        ("score --metrics fvd,av_al", {"fvd,av_align"}),
        ("eval --protocol javisbench-v", {"javisbench-v1", "javisbench-v2"}),
        ("eval --model proc", {"procedural"}),
        ("score --encoder imagebind=t", {"imagebind=tiny"}),
        ("metrics show javis", {"javis_score"}),
        ("suites show landsc", {"landscape"}),
    ],
)
def test_names_are_completed(words: str, offered: set[str]) -> None:
    assert offered <= completed(words)
    assert all(value.startswith(words.split(" ")[-1]) for value in completed(words))


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_goes_where_the_shell_looks(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert run(["completion", shell, "--print"]) == 0
    assert "_JAVISBENCH_COMPLETE" in capsys.readouterr().out
    assert not any(tmp_path.iterdir())
    assert run(["completion", shell]) == 0
    path = script_path(shell)
    assert str(path) in capsys.readouterr().out
    assert path.read_text() == completion_script(shell)


def test_a_place_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    assert run(["completion", "bash"]) == 2
    assert "--print" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_itself_completes_with_the_script(tmp_path: Path) -> None:
    command = tmp_path / "javisbench"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m javisbench "$@"\n')
    command.chmod(0o755)
    (tmp_path / "script").write_text(completion_script("bash"))
    line = (
        "compopt() { :; }; COMP_WORDS=(javisbench score --suite dem); COMP_CWORD=3; "
        "_javisbench_completion javisbench dem --suite; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", f". {tmp_path}/script; {line}"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "demo" in done.stdout.split(), done.stderr


def test_help_lists_options_under_headings_and_none_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    from javisbench.cli.eval import command

    assert run(["eval", "--help"]) == 0
    text = capsys.readouterr().out
    headings = [line[:-1] for line in text.splitlines() if line and not line.startswith(" ") and line.endswith(":")]
    assert headings[:6] == ["What", "Clips to make", "Scores", "Judges", "Machine", "Output"]
    assert "More" not in headings
    for parameter in command.params:
        assert any(f"  {option}" in text for option in parameter.opts), parameter.name


def test_public_names_are_listed() -> None:
    import javisbench
    import javisbench.metrics

    for module in (javisbench, javisbench.metrics):
        assert set(module.__all__) <= set(dir(module))
