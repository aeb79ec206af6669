"""Resizing on the device against Pillow itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from javisbench.metrics.encoders.preprocessing.pil_resize import (
    _Axis,
    _by_products,
    _by_taps,
    bicubic_centre_crop,
    bicubic_resize,
    centre_offset,
    shorter_side,
)


def noise(frames: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def by_pillow(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """In two steps: Pillow 13 chooses the order of its passes by size, Pillow 10 starts with the horizontal one."""

    def resize(frame: np.ndarray) -> np.ndarray:
        wide = Image.fromarray(frame).resize((width, frame.shape[0]), Image.Resampling.BICUBIC)
        return np.asarray(wide.resize((width, height), Image.Resampling.BICUBIC))

    return np.stack([resize(frame) for frame in frames])


def cropped_by_pillow(frames: np.ndarray, size: int) -> np.ndarray:
    height, width = shorter_side(*frames.shape[1:3], size)
    top, left = centre_offset(height, size), centre_offset(width, size)
    return by_pillow(frames, height, width)[:, top : top + size, left : left + size]


# What clips come in, and sides that grow, stay, or exceed 224 by one pixel.
SIZES = [(240, 426), (330, 186), (180, 320), (288, 352), (480, 848), (1080, 1920), (224, 224), (224, 300), (223, 500)]


@pytest.mark.parametrize(("height", "width"), [*SIZES, (225, 226), (64, 64), (1, 1), (3, 90)])
def test_equals_pillow_to_the_bit(height: int, width: int) -> None:
    frames = noise(2, height, width)
    ours = bicubic_centre_crop(torch.from_numpy(frames), 224).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(ours, cropped_by_pillow(frames, 224))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 120), st.integers(1, 120), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_any_size(height: int, width: int, size: int, seed: int) -> None:
    frames = noise(1, height, width, seed)
    ours = bicubic_centre_crop(torch.from_numpy(frames), size).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(ours, cropped_by_pillow(frames, size))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(2, 60), st.integers(1, 40), st.integers(1, 40))
def test_without_crop(height: int, width: int, new_height: int, new_width: int) -> None:
    frames = noise(1, height, width)
    ours = bicubic_resize(torch.from_numpy(frames), new_height, new_width).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(ours, by_pillow(frames, new_height, new_width))


def test_extremes_stay_in_range() -> None:
    checks = (np.indices((90, 90)).sum(0) // 7 % 2 * 255).astype(np.uint8)
    frames = np.repeat(checks[None, :, :, None], 3, axis=3)
    ours = bicubic_centre_crop(torch.from_numpy(frames), 224).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(ours, cropped_by_pillow(frames, 224))


def test_frames_do_not_see_each_other() -> None:
    frames = torch.from_numpy(noise(11, 48, 80))
    together = bicubic_centre_crop(frames, 32)
    alone = torch.cat([bicubic_centre_crop(frame[None], 32) for frame in frames])
    assert torch.equal(together, alone)


def test_rounding_of_sizes_and_offsets() -> None:
    assert shorter_side(240, 426, 224) == (224, 397)
    assert shorter_side(330, 186, 224) == (397, 224)
    assert [centre_offset(224 + surplus, 224) for surplus in (0, 1, 2, 3, 5, 173)] == [0, 0, 1, 2, 2, 86]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 60), st.integers(1, 60), st.data())
def test_the_way_of_a_gpu_gives_the_same(height: int, width: int, tall: int, wide: int, data: st.DataObject) -> None:
    """The matrix products of a GPU, run here on a CPU, for any part of the output."""
    top, left = data.draw(st.integers(0, tall - 1)), data.draw(st.integers(0, wide - 1))
    rows, columns = _Axis(height, tall, top, tall - top), _Axis(width, wide, left, wide - left)
    frames = noise(2, height, width)
    by_products = _by_products(torch.from_numpy(frames), rows, columns).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(by_products, _by_taps(frames, rows, columns))
    np.testing.assert_array_equal(by_products, by_pillow(frames, tall, wide)[:, top:, left:])


def test_threads_change_nothing() -> None:
    frames = torch.from_numpy(noise(7, 90, 160))
    before = torch.get_num_threads()
    try:
        made = []
        for threads in (1, 4):
            torch.set_num_threads(threads)
            made.append(bicubic_centre_crop(frames, 48))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*made)
