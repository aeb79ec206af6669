"""A set of files that are no good clips, each broken in its own way, for tests of whatever reads folders of clips."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

_NESTED = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def make_bad_clips(folder: Path) -> dict[str, str]:
    """Fill ``folder`` with bad clips named ``<stem>.mp4`` (some with a wav beside them).

    Returns:
        The ``MediaError.kind`` that each stem must be refused with. The one of kind ``timeout`` takes longer than any
        deadline of up to a minute; all others are refused within a few seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    good = _clip(frames=48)
    expected: dict[str, str] = {}

    def add(stem: str, kind: str, data: bytes, sidecar: bytes | None = None) -> None:
        (folder / f"{stem}.mp4").write_bytes(data)
        if sidecar is not None:
            (folder / f"{stem}.wav").write_bytes(sidecar)
        expected[stem] = kind

    target = folder / "target-of-the-scripts.bin"
    target.write_bytes(good)
    add("ffconcat", "unsupported_format", f"ffconcat version 1.0\nfile {target.name}\n".encode())
    add("playlist", "unsupported_format", _playlist("http://127.0.0.1:9/segment.ts"))
    add("local_playlist", "unsupported_format", _playlist(target.name))
    add("text", "unsupported_format", b"this is not a video\n" * 50)
    add("web_page", "unsupported_format", b"<!DOCTYPE html><html><title>404</title></html>")
    add("lfs_pointer", "unsupported_format", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    add("random", "unsupported_format", np.random.default_rng(0).bytes(50_000))
    add("zip", "unsupported_format", _zip())
    add("png", "unsupported_format", _png())
    add("empty", "empty_file", b"")
    add("truncated", "short_read", good[: len(good) * 2 // 3])
    add("truncated_matroska", "short_read", (data := _clip(frames=48, container="matroska"))[: len(data) * 2 // 3])
    add("claims_more_frames", "short_read", _with_samples(good, lambda count: count + 10))
    add("huge_header", "too_large", _huge_matroska())
    add("huge_count", "too_large", _repeating(2_000_000, size=64))
    add("impossible_count", "too_large", _repeating(4_000_000_000, size=64))
    add("stalls", "timeout", _repeating(1_000_000, size=2))
    add("no_index", "bad_container", _without(good, b"moov"))
    add("no_frames", "no_frames", _with_samples(good, lambda count: 0))
    add("damaged_middle", "decode_error", _damaged(good))
    add("damaged_sound", "bad_audio", _clip(frames=24, damaged_sound=True))
    add("sound_only", "no_video_stream", _sound_only())
    add("sidecar_rubbish", "bad_sidecar", good, b"RIFFrubbish" * 20)
    add("sidecar_truncated", "bad_sidecar", good, _wav(np.zeros(32_000))[:5_000])
    add("sidecar_nan", "bad_sidecar", good, _wav(np.full(32_000, np.nan), "FLOAT"))
    add("sidecar_empty", "bad_sidecar", good, b"")
    (folder / "folder.mp4").mkdir(exist_ok=True)
    os.mkfifo(folder / "pipe.mp4")
    (folder / "endless.mp4").symlink_to("/dev/zero")
    (folder / "dangling.mp4").symlink_to("nowhere.mp4")
    (folder / "circle.mp4").symlink_to("circle.mp4")
    return expected | {
        "folder": "not_a_file",
        "pipe": "not_a_file",
        "endless": "not_a_file",
        "dangling": "not_found",
        "circle": "not_found",
    }


def _clip(
    frames: int,
    container: str = "mp4",
    size: tuple[int, int] = (96, 64),
    codec: str = "libx264",
    damaged_sound: bool = False,
) -> bytes:
    """A moving pattern: one key frame, no frames out of order. Optionally with a sound track full of noise bytes."""
    file = io.BytesIO()
    pattern = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=Fraction(24))
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec == "libx264":
            stream.options = {"bf": "0", "g": "1000"}
        track = output.add_stream("aac", rate=16_000, layout="mono") if damaged_sound else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(pattern, 2 * number, axis=1), format="rgb24")
            frame.pts = number
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if track is not None:
            for number in range(16):
                packet = av.Packet(np.random.default_rng(number).bytes(200))
                packet.stream, packet.time_base = track, Fraction(1, 16_000)
                packet.pts = packet.dts = 1024 * number
                packet.duration = 1024
                output.mux(packet)
    return file.getvalue()


def _playlist(target: str) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{target}\n#EXT-X-ENDLIST\n".encode()


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("sample_0000.mp4", b"0" * 1000)
    return file.getvalue()


def _png() -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1])


def _wav(samples: np.ndarray, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, subtype=subtype, format="WAV")
    return file.getvalue()


def _sound_only() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        track = output.add_stream("aac", rate=16_000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 16_000
        output.mux(track.encode(samples))
        output.mux(track.encode(None))
    return file.getvalue()


def _damaged(data: bytes) -> bytes:
    """Noise over a quarter of the media data."""
    start = data.index(b"mdat") + 4
    third = (len(data) - start) // 3
    noise = np.random.default_rng(3).bytes((len(data) - start) // 4)
    return data[: start + third] + noise + data[start + third + len(noise) :]


def _huge_matroska() -> bytes:
    """A Matroska header of 100,000 x 100,000 pixels."""
    data = _clip(frames=2, container="matroska", codec="ffv1")
    # PixelWidth 96, PixelHeight 64 and DisplayUnit make room for two sizes of three bytes.
    old = b"\xb0\x81\x60\xba\x81\x40\x54\xb2\x81\x04"
    new = b"".join(name + b"\x83" + (100_000).to_bytes(3, "big") for name in (b"\xb0", b"\xba"))
    assert data.count(old) == 1 and len(old) == len(new)
    return data.replace(old, new)


# mp4 boxes


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position < len(data):
        length = struct.unpack(">I", data[position : position + 4])[0]
        yield data[position + 4 : position + 8], data[position + 8 : position + length]
        position += length


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def _rebuilt(data: bytes, change: Callable[[bytes, bytes], bytes]) -> bytes:
    """The boxes again, each content passed through ``change``."""
    result = b""
    for kind, content in _boxes(data):
        if kind != b"edts":  # the edit list, which would hide all frames that were not there before
            result += _box(kind, _rebuilt(content, change) if kind in _NESTED else change(kind, content))
    return result


def _without(data: bytes, unwanted: bytes) -> bytes:
    return b"".join(_box(kind, content) for kind, content in _boxes(data) if kind != unwanted)


def _with_samples(data: bytes, count: Callable[[int], int]) -> bytes:
    """Another number of samples in the tables of sizes and durations, nothing else changed."""

    def change(kind: bytes, content: bytes) -> bytes:
        if kind == b"stts":
            entries, samples, duration = struct.unpack(">III", content[4:16])
            assert entries == 1
            return content[:4] + struct.pack(">III", 1, count(samples), duration)
        if kind == b"stsz":
            fixed, samples = struct.unpack(">II", content[4:12])
            sizes = content[12:] + content[-4:] * max(0, count(samples) - samples)
            return content[:4] + struct.pack(">II", fixed, count(samples)) + sizes[: 4 * count(samples)]
        return content

    return _rebuilt(data, change)


def _repeating(count: int, size: int) -> bytes:
    """A small file that declares ``count`` frames of ``size`` x ``size`` pixels: the same few, over and over."""
    per_chunk = 1000
    data = _clip(frames=1, size=(size, size), codec="mjpeg")
    picture = dict(_boxes(data))[b"mdat"]
    chunks = min(-(-count // per_chunk), 100_000)

    def tables(offset: int) -> bytes:
        def change(kind: bytes, content: bytes) -> bytes:
            if kind == b"stts":
                return struct.pack(">IIII", 0, 1, count, 512)
            if kind == b"stsz":
                return struct.pack(">III", 0, len(picture), count)
            if kind == b"stsc":
                return struct.pack(">IIIII", 0, 1, 1, per_chunk, 1)
            if kind == b"stco":
                return struct.pack(">II", 0, chunks) + struct.pack(">I", offset) * chunks
            return content

        moov = dict(_boxes(data))[b"moov"]
        kept = b"".join(_box(kind, content) for kind, content in _boxes(moov))
        return _box(b"ftyp", dict(_boxes(data))[b"ftyp"]) + _box(b"moov", _rebuilt(kept, change))

    head = tables(0)
    return tables(len(head) + 8) + _box(b"mdat", picture * per_chunk)
