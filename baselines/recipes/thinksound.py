"""ThinkSound: sound for a given video and a description. Runs in its checkout (github.com/FunAudioLLM/ThinkSound).

Its ``scripts/ThinkSound/demo.sh`` runs two programs for one clip in fixed places of the checkout; the same is done
here for every clip: nothing is kept, and no seed is told, because its script has none. The suite's text is both title
and description, where the authors' own descriptions are chains of thought that another model writes.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from javisbench.baselines.recipes.serving import Make, Request, given, length_s, only, serve
else:
    from serving import given, length_s, only, serve


def load(options: argparse.Namespace) -> Make:
    """Nothing is kept: the programs load their models themselves."""

    def make(request: Request) -> dict[str, Any]:
        for folder in ("videos", "cot_coarse", "results"):
            shutil.rmtree(folder, ignore_errors=True)
            Path(folder).mkdir()
        shutil.copy(given(request, "video"), "videos/demo.mp4")
        with Path("cot_coarse/cot.csv").open("w", newline="", encoding="utf-8") as file:
            text = request["prompt"].replace('"', "'")
            csv.writer(file).writerows([["id", "caption", "caption_cot"], ["demo", text, text]])
        seconds = length_s("videos/demo.mp4", float(request["duration_s"]))
        run(["extract_latents.py", "--duration_sec", str(max(1, int(seconds)))])
        config = "ThinkSound/configs/model_configs/thinksound.json"
        run(["predict.py", "--model-config", config, "--duration-sec", str(seconds), "--results-dir", "results"])
        shutil.copy(only(Path("results").rglob("demo.wav"), "sound"), request["output"] + ".wav")
        return {"seeded": False}

    return make


def run(words: list[str]) -> None:
    """One of its programs."""
    subprocess.run([sys.executable, *words], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    serve(load)
