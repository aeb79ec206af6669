"""v0.1's video VAE against the reference's (stand-in weights, seed 7, float32, CPU)."""

from __future__ import annotations

import pytest
import torch

from javisbench.baselines.javisdit.config import SpatialVAEConfig, TemporalVAEConfig
from javisbench.baselines.javisdit.temporal_vae import ENCODER_TENSORS, VideoDecoder, latent_frames
from javisbench.metrics.encoders.checkpoint import load_strict

# Convolutions sum in another order on another processor; the prototype agreed exactly.
CLOSE = 1e-5


@pytest.fixture
def vae(spec, javisdit_seeded, tmp_path):
    golden = spec("v01_vae")
    temporal, spatial = golden["temporal"], golden["spatial"]
    module = VideoDecoder(
        TemporalVAEConfig(
            channels=temporal["in_out_channels"],
            filters=temporal["filters"],
            multipliers=tuple(temporal["channel_multipliers"]),
            downsample=tuple(temporal["temporal_downsample"]),
            residual_blocks=temporal["num_res_blocks"],
            groups=temporal["num_groups"],
        ),
        SpatialVAEConfig(
            widths=tuple(spatial["block_out_channels"]),
            blocks=spatial["layers_per_block"],
            groups=spatial["norm_num_groups"],
            scaling=golden["spatial_scaling_factor"],
        ),
    )
    state = {name: torch.from_numpy(array) for name, array in javisdit_seeded.seeded(golden).items()}
    for name in ("scale", "shift"):
        state[name] = torch.tensor(golden[name]).view(1, -1, 1, 1, 1)
    load_strict(module, state, what="the tiny video VAE", path=tmp_path, ignore=ENCODER_TENSORS)
    return module.eval()


def test_decoding_equals_the_reference(vae, tensors, difference):
    golden = tensors("v01_vae")
    frames = int(golden["num_frames"])
    assert frames == 22
    video = vae.decode(golden["latent"], frames)
    assert difference(video, golden["video"]) < CLOSE


def test_temporal_part_equals_the_reference(vae, tensors, difference):
    golden = tensors("v01_vae")
    whole, rest = golden["t_in"][:, :, :5], golden["t_in"][:, :, :2]
    assert difference(vae.temporal_vae.decode(whole, 17), golden["t_out17"]) < CLOSE
    assert difference(vae.temporal_vae.decode(rest, 6), golden["t_out6"]) < CLOSE


def test_chunks_are_decoded_apart(vae, tensors):
    golden = tensors("v01_vae")
    changed = golden["latent"].clone()
    changed[:, :, 5:] += 1
    change = (vae.decode(changed, 22) - vae.decode(golden["latent"], 22)).abs().amax(dim=(0, 1, 3, 4))
    assert (change[:17] == 0).all()
    assert (change[17:] > 0).all()


@pytest.mark.parametrize(("frames", "latents"), [(51, 15), (102, 30), (204, 60), (408, 120), (22, 7), (17, 5), (18, 6)])
def test_latent_frames(frames, latents):
    assert latent_frames(frames) == latents
