"""Crops of containers, in files put together here element by element, and in a real MP4."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.media.crop import NO_CROP, Crop, crop_of, cropped

CROP_IDS = {"left": "54cc", "top": "54bb", "right": "54dd", "bottom": "54aa"}


def element(kind: str, *content: bytes, size: bytes | None = None) -> bytes:
    """An EBML element; its size in eight bytes unless given."""
    data = b"".join(content)
    return bytes.fromhex(kind) + (size or (len(data) | 1 << 56).to_bytes(8, "big")) + data


def entry(track_type: int, **crop: int) -> bytes:
    numbers = [element(CROP_IDS[side], value.to_bytes(2, "big")) for side, value in crop.items()]
    return element("ae", element("83", bytes([track_type])), element("e0", element("b0", b"\xa0"), *numbers))


def matroska(*segment: bytes, size: bytes | None = None) -> bytes:
    return element("1a45dfa3", element("4282", b"matroska")) + element("18538067", *segment, size=size)


def crop_in(tmp_path: Path, data: bytes, format: str, track: int = 0) -> Crop:
    (tmp_path / "file").write_bytes(data)
    return crop_of(tmp_path / "file", format, track)


CLUSTER = element("1f43b675", b"\0" * 999)


@pytest.mark.parametrize("size", [None, b"\x01" + b"\xff" * 7])
def test_matroska_s_crop_of_each_video_track(tmp_path, size):
    tracks = element("1654ae6b", entry(2), entry(1, left=16, top=8), entry(1, right=300, bottom=2), entry(1))
    # Editors move the tracks behind the clusters when they grow.
    data = matroska(element("ec", b"\0" * 50), CLUSTER, CLUSTER, tracks, size=size)
    found = [crop_in(tmp_path, data, "matroska", track) for track in range(4)]
    assert found == [Crop(16, 8, 0, 0), Crop(0, 0, 300, 2), NO_CROP, NO_CROP]


def box(kind: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def clap(width, height, x=(0, 1), y=(0, 1)) -> bytes:
    return box(b"clap", struct.pack(">IIIIiIiI", *width, *height, *x, *y))


def with_clap(data: bytes, aperture: bytes) -> bytes:
    """A real MP4 with a clean aperture at the end of its sample entry; the movie box is the file's last."""
    entry = data.index(b"avc1", data.index(b"moov")) - 4
    above = [data.rindex(kind, 0, entry) - 4 for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")]
    changed = bytearray(data)
    for start in (*above, entry):
        size = struct.unpack_from(">I", data, start)[0]
        struct.pack_into(">I", changed, start, size + len(aperture))
    end = entry + struct.unpack_from(">I", data, entry)[0]
    return bytes(changed[:end]) + aperture + bytes(changed[end:])


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("mp4") / "clip.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", 48000)
        stream = container.add_stream("libx264", 8)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48000
        container.mux(sound.encode(silence))
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((180, 160), np.uint8), format="yuv420p")))
        container.mux([*sound.encode(), *stream.encode()])
    return path.read_bytes()


@pytest.mark.parametrize(
    ("aperture", "crop"),
    [
        (clap((144, 1), (112, 1)), Crop(8, 4, 8, 4)),
        (clap((144, 1), (112, 1), (8, 1), (4, 1)), Crop(16, 8, 0, 0)),
        (clap((288, 2), (112, 1), (-16, 2), (0, 1)), Crop(0, 4, 16, 4)),
        (clap((160, 1), (120, 1)), NO_CROP),
        # Not within the picture, or no numbers at all: players go on without.
        (clap((161, 1), (120, 1)), NO_CROP),
        (clap((144, 1), (120, 1), (9, 1)), NO_CROP),
        (clap((144, 0), (112, 1)), NO_CROP),
        (clap((0, 1), (0, 1)), NO_CROP),
        (box(b"clap", b"\0" * 20), NO_CROP),
        (box(b"pasp", b"\0\0\0\1\0\0\0\1"), NO_CROP),
    ],
)
def test_the_clean_aperture_of_mp4(tmp_path, mp4, aperture, crop):
    data = with_clap(mp4, aperture)
    assert crop_in(tmp_path, data, "mov") == crop
    with av.open(str(tmp_path / "file")) as container:
        assert container.streams.video[0].codec_context.width == 160  # what FFmpeg makes of the file: it is sound


def test_other_formats_and_files_without_such_elements_have_no_crop(tmp_path, mp4):
    assert crop_in(tmp_path, mp4, "mov") == crop_in(tmp_path, mp4, "mov", 1) == NO_CROP
    assert crop_in(tmp_path, b"RIFF", "avi") == crop_in(tmp_path, mp4, "matroska") == NO_CROP


def test_structures_that_go_nowhere_end_soon(tmp_path):
    endless = element("1654ae6b", *[element("ae", element("83", b"\2"))] * 2000, entry(1, left=2))
    beyond = element("1654ae6b", size=b"\x01" + b"\x7f" * 7)
    for data in (matroska(endless), matroska(beyond), matroska(element("ec", size=b"\x00" * 8)), b"\x1a\x45\xdf\xa3"):
        assert crop_in(tmp_path, data, "matroska") == NO_CROP
    for size, rest in ((1, b"\xff" * 8), (1, b""), (7, b"")):
        assert crop_in(tmp_path, struct.pack(">I4s", size, b"moov") + rest, "mov") == NO_CROP


@settings(max_examples=60)
@given(st.data())
def test_damage_never_raises(tmp_path_factory, mp4, data):
    tracks = element("1654ae6b", entry(1, left=16, top=8))
    format, whole = data.draw(
        st.sampled_from([("matroska", matroska(tracks)), ("mov", with_clap(mp4, clap((144, 1), (112, 1))))])
    )
    changed = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(changed)
    assert all(side >= 0 for side in crop_of(path, format, 0))


def test_pixels_are_cropped_unless_nothing_would_be_left():
    pixels = np.arange(4 * 6 * 3).reshape(4, 6, 3).astype(np.uint8)
    assert np.array_equal(cropped(pixels, Crop(1, 2, 3, 1)), pixels[2:3, 1:3])
    assert cropped(pixels, NO_CROP).shape == (4, 6, 3)
    for crop in (Crop(left=6), Crop(3, 0, 3, 0), Crop(bottom=2**40), Crop(0, 2, 0, 2)):
        assert np.array_equal(cropped(pixels, crop), pixels)
