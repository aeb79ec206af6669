"""v0.1's video VAE against the reference's (stand-in weights, seed 7, float32, CPU)."""

from __future__ import annotations

import pytest
import torch

from javisbench.baselines.javisdit.config import SpatialVAEConfig, TemporalVAEConfig
from javisbench.baselines.javisdit.temporal_vae import (
    DECODER_TENSORS,
    ENCODER_TENSORS,
    VideoDecoder,
    VideoEncoder,
    latent_frames,
)
from javisbench.metrics.encoders.checkpoint import load_strict

# Convolutions sum in another order on another processor; the prototype agreed exactly.
CLOSE = 1e-5


@pytest.fixture
def half(spec, javisdit_seeded, tmp_path):
    """A half of the golden VAE, from the one checkpoint."""
    golden = spec("v01_vae")
    temporal, spatial = golden["temporal"], golden["spatial"]
    numbers = (
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

    def load(kind, ignore):
        module = kind(*numbers)
        load_strict(module, state, what="the tiny video VAE", path=tmp_path, ignore=ignore)
        return module.eval()

    return load


@pytest.fixture
def vae(half):
    return half(VideoDecoder, ENCODER_TENSORS)


@pytest.fixture
def encoder(half):
    return half(VideoEncoder, DECODER_TENSORS)


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


# The image part is diffusers' `AutoencoderKL`, in one piece: the golden checkpoint's tensors carry its names.


@pytest.fixture
def whole_image_vae(spec, javisdit_seeded):
    """The library's own network with the golden weights, loaded strictly by the names that the one file gives them."""
    diffusers = pytest.importorskip("diffusers")
    golden = spec("v01_vae")
    vae = diffusers.AutoencoderKL(**golden["spatial"], scaling_factor=golden["spatial_scaling_factor"])
    prefix = "spatial_vae.module."
    state = {name: torch.from_numpy(array) for name, array in javisdit_seeded.seeded(golden).items()}
    vae.load_state_dict({name.removeprefix(prefix): x for name, x in state.items() if name.startswith(prefix)})
    return vae.eval()


@pytest.mark.parametrize("frames", [1, 4, 9])
def test_image_latents_are_the_library_s(encoder, whole_image_vae, difference, monkeypatch, frames):
    # Without the temporal part, so that the image latents are seen.
    monkeypatch.setattr(encoder.temporal_vae, "encode", lambda x, noise: x)
    posterior = whole_image_vae.encode(video(frames)[0].transpose(0, 1)).latent_dist
    mean = encoder.encode(video(frames)) * encoder.scale + encoder.shift
    factor = whole_image_vae.config.scaling_factor
    assert difference(mean[0].transpose(0, 1), posterior.mean * factor) < CLOSE
    drawn = encoder.encode(video(frames), torch.Generator().manual_seed(3)) * encoder.scale + encoder.shift
    draw = torch.Generator().manual_seed(3)
    # Four frames at a time, each with a draw of its own.
    noise = torch.cat([torch.randn(part.shape, generator=draw) for part in posterior.mean.split(4)])
    assert difference(drawn[0].transpose(0, 1), (posterior.mean + posterior.std * noise) * factor) < CLOSE


def test_pictures_of_image_latents_are_the_library_s(vae, whole_image_vae, difference):
    latents = torch.randn(1, 4, 9, 6, 8, generator=torch.Generator().manual_seed(1))
    pictures = whole_image_vae.decode(latents[0].transpose(0, 1) / whole_image_vae.config.scaling_factor).sample
    assert difference(vae._decode_images(latents)[0].transpose(0, 1), pictures) < CLOSE


# The temporal encoder has no golden numbers: what follows holds for whatever its weights are.


def video(frames, height=12, width=16):
    return torch.rand(1, 3, frames, height, width, generator=torch.Generator().manual_seed(frames)) * 2 - 1


@pytest.mark.parametrize("frames", [1, 5, 17, 22, 34])
def test_encoding_makes_what_decoding_reads(encoder, vae, frames):
    latent = encoder.encode(video(frames))
    assert latent.shape == (1, 4, latent_frames(frames), 6, 8)
    assert vae.decode(latent, frames).shape == (1, 3, frames, 12, 16)


def test_chunks_are_encoded_apart(encoder):
    whole, first, rest = (encoder.encode(x) for x in (video(22), video(22)[:, :, :17], video(22)[:, :, 17:]))
    torch.testing.assert_close(whole, torch.cat([first, rest], dim=2))


@pytest.mark.parametrize(("frame", "first"), [(0, 0), (1, 1), (4, 1), (5, 2), (13, 4), (16, 4)])
def test_latents_see_their_own_frames_and_earlier_ones(encoder, frame, first):
    """Frame 0 fills the first latent with three frames of zeros before it; each further latent ends with four frames.

    Group norms mix all frames, so they are taken out.
    """
    for name, module in list(encoder.temporal_vae.named_modules()):
        if isinstance(module, torch.nn.GroupNorm):
            encoder.temporal_vae.set_submodule(name, torch.nn.Identity())
    changed = video(17)
    changed[:, :, frame] += 0.5
    change = (encoder.encode(changed) - encoder.encode(video(17))).abs().amax(dim=(0, 1, 3, 4))
    assert (change[:first] == 0).all()
    assert change[first] > 0


def test_constants_are_the_decoder_s(encoder):
    latent = encoder.encode(video(5))
    scale, shift = encoder.scale.clone(), encoder.shift.clone()
    encoder.scale.fill_(1.0)
    encoder.shift.fill_(0.0)
    torch.testing.assert_close(latent * scale + shift, encoder.encode(video(5)))


def test_a_draw_differs_from_the_mean_and_repeats_with_its_seed(encoder):
    draws = [encoder.encode(video(5), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], encoder.encode(video(5)))
