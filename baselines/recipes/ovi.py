"""Ovi: text, or an image and text, to picture and sound. Checkout: github.com/character-ai/Ovi.

Called as its ``inference.py`` does, with the settings of its configuration file. Clips are 5 s at 24 fps, at the size
of that file. Ovi knows tags for speech (<S>...<E>) and for the sound (<AUDCAP>...<ENDAUDCAP>); a suite's audio_text
becomes the latter.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from javisbench.baselines.recipes.serving import Make, Request, given, serve
else:
    from serving import given, serve


def load(options: argparse.Namespace) -> Make:
    """Its engine, on the first GPU."""
    import torch

    config: Any = importlib.import_module("omegaconf").OmegaConf.load(options.config)
    parallel: Any = importlib.import_module("ovi.distributed_comms.parallel_states")
    files: Any = importlib.import_module("ovi.utils.io_utils")
    parallel.initialize_sequence_parallel_state(1)
    engines: Any = importlib.import_module("ovi.ovi_fusion_engine")
    engine = engines.OviFusionEngine(config=config, device=0, target_dtype=torch.bfloat16)

    def make(request: Request) -> dict[str, Any]:
        prompt = request["prompts"].get("video_text") or request["prompt"]
        sound = request["prompts"].get("audio_text")
        if sound:
            prompt += f" <AUDCAP>{sound}<ENDAUDCAP>"
        video, audio, _ = engine.generate(
            text_prompt=prompt,
            image_path=given(request, "image") if request.get("condition") else None,
            video_frame_height_width=config.get("video_frame_height_width"),
            seed=request["seed"] % 2**32,
            solver_name=config.get("solver_name", "unipc"),
            sample_steps=config.get("sample_steps", 50),
            shift=config.get("shift", 5.0),
            video_guidance_scale=config.get("video_guidance_scale", 4.0),
            audio_guidance_scale=config.get("audio_guidance_scale", 3.0),
            slg_layer=config.get("slg_layer", 11),
            video_negative_prompt=config.get("video_negative_prompt", ""),
            audio_negative_prompt=config.get("audio_negative_prompt", ""),
        )
        files.save_video(request["output"] + ".mp4", video, audio, fps=24, sample_rate=16000)
        return {"prompt": prompt}

    return make


if __name__ == "__main__":
    serve(load)
