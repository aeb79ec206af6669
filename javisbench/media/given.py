"""What a suite gives to a model: pictures, videos without their sound, and sounds, read as strangers' files are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from javisbench.errors import MediaError
from javisbench.media.errors import not_brought
from javisbench.media.pool import ClipReader
from javisbench.media.process import Worker
from javisbench.media.source import ClipSource, DecodeLimits, open_regular
from javisbench.places import Cache, PlaceError
from javisbench.tasks import Condition

if TYPE_CHECKING:
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

    from javisbench.clip import Clip


def read_picture(path: Path, limits: DecodeLimits | None = None) -> Clip:
    """A video's frames with their times, without its sound.

    Raises:
        MediaError: as for `javisbench.media.read_clip`.
    """
    with ClipReader(1, limits) as reader:
        (_, clip) = next(iter(reader.read([ClipSource(path.stem, path, None, Cache.of(path))])))
    if isinstance(clip, MediaError):
        raise clip
    return replace(clip, audio=None, sample_rate=None)


def read_sound(path: Path, limits: DecodeLimits | None = None) -> tuple[NDArray[np.float32], int]:
    """The sound of a file, float32 ``(channels, samples)``, and its rate in Hz.

    Raises:
        MediaError: as for the sound beside a clip (``bad_sidecar``, ``too_large``).
    """
    with _worker(path, limits) as (worker, here):
        return worker.sound(here)


def read_image(path: Path, limits: DecodeLimits | None = None) -> NDArray[np.uint8]:
    """A picture (PNG, JPEG or WebP), uint8 ``(H, W, 3)``.

    Raises:
        MediaError: as for `javisbench.media.image.decode_image`.
    """
    with _worker(path, limits) as (worker, here):
        return worker.image(here)


class GivenReader:
    """Looks whether given files are what their columns say, one after the other, in a process that serves them all.

    Use it as a context manager.
    """

    def __init__(self, limits: DecodeLimits | None = None) -> None:
        self._worker = Worker(limits or DecodeLimits())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._worker.end()

    def trouble(self, kind: Condition, path: Path) -> str | None:
        """Why a file cannot be given; None for one that can. Of a video its headers and first frame are read."""
        try:
            check_there(path)
            with here_of(path) as here:
                if kind == "image":
                    self._worker.image(here)
                elif kind == "audio":
                    self._worker.sound(here)
                else:
                    self._worker.probe(here)
        except MediaError as error:
            return error.message
        return None


def check_there(path: Path) -> None:
    """Make sure that a given file is a plain file that may be read and has bytes; what lies elsewhere is not asked for.

    Raises:
        MediaError: it is not.
    """
    if Cache.of(path) is None:
        os.close(open_regular(path))


@contextmanager
def here_of(path: Path) -> Iterator[Path]:
    """A given file where it can be opened, until the block ends.

    Raises:
        MediaError: it lies elsewhere and cannot be had.
    """
    cache = Cache.of(path)
    if cache is None:
        yield path
        return
    try:
        with cache.held(path) as here:
            yield here
    except PlaceError as error:
        raise not_brought(error) from error


@contextmanager
def _worker(path: Path, limits: DecodeLimits | None) -> Iterator[tuple[Worker, Path]]:
    worker = Worker(limits or DecodeLimits())
    try:
        with here_of(path) as here:
            yield worker, here
    finally:
        worker.end()
