"""v0.1's network against the reference network (stand-in weights, seed 7, float32, CPU)."""

from __future__ import annotations

import pytest
import torch

from javisbench.baselines.javisdit.sampler import Setting, euler, guide, sampling_times
from javisbench.baselines.javisdit.stdit import axis_positions, picture_positions

# 730 * frequency in float32: another processor's exp moves the time sinusoid by 3e-6. Measured: 6e-6.
CLOSE = 3e-5
SETTING = Setting(height=56, width=48, frames=17)


@pytest.fixture
def golden(tensors):
    return tensors("v01_vastdit3")


@pytest.fixture
def inputs(golden):
    return (
        golden["in.video"],
        golden["in.audio"],
        golden["in.y"][:, 0],
        golden["in.mask"].bool().repeat(2, 1),
        golden["in.spatial_prior"],
        golden["in.temporal_prior"],
        golden["in.timestep"],
    )


def outcome(network, inputs, **options):
    return network(*inputs, fps=24.0, setting=SETTING, **options)


STAGES = [
    "st_prior_embedder",
    "t_block",
    "st_t_block",
    "y_embedder",
    "audio_y_embedder",
    "spatial_blocks.0",
    "temporal_blocks.0",
    "audio_spatial_blocks.0",
    "audio_temporal_blocks.0",
    "video_st_prior_blocks.0",
    "audio_st_prior_blocks.0",
]


def test_velocities_and_stages_equal_the_reference(golden, inputs, factorised, module_outputs, difference):
    network = factorised()
    outputs = module_outputs(network)
    video, audio = outcome(network, inputs)
    assert difference(video, golden["out.video"][:, :4]) < CLOSE
    assert difference(audio, golden["out.audio"][:, :8]) < CLOSE
    for name in STAGES:
        assert difference(outputs[name], golden[f"mid.{name}"].view_as(outputs[name])) < CLOSE, name
    for stream in (0, 1):
        assert difference(outputs["va_cross_blocks.0"][stream], golden[f"mid.va_cross_blocks.0.{stream}"]) < CLOSE
    for name in ("t_embedder", "fps_embedder"):
        assert difference(outputs[f"{name}.mlp"], golden[f"mid.{name}"]) < CLOSE, name
    for name in ("x_embedder", "ax_embedder"):
        tokens = outputs[f"{name}.proj"].flatten(2).transpose(1, 2)
        assert difference(tokens, golden[f"mid.{name}"]) < CLOSE, name


def test_positions_equal_the_reference(golden, difference):
    video = picture_positions(4, 3, 48, scale=(56 * 48) ** 0.5 / 512)
    assert difference(video[None], golden["mid.pos_embed_video"]) < 1e-5
    assert difference(axis_positions(torch.arange(4), 48)[None], golden["mid.pos_embed_audio"]) < 1e-6


def test_one_row_alone_equals_the_reference(golden, inputs, factorised, difference):
    video, audio = outcome(factorised(), [x[:1] for x in inputs])
    assert difference(video, golden["out_single.video"][:, :4]) < CLOSE
    assert difference(audio, golden["out_single.audio"][:, :8]) < CLOSE


def test_pooled_priors_leak_and_separate_priors_do_not(golden, spec, inputs, factorised, difference):
    network = factorised()
    leak = difference(golden["out.video"][:1], golden["out_single.video"])
    assert leak == pytest.approx(spec("v01_vastdit3")["leak_max_abs"], abs=0.2)
    separate = outcome(network, inputs, pool_priors=False)
    alone = outcome(network, [x[:1] for x in inputs])
    assert difference(separate[0][:1], alone[0]) < CLOSE
    assert difference(separate[1][:1], alone[1]) < CLOSE
    assert difference(separate[0], golden["out.video"][:, :4]) > 1e-2


def test_given_frames_equal_the_reference(golden, inputs, factorised, difference):
    masks = golden["in.x_mask"], golden["in.ax_mask"]
    video, audio = outcome(factorised(), inputs, sampled=masks)
    frames, steps = masks[0][:, None, :, None, None], masks[1][:, None, :, None]
    assert difference(video * frames, golden["out_masked.video"][:, :4] * frames) < CLOSE
    assert difference(audio * steps, golden["out_masked.audio"][:, :8] * steps) < CLOSE
    assert difference(video * frames, golden["out.video"][:, :4] * frames) > 1e-2


def test_sampling_equals_the_reference(golden, tensors, inputs, spec, factorised, difference):
    network, settings, arrays = factorised(), spec("v01_vastdit3")["sampler"], tensors("v01_sampler")
    text = torch.stack([inputs[2][0], network.y_embedder.y_embedding])
    null = network.st_prior_embedder.y_embedding
    spatial, temporal = torch.stack([inputs[4][0], null[:4]]), torch.stack([inputs[5][0], null[4:]])

    def velocity(latents, time, free):
        video, audio = latents
        rows = outcome(
            network,
            (
                video.repeat(2, 1, 1, 1, 1),
                audio.repeat(2, 1, 1, 1),
                text,
                inputs[3],
                spatial,
                temporal,
                torch.full((2,), time),
            ),
        )
        return tuple(guide(row, settings["cfg_scale"]) for row in rows)

    times = sampling_times(settings["steps"], SETTING, torch.float32)
    video, audio = euler(velocity, (arrays["in_video"], arrays["in_audio"]), times)
    # Values reach 10; guidance 7 multiplies rounding. Measured: 2.6e-5.
    assert difference(video, arrays["out_video"]) < 1e-4
    assert difference(audio, arrays["out_audio"]) < 1e-4


def test_masked_text_is_not_seen(inputs, factorised, difference):
    network = factorised()
    changed = list(inputs)
    changed[2] = inputs[2].clone()
    changed[2][:, 6:] = 100.0
    assert difference(outcome(network, changed)[0], outcome(network, inputs)[0]) == 0


def test_the_weights_and_the_frame_rate_matter(golden, inputs, factorised, difference):
    other = outcome(factorised(seed=int(torch.randint(8, 1 << 30, ()))), inputs)[0]
    assert difference(other, golden["out.video"][:, :4]) > 1e-2
    slower = factorised()(*inputs, fps=8.0, setting=SETTING)[0]
    assert difference(slower, golden["out.video"][:, :4]) > 1e-3


def test_bfloat16_stays_near_float32(inputs, factorised):
    exact = outcome(factorised(), inputs)
    rounded = outcome(factorised().to(torch.bfloat16), inputs)
    for a, b in zip(exact, rounded, strict=True):
        # 8 bits of mantissa through two layers of seven blocks.
        assert ((a - b.float()).norm() / a.norm()) < 0.05
