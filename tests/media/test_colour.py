"""Colours of tagged and untagged frames: against the formulas of the standards, against plain FFmpeg, and pinned."""

from __future__ import annotations

import platform
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.errors import MediaError
from javisbench.media import read_clip
from javisbench.media.colour import ONE_SCALER_THREAD, ToRgb
from javisbench.run.doctor import colours
from javisbench.run.doctor.findings import Report

# Kr and Kb by H.273's number of the matrix (its table 4).
WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
YCGCO = 8
# Rounding to 8-bit Y, Cb, Cr costs up to 1.5 levels; FFmpeg's converter of halved chroma, which works with tables that
# cut, up to 2 (measured over 2048 random colours: 3 in all, 2 for the full converter and for full range).
LEVELS = {"yuv420p": 3, "yuv444p": 2}


def to_yuv(rgb, matrix: int, colour_range: int) -> np.ndarray:
    """8-bit Y, Cb, Cr of an R'G'B' colour, by H.273's equations."""
    r, g, b = np.array(rgb) / 255
    if matrix == YCGCO:
        y, cb, cr = r / 4 + g / 2 + b / 4, -r / 4 + g / 2 - b / 4, (r - b) / 2
    else:
        kr, kb = WEIGHTS[matrix]
        y = kr * r + (1 - kr - kb) * g + kb * b
        cb, cr = (b - y) / (1 - kb) / 2, (r - y) / (1 - kr) / 2
    scale, zero, chroma = (219, 16, 224) if colour_range == 1 else (255, 0, 255)
    return np.rint(np.clip([zero + scale * y, 128 + chroma * cb, 128 + chroma * cr], 0, 255)).astype(np.uint8)


def filled(form: str, width: int, height: int, planes, matrix: int = 2, colour_range: int = 0) -> av.VideoFrame:
    """A planar 8-bit frame, each plane a value or an array."""
    frame = av.VideoFrame(width, height, form)
    for plane, value in zip(frame.planes, planes, strict=True):
        data = np.zeros(plane.buffer_size, np.uint8)
        lines = data[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)
        lines[:, : plane.width] = value
        plane.update(data.tobytes())
    frame.colorspace, frame.color_range = matrix, colour_range
    return frame


def noise(form: str, width: int, height: int, matrix: int = 2, colour_range: int = 0) -> av.VideoFrame:
    random = np.random.default_rng(width)
    shapes = [(plane.height, plane.width) for plane in av.VideoFrame(width, height, form).planes]
    planes = [random.integers(0, 256, shape).astype(np.uint8) for shape in shapes]
    return filled(form, width, height, planes, matrix, colour_range)


COLOURS = st.tuples(*[st.integers(0, 255)] * 3)


@settings(max_examples=60)
@given(COLOURS, st.sampled_from([*WEIGHTS, YCGCO]), st.sampled_from([1, 2]), st.sampled_from(["yuv420p", "yuv444p"]))
def test_tagged_colours_come_back(rgb, matrix, colour_range, form):
    frame = filled(form, 32, 4, to_yuv(rgb, matrix, colour_range), matrix, colour_range)
    pixels = ToRgb("x")(frame)
    assert np.abs(pixels.astype(int) - rgb).max() <= LEVELS[form]


@settings(max_examples=20)
@given(COLOURS, st.sampled_from([(64, 4), (1280, 4)]))
def test_untagged_colours_are_bt601_in_limited_range_at_every_size(rgb, size):
    pixels = ToRgb("x")(filled("yuv420p", *size, to_yuv(rgb, 5, 1)))
    assert np.abs(pixels.astype(int) - rgb).max() <= LEVELS["yuv420p"]


@pytest.mark.parametrize("size", [(64, 48), (66, 50), (65, 47), (1280, 16)])
@pytest.mark.parametrize("form", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "gray"])
def test_ordinary_frames_are_converted_bit_for_bit_as_ffmpeg_does(form, size):
    plain = VideoReformatter().reformat(noise(form, *size), format="rgb24", **ONE_SCALER_THREAD).to_ndarray()
    assert np.array_equal(ToRgb("x")(noise(form, *size)), plain)


def test_formats_that_are_rgb_pass_unchanged():
    frame = noise("gbrp", 64, 48, matrix=0, colour_range=2)
    green, blue, red = (np.frombuffer(plane, np.uint8).reshape(48, -1)[:, :64] for plane in frame.planes)
    assert np.array_equal(ToRgb("x")(frame), np.stack([red, green, blue], axis=-1))


def test_formats_with_j_are_full_range_whatever_their_tag():
    assert np.array_equal(ToRgb("x")(noise("yuvj420p", 64, 48, 1, 1)), ToRgb("x")(noise("yuv420p", 64, 48, 1, 2)))


def test_a_change_of_tags_midway_leaves_nothing_behind():
    tags = [(1, 1), (5, 1), (5, 2), (YCGCO, 1), (2, 0), (9, 2), (2, 0)]
    one = ToRgb("x")
    for matrix, colour_range in tags:
        frames = [noise("yuv420p", 64, 48, matrix, colour_range) for _ in range(2)]
        assert np.array_equal(one(frames[0]), ToRgb("x")(frames[1])), (matrix, colour_range)


def test_a_matrix_that_nobody_here_converts_is_told():
    with pytest.raises(MediaError, match=r"^a\.mp4: .*ICtCp") as caught:
        ToRgb("a.mp4")(noise("yuv420p", 64, 48, 14))
    assert caught.value.kind == "decode_error"


def test_reserved_and_undefined_tags_count_as_none():
    plain = ToRgb("x")(noise("yuv420p", 64, 48))
    for matrix in (0, 3, 99):
        assert np.array_equal(ToRgb("x")(noise("yuv420p", 64, 48, matrix)), plain)


@pytest.mark.skipif(not hasattr(av.VideoFrame, "color_trc"), reason="PyAV 16 does not tell transfer functions")
def test_hdr_is_noticed_and_not_converted():
    convert, frame = ToRgb("x"), noise("yuv420p", 64, 48, 9, 1)
    frame.color_trc, frame.color_primaries = 16, 9
    assert np.array_equal(convert(frame), ToRgb("x")(noise("yuv420p", 64, 48, 9, 1))) and convert.hdr == "PQ"


def test_values_are_those_pinned():
    # Without x86's vector code, FFmpeg's tables round otherwise here and there.
    assert colours.colour_deviation() <= (0 if platform.machine() == "x86_64" else 2)


def test_doctor_tells_of_another_conversion(monkeypatch):
    report = Report()
    colours.check_colours(report)
    pinned = dict(colours.PINNED)
    first = next(iter(pinned))
    pinned[first] = tuple((r, min(255, g + 7), b) for r, g, b in pinned[first])
    monkeypatch.setattr(colours, "PINNED", pinned)
    colours.check_colours(report)
    assert report.findings[0].level == ("ok" if platform.machine() == "x86_64" else report.findings[0].level)
    assert report.findings[-1].level == "warning" and "by up to 7 levels" in report.findings[-1].message


RGB = (200, 60, 40)


@pytest.mark.parametrize(
    ("params", "matrix", "colour_range", "size"),
    [
        ("", 5, 1, (64, 48)),
        ("", 5, 1, (1280, 64)),
        ("colormatrix=bt709", 1, 1, (64, 48)),
        ("colormatrix=bt470bg", 5, 1, (1280, 64)),
        ("colormatrix=smpte240m:fullrange=on", 7, 2, (64, 48)),
        ("colormatrix=bt2020nc", 9, 1, (64, 48)),
        ("colormatrix=YCgCo", YCGCO, 1, (64, 48)),
        ("fullrange=on", 5, 2, (64, 48)),
    ],
)
def test_tags_of_encoded_clips_are_followed(tmp_path: Path, params: str, matrix: int, colour_range: int, size) -> None:
    path = tmp_path / "clip.mp4"
    planes = to_yuv(RGB, matrix, colour_range)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 8, options={"qp": "1", "x264-params": params or "keyint=1"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for _ in range(2):
            container.mux(stream.encode(filled("yuv420p", *size, planes)))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        frames = [ToRgb(path)(frame) for frame in container.decode(video=0)]
    assert len(frames) == 2
    assert np.abs(frames[0].astype(int) - RGB).max() <= 2
    if params == "colormatrix=bt709":
        assert np.array_equal(read_clip(path).frames[0], frames[0])


@pytest.mark.parametrize("form", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize("matrix", [2, 5, 6])
@pytest.mark.parametrize("colour_range", [0, 1])
def test_the_short_way_of_plain_frames_is_that_of_bt601(form, matrix, colour_range):
    rng = np.random.default_rng(matrix)

    def frame() -> av.VideoFrame:
        made = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=form)
        made.colorspace, made.color_range = matrix, colour_range
        return made

    pixels = rng.integers(0, 256, (48, 64, 3), np.uint8)
    long_way = ToRgb("clip")
    long_way._kind = lambda _: "yuv"  # type: ignore[method-assign]
    assert np.array_equal(ToRgb("clip")(frame()), long_way(frame()))
