"""The scripts and the notebook of examples/ run, and say of made clips what is true of them."""

from __future__ import annotations

import ast
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import javisbench
import javisbench.cli
from javisbench.cli import cli
from javisbench.clip import ClipSpec
from javisbench.suite import load_suite

EXAMPLES = Path(__file__).parent.parent / "examples"
SMALL = ClipSpec(width=128, height=72, duration_s=3.0, fps=Fraction(15), sample_rate=16000)
LATE_S = "0.3"
COUNT = 10


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten prompts; clips whose sound is in step in ``good``, late in ``late``; their pictures and sounds apart."""
    folder = tmp_path_factory.mktemp("examples")
    demo = load_suite("demo")
    suite = replace(demo, samples=demo.samples[:COUNT], setting=SMALL)
    rows = "".join(f'{sample.id},"{sample.text}"\n' for sample in suite)
    (folder / "my.csv").write_text(f"id,text\n{rows}", encoding="utf-8")
    for kind, late_s in (("good", "0"), ("late", LATE_S)):
        run = javisbench.generate("procedural", suite=suite, params={"offset_s": late_s}, out=folder / "made" / kind)
        for target, suffix in ((kind, ".mp4"), (kind, ".wav"), (f"sounds_{kind}", ".wav")):
            (folder / target).mkdir(exist_ok=True)
            for path in (run / "clips").glob(f"*{suffix}"):
                shutil.copy(path, folder / target)
    (folder / "pictures").mkdir()
    for path in (folder / "good").glob("*.mp4"):
        shutil.copy(path, folder / "pictures")
    return folder


@pytest.fixture
def started(made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a script prints. It runs in this process as ``__main__``, in the folder of the clips."""
    monkeypatch.chdir(made)

    def run(script: str, *args: str) -> str:
        monkeypatch.setattr(sys, "argv", [script, *args])
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_score_folder(made: Path, started: Callable[..., str]) -> None:
    shutil.copytree(made / "good", made / "nine")
    (made / "nine" / "demo_0003.mp4").unlink()
    told = started(
        "score_folder.py", "nine", "--suite", "my.csv", "--metrics", "av_align,health_silence", "--out", "runs/scored"
    )
    assert "av_align" in told and "Lowest AV-Align: demo_" in told
    assert "demo_0003: all metrics: missing_clip" in told


def test_score_folder_from_the_shell(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell reads the script; what it calls runs here, one command after the other."""
    program = made / "bin" / "javisbench"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s\\0" "$#" "$@" >> "$CALLS"\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CALLS": str(made / "calls")}
    command = ["sh", str(EXAMPLES / "score_folder.sh"), "good", "my.csv", "runs/shell"]
    subprocess.run(command, cwd=made, env=environment, check=True, timeout=300)
    words = (made / "calls").read_text(encoding="utf-8").split("\0")[:-1]
    monkeypatch.chdir(made)
    while words:
        count = 1 + int(words[0])
        assert javisbench.cli.run(words[1:count]) == 0, words[1:count]
        del words[:count]
    assert {path.suffix for path in (made / "runs/shell/tables").iterdir()} >= {".md", ".csv", ".tex", ".json"}


def test_cluster_scripts_are_scripts_whose_commands_there_are() -> None:
    folder = EXAMPLES / "cluster"
    found = 0
    for script in folder.glob("*.sh"):
        subprocess.run(["bash", "-n", str(script)], check=True)
        text = script.read_text(encoding="utf-8").replace("\\\n", " ")
        commands = [line.strip() for line in text.splitlines() if line.strip().startswith(("javisbench ", "srun "))]
        found += _checked(line[line.index("javisbench ") :] for line in commands if "javisbench " in line)
    job = yaml.safe_load((folder / "rayjob.yaml").read_text(encoding="utf-8"))
    assert job["kind"] == "RayJob"
    groups = [job["spec"]["rayClusterSpec"]["headGroupSpec"], *job["spec"]["rayClusterSpec"]["workerGroupSpecs"]]
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        volumes = {volume["name"] for volume in group["template"]["spec"]["volumes"]}
        assert volumes == {mount["name"] for mount in container["volumeMounts"]}
    assert _checked([job["spec"]["entrypoint"]]) + found == 3


def _checked(lines: Iterable[str]) -> int:
    """How many command lines there are; an option that no command has ends the test."""
    count = 0
    for line in lines:
        words = shlex.split(line)[1:]
        command = cli.get_command(click.Context(cli), words[0])
        assert command is not None, line
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known, line
        count += 1
    return count


def test_compare_models(started: Callable[..., str]) -> None:
    told = started("compare_models.py", "good", "late", "--suite", "my.csv", "--metrics", "av_sync")
    (row,) = [line for line in told.splitlines() if line.startswith("av_sync")]
    assert row.partition(" to ")[2].split()[1] == "a", told


def test_video_to_audio(made: Path, started: Callable[..., str]) -> None:
    told = started(
        "video_to_audio.py", "pictures", "sounds_good", "sounds_late", "--suite", "my.csv", "--metrics", "av_sync"
    )
    assert "better: sounds_good" in told
    first, second = (
        sorted((made / "runs/video-to-audio" / name / "features").iterdir()) for name in ("sounds_good", "sounds_late")
    )
    assert first[0].read_bytes() == second[0].read_bytes() and len(second) > len(first)


def test_judge_folder(made: Path, started: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    (made / "two").mkdir()
    for name in ("demo_0000", "demo_0001"):
        shutil.copy(made / f"good/{name}.mp4", made / "two")
        shutil.copy(made / f"good/{name}.wav", made / "two")
    rows = (made / "my.csv").read_text(encoding="utf-8").splitlines()[:3]
    (made / "two.csv").write_text("\n".join(rows), encoding="utf-8")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    again = ["judge/judge_folder.py", "two", "--suite", "two.csv", "--out", "runs/judged"]
    told = started(*again)
    assert "judge:example" in told and "4 answers, 8,240 tokens" in told
    assert re.search(r"The lowest: demo_000[01] \(0\.\d\d\): .*the first picture is \d+% bright", told)
    assert started(*again) == told, "kept answers count, and no more are asked for"


def test_metric_on_trial(made: Path, started: Callable[..., str]) -> None:
    told = started(
        "metric_on_trial.py", "good", "--suite", "my.csv", "--metrics", "av_sync",
        "--damages", "shift_circular=400;swapped",
    )  # fmt: skip
    assert "swapped" in told and "pairs right 1.0" in told
    assert (made / "runs/trial/trial.html").is_file()


@pytest.fixture
def cells() -> list[str]:
    """The notebook's code. One scene says what two would, in half the time."""
    import nbformat

    notebook = nbformat.read(EXAMPLES / "first_steps.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code), "strip the outputs"
    return [cell.source.replace("limit=2", "limit=1") for cell in code]


def test_the_cells_of_the_notebook_run(cells: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, on small scenes; what a cell ends with is shown as a notebook shows it."""
    import matplotlib.pyplot as plt
    from IPython.core.formatters import DisplayFormatter

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scenes = load_suite("sync-scenes")
    assert scenes.setting is not None
    names: dict[str, Any] = {"small": replace(scenes, setting=replace(scenes.setting, width=160, height=96))}
    table = ""
    plt.switch_backend("agg")
    for number, cell in enumerate(cells):
        tree = ast.parse(cell.replace('suite="sync-scenes"', "suite=small"))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"cell {number}", "exec"), names)  # noqa: S102 - our own notebook
        if last is not None:
            shown = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
            table += DisplayFormatter().format(shown)[0]["text/plain"]
    assert "av_sync_late" in table and "ok" in table
    (figure,) = map(plt.figure, plt.get_fignums())
    figure.savefig(tmp_path / "figure.png")
    plt.close(figure)


@pytest.mark.slow  # Starting a kernel; what the cells do and show is said above.
def test_the_notebook_runs_in_a_kernel(cells: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbclient
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [output.get("data", {}) for cell in notebook.cells for output in cell.outputs]
    table = "".join(data.get("text/plain", "") for data in outputs)
    assert "av_sync_late" in table and "ok" in table
    assert "image/png" in outputs[-1]
