"""From decoded frames to what I3D sees."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

INPUT_SIZE = 224
# Frames that are float at the same time; 8 of 2160x3840 take 0.8 GB.
_FRAMES_AT_ONCE = 8


def pad_to_square(frames: Tensor, size: int) -> Tensor:
    """Resize so that the longer side is `size`, bilinear with antialiasing, and pad to a square with zeros.

    Args:
        frames: uint8, shape ``(T, H, W, 3)``.
        size: pixels.

    Returns:
        float32 in [0, 1], shape ``(T, 3, size, size)``; of an odd padding the smaller half is on the left or top.
    """
    height, width = frames.shape[1:3]
    longer = max(height, width)
    # The shorter side is cut to whole pixels; a sliver keeps one.
    new_height, new_width = (max(1, size * side // longer) for side in (height, width))
    top, left = (size - new_height) // 2, (size - new_width) // 2
    padded = torch.zeros(frames.shape[0], 3, size, size, device=frames.device)
    for start in range(0, frames.shape[0], _FRAMES_AT_ONCE):
        some = slice(start, start + _FRAMES_AT_ONCE)
        pixels = frames[some].permute(0, 3, 1, 2).float() / 255
        padded[some, :, top : top + new_height, left : left + new_width] = F.interpolate(
            pixels, size=(new_height, new_width), mode="bilinear", antialias=True, align_corners=False
        )
    return padded


def quantise(pixels: Tensor, video_range: Literal["signed", "unit"]) -> Tensor:
    """Pixels in [0, 1] as uint8.

    ``unit``: round(255 x). ``signed``: trunc(127.5 (x + 1)), the formula for pixels in [-1, 1], which published
    JavisBench numbers apply to [0, 1]: values are 127..255 and the padding is grey.
    """
    scaled = (pixels + 1) * 127.5 if video_range == "signed" else torch.round(pixels * 255)
    return scaled.clamp(0, 255).to(torch.uint8)


def network_input(quantised: Tensor) -> Tensor:
    """uint8 ``(B, T, 3, S, S)`` to float32 in [-1, 1], ``(B, 3, T, 224, 224)``.

    Another size than 224 is scaled bilinearly without antialiasing.
    """
    clips, frames, channels, size = quantised.shape[:4]
    pixels = quantised.float() / 255
    if size != INPUT_SIZE:
        flat = pixels.flatten(0, 1)
        flat = F.interpolate(flat, size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear", align_corners=False)
        pixels = flat.view(clips, frames, channels, INPUT_SIZE, INPUT_SIZE)
    return ((pixels - 0.5) * 2).transpose(1, 2)
