"""Inception-v1 I3D for RGB clips, with the parameter names of the PyTorch conversion of the TF-Hub model.

Source: J. Carreira, A. Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", CVPR 2017.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class MixedWidths:
    """Output channels of an Inception block's convolutions, by branch."""

    b0: int
    b1a: int
    b1b: int
    b2a: int
    b2b: int
    b3b: int

    @property
    def total(self) -> int:
        """Channels after concatenation."""
        return self.b0 + self.b1b + self.b2b + self.b3b


@dataclass(frozen=True)
class I3DConfig:
    """Sizes of an I3D; the defaults are the official model's.

    Attributes:
        stem: channels of the 7x7x7 convolution and of the 1x1x1 after it.
        stem_out: channels of the 3x3x3 convolution after those.
        mixed_3: blocks 3b and 3c.
        mixed_4: blocks 4b to 4f.
        mixed_5: blocks 5b and 5c.
        classes: logits.
    """

    stem: int = 64
    stem_out: int = 192
    mixed_3: tuple[MixedWidths, ...] = (
        MixedWidths(64, 96, 128, 16, 32, 32),
        MixedWidths(128, 128, 192, 32, 96, 64),
    )
    mixed_4: tuple[MixedWidths, ...] = (
        MixedWidths(192, 96, 208, 16, 48, 64),
        MixedWidths(160, 112, 224, 24, 64, 64),
        MixedWidths(128, 128, 256, 24, 64, 64),
        MixedWidths(112, 144, 288, 32, 64, 64),
        MixedWidths(256, 160, 320, 32, 128, 128),
    )
    mixed_5: tuple[MixedWidths, ...] = (
        MixedWidths(256, 160, 320, 32, 128, 128),
        MixedWidths(384, 192, 384, 48, 128, 128),
    )
    classes: int = 400


class I3D(nn.Module):
    """I3D up to its logits, averaged over time.

    Shapes: input ``(B, 3, T, 224, 224)``, float32, nominally in [-1, 1], T >= 9; output ``(B, classes)``.
    """

    def __init__(self, config: I3DConfig | None = None) -> None:
        super().__init__()
        config = config or I3DConfig()
        layers: dict[str, nn.Module] = {
            "Conv3d_1a_7x7": Unit(3, config.stem, (7, 7, 7), (2, 2, 2)),
            "MaxPool3d_2a_3x3": SamePool((1, 3, 3), (1, 2, 2)),
            "Conv3d_2b_1x1": Unit(config.stem, config.stem, (1, 1, 1)),
            "Conv3d_2c_3x3": Unit(config.stem, config.stem_out, (3, 3, 3)),
            "MaxPool3d_3a_3x3": SamePool((1, 3, 3), (1, 2, 2)),
        }
        channels = _add_mixed(layers, "3", config.stem_out, config.mixed_3)
        layers["MaxPool3d_4a_3x3"] = SamePool((3, 3, 3), (2, 2, 2))
        channels = _add_mixed(layers, "4", channels, config.mixed_4)
        layers["MaxPool3d_5a_2x2"] = SamePool((2, 2, 2), (2, 2, 2))
        channels = _add_mixed(layers, "5", channels, config.mixed_5)
        layers["avg_pool"] = nn.AvgPool3d((2, 7, 7), stride=1)
        layers["logits"] = nn.Sequential(OrderedDict(conv3d=nn.Conv3d(channels, config.classes, 1)))
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, no softmax, averaged over the time positions left: ``(B, classes)``."""
        for layer in self.children():
            x = layer(x)
        return x.flatten(2).mean(dim=2)


class Unit(nn.Module):
    """SAME-padded convolution without bias, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: Triple, stride: Triple = (1, 1, 1)) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, T, H, W)`` to ``(B, outputs, ...)``, each axis divided by its stride, rounded up."""
        x = self.conv3d(pad_same(x, self.kernel, self.stride))
        return F.relu(self.bn(x))


class SamePool(nn.Module):
    """Max pool padded with zeros as TensorFlow's SAME; its inputs follow a ReLU, so that zeros never win."""

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """The largest value of each window; axes are divided by their strides, rounded up."""
        x = pad_same(x, self.kernel, self.stride)
        # One axis after the other: the same values, in a sixth of the time that torch's pool takes a CPU.
        for axis, (size, stride) in enumerate(zip(self.kernel, self.stride, strict=True), start=2):
            x = _largest_along(x, axis, size, stride)
        return x


class Mixed(nn.Module):
    """Inception block: four branches side by side, concatenated."""

    def __init__(self, inputs: int, widths: MixedWidths) -> None:
        super().__init__()
        self.b0 = Unit(inputs, widths.b0, (1, 1, 1))
        self.b1a = Unit(inputs, widths.b1a, (1, 1, 1))
        self.b1b = Unit(widths.b1a, widths.b1b, (3, 3, 3))
        self.b2a = Unit(inputs, widths.b2a, (1, 1, 1))
        self.b2b = Unit(widths.b2a, widths.b2b, (3, 3, 3))
        self.b3a = SamePool((3, 3, 3), (1, 1, 1))
        self.b3b = Unit(inputs, widths.b3b, (1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, T, H, W)`` to ``(B, widths.total, T, H, W)``."""
        branches = [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))]
        return torch.cat(branches, dim=1)


def pad_same(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """Zeros around ``(B, C, T, H, W)`` so that each output axis has ``ceil(size / stride)`` positions.

    The smaller half goes in front, as TensorFlow does.
    """
    padding: list[int] = []
    for size, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):
        total = max(k - (size % s or s), 0)
        padding += [total // 2, total - total // 2]
    return F.pad(x, padding) if any(padding) else x


def _largest_along(x: Tensor, axis: int, size: int, stride: int) -> Tensor:
    """The largest of each `size` neighbours along `axis`, every `stride`-th."""
    windows = x.unfold(axis, size, stride)
    return functools.reduce(torch.maximum, windows.unbind(-1))


def _add_mixed(layers: dict[str, nn.Module], level: str, channels: int, blocks: Sequence[MixedWidths]) -> int:
    for letter, widths in zip("bcdef", blocks, strict=False):
        layers[f"Mixed_{level}{letter}"] = Mixed(channels, widths)
        channels = widths.total
    return channels
