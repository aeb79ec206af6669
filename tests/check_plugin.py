"""Install the example package from a wheel, use it through the command line, remove it, and read what is left.

Usage: python tests/check_plugin.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
METRICS = "light_sound,palette_gap,health_silence"


def python(*words: str, site: Path, work: Path, code: int = 0) -> str:
    """Run Python with the packages of `site` beside those of this environment; returns what it printed."""
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(work / "cache")}
    done = subprocess.run([sys.executable, *words], cwd=work, env=environment, capture_output=True, text=True)
    told = f"{' '.join(words)} exits with {done.returncode}, not {code}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == code, told
    return done.stdout


def build(work: Path) -> Path:
    """The example's wheel, from a copy: building leaves files beside the sources."""
    source = shutil.copytree(ROOT / "examples/plugin", work / "source")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(work / "dist"), str(source)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = (work / "dist").glob("*.whl")
    return wheel


def check(work: Path) -> None:
    site = work / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(build(work))]
    subprocess.run(install, check=True)

    def run(*words: str, code: int = 0) -> str:
        return python("-m", "javisbench", *words, site=site, work=work, code=code)

    begin = time.monotonic()
    python("-m", "pytest", "-q", "-p", "no:cacheprovider", str(work / "source/tests"), site=site, work=work)
    python("-m", "javisbench_example.make_weights", str(work / "checkpoints"), site=site, work=work)
    weights = ("--weights-dir", str(work / "checkpoints"))
    found = {fact["id"]: fact for fact in json.loads(run("weights", "list", "--json"))}
    assert found["example_palette"]["package"] == "javisbench-example 1.0"
    run("weights", "verify", "example_palette", *weights)
    reports = json.loads(run("metrics", "check", "light_sound", "palette_gap", "light", "palette", "--json", *weights))
    assert [report["id"] for report in reports] == ["light_sound", "palette_gap", "light", "palette"]
    held = [sum(row["status"] == "ok" for row in report["rows"]) for report in reports]
    assert min(held) >= 10, held

    made = ("--suite", "lamps", "--limit", "4", "--quiet")
    run("generate", "--model", "lamp", *made, "--out", "real", "-M", "delay_s=0.5")
    scored = (*made, "--workers", "1", "--reference", "real/clips", "--metrics", METRICS, *weights)
    for name, delay_s in (("now", "0"), ("late", "0.4")):
        run("eval", "--model", "lamp", "-M", f"delay_s={delay_s}", "--out", name, "--json", *scored)
    settings = "javisbench-v1+light_sound.window_s=1"
    run("score", "now", "--name", "now", "--protocol", "javisbench-v1", "--protocol", settings, *scored)
    summaries = {name: json.loads((work / name / "summary.json").read_text()) for name in ("now", "late")}
    values = {name: summary["metrics"]["light_sound"]["overall"]["value"] for name, summary in summaries.items()}
    # Light and hum follow one envelope: they fit, and fit less when the hum is late.
    assert values["now"] > 0.95 > values["late"] + 0.05, values
    gap = summaries["now"]["metrics"]["palette_gap"]["overall"]
    assert gap["n"] == 4 and gap["value"] is not None and gap["ci_low"] is not None, gap
    assert summaries["now"]["run"]["protocol_settings"]["plugins"] == {"light_sound": {"window_s": 0.25}}
    derived = json.loads((work / "now/protocols" / f"{settings}.0" / "summary.json").read_text())
    assert derived["run"]["protocol_settings"]["plugins"] == {"light_sound": {"window_s": 1.0}}

    run("submit", "pack", "now", "--out", "now.zip")
    run("submit", "verify", "now.zip")

    def board(*sources: str, out: str) -> dict[str, dict[str, object]]:
        run("leaderboard", "build", *sources, "--out", out, "--quiet")
        table = json.loads((work / out / "tables/overall.json").read_text())
        return {column["id"]: column for column in table["columns"]}

    before = board("now/summary.json", "late/summary.json", out="site-with")
    assert before["light_sound"]["title"] == "Light-sound" and before["light_sound"]["higher_is_better"] is True

    shutil.rmtree(site)
    site.mkdir()
    told = run("report", "now", "late")
    assert "Light-sound" in told and "javisbench-example 1.0 is not installed" in " ".join(told.split()), told
    assert board("now/summary.json", "late/summary.json", out="site-without").keys() == before.keys()
    assert "Light-sound" in run("compare", "now", "late")
    run("submit", "pack", "now", "--out", "again.zip")
    run("submit", "verify", "again.zip")
    assert "light_sound" not in board("again.zip", out="site-archive"), "nobody has checked these values"
    run("score", "now", "--name", "now", "--protocol", settings, *scored, code=2)
    print(f"plugin: commands took {time.monotonic() - begin:.0f} s")


with tempfile.TemporaryDirectory(prefix="javisbench-plugin-") as folder:
    check(Path(folder))
print("plugin: the example package works from its wheel, and its results outlive it")
