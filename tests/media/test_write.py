"""Writing clips: what comes back, what is equal, what is left behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from javisbench.clip import Clip
from javisbench.errors import MediaError
from javisbench.media import probe, write_clip

Decode = Callable[..., Clip]


def _clip(
    frames: int = 12,
    size: tuple[int, int] = (64, 48),
    channels: int | None = 1,
    rate: int = 16_000,
    fps: Fraction = Fraction(24),
    times: np.ndarray | None = None,
) -> Clip:
    """A moving gradient with soft colours, which 4:2:0 keeps well, and noise."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    pictures = [
        np.stack([128 + 80 * np.sin((x + 2 * t) / 20), 128 + 80 * np.cos(y / 25), 100 + 0 * x], axis=2)
        for t in range(frames)
    ]
    noise = None
    if channels is not None:
        whole = np.random.default_rng(0).integers(-32768, 32768, (channels, max(1, rate * frames // 24)))
        noise = (whole / 32768).astype(np.float32)
    return Clip(
        frames=np.round(np.stack(pictures)).astype(np.uint8),
        fps=fps,
        audio=noise,
        sample_rate=None if channels is None else rate,
        frame_times_s=times,
    )


def test_what_was_written_comes_back(decode: Decode, tmp_path: Path) -> None:
    clip, path = _clip(channels=2), tmp_path / "deep" / "er" / "sample_0000.mp4"

    write_clip(clip, path)

    back = decode(path, path.with_suffix(".wav"))
    assert back.frames.shape == clip.frames.shape and back.fps == clip.fps
    # BT.601 in 8 bits and H.264 at the default quality; measured 0.8 on average.
    assert np.abs(back.frames.astype(int) - clip.frames).mean() < 2
    assert clip.audio is not None and back.audio is not None
    assert np.array_equal(back.audio, clip.audio)  # 16-bit sound survives exactly
    assert soundfile.info(path.with_suffix(".wav")).subtype == "PCM_16"
    info = probe(path)
    assert (info.video_codec, info.pixel_format, info.audio_codec) == ("h264", "yuv420p", "aac")
    assert (info.sample_rate, info.channels) == (16_000, 2)


def test_the_sound_in_the_container_is_in_time(decode: Decode, tmp_path: Path) -> None:
    clip = _clip(frames=48)
    click = np.zeros((1, 32_000), np.float32)
    click[0, 12_345] = 1.0
    write_clip(Clip(clip.frames, clip.fps, click, 16_000), tmp_path / "click.mp4", sidecar=False)

    back = decode(tmp_path / "click.mp4")

    assert back.audio is not None and back.audio_source == "container"
    assert abs(int(np.abs(back.audio[0]).argmax()) - 12_345) <= 2
    assert not (tmp_path / "click.wav").exists()


def test_the_index_stands_at_the_front_and_both_tracks_are_interleaved(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(_clip(frames=96), path)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        order = [packet.stream.type for packet in container.demux() if packet.size]
    assert "audio" in order[: len(order) // 4] and "video" in order[-len(order) // 4 :]


def test_equal_clips_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_clip(_clip(frames=48, size=(426, 240)), tmp_path / f"{name}.mp4")
    for suffix in ("mp4", "wav"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


@pytest.mark.parametrize("size", [(63, 48), (64, 47), (1, 1), (5, 3)])
def test_odd_sizes_are_kept(decode: Decode, tmp_path: Path, size: tuple[int, int]) -> None:
    clip = _clip(size=size)
    write_clip(clip, tmp_path / "odd.mp4")
    back = decode(tmp_path / "odd.mp4")
    assert back.frames.shape == clip.frames.shape
    assert np.abs(back.frames.astype(int) - clip.frames).mean() < 3
    assert probe(tmp_path / "odd.mp4").pixel_format == "yuv444p"


def test_odd_sizes_padded_for_every_player(decode: Decode, tmp_path: Path) -> None:
    clip = _clip(size=(63, 47))
    write_clip(clip, tmp_path / "odd.mp4", odd_size="pad")
    back = decode(tmp_path / "odd.mp4")
    assert back.frames.shape == (12, 48, 64, 3)
    assert probe(tmp_path / "odd.mp4").pixel_format == "yuv420p"
    assert np.abs(back.frames[:, :47, :63].astype(int) - clip.frames).mean() < 3


@pytest.mark.parametrize("fps", [Fraction(24), Fraction(30000, 1001), Fraction(25), Fraction(15, 2), Fraction(60)])
@pytest.mark.parametrize("frames", [1, 7])
def test_frame_rates_are_exact(decode: Decode, tmp_path: Path, fps: Fraction, frames: int) -> None:
    write_clip(_clip(frames=frames, fps=fps), tmp_path / "clip.mp4")
    back = decode(tmp_path / "clip.mp4")
    assert back.fps == fps and len(back.frames) == frames


def test_variable_frame_rates_keep_their_times(decode: Decode, tmp_path: Path) -> None:
    times = np.array([3.0, 3.1, 3.15, 3.5, 4.0])
    write_clip(_clip(frames=5, times=times), tmp_path / "clip.mp4")
    back = decode(tmp_path / "clip.mp4")
    assert back.frame_times_s is not None
    assert np.allclose(back.frame_times_s, times - 3.0, atol=1e-4)


@pytest.mark.parametrize("channels", range(1, 9))
def test_every_number_of_channels_up_to_eight(decode: Decode, tmp_path: Path, channels: int) -> None:
    clip, path = _clip(channels=channels, rate=48_000), tmp_path / "clip.mp4"
    write_clip(clip, path)
    assert clip.audio is not None
    beside, inside = decode(path, path.with_suffix(".wav")), decode(path)
    assert beside.audio is not None and np.array_equal(beside.audio, clip.audio)
    assert inside.audio is not None and inside.audio.shape[0] == channels


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_sample_rates(decode: Decode, tmp_path: Path, rate: int) -> None:
    write_clip(_clip(rate=rate), tmp_path / "clip.mp4")
    assert decode(tmp_path / "clip.mp4").sample_rate == rate
    assert decode(tmp_path / "clip.mp4", tmp_path / "clip.wav").sample_rate == rate


@pytest.mark.parametrize(("rate", "in_container"), [(10_000, 11_025), (192_000, 96_000)])
def test_rates_that_aac_does_not_know(decode: Decode, tmp_path: Path, rate: int, in_container: int) -> None:
    clip = _clip(rate=rate, frames=24)
    write_clip(clip, tmp_path / "clip.mp4")
    inside = decode(tmp_path / "clip.mp4")
    assert inside.sample_rate == in_container
    assert inside.audio_duration_s == pytest.approx(1, abs=0.2)
    beside = decode(tmp_path / "clip.mp4", tmp_path / "clip.wav")
    assert clip.audio is not None and beside.audio is not None
    assert beside.sample_rate == rate and np.array_equal(beside.audio, clip.audio)


def test_a_silent_clip_has_no_sound_anywhere_and_leaves_no_old_wav(decode: Decode, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(_clip(), path)
    assert path.with_suffix(".wav").exists()
    write_clip(_clip(channels=None), path)
    assert not path.with_suffix(".wav").exists()
    assert decode(path).audio is None
    assert not probe(path).has_audio


def test_the_wav_may_stand_elsewhere(tmp_path: Path) -> None:
    write_clip(_clip(), tmp_path / "clip.mp4", tmp_path / "sound" / "other.wav")
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["clip.mp4", "other.wav"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=50))
def test_rounding_to_16_bits(tmp_path: Path, values: list[float]) -> None:
    clip = _clip(frames=1, size=(16, 16))
    audio = np.array([values], np.float32)
    write_clip(Clip(clip.frames, clip.fps, audio, 16_000), tmp_path / "clip.mp4")
    stored, _ = soundfile.read(tmp_path / "clip.wav", dtype="float32")
    assert np.abs(stored - np.clip(audio[0], -1, 32767 / 32768)).max() <= 0.5 / 32768


BAD: dict[str, Clip] = {
    "no frames": Clip(np.zeros((0, 4, 4, 3), np.uint8), Fraction(24), None, None),
    "grey": Clip(np.zeros((2, 4, 4), np.uint8), Fraction(24), None, None),
    "floats": Clip(np.zeros((2, 4, 4, 3), np.float32), Fraction(24), None, None),  # type: ignore[arg-type]
    "no rate": Clip(np.zeros((2, 4, 4, 3), np.uint8), Fraction(0), None, None),
    "flat sound": Clip(np.zeros((2, 4, 4, 3), np.uint8), Fraction(24), np.zeros(9, np.float32), 8_000),
    "no sample rate": Clip(np.zeros((2, 4, 4, 3), np.uint8), Fraction(24), np.zeros((1, 9), np.float32), None),
    "no samples": Clip(np.zeros((2, 4, 4, 3), np.uint8), Fraction(24), np.zeros((1, 0), np.float32), 8_000),
    "nine channels": Clip(np.zeros((2, 4, 4, 3), np.uint8), Fraction(24), np.zeros((9, 9), np.float32), 8_000),
    "not a number": Clip(np.zeros((2, 4, 4, 3), np.uint8), Fraction(24), np.full((1, 9), np.nan, np.float32), 8_000),
    "two at a time": Clip(
        np.zeros((2, 4, 4, 3), np.uint8), Fraction(24), None, None, frame_times_s=np.array([1.0, 1.0])
    ),
}


@pytest.mark.parametrize("trouble", BAD)
def test_what_is_no_clip_is_not_written(tmp_path: Path, trouble: str) -> None:
    with pytest.raises(MediaError) as refusal:
        write_clip(BAD[trouble], tmp_path / "clip.mp4")
    assert refusal.value.kind == "cannot_write"
    assert "clip.mp4" in refusal.value.message or "times" in refusal.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MediaError) as refusal:
        write_clip(_clip(), tmp_path / "file" / "clip.mp4")
    assert refusal.value.kind == "cannot_write"


def test_a_failure_midway_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(_clip(), path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MediaError, match="No space left"):
        write_clip(_clip(frames=20), path)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["clip.mp4", "clip.wav"]


@pytest.mark.parametrize("crf", [0, 52])
def test_senseless_quality(tmp_path: Path, crf: int) -> None:
    with pytest.raises(ValueError, match="crf"):
        write_clip(_clip(), tmp_path / "clip.mp4", crf=crf)
