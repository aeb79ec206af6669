"""UniVerse-1: an image and text to picture and sound. Checkout: github.com/Dorniwang/UniVerse-1-code.

Its sampling script is called for every clip with the words of its ``scripts/inference/inference_universe.sh``: 125
frames at 25 fps, 35 steps, guidance 1.2 for the picture and 5.0 for the sound. Its size follows the picture's shape
(512x512, 480x768 or 768x480), whatever height and width say.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from javisbench.baselines.recipes.serving import Make, Request, given, only, serve
else:
    from serving import given, only, serve


def load(options: argparse.Namespace) -> Make:
    """Nothing is kept: the script loads its models itself."""

    def make(request: Request) -> None:
        with tempfile.TemporaryDirectory() as folder:
            still, told, out = Path(folder, "still.jpg"), Path(folder, "prompt.json"), Path(folder, "out")
            shutil.copy(given(request, "image"), still)
            sounds = [request["prompts"].get("audio_text", "")]
            speech = {"speaker": "", "text": ""}
            text = request["prompts"].get("video_text") or request["prompt"]
            told.write_text(json.dumps({"video_prompt": text, "audio_prompt": sounds, "speech_prompt": speech}))
            words = ["--model_path", options.wan, "--ace_path", options.ace, "--transformer_path", options.ckpt]
            words += ["--num_frames", "125", "--height", "256", "--width", "256"]
            words += ["--num_inference_steps", options.steps]
            words += ["--guidance_scale_vid", "1.2", "--guidance_scale_aud", "5.0", "--cpu_offload"]
            words += ["--seed", str(request["seed"] % 2**31), "--output_path", str(out)]
            words += ["--refimg_path", str(still), "--prompt_path", str(told)]
            launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--nproc_per_node=1", "--standalone"]
            subprocess.run([*launch, options.script, *words], check=True, stdout=sys.stderr)
            shutil.copy(only(out.rglob("*.mp4"), "clip"), request["output"] + ".mp4")

    return make


if __name__ == "__main__":
    serve(load)
