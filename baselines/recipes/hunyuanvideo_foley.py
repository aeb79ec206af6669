"""HunyuanVideo-Foley: sound for a given video. Checkout: github.com/Tencent-Hunyuan/HunyuanVideo-Foley.

Called as its ``infer.py`` does: 50 steps, guidance 4.5; its models are loaded once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from javisbench.baselines.recipes.serving import Make, Request, given, seed_all, serve, write_sound
else:
    from serving import given, seed_all, serve, write_sound


def load(options: argparse.Namespace) -> Make:
    """Its models, on the GPU where there is one."""
    import torch

    models: Any = importlib.import_module("hunyuanvideo_foley.utils.model_utils")
    features: Any = importlib.import_module("hunyuanvideo_foley.utils.feature_utils")
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    parts, config = models.load_model(options.ckpt, options.config, device)

    def make(request: Request) -> None:
        video = given(request, "video")
        seed_all(request["seed"])
        seen, told, seconds = features.feature_process(video, request["prompt"], parts, config)
        made, rate = models.denoise_process(
            seen,
            told,
            seconds,
            parts,
            config,
            guidance_scale=float(options.guidance),
            num_inference_steps=int(options.steps),
        )
        write_sound(request["output"], made[0].detach().float().cpu().numpy(), int(rate))

    return make


if __name__ == "__main__":
    serve(load)
