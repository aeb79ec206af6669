"""benchmarks/javisdit.py: its checkpoints load strictly at tiny size, and hold the official numbers at full size."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from javisbench.baselines.javisdit.config import V01Config, V10Config, read_config
from javisbench.cards import read_cards

SCRIPT = Path(__file__).parents[3] / "benchmarks/javisdit.py"
TEXT = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 4, "vocab_size": 128}


@pytest.fixture(scope="module")
def benchmark():
    found = importlib.util.spec_from_file_location("benchmark_of_javisdit", SCRIPT)
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    yield module
    del sys.modules[found.name]


@pytest.mark.parametrize("version", ["v1.0", "v0.1"])
def test_every_stage_is_timed_at_tiny_size(benchmark, tiny, tmp_path, version):
    config = tiny / f"{version}.toml"
    sizes = benchmark.Sizes(
        text={"v1.0": TEXT, "v0.1": {**TEXT, "feed_forward_proj": "gated-gelu"}},
        wan={"base_dim": 8, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1},
        audio_vae={"block_out_channels": (8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4},
        vocoder={"upsample_initial_channel": 32, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1]]},
    )
    sizes = replace(sizes, v10=read_config(config, V10Config())) if version == "v1.0" else sizes
    sizes = replace(sizes, v01=read_config(config, V01Config())) if version == "v0.1" else sizes
    assert benchmark.write(tmp_path, version, sizes) > 10_000
    told = benchmark.run(tmp_path, version, "cpu", 2, {"config": str(config)})
    assert set(told["stages"]) == {"encode_batch", "denoise", "decode"}
    for stage in told["stages"].values():
        assert stage["first_s"] >= 0
        assert stage["median_s"] >= 0
        assert stage["peak_bytes"] is None
    assert told["device"].startswith("CPU")
    assert told["made"].startswith("17 frames of 64x48")
    assert json.loads(json.dumps(told))["clips"] == 2


def test_full_size_is_the_official_one(benchmark):
    cards = read_cards("models")
    for version, card in (("v1.0", "javisdit"), ("v0.1", "javisdit-v0.1")):
        counts = {
            name: sum(p.numel() for p in network.parameters())
            for name, network in benchmark.networks(version, benchmark.Sizes()).items()
        }
        own = next(count for name, count in counts.items() if name.startswith("JavisDiT-") and "prior" not in name)
        assert own == cards[card]["parameters"]
        # As the cards tell them: 5.7 B and 4.8 B of text encoder, 55 M each of audio VAE and vocoder.
        text = next(count for name, count in counts.items() if "text_encoder" in name or "t5" in name)
        assert round(text / 1e9, 1) == {"v1.0": 5.7, "v0.1": 4.8}[version]
        assert (round(counts["audioldm2/vae"] / 1e6), round(counts["audioldm2/vocoder"] / 1e6)) == (55, 55)
