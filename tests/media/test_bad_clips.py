"""Bad clips beside good ones: each gets its own reason, the good ones come through, all in bounded time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from javisbench.clip import Clip
from javisbench.errors import MediaError
from javisbench.media import ClipReader, ClipSource, DecodeLimits, read_clip, sidecar_for
from javisbench.media.errors import KINDS

Decode = Callable[..., Clip]
Encode = Callable[..., Path]

DEADLINE_S = 2.0
# One clip takes the whole deadline; the others, the good ones included, a few seconds. The rest is for a busy machine.
TOTAL_S = DEADLINE_S + 240.0


def test_bad_clips_beside_good_ones(bad_clips: tuple[Path, dict[str, str]], clips_fake: Path) -> None:
    folder, expected = bad_clips
    good = [clips_fake / "sample_0004.mp4", clips_fake / "sample_0009.mp4"]
    bad = [folder / f"{stem}.mp4" for stem in expected]
    assert len(bad) >= 20
    mixed = [path for pair in zip(bad, itertools.cycle(good), strict=False) for path in pair]
    sources = [ClipSource(path.stem, path, sidecar_for(path)) for path in mixed]

    started = time.monotonic()
    with ClipReader(2, DecodeLimits(deadline_s=DEADLINE_S)) as reader:
        results = list(reader.read(sources))
    took = time.monotonic() - started

    kinds = {}
    for source, outcome in results:
        if source.video in good:
            assert isinstance(outcome, Clip), outcome
        else:
            assert isinstance(outcome, MediaError), f"{source.video} was read"
            assert str(source.video.with_suffix("")) in outcome.message
            kinds[source.sample_id] = outcome.kind
    assert kinds == expected
    assert set(kinds.values()) <= KINDS.keys()
    assert took < TOTAL_S


def test_scripts_and_playlists_are_not_followed(bad_clips: tuple[Path, dict[str, str]]) -> None:
    """FFmpeg left to itself does follow them, so this is no empty promise."""
    import av

    folder, _ = bad_clips
    with av.open(str(folder / "ffconcat.mp4")) as container:
        assert container.format.name == "concat"
    for stem, word in (("ffconcat", "ffconcat"), ("local_playlist", "playlist"), ("playlist", "playlist")):
        with pytest.raises(MediaError, match=word):
            read_clip(folder / f"{stem}.mp4")


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mov", "cut.mkv", "cut.webm", "cut.avi", "front.mp4"])
def test_no_truncated_file_is_read(decode: Decode, encode: Encode, name: str) -> None:
    codec = {"webm": "libvpx-vp9", "avi": "mpeg4"}.get(name.split(".")[1], "libx264")
    muxer = {"movflags": "+faststart"} if name == "front.mp4" else {}
    path = encode(name, codec=codec, sound="libopus" if name == "cut.webm" else "libmp3lame", rate=48_000, muxer=muxer)
    data = path.read_bytes()
    assert len(decode(path).frames) == 12
    for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(MediaError) as refusal:
            decode(path)
        assert refusal.value.kind == "short_read"


def test_damaged_h264_is_not_patched_over(decode: Decode, clips_fake: Path, tmp_path: Path) -> None:
    """FFmpeg conceals most damage and goes on; each such frame is an error here."""
    data = (clips_fake / "sample_0001.mp4").read_bytes()
    path, generator = tmp_path / "damaged.mp4", np.random.default_rng(0)
    start = data.index(b"mdat") + 4
    for _ in range(10):
        at = int(generator.integers(start + 1000, start + (len(data) - start) // 2))
        path.write_bytes(data[:at] + generator.bytes(256) + data[at + 256 :])
        with pytest.raises(MediaError) as refusal:
            decode(path)
        assert refusal.value.kind == "decode_error"


def test_a_picture_size_that_changes_midway(decode: Decode, encode: Encode, tmp_path: Path) -> None:
    """Two raw streams one behind the other in one AVI; players would scale, which changes pixels."""
    import av

    small, large = encode("small.avi", codec="mjpeg", pixel_format="yuvj420p"), tmp_path / "mixed.avi"
    other = encode("other.avi", codec="mjpeg", pixel_format="yuvj420p", size=(96, 64))
    with av.open(str(small)) as first, av.open(str(other)) as second, av.open(str(large), "w") as target:
        stream = target.add_stream_from_template(first.streams.video[0])
        packets = [packet for source in (first, second) for packet in source.demux() if packet.size]
        for number, packet in enumerate(packets):
            packet.stream, packet.pts, packet.dts = stream, number, number
            target.mux(packet)
    with pytest.raises(MediaError, match="size changes at frame 12"):
        decode(large)


def _wav(path: Path, samples: np.ndarray, subtype: str = "PCM_16") -> None:
    soundfile.write(path, samples, 8_000, subtype=subtype)


SIDECARS: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "empty": lambda path: path.touch(),
    "text": lambda path: path.write_text("#EXTM3U\nhttp://127.0.0.1:9/sound.mp3\n"),
    "no samples": lambda path: _wav(path, np.zeros(0)),
    "infinite": lambda path: _wav(path, np.array([0.0, np.inf, 0.0]), "FLOAT"),
    "header alone": lambda path: path.write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt "),
    "folder": lambda path: path.mkdir(),
    "dangling link": lambda path: path.symlink_to("nowhere.wav"),
}


@pytest.mark.parametrize("trouble", SIDECARS)
def test_a_broken_sidecar_is_a_failure_even_with_sound_in_the_container(
    decode: Decode, encode: Encode, tmp_path: Path, trouble: str
) -> None:
    video, sound = encode("clip.mp4", sound="aac"), tmp_path / "clip.wav"
    SIDECARS[trouble](sound)
    if trouble != "missing":
        assert sidecar_for(video) == sound
    with pytest.raises(MediaError) as refusal:
        decode(video, sound)
    assert refusal.value.kind == "bad_sidecar"
    assert "clip.wav" in refusal.value.message


@pytest.mark.parametrize("suffix", ["flac", "mp3", "m4a"])
def test_truncated_sidecars(decode: Decode, encode: Encode, tmp_path: Path, suffix: str) -> None:
    video, sound = encode(), tmp_path / f"clip.{suffix}"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000)
    if suffix == "m4a":
        sound.write_bytes(encode("sound.mp4", sound="aac", frames=24).read_bytes())
    elif suffix == "mp3":
        sound = encode("clip.mp3.mp4", sound="libmp3lame").with_name("clip.mp3")
        _encode_mp3(sound, noise)
    else:
        soundfile.write(sound, noise, 16_000)
    data = sound.read_bytes()
    assert decode(video, sound).audio is not None
    sound.write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError) as refusal:
        decode(video, sound)
    assert refusal.value.kind == "bad_sidecar"


def _encode_mp3(path: Path, samples: np.ndarray) -> None:
    """By FFmpeg, whose files say in their first frame how long they are."""
    import av

    with av.open(str(path), "w") as output:
        track = output.add_stream("libmp3lame", rate=16_000, layout="mono")
        block = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        block.sample_rate, block.pts = 16_000, 0
        output.mux(track.encode(block))
        output.mux(track.encode(None))


def test_a_sound_that_is_not_finite_in_the_container(decode: Decode, encode: Encode) -> None:
    path = encode("nan.mov", sound="pcm_f32le")
    data = path.read_bytes()
    some = np.float32(0.4 * np.sin(2 * np.pi * 220 * 100 / 16_000)).tobytes()
    at = data.index(some)
    path.write_bytes(data[:at] + np.float32(np.nan).tobytes() + data[at + 4 :])
    with pytest.raises(MediaError) as refusal:
        decode(path)
    assert refusal.value.kind == "bad_audio"


def test_external_tracks_are_refused(decode: Decode, encode: Encode, tmp_path: Path) -> None:
    """A QuickTime movie may keep its samples in another file, named in its data reference."""
    import av

    path = encode("reference.mov")
    data = path.read_bytes()
    entry = b"\0\0\0\x0curl \0\0\0\x01"
    assert data.count(entry) == 1
    alias = _alias_to(tmp_path / "other.mov")
    at = data.index(entry) + 0
    moved = data[:at] + alias + data[at + len(entry) :]
    grown = len(alias) - len(entry)
    for kind in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        box = moved.rindex(kind, 0, at) - 4
        size = int.from_bytes(moved[box : box + 4], "big") + grown
        moved = moved[:box] + size.to_bytes(4, "big") + moved[box + 4 :]
    path.write_bytes(moved)
    (tmp_path / "other.mov").write_bytes(data)

    following = {"enable_drefs": "1", "use_absolute_path": "1"}
    with av.open(str(path), container_options=following) as container:
        assert len(list(container.decode(video=0))) == 12  # so the reference is a good one
    with pytest.raises(MediaError) as refusal:
        decode(path)
    assert refusal.value.kind == "no_frames"


def _alias_to(target: Path) -> bytes:
    """A Macintosh alias record as QuickTime stores it: fixed part, then items (type 2: absolute path)."""
    name = target.name.encode()
    path = str(target).encode()
    path += b"\0" * (len(path) % 2)
    record = bytes(10)[:4] + (150).to_bytes(2, "big") + (2).to_bytes(2, "big") + bytes(2)
    record += bytes([6]) + b"volume".ljust(27, b"\0") + bytes(12)
    record += bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16)
    record += (1).to_bytes(2, "big") + (1).to_bytes(2, "big") + bytes(16)
    record += (2).to_bytes(2, "big") + len(path).to_bytes(2, "big") + path + b"\xff\xff\0\0"
    content = bytes(4) + record
    return (len(content) + 8).to_bytes(4, "big") + b"alis" + content


def test_undocumented_kinds_cannot_be_raised() -> None:
    from javisbench.media.errors import media_error

    with pytest.raises(KeyError):
        media_error("whatever", "no such kind")
