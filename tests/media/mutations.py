"""Damaged copies of small clips, and whether what was lost in them is said.

    python -m tests.media.mutations --count 3000 [--seed 0] [--show 20]

Every clip shows white flashes and has clicks at the same known times. Each copy is damaged in one way, from a seed;
then it is read, and frames, flashes, clicks and seconds of sound are held against the original's. What lacks without a
word is a ``SILENT LOSS``. A live recording that ends between two clusters is read with the word that its end is open.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Literal

import av
import av.error
import numpy as np

from javisbench.clip import Clip
from javisbench.media import ClipReader, ClipSource
from javisbench.media.integrity import Damage
from javisbench.media.signature import VIDEO_FORMATS, identify

Outcome = Literal["refused", "flagged", "equal", "changed payload", "open end", "SILENT LOSS"]
OUTCOMES: tuple[Outcome, ...] = ("refused", "flagged", "equal", "changed payload", "open end", "SILENT LOSS")

FPS, SECONDS, SIZE, RATE = 24, 2, (80, 64), 48_000
EVENTS_S = (0.5, 1.0, 1.75)
_LEAST_LOSS_S = 0.05
_SAME_S = 0.004


@dataclass(frozen=True)
class Base:
    """A clip to be damaged: file name, codecs, options of the muxer."""

    name: str
    video: str
    sound: str
    muxer: tuple[tuple[str, str], ...] = ()
    format: str | None = None


BASES = (
    Base("plain.mp4", "libx264", "aac"),
    Base("faststart.mp4", "mpeg4", "aac", (("movflags", "faststart"),)),
    Base("fragmented.mp4", "libx264", "aac", (("movflags", "frag_keyframe+empty_moov+default_base_moof"),)),
    Base("dash.mp4", "libx264", "libopus", (("movflags", "dash+frag_keyframe"),)),
    Base("pcm.mov", "libx264", "pcm_s16le"),
    Base("mjpeg.mov", "mjpeg", "aac", (("movflags", "faststart"),)),
    Base("checked.mkv", "libx264", "aac", (("cluster_time_limit", "500"),)),
    Base("plain.mkv", "libx264", "flac", (("cluster_time_limit", "500"), ("write_crc32", "0"))),
    Base("live.mkv", "libx264", "libmp3lame", (("live", "1"), ("cluster_time_limit", "500"))),
    Base("vp8.webm", "libvpx", "libopus", (("cluster_time_limit", "500"),)),
    Base("vp9.webm", "libvpx-vp9", "libopus", (("cluster_time_limit", "500"),)),
    Base("live.webm", "libvpx", "libopus", (("live", "1"), ("cluster_time_limit", "500"))),
    Base("mpeg4.avi", "mpeg4", "libmp3lame"),
    Base("mjpeg.avi", "mjpeg", "pcm_s16le"),
)


def make(base: Base, folder: Path) -> Path:
    """Write a base clip: a moving pattern with flashes, noise with clicks."""
    path = folder / base.name
    with av.open(str(path), "w", options=dict(base.muxer)) as output:
        video = output.add_stream(base.video, rate=Fraction(FPS))
        video.width, video.height = SIZE
        video.pix_fmt = "yuvj420p" if base.video == "mjpeg" else "yuv420p"
        video.gop_size = 12
        video.codec_context.thread_count = 1
        video.codec_context.bit_rate = 400_000
        if base.video == "libx264":
            video.options = {"preset": "fast", "sc_threshold": "0"}
        elif base.video.startswith("libvpx"):
            video.options = {"deadline": "realtime", "cpu-used": "8"}
        track = output.add_stream(base.sound, rate=RATE, layout="mono")
        packets = [packet for frame in _pictures() for packet in video.encode(frame)]
        packets += video.encode(None)
        packets += [packet for frame in _sound(track.codec_context.format.name) for packet in track.encode(frame)]
        packets += track.encode(None)
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            output.mux(packet)
    return path


def _pictures() -> Iterator[av.VideoFrame]:
    pattern = np.random.default_rng(0).integers(0, 90, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    flashes = {round(event * FPS) for event in EVENTS_S}
    for number in range(FPS * SECONDS):
        pixels = np.roll(pattern, number, 1)
        if number in flashes:
            pixels = np.full_like(pixels, 255)
        frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        yield frame


def _sound(sample_format: str) -> Iterator[av.AudioFrame]:
    samples = np.random.default_rng(1).standard_normal(RATE * SECONDS) * 0.01
    for event in EVENTS_S:
        start = round(event * RATE)
        samples[start : start + RATE // 100] += 0.8 * np.sin(np.arange(RATE // 100) * 0.3)
    resampler = av.AudioResampler(sample_format, "mono", RATE, frame_size=960)
    block = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), "fltp", "mono")
    block.sample_rate, block.pts, block.time_base = RATE, 0, Fraction(1, RATE)
    yield from resampler.resample(block)
    yield from resampler.resample(None)


# damage


def units(data: bytes, name: str) -> list[tuple[int, int]]:
    """Start and end of what a container consists of: clusters, boxes (or fragments), chunks."""
    if name.endswith((".mkv", ".webm")):
        starts = [at for at in range(len(data)) if data.startswith(b"\x1f\x43\xb6\x75", at)]
        end = data.find(b"\x1c\x53\xbb\x6b", starts[-1])
        return _between([*starts, end if end > 0 else len(data)])
    if name.endswith(".avi"):
        at, found = data.index(b"movi") + 4, []
        while data[at : at + 2].isdigit():
            end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            found.append((at, end + end % 2))
            at = end + end % 2
        return found
    at, starts = 0, []
    while at < len(data):
        if data[at + 4 : at + 8] != b"mdat" or b"moof" not in data:
            starts.append(at)
        at += int.from_bytes(data[at : at + 4], "big")
    return _between([*starts, len(data)])


def _between(places: list[int]) -> list[tuple[int, int]]:
    return list(pairwise(places))


Mutation = Callable[[bytes, str, np.random.Generator], bytes]


def _range(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    length = int(2 ** rng.uniform(0, np.log2(len(data) / 4)))
    start = int(rng.integers(0, len(data) - length))
    return start, start + length


def _cut(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(len(data) // 50, len(data)))]


def _cut_at_unit(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    found = units(data, name)
    return data[: found[int(rng.integers(len(found)))][0]] or data[:1]


def _zeroed(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    start, end = _range(data, rng)
    return data[:start] + bytes(end - start) + data[end:]


def _removed(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    start, end = _range(data, rng)
    return data[:start] + data[end:]


def _duplicated(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    start, end = _range(data, rng)
    return data[:end] + data[start:]


def _noise(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    start, end = _range(data, rng)
    return data[:start] + rng.bytes(end - start) + data[end:]


def _unit_missing(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    found = units(data, name)
    start, end = found[int(rng.integers(len(found)))]
    return data[:start] + data[end:]


def _units_swapped(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    found = units(data, name)
    if len(found) < 2:
        return _unit_missing(data, name, rng)
    at = int(rng.integers(len(found) - 1))
    (a, b), (c, d) = found[at], found[at + 1]
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _size_changed(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    found = units(data, name)
    start, _ = found[int(rng.integers(len(found)))]
    at = start + (4 if name.endswith((".mkv", ".webm", ".avi")) else 0)
    changed = bytearray(data)
    changed[at + int(rng.integers(4))] ^= int(rng.integers(1, 256))
    return bytes(changed)


_FIELDS = {
    "mkv": (b"\x44\x89\x88", b"\x23\xe3\x83", b"\x2a\xd7\xb1"),
    "mov": (b"mvhd", b"mdhd", b"tkhd", b"elst", b"stts"),
    "avi": (b"avih", b"strh"),
}
_FIELD_BYTES = {b"\x44\x89\x88": 8, b"\x23\xe3\x83": 4, b"\x2a\xd7\xb1": 4, b"mvhd": 24, b"mdhd": 24, b"avih": 32}


def _header_changed(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    """A number of a duration, rate or count, a few bits other."""
    kind = "mkv" if name.endswith((".mkv", ".webm")) else "avi" if name.endswith(".avi") else "mov"
    places = [(at, field) for field in _FIELDS[kind] for at in _all(data, field)]
    at, field = places[int(rng.integers(len(places)))]
    changed = bytearray(data)
    place = at + len(field) + int(rng.integers(_FIELD_BYTES.get(field, 40)))
    changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _all(data: bytes, piece: bytes) -> Iterator[int]:
    at = data.find(piece)
    while at >= 0:
        yield at
        at = data.find(piece, at + 1)


def _bit_in_header(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    """A bit of the tables, or of the first bytes of a unit."""
    start = data.find(b"moov") if b"moov" in data else 0
    places = [*range(start, min(len(data), start + 1500))]
    places += [at for first, _ in units(data, name) for at in range(first, min(first + 24, len(data)))]
    return _flipped(data, places[int(rng.integers(len(places)))], rng)


def _bit_anywhere(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    return _flipped(data, int(rng.integers(len(data))), rng)


def _flipped(data: bytes, at: int, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


MUTATIONS: dict[str, Mutation] = {
    "cut": _cut,
    "cut at unit": _cut_at_unit,
    "zeroed": _zeroed,
    "removed": _removed,
    "duplicated": _duplicated,
    "noise": _noise,
    "unit missing": _unit_missing,
    "units swapped": _units_swapped,
    "size changed": _size_changed,
    "header changed": _header_changed,
    "bit in header": _bit_in_header,
    "bit anywhere": _bit_anywhere,
}


# judgement


@dataclass(frozen=True, eq=False)
class Seen:
    """What a reader gave of a file."""

    clip: Clip
    sound: np.ndarray
    spans_s: tuple[tuple[float, float], ...]
    damage: tuple[Damage, ...]

    @property
    def times_s(self) -> np.ndarray:
        """Presentation times of the frames, the first one at its place on the container's clock."""
        times = self.clip.frame_times_s
        assert times is not None
        return times

    @property
    def flashes(self) -> np.ndarray:
        """Seconds after the first frame."""
        bright = self.clip.frames.mean((1, 2, 3)) > 180
        return (self.times_s - self.times_s[0])[bright]

    @property
    def clicks(self) -> np.ndarray:
        """Seconds on the container's clock after the first frame."""
        loud = np.flatnonzero(np.abs(self.sound) > 0.3) / RATE
        return loud[np.diff(loud, prepend=-1.0) > 0.1] - self.times_s[0]

    @property
    def heard_s(self) -> float:
        """Seconds of sound, gaps left out."""
        return sum(end - start for start, end in self.spans_s)


class Judge:
    """Reads originals and damaged copies with one decoding process. A context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reader = ClipReader()

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def see(self, data: bytes) -> Seen | None:
        """Read a file's content; None when it is refused."""
        path = self._folder / "judged.bin"
        path.write_bytes(data)
        ((_, clip),) = self._reader.read([ClipSource("judged", path)])
        if not isinstance(clip, Clip):
            return None
        sound, spans = _listen(path)
        return Seen(clip, sound, spans, clip.damage)

    def judge(self, original: Seen, data: bytes) -> Outcome:
        """Hold a damaged copy against the original."""
        seen = self.see(data)
        if seen is None:
            return "refused"
        if any(damage.certain for damage in seen.damage):
            return "flagged"
        if _has_lost(original, seen):
            return "open end" if seen.damage else "SILENT LOSS"
        same = np.array_equal(original.clip.frames, seen.clip.frames) and np.array_equal(original.sound, seen.sound)
        return "equal" if same else "changed payload"


def _has_lost(original: Seen, seen: Seen) -> bool:
    step = 1 / FPS
    if len(seen.clip.frames) < len(original.clip.frames) - 1 or seen.heard_s < original.heard_s - _LEAST_LOSS_S:
        return True
    if len(seen.clip.frames) == len(original.clip.frames):
        shown, right = seen.times_s - seen.times_s[0], original.times_s - original.times_s[0]
        if np.abs(shown - right).max() > 1.01 * step:
            return True
    for got, want in ((seen.flashes, original.flashes), (seen.clicks, original.clicks)):
        # One of them may be noise in the sound's own samples; that most move is another clock.
        if len(got) == len(want) and np.mean(np.abs(got - want) > max(step, _LEAST_LOSS_S) + 0.001) > 0.5:
            return True
    return False


def _listen(path: Path) -> tuple[np.ndarray, tuple[tuple[float, float], ...]]:
    """The sound on the container's clock at `RATE`, one channel, and its stretches without a gap."""
    spans: list[tuple[float, float]] = []
    sound = np.zeros(0, np.float32)
    for start, samples, rate in _pieces(path):
        end = start + len(samples) / rate
        if spans and start - spans[-1][1] < _SAME_S:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
        at = max(0, min(round(start * RATE), 60 * RATE))
        if at + len(samples) > len(sound):
            sound = np.pad(sound, (0, at + len(samples) - len(sound)))
        sound[at : at + len(samples)] = samples
    return sound, tuple(spans)


def _pieces(path: Path) -> Iterator[tuple[float, np.ndarray, int]]:
    """Start in seconds, samples of the first channel, rate."""
    with av.open(str(path), format=identify(path, VIDEO_FORMATS), metadata_errors="replace") as container:
        stream = container.streams.best("audio")
        try:
            for frame in container.decode(stream) if stream is not None else ():
                samples = frame.to_ndarray()
                samples = samples[0] if frame.format.is_planar else samples[0, :: len(frame.layout.channels)]
                scale = 32768 if frame.format.name.startswith("s16") else 1
                yield frame.time or 0.0, samples.astype(np.float32) / scale, frame.sample_rate
        except av.error.FFmpegError:
            return


def mutated(data: bytes, name: str, kind: str, seed: int) -> bytes:
    """A copy of ``data`` damaged in one way; equal for equal arguments."""
    return MUTATIONS[kind](data, name, np.random.default_rng([seed, list(MUTATIONS).index(kind)]))


def rounds(count: int, seed: int) -> Iterator[tuple[Base, str, int]]:
    """Which base is damaged how, from which seed: all pairs in turn."""
    pairs = [(base, kind) for base in BASES for kind in MUTATIONS]
    for number in range(count):
        base, kind = pairs[number % len(pairs)]
        yield base, kind, seed + number // len(pairs)


def table(rows: dict[str, Counter[Outcome]], first: str) -> str:
    """Outcomes as Markdown."""
    lines = [f"| {first} | {' | '.join(OUTCOMES)} |", "| --- |" + " ---: |" * len(OUTCOMES)]
    lines += [f"| {name} | {' | '.join(str(row[outcome]) for outcome in OUTCOMES)} |" for name, row in rows.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="bases whose name holds this")
    parser.add_argument("--show", type=int, default=20, help="silent losses to name")
    options = parser.parse_args()
    by_base: dict[str, Counter[Outcome]] = {base.name: Counter() for base in BASES}
    by_kind: dict[str, Counter[Outcome]] = {kind: Counter() for kind in MUTATIONS}
    losses = []
    with tempfile.TemporaryDirectory() as place, Judge(Path(place)) as judge:
        originals = {base: make(base, Path(place)).read_bytes() for base in BASES}
        seen = {base: judge.see(data) for base, data in originals.items()}
        for base, kind, seed in rounds(options.count, options.seed):
            if options.only and options.only not in base.name:
                continue
            original = seen[base]
            assert original is not None and not any(d.certain for d in original.damage), (base.name, original)
            outcome = judge.judge(original, mutated(originals[base], base.name, kind, seed))
            by_base[base.name][outcome] += 1
            by_kind[kind][outcome] += 1
            if outcome == "SILENT LOSS":
                losses.append(f"{base.name}: {kind}, seed {seed}")
    print(table(by_base, "clip"), table(by_kind, "damage"), "\n".join(losses[: options.show]), sep="\n\n")


if __name__ == "__main__":
    main()
