"""Fixtures of the tests of reading and writing clips."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from javisbench.clip import Clip
from javisbench.media import ClipReader, ClipSource

Encode = Callable[..., Path]


@pytest.fixture(scope="session")
def make_bad_clips() -> Callable[[Path], dict[str, str]]:
    """Fill a folder with bad clips; returns the kind of error that each file's stem must give."""
    path = Path(__file__).parent / "bad_clips.py"
    spec = importlib.util.spec_from_file_location("bad_clips", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    builder: Callable[[Path], dict[str, str]] = module.make_bad_clips
    return builder


@pytest.fixture(scope="session")
def bad_clips(
    tmp_path_factory: pytest.TempPathFactory, make_bad_clips: Callable[[Path], dict[str, str]]
) -> tuple[Path, dict[str, str]]:
    """The folder of bad clips, and the kind of error of each."""
    folder = tmp_path_factory.mktemp("bad")
    return folder, make_bad_clips(folder)


@pytest.fixture(scope="session")
def reader() -> Iterator[ClipReader]:
    """One decoding process for all tests that do not care which."""
    with ClipReader() as shared:
        yield shared


@pytest.fixture(scope="session")
def decode(reader: ClipReader) -> Callable[..., Clip]:
    """Decode one clip, or raise what `ClipReader` yields for it."""

    def one(video: Path, audio: Path | None = None) -> Clip:
        (result,) = [outcome for _, outcome in reader.read([ClipSource(video.stem, video, audio)])]
        if isinstance(result, Clip):
            return result
        raise result

    return one


@pytest.fixture(scope="session")
def plain_frames() -> Callable[[Path], np.ndarray]:
    """Decode all frames in this process, in the most straightforward way."""

    def decode_all(path: Path) -> np.ndarray:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])

    return decode_all


@pytest.fixture
def encode(tmp_path: Path) -> Encode:
    """Write a moving pattern, with a tone if ``sound`` names an audio codec."""

    def write(
        name: str = "clip.mp4",
        *,
        codec: str = "libx264",
        pixel_format: str = "yuv420p",
        size: tuple[int, int] = (64, 48),
        frames: int = 12,
        fps: Fraction = Fraction(24),
        times: Sequence[int] | None = None,
        sound: str | None = None,
        rate: int = 16_000,
        layout: str = "mono",
        seconds: float | None = None,
        sound_bits_per_s: int | None = None,
        options: dict[str, str] | None = None,
        muxer: dict[str, str] | None = None,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pattern = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        with av.open(str(path), "w", options=muxer or {}) as output:
            stream = output.add_stream(codec, rate=fps, options=options or {})
            stream.width, stream.height, stream.pix_fmt = *size, pixel_format
            stream.codec_context.thread_count = 1
            track = output.add_stream(sound, rate=rate, layout=layout) if sound else None
            if track is not None and sound_bits_per_s:
                track.bit_rate = sound_bits_per_s
            for index in range(frames):
                frame = av.VideoFrame.from_ndarray(np.roll(pattern, index, axis=1), format="rgb24")
                frame.pts, frame.time_base = (index if times is None else times[index]), 1 / fps
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
            if track is not None:
                samples = tone(rate, len(track.codec_context.layout.channels), seconds or frames / float(fps))
                block = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
                block.sample_rate, block.pts, block.time_base = rate, 0, Fraction(1, rate)
                resampler = av.AudioResampler(track.codec_context.format, layout, rate)
                for part in resampler.resample(block):
                    output.mux(track.encode(part))
                output.mux(track.encode(None))
        return path

    return write


def tone(rate: int, channels: int, seconds: float) -> np.ndarray:
    """A tone of another pitch in each channel, float32 (channels, samples)."""
    times = np.arange(round(rate * seconds)) / rate
    return np.stack([0.4 * np.sin(2 * np.pi * 220 * (1 + c) * times) for c in range(channels)]).astype(np.float32)
