"""A picture and the sound beside it in one file: the same frames at the same times, the same samples."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile

from javisbench.clip import Clip
from javisbench.errors import MediaError
from javisbench.media import ClipJoiner, ClipSource, read_clip, write_clip


def joined(folder: Path, video: Path, audio: Path) -> Path:
    target = folder / "joined.mp4"
    with ClipJoiner() as joiner:
        joiner.join(ClipSource("a", video, audio), target)
    return target


def clip(rate: int = 16000, channels: int = 2, times_s: np.ndarray | None = None) -> Clip:
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 255, (1, 48, 64, 3), np.uint8) + np.arange(30, dtype=np.uint8)[:, None, None, None]
    sound = np.rint(rng.uniform(-0.9, 0.9, (channels, rate + 123)) * 32768).astype(np.float32) / 32768
    return Clip(frames, Fraction(24), sound, rate, "sidecar", times_s)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2), (96000, 2), (48000, 6)])
def test_frames_and_samples_are_those_that_were_scored(tmp_path: Path, rate: int, channels: int) -> None:
    write_clip(clip(rate, channels), tmp_path / "a.mp4")
    before = read_clip(tmp_path / "a.mp4")
    after = read_clip(joined(tmp_path, tmp_path / "a.mp4", tmp_path / "a.wav"))
    assert (before.audio_source, after.audio_source) == ("sidecar", "container")
    assert np.array_equal(before.frames, after.frames) and after.sample_rate == rate
    assert np.array_equal(before.frame_times_s, after.frame_times_s)
    assert np.array_equal(before.audio, after.audio)  # FLAC of 16-bit samples: to the bit


def test_uneven_frame_times_stay(tmp_path: Path) -> None:
    times = np.cumsum(np.array([0.0] + [0.03, 0.07] * 14 + [0.05]))
    write_clip(clip(times_s=times), tmp_path / "a.mp4")
    after = read_clip(joined(tmp_path, tmp_path / "a.mp4", tmp_path / "a.wav"))
    assert after.frame_times_s == pytest.approx(times, abs=1e-4)


def test_a_picture_that_starts_late_starts_with_the_sound(tmp_path: Path) -> None:
    """As everywhere: the file beside a video starts with the first frame, whatever the container's clock says."""
    import av

    write_clip(clip(), tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as source, av.open(str(tmp_path / "late.mp4"), "w") as late:
        track = late.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts, packet.dts = (stamp + round(0.5 / packet.time_base) for stamp in (packet.pts, packet.dts))
                packet.stream = track
                late.mux(packet)
    with av.open(str(joined(tmp_path, tmp_path / "late.mp4", tmp_path / "a.wav"))) as found:
        starts = [float(stream.start_time * stream.time_base) for stream in found.streams]
    assert starts == pytest.approx([0.0, 0.0], abs=1e-3)


def test_sound_of_other_formats_and_lengths(tmp_path: Path) -> None:
    short = clip()
    write_clip(short, tmp_path / "a.mp4", sidecar=False)
    sound = np.zeros((1000, 1), np.float32) + 0.25
    soundfile.write(tmp_path / "a.flac", sound, 22050)
    after = read_clip(joined(tmp_path, tmp_path / "a.mp4", tmp_path / "a.flac"))
    assert after.audio is not None and after.audio.shape == (1, 1000) and np.allclose(after.audio, 0.25, atol=2**-15)


def test_what_cannot_be_joined_leaves_nothing(tmp_path: Path) -> None:
    write_clip(clip(), tmp_path / "a.mp4")
    (tmp_path / "a.wav").write_bytes(b"RIFF....WAVE")
    names = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(MediaError) as refused:
        joined(tmp_path, tmp_path / "a.mp4", tmp_path / "a.wav")
    assert refused.value.kind == "bad_sidecar"
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_codec_that_no_browser_plays_is_refused(tmp_path: Path) -> None:
    import av

    write_clip(clip(), tmp_path / "a.mp4")
    with av.open(str(tmp_path / "old.avi"), "w") as written:
        track = written.add_stream("mpeg4", rate=24)
        track.width, track.height = 64, 48
        for pixels in clip().frames:
            written.mux(track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        written.mux(track.encode(None))
    with pytest.raises(MediaError, match="mpeg4 is not played in mp4") as refused:
        joined(tmp_path, tmp_path / "old.avi", tmp_path / "a.wav")
    assert refused.value.kind == "unsupported_format"
