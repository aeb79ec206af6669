"""TPoS: picture for a given sound and a text. Runs in its checkout (github.com/eugene6923/TPoS).

Its ``txt2img.py`` is called for every clip with the words of its ``inference.sh``, seeded with the option that
scripts of Stable Diffusion have. That repository has no instructions beyond this: which files it writes was not read,
the recipe takes the one film, or pictures in the order of their names as frames.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from javisbench.baselines.recipes.serving import Make, Request, given, length_s, only, serve
else:
    from serving import given, length_s, only, serve

FILMS = (".mp4", ".avi", ".mov", ".gif")


def load(options: argparse.Namespace) -> Make:
    """Nothing is kept: the script loads its models itself."""

    def make(request: Request) -> dict[str, Any]:
        sound = given(request, "audio")
        seconds = length_s(sound, float(request["duration_s"]))
        with tempfile.TemporaryDirectory() as folder:
            words = ["--prompt", request["prompt"], "--plms", "--ckpt", options.ckpt, "--audio", sound]
            words += ["--n_samples", "1", "--n_iter", "1", "--skip_grid", "--outdir", folder, "--interpolate", "1"]
            words += ["--pt_file_name", options.encoder, "--audio_time", str(max(1, round(seconds)))]
            words += ["--se_value", options.se_value, "--threshold_value", options.threshold_value]
            words += ["--param_t", options.param_t, "--seed", str(request["seed"] % 2**31)]
            subprocess.run([sys.executable, "txt2img.py", *words], check=True, stdout=sys.stderr)
            films = [path for path in Path(folder).rglob("*") if path.suffix in FILMS]
            if films:
                shutil.copy(only(films, "film"), request["output"] + ".mp4")
                return {"found": "film"}
            frames = sorted(Path(folder).rglob("*.png"))
            if not frames:
                raise RuntimeError("the model wrote neither a film nor pictures")
            join(frames, seconds, request["output"] + ".mp4")
            return {"found": f"{len(frames)} pictures"}

    return make


def join(frames: list[Path], seconds: float, target: str) -> None:
    """Pictures as a film as long as the sound, with the ffmpeg of the environment."""
    with tempfile.TemporaryDirectory() as folder:
        for number, frame in enumerate(frames):
            shutil.copy(frame, Path(folder, f"{number:06d}.png"))
        rate = f"{len(frames) / max(seconds, 1e-3):.6f}"
        words = ["ffmpeg", "-y", "-loglevel", "error", "-framerate", rate, "-i", str(Path(folder, "%06d.png"))]
        subprocess.run([*words, "-pix_fmt", "yuv420p", target], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    serve(load)
