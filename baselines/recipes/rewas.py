"""ReWaS: sound for a given video and a text. Runs in its checkout (github.com/naver-ai/rewas, CC BY-NC-SA 4.0).

Its ``test.py`` builds its models for a list of clips and one seed; here its own ``main`` is called for one clip after
the other, with the seed of each, and what builds models builds them once. Settings as the defaults of that script
(200 DDIM steps, guidance 3); its sounds are 5 s or shorter.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from javisbench.baselines.recipes.serving import Make, Request, given, kept, length_s, only, serve
else:
    from serving import given, kept, length_s, only, serve

LONGEST_S = 5.0


def load(options: argparse.Namespace) -> Make:
    """Its script as a module; ``test`` is also the name of a part of Python."""
    spec = importlib.util.spec_from_file_location("rewas_test", "test.py")
    assert spec is not None and spec.loader is not None
    script: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    kept(script, "build_control_model")
    kept(script, "get_pretrained")
    settings = {
        "ckpt_path": options.ckpt,
        "phi_ckpt_path": options.phi,
        "config": "configs/audioldm_m_rewas.yaml",
        "model_name": "audioldm-m-full",
        "synchformer_exp": "24-01-04T16-39-21",
        "control_type": "energy_video",
        "datadir": "",
        "file_path": None,
        "batchsize": 1,
        "ddim_steps": int(options.steps),
        "guidance_scale": float(options.guidance),
        "n_candidate_gen_per_cond": 1,
        "re_encode": True,
    }

    def make(request: Request) -> None:
        with tempfile.TemporaryDirectory() as folder:
            video, listed, out = Path(folder, "clip.mp4"), Path(folder, "list.json"), Path(folder, "out")
            shutil.copy(given(request, "video"), video)
            listed.write_text(json.dumps({"prompt": request["prompt"], "video_name": str(video)}) + "\n")
            told = {"testlist": str(listed), "save_path": str(out), "seed": request["seed"] % 2**32}
            seconds = length_s(str(video), float(request["duration_s"]))
            script.main(Namespace(**settings, **told, duration=min(LONGEST_S, seconds)))
            shutil.copy(only(out.rglob("*.wav"), "sound"), request["output"] + ".wav")

    return make


if __name__ == "__main__":
    serve(load)
