"""The template repository for pull requests: its workflow's own commands, run on archives good and bad."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import javisbench
from javisbench.clip import ClipSpec
from javisbench.publish.archive import pack
from javisbench.suite import load_suite

TEMPLATE = Path(__file__).parents[2] / "examples/submissions"


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((TEMPLATE / ".github/workflows/leaderboard.yml").read_text())
    return found


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    (folder / "tiny.csv").write_text("text\na ball bounces\na bell rings\na dog barks\n")
    suite = replace(load_suite(str(folder / "tiny.csv")), setting=ClipSpec(width=64, height=48, duration_s=1.0))
    javisbench.evaluate("procedural", suite=suite, out=folder / "run", metrics=["av_align"], workers=1)
    return pack(folder / "run", folder / "good.zip")


def step(workflow: dict[str, Any], job: str, name: str) -> str:
    (script,) = [step["run"] for step in workflow["jobs"][job]["steps"] if step.get("name", "").startswith(name)]
    return str(script)


def shell(script: str, repository: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        # As the runner of GitHub calls it.
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PATH": path, **environment},
    )


def git(repository: Path, *args: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *args], cwd=repository, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, archive: Path) -> tuple[Path, str]:
    """A repository with one archive, and its commit."""
    folder = tmp_path / "board"
    (folder / "submissions").mkdir(parents=True)
    (folder / "submissions/first.zip").write_bytes(archive.read_bytes())
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder, git(folder, "rev-parse", "HEAD")


def verified(workflow: dict[str, Any], repository: Path, base: str) -> subprocess.CompletedProcess[str]:
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "submission")
    script = step(workflow, "verify", "Verify")
    return shell(script, repository, BASE=base, RUNNER_TEMP=str(repository.parent))


def test_strangers_code_never_has_a_token_that_writes(workflow: dict[str, Any]) -> None:
    # YAML 1.1 reads the key `on` as a truth value.
    assert set(workflow[True]) == {"pull_request", "push"}
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in workflow["jobs"]["verify"]
    assert "push" in workflow["jobs"]["build"]["if"]
    scripts = [s["run"] for job in workflow["jobs"].values() for s in job["steps"] if "run" in s]
    # Text from outside reaches scripts through the environment alone.
    assert not any(re.search(r"\$\{\{", script) for script in scripts)


def test_a_good_archive_passes_whatever_its_name(
    workflow: dict[str, Any], repository: tuple[Path, str], archive: Path
) -> None:
    folder, base = repository
    (folder / "submissions/--help $(touch pwned).zip").write_bytes(archive.read_bytes())
    done = verified(workflow, folder, base)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("holds what it claims") == 1
    assert not list(folder.rglob("pwned"))


def test_bad_archives_links_and_other_files_are_refused(
    workflow: dict[str, Any], repository: tuple[Path, str], archive: Path
) -> None:
    folder, base = repository
    with zipfile.ZipFile(archive) as good, zipfile.ZipFile(folder / "submissions/bad.zip", "w") as bad:
        for name in good.namelist():
            data = good.read(name)
            bad.writestr(name, data.replace(b",", b" ,", 1)[: len(data)] if name == "summary.json" else data)
    (folder / "submissions/link.zip").symlink_to("/etc/passwd")
    (folder / "submissions/notes.txt").write_text("hello")
    (folder / "submissions/deep").mkdir()
    (folder / "submissions/deep/x.zip").write_bytes(archive.read_bytes())
    done = verified(workflow, folder, base)
    assert done.returncode == 1
    assert "hash" in done.stdout
    for refused in ("link.zip is a link", "notes.txt is no archive", "deep/x.zip lies in a folder"):
        assert f"refused: submissions/{refused}" in done.stdout
    assert "first.zip" not in done.stdout


def test_an_archive_may_not_become_a_link(workflow: dict[str, Any], repository: tuple[Path, str]) -> None:
    folder, base = repository
    (folder / "submissions/first.zip").unlink()
    (folder / "submissions/first.zip").symlink_to("/etc/passwd")
    done = verified(workflow, folder, base)
    assert done.returncode == 1
    assert "refused: submissions/first.zip is a link" in done.stdout


def test_a_site_without_archives_says_so(workflow: dict[str, Any], tmp_path: Path) -> None:
    done = shell(step(workflow, "build", "Build"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "No submissions yet" in (tmp_path / "site/index.html").read_text()


def test_the_site_is_built_of_all_archives(workflow: dict[str, Any], repository: tuple[Path, str]) -> None:
    folder, _ = repository
    done = shell(step(workflow, "build", "Build"), folder)
    assert done.returncode == 0, done.stderr
    assert "procedural" in (folder / "site/index.html").read_text(encoding="utf-8")
    uploads = [s["with"]["path"] for s in workflow["jobs"]["build"]["steps"] if "upload-pages" in s.get("uses", "")]
    assert uploads == ["site"]
