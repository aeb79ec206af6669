"""Write docs/trial-results.md from the damages' cards and the trials in data_cards/trials, and record a trial there.

    python docs/make_trials.py                                  the page alone
    python docs/make_trials.py runs/trial scenes "javisbench validate-metrics ..."   record that trial as `scenes`, too

The page of metrics shows each metric's own row: run docs/make_metrics.py afterwards.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from javisbench.cards import CARDS
from javisbench.damages import DAMAGES
from javisbench.results.trial import RecordedTrial, read_trial, recorded_trials, title_of

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "trial-results.md"
TRIALS = CARDS / "trials"
DIGITS = 4
"""Significant digits that are recorded; intervals are wider."""
_ALWAYS = ("damage", "dose", "unit", "severity", "kind", "branch", "pairs", "n", "sources", "verdict", "lacking")

INTRO = """# Trials: damages, and what was found

Written by `docs/make_trials.py`. What the numbers mean, and how to make such a trial of your own clips and metrics: see
[trials](trial.md).
"""


def record(folder: Path, name: str, command: str, date: str, commit: str) -> Path:
    """Keep a trial beside the package's data: its numbers to four digits, and of what is blind its counts alone."""
    document = read_trial(folder).to_json()
    for metric in document["metrics"].values():
        del metric["curves"]
        metric["effects"] = [_lean(effect) for effect in metric["effects"]]
    target = TRIALS / f"{name}.json"
    target.parent.mkdir(exist_ok=True)
    entry = {"date": date, "commit": commit, "command": command, "trial": document}
    target.write_text(_by_line(entry), encoding="utf-8")
    return target


def _by_line(entry: dict[str, Any]) -> str:
    """JSON with one effect a line, so that changes can be read."""
    text = json.dumps(entry, ensure_ascii=False)
    return text.replace('{"damage":', '\n{"damage":').replace('"metrics": {', '"metrics": {\n') + "\n"


def _lean(effect: dict[str, Any]) -> dict[str, Any]:
    kept = effect if effect["verdict"] != "blind" else {name: effect[name] for name in _ALWAYS if name in effect}
    return {name: _rounded(value) for name, value in kept.items()}


def _rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def page() -> str:
    """The whole page."""
    lines = [INTRO, "## Damages", "", "| damage | of the | doses | what it does |", "| --- | --- | --- | --- |"]
    for name in DAMAGES:
        if DAMAGES.plugin(name) is None:
            card = DAMAGES.get(name).card
            doses = f"{', '.join(f'{dose:g}' for dose in card.doses)} {card.unit}" if card.doses else "none"
            does = card.does if card.harms else f"{card.does} *Nothing should change.*"
            lines.append(f"| `{name}` | {card.stream} | {doses} | {does} |")
    trials = recorded_trials()
    for trial in trials:
        lines += ["", *_section(trial)]
    if not trials:
        lines += ["", "## Results", "", "None is recorded yet."]
    return "\n".join(lines) + "\n"


def _section(recorded: RecordedTrial) -> list[str]:
    trial = recorded.trial
    lines = [
        f"## {recorded.name}",
        "",
        f"{trial.clips_line}, {recorded.date}, commit {recorded.commit}, protocol {trial.protocol}:",
        "",
        f"    {recorded.command}",
        "",
        "| metric | n | what it sees |",
        "| --- | --- | --- |",
    ]
    for found in trial.metrics:
        n = max((effect.n for effect in found.effects), default=0)
        lines.append(f"| {title_of(found.metric)} | {n} | {trial.sentence_of(found)} |")
    lines += [f"| {title_of(metric)} | – | not run here: {reason} |" for metric, reason in trial.missing.items()]
    return lines


def _commit() -> str:
    asked = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    if len(sys.argv) == 4:
        record(
            Path(sys.argv[1]),
            sys.argv[2],
            sys.argv[3],
            datetime.datetime.now(datetime.UTC).date().isoformat(),
            _commit(),
        )
    elif len(sys.argv) != 1:
        sys.exit(__doc__)
    PAGE.write_text(page(), encoding="utf-8")
