"""Drives a checkout of MM-Diffusion over JSON lines. Runs in that checkout's Python, where javisbench is not needed.

One clip a request: base model (DPM solver, order 3, 20 steps), then 64 to 256 pixels (DDIM, 25 steps) with one noise
for all frames. Settings as in the checkout's own sampling script (arXiv 2212.09478).

The base model's sampler fails with a batch of one row (it asks a dictionary for its shape), so that every clip is
sampled in a batch of two, whose second row is dropped. Rows share the random shift of the attention's windows: two
clips in one batch would depend on each other.
"""

from __future__ import annotations

import importlib
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    import argparse

    from javisbench.baselines.recipes.serving import Make, NonFiniteError, serve, write_sound
else:
    from serving import NonFiniteError, serve, write_sound

BASE: dict[str, Any] = {
    "video_size": [16, 3, 64, 64],
    "audio_size": [1, 25600],
    "cross_attention_resolutions": "2,4,8",
    "cross_attention_windows": "1,4,8",
    "cross_attention_shift": True,
    "video_attention_resolutions": "2,4,8",
    "audio_attention_resolutions": "-1",
    "learn_sigma": False,
    "num_channels": 128,
    "num_head_channels": 64,
    "num_res_blocks": 2,
    "resblock_updown": True,
    "use_scale_shift_norm": True,
    "diffusion_steps": 1000,
    "noise_schedule": "linear",
}
LARGE: dict[str, Any] = {
    "sr_attention_resolutions": "8,16,32",
    "large_size": 256,
    "small_size": 64,
    "sr_learn_sigma": True,
    "sr_num_channels": 192,
    "sr_num_heads": 4,
    "sr_num_res_blocks": 2,
    "sr_resblock_updown": True,
    "sr_use_scale_shift_norm": True,
    "sr_diffusion_steps": 1000,
    "sr_timestep_respacing": "ddim25",
}
FPS, RATE = 10, 16000
ROWS = 2


class Sampler:
    """Both models, loaded."""

    def __init__(self, base: str, large: str) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        base_tools = importlib.import_module("mm_diffusion.multimodal_script_util")
        large_tools = importlib.import_module("mm_diffusion.script_util")
        solver = importlib.import_module("mm_diffusion.multimodal_dpm_solver_plus")
        self.common = importlib.import_module("mm_diffusion.common")
        half = {"use_fp16": self.device == "cuda"}
        settings = {**base_tools.model_and_diffusion_defaults(), **BASE, **half}
        model, diffusion = base_tools.create_model_and_diffusion(**settings)
        settings = {**large_tools.image_sr_model_and_diffusion_defaults(), **LARGE, **half}
        self.large, self.large_diffusion = large_tools.image_sr_create_model_and_diffusion(**settings)
        for network, path in ((model, base), (self.large, large)):
            network.load_state_dict_(torch.load(path, map_location="cpu", weights_only=True), is_strict=True)
            network.to(self.device).eval()
            if half["use_fp16"]:
                network.convert_to_fp16()
        alphas = torch.tensor(diffusion.alphas_cumprod, dtype=torch.float32)
        self.solver = solver.DPM_Solver(model=model, alphas_cumprod=alphas)

    def make(self, seed: int, stem: str) -> None:
        """Write ``stem.mp4`` and ``stem.wav``."""
        # The models' windows are shifted with Python's random, the noise is torch's.
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        noise = {name: torch.randn(ROWS, *BASE[f"{name}_size"]).to(self.device) for name in ("video", "audio")}
        with torch.no_grad():
            made = self.solver.sample(noise, steps=20, order=3, skip_type="logSNR", method="singlestep")
            small = made["video"][0]
            size = LARGE["large_size"]
            shared = torch.randn(1, 3, size, size).to(self.device).repeat(len(small), 1, 1, 1)
            frames = self.large_diffusion.ddim_sample_loop(
                self.large,
                (len(small), 3, size, size),
                clip_denoised=True,
                model_kwargs={"low_res": small},
                noise=shared,
            )
        samples = made["audio"][0, 0].float()
        if not (torch.isfinite(frames).all() and torch.isfinite(samples).all()):
            raise NonFiniteError("the model made values that are not finite")
        pictures = ((frames + 1) * 127.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        self.common.save_video(np.ascontiguousarray(pictures), stem + ".mp4", FPS)
        write_sound(stem, samples.cpu().numpy(), RATE)


def load(options: argparse.Namespace) -> Make:
    """Both models; the checkpoints are ``--base`` and ``--large``."""
    sampler = Sampler(options.base, options.large)
    return lambda request: sampler.make(request["seed"], request["output"])


if __name__ == "__main__":
    serve(load)
