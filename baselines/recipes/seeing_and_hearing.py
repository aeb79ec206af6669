"""Seeing and Hearing: sound for a video, with ImageBind. Checkout: github.com/yzxing87/Seeing-and-Hearing.

Its script ``v2a/video2audio.py`` loads AudioLDM-M (``ckpt/audioldm-m-full``) for a folder of clips, looks seeds up in
a list of its own demonstrations and ends; here the same pipeline is kept and called with the script's settings (30
steps, learning rate 0.1, one optimisation step, as many one-second windows as the clip has seconds, first latents
drawn beforehand as its ``pipeline.sh`` does). The suite's text takes the place of the caption that Qwen-VL writes in
the paper.
"""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from javisbench.baselines.recipes.serving import Make, Request, given, length_s, seed_all, serve, write_sound
else:
    from serving import given, length_s, seed_all, serve, write_sound

RATE = 16000


def load(options: argparse.Namespace) -> Make:
    """AudioLDM with its guidance, on the GPU."""
    import numpy as np
    import torch

    networks: Any = importlib.import_module("audioldm.models.unet")
    pipelines: Any = importlib.import_module("audioldm.pipelines.pipeline_audioldm")
    place = options.ckpt
    unet = networks.UNet2DConditionModel.from_pretrained(place, subfolder="unet").to("cuda")
    pipe = pipelines.AudioLDMPipeline.from_pretrained(place, unet=unet).to("cuda")

    def make(request: Request) -> dict[str, Any]:
        video = given(request, "video")
        seconds = max(1, math.ceil(length_s(video, float(request["duration_s"])) - 1e-6))
        noise = torch.Generator(device="cuda")
        noise.manual_seed(seed_all(request["seed"]))
        prompt = request["prompt"]
        latents = pipe.only_prepare_latents(prompt, audio_length_in_s=seconds, generator=noise)
        made = pipe.bind_forward_double_loss(
            prompt,
            latents=latents,
            num_inference_steps=int(options.steps),
            audio_length_in_s=seconds,
            generator=noise,
            video_paths=[video],
            learning_rate=0.1,
            clip_duration=1,
            clips_per_video=seconds,
            num_optimization_steps=1,
        )
        write_sound(request["output"], np.asarray(made.audios[0], np.float64), RATE)
        return {"seconds_made": seconds}

    return make


if __name__ == "__main__":
    serve(load)
