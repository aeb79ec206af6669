"""One decoding process, seen from its parent: started when first needed, ended at the deadline, replaced when lost."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from javisbench.clip import Clip
from javisbench.errors import MediaError
from javisbench.media import buffers
from javisbench.media.errors import media_error
from javisbench.media.source import ClipSource, DecodeLimits, MediaInfo
from javisbench.media.wire import receive, send

_START_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 5.0
_MODULE = "javisbench.media.worker"


class Worker:
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
            sent = False
        else:
            sent = True
        connection.settimeout(self._limits.deadline_s)
        try:
            if not sent:
                send(connection, request)
            reply, descriptors = receive(connection)
        except TimeoutError as failure:
            self._stop()
            message = f"{video}: not read within {self._limits.deadline_s:g} s; the decoding process was ended."
            raise media_error("timeout", message) from failure
        except (EOFError, OSError) as failure:
            reason = self._cause_of_death()
            self._stop()
            raise media_error("worker_died", f"{video}: the decoding process {reason}.") from failure
        except ValueError as failure:
            self._stop()
            raise media_error("worker_died", f"{video}: the decoding process sent nonsense.") from failure
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
