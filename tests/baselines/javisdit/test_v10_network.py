"""v1.0's network against the reference network (stand-in weights, seed 7, float32, CPU)."""

from __future__ import annotations

import pytest
import torch

from javisbench.baselines.javisdit.sampler import Setting, euler, guide, sampling_times
from javisbench.baselines.javisdit.v10_network import audio_positions, rope_rotations, video_positions

# Independent implementations agreed with the reference exactly; 1e-5 leaves room for other processors' kernels.
CLOSE = 1e-5


@pytest.fixture
def golden(tensors):
    arrays = tensors("v10_wan_t2av")
    arrays["text"] = arrays["in.y"] * arrays["in.mask"][..., None]
    return arrays


def test_velocities_and_stages_equal_the_reference(golden, joint, module_outputs, difference):
    network = joint()
    outputs = module_outputs(network)
    video, audio = network(golden["in.video"], golden["in.audio"], golden["text"], golden["in.timestep"])
    assert difference(video, golden["out.video"]) < CLOSE
    assert difference(audio, golden["out.audio"]) < CLOSE
    stages = [key for key in golden if key.startswith("mid.") and key[4:] in outputs]
    assert len(stages) == 10
    for key in stages:
        assert difference(outputs[key[4:]], golden[key]) < CLOSE, key


def test_positions_equal_the_reference(golden):
    assert (video_positions(5, 3, 2) == golden["mid.video_pos_ids"]).all()
    assert (audio_positions(7, 4, 5, 3, 2) == golden["mid.audio_pos_ids"]).all()
    full = audio_positions(52, 8, 17, 15, 27)
    assert (full == golden["mid.audio_pos_ids_240p65"]).all()
    angles = rope_rotations(torch.cat([golden["mid.video_pos_ids"], golden["mid.audio_pos_ids"]]), 12)
    assert (angles - torch.polar(torch.ones_like(angles.real), golden["mid.rope_angle"])).abs().max() < 1e-12


def test_sampling_equals_the_reference(golden, spec, joint, difference):
    network, settings = joint(), spec("v10_wan_t2av")["sampler"]
    setting = Setting(settings["height"], settings["width"], settings["num_frames"])

    def velocity(latents, time, free):
        video, audio = latents
        rows = network(video.repeat(2, 1, 1, 1, 1), audio.repeat(2, 1, 1, 1), golden["text"], torch.full((2,), time))
        return tuple(guide(row, settings["cfg_scale"]) for row in rows)

    times = sampling_times(settings["steps"], setting, torch.float32)
    video, audio = euler(velocity, (golden["sample_in.video"], golden["sample_in.audio"]), times)
    # Values reach 10; guidance 5 multiplies rounding. Measured: 6e-6.
    assert difference(video, golden["sample_out.video"]) < 3e-5
    assert difference(audio, golden["sample_out.audio"]) < 3e-5


def test_padded_text_positions_are_attended(golden, joint, difference):
    network = joint()
    inputs = golden["in.video"], golden["in.audio"]
    full, _ = network(*inputs, golden["text"], golden["in.timestep"])
    cut, _ = network(*inputs, golden["text"][:, :10], golden["in.timestep"])
    assert difference(full, cut) > 1e-3


def test_the_weights_matter(golden, joint, difference):
    inputs = golden["in.video"], golden["in.audio"], golden["text"], golden["in.timestep"]
    other, _ = joint(seed=int(torch.randint(8, 1 << 30, ())))(*inputs)
    assert difference(other, golden["out.video"]) > 1e-2


def test_bfloat16_stays_near_float32(golden, joint):
    inputs = golden["in.video"], golden["in.audio"], golden["text"], golden["in.timestep"]
    network = joint()
    exact = network(*inputs)
    rounded = network.set_dtype(torch.bfloat16)(*inputs)
    assert network.head.head.weight.dtype == network.blocks[0].modulation.dtype == torch.float32
    assert network.blocks[0].ffn[0].weight.dtype == torch.bfloat16
    for a, b in zip(exact, rounded, strict=True):
        # 8 bits of mantissa through two layers.
        assert b.dtype == torch.float32
        assert ((a - b).norm() / a.norm()) < 0.03


def test_rows_of_a_batch_are_separate(golden, joint, difference):
    network = joint()
    inputs = golden["in.video"], golden["in.audio"], golden["text"], golden["in.timestep"]
    both = network(*inputs)[0]
    alone = network(*(x[:1] for x in inputs))[0]
    assert difference(both[:1], alone) < CLOSE
