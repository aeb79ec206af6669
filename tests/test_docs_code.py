"""Every code block of README.md and docs/ runs, or stands in a list here with the reason why it cannot.

Each page has a folder of its own with clips, prompts and runs under the names that the page uses; its commands and
Python run in the order of the page. Models make fewer clips (`--limit`), and small ones where a suite states no size.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import javisbench
from javisbench.cli import run
from javisbench.clip import Clip, ClipSpec
from javisbench.durable import write_json
from javisbench.media import write_clip
from javisbench.results.seal import sealed_manifest, sealed_summary

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted(ROOT.glob("docs/*.md"))
ELSEWHERE = {
    "docs/extending.md": "the example package: tests/check_plugin.py installs it and runs its commands",
    "docs/training.md": "test_docs.py: test_snippets_of_the_training_page_run",
}
"""Pages whose blocks are run by other tests."""
NOT_RUN = {
    r"^make ": "what CI consists of, or tests/check_demo.py",
    r"^python (tests|docs|benchmarks)/": "needs a checkout; other tests and CI run these",
    r"^(pip|sbatch|torchrun) ": "installs, or starts processes elsewhere",
    r"^PYTHONPATH=": "javisbench's tests of generators run a python: model",
    r"--model (javisdit|diffusers:|cascade:|mm-diffusion)": "needs weights",
    r"--model (foleycrafter|veo-3\.1|wan2\.5|hosted:)": "needs a checkout of another author, or a service",
    r"\$SLURM": "needs Slurm",
    r"judge:": "asks a model; tests/run/test_judges.py has one",
    r"--engine ray": "needs Ray; tests/run/test_ray.py runs a cluster",
    r"merge runs/javisdit": "joins what that made; docs/clusters.md has one that runs",
    r"leaderboard push .*hub:": "needs a network",
    r"validate-metrics": "minutes of rendering; tests/run/test_trial.py runs trials",
    r"--suite (javisbench|javisbench-mini|landscape)\b": "needs a suite of the hub, or thousands of clips",
    r"votes import answers-": "answers of people; tests/leaderboard/test_votes_browser.py saves some",
    r"lab-a\.zip|other-model\.zip": "archives of others; docs/three-ways.md packs one",
    r"^javisbench inspect": "tests/leaderboard/test_inspect.py; seconds of matplotlib",
}
STARTS_A_MODEL = ("eval", "generate", "doctor")
OTHERS = {"toml", "json", "text", ""}


@dataclass(frozen=True)
class Block:
    """A code block of a page; lines that stand indented are blocks of the language ``sh`` where they are commands."""

    page: str
    line: int
    language: str
    text: str
    note: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text, name = page.read_text(encoding="utf-8"), page.relative_to(ROOT).as_posix()
    fenced = r"(?:^<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$"
    indented = r"^((?: {4}(?:(?:javisbench|make|python|pip|torchrun) |PYTHONPATH=)[^\n]*\n)+)"
    for found in re.finditer(f"{fenced}|{indented}", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, found.start()) + 1
        if found[4] is None:
            yield Block(name, line, found[2], found[3], found[1] or "")
        else:
            yield Block(name, line, "sh", re.sub("^ {4}", "", found[4], flags=re.MULTILINE), "")


def commands(block: Block) -> list[str]:
    joined = block.text.replace("\\\n", " ").splitlines()
    return [line for line in map(str.strip, joined) if line and not line.startswith("#")]


def words(command: str) -> list[str]:
    """As a shell splits them, without comments, redirections and words of explanation; ``*`` is filled in."""
    told = re.split(r"\s{3,}", command.partition(" > ")[0])[0]
    found: list[str] = []
    for word in shlex.split(told, comments=True):
        found += (
            sorted(map(str, Path().glob(word))) or [word] if "*" in word and "/" in word else [word.removesuffix("...")]
        )
    return found


def why_not(command: str) -> str | None:
    return next((reason for pattern, reason in NOT_RUN.items() if re.search(pattern, command)), None)


# The folder that a page finds itself in


def make_clips(folder: Path, late: int) -> None:
    """Four clips of a second: something flashes and beeps, `late` samples later."""
    for number in range(4):
        rng = np.random.default_rng(number)
        frames = rng.integers(0, 40, (16, 48, 64, 3)).astype(np.uint8)
        frames[6 + number :: 7, 8:40, 8 + number : 40] = 230
        audio = 0.001 * rng.standard_normal((1, 16000)).astype(np.float32)
        for frame in range(6 + number, 16, 7):
            at = frame * 1000 + late
            audio[:, at : at + 600] += 0.5 * np.sin(np.arange(600) / 3).astype(np.float32)[: max(0, 16000 - at)]
        write_clip(Clip(frames, Fraction(16), audio, 16000, "sidecar"), folder / f"sample_{number:04d}.mp4")
        (folder / f"sample_{number:04d}.txt").write_text(f"A square flashes, number {number}.\n", encoding="utf-8")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory, published_suites: Any) -> Path:
    """What pages speak of: clips, prompts, and scored runs of two models."""
    folder = tmp_path_factory.mktemp("docs")
    rows = "".join(
        f"A square flashes and number {n} beeps,{n % 5},{'calm' if n % 2 else 'wild'},easy\n" for n in range(4)
    )
    for name in ("my_prompts.csv", "my.csv"):
        (folder / name).write_text("text,cat0_ind,mood,difficulty\n" + rows, encoding="utf-8")
    for name, late in (("mine", 0), ("theirs", 500)):
        clips = folder / ("clips" if name == "mine" else "their_clips")
        clips.mkdir()
        make_clips(clips, late)
        javisbench.score(
            clips, suite=str(folder / "my.csv"), metrics=["av_align", "health_*"], slice_by=["mood", "difficulty"],
            name=name, out=folder / "runs" / name / "my",
        )  # fmt: skip
    votes = "".join(
        f"sample_{n:04d},mine,theirs,{answer},{voter}\n"
        for voter, answers in (("ann", "a a b tie"), ("bob", "a b b a"), ("cy", "tie a a b"))
        for n, answer in enumerate(answers.split())
    )
    (folder / "my_votes.csv").write_text("sample,model_a,model_b,winner,voter\n" + votes, encoding="utf-8")
    places = {
        "mine": (
            "RUN",
            "RUN_A",
            "runs/my-model-1a2b3c4d/demo",
            "runs/my-model/demo",
            "runs/a/demo",
            "runs/c/javisbench",
        ),
        "theirs": ("RUN_B", "runs/b/demo", "runs/d/javisbench", "runs/my-model-1a2b3c4d/javisbench"),
    }
    for name, targets in places.items():
        for target in targets:
            shutil.copytree(folder / "runs" / name / "my", folder / target)
            rename(folder / target, name, target.replace("/", "-"))
    for name, build in (
        ("Verse-Bench", published_suites.verse_bench),
        ("T2AV-Compass", published_suites.t2av_compass),
    ):
        (folder / name).mkdir()
        build(folder / name, False)
    for name in ("my_adapter.py", "my_model.sh", "run_batch.sh"):
        (folder / name).write_text(SCRIPTS[name], encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


def rename(run_folder: Path, name: str, other: str) -> None:
    """Another model's name: boards refuse two runs of one."""

    def renamed(file: str) -> Any:
        return json.loads((run_folder / file).read_text(encoding="utf-8").replace(f'"{name}"', f'"{other}"'))

    summary, manifest = sealed_summary(renamed("summary.json"), run_folder), renamed("run.json")
    write_json(run_folder / "summary.json", summary)
    manifest["scoring"]["generations"] = {summary["run"]["protocol"]: summary["generation"]}
    write_json(run_folder / "run.json", sealed_manifest(manifest))


SCRIPTS = {
    "my_adapter.py": (ROOT / "examples/generators/minimal_adapter.py").read_text(encoding="utf-8"),
    "my_model.sh": "#!/bin/sh\nexec python3 my_adapter.py\n",
    "run_batch.sh": "#!/bin/sh\nexit 1\n",
}


@pytest.fixture
def there(sandbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sandbox, as working folder; models are asked for small clips."""
    import sys

    shutil.copytree(sandbox, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVISBENCH_WEIGHTS", raising=False)
    small = (64, 36, 1.0, Fraction(12), 16000)
    assert len(small) == len(ClipSpec.__init__.__defaults__ or ())
    monkeypatch.setattr(ClipSpec.__init__, "__defaults__", small)
    return tmp_path / "here"


# Running


def started(arguments: list[str]) -> list[str]:
    """A command line; what starts a model makes two clips."""
    if arguments[0] in STARTS_A_MODEL and "--model" in arguments and "--limit" not in arguments:
        arguments = [*arguments, "--limit", "2"]
    if arguments[0] == "doctor" and "--sample" not in arguments:
        arguments = [*arguments, "--sample", "1"]
    return arguments


def execute(command: str, place: str) -> None:
    arguments = words(command)
    assert arguments[0] == "javisbench", f"{place}: {command}: no reason is given why this does not run"
    told, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(complained):
        code = run(started(arguments[1:]))
    assert code == 0, f"{place}: {command}\n{complained.getvalue()[-1500:]}"


def runnable(page: Path) -> list[Block]:
    """The blocks that are run in the sandbox."""
    told = page.relative_to(ROOT).as_posix() in ELSEWHERE
    return [] if told else [block for block in blocks(page) if block.language in ("python", "sh", "bash")]


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("page", [*filter(runnable, PAGES)], ids=lambda page: page.name)
def test_code_blocks_run(page: Path) -> None:
    names: dict[str, Any] = {}
    for block in runnable(page):
        if block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(block.text, block.place, "exec"), names)  # noqa: S102 - our own page
        else:
            for command in commands(block):
                if why_not(command) is None:
                    execute(command, block.place)


def test_other_blocks_are_what_they_say() -> None:
    for block in (block for page in PAGES for block in blocks(page)):
        if block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "json":
            json.loads(block.text)
        else:
            assert block.language in {"python", "sh", "bash", *OTHERS}, f"{block.place}: {block.language}"


def test_every_reason_not_to_run_is_needed() -> None:
    told = [command for page in PAGES for block in blocks(page) for command in commands(block)]
    for pattern in NOT_RUN:
        assert any(re.search(pattern, command) for command in told), pattern
    ran = [command for command in told if command.startswith("javisbench ") and why_not(command) is None]
    assert len(ran) >= 20, ran
