"""Kills and faults of the system at random moments of every command that writes; counts stand in docs/durability.md."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def counts(script: str, tmp_path: Path, *options: str) -> dict[str, dict[str, int]]:
    out = tmp_path / "counts.json"
    done = subprocess.run(
        [sys.executable, str(HERE / script), *options, "--json", str(out)], capture_output=True, text=True
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    found: dict[str, dict[str, int]] = json.loads(out.read_text())
    return found


@pytest.mark.slow
def test_kills_lose_nothing_and_leave_nothing_wrong(tmp_path: Path) -> None:
    found = counts("kills.py", tmp_path)
    assert sum(count["kills"] for count in found.values()) >= 160
    assert all(count["kills"] for count in found.values())


@pytest.mark.slow
def test_faults_of_the_system_cost_no_clip(tmp_path: Path) -> None:
    found = counts("faults.py", tmp_path)
    assert all(outcome["times"] for outcome in found.values())


@pytest.mark.slow
def test_faults_of_files_stop_every_command_with_3_and_lose_nothing(tmp_path: Path) -> None:
    found = counts("file_faults.py", tmp_path, "--most", "3")
    assert all(outcome["times"] for outcome in found.values())
    assert len(found) >= 2 * 14
