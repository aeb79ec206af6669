"""Naming what is read: sidecars, content hashes, limits; and telling formats by content."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from javisbench.errors import MediaError
from javisbench.media import ClipSource, DecodeLimits, content_hash, sidecar_for
from javisbench.media.integrity import examine
from javisbench.media.signature import AUDIO_FORMATS, VIDEO_FORMATS, identify

Encode = Callable[..., Path]


def test_a_source_takes_whatever_names_a_file() -> None:
    source = ClipSource("a", Path("clips/./a.mp4"), Path("a.wav"))
    assert source.video == Path("clips/a.mp4") and source.audio == Path("a.wav") and source.title == "clips/a.mp4"
    assert source.files == (Path("clips/a.mp4"), Path("a.wav"))
    for video in ("clips/a.mp4", b"clips/a.mp4", PurePosixPath("clips/a.mp4")):
        same = ClipSource("a", video, Path("a.wav"))  # type: ignore[arg-type]
        assert same == source and hash(same) == hash(source) and copy.deepcopy(same) == source
    assert ClipSource("a", source.video) != source
    with pytest.raises(TypeError):
        ClipSource("a", None)  # type: ignore[arg-type]


def test_sidecars_in_order_of_preference(tmp_path: Path) -> None:
    video = tmp_path / "sample_0000.mp4"
    video.touch()
    assert sidecar_for(video) is None
    for suffix in (".m4a", ".mp3", ".flac", ".wav"):
        video.with_suffix(suffix).touch()
        assert sidecar_for(video) == video.with_suffix(suffix)
    (tmp_path / "sample_0001.wav").touch()
    assert sidecar_for(tmp_path / "sample_0001.mp4") == tmp_path / "sample_0001.wav"


def test_a_file_is_not_its_own_sidecar(tmp_path: Path) -> None:
    video = tmp_path / "sound.m4a"
    video.touch()
    assert sidecar_for(video) is None


def test_a_dangling_link_is_a_sidecar(tmp_path: Path) -> None:
    (tmp_path / "a.wav").symlink_to("nowhere")
    assert sidecar_for(tmp_path / "a.mp4") == tmp_path / "a.wav"


def test_content_hash_follows_the_content_alone(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"picture")
    (tmp_path / "b.mp4").write_bytes(b"picture")
    (tmp_path / "a.wav").write_bytes(b"sound")
    (tmp_path / "empty-ish.wav").write_bytes(b"s")
    alone = content_hash(ClipSource("a", tmp_path / "a.mp4"))
    assert alone == content_hash(ClipSource("b", tmp_path / "b.mp4"))
    with_sound = content_hash(ClipSource("a", tmp_path / "a.mp4", tmp_path / "a.wav"))
    other_sound = content_hash(ClipSource("a", tmp_path / "a.mp4", tmp_path / "empty-ish.wav"))
    assert len({alone, with_sound, other_sound}) == 3
    assert len(alone) == 64


def test_content_hash_keeps_picture_and_sound_apart(tmp_path: Path) -> None:
    for name, content in (("1.mp4", b"ab"), ("1.wav", b"c"), ("2.mp4", b"a"), ("2.wav", b"bc")):
        (tmp_path / name).write_bytes(content)
    one = content_hash(ClipSource("1", tmp_path / "1.mp4", tmp_path / "1.wav"))
    two = content_hash(ClipSource("2", tmp_path / "2.mp4", tmp_path / "2.wav"))
    assert one != two


def test_content_hash_never_waits_or_guesses(bad_clips: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, _ = bad_clips
    for stem, kind in (("pipe", "not_a_file"), ("endless", "not_a_file"), ("dangling", "not_found")):
        with pytest.raises(MediaError) as refusal:
            content_hash(ClipSource(stem, folder / f"{stem}.mp4"))
        assert refusal.value.kind == kind
    with pytest.raises(MediaError) as refusal:
        content_hash(ClipSource("x", folder / "truncated.mp4", tmp_path / "missing.wav"))
    assert refusal.value.kind == "bad_sidecar"


def test_limits() -> None:
    assert DecodeLimits().address_space_bytes > DecodeLimits().max_decoded_bytes == 2 * 2**30
    assert DecodeLimits(address_space_bytes=5).address_space_bytes == 5
    for wrong in ({"deadline_s": 0}, {"max_decoded_bytes": -1}):
        with pytest.raises(ValueError):
            DecodeLimits(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov", "clip.mkv", "clip.avi"])
def test_cut_files_are_recognised(encode: Encode, name: str) -> None:
    path = encode(name, codec="mpeg4")
    data = path.read_bytes()
    assert not examine(path, identify(path, VIDEO_FORMATS)).faults
    for missing in (2, 10, len(data) // 4):
        path.write_bytes(data[:-missing])
        assert examine(path, identify(path, VIDEO_FORMATS)).faults


def test_rubbish_behind_the_end_is_ignored(encode: Encode) -> None:
    for name in ("clip.mp4", "clip.mkv", "clip.avi"):
        path = encode(name, codec="mpeg4")
        path.write_bytes(path.read_bytes() + b"\0" * 5)
        assert not examine(path, identify(path, VIDEO_FORMATS)).faults


@pytest.mark.parametrize(("format_", "suffix"), [("WAV", "wav"), ("FLAC", "flac"), ("MP3", "mp3"), ("RF64", "wav")])
def test_sound_formats_are_told_apart(tmp_path: Path, format_: str, suffix: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(16_000), 16_000, format=format_)
    path = tmp_path / "without-a-suffix"
    path.write_bytes(file.getvalue())
    assert identify(path, AUDIO_FORMATS) == suffix
    with pytest.raises(MediaError) as refusal:
        identify(path, VIDEO_FORMATS)
    assert refusal.value.kind == "unsupported_format"


@given(content=st.binary(min_size=1, max_size=200))
def test_any_bytes_are_named_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.mp4"
    path.write_bytes(content)
    try:
        found = identify(path, VIDEO_FORMATS)
    except MediaError as refusal:
        assert refusal.kind == "unsupported_format"
    else:
        assert found in VIDEO_FORMATS


@example(head=b"\x1a\x45\xdf\xa3", rest=b"\x01" + b"\xff" * 6 + b"\xfe" + bytes(8))  # 2^56 bytes of header
@example(head=b"\x1a\x45\xdf\xa3", rest=b"\x02\x10\0\0\0\0\0")
@given(
    head=st.sampled_from([b"\0\0\0\x18ftyp", b"\x1a\x45\xdf\xa3", b"RIFF\0\x10\0\0AVI "]), rest=st.binary(max_size=99)
)
def test_sizes_are_read_without_trust(tmp_path_factory: pytest.TempPathFactory, head: bytes, rest: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "sizes.mp4"
    path.write_bytes(head + rest)
    for fault in examine(path, identify(path, VIDEO_FORMATS)).faults:
        assert fault.position >= 0
