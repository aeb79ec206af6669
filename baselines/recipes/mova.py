"""MOVA: an image and text to picture and sound. Runs in its checkout (github.com/OpenMOSS/MOVA, Apache-2.0).

Called as its ``scripts/inference_single.py`` does on one GPU: 193 frames at 24 fps, 50 steps, guidance 5, shift 5,
352x640 unless told, its negative prompt empty unless told (the script has a Chinese one, which is not copied here).
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from javisbench.baselines.recipes.serving import Make, Request, given, serve
else:
    from serving import given, serve


def load(options: argparse.Namespace) -> Make:
    """Its pipeline, whole on the GPU or with ``--offload cpu`` component by component."""
    import torch
    import torch.distributed as dist

    image: Any = importlib.import_module("PIL.Image")
    crops: Any = importlib.import_module("mova.datasets.transforms.custom")
    pipelines: Any = importlib.import_module("mova.diffusion.pipelines.pipeline_mova")
    files: Any = importlib.import_module("mova.utils.data")
    # The pipeline asks for its rank, also when it is alone.
    for name, value in {"MASTER_ADDR": "localhost", "MASTER_PORT": "29517", "RANK": "0", "WORLD_SIZE": "1"}.items():
        os.environ.setdefault(name, value)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    pipe = pipelines.MOVA.from_pretrained(options.ckpt, torch_dtype=torch.bfloat16)
    if options.offload == "cpu":
        pipe.enable_model_cpu_offload(0)
    else:
        pipe.to("cuda" if torch.cuda.is_available() else "cpu")
    height, width = int(options.height), int(options.width)

    def make(request: Request) -> None:
        still = image.open(given(request, "image")).convert("RGB")
        frames, sound = pipe(
            prompt=request["prompt"],
            negative_prompt=options.negative_prompt,
            image=crops.crop_and_resize(still, height=height, width=width),
            seed=request["seed"] % 2**63,
            height=height,
            width=width,
            num_frames=int(options.frames),
            video_fps=24.0,
            num_inference_steps=int(options.steps),
            sigma_shift=5.0,
            cfg_scale=5.0,
        )
        files.save_video_with_audio(
            frames[0],
            sound[0].cpu().squeeze(),
            request["output"] + ".mp4",
            fps=24.0,
            sample_rate=pipe.audio_sample_rate,
            quality=9,
        )

    return make


if __name__ == "__main__":
    serve(load)
