"""S3FD: where the faces of a picture are.

Tensor names and shapes are those of the official ``sfd_face.pth``.

Source: Zhang et al., S3FD: Single Shot Scale-invariant Face Detector, ICCV 2017, section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Shortest side of an input: below, nothing is left after the fifth pooling.
LEAST_SIDE = 28
MEAN_RGB = (123.0, 117.0, 104.0)
ANCHORS = (16, 32, 64, 128, 256, 512)
STRIDES = (4, 8, 16, 32, 64, 128)
VARIANCES = (0.1, 0.2)
NMS_OVERLAP, SECOND_NMS_OVERLAP = 0.3, 0.1
MOST_CANDIDATES, MOST_BOXES = 5000, 750
# VGG-16 up to its fifth block; after each block a pooling. Then two wide layers in place of the linear ones.
_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_CEIL_BLOCK = 2


class ChannelNorm(nn.Module):
    """Scales each place's channels to length 1, then each channel by a weight."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, width, h, w)`` to the same shape."""
        length = x.pow(2).sum(dim=1, keepdim=True).sqrt() + 1e-10
        return x / length * self.weight.view(1, -1, 1, 1)


class S3FD(nn.Module):
    """Six maps of ever larger strides, each with one anchor a place.

    Args:
        scale: by how much layers are narrower than the official ones.
    """

    def __init__(self, scale: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self._ends: list[int] = []
        before = 3
        for block, (official, count) in enumerate(_BLOCKS):
            width = official // scale
            for _ in range(count):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
                before = width
            self._ends.append(len(layers))
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=block == _CEIL_BLOCK))
        wide = 1024 // scale
        layers += [
            nn.Conv2d(before, wide, 3, padding=6, dilation=6),
            nn.ReLU(inplace=True),
            nn.Conv2d(wide, wide, 1),
            nn.ReLU(inplace=True),
        ]
        self._ends.append(len(layers))
        self.vgg = nn.ModuleList(layers)
        third, later = 256 // scale, 512 // scale
        self.L2Norm3_3, self.L2Norm4_3, self.L2Norm5_3 = ChannelNorm(third), ChannelNorm(later), ChannelNorm(later)
        narrow = 128 // scale
        self.extras = nn.ModuleList(
            [
                nn.Conv2d(wide, third, 1),
                nn.Conv2d(third, later, 3, stride=2, padding=1),
                nn.Conv2d(later, narrow, 1),
                nn.Conv2d(narrow, third, 3, stride=2, padding=1),
            ]
        )
        widths = (third, later, later, wide, later, third)
        self.loc = nn.ModuleList(nn.Conv2d(width, 4, 3, padding=1) for width in widths)
        # The finest map tells three backgrounds apart; the likeliest of them counts.
        classes = (4, 2, 2, 2, 2, 2)
        self.conf = nn.ModuleList(
            nn.Conv2d(width, count, 3, padding=1) for width, count in zip(widths, classes, strict=True)
        )

    def maps(self, x: Tensor) -> list[Tensor]:
        """The six maps, finest first, of RGB pixels less their means ``(n, 3, H, W)``, both sides at least 28."""
        found: list[Tensor] = []
        for place, layer in enumerate(self.vgg, start=1):
            x = layer(x)
            if place in self._ends[2:]:
                found.append(x)
        norms = (self.L2Norm3_3, self.L2Norm4_3, self.L2Norm5_3)
        found[:3] = [norm(seen) for norm, seen in zip(norms, found, strict=False)]
        for place, layer in enumerate(self.extras):
            x = F.relu(layer(x), inplace=True)
            if place % 2:
                found.append(x)
        return found

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What is said of each anchor.

        Args:
            x: float32 RGB less `MEAN_RGB`, shape ``(n, 3, H, W)``, both sides at least 28.

        Returns:
            offsets ``(n, anchors, 4)`` and probabilities of background and face ``(n, anchors, 2)``.
        """
        maps = self.maps(x)
        offsets = [_rows(head(seen), 4) for head, seen in zip(self.loc, maps, strict=True)]
        logits = [_two_classes(head(seen)) for head, seen in zip(self.conf, maps, strict=True)]
        return torch.cat(offsets, 1), torch.cat([_rows(found, 2) for found in logits], 1).softmax(-1)


def _two_classes(found: Tensor) -> Tensor:
    return torch.cat([found[:, :-1].amax(dim=1, keepdim=True), found[:, -1:]], dim=1)


def _rows(found: Tensor, width: int) -> Tensor:
    return found.permute(0, 2, 3, 1).reshape(found.shape[0], -1, width)


def anchors(height: int, width: int) -> NDArray[np.float32]:
    """The anchors of a picture of `height` x `width` pixels, in the order of the network's answers.

    Returns:
        float32, shape ``(anchors, 4)``: centre x, y and both sides, in shares of the picture.
    """
    found = []
    for (rows, columns), stride, size in zip(_map_sizes(height, width), STRIDES, ANCHORS, strict=True):
        y, x = np.mgrid[:rows, :columns].reshape(2, -1)
        sides = np.broadcast_to([size / width, size / height], (len(x), 2))
        centres = np.stack([(x + 0.5) * stride / width, (y + 0.5) * stride / height], axis=1)
        found.append(np.concatenate([centres, sides], axis=1))
    return np.concatenate(found).astype(np.float32)


def _map_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Rows and columns of each map."""
    return list(zip(_sides(height), _sides(width), strict=True))


def _sides(side: int) -> list[int]:
    sides = []
    for block in range(len(_BLOCKS)):
        if block >= _CEIL_BLOCK:
            sides.append(side)
        side = -(-side // 2) if block == _CEIL_BLOCK else side // 2
    # Behind the last pooling nothing shrinks, until each second one of the extra layers halves.
    half = -(-side // 2)
    return [*sides, side, half, -(-half // 2)]


def network_input(frames: NDArray[np.uint8], device: str) -> Tensor:
    """uint8 RGB ``(n, H, W, 3)`` to float32 ``(n, 3, H, W)`` less its means."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2).float()
    return pixels - torch.tensor(MEAN_RGB, device=device).view(1, 3, 1, 1)


def boxes(
    offsets: NDArray[np.float32], scores: NDArray[np.float32], priors: NDArray[np.float32], least_score: float
) -> NDArray[np.float32]:
    """The faces of one picture, best first.

    Args:
        offsets: of each anchor, shape ``(anchors, 4)``.
        scores: probability of a face, shape ``(anchors,)``.
        priors: as `anchors` gives them.
        least_score: only what scores more is a face.

    Returns:
        float32, shape ``(faces, 5)``: left, top, right, bottom, in shares of the picture, and score.
    """
    # A box never suppresses a better one, so those that are no face can be left out first.
    likely = np.flatnonzero(scores > least_score)
    likely = likely[np.argsort(-scores[likely], kind="stable")][:MOST_CANDIDATES]
    place = priors[likely]
    with np.errstate(over="ignore", invalid="ignore"):
        centres = place[:, :2] + offsets[likely, :2] * np.float32(VARIANCES[0]) * place[:, 2:]
        sides = place[:, 2:] * np.exp(offsets[likely, 2:] * np.float32(VARIANCES[1]))
        corners = centres - sides / 2
        found = np.concatenate([corners, corners + sides, scores[likely, None]], axis=1)
    found = found[np.isfinite(found).all(axis=1)].astype(np.float32)
    return np.asarray(found[_kept(found, NMS_OVERLAP, 0.0)][:MOST_BOXES])


def distinct(found: NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes in pixels, best first, without those that share over a tenth with a better one (sides one pixel longer)."""
    return found[_kept(found, SECOND_NMS_OVERLAP, 1.0)]


def _kept(found: NDArray[np.float32], most_overlap: float, longer: float) -> list[int]:
    """Rows that are left when each box, best first, takes away those that overlap it by more."""
    left, top, right, bottom = found[:, :4].T
    area = (right - left + longer) * (bottom - top + longer)
    waiting, kept = np.arange(len(found)), []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(int(best))
        width = np.minimum(right[waiting], right[best]) - np.maximum(left[waiting], left[best]) + longer
        height = np.minimum(bottom[waiting], bottom[best]) - np.maximum(top[waiting], top[best]) + longer
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        waiting = waiting[shared <= most_overlap * (area[waiting] + area[best] - shared)]
    return kept
