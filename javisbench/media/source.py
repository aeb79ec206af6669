"""What is read (`ClipSource`), within which limits (`DecodeLimits`), and what a header says (`MediaInfo`)."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path, PurePath

from javisbench.errors import MediaError
from javisbench.media.errors import media_error, not_brought
from javisbench.places import Cache, PlaceError
from javisbench.system_faults import fault_of
from javisbench.tasks import Condition

SIDECAR_SUFFIXES = (".wav", ".flac", ".mp3", ".m4a")
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
GIVEN_SUFFIXES: Mapping[Condition, tuple[str, ...]] = {
    "image": IMAGE_SUFFIXES,
    "video": VIDEO_SUFFIXES,
    # The sound of a video is a sound.
    "audio": (*SIDECAR_SUFFIXES, *VIDEO_SUFFIXES),
}
"""What the names of files end in, in lower case, that suites give to models, by column."""

_MEDIA_SUFFIXES = frozenset(SIDECAR_SUFFIXES + VIDEO_SUFFIXES)
_SETTLED_NS = 5 * 10**9

# What a decoding process needs besides what it hands over: the interpreter and its libraries, and the decoder's own
# reference frames (16 of them at 8K, 10 bit, are 1.6 GiB).
_ADDRESS_SPACE_BESIDES = 3 * 2**30
_MOST_RUN_BYTES = 64 * 2**20
_PIXELS_PER_S = 4e6


@dataclass(frozen=True)
class DecodeLimits:
    """How much one clip may cost.

    Clips are read as streams: frames are handed over in runs, so that memory does not grow with a clip's length.

    Attributes:
        memory_bytes: bound on what one clip may take in memory while it is read: its sound (at most half) and two runs
            of frames (an eighth each, at most 64 MiB).
        max_decoded_bytes: most bytes of pixels and samples of a clip that is read whole (`read_clip`).
        max_pixels: most pixels over all frames; more is refused before anything is decoded.
        deadline_s: seconds that reading a clip may take, beside a second for each four million pixels; on a machine
            with more to do than it has cores, in proportion longer. Then the decoding process is ended and replaced.
        address_space_bytes: address space of a decoding process (Linux; other systems may not enforce it).
            By default ``memory_bytes`` and 3 GiB for the decoder itself.
        patience_s: seconds that the system (file systems, memory) may take to recover before reading ends; it is tried
            after waits that grow.
    """

    memory_bytes: int = 2**30
    max_decoded_bytes: int = 2 * 2**30
    max_pixels: int = 2**36
    deadline_s: float = 60.0
    address_space_bytes: int = 0
    patience_s: float = 60.0

    def __post_init__(self) -> None:
        if min(self.memory_bytes, self.max_decoded_bytes, self.max_pixels, self.deadline_s) <= 0:
            raise ValueError("memory_bytes, max_decoded_bytes, max_pixels and deadline_s must be above 0")
        if not 0 <= self.patience_s < float("inf"):
            raise ValueError("patience_s must be 0 or more")
        if self.address_space_bytes <= 0:
            object.__setattr__(self, "address_space_bytes", self.memory_bytes + _ADDRESS_SPACE_BESIDES)

    @property
    def sound_bytes(self) -> int:
        """Most bytes of decoded sound."""
        return self.memory_bytes // 2

    @property
    def frame_bytes(self) -> int:
        """Most bytes of a single frame."""
        return self.memory_bytes // 8

    @property
    def run_bytes(self) -> int:
        """Most bytes of frames handed over at a time, unless a single one takes more."""
        return min(self.frame_bytes, _MOST_RUN_BYTES)

    def time_s(self, pixels: int) -> float:
        """Seconds that a clip of so many pixels may take on a machine that has nothing else to do."""
        return self.deadline_s + pixels / _PIXELS_PER_S


@dataclass(frozen=True, slots=True, init=False)
class ClipSource:
    """Where one clip comes from.

    Attributes:
        sample_id: the prompt's id, for messages and results.
        cache: of clips that lie elsewhere: then the paths stand for files that come when they are read.
    """

    sample_id: str
    # As text: a path object takes ten times the memory, and large runs have a hundred thousand clips.
    _video: str
    _audio: str | None
    cache: Cache | None

    def __init__(self, sample_id: str, video: Path, audio: Path | None = None, cache: Cache | None = None) -> None:
        object.__setattr__(self, "sample_id", sample_id)
        object.__setattr__(self, "_video", _as_text(video))
        object.__setattr__(self, "_audio", None if audio is None else _as_text(audio))
        object.__setattr__(self, "cache", cache)

    @property
    def video(self) -> Path:
        """The video file."""
        return Path(self._video)

    @property
    def audio(self) -> Path | None:
        """The sound file that goes with it; None when the sound is to be taken from the video's container."""
        return None if self._audio is None else Path(self._audio)

    @property
    def title(self) -> str:
        """How messages call it: the video's path or URL."""
        return self._video if self.cache is None else self.cache.title(self.video)

    @contextmanager
    def here(self) -> Iterator[ClipSource]:
        """The clip with files that can be opened, until the block ends.

        Raises:
            MediaError: its files cannot be had (``unreachable`` where that is no fault of the clip). What the block
                raises names the clip as `title` does.
        """
        if self.cache is None:
            yield self
            return
        with ExitStack() as stack:
            try:
                video = stack.enter_context(self.cache.held(self.video))
                audio = None if self.audio is None else stack.enter_context(self.cache.held(self.audio))
            except PlaceError as error:
                raise not_brought(error) from error
            try:
                yield ClipSource(self.sample_id, video, audio)
            except MediaError as error:
                message = error.message.replace(str(video), self.title)
                if audio is not None and self.audio is not None:
                    message = message.replace(str(audio), self.cache.title(self.audio))
                raise type(error)(message, kind=error.kind) from error

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read."""
        return (self.video,) if self.audio is None else (self.video, self.audio)


def _as_text(path: Path) -> str:
    return str(Path(os.fsdecode(path)))


@dataclass(frozen=True)
class MediaInfo:
    """What the headers of a video file say.

    Attributes:
        container: ``mov`` (also mp4, m4a), ``matroska`` (also webm) or ``avi``.
        width: pixels, after rotation.
        height: pixels, after rotation.
        fps: the container's average frame rate, exact.
        frames: number of frames declared (after edit lists maybe fewer); None where the format does not say.
        duration_s: seconds of the whole file as declared; None where the format does not say.
        video_codec: FFmpeg's name, for example ``h264``.
        pixel_format: FFmpeg's name, for example ``yuv420p``.
        has_audio: whether the container holds a sound track (a file beside it does not count).
        sample_rate: Hz of that track; None without one.
        channels: of that track; None without one.
        audio_codec: FFmpeg's name, for example ``aac``; None without a track.
    """

    container: str
    width: int
    height: int
    fps: Fraction
    frames: int | None
    duration_s: float | None
    video_codec: str
    pixel_format: str
    has_audio: bool
    sample_rate: int | None
    channels: int | None
    audio_codec: str | None


def sidecar_for(video: Path) -> Path | None:
    """The sound file beside a video: same name, ``.wav`` before ``.flac`` before ``.mp3`` before ``.m4a``.

    Upper and lower case do not matter (``Clip.mp4`` with ``clip.WAV``), but the nearer spelling wins: first the same
    stem letter by letter, then the order of suffixes, then the suffix in lower case, then the order of names. A sound
    file whose own stem is that of another video belongs to that one.

    A link that leads nowhere counts as there: a broken sidecar is a failure, not a reason to look elsewhere.
    """
    first = video.with_suffix(SIDECAR_SUFFIXES[0])
    if first != video and os.path.lexists(first):
        return first
    return find_by_stem(video.with_suffix(""), SIDECAR_SUFFIXES, besides=video, any_case=True)


def find_by_stem(
    stem: Path, suffixes: tuple[str, ...], *, besides: Path | None = None, any_case: bool = False
) -> Path | None:
    """The file that has the name of ``stem`` and one of the suffixes, the suffix in any case.

    Args:
        stem: path without a suffix.
        suffixes: in lower case, the preferred first.
        besides: a file that is not meant.
        any_case: whether a stem in other letters counts where no video has exactly that one; see `sidecar_for`.
    """
    named = [PurePath(name) for name in _names_by_stem(stem.parent).get(stem.name.casefold(), ())]
    found = [
        name for name in named if name.suffix.lower() in suffixes and (besides is None or name.name != besides.name)
    ]
    owners = {name.stem for name in named if name.suffix.lower() in VIDEO_SUFFIXES}
    meant = [name for name in found if name.stem == stem.name or (any_case and name.stem not in owners)]
    if not meant:
        return None

    def rank(name: PurePath) -> tuple[bool, int, bool, str]:
        suffix = name.suffix.lower()
        return name.stem != stem.name, suffixes.index(suffix), name.suffix != suffix, name.name

    return stem.with_name(min(meant, key=rank).name)


def _names_by_stem(folder: Path) -> Mapping[str, Sequence[str]]:
    """The names of a folder's media files by stem, without regard to case; empty where it cannot be listed."""
    try:
        changed_ns = folder.stat().st_mtime_ns
        # Within the clock's grain a folder may change and keep its time, so only a settled one is remembered.
        grain_ns = 10**8 if changed_ns % 10**9 else 3 * 10**9
        if time.time_ns() - changed_ns > grain_ns:
            return _remembered_by_stem(folder, changed_ns)
        return _list_by_stem(folder)
    except OSError as error:
        if fault_of(error) is not None:  # else a sound that is there would be taken for none
            raise
        return {}


@lru_cache(maxsize=8)
def _remembered_by_stem(folder: Path, changed_ns: int) -> Mapping[str, Sequence[str]]:
    return _list_by_stem(folder)


def _list_by_stem(folder: Path) -> Mapping[str, Sequence[str]]:
    names: dict[str, list[str]] = {}
    for name in map(PurePath, os.listdir(folder)):  # noqa: PTH208 - names, not paths
        if name.suffix.lower() in _MEDIA_SUFFIXES:
            names.setdefault(name.stem.casefold(), []).append(name.name)
    return names


def open_regular(path: Path) -> int:
    """Open a regular file for reading, without ever waiting for a pipe's other end.

    Returns:
        A file descriptor, which the caller closes.

    Raises:
        MediaError: ``not_found``, ``not_a_file``, ``no_permission`` or ``empty_file``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as failure:
        raise _cannot_open(path, failure) from failure
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size > 0:
        return descriptor
    os.close(descriptor)
    if stat.S_ISREG(status.st_mode):
        raise media_error("empty_file", f"{path}: the file is empty (0 bytes).")
    raise _not_a_file(path, status.st_mode)


def _cannot_open(path: Path, failure: OSError | ValueError) -> MediaError:
    code = getattr(failure, "errno", None)
    if path.is_symlink() and code in (errno.ENOENT, errno.ELOOP):
        return media_error("not_found", f"{path}: the link leads nowhere (to {path.readlink()}).")
    if code in (errno.EACCES, errno.EPERM):
        return media_error("no_permission", f"{path}: the file may not be read; check its permissions.")
    if code in (errno.EISDIR, errno.ENXIO):
        return media_error("not_a_file", f"{path}: not a media file but a folder, socket or device.")
    if code in (errno.ENOENT, errno.ENOTDIR, None):
        return media_error("not_found", f"{path}: there is no such file.")
    return media_error("not_found", f"{path}: the file cannot be opened ({os.strerror(code)}).")


def _not_a_file(path: Path, mode: int) -> MediaError:
    names = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    what = next((name for test, name in names if test(mode)), "a device")
    return media_error("not_a_file", f"{path}: {what}, not a media file.")


def content_hash(source: ClipSource) -> str:
    """SHA-256 (hex) of what a clip is decoded from: the video's bytes and, if there is one, the sidecar's.

    Video and sound are hashed apart and then together, so that bytes cannot move from one to the other, and a
    video with a sidecar never has the hash of the video alone.

    Raises:
        MediaError: a file cannot be read (a sidecar's trouble is ``bad_sidecar``).
    """
    with source.here() as here:
        return _content_hash(here)


def _content_hash(source: ClipSource) -> str:
    parts = [b"javisbench clip 1", _file_digest(source.video)]
    if source.audio is None:
        parts.append(b"container")
    else:
        try:
            parts += [b"sidecar", _file_digest(source.audio)]
        except MediaError as failure:
            raise media_error("bad_sidecar", failure.message) from failure
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _file_digest(path: Path) -> bytes:
    with os.fdopen(open_regular(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
