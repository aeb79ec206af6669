"""The check of GPU code without a GPU: its record, and that it goes red (`make fake-gpu`)."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from javisbench.baselines.registry import GENERATORS
from javisbench.metrics.encoders import ENCODERS

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "benchmarks/results/fake_gpu.json"


@pytest.fixture(scope="module")
def fake_gpu() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import fake_gpu

        yield fake_gpu
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture
def device(fake_gpu: Any) -> Iterator[Any]:
    if torch.version.cuda is None:
        pytest.skip("needs torch for CUDA: make fake-gpu")
    with fake_gpu.fake_device() as memory:
        yield memory


def test_the_record_has_everything_or_why_not(fake_gpu: Any) -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert not record["failed"]
    found = {row["name"].partition(":")[0] for row in record["rows"]} | set(record["left_out"])
    hosts = {name for name in ENCODERS.own if ENCODERS.get(name).card.host and not fake_gpu.on_gpu(name)}
    lacking = {*ENCODERS.own, *GENERATORS.own} - hosts - found
    assert not lacking, f"run make fake-gpu, or say in LEFT_OUT of benchmarks/fake_gpu.py why not: {sorted(lacking)}"
    assert fake_gpu.table(record) in (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8"), (
        "the page has another table"
    )


def test_a_part_that_is_run_again_leaves_the_rest(fake_gpu: Any) -> None:
    def row(name: str, tflop: float) -> dict[str, Any]:
        return {"name": name, "tflop": tflop}

    earlier = {"rows": [row("i3d", 1), row("clip", 2)], "failed": {"i3d": "x", "cavp": "y"}, "left_out": {"a": "b"}}
    again = {"rows": [row("i3d", 3), row("flow", 4)], "failed": {}, "left_out": {"c": "d"}, "torch": "2"}
    found = fake_gpu.joined(earlier, again, ["i3d", "flow"])
    assert found["rows"] == [row("flow", 4), row("i3d", 3), row("clip", 2)]
    assert found["failed"] == {"cavp": "y"} and found["left_out"] == {"a": "b", "c": "d"} and found["torch"] == "2"


def test_without_a_cuda_build_the_way_out_is_named(fake_gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(SystemExit, match="make fake-gpu"), fake_gpu.fake_device():
        pass


@contextmanager
def input_left_on_the_cpu() -> Iterator[None]:
    """As if every `.to(device)` of an input had been forgotten."""
    real = Tensor.to

    def to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return (
            tensor
            if args and isinstance(args[0], str) and args[0].startswith("cuda")
            else real(tensor, *args, **kwargs)
        )

    with mock.patch.object(Tensor, "to", to):
        yield


@contextmanager
def output_left_on_the_device() -> Iterator[None]:
    """As if every `.cpu()` had been forgotten."""
    with mock.patch.object(Tensor, "cpu", lambda tensor: tensor):
        yield


@contextmanager
def half_an_input() -> Iterator[None]:
    """As if pixels and sounds had been made 16-bit numbers where the network is not."""
    with mock.patch.object(Tensor, "float", lambda tensor: tensor.to(torch.float16)):
        yield


def encode(fake_gpu: Any, name: str, device: Any, defect: Any) -> None:
    cls = ENCODERS.get(name)
    encoder = cls()
    with fake_gpu.fake_checkpoint(encoder) as path:
        encoder.load(path, "cuda")
    with defect():
        fake_gpu.encode(encoder, fake_gpu.wanted(name, fake_gpu.V1), "fp32", device)


ANOTHER_DEVICE = "(?i)device"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["i3d", "audioclip", "synchformer", "cavp", "clip"])
def test_an_input_on_the_cpu_is_red(fake_gpu: Any, device: Any, name: str) -> None:
    with pytest.raises((RuntimeError, TypeError), match=ANOTHER_DEVICE):
        encode(fake_gpu, name, device, input_left_on_the_cpu)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["i3d", "audioclip", "clip", "flow"])
def test_an_output_on_the_device_is_red(fake_gpu: Any, device: Any, name: str) -> None:
    with pytest.raises(TypeError, match=r"Use Tensor\.cpu"):
        encode(fake_gpu, name, device, output_left_on_the_device)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["i3d", "cavp"])
def test_another_type_is_red(fake_gpu: Any, device: Any, name: str) -> None:
    with pytest.raises(RuntimeError, match=r"(?i)dtype|type"):
        encode(fake_gpu, name, device, half_an_input)


@pytest.mark.slow
def test_a_network_left_on_the_cpu_is_red(fake_gpu: Any, device: Any) -> None:
    with (
        mock.patch.object(nn.Module, "to", lambda module, *_: module),
        pytest.raises(RuntimeError, match=ANOTHER_DEVICE),
    ):
        list(fake_gpu.encoder_rows("i3d", device))


@pytest.mark.slow
def test_operations_and_memory_are_counted(fake_gpu: Any, device: Any) -> None:
    with fake_gpu.counting(device) as counted:
        a = torch.empty(1000, 2000, device="cuda")
        b = torch.empty(2000, 500, device="cuda")
        product = a @ b
        del a
        held = device.held
    assert counted().flops == 2 * 1000 * 2000 * 500
    assert counted().peak_bytes - held == 4 * 1000 * 2000
    assert product.device.type == "cuda"


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "masked"), [(torch.float32, False), (torch.bfloat16, False), (torch.bfloat16, True)])
def test_attention_keeps_no_matrix_of_scores(fake_gpu: Any, device: Any, dtype: torch.dtype, masked: bool) -> None:
    query, key, value = (torch.empty(2, 4, 1024, 64, device="cuda", dtype=dtype) for _ in range(3))
    mask = torch.ones(2, 1, 1, 1024, dtype=torch.bool, device="cuda") if masked else None
    with torch.inference_mode(), fake_gpu.counting(device) as counted:
        before = device.held
        out = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert out.shape == query.shape and out.dtype == dtype
    assert counted().flops == 4 * 2 * 4 * 1024**2 * 64
    assert counted().peak_bytes - before < 4 * out.nbytes
    with pytest.raises(RuntimeError, match="one dtype"):
        nn.functional.scaled_dot_product_attention(query, key.half() if masked else key.double(), value)


@pytest.mark.slow
def test_copies_of_parameters_are_parameters_and_copied_once(device: Any) -> None:
    layer = nn.Linear(3, 2, device="cuda")
    layer.tied = layer.weight
    copied = copy.deepcopy(layer)
    assert copied.weight is copied.tied and copied.weight is not layer.weight
    assert isinstance(copied.weight, nn.Parameter) and copied.weight.requires_grad
    assert copied.weight.device.type == "cuda" and copied.weight.shape == (2, 3)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1.0", "v0.1"])
def test_the_benchmark_of_javisdit_runs_at_official_size(version: str, device: Any, tmp_path: Path) -> None:
    """As `make gpu` does it, all but the numbers; and it fits on a card of 80 GB."""
    import gpu

    found = gpu.generated(version, gpu.Size(steps=2, batches=(1, 8)), "cuda", tmp_path)
    assert set(found["seconds"]) == {"encode_batch", "denoise", "decode"}
    assert [step["clips"] for step in found["steps"]] == [1, 8] and not any("error" in step for step in found["steps"])
    assert device.peak < 70e9
