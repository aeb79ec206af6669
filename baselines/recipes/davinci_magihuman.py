"""daVinci-MagiHuman: text, or an image and text, to picture and sound. Runs in its checkout (Apache-2.0).

Called as its ``inference/pipeline/entry.py`` (github.com/GAIR-NLP/daVinci-MagiHuman) does on one GPU, with its own
configuration file; 448x256 at whole seconds, the sizes of its example ``run_T2V.sh``, unless told.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from javisbench.baselines.recipes.serving import Make, Request, given, only, serve
else:
    from serving import given, only, serve


def load(options: argparse.Namespace) -> Make:
    """Its pipeline; its functions read the command line and the variables that torchrun sets."""
    for name, value in {"MASTER_ADDR": "localhost", "MASTER_PORT": "6015", "RANK": "0", "WORLD_SIZE": "1"}.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("LOCAL_RANK", "0")
    sys.argv = ["entry.py", "--config-load-path", options.config]
    infra: Any = importlib.import_module("inference.infra")
    infra.initialize_infra()
    config = importlib.import_module("inference.common").parse_config()
    model = importlib.import_module("inference.model.dit").get_dit(config.arch_config, config.engine_config)
    pipelines: Any = importlib.import_module("inference.pipeline")
    pipeline = pipelines.MagiPipeline(model, config.evaluation_config)

    def make(request: Request) -> dict[str, Any]:
        seconds = max(1, round(float(request["duration_s"])))
        with tempfile.TemporaryDirectory() as folder:
            pipeline.run_offline(
                prompt=request["prompt"],
                image=given(request, "image") if request.get("condition") else None,
                audio=None,
                save_path_prefix=str(Path(folder, "clip")),
                seed=request["seed"] % 2**31,
                seconds=seconds,
                br_width=int(options.width),
                br_height=int(options.height),
            )
            shutil.copy(only(Path(folder).rglob("*.mp4"), "clip"), request["output"] + ".mp4")
        return {"seconds_asked": seconds}

    return make


if __name__ == "__main__":
    serve(load)
