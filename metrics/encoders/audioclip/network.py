"""ESResNeXt-FBSP, the audio branch of AudioCLIP, with the official parameter names (after ``audio.``).

Sources: A. Guzhov et al., "AudioCLIP: Extending CLIP to Image, Text and Audio", ICASSP 2022, and "ESResNe(X)t-fbsp:
Learning Robust Time-Frequency Transformation of Audio", IJCNN 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from javisbench.metrics.encoders.audioclip.fbsp import FBSP, decibels, windowed_frames

_EXPANSION = 4


@dataclass(frozen=True)
class ESResNeXtConfig:
    """Sizes of an ESResNeXt-FBSP; the defaults are the official model's.

    Attributes:
        n_fft: samples of a frame.
        window_length: samples of a frame that are not zero.
        hop: samples between frames.
        bands: image channels into which the spectrum is cut; the bins left over at the top are dropped.
        blocks: bottleneck blocks a stage.
        stem: channels after the first convolution; stage k ends with ``4 * stem * 2**k``, k from 0.
        groups: of the 3x3 convolutions.
        embed: outputs.
    """

    n_fft: int = 2048
    window_length: int = 1654
    hop: int = 561
    bands: int = 3
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    stem: int = 64
    groups: int = 32
    embed: int = 1024


class ESResNeXt(nn.Module):
    """Waveform to audio embedding.

    Shapes: input ``(B, L)``, float32, 16-bit scale (-32768..32767); output ``(B, embed)``, float32, not normalised.
    """

    def __init__(self, config: ESResNeXtConfig | None = None) -> None:
        super().__init__()
        config = config or ESResNeXtConfig()
        self.config = config
        self.window: Tensor
        self.register_buffer("window", torch.ones(config.window_length))
        self.fbsp = FBSP(config.n_fft)
        stem = config.stem
        self.conv1 = nn.Conv2d(config.bands, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem, eps=1e-5)
        # Attention looks along frequency and time in turns.
        kernels = ((3, 1), (1, 5), (3, 1), (1, 5))
        channels = stem
        for index, (blocks, kernel) in enumerate(zip(config.blocks, kernels, strict=True)):
            outputs = _EXPANSION * stem * 2**index
            stage = _stage(channels, outputs, blocks, stride=1 if index == 0 else 2, groups=config.groups)
            self.add_module(f"layer{index + 1}", stage)
            self.add_module(f"att{index + 1}", Attention(channels, outputs, kernel))
            channels = outputs
        self.att5 = Attention(channels, channels, (3, 5))
        self.fc = nn.Linear(channels, config.embed)

    def forward(self, waveform: Tensor, fbsp_dtype: torch.dtype = torch.float32) -> Tensor:
        """Embed waveforms.

        FBSP weights, their product with the frames, power and decibels are computed in `fbsp_dtype`; rescaling,
        framing, the wavelets' time axis and everything after the decibels in float32.
        """
        x = self.image(waveform, fbsp_dtype)
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), kernel_size=3, stride=2, padding=1)
        for stage in range(1, 5):
            attention = self.get_submodule(f"att{stage}")
            y = self.get_submodule(f"layer{stage}")(x)
            x = y * attention(x, y.shape[2:])
        pooled = F.adaptive_avg_pool2d(x, 1) * self.att5(x, (1, 1))
        return cast(Tensor, self.fc(pooled.flatten(1)))

    def image(self, waveform: Tensor, fbsp_dtype: torch.dtype = torch.float32) -> Tensor:
        """``(B, L)`` to the spectrogram in dB, cut into bands: ``(B, bands, bins // bands, frames)``, float32."""
        config = self.config
        with torch.autocast(waveform.device.type, enabled=False):  # a caller's is meant for what follows
            frames = windowed_frames(rescale(waveform), self.window, config.hop, config.n_fft)
            levels = decibels(self.fbsp(frames, fbsp_dtype)).float().transpose(1, 2)
        rows = levels.shape[1] // config.bands
        return levels[:, : rows * config.bands].reshape(levels.shape[0], config.bands, rows, -1)


class Attention(nn.Module):
    """Weights in (0, 1) for a stage's output, from the stage's input."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv_depth = nn.Conv2d(inputs, inputs, kernel, padding=padding, groups=inputs)
        self.conv_point = nn.Conv2d(inputs, outputs, 1)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-5)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, outputs, *size)``."""
        x = F.adaptive_max_pool2d(x, size)
        return torch.sigmoid(self.bn(self.conv_point(self.conv_depth(x))))


class Bottleneck(nn.Module):
    """Residual block: 1x1, grouped 3x3 with the stride, 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int) -> None:
        super().__init__()
        width = outputs // 2
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps=1e-5)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps=1e-5)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs, eps=1e-5)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs, eps=1e-5)
            )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, outputs, H / stride, W / stride)``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + shortcut)


def rescale(waveform: Tensor) -> Tensor:
    """16-bit range to [-1, 1]. On small inputs the float32 rounding shows, so the order of operations is kept."""
    return ((waveform + 32768) * 2) / 65535 - 1


def _stage(inputs: int, outputs: int, blocks: int, stride: int, groups: int) -> nn.Sequential:
    first = Bottleneck(inputs, outputs, stride, groups)
    return nn.Sequential(first, *(Bottleneck(outputs, outputs, 1, groups) for _ in range(blocks - 1)))
