"""Sound files beside a video: what is read and how exactly, what is refused and why, and which file is meant."""

from __future__ import annotations

import io
import os
import struct
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from javisbench.errors import MediaError
from javisbench.media import DecodeLimits, sidecar_for
from javisbench.media.mp3 import walk_frames
from javisbench.media.sound import Sound
from javisbench.media.sound_file import is_cut_off, read_sidecar
from javisbench.media.source import VIDEO_SUFFIXES, find_by_stem

LOSS_S = 0.05
"""Seconds; the most that an accepted file may lack, by the module's own promise."""

Read = Callable[[bytes], Sound]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read bytes as a sound file whose name says nothing."""

    def one(data: bytes) -> Sound:
        path = tmp_path / "sound.bin"
        path.write_bytes(data)
        return read_sidecar(path, DecodeLimits())

    return one


def refusal(read: Read, data: bytes) -> str:
    """The message with which a file is refused; the test fails where it is read, or refused in another way."""
    with pytest.raises(MediaError) as raised:
        read(data)
    assert raised.value.kind == "bad_sidecar"
    return raised.value.message.split("sound.bin", 1)[1]


def noise(count: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (count, channels))


def encoded(samples: np.ndarray, rate: int, format_: str = "WAV", subtype: str | None = None, **more: object) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format_, subtype=subtype, **more)
    return file.getvalue()


def through_ffmpeg(samples: np.ndarray, rate: int, path: Path, codec: str, **muxer: str) -> bytes:
    with av.open(str(path), "w", options=muxer) as output:
        track = output.add_stream(codec, rate=rate, layout="mono")
        block = av.AudioFrame.from_ndarray(samples.T.astype(np.float32), format="fltp", layout="mono")
        block.sample_rate, block.pts = rate, 0
        for part in av.AudioResampler(track.codec_context.format, "mono", rate).resample(block):
            output.mux(track.encode(part))
        output.mux(track.encode(None))
    return path.read_bytes()


# WAV


def chunk(kind: bytes, body: bytes, *, padded: bool = True, size: int | None = None) -> bytes:
    header = kind + struct.pack("<I", len(body) if size is None else size)
    return header + body + bytes(len(body) % 2 if padded else 0)


def pcm(channels: int, rate: int, bits: int) -> bytes:
    block = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", 1, channels, rate, block * rate, block, bits))


def wav(*chunks: bytes, riff: int | None = None, magic: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack("<I", len(body) if riff is None else riff) + body


def words(count: int, channels: int = 1, bits: int = 16) -> bytes:
    """Noise as integers; the first and last sample are not zero."""
    return np.random.default_rng(count).integers(1, 255, count * channels * bits // 8, np.uint8).tobytes()


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize(("format_", "channels"), [("WAV", 1), ("WAVEX", 2), ("RF64", 3), ("WAVEX", 6), ("WAV", 9)])
def test_numbers_are_read_bit_by_bit_as_libsndfile_reads_them(
    read: Read, subtype: str, format_: str, channels: int
) -> None:
    samples = np.vstack([noise(3000, channels), np.full((1, channels), -1.0), np.full((1, channels), 1 - 2**-23)])
    data = encoded(samples, 11_025 * channels, format_, subtype)
    expected, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    sound = read(data)
    assert sound.rate == rate
    assert sound.samples.dtype == np.float32 and sound.samples.flags.c_contiguous
    np.testing.assert_array_equal(sound.samples, expected.T)


def test_long_files_are_read_in_blocks_without_seams(read: Read) -> None:
    data = encoded(noise(700_000, 2), 48_000)  # 2.7 MiB, three blocks
    np.testing.assert_array_equal(read(data).samples, soundfile.read(io.BytesIO(data), dtype="float32")[0].T)


PIPES = {
    "gstreamer": (0, 0),
    "killed": (36, 0),
    "ffmpeg": (2**32 - 1, 2**32 - 1),
    "sox": (2**31 - 1, 2**31 - 1 - 36),
    "old sox": (0x7FFFF024, 0x7FFFF000),
    "arecord": (0x80000024, 0x80000000),
    "less the header": (2**32 - 1, 2**32 - 1 - 44),
    "even": (2**32 - 2, 2**32 - 2 - 36),
    "other": (12_345, 2**31 - 44),
}


@pytest.mark.parametrize("sizes", PIPES.values(), ids=PIPES)
@pytest.mark.parametrize(
    ("bits", "channels", "rate"), [(8, 1, 8_000), (16, 2, 44_100), (24, 1, 22_050), (32, 8, 96_000)]
)
def test_lengths_that_pipes_leave_are_unknown(
    read: Read, sizes: tuple[int, int], bits: int, channels: int, rate: int
) -> None:
    whole = words(1001, channels, bits)
    for rest in (b"", whole[: channels * bits // 8 - 1]):  # a sample that is not whole does not count
        data = wav(pcm(channels, rate, bits), chunk(b"data", whole + rest, padded=False, size=sizes[1]), riff=sizes[0])
        sound = read(data)
        right = wav(pcm(channels, rate, bits), chunk(b"data", whole))
        assert sound.samples.shape == (channels, 1001) and sound.rate == rate
        np.testing.assert_array_equal(sound.samples, read(right).samples)


@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
@pytest.mark.parametrize("size", [4000, 0, 2**64 - 1, None])
def test_wide_files(read: Read, magic: bytes, size: int | None) -> None:
    ds64 = b"" if size is None else chunk(b"ds64", struct.pack("<QQQI", size, size, 2000, 0))
    data = wav(ds64, pcm(1, 16_000, 16), chunk(b"data", words(2000), size=2**32 - 1), riff=2**32 - 1, magic=magic)
    assert read(data).samples.shape == (1, 2000)
    if size == 4000:
        assert "0.05 of 0.12 s are missing (1600 bytes)" in refusal(read, data[:-1600])


@pytest.mark.parametrize("off", [-44, -8, -7, -2, -1, 1, 2, 7, 8, 44, 5000])
@pytest.mark.parametrize("tail", [b"", chunk(b"LIST", b"INFO" + bytes(33))])
def test_the_size_of_the_file_as_a_whole_may_be_wrong(read: Read, off: int, tail: bytes) -> None:
    right = wav(pcm(2, 16_000, 16), chunk(b"data", words(4000, 2)), tail)
    size = int.from_bytes(right[4:8], "little")
    assert read(right[:4] + struct.pack("<I", size + off) + right[8:]).samples.shape == (2, 4000)


@pytest.mark.parametrize("extra", [1, 2, 7, 8, 36, 44])
def test_a_length_of_the_sound_that_counts_the_header_too(read: Read, extra: int) -> None:
    sound = words(4000)
    data = wav(pcm(1, 16_000, 16), chunk(b"data", sound, size=len(sound) + extra))
    assert read(data).samples.shape == (1, 4000)


OTHER_CHUNKS = (
    chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 5) + b"javis\0"),
    chunk(b"bext", bytes(602)),
    chunk(b"JUNK", bytes(28)),
    chunk(b"fact", struct.pack("<I", 4000)),
    chunk(b"id3 ", b"ID3\x04\0\0\0\0\0\x0b" + bytes(11)),
    chunk(b"zzzz", b"123"),
    chunk(b"LIST", b"odd", padded=False),
)


@pytest.mark.parametrize("other", OTHER_CHUNKS, ids=lambda other: other[:4].decode())
@pytest.mark.parametrize("bits", [8, 24])
@pytest.mark.parametrize("padded", [True, False])
def test_other_chunks_before_and_behind_the_sound(read: Read, other: bytes, bits: int, padded: bool) -> None:
    sound = chunk(b"data", words(4001, bits=bits), padded=padded)  # of odd length
    plain = read(wav(pcm(1, 16_000, bits), sound)).samples
    for data in (
        wav(other, pcm(1, 16_000, bits), sound),
        wav(pcm(1, 16_000, bits), other, other, sound, other),
        wav(pcm(1, 16_000, bits), sound, other, chunk(b"cue ", bytes(4))),
    ):
        np.testing.assert_array_equal(read(data).samples, plain)


@pytest.mark.parametrize("behind", [b"\0" * 9000, b"\r\n", b"TAG" + b"x" * 125, b"ID3\4\0\0\0\0\x1f\0" + b"x" * 3968])
def test_zeros_and_tags_behind_a_wav_are_no_sound(read: Read, behind: bytes) -> None:
    assert read(wav(pcm(1, 16_000, 16), chunk(b"data", words(4000))) + behind).samples.shape == (1, 4000)


def test_more_sound_than_the_header_counts_is_not_lost_without_a_word(read: Read) -> None:
    sound = words(16_000)
    counted = chunk(b"data", sound, size=8000)
    assert "0.75 s of bytes behind the 0.25 s" in refusal(read, wav(pcm(1, 16_000, 16), counted))
    one = wav(pcm(1, 16_000, 16), chunk(b"data", sound))
    assert "several pieces of sound" in refusal(read, one + one)
    assert "several pieces of sound" in refusal(read, wav(one[12:], chunk(b"data", sound)))


@given(
    bits=st.sampled_from([8, 16, 24, 32]),
    channels=st.sampled_from([1, 2, 6]),
    rate=st.sampled_from([8_000, 44_100, 96_000]),
    keep=st.floats(0, 1),
    tail=st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_wav_that_was_cut_is_refused(
    read: Read, bits: int, channels: int, rate: int, keep: float, tail: bool
) -> None:
    count = rate // 4
    data = wav(
        pcm(channels, rate, bits), chunk(b"data", words(count, channels, bits)), OTHER_CHUNKS[0] if tail else b""
    )
    try:
        sound = read(data[: max(1, int(len(data) * keep))])
    except MediaError as failure:
        assert failure.kind == "bad_sidecar"
    else:
        assert sound.samples.shape[1] >= count - LOSS_S * rate


def test_what_is_missing_is_told_in_seconds(read: Read) -> None:
    data = wav(pcm(2, 16_000, 16), chunk(b"data", words(64_000, 2)))
    assert "cut off; 1.50 of 4.00 s are missing (96000 bytes)" in refusal(read, data[:-96_000])
    assert "no sound (data)" in refusal(read, data[:36])
    assert "no description of its sound" in refusal(read, data[:12])
    assert "holds no samples" in refusal(read, wav(pcm(1, 8_000, 16), chunk(b"data", b"")))
    assert "holds no samples" in refusal(read, wav(pcm(1, 8_000, 16), chunk(b"data", b""), OTHER_CHUNKS[0]))


CODED = {"ALAW": 1, "ULAW": 1, "IMA_ADPCM": 1100, "MS_ADPCM": 0, "GSM610": 0}
"""Samples that may be there in addition: the byte of padding in a pipe, the last block of libsndfile's IMA ADPCM."""


@pytest.mark.parametrize("subtype", CODED)
@pytest.mark.parametrize(("rate", "count"), [(8_000, 8_000), (16_000, 20_001), (8_000, 900)])
@pytest.mark.parametrize("piped", [False, True])
def test_coded_wav(read: Read, subtype: str, rate: int, count: int, piped: bool) -> None:
    samples = 0.4 * np.sin(2 * np.pi * 220 * np.arange(count) / rate)
    data = encoded(samples, rate, "WAV", subtype)
    if piped:
        at = data.index(b"data") + 4
        data = data[:4] + bytes(4) + data[8:at] + b"\xff" * 4 + data[at + 4 :]
    sound = read(data)
    assert sound.rate == rate and 0 <= sound.samples.shape[1] - count <= CODED[subtype]
    assert sound.samples.flags.c_contiguous
    if subtype != "GSM610":  # which begins late, and is no good at that
        settled = slice(rate // 10, count)
        assert np.abs(sound.samples[0, settled] - samples[settled]).max() < 0.05
    if not piped:
        assert "cut off" in refusal(read, data[: len(data) // 2])


def test_a_codec_that_no_one_reads_is_named(read: Read) -> None:
    description = chunk(b"fmt ", struct.pack("<HHIIHHH", 0x1234, 1, 8_000, 8_000, 1, 8, 0))
    assert "0x1234" in refusal(read, wav(description, chunk(b"data", words(4000))))


@pytest.mark.parametrize(
    "description",
    [
        (1, 0, 8_000, 0, 0, 16),
        (1, 2, 0, 0, 4, 16),
        (1, 65_535, 8_000, 0, 2, 16),
        (1, 1, 8_000, 0, 0, 0),
        (3, 1, 8, 0, 9, 99),
    ],
)
def test_impossible_descriptions(read: Read, description: tuple[int, ...]) -> None:
    data = wav(chunk(b"fmt ", struct.pack("<HHIIHH", *description)), chunk(b"data", bytes(4000)))
    assert "cannot be" in refusal(read, data)


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_wav_header_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    good = bytearray(wav(pcm(1, 16_000, 16), OTHER_CHUNKS[0], chunk(b"data", words(100)), OTHER_CHUNKS[3]))
    for at in data.draw(st.lists(st.integers(4, len(good) - 1), max_size=12)):
        good[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "any.wav"
    path.write_bytes(good)
    try:
        sound = read_sidecar(path, DecodeLimits(memory_bytes=2**21))
    except MediaError as failure:
        assert failure.kind in ("bad_sidecar", "too_large")
    else:
        assert sound.samples.size * 4 <= 2**20 and np.isfinite(sound.samples).all()


def test_a_sound_beyond_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(wav(pcm(1, 8_000, 8), chunk(b"data", words(50_000, bits=8))))
    with pytest.raises(MediaError) as refused:
        read_sidecar(path, DecodeLimits(memory_bytes=200_000))
    assert refused.value.kind == "too_large"


# MP3

ID3 = b"ID3\x04\0\0\0\0\x01\x05" + bytes(133)
ID3V1 = b"TAG" + b"x" * 125
APE_ITEM = struct.pack("<II", 4, 0) + b"Title\0abcd"


def ape() -> bytes:
    size = len(APE_ITEM) + 32
    ends = [b"APETAGEX" + struct.pack("<IIII", 2000, size, 1, flags) + bytes(8) for flags in (0xA0000000, 0x80000000)]
    return ends[0] + APE_ITEM + ends[1]


LYRICS = b"LYRICSBEGIN" + b"LYR00010abcdefghij" + b"000029LYRICS200"


def frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and length of each frame, by tables of their own (ISO/IEC 13818-3 and 11172-3)."""
    at = 0
    while at + 4 <= len(data):
        mpeg1 = data[at + 1] & 0x18 == 0x18
        rates = {0x18: (44_100, 48_000, 32_000), 0x10: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
        rate = rates[data[at + 1] & 0x18][data[at + 2] >> 2 & 3]
        low = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
        high = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
        kilobits = (high if mpeg1 else low)[(data[at + 2] >> 4) - 1]
        length = (144_000 if mpeg1 else 72_000) * kilobits // rate + (data[at + 2] >> 1 & 1)
        yield at, length
        at += length


@cache
def mp3(rate: int = 16_000, seconds: float = 2.0, channels: int = 1, mode: str = "VARIABLE") -> bytes:
    """By LAME, with its header. Quiet at first, so that a rate guessed from the first frames is wrong."""
    samples = noise(round(rate * seconds), channels)
    samples[: len(samples) // 3] *= 1e-4
    return encoded(samples, rate, "MP3", bitrate_mode=mode)


def without_header(data: bytes) -> bytes:
    return data[next(frames(data))[1] :]


RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
def test_mp3_of_every_rate(read: Read, rate: int, channels: int) -> None:
    seconds = 1.3
    data = mp3(rate, seconds, channels)
    exact = read(data)
    assert exact.samples.shape == (channels, round(rate * seconds)) and exact.rate == rate
    bare = read(without_header(data))
    per_frame = 1152 if rate >= 32_000 else 576
    assert bare.samples.shape[1] == per_frame * (len(list(frames(data))) - 1)


TAGGED: dict[str, Callable[[bytes], bytes]] = {
    "ID3v2": lambda data: ID3 + data,
    "several ID3v2": lambda data: ID3 * 3 + data,
    "some padding": lambda data: ID3 + bytes(20) + data,
    "APE first": lambda data: ape() + data,
    "ID3v1": lambda data: data + ID3V1,
    "APE last": lambda data: data + ape(),
    "APE and ID3v1": lambda data: ID3 + data + ape() + ID3V1,
    "lyrics": lambda data: data + LYRICS + ID3V1,
    "ID3v2 last": lambda data: data + ID3,
    "few bytes": lambda data: data + b"\r\n",
}


@pytest.mark.parametrize("tags", TAGGED.values(), ids=TAGGED)
@pytest.mark.parametrize("header", [True, False])
def test_tags_around_an_mp3(read: Read, tags: Callable[[bytes], bytes], header: bool) -> None:
    data = mp3() if header else without_header(mp3())
    np.testing.assert_array_equal(read(tags(data)).samples, read(data).samples)


def test_mp3_joined_with_their_tags(read: Read) -> None:
    data = without_header(mp3(mode="CONSTANT"))
    count = read(data).samples.shape[1]
    assert read(ID3 + data + ID3V1 + ID3 + data + ID3V1).samples.shape[1] == 2 * count


def test_an_mp3_with_a_header_may_be_padded(read: Read) -> None:
    for data in (ID3 + bytes(5000) + mp3(), mp3() + bytes(5000)):
        assert read(data).samples.shape == (1, 32_000)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
@pytest.mark.parametrize("tag", [b"", ID3V1])
def test_an_mp3_that_ends_within_a_frame_is_refused(read: Read, header: bool, rate: int, tag: bytes) -> None:
    data = mp3(rate) if header else without_header(mp3(rate))
    at = list(frames(data))
    for number in (2, len(at) // 2, len(at) - 1):
        start, length = at[number]
        for kept in (1, 2, 3, 4, length // 2, length - 1):
            message = refusal(read, data[: start + kept] + tag)
            place_s = number * (1152 if rate >= 32_000 else 576) / rate
            assert "ends within an MP3 frame" in message and f"at {place_s:.2f} s" in message


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("missing", [1, 2, 10])
def test_an_mp3_of_fewer_frames_than_promised_is_refused(read: Read, rate: int, missing: int) -> None:
    data = mp3(rate)
    at = list(frames(data))
    assert "cut off" in refusal(read, data[: at[-missing][0]])
    assert "cut off" in refusal(read, data[: at[-missing][0]] + ID3V1)


def test_a_promise_that_counts_its_own_frame(read: Read) -> None:
    data = bytearray(mp3())
    at = data.index(b"Xing") + 8
    data[at : at + 4] = struct.pack(">I", int.from_bytes(data[at : at + 4], "big") + 1)
    assert read(bytes(data)).samples.shape[1] >= 32_000


def test_vbri_promises_as_well(read: Read) -> None:
    data = bytearray(mp3())
    at = list(frames(bytes(data)))
    data[4 : at[0][1]] = bytes(at[0][1] - 4)
    data[36:54] = b"VBRI" + struct.pack(">HHHII", 1, 0, 0, len(data), len(at) - 1)
    assert read(bytes(data)).samples.shape[1] == 576 * (len(at) - 1)
    assert "cut off" in refusal(read, bytes(data[: at[-3][0]]))


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("filling", ["zeros", "noise"])
@pytest.mark.parametrize("size", [300, 4096])
def test_a_hole_between_frames_is_refused(read: Read, header: bool, filling: str, size: int) -> None:
    data = mp3() if header else without_header(mp3())
    start = len(data) // 2
    hole = bytes(size) if filling == "zeros" else np.random.default_rng(1).bytes(size)
    assert "are no sound" in refusal(read, data[:start] + hole + data[start + size :])
    assert "are no sound" in refusal(read, data[:start] + hole + data[start:])


def test_zeros_in_place_of_the_end_or_the_start_of_an_mp3_are_refused(read: Read) -> None:
    data = without_header(mp3())
    assert "are no sound" in refusal(read, data[: list(frames(data))[30][0]] + bytes(5000))
    assert "before the first MP3 frame" in refusal(read, ID3 + bytes(5000) + data)


@given(keep=st.floats(0, 1), hole=st.booleans(), header=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_mp3_damaged_anywhere_loses_no_sound_without_a_word(
    read: Read, keep: float, hole: bool, header: bool
) -> None:
    whole = mp3(22_050)
    data = whole if header else without_header(whole)
    cut = int(len(data) * keep)
    damaged = data[:cut] + bytes(min(2000, len(data) - cut)) + data[cut + 2000 :] if hole else data[: max(1, cut)]
    ends = {start for start, _ in frames(data)}  # without a header no one can see a cut between frames
    try:
        sound = read(damaged)
    except MediaError as failure:
        assert failure.kind == "bad_sidecar"
    else:
        complete = read(data).samples.shape[1]
        assert sound.samples.shape[1] >= complete - LOSS_S * 22_050 or (not hole and not header and cut in ends)


def test_frames_are_walked_in_a_few_microseconds_each(tmp_path: Path) -> None:
    data = without_header(mp3(mode="CONSTANT"))
    path = tmp_path / "long.mp3"
    path.write_bytes(data * (8_000_000 // len(data)))
    with path.open("rb") as file:
        started = time.process_time()
        stream = walk_frames(path, file, 0, path.stat().st_size)
        took_s = time.process_time() - started
    assert took_s < 20e-6 * stream.samples / 576  # 0.4 us here; the bound is for slow machines


def test_mp3_within_wav(read: Read) -> None:
    data = mp3(44_100, 1.0, mode="CONSTANT")
    description = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 44_100, 8_000, 1, 0, 12, 1, 2, 417, 1, 1393)
    inside = wav(chunk(b"fmt ", description), chunk(b"data", data))
    piped = wav(chunk(b"fmt ", description), chunk(b"data", data, size=0))
    for file in (inside, piped):
        np.testing.assert_array_equal(read(file).samples, read(data).samples)
    assert "ends within an MP3 frame" in refusal(read, piped[:-100])


# FLAC


FLACS = [("PCM_16", 2, 44_100), ("PCM_24", 1, 96_000), ("PCM_S8", 1, 8_000)]


def without_total(data: bytes) -> bytes:
    return data[:21] + bytes([data[21] & 0xF0]) + bytes(4) + data[26:]


@pytest.mark.parametrize("tags", [b"", ID3, ID3 * 2, ID3 + bytes(77)], ids=["plain", "ID3", "several", "padding"])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("subtype", "channels", "rate"), [("PCM_16", 2, 44_100), ("PCM_24", 1, 96_000), ("PCM_S8", 1, 8_000)]
)
def test_flac(read: Read, tags: bytes, streamed: bool, subtype: str, channels: int, rate: int) -> None:
    data = encoded(noise(20_000, channels), rate, "FLAC", subtype)
    expected = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]
    sound = read(tags + (without_total(data) if streamed else data) + (ID3V1 if tags else b""))
    np.testing.assert_array_equal(sound.samples, expected.T)
    assert sound.rate == rate


@given(keep=st.floats(0, 1), hole=st.booleans(), streamed=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_flac_is_refused(read: Read, keep: float, hole: bool, streamed: bool) -> None:
    data = encoded(noise(20_000), 16_000, "FLAC")
    data = without_total(data) if streamed else data
    cut = max(42, int(len(data) * keep))
    damaged = data[:cut] + bytes(min(100, len(data) - cut)) + data[cut + 100 :] if hole else data[:cut]
    try:
        sound = read(damaged)
    except MediaError as failure:
        assert failure.kind == "bad_sidecar"
    else:
        # Without a number no one can see a cut between frames.
        assert sound.samples.shape[1] >= 20_000 - LOSS_S * 16_000 or (streamed and not hole)


def test_a_flac_of_fewer_samples_than_it_says(read: Read) -> None:
    data = encoded(noise(20_000), 16_000, "FLAC")
    count = int.from_bytes(data[21:26], "big") + 5000
    assert "1.25 of 1.56 s can be read" in refusal(read, data[:21] + count.to_bytes(5, "big") + data[26:])


# MP4 and Matroska


@pytest.mark.parametrize(
    ("name", "codec", "muxer", "added"),
    [
        ("a.mp4", "aac", {}, 2048),
        ("a.mp4", "aac", {"movflags": "frag_keyframe+empty_moov+delay_moov", "frag_duration": "300000"}, 2048),
        ("a.mp4", "alac", {}, 0),
        ("a.mka", "aac", {}, 2048),
        ("a.mka", "flac", {}, 0),
        ("a.mka", "libopus", {}, 0),
    ],
)
def test_sound_in_containers(
    read: Read, tmp_path: Path, name: str, codec: str, muxer: dict[str, str], added: int
) -> None:
    rate = 48_000
    samples = 0.4 * np.sin(2 * np.pi * 440 * np.arange(rate)[:, None] / rate)
    data = through_ffmpeg(samples, rate, tmp_path / name, codec, **muxer)
    sound = read(data)
    assert 0 <= sound.samples.shape[1] - rate <= added  # at the end
    middle = slice(rate // 4, rate // 2)
    assert np.abs(sound.samples[0, middle] - samples[middle, 0]).max() < 0.05  # not one sample late
    for keep in (0.3, 0.6, 0.9):
        assert "cut off" in refusal(read, data[: int(len(data) * keep)])


def test_a_matroska_file_that_ends_before_its_time(read: Read, tmp_path: Path) -> None:
    """The size of the segment is unknown, as in a stream, but its duration is not."""
    data = through_ffmpeg(noise(64_000), 16_000, tmp_path / "a.mka", "flac", cluster_time_limit="500")
    at = data.index(b"\x18\x53\x80\x67") + 4
    data = data[:at] + b"\x01" + b"\xff" * 7 + data[at + 8 :]
    assert read(data).samples.shape == (1, 64_000)
    last = data.rindex(b"\x1f\x43\xb6\x75")  # the cluster's start: cut between two of them
    assert "cut off" in refusal(read, data[:last])


# Refusals


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"OggS", "an Ogg file (Vorbis/Opus)"),
        (b"FORM\0\0\1\0AIFFCOMM", "an AIFF file"),
        (b"FORM\0\0\1\0AIFCFVER", "an AIFF file"),
        (b"caff\0\1", "a CAF file"),
        (b".snd\0\0", "an AU file"),
        (b"#!AMR\n", "an AMR file"),
        (b"RIFX\0\0\1\0WAVE", "big-endian"),
        (b"\xff\xf1\x50\x80", "AAC stream without a container"),
        (ID3 + b"\xff\xf1\x50\x80", "AAC stream without a container"),
        (b"\xff\xfd\x90\x04", "MPEG layer I or II"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "an ASF file"),
    ],
)
def test_other_sounds_are_named(read: Read, head: bytes, name: str) -> None:
    message = refusal(read, head + bytes(500))
    assert name in message and "Convert it" in message and "wav, flac, mp3" in message


@pytest.mark.parametrize("error", [ValueError, RuntimeError, OverflowError, TypeError, OSError])
@pytest.mark.parametrize("library", ["soundfile.SoundFile", "av.open"])
def test_whatever_a_library_raises_is_a_broken_sidecar(
    read: Read, monkeypatch: pytest.MonkeyPatch, error: type[Exception], library: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("something odd")

    data = encoded(noise(4000), 16_000, "FLAC") if library.startswith("soundfile") else mp3()
    monkeypatch.setattr(library, fail)
    assert "something odd" in refusal(read, data)


@example(head=b"ID3\x04\0\x10\x7f\x7f\x7f\x7f", rest=b"")
@example(head=b"APETAGEX", rest=b"\xff" * 24)
@given(
    head=st.sampled_from([ID3, b"fLaC", b"\xff\xfb\x90\0", ape(), b"RF64\0\0\0\0WAVE"]), rest=st.binary(max_size=300)
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_start_of_a_sound_is_read_or_refused(tmp_path: Path, head: bytes, rest: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(head + rest)
    try:
        read_sidecar(path, DecodeLimits(memory_bytes=2**21))
    except MediaError as failure:
        assert failure.kind in ("bad_sidecar", "too_large")


def test_cut_wavs_show_without_reading_them(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    data = wav(pcm(1, 16_000, 16), chunk(b"data", words(4000)))
    for missing in (0, 1000):
        path.write_bytes(data[: len(data) - missing])
        assert is_cut_off(path) == bool(missing)


# Which file


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


@pytest.mark.parametrize(
    ("video", "others", "expected"),
    [
        ("a.MP4", ["a.WAV"], "a.WAV"),
        ("a.mp4", ["a.Wav"], "a.Wav"),
        ("a.mp4", ["a.FLAC"], "a.FLAC"),
        ("Clip.mp4", ["clip.WAV"], "clip.WAV"),
        ("a.mp4", ["a.WAV", "a.wav"], "a.wav"),
        ("a.mp4", ["a.WAV", "a.Wav"], "a.WAV"),
        ("a.mp4", ["a.mp3", "a.FLAC"], "a.FLAC"),
        ("a.mp4", ["A.wav", "a.M4A"], "a.M4A"),
        ("a.mp4", ["b.WAV", "a.txt", "a.wav.part"], None),
        ("A.mp4", ["a.mp4", "a.wav"], None),
        ("A.mp4", ["a.mp4", "a.wav", "A.MP3"], "A.MP3"),
        ("a.b.mp4", ["a.B.Wav", "a.wav"], "a.B.Wav"),
        ("\N{LATIN CAPITAL LETTER A WITH DIAERESIS}.mp4", ["\N{LATIN SMALL LETTER A WITH DIAERESIS}.WAV"], "ä.WAV"),
        ("sound.M4A", ["sound.m4a"], "sound.m4a"),
        ("sound.M4A", [], None),
    ],
)
def test_names_in_any_case(tmp_path: Path, video: str, others: list[str], expected: str | None) -> None:
    touch(tmp_path, video, *others)
    if len(list(tmp_path.iterdir())) < 1 + len(others):
        pytest.skip("this file system does not tell upper from lower case")
    assert sidecar_for(tmp_path / video) == (tmp_path / expected if expected else None)


def test_a_sidecar_that_comes_later_is_found(tmp_path: Path) -> None:
    """The listing of a folder is remembered only while nothing changes."""
    touch(tmp_path, "a.mp4")
    for moment in (time.time_ns() - 10**12, time.time_ns() - 10**11):
        os.utime(tmp_path, ns=(moment, moment))
        assert sidecar_for(tmp_path / "a.mp4") is None
    touch(tmp_path, "a.WAV")
    assert sidecar_for(tmp_path / "a.mp4") == tmp_path / "a.WAV"


def test_a_large_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, *(f"{number}.mp4" for number in range(300)))
    os.utime(tmp_path, ns=(10**18, 10**18))
    listed, original = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or original(folder))
    assert all(sidecar_for(tmp_path / f"{number}.mp4") is None for number in range(300))
    assert len(listed) == 1


def test_a_video_of_exactly_this_stem(tmp_path: Path) -> None:
    touch(tmp_path, "one.MKV", "Two.mp4", "three.MP4", "three.mp4")
    assert find_by_stem(tmp_path / "one", VIDEO_SUFFIXES) == tmp_path / "one.MKV"
    assert find_by_stem(tmp_path / "two", VIDEO_SUFFIXES) is None
    assert find_by_stem(tmp_path / "three", VIDEO_SUFFIXES) == tmp_path / "three.mp4"
    assert find_by_stem(tmp_path / "missing" / "one", VIDEO_SUFFIXES) is None
