"""WAV files (RIFF, RF64, BW64): where the sound lies, whether all of it is there, and decoding plain samples.

The chunk ``data`` says how much sound there is; the size of the file as a whole (RIFF) is wrong too often to be of
use. A size that a program wrote because it could not go back (a pipe, a recording that was killed) counts as
unknown, and the sound then goes to the end of the file: 0, and whatever lies within 64 KiB of 2^31 or 2^32. Any other
size must be there but for a few bytes, else the file is cut off. What stands behind the sound must be chunks, tags,
zeros, or shorter than 50 ms.

Layout after Microsoft's "Multimedia Programming Interface and Data Specifications 1.0", "Multiple Channel Audio Data
and WAVE Files", and ITU-R BS.2088 (RF64, BW64).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from javisbench.errors import MediaError
from javisbench.media.errors import media_error
from javisbench.media.tags import behind_tags

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGICS = (b"RIFF", b"RF64", b"BW64")
PCM, MS_ADPCM, FLOAT, A_LAW, MU_LAW, IMA_ADPCM, GSM, MP3 = 1, 2, 3, 6, 7, 0x11, 0x31, 0x55
UNSAID_LOSS_S = 0.05
"""Seconds of sound that a file may lack, or hold beyond its count, without being refused."""

_EXTENSIBLE = 0xFFFE
# Ends of the sub-format identifiers whose first two bytes are a codec: Microsoft's, and that of Ambisonics.
_GUID_ENDS = (bytes.fromhex("000000001000800000aa00389b71"), bytes.fromhex("00002107d3118644c8c1ca000000"))
_MAX_CHUNKS = 10_000
_MAX_CHANNELS = 1024
_NEAR = 2**16
_FEW_BYTES = 8
_SOUND_CHUNKS = (b"data", b"wavl", *MAGICS)
_OTHER_CHUNKS = (
    b"fmt |LIST|fact|bext|JUNK|junk|PAD |FLLR|id3 |ID3 |cue |PEAK|smpl|inst|iXML|axml|chna|_PMX|cart|acid|DISP"
)
_KNOWN_CHUNKS = frozenset((*_SOUND_CHUNKS, *_OTHER_CHUNKS.split(b"|"), b"ds64", b"umid", b"qlty", b"levl", b"plst"))


@dataclass(frozen=True)
class WavFormat:
    """What the chunk ``fmt`` says.

    Attributes:
        codec: the format tag, that of the sub-format where the tag is "extensible".
        channels: 1 to 1024.
        rate: Hz.
        block_bytes: of plain samples and of A- and mu-law: one sample of every channel; of others a packet.
        bytes_per_s: of compressed sound as declared; 0 where it is not.
        block_samples: samples a channel in a block; 0 where the codec does not say.
        chunk: the chunk's content as stored.
    """

    codec: int
    channels: int
    rate: int
    block_bytes: int
    bytes_per_s: float
    block_samples: int
    chunk: bytes

    @property
    def plain(self) -> bool:
        """Whether the samples are stored as numbers, of a kind that `read_plain` reads."""
        width = self.block_bytes // self.channels
        return width in {PCM: (1, 2, 3, 4, 8), FLOAT: (4, 8)}.get(self.codec, ())

    def seconds(self, size: int) -> float:
        """Duration of so many bytes of sound; 0 where that is not known."""
        return size / self.bytes_per_s if self.bytes_per_s else 0.0


@dataclass(frozen=True)
class WavLayout:
    """Where the sound of a WAV file is.

    Attributes:
        format: how it is coded.
        start: offset of its first byte.
        size: bytes of it that are there.
        missing_bytes: bytes of it that are announced beyond the end of the file.
        fact: samples a channel as the chunk ``fact`` says; 0 without one.
    """

    format: WavFormat
    start: int
    size: int
    missing_bytes: int
    fact: int

    @property
    def samples(self) -> int:
        """Whole samples a channel, as far as blocks say it; 0 where they do not."""
        return self.size // self.format.block_bytes * self.format.block_samples


@dataclass(frozen=True)
class _Chunk:
    kind: bytes
    start: int
    length: int
    total: int  # bytes of the file

    @property
    def end(self) -> int:
        return self.start + self.length


def wav_layout(path: Path, file: BinaryIO, size: int, start: int = 0) -> WavLayout:
    """Find the sound of a WAV file.

    Args:
        path: for messages.
        file: the file.
        size: its bytes.
        start: where ``RIFF`` stands.

    Raises:
        MediaError: ``bad_sidecar``: there is no sound or no description of it, or there is more of it than it counts.
    """
    file.seek(start)
    wide = file.read(4) in (b"RF64", b"BW64")
    description, fact, wide_size, data = None, 0, None, None
    chunk = _chunk_at(file, start + 12, size)
    for _ in range(_MAX_CHUNKS):
        if chunk is None:
            break
        if chunk.kind == b"data":
            data = chunk
            break
        content = _content(file, chunk)
        if chunk.kind == b"fmt ":
            description = content
        elif chunk.kind == b"fact" and len(content) >= 4:
            fact = int.from_bytes(content[:4], "little")
        elif chunk.kind == b"ds64" and len(content) >= 16:
            wide_size = int.from_bytes(content[8:16], "little")
        chunk = _next_chunk(file, chunk)
    if description is None:
        raise _bad(
            path, "the WAV file holds no description of its sound (fmt) before the sound; it is cut off or damaged"
        )
    if data is None:
        raise _bad(path, "the WAV file holds no sound (data); it is cut off or damaged")
    wav_format = _format(path, description)
    declared = wide_size if wide and wide_size is not None and data.length == 0xFFFFFFFF else data.length
    there, missing = _extent(path, file, data, declared, wav_format)
    return WavLayout(wav_format, data.start, there, missing, fact)


def read_plain(path: Path, file: BinaryIO, layout: WavLayout) -> NDArray[np.float32]:
    """All whole samples, float32 ``(channels, samples)``; integers are scaled so that full scale is 1.

    Equal bit by bit to what libsndfile reads as float32.

    Raises:
        MediaError: ``bad_sidecar``: the file became shorter while it was read.
    """
    block, channels = layout.format.block_bytes, layout.format.channels
    count = layout.size // block
    samples = np.empty((channels, count), np.float32)
    at_once = max(1, 2**20 // block)
    file.seek(layout.start)
    for first in range(0, count, at_once):
        wanted = min(at_once, count - first)
        data = file.read(wanted * block)
        if len(data) < wanted * block:
            raise _bad(path, "the WAV file became shorter while it was read")
        values = _as_float(data, layout.format.codec, block // channels)
        samples[:, first : first + wanted] = values.reshape(wanted, channels).T
    return samples


def with_clean_header(layout: WavLayout) -> bytes:
    """A header with right sizes and nothing needless, to stand before the sound of ``layout``."""
    chunk = layout.format.chunk
    padded = chunk + bytes(len(chunk) % 2)
    size = min(layout.size, 0xFFFFFFFF)
    whole = min(20 + len(padded) + size, 0xFFFFFFFF)
    head = struct.pack("<4sI4s4sI", b"RIFF", whole, b"WAVE", b"fmt ", len(chunk))
    return head + padded + struct.pack("<4sI", b"data", size)


def _bad(path: Path, what: str) -> MediaError:
    return media_error("bad_sidecar", f"{path}: {what}.")


# Chunks


def _chunk_at(file: BinaryIO, position: int, total: int) -> _Chunk | None:
    """The chunk at a position; None where no chunk can be."""
    if position + 8 > total:
        return None
    file.seek(position)
    header = file.read(8)
    if len(header) < 8 or not all(0x20 <= byte < 0x7F for byte in header[:4]):
        return None
    return _Chunk(header[:4], position + 8, int.from_bytes(header[4:], "little"), total)


def _next_chunk(file: BinaryIO, chunk: _Chunk) -> _Chunk | None:
    """The chunk behind another one. Behind an odd length belongs a byte of padding, which some programs forget."""
    if chunk.length % 2 == 0:
        return _chunk_at(file, chunk.end, chunk.total)
    found = [_chunk_at(file, chunk.end + padding, chunk.total) for padding in (1, 0)]
    known = [other for other in found if other is not None and other.kind in _KNOWN_CHUNKS]
    return known[0] if known else next(filter(None, found), None)


def _content(file: BinaryIO, chunk: _Chunk) -> bytes:
    """The first bytes of a chunk: all that is of use here."""
    file.seek(chunk.start)
    return file.read(min(chunk.length, 1024))


# How much sound there is


def _extent(path: Path, file: BinaryIO, data: _Chunk, declared: int, wav_format: WavFormat) -> tuple[int, int]:
    """Bytes of sound that are there, and bytes of it that are missing."""
    available = data.total - data.start
    # A sound of unknown length may end within a block, or with the byte of padding.
    rest = available % wav_format.block_bytes if wav_format.block_samples else 0
    whole = available - rest if wav_format.seconds(rest) <= UNSAID_LOSS_S else available
    if declared == 0 and not _is_empty(file, data):
        return whole, 0
    if declared <= available:
        _refuse_more(path, file, _Chunk(data.kind, data.start, declared, data.total), wav_format)
        return declared, 0
    missing = declared - available
    return whole, 0 if _is_unknown(declared) or _is_slip(missing, data, wav_format) else missing


def _is_unknown(declared: int) -> bool:
    return declared >= 2**62 or any(abs(declared - power) <= _NEAR for power in (2**31, 2**32))


def _is_slip(missing: int, data: _Chunk, wav_format: WavFormat) -> bool:
    """Whether the size is that of something else: the chunk with its header, or the file, or the file but 8 bytes."""
    if wav_format.block_samples != 1:  # a block that is not whole may be lost as a whole
        return missing <= 1
    slips = (data.start, data.start - 8)
    return missing <= _FEW_BYTES or (missing in slips and wav_format.seconds(missing) <= UNSAID_LOSS_S)


def _is_empty(file: BinaryIO, data: _Chunk) -> bool:
    """Whether nothing but known chunks follows a length of 0, which then is meant."""
    following, offset = _chunk_at(file, data.start, data.total), data.start
    for _ in range(_MAX_CHUNKS):
        if following is None or following.kind not in _KNOWN_CHUNKS or following.end > data.total:
            break
        offset = following.end
        following = _next_chunk(file, following)
    return data.total - offset <= _FEW_BYTES


def _refuse_more(path: Path, file: BinaryIO, data: _Chunk, wav_format: WavFormat) -> None:
    """Refuse a file that holds more sound than it counts, as one that was written on after its header."""
    chunk, end = _next_chunk(file, data), data.end
    for _ in range(_MAX_CHUNKS):
        if chunk is None:
            break
        if chunk.kind in _SOUND_CHUNKS and wav_format.seconds(data.total - chunk.start) > UNSAID_LOSS_S:
            raise _bad(path, "the WAV file holds several pieces of sound; join them into one, or remove the others")
        end = chunk.end if chunk.kind in _KNOWN_CHUNKS or chunk.end <= data.total else end
        chunk = _next_chunk(file, chunk) if chunk.end <= data.total else None
    end = max(behind_tags(file, end + padding) for padding in (0, 1)) if end < data.total else end
    left_s = wav_format.seconds(data.total - end)
    if left_s > UNSAID_LOSS_S and not _is_zero(file, end):
        raise _bad(
            path,
            f"the WAV file goes on for {left_s:.2f} s of bytes behind the {wav_format.seconds(data.length):.2f} s of "
            f"sound that its header counts; write it again with a right header",
        )


def _is_zero(file: BinaryIO, position: int) -> bool:
    file.seek(position)
    while block := file.read(2**20):
        if block.strip(b"\0"):
            return False
    return True


# What the samples are


def _format(path: Path, chunk: bytes) -> WavFormat:
    if len(chunk) < 14:
        raise _bad(path, "the WAV file's description of its sound (fmt) is too short")
    codec, channels, rate, bytes_per_s, block = struct.unpack("<HHIIH", chunk[:14])
    bits = int.from_bytes(chunk[14:16], "little")
    if codec == _EXTENSIBLE and chunk[26:40] in _GUID_ENDS:
        codec = int.from_bytes(chunk[24:26], "little")
    if not 0 < channels <= _MAX_CHANNELS or not 0 < rate < 2**31:
        raise _bad(path, f"the WAV file declares {channels} channels at {rate} Hz, which cannot be")
    if codec in (PCM, FLOAT):
        width = _width(block, channels, bits)
        if width == 0:
            raise _bad(
                path, f"the WAV file declares {bits} bits in {block} bytes for {channels} channels, which cannot be"
            )
        block, samples = width * channels, 1
    elif codec in (A_LAW, MU_LAW):
        block, samples = channels, 1
    else:
        block, samples = max(1, block), _samples_of_block(codec, chunk)
    if samples:
        bytes_per_s = block * rate / samples
    return WavFormat(codec, channels, rate, block, bytes_per_s, samples, chunk)


def _width(block: int, channels: int, bits: int) -> int:
    """Bytes of one number: those of the block, unless it is too small for the bits or cannot be divided."""
    if block % channels == 0 and 0 < block // channels <= 8 and bits <= block // channels * 8:
        return block // channels
    return (bits + 7) // 8 if 0 < bits <= 64 else 0


def _samples_of_block(codec: int, chunk: bytes) -> int:
    """Samples a channel in a block of the codecs that say it behind the common part of the description."""
    return int.from_bytes(chunk[18:20], "little") if codec in (MS_ADPCM, IMA_ADPCM, GSM) else 0


def _as_float(data: bytes, codec: int, width: int) -> NDArray[np.float32]:
    if codec == FLOAT:
        with np.errstate(over="ignore"):  # told later, as infinite
            return np.frombuffer(data, f"<f{width}").astype(np.float32)
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) * np.float32(2.0**-7)
    if width == 3:
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data, width = padded.tobytes(), 4
    return np.frombuffer(data, f"<i{width}").astype(np.float32) * np.float32(2.0 ** (1 - 8 * width))
