"""Decoding processes seen from the caller: `ClipReader`, `read_clip`, `stream_clip` and `probe`."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from javisbench.clip import Clip, ClipHead, Damage, FrameRun
from javisbench.errors import JavisbenchError, MediaError, SystemFaultError
from javisbench.media.errors import MAYBE_PASSED, OUT_OF_REACH, STOPPING, fault_of_reading, media_error
from javisbench.media.process import C, Consumer, DisturbedError, Worker
from javisbench.media.source import ClipSource, DecodeLimits, MediaInfo, sidecar_for
from javisbench.system_faults import Fault, Places, can_be_read, tried_again

if TYPE_CHECKING:
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray


log = logging.getLogger(__name__)


class HeldConsumer(Consumer, Protocol):
    """A consumer that says how much it keeps in memory until the caller takes it."""

    @property
    def held_bytes(self) -> int:
        """Bytes of pixels, samples and whatever was made of them."""


H = TypeVar("H", bound=HeldConsumer)


def read_clip(video: Path | str, audio: Path | str | None = None, *, limits: DecodeLimits | None = None) -> Clip:
    """Decode one clip, in a process of its own.

    Starting that process takes about a quarter of a second; use `ClipReader` for more than a few clips.

    Args:
        video: mp4, mov, mkv, webm or avi, whatever its name.
        audio: wav, flac, mp3 or m4a; None takes the sound file beside the video (`sidecar_for`) if there is one, else
            the sound in the video's container.
        limits: bytes, seconds and memory that the clip may cost; `DecodeLimits()` by default. A clip of more than
            ``limits.max_decoded_bytes`` is refused; `stream_clip` reads it in pieces.

    Returns:
        A clip with at least one frame. Its arrays are the caller's: writing to them changes nothing else.

    Raises:
        MediaError: the clip cannot be read; ``kind`` is one of `javisbench.media.errors.KINDS`.
    """
    video = Path(video)
    sound = sidecar_for(video) if audio is None else Path(audio)
    limits = limits or DecodeLimits()
    return stream_clip(ClipSource(video.stem, video, sound), _whole(limits), limits=limits).clip()


def stream_clip(source: ClipSource, open_clip: Callable[[ClipHead], C], *, limits: DecodeLimits | None = None) -> C:
    """Read one clip into a consumer (`javisbench.media.process.Consumer`), in a process of its own.

    Raises:
        MediaError: the clip cannot be read.
    """
    worker = Worker(limits or DecodeLimits())
    try:
        return worker.stream(source, open_clip)
    finally:
        worker.end()


def probe(video: Path | str, *, limits: DecodeLimits | None = None) -> MediaInfo:
    """What a video file's headers say, read in a process of its own under the same limits as a clip.

    Raises:
        MediaError: the file is no video, or not even its headers and first frame can be read.
    """
    worker = Worker(limits or DecodeLimits())
    try:
        return worker.probe(Path(video))
    finally:
        worker.end()


class ClipJoiner:
    """Writes clips whose sound lies beside their picture as one file each, in a process that serves them all.

    Use it as a context manager; the process is started for the first clip.
    """

    def __init__(self, limits: DecodeLimits | None = None) -> None:
        self._worker = Worker(limits or DecodeLimits())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._worker.end()

    def join(self, source: ClipSource, target: Path) -> None:
        """Write the picture of a clip, as it is, and its sound, without loss, into an mp4.

        Args:
            source: with a sound file.
            target: the mp4, which appears whole or not at all.

        Raises:
            MediaError: ``unsupported_format`` where the picture cannot stand in an mp4 as it is; else as for reading.
        """
        part = target.with_name(f".{target.name}.part")
        try:
            self._worker.join(source, part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


class WholeClip:
    """Collects all frames of a clip."""

    def __init__(self, head: ClipHead, limits: DecodeLimits) -> None:
        size = len(head.timeline) * head.frame_bytes + (0 if head.audio is None else head.audio.nbytes)
        if size > limits.max_decoded_bytes:
            raise media_error(
                "too_large",
                f"{head.name}: the whole clip takes {size / 2**20:,.0f} MiB in memory; the limit is "
                f"{limits.max_decoded_bytes / 2**20:,.0f} MiB. Raise DecodeLimits.max_decoded_bytes, or read it in "
                "pieces with stream_clip.",
            )
        self._head = head
        self._frames: NDArray[np.uint8] | None = None
        self._damage: tuple[Damage, ...] = ()
        self.held_bytes = size

    @property
    def wanted(self) -> None:
        """All frames."""

    def take(self, run: FrameRun) -> None:
        """Keep the frames."""
        if len(run.indices) == len(self._head.timeline):
            self._frames = run.frames
            return
        if self._frames is None:
            import numpy as np

            self._frames = np.empty((len(self._head.timeline), self._head.height, self._head.width, 3), np.uint8)
        self._frames[run.indices] = run.frames

    def end(self, damage: tuple[Damage, ...]) -> None:
        """Keep what was said of the file."""
        self._damage = damage

    def clip(self) -> Clip:
        """The clip, after its last frame."""
        assert self._frames is not None
        return Clip.of(self._head, self._frames, self._damage)


def _whole(limits: DecodeLimits) -> Callable[[ClipHead], WholeClip]:
    return lambda head: WholeClip(head, limits)


class _Nothing:
    """Wants no frame; that a clip can be read to its end is all."""

    held_bytes = 0

    def __init__(self, head: ClipHead) -> None:
        import numpy as np

        self.wanted: NDArray[np.int64] = np.zeros(0, np.int64)

    def take(self, run: FrameRun) -> None:
        """None comes."""

    def end(self, damage: tuple[Damage, ...]) -> None:
        """It can be read."""


class ClipReader:
    """Reads many clips in worker processes, in order, a little ahead of the caller.

    Use it as a context manager. A clip that cannot be read comes back as its `MediaError` in its place; a process that
    dies or exceeds the deadline costs its own clip and is replaced. The result does not depend on the number of
    processes. What is the system's fault (`javisbench.system_faults`) is tried again, and costs no clip: if it lasts,
    reading ends.

    Args:
        workers: number of decoding processes, one thread each.
        limits: what one clip may cost, and how long the system may take to recover.
        places: where the clips were listed; None: where they are when they are to be read.
        lookahead: how many clips may be decoded or in work before the caller asks for them; ``4 * workers`` by
            default, 8 at least. Besides, no clip is begun ahead of time while those that wait hold
            ``limits.max_decoded_bytes`` or more.
    """

    def __init__(
        self,
        workers: int = 1,
        limits: DecodeLimits | None = None,
        *,
        lookahead: int | None = None,
        places: Places | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError("workers must be 1 or more")
        if lookahead is not None and lookahead < 1:
            raise ValueError("lookahead must be 1 or more")
        self._limits = limits or DecodeLimits()
        self._lookahead = lookahead or max(8, 4 * workers)
        self._workers = [Worker(self._limits) for _ in range(workers)]
        self._threads: list[threading.Thread] = []
        self._places = places or Places()
        # By folder, the clip that was read last without trouble; and how many in a row were lost in spite of that.
        self._good: dict[Path, ClipSource] = {}
        self._lost: list[ClipSource] = []
        # Guards everything below: the jobs nobody has begun, and the bytes of clips that wait for the caller.
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._waiting_bytes = 0
        self._waiting: set[_Job] = set()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; clips in work are given up."""
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()
        for worker in self._workers:
            worker.kill()
        for thread in self._threads:
            thread.join()
        for worker in self._workers:
            worker.end()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of decoded clips that wait for the caller."""
        with self._changed:
            return self._waiting_bytes

    @property
    def waiting(self) -> int:
        """Decoded clips that wait for the caller."""
        with self._changed:
            return len(self._waiting)

    def read(self, sources: Iterable[ClipSource]) -> Iterator[tuple[ClipSource, Clip | MediaError]]:
        """Decode whole clips, in the order given.

        Args:
            sources: taken one by one, ``lookahead`` ahead of what is yielded.

        Yields:
            Each source with its clip, or with the `MediaError` that says why there is none.

        Raises:
            MediaError: ``worker_start``: no decoding process can be started at all; ``unreachable``: the place of the
                clips.
            SystemFaultError: the system failed, and did not recover within ``limits.patience_s``.
        """
        whole = _whole(self._limits)
        for source, outcome in self.stream(sources, lambda _, head: whole(head)):
            yield source, outcome if isinstance(outcome, MediaError) else outcome.clip()

    def stream(
        self, sources: Iterable[ClipSource], open_clip: Callable[[ClipSource, ClipHead], H]
    ) -> Iterator[tuple[ClipSource, H | MediaError]]:
        """Read clips into consumers, in the order given. The first ones are begun at once, before any is asked for.

        Args:
            sources: taken one by one, ``lookahead`` ahead of what is yielded.
            open_clip: makes the consumer of a clip (see `javisbench.media.process.Consumer`). It and the consumer are
                called in the thread of a decoding process, several clips at a time but each clip in one thread.

        Returns:
            An iterator: each source with its consumer, when it has seen all its frames, or with the `MediaError` that
            says why not. It raises as `read` does.
        """
        self._start_threads()
        clips = self._in_order(sources, open_clip)
        next(clips)
        return clips

    def _in_order(
        self, sources: Iterable[ClipSource], open_clip: Callable[[ClipSource, ClipHead], HeldConsumer]
    ) -> Iterator[Any]:
        """None, when the first clips are begun; then each source with what became of it."""
        pending: deque[_Job] = deque()
        submitted = (self._submit(source, open_clip) for source in sources)
        try:
            pending.extend(islice(submitted, self._lookahead))
            yield None
            while pending:
                source = pending[0].source
                outcome = self._result(pending[0])
                if isinstance(outcome, Exception):
                    outcome = self._settled(outcome, pending)
                else:
                    self._good[self._places.folder(source.video)] = source
                    self._lost.clear()
                pending.popleft()
                yield source, outcome
                pending.extend(islice(submitted, self._lookahead - len(pending)))
        finally:
            self._cancel(pending)

    def _start_threads(self) -> None:
        if self._closed:
            raise ValueError("this ClipReader is closed")
        if not self._threads:
            self._threads = [
                threading.Thread(target=self._serve, args=(worker,), name="javisbench-reader", daemon=True)
                for worker in self._workers
            ]
            for thread in self._threads:
                thread.start()

    def _settled(self, failure: Exception, pending: deque[_Job]) -> Any:
        """What becomes of a clip that could not be read: its consumer after all, or the `MediaError` that it keeps.

        Raises:
            SystemFaultError: the system is at fault.
        """
        source = pending[0].source

        def again() -> Any:
            pending[0] = self._enqueue(_Job(source, pending[0].open_clip))
            return self._result(pending[0])

        if isinstance(failure, SystemFaultError) or (isinstance(failure, MediaError) and failure.kind in OUT_OF_REACH):
            raise failure
        if isinstance(failure, MediaError) and failure.kind in MAYBE_PASSED and self._fault(source, failure) is None:
            outcome = again()
            if not isinstance(outcome, Exception):
                log.warning("%s was read at the second try; at the first: %s", source.video, failure.message)
                return outcome
            failure = outcome
        outcome, fault = tried_again(
            failure, again, lambda error: self._fault(source, error), self._limits.patience_s, source.video
        )
        if fault is None:
            if isinstance(outcome, OSError) or (isinstance(outcome, MediaError) and outcome.kind in STOPPING):
                raise outcome
            return outcome
        assert isinstance(outcome, Exception)
        return self._alone(source, outcome, fault)

    def _fault(self, source: ClipSource, failure: Exception) -> Fault | None:
        if isinstance(failure, DisturbedError):
            return Fault(failure.message.rstrip("."), certain=failure.kind == "worker_start")
        return fault_of_reading(failure, source.files, self._places)

    def _alone(self, source: ClipSource, failure: Exception, fault: Fault) -> MediaError:
        """The error of a clip that is alone in its trouble: another one of its folder can be read even now.

        Raises:
            SystemFaultError: it is not, or nothing can be said for it.
        """
        works = self._another_can_be_read(source)
        if works is None and not fault.certain and not self._lost:
            works = True
        self._lost.append(source)
        if not works:
            raise SystemFaultError(f"{source.video} cannot be read: {fault.reason}") from failure
        if isinstance(failure, DisturbedError):
            return failure
        return media_error("unreadable", f"{source.video}: {fault.reason}, for this file alone.")

    def _another_can_be_read(self, source: ClipSource) -> bool | None:
        """Whether a clip of the same folder that was read before is read again; None where there is none."""
        good = self._good.get(self._places.folder(source.video))
        if good is None:
            return None
        if good.cache is None and not can_be_read(good.video):
            return False
        job = self._enqueue(_Job(good, _Nothing))
        return not isinstance(self._result(job), Exception)

    def _submit(self, source: ClipSource, open_clip: Callable[[ClipSource, ClipHead], HeldConsumer]) -> _Job:
        self._places.add(source.files)
        return self._enqueue(_Job(source, partial(open_clip, source)))

    def _enqueue(self, job: _Job) -> _Job:
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        return job

    def _result(self, job: _Job) -> Any:
        with self._changed:
            job.wanted = True
            self._changed.notify_all()
            while not job.done and not self._closed:
                self._changed.wait()
            if not job.done:
                raise ValueError("this ClipReader was closed while it was read from")
            self._waiting.discard(job)
            self._waiting_bytes -= job.size
            job.size = 0
            self._changed.notify_all()
        if job.outcome is None:
            raise JavisbenchError(f"{job.source.title}: reading failed inside javisbench; see the traceback above.")
        return job.outcome

    def _cancel(self, pending: Iterable[_Job]) -> None:
        with self._changed:
            for job in pending:
                job.cancelled = True
                self._waiting.discard(job)
                self._waiting_bytes -= job.size
                job.size, job.outcome = 0, None
                if job in self._jobs:
                    self._jobs.remove(job)
            self._changed.notify_all()

    def _serve(self, worker: Worker) -> None:
        """One thread per process: take a job, wait for its clip."""
        while (job := self._take()) is not None:
            outcome: HeldConsumer | Exception | None = None
            try:
                outcome = worker.stream(job.source, job.open_clip)
            except (MediaError, SystemFaultError, OSError) as failure:
                outcome = failure
            finally:
                self._finish(job, outcome)

    def _take(self) -> _Job | None:
        with self._changed:
            while not self._closed:
                # What the caller waits for goes first and always, or a full buffer could block it for ever.
                wanted = next((job for job in self._jobs if job.wanted), None)
                if wanted is not None:
                    self._jobs.remove(wanted)
                    return wanted
                if self._jobs and self._waiting_bytes < self._limits.max_decoded_bytes:
                    return self._jobs.popleft()
                self._changed.wait()
        return None

    def _finish(self, job: _Job, outcome: HeldConsumer | Exception | None) -> None:
        with self._changed:
            job.done = True
            if not job.cancelled:
                job.outcome = outcome
                job.size = 0 if outcome is None or isinstance(outcome, Exception) else outcome.held_bytes
                self._waiting_bytes += job.size
                self._waiting.add(job)
            self._changed.notify_all()


@dataclass(eq=False)
class _Job:
    """A clip to read. ``wanted``: the caller is waiting for it now."""

    source: ClipSource
    open_clip: Callable[[ClipHead], HeldConsumer]
    wanted: bool = False
    done: bool = False
    cancelled: bool = False
    outcome: HeldConsumer | Exception | None = None
    size: int = 0
