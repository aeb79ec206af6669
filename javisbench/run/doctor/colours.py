"""Whether the PyAV and FFmpeg at hand convert colours as those with which javisbench was tested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from javisbench.run.doctor.findings import Report

if TYPE_CHECKING:
    import av
    import numpy as np
    from numpy.typing import NDArray

Triple = tuple[int, int, int]

# Y, Cb, Cr of the patches: primaries, a bright and a violet tone, white, black, grey, and two more.
PATCHES: tuple[Triple, ...] = (
    *((41, 240, 110), (81, 90, 240), (145, 54, 34), (168, 60, 190), (106, 202, 160)),
    *((235, 128, 128), (16, 128, 128), (126, 128, 128), (200, 100, 150), (60, 160, 90)),
)
# What PyAV 16.0.0, 16.1.0, 17.0.0 and 18.1.0 (FFmpeg 8.0 to 8.1, x86-64) make of them, by pixel format, and matrix and
# range as H.273 and FFmpeg number them (2 and 0: not tagged).
PINNED: Mapping[tuple[str, int, int], tuple[Triple, ...]] = {
    ("yuv420p", 2, 0): (
        *((0, 0, 254), (253, 0, 0), (0, 254, 0), (255, 151, 38), (155, 48, 253)),
        *((255, 255, 255), (0, 0, 0), (128, 128, 128), (249, 206, 157), (0, 68, 115)),
    ),
    ("yuv420p", 5, 2): (
        *((15, 14, 239), (238, 14, 13), (13, 237, 13), (254, 146, 47), (150, 57, 237)),
        *((235, 235, 235), (16, 16, 16), (126, 126, 126), (230, 193, 150), (6, 75, 116)),
    ),
    ("yuv420p", 1, 1): (
        *((0, 14, 255), (255, 23, 0), (0, 215, 0), (255, 156, 32), (161, 70, 255)),
        *((255, 255, 255), (0, 0, 0), (128, 128, 128), (253, 207, 154), (0, 64, 118)),
    ),
    ("yuv420p", 1, 2): (
        *((12, 28, 248), (255, 35, 10), (0, 202, 7), (255, 150, 41), (156, 77, 243)),
        *((235, 235, 235), (16, 16, 16), (126, 126, 126), (234, 194, 148), (0, 71, 119)),
    ),
    ("yuv420p", 9, 1): (
        *((0, 19, 255), (255, 9, 0), (0, 224, 0), (255, 147, 30), (157, 69, 255)),
        *((255, 255, 255), (0, 0, 0), (128, 128, 128), (250, 204, 154), (0, 69, 119)),
    ),
    ("yuv420p", 8, 1): (
        *((0, 157, 0), (246, 32, 0), (127, 66, 255), (255, 100, 184), (57, 189, 0)),
        *((255, 255, 255), (0, 0, 0), (128, 128, 128), (255, 182, 221), (0, 88, 58)),
    ),
    ("yuvj420p", 2, 0): (
        *((15, 14, 239), (238, 14, 13), (13, 237, 13), (254, 146, 47), (150, 57, 237)),
        *((235, 235, 235), (16, 16, 16), (126, 126, 126), (230, 193, 150), (6, 75, 116)),
    ),
    ("yuv420p10le", 1, 1): (
        *((0, 13, 255), (255, 23, 0), (0, 215, 0), (255, 158, 31), (160, 70, 255)),
        *((253, 253, 253), (0, 0, 0), (126, 126, 126), (251, 207, 153), (0, 62, 117)),
    ),
}
_WIDTH = 16  # pixels of a patch, so that the converter's vector code has its share


def check_colours(report: Report) -> None:
    """Convert a picture made in memory and compare; nothing is read or written."""
    worst = colour_deviation()
    if worst == 0:
        report.add("ok", "machine", "colours are converted to RGB as in javisbench's own tests")
        return
    report.add(
        "warning",
        "machine",
        f"this PyAV or FFmpeg converts colours to RGB by up to {worst} levels of 255 differently from those that "
        f"javisbench was tested with: scores can differ from those of other machines. Install PyAV's own build (pip "
        f"install --force-reinstall av) for published numbers.",
    )


def colour_deviation() -> int:
    """The largest difference from `PINNED`, in levels of 255."""
    import numpy as np

    from javisbench.media.colour import ToRgb

    worst = 0
    for (form, matrix, colour_range), pinned in PINNED.items():
        pixels = ToRgb("colour patches")(patches(form, matrix, colour_range))
        seen = pixels[1, _WIDTH // 2 :: _WIDTH].astype(int)
        worst = max(worst, int(np.abs(seen - np.array(pinned)).max()))
    return worst


def patches(form: str, matrix: int, colour_range: int) -> av.VideoFrame:
    """A frame of `PATCHES` side by side, tagged.

    Args:
        form: planar, chroma halved both ways, 8 or 10 bits.
        matrix: coefficients as H.273 numbers them.
        colour_range: 0 (not said), 1 (limited) or 2 (full).
    """
    import av
    import numpy as np

    frame = av.VideoFrame(_WIDTH * len(PATCHES), 4, form)
    for plane, values in zip(frame.planes, np.array(PATCHES).T, strict=True):
        row = np.repeat(values, plane.width // len(PATCHES))
        _fill(plane, row * 4 if "10" in form else row, 2 if "10" in form else 1)
    frame.colorspace, frame.color_range = matrix, colour_range
    return frame


def _fill(plane: av.video.plane.VideoPlane, row: NDArray[np.int64], sample_bytes: int) -> None:
    """Set every row of a plane."""
    import numpy as np

    line = row.astype(f"<u{sample_bytes}").view(np.uint8)
    data = np.zeros(plane.buffer_size, np.uint8)
    lines = data[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)
    lines[:, : len(line)] = line
    plane.update(data.tobytes())
