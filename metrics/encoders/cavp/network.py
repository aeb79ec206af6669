"""CAVP's two networks: SlowOnly ResNet-50 for frames, Cnn14 for spectrograms.

Sources: Luo et al., Diff-Foley, NeurIPS 2023, section 4.1; Feichtenhofer et al., SlowFast Networks, ICCV 2019 (the slow
pathway); Kong et al., PANNs, IEEE/ACM TASLP 28, 2020 (Cnn14).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EXPANSION = 4


@dataclass(frozen=True)
class CAVPConfig:
    """Numbers of the network.

    Attributes:
        video_width: channels behind the video stem; each of the four stages doubles them.
        video_depths: bottlenecks of the stages.
        audio_width: channels of the first of six audio blocks; each doubles them.
        embed_dim: of an embedding.
    """

    video_width: int = 64
    video_depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    audio_width: int = 64
    embed_dim: int = 512


VARIANTS = {"full": CAVPConfig()}


class ConvNorm(nn.Module):
    """Convolution without bias, and batch norm.

    Args:
        inputs: channels.
        outputs: channels.
        kernel: in time, height, width; odd.
        stride: in height and width; time has none.
    """

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int], stride: int = 1) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride=(1, stride, stride), padding=padding, bias=False)
        self.bn = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, inputs, T, H, W)`` to ``(n, outputs, T, H', W')``."""
        normed: Tensor = self.bn(self.conv(x))
        return normed


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 in space, the first over `time` frames, added to the input.

    Args:
        inputs: channels.
        width: channels between; four times as many come out.
        time: frames of the first kernel.
        stride: in height and width, of the middle kernel.
    """

    def __init__(self, inputs: int, width: int, time: int, stride: int) -> None:
        super().__init__()
        outputs = EXPANSION * width
        self.conv1 = ConvNorm(inputs, width, (time, 1, 1))
        self.conv2 = ConvNorm(width, width, (1, 3, 3), stride)
        self.conv3 = ConvNorm(width, outputs, (1, 1, 1))
        self.downsample = ConvNorm(inputs, outputs, (1, 1, 1), stride) if inputs != outputs or stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """``(n, inputs, T, H, W)`` to ``(n, 4 width, T, H', W')``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        mapped = self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))
        return F.relu(mapped + shortcut)


class SlowOnly(nn.Module):
    """ResNet-50 over frames that keeps their number; only its last two stages look at neighbouring frames."""

    def __init__(self, config: CAVPConfig) -> None:
        super().__init__()
        width = config.video_width
        self.conv1 = ConvNorm(3, width, (1, 7, 7), stride=2)
        inputs = width
        for stage, depth in enumerate(config.video_depths):
            planes, time = width * 2**stage, 1 if stage < 2 else 3
            blocks = []
            for block in range(depth):
                blocks.append(Bottleneck(inputs, planes, time, stride=2 if stage > 0 and block == 0 else 1))
                inputs = EXPANSION * planes
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.outputs = inputs

    def forward(self, frames: Tensor) -> Tensor:
        """``(n, 3, T, H, W)`` in [0, 1] to ``(n, T, channels)``, averaged over space."""
        x = F.max_pool3d(F.relu(self.conv1(frames)), (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        for name in ("layer1", "layer2", "layer3", "layer4"):
            x = self.get_submodule(name)(x)
        return x.mean(dim=(3, 4)).transpose(1, 2)


class ConvBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm and ReLU, and average pooling.

    Args:
        inputs: channels.
        outputs: channels.
        pool: columns and bins that are averaged.
    """

    def __init__(self, inputs: int, outputs: int, pool: tuple[int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """``(n, inputs, columns, bins)`` to ``(n, outputs, columns', bins')``."""
        x = F.relu(self.bn1(self.conv1(x)))
        return F.avg_pool2d(F.relu(self.bn2(self.conv2(x))), self.pool)


class Cnn14(nn.Module):
    """Six convolution blocks over a spectrogram; every 16 columns become one embedding."""

    pools = ((2, 2), (2, 2), (2, 2), (2, 2), (1, 2), (1, 1))
    bins = 128

    def __init__(self, config: CAVPConfig) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(self.bins)
        widths = [1, *(config.audio_width * 2**block for block in range(len(self.pools)))]
        for number, ((inputs, outputs), pool) in enumerate(zip(pairwise(widths), self.pools, strict=True), start=1):
            self.add_module(f"conv_block{number}", ConvBlock(inputs, outputs, pool))
        self.fc1 = nn.Linear(widths[-1], widths[-1])
        self.final_project = nn.Linear(widths[-1], config.embed_dim)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """``(n, 128, columns)`` in [0, 1] to ``(n, columns // 16, embed_dim)``."""
        x = self.bn(spectrogram.unsqueeze(-1)).permute(0, 3, 2, 1)
        for number in range(1, len(self.pools) + 1):
            x = self.get_submodule(f"conv_block{number}")(x)
        x = x.mean(dim=3)
        x = F.max_pool1d(x, 3, stride=1, padding=1) + F.avg_pool1d(x, 3, stride=1, padding=1)
        x = x.transpose(1, 2)
        for _ in range(2):  # the same layer twice, as the published network has it
            x = F.relu(self.fc1(x))
        projected: Tensor = self.final_project(x)
        return projected


class CAVP(nn.Module):
    """Both networks and the video's projection.

    Args:
        config: numbers of the network.
    """

    def __init__(self, config: CAVPConfig) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.zeros(()))  # of the training loss; in the official file
        self.video_encoder = SlowOnly(config)
        self.video_project_head = nn.Linear(self.video_encoder.outputs, config.embed_dim)
        self.spec_encoder = Cnn14(config)

    def embed_video(self, frames: Tensor) -> Tensor:
        """``(n, 3, T, 224, 224)`` in [0, 1] to ``(n, T, embed_dim)``, L2-normalised."""
        return F.normalize(self.video_project_head(self.video_encoder(frames)), dim=-1)

    def embed_audio(self, spectrogram: Tensor) -> Tensor:
        """``(n, 128, columns)`` in [0, 1] to ``(n, columns // 16, embed_dim)``, L2-normalised."""
        return F.normalize(self.spec_encoder(spectrogram), dim=-1)
