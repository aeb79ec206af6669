"""Decoding processes seen from the caller: `ClipReader`, `read_clip` and `probe`."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from javisbench.clip import Clip
from javisbench.errors import JavisbenchError, MediaError
from javisbench.media import buffers
from javisbench.media.errors import media_error
from javisbench.media.source import ClipSource, DecodeLimits, MediaInfo, sidecar_for
from javisbench.media.wire import receive, send

if TYPE_CHECKING:
    from typing import IO, Self

_START_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 5.0
_MODULE = "javisbench.media.worker"


def read_clip(video: Path | str, audio: Path | str | None = None, *, limits: DecodeLimits | None = None) -> Clip:
    """Decode one clip, in a process of its own.

    Starting that process takes about a quarter of a second; use `ClipReader` for more than a few clips.

    Args:
        video: mp4, mov, mkv, webm or avi, whatever its name.
        audio: wav, flac, mp3 or m4a; None takes the sound file beside the video (`sidecar_for`) if there is one, else
            the sound in the video's container.
        limits: bytes, seconds and memory that the clip may cost; `DecodeLimits()` by default.

    Returns:
        A clip with at least one frame. Its arrays are the caller's: writing to them changes nothing else.

    Raises:
        MediaError: the clip cannot be read; ``kind`` is one of `javisbench.media.errors.KINDS`.
    """
    video = Path(video)
    sound = sidecar_for(video) if audio is None else Path(audio)
    worker = _Worker(limits or DecodeLimits())
    try:
        return worker.decode(ClipSource(video.stem, video, sound))
    finally:
        worker.end()


def probe(video: Path | str, *, limits: DecodeLimits | None = None) -> MediaInfo:
    """What a video file's headers say, read in a process of its own under the same limits as a clip.

    Raises:
        MediaError: the file is no video, or not even its headers and first frame can be read.
    """
    worker = _Worker(limits or DecodeLimits())
    try:
        return worker.probe(Path(video))
    finally:
        worker.end()


class ClipReader:
    """Decodes many clips in worker processes, in order, a little ahead of the caller.

    Use it as a context manager. A clip that cannot be read comes back as its `MediaError` in its place; a process that
    dies or exceeds the deadline costs its own clip and is replaced. The result does not depend on the number of
    processes.

    Args:
        workers: number of decoding processes, one thread each.
        limits: what one clip may cost.
        lookahead: how many clips may be decoded or in work before the caller asks for them; ``4 * workers`` by
            default, 8 at least. Besides, no clip is begun ahead of time while decoded ones that wait hold
            ``limits.max_decoded_bytes`` or more.
    """

    def __init__(self, workers: int = 1, limits: DecodeLimits | None = None, *, lookahead: int | None = None) -> None:
        if workers < 1:
            raise ValueError("workers must be 1 or more")
        if lookahead is not None and lookahead < 1:
            raise ValueError("lookahead must be 1 or more")
        self._limits = limits or DecodeLimits()
        self._lookahead = lookahead or max(8, 4 * workers)
        self._workers = [_Worker(self._limits) for _ in range(workers)]
        self._threads: list[threading.Thread] = []
        # Guards everything below: the jobs nobody has begun, and the bytes of clips that wait for the caller.
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._waiting_bytes = 0
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

    def read(self, sources: Iterable[ClipSource]) -> Iterator[tuple[ClipSource, Clip | MediaError]]:
        """Decode clips, in the order given.

        Args:
            sources: taken one by one, ``lookahead`` ahead of what is yielded.

        Yields:
            Each source with its clip, or with the `MediaError` that says why there is none.

        Raises:
            MediaError: ``worker_start``: no decoding process can be started at all.
        """
        self._start_threads()
        pending: deque[_Job] = deque()
        upcoming = iter(sources)
        try:
            while True:
                while len(pending) < self._lookahead and (source := next(upcoming, None)) is not None:
                    pending.append(self._submit(source))
                if not pending:
                    return
                outcome = self._result(pending[0])
                source = pending.popleft().source
                yield source, outcome
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

    def _submit(self, source: ClipSource) -> _Job:
        job = _Job(source)
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        return job

    def _result(self, job: _Job) -> Clip | MediaError:
        with self._changed:
            job.wanted = True
            self._changed.notify_all()
            while not job.done and not self._closed:
                self._changed.wait()
            if not job.done:
                raise ValueError("this ClipReader was closed while it was read from")
            self._waiting_bytes -= job.size
            job.size = 0
            self._changed.notify_all()
        outcome = job.outcome
        if outcome is None:
            raise JavisbenchError(f"{job.source.video}: reading failed inside javisbench; see the traceback above.")
        if isinstance(outcome, Clip) or (isinstance(outcome, MediaError) and outcome.kind != "worker_start"):
            return outcome
        raise outcome

    def _cancel(self, pending: Iterable[_Job]) -> None:
        with self._changed:
            for job in pending:
                job.cancelled = True
                self._waiting_bytes -= job.size
                job.size, job.outcome = 0, None
                if job in self._jobs:
                    self._jobs.remove(job)
            self._changed.notify_all()

    def _serve(self, worker: _Worker) -> None:
        """One thread per process: take a job, wait for its clip."""
        while (job := self._take()) is not None:
            outcome: Clip | MediaError | OSError | None = None
            try:
                outcome = worker.decode(job.source)
            except (MediaError, OSError) as failure:
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

    def _finish(self, job: _Job, outcome: Clip | MediaError | OSError | None) -> None:
        with self._changed:
            job.done = True
            if not job.cancelled:
                job.outcome = outcome
                job.size = _bytes_of(outcome)
                self._waiting_bytes += job.size
            self._changed.notify_all()


@dataclass(eq=False)
class _Job:
    """A clip to decode. ``wanted``: the caller is waiting for it now."""

    source: ClipSource
    wanted: bool = False
    done: bool = False
    cancelled: bool = False
    outcome: Clip | MediaError | OSError | None = None
    size: int = 0


def _bytes_of(outcome: object) -> int:
    if not isinstance(outcome, Clip):
        return 0
    return outcome.frames.nbytes + (0 if outcome.audio is None else outcome.audio.nbytes)


class _Worker:
    """A decoding process, started when first needed and replaced when lost."""

    def __init__(self, limits: DecodeLimits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._errors: IO[bytes] | None = None
        # `end` may come from another thread than the one that uses the process.
        self._ended = False
        self._starting = threading.Lock()

    def decode(self, source: ClipSource) -> Clip:
        """One clip. Raises `MediaError`."""
        request = {
            "do": "decode",
            "video": str(source.video.absolute()),
            "audio": None if source.audio is None else str(source.audio.absolute()),
        }
        reply, descriptors = self._ask(request, source.video)
        try:
            return _clip_from(reply["clip"], descriptors[0], str(source.video))
        except (KeyError, IndexError, TypeError, ValueError) as failure:
            self._stop()
            raise media_error("worker_died", f"{source.video}: the decoding process sent nonsense.") from failure
        finally:
            _close(descriptors)

    def probe(self, video: Path) -> MediaInfo:
        """The headers of a file. Raises `MediaError`."""
        reply, descriptors = self._ask({"do": "probe", "video": str(video.absolute())}, video)
        _close(descriptors)
        values = reply["info"]
        return MediaInfo(**{**values, "fps": Fraction(*values["fps"])})

    def kill(self) -> None:
        """End the process for good; whoever waits for it gets an error. `end` afterwards."""
        with self._starting:
            self._ended = True
            if self._process is not None:
                self._process.kill()

    def end(self) -> None:
        """End the process for good and give back what it held."""
        self.kill()
        self._stop()

    def _ask(self, request: dict[str, Any], video: Path) -> tuple[dict[str, Any], list[int]]:
        connection = self._connected()
        try:
            send(connection, request)
        except OSError:  # it died between two clips, which is not this clip's fault
            self._stop()
            connection = self._connected()
            send(connection, request)
        connection.settimeout(self._limits.deadline_s)
        try:
            reply, descriptors = receive(connection)
        except TimeoutError as failure:
            self._stop()
            message = f"{video}: not read within {self._limits.deadline_s:g} s; the decoding process was ended."
            raise media_error("timeout", message) from failure
        except (EOFError, OSError, ValueError) as failure:
            reason = self._cause_of_death()
            self._stop()
            raise media_error("worker_died", f"{video}: the decoding process {reason}.") from failure
        if "kind" in reply:
            _close(descriptors)
            raise MediaError(str(reply["message"]), kind=str(reply["kind"]))
        return reply, descriptors

    def _connected(self) -> socket.socket:
        if self._process is not None and self._process.poll() is not None:
            self._stop()
        if self._connection is None:
            self._start()
        assert self._connection is not None
        return self._connection

    def _start(self) -> None:
        with self._starting:
            if self._ended:
                raise media_error("worker_start", "This reader of clips was closed.")
            self._connection, self._errors, self._process = _launch()
        self._connection.settimeout(_START_TIMEOUT_S)
        try:
            send(self._connection, asdict(self._limits))
            receive(self._connection)
        except (EOFError, OSError, ValueError) as failure:
            reason = self._cause_of_death()
            self._stop()
            raise media_error("worker_start", f"The decoding process {reason} before it was ready.") from failure

    def _cause_of_death(self) -> str:
        """How the process ended, with the last line that it wrote, if any."""
        if self._process is None or self._errors is None:
            return "was ended"
        try:
            code = self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return "stopped answering"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}"
        self._errors.seek(0)
        lines = self._errors.read()[-4096:].decode("utf-8", "replace").strip().splitlines()
        return f"{how} ({lines[-1]})" if lines else how

    def _stop(self) -> None:
        process, connection, errors = self._process, self._connection, self._errors
        self._process = self._connection = self._errors = None
        if process is not None:
            process.kill()
            # One that is stuck in the kernel goes when its file system answers.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_TIMEOUT_S)
        if connection is not None:
            connection.close()
        if errors is not None:
            errors.close()


def _launch() -> tuple[socket.socket, IO[bytes], subprocess.Popen[bytes]]:
    """Start a process; returns our end of its connection, the file that collects its complaints, and itself."""
    ours, theirs = socket.socketpair()
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    with theirs:
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=_environment(),
            )
        except OSError as failure:
            ours.close()
            errors.close()
            raise media_error("worker_start", f"No decoding process can be started: {failure}.") from failure
    return ours, errors, process


def _environment() -> dict[str, str]:
    """The caller's environment, its import path, and one thread for every numeric library."""
    import javisbench

    paths = [entry for entry in sys.path if entry]
    root = str(Path(javisbench.__file__).parent.parent)
    if root not in paths:
        paths.append(root)
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **single, "PYTHONPATH": os.pathsep.join(paths)}


def _clip_from(layout: dict[str, Any], descriptor: int, name: str) -> Clip:
    """Arrays over the buffer behind ``descriptor``, without a copy."""
    import numpy as np

    mapping = buffers.map_for_reading(descriptor)
    count, height, width = (int(size) for size in layout["frames"])
    frames = np.frombuffer(mapping, np.uint8, count * height * width * 3).reshape(count, height, width, 3)
    times = np.frombuffer(mapping, np.float64, count, layout["times_at"])
    audio = None
    if layout["channels"]:
        channels, samples = int(layout["channels"]), int(layout["samples"])
        audio = np.frombuffer(mapping, np.float32, channels * samples, layout["samples_at"])
        audio = audio.reshape(channels, samples)
    return Clip(
        frames=frames,
        fps=Fraction(*layout["fps"]),
        audio=audio,
        sample_rate=layout["sample_rate"],
        audio_source=layout["audio_source"],
        frame_times_s=times,
        name=name,
    )


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
