"""One decoding process, seen from its parent: started when first needed, ended at the deadline, replaced when lost."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from javisbench.clip import ClipHead, Damage, FrameRun, Timeline
from javisbench.errors import MediaError
from javisbench.isolated import buffers
from javisbench.isolated.process import Launched, launch, machine_load
from javisbench.isolated.wire import receive, send
from javisbench.media.errors import media_error
from javisbench.media.source import ClipSource, DecodeLimits, MediaInfo
from javisbench.system_faults import SYSTEMS, awake_s

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_START_TIMEOUT_S = 120.0
_STARTS = 3
_MESSAGE_TIMEOUT_S = 30.0  # for the rest of a message that has begun
_MODULE = "javisbench.media.worker"
_NONSENSE = (KeyError, IndexError, TypeError, ValueError, AttributeError, ZeroDivisionError, OverflowError)


class Consumer(Protocol):
    """What a clip's frames are handed to, run by run."""

    @property
    def wanted(self) -> NDArray[np.int64] | None:
        """Indices of the frames to hand over, ascending; None for all. Asked once, before the first run."""

    def take(self, run: FrameRun) -> None:
        """See some frames, in the order shown. Their memory may be kept; it is the consumer's."""

    def end(self, damage: tuple[Damage, ...]) -> None:
        """All frames were handed over."""


C = TypeVar("C", bound=Consumer)
T = TypeVar("T")


class DisturbedError(MediaError):
    """The process was killed from outside, stopped, or did not come to work: this need not be the clip's fault.

    Besides, no process could be started (``worker_start``), which never is.
    """


# Sent by the system when memory is short, or by a person; and by the process's own alarm, which rings only when nobody
# has kept the deadline, because the machine slept or both processes were stopped.
_SIGNALS_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGALRM)
# A process that has taken less than this share of its time on a processor was waiting: for a disk, or to be woken.
_LEAST_WORK = 0.1


class Worker:
    """A decoding process, started when first needed and replaced when lost."""

    def __init__(self, limits: DecodeLimits) -> None:
        self._limits = limits
        self._launched: Launched | None = None
        self._talking = False
        # `end` may come from another thread than the one that uses the process.
        self._ended = False
        self._starting = threading.Lock()

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The process, where one was started and not ended."""
        return None if self._launched is None else self._launched.process

    def stream(self, source: ClipSource, open_clip: Callable[[ClipHead], C]) -> C:
        """Read one clip into a consumer.

        Args:
            source: its files.
            open_clip: makes the consumer from what is known of the clip before its frames; called again, for a new one,
                if decoding shows that to be wrong.

        Returns:
            the consumer, after it has seen all the frames that it wanted.

        Raises:
            MediaError: the clip cannot be read. What the consumer raises passes through.
        """
        with source.here() as here:
            return self._stream(here, source.title, open_clip)

    def _stream(self, source: ClipSource, title: str, open_clip: Callable[[ClipHead], C]) -> C:
        request = {
            "do": "stream",
            "video": str(source.video.absolute()),
            "audio": None if source.audio is None else str(source.audio.absolute()),
        }
        talk = _Talk(self, source.video, self._limits)
        with self._conversation():
            reply = talk.say(request)
            while True:
                head = talk.understood(_head_from, reply, title)
                talk.pixels = len(head.timeline) * head.height * head.width
                consumer = open_clip(head)
                reply = self._hand_over(consumer, head, talk)
                if "end" in reply:
                    consumer.end(talk.understood(_damage_from, reply))
                    return consumer

    def _hand_over(self, consumer: Consumer, head: ClipHead, talk: _Talk) -> dict[str, Any]:
        """Ask for the consumer's frames and hand them over; returns the first message that is no run."""
        wanted = consumer.wanted
        if wanted is None:
            reply = talk.say({"wanted": "all"})
        else:
            with _mask(wanted, len(head.timeline)) as buffer:
                reply = talk.say({"wanted": "some"}, [buffer])
        while "run" in reply:
            consumer.take(talk.understood(_run_from, reply, head))
            reply = talk.say({"run": "next"})
        return reply

    @contextmanager
    def _conversation(self) -> Iterator[None]:
        """A conversation that is cut short ends the process: what it would say next is about this clip."""
        self._talking = True
        try:
            yield
        finally:
            if self._talking:
                self._talking = False
                self._stop()

    def probe(self, video: Path) -> MediaInfo:
        """The headers of a file. Raises `MediaError`."""
        with self._conversation():
            reply = _Talk(self, video, self._limits).say({"do": "probe", "video": str(video.absolute())})
            values = reply["info"]
            return MediaInfo(**{**values, "fps": Fraction(*values["fps"])})

    def image(self, path: Path) -> NDArray[np.uint8]:
        """A picture that does not move, uint8 ``(H, W, 3)`` (`javisbench.media.image`). Raises `MediaError`."""
        talk = _Talk(self, path, self._limits)
        with self._conversation():
            return talk.understood(_image_from, talk.say({"do": "image", "video": str(path.absolute())}))

    def sound(self, path: Path) -> tuple[NDArray[np.float32], int]:
        """The sound of a file, float32 ``(channels, samples)``, and its rate in Hz. Raises `MediaError`."""
        talk = _Talk(self, path, self._limits)
        with self._conversation():
            return talk.understood(_sound_from, talk.say({"do": "sound", "video": str(path.absolute())}))

    def join(self, source: ClipSource, target: Path) -> None:
        """Write a picture and the sound beside it into one mp4 (`javisbench.media.join`). Raises `MediaError`."""
        request = {
            "do": "join",
            "video": str(source.video.absolute()),
            "audio": None if source.audio is None else str(source.audio.absolute()),
            "target": str(target.absolute()),
        }
        with self._conversation():
            _Talk(self, source.video, self._limits).say(request)

    def settle(self) -> None:
        """The conversation has come to its end, a good one or not."""
        self._talking = False

    def kill(self) -> None:
        """End the process for good; whoever waits for it gets an error. `end` afterwards."""
        with self._starting:
            self._ended = True
            if self._launched is not None:
                self._launched.process.kill()

    def end(self) -> None:
        """End the process for good and give back what it held."""
        self.kill()
        self._stop()

    def begin(self, message: dict[str, Any]) -> socket.socket:
        """Send the first message about a clip; returns the connection. A process that has died since is replaced.

        Raises:
            OSError: the new one is gone, too.
        """
        connection = self._connected()
        try:
            send(connection, message)
        except OSError:  # it died between two clips, which is not this clip's fault
            self._stop()
            connection = self._connected()
            send(connection, message)
        return connection

    def _connected(self) -> socket.socket:
        if self._launched is not None and self._launched.process.poll() is not None:
            self._stop()
        if self._launched is None:
            self._start()
        assert self._launched is not None
        return self._launched.connection

    def _start(self) -> None:
        """Start the process; once more where something else has ended it meanwhile (a shortage of memory, say).

        Raises:
            MediaError: ``worker_start``: it does not come up. A `DisturbedError` where that is the system's doing.
        """
        for _ in range(_STARTS - 1):
            try:
                self._start_once()
            except DisturbedError:
                continue
            return
        self._start_once()

    def _start_once(self) -> None:
        with self._starting:
            if self._ended:
                raise media_error("worker_start", "This reader of clips was closed.")
            try:
                self._launched = launched = launch(_MODULE)
            except OSError as failure:
                told = f"No decoding process can be started: {failure}."
                raise DisturbedError(told, kind="worker_start") from failure
        launched.connection.settimeout(_START_TIMEOUT_S)
        try:
            send(launched.connection, asdict(self._limits))
            receive(launched.connection)
        except (EOFError, OSError, ValueError) as failure:
            reason = launched.cause_of_death()
            late = isinstance(failure, TimeoutError)
            # Of itself it can only end with an exit status; and what it says then is the last line of a traceback.
            disturbed = late or (launched.process.poll() or 0) < 0 or _tells_fault(reason)
            self._stop()
            error = DisturbedError if disturbed else MediaError
            raise error(f"The decoding process {reason} before it was ready.", kind="worker_start") from _told_by(
                failure
            )

    @property
    def ended_from_outside(self) -> bool:
        """Whether something else than the process itself has ended it."""
        code = None if self.process is None else self.process.poll()
        return code is not None and -code in _SIGNALS_FROM_OUTSIDE

    def processor_s(self) -> float | None:
        """Seconds that the process has worked; None where the system does not tell."""
        try:
            assert self.process is not None
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError, AssertionError):
            return None

    def cause_of_death(self) -> str:
        """How the process ended, with the last line that it wrote, if any."""
        return "was ended" if self._launched is None else self._launched.cause_of_death()

    def _stop(self) -> None:
        launched, self._launched = self._launched, None
        if launched is not None:
            launched.end()


class _Talk:
    """The messages about one clip, and the time that the process has taken for its answers.

    Attributes:
        video: for messages.
        pixels: of the whole clip, once known.
    """

    def __init__(self, worker: Worker, video: Path, limits: DecodeLimits) -> None:
        self.video = video
        self.pixels = 0
        self._worker = worker
        self._limits = limits
        self._spent_s = 0.0
        self._worked_before_s: float | None = None
        self._connection: socket.socket | None = None

    def say(self, message: dict[str, Any], descriptors: list[int] | None = None) -> dict[str, Any]:
        """Send a message; returns the answer, with the buffers that came with it under ``buffers``.

        Raises:
            MediaError: the process says that the clip cannot be read, or it died, or it took too long.
        """
        try:
            if self._connection is None:
                self._connection = self._worker.begin(message)
                self._worked_before_s = self._worker.processor_s()
            else:
                send(self._connection, message, descriptors)
            self._await(self._connection)
            reply, buffers_of_reply = receive(self._connection)
        except (EOFError, OSError) as failure:
            reason = self._worker.cause_of_death()
            disturbed = isinstance(failure, TimeoutError) or self._worker.ended_from_outside
            kind = DisturbedError if disturbed else MediaError
            raise kind(f"{self.video}: the decoding process {reason}.", kind="worker_died") from _told_by(failure)
        except ValueError as failure:
            raise self._nonsense() from failure
        if not reply.keys() & {"head", "run"}:
            self._worker.settle()
        if "kind" in reply:
            _close(buffers_of_reply)
            raise _refusal(reply)
        return {**reply, "buffers": buffers_of_reply}

    def understood(self, parse: Callable[..., T], *arguments: Any) -> T:
        """What `parse` makes of an answer; what it cannot read is a defect of the process, or its hijacker's."""
        try:
            return parse(*arguments)
        except _NONSENSE as failure:
            raise self._nonsense() from failure

    def _nonsense(self) -> MediaError:
        return media_error("worker_died", f"{self.video}: the decoding process sent nonsense.")

    def _await(self, connection: socket.socket) -> None:
        """Wait until an answer begins, no longer than the clip may take."""
        # Not select, which takes no descriptor beyond 1,023.
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        while True:
            left = self._limits.time_s(self.pixels) * machine_load() - self._spent_s
            if left <= 0:
                waited = self._only_waited()
                raise (DisturbedError if waited else MediaError)(
                    f"{self.video}: not read within {self._spent_s:.0f} s; the decoding process "
                    f"{'waited for the disk or was stopped, and ' if waited else ''}was ended "
                    "(--clip-deadline allows more).",
                    kind="timeout",
                )
            begun, at_most_s = time.monotonic(), min(left, 1.0)
            ready = poll.poll(1000 * at_most_s)
            self._spent_s += awake_s(at_most_s, time.monotonic() - begun)
            if ready:
                connection.settimeout(_MESSAGE_TIMEOUT_S)
                return

    def _only_waited(self) -> bool:
        """Whether the process has not worked for most of the time that it had."""
        now_s, before_s = self._worker.processor_s(), self._worked_before_s
        if now_s is None or before_s is None:
            return False
        return now_s - before_s < _LEAST_WORK * self._spent_s / machine_load()


def _refusal(reply: dict[str, Any]) -> MediaError:
    """Why a clip cannot be read, as the process says it, with the error of the system behind it, if any."""
    failure = MediaError(str(reply["message"]), kind=str(reply["kind"]))
    if isinstance(reply.get("errno"), int):
        failure.__cause__ = OSError(reply["errno"], os.strerror(reply["errno"]))
    return failure


def _told_by(failure: Exception) -> Exception | None:
    """What a failed exchange tells of the system: nothing where the other side has gone or is silent."""
    return None if isinstance(failure, EOFError | ConnectionError | TimeoutError | ValueError) else failure


def _tells_fault(line: str) -> bool:
    """Whether the last words of a process tell of an error that is the system's: it may import nothing, say."""
    return any(os.strerror(code) in line for code in SYSTEMS) or "MemoryError" in line


@contextmanager
def _mask(wanted: NDArray[np.int64], frames: int) -> Iterator[int]:
    """A buffer with a byte for each frame: whether it is wanted."""
    import numpy as np

    mask = np.zeros(frames, np.bool_)
    mask[wanted] = True
    descriptor = buffers.create()
    try:
        buffers.append(descriptor, 0, mask)
        yield descriptor
    finally:
        buffers.close(descriptor)


def _image_from(reply: dict[str, Any]) -> NDArray[np.uint8]:
    import numpy as np

    height, width = (int(size) for size in reply["image"])
    with _mapped(reply) as mapping:
        return np.frombuffer(mapping, np.uint8, height * width * 3).reshape(height, width, 3)


def _sound_from(reply: dict[str, Any]) -> tuple[NDArray[np.float32], int]:
    import numpy as np

    channels, samples = (int(size) for size in reply["sound"])
    with _mapped(reply) as mapping:
        array = np.frombuffer(mapping, np.float32, channels * samples).reshape(channels, samples)
    return array, int(reply["rate"])


def _head_from(reply: dict[str, Any], name: str) -> ClipHead:
    """Arrays over the buffer that came with a head, without a copy."""
    import numpy as np

    head = reply["head"]
    with _mapped(reply) as mapping:
        times = np.frombuffer(mapping, np.float64, int(head["frames"]))
        audio = None
        if head["channels"]:
            channels, samples = int(head["channels"]), int(head["samples"])
            audio = np.frombuffer(mapping, np.float32, channels * samples, int(head["samples_at"]))
            audio = audio.reshape(channels, samples)
    height, width = (int(size) for size in head["size"])
    line = Timeline(times, float(head["last_frame_s"]), Fraction(*head["fps"]), Fraction(*head["declared_fps"]))
    picture, sound = (str(value) for value in head["hashes"])
    return ClipHead(line, height, width, audio, head["sample_rate"], head["audio_source"], name, picture, sound)


def _run_from(reply: dict[str, Any], head: ClipHead) -> FrameRun:
    """Frames over the buffer that came with a run, without a copy."""
    import numpy as np

    count = int(reply["run"])
    indices = np.concatenate([np.arange(first, end, dtype=np.int64) for first, end in reply["spans"]])
    if len(indices) != count or not 0 <= indices[0] <= indices[-1] < len(head.timeline):
        raise ValueError("frames that were not asked for")
    with _mapped(reply) as mapping:
        frames = np.frombuffer(mapping, np.uint8, count * head.frame_bytes)
    return FrameRun(indices, frames.reshape(count, head.height, head.width, 3))


def _damage_from(reply: dict[str, Any]) -> tuple[Damage, ...]:
    return tuple(
        Damage(str(d["message"]), int(d["frames"]), float(d["seconds"]), bool(d["certain"])) for d in reply["end"]
    )


@contextmanager
def _mapped(reply: dict[str, Any]) -> Iterator[Any]:
    (descriptor,) = reply["buffers"]
    try:
        yield buffers.map_for_reading(descriptor)
    finally:
        buffers.close(descriptor)


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
