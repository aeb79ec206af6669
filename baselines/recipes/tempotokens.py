"""TempoTokens: picture for a given sound. Runs in its checkout (github.com/guyyariv/TempoTokens, MIT).

It makes 24 frames at 12 fps from the first two seconds of the sound. Its ``inference.py`` keeps what it needs in the
names of a script, so that the script is run anew for every clip, in this process: what it imports, and the networks
that it asks its own module ``train`` and diffusers for, are kept. It draws noise without a seed; everything is seeded
before each clip.
"""

from __future__ import annotations

import copy
import importlib
import runpy
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from javisbench.baselines.recipes.serving import Make, Request, given, kept, only, seed_all, serve
else:
    from serving import given, kept, only, seed_all, serve


def load(options: argparse.Namespace) -> Make:
    """What loads networks loads them once; its tokenizer, which it adds words to, is handed out as a copy."""
    train: Any = importlib.import_module("train")
    loaded = getattr(train, "load_primary_models", None)
    if loaded is not None:
        kept(train, "load_primary_models")
        once = train.load_primary_models
        train.load_primary_models = lambda *words: tuple(
            copy.deepcopy(part) if "okenizer" in type(part).__name__ else part for part in once(*words)
        )

    def make(request: Request) -> None:
        sound = given(request, "audio")
        # The script wants a folder below its own, written as ./name.
        with tempfile.TemporaryDirectory(dir=".") as folder:
            seed_all(request["seed"])
            words = ["--mapper_weights", options.mapper, "--audio_path", sound]
            sys.argv = ["inference.py", *words, "--output_dir", f"./{Path(folder).name}"]
            runpy.run_path("inference.py", run_name="__main__")
            shutil.copy(only(Path(folder).rglob("*_c.mp4"), "clip"), request["output"] + ".mp4")

    return make


if __name__ == "__main__":
    serve(load)
