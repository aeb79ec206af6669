"""Reading checkpoints and fitting them to networks."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from javisbench.errors import WeightsError
from javisbench.metrics.encoders.checkpoint import load_checkpoint, load_strict

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([7.0, 8.0])}


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def assert_equal(loaded: dict[str, torch.Tensor], expected: dict[str, torch.Tensor] = STATE) -> None:
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_formats(tmp_path: Path) -> None:
    assert_equal(load_checkpoint(saved(tmp_path / "a.pth", STATE)))
    old = tmp_path / "old.pth"
    torch.save(STATE, old, _use_new_zipfile_serialization=False)
    assert_equal(load_checkpoint(old))
    save_file(STATE, tmp_path / "a.safetensors")
    assert_equal(load_checkpoint(tmp_path / "a.safetensors"))


def test_training_checkpoint(tmp_path: Path) -> None:
    assert_equal(load_checkpoint(saved(tmp_path / "a.ckpt", {"state_dict": {**STATE, "step": 3}, "epoch": 66})))


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


def test_code_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "run"
    path = saved(tmp_path / "evil.pth", {"weight": Evil(mark)})
    with pytest.raises(WeightsError, match=r"evil\.pth holds more than tensors \(\w+\.mkdir\)") as caught:
        load_checkpoint(path)
    assert "weights_only" not in caught.value.message, "torch's advice to run the code anyway"
    assert not mark.exists()


def test_compressed_archives_are_refused(tmp_path: Path) -> None:
    """Mapped into memory, their tensors would be the compressed bytes: wrong numbers without an error."""
    whole, packed = saved(tmp_path / "a.pth", STATE), tmp_path / "packed.pth"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(WeightsError, match="compressed"):
        load_checkpoint(packed)


@pytest.mark.parametrize(
    ("weight", "told"),
    [
        (torch.full((2, 3), math.nan), r"not finite \(1\): weight"),
        (torch.full((2, 3), math.inf).half(), r"not finite \(1\): weight"),
        (torch.zeros(2, 3, dtype=torch.complex64), "weight is torch.complex64, not torch.float32"),
        (torch.zeros(2, 3, dtype=torch.int64), "weight is torch.int64, not torch.float32"),
    ],
)
def test_numbers_that_no_training_makes_are_refused(weight: torch.Tensor, told: str) -> None:
    with pytest.raises(WeightsError, match=told):
        load_strict(nn.Linear(3, 2), {**STATE, "weight": weight}, what="Net", path=Path("f"))


def test_finite_numbers_whose_sum_is_not_are_fine() -> None:
    state = {**STATE, "weight": torch.full((2, 3), 60000.0).half()}
    load_strict(nn.Linear(3, 2), state, what="Net", path=Path("f"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    if suffix == ".pth":
        torch.save(STATE, path)
    else:
        save_file(STATE, path)
    whole = path.read_bytes()
    for size in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match="cut"):
            load_checkpoint(path)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(WeightsError):
        load_checkpoint(path)


def test_missing_file_and_other_content(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights file at .*nowhere\.pth"):
        load_checkpoint(tmp_path / "nowhere.pth")
    with pytest.raises(WeightsError, match="holds a list"):
        load_checkpoint(saved(tmp_path / "list.pth", [1, 2]))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_load_strict(device: str) -> None:
    with torch.device(device):
        module = nn.Linear(3, 2)
    load_strict(module, STATE, what="a layer", path=Path("f.pth"))
    assert_equal(dict(module.state_dict()))


def test_everything_wrong_is_listed() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2), nn.BatchNorm1d(2))
    state = dict(module.state_dict())
    del state["0.bias"], state["2.running_var"]
    state["1.weight"] = torch.zeros(4, 5)
    state["extra.one"] = state["extra.two"] = torch.zeros(1)
    with pytest.raises(WeightsError) as caught:
        load_strict(module, state, what="Net", path=Path("some/net.pth"))
    message = caught.value.message
    for part in (
        "some/net.pth does not hold the weights of Net",
        "missing (2): 0.bias, 2.running_var",
        "unexpected (2): extra.one, extra.two",
        "1.weight is 4x5, not 2x2",
    ):
        assert part in message


def test_ignored_names() -> None:
    module = nn.Linear(3, 2)
    state = {**STATE, "head.weight": torch.zeros(9)}
    load_strict(module, state, what="Net", path=Path("f"), ignore=("head.",))
    assert_equal(dict(module.state_dict()))
    with pytest.raises(WeightsError, match=r"unexpected \(1\): head\.weight"):
        load_strict(module, state, what="Net", path=Path("f"))


def test_half_precision_files_fill_float32_networks() -> None:
    with torch.device("meta"):
        module = nn.Linear(3, 2)
    load_strict(module, {name: tensor.half() for name, tensor in STATE.items()}, what="Net", path=Path("f"))
    assert module.weight.dtype == torch.float32
    assert_equal(dict(module.state_dict()))
