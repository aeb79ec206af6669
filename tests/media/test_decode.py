"""What comes out of good files: pixels, times, rates and sound."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from javisbench.clip import Clip
from javisbench.errors import MediaError
from javisbench.media import ClipReader, ClipSource, probe, read_clip, sidecar_for

Decode = Callable[..., Clip]
Encode = Callable[..., Path]
PlainFrames = Callable[[Path], np.ndarray]

# name, codec, pixel format, sound codec, sound rate
FORMATS = [
    ("h264.mp4", "libx264", "yuv420p", "aac", 16_000),
    ("h265.mp4", "libx265", "yuv420p", None, 0),
    ("av1.mp4", "libsvtav1", "yuv420p", None, 0),
    ("ten_bit.mp4", "libx264", "yuv420p10le", None, 0),
    ("full_colour.mp4", "libx264", "yuv444p", None, 0),
    ("opus.mp4", "libx264", "yuv420p", "libopus", 48_000),
    ("pcm.mov", "libx264", "yuv420p", "pcm_s16le", 16_000),
    ("prores.mov", "prores_ks", "yuv422p10le", "pcm_s24le", 48_000),
    ("flac.mkv", "libx264", "yuv420p", "flac", 44_100),
    ("lossless.mkv", "ffv1", "yuv420p", None, 0),
    ("vp9.webm", "libvpx-vp9", "yuv420p", "libopus", 48_000),
    ("vp8.webm", "libvpx", "yuv420p", "libopus", 48_000),
    ("mpeg4.avi", "mpeg4", "yuv420p", "libmp3lame", 44_100),
    ("h264.avi", "libx264", "yuv420p", "pcm_s16le", 16_000),
    ("mjpeg.avi", "mjpeg", "yuvj420p", None, 0),
    ("ten_bit_av1.mkv", "libsvtav1", "yuv420p10le", None, 0),
]


@pytest.mark.parametrize(("name", "codec", "pixel_format", "sound", "rate"), FORMATS, ids=[row[0] for row in FORMATS])
def test_containers_and_codecs(
    decode: Decode,
    encode: Encode,
    plain_frames: PlainFrames,
    name: str,
    codec: str,
    pixel_format: str,
    sound: str | None,
    rate: int,
) -> None:
    path = encode(name, codec=codec, pixel_format=pixel_format, sound=sound, rate=rate)

    clip = decode(path)

    assert clip.frames.shape == (12, 48, 64, 3) and clip.frames.dtype == np.uint8
    assert np.array_equal(clip.frames, plain_frames(path))
    assert clip.fps == 24
    assert clip.frame_times_s is not None
    steps = np.diff(clip.frame_times_s)
    assert (steps > 0).all()
    if not name.endswith(".avi"):  # it has no time stamps, and its writer leaves slots empty
        assert np.allclose(steps, 1 / 24, atol=1e-3)  # Matroska rounds to 1 ms
    if sound is None:
        assert (clip.audio, clip.sample_rate, clip.audio_source) == (None, None, "none")
    else:
        assert clip.audio is not None and clip.audio.dtype == np.float32
        assert (clip.sample_rate, clip.audio_source) == (rate, "container")
        assert clip.audio_duration_s == pytest.approx(0.5, abs=0.08)  # codecs fill their last block
        assert np.abs(clip.audio).max() == pytest.approx(0.4, abs=0.1)


def test_frames_of_the_golden_clips_are_those_of_a_plain_decoder(
    clips_fake: Path, clips_real: Path, reader: ClipReader, plain_frames: PlainFrames
) -> None:
    videos = sorted(clips_fake.glob("*.mp4")) + sorted(clips_real.glob("*.mp4"))
    assert len(videos) == 22
    for source, clip in reader.read(ClipSource(path.stem, path, sidecar_for(path)) for path in videos):
        assert isinstance(clip, Clip), clip
        assert np.array_equal(clip.frames, plain_frames(source.video))
        assert source.audio is not None
        samples, rate = soundfile.read(source.audio, dtype="float32", always_2d=True)
        assert clip.audio is not None and np.array_equal(clip.audio, samples.T)
        assert (clip.sample_rate, clip.audio_source) == (rate, "sidecar")


def test_counts_and_rates_of_the_golden_clips(clips_fake: Path, reader: ClipReader) -> None:
    sources = [ClipSource(path.stem, path, path.with_suffix(".wav")) for path in sorted(clips_fake.glob("*.mp4"))]

    clips = [clip for _, clip in reader.read(sources) if isinstance(clip, Clip)]

    assert [len(clip.frames) for clip in clips] == [96, 96, 96, 96, 36, 240, 96, 96, 120, 96, 96]
    assert [clip.fps for clip in clips] == [Fraction(24)] * 8 + [Fraction(30), Fraction(24), Fraction(30000, 1001)]
    assert clips[10].duration_s == 3.2032000000000003
    assert [clip.frames.shape[2:0:-1] for clip in clips][5:8] == [(320, 180), (426, 240), (186, 330)]
    assert clips[6].sample_rate == 44_100 and clips[6].audio is not None and clips[6].audio.shape[0] == 2
    assert clips[9].audio_duration_s == pytest.approx(1.7)


def test_read_clip_prefers_the_sound_file_beside_the_video(clips_fake: Path, tmp_path: Path) -> None:
    video = tmp_path / "sample_0000.mp4"
    video.write_bytes((clips_fake / "sample_0000.mp4").read_bytes())
    alone = read_clip(video)
    soundfile.write(tmp_path / "sample_0000.flac", np.full(800, 0.25), 8_000)

    beside = read_clip(video)

    assert alone.audio_source == "container" and alone.sample_rate == 16_000
    assert beside.audio_source == "sidecar" and beside.sample_rate == 8_000
    assert beside.audio is not None and beside.audio.shape == (1, 800) and (beside.audio == 0.25).all()
    assert np.array_equal(alone.frames, beside.frames)


def test_a_clip_belongs_to_its_caller(decode: Decode, encode: Encode) -> None:
    path = encode(sound="aac")
    clip, same = decode(path), decode(path)

    clip.frames[:] = 0
    assert clip.audio is not None
    clip.audio[:] = 0

    assert same.frames.any()
    assert np.array_equal(decode(path).frames, same.frames)


@pytest.mark.parametrize("container", ["mp4", "mkv", "avi", "webm"])
def test_one_frame(decode: Decode, encode: Encode, container: str) -> None:
    codec = {"webm": "libvpx-vp9", "avi": "mpeg4"}.get(container, "libx264")
    clip = decode(encode(f"one.{container}", codec=codec, frames=1))
    assert clip.frames.shape == (1, 48, 64, 3)
    assert clip.fps == 24
    assert clip.frame_times_s is not None and clip.frame_times_s.tolist() == [0.0]


def test_one_minute(decode: Decode, encode: Encode) -> None:
    path = encode(frames=1440, sound="aac", options={"preset": "ultrafast"})
    clip = decode(path)
    assert len(clip.frames) == 1440
    assert clip.duration_s == 60.0
    assert clip.audio_duration_s == pytest.approx(60, abs=0.1)


@pytest.mark.parametrize("size", [(63, 47), (1, 1), (65, 2)])
def test_odd_sizes(decode: Decode, encode: Encode, plain_frames: PlainFrames, size: tuple[int, int]) -> None:
    path = encode(size=size, pixel_format="yuv444p")
    clip = decode(path)
    assert clip.frames.shape == (12, size[1], size[0], 3)
    assert np.array_equal(clip.frames, plain_frames(path))


@pytest.mark.parametrize("container", ["mp4", "mkv", "avi"])
def test_variable_frame_rate_keeps_frames_and_times(decode: Decode, encode: Encode, container: str) -> None:
    times = [0, 1, 2, 5, 6, 10, 11, 12, 20, 21, 22, 23]
    path = encode(f"vfr.{container}", codec="mpeg4" if container == "avi" else "libx264", times=times)

    clip = decode(path)

    assert len(clip.frames) == 12
    assert clip.frame_times_s is not None
    assert np.allclose(clip.frame_times_s, np.array(times) / 24, atol=1e-3)
    with av.open(str(path)) as plain:
        assert clip.declared_fps == plain.streams.video[0].average_rate
    assert float(clip.fps) == pytest.approx(11 / (clip.frame_times_s[-1] - clip.frame_times_s[0]))


# The display matrix [a b, c d] maps (x, y), y downwards, to (ax + cy, bx + dy).
TURNS = {
    "as it is": ((1, 0, 0, 1), lambda frames: frames),
    "90 degrees counter-clockwise": ((0, -1, 1, 0), lambda frames: np.rot90(frames, 1, (1, 2))),
    "180 degrees": ((-1, 0, 0, -1), lambda frames: np.rot90(frames, 2, (1, 2))),
    "90 degrees clockwise": ((0, 1, -1, 0), lambda frames: np.rot90(frames, 3, (1, 2))),
    "mirrored": ((-1, 0, 0, 1), lambda frames: frames[:, :, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda frames: frames[:, ::-1]),
    "transposed": ((0, 1, 1, 0), lambda frames: frames.transpose(0, 2, 1, 3)),
    "30 degrees, not applied": ((0.866, -0.5, 0.5, 0.866), lambda frames: frames),
}


@pytest.mark.parametrize("turn", TURNS)
def test_display_matrix(decode: Decode, encode: Encode, plain_frames: PlainFrames, turn: str) -> None:
    path = encode(frames=3)
    upright = plain_frames(path)
    matrix, expected = TURNS[turn]
    _set_display_matrix(path, matrix)

    clip = decode(path)

    assert np.array_equal(clip.frames, expected(upright))
    info = probe(path)
    assert (info.height, info.width) == clip.frames.shape[1:3]


def test_quarter_turns_are_those_of_opencv(decode: Decode, encode: Encode) -> None:
    import cv2

    path = encode(frames=1, size=(64, 48))
    _set_display_matrix(path, (0, 1, -1, 0))
    captured, frame = cv2.VideoCapture(str(path)).read()
    assert captured
    assert np.array_equal(decode(path).frames[0], frame[:, :, ::-1])


def _set_display_matrix(path: Path, matrix: tuple[float, float, float, float]) -> None:
    data = bytearray(path.read_bytes())
    a, b, c, d = (round(value * 65536) for value in matrix)
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def test_edit_lists_hide_frames(decode: Decode, encode: Encode, tmp_path: Path) -> None:
    """A file cut without re-encoding declares all frames and shows those that its edit list leaves."""
    path = encode(frames=48, sound="aac", options={"g": "12"})
    cut = tmp_path / "cut.mp4"
    with av.open(str(path)) as source, av.open(str(cut), "w", options={"avoid_negative_ts": "disabled"}) as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                shift = round(Fraction(16, 24) / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = streams[packet.stream_index]
                target.mux(packet)

    clip = decode(cut)

    assert np.array_equal(clip.frames, decode(path).frames[16:])
    assert clip.fps == 24
    assert clip.audio_duration_s == pytest.approx(32 / 24, abs=0.08)


@pytest.mark.parametrize(
    ("layout", "channels"), [("mono", 1), ("stereo", 2), ("3.0", 3), ("4.0", 4), ("5.0", 5), ("5.1", 6)]
)
def test_every_channel_arrives(decode: Decode, encode: Encode, layout: str, channels: int) -> None:
    clip = decode(encode("sound.mov", sound="pcm_s16le", layout=layout, rate=48_000))
    assert clip.audio is not None and clip.audio.shape == (channels, 24_000)
    pitches = [np.abs(np.fft.rfft(channel)).argmax() * 2 for channel in clip.audio]
    assert sorted(pitches) == [220 * (1 + channel) for channel in range(channels)]


def test_aac_in_six_channels(decode: Decode, encode: Encode) -> None:
    clip = decode(encode(sound="aac", layout="5.1", rate=48_000))
    assert clip.audio is not None and clip.audio.shape[0] == 6


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"])
def test_sample_formats_agree(decode: Decode, encode: Encode, codec: str) -> None:
    clip = decode(encode("sound.mkv", sound=codec))
    assert clip.audio is not None and clip.audio.shape == (1, 8_000)
    step = 2**-7 if codec == "pcm_u8" else 2**-15
    reference = 0.4 * np.sin(2 * np.pi * 220 * np.arange(8_000) / 16_000)
    assert np.abs(clip.audio[0] - reference).max() <= step


def test_sound_of_the_container_is_what_ffmpeg_decodes(decode: Decode, encode: Encode) -> None:
    path = encode(frames=24, sound="aac", layout="stereo", rate=44_100)
    with av.open(str(path)) as container:
        plain = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    clip = decode(path)
    assert clip.audio is not None and np.array_equal(clip.audio, plain)


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_sound_is_lined_up_with_a_picture_that_starts_late(decode: Decode, encode: Encode, container: str) -> None:
    options = {"name": f"late.{container}", "sound": "flac", "rate": 16_000, "seconds": 1.0}
    together = decode(encode(**options))
    late = decode(encode(**options, times=range(6, 18)))

    assert late.frame_times_s[0] == 0 and late.frame_times_s[-1] == pytest.approx(11 / 24, abs=1e-3)
    assert together.audio is not None and together.audio.shape == (1, 16_000)
    assert late.audio is not None
    assert np.array_equal(late.audio, together.audio[:, 4_000:])


def test_sound_that_starts_late_is_led_in_by_silence(decode: Decode, encode: Encode, tmp_path: Path) -> None:
    path, late = encode("plain.mkv", sound="flac", options={"bf": "0"}), tmp_path / "late.mkv"
    with av.open(str(path)) as source, av.open(str(late), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                if packet.stream.type == "audio":
                    packet.pts, packet.dts = packet.pts + 125, packet.dts + 125
                packet.stream = streams[packet.stream_index]
                target.mux(packet)

    clip, plain = decode(late), decode(path)

    assert clip.audio is not None and plain.audio is not None
    assert not clip.audio[:, :2_000].any()
    assert np.array_equal(clip.audio[:, 2_000:], plain.audio)


@pytest.mark.parametrize("seconds", [0.1, 2.0])
def test_sound_may_be_shorter_or_longer_than_the_picture(decode: Decode, encode: Encode, seconds: float) -> None:
    clip = decode(encode("sound.mkv", sound="pcm_s16le", seconds=seconds))
    assert clip.duration_s == 0.5
    assert clip.audio_duration_s == pytest.approx(seconds)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "m4a"])
def test_sidecar_formats(decode: Decode, encode: Encode, tmp_path: Path, suffix: str) -> None:
    sound = tmp_path / f"clip.{suffix}"
    samples = 0.4 * np.sin(2 * np.pi * 220 * np.arange(22_050)[:, None] * [1, 2] / 22_050)
    if suffix in ("wav", "flac", "mp3"):
        soundfile.write(sound, samples, 22_050)
    else:
        with av.open(str(sound), "w", format="mp4") as output:
            track = output.add_stream("aac", rate=22_050, layout="stereo")
            block = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples.T, dtype=np.float32), format="fltp", layout="stereo"
            )
            block.sample_rate = 22_050
            output.mux(track.encode(block))
            output.mux(track.encode(None))

    clip = decode(encode(), sound)

    assert clip.audio is not None and clip.audio.shape[0] == 2
    assert (clip.sample_rate, clip.audio_source) == (22_050, "sidecar")
    assert clip.audio_duration_s == pytest.approx(1, abs=0.1)
    power = np.abs(np.fft.rfft(clip.audio[:, :22_050])) ** 2
    assert power.argmax(axis=1).tolist() == [220, 440]


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_wav_subtypes(decode: Decode, encode: Encode, tmp_path: Path, subtype: str) -> None:
    sound = tmp_path / "clip.wav"
    soundfile.write(sound, np.linspace(-0.9, 0.9, 500), 8_000, subtype=subtype)
    clip = decode(encode(), sound)
    assert clip.audio is not None
    assert np.abs(clip.audio[0] - np.linspace(-0.9, 0.9, 500)).max() < (0.01 if subtype == "PCM_U8" else 1e-4)


def test_a_wav_of_unknown_length_is_not_cut_off(decode: Decode, encode: Encode, tmp_path: Path) -> None:
    """Programs that write into a pipe cannot go back to fill in the sizes."""
    sound = tmp_path / "clip.wav"
    soundfile.write(sound, np.full(4_000, 0.5), 8_000)
    data = bytearray(sound.read_bytes())
    data[4:8] = data[40:44] = b"\xff" * 4
    sound.write_bytes(data)
    clip = decode(encode(), sound)
    assert clip.audio is not None and clip.audio.shape == (1, 4_000)


@pytest.mark.parametrize("name", ["with space.mp4", "umlaut äöü 日本.mp4", "http:x.mp4", "per%20cent.mp4", "-dash.mp4"])
def test_names(decode: Decode, encode: Encode, name: str) -> None:
    assert len(decode(encode(name)).frames) == 12


def test_names_that_are_not_text(decode: Decode, encode: Encode) -> None:
    path = encode()
    odd = path.with_name(b"not-utf8-\xff.mp4".decode("utf-8", "surrogateescape"))
    path.rename(odd)
    assert len(decode(odd).frames) == 12


def test_content_not_the_name_decides_the_format(decode: Decode, encode: Encode) -> None:
    path = encode("clip.mkv")
    renamed = path.rename(path.with_suffix(".mp4"))
    assert len(decode(renamed).frames) == 12


def test_probe(encode: Encode) -> None:
    info = probe(encode(sound="aac", rate=44_100, layout="stereo", fps=Fraction(30000, 1001)))
    assert (info.container, info.width, info.height, info.fps) == ("mov", 64, 48, Fraction(30000, 1001))
    assert (info.frames, info.video_codec, info.pixel_format) == (12, "h264", "yuv420p")
    assert (info.has_audio, info.sample_rate, info.channels, info.audio_codec) == (True, 44_100, 2, "aac")
    assert info.duration_s == pytest.approx(0.4, abs=0.05)


def test_probe_of_what_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("ffconcat version 1.0")
    with pytest.raises(MediaError, match="ffconcat"):
        probe(path)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov", "clip.mkv", "clip.avi"])
def test_a_sound_track_may_come_before_the_picture(decode: Decode, encode: Encode, tmp_path: Path, name: str) -> None:
    codec, options = ("mpeg4", {}) if name.endswith("avi") else ("libx264", {"bf": "3"})
    first = encode(name, codec=codec, options=options, sound="ac3", rate=32_000, frames=24)
    turned = tmp_path / f"turned{first.suffix}"
    with av.open(str(first)) as source, av.open(str(turned), "w") as output:
        tracks = {stream.index: output.add_stream_from_template(stream) for stream in reversed(source.streams)}
        for packet in source.demux():
            if packet.size:
                packet.stream = tracks[packet.stream.index]
                output.mux(packet)
    before, after = decode(first), decode(turned)
    np.testing.assert_array_equal(after.frames, before.frames)
    np.testing.assert_array_equal(after.frame_times_s, before.frame_times_s)
    assert before.audio is not None
    np.testing.assert_array_equal(after.audio, before.audio)


def test_sound_that_comes_late_out_of_its_decoder(decode: Decode, encode: Encode) -> None:
    clip = decode(encode("clip.avi", codec="mpeg4", sound="wmav2", rate=44_100, sound_bits_per_s=64_000, frames=24))
    assert len(clip.frames) == 24
    assert clip.audio_duration_s == pytest.approx(1.0, abs=2 * 2048 / 44_100)  # delay and padding, a frame each


@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_frames_at_odd_times_that_are_stored_out_of_order(decode: Decode, encode: Encode, container: str) -> None:
    """Decoding begins seconds before the first picture is shown, and goes on at other steps than the pictures."""
    times = [*range(0, 240, 60), *range(240, 300), 304, 308]
    path = encode(
        f"clip.{container}", frames=len(times), fps=Fraction(60), times=times, options={"bf": "3", "crf": "35"}
    )
    clip = decode(path)
    assert clip.damage == ()
    np.testing.assert_allclose(clip.frame_times_s, np.array(times) / 60, atol=1e-4)  # a tick of the container
    assert clip.duration_s - clip.frame_times_s[-1] == pytest.approx(1 / 60, abs=1e-4)
