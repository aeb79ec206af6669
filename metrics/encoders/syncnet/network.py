"""SyncNet v2: embeddings of 0.2 s of a face and of 0.2 s of sound, near each other where they belong together.

Tensor names and shapes are those of the official ``syncnet_v2.model``.

Source: Chung and Zisserman, Out of time: automated lip sync in the wild, ACCV 2016 workshops, section 3.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from javisbench.metrics.encoders.syncnet.s3fd import S3FD

WIDTH = 1024
#: Frames of one window of the picture, and columns of the MFCC of one window of sound.
WINDOW_FRAMES, WINDOW_ROWS = 5, 20


class SyncNet(nn.Module):
    """Both halves of the network; their embeddings are not normalised.

    Args:
        scale: by how much layers are narrower than the official ones.
    """

    def __init__(self, scale: int = 1) -> None:
        super().__init__()
        self.netcnnaud = _sound_layers(scale)
        self.netfcaud = _head(512 // scale)
        self.netfclip = _head(512 // scale)
        self.netcnnlip = _lip_layers(scale)

    def sound(self, mfcc: Tensor) -> Tensor:
        """MFCC windows.

        Args:
            mfcc: float32, shape ``(n, 1, 13, 20)``: coefficients, and steps of 10 ms.

        Returns:
            float32, shape ``(n, 1024)``.
        """
        embedded: Tensor = self.netfcaud(self.netcnnaud(mfcc).flatten(1))
        return embedded

    def lips(self, crops: Tensor) -> Tensor:
        """Every five neighbouring frames of a face.

        Args:
            crops: float32 in 0..255, blue, green, red, shape ``(n, 3, T, 224, 224)``, T >= 5, at 25 frames a second.

        Returns:
            float32, shape ``(n, T - 4, 1024)``; row i is of frames i to i + 4.
        """
        # Only the first layer looks along time, and it keeps the windows apart.
        seen: Tensor = self.netcnnlip(crops)
        n, width, windows = seen.shape[:3]
        embedded: Tensor = self.netfclip(seen.reshape(n, width, windows).transpose(1, 2).reshape(-1, width))
        return embedded.reshape(n, windows, WIDTH)


class LipNetworks(nn.Module):
    """What finds faces, and what compares them with the sound.

    Args:
        scale: by how much layers are narrower than the official ones.
    """

    def __init__(self, scale: int = 1) -> None:
        super().__init__()
        self.faces = S3FD(scale)
        self.sync = SyncNet(scale)


#: How much narrower the layers of each variant are than the official ones.
VARIANTS = {"official": 1, "small": 8}


def _sound_layers(scale: int) -> nn.Sequential:
    widths = [1, *(width // scale for width in (64, 192, 384, 256, 256))]
    blocks: list[nn.Module] = []
    for place, (before, after) in enumerate(pairwise(widths)):
        blocks += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        if place == 0:
            blocks.append(nn.MaxPool2d(1, 1))
        elif place == 1:
            blocks.append(nn.MaxPool2d(3, (1, 2)))
    blocks.append(nn.MaxPool2d(3, 2))
    last = 512 // scale
    return nn.Sequential(*blocks, nn.Conv2d(widths[-1], last, (5, 4)), nn.BatchNorm2d(last), nn.ReLU())


def _lip_layers(scale: int) -> nn.Sequential:
    first, wide, last = 96 // scale, 256 // scale, 512 // scale
    blocks: list[nn.Module] = [
        nn.Conv3d(3, first, (WINDOW_FRAMES, 7, 7), stride=(1, 2, 2)),
        nn.BatchNorm3d(first),
        nn.ReLU(),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
        nn.Conv3d(first, wide, (1, 5, 5), stride=(1, 2, 2), padding=(0, 1, 1)),
        nn.BatchNorm3d(wide),
        nn.ReLU(),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), padding=(0, 1, 1)),
    ]
    for _ in range(3):
        blocks += [nn.Conv3d(wide, wide, (1, 3, 3), padding=(0, 1, 1)), nn.BatchNorm3d(wide), nn.ReLU()]
    blocks.append(nn.MaxPool3d((1, 3, 3), (1, 2, 2)))
    return nn.Sequential(*blocks, nn.Conv3d(wide, last, (1, 6, 6)), nn.BatchNorm3d(last), nn.ReLU())


def _head(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, WIDTH))
