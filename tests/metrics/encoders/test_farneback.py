"""Batched flow against OpenCV's: by pixel on textures, by trajectory and peaks on clips."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from javisbench.baselines.base import Generated, Request
from javisbench.baselines.registry import create_generator
from javisbench.clip import ClipSpec
from javisbench.media import ClipReader, ClipSource
from javisbench.metrics.av_align import motion_peaks
from javisbench.metrics.encoders.flow import MAGNITUDE, mean_magnitude, mean_magnitudes
from javisbench.metrics.encoders.motion_acceleration import CELL_MEANS, cell_means, cell_means_of_pairs
from javisbench.metrics.encoders.pair_flows import FlowMeasure
from javisbench.metrics.encoders.preprocessing import farneback
from javisbench.metrics.encoders.preprocessing.farneback import Farneback
from javisbench.suite import Sample

REAL = Path(__file__).parents[4] / "shared/real"
MEASURES = {"flow": MAGNITUDE, "cells": CELL_MEANS}
# What rounding may change. Single pixels may move by more: where a picture hardly says how it moves, every bit counts.
TRAJECTORY_PX = 2e-5


def texture(height: int, width: int, seed: int = 3, blur: float = 4) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), blur), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def scene(height: int, width: int) -> NDArray[np.uint8]:
    """A slide, a fast slide, another picture, noise."""
    first = texture(height, width)
    noise = np.random.default_rng(0).integers(0, 255, (height, width)).astype(np.uint8)
    return np.stack([first, np.roll(first, 1, 1), np.roll(first, (4, 9), (0, 1)), texture(height, width, 9, 2), noise])


def by_opencv(measure: FlowMeasure, lumas: NDArray[np.uint8]) -> NDArray[np.generic]:
    return np.stack([measure.of_pair(measure.flow.of_pair(a, b)) for a, b in pairwise(lumas)])


def by_torch(measure: FlowMeasure, lumas: NDArray[np.uint8]) -> NDArray[np.generic]:
    """A few pairs at a time, as much as fits into a CPU's cache."""
    parts = [
        measure.of_pairs(measure.flow.of_frames(torch.from_numpy(lumas[start : start + 9]))).numpy()
        for start in range(0, len(lumas) - 1, 8)
    ]
    return np.concatenate(parts)


# Pyramids of one to three levels; sides that halve evenly or not; upright; the least.
@pytest.mark.parametrize("size", [(96, 160), (61, 45), (33, 90), (129, 130), (160, 90), (10, 12), (16, 200)])
@pytest.mark.parametrize("flow", [measure.flow for measure in MEASURES.values()], ids=MEASURES)
def test_flow_is_opencvs(flow: Farneback, size: tuple[int, int]) -> None:
    check_flow(flow, scene(*size))


def test_flow_of_four_levels_is_opencvs() -> None:
    check_flow(MAGNITUDE.flow, scene(257, 258)[1:3])


def test_a_flat_picture_is_opencvs() -> None:
    """The sign of displacements of 1e-12 pixels decides which pixels of the first row point out of the picture."""
    lumas = np.full((4, 120, 200), 40, np.uint8)
    lumas[:, 90:] = 90
    for number, luma in enumerate(lumas):
        luma[40 + number : 70 + number, 40 + 3 * number : 90 + 3 * number] = 220
        luma[2:6, 100 + number : 109 + number] = 250
    flow = MAGNITUDE.flow
    ours = flow.of_frames(torch.from_numpy(lumas)).permute(0, 2, 3, 1).numpy()
    theirs = np.stack([flow.of_pair(a, b) for a, b in pairwise(lumas)])
    # Sums in another order: 0.05 px.
    assert np.abs(ours - theirs).max() < 1e-3


@pytest.mark.parametrize("width", [80, 81, 84, 86, 87])
@pytest.mark.parametrize("level", [2, 3])
def test_a_picture_is_smoothed_as_by_opencv_whatever_its_width(width: int, level: int) -> None:
    """Columns that are left over from runs of eight, and of four, are rounded in their own ways."""
    picture = texture(64, width, blur=1).astype(np.float32)
    sigma = (2**level - 1) / 2
    size = max(3, round(5 * sigma) | 1)
    smooth = farneback._smoothed(torch.from_numpy(picture)[None, None], level)[0, 0].numpy()
    different = smooth != cv2.GaussianBlur(picture, (size, size), sigma, sigmaY=sigma)
    assert different.mean(0).max() < 0.1  # of the last columns a few pixels were seen to differ; of wrong ones a half


def check_flow(flow: Farneback, lumas: NDArray[np.uint8]) -> None:
    ours = flow.of_frames(torch.from_numpy(lumas)).permute(0, 2, 3, 1).numpy()
    theirs = np.stack([flow.of_pair(a, b) for a, b in pairwise(lumas)])
    assert ours.dtype == np.float32 and ours.shape == theirs.shape
    error = np.abs(ours - theirs)
    assert np.median(error) < 2e-6
    assert error.max() < 2e-3 and error.mean() < TRAJECTORY_PX


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_measures_are_those_of_opencvs_flow(measure: FlowMeasure) -> None:
    lumas = scene(90, 160)
    ours, theirs = by_torch(measure, lumas), by_opencv(measure, lumas)
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TRAJECTORY_PX)


def test_another_setting_is_another_flow() -> None:
    lumas = scene(96, 160)
    expected = by_opencv(MAGNITUDE, lumas)
    for other in (Farneback(window=13, iterations=3), Farneback(window=15, iterations=2)):
        measured = by_torch(FlowMeasure(other, mean_magnitude, mean_magnitudes), lumas)
        assert np.abs(measured - expected).max() > 500 * TRAJECTORY_PX


def test_what_stands_still_has_equal_values_wherever_in_the_batch() -> None:
    still = np.stack([texture(97, 161)] * 9)
    for measure in MEASURES.values():
        measured = by_torch(measure, still)
        assert (measured == measured[0]).all()


def test_a_pair_does_not_depend_on_the_batch() -> None:
    lumas = scene(96, 160)
    for measure in MEASURES.values():
        together = measure.of_pairs(measure.flow.of_frames(torch.from_numpy(lumas)))
        for first in range(len(lumas) - 1):
            alone = measure.of_pairs(measure.flow.of_frames(torch.from_numpy(lumas[first : first + 2])))
            assert torch.equal(alone[0], together[first])


def test_black_frames_do_not_move() -> None:
    black = torch.zeros(3, 40, 50, dtype=torch.uint8)
    assert not MAGNITUDE.flow.of_frames(black).any()


@pytest.mark.parametrize("size", [(90, 160), (160, 90), (16, 160), (57, 33)])
def test_cells_are_means_over_their_share_of_each_pixel(size: tuple[int, int]) -> None:
    flows = np.random.default_rng(1).normal(0, 3, (2, *size, 2)).astype(np.float32)
    ours = cell_means_of_pairs(torch.from_numpy(flows).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(ours, np.stack([cell_means(flow) for flow in flows]), rtol=0, atol=2e-6)


def lumas_of(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])


def check_trajectory(lumas: NDArray[np.uint8]) -> None:
    ours, theirs = by_torch(MAGNITUDE, lumas), by_opencv(MAGNITUDE, lumas)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TRAJECTORY_PX)
    # The first frame repeats the second, as in `Motion`.
    peaks = [motion_peaks(np.array([made[0], *made], np.float64)) for made in (ours, theirs)]
    np.testing.assert_array_equal(*peaks)


def decoded(videos: list[Path], frames: int) -> Iterator[NDArray[np.uint8]]:
    with ClipReader(1) as reader:
        for _, clip in reader.read([ClipSource(str(video), video) for video in videos]):
            yield lumas_of(clip.frames[:frames])


def test_no_peak_of_a_golden_clip_changes(golden: Path) -> None:
    for lumas in decoded([golden / "clips/real/sample_0010.mp4"], 12):
        check_trajectory(lumas)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(11))
def test_no_peak_of_any_golden_clip_changes(golden: Path, number: int) -> None:
    for lumas in decoded([golden / f"clips/{side}/sample_{number:04}.mp4" for side in ("fake", "real")], 240):
        check_trajectory(lumas)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["procedural", "procedural:sync"])
def test_no_peak_of_procedural_clips_changes(model: str) -> None:
    generator = create_generator(model)
    generator.load("cpu", "auto", None)
    plan = generator.plan(ClipSpec(duration_s=2.0))
    families = ("bounces", "struck_thing", "panning_camera", "scrubbing")
    samples = [
        Sample(f"clip-{n}", n, f"A dog barks at train {n}", extra={"family": family})
        for n, family in enumerate(families)
    ]
    requests = [Request(sample, n, 0, 100 + n, plan, sample.prompts) for n, sample in enumerate(samples)]
    for answer in generator.generate(requests):
        assert isinstance(answer, Generated), answer
        check_trajectory(lumas_of(answer.clip.frames))


@pytest.mark.slow
def test_no_peak_of_real_clips_changes() -> None:
    videos = sorted(REAL.rglob("*.mp4"))
    if not videos:
        pytest.skip("real clips are not part of the checkout")
    for lumas in decoded(videos, 48):
        check_trajectory(lumas)


@pytest.mark.gpu
@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_a_gpu_does_as_opencv(measure: FlowMeasure, golden: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    for lumas in decoded([golden / "clips/fake/sample_0000.mp4"], 96):
        flows = measure.flow.of_frames(torch.from_numpy(lumas).cuda())
        measured = measure.of_pairs(flows).cpu().numpy()
        np.testing.assert_allclose(measured, by_opencv(measure, lumas), rtol=0, atol=TRAJECTORY_PX)
        still = measure.of_pairs(measure.flow.of_frames(torch.from_numpy(np.stack([lumas[0]] * 40)).cuda()))
        assert (still == still[0]).all()
