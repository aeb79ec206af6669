"""MMAudio in an environment of its own: sound for a given video. Checkout: github.com/hkchengrex/MMAudio.

Called as its ``demo.py`` does: 25 steps, guidance 4.5, the picture's whole length; networks are loaded once. Weights
are fetched by its own code (CC BY-NC 4.0). Noise is drawn on the CPU, so that a sound depends on its seed and not on
the device.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from javisbench.baselines.recipes.serving import Make, Request, given, length_s, seed_all, serve, write_sound
else:
    from serving import given, length_s, seed_all, serve, write_sound


def load(options: argparse.Namespace) -> Make:
    """Network, features and flow of one variant."""
    import torch

    tools: Any = importlib.import_module("mmaudio.eval_utils")
    networks: Any = importlib.import_module("mmaudio.model.networks")
    features: Any = importlib.import_module("mmaudio.model.utils.features_utils")
    flows: Any = importlib.import_module("mmaudio.model.flow_matching")
    model = tools.all_model_cfg[options.variant]
    model.download_if_needed()
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    place: dict[str, Any] = {"device": device, "dtype": torch.bfloat16 if cuda else torch.float32}
    network = networks.get_my_mmaudio(model.model_name).to(**place).eval()
    network.load_weights(torch.load(model.model_path, map_location=device, weights_only=True))
    parts = features.FeaturesUtils(
        tod_vae_ckpt=model.vae_path,
        synchformer_ckpt=model.synchformer_ckpt,
        enable_conditions=True,
        mode=model.mode,
        bigvgan_vocoder_ckpt=model.bigvgan_16k_path,
        need_vae_encoder=False,
    )
    parts = parts.to(**place).eval()
    flow = flows.FlowMatching(min_sigma=0, inference_mode="euler", num_steps=int(options.steps))
    lengths = model.seq_cfg

    def make(request: Request) -> None:
        film = given(request, "video")
        video = tools.load_video(Path(film), length_s(film, float(request["duration_s"])))
        lengths.duration = video.duration_sec
        network.update_seq_lengths(lengths.latent_seq_len, lengths.clip_seq_len, lengths.sync_seq_len)
        noise = torch.Generator("cpu").manual_seed(seed_all(request["seed"]))
        with torch.inference_mode():
            made = tools.generate(
                video.clip_frames.unsqueeze(0),
                video.sync_frames.unsqueeze(0),
                [request["prompt"]],
                negative_text=[options.negative_prompt],
                feature_utils=parts,
                net=network,
                fm=flow,
                rng=noise,
                cfg_strength=float(options.guidance),
            )
        write_sound(request["output"], made.float().cpu().numpy()[0], int(lengths.sampling_rate))

    return make


if __name__ == "__main__":
    serve(load)
