"""Check what `make demo` left: three scored models that tell themselves apart, a board, and next commands that work.

Usage: python tests/check_demo.py RUN
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

demo = Path(sys.argv[1]).resolve()
overall = {}
for name in ("in-step", "late", "frozen"):
    summary = json.loads((demo / name / "summary.json").read_text(encoding="utf-8"))
    assert summary["run"]["protocol"] == "javisbench-v2", summary["run"]["protocol"]
    failed = [row for row in summary["failures"] if row["stage"] != "not_applicable"]
    assert summary["run"]["clips"] == 24 and not failed, (name, failed[:3])
    overall[name] = {metric: cells["overall"] for metric, cells in summary["metrics"].items()}
in_step, late, frozen = (overall[name]["av_sync"] for name in ("in-step", "late", "frozen"))
assert in_step["value"] > 2 and in_step["ci_low"] > late["ci_high"], (in_step, late)
assert frozen["value"] is None and frozen["status"] == "not_applicable", frozen
assert all(overall[name]["av_align"]["n"] == 24 for name in overall)

page = (demo / "board/index.html").read_text(encoding="utf-8")
assert all(name in page for name in overall), "the board lacks a model"

javisbench = [sys.executable, "-m", "javisbench"]
with tempfile.TemporaryDirectory() as folder:
    for words in (
        ["compare", demo / "in-step", demo / "late"],
        ["inspect", demo / "late/clips/sync_0001.mp4", "--html", "clip.html"],
        ["score", demo / "late/clips", "--suite", "sync-scenes", "--limit", "4", "--name", "mine"],
    ):
        command = [*javisbench, *map(str, words)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
print(f"demo: AV-Sync {in_step['value']:.2f} in step, {late['value']:.2f} late; the next commands work")
