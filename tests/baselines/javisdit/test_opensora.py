"""OpenSora 1.2: the picture's branch of v0.1 by itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from javisbench.baselines.base import Generated, Request
from javisbench.baselines.cascade import Cascade
from javisbench.baselines.javisdit import OpenSora
from javisbench.baselines.javisdit.config import VideoNetworkConfig
from javisbench.baselines.javisdit.sampler import Setting
from javisbench.baselines.javisdit.stdit import VideoDiT
from javisbench.baselines.registry import create_generator
from javisbench.cli import run
from javisbench.clip import ClipSpec
from javisbench.errors import UsageError
from javisbench.weights import WeightStore

SETTING = Setting(height=56, width=48, frames=17)


@pytest.mark.parametrize("masked", [False, True])
def test_it_is_the_golden_network_without_what_v01_added(tensors, factorised, masked):
    """v0.1's golden network (equal to its reference) with priors and the sound switched off gives the same numbers."""
    golden, whole = tensors("v01_vastdit3"), factorised()
    for name, tensor in whole.named_parameters():
        if name.startswith(("st_t_block.", "va_cross_blocks.")) and "_proj" not in name:
            tensor.zero_()
        if name.startswith("video_st_prior_blocks.") and name.endswith("scale_shift_table"):
            tensor.zero_()
    config = whole.config
    alone = VideoDiT(
        VideoNetworkConfig(
            dim=config.dim, heads=config.heads, layers=config.layers, text_dim=24, text_length=10, freq_dim=256
        )
    )
    names = alone.state_dict().keys()
    alone.load_state_dict({name: tensor for name, tensor in whole.state_dict().items() if name in names}, strict=True)
    text, mask = golden["in.y"][:, 0], golden["in.mask"].bool().repeat(2, 1)
    frames = golden["in.x_mask"] if masked else None
    sound = golden["in.audio"], golden["in.ax_mask"] if masked else None
    expected, _ = whole(
        golden["in.video"],
        sound[0],
        text,
        mask,
        golden["in.spatial_prior"],
        golden["in.temporal_prior"],
        golden["in.timestep"],
        fps=24.0,
        setting=SETTING,
        sampled=None if frames is None else (frames, sound[1]),
    )
    found = alone(golden["in.video"], text, mask, golden["in.timestep"], fps=24.0, setting=SETTING, sampled=frames)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert found.std() > 0.1


def test_plan_of_the_paper_s_setting():
    plan = create_generator("opensora:v1.2").plan(ClipSpec())
    assert (plan.width, plan.height, plan.frames, plan.fps, plan.audio_samples) == (424, 240, 102, 24, 0)
    assert "no sound: the model makes pictures alone" in plan.notes


def test_other_variants_and_parameters_are_refused():
    with pytest.raises(UsageError, match=r"Versions: v1\.2"):
        create_generator("opensora:v2")
    with pytest.raises(UsageError, match=r"opensora:v1\.2 has no parameter 'prior_attention'"):
        OpenSora(None, {"prior_attention": "separate"})


def test_weights_that_lack_are_named(tmp_path, capsys):
    words = ["generate", "--model", "opensora:v1.2", "--suite", "demo", "--limit", "1", "--weights-dir", tmp_path]
    assert run([*map(str, words), "--out", str(tmp_path / "run")]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "hpcai-tech/OpenSora-STDiT-v3" in told
    assert "audioldm2" not in told


def test_clips_through_the_command_line(tiny, tmp_path):
    config = f"config={tiny / 'opensora.toml'}"
    options = ["--suite", "demo", "--limit", "2", "--weights-dir", tiny, "--device", "cpu", "--out", tmp_path / "run"]
    words = ["generate", "--model", "opensora:v1.2", "-M", config, "-M", "extend=1", "-M", "frames=34", *options]
    assert run(list(map(str, words))) == 0
    sidecar = sorted((tmp_path / "run/clips").glob("*.json"))[1]
    facts = json.loads(sidecar.read_text())
    assert facts["plan"]["frames"] == 51
    assert facts["info"]["prompt"].endswith("aesthetic score: 6.5.")
    assert {path.suffix for path in sidecar.parent.glob(f"{sidecar.stem}*")} == {".json", ".mp4"}


def test_as_the_picture_of_a_cascade(tiny):
    pair = "t2v=opensora:v1.2,v2a=javisdit:v0.1"
    params = {"t2v.config": str(tiny / "opensora.toml"), "v2a.config": str(tiny / "v0.1.toml")}
    cascade = Cascade(pair, {**params, "t2v.steps": "1", "v2a.steps": "1"})
    plan = cascade.plan(ClipSpec())
    cascade.load("cpu", "float32", WeightStore([tiny]))
    [answer] = cascade.generate([Request(None, 0, 0, 1, plan, {"text": "A gong"})])
    cascade.close()
    assert isinstance(answer, Generated), answer
    assert answer.clip.frames.shape == (17, 48, 64, 3)
    assert np.abs(answer.clip.audio).max() > 0
