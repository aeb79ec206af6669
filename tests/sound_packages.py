"""Small networks in the place of packages for sound that the default tests do without, and checkpoints of them."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn


def _installed(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    monkeypatch.setitem(sys.modules, name, module)
    return module


class SmallPaSST(nn.Module):
    """Takes what PaSST takes, and is deaf to time: each band's mean, through one layer a head."""

    def __init__(
        self, *, img_size: tuple[int, int], patch_size: int, stride: int, num_classes: int, distilled: bool
    ) -> None:
        super().__init__()
        assert (img_size, patch_size, stride, distilled) == ((128, 998), 16, 10, True)
        self.embed = nn.Linear(128, 768)
        self.head = nn.Linear(768, num_classes)

    def forward(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        assert columns.shape[1:] == (1, 128, 998)
        features = self.embed(columns.mean(dim=(1, 3)))
        return self.head(features), features


def install_passt(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """A hear21passt with a small network, and its checkpoint under the official name in `folder`."""
    for name in ("hear21passt", "hear21passt.models"):
        _installed(monkeypatch, name)
    module = _installed(monkeypatch, "hear21passt.models.passt")
    module.PaSST = SmallPaSST  # type: ignore[attr-defined]
    sys.modules["hear21passt.models"].passt = module  # type: ignore[attr-defined]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = SmallPaSST(img_size=(128, 998), patch_size=16, stride=10, num_classes=527, distilled=True)
    path = folder / "passt-s-f128-p16-s10-ap.476-swa.pt"
    torch.save(network.state_dict(), path)
    return path


class SmallVGG(nn.Module):
    """Takes what VGGish takes."""

    def __init__(self, features: nn.Module, postprocess: bool) -> None:
        super().__init__()
        assert not postprocess
        self.features = features
        self.embeddings = nn.Sequential(nn.Linear(64, 128), nn.ReLU(inplace=True))

    def forward(self, examples: Tensor) -> Tensor:
        assert examples.shape[1:] == (1, 96, 64)
        made: Tensor = self.embeddings(self.features(examples).mean(dim=(1, 2)))
        return made


def _examples(samples: np.ndarray, rate: int) -> Tensor:
    """As many windows as VGGish has, of powers at 64 places of the spectrum."""
    assert rate == 16000 and samples.dtype == np.float64
    count = (len(samples) - 240) // 15360
    columns = np.stack([samples[15360 * k :][:15360].reshape(96, 160) for k in range(count)])
    power = np.log(np.abs(np.fft.rfft(columns, axis=-1))[..., :64] + 0.01)
    return torch.from_numpy(power).float()[:, None].requires_grad_()


def install_vggish(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """A torchvggish with a small network, and its checkpoint under the official name in `folder`."""
    module = _installed(monkeypatch, "torchvggish")
    module.VGG, module.make_layers = SmallVGG, lambda: nn.Identity()  # type: ignore[attr-defined]
    module.waveform_to_examples = _examples  # type: ignore[attr-defined]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        network = SmallVGG(nn.Identity(), postprocess=False)
    path = folder / "vggish-10086976.pth"
    torch.save(network.state_dict(), path)
    return path
