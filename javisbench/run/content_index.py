"""What is known of clips before they are decoded: a hash of their files, or why these cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from javisbench.errors import MediaError, SystemFaultError
from javisbench.media import ClipSource, DecodeLimits, content_hash
from javisbench.media.errors import STOPPING, fault_of_reading
from javisbench.run.progress import READING
from javisbench.system_faults import Fault, Places, can_be_read, tried_again

if TYPE_CHECKING:
    from javisbench.run.progress import Progress

_HASHED_AT_ONCE = 256


def stopped(what: str, done: str) -> SystemFaultError:
    """A job that ends for the system's sake: what happened, and how far it came."""
    return SystemFaultError(
        f"{what.rstrip('.')}. The system stopped this run, no clip did: {done}. What is done is kept; run the same "
        f"command again."
    )


@dataclass
class ContentIndex:
    """What is known of each source: its content hash, where its sound came from, or why it cannot be read."""

    hashes: dict[ClipSource, str] = field(default_factory=dict)
    errors: dict[ClipSource, MediaError] = field(default_factory=dict)
    places: Places = field(default_factory=Places)

    def fault(self, source: ClipSource, failure: Exception) -> Fault | None:
        """Whether it is the system's fault that a source could not be read."""
        return fault_of_reading(failure, source.files, self.places)

    def alone(self, source: ClipSource, failure: Exception, fault: Fault, done: str) -> MediaError:
        """The error of a source that is alone in its trouble: one of its folder that was read can be read even now.

        Raises:
            SystemFaultError: none can.
        """
        folder = self.places.folder(source.video)
        others = (other.video for other in reversed(self.hashes) if self.places.folder(other.video) == folder)
        other = next(others, None)
        if other is not None and can_be_read(other):
            return MediaError(f"{source.title}: {fault.reason}, for this file alone.", kind="unreadable")
        raise stopped(f"{source.title} cannot be read: {fault.reason}", done) from failure


def hash_sources(
    sources: Sequence[ClipSource],
    workers: int,
    progress: Progress,
    *,
    places: Places | None = None,
    limits: DecodeLimits | None = None,
) -> ContentIndex:
    """Content hashes of all files; unreadable ones become errors.

    Args:
        sources: the files.
        workers: threads that read.
        progress: shown to the user.
        places: where they were listed; None: where they are now.
        limits: how long the system may take to recover.

    Raises:
        SystemFaultError: files cannot be read, and that is not theirs to blame.
    """
    index = ContentIndex(places=places or Places())
    index.places.add(file for source in sources for file in source.files)
    patience_s = (limits or DecodeLimits()).patience_s
    with ThreadPoolExecutor(workers) as threads, progress.stage(READING, len(sources)) as stage:
        # What is not begun yet would wait in as many objects as there are clips.
        parts = (sources[start : start + _HASHED_AT_ONCE] for start in range(0, len(sources), _HASHED_AT_ONCE))
        found = chain.from_iterable(threads.map(_content, part) for part in parts)
        for source, first in zip(sources, found, strict=True):
            outcome = first if isinstance(first, str) else _settled(first, source, index, patience_s, len(sources))
            if isinstance(outcome, str):
                index.hashes[source] = outcome
            else:
                index.errors[source] = outcome
            stage.advance(failed=None if isinstance(outcome, str) else source.title)
    return index


def _settled(
    failure: MediaError, source: ClipSource, index: ContentIndex, patience_s: float, total: int
) -> str | MediaError:
    """What becomes of a source that could not be read: its hash after all, or the error that it keeps."""
    if index.fault(source, failure) is None:
        # It was read ahead of time; what the system failed at then may be over.
        second = _content(source)
        if isinstance(second, str):
            return second
        failure = second
    outcome, fault = tried_again(
        failure, partial(_content, source), partial(index.fault, source), patience_s, source.video
    )
    if isinstance(outcome, str):
        return outcome
    if fault is not None:
        return index.alone(source, outcome, fault, f"{len(index.hashes)} of {total} clips are read")
    assert isinstance(outcome, MediaError)
    return outcome


def _content(source: ClipSource) -> str | MediaError:
    try:
        return content_hash(source)
    except MediaError as error:
        if error.kind in STOPPING:
            raise
        return error
    except OSError as error:
        failure = MediaError(f"{source.title}: {error.strerror or error}", kind="unreadable")
        failure.__cause__ = error
        return failure


def spread_errors(wanted: Iterable[ClipSource], index: ContentIndex) -> None:
    """Give copies of a broken clip, which were not decoded, its error."""
    broken = {index.hashes[source]: error for source, error in index.errors.items() if source in index.hashes}
    for source in wanted:
        if index.hashes.get(source) in broken:
            index.errors.setdefault(source, broken[index.hashes[source]])
