"""FoleyCrafter: sound for a given video. Runs in its checkout (github.com/open-mmlab/FoleyCrafter, Apache-2.0).

Settings as the defaults of its ``inference.py`` (prompt, nprompt, seed, temporal_scale 0.2, semantic_scale 1.0, 25
steps); versions of July 2024 have a switch ``temporal_align`` too, which is on. Its models are built once; its
picture encoder, which it loads for every clip, is kept.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from javisbench.baselines.recipes.serving import Make, Request, given, kept, only, serve
else:
    from serving import given, kept, only, serve


def load(options: argparse.Namespace) -> Make:
    """Its three models, built by its own function."""
    inference: Any = importlib.import_module("inference")
    encoder = getattr(inference, "CLIPVisionModelWithProjection", None)
    if encoder is not None:
        kept(encoder, "from_pretrained")
    settings = Namespace(
        nprompt=options.nprompt,
        temporal_align=True,
        temporal_scale=float(options.temporal_scale),
        semantic_scale=float(options.semantic_scale),
        ckpt=options.ckpt,
        pretrain="auffusion/auffusion-full-no-adapter",
        device="cuda",
    )
    parts = inference.build_models(settings)

    def make(request: Request) -> None:
        with tempfile.TemporaryDirectory() as folder:
            clips, out = Path(folder, "in"), Path(folder, "out")
            clips.mkdir()
            shutil.copy(given(request, "video"), clips / "clip.mp4")
            told = {"prompt": request["prompt"], "seed": request["seed"] % 2**32}
            inference.run_inference(Namespace(**vars(settings), **told, input=str(clips), save_dir=str(out)), *parts)
            shutil.copy(only(out.glob("audio/*.wav"), "sound"), request["output"] + ".wav")

    return make


if __name__ == "__main__":
    serve(load)
